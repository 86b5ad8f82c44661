//! What machines and viewers say in a handshake.

use postern_protocol::gate::rfb::{
    Config, End, Fault, Gate, Mode, OneTime, Outcome, Password, Sharing, ViewerSecurity,
};

use super::Played;

pub(super) const V3: &[u8] = b"RFB 003.003\n";
pub(super) const V7: &[u8] = b"RFB 003.007\n";
pub(super) const V8: &[u8] = b"RFB 003.008\n";
pub(super) const APPLE: &[u8] = b"RFB 003.889\n";
pub(super) const CHALLENGE: [u8; 16] = *b"sixteen bytes...";
pub(super) const OK: &[u8] = &[0, 0, 0, 0];
pub(super) const NO: &[u8] = &[0, 0, 0, 1];
pub(super) const INIT: &[u8] =
    b"\x04\0\x03\0\x20\x18\0\x01\0\xff\0\xff\0\xff\x10\x08\0\0\0\0\0\0\0\x07press 7";
pub(super) const NO_TUNNEL: &[u8] = b"\0\0\0\0TGHTNOTUNNEL";
pub(super) const NO_AUTH: &[u8] = b"\0\0\0\x01STDVNOAUTH__";
pub(super) const VNC_AUTH: &[u8] = b"\0\0\0\x02STDVVNCAUTH_";
pub(super) const UNIX_LOGIN: &[u8] = b"\0\0\0\x81TGHTULGNAUTH";
pub(super) const SIEMENS: &[u8] = b"\0\0\0\x01SICRSCHANNEL";

pub(super) fn config() -> Config {
    Config {
        mode: Mode::Full { clipboard: false },
        sharing: Sharing::Always,
        viewer: ViewerSecurity::None,
        password: None,
    }
}

pub(super) fn with_password() -> Config {
    Config { password: Some(Password::new(b"moulding")), ..config() }
}

pub(super) fn one_time() -> OneTime {
    OneTime { password: Password::new(b"once"), challenge: CHALLENGE }
}

pub(super) fn response(password: &[u8]) -> [u8; 16] {
    Password::new(password).respond(&CHALLENGE)
}

pub(super) fn ended(fault: Fault) -> Outcome {
    Outcome::Ended(End::Fault(fault))
}

/// A reason as RFB writes it.
pub(super) fn said(prefix: &[u8], reason: &str) -> Vec<u8> {
    [prefix, &u32::try_from(reason.len()).unwrap().to_be_bytes(), reason.as_bytes()].concat()
}

/// A machine of 3.8 without authentication that has let the gate in.
pub(super) fn let_in(config: Config) -> Played {
    let mut played = Played::new(Gate::new(config));
    played.server(V8).says(b"", V8).server(&[1, 1]).says(b"", &[1]).server(OK).says(b"", b"");
    played
}

/// A viewer of 3.8 that needs no password, up to the open session.
pub(super) fn shown(played: &mut Played) {
    played.viewer(V8).says(&[1, 1], b"").viewer(&[1]).says(OK, b"");
    played.viewer(&[0]).says(b"", &[1]).server(INIT).says(INIT, b"");
    assert_eq!(played.outcome(), Outcome::Open);
}

/// How a session begins, and what is said in it: the side in the high bit, and the words.
pub(super) type Conversation = (&'static str, u8, Vec<(u8, Vec<u8>)>);

/// Whole handshakes for the fuzz target: how the session begins, then chunks with the side in the high bit.
pub(super) fn conversations() -> Vec<Conversation> {
    let (viewer, server) = (0_u8, 0x80_u8);
    let tail = || vec![(viewer, V8.to_vec()), (viewer, vec![1]), (viewer, vec![1]), (server, INIT.to_vec())];
    let of = |head: Vec<(u8, &[u8])>| {
        let head = head.into_iter().map(|(side, bytes)| (side, bytes.to_vec()));
        let key = vec![(viewer, vec![4, 1, 0, 0, 0, 0, 0, 65]), (0x7f, vec![]), (viewer, vec![4, 1, 0])];
        head.chain(tail()).chain(key).collect::<Vec<_>>()
    };
    let tight = [&[0, 0, 0, 1], NO_TUNNEL].concat();
    let authentications = [&[0, 0, 0, 2], UNIX_LOGIN, VNC_AUTH].concat();
    vec![
        ("none", 0, of(vec![(server, V8), (server, &[1, 1]), (server, OK)])),
        ("3-3", 0, of(vec![(server, V3), (server, &[0, 0, 0, 1])])),
        ("password", 27, of(vec![(server, V8), (server, &[1, 2]), (server, &CHALLENGE), (server, OK)])),
        ("password-missing", 0, of(vec![(server, V8), (server, &[1, 2])])),
        ("password-wrong", 27, of(vec![(server, V7), (server, &[1, 2]), (server, &CHALLENGE), (server, NO)])),
        (
            "tight",
            27,
            of(vec![
                (server, V8),
                (server, &[1, 16]),
                (server, &tight),
                (server, &authentications),
                (server, &CHALLENGE),
                (server, OK),
            ]),
        ),
        (
            "one-time",
            18,
            of(vec![(server, V8), (server, &[1, 1]), (server, OK), (viewer, V3), (viewer, &CHALLENGE)]),
        ),
        (
            "apple",
            9,
            of(vec![(server, V8), (server, &[1, 1]), (server, OK), (viewer, APPLE), (viewer, &[2])]),
        ),
        ("cut", 0, of(vec![(server, V8), (0xff, b""), (viewer, V8)])),
        ("refused", 0, of(vec![(viewer, V8), (server, V8), (server, &said(&[0], "no"))])),
    ]
}
