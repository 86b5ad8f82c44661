//! Where a browser comes back to: one address on loopback, one request, and then it is gone.
//!
//! Every program of this computer can reach it. What does not bring the `state` along that only the browser was given is answered
//! with "not here", and waited beyond.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use postern_protocol::wire::sign_on::SignOnCode;
use postern_protocol::wire::text::Text;

/// A listener for one browser.
#[derive(Debug)]
pub(super) struct Landing {
    listener: TcpListener,
    port: u16,
}

/// What a browser has brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Landed {
    /// What the hub trades for an identity.
    Code {
        /// The code.
        code: SignOnCode,
        /// Whose it is, where the provider says so (RFC 9207).
        issuer: Option<Text>,
    },
    /// The provider has not let the person in, or the person has thought better of it.
    Refused,
}

impl Landing {
    /// Listens on loopback; 0 is any port.
    pub(super) async fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    /// The port that was bound.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Waits for the browser that brings `state`.
    pub(super) async fn wait(self, state: &str) -> Landed {
        let (send, mut landed) = mpsc::channel(1);
        let mut visitors = JoinSet::new();
        loop {
            tokio::select! {
                Some(landed) = landed.recv() => {
                    // So that the browser gets its page.
                    let leaving = async { while visitors.join_next().await.is_some() {} };
                    let _at_most = tokio::time::timeout(LEAVING, leaving).await;
                    return landed;
                }
                accepted = self.listener.accept(), if visitors.len() < VISITORS => {
                    let Ok((stream, _)) = accepted else {
                        tokio::time::sleep(LEAVING).await;
                        continue;
                    };
                    let (send, state) = (send.clone(), state.to_owned());
                    visitors.spawn(async move {
                        let service = service_fn(move |request| {
                            let answer = answer(&request, &state, &send);
                            async move { Ok::<_, Infallible>(answer) }
                        });
                        let mut server = hyper::server::conn::http1::Builder::new();
                        server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
                        let serving = server.serve_connection(TokioIo::new(stream), service);
                        let _gone = tokio::time::timeout(PATIENCE, serving).await;
                    });
                }
                Some(_) = visitors.join_next() => {}
            }
        }
    }
}

fn answer(request: &Request<Incoming>, state: &str, send: &mpsc::Sender<Landed>) -> Response<Full<Bytes>> {
    let is_there = request.method() == Method::GET && request.uri().path() == "/";
    let landed = if is_there { read(request.uri().query().unwrap_or_default(), state) } else { None };
    match landed {
        Some(landed) => {
            let words = match landed {
                Landed::Code { .. } => "You can close this window. The program goes on by itself.",
                Landed::Refused => "You were not signed in. You can close this window.",
            };
            // A second one has nothing to add.
            let _already_landed = send.try_send(landed);
            page(StatusCode::OK, words)
        }
        None => page(StatusCode::NOT_FOUND, "This is not where a sign-in ends."),
    }
}

/// What a query brings (RFC 6749, sections 4.1.2 and 4.1.2.1); none where it is another sign-in's, or something twice.
fn read(query: &str, state: &str) -> Option<Landed> {
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let one = |name: &str| {
        let mut found = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_ref());
        found.next().filter(|_| found.next().is_none())
    };
    if one("state") != Some(state) {
        return None;
    }
    if one("error").is_some() {
        return Some(Landed::Refused);
    }
    let code = SignOnCode::try_from(one("code")?.to_owned()).ok()?;
    let issuer = match one("iss") {
        None => None,
        Some(issuer) => Some(Text::try_from(issuer.to_owned()).ok()?),
    };
    Some(Landed::Code { code, issuer })
}

fn page(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Postern</title>\
         <style>body{{font:1.1rem system-ui,sans-serif;margin:20vh auto;max-width:30rem;text-align:center}}</style>\
         <h1>Postern</h1><p>{words}</p></html>\n"
    );
    let mut page = Response::new(Full::new(Bytes::from(html)));
    *page.status_mut() = status;
    let headers = page.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    );
    page
}

/// Connections at once: a browser opens a few beside the one that it needs.
const VISITORS: usize = 16;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the browser's page is waited for.
const LEAVING: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn only_what_brings_the_state_lands() {
        let code = |code: &str, issuer: Option<&str>| {
            let code = SignOnCode::try_from(code.to_owned()).unwrap();
            Some(Landed::Code { code, issuer: issuer.map(Text::clean) })
        };
        assert_eq!(read("code=a%2Bb&state=s", "s"), code("a+b", None));
        assert_eq!(
            read("state=s&code=x&iss=https%3A%2F%2Fa.example&more=1", "s"),
            code("x", Some("https://a.example"))
        );
        assert_eq!(read("state=s&error=access_denied&error_description=no", "s"), Some(Landed::Refused));
        for nothing in [
            "",
            "code=x",
            "code=x&state=t",
            "state=s",
            "code=&state=s",
            "code=x&code=y&state=s",
            "code=x&state=s&state=s",
        ] {
            assert_eq!(read(nothing, "s"), None, "{nothing}");
        }
    }

    async fn get(port: u16, target: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    }

    #[tokio::test]
    async fn a_stranger_is_waited_beyond_and_the_browser_gets_its_page() {
        let landing = Landing::bind(0).await.unwrap();
        let port = landing.port();
        let waiting = tokio::spawn(async move { landing.wait("s").await });
        let _silent = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        for stranger in ["/?code=x&state=t", "/favicon.ico", "/other?code=x&state=s"] {
            let said = get(port, stranger).await;
            assert!(said.starts_with("HTTP/1.1 404"), "{said}");
        }
        let said = get(port, "/?code=x&state=s").await;
        assert!(said.starts_with("HTTP/1.1 200") && said.contains("close this window"), "{said}");
        assert!(said.contains("cache-control: no-store"), "{said}");
        assert!(matches!(waiting.await.unwrap(), Landed::Code { issuer: None, .. }));
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap_err();
    }
}
