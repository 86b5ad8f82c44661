//! One value of everything that is encoded, with fixed keys, so that every peer can make the same bytes.
//!
//! Secret keys are 32 times one byte: root 1, policy 2, identity 3, hub 4, device 10, user 20.

use std::net::SocketAddr;

use postern_protocol::audit::Row;
use postern_protocol::audit::row::ROW_BYTES;
use postern_protocol::id::ApprovalId;
use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::policy::snapshot::rules;
use postern_protocol::policy::snapshot::rules::{ModbusSpan, ModbusTable, UnitSpan};
use postern_protocol::policy::{
    Allow, Approval, Carries, Case, Category, Credential, Destination, DeviceLimits, FreshnessRule,
    FreshnessState, Grant, HttpRules, Kind, Methods, ModbusRules, Mode, Network, Origin, PathLog, Ports,
    Profile, Prohibition, Protocol, Reach, Rules, Scheme, Secret, Service, Snapshot, Target, Upstream, User,
    VncRules, VpnRules, WebsocketRules,
};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::sealed::{Announcement, Place, Plaintext, SealingSecret, seal};
use postern_protocol::trust::{
    Digest, Domain, Envelope, Factor, Lock, LockTarget, Method, Narrowing, Nonce, Pass, Proof, Role, Signed,
    Timestamp,
};
use postern_protocol::wire::codec::{self, CodecFault};
use postern_protocol::wire::control::{AlarmKind, Held, NackCode, RootCode};
use postern_protocol::wire::hub::Refusal;
use postern_protocol::wire::invitation::{Invitation, Invitee};
use postern_protocol::wire::text::Text;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::messages;
use crate::probes::{ALICE, DEVICE, EXPORTER, FLEET, fixed_root, key};
use crate::relay;
use crate::rows;
use crate::trail;

/// A value's golden bytes.
pub(crate) struct Sample {
    /// The file that it is in.
    pub(crate) group: &'static str,
    /// Its name there.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) note: String,
    /// The fuzz target that it is a seed of.
    pub(crate) target: Option<&'static str>,
    /// The enumeration that it is a variant of, and which.
    pub(crate) table: Option<&'static str>,
    pub(crate) variant: Option<&'static str>,
    pub(crate) bytes: Vec<u8>,
    /// Reads bytes of its type and writes them again.
    pub(crate) again: Option<Again>,
}

type Again = fn(&[u8]) -> Result<Vec<u8>, CodecFault>;

/// An enumeration with the number, name and fields of each variant, as `docs/wire.md` shows it.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) variants: &'static [(&'static str, &'static str)],
}

/// Names a variant by an exhaustive match, so that a new variant does not compile before it is documented.
macro_rules! table {
    ($table:ident, $of:ident, $type:ty { $( $pattern:pat => $name:literal, $fields:literal; )+ }) => {
        pub(crate) const $table: $crate::samples::Table =
            $crate::samples::Table { name: stringify!($type), variants: &[$( ($name, $fields), )+] };

        pub(crate) fn $of(value: &$type) -> &'static str {
            match value { $( $pattern => $name, )+ }
        }
    };
}
pub(crate) use table;

table!(KIND, kind, Kind {
    Kind::Vpn => "vpn", "flows to destinations on the machine network";
    Kind::Vnc => "vnc", "remote framebuffer (RFC 6143)";
    Kind::Http => "http", "HTTP/1.1 (RFC 9112)";
    Kind::Websocket => "websocket", "WebSocket (RFC 6455)";
});
table!(RULES, rules_variant, Rules {
    Rules::Vnc(_) => "vnc", "password: option of name; writers: u16";
    Rules::Http(_) => "http", "upstream; start: text; allow: list of allow; credential: option of credential; identity: bool; log: path log";
    Rules::Websocket(_) => "websocket", "upstream; paths: list of pattern; subprotocols: list of text; origin: option of text; frame_bytes: u32; message_bytes: u32";
});
table!(REACH, reach_variant, Reach {
    Reach::Flows(_) => "flows", "destinations: list of destination";
    Reach::Place { .. } => "place", "target; rules";
});
table!(CARRIES, carries_variant, Carries {
    Carries::Tcp { .. } => "tcp", "ports; profile: option of profile";
    Carries::Udp { .. } => "udp", "ports";
    Carries::Icmp => "icmp", "";
});
table!(PROFILE, profile_variant, Profile {
    Profile::Modbus(_) => "modbus", "units: list of unit span; reads: list of span; writes: list of span";
});
table!(PROTOCOL, protocol_variant, Protocol {
    Protocol::Tcp => "tcp", "connections";
    Protocol::Udp => "udp", "datagrams and the answers to them";
    Protocol::Icmp => "icmp", "echo requests and the answers to them";
});
table!(MODBUS_TABLE, modbus_table_variant, ModbusTable {
    ModbusTable::Coils => "coils", "single bits that can be written";
    ModbusTable::DiscreteInputs => "discrete_inputs", "single bits that cannot";
    ModbusTable::HoldingRegisters => "holding_registers", "words that can be written";
    ModbusTable::InputRegisters => "input_registers", "words that cannot";
});
table!(MODE, mode, Mode {
    Mode::ViewOnly => "view_only", "none";
    Mode::Full { .. } => "full", "clipboard: bool";
});
table!(SCHEME, scheme, Scheme {
    Scheme::Basic => "basic", "RFC 7617";
    Scheme::Digest => "digest", "RFC 7616";
});
table!(PATH_LOG, path_log, PathLog {
    PathLog::Full => "full", "the whole path";
    PathLog::Prefix => "prefix", "its first segment";
    PathLog::None => "none", "nothing";
});
table!(ORIGIN, origin_variant, Origin {
    Origin::Assignment { .. } => "assignment", "assignment: label; role: label; group: option of label";
    Origin::Membership { .. } => "membership", "group: label; role: label";
    Origin::Entry { .. } => "entry", "entry: label";
});
table!(METHOD, method, Method {
    Method::Password => "password", "something known; no second factor";
    Method::Totp => "totp", "time-based one-time password (RFC 6238); a second factor";
});
table!(ROLE, role, Role {
    Role::Root => "root", "signs roots";
    Role::Policy => "policy", "signs snapshots";
    Role::Identity => "identity", "signs passes";
    Role::Timestamp => "timestamp", "signs timestamps";
    Role::Lock => "lock", "signs locks, which only deny";
    Role::AuditAck => "audit_ack", "signs acknowledgements of audit rows";
});
table!(FRESHNESS_STATE, freshness_state, FreshnessState {
    FreshnessState::Fresh => "fresh", "confirmed not long ago";
    FreshnessState::Stale => "stale", "not confirmed, within the budget";
    FreshnessState::Expired => "expired", "beyond the budget";
});
table!(ALARM_KIND, alarm_kind, AlarmKind {
    AlarmKind::Rollback => "rollback", "something older than what is held was offered or named";
    AlarmKind::Equivocation => "equivocation", "another content of the version that is held was offered or named";
    AlarmKind::Freeze => "freeze", "something newer was named and not delivered";
    AlarmKind::Budget => "budget", "the time for which the device may work without its cloud is used up";
    AlarmKind::SelfTest => "self_test", "the device has shown that it would permit what it must refuse: it serves nobody";
});
table!(INVITEE, invitee, Invitee {
    Invitee::Device => "device", "an edge router";
    Invitee::User => "user", "a person";
});
table!(REFUSAL, refusal, Refusal {
    Refusal::Code => "Code", "unknown, used or expired code";
    Refusal::Login => "Login", "wrong account, user, password or one-time code, or a disabled user";
    Refusal::WeakPassword => "WeakPassword", "the new password is too short";
    Refusal::TooMany => "TooMany", "too many attempts";
    Refusal::UnknownKey => "UnknownKey", "the key of this connection belongs to nobody";
    Refusal::Pass => "Pass", "the pass is over, or is not one of this hub for this user and key";
    Refusal::OneTimeCode => "OneTimeCode", "wrong or used one-time code at a step-up";
    Refusal::NoOneTimeCodes => "NoOneTimeCodes", "the user has set up no one-time codes";
    Refusal::SealingKey => "SealingKey", "the sealing key of a new device is not signed by its device key";
    Refusal::Narrowing => "Narrowing", "the pass cannot be narrowed to that";
    Refusal::NoMeeting => "NoMeeting", "the device cannot be met: offline, not the caller's, or no relay";
});
table!(NACK_CODE, nack_code, NackCode {
    NackCode::Envelope => "envelope", "frame, signature or encoding";
    NackCode::Addressee => "addressee", "another fleet, device or device key";
    NackCode::Epoch => "epoch", "another epoch than the root's";
    NackCode::Rollback => "rollback", "below the floor";
    NackCode::Equivocation => "equivocation", "the floor's version with other content";
    NackCode::Form => "form", "order, counts, references or values";
    NackCode::Storage => "storage", "it could not be stored; transient";
    NackCode::Transfer => "transfer", "the bytes did not match the announcement; transient";
});
table!(ROOT_CODE, root_code, RootCode {
    RootCode::Envelope => "envelope", "frame, signatures of the old or the new holders, or encoding";
    RootCode::Fleet => "fleet", "another fleet";
    RootCode::Version => "version", "not the version that follows";
    RootCode::Epoch => "epoch", "an epoch below that of the root in force";
    RootCode::Form => "form", "roles, thresholds or keys";
});

/// Every enumeration of the wire.
pub(crate) const TABLES: &[&Table] = &[
    &messages::REQUEST,
    &messages::ANSWER,
    &messages::HUB_REQUEST,
    &messages::HUB_ANSWER,
    &messages::HUB_MESSAGE,
    &messages::AGENT_MESSAGE,
    &messages::CUT_CAUSE,
    &rows::EVENT,
    &rows::FLOW_FATE,
    &messages::HOST,
    &messages::VPN_NEWS,
    &messages::DISCOVERY_NEWS,
    &messages::PRESENCE,
    &messages::WHY,
    &KIND,
    &REACH,
    &CARRIES,
    &PROFILE,
    &PROTOCOL,
    &MODBUS_TABLE,
    &RULES,
    &MODE,
    &SCHEME,
    &PATH_LOG,
    &ORIGIN,
    &METHOD,
    &ROLE,
    &INVITEE,
    &REFUSAL,
    &NACK_CODE,
    &FRESHNESS_STATE,
    &ALARM_KIND,
    &ROOT_CODE,
    &trail::ROWS_CODE,
    &trail::GAP_CAUSE,
];

/// Every golden value, in the order of the files.
pub(crate) fn all() -> Vec<Sample> {
    let mut samples = Vec::new();
    samples.extend(messages::tunnel());
    samples.extend(messages::discoveries());
    samples.extend(messages::hub());
    samples.extend(messages::sync());
    samples.extend(trail::sync());
    samples.extend(trail::numbers());
    samples.extend(rows::audit());
    samples.extend(signed());
    samples.extend(trail::signed());
    samples.extend(relay::notices());
    samples.extend(enumerations());
    samples
}

/// A value that is encoded by itself.
pub(crate) fn plain<T: Serialize + DeserializeOwned, const MAX: usize>(
    group: &'static str,
    name: &'static str,
    note: &str,
    value: &T,
) -> Sample {
    Sample {
        group,
        name,
        note: note.to_owned(),
        target: None,
        table: None,
        variant: None,
        bytes: codec::encode(value, MAX).unwrap(),
        again: Some(|bytes| codec::encode(&codec::decode::<T>(bytes, MAX)?, MAX)),
    }
}

impl Sample {
    /// Says which variant of which enumeration it is, and whose seed.
    pub(crate) fn of(self, table: &Table, variant: &'static str, target: Option<&'static str>) -> Self {
        Self { table: Some(table.name), variant: Some(variant), target, ..self }
    }
}

/// A time that is easy to recognise: 2023-11-14T22:13:20Z.
pub(crate) const ISSUED: UnixTime = UnixTime::from_secs(1_700_000_000);

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn text(text: &str) -> Text {
    Text::clean(text)
}

pub(crate) fn addresses() -> Vec<SocketAddr> {
    vec!["192.0.2.7:7440".parse().unwrap(), "[2001:db8::7]:7440".parse().unwrap()]
}

pub(crate) fn held() -> Held {
    Held { epoch: 1, version: 300, digest: Digest::of(&[b"a snapshot"]) }
}

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

pub(crate) fn pass() -> Pass {
    Pass {
        fleet: FLEET,
        user: ALICE,
        key: key(20).public(),
        factors: vec![
            Factor { method: Method::Password, at: ISSUED },
            Factor { method: Method::Totp, at: ISSUED },
        ],
        issued: ISSUED,
        expires: ISSUED.saturating_add(28_800),
        narrow: Narrowing { devices: Some(vec![DEVICE]), services: Some(vec![name("hmi")]) },
    }
}

/// What device 10 says about its sealing key.
pub(crate) fn announcement() -> Announcement {
    Announcement::sign(&key(10), &SealingSecret::derive(&key(10)).unwrap())
}

/// The pair to which recordings are sealed.
pub(crate) fn factory() -> SealingSecret {
    SealingSecret::for_recordings(&[0x5e; 32].into()).unwrap()
}

/// The password `4711` of the panel `hmi`, with the random bytes 32 x 0x77.
pub(crate) fn sealed_secret() -> Vec<u8> {
    let secret = Plaintext::new(b"4711".to_vec().into()).unwrap();
    let to = announcement().verify(&key(10).public()).unwrap();
    let place = Place { fleet: FLEET, device: DEVICE, name: &name("hmi") };
    seal(&to, &place, &secret, [0x77; 32].into()).unwrap()
}

pub(crate) fn sealed_pass() -> Vec<u8> {
    Envelope::seal(&pass(), &[&key(3)]).unwrap()
}

pub(crate) fn timestamp() -> Timestamp {
    Timestamp {
        fleet: FLEET,
        device: DEVICE,
        nonce: Nonce::new([0x4e; 16]),
        time: ISSUED,
        root_version: 1,
        held: Some(held()),
        lock: 0,
    }
}

pub(crate) fn sealed_timestamp() -> Vec<u8> {
    Envelope::seal(&timestamp(), &[&key(5)]).unwrap()
}

pub(crate) fn lock() -> Lock {
    let targets = vec![LockTarget::Device, LockTarget::User(ALICE), LockTarget::Category(name("all"))];
    Lock { fleet: FLEET, device: DEVICE, epoch: 1, sequence: 2, issued: ISSUED, targets }
}

pub(crate) fn sealed_lock() -> Vec<u8> {
    Envelope::seal(&lock(), &[&key(6)]).unwrap()
}

pub(crate) fn invitation() -> Invitation {
    let root = Envelope::seal(&fixed_root(), &[&key(1)]).unwrap();
    Invitation {
        invitee: Invitee::Device,
        hubs: addresses(),
        hub_key: key(4).public(),
        root: Digest::of(&[Envelope::parse(&root, limits::ROOT_BYTES).unwrap().payload()]),
        secret: [0x5e; 16],
    }
}

/// One origin of each kind, ascending.
fn origins() -> Vec<Origin> {
    let alone = Origin::Assignment {
        assignment: "Operators".parse().unwrap(),
        role: "Operator".parse().unwrap(),
        group: None,
    };
    let membership =
        Origin::Membership { group: "Plant 1".parse().unwrap(), role: "Operator".parse().unwrap() };
    vec![alone, origin(), membership, Origin::Entry { entry: "Probation".parse().unwrap() }]
}

fn signed() -> Vec<Sample> {
    let root = fixed_root();
    let code = invitation();
    let proof = Proof::sign(&key(20), &EXPORTER, DEVICE, &sealed_pass());
    let covered = [EXPORTER.as_slice(), DEVICE.as_bytes(), Digest::of(&[&sealed_pass()]).as_bytes()].concat();
    vec![
        payload("root-payload", "A root: root key 1, policy key 2, identity key 3, hub key 4.", &root),
        sealed("root-envelope", "The same, sealed by key 1.", "root", &root, 1),
        payload("snapshot-payload", "A snapshot with at least one of everything.", &snapshot()),
        sealed("snapshot-envelope", "The same, sealed by key 2.", "snapshot", &snapshot(), 2),
        payload("pass-payload", "A pass for the user's key 20.", &pass()),
        sealed("pass-envelope", "The same, sealed by key 3.", "pass", &pass(), 3),
        payload("timestamp-payload", "A timestamp in answer to the nonce 16 x 0x4e.", &timestamp()),
        sealed("timestamp-envelope", "The same, sealed by key 5.", "timestamp", &timestamp(), 5),
        payload("lock-payload", "A lock of the device, a user and a category.", &lock()),
        sealed("lock-envelope", "The same, sealed by key 6.", "lock", &lock(), 6),
        bytes(
            "proof-signed-bytes",
            "What key 20 signs: exporter 32 x 0x55, the device, SHA-256 of pass-envelope.",
            None,
            Domain::Proof.signed_bytes(&covered),
        ),
        plain::<_, 89>("signed", "proof", "The proof, signed by key 20 over proof-signed-bytes.", &proof),
        bytes(
            "sealing-key-signed-bytes",
            "What key 10 signs about the sealing key that follows from it.",
            None,
            Domain::SealingKey.signed_bytes(announcement().verify(&key(10).public()).unwrap().as_bytes()),
        ),
        plain::<_, 97>("signed", "announcement", "The sealing key of device 10, signed.", &announcement()),
        bytes(
            "sealed-secret",
            "The secret `4711` named `hmi`, sealed with the random bytes 32 x 0x77.",
            Some("sealed_secret"),
            sealed_secret(),
        ),
        plain::<_, { limits::FRAME_BYTES }>(
            "signed",
            "invitation-payload",
            "An invitation of a device.",
            &code,
        ),
        bytes(
            "invitation-text",
            &format!("The same as text: {code}"),
            Some("invitation"),
            code.to_string().into_bytes(),
        ),
    ]
}

fn payload<T: Signed>(name: &'static str, note: &str, value: &T) -> Sample {
    let target = match T::DOMAIN {
        Domain::Root => Some("root"),
        Domain::Snapshot => Some("snapshot"),
        Domain::Pass => Some("pass"),
        Domain::Timestamp => Some("timestamp"),
        Domain::Lock => Some("lock"),
        Domain::Proof
        | Domain::SealingKey
        | Domain::NextKey
        | Domain::Receipt
        | Domain::Checkpoint
        | Domain::AuditAck => None,
    };
    Sample { target, ..plain::<T, { limits::SNAPSHOT_BYTES }>("signed", name, note, value) }
}

fn sealed<T: Signed>(name: &'static str, note: &str, target: &'static str, value: &T, by: u8) -> Sample {
    bytes(name, note, Some(target), Envelope::seal(value, &[&key(by)]).unwrap())
}

fn bytes(name: &'static str, note: &str, target: Option<&'static str>, bytes: Vec<u8>) -> Sample {
    Sample {
        group: "signed",
        name,
        note: note.to_owned(),
        target,
        table: None,
        variant: None,
        bytes,
        again: None,
    }
}

fn enumerations() -> Vec<Sample> {
    let one = |kind: Sample, table, variant| kind.of(table, variant, None);
    let mut samples: Vec<Sample> = Kind::ALL
        .iter()
        .zip(["kind-vpn", "kind-vnc", "kind-http", "kind-websocket"])
        .map(|(value, name)| {
            one(plain::<_, 2>("numbers", name, "A kind of service.", value), &KIND, kind(value))
        })
        .collect();
    for (value, name) in
        origins().iter().zip(["origin-assignment", "origin-group", "origin-membership", "origin-entry"])
    {
        let sample = plain::<_, { limits::FRAME_BYTES }>("numbers", name, "Where a rule comes from.", value);
        samples.push(one(sample, &ORIGIN, origin_variant(value)));
    }
    let flows = destinations();
    for (destination, name) in flows.destinations.iter().zip([
        "carries-tcp",
        "carries-tcp-modbus",
        "carries-tcp-v6",
        "carries-udp",
        "carries-icmp",
    ]) {
        let value = &destination.carries;
        let sample =
            plain::<_, { limits::FRAME_BYTES }>("numbers", name, "What a destination carries.", value);
        samples.push(one(sample, &CARRIES, carries_variant(value)));
        if let Some(profile) = destination.profile() {
            let note = "What the gate reads in a flow.";
            let sample = plain::<_, { limits::FRAME_BYTES }>("numbers", "profile-modbus", note, profile);
            samples.push(one(sample, &PROFILE, profile_variant(profile)));
        }
    }
    let place = Reach::Place {
        target: Target { ip: [192, 168, 0, 10].into(), port: 5900 },
        rules: Rules::Vnc(screen()),
    };
    for (value, name) in [(Reach::Flows(flows), "reach-flows"), (place, "reach-place")] {
        let sample = plain::<_, { limits::FRAME_BYTES }>("numbers", name, "Where a service leads.", &value);
        samples.push(one(sample, &REACH, reach_variant(&value)));
    }
    for (value, name) in Protocol::ALL.iter().zip(["protocol-tcp", "protocol-udp", "protocol-icmp"]) {
        let sample = plain::<_, 2>("numbers", name, "What a flow is carried in.", value);
        samples.push(one(sample, &PROTOCOL, protocol_variant(value)));
    }
    for (value, name) in ModbusTable::ALL.iter().zip([
        "modbus-coils",
        "modbus-discrete-inputs",
        "modbus-holding-registers",
        "modbus-input-registers",
    ]) {
        let sample = plain::<_, 2>("numbers", name, "A table of Modbus.", value);
        samples.push(one(sample, &MODBUS_TABLE, modbus_table_variant(value)));
    }
    let rules = [Rules::Vnc(screen()), Rules::Http(pages()), Rules::Websocket(live())];
    for (value, name) in rules.iter().zip(["rules-vnc", "rules-http", "rules-websocket"]) {
        let sample = plain::<_, { limits::FRAME_BYTES }>("numbers", name, "Rules of a service.", value);
        samples.push(one(sample, &RULES, rules_variant(value)));
    }
    for (value, name) in
        [(Mode::ViewOnly, "mode-view-only"), (Mode::Full { clipboard: true }, "mode-full-with-clipboard")]
    {
        samples.push(one(plain::<_, 3>("numbers", name, "A mode.", &value), &MODE, mode(&value)));
    }
    for (value, name) in [(Scheme::Basic, "scheme-basic"), (Scheme::Digest, "scheme-digest")] {
        let sample = plain::<_, 2>("numbers", name, "How a gate logs in.", &value);
        samples.push(one(sample, &SCHEME, scheme(&value)));
    }
    for (value, name) in [
        (PathLog::Full, "path-log-full"),
        (PathLog::Prefix, "path-log-prefix"),
        (PathLog::None, "path-log-none"),
    ] {
        let sample = plain::<_, 2>("numbers", name, "How much of a path is recorded.", &value);
        samples.push(one(sample, &PATH_LOG, path_log(&value)));
    }
    for (value, name) in [(Method::Password, "method-password"), (Method::Totp, "method-totp")] {
        samples.push(one(
            plain::<_, 2>("numbers", name, "A method of a pass.", &value),
            &METHOD,
            method(&value),
        ));
    }
    for (value, name) in [
        (Role::Root, "role-root"),
        (Role::Policy, "role-policy"),
        (Role::Identity, "role-identity"),
        (Role::Timestamp, "role-timestamp"),
        (Role::Lock, "role-lock"),
        (Role::AuditAck, "role-audit-ack"),
    ] {
        samples.push(one(plain::<_, 2>("numbers", name, "A role of a root.", &value), &ROLE, role(&value)));
    }
    for (value, name) in [(Invitee::Device, "invitee-device"), (Invitee::User, "invitee-user")] {
        samples.push(one(
            plain::<_, 2>("numbers", name, "Who is invited.", &value),
            &INVITEE,
            invitee(&value),
        ));
    }
    for (value, name) in [
        (Refusal::Code, "refusal-code"),
        (Refusal::Login, "refusal-login"),
        (Refusal::WeakPassword, "refusal-weak-password"),
        (Refusal::TooMany, "refusal-too-many"),
        (Refusal::UnknownKey, "refusal-unknown-key"),
        (Refusal::Pass, "refusal-pass"),
        (Refusal::OneTimeCode, "refusal-one-time-code"),
        (Refusal::NoOneTimeCodes, "refusal-no-one-time-codes"),
        (Refusal::SealingKey, "refusal-sealing-key"),
        (Refusal::Narrowing, "refusal-narrowing"),
        (Refusal::NoMeeting, "refusal-no-meeting"),
    ] {
        samples.push(one(
            plain::<_, 2>("numbers", name, "A refusal of a hub.", &value),
            &REFUSAL,
            refusal(&value),
        ));
    }
    for (value, name) in [
        (NackCode::Envelope, "nack-envelope"),
        (NackCode::Addressee, "nack-addressee"),
        (NackCode::Epoch, "nack-epoch"),
        (NackCode::Rollback, "nack-rollback"),
        (NackCode::Equivocation, "nack-equivocation"),
        (NackCode::Form, "nack-form"),
        (NackCode::Storage, "nack-storage"),
        (NackCode::Transfer, "nack-transfer"),
    ] {
        samples.push(one(
            plain::<_, 2>("numbers", name, "Why a push is refused.", &value),
            &NACK_CODE,
            nack_code(&value),
        ));
    }
    for (value, name) in [
        (FreshnessState::Fresh, "freshness-fresh"),
        (FreshnessState::Stale, "freshness-stale"),
        (FreshnessState::Expired, "freshness-expired"),
    ] {
        let sample = plain::<_, 2>("numbers", name, "What a policy is worth.", &value);
        samples.push(one(sample, &FRESHNESS_STATE, freshness_state(&value)));
    }
    let alarms = ["alarm-rollback", "alarm-equivocation", "alarm-freeze", "alarm-budget", "alarm-self-test"];
    for (value, name) in AlarmKind::ALL.iter().zip(alarms) {
        let sample = plain::<_, 2>("numbers", name, "What an alarm is about.", value);
        samples.push(one(sample, &ALARM_KIND, alarm_kind(value)));
    }
    for (value, name) in [
        (RootCode::Envelope, "root-code-envelope"),
        (RootCode::Fleet, "root-code-fleet"),
        (RootCode::Version, "root-code-version"),
        (RootCode::Epoch, "root-code-epoch"),
        (RootCode::Form, "root-code-form"),
    ] {
        samples.push(one(
            plain::<_, 2>("numbers", name, "Why a root is refused.", &value),
            &ROOT_CODE,
            root_code(&value),
        ));
    }
    samples
}

/// The row of the audit in which everything is said that a row can say.
pub(crate) fn row(event: postern_protocol::audit::Event) -> Row {
    const _: () = assert!(ROW_BYTES == 2048);
    Row { seq: 7, at: ISSUED, event }
}
