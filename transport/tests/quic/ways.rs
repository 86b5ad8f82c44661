//! Connections that go through a relay, over a connection, and from one way to another while they carry bytes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postern_protocol::time::UnixTime;
use postern_protocol::wire::relay::{End, Handle, Leg, MeetingId, Notice, Packet, RelayKey, Ticket, split};
use postern_transport::quic::Way;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::*;

/// A relay of the simplest kind: it believes every notice of its key, and may be told to forget all.
pub(super) struct Relay {
    addr: SocketAddr,
    forgets: Arc<AtomicBool>,
    _task: JoinSet<()>,
}

fn key() -> RelayKey {
    RelayKey::new([7; 32])
}

fn right(end: End) -> Leg {
    key().leg(Ticket { meeting: MeetingId([1; 16]), end, until: UnixTime::MAX })
}

impl Relay {
    async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (addr, forgets) = (socket.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let (mut task, forget) = (JoinSet::new(), Arc::clone(&forgets));
        task.spawn(async move {
            let mut legs: HashMap<Handle, (End, SocketAddr)> = HashMap::new();
            let mut buffer = vec![0; 2048];
            loop {
                let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
                if forget.swap(false, Ordering::Relaxed) {
                    legs.clear();
                }
                let (to, packet) = match split(&buffer[..len]).unwrap() {
                    Packet::Notice(notice) => {
                        let read = Notice::read(notice, |ticket| key().leg_key(ticket.unwrap())).unwrap();
                        let Notice::Bind { ticket, stamp } = read else { panic!("{read:?}") };
                        let handle = key().handle(&ticket.meeting, ticket.end, &[0; 16]);
                        legs.insert(handle, (ticket.end, from));
                        (from, Notice::bound(&key().leg_key(&ticket), stamp, handle, from, None))
                    }
                    Packet::Data(handle, packet) => match legs.get(&handle).copied() {
                        None => (from, Notice::unbound(handle).to_vec()),
                        Some((end, _)) => {
                            let other = legs.iter().find(|(_, (other, _))| *other == end.other());
                            let Some((handle, (_, to))) = other else { continue };
                            (*to, [handle.as_bytes(), packet].concat())
                        }
                    },
                };
                socket.send_to(&packet, to).await.unwrap();
            }
        });
        Self { addr, forgets, _task: task }
    }
}

/// A connection through a relay and the ways of both ends.
pub(super) struct Relayed {
    pub(super) relay: Relay,
    pub(super) pair: Pair,
    pub(super) near: Way,
    pub(super) far: Way,
}

impl Relayed {
    pub(super) async fn open(settings: &Settings) -> Self {
        let relay = Relay::start().await;
        let (server_endpoint, addr) = server(settings);
        let client_endpoint = bind(CLIENT, Role::Client, settings);
        let far = server_endpoint.relayed_way(server_endpoint.new_peer(), relay.addr, right(End::Agent));
        let near = client_endpoint.relayed_way(client_endpoint.new_peer(), relay.addr, right(End::Client));
        assert_eq!(far.bound().await, Some(addr));
        assert_eq!(near.bound().await, Some(client_endpoint.local_addr().unwrap()));
        let pair = meet(client_endpoint, server_endpoint, near.peer(), settings).await;
        Self { relay, pair, near, far }
    }
}

async fn meet(
    client_endpoint: Endpoint,
    server_endpoint: Endpoint,
    peer: SocketAddr,
    settings: &Settings,
) -> Pair {
    let dial = client_endpoint.connect(peer, public(SERVER), &[ALPN], settings);
    let admit = async { server_endpoint.accept().await.unwrap().handshake(GENEROUS).await };
    let (client, server) = tokio::time::timeout(GENEROUS, async { tokio::join!(dial, admit) }).await.unwrap();
    Pair { client: client.unwrap(), server: server.unwrap(), client_endpoint, server_endpoint }
}

/// Sends `pieces` of 64 KiB both ways at once, calls `between` after a third, and compares what arrives.
async fn exchange<F: Future<Output = ()>>(pair: &Pair, pieces: usize, between: impl FnOnce() -> F) {
    let mut stream = pair.stream(b"?").await;
    let piece = |number: usize| -> Vec<u8> {
        (0..65_536).map(|byte| u8::try_from((byte * 7 + number * 13) % 251).unwrap()).collect()
    };
    let write = |mut send: SendStream| async move {
        for number in 0..pieces {
            send.write_all(&piece(number)).await.unwrap();
        }
        send.finish().unwrap();
        send
    };
    let up = tokio::spawn(write(stream.client_send));
    let down = tokio::spawn(write(stream.server_send));
    let mut between = Some(between);
    for number in 0..pieces {
        let mut bytes = vec![0; 65_536];
        tokio::time::timeout(GENEROUS, stream.server_recv.read_exact(&mut bytes)).await.unwrap().unwrap();
        assert!(bytes == piece(number), "piece {number} up");
        tokio::time::timeout(GENEROUS, stream.client_recv.read_exact(&mut bytes)).await.unwrap().unwrap();
        assert!(bytes == piece(number), "piece {number} down");
        if number == pieces / 3 {
            (between.take().unwrap())().await;
        }
    }
    up.await.unwrap();
    down.await.unwrap();
}

fn kinds() -> [Settings; 3] {
    [
        Settings::session(),
        Settings { thrifty: true, ..Settings::session() },
        Settings { segmentation: false, ..Settings::session() },
    ]
}

#[tokio::test]
async fn bytes_pass_a_relay_unchanged_in_both_directions() {
    for settings in kinds() {
        let relayed = Relayed::open(&settings).await;
        exchange(&relayed.pair, 30, || async {}).await;
        assert!(relayed.near.silence().unwrap() < GENEROUS);
    }
}

#[tokio::test]
async fn a_relay_that_was_started_anew_is_bound_again_and_the_connection_goes_on() {
    let relayed = Relayed::open(&Settings::session()).await;
    exchange(&relayed.pair, 30, || async { relayed.relay.forgets.store(true, Ordering::Relaxed) }).await;
}

#[tokio::test]
async fn a_connection_moves_from_the_relay_to_a_direct_way_and_back_under_load() {
    for settings in kinds() {
        let relayed = Relayed::open(&settings).await;
        let (client, addr) =
            (&relayed.pair.client_endpoint, relayed.pair.server_endpoint.local_addr().unwrap());
        let direct = client.direct_way(relayed.near.peer(), addr);
        exchange(&relayed.pair, 30, || async { assert!(client.take(&direct)) }).await;
        assert!(direct.silence().is_some());
        exchange(&relayed.pair, 30, || async { assert!(client.take(&relayed.near)) }).await;
        drop(direct);
        exchange(&relayed.pair, 3, || async {}).await;
    }
}

#[tokio::test]
async fn a_way_that_is_not_the_route_is_heard_of_when_it_is_nudged_and_not_otherwise() {
    for settings in kinds() {
        let relayed = Relayed::open(&settings).await;
        let client = &relayed.pair.client_endpoint;
        let addr = relayed.pair.server_endpoint.local_addr().unwrap();
        let direct = client.direct_way(relayed.near.peer(), addr);
        assert!(client.take(&direct));
        exchange(&relayed.pair, 3, || async {}).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(relayed.far.silence().unwrap() >= Duration::from_millis(500));
        client.nudge(&relayed.near);
        let heard = async {
            while relayed.far.silence().unwrap() >= Duration::from_millis(500) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(GENEROUS, heard).await.unwrap();
        // It is no packet, and harms none.
        exchange(&relayed.pair, 3, || async {}).await;
    }
}

#[tokio::test]
async fn a_connection_whose_relay_is_gone_goes_on_over_another_way() {
    let Relayed { relay, pair, near, far: _far } = Relayed::open(&Settings::session()).await;
    let direct = pair.client_endpoint.direct_way(near.peer(), pair.server_endpoint.local_addr().unwrap());
    exchange(&pair, 30, || async {
        drop(relay);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(pair.client_endpoint.take(&direct));
    })
    .await;
}

#[tokio::test]
async fn frames_over_a_connection_carry_a_connection_and_what_is_lost_of_them_is_sent_again() {
    for settings in kinds() {
        let (server_endpoint, addr) = server(&settings);
        let client_endpoint = bind(CLIENT, Role::Client, &settings);
        let (one, other) = tokio::io::duplex(16 * 1024);
        let far = server_endpoint.stream_way(server_endpoint.new_peer(), addr, one, None);
        let near = client_endpoint.stream_way(client_endpoint.new_peer(), addr, other, None);
        let pair = meet(client_endpoint, server_endpoint, near.peer(), &settings).await;
        exchange(&pair, 30, || async {}).await;
        // The connection breaks, and another way is there.
        let direct = pair.client_endpoint.direct_way(near.peer(), addr);
        exchange(&pair, 30, || async {
            drop(far);
            tokio::time::timeout(GENEROUS, near.ended()).await.unwrap();
            assert!(pair.client_endpoint.take(&direct));
        })
        .await;
        assert!(!pair.client_endpoint.take(&near));
    }
}

#[tokio::test]
async fn frames_that_end_in_the_middle_or_are_too_long_end_the_way_and_nothing_else() {
    use tokio::io::AsyncWriteExt as _;

    let endpoint = bind(CLIENT, Role::Client, &Settings::session());
    for bytes in [&b"\x00"[..], b"\x00\x05abc", &[0xff; 40_000]] {
        let (one, mut other) = tokio::io::duplex(64 * 1024);
        let way = endpoint.stream_way(endpoint.new_peer(), endpoint.local_addr().unwrap(), one, None);
        other.write_all(bytes).await.unwrap();
        drop(other);
        tokio::time::timeout(GENEROUS, way.ended()).await.unwrap();
        assert!(!endpoint.take(&way));
    }
}
