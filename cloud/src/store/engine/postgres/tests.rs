use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;

use postern_postgres::Server;
use postern_protocol::id::FleetId;
use postern_protocol::time::UnixTime;

use super::*;
use crate::store::engine::{Engine, params};
use crate::store::{AlarmKind, DatabaseFile, Installation, Store, StoreError};

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

fn installation(id: u8) -> Installation {
    Installation {
        fleet: FleetId::new([id; 8]),
        listen: "127.0.0.1:0".parse().unwrap(),
        advertise: Vec::new(),
    }
}

fn store(url: &str) -> Store {
    Store::create_in(&DatabaseFile::new(url), &installation(1), b"root").unwrap()
}

fn database(url: &str) -> &str {
    url.split(['/', '?']).nth(3).unwrap()
}

fn log(store: &Store, what: &str) -> Result<i64, StoreError> {
    store.write(|tx| tx.log(NOW, "test", what))
}

fn noted(store: &Store) -> Vec<String> {
    let revisions = store.read(|tx| tx.revisions(100)).unwrap();
    revisions.into_iter().rev().map(|revision| revision.what).collect()
}

#[test]
fn both_engines_have_the_same_tables_with_the_same_columns_keys_and_references() {
    let Some(server) = Server::start() else { return };
    let url = server.database();
    let _made = store(&url);
    let lines = |text: String| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let ask = |sql: &str| lines(server.sql(database(&url), sql));
    let columns = ask(
        "SELECT table_name || '.' || column_name || ' ' || data_type
             || CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT IN ('mark', 'schema_step')",
    );
    let references = ask(
        "SELECT conrelid::regclass || '.' || (SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = conkey[1])
             || ' ' || confrelid::regclass || CASE confdeltype WHEN 'c' THEN ' cascade' ELSE '' END
         FROM pg_constraint WHERE contype = 'f'",
    );
    let unique = ask(
        "SELECT indrelid::regclass || ' ' || (SELECT string_agg(attname, ',' ORDER BY place)
             FROM unnest(indkey) WITH ORDINALITY AS part (number, place) JOIN pg_attribute ON attrelid = indrelid AND attnum = number)
         FROM pg_index WHERE indisunique AND indrelid::regclass::text NOT IN ('mark', 'schema_step')
             AND indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)",
    );
    let directory = tempfile::tempdir().unwrap();
    let file = Store::create(&directory.path().join("cloud.db"), &installation(1), b"root").unwrap();
    drop(file);
    let file = rusqlite::Connection::open(directory.path().join("cloud.db")).unwrap();
    let ask = |sql: &str| -> BTreeSet<String> {
        let mut query = file.prepare(sql).unwrap();
        query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let tables = "(SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%') AS one";
    assert_eq!(
        columns,
        ask(&format!(
            "SELECT one.name || '.' || field.name || ' '
                 || CASE field.type WHEN 'INTEGER' THEN 'bigint' WHEN 'BLOB' THEN 'bytea' ELSE lower(field.type) END
                 || CASE WHEN field.\"notnull\" OR field.pk THEN ' not null' ELSE '' END
             FROM {tables} JOIN pragma_table_info(one.name) AS field"
        ))
    );
    assert_eq!(
        references,
        ask(&format!(
            "SELECT one.name || '.' || field.\"from\" || ' ' || field.\"table\"
                 || CASE field.on_delete WHEN 'CASCADE' THEN ' cascade' ELSE '' END
             FROM {tables} JOIN pragma_foreign_key_list(one.name) AS field"
        ))
    );
    let mut in_file = ask(&format!(
        "SELECT one.name || ' ' || (SELECT group_concat(name, ',') FROM (SELECT name FROM pragma_index_info(field.name) ORDER BY seqno))
         FROM {tables} JOIN pragma_index_list(one.name) AS field WHERE field.\"unique\""
    ));
    // Keys that are SQLite's own number of a row have no index there.
    in_file.extend(ask(&format!(
        "SELECT one.name || ' ' || field.name FROM {tables} JOIN pragma_table_info(one.name) AS field
         WHERE field.pk AND field.type = 'INTEGER'
           AND (SELECT count(*) FROM pragma_table_info(one.name) WHERE pk) = 1"
    )));
    assert_eq!(unique, in_file);
    let steps = i64::try_from(crate::store::schema::STEPS.len()).unwrap();
    assert_eq!(schema::BASE_STEP + i64::try_from(schema::LATER.len()).unwrap(), steps, "a step for both");
}

#[test]
fn what_only_reads_cannot_write() {
    let Some(server) = Server::start() else { return };
    let store = store(&server.database());
    let written = store.read(|tx| tx.log(NOW, "test", "not allowed"));
    let expected = "the database: cannot execute INSERT in a read-only transaction (SQLSTATE 25006)";
    assert_eq!(written.unwrap_err().to_string(), expected);
    log(&store, "allowed").unwrap();
    assert_eq!(noted(&store), ["allowed"]);
}

#[test]
fn a_server_that_was_killed_is_found_again_and_nothing_is_half_stored() {
    let Some(mut server) = Server::start() else { return };
    let store = store(&server.database());
    log(&store, "one").unwrap();
    let within: Result<(), StoreError> = store.write(|tx| {
        tx.log(NOW, "test", "lost")?;
        server.kill();
        tx.log(NOW, "test", "lost too").map(drop)
    });
    let error = within.unwrap_err();
    assert!(matches!(error, StoreError::Database(DatabaseError::Lost(_))), "{error}");
    let error = log(&store, "away").unwrap_err();
    assert!(matches!(error, StoreError::Database(DatabaseError::Unreachable(_))), "{error}");
    server.start_again();
    log(&store, "two").unwrap();
    assert_eq!(noted(&store), ["one", "two"]);
    // Between two transactions it is not even noticed.
    server.kill();
    server.start_again();
    log(&store, "three").unwrap();
    assert_eq!(noted(&store), ["one", "two", "three"]);
}

#[test]
fn a_commit_whose_answer_was_lost_is_known_by_its_mark() {
    let Some(server) = Server::start() else { return };
    let url = server.database();
    let store = store(&url);
    log(&store, "one").unwrap();
    let mut engine = store.engine.lock().unwrap();
    let Engine::Postgres(database) = &mut *engine else { panic!("on a server") };
    assert!(!database.is_stored("00112233445566778899aabbccddeeff").unwrap());
    let newest =
        server.sql(self::database(&url), "SELECT encode(mark, 'hex') FROM mark ORDER BY number DESC LIMIT 1");
    assert!(database.is_stored(&newest).unwrap());
}

#[test]
fn writers_of_two_processes_are_one_after_another_and_each_sees_what_the_other_wrote() {
    let Some(server) = Server::start() else { return };
    let file = DatabaseFile::new(&server.database());
    let one = Store::create_in(&file, &installation(1), b"root").unwrap();
    let two = Store::open_in(&file).unwrap();
    let before = one.data_version().unwrap();
    log(&one, "own").unwrap();
    assert_eq!(one.data_version().unwrap(), before, "own writes are known already");
    std::thread::scope(|scope| {
        for store in [&one, &two] {
            scope.spawn(move || {
                for n in 0..50 {
                    log(store, &n.to_string()).unwrap();
                }
            });
        }
    });
    let revisions = one.read(|tx| tx.revisions(1000)).unwrap();
    let numbers: Vec<i64> = revisions.into_iter().rev().map(|revision| revision.number).collect();
    assert_eq!(numbers, (1..=101).collect::<Vec<_>>());
    assert_ne!(one.data_version().unwrap(), before);
}

#[test]
fn a_database_has_one_installation_and_keys_of_another_do_not_fit() {
    let Some(server) = Server::start() else { return };
    let url = server.database();
    let file = DatabaseFile::new(&url);
    assert_eq!(
        Store::open_in(&file).unwrap_err().to_string(),
        "the database: the database has no state of an installation"
    );
    drop(store(&url));
    let again = Store::create_in(&file, &installation(2), b"root").unwrap_err();
    let (one, two) = (FleetId::new([1; 8]), FleetId::new([2; 8]));
    assert_eq!(
        again.to_string(),
        format!(
            "the database: the database has the state of installation {one} already; another one needs a database of its own"
        )
    );
    let strange = Store::open_in(&DatabaseFile { fleet: Some(two), ..file.clone() }).unwrap_err();
    assert_eq!(
        strange.to_string(),
        format!(
            "the database: the database has the state of installation {one}, and the state directory the keys of {two}"
        )
    );
    Store::open_in(&DatabaseFile { fleet: Some(one), ..file }).unwrap();
}

#[test]
fn a_database_of_a_later_version_is_refused() {
    let Some(server) = Server::start() else { return };
    let url = server.database();
    drop(store(&url));
    server.sql(database(&url), "UPDATE schema_step SET number = 99");
    let error = Store::open_in(&DatabaseFile::new(&url)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the stored state has schema 99, this version knows up to 19; use a newer postern-cloud"
    );
}

#[test]
fn an_alarm_about_a_device_that_never_was_is_refused_by_a_server_as_well() {
    let Some(server) = Server::start() else { return };
    let raised =
        store(&server.database()).write(|tx| tx.alarm(&"d9".parse().unwrap(), AlarmKind::Clone, "", NOW));
    let said = raised.unwrap_err().to_string();
    assert!(
        said.starts_with("the database: insert or update on table \"alarm\" violates foreign key"),
        "{said}"
    );
}

#[test]
fn walks_read_in_the_order_of_an_index_and_sort_nothing() {
    let Some(server) = Server::start() else { return };
    let store = store(&server.database());
    let mut engine = store.engine.lock().unwrap();
    let Engine::Postgres(database) = &mut *engine else { panic!("on a server") };
    let transaction = database.begin(Access::Write).unwrap();
    let session = transaction.session().unwrap();
    session
        .batch(
            "INSERT INTO trail_log SELECT 1, 'd1', 'x', 1, 'x', 1, 1, 'x', 1, 'x';
             INSERT INTO trail_row SELECT 1, n, n, 'denied', 'u', NULL, 'web', 'x', 'x', n, 'denied' FROM generate_series(1, 50000) AS n;
             ANALYZE trail_row",
        )
        .unwrap();
    for (condition, values) in [
        ("", Vec::new()),
        ("log = ? AND ", vec![Value::Integer(1)]),
        ("verdict = ? AND ", vec![Value::Text("denied".into())]),
        ("service = ? AND ", vec![Value::Text("web".into())]),
    ] {
        let text = format!(
            "SELECT at, log, seq FROM trail_row WHERE {condition}at >= ? AND at <= ? ORDER BY at DESC, log DESC, seq DESC"
        );
        let all: Vec<Value<'_>> =
            values.into_iter().chain([Value::Integer(0), Value::Integer(i64::MAX)]).collect();
        let statement = transaction.prepare(&text).unwrap();
        let mut rows = statement.walk(&all).unwrap();
        let mut seen = 0;
        while rows.next().unwrap().is_some() {
            seen += 1;
        }
        assert_eq!(seen, 50_000);
        drop(rows);
        let explain = transaction.prepare(&format!("EXPLAIN {text} LIMIT 64")).unwrap();
        let mut plan = explain.query(&all).unwrap();
        let mut steps = Vec::new();
        while let Some(row) = plan.next().unwrap() {
            steps.push(row.get::<_, String>(0));
        }
        assert!(!steps.iter().any(|step| step.contains("Sort")), "{steps:?}");
    }
    assert_eq!(transaction.walks.get(), 0);
    let nothing: &[Value<'_>] = params![];
    assert_eq!(nothing.len(), 0);
}

#[test]
fn a_server_in_plain_text_elsewhere_and_one_that_nobody_vouches_for_are_refused() {
    let Some(server) = Server::start() else { return };
    let url = server.database_over_tcp();
    let elsewhere = format!("{}?hostaddr=127.0.0.1", url.replace("127.0.0.1", "db.example"));
    let error = Store::open_in(&DatabaseFile::new(&elsewhere)).unwrap_err().to_string();
    assert_eq!(
        error,
        "the database: the server cannot be reached: error performing TLS handshake: server does not support TLS; with `sslmode=disable` \
         in the URL it would be spoken to in plain text"
    );
    let plain = format!("{elsewhere}&sslmode=disable");
    Store::create_in(&DatabaseFile::new(&plain), &installation(1), b"root").unwrap();
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}

#[test]
fn a_server_is_believed_by_its_name_and_authority_and_not_otherwise() {
    let authority = || {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        rcgen::CertifiedIssuer::self_signed(parameters, rcgen::KeyPair::generate().unwrap()).unwrap()
    };
    let (trusted, other) = (authority(), authority());
    let key = rcgen::KeyPair::generate().unwrap();
    let named = rcgen::CertificateParams::new(vec!["db.example".to_owned()]).unwrap();
    let certificate = named.signed_by(&key, &trusted).unwrap();
    let Some(server) = Server::start_with_certificate(
        &pem("CERTIFICATE", certificate.der()),
        &pem("PRIVATE KEY", &key.serialize_der()),
    ) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let vouches = |name: &str, authority: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, authority).unwrap();
        path
    };
    let (trusted, other) = (
        vouches("trusted.pem", &pem("CERTIFICATE", trusted.der())),
        vouches("other.pem", &pem("CERTIFICATE", other.der())),
    );
    let url =
        |host: &str| format!("{}?hostaddr=127.0.0.1", server.database_over_tcp().replace("127.0.0.1", host));
    let file = |host: &str, authorities: &std::path::Path| DatabaseFile {
        authorities: Some(authorities.to_owned()),
        ..DatabaseFile::new(&url(host))
    };
    Store::create_in(&file("db.example", &trusted), &installation(1), b"root").unwrap();
    for (file, why) in [
        (file("db.example", &other), "invalid peer certificate"),
        (file("elsewhere.example", &trusted), "not valid for name"),
        (DatabaseFile::new(&url("db.example")), "invalid peer certificate"),
    ] {
        let error = Store::create_in(&file, &installation(1), b"root").unwrap_err().to_string();
        assert!(
            error.starts_with("the database: the server cannot be reached: error performing TLS"),
            "{error}"
        );
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn of_two_hubs_one_serves_and_one_that_lost_the_lock_does_not_get_it_back() {
    let Some(mut server) = Server::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    DatabaseFile::new(&server.database()).write(directory.path()).unwrap();
    let hub = || Primacy::of(directory.path()).unwrap().unwrap();
    let (one, two) = (hub(), hub());
    assert!(one.take().unwrap());
    assert!(!two.take().unwrap());
    one.keep().unwrap();
    // A server that was started anew knows of nobody: whoever asks first has it.
    server.kill();
    server.start_again();
    one.keep().unwrap();
    assert!(!two.take().unwrap());
    server.kill();
    server.start_again();
    assert!(two.take().unwrap());
    assert!(matches!(one.keep().unwrap_err(), DatabaseError::Superseded));
    // The end of a hub is the end of its lock.
    drop(two);
    let three = hub();
    while !three.take().unwrap() {
        std::thread::yield_now();
    }
    server.kill();
    assert!(three.keep().unwrap_err().is_end(), "nobody to ask");
}

/// A line to a server that is cut at the next commit: before it arrives there, or between it and its answer.
struct Line {
    port: u16,
    cut: mpsc::SyncSender<Cut>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    BeforeCommit,
    BehindCommit,
}

impl Line {
    fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, cuts) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let (mut answers, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut answers, &mut to_client));
                Self::carry(client, server, &cuts);
            }
        });
        Self { port, cut }
    }

    /// One connection after another.
    fn carry(mut client: TcpStream, mut server: TcpStream, cuts: &mpsc::Receiver<Cut>) {
        let mut piece = [0; 16 * 1024];
        let mut cut = None;
        while let Ok(count @ 1..) = client.read(&mut piece) {
            cut = cut.or_else(|| cuts.try_recv().ok());
            let commits = piece[..count].windows(7).any(|word| word == b"COMMIT\0");
            if commits && cut == Some(Cut::BeforeCommit) {
                break;
            }
            if commits && cut == Some(Cut::BehindCommit) {
                // Nothing that the server says from now on arrives.
                client.shutdown(Shutdown::Both).unwrap();
                server.write_all(&piece[..count]).unwrap();
                server.shutdown(Shutdown::Write).unwrap();
                return;
            }
            server.write_all(&piece[..count]).unwrap();
        }
        let _gone = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    }
}

#[test]
fn a_line_that_is_cut_at_a_commit_leaves_no_doubt_and_nothing_twice() {
    let Some(server) = Server::start() else { return };
    let line = Line::to(server.port());
    let url =
        server.database_over_tcp().replace(&format!(":{}/", server.port()), &format!(":{}/", line.port));
    let store = store(&url);
    log(&store, "one").unwrap();
    line.cut.send(Cut::BeforeCommit).unwrap();
    let error = log(&store, "two").unwrap_err();
    assert!(matches!(error, StoreError::Database(DatabaseError::Lost(_))), "{error}");
    assert_eq!(noted(&store), ["one"]);
    let before = store.data_version().unwrap();
    line.cut.send(Cut::BehindCommit).unwrap();
    assert_eq!(log(&store, "three").unwrap(), 2, "it is stored, and known to be");
    assert_eq!(noted(&store), ["one", "three"]);
    assert_eq!(store.data_version().unwrap(), before, "it is the own one");
}
