//! Moves a connection to a straight way while that passes, and to another one while it does not.
//!
//! 1. Away from a straight way, the peer's own addresses are tried one after another, ever more rarely: after a second, then after twice as
//!    long each time up to ten minutes.
//! 2. When it answers at one, with its key, the connection moves there while it carries bytes. Away from UDP, [`Descend::ascend`] is asked
//!    for a way over UDP in between.
//! 3. When packets go out and none come back for three seconds, the connection moves back to the way from which it came, or to one
//!    that [`Descend`] makes, and it begins anew. A way over UDP that is not straight is left in the same manner.
//! 4. The end of a connection under a way is no end of what goes by it: [`Descend`] makes another one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postern_protocol::trust::keys::PublicKey;

use super::connection::Connection;
use super::endpoint::Endpoint;
use super::settings::Settings;
use super::way::Way;

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

impl Endpoint {
    /// Keeps a connection on the best way for as long as it is polled. It was made by `first`, which is straight or not.
    pub async fn keep(self, connection: Connection, first: First, goal: Goal, mut descend: impl Descend) {
        let (peer, mut straight, mut base) = match first {
            First::Straight(addr) => (addr, Some(Straight::Own), None),
            First::Other(way) => (way.peer(), None, Some(way)),
        };
        let mut pause = SOON;
        loop {
            match straight.take() {
                Some(way) => {
                    let taken = Instant::now();
                    let leaving = async {
                        match &way {
                            Straight::Own => lost(&connection, silence_of(&connection)).await,
                            Straight::Found(way) => lost(&connection, silence_by(way)).await,
                        }
                    };
                    tokio::select! {
                        () = leaving => {}
                        never = self.keep_open(base.as_ref()) => match never {},
                    }
                    pause = if taken.elapsed() > RELIABLE { SOON } else { pause.max(SUSPICIOUS) };
                    base = base.filter(|base| self.take(base));
                    if base.is_none() {
                        base = self.other(&mut descend, peer).await;
                    }
                    if base.is_none() {
                        // Nothing passes anywhere; it may be over in a moment.
                        straight = Some(way);
                    }
                }
                None => {
                    let is_over = async {
                        match &base {
                            Some(way) if way.is_over_udp() => tokio::select! {
                                () = lost(&connection, silence_by(way)) => {}
                                () = way.ended() => {}
                            },
                            Some(way) => way.ended().await,
                            None => tokio::time::sleep(LOST).await,
                        }
                    };
                    let is_over_udp = base.as_ref().is_some_and(Way::is_over_udp);
                    let rises = if is_over_udp { None } else { Some(&mut descend) };
                    tokio::select! {
                        found = self.look_up(peer, &goal, &mut pause, rises) => match found {
                            Found::Straight(way) => straight = Some(Straight::Found(way)),
                            Found::OverUdp(way) => base = Some(way),
                        },
                        () = is_over => {
                            if let Some(other) = self.other(&mut descend, peer).await {
                                base = Some(other);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Makes another way and moves there, or lets a moment pass.
    async fn other(&self, descend: &mut impl Descend, peer: SocketAddr) -> Option<Way> {
        let made = descend.descend(peer).await.filter(|way| self.take(way));
        if made.is_none() {
            tokio::time::sleep(LOST).await;
        }
        made
    }

    /// Looks for a straight way and moves there.
    async fn look_up(
        &self,
        peer: SocketAddr,
        goal: &Goal,
        pause: &mut Duration,
        mut rises: Option<&mut impl Descend>,
    ) -> Found {
        loop {
            tokio::time::sleep(*pause).await;
            *pause = pause.saturating_mul(2).min(RARELY);
            for addr in &goal.addresses {
                if self.answers(*addr, goal).await {
                    let way = self.direct_way(peer, *addr);
                    if self.take(&way) {
                        return Found::Straight(way);
                    }
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

    /// Whether the peer is there: it proves its key.
    async fn answers(&self, addr: SocketAddr, goal: &Goal) -> bool {
        let settings = Settings { handshake: ANSWER, ..goal.settings.clone() };
        // What goes to that address may be on another way at this moment.
        let way = self.direct_way(self.new_peer(), addr);
        let tried = self.connect(way.peer(), goal.expected, goal.alpns, &settings).await;
        tried.inspect(|tried| tried.close(0, b"")).is_ok()
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

/// Waits until packets go out and none come back.
async fn lost(connection: &Connection, mut silence: impl FnMut() -> Duration) {
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
                return;
            }
        }
    }
}

/// For the peer's answer at its own address.
const ANSWER: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(1);
const RARELY: Duration = Duration::from_secs(600);
/// A straight way that lasted for so long is tried again soon.
const RELIABLE: Duration = Duration::from_secs(30);
/// One that did not, not so soon: each time that it is tried, what goes by it stands still.
const SUSPICIOUS: Duration = Duration::from_secs(30);
/// A device gives up a way of which it has heard nothing for a minute.
const KEEP: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(250);
/// Silence after packets of the own after which a way is given up.
const LOST: Duration = Duration::from_secs(3);
