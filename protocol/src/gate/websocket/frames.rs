//! One direction of a WebSocket connection, frame by frame.
//!
//! 1. The header of a frame is kept until it is whole, and judged then; nothing of a frame with a fault passes.
//! 2. A control frame is kept until it is whole: it has 125 bytes at most, and a close frame is judged by its code.
//! 3. The bytes of a message pass as they come, as ranges of the caller's buffer, or are dropped: the message decides, at its
//!    first byte, so that the other side never sees half of one.
//! 4. A mode that is narrowed while a message is passing ends the connection: half a message can neither be finished nor taken back.

use std::ops::Range;

use super::close;
use super::fault::FrameFault;

/// Who sends the frames of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Must mask.
    Client,
    /// Must not mask.
    Machine,
}

/// How long frames and messages may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of payload in one frame.
    pub frame: u32,
    /// Bytes of payload in one message, over all of its frames.
    pub message: u32,
}

/// What has come in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that began and passed.
    pub messages: u64,
    /// Messages that began and were dropped.
    pub dropped: u64,
    /// Control frames.
    pub controls: u64,
}

/// What becomes of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// They are kept for now, or dropped.
    Nothing,
    /// These pass: kept ones of a header or of a whole control frame.
    Kept(Vec<u8>),
    /// These bytes of the caller's buffer pass.
    Through(Range<usize>),
}

/// Reads the frames of one direction.
#[derive(Debug)]
pub struct Frames {
    sender: Sender,
    limits: Limits,
    /// Whether messages pass.
    is_open: bool,
    state: State,
    /// A header, or a control frame, that is not whole.
    kept: Vec<u8>,
    message: Option<Message>,
    counters: Counters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the header of a frame.
    Header,
    /// In the payload of a frame of a message.
    Payload {
        /// Bytes to come.
        left: u64,
        /// Whether the message ends with it.
        is_last: bool,
    },
    /// In the payload of a control frame.
    Control {
        /// Bytes of the whole frame.
        bytes: usize,
    },
    /// Behind a close frame.
    Closed,
    /// Nothing is read any more.
    Failed {
        /// Because of this.
        fault: FrameFault,
        /// Whether what passed before is whole frames.
        is_between: bool,
    },
}

/// A message that was begun and is not finished.
#[derive(Clone, Copy, Debug)]
struct Message {
    bytes: u64,
    passes: bool,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug)]
struct Header {
    is_final: bool,
    opcode: u8,
    length: u64,
}

impl Frames {
    /// Reads what `sender` sends. `is_open` says whether its messages pass.
    #[must_use]
    pub fn new(sender: Sender, limits: Limits, is_open: bool) -> Self {
        let (state, counters) = (State::Header, Counters::default());
        Self { sender, limits, is_open, state, kept: Vec::new(), message: None, counters }
    }

    /// Lets messages pass from the next one on, or no more.
    ///
    /// # Errors
    /// [`FrameFault::Narrowed`] when a message is passing and must not any more.
    pub fn handle_open(&mut self, is_open: bool) -> Result<(), FrameFault> {
        self.is_open = is_open;
        if !is_open && self.message.is_some_and(|message| message.passes) {
            self.fail(FrameFault::Narrowed);
            return Err(FrameFault::Narrowed);
        }
        Ok(())
    }

    /// Takes bytes from the front of `bytes`, which must not be empty. Returns how many, and what becomes of them.
    ///
    /// # Errors
    /// The [`FrameFault`] that ends the connection. The same again, however often it is called.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(usize, Piece), FrameFault> {
        let taken = match self.state {
            State::Header => self.take_header(bytes),
            State::Payload { left, is_last } => Ok(self.take_payload(left, is_last, bytes.len())),
            State::Control { bytes: whole } => self.take_control(whole, bytes),
            State::Closed => Err(FrameFault::AfterClose),
            State::Failed { fault, .. } => Err(fault),
        };
        if let Err(fault) = taken {
            self.fail(fault);
        }
        taken
    }

    /// Whether everything that passed so far is whole frames, so that another frame can be put behind it.
    #[must_use]
    pub fn is_between(&self) -> bool {
        match self.state {
            // Of what is kept nothing has passed.
            State::Header | State::Control { .. } | State::Closed => true,
            State::Payload { .. } => !self.message.is_some_and(|message| message.passes),
            State::Failed { is_between, .. } => is_between,
        }
    }

    /// What has come so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn fail(&mut self, fault: FrameFault) {
        self.state = State::Failed { fault, is_between: self.is_between() };
    }

    fn take_header(&mut self, bytes: &[u8]) -> Result<(usize, Piece), FrameFault> {
        for (at, &byte) in bytes.iter().enumerate() {
            self.kept.push(byte);
            if let Some(header) = read_header(&self.kept, self.sender)? {
                return Ok((at + 1, self.begin(header)?));
            }
        }
        Ok((bytes.len(), Piece::Nothing))
    }

    /// Judges a whole header.
    fn begin(&mut self, header: Header) -> Result<Piece, FrameFault> {
        if header.opcode >= CLOSE {
            // A length up to 125, which `read_header` has seen to.
            let payload = usize::try_from(header.length).unwrap_or(CONTROL_BYTES);
            let whole = self.kept.len() + payload;
            self.state = State::Control { bytes: whole };
            return if payload == 0 { self.finish_control() } else { Ok(Piece::Nothing) };
        }
        let message = match (header.opcode, self.message) {
            (CONTINUATION, None) => return Err(FrameFault::Continuation),
            (CONTINUATION, Some(message)) => message,
            (_, Some(_)) => return Err(FrameFault::Interleaved),
            (_, None) => {
                let counter =
                    if self.is_open { &mut self.counters.messages } else { &mut self.counters.dropped };
                *counter = counter.saturating_add(1);
                Message { bytes: 0, passes: self.is_open }
            }
        };
        if header.length > u64::from(self.limits.frame) {
            return Err(FrameFault::FrameLength { bytes: header.length, limit: self.limits.frame });
        }
        let bytes = message.bytes.saturating_add(header.length);
        if bytes > u64::from(self.limits.message) {
            return Err(FrameFault::MessageLength { bytes, limit: self.limits.message });
        }
        let kept = std::mem::take(&mut self.kept);
        // The last frame of a message ends it with its last byte, so that a mode cannot change within.
        self.message = Some(Message { bytes, ..message });
        self.go_on(header.length, header.is_final);
        Ok(if message.passes { Piece::Kept(kept) } else { Piece::Nothing })
    }

    fn take_payload(&mut self, left: u64, is_last: bool, here: usize) -> (usize, Piece) {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(here);
        let passes = self.message.is_some_and(|message| message.passes);
        self.go_on(left.saturating_sub(u64::try_from(taken).unwrap_or(u64::MAX)), is_last);
        (taken, if passes { Piece::Through(0..taken) } else { Piece::Nothing })
    }

    /// So many bytes of a frame are still to come.
    fn go_on(&mut self, left: u64, is_last: bool) {
        self.state = if left == 0 { State::Header } else { State::Payload { left, is_last } };
        if left == 0 && is_last {
            self.message = None;
        }
    }

    fn take_control(&mut self, whole: usize, bytes: &[u8]) -> Result<(usize, Piece), FrameFault> {
        let taken = whole.saturating_sub(self.kept.len()).min(bytes.len());
        self.kept.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        if self.kept.len() < whole {
            Ok((taken, Piece::Nothing))
        } else {
            Ok((taken, self.finish_control()?))
        }
    }

    fn finish_control(&mut self) -> Result<Piece, FrameFault> {
        let frame = std::mem::take(&mut self.kept);
        self.state = State::Header;
        if frame.first() == Some(&(FINAL | CLOSE)) {
            if !has_sound_code(&frame) {
                return Err(FrameFault::CloseCode);
            }
            self.state = State::Closed;
        }
        self.counters.controls = self.counters.controls.saturating_add(1);
        Ok(Piece::Kept(frame))
    }
}

/// Reads a header; none while it is not whole. A fault is found at the first byte that has it.
fn read_header(bytes: &[u8], sender: Sender) -> Result<Option<Header>, FrameFault> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let (is_final, opcode) = (first & FINAL != 0, first & 0x0f);
    if first & 0x70 != 0 {
        return Err(FrameFault::Reserved);
    }
    if !matches!(opcode, CONTINUATION..=BINARY | CLOSE..=PONG) {
        return Err(FrameFault::Opcode { opcode });
    }
    let is_control = opcode >= CLOSE;
    if is_control && !is_final {
        return Err(FrameFault::FragmentedControl);
    }
    let Some(&second) = bytes.get(1) else { return Ok(None) };
    let mask = match (sender, second & MASK != 0) {
        (Sender::Client, true) => 4,
        (Sender::Machine, false) => 0,
        (Sender::Client, false) => return Err(FrameFault::Unmasked),
        (Sender::Machine, true) => return Err(FrameFault::Masked),
    };
    let short = second & !MASK;
    if is_control && usize::from(short) > CONTROL_BYTES {
        return Err(FrameFault::ControlLength { bytes: short.into() });
    }
    let extended = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some(digits) = bytes.get(2..2 + extended) else { return Ok(None) };
    let length = if extended == 0 {
        u64::from(short)
    } else {
        let length = digits.iter().fold(0, |length: u64, digit| length << 8 | u64::from(*digit));
        // Two spellings of one length, or one that is negative to some, are two frames to two programs.
        let least = if extended == 2 { 126 } else { 1 << 16 };
        if length < least || length > i64::MAX.unsigned_abs() {
            return Err(FrameFault::Length);
        }
        length
    };
    Ok((bytes.len() >= 2 + extended + mask).then_some(Header { is_final, opcode, length }))
}

/// Whether a whole close frame has no code, or one that may be sent.
fn has_sound_code(frame: &[u8]) -> bool {
    let is_masked = frame.get(1).is_some_and(|second| second & MASK != 0);
    let (mask, payload) = if is_masked {
        (frame.get(2..6).unwrap_or_default(), frame.get(6..).unwrap_or_default())
    } else {
        (&[0; 4][..], frame.get(2..).unwrap_or_default())
    };
    match (payload, mask) {
        ([], _) => true,
        ([high, low, ..], [first, second, ..]) => {
            close::may_be_sent(u16::from_be_bytes([high ^ first, low ^ second]))
        }
        (_, _) => false,
    }
}

/// Bytes of payload in a control frame.
pub const CONTROL_BYTES: usize = 125;
const FINAL: u8 = 0x80;
const MASK: u8 = 0x80;
const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PONG: u8 = 10;

#[cfg(test)]
mod tests;
