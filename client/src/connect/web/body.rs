//! Bodies: words of this program, or bytes that pass through as they come.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use postern_transport::crowd::Word;

use crate::connect::web::socket::CutFlag;

/// The body of a request or answer.
#[derive(Debug)]
pub(super) enum Payload {
    /// Said by this program.
    Said(Option<Bytes>),
    /// Passed on, frame by frame, trailers as well.
    Carried(Incoming, CutFlag, #[expect(dead_code, reason = "held for its drop")] Option<Served>),
}

impl Payload {
    /// Words of this program.
    pub(super) fn said(words: impl Into<Bytes>) -> Self {
        Self::Said(Some(words.into()).filter(|words| !words.is_empty()))
    }

    /// Bytes of the other side. When they break off, `cut` is set: the reader must not take what it got for all.
    pub(super) const fn carried(body: Incoming, cut: CutFlag) -> Self {
        Self::Carried(body, cut, None)
    }

    /// The same of an answer, whose reader is being served until its end.
    pub(super) const fn served(body: Incoming, cut: CutFlag, served: Served) -> Self {
        Self::Carried(body, cut, Some(served))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Said(words) => Poll::Ready(words.take().map(|words| Ok(Frame::data(words)))),
            Self::Carried(body, cut, _) => Pin::new(body).poll_frame(cx).map_err(|error| {
                cut.set();
                error
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Said(words) => words.is_none(),
            Self::Carried(body, ..) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Said(words) => {
                let bytes = words.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(bytes).unwrap_or(u64::MAX))
            }
            Self::Carried(body, ..) => body.size_hint(),
        }
    }
}

/// Somebody is being served for as long as it is kept, and gives way to nobody.
#[derive(Debug)]
pub(super) struct Served(Word);

impl Served {
    /// From now on.
    pub(super) fn new(word: &Word) -> Self {
        word.heard();
        Self(word.clone())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.answered();
    }
}
