//! The locks that a device holds: the union of what it took, until a snapshot lifts it.
//!
//! 1. [`Locks::handle_lock`] adds a verified lock. One that says nothing new is known; one that says all that an older
//!    one said, and came later, takes its place.
//! 2. Beyond [`limits::LOCKS`] that do not contain each other the whole device counts as locked.
//! 3. [`Locks::handle_snapshot`] drops what a snapshot in force lifts: locks of its epoch up to a sequence, and those of
//!    earlier epochs.
//!
//! So order, loss and replay of locks can only deny. Deliberately absent: any way in which a lock ends another one.

use crate::id::UserId;
use crate::limits;
use crate::name::Name;
use crate::trust::lock::{Lock, LockFault, LockTarget};

/// What is locked; empty at first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locks {
    /// Ascending by place.
    held: Vec<Held>,
}

/// The place of a lock among all of its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockPlace {
    /// The policy epoch.
    pub epoch: u32,
    /// Its sequence in that epoch.
    pub sequence: u64,
}

/// What became of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// All that it says was known.
    Known,
    /// It is held, and says all that these said.
    Held {
        /// Locks that are held no more.
        instead_of: Vec<LockPlace>,
    },
    /// There were too many: the whole device is locked at this place, instead of every lock that was held.
    Collapsed(LockPlace),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    place: LockPlace,
    targets: Vec<LockTarget>,
}

impl Locks {
    /// Restores what was stored of a lock that was taken. What cannot be read locks the whole device: it said something,
    /// and nobody knows what.
    pub fn restore(&mut self, place: LockPlace, sealed: &[u8]) {
        let targets = Lock::stored(sealed).map_or_else(|_| vec![LockTarget::Device], |lock| lock.targets);
        self.insert(Held { place, targets });
    }

    /// Takes a verified lock, if the policy in force has not lifted it. `cleared` is what that policy says, if it is of
    /// the lock's epoch.
    ///
    /// # Errors
    /// [`LockFault::Cleared`].
    pub fn handle_lock(&mut self, lock: &Lock, cleared: u64) -> Result<Taken, LockFault> {
        if lock.sequence <= cleared {
            return Err(LockFault::Cleared { found: lock.sequence, cleared });
        }
        let place = LockPlace { epoch: lock.epoch, sequence: lock.sequence };
        let peers = |held: &&Held| held.place.epoch == place.epoch;
        // A replay of an older lock adds nothing to a later one that says as much.
        let known =
            |held: &Held| held.place.sequence >= place.sequence && covers(&held.targets, &lock.targets);
        if self.held.iter().filter(peers).any(known) {
            return Ok(Taken::Known);
        }
        let replaced = |held: &&Held| held.place <= place && covers(&lock.targets, &held.targets);
        let instead_of: Vec<LockPlace> =
            self.held.iter().filter(peers).filter(replaced).map(|held| held.place).collect();
        self.held.retain(|held| !instead_of.contains(&held.place));
        if self.held.len() >= limits::LOCKS {
            let highest = self.held.iter().map(|held| held.place).max().map_or(place, |last| last.max(place));
            self.held = vec![Held { place: highest, targets: vec![LockTarget::Device] }];
            return Ok(Taken::Collapsed(highest));
        }
        self.insert(Held { place, targets: lock.targets.clone() });
        Ok(Taken::Held { instead_of })
    }

    /// Drops what a snapshot in force lifts. Returns the highest place that was lifted.
    pub fn handle_snapshot(&mut self, epoch: u32, cleared: u64) -> Option<LockPlace> {
        let lifted = |held: &Held| held.place <= LockPlace { epoch, sequence: cleared };
        let highest = self.held.iter().filter(|held| lifted(held)).map(|held| held.place).max();
        self.held.retain(|held| !lifted(held));
        highest
    }

    /// The highest sequence that is held of an epoch; 0 for none.
    #[must_use]
    pub fn highest(&self, epoch: u32) -> u64 {
        let of_epoch = self.held.iter().filter(|held| held.place.epoch == epoch);
        of_epoch.map(|held| held.place.sequence).max().unwrap_or(0)
    }

    /// Whether nothing is locked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether the whole device is locked.
    #[must_use]
    pub fn deny_device(&self) -> bool {
        self.targets().any(|target| *target == LockTarget::Device)
    }

    /// Whether a user is locked.
    #[must_use]
    pub fn deny_user(&self, user: UserId) -> bool {
        self.targets().any(|target| *target == LockTarget::User(user))
    }

    /// Whether the grants of a category, by its name in a snapshot, are void.
    #[must_use]
    pub fn deny_category(&self, category: &Name) -> bool {
        self.targets().any(|target| target.is_category(category))
    }

    /// Everything that is locked, a target as often as locks name it.
    pub fn targets(&self) -> impl Iterator<Item = &LockTarget> {
        self.held.iter().flat_map(|held| &held.targets)
    }

    fn insert(&mut self, held: Held) {
        let at = self.held.partition_point(|other| other.place < held.place);
        // Two locks of one place say different things only when somebody signs two stories: both deny.
        self.held.insert(at, held);
    }
}

/// Whether everything that `these` deny, `those` deny too.
fn covers(those: &[LockTarget], these: &[LockTarget]) -> bool {
    those.contains(&LockTarget::Device) || these.iter().all(|target| those.contains(target))
}

#[cfg(test)]
mod tests;
