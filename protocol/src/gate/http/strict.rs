//! The strict reader in front of everything that parses HTTP: it knows where each request begins and ends, and lets bytes
//! through only while nobody can understand them in another way.
//!
//! 1. A head is kept until it is whole and was read by `head`; only then are its bytes handed on.
//! 2. Bytes of a body pass as ranges of the caller's buffer; the framing of chunks is followed byte by byte.
//! 3. [`Guard::take`] stops at the end of each head and each body, so that a caller never hands on bytes of two requests at once.
//! 4. A fault ends the reading for good. What was right before it has been handed on already, in whatever pieces it came.
//! 5. Behind a request to upgrade nothing passes until it was answered: [`Guard::refused`] goes on reading requests.
//!
//! Without this a machine and the gate could disagree about where a request ends, and what the gate takes for a body would be a
//! request that nobody judged. Deliberately absent: HTTP/1.0, obsolete line folding, chunk extensions, trailers, and lone LF.

mod chunks;
mod head;

use self::chunks::Chunks;
pub(in crate::gate) use self::head::is_token;
pub use self::head::{Framing, Head};
use super::fault::RequestFault;

/// Reads the client's bytes of one connection.
#[derive(Debug, Default)]
pub struct Guard {
    state: State,
    /// The head so far; empty while a body is read.
    head: Vec<u8>,
    /// The first line end was seen.
    has_line: bool,
}

/// What [`Guard::take`] made of the bytes that it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// They belong to a head that is not whole yet.
    More,
    /// A head is whole: here are all of its bytes, and what they say.
    Head {
        /// To be handed on.
        bytes: Vec<u8>,
        /// What they say.
        head: Head,
    },
    /// They belong to a body and are to be handed on.
    Body,
}

#[derive(Debug, Default)]
enum State {
    /// Between two requests, or within a head.
    #[default]
    Head,
    /// So many bytes of a body are still to come.
    Length(u64),
    /// In a body of chunks.
    Chunks(Chunks),
    /// Behind a request to upgrade.
    Upgrade,
    /// Nothing is read any more.
    Failed {
        /// Because of this.
        fault: RequestFault,
        /// Whether it came in a body.
        in_body: bool,
    },
}

impl Guard {
    /// Takes bytes from the front of `bytes`, which must not be empty, up to the end of a head or body at most. Returns how many
    /// and what they are.
    ///
    /// # Errors
    /// The [`RequestFault`] at the very next byte. The same again, however often it is called.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(usize, Part), RequestFault> {
        let taken = self.next(bytes);
        if let Err(fault) = taken {
            self.state = State::Failed { fault, in_body: self.is_within_body() };
        }
        taken
    }

    /// The client sends no more.
    ///
    /// # Errors
    /// [`RequestFault::Truncated`] within a request.
    pub fn end(&self) -> Result<(), RequestFault> {
        if self.is_between() || matches!(self.state, State::Upgrade) {
            Ok(())
        } else {
            Err(RequestFault::Truncated)
        }
    }

    /// A request to upgrade was answered with something else than 101: requests go on.
    pub fn refused(&mut self) {
        if matches!(self.state, State::Upgrade) {
            self.state = State::Head;
        }
    }

    /// Whether every byte so far belongs to a request that is whole.
    #[must_use]
    pub const fn is_between(&self) -> bool {
        matches!(self.state, State::Head) && self.head.is_empty()
    }

    /// Whether the next byte, or the one with the fault, belongs to the body of a request whose head was handed on.
    #[must_use]
    pub const fn is_within_body(&self) -> bool {
        matches!(self.state, State::Length(_) | State::Chunks(_) | State::Failed { in_body: true, .. })
    }

    fn next(&mut self, bytes: &[u8]) -> Result<(usize, Part), RequestFault> {
        match &mut self.state {
            State::Head => self.take_head(bytes),
            State::Length(left) => {
                let here = u64::try_from(bytes.len()).unwrap_or(u64::MAX).min(*left);
                *left -= here;
                if *left == 0 {
                    self.state = State::Head;
                }
                // Not more than `bytes` has.
                Ok((usize::try_from(here).unwrap_or(bytes.len()), Part::Body))
            }
            State::Chunks(chunks) => {
                let taken = chunks.take(bytes)?;
                if chunks.is_over() {
                    self.state = State::Head;
                }
                Ok((taken, Part::Body))
            }
            State::Upgrade => Err(RequestFault::Early),
            State::Failed { fault, .. } => Err(*fault),
        }
    }

    fn take_head(&mut self, bytes: &[u8]) -> Result<(usize, Part), RequestFault> {
        for (at, &byte) in bytes.iter().enumerate() {
            self.check(byte)?;
            self.head.push(byte);
            if byte == b'\n' {
                self.has_line = true;
                if self.head.ends_with(b"\r\n\r\n") {
                    let head = head::read(&self.head)?;
                    return Ok((at + 1, self.begin(head)));
                }
            }
        }
        Ok((bytes.len(), Part::More))
    }

    fn begin(&mut self, head: Head) -> Part {
        self.has_line = false;
        self.state = match head.framing {
            Framing::None | Framing::Length(0) if head.upgrade => State::Upgrade,
            Framing::None | Framing::Length(0) => State::Head,
            Framing::Length(left) => State::Length(left),
            Framing::Chunked => State::Chunks(Chunks::default()),
        };
        Part::Head { bytes: std::mem::take(&mut self.head), head }
    }

    /// Whether the next byte can stand in a head at all.
    fn check(&self, byte: u8) -> Result<(), RequestFault> {
        let after_cr = self.head.last() == Some(&b'\r');
        // CR and LF come as a pair, and nothing else is a control character. A lone one ends a line for some and not for others.
        let fits = match byte {
            b'\n' => after_cr,
            b'\r' => !after_cr && !self.head.is_empty(),
            b'\t' | b' '..=0x7e | 0x80.. => !after_cr,
            _ => false,
        };
        if !fits {
            return Err(RequestFault::Byte { byte });
        }
        if !self.has_line && self.head.len() >= LINE_BYTES {
            return Err(RequestFault::LineLength);
        }
        if self.head.len() >= HEAD_BYTES { Err(RequestFault::HeadLength) } else { Ok(()) }
    }
}

/// Bytes of a head.
pub const HEAD_BYTES: usize = 16 * 1024;
/// Bytes of a request line: a target, and room for method and version.
pub const LINE_BYTES: usize = super::target::TARGET_BYTES + 64;
/// Headers of a request.
pub const HEADERS: usize = 64;

#[cfg(test)]
mod tests;
