//! Connections that look for a better way: over a straight one that is good, that is bad from the start, that becomes so, and that ends.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use postern_transport::quic::{First, Goal, NoOther};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::ways::Relayed;
use super::*;

/// A straight way to the server, as long and lossy as it is told to be, which each who dials has for itself.
struct Wire {
    addr: SocketAddr,
    conditions: Arc<Conditions>,
    _task: JoinSet<()>,
}

#[derive(Debug)]
struct Conditions {
    /// Of a thousand packets, how many are lost.
    loss: AtomicU32,
    /// The same of those to the server, besides.
    loss_there: AtomicU32,
    delay_ms: AtomicU64,
    dice: AtomicU64,
    /// Packets that came to it.
    packets: AtomicU64,
}

impl Conditions {
    fn is_lost(&self, there: bool) -> bool {
        self.packets.fetch_add(1, Ordering::Relaxed);
        // SplitMix64.
        let mut bits = self.dice.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let loss_there = if there { self.loss_there.load(Ordering::Relaxed) } else { 0 };
        (bits >> 32) % 1000 < u64::from(self.loss.load(Ordering::Relaxed) + loss_there)
    }

    fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// Brings a packet to the other side, or not.
    fn carry(&self, there: bool, socket: &Arc<UdpSocket>, packet: &[u8], to: SocketAddr) {
        if !self.is_lost(there) {
            let (socket, packet) = (Arc::clone(socket), packet.to_vec());
            let delay = Duration::from_millis(self.delay_ms.load(Ordering::Relaxed));
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let _refused = socket.send_to(&packet, to).await;
            });
        }
    }
}

impl Wire {
    async fn before(server: SocketAddr, loss: u32, delay_ms: u64) -> Self {
        let outside = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
        let addr = outside.local_addr().unwrap();
        let conditions = Arc::new(Conditions {
            loss: loss.into(),
            loss_there: 0.into(),
            delay_ms: delay_ms.into(),
            dice: 20_261_129.into(),
            packets: 0.into(),
        });
        let (mut task, here) = (JoinSet::new(), Arc::clone(&conditions));
        task.spawn(async move {
            let (mut views, mut answers) = (HashMap::new(), JoinSet::new());
            let mut buffer = [0; 2048];
            loop {
                let (len, from) = outside.recv_from(&mut buffer).await.unwrap();
                let view = match views.entry(from) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        let view = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
                        let (outside, here, back) =
                            (Arc::clone(&outside), Arc::clone(&here), Arc::clone(&view));
                        answers.spawn(async move {
                            let mut buffer = [0; 2048];
                            while let Ok((len, _)) = back.recv_from(&mut buffer).await {
                                here.carry(false, &outside, &buffer[..len], from);
                            }
                        });
                        new.insert(view)
                    }
                };
                here.carry(true, view, &buffer[..len], server);
            }
        });
        Self { addr, conditions, _task: task }
    }
}

/// Somebody who speaks and is answered over a relay, and looks for a straight way.
struct Talk {
    stream: (SendStream, RecvStream),
    wire: Wire,
    pair: Pair,
    tasks: JoinSet<()>,
}

impl Talk {
    async fn begin(loss: u32, delay_ms: u64) -> Self {
        let Relayed { relay, pair, near, far } = Relayed::open(&Settings::session()).await;
        let wire = Wire::before(pair.server_endpoint.local_addr().unwrap(), loss, delay_ms).await;
        let Stream { client_send, client_recv, mut server_send, mut server_recv } = pair.stream(b"?").await;
        let mut tasks = JoinSet::new();
        let admitting = pair.server_endpoint.clone();
        tasks.spawn(async move {
            let _alive = (relay, far);
            let mut attempts = JoinSet::new();
            while let Some(incoming) = admitting.accept().await {
                attempts.spawn(async move {
                    if let Ok(connection) = incoming.handshake(GENEROUS).await {
                        connection.closed().await;
                    }
                });
            }
        });
        tasks.spawn(async move {
            let mut bytes = [0; SAID];
            while server_recv.read_exact(&mut bytes).await.is_ok() {
                server_send.write_all(&bytes).await.unwrap();
            }
        });
        let (addresses, settings) = (vec![wire.addr], Settings::session());
        let goal = Goal { addresses, expected: public(SERVER), alpns: &[ALPN], settings };
        tasks.spawn(pair.client_endpoint.clone().keep(
            pair.client.clone(),
            First::Other(near),
            goal,
            NoOther,
        ));
        Self { stream: (client_send, client_recv), wire, pair, tasks }
    }

    /// Has the server say something all the time, whether it is answered or not.
    async fn drip(&mut self) {
        let (mut asking, mut heard) = self.pair.client.open_bi().await.unwrap();
        asking.write_all(b"!").await.unwrap();
        let (mut said, asked) = self.pair.server.accept_bi().await.unwrap();
        self.tasks.spawn(async move {
            let _open = asked;
            while said.write_all(&[9; SAID]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        self.tasks.spawn(async move {
            let (_open, mut bytes) = (asking, [0; SAID]);
            while heard.read_exact(&mut bytes).await.is_ok() {}
        });
    }

    /// Says something and waits for the answer; yields how long that took, and whether it came straight.
    async fn say(&mut self) -> (Duration, bool) {
        let (began, before) = (Instant::now(), self.wire.conditions.packets());
        let mut bytes = [0; SAID];
        let (send, recv) = &mut self.stream;
        let answered = async {
            send.write_all(&[7; SAID]).await.unwrap();
            recv.read_exact(&mut bytes).await.unwrap();
        };
        tokio::time::timeout(GENEROUS, answered).await.unwrap();
        let took = began.elapsed();
        tokio::time::sleep(Duration::from_millis(20)).await;
        (took, self.wire.conditions.packets() > before && self.is_straight())
    }

    fn is_straight(&self) -> bool {
        self.pair.client.remote_addr() == self.wire.addr
    }

    /// Speaks until the way is what it is wished to be; yields the longest wait for an answer.
    async fn until(&mut self, straight: bool, within: Duration) -> Duration {
        let (began, mut longest) = (Instant::now(), Duration::ZERO);
        while self.is_straight() != straight {
            assert!(began.elapsed() < within, "it is straight: {}", self.is_straight());
            longest = longest.max(self.say().await.0);
        }
        longest
    }

    /// Speaks for a while, over the relay all the time; yields the longest wait.
    async fn stays(&mut self, span: Duration) -> Duration {
        let (began, mut longest) = (Instant::now(), Duration::ZERO);
        while began.elapsed() < span {
            longest = longest.max(self.say().await.0);
            assert!(!self.is_straight());
        }
        longest
    }
}

/// Bytes of one sentence.
const SAID: usize = 100;

#[tokio::test]
async fn a_good_straight_way_is_taken_and_left_when_it_ends() {
    let mut talk = Talk::begin(0, 5).await;
    let longest = talk.until(true, GENEROUS).await;
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    for _ in 0..20 {
        assert!(talk.say().await.1);
    }
    talk.wire.conditions.loss.store(1000, Ordering::Relaxed);
    let longest = talk.until(false, GENEROUS).await;
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    let longest = talk.stays(Duration::from_secs(2)).await;
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

#[tokio::test]
async fn a_straight_way_that_passes_in_one_direction_alone_is_left() {
    let mut talk = Talk::begin(0, 5).await;
    talk.drip().await;
    talk.until(true, GENEROUS).await;
    for _ in 0..20 {
        assert!(talk.say().await.1);
    }
    // The server goes on, and is heard; what is said to it does not arrive.
    talk.wire.conditions.loss_there.store(1000, Ordering::Relaxed);
    let longest = talk.until(false, GENEROUS).await;
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    let longest = talk.stays(Duration::from_secs(2)).await;
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

#[tokio::test]
async fn a_straight_way_that_loses_a_fifth_or_is_much_longer_than_the_relay_is_not_taken() {
    for (loss, delay_ms) in [(250, 5), (0, 150)] {
        let mut talk = Talk::begin(loss, delay_ms).await;
        let longest = talk.stays(Duration::from_secs(6)).await;
        assert!(longest < Duration::from_secs(1), "{longest:?}");
        assert!(talk.wire.conditions.packets() > 20, "nobody has tried");
    }
}

#[tokio::test]
async fn a_straight_way_that_begins_to_lose_packets_is_left_for_the_relay() {
    let mut talk = Talk::begin(0, 5).await;
    talk.until(true, GENEROUS).await;
    talk.wire.conditions.loss.store(200, Ordering::Relaxed);
    let longest = talk.until(false, GENEROUS).await;
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    let longest = talk.stays(Duration::from_secs(3)).await;
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}

#[tokio::test]
async fn a_straight_way_that_becomes_much_longer_is_left_for_the_relay() {
    let mut talk = Talk::begin(0, 5).await;
    talk.until(true, GENEROUS).await;
    talk.wire.conditions.delay_ms.store(150, Ordering::Relaxed);
    talk.until(false, GENEROUS).await;
}
