//! What time it is at least: the wall clock, held above a floor that rises only from signed times.
//!
//! 1. A verified snapshot says when it was signed, and so does a verified pass: time is not before that.
//! 2. From the moment when the floor was learned it grows with the monotonic clock.
//! 3. Now is the later of wall clock and grown floor. A wall clock of 1970 therefore revives nothing.
//!
//! A newer snapshot that was signed *earlier* than its predecessor lowers the floor again: the newest word of the
//! cloud is also its newest word on time, so a cloud that once lived in the future is healed without a site visit.
//! A wall clock that runs ahead makes things expire early, and only for as long as it does.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use postern_protocol::time::UnixTime;

/// The device's clock. One per process.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    floor: Mutex<Floor>,
}

/// The signed lower bound of time; pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Floor {
    /// When the newest snapshot was signed.
    policy: UnixTime,
    /// The latest time at which a pass was signed.
    pass: UnixTime,
    /// Time since `started` at which the larger of them was learned.
    learned: Duration,
}

impl Clock {
    /// A clock that knows nothing but the persisted time of the last pass.
    pub(crate) fn new(pass: UnixTime) -> Self {
        let floor = Floor { policy: UnixTime::EPOCH, pass, learned: Duration::ZERO };
        Self { started: Instant::now(), floor: Mutex::new(floor) }
    }

    /// The device's time.
    pub(crate) fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.since_epoch().as_secs())
    }

    /// How long it is until `time`, to the millisecond; zero when it has come.
    pub(crate) fn until(&self, time: UnixTime) -> Duration {
        Duration::from_secs(time.as_secs()).saturating_sub(self.since_epoch())
    }

    /// The signed lower bound, without growth.
    pub(crate) fn floor(&self) -> UnixTime {
        self.lock().base()
    }

    /// When the snapshot in force was signed.
    pub(crate) fn policy_dated(&self) -> UnixTime {
        self.lock().policy
    }

    /// What the wall clock says, believed or not.
    pub(crate) fn wall() -> UnixTime {
        UnixTime::from_secs(wall().as_secs())
    }

    /// A snapshot came into force that was signed at `issued`.
    pub(crate) fn learn_policy(&self, issued: UnixTime) {
        let learned = self.started.elapsed();
        let mut floor = self.lock();
        *floor = floor.with_policy(issued, learned);
    }

    /// A pass was verified that was signed at `issued`. Returns the new time to persist, when it rose noticeably.
    pub(crate) fn learn_pass(&self, issued: UnixTime) -> Option<UnixTime> {
        // A pass may be dated a little ahead, but not push time ahead: with many of them whoever holds the identity
        // key could walk the device into a future in which every policy is over, and the floor would keep it there.
        let issued = issued.min(self.now());
        let learned = self.started.elapsed();
        let mut floor = self.lock();
        let rises = issued > floor.base().saturating_add(PERSIST_STEP_S);
        *floor = floor.with_pass(issued, learned);
        rises.then_some(issued)
    }

    fn since_epoch(&self) -> Duration {
        self.lock().now(wall(), self.started.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Floor> {
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Floor {
    fn base(&self) -> UnixTime {
        self.policy.max(self.pass)
    }

    fn now(&self, wall: Duration, elapsed: Duration) -> Duration {
        let grown =
            Duration::from_secs(self.base().as_secs()).saturating_add(elapsed.saturating_sub(self.learned));
        wall.max(grown)
    }

    fn with_policy(self, issued: UnixTime, learned: Duration) -> Self {
        // Signed later with a higher version, yet dated earlier: what came before was dated wrongly.
        let pass = if issued < self.policy { self.pass.min(issued) } else { self.pass };
        Self { policy: issued, pass, learned: self.learned }.relearn(self, learned)
    }

    fn with_pass(self, issued: UnixTime, learned: Duration) -> Self {
        Self { pass: self.pass.max(issued), ..self }.relearn(self, learned)
    }

    /// Growth starts anew only when the base changed; otherwise time would step back.
    fn relearn(mut self, before: Self, learned: Duration) -> Self {
        let grown = before.base().saturating_add(learned.saturating_sub(before.learned).as_secs());
        let raised = self.base() > grown;
        let lowered = self.base() < before.base();
        if raised || lowered {
            self.learned = learned;
        } else if self.base() > before.base() {
            // Between the old base and what it has grown to: keep the growth.
            let behind = grown.secs_since(self.base());
            self.learned = learned.saturating_sub(Duration::from_secs(behind));
        }
        self
    }
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Passes are signed every few hours; a floor that lags by a minute costs nothing and saves flash.
const PERSIST_STEP_S: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn floor(policy: u64, pass: u64) -> Floor {
        Floor {
            policy: UnixTime::from_secs(policy),
            pass: UnixTime::from_secs(pass),
            learned: Duration::ZERO,
        }
    }

    #[test]
    fn a_wall_clock_below_the_floor_is_replaced_by_floor_and_uptime() {
        assert_eq!(floor(1000, 0).now(secs(5), secs(7)), secs(1007));
        assert_eq!(floor(1000, 2000).now(secs(5), secs(7)), secs(2007));
    }

    #[test]
    fn a_wall_clock_above_the_floor_is_believed() {
        assert_eq!(floor(1000, 0).now(secs(5000), secs(7)), secs(5000));
    }

    #[test]
    fn learning_an_older_pass_does_not_turn_time_back() {
        let before = floor(1000, 0);
        let after = before.with_pass(UnixTime::from_secs(500), secs(100));
        assert_eq!(after.now(secs(0), secs(100)), secs(1100));
        let between = before.with_pass(UnixTime::from_secs(1050), secs(100));
        assert_eq!(between.now(secs(0), secs(100)), secs(1100));
        let later = before.with_pass(UnixTime::from_secs(1500), secs(100));
        assert_eq!(later.now(secs(0), secs(110)), secs(1510));
    }

    #[test]
    fn a_newer_snapshot_that_is_dated_earlier_heals_a_floor_in_the_future() {
        let future = floor(9_000, 9_500);
        let healed = future.with_policy(UnixTime::from_secs(1000), secs(50));
        assert_eq!(healed.now(secs(1_234), secs(50)), secs(1_234));
        assert_eq!(healed.now(secs(0), secs(60)), secs(1_010));
    }

    #[test]
    fn passes_that_are_dated_ahead_do_not_walk_time_into_the_future() {
        let start = 4_000_000_000;
        let clock = Clock::new(UnixTime::from_secs(start));
        for _ in 0..100 {
            assert_eq!(clock.learn_pass(clock.now().saturating_add(300)), None);
        }
        assert!(clock.floor() < UnixTime::from_secs(start + 60), "{}", clock.floor());
    }

    #[test]
    fn a_pass_is_persisted_only_when_the_floor_rises_noticeably() {
        let clock = Clock::new(UnixTime::from_secs(1000));
        assert_eq!(clock.learn_pass(UnixTime::from_secs(1030)), None);
        assert_eq!(clock.learn_pass(UnixTime::from_secs(2000)), Some(UnixTime::from_secs(2000)));
        assert_eq!(clock.floor(), UnixTime::from_secs(2000));
    }
}
