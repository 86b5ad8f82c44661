//! One value of every message and audit event, and the tables that `docs/wire.md` shows of them.

use postern_protocol::id::TunnelId;
use postern_protocol::limits;
use postern_protocol::policy::{Destination, FreshnessState, Kind, Mode, Protocol, Reason};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{CutCause, Digest, NextKey, Nonce, Proof, Receipt, ReceiptId, SignedReceipt};
use postern_protocol::wire::control::{
    AgentMessage, AlarmKind, Hello, HubMessage, Life, NackCode, Return, RootCode,
};
use postern_protocol::wire::discovery::{DiscoveryNews, Mac, Presence, Sighting, Totals, Unasked, Why};
use postern_protocol::wire::flow::{FlowTarget, Host, PacketDrops, VpnNews};
use postern_protocol::wire::hub::{
    DeviceEntry, Examined, HubAnswer, HubRequest, Only, Password, Refusal, Whose,
};
use postern_protocol::wire::registry::{Failure, PacketFault};
use postern_protocol::wire::relay::End;
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer, Holder, Request, ServiceEntry};

use crate::approvals;
use crate::probes::{ALICE, DEVICE, EXPORTER, FLEET, key};
use crate::{administration, relay, sessions, sign_on};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::samples::{
    self, ISSUED, Sample, Table, addresses, announcement, held, name, plain, sealed_lock, sealed_pass,
    sealed_timestamp, table, text,
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
    HubRequest::ListSessions(_) => "ListSessions", "session query";
    HubRequest::AskApproval(_) => "AskApproval", "device: id; service: name; view_only: bool; for_s: u32; why: text";
    HubRequest::ListApprovals => "ListApprovals", "";
    HubRequest::AwaitApproval { .. } => "AwaitApproval", "id: id";
    HubRequest::Decide { .. } => "Decide", "id: id; pass: bytes; verdict: approval verdict";
    HubRequest::ApproveByCode { .. } => "ApproveByCode", "code: 16 bytes";
    HubRequest::Administrate { .. } => "Administrate", "pass: bytes; question: admin question";
    HubRequest::HandleCase { .. } => "HandleCase", "pass: bytes; question: case question";
    HubRequest::BeginSignOn(_) => "BeginSignOn", "provider: option of name; purpose: sign on purpose; way: sign on way";
    HubRequest::FinishSignOn { .. } => "FinishSignOn", "id: 16 bytes; code: string of 1 to 2800 bytes; issuer: option of text";
    HubRequest::AwaitSignOn { .. } => "AwaitSignOn", "id: 16 bytes";
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
    HubAnswer::Sessions(_) => "Sessions", "sessions: list of session entries, newest first, at most 256; more: option of page mark";
    HubAnswer::Approvals(_) => "Approvals", "list of approval entries";
    HubAnswer::Administered(_) => "Administered", "admin answer";
    HubAnswer::Cases(_) => "Cases", "cases: list of case entries, ascending by name; more: option of name; edited: option of edited";
    HubAnswer::Declined(_) => "Declined", "how: decline; problems: list of string";
    HubAnswer::SignOn(_) => "SignOn", "id: 16 bytes; provider: name; url: string of at most 2048 bytes; code: option of text; port: u16; lapses: time";
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
    HubMessage::ReceiptTaken { .. } => "ReceiptTaken", "id: 8 bytes";
    HubMessage::RowsTaken { .. } => "RowsTaken", "bytes: bytes, a sealed acknowledgement (section 9.3)";
    HubMessage::RowsRefused { .. } => "RowsRefused", "log: 16 bytes; code: rows code";
    HubMessage::Return(_) => "Return", "leave_ms: u32; away_ms: u32; hub: option of socket address";
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
    AgentMessage::Receipt(_) => "Receipt", "receipt, section 4.10; signature: signature";
    AgentMessage::Log(_) => "Log", "log: 16 bytes; first: u64; previous: digest; sealed_from: u64; key: 32 bytes";
    AgentMessage::Rows(_) => "Rows", "log: 16 bytes; first: u64; rows: list of sealed row; checkpoint: option of checkpoint";
});
table!(CUT_CAUSE, cut_cause, CutCause {
    CutCause::Policy { .. } => "policy", "epoch: u32; version: u64";
    CutCause::Lock { .. } => "lock", "epoch: u32; sequence: u64";
    CutCause::Root { .. } => "root", "version: u32";
    CutCause::Time => "time", "";
    CutCause::SuddenEnd => "sudden_end", "";
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
pub(crate) const TUNNEL: TunnelId = TunnelId::new([0x70; 8]);

pub(crate) const TOUCH: Mode = Mode::Full { clipboard: false };

pub(crate) fn receipt() -> Receipt {
    Receipt {
        fleet: FLEET,
        device: DEVICE,
        id: ReceiptId([0x1d; 8]),
        cause: CutCause::Policy { epoch: 1, version: 18 },
        changes: 1,
        cut: 3,
        at: UnixTime::from_secs(1_800_000_000),
        stopped_ms: 12,
    }
}

fn password(text: &str) -> Password {
    Password::try_from(text.to_owned()).unwrap()
}

/// A value of an enumeration that is part of messages.
pub(crate) fn numbered<T: Serialize + DeserializeOwned>(
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
        ask("list-sessions", "The caller's own, the newest.", HubRequest::ListSessions(sessions::mine())),
        ask(
            "list-sessions-of-a-user",
            "With every condition.",
            HubRequest::ListSessions(sessions::of_alice()),
        ),
        ask("logout-everywhere", "And makes every pass worthless.", HubRequest::LogoutEverywhere),
        ask(
            "step-up",
            "With pass-envelope and a one-time code.",
            HubRequest::StepUp { pass: sealed_pass(), otp: password("123456") },
        ),
    ];
    samples.extend(approvals::requests());
    samples.extend(administration::requests());
    samples.extend(sign_on::requests());
    samples.extend(hub_answers());
    samples.push(approvals::answer());
    samples.extend(administration::told());
    samples.extend(sign_on::answers());
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
        tell("sessions", "One of each outcome, and there is more.", HubAnswer::Sessions(sessions::page())),
        tell("no-sessions", "Nothing.", HubAnswer::Sessions(sessions::nothing())),
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
    let cause = |name, cause| numbered(name, "Why tunnels were cut.", &cause, &CUT_CAUSE, cut_cause(&cause));
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
        up(
            "receipt",
            "Three tunnels were stopped by policy 18, within 12 ms.",
            AgentMessage::Receipt(SignedReceipt::sign(&key(10), receipt()).unwrap()),
        ),
        down(
            "receipt-taken",
            "The hub has stored it.",
            HubMessage::ReceiptTaken { id: ReceiptId([0x1d; 8]) },
        ),
        down(
            "return",
            "The hub ends: leave it after half a second, and come back after three.",
            HubMessage::Return(Return { leave_ms: 500, away_ms: 3000, hub: None }),
        ),
        down(
            "return-elsewhere",
            "Go to the next hub when it is your turn.",
            HubMessage::Return(Return {
                leave_ms: 12_345,
                away_ms: 0,
                hub: Some("192.0.2.7:7440".parse().unwrap()),
            }),
        ),
        cause("cut-by-policy", CutCause::Policy { epoch: 1, version: 18 }),
        cause("cut-by-lock", CutCause::Lock { epoch: 1, sequence: 2 }),
        cause("cut-by-root", CutCause::Root { version: 2 }),
        cause("cut-by-time", CutCause::Time),
        cause("cut-by-sudden-end", CutCause::SuddenEnd),
    ]
}
