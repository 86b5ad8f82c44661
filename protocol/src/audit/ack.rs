//! What the cloud signs about rows that it has: everything up to this one, durably.
//!
//! 1. It is signed by the `audit_ack` role after the rows were committed. A device deletes nothing that no stored one covers.
//! 2. It is cumulative: the link covers all rows before it. A lost one is made good by the next.
//! 3. It carries the first bytes of the link of each row since the one before, so that a trail that was written anew is not
//!    only noticed but the first changed row is named.
//!
//! One without marks says at a later time that nothing newer was there: an export ends with it.

use serde::{Deserialize, Serialize};

use super::{End, Link, LogId, Whose};
use crate::id::{DeviceId, FleetId};
use crate::limits;
use crate::time::UnixTime;
use crate::trust::{Domain, Envelope, EnvelopeFault, Role, Root, RootFault, Signed};

/// An acknowledgement of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Whose rows.
    pub whose: Whose,
    /// Their log.
    pub log: LogId,
    /// The newest row that the cloud has.
    pub end: End,
    /// Marks of the rows that end with it, since the acknowledgement before; at most [`limits::AUDIT_ROWS`].
    pub marks: Vec<Mark>,
    /// How many logs the cloud has of this device. Without it a whole log could be left out of an export.
    pub logs: u16,
    /// The root under which it was signed.
    pub root_version: u32,
    /// When it was signed.
    pub at: UnixTime,
}

/// The first bytes of a link: enough to tell which row was changed, where the last link tells that one was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mark([u8; 4]);

impl Mark {
    /// The mark of a link.
    #[must_use]
    pub fn of(link: &Link) -> Self {
        Self(link.as_bytes().first_chunk().copied().unwrap_or_default())
    }
}

impl Signed for Ack {
    const DOMAIN: Domain = Domain::AuditAck;
    const MAX_BYTES: usize = limits::ACK_BYTES;
}

/// Why an acknowledgement counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AckFault {
    /// The envelope does not hold.
    #[error(transparent)]
    Envelope(#[from] EnvelopeFault),
    /// The root names no role for it.
    #[error(transparent)]
    Root(#[from] RootFault),
    /// An acknowledgement of another installation.
    #[error("the acknowledgement belongs to fleet {found}, not to {expected}")]
    Fleet {
        /// Fleet named.
        found: FleetId,
        /// Fleet expected.
        expected: FleetId,
    },
    /// Another device's rows.
    #[error("the acknowledgement is of device {found}, not of {expected}")]
    Device {
        /// Device named.
        found: DeviceId,
        /// Device expected.
        expected: DeviceId,
    },
    /// More marks than rows, or than one may have.
    #[error("the acknowledgement has more marks than rows")]
    Form,
}

impl Ack {
    /// Opens an acknowledgement of rows of `whose` under `root`.
    ///
    /// # Errors
    /// The [`AckFault`] of the first step that fails.
    pub fn open(bytes: &[u8], root: &Root, whose: Whose) -> Result<Self, AckFault> {
        // 1 to 8. Envelope: size, frame, domain, keys, threshold, signatures, exact decoding.
        let ack: Self = Envelope::open(bytes, root.role(Role::AuditAck)?)?;
        // 9. This installation.
        if ack.whose.fleet != whose.fleet {
            return Err(AckFault::Fleet { found: ack.whose.fleet, expected: whose.fleet });
        }
        // 10. This device: a neighbour's acknowledgement would have it delete what nobody has.
        if ack.whose.device != whose.device {
            return Err(AckFault::Device { found: ack.whose.device, expected: whose.device });
        }
        // 11. Form.
        let marks = u64::try_from(ack.marks.len()).unwrap_or(u64::MAX);
        if ack.marks.len() > limits::AUDIT_ROWS || marks > ack.end.seq {
            return Err(AckFault::Form);
        }
        Ok(ack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::root::RoleKeys;
    use crate::trust::{Digest, SecretKey};

    const WHOSE: Whose = Whose { fleet: FleetId::new([1; 8]), device: DeviceId::new([2; 8]) };

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32]).unwrap()
    }

    fn root() -> Root {
        let role = |(role, seed)| RoleKeys { role, threshold: 1, keys: vec![key(seed).public()] };
        let roles = Role::ALL.into_iter().zip(1..).map(role).collect();
        let fleet = WHOSE.fleet;
        Root { fleet, version: 1, expires: UnixTime::MAX, policy_epoch: 1, roles, hubs: Vec::new() }
    }

    fn ack() -> Ack {
        let link = Digest::of(&[b"nine"]);
        Ack {
            whose: WHOSE,
            log: LogId::new([3; 16]),
            end: End { seq: 9, link },
            marks: vec![Mark::of(&link)],
            logs: 1,
            root_version: 1,
            at: UnixTime::from_secs(1_800_000_000),
        }
    }

    fn open(ack: &Ack, signer: u8) -> Result<Ack, AckFault> {
        Ack::open(&Envelope::seal(ack, &[&key(signer)]).unwrap(), &root(), WHOSE)
    }

    #[test]
    fn the_key_for_it_and_no_other_of_the_installation_acknowledges_rows() {
        assert_eq!(open(&ack(), 6), Ok(ack()));
        for signer in [1, 2, 3, 4, 5, 9] {
            let fault = EnvelopeFault::Threshold { valid: 0, threshold: 1 };
            assert_eq!(open(&ack(), signer), Err(fault.into()), "{signer}");
        }
    }

    #[test]
    fn an_acknowledgement_of_another_device_or_fleet_counts_for_nothing() {
        let (fleet, device) = (FleetId::new([9; 8]), DeviceId::new([9; 8]));
        let other = Ack { whose: Whose { fleet, ..WHOSE }, ..ack() };
        assert_eq!(open(&other, 6), Err(AckFault::Fleet { found: fleet, expected: WHOSE.fleet }));
        let other = Ack { whose: Whose { device, ..WHOSE }, ..ack() };
        assert_eq!(open(&other, 6), Err(AckFault::Device { found: device, expected: WHOSE.device }));
    }

    #[test]
    fn more_marks_than_rows_are_refused_and_the_most_marks_fit() {
        let mark = ack().marks[0];
        assert_eq!(open(&Ack { marks: vec![mark; 10], ..ack() }, 6), Err(AckFault::Form));
        let many = |count| Ack {
            end: End { seq: u64::MAX, ..ack().end },
            marks: vec![mark; count],
            logs: u16::MAX,
            root_version: u32::MAX,
            at: UnixTime::MAX,
            ..ack()
        };
        assert_eq!(open(&many(limits::AUDIT_ROWS), 6), Ok(many(limits::AUDIT_ROWS)));
        assert_eq!(open(&many(limits::AUDIT_ROWS + 1), 6), Err(AckFault::Form));
    }
}
