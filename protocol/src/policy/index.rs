//! A verified snapshot, arranged so that a decision touches a few cache lines and allocates nothing.
//!
//! 1. Users by id and services by name, hashed.
//! 2. Grants are sorted by user already; each user knows the range of its own.
//! 3. Prohibitions likewise; a snapshot without any has no ranges, and costs a decision one comparison.
//! 4. Each category is a row of bits, one for each service; each case too.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::snapshot::{Case, Category, Grant, Origin, Prohibition, Service, Snapshot, User};
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
    /// As `starts`, for prohibitions.
    prohibited: Vec<u32>,
    /// `words` 64-bit words for each category.
    bits: Vec<u64>,
    /// `words` 64-bit words for each case.
    case_bits: Vec<u64>,
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
        let bits = bits_of(words, snapshot.categories.iter().map(|category| category.services.as_slice()));
        let case_bits = bits_of(words, snapshot.cases.iter().map(|case| case.services.as_slice()));
        let users = snapshot.users.iter().map(|user| user.id).zip(0u32..).collect();
        let services = snapshot.services.iter().map(|service| service.name.clone()).zip(0u32..).collect();
        let starts = starts_of(snapshot.users.len(), snapshot.grants.iter().map(|grant| grant.user));
        let prohibited = starts_of(snapshot.users.len(), snapshot.prohibitions.iter().map(|row| row.user));
        Self { snapshot, floor, users, services, starts, prohibited, bits, case_bits, words }
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

    pub(super) fn prohibition(&self, prohibition: u32) -> Option<&Prohibition> {
        self.snapshot.prohibitions.get(position(prohibition))
    }

    /// Grants of `user` with their positions, in the order of the snapshot.
    pub(super) fn grants_of(&self, user: u32) -> impl Iterator<Item = (u32, &Grant)> {
        rows_of(&self.snapshot.grants, &self.starts, user)
    }

    /// Prohibitions of `user` with their positions, in the order of the snapshot.
    pub(super) fn prohibitions_of(&self, user: u32) -> impl Iterator<Item = (u32, &Prohibition)> {
        rows_of(&self.snapshot.prohibitions, &self.prohibited, user)
    }

    /// Cases that contain `service`, active or not.
    pub(super) fn cases_of(&self, service: u32) -> impl Iterator<Item = &Case> {
        let contains = move |case: &u32| is_set(&self.case_bits, self.words, *case, service);
        (0u32..).zip(&self.snapshot.cases).filter(move |(at, _)| contains(at)).map(|(_, case)| case)
    }

    /// Whether `category` contains `service`.
    pub(super) fn contains(&self, category: u32, service: u32) -> bool {
        is_set(&self.bits, self.words, category, service)
    }
}

/// One row of `words` words for each list of positions.
fn bits_of<'a>(words: usize, lists: impl ExactSizeIterator<Item = &'a [u32]>) -> Vec<u64> {
    let mut bits = vec![0u64; words * lists.len()];
    for (row, services) in bits.chunks_mut(words.max(1)).zip(lists) {
        for service in services {
            if let Some(word) = row.get_mut(position(service / 64)) {
                *word |= 1 << (service % 64);
            }
        }
    }
    bits
}

fn is_set(bits: &[u64], words: usize, row: u32, service: u32) -> bool {
    let word = position(row) * words + position(service / 64);
    position(service / 64) < words && bits.get(word).is_some_and(|bits| bits & (1 << (service % 64)) != 0)
}

/// Where the rows of each user begin; rows are ascending by user. Empty when there are no rows.
fn starts_of(users: usize, rows: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Vec::new();
    }
    let mut starts = Vec::with_capacity(users + 1);
    let mut next = 0u32;
    for user in 0u32.. {
        starts.push(next);
        if starts.len() > users {
            break;
        }
        while rows.next_if_eq(&user).is_some() {
            next += 1;
        }
    }
    starts
}

/// The rows of one user with their positions.
fn rows_of<'a, T>(
    rows: &'a [T],
    starts: &[u32],
    user: u32,
) -> impl Iterator<Item = (u32, &'a T)> + use<'a, T> {
    let start = |user: usize| starts.get(user).copied().unwrap_or(0);
    let (from, to) = (start(position(user)), start(position(user) + 1));
    (from..).zip(rows.get(position(from)..position(to)).unwrap_or_default())
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
