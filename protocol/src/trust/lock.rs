//! A lock: signed words that deny, and can do nothing else.
//!
//! 1. The cloud signs a [`Lock`] with the `lock` role, for one device: users, access categories, or the whole device.
//! 2. [`Lock::verify`] takes the steps of every envelope, then asks for whom it is and whether its form is right.
//! 3. What a device does with it is the business of [`Locks`](crate::policy::Locks).
//!
//! Every lock carries all that is locked on its device, so that the newest one says everything. Nothing in it permits:
//! whoever steals the key of the role can shut devices, and open none.

use serde::{Deserialize, Serialize};

use super::envelope::{Domain, Envelope, EnvelopeFault, Signed};
use super::root::{Role, Root, RootFault};
use crate::id::{DeviceId, FleetId, UserId};
use crate::limits;
use crate::name::Name;
use crate::time::UnixTime;
use crate::wire::control::NackCode;

/// All that is locked on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The installation.
    pub fleet: FleetId,
    /// The device that this is for; no other takes it.
    pub device: DeviceId,
    /// The root's policy epoch.
    pub epoch: u32,
    /// Rises with each lock of this device and epoch, from 1.
    pub sequence: u64,
    /// When it was signed.
    pub issued: UnixTime,
    /// What is locked, strictly ascending, not empty; at most [`limits::LOCK_TARGETS`].
    pub targets: Vec<LockTarget>,
}

/// What a lock denies. New targets are added at the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockTarget {
    /// Everything on the device.
    Device,
    /// Everything to one user.
    User(UserId),
    /// Every grant of an access category, also where it is narrowed to some machines.
    Category(Name),
}

impl LockTarget {
    /// Whether this target is the category of a grant, by its name in a snapshot.
    ///
    /// Where a category is narrowed to some machines the compiler appends them to its name behind a dot, and shortens
    /// a long name to make room for a digest. Another category whose name begins in this way is locked with it: a lock
    /// may deny too much, never too little.
    #[must_use]
    pub fn is_category(&self, category: &Name) -> bool {
        let Self::Category(locked) = self else { return false };
        let (locked, category) = (locked.as_str(), category.as_str());
        let head = locked.get(..NARROWED_HEAD).unwrap_or(locked);
        let narrowed = |head: &str| category.strip_prefix(head).is_some_and(|rest| rest.starts_with('.'));
        locked == category || narrowed(locked) || narrowed(head)
    }
}

impl Signed for Lock {
    const DOMAIN: Domain = Domain::Lock;
    const MAX_BYTES: usize = limits::LOCK_BYTES;
}

/// Why a lock is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockFault {
    /// The envelope does not hold.
    #[error(transparent)]
    Envelope(#[from] EnvelopeFault),
    /// The root names no lock role.
    #[error(transparent)]
    Root(#[from] RootFault),
    /// A lock of another installation.
    #[error("the lock belongs to another fleet")]
    Fleet,
    /// Another device's lock.
    #[error("the lock is for device {found}, this is {expected}")]
    Device {
        /// Device named.
        found: DeviceId,
        /// This device.
        expected: DeviceId,
    },
    /// Another epoch than the root's.
    #[error("policy epoch {found}, the root says {expected}")]
    Epoch {
        /// Epoch named.
        found: u32,
        /// Epoch of the root.
        expected: u32,
    },
    /// The snapshot in force has lifted it.
    #[error("lock {found} is lifted: the policy in force clears locks up to {cleared}")]
    Cleared {
        /// Sequence received.
        found: u64,
        /// Up to which sequence locks are gone.
        cleared: u64,
    },
    /// Targets are missing, repeated, out of order or too many, or the sequence is zero.
    #[error("the lock lists its targets wrongly")]
    Form,
}

impl LockFault {
    /// The code by which a device refuses the lock to its hub.
    #[must_use]
    pub const fn code(&self) -> NackCode {
        match self {
            Self::Envelope(_) | Self::Root(_) => NackCode::Envelope,
            Self::Fleet | Self::Device { .. } => NackCode::Addressee,
            Self::Epoch { .. } => NackCode::Epoch,
            Self::Cleared { .. } => NackCode::Rollback,
            Self::Form => NackCode::Form,
        }
    }
}

impl Lock {
    /// Verifies a received lock; whether it is lifted already is asked afterwards.
    ///
    /// # Errors
    /// The [`LockFault`] of the first step that fails.
    pub fn verify(bytes: &[u8], root: &Root, device: DeviceId) -> Result<Self, LockFault> {
        // 1 to 8. Envelope: size, frame, domain, keys, threshold, signatures, exact decoding.
        let lock: Self = Envelope::open(bytes, root.role(Role::Lock)?)?;
        // 9. This installation.
        if lock.fleet != root.fleet {
            return Err(LockFault::Fleet);
        }
        // 10. This device: a neighbour's lock would shut it.
        if lock.device != device {
            return Err(LockFault::Device { found: lock.device, expected: device });
        }
        // 11. The root's epoch: what a stolen key signed is of an old one after the theft was answered.
        if lock.epoch != root.policy_epoch {
            return Err(LockFault::Epoch { found: lock.epoch, expected: root.policy_epoch });
        }
        // 12. Form.
        lock.check_form()?;
        Ok(lock)
    }

    /// Reads a lock that was verified when it was taken. It is honoured whatever has become of the key that signed it:
    /// a lock ends by a snapshot that lifts it, and a new key of the role is no such snapshot.
    ///
    /// # Errors
    /// When the bytes are no lock.
    pub fn stored(bytes: &[u8]) -> Result<Self, LockFault> {
        let envelope = Envelope::parse(bytes, limits::LOCK_BYTES)?;
        let lock: Self = crate::wire::codec::decode(envelope.payload(), limits::LOCK_BYTES)
            .map_err(EnvelopeFault::Codec)?;
        lock.check_form()?;
        Ok(lock)
    }

    fn check_form(&self) -> Result<(), LockFault> {
        let ascending = self.targets.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        let counts = !self.targets.is_empty() && self.targets.len() <= limits::LOCK_TARGETS;
        if ascending && counts && self.sequence > 0 { Ok(()) } else { Err(LockFault::Form) }
    }
}

/// Bytes that are left of a category's name before a dot and sixteen digits of a digest.
const NARROWED_HEAD: usize = limits::NAME_BYTES - 17;

#[cfg(test)]
mod tests;
