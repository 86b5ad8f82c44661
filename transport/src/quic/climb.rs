//! Moves a connection from the way on which it was made to a straight one, and back.
//!
//! 1. The peer's own addresses are tried one after another, ever more rarely: after a second, then after twice as long each time up to
//!    ten minutes.
//! 2. When it answers at one, with its key, the connection moves there while it carries bytes.
//! 3. When packets go out and none come back for three seconds, the connection moves back, and it begins anew.

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

impl Endpoint {
    /// Looks for a straight way for as long as it is polled; `base` is the way on which the connection was made.
    pub async fn climb(self, connection: Connection, base: Way, goal: Goal) {
        let mut pause = SOON;
        loop {
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(RARELY);
            for addr in &goal.addresses {
                if !self.answers(*addr, &goal).await {
                    continue;
                }
                let way = self.direct_way(base.peer(), *addr);
                if self.take(&way) {
                    let taken = Instant::now();
                    tokio::select! {
                        () = lost(&connection, &way) => {}
                        never = self.keep(&base) => match never {},
                    }
                    self.take(&base);
                    if taken.elapsed() > RELIABLE {
                        pause = SOON;
                    }
                }
                break;
            }
        }
    }

    /// Keeps the way back open.
    async fn keep(&self, base: &Way) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(KEEP).await;
            self.nudge(base);
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
    loop {
        tokio::time::sleep(GLANCE).await;
        // The peer follows with its next packet.
        let silence = way.silence().unwrap_or_else(|| taken.elapsed());
        if silence < GLANCE.saturating_mul(2) {
            sent = connection.sent();
        } else if silence >= LOST && connection.sent() > sent {
            return;
        }
    }
}

/// For the peer's answer at its own address.
const ANSWER: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(1);
const RARELY: Duration = Duration::from_secs(600);
/// A straight way that lasted for so long is tried again soon.
const RELIABLE: Duration = Duration::from_secs(30);
/// A device gives up a way of which it has heard nothing for a minute.
const KEEP: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(500);
/// Silence after packets of the own after which a straight way is given up.
const LOST: Duration = Duration::from_secs(3);
