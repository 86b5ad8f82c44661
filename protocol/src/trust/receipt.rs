//! What a device says of tunnels that it stopped: because of what, how many, since when, and how soon nothing passed any more.
//!
//! 1. The device makes a [`Receipt`] when the last of the tunnels that one change stopped has stopped.
//! 2. It signs it with its own key ([`SignedReceipt::sign`]) when it is said, and says it again on each link until it is taken.
//! 3. [`SignedReceipt::verify`] asks for the signature of the key of this device, and for whom it speaks.
//!
//! A receipt has a random name, so that one that is said twice is one. It permits and denies nothing: whoever steals the key of a device
//! can claim that tunnels were cut, of that device alone.

use serde::{Deserialize, Serialize};

use super::envelope::Domain;
use super::keys::{PublicKey, SecretKey, Signature};
use crate::id::{DeviceId, FleetId};
use crate::limits;
use crate::time::UnixTime;
use crate::wire::codec::{self, CodecFault};

/// The stop of the tunnels that one change did not permit any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The installation.
    pub fleet: FleetId,
    /// The device that speaks.
    pub device: DeviceId,
    /// Its name, drawn by the device.
    pub id: ReceiptId,
    /// The change, and the last of them where it stands for several.
    pub cause: CutCause,
    /// Changes that it stands for, itself included: a device that is cut off for long sums them up.
    pub changes: u32,
    /// Tunnels that were stopped; never none.
    pub cut: u32,
    /// When they were not permitted any more, by the device's time; after a sudden end, what the device knew of the time as the agent started again.
    pub at: UnixTime,
    /// Milliseconds from then until the last of them had stopped: nothing of it has passed since.
    pub stopped_ms: u32,
}

/// The name of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReceiptId(pub [u8; 8]);

/// What ended the right of live tunnels. New causes are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CutCause {
    /// A snapshot.
    Policy {
        /// Its epoch.
        epoch: u32,
        /// Its version.
        version: u64,
    },
    /// A lock.
    Lock {
        /// Its epoch.
        epoch: u32,
        /// Its sequence.
        sequence: u64,
    },
    /// A root that does not vouch for the policy that was in force.
    Root {
        /// Its version.
        version: u32,
    },
    /// Time alone: a window, a case, a pass, a second factor or the freshness of the policy ended.
    Time,
    /// The agent ended without a word, as with the power, and with it what was open. Whether some of it had been withdrawn
    /// before, nobody knows any more; that nothing has passed since, everybody does.
    SuddenEnd,
}

/// A receipt and the signature of its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    receipt: Receipt,
    signature: Signature,
}

/// Why a receipt is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFault {
    /// It has no encoding that could be signed.
    #[error("the receipt has no encoding: {0}")]
    Codec(#[from] CodecFault),
    /// Another key has signed it, or something else.
    #[error("the receipt is not signed by the key of the device")]
    Signature,
    /// A receipt of another installation.
    #[error("the receipt belongs to another fleet")]
    Fleet,
    /// Another device speaks.
    #[error("the receipt is of device {found}, {expected} is expected")]
    Device {
        /// The device named.
        found: DeviceId,
        /// The device of the link.
        expected: DeviceId,
    },
    /// It says that nothing was stopped.
    #[error("the receipt is about nothing")]
    Empty,
}

impl CutCause {
    /// The word in listings and JSON.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Policy { .. } => "policy",
            Self::Lock { .. } => "lock",
            Self::Root { .. } => "root",
            Self::Time => "time",
            Self::SuddenEnd => "sudden_end",
        }
    }
}

impl Receipt {
    /// One that stands for both: the later cause, the sum of the tunnels, and the longer of the times.
    #[must_use]
    pub fn with(self, later: Self) -> Self {
        Self {
            changes: self.changes.saturating_add(later.changes),
            cut: self.cut.saturating_add(later.cut),
            stopped_ms: self.stopped_ms.max(later.stopped_ms),
            ..later
        }
    }
}

impl SignedReceipt {
    /// Signs a receipt with the key of its device.
    ///
    /// # Errors
    /// [`ReceiptFault::Codec`], which no receipt meets: all of its fields are bounded.
    pub fn sign(key: &SecretKey, receipt: Receipt) -> Result<Self, ReceiptFault> {
        Ok(Self { receipt, signature: key.sign(&message(&receipt)?) })
    }

    /// The receipt, if the key of this device has signed it. Without this check a hub, or whoever has its database, could say of
    /// any device what it likes.
    ///
    /// # Errors
    /// The [`ReceiptFault`] of the first step that fails.
    pub fn verify(&self, key: &PublicKey, fleet: FleetId, device: DeviceId) -> Result<Receipt, ReceiptFault> {
        // 1. The signature, over bytes that nothing else has.
        if !key.verifies(&message(&self.receipt)?, &self.signature) {
            return Err(ReceiptFault::Signature);
        }
        // 2. This installation, and 3. this device: one key may once have been another's.
        if self.receipt.fleet != fleet {
            return Err(ReceiptFault::Fleet);
        }
        if self.receipt.device != device {
            return Err(ReceiptFault::Device { found: self.receipt.device, expected: device });
        }
        // 4. Form.
        if self.receipt.cut == 0 || self.receipt.changes == 0 {
            return Err(ReceiptFault::Empty);
        }
        Ok(self.receipt)
    }
}

/// The exact bytes that a device signs.
fn message(receipt: &Receipt) -> Result<Vec<u8>, CodecFault> {
    Ok(Domain::Receipt.signed_bytes(&codec::encode(receipt, limits::RECEIPT_BYTES)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: FleetId = FleetId::new([0xf1; 8]);
    const DEVICE: DeviceId = DeviceId::new([0xd1; 8]);

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32]).unwrap()
    }

    fn receipt() -> Receipt {
        Receipt {
            fleet: FLEET,
            device: DEVICE,
            id: ReceiptId([7; 8]),
            cause: CutCause::Policy { epoch: 1, version: 18 },
            changes: 1,
            cut: 3,
            at: UnixTime::from_secs(1_800_000_000),
            stopped_ms: 12,
        }
    }

    fn signed(receipt: Receipt) -> SignedReceipt {
        SignedReceipt::sign(&key(1), receipt).unwrap()
    }

    #[test]
    fn a_receipt_of_the_device_is_believed() {
        assert_eq!(signed(receipt()).verify(&key(1).public(), FLEET, DEVICE), Ok(receipt()));
    }

    #[test]
    fn a_receipt_that_another_key_has_signed_is_not_believed() {
        let other = SignedReceipt::sign(&key(2), receipt()).unwrap();
        assert_eq!(other.verify(&key(1).public(), FLEET, DEVICE), Err(ReceiptFault::Signature));
    }

    #[test]
    fn a_receipt_in_which_anything_was_changed_is_not_believed() {
        let changed = |change: fn(&mut Receipt)| {
            let mut signed = signed(receipt());
            change(&mut signed.receipt);
            signed.verify(&key(1).public(), FLEET, DEVICE)
        };
        for change in [
            (|receipt| receipt.cut = 4) as fn(&mut Receipt),
            |receipt| receipt.at = UnixTime::from_secs(1_800_000_001),
            |receipt| receipt.stopped_ms = 0,
            |receipt| receipt.changes = 2,
            |receipt| receipt.cause = CutCause::Time,
            |receipt| receipt.id = ReceiptId([8; 8]),
            |receipt| receipt.fleet = FleetId::new([0; 8]),
            |receipt| receipt.device = DeviceId::new([0; 8]),
        ] {
            assert_eq!(changed(change), Err(ReceiptFault::Signature));
        }
    }

    #[test]
    fn a_receipt_of_another_device_or_fleet_is_not_believed_here() {
        let other = DeviceId::new([0xd2; 8]);
        let fault = ReceiptFault::Device { found: DEVICE, expected: other };
        assert_eq!(signed(receipt()).verify(&key(1).public(), FLEET, other), Err(fault));
        let fleet = FleetId::new([0xf2; 8]);
        assert_eq!(signed(receipt()).verify(&key(1).public(), fleet, DEVICE), Err(ReceiptFault::Fleet));
    }

    #[test]
    fn what_the_device_s_key_has_signed_for_something_else_is_no_receipt() {
        let payload = codec::encode(&receipt(), limits::RECEIPT_BYTES).unwrap();
        let signature = key(1).sign(&Domain::NextKey.signed_bytes(&payload));
        let forged = SignedReceipt { receipt: receipt(), signature };
        assert_eq!(forged.verify(&key(1).public(), FLEET, DEVICE), Err(ReceiptFault::Signature));
    }

    #[test]
    fn a_receipt_about_nothing_is_none() {
        for empty in [Receipt { cut: 0, ..receipt() }, Receipt { changes: 0, ..receipt() }] {
            assert_eq!(signed(empty).verify(&key(1).public(), FLEET, DEVICE), Err(ReceiptFault::Empty));
        }
    }

    #[test]
    fn the_longest_receipt_has_an_encoding() {
        let longest = Receipt {
            cause: CutCause::Policy { epoch: u32::MAX, version: u64::MAX },
            changes: u32::MAX,
            cut: u32::MAX,
            at: UnixTime::MAX,
            stopped_ms: u32::MAX,
            ..receipt()
        };
        assert_eq!(signed(longest).verify(&key(1).public(), FLEET, DEVICE), Ok(longest));
    }

    #[test]
    fn two_receipts_make_one_that_says_the_worse_of_both() {
        let later = Receipt {
            id: ReceiptId([8; 8]),
            cause: CutCause::Time,
            cut: 1,
            at: UnixTime::from_secs(1_800_000_060),
            stopped_ms: 2,
            ..receipt()
        };
        assert_eq!(receipt().with(later), Receipt { changes: 2, cut: 4, stopped_ms: 12, ..later });
    }
}
