//! Moves a connection to a straight way while that passes, and to another one while it does not.
//!
//! 1. Away from a straight way, the peer's own addresses are tried one after another, ever more rarely: after a second, then after twice as
//!    long each time up to ten minutes.
//! 2. When it answers at one, with its key, the connection moves there while it carries bytes.
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

/// Makes ways for when a straight one does not pass.
pub trait Descend: Send + 'static {
    /// A way to `peer` that is not the present one, if there is one now.
    fn descend(&mut self, peer: SocketAddr) -> impl Future<Output = Option<Way>> + Send;
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
    pub async fn keep(
        self,
        connection: Connection,
        (first, is_straight): (Way, bool),
        goal: Goal,
        mut descend: impl Descend,
    ) {
        let peer = first.peer();
        let (mut straight, mut base) = if is_straight { (Some(first), None) } else { (None, Some(first)) };
        let mut pause = SOON;
        loop {
            match straight.take() {
                Some(way) => {
                    let taken = Instant::now();
                    tokio::select! {
                        () = lost(&connection, &way) => {}
                        never = self.keep_open(base.as_ref()) => match never {},
                    }
                    pause = if taken.elapsed() > RELIABLE { SOON } else { pause.max(SUSPICIOUS) };
                    base = base.filter(|base| self.take(base));
                    while base.is_none() {
                        base = self.other(&mut descend, peer).await;
                        if base.is_none() && way.silence().is_some_and(|silence| silence < GLANCE) {
                            straight = Some(way);
                            break;
                        }
                    }
                }
                None => {
                    let is_over = async {
                        match &base {
                            Some(way) if way.is_over_udp() => tokio::select! {
                                () = lost(&connection, way) => {}
                                () = way.ended() => {}
                            },
                            Some(way) => way.ended().await,
                            None => tokio::time::sleep(LOST).await,
                        }
                    };
                    tokio::select! {
                        found = self.look_up(peer, &goal, &mut pause) => straight = Some(found),
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
    async fn look_up(&self, peer: SocketAddr, goal: &Goal, pause: &mut Duration) -> Way {
        loop {
            tokio::time::sleep(*pause).await;
            *pause = pause.saturating_mul(2).min(RARELY);
            for addr in &goal.addresses {
                if self.answers(*addr, goal).await {
                    let way = self.direct_way(peer, *addr);
                    if self.take(&way) {
                        return way;
                    }
                }
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
        let tried = self.connect(addr, goal.expected, goal.alpns, &settings).await;
        tried.inspect(|tried| tried.close(0, b"")).is_ok()
    }
}

/// Waits until packets go out and none come back.
async fn lost(connection: &Connection, way: &Way) {
    let (mut sent, taken) = (connection.sent(), Instant::now());
    // The first packet since that is not answered: silence before it was nobody's fault.
    let mut asked: Option<Instant> = None;
    loop {
        tokio::time::sleep(GLANCE).await;
        // The peer follows with its next packet.
        let silence = way.silence().unwrap_or_else(|| taken.elapsed());
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
const GLANCE: Duration = Duration::from_millis(500);
/// Silence after packets of the own after which a way is given up.
const LOST: Duration = Duration::from_secs(3);
