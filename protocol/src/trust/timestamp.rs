//! A timestamp: what time it is and what is newest, signed for one device in answer to its nonce.
//!
//! 1. The device draws a nonce and asks; whoever holds the timestamp key signs a [`Timestamp`] over it.
//! 2. [`Timestamp::open`] checks signature, addressee and nonce, in numbered steps.
//!
//! The nonce makes it recent: nobody can have signed it before the device asked. A timestamp opens nothing; what it says
//! about policy is a name, and the policy itself is believed for its own signature.

use serde::{Deserialize, Serialize};

use super::envelope::{Domain, Envelope, EnvelopeFault, Signed};
use super::root::{Role, Root, RootFault};
use crate::id::{DeviceId, FleetId};
use crate::limits;
use crate::time::UnixTime;
use crate::wire::control::Held;

/// What a device draws anew for each question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// Takes 16 random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// What time it is and what is newest, signed by the `timestamp` role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamp {
    /// The installation.
    pub fleet: FleetId,
    /// The device that asked.
    pub device: DeviceId,
    /// What it asked with.
    pub nonce: Nonce,
    /// What time it is.
    pub time: UnixTime,
    /// Version of the newest root.
    pub root_version: u32,
    /// The newest snapshot of the device; none before the first.
    pub held: Option<Held>,
    /// Sequence number of the newest lock; zero is none.
    pub lock: u64,
}

impl Signed for Timestamp {
    const DOMAIN: Domain = Domain::Timestamp;
    const MAX_BYTES: usize = limits::TIMESTAMP_BYTES;
}

/// Why a timestamp says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampFault {
    /// The envelope does not hold.
    #[error(transparent)]
    Envelope(#[from] EnvelopeFault),
    /// The root names no timestamp role.
    #[error(transparent)]
    Root(#[from] RootFault),
    /// A timestamp of another installation.
    #[error("the timestamp belongs to fleet {found}, not to {expected}")]
    Fleet {
        /// Fleet named.
        found: FleetId,
        /// Fleet of this device.
        expected: FleetId,
    },
    /// Another device's timestamp.
    #[error("the timestamp is for device {found}, this is {expected}")]
    Device {
        /// Device named.
        found: DeviceId,
        /// This device.
        expected: DeviceId,
    },
    /// The answer to another question: an old one that is presented again.
    #[error("the timestamp answers another question than the last one")]
    Nonce,
    /// A time that no calendar has, or a version that nothing has.
    #[error("the timestamp names an impossible time or version")]
    Insane,
}

impl Timestamp {
    /// Opens the answer to the question that was asked last.
    ///
    /// # Errors
    /// The [`TimestampFault`] of the first step that fails.
    pub fn open(bytes: &[u8], root: &Root, device: DeviceId, nonce: Nonce) -> Result<Self, TimestampFault> {
        let timestamp = Self::addressed(bytes, root, device)?;
        // 11. The last question: without it a recorded answer could keep an old policy fresh for ever.
        if timestamp.nonce != nonce {
            return Err(TimestampFault::Nonce);
        }
        timestamp.sane()
    }

    /// Opens a timestamp whatever question it answers, to say what it names. It attests and refreshes nothing.
    ///
    /// # Errors
    /// Those of [`Timestamp::open`] but [`TimestampFault::Nonce`].
    pub fn inspect(bytes: &[u8], root: &Root, device: DeviceId) -> Result<Self, TimestampFault> {
        Self::addressed(bytes, root, device)?.sane()
    }

    fn addressed(bytes: &[u8], root: &Root, device: DeviceId) -> Result<Self, TimestampFault> {
        // 1 to 8. Envelope: size, frame, domain, keys, threshold, signatures, exact decoding.
        let timestamp: Self = Envelope::open(bytes, root.role(Role::Timestamp)?)?;
        // 9. This installation.
        if timestamp.fleet != root.fleet {
            return Err(TimestampFault::Fleet { found: timestamp.fleet, expected: root.fleet });
        }
        // 10. This device: a neighbour's answer would name the neighbour's policy.
        if timestamp.device != device {
            return Err(TimestampFault::Device { found: timestamp.device, expected: device });
        }
        Ok(timestamp)
    }

    fn sane(self) -> Result<Self, TimestampFault> {
        // 12. Sane: with a time behind every calendar, sums of times would stop to mean anything.
        let dated = EARLIEST <= self.time && self.time <= LATEST;
        let numbered = self.root_version >= 1 && self.held.is_none_or(|held| held.version >= 1);
        if dated && numbered { Ok(self) } else { Err(TimestampFault::Insane) }
    }
}

/// The first second of 2020: earlier than this protocol.
const EARLIEST: UnixTime = UnixTime::from_secs(1_577_836_800);
/// The last second of 9999.
const LATEST: UnixTime = UnixTime::from_secs(253_402_300_799);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::root::RoleKeys;
    use crate::trust::{Digest, SecretKey};

    const FLEET: FleetId = FleetId::new([1; 8]);
    const DEVICE: DeviceId = DeviceId::new([2; 8]);
    const NONCE: Nonce = Nonce::new([3; 16]);

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32]).unwrap()
    }

    fn root() -> Root {
        let role = |(role, seed)| RoleKeys { role, threshold: 1, keys: vec![key(seed).public()] };
        let roles = Role::ALL.into_iter().zip(1..).map(role).collect();
        Root { fleet: FLEET, version: 1, expires: UnixTime::MAX, policy_epoch: 1, roles, hubs: Vec::new() }
    }

    fn timestamp() -> Timestamp {
        Timestamp {
            fleet: FLEET,
            device: DEVICE,
            nonce: NONCE,
            time: UnixTime::from_secs(1_800_000_000),
            root_version: 1,
            held: Some(Held { epoch: 1, version: 7, digest: Digest::of(&[b"seven"]) }),
            lock: 0,
        }
    }

    fn open(timestamp: &Timestamp, signer: u8) -> Result<Timestamp, TimestampFault> {
        Timestamp::open(&Envelope::seal(timestamp, &[&key(signer)]).unwrap(), &root(), DEVICE, NONCE)
    }

    #[test]
    fn the_answer_to_the_last_question_is_taken() {
        assert_eq!(open(&timestamp(), 4), Ok(timestamp()));
        let first = Timestamp { held: None, ..timestamp() };
        assert_eq!(open(&first, 4), Ok(first));
    }

    #[test]
    fn no_other_key_of_the_installation_tells_the_time() {
        let threshold = EnvelopeFault::Threshold { valid: 0, threshold: 1 };
        for signer in [1, 2, 3, 5, 6, 9] {
            assert_eq!(open(&timestamp(), signer), Err(threshold.into()), "{signer}");
        }
    }

    #[test]
    fn each_step_refuses_what_is_not_for_this_device_and_question() {
        let (fleet, device) = (FleetId::new([9; 8]), DeviceId::new([9; 8]));
        let other = Timestamp { fleet, ..timestamp() };
        assert_eq!(open(&other, 4), Err(TimestampFault::Fleet { found: fleet, expected: FLEET }));
        let other = Timestamp { device, ..timestamp() };
        assert_eq!(open(&other, 4), Err(TimestampFault::Device { found: device, expected: DEVICE }));
        let other = Timestamp { nonce: Nonce::new([4; 16]), ..timestamp() };
        assert_eq!(open(&other, 4), Err(TimestampFault::Nonce));
    }

    #[test]
    fn times_and_versions_that_nothing_has_are_refused() {
        let at = |secs| Timestamp { time: UnixTime::from_secs(secs), ..timestamp() };
        let far = at(4_291_747_200); // 2106: a thief's, but a time
        assert_eq!(open(&far, 4), Ok(far));
        for secs in [0, 1_577_836_799, 253_402_300_800, u64::MAX] {
            assert_eq!(open(&at(secs), 4), Err(TimestampFault::Insane), "{secs}");
        }
        let unversioned = Timestamp { root_version: 0, ..timestamp() };
        assert_eq!(open(&unversioned, 4), Err(TimestampFault::Insane));
        let held = Some(Held { epoch: 1, version: 0, digest: Digest::of(&[b"zero"]) });
        assert_eq!(open(&Timestamp { held, ..timestamp() }, 4), Err(TimestampFault::Insane));
    }
}
