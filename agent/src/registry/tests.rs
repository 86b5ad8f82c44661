use std::sync::Arc;

use postern_protocol::id::{DeviceId, FleetId};
use postern_protocol::policy::{
    Category, DeviceLimits, Expectation, Grant, Index, Origin, Service, Snapshot, Target, User, verify,
};
use postern_protocol::trust::pass::Presented;
use postern_protocol::trust::root::RoleKeys;
use postern_protocol::trust::{Envelope, Pass, Proof, Role, Root, SecretKey};

use super::*;
use crate::clock::Clock;

const FLEET: FleetId = FleetId::new([1; 8]);
const DEVICE: DeviceId = DeviceId::new([2; 8]);
const NOW: u64 = 4_000_000_000;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

fn user(number: u8) -> UserId {
    UserId::new([number; 8])
}

fn root() -> Root {
    let role = |role, seed| RoleKeys { role, threshold: 1, keys: vec![key(seed).public()] };
    let roles = vec![role(Role::Root, 100), role(Role::Policy, 101), role(Role::Identity, 102)];
    Root { fleet: FLEET, version: 1, expires: UnixTime::MAX, policy_epoch: 1, roles, hubs: Vec::new() }
}

fn subject(number: u8) -> Arc<Subject> {
    let pass = Pass {
        fleet: FLEET,
        user: user(number),
        key: key(number).public(),
        factors: Vec::new(),
        issued: UnixTime::from_secs(NOW),
        expires: UnixTime::from_secs(NOW + 1_000_000),
    };
    let sealed = Envelope::seal(&pass, &[&key(102)]).unwrap();
    let exporter = [7; 32];
    let proof = Proof::sign(&key(number), &exporter, DEVICE, &sealed);
    let presented = Presented { pass: &sealed, proof, exporter: &exporter, peer_key: key(number).public() };
    Arc::new(Subject::authenticate(&presented, DEVICE, &root(), UnixTime::from_secs(NOW)).unwrap())
}

/// A gate whose time is about [`NOW`], and a policy for two users and the services `a` and `b`.
fn gate(change: impl FnOnce(&mut Snapshot)) -> Gate {
    let gate = Gate::new(Arc::new(Clock::new(UnixTime::from_secs(NOW))));
    gate.install(index(1, change));
    gate
}

fn index(version: u64, change: impl FnOnce(&mut Snapshot)) -> Index {
    let service = |name: &str| Service {
        name: name.parse().unwrap(),
        kind: Kind::Http,
        target: Target { ip: [192, 168, 1, 1].into(), port: 80 },
        tunnels: 10,
        idle_s: 10,
        duration_s: 10,
    };
    let grant = |user| Grant {
        user,
        category: 0,
        not_before: None,
        not_after: None,
        second_factor_s: None,
        origin: 0,
    };
    let mut snapshot = Snapshot {
        fleet: FLEET,
        device: DEVICE,
        device_key: key(1).public(),
        epoch: 1,
        version,
        issued: UnixTime::from_secs(NOW),
        expires: UnixTime::from_secs(NOW + 1_000_000),
        assigned: true,
        limits: DeviceLimits { tunnels: 10, tunnels_per_user: 10 },
        services: vec![service("a"), service("b")],
        categories: vec![Category { name: "all".parse().unwrap(), services: vec![0, 1] }],
        users: [11, 12].map(|n| User { id: user(n), keys: vec![key(n).public()], disabled: false }).to_vec(),
        origins: vec![Origin {
            assignment: "x".to_owned().try_into().unwrap(),
            role: "y".to_owned().try_into().unwrap(),
            group: None,
        }],
        grants: vec![grant(0), grant(1)],
    };
    change(&mut snapshot);
    let sealed = Envelope::seal(&snapshot, &[&key(101)]).unwrap();
    let root = root();
    let expected = Expectation { root: &root, device: DEVICE, device_key: key(1).public(), floor: None };
    Index::build(verify(&sealed, &expected).unwrap())
}

fn open(registry: &Arc<Registry>, gate: &Gate, number: u8, service: &str) -> Result<Admitted, Reason> {
    let peer = "192.0.2.1:1".parse().unwrap();
    match registry.admit(gate, &subject(number), &service.parse().unwrap(), peer) {
        Ok((admitted, _permit)) => Ok(admitted),
        Err(Refused::Denied(denial)) => Err(denial.reason()),
        Err(Refused::Failed(failure)) => panic!("{failure}"),
    }
}

async fn code(admitted: &Admitted) -> CloseCode {
    loop {
        if let Ruling::Cut(code) = admitted.leash.ruling().await {
            return code;
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_not_registered_and_what_is_dropped_is_gone() {
    let (gate, registry) = (gate(|_| {}), Registry::new(10));
    assert_eq!(open(&registry, &gate, 11, "c").unwrap_err(), Reason::NoGrant);
    assert_eq!(registry.sessions(), Vec::new());
    let tunnel = open(&registry, &gate, 11, "a").unwrap();
    assert_eq!(registry.sessions().len(), 1);
    drop(tunnel);
    assert_eq!(registry.sessions(), Vec::new());
    registry.drained().await;
}

#[tokio::test]
async fn a_new_policy_cuts_exactly_what_it_no_longer_permits() {
    let (gate, registry) = (gate(|_| {}), Registry::new(10));
    let (one, two) = (open(&registry, &gate, 11, "a").unwrap(), open(&registry, &gate, 12, "a").unwrap());
    gate.install(index(2, |snapshot| snapshot.grants.retain(|grant| grant.user == 1)));
    assert_eq!(registry.judge(&gate), 1);
    assert_eq!(code(&one).await, CloseCode::Denied(Reason::Revoked));
    assert!(matches!(two.leash.ruling().await, Ruling::Permitted(permit) if permit.floor().version == 2));
    assert_eq!(registry.sessions().len(), 1);
}

#[tokio::test]
async fn a_cut_is_final_even_if_the_right_comes_back_before_the_tunnel_looks() {
    let (gate, registry) = (gate(|_| {}), Registry::new(10));
    let tunnel = open(&registry, &gate, 11, "a").unwrap();
    gate.install(index(2, |snapshot| snapshot.grants.clear()));
    assert_eq!(registry.judge(&gate), 1);
    gate.install(index(3, |_| {}));
    assert_eq!(registry.judge(&gate), 0);
    assert_eq!(code(&tunnel).await, CloseCode::Denied(Reason::Revoked));
}

#[tokio::test]
async fn a_smaller_limit_cuts_the_youngest_tunnels() {
    let (gate, registry) = (gate(|_| {}), Registry::new(10));
    let tunnels: Vec<_> = (0..4).map(|_| open(&registry, &gate, 11, "a").unwrap()).collect();
    gate.install(index(2, |snapshot| snapshot.services[0].tunnels = 2));
    assert_eq!(registry.judge(&gate), 2);
    assert_eq!(code(&tunnels[2]).await, CloseCode::Denied(Reason::Concurrency));
    assert_eq!(code(&tunnels[3]).await, CloseCode::Denied(Reason::Concurrency));
    let left: Vec<_> = registry.sessions().iter().map(|session| session.id).collect();
    assert_eq!(left, [tunnels[0].id, tunnels[1].id]);
    assert_eq!(open(&registry, &gate, 12, "a").unwrap_err(), Reason::Concurrency);
    open(&registry, &gate, 12, "b").unwrap();
}

#[tokio::test]
async fn another_target_or_kind_behind_the_same_name_cuts() {
    for change in [
        (|snapshot: &mut Snapshot| snapshot.services[0].target.port = 81) as fn(&mut Snapshot),
        |snapshot| snapshot.services[0].kind = Kind::Vnc,
        |snapshot| snapshot.users[0].disabled = true,
    ] {
        let (gate, registry) = (gate(|_| {}), Registry::new(10));
        let (a, b) = (open(&registry, &gate, 11, "a").unwrap(), open(&registry, &gate, 12, "b").unwrap());
        gate.install(index(2, change));
        assert_eq!(registry.judge(&gate), 1);
        assert!(matches!(code(&a).await, CloseCode::Denied(Reason::Revoked | Reason::UserDisabled)));
        assert_eq!(registry.sessions()[0].id, b.id);
    }
}

#[tokio::test]
async fn a_closed_registry_cuts_all_and_admits_none() {
    let (gate, registry) = (gate(|_| {}), Registry::new(10));
    let tunnel = open(&registry, &gate, 11, "a").unwrap();
    registry.close();
    assert_eq!(code(&tunnel).await, CloseCode::Failed(Failure::Shutdown));
    let peer = "192.0.2.1:1".parse().unwrap();
    let refused = registry.admit(&gate, &subject(11), &"a".parse().unwrap(), peer);
    assert!(matches!(refused, Err(Refused::Failed(Failure::Shutdown))));
}

#[tokio::test]
async fn the_cap_of_the_device_is_busy_and_not_denied() {
    let (gate, registry) = (gate(|_| {}), Registry::new(1));
    let _tunnel = open(&registry, &gate, 11, "a").unwrap();
    let peer = "192.0.2.1:1".parse().unwrap();
    let refused = registry.admit(&gate, &subject(12), &"b".parse().unwrap(), peer);
    assert!(matches!(refused, Err(Refused::Failed(Failure::Busy))));
}

#[tokio::test]
async fn no_policy_denies_and_cuts() {
    let registry = Registry::new(10);
    let empty = Gate::new(Arc::new(Clock::new(UnixTime::from_secs(NOW))));
    assert_eq!(open(&registry, &empty, 11, "a").unwrap_err(), Reason::NoPolicy);
    let gate = gate(|_| {});
    let tunnel = open(&registry, &gate, 11, "a").unwrap();
    assert_eq!(registry.judge(&empty), 1);
    assert_eq!(code(&tunnel).await, CloseCode::Denied(Reason::NoPolicy));
}
