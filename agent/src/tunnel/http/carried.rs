//! The body of an answer on its way to the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::ledger::Flight;

/// The body of an answer: the gate's own, or the machine's.
pub(super) type Carried = Either<Full<Bytes>, Passing>;

/// A machine's body, counted as it passes.
pub(super) struct Passing {
    pub(super) body: Incoming,
    pub(super) flight: Flight,
}

/// Words of the gate.
pub(super) fn page(bytes: Vec<u8>) -> Carried {
    Carried::Left(Full::new(bytes.into()))
}

impl Body for Passing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { body, flight } = self.get_mut();
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

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
