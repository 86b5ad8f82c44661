//! One UDP socket with one key, for dialling and, as a server, for admitting peers.
//!
//! Admission, in this order, before any cryptography for the attempt:
//! 1. More handshakes in flight than allowed: refuse.
//! 2. More than [`Admission::retry_above`](super::Admission) and the address is unproved: ask for proof (Retry).
//! 3. More handshakes from there, or from strangers in all, than [`Pacing`](super::Pacing) allows: no answer. An honest peer asks again.
//! 4. Otherwise hand the attempt to the caller together with a permit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::{EndpointConfig, Runtime, TokioRuntime, VarInt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::Semaphore;

use postern_protocol::trust::keys::{PublicKey, SecretKey};

use crate::tls::{self, Identity};

use super::arrivals::Arrivals;
use super::connection::Connection;
use super::end::ConnectionEnd;
use super::incoming::Incoming;
use super::plain::PlainRuntime;
use super::resets::ResetSecret;
use super::settings::Settings;
use super::socket::{PathSocket, Ways};

/// Whether an endpoint only dials or also admits peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Dials only; connection attempts from outside are not answered.
    Client,
    /// Admits peers that speak one of the protocols, and may dial as well.
    Server {
        /// Application protocols in order of preference; at least one.
        alpns: Vec<Vec<u8>>,
    },
}

/// A bound UDP socket and the key that it speaks for. Clones share it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    inner: quinn::Endpoint,
    identity: Identity,
    permits: Arc<Semaphore>,
    /// Handshakes in flight up to which an unproved address is admitted, as permits that are then left.
    retry_at: usize,
    arrivals: Arc<Arrivals>,
    socket: Arc<PathSocket>,
    ways: Arc<Ways>,
}

impl Endpoint {
    /// Binds `addr`. An IPv6 wildcard address takes IPv4 as well where the system allows it.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(
        addr: SocketAddr,
        key: &SecretKey,
        role: Role,
        settings: &Settings,
    ) -> Result<Self, BindError> {
        Self::open(addr, key, role, settings, EndpointConfig::default())
    }

    /// The same for an endpoint that others find at one address for longer than this process lives: peers of an earlier run with
    /// the same secret learn with their next packet that it is over ([`ConnectionEnd::Reset`]).
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind_lasting(
        addr: SocketAddr,
        key: &SecretKey,
        role: Role,
        settings: &Settings,
        resets: &ResetSecret,
    ) -> Result<Self, BindError> {
        Self::open(addr, key, role, settings, resets.config())
    }

    fn open(
        addr: SocketAddr,
        key: &SecretKey,
        role: Role,
        settings: &Settings,
        mut config: EndpointConfig,
    ) -> Result<Self, BindError> {
        let identity = Identity::new(key);
        let server = match role {
            Role::Client => None,
            Role::Server { alpns } if alpns.is_empty() => return Err(BindError::NoProtocol),
            Role::Server { alpns } => Some(server_config(&identity, &alpns, settings)),
        };
        let socket = open_socket(addr, settings).map_err(|error| BindError::Socket { addr, error })?;
        let runtime: Arc<dyn Runtime> =
            if settings.batches() { Arc::new(TokioRuntime) } else { Arc::new(PlainRuntime) };
        // No packet is larger, and the receive buffer has room for 2048 of the largest. It fails below 1200, which no ceiling is.
        let _kept = config.max_udp_payload_size(settings.mtu_ceiling);
        let opened = runtime.wrap_udp_socket(socket).and_then(|socket| {
            let ways = Arc::new(Ways::new(socket.local_addr()?.is_ipv6()));
            let payload = settings.mtu_ceiling.into();
            let socket = Arc::new(PathSocket::new(socket, Arc::clone(&ways), payload, settings.thrifty));
            let inner =
                quinn::Endpoint::new_with_abstract_socket(config, server, Arc::clone(&socket) as _, runtime)?;
            Ok((inner, socket, ways))
        });
        let (inner, socket, ways) = opened.map_err(|error| BindError::Socket { addr, error })?;
        let handshakes = usize::from(settings.admission.handshakes);
        let retry_at = handshakes.saturating_sub(usize::from(settings.admission.retry_above));
        let permits = Arc::new(Semaphore::new(handshakes));
        let arrivals = Arc::new(Arrivals::new(settings.admission.pacing, Instant::now()));
        Ok(Self { inner, identity, permits, retry_at, arrivals, socket, ways })
    }

    /// Presents another key to those who dial this endpoint from now on. Connections that stand are not touched: their
    /// peers have seen the key of their handshake.
    ///
    /// # Errors
    /// [`BindError::NoProtocol`].
    pub fn present(&self, key: &SecretKey, alpns: &[Vec<u8>], settings: &Settings) -> Result<(), BindError> {
        if alpns.is_empty() {
            return Err(BindError::NoProtocol);
        }
        self.inner.set_server_config(Some(server_config(&Identity::new(key), alpns, settings)));
        Ok(())
    }

    /// Dials the holder of `expected` at `addr`, offering `alpns`.
    ///
    /// A server that dislikes this side's key says so only after this call has returned: the connection then ends
    /// with [`ConnectionEnd::Tls`] at its first use.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        &self,
        addr: SocketAddr,
        expected: PublicKey,
        alpns: &[&[u8]],
        settings: &Settings,
    ) -> Result<Connection, ConnectError> {
        if alpns.is_empty() {
            return Err(ConnectError::NoProtocol);
        }
        let (config, pin) = tls::client_config(&self.identity, expected, alpns);
        let crypto = fixed_suites(QuicClientConfig::try_from(config));
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(settings.transport());
        let connecting = self
            .inner
            .connect_with(config, addr, SERVER_NAME)
            .map_err(|error| ConnectError::from_quinn(error, addr))?;
        let within = settings.handshake;
        let Ok(connected) = tokio::time::timeout(within, connecting).await else {
            return Err(ConnectError::TimedOut { within });
        };
        match (connected, pin.refused()) {
            (Ok(connection), _) => Ok(Connection::new(connection, expected, Arc::clone(&self.ways), None)),
            (Err(_), Some(found)) => Err(ConnectError::UnexpectedKey { expected, found }),
            (Err(error), None) => Err(ConnectError::Ended(error.into())),
        }
    }

    /// The next admitted attempt, or `None` once the endpoint is closed. Safe to cancel.
    ///
    /// It must be called in a loop that does not wait for handshakes: attempts that nobody takes are refused when
    /// their queue is full.
    pub async fn accept(&self) -> Option<Incoming> {
        loop {
            let incoming = self.inner.accept().await?;
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            // The permit just taken counts as in flight.
            if self.permits.available_permits() < self.retry_at && !incoming.remote_address_validated() {
                // Fails only for a peer that already answered a Retry, and that one is validated.
                let _retried = incoming.retry();
                continue;
            }
            // By the address of its packets: of peers that a relay leads here, each has one that was made up for it.
            if !self.arrivals.admit(incoming.remote_address().ip(), Instant::now()) {
                incoming.ignore();
                continue;
            }
            return Some(Incoming::new(incoming, permit, Arc::clone(&self.ways), Arc::clone(&self.arrivals)));
        }
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    pub(super) const fn ways(&self) -> &Arc<Ways> {
        &self.ways
    }

    pub(super) const fn socket(&self) -> &Arc<PathSocket> {
        &self.socket
    }

    pub(super) const fn quinn(&self) -> &quinn::Endpoint {
        &self.inner
    }

    /// Closes all connections and admits no more; follow it with [`wait_idle`](Self::wait_idle).
    pub fn close(&self, code: u32, reason: &[u8]) {
        self.inner.close(VarInt::from_u32(code), reason);
    }

    /// Gives the closing notices time to leave: until all connections are gone, at most two seconds.
    pub async fn wait_idle(&self) {
        let _elapsed = tokio::time::timeout(CLOSE_CAP, self.inner.wait_idle()).await;
    }
}

/// Why an endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A server without an application protocol would admit nobody.
    #[error("a server needs at least one application protocol")]
    NoProtocol,
    /// The operating system refused the socket.
    #[error("the UDP socket `{addr}` could not be opened: {error}")]
    Socket {
        /// The address that was asked for.
        addr: SocketAddr,
        /// The system's reason.
        #[source]
        error: io::Error,
    },
}

/// Why a peer could not be dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nothing was offered, so nothing could be agreed on.
    #[error("no application protocol was offered")]
    NoProtocol,
    /// The socket cannot reach such an address: port 0, unspecified, or IPv6 from an IPv4 socket.
    #[error("the address `{0}` cannot be dialled from this socket")]
    BadAddress(SocketAddr),
    /// The endpoint was closed before.
    #[error("the endpoint is closed")]
    EndpointClosed,
    /// Somebody else answered: the peer was replaced, or somebody stands in between.
    #[error("the peer proved the key {found}, expected was {expected}")]
    UnexpectedKey {
        /// The pinned key.
        expected: PublicKey,
        /// The key that was presented.
        found: PublicKey,
    },
    /// No answer in time.
    #[error("no connection within {within:?}")]
    TimedOut {
        /// The time it had.
        within: Duration,
    },
    /// The handshake failed.
    #[error(transparent)]
    Ended(#[from] ConnectionEnd),
}

impl ConnectError {
    fn from_quinn(error: quinn::ConnectError, addr: SocketAddr) -> Self {
        use quinn::ConnectError as E;
        match error {
            E::EndpointStopping => Self::EndpointClosed,
            E::CidsExhausted => Self::Ended(ConnectionEnd::NoConnectionId),
            E::InvalidRemoteAddress(_) => Self::BadAddress(addr),
            // The configuration, the name and the version are constants of this file.
            E::InvalidServerName(_) | E::NoDefaultClientConfig | E::UnsupportedVersion => {
                Self::Ended(ConnectionEnd::VersionMismatch)
            }
        }
    }
}

fn server_config(identity: &Identity, alpns: &[Vec<u8>], settings: &Settings) -> quinn::ServerConfig {
    let crypto = fixed_suites(QuicServerConfig::try_from(tls::server_config(identity, alpns)));
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(settings.transport());
    settings.admission.apply(&mut config);
    config
}

#[expect(
    clippy::expect_used,
    reason = "the suite list is a constant of tls.rs and names AES-128-GCM in any order"
)]
fn fixed_suites<T>(config: Result<T, NoInitialCipherSuite>) -> T {
    config.expect("TLS13_AES_128_GCM_SHA256 is in the list")
}

pub(super) fn open_socket(addr: SocketAddr, settings: &Settings) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        // Systems without dual-stack sockets keep working with IPv6 alone.
        let _unsupported = socket.set_only_v6(false);
    }
    let wish = usize::try_from(settings.socket_buffer).unwrap_or(usize::MAX);
    for (name, granted) in
        [("receive", socket.set_recv_buffer_size(wish)), ("send", socket.set_send_buffer_size(wish))]
    {
        if let Err(error) = granted {
            tracing::debug!(buffer = name, bytes = wish, %error, "socket buffer stays at its default");
        }
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// quinn wants a name and nothing is done with it: it is not sent, and the peer is known by its key.
const SERVER_NAME: &str = "postern.invalid";
/// Closing notices are best effort; shutdown must not hang on a dead peer.
const CLOSE_CAP: Duration = Duration::from_secs(2);
