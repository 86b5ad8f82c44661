//! What a timestamp has named and is not here: a policy, a root, a lock. What does not come in time is withheld.
//!
//! 1. [`Missing::handle_named`] begins the countdown with the first word of something; later words add to it.
//! 2. What comes is taken off; a part of something large that comes gives the rest more time.
//! 3. [`Missing::poll_overdue`] yields the cause of an alarm once. While the link is down nothing is overdue.

use std::time::Duration;

use super::alarm::Cause;
use crate::time::BootTime;
use crate::wire::control::Held;

/// What was named and is not here; pure.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Missing(Option<Wait>);

/// Newer things that a timestamp names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) policy: Option<Held>,
    /// Version of a root.
    pub(super) root: Option<u32>,
    /// Sequence of a lock.
    pub(super) lock: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    names: Names,
    /// When it was named first.
    since: BootTime,
    /// When it is overdue; none while the link is down.
    due: Option<BootTime>,
    is_reported: bool,
}

impl Names {
    /// Whether nothing is named.
    pub(super) const fn is_empty(&self) -> bool {
        self.policy.is_none() && self.root.is_none() && self.lock.is_none()
    }
}

impl Missing {
    /// A timestamp names what is not here.
    pub(super) fn handle_named(&mut self, names: Names, is_linked: bool, now: BootTime) {
        let due = is_linked.then(|| now.after(DELIVERY));
        let wait = self.0.unwrap_or(Wait { names, since: now, due, is_reported: false });
        let names = Names {
            policy: names.policy.or(wait.names.policy),
            root: names.root.or(wait.names.root),
            lock: names.lock.or(wait.names.lock),
        };
        self.0 = Some(Wait { names, ..wait });
    }

    /// Everything that is named is here.
    pub(super) const fn handle_complete(&mut self) {
        self.0 = None;
    }

    /// Keeps what `left` leaves; whether something was taken off.
    pub(super) fn handle_came(&mut self, left: impl FnOnce(Names) -> Names) -> bool {
        let Some(wait) = self.0 else { return false };
        let names = left(wait.names);
        self.0 = (!names.is_empty()).then_some(Wait { names, ..wait });
        names != wait.names
    }

    /// The link came up or went down.
    pub(super) fn handle_link(&mut self, is_up: bool, now: BootTime) {
        if let Some(wait) = &mut self.0 {
            wait.due = is_up.then(|| now.after(DELIVERY));
        }
    }

    /// A part of what is being pushed came. Something large over a slow link is not withheld.
    pub(super) fn handle_progress(&mut self, now: BootTime) {
        if let Some(wait) = &mut self.0
            && now.since(wait.since) <= DELIVERY_AT_MOST
        {
            wait.due = wait.due.map(|_| now.after(DELIVERY));
        }
    }

    /// What became overdue by now; told once.
    pub(super) fn poll_overdue(&mut self, now: BootTime) -> Option<Cause> {
        let wait = self.0.as_mut().filter(|wait| wait.due.is_some_and(|due| due <= now))?;
        if std::mem::replace(&mut wait.is_reported, true) {
            return None;
        }
        let Names { policy, root, lock } = wait.names;
        let policy = policy.map(|named| Cause::MissingPolicy { named });
        let lock = lock.map(|sequence| Cause::MissingLock { sequence });
        policy.or(lock).or(root.map(|version| Cause::MissingRoot { version }))
    }

    /// When something becomes overdue.
    pub(super) fn due(&self) -> Option<BootTime> {
        self.0.filter(|wait| !wait.is_reported).and_then(|wait| wait.due)
    }

    /// Whether something may come any moment.
    pub(super) fn is_awaited(&self) -> bool {
        self.0.is_some_and(|wait| !wait.is_reported)
    }
}

/// Within this what was named must come, or a part of it.
const DELIVERY: Duration = Duration::from_secs(30);
/// A snapshot of 512 KiB over a link of 28 kbit/s.
const DELIVERY_AT_MOST: Duration = Duration::from_secs(180);
