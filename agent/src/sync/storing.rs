//! What is in force and on its way to the disk. The link goes on meanwhile, however long the disk takes.
//!
//! 1. [`Storing::follow`] waits for a write beside everything else.
//! 2. [`Storing::next`] tells what became of one: [`Told::Late`] after a second, so that the hub learns that it is not
//!    stored, and [`Told::Done`] when the disk has answered.
//!
//! The number is bounded: a disk that hangs for hours does not pile up what a hub sends meanwhile.

use std::time::Duration;

use tokio::task::JoinSet;

use postern_protocol::policy::{Floor, LockPlace};
use postern_protocol::trust::PublicKey;
use postern_protocol::wire::control::Held;

use crate::store::{Pending, StoreError};

/// Writes that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Storing {
    waiting: JoinSet<Step>,
    policies: Vec<Floor>,
    locks: usize,
}

/// What is being written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Object {
    /// A snapshot.
    Policy(Activated),
    /// A lock.
    Lock(Locked),
    /// A root of this version.
    Root(u32),
}

/// A snapshot that is in force, and what follows from it once it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activated {
    /// Its name.
    pub(super) held: Held,
    /// The floor that it sets.
    pub(super) floor: Floor,
    /// The device's key that it is for.
    pub(super) addressed: PublicKey,
    /// Whether its commit seals to another key what was set on the device.
    pub(super) rekeys: bool,
    /// Whether it puts the device out of service.
    pub(super) retired: bool,
    /// Tunnels that it cut.
    pub(super) cut: u32,
    /// The highest lock that it lifted.
    pub(super) lifted: Option<u64>,
}

/// A lock that is in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Locked {
    /// Its place.
    pub(super) place: LockPlace,
    /// Tunnels that it cut.
    pub(super) cut: u32,
    /// The link over which it came.
    pub(super) link: u64,
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Told {
    /// It takes long. What becomes of it is told later.
    Late(Object),
    /// It was stored, or not.
    Done(Object, Result<(), StoreError>),
}

/// How far one has got.
enum Step {
    Late(Object, Pending),
    Done(Object, Result<(), StoreError>),
}

impl Storing {
    /// Waits for a write that has begun.
    pub(super) fn follow(&mut self, object: Object, mut write: Pending) {
        match object {
            Object::Policy(activated) => self.policies.push(activated.floor),
            Object::Lock(_) => self.locks += 1,
            Object::Root(_) => {}
        }
        self.waiting.spawn(async move {
            match tokio::time::timeout(PATIENCE, &mut write).await {
                Ok(stored) => Step::Done(object, stored),
                Err(_late) => Step::Late(object, write),
            }
        });
    }

    /// The next news; for ever without any. Nothing is lost when the caller stops waiting.
    pub(super) async fn next(&mut self) -> Told {
        loop {
            match self.waiting.join_next().await {
                Some(Ok(Step::Done(object, stored))) => {
                    self.forget(&object);
                    return Told::Done(object, stored);
                }
                Some(Ok(Step::Late(object, write))) => {
                    self.waiting.spawn(async move { Step::Done(object, write.await) });
                    return Told::Late(object);
                }
                // Nothing that waits here panics.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Whether one more snapshot may wait for the disk.
    pub(super) const fn has_room_for_policy(&self) -> bool {
        self.policies.len() < POLICIES
    }

    /// Whether one more lock may wait for the disk.
    pub(super) const fn has_room_for_lock(&self) -> bool {
        self.locks < LOCKS
    }

    /// Whether a snapshot waits for the disk.
    pub(super) fn has_policy(&self, floor: &Floor) -> bool {
        self.policies.contains(floor)
    }

    /// Whether a lock waits for the disk.
    pub(super) const fn has_lock(&self) -> bool {
        self.locks > 0
    }

    fn forget(&mut self, object: &Object) {
        match object {
            Object::Policy(activated) => {
                if let Some(place) = self.policies.iter().position(|floor| *floor == activated.floor) {
                    self.policies.remove(place);
                }
            }
            Object::Lock(_) => self.locks = self.locks.saturating_sub(1),
            Object::Root(_) => {}
        }
    }
}

/// A commit takes 5 to 50 ms on flash, and a few hundred on a busy one; after this the hub is told.
const PATIENCE: Duration = Duration::from_secs(1);
/// Each is at most half a mebibyte.
const POLICIES: usize = 4;
const LOCKS: usize = 8;
