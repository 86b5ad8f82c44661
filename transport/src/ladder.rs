//! The ladder to a hub or relay: UDP, TLS over TCP where UDP does not pass, and TLS through a proxy where nothing else leads out.
//!
//! 1. What led out of this network last is tried at once, and UDP with it. Each further [`Rung`] follows 300 ms later, or as soon as
//!    one has failed. The first that leads to the right key wins; when none does, each says why ([`Fallen`]).
//! 2. Over TLS a notice says that packets for the hub itself follow, or a leg is bound at a relay; then it is QUIC as always, with the
//!    same keys and checks.
//! 3. A connection over TLS moves to UDP when that passes. One over UDP of which nothing more comes within three seconds moves to TLS,
//!    with all that it carries ([`Endpoint::keep`]): a firewall may look at the packets behind a handshake and not like them. UDP is
//!    not relied on then for ten minutes.
//! 4. A certificate of TLS proves nothing here. One that is not what the hub says it should be shows a box that opens TLS, which is
//!    named ([`Opened`]).
//! 5. What a network let pass is remembered ([`Memory`]), in as many networks as [`Surroundings`] tells from each other.

mod certificates;
mod memory;
mod rung;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use postern_protocol::time::UnixTime;
use postern_protocol::trust::Digest;
use postern_protocol::wire::relay::{self, Notice};

use crate::OuterStream;
use crate::proxy::{Proxies, ProxyFault};
use crate::quic::{ConnectError, Connection, Descend, Endpoint, First, Goal, Way};

use self::certificates::Certificates;
pub use self::certificates::Opened;
pub use self::memory::{Memory, Network};
pub use self::rung::{Attempt, Fallen, Rung, RungFault};

/// Leads out of this network. Clones share what it learns.
#[derive(Clone)]
pub struct Ladder(Arc<Shared>);

struct Shared {
    proxies: Proxies,
    surroundings: Box<dyn Surroundings>,
    memory: Mutex<Memory>,
    certificates: Mutex<Certificates>,
    /// Counts connections over TLS.
    shown: watch::Sender<u64>,
}

/// Where a program is and what it keeps.
pub trait Surroundings: Send + Sync {
    /// The time of day, or what stands for it.
    fn now(&self) -> UnixTime;
    /// The network by which `towards` is reached.
    fn network(&self, towards: SocketAddr) -> Network;
    /// Keeps what was learned for the next start, if anything is kept.
    fn keep(&self, memory: &Memory);
    /// Tells people that somebody opens TLS who did not before.
    fn opened(&self, opened: &Opened);
}

/// A connection to a hub.
#[derive(Debug)]
pub struct Climbed {
    /// The connection.
    pub connection: Connection,
    /// How it was made.
    pub rung: Rung,
    /// Moves it between UDP and TLS; dropped with the connection.
    pub climb: JoinSet<()>,
}

/// A connection to a hub by one rung, and its way.
#[derive(Debug)]
pub struct Reached {
    /// The connection.
    pub connection: Connection,
    /// The way under it; none over UDP, which is the connection's own.
    pub way: Option<Way>,
}

/// A relay, and the right to be there.
#[derive(Clone, Debug)]
pub struct Spot {
    /// Where it is over UDP.
    pub udp: Option<SocketAddr>,
    /// Where it is over TLS.
    pub tls: Option<SocketAddr>,
    /// The own leg.
    pub leg: relay::Leg,
    /// SHA-256 of the certificate that it shows, as the hub says.
    pub certificate: Option<Digest>,
}

/// A way through a relay, whose leg is bound.
#[derive(Debug)]
pub struct Bound {
    /// The way.
    pub way: Way,
    /// How the relay is reached.
    pub rung: Rung,
    /// Where.
    pub addr: SocketAddr,
}

impl Ladder {
    /// A ladder with these proxies, which remembers what is in `memory`.
    #[must_use]
    pub fn new(proxies: Proxies, memory: Memory, surroundings: impl Surroundings + 'static) -> Self {
        let (surroundings, memory) = (Box::new(surroundings), Mutex::new(memory));
        let (certificates, shown) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Shared { proxies, surroundings, memory, certificates, shown }))
    }

    /// The rungs that there are towards `addr`, best first.
    #[must_use]
    pub fn rungs(&self, addr: SocketAddr) -> Vec<Rung> {
        let proxy = self.0.proxies.towards(addr).map(|_| Rung::Proxy);
        [Rung::Udp, Rung::Tls].into_iter().chain(proxy).collect()
    }

    /// Connects to the hub at the first of `goal`'s addresses.
    ///
    /// # Errors
    /// Why no rung leads there, or that one leads to somebody else.
    pub async fn to_hub(&self, endpoint: &Endpoint, goal: Goal) -> Result<Climbed, Fallen> {
        let Some(addr) = goal.addresses.first().copied() else { return Err(Fallen::default()) };
        let by = |rung| {
            let (ladder, endpoint, goal) = (self.clone(), endpoint.clone(), goal.clone());
            async move { ladder.try_rung(rung, &endpoint, &goal).await }
        };
        let (rung, Reached { connection, way }) = race(self.order(addr, self.rungs(addr)), by).await?;
        self.reached(addr, rung);
        let descend = ToHub { ladder: self.clone(), endpoint: endpoint.clone(), addr, unproved: None };
        let first = way.map_or(First::Straight(addr), First::Other);
        let mut climb = JoinSet::new();
        climb.spawn(endpoint.clone().keep(connection.clone(), first, goal, descend));
        Ok(Climbed { connection, rung, climb })
    }

    /// Connects to the hub at the first of `goal`'s addresses by one rung, and stays there.
    ///
    /// # Errors
    /// [`RungFault`].
    pub async fn try_rung(&self, rung: Rung, endpoint: &Endpoint, goal: &Goal) -> Result<Reached, RungFault> {
        let addr = goal.addresses.first().copied().ok_or(ConnectError::EndpointClosed)?;
        let way = match rung {
            Rung::Udp => None,
            Rung::Tls | Rung::Proxy => Some(self.hub_way(rung, endpoint, endpoint.new_peer(), addr).await?),
        };
        let peer = way.as_ref().map_or(addr, Way::peer);
        let connecting = endpoint.connect(peer, goal.expected, goal.alpns, &goal.settings);
        let connection = tokio::select! {
            connected = connecting => connected,
            error = refusal(addr), if rung == Rung::Udp => return Err(RungFault::Refused(error)),
        };
        if matches!(connection, Err(ConnectError::UnexpectedKey { .. })) {
            // Somebody is there who should hear why it ends, by this way.
            tokio::time::sleep(GOODBYE).await;
        }
        let connection = connection?;
        Ok(Reached { connection, way })
    }

    /// Binds a leg at a relay, as a way to `peer`.
    ///
    /// # Errors
    /// Why no rung leads there.
    pub async fn to_relay(
        &self,
        endpoint: &Endpoint,
        peer: SocketAddr,
        spot: &Spot,
    ) -> Result<Bound, Fallen> {
        let udp = spot.udp.map(|_| Rung::Udp);
        let tls = spot.tls.map(|addr| self.rungs(addr)).unwrap_or_default();
        let rungs: Vec<Rung> =
            udp.into_iter().chain(tls.into_iter().filter(|rung| *rung != Rung::Udp)).collect();
        let Some(near) = spot.udp.or(spot.tls) else { return Err(Fallen::default()) };
        self.bind(endpoint, peer, spot, self.order(near, rungs)).await
    }

    /// A connection with TLS by one of the rungs that have it.
    ///
    /// # Errors
    /// [`RungFault`].
    pub async fn outer(&self, rung: Rung, addr: SocketAddr) -> Result<OuterStream<TcpStream>, RungFault> {
        let stream = match self.0.proxies.towards(addr) {
            Some(proxy) if rung == Rung::Proxy => {
                let fault = |fault: ProxyFault| RungFault::Proxy { name: proxy.name().clone(), fault };
                proxy.connect(addr).await.map_err(fault)?
            }
            None if rung == Rung::Proxy => return Err(RungFault::NoProxy),
            Some(_) | None => {
                let connecting = tokio::time::timeout(WITHIN, TcpStream::connect(addr)).await;
                let late = |_late| RungFault::TimedOut { within: WITHIN };
                connecting.map_err(late)?.map_err(|error| RungFault::Refused(error.kind()))?
            }
        };
        // Packets are small, and each is waited for.
        let _slower = stream.set_nodelay(true);
        let stream = OuterStream::connect(stream, addr, WITHIN).await?;
        if let Some(certificate) = stream.certificate() {
            self.certificates().show(addr, rung, certificate);
            self.0.shown.send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(stream)
    }

    /// SHA-256 of the certificate that was shown at `addr` last, also by who has lost a race.
    #[must_use]
    pub fn shown(&self, addr: SocketAddr) -> Option<Digest> {
        self.certificates().shown(addr)
    }

    /// Changes whenever a certificate was shown.
    #[must_use]
    pub fn shows(&self) -> watch::Receiver<u64> {
        self.0.shown.subscribe()
    }

    /// Compares what was shown at `addr` with what should be shown there, as somebody says who is believed.
    pub fn compare(&self, addr: SocketAddr, expected: Digest) {
        let opened = self.certificates().compare(addr, expected);
        let network = self.0.surroundings.network(addr);
        let (rung, certificate) =
            opened.as_ref().map_or((Rung::Tls, None), |opened| (opened.rung, Some(opened.certificate)));
        let mut memory = self.memory();
        let is_news = memory.opened(network, rung, certificate);
        self.0.surroundings.keep(&memory);
        drop(memory);
        if let Some(opened) = opened.filter(|_| is_news) {
            self.0.surroundings.opened(&opened);
        }
    }

    /// Where TLS is opened by somebody in between, as far as is known.
    #[must_use]
    pub fn opened(&self) -> Vec<Opened> {
        self.certificates().opened().to_vec()
    }

    async fn bind(
        &self,
        endpoint: &Endpoint,
        peer: SocketAddr,
        spot: &Spot,
        order: Order,
    ) -> Result<Bound, Fallen> {
        let by = |rung| {
            let (ladder, endpoint, spot) = (self.clone(), endpoint.clone(), spot.clone());
            async move { ladder.leg(rung, &endpoint, peer, spot).await }
        };
        let (_, bound) = race(order, by).await?;
        // Another one may have bound the leg later than this one, and may have been the route.
        endpoint.take(&bound.way);
        bound.way.rebind();
        Ok(bound)
    }

    async fn leg(
        &self,
        rung: Rung,
        endpoint: &Endpoint,
        peer: SocketAddr,
        spot: Spot,
    ) -> Result<Bound, RungFault> {
        let addr = if rung == Rung::Udp { spot.udp } else { spot.tls };
        let addr = addr.ok_or(RungFault::Unbound)?;
        let way = if rung == Rung::Udp {
            endpoint.relayed_way(peer, addr, spot.leg)
        } else {
            endpoint.stream_way(peer, addr, self.outer(rung, addr).await?, Some(spot.leg))
        };
        tokio::select! {
            bound = tokio::time::timeout(ANSWER, way.bound()) => match bound {
                Ok(Some(_seen)) => {}
                Ok(None) | Err(_) => return Err(RungFault::Unbound),
            },
            error = refusal(addr), if rung == Rung::Udp => return Err(RungFault::Refused(error)),
        }
        if let Some(expected) = spot.certificate.filter(|_| rung != Rung::Udp) {
            self.compare(addr, expected);
        }
        Ok(Bound { way, rung, addr })
    }

    /// A way over TLS to the hub itself.
    async fn hub_way(
        &self,
        rung: Rung,
        endpoint: &Endpoint,
        peer: SocketAddr,
        addr: SocketAddr,
    ) -> Result<Way, RungFault> {
        let mut stream = self.outer(rung, addr).await?;
        let notice = Notice::hub();
        let length = u16::try_from(notice.len()).unwrap_or_default();
        let frame = [&length.to_be_bytes()[..], &notice].concat();
        stream.write_all(&frame).await.map_err(|error| RungFault::Refused(error.kind()))?;
        Ok(endpoint.stream_way(peer, addr, stream, None))
    }

    fn order(&self, addr: SocketAddr, rungs: Vec<Rung>) -> Order {
        let network = self.0.surroundings.network(addr);
        let memory = self.memory();
        let is_deaf = memory.is_deaf(network, self.0.surroundings.now());
        Order::new(rungs, memory.rung(network), is_deaf)
    }

    /// Remembers what led to a hub.
    fn reached(&self, addr: SocketAddr, rung: Rung) {
        let network = self.0.surroundings.network(addr);
        let mut memory = self.memory();
        if memory.reached(network, rung) {
            self.0.surroundings.keep(&memory);
        }
    }

    /// Remembers that UDP passed a handshake and no more, and what did pass.
    fn deaf(&self, addr: SocketAddr, instead: Rung) {
        let network = self.0.surroundings.network(addr);
        let mut memory = self.memory();
        memory.deaf(network, self.0.surroundings.now(), instead);
        self.0.surroundings.keep(&memory);
    }

    fn certificates(&self) -> MutexGuard<'_, Certificates> {
        self.0.certificates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ladder").field("proxies", &self.0.proxies).finish_non_exhaustive()
    }
}

/// From UDP to the hub over TLS.
struct ToHub {
    ladder: Ladder,
    endpoint: Endpoint,
    addr: SocketAddr,
    /// By which rung it went down, until something has come by it.
    unproved: Option<Rung>,
}

impl Descend for ToHub {
    async fn descend(&mut self, peer: SocketAddr) -> Option<Way> {
        let Self { ladder, endpoint, addr, unproved } = self;
        let addr = *addr;
        let rungs = ladder.rungs(addr).into_iter().filter(|rung| *rung != Rung::Udp).collect();
        let by = |rung| {
            let (ladder, endpoint) = (ladder.clone(), endpoint.clone());
            async move { ladder.hub_way(rung, &endpoint, peer, addr).await }
        };
        let fallen = |fallen: &Fallen| tracing::debug!(%addr, error = %fallen, "no way over TLS to the hub");
        let (rung, way) = race(ladder.order(addr, rungs), by).await.inspect_err(fallen).ok()?;
        tracing::debug!(%addr, %rung, "packets over UDP are lost, the connection goes on over TLS");
        *unproved = Some(rung);
        Some(way)
    }

    fn proved(&mut self) {
        // Otherwise it may be the hub that is deaf, and not UDP.
        if let Some(rung) = self.unproved.take() {
            self.ladder.deaf(self.addr, rung);
        }
    }
}

/// From UDP to a relay over TLS, with the same leg, and back.
#[derive(Debug)]
pub struct ToRelay {
    /// By which.
    pub ladder: Ladder,
    /// Whose way it is.
    pub endpoint: Endpoint,
    /// The relay.
    pub spot: Spot,
}

impl Descend for ToRelay {
    async fn descend(&mut self, peer: SocketAddr) -> Option<Way> {
        let Self { ladder, endpoint, spot } = self;
        let addr = spot.tls?;
        let rungs = ladder.rungs(addr).into_iter().filter(|rung| *rung != Rung::Udp).collect();
        let bound = ladder.bind(endpoint, peer, spot, ladder.order(addr, rungs)).await;
        let fallen =
            |fallen: &Fallen| tracing::debug!(%addr, error = %fallen, "no way over TLS to the relay");
        Some(bound.inspect_err(fallen).ok()?.way)
    }

    async fn ascend(&mut self, peer: SocketAddr) -> Option<Way> {
        let Self { ladder, endpoint, spot } = self;
        ladder.leg(Rung::Udp, endpoint, peer, spot.clone()).await.ok().map(|bound| bound.way)
    }
}

/// What is tried when.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    at_once: Vec<Rung>,
    waiting: VecDeque<Rung>,
    /// When nothing else is left.
    last: Option<Rung>,
}

impl Order {
    /// Of these rungs, best first, `known` led there last; `is_deaf` says that UDP is not to be relied on.
    fn new(rungs: Vec<Rung>, known: Option<Rung>, is_deaf: bool) -> Self {
        let udp = rungs.first().copied().filter(|rung| *rung == Rung::Udp);
        let (udp, last) = if is_deaf { (None, udp) } else { (udp, None) };
        let known =
            known.filter(|known| rungs.contains(known) && last != Some(*known) && udp != Some(*known));
        let at_once: Vec<Rung> = udp.into_iter().chain(known).collect();
        let waiting =
            rungs.into_iter().filter(|rung| !at_once.contains(rung) && last != Some(*rung)).collect();
        Self { at_once, waiting, last }
    }
}

/// Tries rungs until one leads there, and yields where.
async fn race<T, F>(order: Order, by: impl Fn(Rung) -> F + Sync) -> Result<(Rung, T), Fallen>
where
    T: Send + 'static,
    F: Future<Output = Result<T, RungFault>> + Send + 'static,
{
    let first = Arc::new(Mutex::new(None));
    let begin = |rung| -> Climbing {
        let (climbing, first) = (by(rung), Arc::clone(&first));
        Box::pin(async move {
            let there = climbing.await.map_err(|fault| Attempt { rung, fault })?;
            first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((rung, there));
            Ok(())
        })
    };
    run(order, &begin).await?;
    let there = first.lock().unwrap_or_else(PoisonError::into_inner).take();
    there.ok_or_else(Fallen::default)
}

/// What is at the end of a rung is none of the race's business: one race for all of them is less code on the device.
type Climbing = Pin<Box<dyn Future<Output = Result<(), Attempt>> + Send>>;

async fn run(mut order: Order, begin: &(dyn Fn(Rung) -> Climbing + Sync)) -> Result<(), Fallen> {
    let (mut running, mut fallen) = (JoinSet::new(), Fallen::default());
    for rung in std::mem::take(&mut order.at_once) {
        running.spawn(begin(rung));
    }
    loop {
        if running.is_empty() {
            let Some(next) = order.waiting.pop_front().or_else(|| order.last.take()) else {
                return Err(fallen);
            };
            running.spawn(begin(next));
        }
        let next = tokio::select! {
            Some(ended) = running.join_next() => match ended {
                Ok(Ok(())) => {
                    // What they have begun is taken back before anybody builds on this one.
                    running.shutdown().await;
                    return Ok(());
                }
                Ok(Err(attempt)) => {
                    let is_somebody_else =
                        matches!(attempt.fault, RungFault::Quic(ConnectError::UnexpectedKey { .. }));
                    fallen.attempts.push(attempt);
                    if is_somebody_else {
                        return Err(fallen);
                    }
                    order.waiting.pop_front()
                }
                // Only a defect ends a task otherwise; the others may still succeed.
                Err(_) => None,
            },
            () = tokio::time::sleep(HEAD_START), if !order.waiting.is_empty() => order.waiting.pop_front(),
        };
        if let Some(next) = next {
            running.spawn(begin(next));
        }
    }
}

/// Waits for the network's word that datagrams do not get to `addr`, for ever where there is none. A socket that is not connected,
/// as that of an endpoint, is not told.
async fn refusal(addr: SocketAddr) -> io::ErrorKind {
    let any = match addr.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let asked = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(addr).await?;
        // One byte, which is no packet of QUIC and no notice.
        socket.send(&[0]).await?;
        loop {
            let _whatever = socket.recv(&mut [0]).await?;
        }
    };
    let answered: Result<std::convert::Infallible, io::Error> = asked.await;
    match answered {
        Ok(never) => match never {},
        Err(error) if REFUSALS.contains(&error.kind()) => error.kind(),
        Err(_) => std::future::pending().await,
    }
}

/// What says that datagrams do not get there, and not that this computer is short of something.
const REFUSALS: [io::ErrorKind; 4] = [
    io::ErrorKind::ConnectionRefused,
    io::ErrorKind::HostUnreachable,
    io::ErrorKind::NetworkUnreachable,
    io::ErrorKind::PermissionDenied,
];
/// What each rung is ahead of the next.
const HEAD_START: Duration = Duration::from_millis(300);
/// For TCP, and then for TLS.
const WITHIN: Duration = Duration::from_secs(5);
/// For a last packet to leave.
const GOODBYE: Duration = Duration::from_millis(20);
/// For a relay's first answer.
const ANSWER: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn order(at_once: &[Rung], waiting: &[Rung], last: Option<Rung>) -> Order {
        Order { at_once: at_once.to_vec(), waiting: waiting.iter().copied().collect(), last }
    }

    #[test]
    fn what_led_there_last_begins_at_once_and_udp_with_it() {
        use Rung::{Proxy, Tls, Udp};
        let all = || vec![Udp, Tls, Proxy];
        assert_eq!(Order::new(all(), None, false), order(&[Udp], &[Tls, Proxy], None));
        assert_eq!(Order::new(all(), Some(Udp), false), order(&[Udp], &[Tls, Proxy], None));
        assert_eq!(Order::new(all(), Some(Tls), false), order(&[Udp, Tls], &[Proxy], None));
        assert_eq!(Order::new(all(), Some(Proxy), false), order(&[Udp, Proxy], &[Tls], None));
        // What there is no more is not tried.
        assert_eq!(Order::new(vec![Udp, Tls], Some(Proxy), false), order(&[Udp], &[Tls], None));
    }

    #[test]
    fn udp_that_was_deaf_is_tried_when_nothing_else_is_left() {
        use Rung::{Proxy, Tls, Udp};
        let all = || vec![Udp, Tls, Proxy];
        assert_eq!(Order::new(all(), Some(Tls), true), order(&[Tls], &[Proxy], Some(Udp)));
        assert_eq!(Order::new(all(), Some(Udp), true), order(&[], &[Tls, Proxy], Some(Udp)));
        assert_eq!(Order::new(vec![Tls, Proxy], Some(Tls), true), order(&[Tls], &[Proxy], None));
    }

    #[tokio::test(start_paused = true)]
    async fn each_rung_has_a_head_start_over_the_next_and_a_failure_ends_it() {
        let begun = tokio::time::Instant::now();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let by = |rung| {
            let seen = Arc::clone(&seen);
            async move {
                seen.lock().unwrap().push((rung, begun.elapsed().as_millis()));
                match rung {
                    Rung::Udp => std::future::pending().await,
                    Rung::Tls => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        Err(RungFault::Unbound)
                    }
                    Rung::Proxy => Ok(()),
                }
            }
        };
        let order = Order::new(vec![Rung::Udp, Rung::Tls, Rung::Proxy], None, false);
        let (rung, ()) = race(order, by).await.unwrap();
        assert_eq!(rung, Rung::Proxy);
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen, [(Rung::Udp, 0), (Rung::Tls, 300), (Rung::Proxy, 400)]);
    }

    #[tokio::test]
    async fn somebody_else_ends_the_race_and_silence_of_all_names_each() {
        let key = |seed| postern_protocol::trust::SecretKey::from_seed([seed; 32]).unwrap().public();
        let (expected, found) = (key(1), key(2));
        let other = move || ConnectError::UnexpectedKey { expected, found };
        let order = || Order::new(vec![Rung::Udp, Rung::Tls], None, false);
        let fallen = race::<(), _>(order(), |_| async move { Err(other().into()) }).await.unwrap_err();
        assert_eq!(fallen.attempts.len(), 1);
        assert_eq!(fallen.unexpected_key(), Some((expected, found)));
        let fallen = race::<(), _>(order(), |_| async { Err(RungFault::Unbound) }).await.unwrap_err();
        assert_eq!(fallen.to_string(), "UDP: the relay does not answer; TLS: the relay does not answer");
        assert_eq!(fallen.unexpected_key(), None);
    }
}
