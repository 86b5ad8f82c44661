//! Holds `docs/wire.md` to the code: its tables are generated from it, its examples are golden bytes.
//!
//! `<!-- table: NAME -->` begins a table that `POSTERN_BLESS=1` writes, `<!-- bytes: NAME -->` an example by hand.

use std::fmt::Write as _;
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use postern_protocol::audit::Ack;
use postern_protocol::limits;
use postern_protocol::policy::{Reason, Snapshot};
use postern_protocol::trust::pass::{CLOCK_SKEW_S, EXPORTER_LABEL};
use postern_protocol::trust::sealed::SEALED_BYTES;
use postern_protocol::trust::{Domain, Lock, Pass, Root, SecretKey, Signed, Timestamp};
use postern_protocol::wire::nearby::Sign;
use postern_protocol::wire::registry::{
    ALPN_HUB_V2, ALPN_TUNNEL_V1, ALPNS_HUB, ALPNS_TUNNEL, Failure, PacketFault, ProtocolFault,
};

use crate::samples;
use crate::vectors::blessing;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/wire.md")
}

fn rows(head: &str, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let columns = head.split('|').count();
    let mut text = format!("| {head} |\n|{}\n", " --- |".repeat(columns));
    for row in rows {
        writeln!(text, "| {} |", row.join(" | ")).unwrap();
    }
    text
}

/// The table that the code has under a name.
fn table(name: &str) -> String {
    match name {
        "alpn" => rows(
            "between | name | versions",
            [
                vec!["client and agent".to_owned(), code(ALPN_TUNNEL_V1), ALPNS_TUNNEL.len().to_string()],
                vec!["agent or client and hub".to_owned(), code(ALPN_HUB_V2), ALPNS_HUB.len().to_string()],
            ],
        ),
        "domains" => rows(
            "domain | name | bytes of payload at most",
            Domain::ALL.map(|domain| {
                let limit = match domain {
                    Domain::Root => Root::MAX_BYTES.to_string(),
                    Domain::Snapshot => Snapshot::MAX_BYTES.to_string(),
                    Domain::Pass => Pass::MAX_BYTES.to_string(),
                    Domain::Timestamp => Timestamp::MAX_BYTES.to_string(),
                    Domain::Lock => Lock::MAX_BYTES.to_string(),
                    Domain::AuditAck => Ack::MAX_BYTES.to_string(),
                    Domain::Proof | Domain::NextKey | Domain::Checkpoint => {
                        "72, never in an envelope".to_owned()
                    }
                    Domain::SealingKey => "32, never in an envelope".to_owned(),
                    Domain::Receipt => format!("{}, never in an envelope", limits::RECEIPT_BYTES),
                };
                vec![domain.number().to_string(), format!("`{}`", domain.name()), limit]
            }),
        ),
        "reasons" => rows(
            "number | word | what happened | who can lift it",
            Reason::ALL.iter().map(|reason| {
                let lifter = reason.lifter().describe().to_owned();
                vec![reason.number().to_string(), format!("`{reason}`"), reason.sentence().to_owned(), lifter]
            }),
        ),
        "failures" => rows(
            "number | word | what happened",
            Failure::ALL.iter().map(|failure| {
                vec![failure.number().to_string(), format!("`{failure}`"), failure.sentence().to_owned()]
            }),
        ),
        "faults" => rows(
            "number | word | what happened",
            ProtocolFault::ALL.iter().map(|fault| {
                vec![fault.number().to_string(), format!("`{fault}`"), fault.sentence().to_owned()]
            }),
        ),
        "packets" => rows(
            "number | word | why it is dropped",
            PacketFault::ALL.iter().map(|fault| {
                vec![fault.number().to_string(), format!("`{fault}`"), fault.sentence().to_owned()]
            }),
        ),
        "limits" => rows(
            "limit | value | of what",
            LIMITS
                .iter()
                .map(|(name, value, what)| vec![format!("`{name}`"), value.to_string(), (*what).to_owned()]),
        ),
        other => enumeration(other),
    }
}

fn enumeration(name: &str) -> String {
    let table = samples::TABLES.iter().find(|table| table.name == name);
    let table = table.unwrap_or_else(|| panic!("no table `{name}`"));
    let unit = |name: &str| name.chars().next().is_some_and(char::is_lowercase);
    let second = if [
        "Role",
        "Kind",
        "Protocol",
        "ModbusTable",
        "Scheme",
        "PathLog",
        "Method",
        "Invitee",
        "NackCode",
        "RootCode",
        "RowsCode",
        "GapCause",
        "Refusal",
        "FreshnessState",
        "AlarmKind",
        "Presence",
        "Why",
    ]
    .contains(&name)
    {
        "meaning"
    } else {
        "fields"
    };
    rows(
        &format!("number | variant | {second}"),
        table.variants.iter().zip(0..).map(|((name, fields), number)| {
            let name = if unit(name) { format!("`{name}`") } else { (*name).to_owned() };
            let fields = if fields.is_empty() { "none" } else { fields };
            vec![u32::to_string(&number), name, fields.to_owned()]
        }),
    )
}

fn code(bytes: &[u8]) -> String {
    format!("`{}`", std::str::from_utf8(bytes).unwrap())
}

#[test]
fn its_tables_are_those_of_the_code() {
    let document = std::fs::read_to_string(path()).unwrap();
    let mut expected = String::new();
    let mut names = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        writeln!(expected, "{line}").unwrap();
        let Some(name) = line.strip_prefix("<!-- table: ").and_then(|rest| rest.strip_suffix(" -->")) else {
            continue;
        };
        expected.push_str(&table(name));
        expected.push_str("<!-- end -->\n");
        names.push(name);
        assert!(lines.any(|line| line == "<!-- end -->"), "table `{name}` has no end");
    }
    if blessing() {
        std::fs::write(path(), &expected).unwrap();
    }
    let document = std::fs::read_to_string(path()).unwrap();
    for (found, expected) in document.lines().zip(expected.lines()) {
        assert_eq!(found, expected, "docs/wire.md; POSTERN_BLESS=1 writes its tables");
    }
    assert_eq!(document, expected);
    for table in samples::TABLES {
        assert!(names.contains(&table.name), "`{}` is not in the document", table.name);
    }
    for name in ["alpn", "domains", "reasons", "failures", "faults", "limits"] {
        assert!(names.contains(&name), "`{name}` is not in the document");
    }
}

#[test]
fn its_examples_are_golden_bytes() {
    let document = std::fs::read_to_string(path()).unwrap();
    let samples = samples::all();
    let mut examples = 0;
    for part in document.split("<!-- bytes: ").skip(1) {
        let (name, rest) = part.split_once(" -->\n```text\n").unwrap();
        let (listing, _) = rest.split_once("```").unwrap();
        let digits: String = listing.lines().filter_map(|line| line.split("  ").next()).collect();
        let sample = samples.iter().find(|sample| sample.name == name);
        let sample = sample.unwrap_or_else(|| panic!("no golden value `{name}`"));
        assert_eq!(digits, HEXLOWER.encode(&sample.bytes), "example `{name}`");
        examples += 1;
    }
    assert!(examples >= 7, "{examples}");
}

#[test]
fn its_sentences_name_the_constants_of_the_code() {
    let document = std::fs::read_to_string(path()).unwrap();
    let exporter = code(EXPORTER_LABEL);
    let skew = format!("more than {CLOCK_SKEW_S} seconds");
    let overhead = format!("plus 7, plus {} x 96 bytes", limits::SIGNATURES);
    let row = format!("at most {} bytes", postern_protocol::audit::row::ROW_BYTES);
    let sealed = format!("It is always {SEALED_BYTES} bytes");
    for sentence in [exporter, skew, overhead, row, sealed] {
        assert!(document.contains(&sentence), "`{sentence}` is not in docs/wire.md");
    }
}

/// The limits that peers must keep.
const LIMITS: &[(&str, usize, &str)] = &[
    ("NAME_BYTES", limits::NAME_BYTES, "bytes of a name"),
    ("LABEL_BYTES", limits::LABEL_BYTES, "bytes of a label"),
    ("TEXT_BYTES", limits::TEXT_BYTES, "bytes of a text"),
    ("PASSWORD_BYTES", limits::PASSWORD_BYTES, "bytes of a password or one-time code"),
    ("FRAME_BYTES", limits::FRAME_BYTES, "bytes of a request"),
    ("SIGN_ON_CODE_BYTES", limits::SIGN_ON_CODE_BYTES, "bytes of a code of an identity provider"),
    ("URL_BYTES", limits::URL_BYTES, "bytes of an address for a browser"),
    ("LIST_FRAME_BYTES", limits::LIST_FRAME_BYTES, "bytes of an answer"),
    ("SYNC_FRAME_BYTES", limits::SYNC_FRAME_BYTES, "bytes of a message of synchronisation"),
    ("CHUNK_BYTES", limits::CHUNK_BYTES, "bytes of envelope in one chunk"),
    ("SESSIONS", limits::SESSIONS, "sessions in one answer"),
    ("BODY_BYTES", limits::BODY_BYTES, "bytes of the body of an edit"),
    ("ENTITIES", limits::ENTITIES, "entities in one answer"),
    ("CHANGES", limits::CHANGES, "changes of the access model in one answer"),
    ("EDITED_NAMES", limits::EDITED_NAMES, "devices, and users, that the answer to an edit names"),
    ("PROBLEMS", limits::PROBLEMS, "problems in one answer"),
    ("PROBLEM_BYTES", limits::PROBLEM_BYTES, "bytes of a problem"),
    ("ADDRESSES", limits::ADDRESSES, "addresses in one list"),
    ("SIGNATURES", limits::SIGNATURES, "signatures of an envelope"),
    ("ROOT_BYTES", limits::ROOT_BYTES, "bytes of a root"),
    ("ROLE_KEYS", limits::ROLE_KEYS, "keys of a role"),
    ("HUB_KEYS", limits::HUB_KEYS, "keys of hubs"),
    ("ROOT_CHAIN", limits::ROOT_CHAIN, "roots in one answer"),
    ("PASS_BYTES", limits::PASS_BYTES, "bytes of a pass"),
    ("TIMESTAMP_BYTES", limits::TIMESTAMP_BYTES, "bytes of a timestamp"),
    ("FACTORS", limits::FACTORS, "factors of a pass"),
    ("LOCK_BYTES", limits::LOCK_BYTES, "bytes of a lock"),
    ("LOCK_TARGETS", limits::LOCK_TARGETS, "targets of a lock"),
    ("LOCKS", limits::LOCKS, "locks that a device holds side by side"),
    ("RECEIPT_BYTES", limits::RECEIPT_BYTES, "bytes of a receipt"),
    ("RECEIPTS", limits::RECEIPTS, "receipts that wait on a device"),
    ("NARROW_DEVICES", limits::NARROW_DEVICES, "devices to which a pass is narrowed"),
    ("NARROW_SERVICES", limits::NARROW_SERVICES, "services to which a pass is narrowed"),
    ("SNAPSHOT_BYTES", limits::SNAPSHOT_BYTES, "bytes of a snapshot"),
    ("SERVICES", limits::SERVICES, "services of a snapshot"),
    ("CATEGORIES", limits::CATEGORIES, "categories of a snapshot"),
    ("CATEGORY_SERVICES", limits::CATEGORY_SERVICES, "services of a category"),
    ("USERS", limits::USERS, "users of a snapshot"),
    ("USER_KEYS", limits::USER_KEYS, "keys of a user"),
    ("ORIGINS", limits::ORIGINS, "origins of a snapshot"),
    ("GRANTS", limits::GRANTS, "grants of a snapshot"),
    ("PROHIBITIONS", limits::PROHIBITIONS, "prohibitions of a snapshot"),
    ("PATHS", limits::PATHS, "paths that prohibitions of a snapshot close"),
    ("CASES", limits::CASES, "cases of a snapshot"),
    ("APPROVALS", limits::APPROVALS, "approvals of a snapshot"),
    ("SECRETS", limits::SECRETS, "secrets of a snapshot"),
    ("PATTERN_BYTES", limits::PATTERN_BYTES, "bytes of a pattern of paths"),
    ("ALLOWS", limits::ALLOWS, "rows of what an HTTP service allows"),
    ("QUERY_KEYS", limits::QUERY_KEYS, "keys of a query in one such row"),
    ("PINS", limits::PINS, "keys of a machine's web server"),
    ("WEBSOCKET_PATHS", limits::WEBSOCKET_PATHS, "paths of a WebSocket service"),
    ("SUBPROTOCOLS", limits::SUBPROTOCOLS, "subprotocols of a WebSocket service"),
    ("DESTINATIONS", limits::DESTINATIONS, "destinations of a VPN service"),
    ("FLOWS", limits::FLOWS, "flows open at the same time in one VPN tunnel"),
    ("PROBES", limits::PROBES, "probes of one scan"),
    ("WALKED", limits::WALKED, "addresses that one scan walks"),
    (
        "PACKET_FLOWS",
        limits::PACKET_FLOWS,
        "flows that are open at the same time in the packets of one VPN tunnel",
    ),
    ("DROPS", limits::DROPS, "faults in one piece of news about dropped packets"),
    ("ECHO_BYTES", limits::ECHO_BYTES, "bytes of data in an ICMP echo of a flow"),
    ("MODBUS_SPANS", limits::MODBUS_SPANS, "spans in each list of a Modbus profile"),
    ("WEBSOCKET_BYTES", limits::WEBSOCKET_BYTES, "bytes of a WebSocket message"),
    ("SEALED_SECRET_BYTES", limits::SEALED_SECRET_BYTES, "bytes of a sealed secret"),
    ("ACK_BYTES", limits::ACK_BYTES, "bytes of an acknowledgement of audit rows"),
    ("AUDIT_ROWS", limits::AUDIT_ROWS, "audit rows of one batch"),
    ("AUDIT_BYTES", limits::AUDIT_BYTES, "bytes of the audit rows of one batch"),
    ("SECRET_BYTES", limits::SECRET_BYTES, "bytes of a secret before it is sealed"),
];

#[test]
fn every_limit_is_listed() {
    let source =
        std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/limits.rs")).unwrap();
    let mut named: Vec<&str> =
        source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next()).collect();
    named.sort_unstable();
    let mut listed: Vec<&str> = LIMITS.iter().map(|(name, _, _)| *name).collect();
    listed.sort_unstable();
    assert_eq!(named, listed);
}

#[test]
fn the_document_has_the_tag_of_its_device() {
    let sign = Sign::of(&SecretKey::from_seed([10; 32]).unwrap().public()).to_string();
    let tag = sign.split('.').next().unwrap();
    let text = std::fs::read_to_string(path()).unwrap();
    assert!(text.contains(&format!("The tag of the device of section 11 is `{tag}`")), "{tag}");
}
