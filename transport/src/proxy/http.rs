//! HTTP proxies: CONNECT (RFC 9110, section 9.3.6).
//!
//! 1. The proxy is asked without a login. Most that want one say so, and with which nonce.
//! 2. A challenge is answered once, on a connection of its own: what a proxy writes behind a 407 need not be read then. Digest is
//!    answered where it is offered, so that a password does not go over the wire when it need not.
//! 3. A proxy that says 407 to that as well does not like the login.

use std::net::SocketAddr;

use data_encoding::BASE64;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use postern_protocol::gate::http::digest::{Challenge, Session, schemes};

use super::{Login, Proxy, ProxyFault, Schemes};

pub(super) async fn connect(proxy: &Proxy, target: SocketAddr) -> Result<TcpStream, ProxyFault> {
    let wanted = match ask(proxy.dial().await?, target, None).await? {
        Answer::Connected(stream) => return Ok(stream),
        Answer::Login(wanted) => wanted,
    };
    let Some(login) = &proxy.login else { return Err(ProxyFault::LoginWanted(wanted.schemes)) };
    let header = wanted.answer(login, target)?;
    match ask(proxy.dial().await?, target, Some(&header)).await? {
        Answer::Connected(stream) => Ok(stream),
        Answer::Login(_) => Err(ProxyFault::LoginRefused(407)),
    }
}

enum Answer {
    Connected(TcpStream),
    Login(Wanted),
}

/// What a proxy wants.
struct Wanted {
    schemes: Schemes,
    digest: Option<Challenge>,
}

impl Wanted {
    fn answer(self, login: &Login, target: SocketAddr) -> Result<Zeroizing<Vec<u8>>, ProxyFault> {
        let Login { user, password } = login;
        if let Some(challenge) = self.digest {
            let mut random = [0; 16];
            getrandom::fill(&mut random).map_err(|_| ProxyFault::NoRandomness)?;
            let (login, request) = ((&**user, &***password), ("CONNECT", &*target.to_string()));
            let header = Session::new(challenge, random).authorization(login, request);
            return header.map(Zeroizing::new).ok_or(ProxyFault::LoginUnfit);
        }
        if !self.schemes.basic {
            return Err(ProxyFault::SchemeUnspoken(self.schemes));
        }
        let pair = Zeroizing::new([user.as_bytes(), b":", password].concat());
        Ok(Zeroizing::new(format!("Basic {}", BASE64.encode(&pair)).into_bytes()))
    }
}

async fn ask(
    mut stream: TcpStream,
    target: SocketAddr,
    login: Option<&Zeroizing<Vec<u8>>>,
) -> Result<Answer, ProxyFault> {
    let mut request = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes());
    if let Some(login) = login {
        request.extend([b"Proxy-Authorization: ", login.as_slice(), b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    stream.write_all(&request).await.map_err(|_| ProxyFault::Ended)?;
    let mut head = Vec::new();
    loop {
        if head.len() == HEAD {
            return Err(ProxyFault::HeadTooLong { limit: HEAD });
        }
        let room = u64::try_from(HEAD - head.len()).unwrap_or_default();
        let read = (&mut stream).take(room).read_buf(&mut head).await;
        if read.map_err(|_| ProxyFault::Ended)? == 0 {
            return Err(ProxyFault::Ended);
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        let parsed = answer.parse(&head).map_err(|_| ProxyFault::NotHttp)?;
        let httparse::Status::Complete(length) = parsed else { continue };
        return match answer.code.unwrap_or_default() {
            // The far end does not speak first: what follows here the proxy has made up.
            200..=299 if length < head.len() => Err(ProxyFault::NotHttp),
            200..=299 => Ok(Answer::Connected(stream)),
            407 => Ok(Answer::Login(wanted(answer.headers))),
            // tinyproxy says so of a wrong password.
            401 if login.is_some() => Err(ProxyFault::LoginRefused(401)),
            other => Err(ProxyFault::Refused(other)),
        };
    }
}

fn wanted(headers: &[httparse::Header<'_>]) -> Wanted {
    let values = || {
        let all = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("proxy-authenticate"));
        all.map(|header| header.value)
    };
    Wanted { schemes: Schemes::of(schemes(values())), digest: Challenge::strongest(values()) }
}

/// Bytes of an answer's head.
const HEAD: usize = 8 * 1024;
const HEADERS: usize = 64;
