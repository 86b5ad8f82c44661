//! The Modbus gate, compared with a slow reference that looks up each address by itself.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use postern_protocol::gate::modbus::{FrameFault, Frames, Judged, judge};
use postern_protocol::policy::ModbusTable::{self, Coils, DiscreteInputs, HoldingRegisters, InputRegisters};
use postern_protocol::policy::{ModbusRules, ModbusSpan, UnitSpan};

/// Two bytes choose whether the user may touch and the size of pieces; the rest is what the client sends.
pub fn modbus(bytes: &[u8]) {
    let [mode, size, stream @ ..] = bytes else { return };
    let touches = mode % 2 == 0;
    let whole = framed(stream, usize::MAX);
    assert_eq!(framed(stream, usize::from(*size).max(1)), whole, "pieces matter");
    let (frames, _) = whole;
    assert!(stream.starts_with(&frames.concat()), "what passes is what came");
    for frame in frames {
        match judge(&frame, &RULES, touches) {
            Judged::Passes => assert!(allows(&frame, touches), "{frame:02x?}"),
            Judged::Answered(answer) => {
                assert!(!allows(&frame, touches), "{frame:02x?}");
                // Transaction, protocol, length, unit, and the function with its highest bit.
                let head = [frame[0], frame[1], 0, 0, 0, 3, frame[6], frame[7] | 0x80];
                assert_eq!((&answer[..8], answer.len()), (head.as_slice(), 9), "{frame:02x?}");
                assert!(matches!(answer[8], 1 | 2 | 3 | 10), "{frame:02x?}");
            }
        }
    }
}

fn framed(stream: &[u8], size: usize) -> (Vec<Vec<u8>>, Option<FrameFault>) {
    let (mut frames, mut found) = (Frames::default(), Vec::new());
    for piece in stream.chunks(size) {
        frames.push(piece);
        loop {
            match frames.take_frame() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(fault) => return (found, Some(fault)),
            }
        }
    }
    assert!(frames.held() < 260, "a frame that is not whole");
    (found, None)
}

/// Addresses that a request reads and writes; none where it is no request of a function that the gate knows.
fn touched(pdu: &[u8]) -> Option<Touched> {
    let word = |at: usize| Some(usize::from(*pdu.get(at)?) << 8 | usize::from(*pdu.get(at + 1)?));
    let many = |table, at: usize, most: usize| -> Option<Vec<(ModbusTable, usize)>> {
        let (first, count) = (word(at)?, word(at + 2)?);
        ((1..=most).contains(&count)).then(|| (first..first + count).map(|one| (table, one)).collect())
    };
    let values = |at: usize, bytes: usize| {
        (pdu.get(at).is_some_and(|count| usize::from(*count) == bytes) && pdu.len() == at + 1 + bytes)
            .then_some(())
    };
    let exact = |length: usize| (pdu.len() == length).then_some(());
    let (reads, writes) = match pdu.first()? {
        1 => (exact(5).and(many(Coils, 1, 2000))?, vec![]),
        2 => (exact(5).and(many(DiscreteInputs, 1, 2000))?, vec![]),
        3 => (exact(5).and(many(HoldingRegisters, 1, 125))?, vec![]),
        4 => (exact(5).and(many(InputRegisters, 1, 125))?, vec![]),
        5 => (vec![], exact(5).and(word(1)).map(|at| vec![(Coils, at)])?),
        6 => (vec![], exact(5).and(word(1)).map(|at| vec![(HoldingRegisters, at)])?),
        15 => (vec![], values(5, word(3)?.div_ceil(8)).and(many(Coils, 1, 1968))?),
        16 => (vec![], values(5, word(3)? * 2).and(many(HoldingRegisters, 1, 123))?),
        22 => (vec![], exact(7).and(word(1)).map(|at| vec![(HoldingRegisters, at)])?),
        23 => {
            let writes = values(9, word(7)? * 2).and(many(HoldingRegisters, 5, 121))?;
            (many(HoldingRegisters, 1, 125)?, writes)
        }
        _ => return None,
    };
    Some(Touched { reads, writes })
}

struct Touched {
    reads: Vec<(ModbusTable, usize)>,
    writes: Vec<(ModbusTable, usize)>,
}

fn allows(frame: &[u8], touches: bool) -> bool {
    let Some(Touched { reads, writes }) = touched(&frame[7..]) else { return false };
    let unit = RULES.units.iter().any(|span| (span.first..=span.last).contains(&frame[6]));
    unit && (touches || writes.is_empty())
        && reads.iter().all(|one| READS.contains(one))
        && writes.iter().all(|one| WRITES.contains(one))
}

fn each(spans: &[ModbusSpan]) -> BTreeSet<(ModbusTable, usize)> {
    let addresses = |span: &ModbusSpan| {
        let table = span.table;
        (usize::from(span.first)..=usize::from(span.last)).map(move |one| (table, one))
    };
    spans.iter().flat_map(addresses).collect()
}

static READS: LazyLock<BTreeSet<(ModbusTable, usize)>> = LazyLock::new(|| each(&RULES.reads));
static WRITES: LazyLock<BTreeSet<(ModbusTable, usize)>> = LazyLock::new(|| each(&RULES.writes));
/// Spans that touch, that stand apart, and that end with the last address.
static RULES: LazyLock<ModbusRules> = LazyLock::new(|| {
    let span = |table, first, last| ModbusSpan { table, first, last };
    ModbusRules {
        units: vec![UnitSpan { first: 0, last: 9 }, UnitSpan { first: 20, last: 20 }],
        reads: vec![
            span(Coils, 0, 99),
            span(HoldingRegisters, 0, 9),
            span(HoldingRegisters, 10, 19),
            span(HoldingRegisters, 30, 39),
            span(InputRegisters, 0xff00, 0xffff),
        ],
        writes: vec![span(Coils, 8, 11), span(HoldingRegisters, 0, 2), span(HoldingRegisters, 3, 12)],
    }
});
