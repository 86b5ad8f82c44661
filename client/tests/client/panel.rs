//! A machine's web pages at the far end of a tunnel, as a gate would hand them on.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONNECTION, COOKIE, SET_COOKIE, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use postern_protocol::policy::Reason;
use postern_protocol::wire::registry::CloseCode;
use postern_transport::quic::{RecvStream, SendStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

/// `/` says `panel` and sets cookies; `/echo` sends bodies back as they come; `/slow` begins an answer and never ends it;
/// `/last` ends the connection after its answer; `/gone` ends it instead of an answer; upgrades echo.
#[derive(Clone, Default)]
pub(crate) struct Panel {
    seen: Arc<Mutex<Vec<String>>>,
    /// What every request for a tunnel is answered with, instead.
    pub(crate) refusal: Arc<Mutex<Option<Reason>>>,
}

impl Panel {
    /// Requests that came, each in one line: method, target, then all headers that could hold a key.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Serves one tunnel until it ends or is cut.
    pub(crate) async fn serve(
        self,
        mut send: SendStream,
        mut recv: RecvStream,
        mut cuts: watch::Receiver<Option<CloseCode>>,
    ) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let serving = tokio::spawn(async move {
            let service = service_fn(move |request| {
                let panel = self.clone();
                async move { panel.answer(request).await }
            });
            let _over =
                http1::Builder::new().serve_connection(TokioIo::new(far), service).with_upgrades().await;
        });
        let (mut reader, mut writer) = tokio::io::split(near);
        let up = async {
            while let Ok(Some(chunk)) = recv.read_chunk(usize::MAX).await {
                if writer.write_all(&chunk).await.is_err() {
                    break;
                }
            }
            let _gone = writer.shutdown().await;
            std::future::pending::<()>().await;
        };
        let down = async {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(taken @ 1..) = reader.read(&mut buffer).await {
                if send.write_all(&buffer[..taken]).await.is_err() {
                    break;
                }
            }
        };
        let cut = async { cuts.wait_for(Option::is_some).await.unwrap().unwrap().number() };
        let code = tokio::select! {
            () = up => None,
            () = down => None,
            code = cut => Some(code),
        };
        serving.abort();
        match code {
            Some(code) => {
                send.reset(code);
                recv.stop(code);
            }
            None => {
                let _gone = send.finish();
            }
        }
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Result<Response<Answer>, Gone> {
        let mut line = format!("{} {}", request.method(), request.uri());
        let mut told: Vec<String> = (request.headers().iter())
            .filter(|(name, _)| {
                name.as_str().starts_with("x-") || [COOKIE, CONNECTION, UPGRADE].contains(name)
            })
            .map(|(name, value)| format!(" | {name}: {}", value.to_str().unwrap()))
            .collect();
        told.sort();
        line.extend(told);
        self.seen.lock().unwrap().push(line);
        if request.headers().contains_key(UPGRADE) {
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded.await.unwrap()));
                let _over = tokio::io::copy(&mut reader, &mut writer).await;
                let _gone = writer.shutdown().await;
            });
            let mut response = Response::new(Answer::Whole(None));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(UPGRADE, "websocket".parse().unwrap());
            response.headers_mut().insert(CONNECTION, "upgrade".parse().unwrap());
            return Ok(response);
        }
        let path = request.uri().path().to_owned();
        let mut response = Response::new(match path.as_str() {
            "/gone" => return Err(Gone),
            "/echo" => Answer::Echo(request.into_body()),
            "/slow" => Answer::Endless(Some(Bytes::from_static(b"begin"))),
            _ => Answer::Whole(Some(Bytes::from_static(b"panel"))),
        });
        if path == "/last" {
            response.headers_mut().insert(CONNECTION, "close".parse().unwrap());
        }
        for cookie in ["sid=7; Path=/", "postern-1=forged; Path=/"] {
            response.headers_mut().append(SET_COOKIE, cookie.parse().unwrap());
        }
        Ok(response)
    }
}

/// The machine hangs up.
#[derive(Debug)]
struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("gone")
    }
}

impl std::error::Error for Gone {}

enum Answer {
    Whole(Option<Bytes>),
    Echo(Incoming),
    Endless(Option<Bytes>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Whole(words) => Poll::Ready(words.take().map(|words| Ok(Frame::data(words)))),
            Self::Echo(body) => Pin::new(body).poll_frame(cx),
            Self::Endless(words) => match words.take() {
                Some(words) => Poll::Ready(Some(Ok(Frame::data(words)))),
                None => Poll::Pending,
            },
        }
    }
}
