//! The gates of HTTP and WebSocket with bytes of any kind: pieces never matter, and what passes has one meaning.

use postern_protocol::gate::http::digest::{Challenge, Session};
use postern_protocol::gate::http::{Guard, Part, RequestFault, Target};
use postern_protocol::gate::websocket::{Counters, FrameFault, Frames, Limits, Piece, Sender};

/// One byte chooses the pieces; the rest is what a client sends.
pub fn http_request(bytes: &[u8]) {
    let Some((&size, stream)) = bytes.split_first() else { return };
    let whole = guarded(stream, usize::MAX);
    assert_eq!(guarded(stream, usize::from(size).max(1)), whole, "pieces matter");
    let (sent, targets, fault) = whole;
    assert!(stream.starts_with(&sent));
    assert_eq!(fault.is_some() || sent.len() == stream.len(), fault.is_some() || is_whole(stream));
    for target in &targets {
        http_target(target.as_bytes());
        assert!(Target::parse(target).is_ok(), "{target}");
    }
    // What was let through is read in the same way by whoever reads it next.
    let again = guarded(&sent, usize::MAX);
    assert_eq!((again.0, again.1, again.2), (sent, targets, None));
}

/// A target; one that is read is what any decoding and resolving makes of it.
pub fn http_target(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(target) = Target::parse(text) else { return };
    let query = target.query().map_or(String::new(), |query| format!("?{query}"));
    assert_eq!(format!("{}{query}", target.path()), text);
    let once = decode(target.path().as_bytes());
    assert_eq!(decode(&once), once, "decoding twice is decoding once");
    let segments: Vec<&[u8]> = once.split(|byte| *byte == b'/' || *byte == b'\\').skip(1).collect();
    assert_eq!(segments.len(), target.path().matches('/').count(), "no separator is hidden");
    for (at, segment) in segments.iter().enumerate() {
        let is_last = at + 1 == segments.len();
        let trimmed = segment.iter().rposition(|byte| !matches!(byte, b'.' | b' '));
        assert!(
            trimmed.is_some() || (segment.is_empty() && is_last),
            "{text} has a segment that is resolved"
        );
    }
    assert!(once.iter().all(|byte| !byte.is_ascii_control() && !matches!(byte, b';' | b'?' | b'#' | b'%')));
}

/// What a machine demands; the answer to it says the same of the machine's part.
pub fn digest_challenge(bytes: &[u8]) {
    let Some(challenge) = Challenge::strongest(std::iter::once(bytes)) else { return };
    let mut session = Session::new(challenge.clone(), [7; 16]);
    session.learn(bytes);
    let mut session = Session::new(challenge.clone(), [7; 16]);
    let answer = session.authorization(("service", b"4711"), ("GET", "/a?b=c")).expect("both can be quoted");
    assert_eq!(Challenge::strongest(std::iter::once(answer.as_slice())), Some(challenge));
}

/// Three bytes choose direction, mode and pieces; the rest is what that side sends.
pub fn websocket_frames(bytes: &[u8]) {
    let [side, mode, size, stream @ ..] = bytes else { return };
    let sender = if side % 2 == 0 { Sender::Client } else { Sender::Machine };
    let is_open = mode % 2 == 0;
    let whole = framed(sender, is_open, stream, usize::MAX);
    assert_eq!(framed(sender, is_open, stream, usize::from(*size).max(1)), whole, "pieces matter");
    let (sent, fault, counters) = whole;
    if is_open {
        assert!(stream.starts_with(&sent));
        assert_eq!(counters.dropped, 0);
    } else {
        let mask = if sender == Sender::Client { 4 } else { 0 };
        let mut rest = sent.as_slice();
        while let [first, second, ..] = rest {
            assert!(matches!(first, 0x88..=0x8a), "only control frames pass");
            rest = &rest[2 + mask + usize::from(second & 0x7f)..];
        }
        assert_eq!(rest, b"");
        assert_eq!(counters.messages, 0);
    }
    let (again, _, counted) = framed(sender, true, &sent, usize::MAX);
    assert_eq!((again, counted.controls), (sent, counters.controls), "{fault:?}");
}

/// What passes, the targets of whole heads, and the fault.
fn guarded(stream: &[u8], size: usize) -> (Vec<u8>, Vec<Box<str>>, Option<RequestFault>) {
    let (mut guard, mut sent, mut targets) = (Guard::default(), Vec::new(), Vec::new());
    for piece in stream.chunks(size) {
        let mut rest = piece;
        while !rest.is_empty() {
            match guard.take(rest) {
                Ok((taken, part)) => {
                    match part {
                        Part::More => {}
                        Part::Head { bytes, head } => {
                            sent.extend(bytes);
                            targets.push(head.target);
                        }
                        Part::Body => sent.extend_from_slice(&rest[..taken]),
                    }
                    rest = &rest[taken..];
                }
                Err(fault) => return (sent, targets, Some(fault)),
            }
        }
    }
    (sent, targets, None)
}

/// Whether no head is cut off by the end.
fn is_whole(stream: &[u8]) -> bool {
    let mut guard = Guard::default();
    let (mut rest, mut last) = (stream, Part::Body);
    while !rest.is_empty() {
        let Ok((taken, part)) = guard.take(rest) else { return false };
        (rest, last) = (&rest[taken..], part);
    }
    last != Part::More
}

fn framed(
    sender: Sender,
    is_open: bool,
    stream: &[u8],
    size: usize,
) -> (Vec<u8>, Option<FrameFault>, Counters) {
    let mut frames = Frames::new(sender, Limits { frame: 4096, message: 8192 }, is_open);
    let mut sent = Vec::new();
    for piece in stream.chunks(size) {
        let mut rest = piece;
        while !rest.is_empty() {
            match frames.take(rest) {
                Ok((taken, piece)) => {
                    match piece {
                        Piece::Nothing => {}
                        Piece::Kept(bytes) => sent.extend(bytes),
                        Piece::Through(range) => sent.extend_from_slice(&rest[range]),
                    }
                    rest = &rest[taken..];
                }
                Err(fault) => return (sent, Some(fault), frames.counters()),
            }
        }
    }
    (sent, None, frames.counters())
}

/// Decodes `%xx` as machines do, and leaves alone what is none.
fn decode(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut decoded, mut rest) = (Vec::new(), bytes);
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        decoded.push(match tail {
            [high, low, tail @ ..] if byte == b'%' => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = tail;
                    high << 4 | low
                }
                (None, _) | (_, None) => byte,
            },
            _ => byte,
        });
    }
    decoded
}
