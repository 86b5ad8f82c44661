//! Keys of a small installation, and policies for its only device.

use std::net::SocketAddr;

use postern_protocol::id::{ApprovalId, DeviceId, FleetId, UserId};
use postern_protocol::limits;
use postern_protocol::policy::{
    Approval, Case, Category, DeviceLimits, FreshnessRule, Grant, Kind, Mode, Origin, Prohibition, Reach,
    Service, Snapshot, Target, User,
};
use postern_protocol::session::hub::Published;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::root::RoleKeys;
use postern_protocol::trust::{
    Digest, Envelope, Factor, Lock, LockTarget, Method, Narrowing, Pass, PublicKey, Role, Root, SecretKey,
    Timestamp,
};
use postern_protocol::wire::control::Held;

pub(crate) const FLEET: FleetId = FleetId::new([1; 8]);
pub(crate) const DEVICE: DeviceId = DeviceId::new([2; 8]);
pub(crate) const USER: UserId = UserId::new([3; 8]);

const ROOT_SEED: u8 = 201;
const POLICY_SEED: u8 = 202;
const IDENTITY_SEED: u8 = 203;
const HUB_SEED: u8 = 204;
pub(crate) const TIMESTAMP_SEED: u8 = 205;
pub(crate) const LOCK_SEED: u8 = 206;
pub(crate) const AUDIT_ACK_SEED: u8 = 207;
/// The key of the usual user.
pub(crate) const USER_SEED: u8 = 31;

pub(crate) fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

pub(crate) fn hub_key() -> SecretKey {
    secret(HUB_SEED)
}

pub(crate) fn now() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixTime::from_secs(since.as_secs())
}

/// The first root, sealed, and the digest that an enrolment code pins.
pub(crate) fn root() -> (Vec<u8>, Digest) {
    let sealed = seal_root(&first_root());
    let digest = Digest::of(&[Envelope::parse(&sealed, limits::ROOT_BYTES).unwrap().payload()]);
    (sealed, digest)
}

/// The root of `version`, sealed: the first one with changes.
pub(crate) fn later_root(version: u32, change: impl FnOnce(&mut Root)) -> Vec<u8> {
    let mut root = Root { version, ..first_root() };
    change(&mut root);
    seal_root(&root)
}

/// Gives a role to one other key.
pub(crate) fn hand_over(root: &mut Root, role: Role, seed: u8) {
    let keys = root.roles.iter_mut().find(|keys| keys.role == role).unwrap();
    keys.keys = vec![secret(seed).public()];
}

fn seal_root(root: &Root) -> Vec<u8> {
    Envelope::seal(root, &[&secret(ROOT_SEED)]).unwrap()
}

fn first_root() -> Root {
    let role = |role, seed| RoleKeys { role, threshold: 1, keys: vec![secret(seed).public()] };
    Root {
        fleet: FLEET,
        version: 1,
        expires: UnixTime::from_secs(4_000_000_000),
        policy_epoch: 1,
        roles: vec![
            role(Role::Root, ROOT_SEED),
            role(Role::Policy, POLICY_SEED),
            role(Role::Identity, IDENTITY_SEED),
            role(Role::Timestamp, TIMESTAMP_SEED),
            role(Role::Lock, LOCK_SEED),
            role(Role::AuditAck, AUDIT_ACK_SEED),
        ],
        hubs: vec![hub_key().public()],
    }
}

/// A pass for `user` with the key of `seed`, and a second factor when `with_totp`.
pub(crate) fn pass(user: UserId, seed: u8, with_totp: bool) -> Vec<u8> {
    let issued = now();
    let mut factors = vec![Factor { method: Method::Password, at: issued }];
    if with_totp {
        factors.push(Factor { method: Method::Totp, at: issued });
    }
    let expires = issued.saturating_add(3600);
    pass_of(&Pass {
        fleet: FLEET,
        user,
        key: secret(seed).public(),
        factors,
        issued,
        expires,
        narrow: Narrowing::NONE,
    })
}

/// A lock of these targets, signed by the lock role.
pub(crate) fn lock(sequence: u64, targets: &[LockTarget]) -> Vec<u8> {
    lock_by(LOCK_SEED, sequence, targets)
}

/// A lock that the policy key signed.
pub(crate) fn lock_by_policy_key(sequence: u64, targets: &[LockTarget]) -> Vec<u8> {
    lock_by(POLICY_SEED, sequence, targets)
}

/// A lock that the identity key signed.
pub(crate) fn lock_by_identity_key(sequence: u64, targets: &[LockTarget]) -> Vec<u8> {
    lock_by(IDENTITY_SEED, sequence, targets)
}

fn lock_by(seed: u8, sequence: u64, targets: &[LockTarget]) -> Vec<u8> {
    lock_of(seed, 1, sequence, targets)
}

/// A lock of an epoch by any key.
pub(crate) fn lock_of(seed: u8, epoch: u32, sequence: u64, targets: &[LockTarget]) -> Vec<u8> {
    let (issued, targets) = (now(), targets.to_vec());
    let lock = Lock { fleet: FLEET, device: DEVICE, epoch, sequence, issued, targets };
    Envelope::seal(&lock, &[&secret(seed)]).unwrap()
}

pub(crate) fn pass_of(pass: &Pass) -> Vec<u8> {
    Envelope::seal(pass, &[&secret(IDENTITY_SEED)]).unwrap()
}

/// A timestamp by the first key of its role, or another one.
pub(crate) fn sealed_timestamp(timestamp: &Timestamp, signer: Option<u8>) -> Vec<u8> {
    Envelope::seal(timestamp, &[&secret(signer.unwrap_or(TIMESTAMP_SEED))]).unwrap()
}

/// What becomes a snapshot.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) snapshot: Snapshot,
    pub(crate) signer: u8,
}

impl Policy {
    /// Denies everything.
    pub(crate) fn empty(device_key: PublicKey) -> Self {
        let issued = now();
        let snapshot = Snapshot {
            fleet: FLEET,
            device: DEVICE,
            device_key,
            epoch: 1,
            locks_cleared: 0,
            version: 0,
            issued,
            expires: issued.saturating_add(100_000),
            assigned: true,
            retired: false,
            limits: DeviceLimits { tunnels: 1000, tunnels_per_user: 1000 },
            freshness: FreshnessRule { window_s: 900, offline_s: 86_400 },
            services: Vec::new(),
            categories: Vec::new(),
            users: Vec::new(),
            origins: Vec::new(),
            grants: Vec::new(),
            prohibitions: Vec::new(),
            paths: Vec::new(),
            cases: Vec::new(),
            approvals: Vec::new(),
            secrets: Vec::new(),
            recording_key: None,
        };
        Self { snapshot, signer: POLICY_SEED }
    }

    /// Puts the device out of service.
    pub(crate) fn retired(device_key: PublicKey) -> Self {
        let mut policy = Self::empty(device_key);
        policy.snapshot.assigned = false;
        policy.snapshot.retired = true;
        policy
    }

    /// Grants [`USER`] the services `hmi` (VNC), `live` and `web` (plain flows of bytes, which no gate reads), all on
    /// `machine`; there is also a service `secret` that nobody is granted.
    pub(crate) fn usual(device_key: PublicKey, machine: SocketAddr) -> Self {
        let mut policy = Self::empty(device_key);
        for (name, kind) in
            [("hmi", Kind::Vnc), ("live", Kind::Vpn), ("secret", Kind::Http), ("web", Kind::Vpn)]
        {
            policy.service(name, kind, machine);
        }
        policy.snapshot.categories =
            vec![Category { name: "all".parse().unwrap(), services: vec![0, 1, 3], record: false }];
        policy.snapshot.users = vec![User {
            id: USER,
            keys: vec![secret(USER_SEED).public()],
            disabled: false,
            passes_from: UnixTime::EPOCH,
        }];
        policy.snapshot.origins = vec![Origin::Assignment {
            assignment: "a-1".to_owned().try_into().unwrap(),
            role: "engineer".to_owned().try_into().unwrap(),
            group: None,
        }];
        policy.grant(Grant {
            user: 0,
            category: 0,
            not_before: None,
            not_after: None,
            second_factor_s: None,
            needs_case: false,
            needs_approval: false,
            offline_ok: false,
            mode: Mode::Full { clipboard: false },
            origin: 0,
        });
        policy
    }

    /// Has a service lead to another machine.
    pub(crate) fn lead(&mut self, service: usize, machine: SocketAddr) {
        let reach = &mut self.snapshot.services[service].reach;
        *reach = reach.moved(at(machine));
    }

    pub(crate) fn service(&mut self, name: &str, kind: Kind, machine: SocketAddr) {
        self.snapshot.services.push(Service {
            name: name.parse().unwrap(),
            tunnels: 1000,
            idle_s: 600,
            duration_s: 36_000,
            view_only: false,
            reach: Reach::whole(kind, at(machine)),
        });
        self.snapshot.services.sort_by(|a, b| a.name.cmp(&b.name));
    }

    pub(crate) fn grant(&mut self, grant: Grant) {
        self.snapshot.grants.push(grant);
        self.snapshot.grants.sort();
    }

    /// Refuses the service `web` to [`USER`] in a window, whatever is granted.
    pub(crate) fn prohibit_web(&mut self, from: Option<UnixTime>, until: Option<UnixTime>) {
        self.snapshot.categories.push(Category {
            name: "only-web".parse().unwrap(),
            services: vec![3],
            record: false,
        });
        self.snapshot.origins.push(Origin::Entry { entry: "probation".parse().unwrap() });
        self.snapshot.prohibitions = vec![Prohibition {
            user: 0,
            category: 1,
            path: None,
            not_before: from,
            not_after: until,
            origin: 1,
        }];
    }

    /// Closes a path of every web service to [`USER`].
    pub(crate) fn close_path(&mut self, path: &str) {
        self.snapshot.origins.push(Origin::Entry { entry: "keep-off".parse().unwrap() });
        self.snapshot.paths = vec![path.parse().unwrap()];
        self.snapshot.prohibitions = vec![Prohibition {
            user: 0,
            category: 0,
            path: Some(0),
            not_before: None,
            not_after: None,
            origin: 1,
        }];
    }

    /// Demands a service case for what is granted, and has one for every service until the given time.
    pub(crate) fn demand_case(&mut self, until: Option<UnixTime>) {
        for grant in &mut self.snapshot.grants {
            grant.needs_case = true;
        }
        let services = vec![0, 1, 2, 3];
        let name = "2026-0815".parse().unwrap();
        self.snapshot.cases = vec![Case { name, services, not_before: None, not_after: until }];
    }

    /// Demands an approval for what is granted, and has one for a service by its position, as far and as long as it says.
    pub(crate) fn demand_approval(&mut self, service: u32, mode: Mode, until: UnixTime) {
        for grant in &mut self.snapshot.grants {
            grant.needs_approval = true;
        }
        let id = ApprovalId::new([0xa9; 8]);
        self.snapshot.approvals = vec![Approval { grant: 0, service, mode, not_after: until, id }];
    }

    /// Takes every grant away.
    pub(crate) fn revoke(&mut self) {
        self.snapshot.grants.clear();
        self.snapshot.approvals.clear();
    }

    /// Signs it as `version`.
    pub(crate) fn seal(&self, version: u64) -> Published {
        let snapshot = Snapshot { version, ..self.snapshot.clone() };
        let sealed = Envelope::seal(&snapshot, &[&secret(self.signer)]).unwrap();
        let digest = Digest::of(&[Envelope::parse(&sealed, limits::SNAPSHOT_BYTES).unwrap().payload()]);
        Published { held: Held { epoch: snapshot.epoch, version, digest }, bytes: sealed.into() }
    }
}

/// Where a machine of a test is.
pub(crate) fn at(machine: SocketAddr) -> Target {
    Target { ip: machine.ip(), port: machine.port() }
}
