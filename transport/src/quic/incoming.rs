//! An admitted connection attempt on its way to a proved key.
//!
//! It holds one of the endpoint's handshake permits until it is finished or dropped, so whoever lets handshakes
//! hang runs into the limit and not into memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::tls;

use super::arrivals::Arrivals;
use super::connection::Connection;
use super::end::ConnectionEnd;
use super::socket::{Visit, Ways};

/// An attempt whose handshake has not begun. Dropping it refuses the peer.
#[derive(Debug)]
pub struct Incoming {
    inner: quinn::Incoming,
    permit: OwnedSemaphorePermit,
    ways: Arc<Ways>,
    arrivals: Arc<Arrivals>,
}

impl Incoming {
    pub(super) const fn new(
        inner: quinn::Incoming,
        permit: OwnedSemaphorePermit,
        ways: Arc<Ways>,
        arrivals: Arc<Arrivals>,
    ) -> Self {
        Self { inner, permit, ways, arrivals }
    }

    /// Where the attempt comes from. It may be spoofed as long as the handshake is not finished.
    #[must_use]
    pub fn remote_addr(&self) -> SocketAddr {
        let addr = self.ways.origin(self.inner.remote_address());
        SocketAddr::new(addr.ip().to_canonical(), addr.port())
    }

    /// Says that somebody has come by the ways that lead here from there, for as long as it is kept.
    #[must_use]
    pub fn visit(&self) -> Visit {
        Visit::new(Arc::clone(&self.ways), self.inner.remote_address())
    }

    /// Answers the attempt and waits until the peer has proved a key, at most for `within`.
    ///
    /// # Errors
    /// Why there is no connection; whatever had been built up for it is gone.
    pub async fn handshake(self, within: Duration) -> Result<Connection, HandshakeFault> {
        let Self { inner, permit, ways, arrivals } = self;
        let connecting = inner.accept().map_err(ConnectionEnd::from)?;
        let connected = tokio::time::timeout(within, connecting).await;
        drop(permit);
        let connection =
            connected.map_err(|_| HandshakeFault::TimedOut { within })?.map_err(ConnectionEnd::from)?;
        let peer = connection.peer_identity().and_then(|identity| tls::proved_key(identity.as_ref()));
        match peer {
            Some(peer) => Ok(Connection::new(connection, peer, ways, Some(arrivals))),
            // Not reachable while the verifier demands a key; without it a stranger would have no name.
            None => Err(HandshakeFault::NoKey),
        }
    }
}

/// Why an admitted attempt became no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeFault {
    /// The peer did not finish in time.
    #[error("the handshake did not finish within {within:?}")]
    TimedOut {
        /// The time it had.
        within: Duration,
    },
    /// The peer finished without exactly one sound key.
    #[error("the peer proved no key")]
    NoKey,
    /// The handshake failed.
    #[error(transparent)]
    Ended(#[from] ConnectionEnd),
}
