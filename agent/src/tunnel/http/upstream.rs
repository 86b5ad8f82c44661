//! The one connection of an HTTP tunnel to its machine. It is never shared with another tunnel, so that two people never share a
//! connection on which an answer could be taken for another's.
//!
//! 1. [`Upstream::over`] speaks HTTP/1.1 on a [`Line`]; a task of its own drives it and ends with it.
//! 2. A request with a body is the last on its connection: a machine that does not read a body would take it for the next request,
//!    and nobody would have judged that one.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use super::line::Line;
use super::page::Answered;

/// A connection to the machine that can take a request.
#[derive(Debug)]
pub(super) struct Upstream {
    sender: SendRequest<Sent>,
    /// Drives the connection. Held, so that it ends with this.
    _driving: JoinSet<()>,
}

/// The body of a request: all at once, or as it comes from the client.
pub(super) type Sent = Either<Full<Bytes>, Incoming>;

/// No body.
pub(super) fn nothing() -> Sent {
    Sent::Left(Full::default())
}

impl Upstream {
    /// Begins to speak HTTP on a line.
    ///
    /// # Errors
    /// When the line is over already.
    pub(super) async fn over(line: Line) -> hyper::Result<Self> {
        let (sender, connection) = builder().handshake(TokioIo::new(line)).await?;
        let mut driving = JoinSet::new();
        driving.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to a machine failed");
            }
        });
        Ok(Self { sender, _driving: driving })
    }

    /// Whether the machine still holds the connection, as far as is known.
    pub(super) async fn is_ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Sent>,
    ) -> Result<Response<Incoming>, Box<TrySendError<Request<Sent>>>> {
        self.sender.try_send_request(request).await.map_err(Box::new)
    }
}

/// How the gate speaks to machines.
pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    // Old machines compare names of headers as they are usually written.
    builder.title_case_headers(true).preserve_header_case(true);
    builder.max_headers(MACHINE_HEADERS).max_buf_size(BUFFER_BYTES);
    builder
}

/// Reads the body of a request, whose length was judged.
///
/// # Errors
/// [`Answered::Garbled`] when it breaks off.
pub(super) async fn whole(body: Incoming) -> Result<Bytes, Answered> {
    Ok(body.collect().await.map_err(|_error| Answered::Garbled)?.to_bytes())
}

/// Headers of an answer.
const MACHINE_HEADERS: usize = 128;
/// Bytes that each end of a tunnel buffers of heads, and of what the other end has not taken.
pub(super) const BUFFER_BYTES: usize = 32 * 1024;
