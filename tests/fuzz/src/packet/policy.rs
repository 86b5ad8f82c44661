//! Permits, and what they grant in the words of the reference.

use std::sync::{Arc, LazyLock};

use postern_protocol::policy::{
    Carries, Category, Circumstances, Destination, DeviceLimits, Expectation, Freshness, FreshnessRule,
    Grant, Index, ModbusRules, Mode, Network, Origin, Permit, Ports, Profile, Reach, Service, Snapshot, User,
    VpnRules, decide, verify,
};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Envelope;

use super::super::{ALICE, DEVICE, FLEET, fixed_root, key, subject};
use super::naive::Grants;

/// What each permit grants, for the reference.
pub const GRANTS: [Grants; 3] = [
    Grants { tcp: &[([192, 168, 0, 10], 32, 102, 103)], read: &[502], udp: &[161], icmp: 24, looks: false },
    Grants { tcp: &[([192, 168, 0, 10], 32, 102, 102)], read: &[], udp: &[], icmp: 32, looks: false },
    Grants { tcp: &[([192, 168, 0, 10], 32, 102, 103)], read: &[502], udp: &[161], icmp: 24, looks: true },
];

/// The same for the gate.
pub static PERMITS: LazyLock<Vec<Arc<Permit>>> = LazyLock::new(|| GRANTS.iter().map(permit).collect());

/// The permit of a policy that grants the same.
fn permit(grants: &Grants) -> Arc<Permit> {
    let plc = [192, 168, 0, 10];
    let net = |ip: [u8; 4], prefix| Network { ip: ip.into(), prefix };
    let tcp = grants.tcp.iter().map(|(ip, prefix, first, last)| {
        let ports = Ports { first: *first, last: *last };
        Destination { net: net(*ip, *prefix), carries: Carries::Tcp { ports, profile: None } }
    });
    let read = grants.read.iter().map(|port| {
        let profile = Some(Profile::Modbus(ModbusRules::read_only()));
        Destination {
            net: net([192, 168, 0, 0], 24),
            carries: Carries::Tcp { ports: Ports::only(*port), profile },
        }
    });
    let udp = grants
        .udp
        .iter()
        .map(|port| Destination { net: net(plc, 32), carries: Carries::Udp { ports: Ports::only(*port) } });
    let first = if grants.icmp == 24 { [192, 168, 0, 0] } else { plc };
    let icmp = Destination { net: net(first, grants.icmp), carries: Carries::Icmp };
    let mut destinations: Vec<Destination> = tcp.chain(read).chain(udp).chain([icmp]).collect();
    destinations.sort();
    let policy = policy(destinations, grants.looks);
    let root = fixed_root();
    let expected = Expectation { root: &root, device: DEVICE, device_key: key(10).public(), floor: None };
    let sealed = Envelope::seal(&policy, &[&key(2)]).unwrap();
    let index = Arc::new(Index::build(verify(&sealed, &expected).unwrap()));
    let circumstances = Circumstances::alone(policy.issued, Freshness::ALWAYS);
    let ask = index.ask(ALICE, "plant");
    Arc::new(decide(Some(&index), &subject(policy.issued), &ask, &circumstances).unwrap())
}

fn policy(destinations: Vec<Destination>, looks: bool) -> Snapshot {
    let at = UnixTime::from_secs;
    let name = |name: &str| name.parse().unwrap();
    Snapshot {
        fleet: FLEET,
        device: DEVICE,
        device_key: key(10).public(),
        epoch: 1,
        locks_cleared: 0,
        version: 5,
        issued: at(1_000),
        expires: at(10_000),
        assigned: true,
        retired: false,
        limits: DeviceLimits { tunnels: 4, tunnels_per_user: 3 },
        freshness: FreshnessRule { window_s: 900, offline_s: 86_400 },
        services: vec![Service {
            name: name("plant"),
            tunnels: 2,
            idle_s: 600,
            duration_s: 3600,
            view_only: false,
            reach: Reach::Flows(VpnRules { destinations }),
        }],
        categories: vec![Category { name: name("plant"), services: vec![0], record: false }],
        users: vec![User {
            id: ALICE,
            keys: vec![key(20).public()],
            disabled: false,
            passes_from: UnixTime::EPOCH,
        }],
        origins: vec![Origin::Assignment {
            assignment: "First".parse().unwrap(),
            role: "Engineer".parse().unwrap(),
            group: None,
        }],
        grants: vec![Grant {
            user: 0,
            category: 0,
            not_before: None,
            not_after: None,
            second_factor_s: None,
            needs_case: false,
            needs_approval: false,
            offline_ok: false,
            mode: if looks { Mode::ViewOnly } else { Mode::Full { clipboard: false } },
            origin: 0,
        }],
        prohibitions: Vec::new(),
        paths: Vec::new(),
        cases: Vec::new(),
        approvals: Vec::new(),
        secrets: Vec::new(),
        recording_key: None,
    }
}
