//! Serves the API, or what is asked beside it, on a listener, within bounds: connections, time for the head of a request, time in all.
//!
//! 1. Beyond [`CONNECTIONS`], one that has not sent a whole request yet gives way to whoever comes.
//! 2. Where all are being answered, whoever comes waits in the kernel's queue.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use postern_transport::crowd::{Crowd, Word, is_called};

use crate::files::{PAUSE, Shortage};

/// Serves until it is dropped; `name` is what the listener is called in the log.
pub async fn serve(listener: TcpListener, router: Router, name: &'static str) {
    let (mut connections, mut crowd) = (JoinSet::new(), Crowd::default());
    let mut shortage = Shortage::of(name);
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS || crowd.waiting() > 0 => match accepted {
                Ok((stream, from)) => {
                    // Who waited a moment ago may have spoken since: then nobody gives way, and there is no place.
                    if connections.len() >= CONNECTIONS && !crowd.one_leaves() {
                        continue;
                    }
                    let word = Word::default();
                    let task = connections.spawn(attend(stream, router.clone(), word.clone()));
                    crowd.add(from.ip(), task, word);
                }
                Err(error) => {
                    if shortage.note(&error) && is_called(&listener) {
                        let _nobody_waits = crowd.one_leaves();
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn attend(stream: TcpStream, router: Router, word: Word) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| {
        let word = word.clone();
        let answering = router.call(request.map(|body| Body::new(Arriving::new(body, word.clone()))));
        async move {
            let answer = answering.await;
            word.answered();
            answer
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES);
    let served = tokio::time::timeout(IN_ALL, http.serve_connection(TokioIo::new(stream), service));
    if let Ok(Err(error)) = served.await {
        tracing::debug!(%error, "a connection over HTTP ended");
    }
}

/// A body that says when it is there: until then the request is none, and costs its sender nothing.
struct Arriving {
    body: Incoming,
    word: Word,
}

impl Arriving {
    fn new(body: Incoming, word: Word) -> Self {
        if body.is_end_stream() {
            word.heard();
        }
        Self { body, word }
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.word.heard();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Connections at once.
const CONNECTIONS: usize = 64;
/// For the head of a request, and between two requests.
const HEAD: Duration = Duration::from_secs(10);
/// Of a connection: a body that comes byte by byte does not hold a place for ever.
const IN_ALL: Duration = Duration::from_secs(120);
/// The head of a request.
const HEAD_BYTES: usize = 32 * 1024;
