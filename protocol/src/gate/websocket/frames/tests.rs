use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { frame: 1000, message: 1500 };
const MASK_KEY: [u8; 4] = [1, 2, 3, 4];

/// A frame of the client, or of the machine.
fn frame(sender: Sender, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    let mask = if sender == Sender::Client { 0x80 } else { 0 };
    match payload.len() {
        short @ 0..=125 => frame.push(mask | u8::try_from(short).unwrap()),
        medium @ 126..=0xffff => {
            frame.push(mask | 126);
            frame.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            frame.push(mask | 127);
            frame.extend(u64::try_from(long).unwrap().to_be_bytes());
        }
    }
    if sender == Sender::Client {
        frame.extend(MASK_KEY);
        frame.extend(payload.iter().zip(MASK_KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    } else {
        frame.extend_from_slice(payload);
    }
    frame
}

fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(Sender::Client, first, payload)
}

/// What passes, and the fault if there is one.
fn feed(frames: &mut Frames, pieces: &[&[u8]]) -> (Vec<u8>, Option<FrameFault>) {
    let mut sent = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            match frames.take(rest) {
                Ok((taken, piece)) => {
                    assert!(taken > 0 && taken <= rest.len());
                    match piece {
                        Piece::Nothing => {}
                        Piece::Kept(bytes) => sent.extend(bytes),
                        Piece::Through(range) => sent.extend_from_slice(&rest[range]),
                    }
                    rest = &rest[taken..];
                }
                Err(fault) => {
                    assert_eq!(frames.take(rest), Err(fault));
                    return (sent, Some(fault));
                }
            }
        }
    }
    (sent, None)
}

fn open() -> Frames {
    Frames::new(Sender::Client, LIMITS, true)
}

fn fault(bytes: &[u8]) -> FrameFault {
    let (sent, fault) = feed(&mut open(), &[bytes]);
    assert_eq!(sent, b"", "nothing of a frame with a fault passes");
    fault.unwrap()
}

#[test]
fn messages_and_control_frames_pass_unchanged_and_are_counted() {
    let stream = [
        client(0x81, b"hello"),
        client(0x02, &[7; 300]),
        client(0x89, b"ping"),
        client(0x80, &[8; 700]),
        client(0x82, b""),
        client(0x8a, b""),
        client(0x88, &[&1000_u16.to_be_bytes()[..], b"bye"].concat()),
    ]
    .concat();
    let mut frames = open();
    assert_eq!(feed(&mut frames, &[&stream]), (stream, None));
    assert_eq!(frames.counters(), Counters { messages: 3, dropped: 0, controls: 3 });
    assert!(frames.is_between());
    assert_eq!(feed(&mut frames, &[&client(0x81, b"x")]), (vec![], Some(FrameFault::AfterClose)));
}

#[test]
fn in_view_only_control_frames_pass_and_messages_do_not() {
    let mut frames = Frames::new(Sender::Client, LIMITS, false);
    let (ping, close) = (client(0x89, b"ping"), client(0x88, b""));
    let stream = [
        client(0x81, b"hello"),
        client(0x02, &[7; 300]),
        ping.clone(),
        client(0x80, &[8; 700]),
        close.clone(),
    ]
    .concat();
    assert_eq!(feed(&mut frames, &[&stream]), ([ping, close].concat(), None));
    assert_eq!(frames.counters(), Counters { messages: 0, dropped: 2, controls: 2 });
}

#[test]
fn a_message_that_began_in_view_only_stays_out_when_the_mode_widens() {
    let mut frames = Frames::new(Sender::Client, LIMITS, false);
    assert_eq!(feed(&mut frames, &[&client(0x01, b"he")]), (vec![], None));
    assert_eq!(frames.handle_open(true), Ok(()));
    let next = client(0x81, b"next");
    assert_eq!(feed(&mut frames, &[&client(0x80, b"llo"), &next]), (next, None));
    assert_eq!(frames.counters(), Counters { messages: 1, dropped: 1, controls: 0 });
}

#[test]
fn narrowing_between_messages_keeps_the_connection_and_within_one_ends_it() {
    let mut frames = open();
    feed(&mut frames, &[&client(0x81, b"whole")]);
    assert_eq!(frames.handle_open(false), Ok(()));
    assert_eq!(feed(&mut frames, &[&client(0x81, b"more")]), (vec![], None));
    for begun in [client(0x01, b"part"), client(0x81, b"whole")[..8].to_vec()] {
        let mut frames = open();
        feed(&mut frames, &[&begun]);
        assert_eq!(frames.handle_open(false), Err(FrameFault::Narrowed));
        assert_eq!(frames.take(b"x"), Err(FrameFault::Narrowed));
    }
}

#[test]
fn a_frame_that_breaks_the_protocol_does_not_pass() {
    for (bytes, expected) in [
        (client(0xc1, b""), FrameFault::Reserved),
        (client(0xa1, b""), FrameFault::Reserved),
        (client(0x91, b""), FrameFault::Reserved),
        (client(0x83, b""), FrameFault::Opcode { opcode: 3 }),
        (client(0x87, b""), FrameFault::Opcode { opcode: 7 }),
        (client(0x8b, b""), FrameFault::Opcode { opcode: 11 }),
        (client(0x8f, b""), FrameFault::Opcode { opcode: 15 }),
        (frame(Sender::Machine, 0x81, b"x"), FrameFault::Unmasked),
        (client(0x09, b""), FrameFault::FragmentedControl),
        (client(0x89, &[0; 126]), FrameFault::ControlLength { bytes: 126 }),
        (client(0x80, b"x"), FrameFault::Continuation),
        (client(0x88, b"x"), FrameFault::CloseCode),
        (client(0x88, &1005_u16.to_be_bytes()), FrameFault::CloseCode),
        (client(0x88, &1006_u16.to_be_bytes()), FrameFault::CloseCode),
        (vec![0x81, 0xfe, 0, 125, 0, 0, 0, 0], FrameFault::Length),
        (vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], FrameFault::Length),
        (vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], FrameFault::Length),
    ] {
        assert_eq!(fault(&bytes), expected, "{bytes:02x?}");
    }
    let begun = client(0x01, b"a");
    let both = [begun.clone(), client(0x81, b"b")].concat();
    assert_eq!(feed(&mut open(), &[&both]), (begun, Some(FrameFault::Interleaved)));
    let mut machine = Frames::new(Sender::Machine, LIMITS, true);
    assert_eq!(feed(&mut machine, &[&client(0x81, b"x")]), (vec![], Some(FrameFault::Masked)));
}

#[test]
fn lengths_have_their_limits_also_at_the_edge_of_64_bits() {
    let longest = client(0x82, &[0; 1000]);
    assert_eq!(feed(&mut open(), &[&longest]), (longest, None));
    assert_eq!(fault(&client(0x82, &[0; 1001])), FrameFault::FrameLength { bytes: 1001, limit: 1000 });
    let huge = [&[0x82, 0xff][..], &i64::MAX.to_be_bytes(), &MASK_KEY].concat();
    assert_eq!(fault(&huge), FrameFault::FrameLength { bytes: i64::MAX.unsigned_abs(), limit: 1000 });
    let first = client(0x02, &[0; 1000]);
    let both = [first.clone(), client(0x80, &[0; 501])].concat();
    let over = FrameFault::MessageLength { bytes: 1501, limit: 1500 };
    assert_eq!(feed(&mut open(), &[&both]), (first, Some(over)));
    assert_eq!((over.close_code(), FrameFault::Masked.close_code()), (1009, 1002));
    assert_eq!(FrameFault::Narrowed.close_code(), 1008);
}

#[test]
fn a_frame_can_be_put_only_between_frames() {
    let message = frame(Sender::Machine, 0x01, b"hello");
    for at in 0..=message.len() {
        let mut frames = Frames::new(Sender::Machine, LIMITS, true);
        feed(&mut frames, &[&message[..at]]);
        // A header passes when it is whole; the message goes on behind the frame.
        let is_within = (2..message.len()).contains(&at);
        assert_eq!(frames.is_between(), !is_within, "{at}");
        if !is_within {
            // Behind a fault as well: nothing of the frame that has it passed.
            assert!(feed(&mut frames, &[&[0xff; 8]]).1.is_some());
            assert!(frames.is_between(), "{at}");
        }
    }
    let mut ping = Frames::new(Sender::Machine, LIMITS, true);
    feed(&mut ping, &[&frame(Sender::Machine, 0x89, b"ping")[..4]]);
    assert!(ping.is_between(), "a control frame passes whole or not at all");
}

/// Frames that are mostly right.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let payload = || prop::collection::vec(any::<u8>(), 0..140);
    let right = (prop::sample::select(vec![0x81, 0x82, 0x01, 0x80, 0x89, 0x8a]), payload());
    let piece = prop_oneof![
        8 => right.prop_map(|(first, payload)| client(first, &payload)),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn segments_do_not_matter(stream in streams(), size in 1_usize..50, is_open: bool) {
        let run = |pieces: &[&[u8]]| {
            let mut frames = Frames::new(Sender::Client, LIMITS, is_open);
            let outcome = feed(&mut frames, pieces);
            (outcome, frames.counters(), frames.is_between())
        };
        let pieces: Vec<&[u8]> = stream.chunks(size).collect();
        prop_assert_eq!(run(&pieces), run(&[&stream]));
    }

    #[test]
    fn what_passes_in_view_only_is_control_frames_alone(stream in streams()) {
        let (sent, _) = feed(&mut Frames::new(Sender::Client, LIMITS, false), &[&stream]);
        let mut rest = sent.as_slice();
        while let [first, second, ..] = rest {
            prop_assert!(matches!(first, 0x88..=0x8a));
            rest = &rest[6 + usize::from(second & 0x7f)..];
        }
        prop_assert_eq!(rest, b"");
    }
}
