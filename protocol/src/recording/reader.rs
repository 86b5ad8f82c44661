//! The end that looks at a recording.

use super::event::{EVENT_BYTES, Event, What};
use super::header::{BEGINNING_BYTES, Beginning, Header};
use super::writer::{CHUNK_LIMIT, SEALED_LIMIT};
use super::{FRAME_BYTES, PURPOSE, associated};
use crate::trust::Digest;
use crate::trust::sealed::sequence::{OVERHEAD_BYTES, Opener};
use crate::trust::sealed::{SealingKey, SealingSecret};
use crate::wire::codec::{self, CodecFault};

/// Reads a recording as its bytes arrive. It holds what it was handed and has not yielded; hand it little at a time.
#[derive(Debug)]
pub struct Reader {
    secret: SealingSecret,
    /// Bytes that are not read yet.
    buffer: Vec<u8>,
    state: State,
}

/// One chunk of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Whether nothing follows: the recording is complete.
    pub last: bool,
}

#[derive(Debug)]
enum State {
    /// The beginning is not whole yet.
    Begun,
    Open(Box<Open>),
    /// The last chunk was read.
    Complete {
        header: Box<Header>,
    },
    Broken(Fault),
}

#[derive(Debug)]
struct Open {
    header: Header,
    opener: Opener,
    digest: Digest,
    position: u64,
    /// Time of the last event.
    at_ms: u64,
}

/// What is wrong with a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Another kind of file.
    #[error("this is no recording of Postern")]
    Magic,
    /// A form of a later version.
    #[error("a recording of version {found}, this program reads version 1")]
    Version {
        /// The version seen.
        found: u8,
    },
    /// More than any header has.
    #[error("a header of {found} bytes")]
    HeaderSize {
        /// Bytes seen.
        found: usize,
    },
    /// The header is not of the form that is written.
    #[error("the header: {0}")]
    Header(CodecFault),
    /// It was sealed to another key.
    #[error("it is sealed to the key {to:?}, not to this one")]
    OtherKey {
        /// The one that opens it.
        to: SealingKey,
    },
    /// The encapsulated key is of small order.
    #[error("its encapsulated key is weak")]
    Weak,
    /// A chunk is longer or shorter than any that is written, or does not say whether it is the last.
    #[error("chunk {position} has an impossible frame")]
    Frame {
        /// Counted from 0.
        position: u64,
    },
    /// A chunk was changed, moved or is another recording's.
    #[error("chunk {position} was changed, or is not the one that belongs here")]
    Changed {
        /// Counted from 0.
        position: u64,
    },
    /// Whoever wrote a chunk did not follow the form.
    #[error("chunk {position} does not hold events in their order")]
    Events {
        /// Counted from 0.
        position: u64,
    },
    /// Bytes follow after the last chunk.
    #[error("bytes follow after the end")]
    Trailing,
    /// The file ends before the last chunk.
    #[error("it was cut after {chunks} chunks")]
    Cut {
        /// Chunks that were read.
        chunks: u64,
    },
}

impl Reader {
    /// Begins to read with the private half of the recording key.
    #[must_use]
    pub const fn new(secret: SealingSecret) -> Self {
        Self { secret, buffer: Vec::new(), state: State::Begun }
    }

    /// Takes the next bytes of the file.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next chunk; none where more bytes are needed.
    ///
    /// # Errors
    /// The first [`Fault`], from then on for ever.
    pub fn poll_chunk(&mut self) -> Result<Option<Chunk>, Fault> {
        let polled = self.advance();
        if let Err(fault) = polled {
            self.state = State::Broken(fault);
        }
        polled
    }

    /// What the recording is of, once its beginning was read. It is proven by the first chunk that was.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        match &self.state {
            State::Open(open) => Some(&open.header),
            State::Complete { header } => Some(header),
            State::Begun | State::Broken(_) => None,
        }
    }

    /// Says that no bytes follow.
    ///
    /// # Errors
    /// [`Fault::Cut`] where the last chunk is missing, or the fault that was found.
    pub fn finish(&mut self) -> Result<(), Fault> {
        match &self.state {
            State::Begun => {
                // A short file may still be none of ours, or of a later version.
                Beginning::read(&self.buffer)?;
                Err(Fault::Cut { chunks: 0 })
            }
            State::Open(open) => Err(Fault::Cut { chunks: open.position }),
            State::Complete { .. } => Ok(()),
            State::Broken(fault) => Err(*fault),
        }
    }

    fn advance(&mut self) -> Result<Option<Chunk>, Fault> {
        if let State::Begun = self.state {
            match Beginning::read(&self.buffer) {
                Ok((beginning, rest)) => {
                    let read = self.buffer.len() - rest.len();
                    self.state = State::Open(Box::new(open(&self.secret, beginning)?));
                    self.buffer.drain(..read);
                }
                Err(Fault::Cut { .. }) if self.buffer.len() < BEGINNING_BYTES => return Ok(None),
                Err(fault) => return Err(fault),
            }
        }
        let open = match &mut self.state {
            State::Open(open) => open,
            State::Complete { .. } if self.buffer.is_empty() => return Ok(None),
            State::Complete { .. } => return Err(Fault::Trailing),
            State::Begun => return Ok(None),
            State::Broken(fault) => return Err(*fault),
        };
        let Some((sealed, last)) = framed(&self.buffer, open.position)? else { return Ok(None) };
        let events = open.chunk(sealed, last)?;
        let read = FRAME_BYTES + sealed.len();
        self.buffer.drain(..read);
        if last {
            self.state = State::Complete { header: Box::new(open.header.clone()) };
        }
        Ok(Some(Chunk { events, last }))
    }
}

impl Open {
    fn chunk(&mut self, sealed: &[u8], last: bool) -> Result<Vec<Event>, Fault> {
        let position = self.position;
        let opened = self.opener.open(sealed, &associated(&self.digest, position, last));
        let opened = opened.map_err(|_| Fault::Changed { position })?;
        let events: Vec<Event> =
            codec::decode(&opened, CHUNK_LIMIT).map_err(|_| Fault::Events { position })?;
        for event in &events {
            let fits = match &event.what {
                What::Shown(bytes) => (1..=EVENT_BYTES).contains(&bytes.len()),
                What::Screen(_)
                | What::Format(_)
                | What::Mode(_)
                | What::Asked { .. }
                | What::Answered { .. } => true,
            };
            if !fits || event.at_ms < self.at_ms {
                return Err(Fault::Events { position });
            }
            self.at_ms = event.at_ms;
        }
        self.position = position.checked_add(1).ok_or(Fault::Frame { position })?;
        Ok(events)
    }
}

fn open(secret: &SealingSecret, beginning: Beginning) -> Result<Open, Fault> {
    let Beginning { header, encapsulated, digest } = beginning;
    if header.key != secret.public() {
        return Err(Fault::OtherKey { to: header.key });
    }
    let opener = Opener::begin(secret, PURPOSE, encapsulated).map_err(|_| Fault::Weak)?;
    Ok(Open { header, opener, digest, position: 0, at_ms: 0 })
}

/// The chunk at the front of `bytes`, if it is whole. An impossible length is seen before anything is waited for.
fn framed(bytes: &[u8], position: u64) -> Result<Option<(&[u8], bool)>, Fault> {
    let frame = Fault::Frame { position };
    let Some((&[a, b, c, d, last], rest)) = bytes.split_first_chunk::<FRAME_BYTES>() else { return Ok(None) };
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(|_| frame)?;
    let last = match last {
        0 => false,
        1 => true,
        _ => return Err(frame),
    };
    if !(OVERHEAD_BYTES..=SEALED_LIMIT).contains(&length) {
        return Err(frame);
    }
    Ok(rest.get(..length).map(|sealed| (sealed, last)))
}
