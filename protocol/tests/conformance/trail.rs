//! How rows come to the cloud: messages, checkpoint, acknowledgement, and the lines of an export.

use postern_protocol::audit::export::{HEAD, Item};
use postern_protocol::audit::{
    Ack, Batch, Begin, Checkpoint, End, Event, GapCause, LogId, Mark, Ratchet, RatchetKey, SealedRow, Whose,
    chain,
};
use postern_protocol::limits;
use postern_protocol::trust::Envelope;
use postern_protocol::wire::control::{AgentMessage, HubMessage, RowsCode};

use crate::messages::{AGENT_MESSAGE, HUB_MESSAGE, agent_message, hub_message, numbered};
use crate::probes::{DEVICE, FLEET, key};
use crate::samples::{ISSUED, Sample, plain, row, table};

table!(ROWS_CODE, rows_code, RowsCode {
    RowsCode::Storage => "storage", "they could not be stored; they may be sent again";
    RowsCode::Crowded => "crowded", "the device has too many logs";
    RowsCode::Row => "row", "a row or checkpoint is malformed, out of its place, or of another key";
    RowsCode::Unknown => "unknown", "the hub does not know the log";
    RowsCode::Gap => "gap", "rows are missing between those that the hub has and these";
    RowsCode::Fork => "fork", "the hub has another row in the place of one of them";
    RowsCode::Seal => "seal", "a row's tag is not that of the log's ratchet";
});
table!(GAP_CAUSE, gap_cause, GapCause {
    GapCause::Full => "full", "what happened found no room in the trail";
    GapCause::Lost => "lost", "the trail before was damaged or removed; this is the first row of a new one";
    GapCause::Unsealed => "unsealed", "the key that seals its rows was lost; another one does from here on";
    GapCause::Refused => "refused", "the cloud has another story of it, or does not know it";
});

const LOG: LogId = LogId::new([0x4c; 16]);
const WHOSE: Whose = Whose { fleet: FLEET, device: DEVICE };
const RATCHET: [u8; 32] = [0x52; 32];

fn begin() -> Begin {
    Begin { log: LOG, first: 1, previous: chain::ORIGIN, sealed_from: 1, key: RatchetKey::new(RATCHET) }
}

/// The first row of a log with its tag, and its place.
fn first() -> (SealedRow, End) {
    let mut row = row(Event::Enrolled { device: DEVICE, key: key(10).public() });
    row.seq = 1;
    let (body, link) = chain::append(&chain::ORIGIN, &row).unwrap();
    let tag = Some(Ratchet::new(1, RatchetKey::new(RATCHET)).seal(&link));
    (SealedRow { body, tag }, End { seq: 1, link })
}

fn batch() -> Batch {
    let (row, end) = first();
    let checkpoint = Some(Checkpoint::sign(WHOSE, LOG, end, &key(10)));
    Batch { log: LOG, first: 1, rows: vec![row], checkpoint }
}

pub(crate) fn ack() -> Ack {
    let (_, end) = first();
    let marks = vec![Mark::of(&end.link)];
    Ack { whose: WHOSE, log: LOG, end, marks, logs: 1, root_version: 1, at: ISSUED }
}

fn sealed() -> Vec<u8> {
    Envelope::seal(&ack(), &[&key(6)]).unwrap()
}

pub(crate) fn sync() -> Vec<Sample> {
    let down = |name, note: &str, value: HubMessage| {
        let sample = plain::<_, { limits::SYNC_FRAME_BYTES }>("sync", name, note, &value);
        sample.of(&HUB_MESSAGE, hub_message(&value), None)
    };
    let up = |name, note: &str, value: AgentMessage| {
        let sample = plain::<_, { limits::SYNC_FRAME_BYTES }>("sync", name, note, &value);
        sample.of(&AGENT_MESSAGE, agent_message(&value), None)
    };
    let refused = HubMessage::RowsRefused { log: LOG, code: RowsCode::Fork };
    vec![
        up("log", "A log begins.", AgentMessage::Log(begin())),
        up("rows", "Its first row, with a checkpoint.", AgentMessage::Rows(batch())),
        down("rows-taken", "The row is durable.", HubMessage::RowsTaken { bytes: sealed() }),
        down("rows-refused", "Another row is there.", refused),
    ]
}

pub(crate) fn numbers() -> Vec<Sample> {
    let code = |name, value| numbered(name, "Why rows are not taken.", &value, &ROWS_CODE, rows_code(&value));
    let cause = |name, value| numbered(name, "Why there is a gap.", &value, &GAP_CAUSE, gap_cause(&value));
    vec![
        code("rows-storage", RowsCode::Storage),
        code("rows-crowded", RowsCode::Crowded),
        code("rows-row", RowsCode::Row),
        code("rows-unknown", RowsCode::Unknown),
        code("rows-gap", RowsCode::Gap),
        code("rows-fork", RowsCode::Fork),
        code("rows-seal", RowsCode::Seal),
        cause("gap-full", GapCause::Full),
        cause("gap-lost", GapCause::Lost),
        cause("gap-unsealed", GapCause::Unsealed),
        cause("gap-refused", GapCause::Refused),
    ]
}

/// The payload of an acknowledgement, what travels, and the lines of an export.
pub(crate) fn signed() -> Vec<Sample> {
    let (SealedRow { body, .. }, End { link, .. }) = first();
    let device = Item::Device { whose: WHOSE, name: postern_protocol::wire::text::Text::clean("press-7") };
    let item = |name, note: &str, value: Item| plain::<_, 4096>("export", name, note, &value);
    let checkpoint = batch().checkpoint.unwrap();
    vec![
        item("export-device", "Whose trail it is.", device),
        item("export-log", "A log begins.", Item::Log { log: LOG, first: 1, previous: chain::ORIGIN }),
        item("export-row", "Its first row.", Item::Row { link, body }),
        item("export-checkpoint", "The device has signed it.", Item::Checkpoint(checkpoint)),
        item("export-ack", "The cloud has it.", Item::Ack(sealed())),
    ]
}

/// A whole export of two logs, what may be done to it, and its items by themselves.
pub(crate) fn exports() -> Vec<(&'static str, Vec<u8>)> {
    let name = postern_protocol::wire::text::Text::clean("press-7");
    let root = crate::samples::all().into_iter().find(|sample| sample.name == "root-envelope").unwrap();
    let mut items = vec![Item::Root(root.bytes), Item::Device { whose: WHOSE, name }];
    let enrolled = || Event::Enrolled { device: DEVICE, key: key(10).public() };
    for (log, events) in [
        (LOG, vec![enrolled(), Event::Gap { cause: GapCause::Full, rows: 3 }, Event::Stopped]),
        (LogId::new([0x4d; 16]), vec![enrolled()]),
    ] {
        items.push(Item::Log { log, first: 1, previous: chain::ORIGIN });
        let mut end = End { seq: 0, link: chain::ORIGIN };
        let mut marks = Vec::new();
        for event in events {
            let row = postern_protocol::audit::Row { seq: end.seq + 1, ..row(event) };
            let (body, link) = chain::append(&end.link, &row).unwrap();
            end = End { seq: row.seq, link };
            marks.push(Mark::of(&link));
            items.push(Item::Row { link, body });
        }
        if log == LOG {
            items.push(Item::Checkpoint(Checkpoint::sign(WHOSE, log, end, &key(10))));
        }
        let ack = Ack { whose: WHOSE, log, end, marks, logs: 2, root_version: 1, at: ISSUED };
        items.push(Item::Ack(Envelope::seal(&ack, &[&key(7)]).unwrap()));
    }
    let lines: Vec<String> = items.iter().map(Item::line).collect();
    let text = |lines: &[String]| format!("{HEAD}\n{}\n", lines.join("\n")).into_bytes();
    let (mut swapped, mut renamed) = (lines.clone(), lines.clone());
    swapped.swap(3, 4);
    renamed[3] = renamed[3].replace("row ", "ack ");
    let without = |word: &str| -> Vec<String> {
        lines.iter().filter(|line| !line.starts_with(word)).cloned().collect()
    };
    let encoded = postern_protocol::wire::codec::encode(&items, limits::LIST_FRAME_BYTES).unwrap();
    vec![
        ("whole", text(&lines)),
        ("without-its-end", text(&lines[..lines.len() - 1])),
        ("without-a-log", text(&lines[..8])),
        ("without-acks", text(&without("ack "))),
        ("without-checkpoints", text(&without("checkpoint "))),
        ("swapped", text(&swapped)),
        ("renamed", text(&renamed)),
        ("with-a-note", text(&[lines.as_slice(), &["# nothing".to_owned()]].concat())),
        ("endless-line", [text(&lines), vec![b'0'; 40_000]].concat()),
        ("items", encoded),
    ]
}
