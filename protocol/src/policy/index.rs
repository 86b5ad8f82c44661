//! A verified snapshot, arranged so that a decision touches a few cache lines and allocates nothing.
//!
//! 1. Users by id and services by name, hashed.
//! 2. What a decision asks of every caller lies together in one [`Caller`]: no list is followed to refuse a stranger.
//! 3. Grants are sorted by user already; each caller knows the range of its own. Their categories are repeated side by
//!    side, so that only grants that contain the service are looked at.
//! 4. Prohibitions likewise; a snapshot without any has no ranges, and costs a decision one comparison.
//! 5. Each service has a row of bits, one for each category that contains it; another for cases.
//!
//! 6. Approvals are ascending by grant and service already: few decisions ask for one, and those search.
//! 7. Locks disable callers and void grants here; a caller or a grant that is locked is skipped at no cost.
//!
//! The snapshot stays as it was signed. What is repeated here only leads to its rows faster.

mod membership;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use self::membership::{Fold, Membership};
use super::locks::Locks;
use super::snapshot::{Approval, Case, Category, Grant, Origin, Pattern, Prohibition, Service, Snapshot};
use super::verify::{Floor, Verified};
use crate::id::UserId;
use crate::name::Name;
use crate::time::UnixTime;
use crate::trust::{PublicKey, Role, Root};

/// A snapshot ready for decisions; built once for each activation, shared, never changed.
#[derive(Clone, Debug)]
pub struct Index {
    snapshot: Snapshot,
    floor: Floor,
    /// Every key whose signature over the snapshot holds.
    signers: Vec<PublicKey>,
    users: HashMap<UserId, u32, BuildHasherDefault<IdHasher>>,
    services: HashMap<Name, u32>,
    /// One for each user, in the same order.
    callers: Vec<Caller>,
    /// The category of each grant, in the order of the grants.
    granted: Vec<u32>,
    /// Prohibitions of user `u` are `prohibitions[starts[u]..starts[u + 1]]`.
    prohibited: Vec<u32>,
    categories: Membership,
    cases: Membership,
    locks: Locks,
    /// Whether the whole device is locked.
    site_locked: bool,
}

/// What a decision asks of a user, whatever the service, in one line of the processor's cache.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Caller {
    pub(super) id: UserId,
    pub(super) disabled: bool,
    /// Whether passes of before some time are refused; that time is asked of the row.
    cuts_passes: bool,
    /// Position in [`Snapshot::users`].
    user: u32,
    /// Most users have one key, which is repeated here.
    first_key: Option<PublicKey>,
    /// Positions of the user's grants.
    grants: Range<u32>,
    /// The categories of these grants.
    categories: Fold,
}

// A caller is read in one go; a second line of the cache would cost every decision.
const _: () = assert!(size_of::<Caller>() == 64);

/// A user and a service looked up in one index, and the wish to look only. It is bound to that index: another one denies it.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub(super) index: IndexTag,
    pub(super) user: Option<u32>,
    pub(super) service: Option<u32>,
    /// Whether the caller asks for looking only, whatever is granted.
    pub(super) view_only: bool,
}

impl Ask {
    /// What is asked of a device without policy: nobody, for nothing.
    pub const NOTHING: Self = Self { index: IndexTag(0), user: None, service: None, view_only: false };

    /// The same, with the wish to look only or without it.
    #[must_use]
    pub const fn wishing(self, view_only: bool) -> Self {
        Self { view_only, ..self }
    }
}

/// The first eight bytes of the snapshot's digest: tells one index from another without keeping it alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexTag(u64);

impl Index {
    /// Arranges a verified snapshot.
    #[must_use]
    pub fn build(verified: Verified) -> Self {
        let floor = verified.floor();
        let (snapshot, signers) = verified.into_parts();
        let count = snapshot.services.len();
        let categories = Membership::of(count, snapshot.categories.iter().map(|it| it.services.as_slice()));
        let cases = Membership::of(count, snapshot.cases.iter().map(|case| case.services.as_slice()));
        let granted: Vec<u32> = snapshot.grants.iter().map(|grant| grant.category).collect();
        let users = snapshot.users.iter().map(|user| user.id).zip(0u32..).collect();
        let services = snapshot.services.iter().map(|service| service.name.clone()).zip(0u32..).collect();
        let callers = callers_of(&snapshot);
        let prohibited = starts_of(snapshot.users.len(), snapshot.prohibitions.iter().map(|row| row.user));
        let (locks, site_locked) = (Locks::default(), false);
        Self {
            snapshot,
            floor,
            signers,
            users,
            services,
            callers,
            granted,
            prohibited,
            categories,
            cases,
            locks,
            site_locked,
        }
    }

    /// The same policy under `locks`, in place of those of before. Nothing that they deny can be permitted, and they
    /// permit nothing.
    #[must_use]
    pub fn under(mut self, locks: &Locks) -> Self {
        for (caller, row) in self.callers.iter_mut().zip(&self.snapshot.users) {
            caller.disabled = row.disabled || locks.deny_user(row.id);
        }
        let void: Vec<bool> =
            self.snapshot.categories.iter().map(|category| locks.deny_category(&category.name)).collect();
        for (category, grant) in self.granted.iter_mut().zip(&self.snapshot.grants) {
            let is_void = void.get(position(grant.category)).copied().unwrap_or(true);
            // A category that no service is in. Prohibitions keep theirs: what they deny stays denied.
            *category = if is_void { NO_CATEGORY } else { grant.category };
        }
        self.site_locked = locks.deny_device();
        self.locks = locks.clone();
        self
    }

    /// Whether the snapshot would be accepted under a root that follows the one under which it was: of its epoch, and
    /// signed by enough keys of its policy role. Asked from memory, so a disk that hangs cannot keep it in force.
    #[must_use]
    pub fn holds_under(&self, root: &Root) -> bool {
        let Ok(role) = root.role(Role::Policy) else { return false };
        let signed = role.keys.iter().filter(|key| self.signers.contains(key)).count();
        self.snapshot.fleet == root.fleet
            && self.snapshot.epoch == root.policy_epoch
            && signed >= role.needed()
    }

    /// What is locked.
    #[must_use]
    pub const fn locks(&self) -> &Locks {
        &self.locks
    }

    /// Whether the whole device is locked.
    pub(super) const fn is_site_locked(&self) -> bool {
        self.site_locked
    }

    /// Looks a user and a service up, for all that is granted; see [`Ask::wishing`].
    #[must_use]
    pub fn ask(&self, user: UserId, service: &str) -> Ask {
        Ask {
            index: self.tag(),
            user: self.users.get(&user).copied(),
            service: self.services.get(service).copied(),
            view_only: false,
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

    pub(super) fn caller(&self, user: u32) -> Option<&Caller> {
        self.callers.get(position(user))
    }

    /// Whether the snapshot names `key` for the caller.
    #[inline]
    pub(super) fn speaks_for(&self, key: &PublicKey, caller: &Caller) -> bool {
        caller.first_key.as_ref() == Some(key) || self.is_named(key, caller)
    }

    #[cold]
    fn is_named(&self, key: &PublicKey, caller: &Caller) -> bool {
        self.snapshot.users.get(position(caller.user)).is_some_and(|row| row.keys.contains(key))
    }

    /// Whether the caller's passes that were signed at `issued` are taken.
    #[inline]
    pub(super) fn takes_pass(&self, issued: UnixTime, caller: &Caller) -> bool {
        !caller.cuts_passes || self.is_recent(issued, caller)
    }

    #[cold]
    fn is_recent(&self, issued: UnixTime, caller: &Caller) -> bool {
        self.snapshot.users.get(position(caller.user)).is_some_and(|row| row.passes_from <= issued)
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

    /// Grants of the caller that contain `service`, with their positions, in the order of the snapshot.
    #[inline(always)] // a call would write the iterator to memory: a tenth of a decision
    pub(super) fn grants_for(&self, caller: &Caller, service: u32) -> impl Iterator<Item = (u32, &Grant)> {
        let lists = self.categories.of_service(service);
        let from = caller.grants.start;
        let to = if lists.may_meet(caller.categories) { caller.grants.end } else { from };
        let categories = self.granted.get(position(from)..position(to)).unwrap_or_default();
        // A grant that does not contain the service is not even read.
        let found = (from..).zip(categories).filter(move |(_, category)| lists.contain(**category));
        found.filter_map(|(grant, _)| Some((grant, self.grant(grant)?)))
    }

    /// Prohibitions of the caller that contain `service`, with their positions, in the order of the snapshot.
    pub(super) fn prohibitions_for(
        &self,
        caller: &Caller,
        service: u32,
    ) -> impl Iterator<Item = (u32, &Prohibition)> {
        let lists = self.categories.of_service(service);
        let rows = rows_of(&self.snapshot.prohibitions, &self.prohibited, caller.user);
        rows.filter(move |(_, row)| lists.contain(row.category))
    }

    /// What prohibitions of a user close of a service in second `now`. Most devices have none of these.
    pub(super) fn closed_paths(
        &self,
        user: UserId,
        service: u32,
        now: UnixTime,
    ) -> impl Iterator<Item = &Pattern> {
        let caller = self.users.get(&user).filter(|_| !self.snapshot.paths.is_empty());
        let caller = caller.and_then(|user| self.caller(*user));
        let rows = caller.into_iter().flat_map(move |caller| self.prohibitions_for(caller, service));
        let closed = rows.filter(move |(_, row)| row.in_force(now)).filter_map(|(_, row)| row.path);
        closed.filter_map(|path| self.path(path))
    }

    pub(super) fn path(&self, path: u32) -> Option<&Pattern> {
        self.snapshot.paths.get(position(path))
    }

    /// Cases that contain `service`, active or not.
    pub(super) fn cases_of(&self, service: u32) -> impl Iterator<Item = &Case> {
        let lists = self.cases.of_service(service);
        (0u32..).zip(&self.snapshot.cases).filter(move |(at, _)| lists.contain(*at)).map(|(_, case)| case)
    }

    /// What was approved of one grant for `service`, over or not.
    pub(super) fn approvals_of(&self, grant: u32, service: u32) -> impl Iterator<Item = &Approval> {
        let all = &self.snapshot.approvals;
        let from = all.partition_point(|row| (row.grant, row.service) < (grant, service));
        let rest = all.get(from..).unwrap_or_default();
        rest.iter().take_while(move |row| (row.grant, row.service) == (grant, service))
    }
}

/// Beyond every position in a snapshot.
const NO_CATEGORY: u32 = u32::MAX;

/// One for each user. Grants are ascending by user.
fn callers_of(snapshot: &Snapshot) -> Vec<Caller> {
    let mut grants = snapshot.grants.iter().peekable();
    let mut next = 0u32;
    let callers = (0u32..).zip(&snapshot.users).map(|(user, row)| {
        let (from, mut categories) = (next, Fold::default());
        while let Some(grant) = grants.next_if(|grant| grant.user == user) {
            categories.add(grant.category);
            next += 1;
        }
        let first_key = row.keys.first().copied();
        let cuts_passes = row.passes_from > UnixTime::EPOCH;
        let (id, disabled) = (row.id, row.disabled);
        Caller { id, disabled, cuts_passes, user, first_key, grants: from..next, categories }
    });
    callers.collect()
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
