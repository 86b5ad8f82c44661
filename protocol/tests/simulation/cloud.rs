//! The cloud: real keys, real roots, snapshots, locks and timestamps, and the truth that they carry.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::LazyLock;

use postern_protocol::id::{DeviceId, FleetId};
use postern_protocol::policy::snapshot::Reach;
use postern_protocol::policy::{
    Category, DeviceLimits, FreshnessRule, Grant, Kind, Mode, Origin, Service, Snapshot, Target, User,
};
use postern_protocol::session::hub::{Naming, Published, SealedRoot};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{
    Digest, Envelope, Factor, Lock, LockTarget, Method, Narrowing, Pass, Role, RoleKeys, Root, SecretKey,
    Signed as _, Timestamp,
};
use postern_protocol::wire::control::Held;

use crate::truth::{History, MALLORY, Place, Policy, SERVICES, USERS, name, user};

pub(crate) const FLEET: FleetId = FleetId::new([0xf1; 8]);
pub(crate) const DEVICE: DeviceId = DeviceId::new([0xd1; 8]);
/// The second in which every world begins.
const BEGINNING_S: u64 = 1_800_000_000;

/// What has its own keys.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Whose {
    Root = 1,
    Policy,
    Identity,
    Timestamp,
    Lock,
    Audit,
    Device,
    User,
}

/// A change of the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ceremony {
    /// A new key for snapshots; what is in force is signed with both before, or with the new one after.
    Policy {
        both: bool,
    },
    Timestamp,
    Lock,
    /// A higher epoch and a new key for snapshots, after a theft.
    Recovery,
}

pub(crate) struct Cloud {
    pub(crate) truth: Policy,
    pub(crate) history: History,
    pub(crate) rule: FreshnessRule,
    pub(crate) root: Root,
    pub(crate) roots: Vec<SealedRoot>,
    /// Everything that was ever published, whoever kept a copy.
    pub(crate) snapshots: Vec<Published>,
    pub(crate) locks: Vec<Vec<u8>>,
    pub(crate) timestamps: Vec<(Vec<u8>, Timestamp)>,
    generations: BTreeMap<u8, u8>,
    version: u64,
    sequence: u64,
    cleared: u64,
    lock: Option<Vec<u8>>,
    timestamp_key: &'static SecretKey,
}

/// The key of a role in its `generation`, or of a user.
pub(crate) fn key(whose: Whose, generation: u8) -> &'static SecretKey {
    let place = usize::from(whose as u8 * GENERATIONS + generation);
    &KEYS[place]
}

/// More than any world lives to see.
const GENERATIONS: u8 = 16;

/// Made once: a key takes longer than a signature.
static KEYS: LazyLock<Vec<SecretKey>> = LazyLock::new(|| {
    let seeds = (0..=Whose::User as u8).flat_map(|whose| (0..GENERATIONS).map(move |it| [whose, it]));
    seeds
        .map(|seed| {
            SecretKey::from_seed([[0x5e; 2], seed].as_flattened().repeat(8).try_into().unwrap()).unwrap()
        })
        .collect()
});

/// What a true clock says.
pub(crate) fn clock(now: u64) -> UnixTime {
    UnixTime::from_secs(BEGINNING_S + now / 1000)
}

/// How a snapshot is named.
fn published(snapshot: &Snapshot, keys: &[&SecretKey]) -> Published {
    let bytes = Envelope::seal(snapshot, keys).unwrap();
    let digest = Digest::of(&[Envelope::parse(&bytes, Snapshot::MAX_BYTES).unwrap().payload()]);
    let held = Held { epoch: snapshot.epoch, version: snapshot.version, digest };
    Published { held, bytes: bytes.into() }
}

impl Cloud {
    /// A cloud whose device is enrolled: one root, one snapshot.
    pub(crate) fn new(truth: Policy, rule: FreshnessRule) -> Self {
        let roles =
            [Whose::Root, Whose::Policy, Whose::Identity, Whose::Timestamp, Whose::Lock, Whose::Audit];
        let roles = Role::ALL.into_iter().zip(roles);
        let roles =
            roles.map(|(role, whose)| RoleKeys { role, threshold: 1, keys: vec![key(whose, 0).public()] });
        let root = Root {
            fleet: FLEET,
            version: 1,
            expires: UnixTime::from_secs(BEGINNING_S + 100_000_000),
            policy_epoch: 1,
            roles: roles.collect(),
            hubs: Vec::new(),
        };
        let mut cloud = Self {
            truth,
            history: History::default(),
            rule,
            root,
            roots: Vec::new(),
            snapshots: Vec::new(),
            locks: Vec::new(),
            timestamps: Vec::new(),
            generations: BTreeMap::new(),
            version: 0,
            sequence: 0,
            cleared: 0,
            lock: None,
            timestamp_key: key(Whose::Timestamp, 0),
        };
        cloud.seal_root();
        cloud.publish(0);
        cloud
    }

    /// The newest snapshot.
    pub(crate) fn newest(&self) -> &Published {
        self.snapshots.last().unwrap()
    }

    /// The newest lock that a device can be given, and what a timestamp names.
    pub(crate) fn lock(&self) -> (Option<(u64, Vec<u8>)>, u64) {
        let newest = self.lock.clone().map(|sealed| (self.sequence, sealed));
        let named = if newest.is_some() { self.sequence } else { self.cleared };
        (newest, named)
    }

    /// Signs what is true as the next version.
    pub(crate) fn publish(&mut self, now: u64) {
        self.publish_with(&[self.generation(Whose::Policy)], now);
    }

    /// Locks one more target.
    pub(crate) fn lock_target(&mut self, target: LockTarget, now: u64) {
        self.truth.locked.insert(target);
        self.relock(now);
        self.history.add(now, &self.truth);
    }

    /// Lifts a target, or all: marks everything as lifted, signs again what is not, then says so in a snapshot.
    ///
    /// Whoever delivers that snapshot and withholds the lock has everything lifted for what needs no word of the cloud: the next
    /// timestamp names the lock. So there is a moment in which that is the truth.
    pub(crate) fn lift(&mut self, target: Option<&LockTarget>, now: u64) {
        match target {
            Some(target) => drop(self.truth.locked.remove(target)),
            None => self.truth.locked.clear(),
        }
        (self.cleared, self.lock) = (self.sequence, None);
        self.history.add(now, &Policy { locked: BTreeSet::new(), ..self.truth.clone() });
        self.relock(now);
        self.publish(now);
    }

    /// Makes and signs the next root, and signs again what rests on it.
    pub(crate) fn hold(&mut self, ceremony: Ceremony, now: u64) {
        let (role, whose) = match ceremony {
            Ceremony::Policy { .. } | Ceremony::Recovery => (Role::Policy, Whose::Policy),
            Ceremony::Timestamp => (Role::Timestamp, Whose::Timestamp),
            Ceremony::Lock => (Role::Lock, Whose::Lock),
        };
        let generation = self.generation(whose) + 1;
        if ceremony == (Ceremony::Policy { both: true }) {
            self.publish_with(&[generation - 1, generation], now);
        }
        self.generations.insert(whose as u8, generation);
        let keys = self.root.roles.iter_mut().find(|keys| keys.role == role).unwrap();
        keys.keys = vec![key(whose, generation).public()];
        self.root.version += 1;
        match ceremony {
            Ceremony::Policy { both: true } => self.seal_root(),
            Ceremony::Policy { both: false } => {
                self.seal_root();
                self.publish(now);
            }
            Ceremony::Timestamp => {
                self.seal_root();
                self.timestamp_key = key(whose, generation);
            }
            Ceremony::Lock => {
                self.seal_root();
                // A device that did not get the one before takes none of the old key any more.
                self.relock(now);
            }
            Ceremony::Recovery => {
                self.root.policy_epoch += 1;
                self.seal_root();
                (self.version, self.sequence, self.cleared, self.lock) = (0, 0, 0, None);
                self.relock(now);
                self.publish(now);
            }
        }
    }

    /// The answer to a question, as things are now.
    pub(crate) fn answer(&mut self, Naming { nonce, held }: Naming, now: u64) -> Vec<u8> {
        let (_, lock) = self.lock();
        let (time, root_version) = (clock(now), self.root.version);
        let timestamp = Timestamp { fleet: FLEET, device: DEVICE, nonce, time, root_version, held, lock };
        let bytes = Envelope::seal(&timestamp, &[self.timestamp_key]).unwrap();
        self.timestamps.push((bytes.clone(), timestamp));
        bytes
    }

    /// A pass for a user, sealed.
    pub(crate) fn pass(&self, number: u8, now: u64) -> Vec<u8> {
        let pass = Pass {
            fleet: FLEET,
            user: user(number),
            key: key(Whose::User, number).public(),
            factors: vec![Factor { method: Method::Totp, at: clock(now) }],
            issued: clock(now),
            expires: clock(now).saturating_add(8 * 3600),
            narrow: Narrowing::NONE,
        };
        Envelope::seal(&pass, &[key(Whose::Identity, 0)]).unwrap()
    }

    /// The key that signs snapshots now; whoever steals it has this generation of it.
    pub(crate) fn generation(&self, whose: Whose) -> u8 {
        self.generations.get(&(whose as u8)).copied().unwrap_or(0)
    }

    /// A snapshot that a thief of the policy key signs: for somebody who was never granted anything, in the place of a
    /// version that is still to come, and keeping those rows of others that need the cloud. It marks nothing for work without
    /// the cloud and lifts no lock: that a stolen policy key can do that is written down in the threat model.
    pub(crate) fn forged(
        &self,
        generation: u8,
        (version, issued): (u64, UnixTime),
        place: Place,
    ) -> Published {
        let mut policy = Policy::default();
        policy.grants.extend(self.truth.grants.iter().filter(|(_, terms)| !terms.offline));
        let terms = crate::truth::Terms { offline: false, from: None, until: None };
        policy.grants.insert((MALLORY, place.1), terms);
        let freshness = FreshnessRule { window_s: u32::MAX, offline_s: u32::MAX };
        let epoch = self.root.policy_epoch;
        let snapshot = snapshot(&policy, (epoch, version, self.cleared), issued, freshness);
        published(&snapshot, &[key(Whose::Policy, generation)])
    }

    fn publish_with(&mut self, generations: &[u8], now: u64) {
        self.version += 1;
        let place = (self.root.policy_epoch, self.version, self.cleared);
        let snapshot = snapshot(&self.truth, place, clock(now), self.rule);
        let keys: Vec<&SecretKey> = generations.iter().map(|it| key(Whose::Policy, *it)).collect();
        self.snapshots.push(published(&snapshot, &keys));
        self.history.add(now, &self.truth);
    }

    /// Signs all that is locked, if anything is.
    fn relock(&mut self, now: u64) {
        if self.truth.locked.is_empty() {
            return;
        }
        self.sequence += 1;
        let targets = self.truth.locked.iter().cloned().collect();
        let (epoch, sequence) = (self.root.policy_epoch, self.sequence);
        let lock = Lock { fleet: FLEET, device: DEVICE, epoch, sequence, issued: clock(now), targets };
        let sealed = Envelope::seal(&lock, &[key(Whose::Lock, self.generation(Whose::Lock))]).unwrap();
        self.locks.push(sealed.clone());
        self.lock = Some(sealed);
    }

    fn seal_root(&mut self) {
        let bytes = Envelope::seal(&self.root, &[key(Whose::Root, 0)]).unwrap();
        self.roots.push(SealedRoot { version: self.root.version, bytes: bytes.into() });
    }
}

/// What the truth is as rows: epoch, version and lifted locks as named.
fn snapshot(
    policy: &Policy,
    (epoch, version, locks_cleared): (u32, u64, u64),
    issued: UnixTime,
    freshness: FreshnessRule,
) -> Snapshot {
    let names = |place: &Place| place.0;
    let users: Vec<u8> =
        (0..USERS).filter(|it| policy.grants.keys().map(names).any(|user| user == *it)).collect();
    let position = |number: u8| u32::try_from(users.iter().position(|it| *it == number).unwrap()).unwrap();
    let second = |edge: Option<u64>| edge.map(clock);
    let grant = |(place, terms): (&Place, &crate::truth::Terms)| Grant {
        user: position(place.0),
        category: u32::from(place.1),
        not_before: second(terms.from),
        not_after: second(terms.until),
        second_factor_s: None,
        needs_case: false,
        needs_approval: false,
        offline_ok: terms.offline,
        mode: Mode::WIDEST,
        origin: 0,
    };
    let service = |number| Service {
        name: name("service", number),
        tunnels: 64,
        idle_s: 3600,
        duration_s: 86_400,
        view_only: false,
        reach: Reach::whole(Kind::Http, Target { ip: Ipv4Addr::new(192, 0, 2, 1 + number).into(), port: 80 }),
    };
    let category = |number: u8| Category {
        name: name("category", number),
        services: vec![u32::from(number)],
        record: false,
    };
    let row = |number: &u8| User {
        id: user(*number),
        keys: vec![key(Whose::User, *number).public()],
        disabled: false,
        passes_from: UnixTime::EPOCH,
    };
    Snapshot {
        fleet: FLEET,
        device: DEVICE,
        device_key: key(Whose::Device, 0).public(),
        epoch,
        locks_cleared,
        version,
        issued,
        expires: issued.saturating_add(1_000_000_000),
        assigned: true,
        retired: false,
        limits: DeviceLimits { tunnels: 64, tunnels_per_user: 64 },
        freshness,
        services: (0..SERVICES).map(service).collect(),
        categories: (0..SERVICES).map(category).collect(),
        users: users.iter().map(row).collect(),
        origins: vec![Origin::Entry { entry: "plant".parse().unwrap() }],
        grants: policy.grants.iter().map(grant).collect(),
        prohibitions: Vec::new(),
        paths: Vec::new(),
        cases: Vec::new(),
        approvals: Vec::new(),
        secrets: Vec::new(),
        recording_key: None,
    }
}
