//! A policy with at least one of everything.

use postern_protocol::id::ApprovalId;
use postern_protocol::policy::snapshot::rules;
use postern_protocol::policy::snapshot::rules::{ModbusSpan, ModbusTable, UnitSpan};
use postern_protocol::policy::{
    Allow, Approval, Carries, Case, Category, Credential, Destination, DeviceLimits, FreshnessRule, Grant,
    HttpRules, Methods, ModbusRules, Mode, Network, Origin, PathLog, Ports, Profile, Prohibition, Reach,
    Rules, Scheme, Secret, Service, Snapshot, Target, Upstream, User, VncRules, VpnRules, WebsocketRules,
};

use super::signed::{factory, sealed_secret};
use super::{ISSUED, name, text};
use crate::probes::{ALICE, DEVICE, FLEET, key};

pub(crate) fn origin() -> Origin {
    Origin::Assignment {
        assignment: "Service contract 4711".parse().unwrap(),
        role: "Service engineer".parse().unwrap(),
        group: Some("Müller Maschinenbau".parse().unwrap()),
    }
}

/// A destination of each sort, one of them with a profile.
pub(crate) fn destinations() -> VpnRules {
    let span = |table, first, last| ModbusSpan { table, first, last };
    let modbus = ModbusRules {
        units: vec![UnitSpan { first: 1, last: 16 }],
        reads: vec![span(ModbusTable::Coils, 0, 7), span(ModbusTable::InputRegisters, 100, 199)],
        writes: vec![span(ModbusTable::HoldingRegisters, 4000, 4000)],
    };
    let net = |ip: &str, prefix| Network { ip: ip.parse().unwrap(), prefix };
    let ports = |first, last| Ports { first, last };
    let tcp = |ports, profile| Carries::Tcp { ports, profile };
    let profile = Some(Profile::Modbus(modbus));
    let mut destinations = vec![
        Destination { net: net("192.168.0.11", 32), carries: tcp(ports(102, 102), None) },
        Destination { net: net("192.168.0.12", 32), carries: tcp(ports(502, 502), profile) },
        Destination { net: net("fd00::", 64), carries: tcp(ports(4840, 4850), None) },
        Destination { net: net("192.168.0.11", 32), carries: Carries::Udp { ports: ports(161, 161) } },
        Destination { net: net("192.168.0.0", 24), carries: Carries::Icmp },
    ];
    destinations.sort();
    VpnRules { destinations }
}

/// A snapshot with at least one of everything.
pub(crate) fn snapshot() -> Snapshot {
    let service = |label: &str, rules, ip: &str, port| Service {
        name: name(label),
        tunnels: 4,
        idle_s: 900,
        duration_s: 28_800,
        view_only: false,
        reach: Reach::Place { target: Target { ip: ip.parse().unwrap(), port }, rules },
    };
    let mut keys = vec![key(20).public(), key(22).public()];
    keys.sort();
    Snapshot {
        fleet: FLEET,
        device: DEVICE,
        device_key: key(10).public(),
        epoch: 1,
        locks_cleared: 2,
        version: 300,
        issued: ISSUED,
        expires: ISSUED.saturating_add(86_400 * 30),
        assigned: true,
        retired: false,
        limits: DeviceLimits { tunnels: 64, tunnels_per_user: 8 },
        freshness: FreshnessRule { window_s: 900, offline_s: 86_400 },
        services: vec![
            service("hmi", Rules::Vnc(screen()), "192.168.0.10", 5900),
            Service { view_only: true, ..service("live", Rules::Websocket(live()), "192.168.0.10", 9001) },
            Service {
                reach: Reach::Flows(destinations()),
                ..service("plc", Rules::Vnc(screen()), "192.168.0.11", 102)
            },
            service("web", Rules::Http(pages()), "fd00::10", 443),
        ],
        categories: vec![
            Category { name: name("all"), services: vec![0, 1, 2, 3], record: false },
            Category { name: name("web"), services: vec![3], record: true },
        ],
        users: vec![User { id: ALICE, keys, disabled: false, passes_from: ISSUED }],
        origins: origins(),
        grants: vec![
            Grant {
                user: 0,
                category: 0,
                not_before: Some(ISSUED),
                not_after: Some(ISSUED.saturating_add(3600)),
                second_factor_s: Some(900),
                needs_case: true,
                needs_approval: true,
                offline_ok: true,
                mode: Mode::ViewOnly,
                origin: 1,
            },
            Grant {
                user: 0,
                category: 1,
                not_before: None,
                not_after: None,
                second_factor_s: None,
                needs_case: false,
                needs_approval: false,
                offline_ok: false,
                mode: Mode::Full { clipboard: true },
                origin: 2,
            },
        ],
        prohibitions: vec![
            Prohibition {
                user: 0,
                category: 1,
                path: None,
                not_before: Some(ISSUED.saturating_add(600)),
                not_after: Some(ISSUED.saturating_add(1200)),
                origin: 3,
            },
            Prohibition { user: 0, category: 1, path: Some(0), not_before: None, not_after: None, origin: 3 },
        ],
        paths: vec!["/service/**".parse().unwrap()],
        cases: vec![Case {
            name: "2026-0815".parse().unwrap(),
            services: vec![0],
            not_before: Some(ISSUED),
            not_after: Some(ISSUED.saturating_add(1800)),
        }],
        approvals: vec![Approval {
            grant: 0,
            service: 1,
            mode: Mode::Full { clipboard: true },
            not_after: ISSUED.saturating_add(900),
            id: ApprovalId::new(*b"\xa9pproval"),
        }],
        secrets: vec![Secret { name: name("hmi"), sealed: sealed_secret() }],
        recording_key: Some(factory().public()),
    }
}

/// A screen with a password and one seat.
pub(crate) fn screen() -> VncRules {
    VncRules { password: Some(name("hmi")), writers: 1 }
}

/// A web server with TLS, a login and some of its paths.
pub(crate) fn pages() -> HttpRules {
    let allow = |path: &str, methods, query| Allow { path: path.parse().unwrap(), methods, query };
    let posting = Methods::of([rules::Method::Get, rules::Method::Post]).unwrap();
    HttpRules {
        upstream: Upstream { host: Some(text("panel.local")), tls: Some(vec![[0x11; 32], [0x22; 32]]) },
        start: text("/dashboard"),
        allow: vec![
            allow("/api/*/values", posting, Some(vec![text("id"), text("unit")])),
            allow("/dashboard", Methods::READ, Some(Vec::new())),
            allow("/static/**", Methods::READ, None),
        ],
        credential: Some(Credential {
            scheme: Scheme::Digest,
            user: text("service"),
            secret: name("web-login"),
        }),
        identity: true,
        log: PathLog::Prefix,
    }
}

/// Live values over WebSocket.
pub(crate) fn live() -> WebsocketRules {
    WebsocketRules {
        upstream: Upstream::PLAIN,
        paths: vec!["/live".parse().unwrap()],
        subprotocols: vec![text("mqtt")],
        origin: Some(text("http://panel.local")),
        credential: pages().credential,
        frame_bytes: 65_536,
        message_bytes: 262_144,
    }
}

/// One origin of each kind, ascending.
pub(super) fn origins() -> Vec<Origin> {
    let alone = Origin::Assignment {
        assignment: "Operators".parse().unwrap(),
        role: "Operator".parse().unwrap(),
        group: None,
    };
    let membership =
        Origin::Membership { group: "Plant 1".parse().unwrap(), role: "Operator".parse().unwrap() };
    vec![alone, origin(), membership, Origin::Entry { entry: "Probation".parse().unwrap() }]
}
