//! Who this device is: what the hub assigned at enrolment, the root in force, and how the hub is recognised.
//!
//! Of the chain of roots only the newest is kept, together with its digest. It was accepted step by step from the root
//! that the enrolment code pins; whoever could write another one here could as well write another device key.
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
    /// Digest of the payload of a root: the one in the enrolment code, and later that of the newest.
    pub(crate) pinned: Digest,
    /// Roots as received, among them the pinned one and those that follow it.
    pub(crate) roots: Vec<Vec<u8>>,
}

impl Enrollment {
    /// Follows the chain of roots from the pinned one to the newest, verifying each again.
    pub(crate) fn root(&self) -> Result<Root, RootFault> {
        Root::accept_chain(self.roots.iter().map(Vec::as_slice), &self.pinned)
    }

    /// The same device under a newer root, which the caller has verified: what went before is forgotten.
    pub(crate) fn under(&self, root: Vec<u8>) -> Result<Self, RootFault> {
        Ok(Self { pinned: Root::digest_of(&root)?, roots: vec![root], ..self.clone() })
    }

    /// Whether this speaks of the same device and knows a newer root than `other`.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        let version = |enrollment: &Self| enrollment.root().map(|root| root.version).ok();
        self.device == other.device && version(self) > version(other)
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
