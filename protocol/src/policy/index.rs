//! A verified snapshot, arranged so that a decision touches a few cache lines and allocates nothing.
//!
//! 1. Users by id and services by name, hashed.
//! 2. Grants are sorted by user already; each user knows the range of its own.
//! 3. Each category is a row of bits, one for each service.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::snapshot::{Category, Grant, Origin, Service, Snapshot, User};
use super::verify::{Floor, Verified};
use crate::id::UserId;
use crate::name::Name;

/// A snapshot ready for decisions; built once for each activation, shared, never changed.
#[derive(Debug)]
pub struct Index {
    snapshot: Snapshot,
    floor: Floor,
    users: HashMap<UserId, u32, BuildHasherDefault<IdHasher>>,
    services: HashMap<Name, u32>,
    /// Grants of user `u` are `grants[starts[u]..starts[u + 1]]`.
    starts: Vec<u32>,
    /// `words` 64-bit words for each category.
    bits: Vec<u64>,
    words: usize,
}

/// A user and a service looked up in one index. It is bound to that index: another one denies it.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub(super) index: IndexTag,
    pub(super) user: Option<u32>,
    pub(super) service: Option<u32>,
}

impl Ask {
    /// What is asked of a device without policy: nobody, for nothing.
    pub const NOTHING: Self = Self { index: IndexTag(0), user: None, service: None };
}

/// The first eight bytes of the snapshot's digest: tells one index from another without keeping it alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexTag(u64);

impl Index {
    /// Arranges a verified snapshot.
    #[must_use]
    pub fn build(verified: Verified) -> Self {
        let floor = verified.floor();
        let snapshot = verified.into_snapshot();
        let words = snapshot.services.len().div_ceil(64);
        let mut bits = vec![0u64; words * snapshot.categories.len()];
        for (row, category) in bits.chunks_mut(words.max(1)).zip(&snapshot.categories) {
            for service in &category.services {
                if let Some(word) = row.get_mut(position(service / 64)) {
                    *word |= 1 << (service % 64);
                }
            }
        }
        let users = snapshot.users.iter().map(|user| user.id).zip(0u32..).collect();
        let services = snapshot.services.iter().map(|service| service.name.clone()).zip(0u32..).collect();
        let starts = starts(&snapshot);
        Self { snapshot, floor, users, services, starts, bits, words }
    }

    /// Looks a user and a service up.
    #[must_use]
    pub fn ask(&self, user: UserId, service: &str) -> Ask {
        Ask {
            index: self.tag(),
            user: self.users.get(&user).copied(),
            service: self.services.get(service).copied(),
        }
    }

    /// The snapshot behind this index.
    #[must_use]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Epoch, version and digest of the snapshot.
    #[must_use]
    pub const fn floor(&self) -> Floor {
        self.floor
    }

    pub(super) fn tag(&self) -> IndexTag {
        let first = self.floor.digest.as_bytes().first_chunk::<8>().copied().unwrap_or_default();
        IndexTag(u64::from_le_bytes(first))
    }

    pub(super) fn user(&self, user: u32) -> Option<&User> {
        self.snapshot.users.get(position(user))
    }

    pub(super) fn service(&self, service: u32) -> Option<&Service> {
        self.snapshot.services.get(position(service))
    }

    pub(super) fn category(&self, category: u32) -> Option<&Category> {
        self.snapshot.categories.get(position(category))
    }

    pub(super) fn origin(&self, origin: u32) -> Option<&Origin> {
        self.snapshot.origins.get(position(origin))
    }

    pub(super) fn grant(&self, grant: u32) -> Option<&Grant> {
        self.snapshot.grants.get(position(grant))
    }

    /// Grants of `user` with their positions, in the order of the snapshot.
    pub(super) fn grants_of(&self, user: u32) -> impl Iterator<Item = (u32, &Grant)> {
        let from = self.starts.get(position(user)).copied().unwrap_or(0);
        let to = self.starts.get(position(user) + 1).copied().unwrap_or(0);
        let grants = self.snapshot.grants.get(position(from)..position(to)).unwrap_or_default();
        (from..).zip(grants)
    }

    /// Whether `category` contains `service`.
    pub(super) fn contains(&self, category: u32, service: u32) -> bool {
        let word = position(category) * self.words + position(service / 64);
        position(service / 64) < self.words
            && self.bits.get(word).is_some_and(|bits| bits & (1 << (service % 64)) != 0)
    }
}

fn starts(snapshot: &Snapshot) -> Vec<u32> {
    let mut starts = Vec::with_capacity(snapshot.users.len() + 1);
    let mut next = 0u32;
    let mut grants = snapshot.grants.iter().peekable();
    for user in 0u32.. {
        starts.push(next);
        if starts.len() > snapshot.users.len() {
            break;
        }
        while grants.next_if(|grant| grant.user == user).is_some() {
            next += 1;
        }
    }
    starts
}

/// Positions in a snapshot are below 2^16 (see `limits`), so they fit a 32-bit `usize`.
fn position(ix: u32) -> usize {
    usize::try_from(ix).unwrap_or(usize::MAX)
}

/// Ids are random bytes that the cloud assigned and signed: nobody can choose them to collide, so mixing them is enough.
#[derive(Clone, Copy, Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        // Tables look at the highest and the lowest bits; ids that differ in one byte must differ in both.
        let folded = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        folded ^ (folded >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.0 = self.0.rotate_left(5) ^ u64::from_le_bytes(word);
        }
    }

    fn write_usize(&mut self, _: usize) {} // the length prefix of an array: always eight
}

#[cfg(test)]
mod tests;
