//! Moves a connection to a straight way while that passes, and to another one while it does not.
//!
//! 1. Away from a straight way, the peer's own addresses are tried one after another, and then where the relay has seen it, ever more
//!    rarely: after a second, then after twice as long each time up to ten minutes. A peer that knows of this one opens its NAT meanwhile.
//! 2. An attempt is a connection of its own, which proves the peer's key and is measured for a second. Unless it is [much
//!    worse](Measured) than the way on which packets go now, the connection moves there while it carries bytes. Away from UDP,
//!    [`Descend::ascend`] is asked for a way over UDP in between.
//! 3. When nothing comes back, or nothing is acknowledged, for three seconds, when nothing comes at first, or when it turns out to be much worse,
//!    the connection moves back to the way from which it came, or to one that [`Descend`] makes, and it begins anew. A way over UDP that is
//!    not straight is left when nothing comes back.
//! 4. The end of a connection under a way is no end of what goes by it: [`Descend`] makes another one, also where nothing has come by it.
//! 5. While nothing comes at all the peer is asked once a second, whatever the way: QUIC itself asks ever more rarely, and would notice late
//!    that a network is back.

mod asked;
mod measured;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use postern_protocol::trust::keys::PublicKey;

use super::connection::Connection;
use super::endpoint::Endpoint;
use super::settings::Settings;
use super::way::Way;

use self::asked::Asked;
pub(super) use self::measured::Measured;

/// Where a connection wants to be.
#[derive(Clone, Debug)]
pub struct Goal {
    /// The peer's own addresses, best first.
    pub addresses: Vec<SocketAddr>,
    /// The peer's key.
    pub expected: PublicKey,
    /// What is spoken with it.
    pub alpns: &'static [&'static [u8]],
    /// How connections to it behave.
    pub settings: Settings,
}

/// By which way a connection was made.
#[derive(Debug)]
pub enum First {
    /// Straight to this address, which is the peer's own and under which it is known.
    Straight(SocketAddr),
    /// By another one.
    Other(Way),
}

/// What was found.
enum Found {
    Straight(Way),
    OverUdp(Way),
}

/// A straight way that is in use.
enum Straight {
    /// The one by which the connection was made: nothing leads to it but the peer's address.
    Own,
    Found(Way),
}

/// Makes ways for when a straight one does not pass.
pub trait Descend: Send + 'static {
    /// A way to `peer` that is not the present one, if there is one now.
    fn descend(&mut self, peer: SocketAddr) -> impl Future<Output = Option<Way>> + Send;

    /// Something has come by the way that was made last.
    fn proved(&mut self) {}

    /// A way to `peer` over UDP that is not straight, if there is one now.
    fn ascend(&mut self, _peer: SocketAddr) -> impl Future<Output = Option<Way>> + Send {
        std::future::ready(None)
    }
}

/// No other way than those that there are.
#[derive(Clone, Copy, Debug)]
pub struct NoOther;

impl Descend for NoOther {
    async fn descend(&mut self, _peer: SocketAddr) -> Option<Way> {
        None
    }
}

/// Why a way was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// Nothing came back.
    Silent,
    /// It was much worse than the other one.
    Worse,
}

/// What is known of the way to which a connection may go back.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    all: Measured,
    /// The connection's counters when it came to this way.
    from: Measured,
}

impl Known {
    /// From here on packets go by this way.
    fn begin(connection: &Connection) -> Self {
        Self { all: Measured::default(), from: connection.measured() }
    }

    fn update(&mut self, connection: &Connection) -> Measured {
        let now = connection.measured();
        (self.all, self.from) = (self.all.and(now.since(self.from)), now);
        self.all
    }
}

impl Endpoint {
    /// Keeps a connection on the best way for as long as it is polled. It was made by `first`, which is straight or not.
    pub async fn keep(self, connection: Connection, first: First, goal: Goal, descend: impl Descend) {
        let (peer, mut straight, base) = match first {
            First::Straight(addr) => (addr, Some(Straight::Own), None),
            First::Other(way) => (way.peer(), None, Some(way)),
        };
        let (pause, patience, tries, known) = (SOON, LOST, 0, Known::default());
        let mut keeper =
            Keeper { endpoint: self, connection, peer, goal, descend, base, known, pause, patience, tries };
        let (endpoint, connection) = (keeper.endpoint.clone(), keeper.connection.clone());
        let keeping = async {
            loop {
                straight = match straight {
                    Some(way) => keeper.straight(way).await,
                    None => keeper.beside().await,
                };
            }
        };
        tokio::select! {
            () = keeping => {}
            () = endpoint.ask_in_silence(&connection) => {}
        }
    }

    /// Asks the peer once a second while nothing comes from it, or nothing is acknowledged, although something was sent.
    async fn ask_in_silence(&self, connection: &Connection) {
        let (mut received, mut sent) = (connection.received(), connection.sent());
        let mut asked = Asked::now(connection);
        loop {
            tokio::time::sleep(ASK).await;
            let is_silent = connection.received() == received;
            if !is_silent {
                (received, sent) = (connection.received(), connection.sent());
            }
            if asked.is_unanswered(connection) || is_silent && connection.sent() != sent {
                self.ask();
            }
        }
    }

    /// Looks for a straight way and moves there.
    async fn look_up(
        &self,
        (connection, known): (&Connection, &mut Known),
        (peer, base): (SocketAddr, Option<&Way>),
        (goal, pause): (&Goal, &mut Duration),
        mut rises: Option<&mut impl Descend>,
    ) -> Found {
        loop {
            tokio::time::sleep(*pause).await;
            *pause = pause.saturating_mul(2).min(RARELY);
            let seen = base.and_then(Way::other_end);
            let seen = seen.filter(|seen| is_far(*seen) && !goal.addresses.contains(seen));
            for addr in goal.addresses.iter().copied().chain(seen) {
                let Some(tried) = self.try_out(addr, goal).await else { continue };
                let known = known.update(connection);
                if tried.loses_more_than(known) || tried.is_longer_than(known) {
                    tracing::debug!(%addr, ?tried, ?known, "a straight way is much worse than the present one");
                    continue;
                }
                let way = self.direct_way(peer, addr);
                if self.take(&way) {
                    return Found::Straight(way);
                }
            }
            if let Some(rises) = &mut rises
                && let Some(way) = rises.ascend(peer).await.filter(|way| self.take(way))
            {
                return Found::OverUdp(way);
            }
        }
    }

    /// Keeps the way back open.
    async fn keep_open(&self, base: Option<&Way>) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(KEEP).await;
            if let Some(base) = base {
                self.nudge(base);
            }
        }
    }

    /// Whether the peer is there, which it proves with its key, and how it is reached.
    async fn try_out(&self, addr: SocketAddr, goal: &Goal) -> Option<Measured> {
        let settings = Settings { handshake: ANSWER, keep_alive: Some(PING), ..goal.settings.clone() };
        // What goes to that address may be on another way at this moment.
        let way = self.direct_way(self.new_peer(), addr);
        let tried = self.connect(way.peer(), goal.expected, goal.alpns, &settings).await.ok()?;
        let before = tried.measured();
        tokio::time::sleep(TRIAL).await;
        let measured = tried.measured().since(before);
        tried.close(0, b"");
        // Or the peer would hold it for as long as connections last.
        tokio::time::sleep(GOODBYE).await;
        Some(measured)
    }
}

/// One connection, and what is known of its ways.
struct Keeper<D> {
    endpoint: Endpoint,
    connection: Connection,
    peer: SocketAddr,
    goal: Goal,
    descend: D,
    /// The way beside the straight one: that of now, or the one to go back to.
    base: Option<Way>,
    known: Known,
    /// Until a straight way is looked for again.
    pause: Duration,
    /// Until another way is made again, where none could be.
    patience: Duration,
    /// How often none could be made.
    tries: u32,
}

impl<D: Descend> Keeper<D> {
    /// Stays on a straight way until it does not pass. Yields it where nothing else passes either: it may be over in a moment.
    async fn straight(&mut self, way: Straight) -> Option<Straight> {
        let (taken, connection) = (Instant::now(), &self.connection);
        let other = self.base.as_ref().map(|_| self.known.all);
        let leaving = async {
            match &way {
                Straight::Own => lost(connection, silence_of(connection)).await,
                Straight::Found(way) => tokio::select! {
                    left = lost(connection, silence_by(way)) => left,
                    left = disappointing(connection, way, other) => left,
                },
            }
        };
        let left = tokio::select! {
            left = leaving => left,
            never = self.endpoint.keep_open(self.base.as_ref()) => match never {},
        };
        tracing::debug!(?left, "a straight way is left");
        let is_reliable = taken.elapsed() > RELIABLE;
        self.pause = match left {
            Left::Silent if is_reliable => SOON,
            Left::Silent => self.pause.max(SUSPICIOUS),
            Left::Worse => self.pause.max(LATER),
        };
        if is_reliable {
            (self.patience, self.tries) = (LOST, 0);
        }
        self.base = self.base.take().filter(|base| self.endpoint.take(base));
        self.known.from = self.connection.measured();
        if self.base.is_none() {
            self.base = self.other().await;
            self.known = Known::begin(&self.connection);
        }
        self.base.is_none().then_some(way)
    }

    /// Stays beside the straight way until there is one, or the way of now is another. Yields the straight one.
    async fn beside(&mut self) -> Option<Straight> {
        let Self { endpoint, connection, peer, goal, descend, base, known, pause, .. } = self;
        let is_over = async {
            match &base {
                Some(way) if way.is_over_udp() => tokio::select! {
                    _left = lost(connection, silence_by(way)) => {}
                    () = way.ended() => {}
                },
                Some(way) => tokio::select! {
                    () = way.ended() => {}
                    () = unheard(way) => {}
                },
                None => tokio::time::sleep(LOST).await,
            }
        };
        let proof = async {
            match &base {
                Some(way) => way.heard().await,
                None => std::future::pending().await,
            }
        };
        let is_over_udp = base.as_ref().is_some_and(Way::is_over_udp);
        let is_proved = base.as_ref().is_none_or(|way| way.is_over_udp() || way.silence().is_some());
        let rises = if is_over_udp { None } else { Some(&mut *descend) };
        let looking = endpoint.look_up((connection, known), (*peer, base.as_ref()), (goal, pause), rises);
        tokio::select! {
            biased;
            found = looking => match found {
                Found::Straight(way) => return Some(Straight::Found(way)),
                Found::OverUdp(way) => self.settle(way),
            },
            () = is_over => {
                if let Some(other) = self.other().await {
                    self.settle(other);
                }
            }
            // Last: the end of a way wakes this as well.
            () = proof, if !is_proved => self.descend.proved(),
        }
        None
    }

    /// Packets go by this way from here on.
    fn settle(&mut self, way: Way) {
        (self.base, self.known) = (Some(way), Known::begin(&self.connection));
    }

    /// Makes another way and moves there, or lets some time pass: a peer that is gone is not asked for again and again.
    async fn other(&mut self) -> Option<Way> {
        let made = self.descend.descend(self.peer).await.filter(|way| self.endpoint.take(way));
        if made.is_some() {
            (self.patience, self.tries) = (LOST, 0);
        } else {
            tokio::time::sleep(self.patience).await;
            self.tries = self.tries.saturating_add(1);
            if self.tries > SOME {
                self.patience = self.patience.saturating_mul(2).min(PATIENCE);
            }
        }
        made
    }
}

/// How long ago something came by a way.
fn silence_by(way: &Way) -> impl FnMut() -> Duration {
    let taken = Instant::now();
    // The peer follows with its next packet.
    move || way.silence().unwrap_or_else(|| taken.elapsed())
}

/// How long ago something came for a connection.
fn silence_of(connection: &Connection) -> impl FnMut() -> Duration {
    let (mut received, mut at) = (connection.received(), Instant::now());
    move || {
        let now = connection.received();
        if now != received {
            (received, at) = (now, Instant::now());
        }
        at.elapsed()
    }
}

/// Waits until nothing at all has come by a way over a connection: whoever should be at its other end is not there.
async fn unheard(way: &Way) {
    tokio::time::sleep(UNHEARD).await;
    if way.silence().is_some() {
        std::future::pending().await
    }
}

/// Waits until packets go out and none come back, or none of them is acknowledged, whatever comes: a way may pass in one direction alone.
async fn lost(connection: &Connection, silence: impl FnMut() -> Duration) -> Left {
    tokio::select! {
        left = silent(connection, silence) => left,
        () = connection.unanswered(LOST) => Left::Silent,
    }
}

async fn silent(connection: &Connection, mut silence: impl FnMut() -> Duration) -> Left {
    let mut sent = connection.sent();
    // The first packet since that is not answered: silence before it was nobody's fault.
    let mut asked: Option<Instant> = None;
    loop {
        tokio::time::sleep(GLANCE).await;
        let silence = silence();
        if silence < GLANCE.saturating_mul(2) {
            (sent, asked) = (connection.sent(), None);
        } else if connection.sent() > sent {
            let asked = *asked.get_or_insert_with(Instant::now);
            if asked.elapsed() >= LOST {
                return Left::Silent;
            }
        }
    }
}

/// Waits until nothing has come at first by a way that was taken, or until it is much worse than the `other` one.
async fn disappointing(connection: &Connection, way: &Way, other: Option<Measured>) -> Left {
    let Some(other) = other else { return std::future::pending().await };
    let (mut from, mut long) = (connection.measured(), 0);
    tokio::time::sleep(FIRST_WORD + other.round_trip * 4).await;
    if way.silence().is_none() {
        return Left::Silent;
    }
    loop {
        tokio::time::sleep(GLANCE).await;
        let now = connection.measured();
        let since = now.since(from);
        long = if since.is_longer_than(other) { long + 1 } else { 0 };
        if since.sent >= ENOUGH && since.loses_more_than(other) || long >= LONG {
            return Left::Worse;
        }
        if since.sent >= ENOUGH * 8 {
            from = now;
        }
    }
}

/// Whether the address that a relay has seen may be that of another network.
fn is_far(addr: SocketAddr) -> bool {
    let is_near = match addr.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_multicast(),
    };
    !is_near && !addr.ip().to_canonical().is_unspecified() && addr.port() != 0
}

/// For the peer's answer at its own address.
const ANSWER: Duration = Duration::from_secs(2);
/// How long an attempt is measured, and how often it is asked then.
const TRIAL: Duration = Duration::from_secs(1);
const PING: Duration = Duration::from_millis(50);
/// For a goodbye to leave.
const GOODBYE: Duration = Duration::from_millis(20);
const SOON: Duration = Duration::from_secs(1);
const RARELY: Duration = Duration::from_secs(600);
/// A straight way that lasted for so long is tried again soon.
const RELIABLE: Duration = Duration::from_secs(30);
/// One that did not, not so soon: each time that it is tried, what goes by it stands still.
const SUSPICIOUS: Duration = Duration::from_secs(30);
/// A way that was much worse may be better then.
const LATER: Duration = Duration::from_secs(60);
/// A device gives up a way of which it has heard nothing for a minute.
const KEEP: Duration = Duration::from_secs(20);
/// Attempts to make another way that follow each other soon: whoever shall be at its other end may be on the move as well.
const SOME: u32 = 3;
/// The most between two attempts to make another way.
const PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(250);
const ASK: Duration = Duration::from_secs(1);
/// Silence after packets of the own after which a way is given up.
const LOST: Duration = Duration::from_secs(3);
/// For the first packet by a way over a connection.
const UNHEARD: Duration = Duration::from_secs(6);
/// For the first packet, beside four round trips: a peer whose first answer was lost says nothing more on a way that
/// it has not proved (RFC 9000 section 8.1).
const FIRST_WORD: Duration = Duration::from_secs(1);
/// Packets from which a share of losses is told.
const ENOUGH: u64 = 50;
/// Glances in a row at a long round trip.
const LONG: u32 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_relay_says_of_this_computer_or_of_everybody_is_not_tried() {
        for far in ["192.0.2.9:4000", "10.0.0.7:1", "[2001:db8::9]:4000"] {
            assert!(is_far(far.parse().unwrap()), "{far}");
        }
        for near in [
            "127.0.0.1:4000",
            "[::1]:4000",
            "[::ffff:127.0.0.1]:4000",
            "169.254.1.1:1",
            "[fe80::1]:1",
            "224.0.0.1:1",
            "[ff02::1]:1",
            "255.255.255.255:1",
            "0.0.0.0:1",
            "[::]:1",
            "192.0.2.9:0",
        ] {
            assert!(!is_far(near.parse().unwrap()), "{near}");
        }
    }
}
