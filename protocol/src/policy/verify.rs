//! Received bytes become a verified snapshot, in numbered steps.
//!
//! Steps 1 to 8 are those of every envelope ([`Envelope`]); here follow the meaning and the floor. Acceptance does
//! not look at the clock: an expired snapshot is still the newest word of the cloud, and [`decide`](super::decide())
//! permits nothing under it. So a wrong clock can never make a device keep an older policy.

use super::snapshot::{FormFault, Snapshot};
use crate::id::{DeviceId, FleetId};
use crate::trust::{Digest, Envelope, EnvelopeFault, PublicKey, Role, Root, RootFault, Signed};
use crate::wire::codec;
use crate::wire::control::NackCode;

/// What this device will take a snapshot for.
#[derive(Clone, Copy, Debug)]
pub struct Expectation<'a> {
    /// The current root.
    pub root: &'a Root,
    /// This device.
    pub device: DeviceId,
    /// This device's key.
    pub device_key: PublicKey,
    /// The highest snapshot that was ever accepted, if any.
    pub floor: Option<Floor>,
}

/// The highest accepted snapshot: nothing at or below it is accepted again, except itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Floor {
    /// Its epoch.
    pub epoch: u32,
    /// Its version.
    pub version: u64,
    /// Digest of its payload.
    pub digest: Digest,
}

/// A snapshot whose signature, addressee and version hold. Private fields: only [`verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    snapshot: Snapshot,
    digest: Digest,
    signers: Vec<PublicKey>,
}

impl Verified {
    /// The snapshot.
    #[must_use]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// SHA-256 of the payload that was signed.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The floor that this snapshot sets.
    #[must_use]
    pub const fn floor(&self) -> Floor {
        Floor { epoch: self.snapshot.epoch, version: self.snapshot.version, digest: self.digest }
    }

    /// The snapshot, and every key whose signature over it holds: those of the role first, then those outside it.
    pub(super) fn into_parts(self) -> (Snapshot, Vec<PublicKey>) {
        (self.snapshot, self.signers)
    }
}

/// Why a snapshot is not accepted. The current one stays in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotFault {
    /// The envelope does not hold.
    #[error(transparent)]
    Envelope(#[from] EnvelopeFault),
    /// The root names no policy role.
    #[error(transparent)]
    Root(#[from] RootFault),
    /// A snapshot of another installation.
    #[error("the snapshot belongs to fleet {found}, not to {expected}")]
    Fleet {
        /// Fleet named.
        found: FleetId,
        /// Fleet of this device.
        expected: FleetId,
    },
    /// Another device's snapshot.
    #[error("the snapshot is for device {found}, this is {expected}")]
    Device {
        /// Device named.
        found: DeviceId,
        /// This device.
        expected: DeviceId,
    },
    /// A snapshot for this id and another key: a clone, or an earlier life of this id.
    #[error("the snapshot is for another key of this device")]
    DeviceKey,
    /// Another epoch than the root's.
    #[error("policy epoch {found}, the root says {expected}")]
    Epoch {
        /// Epoch named.
        found: u32,
        /// Epoch of the root.
        expected: u32,
    },
    /// An older snapshot is presented again.
    #[error("version {found} is below version {floor}, which was accepted before (rollback)")]
    Rollback {
        /// Version received.
        found: u64,
        /// Version accepted before.
        floor: u64,
    },
    /// Two different snapshots with one version: somebody signs two stories.
    #[error("another snapshot with version {version} was accepted before (equivocation)")]
    Equivocation {
        /// The version of both.
        version: u64,
    },
    /// Order, counts, references or values.
    #[error("malformed: {0}")]
    Form(#[from] FormFault),
}

impl SnapshotFault {
    /// The code by which a device refuses the snapshot to its hub.
    #[must_use]
    pub const fn code(&self) -> NackCode {
        match self {
            Self::Envelope(_) | Self::Root(_) => NackCode::Envelope,
            Self::Fleet { .. } | Self::Device { .. } | Self::DeviceKey => NackCode::Addressee,
            Self::Epoch { .. } => NackCode::Epoch,
            Self::Rollback { .. } => NackCode::Rollback,
            Self::Equivocation { .. } => NackCode::Equivocation,
            Self::Form(_) => NackCode::Form,
        }
    }
}

/// Verifies a received or stored snapshot.
///
/// # Errors
/// The [`SnapshotFault`] of the first step that fails.
pub fn verify(bytes: &[u8], expected: &Expectation<'_>) -> Result<Verified, SnapshotFault> {
    // 1 to 6. Size, frame, domain, keys in role, threshold, signatures.
    let role = expected.root.role(Role::Policy)?;
    let envelope = Envelope::parse(bytes, Snapshot::MAX_BYTES)?;
    let mut signers = envelope.verify(Snapshot::DOMAIN, role)?;
    // 7, 8. Exact decoding, canonical form.
    let snapshot: Snapshot =
        codec::decode(envelope.payload(), Snapshot::MAX_BYTES).map_err(EnvelopeFault::Codec)?;
    let digest = Digest::of(&[envelope.payload()]);
    // 9. This installation.
    if snapshot.fleet != expected.root.fleet {
        return Err(SnapshotFault::Fleet { found: snapshot.fleet, expected: expected.root.fleet });
    }
    // 10. This device: a valid snapshot of a neighbour would open its rules here.
    if snapshot.device != expected.device {
        return Err(SnapshotFault::Device { found: snapshot.device, expected: expected.device });
    }
    // 11. This device's key.
    if snapshot.device_key != expected.device_key {
        return Err(SnapshotFault::DeviceKey);
    }
    // 12. The root's epoch: after a theft of the policy key, everything that the thief signed is of an old epoch.
    if snapshot.epoch != expected.root.policy_epoch {
        return Err(SnapshotFault::Epoch { found: snapshot.epoch, expected: expected.root.policy_epoch });
    }
    // 13. The floor. A higher epoch starts its versions anew.
    if let Some(floor) = expected.floor.filter(|floor| floor.epoch >= snapshot.epoch) {
        if snapshot.version < floor.version || floor.epoch > snapshot.epoch {
            return Err(SnapshotFault::Rollback { found: snapshot.version, floor: floor.version });
        }
        if snapshot.version == floor.version && digest != floor.digest {
            return Err(SnapshotFault::Equivocation { version: snapshot.version });
        }
    }
    // 14. Order, counts, references, values.
    snapshot.check_form()?;
    // What a later root with other keys will be asked about.
    signers.extend(envelope.others(Snapshot::DOMAIN, role));
    Ok(Verified { snapshot, digest, signers })
}

#[cfg(test)]
mod tests;
