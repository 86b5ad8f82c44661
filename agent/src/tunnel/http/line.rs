//! The machine's end of an HTTP tunnel: a socket to the machine, plain or in TLS, that counts what passes.
//!
//! A line that is cut drops what the kernel still holds for the machine: the last byte has left.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use postern_protocol::policy::{Permit, Upstream};
use postern_protocol::wire::registry::Failure;
use postern_transport::splice::Meter;
use postern_transport::{MachineStream, MachineTlsFault};

use crate::tunnel::{Context, PATIENCE};

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
    wire: Wire,
    meter: Arc<Meter>,
    shears: Shears,
}

#[derive(Debug)]
enum Wire {
    Plain(TcpStream),
    /// With a key that is pinned.
    Tls(Box<MachineStream>),
}

impl Line {
    /// Dials the machine of a permit, in TLS where the service pins keys: such a machine is never spoken to in the clear.
    ///
    /// # Errors
    /// What to tell the client.
    pub(crate) async fn dial(
        context: &Context,
        permit: &Permit,
        meter: &Arc<Meter>,
        shears: &Shears,
    ) -> Result<Self, Failure> {
        let stream = context.guard.dial(permit).await?;
        let wire = match permit.service().upstream() {
            Some(Upstream { host, tls: Some(pins) }) => {
                let host = host.as_ref().map(AsRef::as_ref);
                let ip = permit.target().ok_or(Failure::Internal)?.ip();
                let connecting = MachineStream::connect(stream, ip, host, pins, PATIENCE);
                let connected = connecting.await.map_err(|fault| failure(context, permit, fault))?;
                Wire::Tls(Box::new(connected))
            }
            Some(Upstream { tls: None, .. }) | None => Wire::Plain(stream),
        };
        Ok(Self { wire, meter: Arc::clone(meter), shears: shears.clone() })
    }

    fn stream(&mut self) -> Pin<&mut dyn BothWays> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream as &mut dyn BothWays),
            Wire::Tls(stream) => Pin::new(&mut **stream as &mut dyn BothWays),
        }
    }
}

/// What bytes can be read from and written to.
trait BothWays: AsyncRead + AsyncWrite + Unpin {}

impl BothWays for TcpStream {}
impl BothWays for MachineStream {}

fn failure(context: &Context, permit: &Permit, fault: MachineTlsFault) -> Failure {
    if let Some(suppressed) = context.traffic.admit() {
        let service = &permit.service().name;
        tracing::warn!(%service, error = %fault, suppressed, "no TLS with a machine");
    }
    match fault {
        MachineTlsFault::AnotherKey { .. } => Failure::MachineKey,
        MachineTlsFault::Handshake => Failure::MachineTls,
        MachineTlsFault::TimedOut => Failure::Unreachable,
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.shears.0.load(Ordering::Relaxed) {
            match &self.wire {
                Wire::Plain(stream) => {
                    let _already_closed = stream.set_zero_linger();
                }
                Wire::Tls(stream) => stream.set_zero_linger(),
            }
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(this.stream().poll_read(cx, buf))?;
        this.meter.count_sent(buf.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(this.stream().poll_write(cx, buf))?;
        this.meter.count_received(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(this.stream().poll_write_vectored(cx, bufs))?;
        this.meter.count_received(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream().poll_shutdown(cx)
    }
}
