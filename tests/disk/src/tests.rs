use rusqlite::{Connection, ErrorCode};

use super::*;

fn database(dir: &Path) -> Connection {
    let connection = Connection::open(dir.canonicalize().unwrap().join("a.db")).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;").unwrap();
    connection.execute_batch("CREATE TABLE IF NOT EXISTS t (n INTEGER)").unwrap();
    connection
}

fn insert(connection: &Connection, number: i64) -> rusqlite::Result<usize> {
    connection.execute("INSERT INTO t VALUES (?1)", [number])
}

/// What is in the table of an image; none when there is none.
fn found(image: &Image) -> Option<Vec<i64>> {
    let dir = tempdir();
    write(&dir.0, image);
    let connection = Connection::open(dir.0.join("a.db")).unwrap();
    let mut all = connection.prepare("SELECT n FROM t ORDER BY n").ok()?;
    let rows = all.query_map([], |row| row.get(0)).unwrap();
    Some(rows.map(Result::unwrap).collect())
}

struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn tempdir() -> Dir {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("postern-disk-{}-{number}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    Dir(dir.canonicalize().unwrap())
}

#[test]
fn every_image_has_what_was_committed_and_what_was_not_is_there_or_not() {
    let dir = tempdir();
    let disk = Disk::under(&dir.0);
    let connection = database(&dir.0);
    insert(&connection, 1).unwrap();
    connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
    insert(&connection, 2).unwrap();
    let seen: Vec<_> = (0..64).map(|seed| found(&disk.image(&mut Dice::new(seed))).unwrap()).collect();
    assert!(seen.contains(&vec![1]) && seen.contains(&vec![1, 2]), "{seen:?}");
    assert!(seen.iter().all(|rows| *rows == [1] || *rows == [1, 2]), "{seen:?}");
}

#[test]
fn a_commit_whose_sync_failed_may_be_gone_though_a_later_sync_succeeds() {
    let dir = tempdir();
    let disk = Disk::under(&dir.0);
    plain::create(&dir.0.join("a")).unwrap();
    plain::sync_names(&dir.0).unwrap();
    plain::write(&dir.0.join("a"), b"x").unwrap();
    disk.fail(Fault::Sync, Span::Once, 0);
    assert_eq!(plain::sync(&dir.0.join("a")).unwrap_err().raw_os_error(), Some(5));
    plain::sync(&dir.0.join("a")).unwrap();
    let contents: Vec<_> = (0..64).map(|seed| disk.image(&mut Dice::new(seed))["a"].clone()).collect();
    assert!(contents.contains(&b"x".to_vec()) && contents.contains(&Vec::new()), "{contents:?}");
}

#[test]
fn a_rename_has_happened_or_not_and_never_half() {
    let dir = tempdir();
    let disk = Disk::under(&dir.0);
    let (from, to) = (dir.0.join("from"), dir.0.join("to"));
    plain::create(&from).unwrap();
    plain::sync_names(&dir.0).unwrap();
    plain::rename(&from, &to).unwrap();
    let names = |seed| disk.image(&mut Dice::new(seed)).into_keys().collect::<Vec<_>>();
    assert!((0..64).all(|seed| names(seed) == ["from"] || names(seed) == ["to"]));
    plain::sync_names(&dir.0).unwrap();
    assert!((0..64).all(|seed| names(seed) == ["to"]));
}

#[test]
fn each_fault_has_its_own_error_and_strikes_once_or_from_then_on() {
    let dir = tempdir();
    let disk = Disk::under(&dir.0);
    let connection = database(&dir.0);
    let cases = [
        (Fault::Full, ErrorCode::DiskFull),
        (Fault::Io, ErrorCode::SystemIoFailure),
        (Fault::ReadOnly, ErrorCode::ReadOnly),
        (Fault::Sync, ErrorCode::SystemIoFailure),
    ];
    for (number, (fault, code)) in (0..).zip(cases) {
        for span in [Span::Once, Span::FromThen] {
            disk.fail(fault, span, 0);
            assert_eq!(insert(&connection, number).unwrap_err().sqlite_error_code(), Some(code), "{fault:?}");
            assert!(disk.struck());
            let again = insert(&connection, number);
            assert_eq!(again.is_ok(), span == Span::Once, "{fault:?}: {again:?}");
            disk.heal();
        }
    }
}

#[test]
fn nothing_works_after_a_cut_and_a_file_of_another_directory_does() {
    let (dir, elsewhere) = (tempdir(), tempdir());
    let disk = Disk::under(&dir.0);
    let (connection, other) = (database(&dir.0), database(&elsewhere.0));
    let before = disk.changes();
    disk.fail(Fault::Cut, Span::FromThen, 1);
    insert(&connection, 1).unwrap_err();
    connection.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap_err();
    assert!(disk.struck());
    insert(&other, 1).unwrap();
    assert_eq!(disk.changes(), before + 2);
}

#[test]
fn without_shared_memory_a_write_ahead_log_is_refused_or_fails_later() {
    for (memory, mode, works) in [(Memory::Absent, "delete", true), (Memory::Refused, "wal", false)] {
        let dir = tempdir();
        let disk = Disk::under(&dir.0);
        disk.have(memory);
        let connection = Connection::open(dir.0.join("a.db")).unwrap();
        let set = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0));
        assert_eq!(set.unwrap(), mode, "{memory:?}");
        assert_eq!(connection.execute_batch("CREATE TABLE t (n INTEGER)").is_ok(), works, "{memory:?}");
    }
}
