//! How packets of one end-to-end connection travel, as one end sees it.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The path of a connection, from this end to what is next on it. The other end may reach a relay in another way. New paths are
/// added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// Over UDP to the peer itself.
    Direct,
    /// In TLS to the peer itself.
    Tls,
    /// Over UDP to a relay.
    Relayed,
    /// In TLS to a relay.
    RelayedTls,
}

/// Where somebody is whose connection has a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Their address, or that of the relay.
    pub addr: SocketAddr,
    /// The path.
    pub path: Path,
}

impl Path {
    /// Every path.
    pub const ALL: [Self; 4] = [Self::Direct, Self::Tls, Self::Relayed, Self::RelayedTls];

    /// The word in listings and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Tls => "tls",
            Self::Relayed => "relayed",
            Self::RelayedTls => "relayed_tls",
        }
    }

    /// What a person is told beside the address; none of the usual path.
    #[must_use]
    pub const fn remark(self) -> Option<&'static str> {
        match self {
            Self::Direct => None,
            Self::Tls => Some("over TLS"),
            Self::Relayed => Some("through a relay"),
            Self::RelayedTls => Some("through a relay over TLS"),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.addr)?;
        self.path.remark().map_or(Ok(()), |remark| write!(f, " {remark}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_reads_as_its_address_and_what_is_unusual_about_its_path() {
        let read = Path::ALL.map(|path| Peer { addr: ([192, 0, 2, 7], 443).into(), path }.to_string());
        assert_eq!(
            read,
            [
                "192.0.2.7:443",
                "192.0.2.7:443 over TLS",
                "192.0.2.7:443 through a relay",
                "192.0.2.7:443 through a relay over TLS"
            ]
        );
    }
}
