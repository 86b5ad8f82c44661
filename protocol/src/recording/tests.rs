use zeroize::Zeroizing;

use super::*;
use crate::gate::rfb::{PixelFormat, Screen};
use crate::id::{DeviceId, FleetId, TunnelId, UserId};
use crate::policy::{Kind, Mode};
use crate::time::UnixTime;
use crate::trust::sealed::SealingSecret;
use crate::wire::text::Text;

fn factory(seed: u8) -> SealingSecret {
    SealingSecret::for_recordings(&Zeroizing::new([seed; 32])).unwrap()
}

fn header() -> Header {
    Header {
        fleet: FleetId::new([0xf1; 8]),
        device: DeviceId::new([0xd1; 8]),
        tunnel: TunnelId::new([0x71; 8]),
        user: UserId::new([0xa1; 8]),
        category: "maintenance".parse().unwrap(),
        service: "hmi".parse().unwrap(),
        kind: Kind::Vnc,
        begun: UnixTime::from_secs(1_800_000_000),
        key: factory(1).public(),
    }
}

fn format() -> PixelFormat {
    PixelFormat {
        bits_per_pixel: 32,
        depth: 24,
        big_endian: false,
        true_colour: true,
        max: [255; 3],
        shift: [16, 8, 0],
    }
}

fn events() -> Vec<Event> {
    let screen = Screen { width: 4, height: 3, format: format(), name: Text::clean("press") };
    let at = |at_ms, what| Event { at_ms, what };
    vec![
        at(0, What::Screen(screen)),
        at(0, What::Mode(Mode::ViewOnly)),
        at(40, What::Shown(vec![2])),
        at(40, What::Format(format())),
        at(1_000_000, What::Shown(b"picture".to_vec())),
    ]
}

/// A file of three chunks, and where each ends.
fn file() -> (Vec<u8>, Vec<usize>) {
    let (mut writer, mut bytes) = Writer::begin(&header(), Zeroizing::new([7; 32])).unwrap();
    let mut ends = vec![bytes.len()];
    for (place, event) in events().into_iter().enumerate() {
        writer.push(event.at_ms, event.what);
        if place % 2 == 1 {
            bytes.extend(writer.seal().unwrap());
            ends.push(bytes.len());
        }
    }
    bytes.extend(writer.finish().unwrap());
    ends.push(bytes.len());
    (bytes, ends)
}

/// What a reader makes of a file that it gets in pieces: the events, and how it ends.
fn read(secret: SealingSecret, bytes: &[u8], piece: usize) -> (Vec<Event>, Result<(), Fault>) {
    let mut reader = Reader::new(secret);
    let mut events = Vec::new();
    for piece in bytes.chunks(piece) {
        reader.handle_bytes(piece);
        loop {
            match reader.poll_chunk() {
                Ok(Some(chunk)) => events.extend(chunk.events),
                Ok(None) => break,
                Err(fault) => return (events, Err(fault)),
            }
        }
    }
    let end = reader.finish();
    (events, end)
}

#[test]
fn what_was_written_is_read_again_whatever_pieces_it_comes_in() {
    let (bytes, _) = file();
    for piece in [1, 7, 4096] {
        assert_eq!(read(factory(1), &bytes, piece), (events(), Ok(())), "{piece}");
    }
    let mut reader = Reader::new(factory(1));
    assert_eq!(reader.header(), None);
    reader.handle_bytes(&bytes);
    reader.poll_chunk().unwrap();
    assert_eq!(reader.header(), Some(&header()));
}

#[test]
fn everybody_reads_what_it_is_of_and_nobody_else_what_happened() {
    let (bytes, ends) = file();
    let (beginning, rest) = Beginning::read(&bytes).unwrap();
    assert_eq!((beginning.header, rest.len()), (header(), bytes.len() - ends[0]));
    let to = factory(1).public();
    assert_eq!(read(factory(2), &bytes, 4096), (vec![], Err(Fault::OtherKey { to })));
    // Whoever makes the header say that it is theirs has changed what the chunks are bound to, and lacks the key.
    let other = Header { key: factory(2).public(), ..header() };
    let mut renamed = super::header::write(&other, &Beginning::read(&bytes).unwrap().0.encapsulated).unwrap();
    renamed.extend_from_slice(&bytes[ends[0]..]);
    assert_eq!(read(factory(2), &renamed, 4096), (vec![], Err(Fault::Changed { position: 0 })));
    let visible = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    assert_eq!((visible(b"hmi"), visible(b"picture"), visible(b"press")), (true, false, false));
}

#[test]
fn every_changed_byte_is_noticed_and_nothing_after_it_is_shown() {
    let (bytes, ends) = file();
    for place in 0..bytes.len() {
        for bit in [0x01, 0x80] {
            let mut changed = bytes.clone();
            changed[place] ^= bit;
            let (shown, end) = read(factory(1), &changed, 4096);
            assert!(end.is_err(), "byte {place}");
            let whole = ends.iter().filter(|end| **end <= place).count().saturating_sub(1);
            assert_eq!(shown, events()[..(whole * 2).min(5)], "byte {place}");
        }
    }
}

#[test]
fn a_cut_file_is_read_up_to_the_cut_and_known_to_be_cut() {
    let (bytes, ends) = file();
    for length in 0..bytes.len() {
        let chunks = ends.iter().filter(|end| **end <= length).count().saturating_sub(1);
        let (shown, end) = read(factory(1), &bytes[..length], 64);
        assert_eq!(end, Err(Fault::Cut { chunks: u64::try_from(chunks).unwrap() }), "{length}");
        assert_eq!(shown, events()[..chunks * 2], "{length}");
    }
}

#[test]
fn chunks_that_change_places_are_left_out_or_come_from_another_recording_are_noticed() {
    let (bytes, ends) = file();
    let parts = [&bytes[..ends[0]], &bytes[ends[0]..ends[1]], &bytes[ends[1]..ends[2]], &bytes[ends[2]..]];
    let [head, first, second, last] = parts;
    let verdict = |parts: &[&[u8]]| read(factory(1), &parts.concat(), 4096).1;
    assert_eq!(verdict(&[head, second, first, last]), Err(Fault::Changed { position: 0 }));
    assert_eq!(verdict(&[head, first, last]), Err(Fault::Changed { position: 1 }));
    assert_eq!(verdict(&[head, first, first, second, last]), Err(Fault::Changed { position: 1 }));
    assert_eq!(verdict(&[head, first, second, last, last]), Err(Fault::Trailing));
    assert_eq!(verdict(&[head, first, second, last, &[0]]), Err(Fault::Trailing));
    let (mut other, other_head) = Writer::begin(&header(), Zeroizing::new([8; 32])).unwrap();
    let foreign = other.seal().unwrap();
    assert_eq!(verdict(&[head, &foreign]), Err(Fault::Changed { position: 0 }));
    assert_eq!(verdict(&[&other_head, first]), Err(Fault::Changed { position: 0 }));
    // A chunk in the middle does not become the end.
    let mut ended = first.to_vec();
    ended[4] = 1;
    assert_eq!(verdict(&[head, &ended]), Err(Fault::Changed { position: 0 }));
}

#[test]
fn what_is_no_recording_or_one_of_another_version_has_words_of_its_own() {
    let (bytes, ends) = file();
    let changed = |place: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[place] = byte;
        read(factory(1), &bytes, 4096).1
    };
    assert_eq!(changed(0, b'p'), Err(Fault::Magic));
    assert_eq!(changed(8, 2), Err(Fault::Version { found: 2 }));
    assert_eq!(changed(10, 0xff), Err(Fault::HeaderSize { found: 0xff00 + usize::from(bytes[9]) }));
    assert_eq!(changed(ends[0] + 4, 2), Err(Fault::Frame { position: 0 }));
    assert_eq!(changed(ends[0] + 3, 0x80), Err(Fault::Frame { position: 0 }));
    let mut short = bytes.clone();
    short[ends[0]..ends[0] + 4].copy_from_slice(&15_u32.to_le_bytes());
    assert_eq!(read(factory(1), &short, 4096).1, Err(Fault::Frame { position: 0 }));
    let mut weak = bytes.clone();
    weak[ends[0] - 32..ends[0]].fill(0);
    assert_eq!(read(factory(1), &weak, 4096).1, Err(Fault::Weak));
    assert_eq!(
        Fault::OtherKey { to: factory(1).public() }.to_string(),
        format!("it is sealed to the key {:?}, not to this one", factory(1).public())
    );
}

#[test]
fn a_chunk_is_full_from_32_kib_and_the_largest_event_still_fits() {
    let (mut writer, mut bytes) = Writer::begin(&header(), Zeroizing::new([7; 32])).unwrap();
    let largest = || What::Shown(vec![0xff; EVENT_BYTES]);
    writer.push(0, largest());
    assert!(!writer.is_full() && !writer.is_empty());
    writer.push(0, What::Shown(vec![0xff; EVENT_BYTES - 200]));
    assert!(!writer.is_full());
    writer.push(1, largest());
    assert!(writer.is_full());
    let chunk = writer.seal().unwrap();
    assert!(chunk.len() < 49 * 1024 && writer.is_empty() && !writer.is_full());
    bytes.extend(chunk);
    bytes.extend(writer.finish().unwrap());
    assert_eq!(read(factory(1), &bytes, 4096).0.len(), 3);
}

#[test]
fn events_that_go_back_in_time_or_are_larger_than_any_are_refused() {
    let verdict = |events: &[(u64, What)]| {
        let (mut writer, mut bytes) = Writer::begin(&header(), Zeroizing::new([7; 32])).unwrap();
        for (at_ms, what) in events {
            writer.push(*at_ms, what.clone());
        }
        bytes.extend(writer.finish().unwrap());
        read(factory(1), &bytes, 4096).1
    };
    let mode = What::Mode(Mode::ViewOnly);
    assert_eq!(verdict(&[(5, mode.clone()), (5, mode.clone())]), Ok(()));
    assert_eq!(verdict(&[(5, mode.clone()), (4, mode)]), Err(Fault::Events { position: 0 }));
    assert_eq!(verdict(&[(0, What::Shown(vec![]))]), Err(Fault::Events { position: 0 }));
    assert_eq!(verdict(&[(0, What::Shown(vec![0; EVENT_BYTES + 1]))]), Err(Fault::Events { position: 0 }));
}
