//! When the tunnels that one change stopped have all stopped.
//!
//! 1. [`Cuts::begin`] takes the moment at which a change took effect, before anything is decided again.
//! 2. [`Cuts::told`] notes each tunnel that is told to stop because of it; [`Cuts::decided`] says that these are all.
//! 3. [`Cuts::stopped`] hears of each tunnel that has stopped: its bytes have an end then. With the last of a change it yields
//!    what is to be said of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use postern_protocol::time::UnixTime;
use postern_protocol::trust::CutCause;

/// Changes whose tunnels have not all stopped.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    changes: BTreeMap<u64, Change>,
    /// By which change a tunnel was told to stop, by order of admission.
    tunnels: BTreeMap<u64, u64>,
    next: u64,
}

#[derive(Debug)]
struct Change {
    cause: CutCause,
    at: UnixTime,
    since: Instant,
    cut: u32,
    /// Of these, those that have not stopped.
    left: u32,
}

/// The stop of all tunnels that one change did not permit any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped {
    /// The change.
    pub(crate) cause: CutCause,
    /// How many there were; never none.
    pub(crate) cut: u32,
    /// When they were not permitted any more.
    pub(crate) at: UnixTime,
    /// From then until the last of them had stopped.
    pub(crate) took: Duration,
}

/// A change that is being decided about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deciding(u64);

impl Cuts {
    /// A change takes effect now.
    pub(super) fn begin(&mut self, cause: CutCause, at: UnixTime, since: Instant) -> Deciding {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.changes.insert(number, Change { cause, at, since, cut: 0, left: 0 });
        Deciding(number)
    }

    /// A tunnel was told to stop because of it.
    pub(super) fn told(&mut self, Deciding(number): Deciding, order: u64) {
        if let Some(change) = self.changes.get_mut(&number) {
            change.cut = change.cut.saturating_add(1);
            change.left = change.left.saturating_add(1);
            self.tunnels.insert(order, number);
        }
    }

    /// Nothing else is stopped by it; how many were told to.
    pub(super) fn decided(&mut self, Deciding(number): Deciding) -> u32 {
        let cut = self.changes.get(&number).map_or(0, |change| change.cut);
        if cut == 0 {
            self.changes.remove(&number);
        }
        cut
    }

    /// A tunnel has stopped, for whatever reason; what is to be said if it was the last of a change.
    pub(super) fn stopped(&mut self, order: u64, now: Instant) -> Option<Stopped> {
        let number = self.tunnels.remove(&order)?;
        let change = self.changes.get_mut(&number)?;
        change.left = change.left.saturating_sub(1);
        if change.left > 0 {
            return None;
        }
        let Change { cause, at, since, cut, .. } = self.changes.remove(&number)?;
        Some(Stopped { cause, cut, at, took: now.saturating_duration_since(since) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: CutCause = CutCause::Policy { epoch: 1, version: 2 };
    const AT: UnixTime = UnixTime::from_secs(1_800_000_000);

    #[test]
    fn a_change_is_told_of_when_its_last_tunnel_has_stopped_and_not_before() {
        let (mut cuts, began) = (Cuts::default(), Instant::now());
        let change = cuts.begin(POLICY, AT, began);
        cuts.told(change, 4);
        cuts.told(change, 9);
        assert_eq!(cuts.decided(change), 2);
        let later = |ms| began + Duration::from_millis(ms);
        assert_eq!(cuts.stopped(9, later(3)), None);
        assert_eq!(cuts.stopped(9, later(4)), None, "the same tunnel again");
        assert_eq!(cuts.stopped(7, later(5)), None, "a tunnel that ended by itself");
        let took = Duration::from_millis(20);
        assert_eq!(cuts.stopped(4, later(20)), Some(Stopped { cause: POLICY, cut: 2, at: AT, took }));
        assert_eq!(cuts.stopped(4, later(21)), None, "it is told of once");
    }

    #[test]
    fn a_change_that_stops_nothing_leaves_nothing_behind() {
        let mut cuts = Cuts::default();
        let change = cuts.begin(CutCause::Time, AT, Instant::now());
        assert_eq!(cuts.decided(change), 0);
        assert!(cuts.changes.is_empty() && cuts.tunnels.is_empty());
    }

    #[test]
    fn two_changes_one_behind_the_other_are_told_apart() {
        let (mut cuts, now) = (Cuts::default(), Instant::now());
        let (first, second) = (cuts.begin(POLICY, AT, now), cuts.begin(CutCause::Time, AT, now));
        cuts.told(first, 1);
        cuts.told(second, 2);
        let cause = |stopped: Option<Stopped>| stopped.unwrap().cause;
        assert_eq!(cause(cuts.stopped(2, now)), CutCause::Time);
        assert_eq!(cause(cuts.stopped(1, now)), POLICY);
        assert!(cuts.changes.is_empty() && cuts.tunnels.is_empty());
    }
}
