//! File systems without memory that processes share, which the write-ahead log needs: JFFS2, some overlays, some network disks.

use std::path::Path;

use postern_disk::{Dice, Disk, Fault, Memory, Span};
use rusqlite::Connection;

use super::life::{Life, directory, enrol, holding, policy, usual};

/// How the journal is kept, as the file says.
fn is_write_ahead(dir: &Path, file: &str) -> bool {
    std::fs::read(dir.join(file)).unwrap()[18] == 2
}

#[tokio::test]
async fn a_device_is_enrolled_serves_and_keeps_everything_without_shared_memory() {
    for memory in [Memory::Absent, Memory::Refused] {
        let dir = directory();
        let disk = Disk::under(dir.path());
        disk.have(memory);
        enrol(dir.path()).unwrap();
        let mut life = Life::start(dir.path()).await.unwrap();
        assert!(life.take(policy(2, life.core.keys.public(), 0)).await, "{memory:?}");
        assert!(life.record(1).await, "{memory:?}");
        assert!(!is_write_ahead(dir.path(), "policy.db") && !is_write_ahead(dir.path(), "audit.db"));
        life.paid().await;
        life.end().await;
        let life = Life::start(dir.path()).await.unwrap();
        assert_eq!((life.version(), life.denied()), (Some(2), None), "{memory:?}");
        assert_eq!(life.numbers().await, [1]);
        life.end().await;
    }
}

#[tokio::test]
async fn a_state_that_was_copied_to_such_a_disk_serves_there_and_back_again() {
    for (memory, sudden) in
        [(Memory::Absent, false), (Memory::Absent, true), (Memory::Refused, false), (Memory::Refused, true)]
    {
        let dir = holding(&usual(sudden).await);
        let disk = Disk::under(dir.path());
        for memory in [memory, Memory::Shared, memory] {
            disk.have(memory);
            let life = Life::start(dir.path()).await.unwrap();
            assert_eq!((life.version(), life.denied()), (Some(2), None), "{memory:?}, {sudden}");
            assert!(life.record(1).await, "{memory:?}, {sudden}");
            life.end().await;
        }
    }
}

#[tokio::test]
async fn the_power_goes_at_each_change_without_shared_memory() {
    let seed = Dice::seed(1);
    let before = {
        let dir = directory();
        let disk = Disk::under(dir.path());
        disk.have(Memory::Refused);
        enrol(dir.path()).unwrap();
        let mut life = Life::start(dir.path()).await.unwrap();
        assert!(life.take(policy(2, life.core.keys.public(), 0)).await);
        life.paid().await;
        life.end().await;
        postern_disk::read(dir.path())
    };
    for change in 0.. {
        let dir = holding(&before);
        let disk = Disk::under(dir.path());
        disk.have(Memory::Refused);
        let mut life = Life::start(dir.path()).await.unwrap();
        disk.fail(Fault::Cut, Span::FromThen, change);
        let key = life.core.keys.public();
        let recorded = life.record(1).await;
        let least = if life.take(policy(4, key, 0)).await { 4 } else { 2 };
        life.end().await;
        if !disk.struck() {
            assert!(change > 20, "{change}");
            return;
        }
        for image in 0..4 {
            let what = format!("POSTERN_SEED={seed}, change {change}");
            let image = disk.image(&mut Dice::new(seed + u64::from(change * 4 + image)));
            let dir = holding(&image);
            let disk = Disk::under(dir.path());
            disk.have(Memory::Refused);
            let life = Life::start(dir.path()).await.unwrap_or_else(|error| panic!("{error}: {what}"));
            let version = life.version().unwrap_or_else(|| panic!("no policy is in force: {what}"));
            assert!((least..=4).contains(&version) && life.denied().is_none(), "{version}: {what}");
            assert!(!recorded || life.numbers().await == [1], "a row is lost: {what}");
            life.end().await;
        }
    }
}

#[tokio::test]
async fn whoever_reads_beside_an_agent_without_shared_memory_is_told_that_it_is_locked() {
    let dir = directory();
    let disk = Disk::under(dir.path());
    disk.have(Memory::Absent);
    enrol(dir.path()).unwrap();
    let life = Life::start(dir.path()).await.unwrap();
    let beside = Connection::open(dir.path().canonicalize().unwrap().join("policy.db")).unwrap();
    beside.busy_timeout(std::time::Duration::ZERO).unwrap();
    let error = beside.query_row("SELECT 1 FROM policy", [], |_row| Ok(())).unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy));
    drop(beside);
    life.end().await;
}
