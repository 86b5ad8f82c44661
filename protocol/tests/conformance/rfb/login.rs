//! The machine's side of the handshake byte for byte: each version and security type, and how each of them fails.

use postern_protocol::gate::rfb::{End, Fault, Gate, Outcome, Side};
use postern_protocol::wire::text::Text;

use super::Played;
use super::script::*;

#[test]
fn a_machine_that_asks_gets_the_response_and_the_viewer_never_sees_a_password() {
    let mut played = Played::new(Gate::new(with_password()));
    played.server(V8).says(b"", V8).server(&[2, 2, 5]).says(b"", &[2]);
    played.server(&CHALLENGE).says(b"", &response(b"moulding")).server(OK).says(b"", b"");
    shown(&mut played);
}

#[test]
fn a_machine_that_asks_for_nothing_is_shown_nothing() {
    let mut played = Played::new(Gate::new(with_password()));
    played.server(V8).says(b"", V8).server(&[3, 16, 2, 1]).says(b"", &[1]).server(OK);
    shown(&mut played);
}

#[test]
fn machines_of_3_3_and_3_7_are_logged_in_to() {
    let mut old = Played::new(Gate::new(with_password()));
    old.server(V3).says(b"", V3).server(&[0, 0, 0, 2]).server(&CHALLENGE).says(b"", &response(b"moulding"));
    old.server(OK);
    shown(&mut old);
    let mut open = Played::new(Gate::new(config()));
    open.server(V3).says(b"", V3).server(&[0, 0, 0, 1]).says(b"", b"");
    shown(&mut open);
    let mut middle = Played::new(Gate::new(config()));
    middle.server(V7).says(b"", V7).server(&[1, 1]).says(b"", &[1]);
    shown(&mut middle);
    let mut asking = Played::new(Gate::new(with_password()));
    asking.server(V7).server(&[1, 2]).says(b"", &[V7, &[2]].concat()).server(&CHALLENGE).server(OK);
    asking.says(b"", &response(b"moulding"));
    shown(&mut asking);
}

#[test]
fn a_tight_login_passes_without_a_tunnel_and_its_capabilities_stay_hidden() {
    let capabilities = [&[0, 1, 0, 2, 0, 1, 0, 0][..], &[0xaa; 64]].concat();
    for (tunnels, choice) in [
        ([&[0, 0, 0, 0][..]].concat(), &b""[..]),
        ([&[0, 0, 0, 1], NO_TUNNEL].concat(), &[0; 4]),
        ([&[0, 0, 0, 1], SIEMENS].concat(), &[0; 4]),
        ([&[0, 0, 0, 2], SIEMENS, NO_TUNNEL].concat(), &[0; 4]),
    ] {
        let mut played = Played::new(Gate::new(with_password()));
        played.server(V8).server(&[1, 16]).says(b"", &[V8, &[16]].concat());
        played.server(&tunnels).says(b"", choice);
        played.server(&[&[0, 0, 0, 2], UNIX_LOGIN, VNC_AUTH].concat()).says(b"", &[0, 0, 0, 2]);
        played.server(&CHALLENGE).says(b"", &response(b"moulding")).server(OK);
        played.viewer(&[V8, &[1, 1]].concat()).says(&[&[1, 1], OK].concat(), &[1]);
        played.server(INIT).says(b"", b"");
        assert_eq!(played.outcome(), Outcome::Handshake);
        played.server(&capabilities).says(INIT, b"").server(b"picture").says(b"picture", b"");
    }
}

#[test]
fn tight_without_authentication_needs_no_password() {
    for (version, authentications, choice, result) in [
        (V8, [&[0, 0, 0, 2], VNC_AUTH, NO_AUTH].concat(), &[0, 0, 0, 1][..], OK),
        (V8, vec![0, 0, 0, 0], b"", OK),
        (V7, vec![0, 0, 0, 0], b"", b""),
    ] {
        let mut played = Played::new(Gate::new(config()));
        played.server(version).server(&[2, 2, 16]).server(OK).says(b"", &[version, &[16]].concat());
        played.server(&authentications).says(b"", choice).server(result);
        played.viewer(&[V8, &[1, 1]].concat()).says(&[&[1, 1], OK].concat(), &[1]);
        played.server(&[INIT, &[0; 8], b"x"].concat()).says(&[INIT, b"x"].concat(), b"");
    }
}

#[test]
fn what_the_machine_will_not_do_is_told_where_a_type_was_expected() {
    let types = |bytes: &[u8]| [&[u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let tight = |bytes: &[u8]| [&types(&[16]), bytes].concat();
    let refusal = Text::clean("too many tries");
    for (config, greeting, bytes, words, side) in [
        (
            config(),
            V8,
            types(&[2]),
            "the machine asks for a password and its service names none; ask your administrator to name one",
            Side::Server,
        ),
        (
            config(),
            V3,
            vec![0, 0, 0, 2],
            "the machine asks for a password and its service names none; ask your administrator to name one",
            Side::Server,
        ),
        (
            config(),
            V8,
            [tight(OK), [&[0, 0, 0, 1], VNC_AUTH].concat()].concat(),
            "the machine asks for a password and its service names none; ask your administrator to name one",
            Side::Server,
        ),
        (
            with_password(),
            V7,
            types(&[19, 30]),
            "the machine offers security types 19, 30, supported are 1, 2 and 16 with one of them",
            Side::Server,
        ),
        (
            config(),
            V3,
            vec![0, 0, 0, 17],
            "the machine dictated security type 17, supported are 1 and 2",
            Side::Server,
        ),
        (config(), V8, said(&[0], refusal.as_str()), "the machine refused: too many tries", Side::Server),
        (config(), V3, said(OK, refusal.as_str()), "the machine refused: too many tries", Side::Server),
        (
            config(),
            V8,
            [&types(&[1])[..], &said(NO, "later")].concat(),
            "the machine refused: later",
            Side::Server,
        ),
        (
            with_password(),
            V8,
            [&types(&[2])[..], &CHALLENGE, &said(NO, "who\x1b are you")].concat(),
            "the machine did not accept the stored password: who  are you",
            Side::Server,
        ),
        (
            with_password(),
            V7,
            [&types(&[2])[..], &CHALLENGE, &[0, 0, 0, 2]].concat(),
            "the machine did not accept the stored password: ",
            Side::Server,
        ),
        (
            config(),
            V8,
            [&types(&[1])[..], &[0, 0, 0, 3]].concat(),
            "the machine answered security result 3, expected 0, 1 or 2",
            Side::Server,
        ),
        (
            config(),
            V8,
            tight(&[&[0, 0, 0, 1][..], b"\0\0\0\x01TGHTNOTUNNEL"].concat()),
            "the machine offers Tight tunnels only, expected also NOTUNNEL",
            Side::Server,
        ),
        (
            config(),
            V8,
            tight(&[OK, &[0, 0, 0, 1], UNIX_LOGIN].concat()),
            "the machine offers no Tight authentication that is supported: NOAUTH__ or VNCAUTH_",
            Side::Server,
        ),
        (
            config(),
            V8,
            tight(&[0, 0, 0, 65]),
            "the machine listed 65 Tight capabilities, allowed are 64",
            Side::Server,
        ),
        (config(), b"HTTP/1.1 400".as_slice(), vec![], "the machine does not speak RFB 3", Side::Server),
    ] {
        let mut played = Played::new(Gate::new(config));
        played.viewer(V8).server(greeting).server(&bytes);
        let Outcome::Ended(End::Fault(fault)) = played.outcome() else {
            panic!("{words}: {:?}", played.outcome())
        };
        assert_eq!((fault.to_string().as_str(), fault.side()), (words, side));
        assert_eq!(played.told().0.escape_ascii().to_string(), said(&[0], words).escape_ascii().to_string());
        played.viewer(&[1]).says(b"", b"").server(b"more").says(b"", b"");
    }
}

#[test]
fn an_endless_reason_is_cut_and_an_unfinished_one_is_told_at_the_end() {
    let mut endless = Played::new(Gate::new(config()));
    endless.viewer(V8).server(V8).server(&[0, 0xff, 0xff, 0xff, 0xff]).server(&[b'n'; 300]);
    assert_eq!(endless.outcome(), ended(Fault::Refused { reason: Text::clean(&"n".repeat(256)) }));
    let mut unfinished = Played::new(Gate::new(with_password()));
    unfinished.viewer(V8).server(V8).server(&[1, 2]).server(&CHALLENGE).server(NO).server(&[0, 0, 0, 9]);
    unfinished.server(b"bad").gate.handle_server_closed();
    assert_eq!(unfinished.outcome(), ended(Fault::PasswordRefused { reason: Text::clean("bad") }));
    let mut silent = Played::new(Gate::new(with_password()));
    silent.viewer(V8).server(V8).server(&[1, 2]).server(&CHALLENGE).server(NO).gate.handle_server_closed();
    assert_eq!(silent.outcome(), ended(Fault::PasswordRefused { reason: Text::clean("") }));
    let mut closed = Played::new(Gate::new(config()));
    closed.viewer(V8).server(V8).told();
    closed.gate.handle_server_closed();
    assert_eq!(closed.outcome(), Outcome::Ended(End::ServerClosed));
    closed.says(&said(&[0], "the machine closed the connection"), b"");
}

#[test]
fn a_machine_that_speaks_before_its_turn_or_sends_a_bad_screen_is_at_fault() {
    let mut early = let_in(config());
    early.server(&[0]);
    assert_eq!(early.outcome(), ended(Fault::ServerAhead));
    for (at, byte, fault) in
        [(4, 24, Fault::PixelBits { bits: 24 }), (22, 0xff, Fault::NameLength { bytes: 0xff07 })]
    {
        let mut played = let_in(config());
        played.viewer(&[V8, &[1, 1]].concat()).told();
        let mut init = INIT.to_vec();
        init[at] = byte;
        played.server(&init).says(b"", b"");
        assert_eq!(played.outcome(), ended(fault));
    }
}
