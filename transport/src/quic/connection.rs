//! One connection to a peer whose key is proved.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::VarInt;
use quinn::crypto::rustls::HandshakeData;

use postern_protocol::path::Peer;
use postern_protocol::trust::keys::PublicKey;

use super::arrivals::Arrivals;
use super::climb::Measured;
use super::congestion;
use super::end::ConnectionEnd;
use super::settings::Settings;
use super::socket::Ways;
use super::stream::{RecvStream, SendStream};

/// A connection. Clones share it; it closes with code 0 when the last clone and stream are dropped.
#[derive(Clone)]
pub struct Connection {
    inner: quinn::Connection,
    peer: PublicKey,
    ways: Arc<Ways>,
    /// Those of the endpoint that admitted it.
    arrivals: Option<Arc<Arrivals>>,
}

impl Connection {
    pub(super) const fn new(
        inner: quinn::Connection,
        peer: PublicKey,
        ways: Arc<Ways>,
        arrivals: Option<Arc<Arrivals>>,
    ) -> Self {
        Self { inner, peer, ways, arrivals }
    }

    /// Opens a stream, once the peer's limit allows one more. The peer learns of it with the first byte.
    ///
    /// # Errors
    /// Why the connection is over.
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), ConnectionEnd> {
        let (send, recv) = self.inner.open_bi().await?;
        Ok((SendStream::new(send), RecvStream::new(recv)))
    }

    /// The next stream that the peer opens. Safe to cancel.
    ///
    /// # Errors
    /// Why the connection is over.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionEnd> {
        let (send, recv) = self.inner.accept_bi().await?;
        Ok((SendStream::new(send), RecvStream::new(recv)))
    }

    /// Sends a datagram (RFC 9221), which may be lost; when many wait, the oldest is. It goes as one packet or not at all:
    /// false where it is larger than the path and the peer allow now, or the connection is over.
    #[must_use]
    pub fn send_datagram(&self, datagram: Bytes) -> bool {
        self.inner.send_datagram(datagram).is_ok()
    }

    /// The next datagram of the peer. Safe to cancel.
    ///
    /// # Errors
    /// Why the connection is over.
    pub async fn read_datagram(&self) -> Result<Bytes, ConnectionEnd> {
        Ok(self.inner.read_datagram().await?)
    }

    /// Closes at once: what is not yet acknowledged may be lost, and the notice itself may be lost too.
    pub fn close(&self, code: u32, reason: &[u8]) {
        self.inner.close(VarInt::from_u32(code), reason);
    }

    /// Lets the peer have the streams and the window of `settings` from here on; for a connection that began with
    /// [`Settings::stranger`].
    pub fn widen(&self, settings: &Settings) {
        self.inner.set_receive_window(VarInt::from_u32(settings.connection_window));
        self.inner.set_max_concurrent_bi_streams(VarInt::from_u32(settings.streams.into()));
    }

    /// The peer is known: for an hour whoever comes from there is not held up by strangers who come from elsewhere.
    pub fn vouch(&self) {
        if let Some(arrivals) = &self.arrivals {
            arrivals.vouch(self.inner.remote_address().ip(), Instant::now());
        }
    }

    /// Waits for the end. Safe to cancel.
    pub async fn closed(&self) -> ConnectionEnd {
        self.inner.closed().await.into()
    }

    /// The key that the peer proved in this connection's handshake.
    #[must_use]
    pub const fn peer_key(&self) -> PublicKey {
        self.peer
    }

    /// The application protocol that both ends agreed on.
    #[must_use]
    pub fn alpn(&self) -> Vec<u8> {
        self.inner
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .and_then(|data| data.protocol)
            .unwrap_or_default()
    }

    /// A secret that only the two ends of this very connection can derive (RFC 8446 section 7.5): a signature over
    /// it cannot be carried to another connection.
    ///
    /// # Errors
    /// Why there is none. A peer can break its TLS session at any time after the handshake, so this is no panic
    /// and never a constant.
    pub fn export_keying_material(&self, label: &[u8], context: &[u8]) -> Result<[u8; 32], ConnectionEnd> {
        let mut secret = [0; 32];
        match self.inner.export_keying_material(&mut secret, label, context) {
            Ok(()) => Ok(secret),
            Err(_) => Err(self.inner.close_reason().map_or(ConnectionEnd::INTERNAL, Into::into)),
        }
    }

    /// Where the peer is now, or the relay that leads to it; both may change.
    #[must_use]
    pub fn remote_addr(&self) -> SocketAddr {
        let addr = self.ways.origin(self.inner.remote_address());
        SocketAddr::new(addr.ip().to_canonical(), addr.port())
    }

    /// Where the peer is now and by which path; both may change.
    #[must_use]
    pub fn peer(&self) -> Peer {
        let path = self.ways.path(self.inner.remote_address());
        Peer { addr: self.remote_addr(), path }
    }

    /// The present estimate of the round trip.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.inner.rtt()
    }

    /// Packets of UDP that were sent until now.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.inner.stats().udp_tx.datagrams
    }

    /// Packets of UDP that have come until now.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.inner.stats().udp_rx.datagrams
    }

    /// Frames that were sent until now and that the peer is to acknowledge.
    pub(super) fn asked(&self) -> u64 {
        let sent = self.inner.stats().frame_tx;
        let asked = [
            sent.stream,
            sent.datagram,
            sent.ping,
            sent.immediate_ack,
            sent.max_data,
            sent.max_stream_data,
            sent.max_streams_bidi,
            sent.reset_stream,
            sent.stop_sending,
        ];
        asked.into_iter().fold(0, u64::saturating_add)
    }

    /// When something was acknowledged last that was not before.
    pub(super) fn answered(&self) -> Option<Instant> {
        congestion::acknowledged(self.inner.congestion_state())
    }

    /// What is known of the present way, with packets since the beginning of the connection.
    pub(super) fn measured(&self) -> Measured {
        let path = self.inner.stats().path;
        Measured { sent: path.sent_packets, lost: path.lost_packets, round_trip: path.rtt }
    }

    /// A number that no other connection of this process has while this one exists.
    #[must_use]
    pub fn id(&self) -> usize {
        self.inner.stable_id()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("remote_addr", &self.remote_addr())
            .finish_non_exhaustive()
    }
}
