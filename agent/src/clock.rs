//! What time it is and how fresh the policy is: the watch of the core, on the clock that counts from boot.
//!
//! 1. Time is what was attested, plus `CLOCK_BOOTTIME`, which counts through suspend and which nobody can set. Without an
//!    attestation it is a lower bound.
//! 2. Whoever changes something here wakes [`Clock::changes`]; the daemon then stores, records and decides again.
//! 3. The system's wall clock is shown to people and decides nothing.
//!
//! Deliberately absent: rules. They are those of [`FreshnessWatch`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use postern_protocol::policy::{FreshnessState, Index, SelfTestFault};
use postern_protocol::session::alarm::Cause;
use postern_protocol::session::freshness::{FreshnessWatch, Heard, Memory, Note, Reading};
use postern_protocol::time::{BootTime, UnixTime};
use postern_protocol::trust::{Nonce, Timestamp};
use postern_protocol::wire::control::{Held, NackCode};

use crate::report::{AlarmReport, ClockReport, FreshnessReport};

/// The device's clock. One per process.
pub(crate) struct Clock {
    boot: Box<dyn Fn() -> BootTime + Send + Sync>,
    watch: Mutex<FreshnessWatch>,
    alarms: Mutex<Alarms>,
    /// Counts what may have moved an edge.
    changes: watch::Sender<u64>,
}

/// What was raised.
#[derive(Debug, Default)]
struct Alarms {
    /// The last ones, for people.
    recent: VecDeque<AlarmReport>,
    /// What the hub was not told yet.
    unsent: VecDeque<Cause>,
}

impl Clock {
    /// The clock of this machine.
    pub(crate) fn new(memory: &Memory) -> Self {
        Self::with(since_boot, memory)
    }

    /// A clock that counts as it is told.
    pub(crate) fn with(boot: impl Fn() -> BootTime + Send + Sync + 'static, memory: &Memory) -> Self {
        let watch = Mutex::new(FreshnessWatch::new(memory, boot()));
        Self { boot: Box::new(boot), watch, alarms: Mutex::default(), changes: watch::Sender::new(0) }
    }

    /// The device's time.
    pub(crate) fn now(&self) -> UnixTime {
        let now = (self.boot)();
        self.lock().time().at(now)
    }

    /// How long it is until `time`, to the millisecond; zero when it has come.
    pub(crate) fn until(&self, time: UnixTime) -> Duration {
        let now = (self.boot)();
        self.lock().time().until(time, now)
    }

    /// What a decision needs to know.
    pub(crate) fn reading(&self) -> Reading {
        let now = (self.boot)();
        self.lock().reading(now)
    }

    /// A verified policy comes into force.
    pub(crate) fn learn_policy(&self, index: &Index) {
        let (floor, snapshot) = (index.floor(), index.snapshot());
        let held = Held { epoch: floor.epoch, version: floor.version, digest: floor.digest };
        self.change(|watch, now| watch.handle_installed(held, snapshot.freshness, snapshot.issued, now));
    }

    /// A pushed policy was refused.
    pub(crate) fn refused(&self, claimed: Held, code: NackCode) {
        self.change(|watch, now| watch.handle_refused(claimed, code, now));
    }

    /// The self-test failed.
    pub(crate) fn failed(&self, fault: SelfTestFault) {
        self.change(|watch, now| watch.handle_self_test(fault, now));
    }

    /// A root came into force.
    pub(crate) fn learn_root(&self, version: u32) {
        self.change(|watch, now| watch.handle_root(version, now));
    }

    /// The highest lock that is in force, or lifted by the policy in force, is this one.
    pub(crate) fn learn_locks(&self, highest: u64) {
        self.change(|watch, now| watch.handle_locks(highest, now));
    }

    /// A pass was verified that was signed at `issued`.
    pub(crate) fn learn_pass(&self, issued: UnixTime) {
        self.change(|watch, now| watch.handle_signed(issued, now));
    }

    /// Whether the time was attested since boot.
    pub(crate) fn is_attested(&self) -> bool {
        self.lock().time().is_attested()
    }

    /// The link came up or went down.
    pub(crate) fn linked(&self, is_up: bool) {
        self.change(|watch, now| watch.handle_link(is_up, now));
    }

    /// Tunnels are live, or none is any more.
    pub(crate) fn tunnels(&self, are_live: bool) {
        self.change(|watch, now| watch.handle_tunnels(are_live, now));
    }

    /// A part of a push came.
    pub(crate) fn progress(&self) {
        let now = (self.boot)();
        self.lock().handle_progress(now);
    }

    /// What to ask the hub with, when it is to be asked now.
    pub(crate) fn question(&self) -> Option<Nonce> {
        let draw = || {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes).ok().map(|()| Nonce::new(bytes))
        };
        let now = (self.boot)();
        self.lock().poll_question(now, draw)
    }

    /// How long it is until the hub is to be asked.
    pub(crate) fn question_due(&self) -> Option<Duration> {
        let now = (self.boot)();
        self.lock().question_due().map(|due| due.since(now))
    }

    /// The nonce by which a timestamp is opened.
    pub(crate) fn nonce(&self) -> Option<Nonce> {
        self.lock().nonce()
    }

    /// Takes a timestamp that was opened. Live tunnels must be decided again when it was an answer.
    pub(crate) fn hear(&self, timestamp: &Timestamp) -> Heard {
        self.change(|watch, now| watch.handle_timestamp(timestamp, now))
    }

    /// What must be stored now.
    pub(crate) fn poll_note(&self) -> Option<Note> {
        let now = (self.boot)();
        self.lock().poll_note(now)
    }

    /// It was stored, or could not be.
    pub(crate) fn noted(&self, stored: bool) {
        self.change(|watch, now| watch.handle_noted(stored, now));
    }

    /// The next alarm to record. It is shown and reported from now on.
    pub(crate) fn poll_alarm(&self) -> Option<Cause> {
        let (cause, at) = {
            let now = (self.boot)();
            let mut watch = self.lock();
            (watch.poll_alarm(now)?, watch.time().at(now))
        };
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        let alarm = AlarmReport { at, kind: cause.kind(), detail: cause.to_string() };
        alarms.recent.truncate(RECENT - 1);
        alarms.recent.push_front(alarm);
        if alarms.unsent.len() < UNSENT {
            alarms.unsent.push_back(cause);
        }
        drop(alarms);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        Some(cause)
    }

    /// The next alarm that the hub was not told yet.
    pub(crate) fn unsent_alarm(&self) -> Option<Cause> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner).unsent.pop_front()
    }

    /// How long it is until something changes by itself.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let now = (self.boot)();
        self.lock().poll_timeout(now).map(|due| due.since(now))
    }

    /// Whether the policy is not fresh yet and a word of the cloud may come any moment.
    pub(crate) fn awaits_word(&self) -> bool {
        let now = (self.boot)();
        self.lock().awaits_word(now)
    }

    /// Hears of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What the policy in force is worth to new tunnels.
    pub(crate) fn state(&self) -> Option<FreshnessState> {
        let now = (self.boot)();
        self.lock().state(now)
    }

    /// The freshness of the policy in force, for people.
    pub(crate) fn freshness(&self) -> FreshnessReport {
        let now = (self.boot)();
        let watch = self.lock();
        let reading = watch.reading(now);
        FreshnessReport {
            state: watch.state(now).map_or("none", FreshnessState::word).to_owned(),
            confirmed: watch.is_confirmed(),
            fresh_until: Some(reading.live.fresh_until).filter(|until| *until > UnixTime::EPOCH),
            offline_left_s: watch.offline_left_s(now),
        }
    }

    /// What the system's clock says, for rows that are written while nobody knows better.
    pub(crate) fn wall() -> UnixTime {
        wall()
    }

    /// The time, for people.
    pub(crate) fn report(&self) -> ClockReport {
        ClockReport { now: self.now(), wall: wall(), attested: self.is_attested() }
    }

    /// The last alarms, newest first, for people.
    pub(crate) fn recent_alarms(&self) -> Vec<AlarmReport> {
        let alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        alarms.recent.iter().cloned().collect()
    }

    fn change<T>(&self, change: impl FnOnce(&mut FreshnessWatch, BootTime) -> T) -> T {
        let now = (self.boot)();
        let changed = change(&mut self.lock(), now);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        changed
    }

    fn lock(&self) -> MutexGuard<'_, FreshnessWatch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("watch", &self.watch).finish_non_exhaustive()
    }
}

/// What the wall clock says; shown, never believed.
fn wall() -> UnixTime {
    UnixTime::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// A system call without one: the kernel's clock page answers.
fn since_boot() -> BootTime {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    let millis = u64::try_from(time.tv_nsec / 1_000_000).unwrap_or(0);
    BootTime::from_millis(secs.saturating_mul(1000).saturating_add(millis))
}

/// Alarms that are shown.
const RECENT: usize = 8;
/// Alarms that wait for a link. Each kind comes once an hour; the trail has them all.
const UNSENT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_runs_and_the_wall_clock_is_only_shown() {
        let memory = Memory {
            time: UnixTime::from_secs(4_000_000_000),
            spent: 600,
            is_debited: true,
            root_version: 1,
        };
        let clock = Clock::new(&memory);
        let report = clock.report();
        assert!(report.now >= memory.time && report.now <= memory.time.saturating_add(60));
        assert!(!report.attested && report.wall < memory.time);
        assert!(since_boot() <= since_boot());
    }
}
