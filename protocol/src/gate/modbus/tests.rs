use super::*;
use crate::policy::snapshot::rules::UnitSpan;

/// A request of transaction 0x0102 to unit 9.
fn request(pdu: &[u8]) -> Vec<u8> {
    let length = u8::try_from(pdu.len() + 1).unwrap();
    [&[1, 2, 0, 0, 0, length, 9], pdu].concat()
}

const fn span(table: ModbusTable, first: u16, last: u16) -> ModbusSpan {
    ModbusSpan { table, first, last }
}

/// Reads of input registers 100 to 199 and writes of holding registers 10 to 19 and 20 to 29, of units 1 to 9.
fn rules() -> ModbusRules {
    ModbusRules {
        units: vec![UnitSpan { first: 1, last: 9 }],
        reads: vec![span(ModbusTable::InputRegisters, 100, 199)],
        writes: vec![
            span(ModbusTable::HoldingRegisters, 10, 19),
            span(ModbusTable::HoldingRegisters, 20, 29),
        ],
    }
}

/// The number of the exception, if the gate answers.
fn exception(pdu: &[u8], rules: &ModbusRules, touches: bool) -> Option<u8> {
    match judge(&request(pdu), rules, touches) {
        Judged::Passes => None,
        Judged::Answered(answer) => {
            assert_eq!(answer[..8], [1, 2, 0, 0, 0, 3, 9, pdu[0] | 0x80]);
            assert_eq!(answer.len(), 9);
            Some(answer[8])
        }
    }
}

#[test]
fn what_only_reads_passes_and_whatever_writes_is_answered_when_everything_is_read() {
    let read_only = ModbusRules::read_only();
    for pdu in [
        [0x01, 0, 0, 0x07, 0xd0].as_slice(),
        &[0x02, 0xff, 0xff, 0, 1],
        &[0x03, 0, 0, 0, 125],
        &[0x04, 0, 7, 0, 1],
    ] {
        assert_eq!(exception(pdu, &read_only, true), None, "{pdu:?}");
        assert_eq!(exception(pdu, &read_only, false), None, "{pdu:?}");
    }
    for pdu in [
        [0x05, 0, 0, 0xff, 0].as_slice(),
        &[0x06, 0, 0, 0, 1],
        &[0x0f, 0, 0, 0, 8, 1, 0xff],
        &[0x10, 0, 0, 0, 1, 2, 0, 1],
        &[0x16, 0, 0, 0, 0, 0, 0],
        &[0x17, 0, 0, 0, 1, 0, 0, 0, 1, 2, 0, 1],
        // Diagnostics can restart a machine; files, queues and what vendors add are nobody's reading.
        &[0x08, 0, 1, 0, 0],
        &[0x07],
        &[0x14, 7],
        &[0x2b, 0x0e, 1, 0],
        &[0x5a, 0],
        &[0x83, 0, 0, 0, 1],
        &[0x00],
    ] {
        assert_eq!(exception(pdu, &read_only, true), Some(1), "{pdu:?}");
    }
}

#[test]
fn addresses_beside_what_is_allowed_are_illegal_and_those_within_pass() {
    for (first, quantity, expected) in
        [(100, 100, None), (199, 1, None), (99, 1, Some(2)), (100, 101, Some(2)), (200, 1, Some(2))]
    {
        let pdu = [0x04, 0, first, 0, quantity];
        assert_eq!(exception(&pdu, &rules(), true), expected, "{first} {quantity}");
    }
    assert_eq!(
        exception(&[0x04, 0xff, 0xff, 0, 2], &rules(), true),
        Some(2),
        "no address is behind the last"
    );
    assert_eq!(exception(&[0x03, 0, 10, 0, 1], &rules(), true), Some(1), "what may be written is not read");
}

#[test]
fn writes_pass_where_they_are_allowed_to_those_who_touch() {
    let (one, many) = ([0x06, 0, 10, 0, 1], [0x10, 0, 19, 0, 2, 4, 0, 1, 0, 2]);
    for pdu in [one.as_slice(), &many, &[0x16, 0, 29, 0, 0, 0, 0]] {
        assert_eq!(exception(pdu, &rules(), true), None, "{pdu:?}");
        assert_eq!(exception(pdu, &rules(), false), Some(1), "{pdu:?}");
    }
    for pdu in [[0x06, 0, 9, 0, 1].as_slice(), &[0x06, 0, 30, 0, 1], &[0x10, 0, 29, 0, 2, 4, 0, 1, 0, 2]] {
        assert_eq!(exception(pdu, &rules(), true), Some(2), "{pdu:?}");
    }
    let mut both = rules();
    both.reads.push(span(ModbusTable::HoldingRegisters, 10, 10));
    both.reads.sort();
    let read_write = |read, write| [0x17, 0, read, 0, 1, 0, write, 0, 1, 2, 0, 1];
    assert_eq!(exception(&read_write(10, 10), &both, true), None);
    assert_eq!(exception(&read_write(11, 10), &both, true), Some(2));
    assert_eq!(exception(&read_write(10, 9), &both, true), Some(2));
    assert_eq!(exception(&read_write(10, 10), &rules(), true), Some(1));
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_illegal() {
    let all = ModbusRules {
        writes: vec![span(ModbusTable::Coils, 0, 65_535), span(ModbusTable::HoldingRegisters, 0, 65_535)],
        ..ModbusRules::read_only()
    };
    for pdu in [
        [0x03].as_slice(),
        &[0x03, 0, 0, 0],
        &[0x03, 0, 0, 0, 1, 0],
        &[0x03, 0, 0, 0, 0],
        &[0x03, 0, 0, 0, 126],
        &[0x01, 0, 0, 0x07, 0xd1],
        &[0x06, 0, 0, 0],
        &[0x06, 0, 0, 0, 1, 0],
        &[0x10, 0, 0, 0, 1, 2, 0],
        &[0x10, 0, 0, 0, 2, 2, 0, 1],
        &[0x10, 0, 0, 0, 0, 0],
        &[0x0f, 0, 0, 0, 9, 1, 0xff],
        &[0x16, 0, 0, 0, 0],
        &[0x17, 0, 0],
    ] {
        assert_eq!(exception(pdu, &all, true), Some(3), "{pdu:?}");
    }
}

#[test]
fn a_unit_that_is_not_named_is_not_reached() {
    let units =
        |first, last| ModbusRules { units: vec![UnitSpan { first, last }], ..ModbusRules::read_only() };
    let pdu = [0x03, 0, 0, 0, 1];
    assert_eq!(exception(&pdu, &units(9, 9), true), None);
    assert_eq!(exception(&pdu, &units(1, 8), true), Some(10));
    assert_eq!(exception(&pdu, &units(10, 255), true), Some(10));
    let nobody = ModbusRules { units: vec![], ..ModbusRules::read_only() };
    assert_eq!(exception(&pdu, &nobody, true), Some(10));
}

/// The frames of these bytes, given in pieces of one size.
fn frames(bytes: &[u8], piece: usize) -> Result<Vec<Vec<u8>>, FrameFault> {
    let (mut frames, mut found) = (Frames::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        frames.push(piece);
        while let Some(frame) = frames.take_frame()? {
            found.push(frame);
        }
    }
    Ok(found)
}

#[test]
fn frames_are_the_same_however_packets_were_split_or_joined() {
    let all = [request(&[0x03, 0, 0, 0, 1]), request(&[0x2b; 253]), request(&[0x07])];
    for piece in 1..=all.concat().len() {
        assert_eq!(frames(&all.concat(), piece), Ok(all.to_vec()), "{piece}");
    }
    let mut frames = Frames::default();
    frames.push(&all[0][..11]);
    assert_eq!((frames.take_frame(), frames.held()), (Ok(None), 11));
}

#[test]
fn bytes_of_another_protocol_and_impossible_lengths_are_no_frames() {
    assert_eq!(frames(&[1, 2, 0, 1, 0, 6, 9, 3, 0, 0, 0, 1], 12), Err(FrameFault::Protocol { found: 1 }));
    for (length, found) in [([0, 0], 0), ([0, 1], 1), ([0, 255], 255), ([255, 255], 65_535)] {
        let bytes = [1, 2, 0, 0, length[0], length[1], 9, 3];
        assert_eq!(frames(&bytes, 8), Err(FrameFault::Length { found }), "{found}");
    }
}
