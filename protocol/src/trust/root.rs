//! The root: which keys may sign what, how many of them are needed, and which hub keys are genuine.
//!
//! 1. The first root is accepted because the enrolment code carries its digest ([`Root::accept_first`]).
//! 2. Each later root is one version higher, signed by the threshold of its predecessor *and* by its own
//!    ([`Root::accept_next`]; TUF section 5.3), so a thief needs the offline keys to change who may sign.
//! 3. A chain is walked in order ([`Root::follow`]), from the pinned root on where it begins earlier
//!    ([`Root::accept_chain`]). Nothing is skipped, however long a device was away.
//!
//! Acceptance does not look at the clock: a root that has expired meanwhile is a step on the way to the newest, and a
//! device whose newest has expired must still take the next. What an expired root is worth is the gate's business
//! ([`Root::expires`]): nothing is permitted under it.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::envelope::{Domain, Envelope, EnvelopeFault, Signed};
use super::keys::PublicKey;
use crate::id::FleetId;
use crate::limits;
use crate::time::UnixTime;

/// What a key may sign. New roles are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Signs roots; its keys are kept offline.
    Root,
    /// Signs snapshots.
    Policy,
    /// Signs passes.
    Identity,
    /// Signs timestamps: what time it is, and what is newest.
    Timestamp,
    /// Signs locks, which only deny.
    Lock,
    /// Signs acknowledgements of audit rows.
    AuditAck,
}

impl Role {
    /// All roles, in the order in which a root lists them.
    pub const ALL: [Self; 6] =
        [Self::Root, Self::Policy, Self::Identity, Self::Timestamp, Self::Lock, Self::AuditAck];

    /// The word in files, commands and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Policy => "policy",
            Self::Identity => "identity",
            Self::Timestamp => "timestamp",
            Self::Lock => "lock",
            Self::AuditAck => "audit_ack",
        }
    }
}

/// The keys of one role and how many of them must sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleKeys {
    /// The role.
    pub role: Role,
    /// Distinct keys that must sign, at least one.
    pub threshold: u8,
    /// The keys, strictly ascending; at most [`limits::ROLE_KEYS`].
    pub keys: Vec<PublicKey>,
}

impl RoleKeys {
    /// How many keys must sign: at least one, because a threshold of zero would accept unsigned bytes.
    #[must_use]
    pub fn needed(&self) -> usize {
        usize::from(self.threshold).max(1)
    }
}

/// One version of the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The installation that this root speaks for.
    pub fleet: FleetId,
    /// Counts from 1 without gaps.
    pub version: u32,
    /// The first second in which nothing is permitted under this root; it is accepted all the same.
    pub expires: UnixTime,
    /// Snapshots carry this number; raising it makes every older snapshot worthless, whatever its version.
    pub policy_epoch: u32,
    /// One entry for each role, in the order of [`Role`].
    pub roles: Vec<RoleKeys>,
    /// Keys by which a hub is recognised, strictly ascending; at most [`limits::HUB_KEYS`].
    pub hubs: Vec<PublicKey>,
}

/// Why a root is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootFault {
    /// The envelope does not hold.
    #[error(transparent)]
    Envelope(#[from] EnvelopeFault),
    /// The first root is not the one that the enrolment code names.
    #[error("the root's digest is {found}, the enrolment code names {expected}")]
    Digest {
        /// Digest of the payload received.
        found: Digest,
        /// Digest that was pinned.
        expected: Digest,
    },
    /// A root of another installation.
    #[error("the root belongs to fleet {found}, not to {expected}")]
    Fleet {
        /// Fleet named by the root received.
        found: FleetId,
        /// Fleet of this device.
        expected: FleetId,
    },
    /// A gap, a repetition or a step back.
    #[error("root version {found}, version {expected} must follow")]
    Version {
        /// Version received.
        found: u32,
        /// The only version that may follow.
        expected: u32,
    },
    /// The epoch of policy went back.
    #[error("policy epoch {found} is below {floor}")]
    Epoch {
        /// Epoch received.
        found: u32,
        /// Epoch of the current root.
        floor: u32,
    },
    /// Roles missing, repeated or out of order; a threshold that no set of keys can reach; too many keys.
    #[error("the root's {role:?} role is malformed")]
    Roles {
        /// The first role that is wrong.
        role: Role,
    },
    /// A key stands in two roles: whoever stole it would hold both.
    #[error("a key of the root's {role:?} role stands in an earlier role too")]
    SharedKey {
        /// The later of the two roles.
        role: Role,
    },
    /// Hub keys are not strictly ascending or too many.
    #[error("the root's hub keys are malformed")]
    Hubs,
}

impl Signed for Root {
    const DOMAIN: Domain = Domain::Root;
    const MAX_BYTES: usize = limits::ROOT_BYTES;
}

impl Root {
    /// Accepts the first root of a chain: its payload has the pinned digest and it is signed by its own threshold.
    ///
    /// # Errors
    /// The [`RootFault`] of the first check that fails.
    pub fn accept_first(bytes: &[u8], pinned: &Digest) -> Result<Self, RootFault> {
        let envelope = Envelope::parse(bytes, limits::ROOT_BYTES)?;
        let found = Digest::of(&[envelope.payload()]);
        // The digest stands in for the signature here: without it, any self-signed root would be believed.
        if found != *pinned {
            return Err(RootFault::Digest { found, expected: *pinned });
        }
        Self::self_signed(bytes)
    }

    /// Reads a root that is signed by its own threshold: what was stored after an earlier acceptance.
    ///
    /// A self-signed object names the keys that it is verified with, so here alone a payload is decoded before its
    /// signatures hold; it has at most [`limits::ROOT_BYTES`]. That the signatures hold then says that the bytes are
    /// whole, not that they are to be trusted: trust comes from the pinned digest or from where they were stored.
    ///
    /// # Errors
    /// The [`RootFault`] of the first check that fails.
    pub fn self_signed(bytes: &[u8]) -> Result<Self, RootFault> {
        let claimed = Self::unverified(bytes)?;
        Envelope::parse(bytes, limits::ROOT_BYTES)?.verify(Domain::Root, claimed.role(Role::Root)?)?;
        Ok(claimed)
    }

    /// Accepts the successor of this root.
    ///
    /// # Errors
    /// The [`RootFault`] of the first check that fails; this root stays in force then.
    pub fn accept_next(&self, bytes: &[u8]) -> Result<Self, RootFault> {
        let next: Self = Envelope::open(bytes, self.role(Role::Root)?)?;
        next.check_form()?;
        // Its own threshold as well: a root that its holders cannot sign again would end the chain.
        Envelope::parse(bytes, limits::ROOT_BYTES)?.verify(Domain::Root, next.role(Role::Root)?)?;
        if next.fleet != self.fleet {
            return Err(RootFault::Fleet { found: next.fleet, expected: self.fleet });
        }
        // Not saturating: at the end of the range the last root could replace itself for ever.
        if self.version.checked_add(1) != Some(next.version) {
            return Err(RootFault::Version { found: next.version, expected: self.version.saturating_add(1) });
        }
        if next.policy_epoch < self.policy_epoch {
            return Err(RootFault::Epoch { found: next.policy_epoch, floor: self.policy_epoch });
        }
        Ok(next)
    }

    /// Accepts all of these, one after another, and returns the last; this root itself if there are none.
    ///
    /// # Errors
    /// The [`RootFault`] of the first that does not follow; the caller keeps the root that it had.
    pub fn follow<'a>(self, later: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, RootFault> {
        later.into_iter().try_fold(self, |root, bytes| root.accept_next(bytes))
    }

    /// Accepts a chain that contains the pinned root: what is before it is skipped unread, what follows is walked.
    ///
    /// # Errors
    /// [`RootFault::Digest`] when none of them is the pinned one, with the digest of the last; otherwise that of the
    /// first root that does not follow.
    pub fn accept_chain<'a>(
        roots: impl IntoIterator<Item = &'a [u8]>,
        pinned: &Digest,
    ) -> Result<Self, RootFault> {
        let mut roots = roots.into_iter();
        let mut last = Err(RootFault::Envelope(EnvelopeFault::Frame));
        for bytes in roots.by_ref() {
            last = Self::accept_first(bytes, pinned);
            if !matches!(last, Err(RootFault::Digest { .. })) {
                break;
            }
        }
        last?.follow(roots)
    }

    /// Reads a root that may lack signatures, to show it or to sign it. Nothing may be believed for it.
    ///
    /// # Errors
    /// The [`RootFault`] of the first check of form that fails.
    pub fn unverified(bytes: &[u8]) -> Result<Self, RootFault> {
        let envelope = Envelope::parse(bytes, limits::ROOT_BYTES)?;
        let claimed: Self = crate::wire::codec::decode(envelope.payload(), limits::ROOT_BYTES)
            .map_err(EnvelopeFault::Codec)?;
        claimed.check_form()?;
        Ok(claimed)
    }

    /// The holders of this root's root role who have signed `bytes`, and how many must.
    ///
    /// # Errors
    /// Those of [`Envelope::parse`] and [`Root::role`].
    pub fn signed_by(&self, bytes: &[u8]) -> Result<(Vec<PublicKey>, usize), RootFault> {
        let role = self.role(Role::Root)?;
        let envelope = Envelope::parse(bytes, limits::ROOT_BYTES)?;
        Ok((envelope.signers(Domain::Root, role).collect(), role.needed()))
    }

    /// The digest of a sealed root's payload, by which it is pinned.
    ///
    /// # Errors
    /// Those of [`Envelope::parse`].
    pub fn digest_of(bytes: &[u8]) -> Result<Digest, RootFault> {
        Ok(Digest::of(&[Envelope::parse(bytes, limits::ROOT_BYTES)?.payload()]))
    }

    /// The keys of `role`.
    ///
    /// # Errors
    /// [`RootFault::Roles`] when this root does not name the role.
    pub fn role(&self, role: Role) -> Result<&RoleKeys, RootFault> {
        self.roles.iter().find(|keys| keys.role == role).ok_or(RootFault::Roles { role })
    }

    /// Whether the form is right: what every acceptance checks, and what whoever makes a root wants to know before
    /// its holders sign.
    ///
    /// # Errors
    /// [`RootFault::Roles`], [`RootFault::SharedKey`] or [`RootFault::Hubs`].
    pub fn check_form(&self) -> Result<(), RootFault> {
        for (i, role) in Role::ALL.into_iter().enumerate() {
            let keys = self.roles.get(i).filter(|keys| keys.role == role).ok_or(RootFault::Roles { role })?;
            let ascending = keys.keys.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
            let reachable = keys.threshold >= 1 && usize::from(keys.threshold) <= keys.keys.len();
            if !ascending || !reachable || keys.keys.len() > limits::ROLE_KEYS {
                return Err(RootFault::Roles { role });
            }
            // Two keys to a machine are two only while no key is both.
            let earlier = self.roles.get(..i).unwrap_or_default();
            if keys.keys.iter().any(|key| earlier.iter().any(|other| other.keys.contains(key))) {
                return Err(RootFault::SharedKey { role });
            }
        }
        if self.roles.len() != Role::ALL.len() {
            return Err(RootFault::Roles { role: Role::Root });
        }
        let ascending = self.hubs.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        if ascending && self.hubs.len() <= limits::HUB_KEYS { Ok(()) } else { Err(RootFault::Hubs) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::SecretKey;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32]).unwrap()
    }

    fn role(role: Role, threshold: u8, seeds: &[u8]) -> RoleKeys {
        let mut keys: Vec<PublicKey> = seeds.iter().map(|seed| key(*seed).public()).collect();
        keys.sort();
        RoleKeys { role, threshold, keys }
    }

    fn root(version: u32, root_seeds: &[u8], threshold: u8) -> Root {
        Root {
            fleet: FleetId::new([1; 8]),
            version,
            expires: UnixTime::from_secs(2_000_000_000),
            policy_epoch: 1,
            roles: vec![
                role(Role::Root, threshold, root_seeds),
                role(Role::Policy, 1, &[21]),
                role(Role::Identity, 1, &[22]),
                role(Role::Timestamp, 1, &[24]),
                role(Role::Lock, 1, &[25]),
                role(Role::AuditAck, 1, &[26]),
            ],
            hubs: vec![key(23).public()],
        }
    }

    fn sealed(root: &Root, seeds: &[u8]) -> Vec<u8> {
        let keys: Vec<SecretKey> = seeds.iter().map(|seed| key(*seed)).collect();
        Envelope::seal(root, &keys.iter().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn the_first_root_is_accepted_by_its_digest_only() {
        let first = root(1, &[1, 2, 3], 2);
        let bytes = sealed(&first, &[1, 2]);
        let digest = Digest::of(&[Envelope::parse(&bytes, limits::ROOT_BYTES).unwrap().payload()]);
        assert_eq!(Root::accept_first(&bytes, &digest), Ok(first));
        let other = Digest::of(&[b"other"]);
        assert_eq!(
            Root::accept_first(&bytes, &other),
            Err(RootFault::Digest { found: digest, expected: other })
        );
    }

    #[test]
    fn a_successor_needs_the_threshold_of_both_roots() {
        let first = root(1, &[1, 2, 3], 2);
        let second = root(2, &[3, 4, 5], 2);
        assert_eq!(first.accept_next(&sealed(&second, &[1, 3, 4])), Ok(second.clone()));
        let short = |valid| Err(RootFault::Envelope(EnvelopeFault::Threshold { valid, threshold: 2 }));
        assert_eq!(first.accept_next(&sealed(&second, &[1, 2])), short(0)); // only the old
        assert_eq!(first.accept_next(&sealed(&second, &[3, 4])), short(1)); // only the new
    }

    #[test]
    fn versions_follow_without_gap_and_the_epoch_never_falls() {
        let first = Root { policy_epoch: 5, ..root(1, &[1], 1) };
        let gap = Root { policy_epoch: 5, ..root(3, &[1], 1) };
        assert_eq!(first.accept_next(&sealed(&gap, &[1])), Err(RootFault::Version { found: 3, expected: 2 }));
        let back = Root { policy_epoch: 4, ..root(2, &[1], 1) };
        assert_eq!(first.accept_next(&sealed(&back, &[1])), Err(RootFault::Epoch { found: 4, floor: 5 }));
    }

    #[test]
    fn the_last_version_has_no_successor() {
        let last = root(u32::MAX, &[1], 1);
        let fault = RootFault::Version { found: u32::MAX, expected: u32::MAX };
        assert_eq!(last.accept_next(&sealed(&last, &[1])), Err(fault));
        let before = root(u32::MAX - 1, &[1], 1);
        assert_eq!(before.accept_next(&sealed(&last, &[1])), Ok(last));
    }

    #[test]
    fn a_root_of_another_fleet_is_no_successor() {
        let (here, there) = (FleetId::new([1; 8]), FleetId::new([2; 8]));
        let other = Root { fleet: there, ..root(2, &[1], 1) };
        let fault = RootFault::Fleet { found: there, expected: here };
        assert_eq!(root(1, &[1], 1).accept_next(&sealed(&other, &[1])), Err(fault));
    }

    /// A chain of roots of versions 1 to `count`, each with a root key of its own beside a lasting one.
    fn chain(count: u8) -> Vec<Vec<u8>> {
        let seeds = |version: u8| [1, 100 + version];
        let seal = |version: u8| {
            let root = root(version.into(), &seeds(version), 2);
            let holders = [1, 100 + version, 100 + version - 1];
            sealed(&root, if version == 1 { &holders[..2] } else { &holders })
        };
        (1..=count).map(seal).collect()
    }

    #[test]
    fn a_chain_is_followed_to_its_end_and_not_over_a_gap() {
        let chain = chain(70);
        let slices = || chain.iter().map(Vec::as_slice);
        let first = Root::self_signed(&chain[0]).unwrap();
        assert_eq!(first.clone().follow(slices().skip(1)).map(|root| root.version), Ok(70));
        assert_eq!(first.clone().follow([]), Ok(first.clone()));
        let threshold = EnvelopeFault::Threshold { valid: 1, threshold: 2 };
        assert_eq!(first.follow(slices().skip(2)), Err(RootFault::Envelope(threshold)));
    }

    #[test]
    fn a_chain_begins_at_the_pinned_root_wherever_it_stands() {
        let chain = chain(5);
        let slices = || chain.iter().map(Vec::as_slice);
        let pinned = Root::digest_of(&chain[2]).unwrap();
        assert_eq!(Root::accept_chain(slices(), &pinned).map(|root| root.version), Ok(5));
        assert_eq!(Root::accept_chain(slices().take(3), &pinned).map(|root| root.version), Ok(3));
        let found = Root::digest_of(&chain[4]).unwrap();
        let other = Digest::of(&[b"other"]);
        assert_eq!(Root::accept_chain(slices(), &other), Err(RootFault::Digest { found, expected: other }));
        assert_eq!(
            Root::accept_chain([], &pinned),
            Err(RootFault::Envelope(EnvelopeFault::Frame)),
            "no roots at all"
        );
        // The pinned one is there, and what follows it does not.
        let broken = [chain[2].as_slice(), chain[4].as_slice()];
        let fault = EnvelopeFault::Threshold { valid: 1, threshold: 2 };
        assert_eq!(Root::accept_chain(broken, &pinned), Err(RootFault::Envelope(fault)));
    }

    #[test]
    fn a_root_that_has_expired_is_accepted_and_followed_like_any_other() {
        let first = root(1, &[1], 1);
        let expired = Root { expires: UnixTime::EPOCH, ..root(2, &[1], 1) };
        let third = root(3, &[1], 1);
        let (second_sealed, third_sealed) = (sealed(&expired, &[1]), sealed(&third, &[1]));
        assert_eq!(first.follow([second_sealed.as_slice(), third_sealed.as_slice()]), Ok(third));
    }

    #[test]
    fn signatures_are_added_one_by_one_until_old_and_new_threshold_are_met() {
        let first = root(1, &[1, 2, 3], 2);
        let second = root(2, &[3, 4, 5], 2);
        let mut draft = sealed(&second, &[]);
        assert_eq!(Root::unverified(&draft), Ok(second.clone()));
        for (seed, old, new) in [(1, 1, 0), (3, 2, 1), (5, 2, 2)] {
            draft = Envelope::countersign::<Root>(&draft, &key(seed)).unwrap();
            let count = |root: &Root| root.signed_by(&draft).map(|(keys, needed)| (keys.len(), needed));
            assert_eq!((count(&first), count(&second)), (Ok((old, 2)), Ok((new, 2))), "seed {seed}");
        }
        assert_eq!(draft, sealed(&second, &[1, 3, 5]));
        assert_eq!(first.accept_next(&draft), Ok(second));
        assert_eq!(Envelope::countersign::<Root>(&draft, &key(3)), Err(EnvelopeFault::Order));
    }

    #[test]
    fn a_signature_over_another_payload_counts_for_nobody() {
        let first = root(1, &[1, 2], 2);
        let mut draft = sealed(&root(2, &[1, 2], 2), &[1]);
        let last = draft.len() - 1;
        draft[last] ^= 1;
        assert_eq!(first.signed_by(&draft), Ok((Vec::new(), 2)));
    }

    #[test]
    fn every_role_is_named_once_and_in_order() {
        let form = |change: &dyn Fn(&mut Root)| {
            let mut changed = root(1, &[1], 1);
            change(&mut changed);
            Root::self_signed(&sealed(&changed, &[1])).map(|root| root.version)
        };
        let malformed = |role| Err(RootFault::Roles { role });
        assert_eq!(form(&|_| ()), Ok(1));
        assert_eq!(form(&|r| r.roles.swap(0, 1)), malformed(Role::Root));
        assert_eq!(form(&|r| r.roles.truncate(2)), malformed(Role::Identity));
        assert_eq!(form(&|r| r.roles.truncate(5)), malformed(Role::AuditAck));
        assert_eq!(form(&|r| r.roles.push(r.roles[2].clone())), malformed(Role::Root));
        assert_eq!(form(&|r| r.roles[1].keys.clear()), malformed(Role::Policy));
        assert_eq!(form(&|r| r.roles[1].keys = vec![key(21).public(); 2]), malformed(Role::Policy));
        let mut many: Vec<PublicKey> = (30..47).map(|seed| key(seed).public()).collect();
        many.sort();
        assert_eq!(form(&|r| r.roles[2].keys = many.clone()), malformed(Role::Identity));
        assert_eq!(form(&|r| r.roles[2].keys = many[..16].to_vec()), Ok(1));
        assert_eq!(form(&|r| r.hubs = many.clone()), Err(RootFault::Hubs));
        assert_eq!(form(&|r| r.hubs = vec![many[1], many[0]]), Err(RootFault::Hubs));
        assert_eq!(form(&|r| r.hubs.clear()), Ok(1));
    }

    #[test]
    fn a_key_stands_in_one_role_only() {
        let form = |change: &dyn Fn(&mut Root)| {
            let mut changed = root(1, &[1], 1);
            change(&mut changed);
            Root::self_signed(&sealed(&changed, &[1])).map(|root| root.version)
        };
        let shared = |role| Err(RootFault::SharedKey { role });
        assert_eq!(form(&|r| r.roles[1].keys = r.roles[0].keys.clone()), shared(Role::Policy));
        assert_eq!(form(&|r| r.roles[3].keys = r.roles[2].keys.clone()), shared(Role::Timestamp));
        assert_eq!(form(&|r| r.roles[5].keys = r.roles[1].keys.clone()), shared(Role::AuditAck));
    }

    #[test]
    fn a_stored_root_with_a_changed_byte_is_noticed() {
        let bytes = sealed(&root(1, &[1], 1), &[1]);
        let mut changed = bytes.clone();
        changed[14] ^= 1; // the version
        let fault = EnvelopeFault::Threshold { valid: 0, threshold: 1 };
        assert_eq!(Root::self_signed(&changed), Err(RootFault::Envelope(fault)));
        assert_eq!(Root::self_signed(&bytes), Ok(root(1, &[1], 1)));
    }

    #[test]
    fn a_threshold_that_nobody_can_reach_or_anyone_can_is_refused() {
        for threshold in [0, 2] {
            let bad = root(1, &[1], threshold);
            assert_eq!(Root::self_signed(&sealed(&bad, &[1])), Err(RootFault::Roles { role: Role::Root }));
        }
    }
}
