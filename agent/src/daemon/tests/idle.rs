//! A day on which nobody wants anything: flash is not worn by it.

use std::sync::Arc;
use std::time::Duration;

use postern_disk::Disk;
use postern_protocol::policy::Reason;
use postern_protocol::session::freshness::Memory;
use postern_protocol::time::BootTime;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::life::{Life, holding, usual};
use crate::clock::Clock;
use crate::daemon::{edges, housekeeping, keep_time};

/// A clock that counts the time of the test, which jumps ahead whenever everybody waits.
fn clock(memory: &Memory) -> Clock {
    let began = Instant::now();
    let since = move || BootTime::from_millis(u64::try_from(began.elapsed().as_millis()).unwrap());
    Clock::with(since, memory)
}

/// What runs in an agent beside its sockets.
fn tasks(life: &Life) -> JoinSet<()> {
    let core = &life.core;
    let mut tasks = JoinSet::new();
    tasks.spawn(edges(Arc::clone(&core.registry), Arc::clone(&core.gate)));
    tasks.spawn(housekeeping(core.clone()));
    tasks.spawn(keep_time(core.clone()));
    tasks
}

/// Time passes as it is told, also while the store's thread works: without this it jumps ahead whenever everybody waits.
struct Time(std::sync::mpsc::Sender<()>);

impl Time {
    fn hold() -> Self {
        let (hold, held) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || held.recv());
        Self(hold)
    }

    /// Lets time pass, in which a hub answers if it is asked; how often it was.
    async fn pass(&self, life: &Life, time: Duration, answers: bool) -> u32 {
        let (began, mut answered) = (Instant::now(), 0);
        while began.elapsed() < time {
            tokio::time::advance(STEP).await;
            answered += u32::from(answers && life.answer());
            // Whoever was woken does what there is to do, and the store does it before anything else happens.
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            life.core.store.newest(1).await.unwrap();
        }
        answered
    }
}

impl Drop for Time {
    fn drop(&mut self) {
        let _gone = self.0.send(());
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const STEP: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn a_day_beside_a_hub_that_answers_writes_nothing() {
    let dir = holding(&usual(false).await);
    let disk = Disk::under(dir.path());
    let life = Life::start_with(dir.path(), clock).await.unwrap();
    let (time, _tasks) = (Time::hold(), tasks(&life));
    life.link(true);
    // The first answer dates the clock, which is stored.
    time.pass(&life, Duration::from_secs(60), true).await;
    let before = disk.changes();
    let answered = time.pass(&life, DAY, true).await;
    assert_eq!((disk.changes() - before, answered), (0, 24 * 12));
    assert_eq!((life.version(), life.denied()), (Some(2), None));
    // It would have been noticed.
    assert!(life.record(1).await && disk.changes() > before);
}

#[tokio::test(start_paused = true)]
async fn a_day_without_the_hub_writes_what_it_spends_and_nothing_when_all_is_spent() {
    let dir = holding(&usual(false).await);
    let disk = Disk::under(dir.path());
    let life = Life::start_with(dir.path(), clock).await.unwrap();
    let (time, _tasks) = (Time::hold(), tasks(&life));
    life.link(false);
    let before = disk.changes();
    time.pass(&life, DAY, false).await;
    // A day's budget in chunks of ten minutes, of which two starts have spent one each: one commit each, of two pages
    // and a sync. Its end is a row in the trail, of one page and a sync; a page is written with its head.
    assert_eq!(disk.changes() - before, 142 * 5 + 3);
    assert_eq!((life.version(), life.denied()), (Some(2), Some(Reason::PolicyStale)));
    let before = disk.changes();
    time.pass(&life, DAY, false).await;
    assert_eq!(disk.changes() - before, 0);
}
