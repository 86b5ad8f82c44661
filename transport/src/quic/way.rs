//! Ways of an endpoint, for those who make and choose them.
//!
//! 1. [`Endpoint::new_peer`] makes up an address for a peer, to be dialled or admitted under it.
//! 2. [`Endpoint::direct_way`], [`Endpoint::relayed_way`] and [`Endpoint::stream_way`] add ways to it. The first is the route.
//! 3. [`Endpoint::take`] moves the peer's connections to another way while they carry bytes. Only who has dialled a
//!    connection can (RFC 9000 section 9); the other side follows.
//!
//! A way lasts as long as its [`Way`]. Packets that are on it when it goes are lost, and QUIC sends them again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::AsyncUdpSocket;
use quinn::udp::Transmit;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;

use postern_protocol::session::leg::{Bound, Leg};
use postern_protocol::time::BootTime;
use postern_protocol::wire::relay;

use super::endpoint::Endpoint;
use super::socket::{Errand, Means, PathSocket, WayId, Ways};
use crate::frames::{self, Outbox};

/// One way to a peer; dropping it ends it.
#[derive(Debug)]
pub struct Way {
    id: WayId,
    peer: SocketAddr,
    ways: Arc<Ways>,
    bound: watch::Receiver<Option<Bound>>,
    over_udp: bool,
    _tasks: JoinSet<()>,
}

impl Endpoint {
    /// An address under which a peer is known here that has several ways, or none with an address of its own.
    #[must_use]
    pub fn new_peer(&self) -> SocketAddr {
        self.ways().new_peer()
    }

    /// A way straight to `addr`.
    #[must_use]
    pub fn direct_way(&self, peer: SocketAddr, addr: SocketAddr) -> Way {
        self.way(peer, Means::Direct(addr), |_, _, _| {})
    }

    /// A way through a relay that is reached over UDP. It carries packets as soon as its leg is [bound](Way::bound).
    #[must_use]
    pub fn relayed_way(&self, peer: SocketAddr, relay: SocketAddr, right: relay::Leg) -> Way {
        let leg = Leg::new(right, BootTime::ZERO);
        self.way(peer, Means::Relayed(relay, leg), |tasks, id, bound| {
            tasks.spawn(keep_bound(
                Arc::clone(self.ways()),
                id,
                bound.clone(),
                Some(Arc::clone(self.socket())),
            ));
        })
    }

    /// A way over a connection with `at` that carries frames: to a relay, with a leg there, or to the peer itself.
    #[must_use]
    pub fn stream_way<S>(&self, peer: SocketAddr, at: SocketAddr, stream: S, right: Option<relay::Leg>) -> Way
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let outbox = Arc::new(Outbox::default());
        let has_leg = right.is_some();
        let means =
            Means::Stream(Arc::clone(&outbox), at, right.map(|right| Leg::new(right, BootTime::ZERO)));
        self.way(peer, means, |tasks, id, bound| {
            let (reader, writer) = tokio::io::split(stream);
            let ways = self.ways();
            if has_leg {
                tasks.spawn(keep_bound(Arc::clone(ways), id, bound.clone(), None));
            }
            let (writing, reading) = (Arc::clone(ways), Arc::clone(ways));
            tasks.spawn(async move {
                if let Err(error) = frames::write(&outbox, writer).await {
                    tracing::debug!(%error, "a way over a connection broke");
                }
                writing.remove(id);
            });
            tasks.spawn(async move {
                if let Err(error) = frames::read(reader, |frame| reading.take_frame(id, frame)).await {
                    tracing::debug!(%error, "a way over a connection broke");
                }
                reading.remove(id);
            });
        })
    }

    /// Moves what goes to the way's peer to this way; false when the way has ended.
    pub fn take(&self, way: &Way) -> bool {
        if !self.ways().take(way.id) {
            return false;
        }
        self.ask();
        true
    }

    /// Has each connection send a packet that is to be acknowledged.
    pub fn ask(&self) {
        // The same socket: what quinn does for another one is what counts.
        if let Err(error) = self.quinn().rebind_abstract(Arc::clone(self.socket()) as _) {
            tracing::debug!(%error, "connections were not told that their way is another one");
        }
    }

    /// Keeps a way alive that is not the route: the other end sees that it is still wanted.
    pub fn nudge(&self, way: &Way) {
        self.socket().nudge(way.id, way.peer);
    }

    /// Sends one byte, which is no packet of QUIC, to somebody who may be there: an own NAT lets answers from there in afterwards.
    pub fn knock(&self, at: SocketAddr) {
        self.socket().knock(at);
    }

    fn way(
        &self,
        peer: SocketAddr,
        means: Means,
        start: impl FnOnce(&mut JoinSet<()>, WayId, &watch::Receiver<Option<Bound>>),
    ) -> Way {
        let over_udp = !matches!(means, Means::Stream(..));
        let (id, bound) = self.ways().add(peer, means);
        let mut tasks = JoinSet::new();
        start(&mut tasks, id, &bound);
        Way { id, peer, ways: Arc::clone(self.ways()), bound, over_udp, _tasks: tasks }
    }
}

impl Way {
    /// The address under which the peer is known.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Waits until the relay has bound the leg; yields the own address as the relay sees it, none when the way has ended.
    /// Safe to cancel.
    pub async fn bound(&self) -> Option<SocketAddr> {
        let mut bound = self.bound.clone();
        let seen = bound.wait_for(Option::is_some).await.ok()?;
        seen.map(|bound| bound.seen)
    }

    /// Whether its packets are datagrams between here and the next place.
    #[must_use]
    pub const fn is_over_udp(&self) -> bool {
        self.over_udp
    }

    /// Where the relay sees the other end, where both speak UDP with it. A relay may lie.
    #[must_use]
    pub fn other_end(&self) -> Option<SocketAddr> {
        self.bound.borrow().and_then(|bound| bound.other)
    }

    /// Waits until the relay sees the other end elsewhere than at `known`; for ever when the way has ended. Safe to cancel.
    pub async fn other_end_but(&self, known: Option<SocketAddr>) -> Option<SocketAddr> {
        let mut bound = self.bound.clone();
        let other = |bound: &Option<Bound>| bound.and_then(|bound| bound.other);
        let elsewhere = bound.wait_for(|bound| other(bound) != known).await.map(|bound| other(&bound));
        match elsewhere {
            Ok(other) => other,
            Err(_ended) => std::future::pending().await,
        }
    }

    /// How long ago a packet came by it; none before the first.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        self.ways.silence(self.id)
    }

    /// Waits for the first packet that comes by it over a connection, or for its end. Safe to cancel.
    pub async fn heard(&self) {
        let mut bound = self.bound.clone();
        while self.silence().is_none() && bound.changed().await.is_ok() {}
    }

    /// Waits until somebody has come by it, or for its end. Safe to cancel.
    pub async fn came(&self) {
        let mut bound = self.bound.clone();
        while !self.ways.is_visited(self.id) && bound.changed().await.is_ok() {}
    }

    /// Waits until somebody has come by it and all who did have left, or for its end. Safe to cancel.
    pub async fn left(&self) {
        let mut bound = self.bound.clone();
        while !self.is_left() && bound.changed().await.is_ok() {}
    }

    /// Whether somebody has come by it, and all who did have left.
    #[must_use]
    pub fn is_left(&self) -> bool {
        self.ways.is_left(self.id)
    }

    /// Binds the leg again, because the own address may have changed.
    pub fn rebind(&self) {
        self.ways.rebind(self.id);
    }

    /// Waits for the end of the connection that it goes over. Safe to cancel.
    pub async fn ended(&self) {
        let mut bound = self.bound.clone();
        while bound.changed().await.is_ok() {}
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.ways.remove(self.id);
    }
}

/// Sends what a leg has to say, until the way is gone.
async fn keep_bound(
    ways: Arc<Ways>,
    id: WayId,
    mut bound: watch::Receiver<Option<Bound>>,
    socket: Option<Arc<PathSocket>>,
) {
    while let Some(binding) = ways.poll_bind(id) {
        match (binding.notice, &socket) {
            (Some((Errand::Frame(outbox), notice)), _) => {
                let _lost = outbox.put(&[], [notice.as_slice()].into_iter());
            }
            (Some((Errand::Datagram(destination), contents)), Some(socket)) => {
                let (ecn, segment_size, src_ip) = (None, None, None);
                let contents = contents.as_slice();
                // It is sent again when it is lost.
                let _lost = socket.try_send(&Transmit { destination, ecn, contents, segment_size, src_ip });
            }
            (Some((Errand::Datagram(_), _)), None) | (None, _) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(binding.wait) => {}
            changed = bound.changed() => if changed.is_err() { return },
        }
    }
}
