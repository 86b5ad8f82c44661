//! The viewer's side of the handshake byte for byte: each version, each way to be let in, each way to be sent away.

use postern_protocol::gate::rfb::{
    Config, End, Fault, Gate, Mode, Outcome, PixelFormat, Screen, Sharing, ViewerSecurity,
};
use postern_protocol::wire::text::Text;

use super::Played;
use super::script::*;

#[test]
fn both_sides_in_3_8_without_authentication_open_a_session() {
    let mut played = let_in(config());
    shown(&mut played);
    let format = PixelFormat {
        bits_per_pixel: 32,
        depth: 24,
        big_endian: false,
        true_colour: true,
        max: [255; 3],
        shift: [16, 8, 0],
    };
    let screen = Screen { width: 1024, height: 768, format, name: Text::clean("press 7") };
    assert_eq!(played.gate.screen(), Some(&screen));
    played.server(b"pictures").says(b"pictures", b"");
    played.viewer(&[3, 1, 0, 0, 0, 0, 0, 9, 0, 9]).says(b"", &[3, 1, 0, 0, 0, 0, 0, 9, 0, 9]);
}

#[test]
fn bytes_behind_the_server_init_go_to_the_viewer_unread() {
    let mut played = let_in(config());
    played.viewer(&[V8, &[1, 1]].concat()).told();
    let bytes = [INIT, b"\0\0picture"].concat();
    assert_eq!(played.gate.handle_server(&bytes), b"\0\0picture");
    played.says(INIT, b"");
}

#[test]
fn a_viewer_of_3_3_is_told_the_type_and_one_of_3_7_gets_no_result() {
    let mut old = let_in(config());
    old.viewer(V3).says(&[0, 0, 0, 1], b"").viewer(&[1]).says(b"", &[1]).server(INIT).says(INIT, b"");
    let mut middle = let_in(config());
    middle.viewer(V7).says(&[1, 1], b"").viewer(&[1]).says(b"", b"");
    middle.viewer(&[1]).says(b"", &[1]).server(INIT).says(INIT, b"");
    let mut unpublished = let_in(config());
    unpublished.viewer(b"RFB 003.005\n").says(&[0, 0, 0, 1], b"");
}

#[test]
fn the_viewer_waits_for_the_machine_and_the_machine_for_the_viewer() {
    let mut played = Played::new(Gate::new(config()));
    played.viewer(V8).says(b"", b"").server(V8).says(b"", V8).server(&[1, 1]).says(b"", &[1]);
    played.server(OK).says(&[1, 1], b"");
    let mut early = Played::new(Gate::new(config()));
    early.viewer(&[V8, &[1, 1]].concat()).says(b"", b"");
    early.viewer(&[3, 0, 0, 0, 0, 0, 0, 1, 0, 1, 4, 1]).says(b"", b"");
    early.server(V8).server(&[1, 1]).says(b"", &[V8, &[1]].concat());
    early.server(OK).says(&[&[1, 1], OK].concat(), &[1]);
    early.server(INIT).says(INIT, &[3, 0, 0, 0, 0, 0, 0, 1, 0, 1]);
    early.viewer(&[0, 0, 0, 0, 0, 65]).says(b"", &[4, 1, 0, 0, 0, 0, 0, 65]);
}

#[test]
fn what_was_sent_too_early_passes_only_in_modes_that_were_in_force_since() {
    let key = [4, 1, 0, 0, 0, 0, 0, 65];
    let text = [6, 0, 0, 0, 0, 0, 0, 1, b'x'];
    let (full, quiet) = (Mode::Full { clipboard: true }, Mode::Full { clipboard: false });
    for (modes, passes) in [
        ([full, full, full], [&key[..], &text].concat()),
        ([quiet, quiet, full], key.to_vec()),
        ([full, quiet, full], key.to_vec()),
        ([full, Mode::ViewOnly, full], vec![]),
        ([Mode::ViewOnly, Mode::ViewOnly, full], vec![]),
        ([full, full, Mode::ViewOnly], vec![]),
    ] {
        let mut played = let_in(Config { mode: modes[0], ..config() });
        played.viewer(&[V8, &[1, 1], &key, &text, &key[..4]].concat()).says(&[&[1, 1], OK].concat(), &[1]);
        played.gate.handle_mode(modes[1]);
        played.gate.handle_mode(modes[2]);
        played.server(INIT).says(INIT, &passes);
        assert_eq!(played.gate.mode(), modes[2]);
        let rest = if passes.is_empty() { &[][..] } else { &key };
        played.viewer(&key[4..]).says(b"", rest);
    }
}

#[test]
fn a_viewer_may_not_be_ahead_by_more_than_a_kilobyte() {
    let mut played = Played::new(Gate::new(config()));
    played.viewer(V8).viewer(&[3; 1024]).says(b"", b"");
    assert_eq!(played.outcome(), Outcome::Handshake);
    played.viewer(&[3]);
    assert_eq!(played.outcome(), ended(Fault::ViewerAhead));
    played.says(&said(&[0], "the viewer sent more than 1024 bytes before its turn"), b"");
}

#[test]
fn the_shared_flag_is_what_the_policy_says() {
    for (sharing, flags) in
        [(Sharing::Always, [1, 1, 1]), (Sharing::Never, [0, 0, 0]), (Sharing::AsViewer, [0, 1, 1])]
    {
        for (said, flag) in [0, 1, 0xff].into_iter().zip(flags) {
            let mut played = let_in(Config { sharing, ..config() });
            played.viewer(&[V8, &[1]].concat()).told();
            played.viewer(&[said]).says(b"", &[flag]);
        }
    }
}

#[test]
fn a_reason_is_shown_in_the_way_of_each_version() {
    let cut = |played: &mut Played| played.gate.handle_cut(Text::clean("revoked"));
    for (version, zero) in [(V3, OK), (V7, &[0]), (V8, &[0])] {
        let mut before = Played::new(Gate::new(config()));
        cut(&mut before);
        assert!(before.gate.owes_reason());
        before.says(b"", b"").viewer(version).says(&said(zero, "revoked"), b"");
        assert!(!before.gate.owes_reason());
        let mut waiting = Played::new(Gate::new(config()));
        waiting.viewer(version);
        cut(&mut waiting);
        waiting.says(&said(zero, "revoked"), b"");
        assert!(!waiting.gate.owes_reason());
    }
    let mut choosing = let_in(config());
    choosing.viewer(V8).told();
    cut(&mut choosing);
    choosing.says(b"", b"");
    assert!(choosing.gate.owes_reason());
    choosing.viewer(&[1]).says(&said(NO, "revoked"), b"");
    assert_eq!(choosing.outcome(), Outcome::Ended(End::Cut { reason: Text::clean("revoked") }));
    let mut without_words = let_in(config());
    without_words.viewer(V7).told();
    cut(&mut without_words);
    assert!(!without_words.gate.owes_reason());
    without_words.viewer(&[1]).says(b"", b"");
    let mut open = let_in(config());
    shown(&mut open);
    cut(&mut open);
    open.says(b"", b"").viewer(&[3, 0, 0, 0, 0, 0, 0, 1, 0, 1]).server(b"picture").says(b"", b"");
}

#[test]
fn a_viewer_that_speaks_nonsense_is_told_nothing_and_owed_nothing() {
    let mut played = let_in(config());
    played.viewer(b"GET / HTTP/1.1\r\n").says(b"", b"");
    assert_eq!(played.outcome(), ended(Fault::ViewerVersion));
    let mut cut = Played::new(Gate::new(config()));
    cut.gate.handle_cut(Text::clean("revoked"));
    cut.viewer(b"GET / HTTP/1.1\r\n").says(b"", b"");
    assert!(!cut.gate.owes_reason());
}

#[test]
fn a_type_that_was_not_offered_is_refused() {
    for (version, chosen, words) in [
        (V8, 2, said(NO, "the viewer chose security type 2, which was not offered")),
        (V8, 19, said(NO, "the viewer chose security type 19, which was not offered")),
        (V7, 2, vec![]),
    ] {
        let mut played = let_in(config());
        played.viewer(version).told();
        played.viewer(&[chosen, 1]).says(&words, b"");
        assert_eq!(played.outcome(), ended(Fault::ViewerChoice { chosen }));
    }
    let mut demanding = let_in(Config { viewer: ViewerSecurity::Password(one_time()), ..config() });
    demanding.viewer(V8).says(&[1, 2], b"").viewer(&[1]);
    assert_eq!(demanding.outcome(), ended(Fault::ViewerChoice { chosen: 1 }));
}

#[test]
fn apples_viewer_is_offered_the_one_time_password_alone() {
    let config = || Config { viewer: ViewerSecurity::NoneOrPassword(one_time()), ..config() };
    let mut apple = let_in(config());
    apple.viewer(APPLE).says(&[1, 2], b"").viewer(&[2]).says(&CHALLENGE, b"");
    apple.viewer(&response(b"once")).says(OK, b"").viewer(&[1]).says(b"", &[1]);
    let mut other = let_in(config());
    other.viewer(V8).says(&[2, 1, 2], b"").viewer(&[1]).says(OK, b"").viewer(&[1]).says(b"", &[1]);
    let mut old = let_in(config());
    old.viewer(V3).says(&[0, 0, 0, 1], b"");
}

#[test]
fn a_one_time_password_is_demanded_in_all_versions_and_a_wrong_one_ends_the_session() {
    let config = || Config { viewer: ViewerSecurity::Password(one_time()), ..config() };
    for (version, offer, choice, failure) in [
        (V3, [&[0, 0, 0, 2][..], &CHALLENGE].concat(), &b""[..], NO.to_vec()),
        (V7, vec![1, 2], &[2], NO.to_vec()),
        (V8, vec![1, 2], &[2], said(NO, "wrong one-time password")),
    ] {
        let challenge: &[u8] = if version == V3 { b"" } else { &CHALLENGE };
        let mut right = let_in(config());
        right.viewer(version).says(&offer, b"").viewer(choice).says(challenge, b"");
        right.viewer(&response(b"once")).says(OK, b"").viewer(&[1]).says(b"", &[1]);
        let mut wrong = let_in(config());
        wrong.viewer(version).says(&offer, b"").viewer(choice).says(challenge, b"");
        wrong.viewer(&response(b"oncE")).says(&failure, b"").viewer(&[1]).says(b"", b"");
        assert_eq!(wrong.outcome(), ended(Fault::ViewerPassword));
        let mut cut = let_in(config());
        cut.viewer(version).viewer(choice).told();
        cut.gate.handle_cut(Text::clean("revoked"));
        let failure = if version == V8 { said(NO, "revoked") } else { NO.to_vec() };
        cut.viewer(&response(b"once")).says(&failure, b"").viewer(&[1]).says(b"", b"");
    }
}
