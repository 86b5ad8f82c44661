//! Which trail a row belongs to, and what a device signs about it.
//!
//! A device has one trail at a time: its *log*. Another one begins where the first cannot go on: its file was lost, its
//! ratchet was, or the cloud has another story of it. (device, log, sequence) names a row for ever.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::Link;
use crate::id::{DeviceId, FleetId};
use crate::trust::{Domain, PublicKey, SecretKey, Signature};

/// One log of a device: drawn at random when it begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogId([u8; 16]);

impl LogId {
    /// Takes 16 random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whose {
    /// The installation.
    pub fleet: FleetId,
    /// The device.
    pub device: DeviceId,
}

/// A place in a log: a row and its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The row; 0 before the first.
    pub seq: u64,
    /// Its link.
    pub link: Link,
}

/// What a device says of its log, signed by its key: everything up to this row is what it wrote.
///
/// The link covers all rows before it. Without this a cloud, or whoever took it over, could invent rows of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The newest row that it covers.
    pub end: End,
    /// The device's key; the rows say which one was in force.
    pub key: PublicKey,
    /// Its signature.
    pub signature: Signature,
}

impl Checkpoint {
    /// Signs what was written up to `end`.
    #[must_use]
    pub fn sign(whose: Whose, log: LogId, end: End, key: &SecretKey) -> Self {
        Self { end, key: key.public(), signature: key.sign(&message(whose, log, end)) }
    }

    /// Whether the key that it names has signed it, for this log.
    #[must_use]
    pub fn holds(&self, whose: Whose, log: LogId) -> bool {
        self.key.verifies(&message(whose, log, self.end), &self.signature)
    }
}

/// The exact bytes that are signed: fleet, device, log, sequence, link.
fn message(whose: Whose, log: LogId, end: End) -> Vec<u8> {
    let seq = end.seq.to_le_bytes();
    let parts: [&[u8]; 5] =
        [whose.fleet.as_bytes(), whose.device.as_bytes(), log.as_bytes(), &seq, end.link.as_bytes()];
    Domain::Checkpoint.signed_bytes(&parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Digest;

    const WHOSE: Whose = Whose { fleet: FleetId::new([1; 8]), device: DeviceId::new([2; 8]) };
    const LOG: LogId = LogId::new([3; 16]);

    #[test]
    fn a_checkpoint_holds_for_its_device_its_log_and_its_place_alone() {
        let key = SecretKey::from_seed([7; 32]).unwrap();
        let end = End { seq: 9, link: Digest::of(&[b"nine"]) };
        let genuine = Checkpoint::sign(WHOSE, LOG, end, &key);
        assert!(genuine.holds(WHOSE, LOG));
        assert!(!genuine.holds(Whose { device: DeviceId::new([9; 8]), ..WHOSE }, LOG));
        assert!(!genuine.holds(Whose { fleet: FleetId::new([9; 8]), ..WHOSE }, LOG));
        assert!(!genuine.holds(WHOSE, LogId::new([4; 16])));
        assert!(!Checkpoint { end: End { seq: 10, ..end }, ..genuine }.holds(WHOSE, LOG));
        let link = Digest::of(&[b"other"]);
        assert!(!Checkpoint { end: End { link, ..end }, ..genuine }.holds(WHOSE, LOG));
        let other = SecretKey::from_seed([8; 32]).unwrap().public();
        assert!(!Checkpoint { key: other, ..genuine }.holds(WHOSE, LOG));
    }
}
