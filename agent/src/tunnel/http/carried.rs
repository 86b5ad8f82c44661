//! The body of an answer on its way to the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::ledger::Flight;

/// The body of an answer.
pub(super) enum Carried {
    /// The gate's own.
    Page(Option<Bytes>),
    /// The machine's, on its way.
    Machine { body: Incoming, flight: Flight },
}

impl Carried {
    pub(super) fn page(bytes: Vec<u8>) -> Self {
        Self::Page(Some(bytes.into()))
    }
}

impl Body for Carried {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Page(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Machine { body, flight } => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                if let Some(Ok(frame)) = &frame {
                    match frame.data_ref() {
                        Some(data) => flight.count(data.len()),
                        // Trailers end at this hop; nothing follows them.
                        None => return Poll::Ready(None),
                    }
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Page(bytes) => bytes.is_none(),
            Self::Machine { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Page(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Machine { body, .. } => body.size_hint(),
        }
    }
}
