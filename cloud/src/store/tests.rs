use super::engine::params;
use super::*;
use crate::compile::Roster;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

const FLEET: &str = r#"
[account.acme]
tenant = "operating_company"
[user.otto]
account = "acme"
[device.d1]
account = "acme"
"#;

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let installation = Installation {
        fleet: postern_protocol::id::FleetId::new([1; 8]),
        listen: "127.0.0.1:0".parse().unwrap(),
        advertise: vec!["192.0.2.1:7440".parse().unwrap()],
    };
    let store = ground::make(directory.path(), &installation);
    assert_eq!(store.read(|tx| tx.installation()).unwrap(), installation);
    (directory, store)
}

/// What only a file can be asked.
fn in_file<T>(store: &Store, ask: impl FnOnce(&rusqlite::Connection) -> T) -> T {
    match &*store.engine.lock().unwrap() {
        Engine::Sqlite(connection) => ask(connection),
        Engine::Postgres(_) => panic!("this store is on a server"),
    }
}

fn model(text: &str) -> Model {
    crate::fleet::read(text, &[]).unwrap()
}

fn save(store: &Store, text: &str) -> Result<i64, StoreError> {
    store.write(|tx| tx.save_model(&model(text), NOW, "test", "apply"))
}

fn revisions_of_entities(store: &Store) -> Vec<(String, i64)> {
    store
        .read(|tx| {
            let mut query =
                tx.sql.prepare_cached("SELECT kind || ' ' || name, revision FROM entity ORDER BY 1")?;
            query.all(params![], |row| Ok((row.get(0)?, row.get(1)?)))
        })
        .unwrap()
}

#[test]
fn a_model_reads_back_and_an_edit_touches_only_what_it_changes() {
    let (_directory, store) = store();
    assert_eq!(save(&store, FLEET).unwrap(), 1);
    assert_eq!(*store.read(|tx| tx.model()).unwrap(), model(FLEET));
    let edited = FLEET.replace("[user.otto]", "[user.otto]\nlabel = \"Otto\"");
    assert_eq!(save(&store, &edited).unwrap(), 2);
    assert_eq!(*store.read(|tx| tx.model()).unwrap(), model(&edited));
    let expected = [("account acme", 1), ("device d1", 1), ("user otto", 2)];
    let expected: Vec<(String, i64)> =
        expected.map(|(entity, revision)| (entity.to_owned(), revision)).into();
    assert_eq!(revisions_of_entities(&store), expected);
}

#[test]
fn ids_stay_with_devices_and_die_with_users() {
    let (_directory, store) = store();
    let ids = || {
        store
            .read(|tx| {
                let device = tx.device(&"d1".parse().unwrap())?.map(|device| device.id);
                Ok::<_, StoreError>((tx.person(&"otto".parse().unwrap())?.map(|person| person.id), device))
            })
            .unwrap()
    };
    save(&store, FLEET).unwrap();
    let (otto, device) = ids();
    save(&store, "[account.acme]\ntenant = \"operating_company\"\n").unwrap();
    assert_eq!(ids(), (None, device), "a device that is gone must still be told");
    save(&store, FLEET).unwrap();
    assert_eq!(ids().1, device);
    assert_ne!(ids().0, otto, "a user of the same name is another person");
}

#[test]
fn what_fails_inside_a_transaction_leaves_nothing() {
    let (_directory, store) = store();
    let failed: Result<(), StoreError> = store.write(|tx| {
        tx.save_model(&model(FLEET), NOW, "test", "apply")?;
        Err(StoreError::Damaged { what: "test" })
    });
    assert_eq!(failed.unwrap_err().to_string(), "the state file is damaged: a stored test cannot be read");
    assert_eq!(store.read(|tx| tx.revision()).unwrap(), 0);
    assert_eq!(*store.read(|tx| tx.model()).unwrap(), Model::default());
    assert_eq!(store.read(|tx| tx.roster()).unwrap(), Roster::default());
}

#[test]
fn a_full_disk_fails_the_transaction_and_loses_nothing() {
    let (_directory, store) = store();
    save(&store, FLEET).unwrap();
    let pages: i64 = in_file(&store, |file| {
        let pages = file.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        file.pragma_update(None, "max_page_count", pages).unwrap();
        pages
    });
    let many: String = (0..2000).map(|n| format!("[user.u{n}]\naccount = \"acme\"\n")).collect();
    let error = save(&store, &format!("{FLEET}{many}")).unwrap_err();
    assert_eq!(error.to_string(), "the state file: database or disk is full");
    assert_eq!(*store.read(|tx| tx.model()).unwrap(), model(FLEET));
    in_file(&store, |file| file.pragma_update(None, "max_page_count", pages * 100).unwrap());
    assert_eq!(save(&store, &format!("{FLEET}{many}")).unwrap(), 2);
}

#[test]
fn a_file_of_a_later_version_is_refused() {
    let (directory, store) = store();
    in_file(&store, |file| file.pragma_update(None, "user_version", 99).unwrap());
    drop(store);
    let error = Store::of(directory.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the stored state has schema 99, this version knows up to 19; use a newer postern-cloud"
    );
}

#[test]
fn an_entity_of_an_unknown_kind_is_damage_and_not_ignored() {
    let (_directory, store) = store();
    save(&store, FLEET).unwrap();
    let stored: Result<(), StoreError> = store.write(|tx| {
        tx.sql.execute("INSERT INTO entity VALUES ('galaxy', 'g', '{}', 1)", params![])?;
        let revision = tx.log(NOW, "test", "damage")?;
        tx.count(revision, &[])
    });
    stored.unwrap();
    let error = store.read(|tx| tx.model()).unwrap_err();
    assert_eq!(error.to_string(), "the state file is damaged: a stored entity of the model cannot be read");
}

#[test]
fn another_connection_is_noticed_by_the_data_version() {
    let (directory, store) = store();
    let before = store.data_version().unwrap();
    save(&store, FLEET).unwrap();
    assert_eq!(store.data_version().unwrap(), before, "own writes are known already");
    let other = Store::of(directory.path()).unwrap();
    other.write(|tx| tx.log(NOW, "test", "other")).unwrap();
    assert_ne!(store.data_version().unwrap(), before);
}

#[test]
fn a_failed_edit_is_not_remembered_under_the_number_that_another_one_gets() {
    let (directory, store) = store();
    let failed: Result<(), StoreError> = store.write(|tx| {
        tx.save_model(&model(FLEET), NOW, "test", "apply")?;
        assert_eq!(*tx.model()?, model(FLEET));
        Err(StoreError::Damaged { what: "test" })
    });
    assert_eq!(failed.unwrap_err().to_string(), "the state file is damaged: a stored test cannot be read");
    let other = Store::of(directory.path()).unwrap();
    let strict = "[account.acme]\ntenant = \"operating_company\"\n";
    assert_eq!(save(&other, strict).unwrap(), 1);
    assert_eq!(*store.read(|tx| tx.model()).unwrap(), model(strict));
}

#[test]
fn a_condition_that_this_version_does_not_know_is_damage_and_not_dropped() {
    let (_directory, store) = store();
    save(&store, FLEET).unwrap();
    for (kind, body) in [
        ("account", r#"{"tenant":"operating_company","parent":null,"label":null,"frozen":true}"#),
        (
            "assignment",
            r#"{"subject":{"user":"otto"},"role":"r","scope":{"type":"device","device":"d1","except":"x"},"from":null,"until":null}"#,
        ),
        (
            "assignment",
            r#"{"subject":{"user":"otto"},"role":"r","scope":{"type":"device","device":"d1"},"from":null,"until":null,"case":true}"#,
        ),
    ] {
        let stored: Result<(), StoreError> = store.write(|tx| {
            tx.sql.execute("INSERT INTO entity VALUES (?1, 'acme', ?2, 1) ON CONFLICT (kind, name) DO UPDATE SET body = ?2", params![kind, body])?;
            let revision = tx.log(NOW, "test", "later version")?;
            tx.count(revision, &[])
        });
        stored.unwrap();
        let error = store.read(|tx| tx.model()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the state file is damaged: a stored entity of the model cannot be read"
        );
        let removed: Result<(), StoreError> = store.write(|tx| {
            tx.sql.execute("DELETE FROM entity WHERE kind = ? AND name = 'acme'", params![kind])?;
            let revision = tx.log(NOW, "test", "repair")?;
            tx.count(revision, &[])
        });
        removed.unwrap();
        store.read(|tx| tx.model()).unwrap();
    }
}

#[test]
fn revisions_say_who_did_what_to_how_many_entities() {
    let (_directory, store) = store();
    save(&store, FLEET).unwrap();
    let edited =
        FLEET.replace("[user.otto]", "[user.anna]").replace("[device.d1]", "[device.d1]\nlabel = \"D\"");
    save(&store, &edited).unwrap();
    store.write(|tx| tx.log(NOW, "root", "user disable otto")).unwrap();
    let revisions = store.read(|tx| tx.revisions(10)).unwrap();
    let counts: Vec<_> = revisions.iter().map(|revision| (revision.number, revision.entities)).collect();
    let entities = |added, changed, removed| Some(EntityCounts { added, changed, removed });
    assert_eq!(counts, [(3, None), (2, entities(1, 1, 1)), (1, entities(3, 0, 0))]);
    assert_eq!(store.read(|tx| Ok::<_, StoreError>((tx.revision()?, tx.model_revision()?))).unwrap(), (3, 2));
    let (who, what) = (revisions[0].who.as_str(), revisions[0].what.as_str());
    assert_eq!((who, what, revisions[0].at), ("root", "user disable otto", NOW));
    assert_eq!(store.read(|tx| tx.revisions(1)).unwrap(), revisions[..1]);
}

#[test]
fn a_file_of_the_first_schema_reads_as_the_same_model() {
    let (directory, store) = store();
    let path = directory.path().join("cloud.db");
    let old = |body: &str| in_file(&store, |file| file.execute_batch(body).unwrap());
    // What the first version wrote: members as a list, and nothing of what came later.
    old(r#"
        DROP TABLE parcel;
        DROP TABLE identity;
        DROP TABLE approval_code;
        DROP INDEX invitation_name;
        ALTER TABLE invitation DROP COLUMN made;
        ALTER TABLE invitation DROP COLUMN made_by;
        DROP TABLE approval;
        DROP TABLE token;
        DROP TABLE change;
        DROP TABLE trail_reading;
        DROP TABLE user_past;
        DROP TABLE device_past;
        DROP TABLE account_past;
        DROP TABLE trail_fork;
        DROP TABLE trail_mark;
        DROP TABLE trail_row;
        DROP TABLE trail_log;
        DROP TABLE device_key;
        ALTER TABLE device DROP COLUMN log;
        DROP TABLE alarm;
        DROP TABLE secret;
        DROP TABLE lock_rule;
        DROP TABLE device_lock;
        DROP TABLE receipt;
        ALTER TABLE device DROP COLUMN sealing;
        ALTER TABLE person DROP COLUMN passes_from;
        DROP INDEX device_next_key;
        ALTER TABLE device DROP COLUMN next_key;
        ALTER TABLE device DROP COLUMN confirmed;
        ALTER TABLE device DROP COLUMN retired;
        ALTER TABLE device DROP COLUMN rotate;
        ALTER TABLE device DROP COLUMN life;
        ALTER TABLE device DROP COLUMN lives;
        ALTER TABLE device DROP COLUMN boots;
        ALTER TABLE invitation DROP COLUMN confirm;
        ALTER TABLE device DROP COLUMN root;
        ALTER TABLE device DROP COLUMN root_refused;
        ALTER TABLE device DROP COLUMN root_refused_code;
        ALTER TABLE device DROP COLUMN root_refused_detail;
        ALTER TABLE device DROP COLUMN confirmed_at;
        ALTER TABLE revision DROP COLUMN added;
        ALTER TABLE revision DROP COLUMN changed;
        ALTER TABLE revision DROP COLUMN removed;
        PRAGMA user_version = 1;
        INSERT INTO revision (number, at, who, what) VALUES (1, 1800000000, 'root', 'apply');
        INSERT INTO entity VALUES ('account', 'acme', '{"tenant":"operating_company","parent":null,"label":null}', 1);
        INSERT INTO entity VALUES ('user', 'otto', '{"account":"acme","label":"Otto"}', 1);
        INSERT INTO entity VALUES ('user', 'anna.b', '{"account":"acme","label":null}', 1);
        INSERT INTO entity VALUES ('user-group', 'all', '{"account":"acme","members":["anna.b","otto"],"label":null}', 1);
        INSERT INTO entity VALUES ('user-group', 'none', '{"account":"acme","members":[],"label":null}', 1);
        INSERT INTO entity VALUES ('device', 'd1', '{"account":"acme","label":null,"limits":{"tunnels":64,"tunnels_per_user":16},"services":{}}', 1);
        INSERT INTO entity VALUES ('machine', 'm', '{"device":"d1","label":null,"services":{}}', 1);
        INSERT INTO entity VALUES ('device-group', 'g', '{"account":"acme","group_type":"region","devices":["d1"],"label":null}', 1);
        INSERT INTO entity VALUES ('category', 'screen', '{"kinds":["vnc"],"services":[],"pages":[],"label":null}', 1);
        INSERT INTO entity VALUES ('role', 'r', '{"tenant":"operating_company","permissions":["remote-access.use"],"categories":["screen"],"second_factor_s":28800,"label":null}', 1);
        INSERT INTO entity VALUES ('assignment', 'a', '{"subject":{"group":"all"},"role":"r","scope":{"type":"device_group","group":"g"},"from":null,"until":1900000000}', 1);
    "#);
    drop(store);
    let store = Store::open(&path).unwrap();
    let expected = r#"
        [account.acme]
        tenant = "operating_company"
        [user.otto]
        account = "acme"
        label = "Otto"
        [user."anna.b"]
        account = "acme"
        [user-group.all]
        account = "acme"
        members = ["anna.b", "otto"]
        [user-group.none]
        account = "acme"
        [device.d1]
        account = "acme"
        [machine.m]
        device = "d1"
        [device-group.g]
        account = "acme"
        type = "region"
        devices = ["d1"]
        [category.screen]
        kinds = ["vnc"]
        [role.r]
        tenant = "operating_company"
        permissions = ["remote-access.use"]
        categories = ["screen"]
        second-factor = "8h"
        [assignment.a]
        group = "all"
        role = "r"
        scope = { device-group = "g" }
        until = 2030-03-17T17:46:40Z
    "#;
    assert_eq!(*store.read(|tx| tx.model()).unwrap(), model(expected));
    assert_eq!(store.read(|tx| tx.revisions(9)).unwrap()[0].entities, None);
    assert_eq!(save(&store, expected).unwrap(), 2);
    assert_eq!(
        store.read(|tx| tx.revisions(1)).unwrap()[0].entities,
        Some(EntityCounts { added: 0, changed: 0, removed: 0 })
    );
}

#[test]
fn rows_of_trails_that_an_earlier_version_took_are_found_and_are_whose_they_are_known_to_have_been() {
    use crate::trail::sample::{Sample, at, name};
    let sample = Sample::new();
    sample.apply(10, FLEET);
    let otto = sample.user("otto");
    sample.session("d1", 20, otto, 1);
    let old = |body: &str| in_file(&sample.store, |file| file.execute_batch(body).unwrap());
    old("DROP TABLE parcel; DROP INDEX change_entity; DROP TABLE identity; DROP TABLE approval_code; DROP INDEX invitation_name;
         ALTER TABLE invitation DROP COLUMN made; ALTER TABLE invitation DROP COLUMN made_by;
         DROP TABLE trail_reading; DROP TABLE user_past; DROP TABLE device_past; DROP TABLE account_past;
         DROP INDEX trail_row_at; DROP INDEX trail_row_log; DROP INDEX trail_row_verdict; DROP INDEX trail_row_service;
         ALTER TABLE trail_row DROP COLUMN verdict;
         CREATE INDEX trail_row_received ON trail_row (received);
         UPDATE trail_row SET user = NULL, service = NULL WHERE event = 'closed';
         PRAGMA user_version = 13;");
    match &mut *sample.store.engine.lock().unwrap() {
        Engine::Sqlite(connection) => super::schema::migrate(connection).unwrap(),
        Engine::Postgres(_) => panic!("this store is on a server"),
    }
    let of_otto = TrailQuery { users: Some(vec![otto]), limit: 9, ..TrailQuery::default() };
    let rows = sample.store.read(|tx| tx.trail_rows(&of_otto)).unwrap();
    let words: Vec<_> = rows.iter().map(|row| (row.verdict(), row.service.clone())).collect();
    assert_eq!(words, [("permitted", Some(name("hmi"))), ("closed", Some(name("hmi")))]);
    let verdict = TrailQuery { verdict: Some("closed"), limit: 9, ..TrailQuery::default() };
    assert_eq!(sample.store.read(|tx| tx.trail_rows(&verdict)).unwrap(), rows[1..]);
    let past = sample.store.read(|tx| tx.past()).unwrap();
    assert!(past.is_settled(&name("d1"), at(20)) && !past.is_settled(&name("d1"), at(9)));
    let user = sample.store.read(|tx| tx.past_user(otto)).unwrap().unwrap();
    assert!(past.knows(&name("acme"), &user, at(20)) && !past.knows(&name("acme"), &user, at(9)));
}

#[test]
fn an_alarm_that_repeats_is_one_row_with_a_count_until_somebody_clears_it() {
    let (_directory, store) = store();
    save(&store, FLEET).unwrap();
    let device: postern_protocol::name::Name = "d1".parse().unwrap();
    let later = NOW.saturating_add(60);
    let raised: Result<(), StoreError> = store.write(|tx| {
        tx.alarm(&device, AlarmKind::Clone, "the first", NOW)?;
        tx.alarm(&device, AlarmKind::Clone, "the second\u{1b}[2J", later)?;
        tx.alarm(&device, AlarmKind::Rollback, "another kind", later)
    });
    raised.unwrap();
    let alarms = store.read(|tx| tx.alarms()).unwrap();
    let of = |kind, detail: &str, first, count| Alarm {
        device: device.clone(),
        kind,
        detail: detail.to_owned(),
        first,
        last: later,
        count,
    };
    let expected =
        [of(AlarmKind::Clone, "the second [2J", NOW, 2), of(AlarmKind::Rollback, "another kind", later, 1)];
    assert_eq!(alarms, expected);
    assert_eq!(store.write(|tx| tx.clear_alarms(&device)).unwrap(), 2);
    assert_eq!(store.read(|tx| tx.alarms()).unwrap(), []);
    assert_eq!(store.write(|tx| tx.clear_alarms(&device)).unwrap(), 0);
}

#[test]
fn a_run_that_comes_back_is_a_clone_and_a_restart_is_not() {
    use postern_protocol::wire::control::Life;
    let (_directory, store) = store();
    save(&store, FLEET).unwrap();
    let greet = |life: u8, boots| {
        store.write(|tx| tx.greeted(&"d1".parse().unwrap(), Life([life; 16]), boots)).unwrap()
    };
    assert_eq!(greet(1, Some(1)), None);
    assert_eq!(greet(1, Some(1)), None, "the same run links again and again");
    for restart in 2..40 {
        assert_eq!(greet(restart, Some(u32::from(restart))), None);
    }
    // A copy of the disk of start 39 is started elsewhere, and the genuine device comes back.
    assert_eq!(greet(100, Some(40)), None);
    assert_eq!(greet(39, Some(39)), Some(AlarmKind::Clone));
    assert_eq!(greet(100, Some(40)), Some(AlarmKind::Clone));
    assert_eq!(greet(100, Some(40)), None);
}

#[test]
fn a_count_of_starts_that_goes_back_is_an_older_copy_and_a_lost_count_is_not() {
    use postern_protocol::wire::control::Life;
    let (_directory, store) = store();
    save(&store, FLEET).unwrap();
    let greet = |life: u8, boots| {
        store.write(|tx| tx.greeted(&"d1".parse().unwrap(), Life([life; 16]), boots)).unwrap()
    };
    assert_eq!(greet(1, Some(9)), None);
    assert_eq!(greet(2, Some(9)), None, "a full disk does not count");
    assert_eq!(greet(3, Some(8)), Some(AlarmKind::Restored));
    assert_eq!(greet(4, Some(9)), None);
    assert_eq!(greet(5, None), None);
    assert_eq!(greet(6, Some(1)), None);
}

#[test]
fn an_alarm_about_a_device_that_never_was_is_refused() {
    let (_directory, store) = store();
    let raised = store.write(|tx| tx.alarm(&"d9".parse().unwrap(), AlarmKind::Clone, "", NOW));
    assert_eq!(raised.unwrap_err().to_string(), "the state file: FOREIGN KEY constraint failed");
}

#[test]
fn a_state_on_a_server_is_the_same() {
    crate::store::ground::on_a_server(&[
        a_model_reads_back_and_an_edit_touches_only_what_it_changes,
        ids_stay_with_devices_and_die_with_users,
        what_fails_inside_a_transaction_leaves_nothing,
        an_entity_of_an_unknown_kind_is_damage_and_not_ignored,
        another_connection_is_noticed_by_the_data_version,
        a_failed_edit_is_not_remembered_under_the_number_that_another_one_gets,
        a_condition_that_this_version_does_not_know_is_damage_and_not_dropped,
        revisions_say_who_did_what_to_how_many_entities,
        an_alarm_that_repeats_is_one_row_with_a_count_until_somebody_clears_it,
        a_run_that_comes_back_is_a_clone_and_a_restart_is_not,
        a_count_of_starts_that_goes_back_is_an_older_copy_and_a_lost_count_is_not,
    ]);
}
