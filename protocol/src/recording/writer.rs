//! The end that records.

use zeroize::Zeroizing;

use super::event::{Event, What};
use super::header::{self, Header};
use super::{FRAME_BYTES, PURPOSE, associated};
use crate::trust::Digest;
use crate::trust::sealed::SealFault;
use crate::trust::sealed::sequence::{OVERHEAD_BYTES, Sealer};
use crate::wire::codec::{self, CodecFault};

/// Bytes of events from which a chunk is full.
pub const CHUNK_BYTES: usize = 32 * 1024;
/// Bytes of events of one chunk at most: a full one less a byte, and the largest event after it.
pub(super) const CHUNK_LIMIT: usize = CHUNK_BYTES + super::EVENT_BYTES + 1024;

/// Seals a recording. It holds at most one chunk of events, and cannot read what it has sealed.
#[derive(Debug)]
pub struct Writer {
    sealer: Sealer,
    beginning: Digest,
    position: u64,
    pending: Vec<Event>,
    weight: usize,
}

/// Why something cannot be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// No checked key causes it.
    #[error("the recording cannot be sealed to its key")]
    Seal,
    /// A value that has no encoding, or is larger than it may be.
    #[error("the recording cannot be encoded: {0}")]
    Codec(CodecFault),
}

impl Writer {
    /// Begins a recording; also returns the first bytes of the file. `seed` must be fresh random bytes: with the same
    /// ones twice, two recordings would be encrypted with one key stream.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn begin(header: &Header, seed: Zeroizing<[u8; 32]>) -> Result<(Self, Vec<u8>), WriteError> {
        let (sealer, encapsulated) = Sealer::begin(&header.key, PURPOSE, seed)?;
        let bytes = header::write(header, &encapsulated)?;
        let beginning = Digest::of(&[&bytes]);
        Ok((Self { sealer, beginning, position: 0, pending: Vec::new(), weight: 0 }, bytes))
    }

    /// Adds an event. Seal when the writer [is full](Self::is_full); an event that is too much for a chunk makes sealing
    /// fail.
    pub fn push(&mut self, at_ms: u64, what: What) {
        self.weight += what.weight();
        self.pending.push(Event { at_ms, what });
    }

    /// Whether a chunk is due because of what it would hold.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.weight >= CHUNK_BYTES
    }

    /// Whether there is nothing to seal.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The next bytes of the file: a chunk of what was pushed since the last one.
    ///
    /// # Errors
    /// [`WriteError`]; the recording cannot go on then.
    pub fn seal(&mut self) -> Result<Vec<u8>, WriteError> {
        self.chunk(false)
    }

    /// The last bytes of the file. The key of the sealer is wiped.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn finish(mut self) -> Result<Vec<u8>, WriteError> {
        self.chunk(true)
    }

    fn chunk(&mut self, last: bool) -> Result<Vec<u8>, WriteError> {
        let events = Zeroizing::new(codec::encode(&self.pending, CHUNK_LIMIT)?);
        self.pending.clear();
        self.weight = 0;
        let bound = associated(&self.beginning, self.position, last);
        let sealed = self.sealer.seal(&events, &bound)?;
        self.position = self.position.checked_add(1).ok_or(WriteError::Seal)?;
        let length = u32::try_from(sealed.len()).map_err(|_| WriteError::Seal)?;
        let mut bytes = Vec::with_capacity(FRAME_BYTES + sealed.len());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.push(u8::from(last));
        bytes.extend_from_slice(&sealed);
        Ok(bytes)
    }
}

impl From<SealFault> for WriteError {
    fn from(SealFault: SealFault) -> Self {
        Self::Seal
    }
}

impl From<CodecFault> for WriteError {
    fn from(fault: CodecFault) -> Self {
        Self::Codec(fault)
    }
}

/// Bytes of a sealed chunk at most.
pub(super) const SEALED_LIMIT: usize = CHUNK_LIMIT + OVERHEAD_BYTES;
