//! The machine's end of an HTTP tunnel: a socket to the machine, plain or in TLS, that counts what passes.
//!
//! A line that is cut drops what the kernel still holds for the machine: the last byte has left.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use postern_transport::splice::Meter;

/// Whether the lines of a tunnel are cut rather than closed. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shears(Arc<AtomicBool>);

impl Shears {
    /// Every line of the tunnel is cut when it is dropped.
    pub(crate) fn open(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection to a machine.
#[derive(Debug)]
pub(crate) struct Line {
    wire: TcpStream,
    meter: Arc<Meter>,
    shears: Shears,
}

impl Line {
    pub(crate) const fn new(wire: TcpStream, meter: Arc<Meter>, shears: Shears) -> Self {
        Self { wire, meter, shears }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.shears.0.load(Ordering::Relaxed) {
            let _already_closed = self.wire.set_zero_linger();
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.wire).poll_read(cx, buf))?;
        this.meter.count_sent(buf.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.wire).poll_write(cx, buf))?;
        this.meter.count_received(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_shutdown(cx)
    }
}

impl Read for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunk = [0; CHUNK_BYTES];
        let room = buf.remaining().min(CHUNK_BYTES);
        let mut read = ReadBuf::new(chunk.get_mut(..room).unwrap_or_default());
        ready!(AsyncRead::poll_read(self, cx, &mut read))?;
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(self, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(self, cx)
    }
}

/// Bytes read at once.
const CHUNK_BYTES: usize = 16 * 1024;
