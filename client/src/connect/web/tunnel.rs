//! The tunnel of one local connection, as an HTTP/1.1 connection to the machine.
//!
//! 1. It is opened for a request that may pass, and kept for the next.
//! 2. One that has ended meanwhile is opened anew: at once when it is known, otherwise where the request was not taken or
//!    can be said twice (GET and HEAD without a body).
//! 3. Dropping it resets the stream: the machine must not take half a request for a whole one.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::AbortHandle;

use postern_protocol::id::TunnelId;
use postern_protocol::wire::registry::CloseCode;
use postern_protocol::wire::text::Text;
use postern_transport::quic::{RecvStream, SendStream, StreamFault};

use crate::connect::keeper::up_within;
use crate::connect::vigil::Alive;
use crate::connect::web::Web;
use crate::connect::web::body::Payload;
use crate::device::Opened;
use crate::ending::Ending;
use crate::exit::Exit;
use crate::problem::Problem;

/// An open tunnel.
#[derive(Debug)]
pub(super) struct Tunnel {
    start: Option<Text>,
    id: TunnelId,
    sender: SendRequest<Payload>,
    fault: Fault,
    task: AbortHandle,
    _alive: Alive,
}

impl Tunnel {
    /// Opens one.
    pub(super) async fn open(web: &Arc<Web>) -> Result<Self, Problem> {
        let mut states = web.states.clone();
        let Some(link) = up_within(&mut states, UP_WITHIN).await else {
            return Err(Problem::connecting_again(web.device.as_str()));
        };
        let Opened { tunnel: id, until, start, send, recv, .. } = link.open(&web.wanted).await?;
        let alive = web.ends.note(id, until);
        let fault = Fault::default();
        let io = TokioIo::new(Stream { send, recv, fault: fault.clone(), finished: false });
        let (sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .max_buf_size(BUFFER_BYTES)
            .handshake(io)
            .await
            .map_err(|_| Problem::no_answer())?;
        let (shared, seen) = (Arc::clone(web), fault.clone());
        let task = tokio::spawn(async move {
            let _told_by_fault = connection.with_upgrades().await;
            if let Some(problem) = seen.problem(id) {
                shared.report(&problem);
            }
        });
        let task = task.abort_handle();
        Ok(Self { start, id, sender, fault, task, _alive: alive })
    }

    /// Where a browser begins.
    pub(super) fn start(&self) -> Option<&str> {
        self.start.as_ref().map(Text::as_str)
    }

    /// Why it has ended; none while it is open, and after an orderly end.
    pub(super) fn problem(&self) -> Option<Problem> {
        self.fault.problem(self.id)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends a request through the tunnel in `slot`, opened where there is none, and yields the machine's answer, whose body
/// is still to come.
pub(super) async fn send(
    web: &Arc<Web>,
    slot: &mut Option<Tunnel>,
    mut request: Request<Payload>,
) -> Result<Response<Incoming>, Problem> {
    let mut again = repeated(&request);
    loop {
        let (mut tunnel, reused) = match usable(slot.take()).await {
            Some(tunnel) => (tunnel, true),
            None => (Tunnel::open(web).await?, false),
        };
        match tunnel.sender.try_send_request(request).await {
            Ok(response) => {
                *slot = Some(tunnel);
                return Ok(response);
            }
            Err(mut error) => match error.take_message().or_else(|| again.take()) {
                // Only an old tunnel may have ended unnoticed; a new one that ends has its reasons.
                Some(same) if reused => request = same,
                Some(_) | None => return Err(tunnel.problem().unwrap_or_else(Problem::no_answer)),
            },
        }
    }
}

/// The tunnel, where it takes another request.
async fn usable(kept: Option<Tunnel>) -> Option<Tunnel> {
    let mut tunnel = kept?;
    tunnel.sender.ready().await.ok().map(|()| tunnel)
}

/// The same request, where saying it twice does what saying it once does.
fn repeated(request: &Request<Payload>) -> Option<Request<Payload>> {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD) && request.body().is_end_stream();
    is_safe.then(|| {
        let mut same = Request::new(Payload::said(""));
        *same.method_mut() = request.method().clone();
        *same.uri_mut() = request.uri().clone();
        *same.headers_mut() = request.headers().clone();
        same
    })
}

/// What ended a stream before its time.
#[derive(Clone, Debug, Default)]
struct Fault(Arc<Mutex<Option<Ending>>>);

impl Fault {
    fn note(&self, fault: StreamFault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| fault.into());
    }

    /// Whether the device has heard enough.
    fn is_done(&self) -> bool {
        let ending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*ending, Some(Ending::Said(CloseCode::Done)))
    }

    fn problem(&self, id: TunnelId) -> Option<Problem> {
        let ending = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        match ending {
            Ending::Said(CloseCode::Done) => None,
            // The number finds the row in the device's audit.
            ending @ (Ending::Said(_) | Ending::Lost(_)) => {
                Some(Problem::ended(&ending, Exit::DeviceUnreachable).about(&id.to_string()))
            }
        }
    }
}

/// Both halves of the tunnel's stream.
#[derive(Debug)]
struct Stream {
    send: SendStream,
    recv: RecvStream,
    fault: Fault,
    finished: bool,
}

impl Stream {
    /// Keeps why the stream ended, which does not survive the way through the HTTP library.
    fn told<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &outcome
            && let Some(fault) = error.get_ref().and_then(|inner| inner.downcast_ref::<StreamFault>())
        {
            self.fault.note(fault.clone());
        }
        outcome
    }
}

impl Stream {
    /// A device that ends its own direction in order says by the other one why.
    fn ask_why(&self, cx: &mut Context<'_>) {
        if let Poll::Ready(Ok(Some(code))) = pin!(self.send.stopped()).poll(cx) {
            self.fault.note(StreamFault::Stopped(code));
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        let before = buf.filled().len();
        let outcome = ready!(Pin::new(&mut stream.recv).poll_read(cx, buf));
        if outcome.is_ok() && buf.filled().len() == before && buf.remaining() > 0 {
            stream.ask_why(cx);
        }
        Poll::Ready(stream.told(outcome))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        let outcome = ready!(Pin::new(&mut stream.send).poll_write(cx, buf));
        let outcome = stream.told(outcome);
        // It answers before the end of a body and reads no more of it: the answer is still to come, so the rest is dropped.
        Poll::Ready(if outcome.is_err() && stream.fault.is_done() { Ok(buf.len()) } else { outcome })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().send).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        stream.finished = true;
        Pin::new(&mut stream.send).poll_shutdown(cx)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.finished {
            self.send.reset(0);
        }
        self.recv.stop(0);
    }
}

/// How long a browser is kept waiting while the device is dialled again; then a page says so.
const UP_WITHIN: Duration = Duration::from_secs(5);
const BUFFER_BYTES: usize = 64 * 1024;
