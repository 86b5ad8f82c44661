use postern_protocol::audit::Event;
use postern_protocol::id::{DeviceId, FleetId, TunnelId, UserId};
use postern_protocol::path::Peer;
use postern_protocol::policy::{Kind, Mode, Target};
use postern_protocol::session::freshness::Note;
use postern_protocol::trust::{CutCause, Digest, ReceiptId, SecretKey};
use postern_protocol::wire::control::Held;
use postern_protocol::wire::registry::Failure;
use postern_protocol::wire::text::Text;

use super::*;

const LIMIT: u64 = 256 * 1024;

fn floor(version: u64) -> Floor {
    Floor { epoch: 1, version, digest: Digest::new([5; 32]) }
}

fn enrollment() -> Enrollment {
    Enrollment {
        device: DeviceId::new([1; 8]),
        hub_key: SecretKey::from_seed([2; 32]).unwrap().public(),
        hubs: vec!["192.0.2.1:7440".parse().unwrap()],
        pinned: Digest::new([3; 32]),
        roots: vec![b"root".to_vec()],
    }
}

fn enrolled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    prepare_enrollment(dir.path(), false).unwrap();
    enroll(dir.path(), &enrollment(), floor(1), b"first").unwrap();
    copy_enrollment(dir.path(), &enrollment(), floor(1)).unwrap();
    dir
}

fn staged(floor: Floor, sealed: &[u8]) -> Staged {
    let (time, sealed) = (UnixTime::EPOCH, sealed.to_vec());
    Staged { floor, sealed, time, cleared: 0, retired: false, reseal: None }
}

fn permitted() -> Event {
    Event::Permitted {
        tunnel: TunnelId::new([1; 8]),
        user: UserId::new([2; 8]),
        service: "web".parse().unwrap(),
        kind: Kind::Http,
        target: Some(Target { ip: [192, 168, 0, 1].into(), port: 80 }),
        mode: Mode::Full { clipboard: false },
        origin: None,
        version: 1,
        peer: Peer { addr: ([192, 0, 2, 2], 1).into(), path: postern_protocol::path::Path::Direct },
        recorded: false,
    }
}

#[test]
fn an_enrolment_is_read_back_and_not_overwritten() {
    let dir = enrolled();
    let boot = peek(dir.path()).unwrap();
    assert_eq!(boot.enrollment, enrollment());
    assert_eq!((boot.sealed.as_deref(), boot.floor), (Some(&b"first"[..]), Some(floor(1))));
    assert!(matches!(prepare_enrollment(dir.path(), false), Err(StoreError::Enrolled)));
    prepare_enrollment(dir.path(), true).unwrap();
}

#[test]
fn a_directory_without_enrolment_is_not_enrolled() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(prepare_enrollment(dir.path(), true), Err(StoreError::NotEnrolled)));
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(peek(dir.path()), Err(StoreError::NotEnrolled)));
    assert!(matches!(boot(dir.path(), LIMIT), Err(StoreError::NotEnrolled)));
}

#[test]
fn both_databases_are_private_whatever_the_umask_says() {
    use std::os::unix::fs::PermissionsExt;
    let dir = enrolled();
    let (databases, _) = boot(dir.path(), LIMIT).unwrap();
    drop(databases);
    for file in ["policy.db", "audit.db", "enrollment", "floor.a"] {
        let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn an_installed_snapshot_and_its_owed_row_survive_and_the_row_is_settled_once() {
    let dir = enrolled();
    let (databases, _) = boot(dir.path(), LIMIT).unwrap();
    let store = start(databases);
    store
        .install(Staged { time: UnixTime::from_secs(77), ..staged(floor(u64::MAX), b"newest") })
        .await
        .unwrap();
    store.close().await;
    let (databases, booted) = boot(dir.path(), LIMIT).unwrap();
    assert_eq!(booted.sealed.as_deref(), Some(&b"newest"[..]));
    assert_eq!((booted.floor, booted.owed), (Some(floor(u64::MAX)), Some(floor(u64::MAX))));
    assert_eq!(booted.boots, 2);
    let store = start(databases);
    store.settle(floor(8)).await;
    store.close().await;
    assert_eq!(peek(dir.path()).unwrap().owed, Some(floor(u64::MAX)), "that was another one");
    let (databases, _) = boot(dir.path(), LIMIT).unwrap();
    let store = start(databases);
    store.settle(floor(u64::MAX)).await;
    store.close().await;
    assert_eq!(peek(dir.path()).unwrap().owed, None);
}

#[tokio::test]
async fn time_is_replaced_and_each_boot_is_debited_before_it_serves() {
    let dir = enrolled();
    let (databases, booted) = boot(dir.path(), LIMIT).unwrap();
    assert_eq!((booted.time, booted.spent, booted.is_debited), (UnixTime::EPOCH, 600, true));
    let store = start(databases);
    store.note(Note { time: UnixTime::from_secs(4_291_747_200), spent: 0 }).await.unwrap();
    store.keep_time(UnixTime::from_secs(2000)).await;
    store.close().await;
    let known = peek(dir.path()).unwrap();
    assert_eq!((known.time, known.spent), (UnixTime::from_secs(2000), 0), "looking costs nothing");
    for boots in 2..=4 {
        let (_, booted) = boot(dir.path(), LIMIT).unwrap();
        assert_eq!((booted.boots, booted.spent), (boots, (boots - 1) * 600));
    }
}

#[tokio::test]
async fn rows_that_wait_together_are_chained_in_order() {
    let dir = enrolled();
    let store = start(boot(dir.path(), LIMIT).unwrap().0);
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..100u64 {
        let store = store.clone();
        writers
            .spawn(async move { store.append(UnixTime::from_secs(number), Event::Stopped).await.unwrap() });
    }
    while writers.join_next().await.is_some() {}
    assert_eq!(store.verify().await.unwrap(), 100);
    let rows = store.newest(1000).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
    store.close().await;
    assert_eq!(verify_audit(dir.path()).unwrap(), 100);
    assert_eq!(audit_rows(dir.path(), 3).unwrap().len(), 3);
    assert!(matches!(store.append(UnixTime::EPOCH, Event::Stopped).await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn whoever_waits_for_rows_is_told_of_each_commit_and_of_nothing_else() {
    let dir = enrolled();
    let store = start(boot(dir.path(), LIMIT).unwrap().0);
    let mut heads = store.heads();
    assert_eq!(*heads.borrow_and_update(), 0);
    store.append(UnixTime::EPOCH, Event::Stopped).await.unwrap();
    heads.changed().await.unwrap();
    assert_eq!(*heads.borrow_and_update(), 1);
    assert_eq!(store.newest(9).await.unwrap().len(), 1);
    assert!(!heads.has_changed().unwrap());
    store.append(UnixTime::EPOCH, Event::Stopped).await.unwrap();
    heads.changed().await.unwrap();
    assert_eq!((*heads.borrow_and_update(), store.fill().waiting()), (2, 2));
}

#[tokio::test]
async fn a_trail_above_its_mark_takes_no_permit_and_still_takes_what_ends() {
    let dir = enrolled();
    let store = start(boot(dir.path(), LIMIT).unwrap().0);
    let command = Text::clean(&"x".repeat(256));
    while store.fill().percent() < 95 {
        let event = Event::Control { uid: 1, command: command.clone() };
        store.append(UnixTime::EPOCH, event).await.unwrap();
    }
    assert!(matches!(store.append(UnixTime::EPOCH, permitted()).await, Err(StoreError::Full)));
    let failed = Event::Failed { tunnel: TunnelId::new([1; 8]), failure: Failure::Refused };
    store.append(UnixTime::EPOCH, failed).await.unwrap();
    // Filled to the brim it refuses everything, and stays whole.
    while store.append(UnixTime::EPOCH, Event::Control { uid: 1, command: command.clone() }).await.is_ok() {}
    assert_eq!(store.verify().await.unwrap(), store.newest(1000).await.unwrap().last().unwrap().seq);
    let used: u64 = std::fs::metadata(dir.path().join("audit.db")).unwrap().len();
    assert!(used <= LIMIT, "{used}");
}

#[tokio::test]
async fn a_database_that_becomes_unusable_denies_and_is_opened_again() {
    let dir = enrolled();
    let (mut databases, _) = boot(dir.path(), LIMIT).unwrap();
    databases.policy = None;
    let policy = dir.path().join("policy.db");
    std::fs::rename(&policy, dir.path().join("away")).unwrap();
    std::fs::create_dir(&policy).unwrap();
    let store = start(databases);
    assert!(matches!(store.install(staged(floor(2), b"second")).await, Err(StoreError::Sqlite { .. })));
    std::fs::remove_dir(&policy).unwrap();
    std::fs::rename(dir.path().join("away"), &policy).unwrap();
    store.install(staged(floor(3), b"third")).await.unwrap();
    store.close().await;
    assert_eq!(peek(dir.path()).unwrap().floor, Some(floor(3)));
}

#[test]
fn a_damaged_database_is_set_aside_and_the_enrolment_comes_from_its_copy() {
    let dir = enrolled();
    std::fs::write(dir.path().join("policy.db"), vec![9; 8192]).unwrap();
    let (_databases, booted) = boot(dir.path(), LIMIT).unwrap();
    assert_eq!(booted.enrollment, enrollment());
    assert_eq!((booted.sealed, booted.floor), (None, Some(floor(1))));
    assert!(dir.path().join("policy.db.damaged-0").exists());
    drop(_databases);
    assert_eq!(peek(dir.path()).unwrap().enrollment, enrollment());
}

#[test]
fn a_database_of_a_newer_agent_is_left_alone() {
    let dir = enrolled();
    let path = dir.path().join("policy.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch("CREATE TABLE news (id INTEGER PRIMARY KEY) STRICT; PRAGMA user_version = 99;")
        .unwrap();
    drop(connection);
    assert!(matches!(peek(dir.path()), Err(StoreError::Newer { found: 99, expected: 6, .. })));
    let (_databases, booted) = boot(dir.path(), LIMIT).unwrap();
    assert_eq!(booted.sealed, None);
    assert!(path.exists());
}

#[test]
fn a_database_whose_number_of_format_has_changed_is_damaged_and_not_that_of_a_newer_agent() {
    let dir = enrolled();
    let path = dir.path().join("policy.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(peek(dir.path()), Err(StoreError::Corrupt { found: Damage::Value, .. })));
    let (_databases, booted) = boot(dir.path(), LIMIT).unwrap();
    assert_eq!((booted.sealed, booted.floor), (None, Some(floor(1))));
    assert!(dir.path().join("policy.db.damaged-0").exists());
}

#[test]
fn a_database_of_an_older_agent_is_read_once_it_was_brought_up_to_date_and_keeps_what_it_had() {
    let dir = enrolled();
    let connection = rusqlite::Connection::open(dir.path().join("policy.db")).unwrap();
    connection
        .execute_batch(
            "DROP TABLE content; DROP TABLE held_lock; DROP TABLE receipt; DROP TABLE secret; ALTER TABLE counter DROP COLUMN spent;
             ALTER TABLE counter RENAME COLUMN time TO pass_issued; PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(connection);
    assert!(matches!(peek(dir.path()), Err(StoreError::Older { found: 1, expected: 6, .. })));
    let (databases, booted) = boot(dir.path(), LIMIT).unwrap();
    assert_eq!((booted.sealed, booted.secrets.len()), (Some(b"first".to_vec()), 0));
    drop(databases);
    assert_eq!(peek(dir.path()).unwrap().enrollment, enrollment());
}

fn receipt(number: u8) -> Receipt {
    Receipt {
        fleet: FleetId::new([1; 8]),
        device: DeviceId::new([1; 8]),
        id: ReceiptId([number; 8]),
        cause: CutCause::Time,
        changes: 1,
        cut: 2,
        at: UnixTime::from_secs(1_800_000_000),
        stopped_ms: 3,
    }
}

#[tokio::test]
async fn receipts_are_there_after_a_restart_in_their_order_until_they_were_taken_and_not_for_another_cloud() {
    let dir = enrolled();
    let store = start(boot(dir.path(), LIMIT).unwrap().0);
    // The later ones have the smaller names.
    for number in [9, 7, 5] {
        store.keep_receipt(receipt(number), None);
    }
    store.forget_receipt(ReceiptId([7; 8]));
    let both = Receipt { changes: 2, ..receipt(3) };
    store.keep_receipt(both, Some(ReceiptId([5; 8])));
    store.close().await;
    let (databases, booted) = boot(dir.path(), LIMIT).unwrap();
    assert_eq!(booted.receipts, [receipt(9), both]);
    drop(databases);
    enroll(dir.path(), &enrollment(), floor(2), b"another").unwrap();
    assert_eq!(peek(dir.path()).unwrap().receipts, []);
}

#[tokio::test]
async fn a_secret_that_was_kept_is_there_after_a_restart_and_one_that_was_forgotten_is_not() {
    let dir = enrolled();
    let name = |text: &str| text.parse::<Name>().unwrap();
    let store = start(boot(dir.path(), LIMIT).unwrap().0);
    store.keep_secret(name("hmi"), vec![1, 2]).await.unwrap();
    store.keep_secret(name("hmi"), vec![3]).await.unwrap();
    store.keep_secret(name("panel"), vec![4]).await.unwrap();
    assert!(store.forget_secret(name("panel")).await.unwrap());
    assert!(!store.forget_secret(name("panel")).await.unwrap());
    store.close().await;
    assert_eq!(boot(dir.path(), LIMIT).unwrap().1.secrets, BTreeMap::from([(name("hmi"), vec![3])]));
    assert_eq!(peek(dir.path()).unwrap().secrets.len(), 1);
}

/// A state with the secrets `hmi` and `panel`, and a snapshot that makes of them what `anew` says.
async fn install_over_secrets(
    anew: impl Fn(&Name, &[u8]) -> Result<Option<Vec<u8>>, StoreError> + Send + 'static,
) -> (tempfile::TempDir, Result<(), StoreError>) {
    let dir = enrolled();
    let store = start(boot(dir.path(), LIMIT).unwrap().0);
    store.keep_secret("hmi".parse().unwrap(), vec![1, 2]).await.unwrap();
    store.keep_secret("panel".parse().unwrap(), vec![3, 4]).await.unwrap();
    let installed =
        store.install(Staged { reseal: Some(Reseal::new(anew)), ..staged(floor(2), b"second") }).await;
    store.close().await;
    (dir, installed)
}

#[tokio::test]
async fn a_snapshot_for_another_key_is_stored_together_with_the_secrets_that_are_sealed_to_it() {
    let (dir, installed) = install_over_secrets(|name, sealed| {
        Ok((name.as_str() == "hmi").then(|| sealed.iter().rev().copied().collect()))
    })
    .await;
    installed.unwrap();
    let stored = peek(dir.path()).unwrap();
    assert_eq!(stored.sealed.as_deref(), Some(&b"second"[..]));
    let expected = [("hmi", vec![2, 1]), ("panel", vec![3, 4])];
    assert_eq!(stored.secrets, expected.map(|(name, sealed)| (name.parse().unwrap(), sealed)).into());
}

#[tokio::test]
async fn a_secret_that_cannot_be_sealed_anew_leaves_the_snapshot_before_and_every_secret_as_it_was() {
    let (dir, installed) = install_over_secrets(|name, sealed| match name.as_str() {
        "hmi" => Ok(Some(sealed.iter().rev().copied().collect())),
        _ => Err(StoreError::Reseal),
    })
    .await;
    assert!(matches!(installed, Err(StoreError::Reseal)));
    let stored = peek(dir.path()).unwrap();
    assert_eq!((stored.sealed.as_deref(), stored.floor), (Some(&b"first"[..]), Some(floor(1))));
    let expected = [("hmi", vec![1, 2]), ("panel", vec![3, 4])];
    assert_eq!(stored.secrets, expected.map(|(name, sealed)| (name.parse().unwrap(), sealed)).into());
}

#[test]
fn a_snapshot_that_retires_the_device_takes_its_secrets_in_the_same_transaction() {
    let dir = enrolled();
    let hmi: Name = "hmi".parse().unwrap();
    for (retired, left) in [(false, 1), (true, 0)] {
        keep_secret(dir.path(), &hmi, &[1, 2]).unwrap();
        // As a power cut leaves it that comes right behind the commit.
        let version = if retired { 3 } else { 2 };
        let staged = Staged { retired, ..staged(floor(version), b"next") };
        PolicyDb::open(dir.path()).unwrap().install(&staged).unwrap();
        let stored = peek(dir.path()).unwrap();
        assert_eq!((stored.floor, stored.secrets.len()), (Some(floor(version)), left));
    }
}

#[tokio::test]
async fn an_idle_store_writes_nothing() {
    let dir = enrolled();
    let store = start(boot(dir.path(), LIMIT).unwrap().0);
    store.append(UnixTime::EPOCH, Event::Stopped).await.unwrap();
    let written = |name: &str| {
        std::fs::metadata(dir.path().join(name)).map(|file| (file.len(), file.modified().ok())).ok()
    };
    let files = ["audit.db", "audit.db-wal", "policy.db", "policy.db-wal"];
    let before = files.map(written);
    store.keep_time(UnixTime::EPOCH).await;
    assert_eq!(store.newest(10).await.unwrap().len(), 1);
    assert_eq!(files.map(written), before);
}

#[tokio::test]
async fn a_floor_that_is_lost_in_database_and_files_is_read_from_the_trail() {
    let dir = enrolled();
    let store = start(boot(dir.path(), LIMIT).unwrap().0);
    let held = Held { epoch: 1, version: 7, digest: Digest::new([5; 32]) };
    for event in [Event::PolicyApplied { held, cut: 0 }, Event::Stopped] {
        store.append(UnixTime::EPOCH, event).await.unwrap();
    }
    store.close().await;
    for file in ["policy.db", "floor.a", "floor.b"] {
        std::fs::write(dir.path().join(file), vec![9; 8192]).unwrap();
    }
    let (_databases, booted) = boot(dir.path(), LIMIT).unwrap();
    assert_eq!((booted.sealed, booted.floor), (None, Some(floor(7))));
}

#[test]
fn a_state_directory_behind_a_link_is_used_and_a_database_that_is_a_link_is_not() {
    let dir = enrolled();
    let outside = tempfile::tempdir().unwrap();
    let link = outside.path().join("state");
    std::os::unix::fs::symlink(dir.path(), &link).unwrap();
    assert_eq!(boot(&link, LIMIT).unwrap().1.sealed.as_deref(), Some(&b"first"[..]));
    std::fs::rename(dir.path().join("policy.db"), outside.path().join("elsewhere.db")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("elsewhere.db"), dir.path().join("policy.db")).unwrap();
    assert_eq!(boot(&link, LIMIT).unwrap().1.sealed, None);
}

#[tokio::test]
async fn strangers_cannot_bring_the_trail_to_the_mark_that_shuts_the_gate() {
    let dir = enrolled();
    let store = start(boot(dir.path(), LIMIT).unwrap().0);
    let denied = |user| Event::Denied {
        user,
        service: None,
        reason: postern_protocol::policy::Reason::BadPass,
        fault: None,
        origin: None,
        peer: Peer { addr: ([192, 0, 2, 2], 1).into(), path: postern_protocol::path::Path::Direct },
        count: 1,
    };
    let mut rows = 0;
    while store.append(UnixTime::EPOCH, denied(None)).await.is_ok() {
        rows += 1;
        assert!(rows < 10_000, "nothing stops a stranger");
    }
    assert!(store.fill().percent() < 85, "{}", store.fill().percent());
    store.append(UnixTime::EPOCH, denied(Some(UserId::new([1; 8])))).await.unwrap();
    store.append(UnixTime::EPOCH, permitted()).await.unwrap();
}
