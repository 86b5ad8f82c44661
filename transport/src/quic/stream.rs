//! The two halves of a stream.
//!
//! Chunks are reference counted and pass without a copy. A sender should pass chunks of its own size rather than
//! slices of one huge buffer: the send window counts the whole allocation until its last byte is acknowledged.
//! Dropping a sender finishes it; dropping a receiver stops it with code 0.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use quinn::VarInt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::end::{ConnectionEnd, StreamFault, narrow};

/// The sending half of a stream.
#[derive(Debug)]
pub struct SendStream(quinn::SendStream);

impl SendStream {
    pub(super) const fn new(inner: quinn::SendStream) -> Self {
        Self(inner)
    }

    /// Sends all of `bytes`, copying them. Not safe to cancel: a prefix may have been sent.
    ///
    /// # Errors
    /// [`StreamFault::Stopped`], [`StreamFault::ConnectionLost`] or [`StreamFault::Closed`].
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), StreamFault> {
        Ok(self.0.write_all(bytes).await?)
    }

    /// Sends a chunk without copying it. Not safe to cancel.
    ///
    /// # Errors
    /// As [`write_all`](Self::write_all).
    pub async fn write_chunk(&mut self, chunk: Bytes) -> Result<(), StreamFault> {
        Ok(self.0.write_chunk(chunk).await?)
    }

    /// Sends all `chunks` without copying them; each is empty afterwards. Not safe to cancel.
    ///
    /// # Errors
    /// As [`write_all`](Self::write_all).
    pub async fn write_chunks(&mut self, chunks: &mut [Bytes]) -> Result<(), StreamFault> {
        Ok(self.0.write_all_chunks(chunks).await?)
    }

    /// Ends the stream after everything written so far; the other direction stays open.
    ///
    /// # Errors
    /// [`StreamFault::Closed`] when it was finished or reset before.
    pub fn finish(&mut self) -> Result<(), StreamFault> {
        self.0.finish().map_err(|_| StreamFault::Closed)
    }

    /// Abandons the stream; the peer's reads fail with `code`. Does nothing on a stream that is finished and
    /// delivered.
    pub fn reset(&mut self, code: u32) {
        let _already_over = self.0.reset(VarInt::from_u32(code));
    }

    /// Waits until the peer refuses more (`Some` with its code) or has received everything up to the end of a
    /// finished stream (`None`). The future does not borrow the stream.
    pub fn stopped(&self) -> impl Future<Output = Result<Option<u32>, ConnectionEnd>> + Send + Sync + use<> {
        let stopped = self.0.stopped();
        async move {
            match stopped.await {
                Ok(code) => Ok(code.map(narrow)),
                Err(quinn::StoppedError::ConnectionLost(end)) => Err(end.into()),
                // Streams of early data do not exist here.
                Err(quinn::StoppedError::ZeroRttRejected) => Ok(None),
            }
        }
    }

    /// Its number among the streams of its kind and side: the stream's id (RFC 9000 section 2.1) without its two lowest bits.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.0.id().index()
    }

    /// Streams of higher priority send first; all start at 0. Does nothing on a closed stream.
    pub fn set_priority(&self, priority: i32) {
        let _already_over = self.0.set_priority(priority);
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf).map_err(|error| StreamFault::from(error).into())
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().finish().map_err(Into::into))
    }
}

/// The receiving half of a stream.
#[derive(Debug)]
pub struct RecvStream(quinn::RecvStream);

impl RecvStream {
    pub(super) const fn new(inner: quinn::RecvStream) -> Self {
        Self(inner)
    }

    /// The next bytes, at most `max` of them, without a copy; `None` at the end. Safe to cancel.
    ///
    /// # Errors
    /// [`StreamFault::Reset`], [`StreamFault::ConnectionLost`] or [`StreamFault::Closed`].
    pub async fn read_chunk(&mut self, max: usize) -> Result<Option<Bytes>, StreamFault> {
        Ok(self.0.read_chunk(max, true).await?.map(|chunk| chunk.bytes))
    }

    /// Fills `chunks` from the front with what has arrived and yields how many; `None` at the end. Safe to cancel.
    ///
    /// # Errors
    /// As [`read_chunk`](Self::read_chunk).
    pub async fn read_chunks(&mut self, chunks: &mut [Bytes]) -> Result<Option<usize>, StreamFault> {
        Ok(self.0.read_chunks(chunks).await?)
    }

    /// Fills `buffer`. Not safe to cancel: a prefix may have been taken.
    ///
    /// # Errors
    /// [`StreamFault::Ended`] when the peer finished first, otherwise as [`read_chunk`](Self::read_chunk).
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), StreamFault> {
        let expected = buffer.len();
        self.0.read_exact(buffer).await.map_err(|error| match error {
            quinn::ReadExactError::FinishedEarly(found) => StreamFault::Ended { found, expected },
            quinn::ReadExactError::ReadError(error) => error.into(),
        })
    }

    /// Discards what has arrived and asks the peer to send no more; reads yield the end from then on. Does nothing
    /// on a stream that is over.
    pub fn stop(&mut self, code: u32) {
        let _already_over = self.0.stop(VarInt::from_u32(code));
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.get_mut().0.poll_read_buf(cx, buf)).map_err(StreamFault::from)?;
        Poll::Ready(Ok(()))
    }
}
