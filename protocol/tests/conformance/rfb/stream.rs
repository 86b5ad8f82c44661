//! What a viewer sends in an open session, against a slow reference and a slow parser.

use postern_protocol::gate::rfb::{Action, Counters, End, Fault, Mode, Outcome, Tally};
use postern_protocol::wire::text::Text;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::probes::rfb::{Switch, act, drive, mode, opened, parse, reference};

const FULL: Mode = Mode::Full { clipboard: true };
const QUIET: Mode = Mode::Full { clipboard: false };
const UPDATE: [u8; 10] = [3, 1, 0, 0, 0, 0, 4, 0, 3, 0];
const KEY_DOWN: [u8; 8] = [4, 1, 0, 0, 0, 0, 0, 65];
const KEY_UP: [u8; 8] = [4, 0, 0, 0, 0, 0, 0, 65];
const DRAG: [u8; 6] = [5, 1, 1, 0, 2, 0];
const LET_GO: [u8; 6] = [5, 0, 1, 0, 2, 0];
const CUT_TEXT: [u8; 11] = [6, 0, 0, 0, 0, 0, 0, 3, b'a', b'b', b'c'];

pub(super) fn set_encodings(encodings: &[i32]) -> Vec<u8> {
    let count = u16::try_from(encodings.len()).unwrap().to_be_bytes();
    let list = encodings.iter().flat_map(|encoding| encoding.to_be_bytes());
    [2, 0].into_iter().chain(count).chain(list).collect()
}

pub(super) fn cut_text(length: u32) -> Vec<u8> {
    [&[6, 0, 0, 0][..], &length.to_be_bytes(), &vec![b'x'; usize::try_from(length).unwrap()]].concat()
}

/// One message of each kind.
pub(super) fn everything() -> Vec<Vec<u8>> {
    vec![
        [&[0, 0, 0, 0], &[32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0][..]].concat(),
        set_encodings(&[7, 1, -258, -239, -312, -23]),
        UPDATE.to_vec(),
        KEY_DOWN.to_vec(),
        DRAG.to_vec(),
        CUT_TEXT.to_vec(),
        UPDATE.to_vec(),
        KEY_UP.to_vec(),
        LET_GO.to_vec(),
    ]
}

pub(super) fn hundred_keys() -> Vec<u8> {
    (0..100).flat_map(|key| [4, 1, 0, 0, 0, 0, 0, key]).collect()
}

fn tally(forwarded: u64, dropped: u64) -> Tally {
    Tally { forwarded, dropped }
}

#[test]
fn a_run_of_whole_messages_is_one_range_of_the_callers_buffer() {
    let mut gate = opened(FULL);
    let bytes = [&UPDATE[..], &KEY_DOWN, &DRAG, &CUT_TEXT, &KEY_UP, &[3, 0]].concat();
    let mut actions = gate.handle_viewer(&bytes);
    assert_eq!(actions.next_action(), Some(Action::Forward(0..43)));
    assert_eq!(actions.next_action(), None);
    let bytes = [&[0; 8][..], &UPDATE].concat();
    let mut actions = gate.handle_viewer(&bytes);
    assert_eq!(actions.next_action(), Some(Action::Send(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0])));
    assert_eq!(actions.next_action(), Some(Action::Forward(8..18)));
    assert_eq!(actions.next_action(), None);
}

#[test]
fn a_pixel_format_is_an_action_of_its_own_so_that_a_recorder_sees_it_pass() {
    let stream = everything();
    let format: [u8; 16] = stream[0][4..].try_into().unwrap();
    let mut gate = opened(Mode::ViewOnly);
    let bytes = [&UPDATE[..], &stream[0], &UPDATE].concat();
    let mut actions = gate.handle_viewer(&bytes);
    assert_eq!(actions.next_action().map(|action| action.format()), Some(None));
    assert_eq!(actions.next_action().map(|action| action.format()), Some(Some(format)));
    assert_eq!(actions.next_action(), Some(Action::Forward(30..40)));
    assert_eq!(actions.next_action(), None);
    // Also when it comes in two pieces.
    assert_eq!(gate.handle_viewer(&stream[0][..7]).next_action(), None);
    let mut actions = gate.handle_viewer(&stream[0][7..]);
    assert_eq!(actions.next_action().map(|action| action.format()), Some(Some(format)));
    assert_eq!(actions.next_action(), None);
}

#[test]
fn each_mode_lets_through_what_it_says_and_counts_it() {
    let stream = everything().concat();
    let all = stream.len() - 8; // two extensions are cut out of the list
    let (gate, full) = drive(&stream, FULL, &[], |_| false);
    assert_eq!((full.sent.len(), parse(&full.sent)), (all, [1, 0, 1, 2, 2, 2, 1]));
    let counted = |keys, pointers, cut_texts| Counters { keys, pointers, cut_texts, released: 0 };
    assert_eq!(gate.counters(), counted(tally(2, 0), tally(2, 0), tally(1, 0)));
    let (gate, quiet) = drive(&stream, QUIET, &[], |_| false);
    assert_eq!((quiet.sent.len(), parse(&quiet.sent)), (all - 11, [1, 0, 1, 2, 2, 2, 0]));
    assert_eq!(gate.counters(), counted(tally(2, 0), tally(2, 0), tally(0, 1)));
    let (gate, looking) = drive(&stream, Mode::ViewOnly, &[], |_| false);
    assert_eq!((looking.sent.len(), parse(&looking.sent)), (all - 39, [1, 0, 1, 2, 0, 0, 0]));
    assert_eq!(gate.counters(), counted(tally(0, 2), tally(0, 2), tally(0, 1)));
}

#[test]
fn any_other_type_ends_the_session_after_what_came_before_it() {
    for kind in (0..=255).filter(|kind| ![0, 2, 3, 4, 5, 6].contains(kind)) {
        for mode in [FULL, QUIET, Mode::ViewOnly] {
            let mut gate = opened(mode);
            assert_eq!(act(&mut gate, &[&UPDATE[..], &[kind; 40], &UPDATE].concat()), UPDATE);
            assert_eq!(gate.outcome(), &Outcome::Ended(End::Fault(Fault::MessageType { kind })));
            assert_eq!(act(&mut gate, &UPDATE), b"");
            assert_eq!(gate.handle_server(b"picture"), b"");
        }
    }
}

#[test]
fn a_cut_text_of_64_kib_passes_and_a_longer_one_does_not() {
    for segment in [1000, 8, 1, 100_000] {
        let stream = [cut_text(65_536), UPDATE.to_vec(), cut_text(65_537), UPDATE.to_vec()].concat();
        let (gate, found) = drive(&stream, FULL, &[], |at| at.is_multiple_of(segment));
        assert_eq!(found.sent, [&cut_text(65_536)[..], &UPDATE, &UPDATE].concat());
        assert_eq!(gate.counters().cut_texts, tally(1, 1));
        assert!(gate.buffered() <= 4096, "{} bytes are kept afterwards", gate.buffered());
    }
}

#[test]
fn what_is_pressed_is_released_when_access_narrows_and_when_the_session_ends() {
    let released = [KEY_UP.as_slice(), &LET_GO].concat();
    let pressed = [KEY_DOWN.as_slice(), &DRAG].concat();
    let begin = |stream: &[u8]| {
        let mut gate = opened(FULL);
        assert_eq!(act(&mut gate, stream), pressed);
        gate
    };
    let mut narrowed = begin(&pressed);
    narrowed.handle_mode(QUIET);
    assert_eq!(narrowed.poll_to_server(), None, "without the clipboard one may go on dragging");
    narrowed.handle_mode(Mode::ViewOnly);
    assert_eq!(narrowed.poll_to_server(), Some(released.as_slice()));
    assert_eq!(narrowed.poll_to_server(), None);
    assert_eq!(act(&mut narrowed, &[&KEY_UP[..], &LET_GO].concat()), b"");
    let expected = Counters { keys: tally(1, 1), pointers: tally(1, 1), released: 2, ..Counters::default() };
    assert_eq!(narrowed.counters(), expected);
    let mut cut = begin(&pressed);
    cut.handle_cut(Text::clean("revoked"));
    assert_eq!(cut.poll_to_server(), Some(released.as_slice()));
    let mut closed = begin(&pressed);
    closed.handle_viewer_closed();
    assert_eq!(closed.poll_to_server(), Some(released.as_slice()));
    assert_eq!(closed.outcome(), &Outcome::Ended(End::ViewerClosed));
    let mut fault = opened(FULL);
    assert_eq!(act(&mut fault, &[&pressed[..], &[255]].concat()), [&pressed[..], &released].concat());
    let mut stalled = begin(&[&pressed[..], &cut_text(60_000)[..30_000]].concat());
    stalled.handle_mode(Mode::ViewOnly);
    assert_eq!(stalled.poll_to_server(), Some(released.as_slice()), "half a text must not delay it");
    assert_eq!(stalled.counters().cut_texts, tally(0, 1));
    assert!(stalled.buffered() <= 4096, "{} bytes are kept for nothing", stalled.buffered());
    assert_eq!(act(&mut stalled, &[&cut_text(60_000)[30_000..], &UPDATE].concat()), UPDATE);
}

#[test]
fn releases_come_before_what_follows_even_if_nobody_polls() {
    let mut gate = opened(FULL);
    assert_eq!(act(&mut gate, &KEY_DOWN), KEY_DOWN);
    gate.handle_mode(Mode::ViewOnly);
    assert_eq!(act(&mut gate, &UPDATE), [KEY_UP.as_slice(), &UPDATE].concat());
}

#[test]
fn a_switch_at_each_byte_of_each_message_forwards_it_whole_or_not_at_all() {
    let stream = everything().concat();
    let modes = [FULL, QUIET, Mode::ViewOnly];
    for (from, to) in modes.into_iter().flat_map(|from| modes.map(|to| (from, to))) {
        for offset in 0..=stream.len() {
            let switches = [(offset, to)];
            let expected = reference(&stream, from, &switches);
            parse(&expected.sent);
            for segment in [1, 7, 1000] {
                let (_, found) = drive(&stream, from, &switches, |at| at.is_multiple_of(segment));
                assert_eq!(found, expected, "{from:?} to {to:?} at {offset}, segments of {segment}");
            }
        }
    }
}

#[test]
fn a_message_that_began_in_view_only_stays_dropped_and_one_that_did_not_end_before_it_too() {
    let stream = [KEY_DOWN.as_slice(), &KEY_DOWN].concat();
    let sent = |first, offset, then| drive(&stream, first, &[(offset, then)], |_| false).1.sent;
    assert_eq!(sent(Mode::ViewOnly, 0, FULL), stream);
    assert_eq!(sent(Mode::ViewOnly, 1, FULL), KEY_DOWN);
    assert_eq!(sent(Mode::ViewOnly, 7, FULL), KEY_DOWN);
    assert_eq!(sent(Mode::ViewOnly, 9, FULL), b"");
    assert_eq!(sent(FULL, 7, Mode::ViewOnly), b"");
    assert_eq!(sent(FULL, 8, Mode::ViewOnly), [KEY_DOWN.as_slice(), &KEY_UP].concat());
}

#[test]
fn keys_of_more_fingers_than_there_are_stay_released_in_the_end() {
    let (_, found) = drive(&hundred_keys(), FULL, &[(800, Mode::ViewOnly)], |_| false);
    assert_eq!(found, reference(&hundred_keys(), FULL, &[(800, Mode::ViewOnly)]));
    let mut down = std::collections::BTreeSet::new();
    for event in found.sent.chunks(8) {
        assert!(if event[1] == 0 { down.remove(&event[7]) } else { down.insert(event[7]) });
        assert!(down.len() <= 64);
    }
    assert_eq!(down.len(), 0);
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let encodings = prop_oneof![-40..40_i32, -330..-200_i32, any::<i32>()];
    prop_oneof![
        vec(any::<u8>(), 19).prop_map(|rest| [&[0][..], &rest].concat()),
        vec(encodings, 0..20).prop_map(|list| set_encodings(&list)),
        vec(any::<u8>(), 9).prop_map(|rest| [&[3][..], &rest].concat()),
        (0..3_u8, 0..5_u8).prop_map(|(down, key)| vec![4, down, 0, 0, 0, 0, 0, key]),
        vec(any::<u8>(), 5).prop_map(|rest| [&[5][..], &rest].concat()),
        (0..40_u32).prop_map(cut_text),
        select(vec![65_536, 65_537, 70_000]).prop_map(cut_text),
    ]
}

fn switches() -> impl Strategy<Value = Vec<Switch>> {
    vec((0..300_usize, (0..3_u8).prop_map(mode)), 0..4).prop_map(|mut switches| {
        switches.sort_by_key(|(offset, _)| *offset);
        switches
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn segments_never_matter_and_the_gate_does_what_the_reference_says(
        messages in vec(message(), 0..20),
        first in (0..3_u8).prop_map(mode),
        mut switches in switches(),
        segments in vec(any::<bool>(), 1..50),
        cut_off in 0..12_usize,
    ) {
        let mut stream = messages.concat();
        stream.truncate(stream.len().saturating_sub(cut_off));
        switches.retain(|(offset, _)| *offset <= stream.len());
        let expected = reference(&stream, first, &switches);
        parse(&expected.sent);
        let (_, found) = drive(&stream, first, &switches, |at| segments[at % segments.len()]);
        prop_assert_eq!(&found, &expected);
        let (_, whole) = drive(&stream, first, &switches, |_| false);
        prop_assert_eq!(&whole, &expected);
    }

    #[test]
    fn no_bytes_at_all_make_a_viewer_that_only_looks_touch(
        stream in prop_oneof![vec(any::<u8>(), 0..200), vec(0..8_u8, 0..200)],
        segment in 1..30_usize,
    ) {
        let (_, found) = drive(&stream, Mode::ViewOnly, &[], |at| at.is_multiple_of(segment));
        let seen = parse(&found.sent);
        prop_assert_eq!(&seen[4..], &[0, 0, 0]);
        prop_assert_eq!(&found, &reference(&stream, Mode::ViewOnly, &[]));
    }
}
