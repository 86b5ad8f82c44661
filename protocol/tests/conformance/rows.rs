//! Rows of the audit trail.

use postern_protocol::audit::row::ROW_BYTES;
use postern_protocol::audit::{Event, FlowFate, GapCause, GateCounts};
use postern_protocol::gate::rfb::Tally;
use postern_protocol::path::{Path, Peer};
use postern_protocol::policy::{FlowEnd, Kind, Mode, Protocol, Reason, Target};
use postern_protocol::trust::Digest;
use postern_protocol::wire::control::{AlarmKind, NackCode, RootCode};
use postern_protocol::wire::registry::{CloseCode, Failure};

use crate::messages::{TOUCH, TUNNEL, numbered};
use crate::probes::{ALICE, DEVICE, key};
use crate::samples::{Sample, addresses, held, name, origin, plain, row, table, text};

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
    Event::Gap { .. } => "gap", "cause: gap cause; rows: u32";
});

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
        one("row-gap", "Twelve refusals found no room.", Event::Gap { cause: GapCause::Full, rows: 12 }),
        one("row-closed-vpn", "A VPN tunnel was closed.", worked),
        one("row-closed-http", "A browser left.", browsed),
        one("row-closed-websocket", "A page with live values was closed.", watched),
    ]
}
