//! Single messages on a stream: a length, then the encoded value.
//!
//! 1. [`write_frame`] encodes a value and sends four bytes of length (little endian) and the encoding.
//! 2. [`read_frame`] reads the length, refuses it above the limit, collects that many bytes and decodes them.
//!
//! A reader takes exactly one frame and not a byte after it, so that a stream can carry raw bytes after its first
//! message. Every read has a deadline: a peer that sends one byte a minute holds nothing for long. Deliberately
//! absent: compression, several values per frame, and limits of its own (each message brings its limit).

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use postern_protocol::wire::codec::{self, CodecFault};

use crate::quic::{RecvStream, SendStream, StreamFault};

/// Reads one frame of at most `max` bytes, all of it within `within`. Not safe to cancel.
///
/// # Errors
/// The [`FrameFault`] of the first thing that is wrong; the stream is of no more use after it.
pub async fn read_frame<T: Serialize + DeserializeOwned>(
    recv: &mut RecvStream,
    max: usize,
    within: Duration,
) -> Result<T, FrameFault> {
    let bytes = tokio::time::timeout(within, read_bytes(recv, max))
        .await
        .map_err(|_| FrameFault::TimedOut { within })??;
    Ok(codec::decode(&bytes, max)?)
}

/// Sends `value` as one frame of at most `max` bytes. Not safe to cancel.
///
/// # Errors
/// [`FrameFault::Codec`] when the value is too large, [`FrameFault::Stream`] when the peer takes no more.
pub async fn write_frame<T: Serialize>(
    send: &mut SendStream,
    value: &T,
    max: usize,
) -> Result<(), FrameFault> {
    let body = codec::encode(value, max)?;
    let len =
        u32::try_from(body.len()).map_err(|_| CodecFault::TooLarge { found: body.len(), limit: LARGEST })?;
    // One chunk, so that length and body leave in one packet.
    let frame = [len.to_le_bytes().as_slice(), &body].concat();
    Ok(send.write_chunk(Bytes::from(frame)).await?)
}

async fn read_bytes(recv: &mut RecvStream, max: usize) -> Result<Vec<u8>, FrameFault> {
    let mut header = [0; 4];
    recv.read_exact(&mut header).await.map_err(|fault| match fault {
        StreamFault::Ended { found: 0, .. } => FrameFault::Ended,
        StreamFault::Ended { found, expected } => FrameFault::Truncated { found, expected },
        fault @ (StreamFault::Reset(_)
        | StreamFault::Stopped(_)
        | StreamFault::ConnectionLost(_)
        | StreamFault::Closed) => FrameFault::Stream(fault),
    })?;
    let expected = usize::try_from(u32::from_le_bytes(header)).unwrap_or(usize::MAX);
    if expected > max {
        return Err(FrameFault::TooLarge { found: expected, limit: max });
    }
    // Grows with what has come: a length alone, without the bytes, must not cost the reader the limit.
    let mut body = Vec::new();
    while body.len() < expected {
        match recv.read_chunk(expected - body.len()).await? {
            Some(chunk) => body.extend_from_slice(&chunk),
            None => return Err(FrameFault::Truncated { found: body.len(), expected }),
        }
    }
    Ok(body)
}

/// Why there is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// The peer finished the stream between two frames: it has nothing more to say.
    #[error("the peer has finished the stream")]
    Ended,
    /// The announced length is above the limit; nothing of the body was read.
    #[error("a frame of {found} bytes was announced, at most {limit} are allowed")]
    TooLarge {
        /// Announced bytes.
        found: usize,
        /// Allowed bytes.
        limit: usize,
    },
    /// The frame was not complete in time.
    #[error("no complete frame within {within:?}")]
    TimedOut {
        /// The time it had.
        within: Duration,
    },
    /// The peer finished the stream inside a frame.
    #[error("the stream ended after {found} of {expected} bytes of a frame")]
    Truncated {
        /// Bytes that came.
        found: usize,
        /// Bytes that were announced, or the four of the length.
        expected: usize,
    },
    /// The bytes are not the encoding of the expected message, or the message is too large to send.
    #[error("the frame's content: {0}")]
    Codec(#[from] CodecFault),
    /// The stream failed.
    #[error(transparent)]
    Stream(#[from] StreamFault),
}

/// What four bytes of length can say.
const LARGEST: usize = u32::MAX as usize;
