//! Proxies of factories and offices: HTTP CONNECT and SOCKS5, in front of TLS to a hub or relay.
//!
//! 1. [`Proxy::parse`] reads a URL, [`Proxies::from_environment`] the variables that every program of a computer reads.
//! 2. [`Proxy::connect`] resolves the proxy's name as the system does, and asks it for a connection to an address.
//! 3. [`http`] speaks CONNECT, without a login or with Basic or Digest; [`socks`] speaks SOCKS5, without one or with user and password.
//!
//! A proxy is as little trusted as the network behind it: what it may answer is bounded in bytes and time, and what it carries is TLS
//! around QUIC. Deliberately absent: TLS to the proxy itself, NTLM and Kerberos, which are named where one wants them, and names of
//! hubs: a proxy is asked for an address.

mod environment;
mod fault;
mod http;
mod socks;

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use zeroize::Zeroizing;

pub use self::environment::{EnvironmentFault, Proxies};
pub use self::fault::{ProxyFault, Schemes, SocksReply};

/// A proxy: how it is spoken with, where it is, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    name: ProxyName,
    kind: Kind,
    host: Box<str>,
    port: u16,
    login: Option<Login>,
}

/// A proxy's URL without its login, for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProxyName(Arc<str>);

/// User and password at a proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    user: Box<str>,
    password: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Socks,
}

/// Why a text is no proxy's URL, or a login none that can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyUrlFault {
    /// Another scheme than those that are spoken.
    #[error("the scheme is none that is spoken with a proxy; expected is `http://` or `socks5://`")]
    Scheme,
    /// TLS to the proxy.
    #[error(
        "TLS to the proxy itself (`https://`) is not spoken; expected is `http://`, which carries TLS all the same"
    )]
    Tls,
    /// No host, or none that could be one.
    #[error("there is no host in it; expected is `http://HOST:PORT`")]
    Host,
    /// The port is missing or none.
    #[error("the port is missing or not between 1 and 65535; expected is `http://HOST:PORT`")]
    Port,
    /// Something follows the port.
    #[error("something follows the port; expected is `http://HOST:PORT`")]
    Path,
    /// User or password cannot be sent.
    #[error(
        "user or password cannot be sent: at most 255 bytes each, no control characters, no colon in the user, `%` as `%25`"
    )]
    Login,
}

impl Proxy {
    /// Reads `SCHEME://[USER:PASSWORD@]HOST:PORT`; without a scheme it is an HTTP proxy. `socks5h` is the same as `socks5`.
    ///
    /// # Errors
    /// A [`ProxyUrlFault`].
    pub fn parse(url: &str) -> Result<Self, ProxyUrlFault> {
        let url = url.trim();
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => Kind::Http,
            "socks5" | "socks5h" => Kind::Socks,
            "https" => return Err(ProxyUrlFault::Tls),
            _ => return Err(ProxyUrlFault::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        let login = login.map(Login::in_url).transpose()?;
        if place.contains(['/', '?', '#']) {
            return Err(ProxyUrlFault::Path);
        }
        let (host, port) = place.rsplit_once(':').ok_or(ProxyUrlFault::Port)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        match bare {
            Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => {}
            None if !host.is_empty() && host.len() <= HOST && host.bytes().all(is_host) => {}
            Some(_) | None => return Err(ProxyUrlFault::Host),
        }
        let port = port.parse().ok().filter(|port: &u16| *port != 0).ok_or(ProxyUrlFault::Port)?;
        let word = match kind {
            Kind::Http => "http",
            Kind::Socks => "socks5",
        };
        let name = ProxyName(format!("{word}://{host}:{port}").into());
        Ok(Self { name, kind, host: bare.unwrap_or(host).into(), port, login })
    }

    /// The same proxy with this login.
    #[must_use]
    pub fn with_login(self, login: Login) -> Self {
        Self { login: Some(login), ..self }
    }

    /// Whether it has a login.
    #[must_use]
    pub const fn has_login(&self) -> bool {
        self.login.is_some()
    }

    /// Its URL without its login.
    #[must_use]
    pub const fn name(&self) -> &ProxyName {
        &self.name
    }

    /// Asks for a connection to `target`.
    ///
    /// # Errors
    /// A [`ProxyFault`].
    pub async fn connect(&self, target: SocketAddr) -> Result<TcpStream, ProxyFault> {
        let connected = async {
            match self.kind {
                Kind::Http => http::connect(self, target).await,
                Kind::Socks => socks::connect(self.dial().await?, self.login.as_ref(), target).await,
            }
        };
        tokio::time::timeout(WITHIN, connected).await.unwrap_or(Err(ProxyFault::TimedOut { within: WITHIN }))
    }

    async fn dial(&self) -> Result<TcpStream, ProxyFault> {
        let found = lookup_host((&*self.host, self.port)).await.map_err(|_| ProxyFault::Unresolved)?;
        let mut last = ProxyFault::Unresolved;
        for addr in found.take(ADDRESSES) {
            match TcpStream::connect(addr).await {
                Ok(stream) => {
                    // Packets are small, and each is waited for.
                    let _slower = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = ProxyFault::Unreachable(error.kind()),
            }
        }
        Err(last)
    }
}

impl Login {
    /// User and password, in a form that both kinds of proxy take.
    ///
    /// # Errors
    /// [`ProxyUrlFault::Login`].
    pub fn new(user: &str, password: &[u8]) -> Result<Self, ProxyUrlFault> {
        let is_short = |bytes: &[u8]| (1..=255).contains(&bytes.len());
        let user_fits = is_short(user.as_bytes()) && !user.contains(|c: char| c == ':' || c.is_control());
        let password_fits = is_short(password) && !password.iter().any(u8::is_ascii_control);
        if !user_fits || !password_fits {
            return Err(ProxyUrlFault::Login);
        }
        Ok(Self { user: user.into(), password: Zeroizing::new(password.to_vec()) })
    }

    fn in_url(text: &str) -> Result<Self, ProxyUrlFault> {
        let (user, password) = text.split_once(':').ok_or(ProxyUrlFault::Login)?;
        let plain = |text: &str| percent_decoded(text).ok_or(ProxyUrlFault::Login);
        let (user, password) = (plain(user)?, plain(password)?);
        Self::new(std::str::from_utf8(&user).map_err(|_| ProxyUrlFault::Login)?, &password)
    }
}

/// What `%` and two digits stand for, and everything else (RFC 3986, section 2.1).
fn percent_decoded(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (mut bytes, mut plain) = (text.bytes(), Zeroizing::new(Vec::with_capacity(text.len())));
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let Some(byte) = bytes.next() {
        plain.push(if byte == b'%' { (digit(bytes.next())? << 4) | digit(bytes.next())? } else { byte });
    }
    Some(plain)
}

impl FromStr for Proxy {
    type Err = ProxyUrlFault;

    fn from_str(url: &str) -> Result<Self, ProxyUrlFault> {
        Self::parse(url)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("name", &self.name).field("login", &self.login).finish()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

impl fmt::Display for ProxyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// For the proxy's name, TCP, and all that is said.
const WITHIN: Duration = Duration::from_secs(10);
/// Addresses of a proxy's name that are tried.
const ADDRESSES: usize = 4;
/// Bytes of a name (RFC 1035, section 2.3.4).
const HOST: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_from_its_url_and_named_without_its_login() {
        let read = |url: &str| {
            let proxy = Proxy::parse(url).unwrap();
            (proxy.name().to_string(), proxy.has_login())
        };
        assert_eq!(read("http://proxy.acme:3128"), ("http://proxy.acme:3128".to_owned(), false));
        assert_eq!(read(" proxy.acme:3128/ "), ("http://proxy.acme:3128".to_owned(), false));
        assert_eq!(read("HTTP://anna:se%3Acret@10.0.0.1:80"), ("http://10.0.0.1:80".to_owned(), true));
        assert_eq!(read("socks5h://u:p@[::1]:1080"), ("socks5://[::1]:1080".to_owned(), true));
        let proxy = Proxy::parse("http://anna:sesame@proxy:1").unwrap();
        assert_eq!(
            format!("{proxy:?}"),
            "Proxy { name: ProxyName(\"http://proxy:1\"), login: Some(redacted) }"
        );
    }

    #[test]
    fn what_is_no_proxy_is_refused_with_what_is_wrong() {
        for (url, fault) in [
            ("https://proxy:3128", ProxyUrlFault::Tls),
            ("socks4://proxy:1080", ProxyUrlFault::Scheme),
            ("ftp://proxy:21", ProxyUrlFault::Scheme),
            ("http://proxy", ProxyUrlFault::Port),
            ("http://proxy:0", ProxyUrlFault::Port),
            ("http://proxy:65536", ProxyUrlFault::Port),
            ("http://:3128", ProxyUrlFault::Host),
            ("http://pro xy:3128", ProxyUrlFault::Host),
            ("http://[proxy]:3128", ProxyUrlFault::Host),
            ("http://proxy:3128/pac", ProxyUrlFault::Path),
            ("http://anna@proxy:3128", ProxyUrlFault::Login),
            ("http://:x@proxy:3128", ProxyUrlFault::Login),
            ("http://anna:%0d%0aX@proxy:3128", ProxyUrlFault::Login),
            ("http://anna:%zz@proxy:3128", ProxyUrlFault::Login),
            ("http://a%3ab:c@proxy:3128", ProxyUrlFault::Login),
            ("", ProxyUrlFault::Port),
        ] {
            assert_eq!(Proxy::parse(url), Err(fault), "{url}");
        }
    }
}
