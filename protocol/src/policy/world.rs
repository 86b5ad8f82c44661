//! A small fleet for the tests of this module: real keys, real signatures, one device.

use std::sync::Arc;

use super::verify::{Expectation, verify};
use super::{
    Approval, Case, Category, Circumstances, Destination, DeviceLimits, Freshness, FreshnessRule, Grant,
    HttpRules, Index, Mode, Origin, Permit, Prohibition, Reach, Rules, Service, Snapshot, Target, User,
    VncRules, VpnRules, decide,
};
use crate::id::{ApprovalId, DeviceId, FleetId, UserId};
use crate::time::UnixTime;
use crate::trust::pass::Presented;
use crate::trust::{
    Digest, Envelope, Factor, Method, Narrowing, Pass, Proof, PublicKey, Role, RoleKeys, Root, SecretKey,
    Signed, Subject,
};

pub(crate) const FLEET: FleetId = FleetId::new([0xf1; 8]);
pub(crate) const DEVICE: DeviceId = DeviceId::new([0xd1; 8]);
pub(crate) const ALICE: UserId = UserId::new([0xa1; 8]);
pub(crate) const BOB: UserId = UserId::new([0xb0; 8]);

pub(crate) fn at(secs: u64) -> UnixTime {
    UnixTime::from_secs(secs)
}

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

/// The key of the policy role is 2, of the identity role 3, of the device 10, of Alice 20, of Bob 21.
pub(crate) fn root() -> Root {
    let role = |role, seed| RoleKeys { role, threshold: 1, keys: vec![key(seed).public()] };
    let root = Root {
        fleet: FLEET,
        version: 1,
        expires: at(1_000_000),
        policy_epoch: 1,
        roles: vec![
            role(Role::Root, 1),
            role(Role::Policy, 2),
            role(Role::Identity, 3),
            role(Role::Timestamp, 5),
            role(Role::Lock, 6),
            role(Role::AuditAck, 7),
        ],
        hubs: vec![key(4).public()],
    };
    let sealed = Envelope::seal(&root, &[&key(1)]).unwrap();
    let digest = Digest::of(&[Envelope::parse(&sealed, Root::MAX_BYTES).unwrap().payload()]);
    Root::accept_first(&sealed, &digest).unwrap()
}

pub(crate) fn expectation(root: &Root) -> Expectation<'_> {
    Expectation { root, device: DEVICE, device_key: key(10).public(), floor: None }
}

/// Two services, one category for each and one for both; Alice and Bob; no grants yet.
pub(crate) fn snapshot() -> Snapshot {
    let service = |name: &str, rules, port| Service {
        name: name.parse().unwrap(),
        tunnels: 2,
        idle_s: 600,
        duration_s: 3600,
        view_only: false,
        reach: Reach::Place { target: Target { ip: [192, 168, 0, 10].into(), port }, rules },
    };
    let category = |name: &str, services: &[u32]| Category {
        name: name.parse().unwrap(),
        services: services.to_vec(),
        record: false,
    };
    let user =
        |id, seed| User { id, keys: vec![key(seed).public()], disabled: false, passes_from: UnixTime::EPOCH };
    let origin = |name: &str| Origin::Assignment {
        assignment: name.parse().unwrap(),
        role: "Engineer".parse().unwrap(),
        group: None,
    };
    let screen = Rules::Vnc(VncRules { password: None, writers: 2 });
    Snapshot {
        fleet: FLEET,
        device: DEVICE,
        device_key: key(10).public(),
        epoch: 1,
        locks_cleared: 0,
        version: 5,
        issued: at(0),
        expires: at(10_000),
        assigned: true,
        retired: false,
        limits: DeviceLimits { tunnels: 4, tunnels_per_user: 3 },
        freshness: FreshnessRule { window_s: 900, offline_s: 86_400 },
        services: vec![service("hmi", screen, 5900), service("web", Rules::Http(HttpRules::whole()), 80)],
        categories: vec![category("all", &[0, 1]), category("hmi", &[0]), category("web", &[1])],
        users: vec![user(ALICE, 20), user(BOB, 21)],
        origins: vec![origin("First"), origin("Second")],
        grants: Vec::new(),
        prohibitions: Vec::new(),
        paths: Vec::new(),
        cases: Vec::new(),
        approvals: Vec::new(),
        secrets: Vec::new(),
        recording_key: None,
    }
}

/// Alice's unconditional grant of the service `hmi`.
pub(crate) const fn grant() -> Grant {
    Grant {
        user: 0,
        category: 1,
        not_before: None,
        not_after: None,
        second_factor_s: None,
        needs_case: false,
        needs_approval: false,
        offline_ok: false,
        mode: Mode::Full { clipboard: false },
        origin: 0,
    }
}

/// Alice may not use the service `hmi`, because of the second origin.
pub(crate) const fn prohibition() -> Prohibition {
    Prohibition { user: 0, category: 1, path: None, not_before: None, not_after: None, origin: 1 }
}

/// A case that contains the service `hmi` and is active.
pub(crate) fn case(name: &str) -> Case {
    Case { name: name.parse().unwrap(), services: vec![0], not_before: None, not_after: None }
}

/// What was approved of the first grant, Alice's of the service `hmi`, without bounds of mode.
pub(crate) fn approval(id: u8, not_after: u64) -> Approval {
    let id = ApprovalId::new([id; 8]);
    Approval { grant: 0, service: 0, mode: Mode::WIDEST, not_after: at(not_after), id }
}

pub(crate) fn sealed(snapshot: &Snapshot) -> Vec<u8> {
    Envelope::seal(snapshot, &[&key(2)]).unwrap()
}

pub(crate) fn index(snapshot: &Snapshot) -> Arc<Index> {
    let root = root();
    Arc::new(Index::build(verify(&sealed(snapshot), &expectation(&root)).unwrap()))
}

/// The snapshot with these grants, sorted, as an index.
pub(crate) fn granting(grants: &[Grant]) -> Arc<Index> {
    let mut grants = grants.to_vec();
    grants.sort();
    index(&Snapshot { grants, ..snapshot() })
}

/// A permit of flows.
pub(crate) type Vpn = Arc<Permit>;

/// Alice's permit of a VPN with these destinations, in this mode.
pub(crate) fn vpn(destinations: Vec<Destination>, mode: Mode) -> Vpn {
    let mut policy = Snapshot { grants: vec![Grant { mode, ..grant() }], ..snapshot() };
    policy.services[0].reach = Reach::Flows(VpnRules { destinations });
    let index = index(&policy);
    let ask = index.ask(ALICE, "hmi");
    let idle = Circumstances::alone(at(1), Freshness::ALWAYS);
    Arc::new(decide(Some(&index), &subject(ALICE, 20, None), &ask, &idle).unwrap())
}

/// A caller whose pass ends at 9,000, with a second factor at the given time.
pub(crate) fn subject(user: UserId, seed: u8, second_factor_at: Option<u64>) -> Subject {
    subject_until(user, seed, second_factor_at, 9_000)
}

/// A caller whose pass opens these services at most.
pub(crate) fn narrowed(user: UserId, seed: u8, services: &[&str]) -> Subject {
    let services = Some(services.iter().map(|name| name.parse().unwrap()).collect());
    authenticated(user, seed, None, 9_000, Narrowing { devices: None, services })
}

pub(crate) fn subject_until(user: UserId, seed: u8, second_factor_at: Option<u64>, expires: u64) -> Subject {
    authenticated(user, seed, second_factor_at, expires, Narrowing::NONE)
}

fn authenticated(
    user: UserId,
    seed: u8,
    second_factor_at: Option<u64>,
    expires: u64,
    narrow: Narrowing,
) -> Subject {
    let mut factors = vec![Factor { method: Method::Password, at: at(0) }];
    factors.extend(second_factor_at.map(|secs| Factor { method: Method::Totp, at: at(secs) }));
    let secret = key(seed);
    let issued = at(second_factor_at.unwrap_or(0));
    let pass =
        Pass { fleet: FLEET, user, key: secret.public(), factors, issued, expires: at(expires), narrow };
    let pass = Envelope::seal(&pass, &[&key(3)]).unwrap();
    let exporter = [0x55; 32];
    let proof = Proof::sign(&secret, &exporter, DEVICE, &pass);
    let presented = Presented { pass: &pass, proof, exporter: &exporter, peer_key: secret.public() };
    Subject::authenticate(&presented, DEVICE, &root(), issued).unwrap()
}

pub(crate) fn public(seed: u8) -> PublicKey {
    key(seed).public()
}
