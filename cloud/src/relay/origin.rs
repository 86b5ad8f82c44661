//! From where a packet came to the relay.

use std::net::SocketAddr;

/// An address of UDP, or a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// This address.
    Udp(SocketAddr),
    /// This connection, never used again, from this address.
    Stream(u64, SocketAddr),
}

impl Origin {
    /// The address, for the end to know.
    #[must_use]
    pub(super) const fn addr(self) -> SocketAddr {
        match self {
            Self::Udp(addr) | Self::Stream(_, addr) => addr,
        }
    }

    /// The address, where it speaks UDP.
    #[must_use]
    pub(super) const fn udp(self) -> Option<SocketAddr> {
        match self {
            Self::Udp(addr) => Some(addr),
            Self::Stream(..) => None,
        }
    }
}
