//! The VNC gate between a scripted machine and bytes of any kind, compared with a slow reference.

pub mod reference;

use postern_protocol::gate::rfb::{
    Action, Config, Counters, End, Fault, Gate, Mode, OneTime, Outcome, Password, SESSION_BYTES, Sharing,
    ViewerSecurity,
};
use postern_protocol::wire::text::Text;

pub use reference::{parse, reference};

/// A change of mode when this many bytes of the viewer have been handed in.
pub type Switch = (usize, Mode);

/// What must come of a viewer's stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Outline {
    /// What reaches the machine.
    pub sent: Vec<u8>,
    /// How the session ended by itself, if it did.
    pub fault: Option<Fault>,
    /// What was counted.
    pub counters: Counters,
}

/// Three bytes choose modes, segments and one switch; the rest is what a viewer sends in an open session.
pub fn rfb_client(bytes: &[u8]) {
    let [modes, segment, offset, stream @ ..] = bytes else { return };
    let (first, second) = (mode(*modes), mode(modes / 3));
    let switches = [(usize::from(*offset).min(stream.len()), second)];
    let expected = reference(stream, first, &switches);
    let check = |segment: usize| {
        let (_, found) = drive(stream, first, &switches, |at| at.is_multiple_of(segment.max(1)));
        assert_eq!(found, expected);
    };
    check(usize::from(*segment));
    check(stream.len());
    parse(&expected.sent);
}

/// One byte chooses how a session begins; the rest is what both sides and the shell do, in chunks.
pub fn rfb_handshake(bytes: &[u8]) {
    let Some((&choice, chunks)) = bytes.split_first() else { return };
    let whole = converse(choice, chunks, usize::MAX);
    assert_eq!(whole, converse(choice, chunks, 1), "segments matter");
}

/// What was written to viewer and machine, and how it stands.
pub type Transcript = (Vec<u8>, Vec<u8>, Outcome);

/// Plays chunks: a byte with the side in its high bit and a length below that, and so many bytes. Chunks of length 127
/// are events of the shell instead.
fn converse(choice: u8, mut chunks: &[u8], segment: usize) -> Transcript {
    let mut gate = Gate::new(config(choice));
    let (mut viewer, mut server) = (Vec::new(), Vec::new());
    while let Some((&head, rest)) = chunks.split_first() {
        match head {
            0xff => gate.handle_cut(Text::clean("cut")),
            0x7f => gate.handle_mode(Mode::ViewOnly),
            _ => {}
        }
        let length = if head & 0x7f == 0x7f { 0 } else { usize::from(head & 0x7f).min(rest.len()) };
        let (chunk, rest) = rest.split_at(length);
        chunks = rest;
        for piece in chunk.chunks(segment) {
            let handshake = gate.outcome() == &Outcome::Handshake;
            if head & 0x80 == 0 {
                server.extend(act(&mut gate, piece));
            } else {
                let rest = gate.handle_server(piece).to_vec();
                viewer.extend_from_slice(gate.poll_to_viewer().unwrap_or_default());
                viewer.extend(rest);
            }
            let sent = gate.poll_to_server().unwrap_or_default();
            assert!(!handshake || sent.len() <= 38 + 2 * 1024, "{} bytes of handshake", sent.len());
            server.extend_from_slice(sent);
            assert!(gate.buffered() <= SESSION_BYTES, "{} bytes are held", gate.buffered());
        }
        viewer.extend_from_slice(gate.poll_to_viewer().unwrap_or_default());
        server.extend_from_slice(gate.poll_to_server().unwrap_or_default());
    }
    (viewer, server, gate.outcome().clone())
}

fn config(choice: u8) -> Config {
    let one = || OneTime { password: Password::new(b"once"), challenge: *b"a fixed number.." };
    Config {
        mode: mode(choice),
        sharing: [Sharing::AsViewer, Sharing::Always, Sharing::Never][usize::from(choice / 3 % 3)],
        viewer: match choice / 9 % 3 {
            0 => ViewerSecurity::None,
            1 => ViewerSecurity::NoneOrPassword(one()),
            _ => ViewerSecurity::Password(one()),
        },
        password: (choice / 27 % 2 == 1).then(|| Password::new(b"moulding")),
    }
}

/// The mode with this number.
pub fn mode(number: u8) -> Mode {
    match number % 3 {
        0 => Mode::Full { clipboard: true },
        1 => Mode::Full { clipboard: false },
        _ => Mode::ViewOnly,
    }
}

/// A session whose handshakes are over.
pub fn opened(mode: Mode) -> Gate {
    let mut gate =
        Gate::new(Config { mode, sharing: Sharing::Always, viewer: ViewerSecurity::None, password: None });
    let init = [4, 0, 3, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0, 0, 0, 0, 2];
    for (side, bytes) in [
        (1, b"RFB 003.008\n".as_slice()),
        (1, &[1, 1]),
        (1, &[0, 0, 0, 0]),
        (0, b"RFB 003.008\n"),
        (0, &[1]),
        (0, &[1]),
        (1, &[&init[..], b"hi"].concat()),
    ] {
        if side == 1 {
            assert_eq!(gate.handle_server(bytes), b"");
        } else {
            act(&mut gate, bytes);
        }
        gate.poll_to_viewer();
        gate.poll_to_server();
    }
    assert_eq!(gate.outcome(), &Outcome::Open);
    gate
}

/// Hands in bytes of the viewer and returns what goes to the machine. Ranges must be in order and not empty.
pub fn act(gate: &mut Gate, bytes: &[u8]) -> Vec<u8> {
    let (mut sent, mut end) = (Vec::new(), 0);
    let mut actions = gate.handle_viewer(bytes);
    while let Some(action) = actions.next_action() {
        match action {
            Action::Forward(range) => {
                assert!(end <= range.start && range.start < range.end, "{range:?} after {end}");
                end = range.end;
                sent.extend_from_slice(&bytes[range]);
            }
            Action::Send(bytes) => {
                assert!(!bytes.is_empty());
                sent.extend_from_slice(bytes);
            }
        }
    }
    sent
}

/// Sends a stream through an open session, cut where `cut` says and at the switches.
pub fn drive(
    stream: &[u8],
    first: Mode,
    switches: &[Switch],
    mut cut: impl FnMut(usize) -> bool,
) -> (Gate, Outline) {
    let mut gate = opened(first);
    let (mut sent, mut from) = (Vec::new(), 0);
    let mut feed = |gate: &mut Gate, from: usize, to: usize| {
        sent.extend(act(gate, &stream[from..to]));
        sent.extend_from_slice(gate.poll_to_server().unwrap_or_default());
        assert!(gate.buffered() <= SESSION_BYTES, "{} bytes are held", gate.buffered());
    };
    for at in 0..=stream.len() {
        let due = switches.iter().filter(|(offset, _)| *offset == at);
        if cut(at) || at == stream.len() || due.clone().next().is_some() {
            feed(&mut gate, from, at);
            from = at;
        }
        for (_, mode) in due {
            gate.handle_mode(*mode);
            feed(&mut gate, from, from);
        }
    }
    let fault = match gate.outcome() {
        Outcome::Open => None,
        Outcome::Ended(End::Fault(fault)) => Some(fault.clone()),
        Outcome::Handshake | Outcome::Ended(End::Cut { .. } | End::ViewerClosed | End::ServerClosed) => {
            panic!("{:?}", gate.outcome())
        }
    };
    let counters = gate.counters();
    (gate, Outline { sent, fault, counters })
}
