//! Who this device is: what the hub assigned at enrolment, and how the hub is recognised.
//!
//! It is kept twice, in `policy.db` and as a plain file with a checksum, because a damaged database must not make
//! a site visit necessary: with it the agent starts denied and asks its hub again.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use postern_protocol::id::DeviceId;
use postern_protocol::trust::{Digest, PublicKey, Root, RootFault};
use postern_protocol::wire::codec;

use super::{StoreError, file};

/// The result of an enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Enrollment {
    /// This device.
    pub(crate) device: DeviceId,
    /// The key by which the hub is recognised.
    pub(crate) hub_key: PublicKey,
    /// Where the hub listens, tried in order.
    pub(crate) hubs: Vec<SocketAddr>,
    /// Digest of the first root's payload, from the enrolment code.
    pub(crate) pinned: Digest,
    /// Roots from the first to the newest, as received.
    pub(crate) roots: Vec<Vec<u8>>,
}

impl Enrollment {
    /// Follows the chain of roots from the pinned first to the newest, verifying each again.
    pub(crate) fn root(&self) -> Result<Root, RootFault> {
        let mut roots = self.roots.iter();
        let first = roots.next().map_or(&[][..], Vec::as_slice);
        let mut root = Root::accept_first(first, &self.pinned)?;
        for next in roots {
            root = root.accept_next(next)?;
        }
        Ok(root)
    }

    /// Whose floor it is: versions of one device under one chain of roots.
    pub(super) fn owner(&self) -> Digest {
        Digest::of(&[self.pinned.as_bytes(), self.device.as_bytes()])
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        Ok(codec::encode(self, LARGEST)?)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        Ok(codec::decode(bytes, LARGEST)?)
    }

    pub(super) fn write(&self, dir: &Path) -> Result<(), StoreError> {
        let mut bytes = self.encode()?;
        let check = Digest::of(&[&bytes]);
        bytes.extend_from_slice(check.as_bytes());
        file::replace(dir, FILE, &bytes)
    }

    pub(super) fn read(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StoreError::NotEnrolled),
            Err(error) => return Err(StoreError::Io { path, error }),
        };
        let body =
            bytes.split_last_chunk::<32>().filter(|(body, check)| Digest::of(&[body]).as_bytes() == *check);
        let Some((body, _)) = body else { return Err(StoreError::Copy { path }) };
        Self::decode(body).map_err(|_| StoreError::Copy { path })
    }
}

pub(super) const FILE: &str = "enrollment";
/// 64 roots of 16 KiB and a little.
const LARGEST: usize = 2 * 1024 * 1024;
