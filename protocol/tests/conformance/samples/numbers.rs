//! Enumerations of policy, trust and control: the name of each variant, and its number as it is encoded.

use postern_protocol::limits;
use postern_protocol::policy::snapshot::rules::ModbusTable;
use postern_protocol::policy::{
    Carries, FreshnessState, Kind, Mode, Origin, PathLog, Profile, Protocol, Reach, Rules, Scheme, Target,
};
use postern_protocol::trust::{Method, Role};
use postern_protocol::wire::control::{AlarmKind, NackCode, RootCode};
use postern_protocol::wire::invitation::Invitee;

use super::policy::{destinations, live, origins, pages, screen};
use super::{Sample, plain, table};

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
    Method::Federated => "federated", "the word of an identity provider (OpenID Connect); no second factor";
    Method::FederatedSecond => "federated_second", "what the identity provider has seen besides; a second factor";
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

pub(super) fn enumerations() -> Vec<Sample> {
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
    for (value, name) in [
        (Method::Password, "method-password"),
        (Method::Totp, "method-totp"),
        (Method::Federated, "method-federated"),
        (Method::FederatedSecond, "method-federated-second"),
    ] {
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
