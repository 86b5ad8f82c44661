//! The client's end of an HTTP tunnel: the two halves of the stream, with the strict reader in front of everything that parses.
//!
//! 1. Bytes of the client go through the [`Guard`]. A head is handed to hyper when it is whole and in order, and never together with
//!    bytes of the next request.
//! 2. A fault ends the reading. Between two requests hyper sees the end of the connection and finishes what it is answering; within
//!    a body it sees an error. What the fault was stands in [`Reading`], for the answer that the client reads.
//! 3. Each head is left in [`Reading`] for the one who judges it, so that what is judged was read here and nowhere else.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use postern_protocol::gate::http::{Guard, Head, Part, RequestFault};
use postern_transport::quic::{RecvStream, SendStream};

/// What is known of the request that is being read or answered.
#[derive(Debug, Default)]
pub(super) struct Reading(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    head: Option<Head>,
    fault: Option<RequestFault>,
    /// Whether anything was written since the last head was handed on.
    has_answer: bool,
    /// The client gave up.
    is_lost: bool,
}

impl Reading {
    /// The head that was handed on last, once.
    pub(super) fn take_head(&self) -> Option<Head> {
        self.lock().head.take()
    }

    /// What ended the reading.
    pub(super) fn fault(&self) -> Option<RequestFault> {
        self.lock().fault
    }

    /// What ended the reading, if nothing was answered to the request that has it.
    pub(super) fn unanswered_fault(&self) -> Option<RequestFault> {
        let state = self.lock();
        state.fault.filter(|_| !state.has_answer)
    }

    /// Whether the client gave up.
    pub(super) fn is_lost(&self) -> bool {
        self.lock().is_lost
    }

    fn lost<T>(&self, error: io::Error) -> Poll<io::Result<T>> {
        self.lock().is_lost = true;
        Poll::Ready(Err(error))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The two halves of a stream as a connection that hyper serves.
#[derive(Debug)]
pub(super) struct Guarded<'a> {
    send: &'a mut SendStream,
    recv: &'a mut RecvStream,
    reading: &'a Reading,
    guard: Guard,
    /// What came and was not judged yet.
    input: BytesMut,
    /// What was judged and not handed on yet.
    output: Bytes,
}

impl<'a> Guarded<'a> {
    pub(super) fn new(send: &'a mut SendStream, recv: &'a mut RecvStream, reading: &'a Reading) -> Self {
        let (guard, input, output) = (Guard::default(), BytesMut::new(), Bytes::new());
        Self { send, recv, reading, guard, input, output }
    }

    /// Judges what is there. `Ok(false)` asks for more.
    fn judge(&mut self) -> Result<bool, RequestFault> {
        // hyper asks for the next request only when the last one was answered, and not by a change of protocol.
        self.guard.refused();
        while !self.input.is_empty() {
            let (taken, part) = self.guard.take(&self.input)?;
            match part {
                Part::More => self.input.advance(taken),
                Part::Head { bytes, head } => {
                    self.input.advance(taken);
                    self.output = bytes.into();
                    let mut state = self.reading.lock();
                    state.head = Some(head);
                    state.has_answer = false;
                    return Ok(true);
                }
                Part::Body => {
                    self.output = self.input.split_to(taken).freeze();
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn fail(&mut self, fault: RequestFault) -> Poll<io::Result<()>> {
        // A fault within a body belongs to the request that is being answered; one in a head to the next.
        let in_body = self.guard.is_within_body();
        let mut state = self.reading.lock();
        state.fault.get_or_insert(fault);
        if !in_body {
            state.has_answer = false;
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
    }
}

impl Read for Guarded<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.output.is_empty() {
                let bytes = this.output.len().min(buf.remaining());
                buf.put_slice(&this.output.split_to(bytes));
                return Poll::Ready(Ok(()));
            }
            match this.judge() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(fault) => return this.fail(fault),
            }
            let mut chunk = [0; CHUNK_BYTES];
            let mut read = ReadBuf::new(&mut chunk);
            if let Err(error) = ready!(Pin::new(&mut *this.recv).poll_read(cx, &mut read)) {
                return this.reading.lost(error);
            }
            if read.filled().is_empty() {
                return match this.guard.end() {
                    Ok(()) => Poll::Ready(Ok(())),
                    Err(fault) => this.fail(fault),
                };
            }
            this.input.extend_from_slice(read.filled());
        }
    }
}

impl Write for Guarded<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match ready!(Pin::new(&mut *this.send).poll_write(cx, buf)) {
            Ok(written) => {
                this.reading.lock().has_answer = true;
                Poll::Ready(Ok(written))
            }
            Err(error) => this.reading.lost(error),
        }
    }

    /// hyper would copy what it writes into a buffer of its own otherwise, and that one stays as large as it ever was.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A machine that sends byte by byte must not make a chunk of the stream of each.
        let mut small = [0; SMALL_BYTES];
        if let Some(bytes) = joined(bufs, &mut small) {
            return self.poll_write(cx, bytes);
        }
        let mut written = 0;
        for buf in bufs {
            match self.as_mut().poll_write(cx, buf) {
                Poll::Ready(Ok(bytes)) => {
                    written += bytes;
                    if bytes < buf.len() {
                        break;
                    }
                }
                Poll::Ready(Err(error)) if written == 0 => return Poll::Ready(Err(error)),
                Poll::Pending if written == 0 => return Poll::Pending,
                // It is met again by the next call.
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The stream is ended by the tunnel, which knows why.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The buffers one after another, where they fit into `room`.
fn joined<'a>(bufs: &[io::IoSlice<'_>], room: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut end = 0;
    for buf in bufs {
        let next = end + buf.len();
        room.get_mut(end..next)?.copy_from_slice(buf);
        end = next;
    }
    room.get(..end)
}

/// Bytes that are written together although they lie apart.
const SMALL_BYTES: usize = 2 * 1024;
/// Bytes read at once.
const CHUNK_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_buffers_are_joined_and_those_that_do_not_fit_are_not() {
        let bufs = [&b"1\r\n"[..], b"a", b"\r\n"].map(io::IoSlice::new);
        assert_eq!(joined(&bufs, &mut [0; 6]), Some(&b"1\r\na\r\n"[..]));
        assert_eq!(joined(&bufs, &mut [0; 5]), None);
        assert_eq!(joined(&[], &mut [0; 5]), Some(&b""[..]));
    }
}
