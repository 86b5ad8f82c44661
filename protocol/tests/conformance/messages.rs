//! One value of every message and audit event, and the tables that `docs/wire.md` shows of them.

use postern_protocol::audit::row::ROW_BYTES;
use postern_protocol::audit::{Event, FlowFate, GateCounts};
use postern_protocol::gate::rfb::Tally;
use postern_protocol::id::TunnelId;
use postern_protocol::limits;
use postern_protocol::path::{Path, Peer};
use postern_protocol::policy::{Destination, FlowEnd, FreshnessState, Kind, Mode, Protocol, Reason, Target};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Digest, NextKey, Nonce, Proof};
use postern_protocol::wire::control::{AgentMessage, AlarmKind, Hello, HubMessage, Life, NackCode, RootCode};
use postern_protocol::wire::discovery::{DiscoveryNews, Mac, Presence, Sighting, Totals, Unasked, Why};
use postern_protocol::wire::flow::{FlowTarget, Host, PacketDrops, VpnNews};
use postern_protocol::wire::hub::{
    DeviceEntry, Examined, HubAnswer, HubRequest, Only, Password, Refusal, Whose,
};
use postern_protocol::wire::registry::{CloseCode, Failure, PacketFault};
use postern_protocol::wire::relay::End;
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer, Holder, Request, ServiceEntry};

use crate::probes::{ALICE, DEVICE, EXPORTER, FLEET, key};
use crate::relay;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::samples::{
    self, ISSUED, Sample, Table, addresses, announcement, held, name, origin, plain, row, sealed_lock,
    sealed_pass, sealed_timestamp, table, text,
};

table!(REQUEST, request, Request {
    Request::Authenticate { .. } => "Authenticate", "pass: bytes; proof: proof";
    Request::ListServices => "ListServices", "";
    Request::Open { .. } => "Open", "service: name; view_only: bool";
    Request::OpenVpn { .. } => "OpenVpn", "service: name; view_only: bool";
    Request::Flow { .. } => "Flow", "tunnel: id; to: flow target";
    Request::Discover { .. } => "Discover", "tunnel: id; scan: bool";
    Request::Packets { .. } => "Packets", "tunnel: id";
});
table!(ANSWER, answer, Answer {
    Answer::Welcome { .. } => "Welcome", "device: id; agent: text; until: time";
    Answer::Services(_) => "Services", "list of service entries, ascending by name";
    Answer::Accepted { .. } => "Accepted", "tunnel: id; kind: kind; mode: mode; until: time; start: option of text; recorded: bool";
    Answer::Denied(_) => "Denied", "reason: u8";
    Answer::Failed(_) => "Failed", "failure: u8";
    Answer::Occupied { .. } => "Occupied", "holder; may_look: bool";
    Answer::Flow { .. } => "Flow", "ip: address";
    Answer::Discovery => "Discovery", "";
    Answer::Packets { .. } => "Packets", "ip: IPv4 address; mtu: u16";
});
table!(HUB_REQUEST, hub_request, HubRequest {
    HubRequest::Enroll { .. } => "Enroll", "secret: 16 bytes; label: text; sealing: announcement";
    HubRequest::Sync(_) => "Sync", "hello";
    HubRequest::AcceptInvitation { .. } => "AcceptInvitation", "secret: 16 bytes; password: password";
    HubRequest::Login { .. } => "Login", "account: text; user: name; password: password; otp: option of password; only: only";
    HubRequest::EnrollOtp { .. } => "EnrollOtp", "account: text; user: name; password: password; otp: option of password";
    HubRequest::ListDevices => "ListDevices", "";
    HubRequest::Logout => "Logout", "";
    HubRequest::StepUp { .. } => "StepUp", "pass: bytes; otp: password";
    HubRequest::LogoutEverywhere => "LogoutEverywhere", "";
    HubRequest::Meet { .. } => "Meet", "device: id";
    HubRequest::Certificate => "Certificate", "none";
    HubRequest::Examine => "Examine", "";
});
table!(HUB_ANSWER, hub_answer, HubAnswer {
    HubAnswer::Enrolled { .. } => "Enrolled", "device: id; roots: list of bytes, oldest first, at most 64; snapshot: bytes";
    HubAnswer::LoggedIn { .. } => "LoggedIn", "fleet: id; user: id; account: text; name: name; pass: bytes";
    HubAnswer::Otp { .. } => "Otp", "uri: string";
    HubAnswer::Devices(_) => "Devices", "list of device entries, ascending by name";
    HubAnswer::Done => "Done", "";
    HubAnswer::Refused(_) => "Refused", "refusal";
    HubAnswer::Failed(_) => "Failed", "failure: u8";
    HubAnswer::Meeting(_) => "Meeting", "meeting";
    HubAnswer::Certificate(_) => "Certificate", "certificate: option of digest";
    HubAnswer::Examined(_) => "Examined", "now: time; hub: text; whose: u8 as enumeration; seen: socket address";
});
table!(HUB_MESSAGE, hub_message, HubMessage {
    HubMessage::UpToDate => "UpToDate", "";
    HubMessage::Push { .. } => "Push", "nonce: u64; held: held; bytes: u32";
    HubMessage::Chunk { .. } => "Chunk", "nonce: u64; offset: u32; bytes: bytes, 1 to 16384";
    HubMessage::Timestamp { .. } => "Timestamp", "bytes: bytes, a sealed timestamp";
    HubMessage::RotateKey => "RotateKey", "";
    HubMessage::Lock { .. } => "Lock", "bytes: bytes, a sealed lock";
    HubMessage::Root { .. } => "Root", "bytes: bytes";
    HubMessage::Meet(_) => "Meet", "meeting";
});
table!(AGENT_MESSAGE, agent_message, AgentMessage {
    AgentMessage::Ack { .. } => "Ack", "nonce: u64; held: held; cut: u32";
    AgentMessage::Nack { .. } => "Nack", "nonce: u64; held: held; code: nack code; detail: text";
    AgentMessage::Moved { .. } => "Moved", "addresses: list of socket addresses, at most 8";
    AgentMessage::SealingKey(_) => "SealingKey", "announcement, once on a link";
    AgentMessage::TimeRequest { .. } => "TimeRequest", "nonce: 16 bytes";
    AgentMessage::Alarm { .. } => "Alarm", "kind: alarm kind; detail: text";
    AgentMessage::NextKey(_) => "NextKey", "next key, section 4.8";
    AgentMessage::LockTaken { .. } => "LockTaken", "sequence: u64; cut: u32";
    AgentMessage::LockRefused { .. } => "LockRefused", "code: nack code; detail: text";
    AgentMessage::RootTaken { .. } => "RootTaken", "version: u32";
    AgentMessage::RootRefused { .. } => "RootRefused", "version: u32; code: root code; detail: text";
});
table!(HOST, host, Host {
    Host::Ip(_) => "Ip", "address";
    Host::Name(_) => "Name", "host name";
});
table!(VPN_NEWS, vpn_news, VpnNews {
    VpnNews::Destinations(_) => "Destinations", "list of destination, in their order, at most 64";
    VpnNews::Drops(_) => "Drops", "list of packet drops, ascending by fault, at most 64";
});
table!(DISCOVERY_NEWS, discovery_news, DiscoveryNews {
    DiscoveryNews::Seen(_) => "Seen", "sighting";
    DiscoveryNews::Progress { .. } => "Progress", "asked: u16; of: u16";
    DiscoveryNews::End(_) => "End", "machines: u16; probes: u16; unasked: list of unasked, at most 64";
});
table!(PRESENCE, presence, Presence {
    Presence::Reachable => "reachable", "it answered moments ago";
    Presence::Stale => "stale", "it was there, and whether it still is was not asked lately";
});
table!(WHY, why, Why {
    Why::Wide => "wide", "it has more addresses than are walked; only machines that were known were asked";
    Why::Probes => "probes", "a scan has no more probes";
    Why::Time => "time", "a scan has no more time";
    Why::Unaskable => "unaskable", "there is no question that every machine answers (UDP), or the device cannot ask it (ICMP)";
});
table!(FLOW_FATE, flow_fate, FlowFate {
    FlowFate::Opened => "opened", "";
    FlowFate::Denied(_) => "denied", "reason: u8";
    FlowFate::Failed(_) => "failed", "failure: u8";
    FlowFate::Closed(_) => "closed", "code: u32";
    FlowFate::Probed => "probed", "";
});
table!(EVENT, event, Event {
    Event::Started { .. } => "started", "agent: text; boots: u32";
    Event::Stopped => "stopped", "";
    Event::PolicyApplied { .. } => "policy_applied", "held: held; cut: u32";
    Event::PolicyRefused { .. } => "policy_refused", "held: held; code: nack code";
    Event::Permitted { .. } => "permitted", "tunnel: id; user: id; service: name; kind: kind; target: option of target; mode: mode; origin: option of origin; version: u64; peer: peer; recorded: bool";
    Event::Denied { .. } => "denied", "user: option of id; service: option of name; reason: u8; fault: option of text; origin: option of origin; peer: peer; count: u32";
    Event::Failed { .. } => "failed", "tunnel: id; failure: u8";
    Event::Closed { .. } => "closed", "tunnel: id; code: u32; to_machine: u64; to_client: u64; seconds: u64; peer: peer; gate: option of gate counts";
    Event::Control { .. } => "control", "uid: u32; command: text";
    Event::Alarm { .. } => "alarm", "kind: alarm kind; detail: text";
    Event::Enrolled { .. } => "enrolled", "device: id; key: key";
    Event::KeyChanged { .. } => "key_changed", "key: key";
    Event::Retired { .. } => "retired", "held: held";
    Event::Locked { .. } => "locked", "sequence: u64; device: bool; users: u16; categories: u16; cut: u32";
    Event::Unlocked { .. } => "unlocked", "sequence: u64";
    Event::RootTaken { .. } => "root_taken", "version: u32; epoch: u32; cut: u32";
    Event::RootRefused { .. } => "root_refused", "version: u32, the one that stays; code: root code";
    Event::Requests { .. } => "requests", "tunnel: id; method: option of text; path: option of text; status: option of u16; reason: option of u8; count: u32; bytes: u64";
    Event::Recorded { .. } => "recorded", "tunnel: id; bytes: u64; digest: digest; complete: bool";
    Event::RecordingRemoved { .. } => "recording_removed", "tunnel: id; uid: option of u32";
    Event::Changed { .. } => "changed", "tunnel: id; before: mode; mode: mode; rules: bool; origin: option of origin; version: u64; count: u32";
    Event::Flows { .. } => "flows", "tunnel: id; to: option of flow end; fate: flow fate; count: u32; to_machine: u64; to_client: u64; seconds: u64";
});

const TUNNEL: TunnelId = TunnelId::new([0x70; 8]);

const TOUCH: Mode = Mode::Full { clipboard: false };

fn password(text: &str) -> Password {
    Password::try_from(text.to_owned()).unwrap()
}

/// A value of an enumeration that is part of messages.
fn numbered<T: Serialize + DeserializeOwned>(
    name: &'static str,
    note: &str,
    value: &T,
    table: &'static Table,
    variant: &'static str,
) -> Sample {
    plain::<_, ANSWER_BYTES>("tunnel", name, note, value).of(table, variant, None)
}

pub(crate) fn tunnel() -> Vec<Sample> {
    let role = Some("technician".parse().unwrap());
    let holder = Holder { user: ALICE, role, since: ISSUED };
    let proof = Proof::sign(&key(20), &EXPORTER, DEVICE, &sealed_pass());
    let entry = |service: &str, kind, blocked, until: Option<UnixTime>| {
        let mode = until.map(|_| Mode::ViewOnly);
        ServiceEntry { name: name(service), kind, mode, blocked, until, recorded: service == "hmi" }
    };
    let ask = |name, note: &str, value: Request| {
        plain::<_, { limits::FRAME_BYTES }>("tunnel", name, note, &value).of(
            &REQUEST,
            request(&value),
            Some("request"),
        )
    };
    let (address, named) = (Host::Ip([192, 168, 0, 11].into()), Host::Name("plc-7.line".parse().unwrap()));
    let news = VpnNews::Destinations(samples::destinations().destinations);
    let drops = VpnNews::Drops(vec![
        PacketDrops { fault: PacketFault::Fragment, count: 3 },
        PacketDrops { fault: PacketFault::NotGranted, count: 300 },
    ]);
    let flow = |protocol, host: &Host, port| Request::Flow {
        tunnel: TUNNEL,
        to: FlowTarget { protocol, host: host.clone(), port },
    };
    let tell = |name, note: &str, value: Answer| {
        plain::<_, ANSWER_BYTES>("tunnel", name, note, &value).of(&ANSWER, answer(&value), Some("answer"))
    };
    vec![
        ask(
            "authenticate",
            "The pass `pass-envelope` and the proof `proof`.",
            Request::Authenticate { pass: sealed_pass(), proof },
        ),
        ask("list-services", "Lists services.", Request::ListServices),
        ask("open", "Opens the service `hmi`.", Request::Open { service: name("hmi"), view_only: true }),
        tell(
            "welcome",
            "The caller is known.",
            Answer::Welcome { device: DEVICE, agent: text("postern-agent 0.1.0"), until: ISSUED },
        ),
        tell("services-none", "No service.", Answer::Services(Vec::new())),
        tell(
            "services",
            "A service that would open now, and one that demands a second factor first.",
            Answer::Services(vec![
                entry("hmi", Kind::Vnc, None, Some(ISSUED)),
                entry("web", Kind::Http, Some(Reason::SecondFactorRequired), None),
            ]),
        ),
        tell(
            "accepted",
            "A tunnel to a VNC service.",
            Answer::Accepted {
                tunnel: TUNNEL,
                kind: Kind::Vnc,
                mode: TOUCH,
                until: ISSUED,
                start: None,
                recorded: true,
            },
        ),
        tell(
            "accepted-page",
            "A tunnel to an HTTP service, to look only.",
            Answer::Accepted {
                tunnel: TUNNEL,
                kind: Kind::Http,
                mode: Mode::ViewOnly,
                until: ISSUED,
                start: Some(text("/dashboard")),
                recorded: false,
            },
        ),
        tell("denied", "Nothing grants it.", Answer::Denied(Reason::NoGrant)),
        tell("failed", "The machine does not answer.", Answer::Failed(Failure::Unreachable)),
        tell(
            "occupied",
            "Somebody else has the seat at a screen.",
            Answer::Occupied { holder, may_look: true },
        ),
        tell("flow", "The flow is open.", Answer::Flow { ip: [192, 168, 0, 11].into() }),
        ask(
            "open-vpn",
            "Opens the service `plc` for its flows.",
            Request::OpenVpn { service: name("plc"), view_only: false },
        ),
        ask("flow-to-address", "A TCP flow to an address.", flow(Protocol::Tcp, &address, 102)),
        ask("flow-to-name", "A UDP flow to a name.", flow(Protocol::Udp, &named, 161)),
        ask("discover", "Asks for a scan.", Request::Discover { tunnel: TUNNEL, scan: true }),
        tell("discovery", "What is found follows.", Answer::Discovery),
        ask("packets", "Opens the way for packets.", Request::Packets { tunnel: TUNNEL }),
        tell(
            "packets-open",
            "The way for packets is open.",
            Answer::Packets { ip: [100, 96, 0, 2].into(), mtu: 1280 },
        ),
        numbered("host-ip", "A machine by its address.", &address, &HOST, host(&address)),
        numbered("host-name", "A machine by its name.", &named, &HOST, host(&named)),
        numbered("vpn-news", "Where flows may go.", &news, &VPN_NEWS, vpn_news(&news)),
        numbered("vpn-drops", "Packets that were dropped.", &drops, &VPN_NEWS, vpn_news(&drops)),
    ]
}

/// What is said on the stream of a discovery.
pub(crate) fn discoveries() -> Vec<Sample> {
    let say = |name, note: &str, news: DiscoveryNews| {
        numbered(name, note, &news, &DISCOVERY_NEWS, discovery_news(&news))
    };
    let mac = Some(Mac([0x02, 0x00, 0x5e, 0x10, 0x00, 0x01]));
    let found = Sighting {
        ip: [192, 168, 0, 11].into(),
        mac,
        presence: Presence::Reachable,
        open: vec![102, 502],
        echo: Some(true),
    };
    let why = |destination: Destination, why| Unasked { destination, why };
    let destination = samples::destinations().destinations.remove(0);
    let unasked = vec![why(destination, Why::Probes)];
    let mut samples = vec![
        say("discovery-seen", "A machine with two open ports.", DiscoveryNews::Seen(found)),
        say("discovery-progress", "A quarter is done.", DiscoveryNews::Progress { asked: 256, of: 1024 }),
        say(
            "discovery-end",
            "One machine, and a destination of which not everything was asked.",
            DiscoveryNews::End(Totals { machines: 1, probes: 1024, unasked }),
        ),
    ];
    for value in [Presence::Reachable, Presence::Stale] {
        let name = if value == Presence::Reachable { "presence-reachable" } else { "presence-stale" };
        samples.push(numbered(name, "How fresh it is.", &value, &PRESENCE, presence(&value)));
    }
    let whys = [(Why::Wide, "why-wide"), (Why::Probes, "why-probes"), (Why::Time, "why-time")];
    for (value, name) in whys.into_iter().chain([(Why::Unaskable, "why-unaskable")]) {
        samples.push(numbered(name, "Why something was left out.", &value, &WHY, self::why(&value)));
    }
    samples
}

fn hello() -> Hello {
    let agent = text("postern-agent 0.1.0");
    Hello {
        root_version: 1,
        held: Some(held()),
        active: true,
        agent,
        boots: 3,
        life: Life([0x1f; 16]),
        addresses: addresses(),
        freshness: Some(FreshnessState::Stale),
        locks: 0,
    }
}

pub(crate) fn hub() -> Vec<Sample> {
    let ask = |name, note: &str, value: HubRequest| {
        plain::<_, { limits::FRAME_BYTES }>("hub", name, note, &value).of(
            &HUB_REQUEST,
            hub_request(&value),
            Some("hub_request"),
        )
    };
    let first =
        Hello { held: None, active: false, boots: 1, addresses: Vec::new(), freshness: None, ..hello() };
    let (account, user) = (text("acme/europe"), name("alice"));
    let login = |otp, only| HubRequest::Login {
        account: account.clone(),
        user: user.clone(),
        password: password("correct horse"),
        otp,
        only,
    };
    let only = Only { devices: Some(vec![name("press-7")]), services: Some(vec![name("hmi")]) };
    let otp = HubRequest::EnrollOtp {
        account: account.clone(),
        user: user.clone(),
        password: password("correct horse"),
        otp: None,
    };
    let mut samples = vec![
        ask(
            "enroll",
            "A new device.",
            HubRequest::Enroll { secret: [0x5e; 16], label: text("press 7"), sealing: announcement() },
        ),
        ask("sync", "An enrolled device that holds a snapshot.", HubRequest::Sync(hello())),
        ask("sync-first", "An enrolled device that holds none.", HubRequest::Sync(first)),
        ask(
            "accept-invitation",
            "An invited user.",
            HubRequest::AcceptInvitation { secret: [0x5e; 16], password: password("correct horse") },
        ),
        ask("login", "Without a second factor.", login(None, Only::default())),
        ask("login-only", "For one service of one device.", login(None, only)),
        ask("login-otp", "With a one-time code.", login(Some(password("123456")), Only::default())),
        ask("enroll-otp", "Sets up one-time codes.", otp),
        ask("list-devices", "Lists devices.", HubRequest::ListDevices),
        ask("logout", "Removes this key.", HubRequest::Logout),
        ask("meet", "A device that cannot be dialled.", HubRequest::Meet { device: DEVICE }),
        ask("which-certificate", "What should be shown over TLS.", HubRequest::Certificate),
        ask("examine", "What the caller looks like.", HubRequest::Examine),
        ask("logout-everywhere", "And makes every pass worthless.", HubRequest::LogoutEverywhere),
        ask(
            "step-up",
            "With pass-envelope and a one-time code.",
            HubRequest::StepUp { pass: sealed_pass(), otp: password("123456") },
        ),
    ];
    samples.extend(hub_answers());
    samples
}

fn hub_answers() -> Vec<Sample> {
    let tell = |name, note: &str, value: HubAnswer| {
        plain::<_, { limits::LIST_FRAME_BYTES }>("hub", name, note, &value).of(
            &HUB_ANSWER,
            hub_answer(&value),
            Some("hub_answer"),
        )
    };
    let entry = DeviceEntry {
        device: DEVICE,
        name: name("press-7"),
        account: text("acme/europe"),
        label: Some("Presse 7, Halle Süd".parse().unwrap()),
        key: key(10).public(),
        addresses: addresses(),
        online: true,
    };
    let away = DeviceEntry {
        name: name("press-8"),
        label: None,
        addresses: Vec::new(),
        online: false,
        ..entry.clone()
    };
    let uri = "otpauth://totp/Postern:alice?secret=GEZDGNBVGY3TQOJQ&issuer=Postern".to_owned();
    vec![
        tell(
            "enrolled",
            "An identity, one root (here three bytes) and a snapshot (two).",
            HubAnswer::Enrolled { device: DEVICE, roots: vec![vec![1, 2, 3]], snapshot: vec![4, 5] },
        ),
        tell(
            "logged-in",
            "A pass, here three bytes.",
            HubAnswer::LoggedIn {
                fleet: FLEET,
                user: ALICE,
                account: text("acme/europe"),
                name: name("alice"),
                pass: vec![1, 2, 3],
            },
        ),
        tell("otp", "A new secret.", HubAnswer::Otp { uri }),
        tell(
            "devices",
            "One device with everything, one with nothing.",
            HubAnswer::Devices(vec![entry, away]),
        ),
        tell("done", "Done.", HubAnswer::Done),
        tell("refused", "Wrong name, password or code.", HubAnswer::Refused(Refusal::Login)),
        tell("hub-failed", "The hub is at its capacity.", HubAnswer::Failed(Failure::Busy)),
        tell("meeting", "The client's end.", HubAnswer::Meeting(relay::meeting(End::Client))),
        tell(
            "certificate",
            "What should be shown.",
            HubAnswer::Certificate(Some(Digest::of(&[b"certificate"]))),
        ),
        tell("no-certificate", "A hub without TLS.", HubAnswer::Certificate(None)),
        tell(
            "examined",
            "A device behind a NAT.",
            HubAnswer::Examined(Examined {
                now: ISSUED,
                hub: text("0.1.0"),
                whose: Whose::Device,
                seen: addresses()[0],
            }),
        ),
    ]
}

pub(crate) fn sync() -> Vec<Sample> {
    let down = |name, note: &str, value: HubMessage| {
        plain::<_, { limits::SYNC_FRAME_BYTES }>("sync", name, note, &value).of(
            &HUB_MESSAGE,
            hub_message(&value),
            None,
        )
    };
    let up = |name, note: &str, value: AgentMessage| {
        plain::<_, { limits::SYNC_FRAME_BYTES }>("sync", name, note, &value).of(
            &AGENT_MESSAGE,
            agent_message(&value),
            None,
        )
    };
    let root_refused = AgentMessage::RootRefused {
        version: 1,
        code: RootCode::Version,
        detail: text("root version 4, version 2 must follow"),
    };
    let nack = AgentMessage::Nack {
        nonce: 9,
        held: held(),
        code: NackCode::Rollback,
        detail: text("version 299 was accepted before"),
    };
    let alarm = AgentMessage::Alarm { kind: AlarmKind::Freeze, detail: text("version 301 was named") };
    vec![
        down("up-to-date", "The agent holds the newest.", HubMessage::UpToDate),
        down("push", "Three bytes follow.", HubMessage::Push { nonce: 9, held: held(), bytes: 3 }),
        down("chunk", "All of them.", HubMessage::Chunk { nonce: 9, offset: 0, bytes: vec![1, 2, 3] }),
        down("rotate-key", "Somebody asks for a new device key.", HubMessage::RotateKey),
        down("root", "The next root.", HubMessage::Root { bytes: vec![1, 2, 3] }),
        up("ack", "In force; two tunnels were cut.", AgentMessage::Ack { nonce: 9, held: held(), cut: 2 }),
        up("nack", "Refused.", nack),
        up("moved", "The agent is reachable elsewhere.", AgentMessage::Moved { addresses: addresses() }),
        up("sealing-key", "The agent announces its sealing key.", AgentMessage::SealingKey(announcement())),
        up("time-request", "Asks for the time.", AgentMessage::TimeRequest { nonce: Nonce::new([0x4e; 16]) }),
        down(
            "timestamp",
            "The answer: timestamp-envelope.",
            HubMessage::Timestamp { bytes: sealed_timestamp() },
        ),
        up("alarm", "Something newer was named and did not come.", alarm),
        up(
            "next-key",
            "The agent announces its next key, signed by both keys.",
            AgentMessage::NextKey(NextKey::announce(DEVICE, &key(10), &key(11))),
        ),
        down("lock", "All that is locked: lock-envelope.", HubMessage::Lock { bytes: sealed_lock() }),
        down("told-to-meet", "The agent's end.", HubMessage::Meet(relay::meeting(End::Agent))),
        up("lock-taken", "In force.", AgentMessage::LockTaken { sequence: 2, cut: 1 }),
        up(
            "lock-refused",
            "Lifted before.",
            AgentMessage::LockRefused { code: NackCode::Rollback, detail: text("lock 2 is lifted") },
        ),
        up("root-taken", "The root is in force.", AgentMessage::RootTaken { version: 2 }),
        up("root-refused", "The root before it stays.", root_refused),
    ]
}

pub(crate) fn audit() -> Vec<Sample> {
    let one = |name, note: &str, value: Event| {
        let variant = event(&value);
        let sample = plain::<_, ROW_BYTES>("audit", name, note, &row(value.clone()));
        // A row begins with its place and time; what is numbered is the event behind them.
        let number = plain::<_, ROW_BYTES>("audit", name, note, &value).bytes[0];
        assert_eq!(EVENT.variants[usize::from(number)].0, variant);
        sample.of(&EVENT, variant, Some("row"))
    };
    let target = Target { ip: [192, 168, 0, 10].into(), port: 5900 };
    let [near, far] = [addresses()[0], addresses()[1]];
    let peer = Peer { addr: near, path: Path::Direct };
    let relayed = Peer { addr: far, path: Path::Relayed };
    let permitted = Event::Permitted {
        tunnel: TUNNEL,
        user: ALICE,
        service: name("hmi"),
        kind: Kind::Vnc,
        target: Some(target),
        mode: TOUCH,
        origin: Some(origin()),
        version: 300,
        peer,
        recorded: true,
    };
    let denied = Event::Denied {
        user: Some(ALICE),
        service: Some(name("hmi")),
        reason: Reason::Expired,
        fault: None,
        origin: Some(origin()),
        peer,
        count: 12,
    };
    let stranger = Event::Denied {
        user: None,
        service: None,
        reason: Reason::BadPass,
        fault: Some(text("other_session")),
        origin: None,
        peer: Peer { addr: far, path: Path::RelayedTls },
        count: 1,
    };
    let closed = Event::Closed {
        tunnel: TUNNEL,
        code: CloseCode::Denied(Reason::Revoked).number(),
        to_machine: 1_000,
        to_client: 5_000_000_000,
        seconds: 90,
        peer: relayed,
        gate: None,
    };
    let looked_on = Event::Closed {
        tunnel: TUNNEL,
        code: CloseCode::Done.number(),
        to_machine: 42_000,
        to_client: 900_000,
        seconds: 600,
        peer,
        gate: Some(GateCounts::Vnc {
            began: Mode::Full { clipboard: false },
            ended: Mode::ViewOnly,
            keys: Tally { forwarded: 24, dropped: 2 },
            pointers: Tally { forwarded: 310, dropped: 57 },
            cut_texts: Tally { forwarded: 0, dropped: 1 },
            released: 1,
        }),
    };
    let browsed = Event::Closed {
        tunnel: TUNNEL,
        code: CloseCode::Done.number(),
        to_machine: 9_000,
        to_client: 700_000,
        seconds: 30,
        peer: relayed,
        gate: Some(GateCounts::Http(Tally { forwarded: 41, dropped: 2 })),
    };
    let plc = FlowEnd { protocol: Protocol::Tcp, ip: [192, 168, 0, 11].into(), port: 102 };
    let (denied_flow, failed_flow) =
        (FlowFate::Denied(Reason::PortDenied), FlowFate::Failed(Failure::Refused));
    let closed_flow = FlowFate::Closed(CloseCode::Done.number());
    let worked = Event::Closed {
        tunnel: TUNNEL,
        code: CloseCode::Done.number(),
        to_machine: 4_000,
        to_client: 90_000,
        seconds: 700,
        peer,
        gate: Some(GateCounts::Flows { opened: 12, denied: 254, failed: 3 }),
    };
    let watched = Event::Closed {
        tunnel: TUNNEL,
        code: CloseCode::Denied(Reason::Revoked).number(),
        to_machine: 300,
        to_client: 80_000,
        seconds: 3_600,
        peer: relayed,
        gate: Some(GateCounts::Websocket {
            to_machine: Tally { forwarded: 3, dropped: 1 },
            to_client: 3_600,
            controls: 120,
        }),
    };
    vec![
        one(
            "row-started",
            "The agent began to serve.",
            Event::Started { agent: text("postern-agent 0.1.0"), boots: 3 },
        ),
        one("row-stopped", "It stopped.", Event::Stopped),
        one(
            "row-policy-applied",
            "A snapshot came into force.",
            Event::PolicyApplied { held: held(), cut: 2 },
        ),
        one(
            "row-policy-refused",
            "One was refused.",
            Event::PolicyRefused { held: held(), code: NackCode::Rollback },
        ),
        one("row-permitted", "A tunnel was permitted.", permitted),
        one("row-denied", "A known user was denied.", denied),
        one("row-denied-stranger", "A stranger was denied.", stranger),
        one(
            "row-failed",
            "A permitted tunnel could not be opened.",
            Event::Failed { tunnel: TUNNEL, failure: Failure::Refused },
        ),
        one("row-closed", "A tunnel was revoked.", closed),
        one("row-closed-vnc", "A viewer left whose access had been narrowed to looking.", looked_on),
        one(
            "row-control",
            "Somebody used local control.",
            Event::Control { uid: 1000, command: text("close tun-7070707070707070") },
        ),
        one(
            "row-alarm",
            "The budget for work without the cloud is used up.",
            Event::Alarm { kind: AlarmKind::Budget, detail: text("604800 s were used") },
        ),
        one(
            "row-enrolled",
            "The device was enrolled anew.",
            Event::Enrolled { device: DEVICE, key: key(10).public() },
        ),
        one("row-key-changed", "Its next key came into force.", Event::KeyChanged { key: key(11).public() }),
        one("row-retired", "It was put out of service.", Event::Retired { held: held() }),
        one(
            "row-locked",
            "A lock of two users came into force.",
            Event::Locked { sequence: 2, device: false, users: 2, categories: 0, cut: 1 },
        ),
        one("row-unlocked", "A snapshot lifted it.", Event::Unlocked { sequence: 2 }),
        one("row-root-taken", "A root came into force.", Event::RootTaken { version: 2, epoch: 2, cut: 3 }),
        one("row-root-refused", "One was refused.", Event::RootRefused { version: 2, code: RootCode::Epoch }),
        one(
            "row-recorded",
            "The recording of a tunnel ended with the tunnel.",
            Event::Recorded { tunnel: TUNNEL, bytes: 70_000, digest: Digest::of(&[b"file"]), complete: true },
        ),
        one(
            "row-recording-removed",
            "Somebody removed it from the device.",
            Event::RecordingRemoved { tunnel: TUNNEL, uid: Some(1000) },
        ),
        one(
            "row-changed",
            "A live tunnel may only look from now on.",
            Event::Changed {
                tunnel: TUNNEL,
                before: Mode::Full { clipboard: true },
                mode: Mode::ViewOnly,
                rules: false,
                origin: Some(origin()),
                version: 301,
                count: 1,
            },
        ),
        one(
            "row-requests",
            "A page asked for something that is not granted, twice.",
            Event::Requests {
                tunnel: TUNNEL,
                method: Some(text("GET")),
                path: Some(text("/admin")),
                status: Some(403),
                reason: Some(Reason::PathDenied),
                count: 2,
                bytes: 0,
            },
        ),
        one(
            "row-flows",
            "A scan, as far as policy refused it.",
            Event::Flows {
                tunnel: TUNNEL,
                to: None,
                fate: FlowFate::Denied(Reason::PortDenied),
                count: 254,
                to_machine: 0,
                to_client: 0,
                seconds: 0,
            },
        ),
        one(
            "row-flows-closed",
            "A flow ended.",
            Event::Flows {
                tunnel: TUNNEL,
                to: Some(plc),
                fate: FlowFate::Closed(CloseCode::Done.number()),
                count: 1,
                to_machine: 4_000,
                to_client: 90_000,
                seconds: 600,
            },
        ),
        numbered(
            "flow-opened",
            "It was permitted.",
            &FlowFate::Opened,
            &FLOW_FATE,
            flow_fate(&FlowFate::Opened),
        ),
        numbered("flow-denied", "Policy said no.", &denied_flow, &FLOW_FATE, flow_fate(&denied_flow)),
        numbered("flow-failed", "Nobody listens.", &failed_flow, &FLOW_FATE, flow_fate(&failed_flow)),
        numbered("flow-closed", "It ended.", &closed_flow, &FLOW_FATE, flow_fate(&closed_flow)),
        numbered(
            "flow-probed",
            "It answered a scan.",
            &FlowFate::Probed,
            &FLOW_FATE,
            flow_fate(&FlowFate::Probed),
        ),
        one("row-closed-vpn", "A VPN tunnel was closed.", worked),
        one("row-closed-http", "A browser left.", browsed),
        one("row-closed-websocket", "A page with live values was closed.", watched),
    ]
}
