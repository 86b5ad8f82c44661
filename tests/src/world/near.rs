//! The near end of a tunnel as a person's programs see it: an address, the name it goes by, and the key of its door.

use std::net::SocketAddr;

use super::person::Session;

/// Where to connect, and what to say there.
#[derive(Clone, Debug)]
pub struct Near {
    /// The listener.
    pub address: SocketAddr,
    /// What stands in `Host`.
    pub host: String,
    /// The program key, where there is a door.
    pub key: Option<String>,
    /// What is carried.
    pub carries: Carries,
}

/// What a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Requests and answers.
    Http,
    /// Frames, after an upgrade.
    Websocket,
    /// A screen.
    Vnc,
}

impl Near {
    /// What `postern connect --json` prints.
    #[must_use]
    pub fn announced(line: &str) -> Option<Self> {
        let answer: serde_json::Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| answer.get(name)?.as_str().map(str::to_owned);
        Some(Self::new(text("address")?.parse().ok()?, &text("url")?, text("token")))
    }

    fn new(address: SocketAddr, url: &str, key: Option<String>) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let host = rest.split('/').next().unwrap_or_default().to_owned();
        let carries = match scheme {
            "vnc" => Carries::Vnc,
            "ws" => Carries::Websocket,
            _ => Carries::Http,
        };
        Self { address, host, key, carries }
    }

    /// The head of a request, with lines of its own.
    #[must_use]
    pub fn head(&self, method: &str, path: &str, lines: &str) -> String {
        let key = self.key.as_ref().map(|key| format!("X-Postern-Token: {key}\r\n")).unwrap_or_default();
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{key}{lines}\r\n", self.host)
    }
}

/// A service without a gate before it, which speaks HTTP.
impl From<SocketAddr> for Near {
    fn from(address: SocketAddr) -> Self {
        Self { address, host: address.to_string(), key: None, carries: Carries::Http }
    }
}

impl From<&Session> for Near {
    fn from(session: &Session) -> Self {
        Self::new(session.address, &session.url, session.key.clone())
    }
}
