//! A real relay between real endpoints, over UDP and over TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_cloud::relay::{Listen, Relay};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::SecretKey;
use postern_protocol::wire::relay::{End, Leg, MeetingId, Notice, RelayKey, Ticket};
use postern_transport::OuterStream;
use postern_transport::ladder::{Climbed, Ladder, Memory, Network, Opened, Rung, Surroundings};
use postern_transport::proxy::Proxies;
use postern_transport::quic::{Connection, Endpoint, Goal, Role, Settings, Way};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;

const ALPN: &[u8] = b"postern-test/1";
const GENEROUS: Duration = Duration::from_secs(20);
const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

fn right(meeting: u8, end: End) -> Leg {
    RelayKey::new([7; 32]).leg(Ticket { meeting: MeetingId([meeting; 16]), end, until: UnixTime::MAX })
}

/// A program that has been nowhere yet.
struct Nowhere;

impl Surroundings for Nowhere {
    fn now(&self) -> UnixTime {
        UnixTime::EPOCH
    }

    fn network(&self, _towards: SocketAddr) -> Network {
        Network::of(None, "", "")
    }

    fn keep(&self, _memory: &Memory) {}

    fn opened(&self, _opened: &Opened) {}
}

fn ladder() -> Ladder {
    Ladder::new(Proxies::none(), Memory::default(), Nowhere)
}

struct Open {
    relay: Arc<Relay>,
    udp: SocketAddr,
    tcp: SocketAddr,
    _tasks: JoinSet<()>,
}

async fn open(hub: Option<Endpoint>) -> Open {
    let listen = Listen { udp: HERE, tcp: Some(HERE), meetings: 16, connections: 4 };
    let relay = Arc::new(Relay::bind(&listen, RelayKey::new([7; 32]), hub).await.unwrap());
    let (udp, tcp) = (relay.udp_addr().unwrap(), relay.tcp_addr().unwrap().unwrap());
    let (mut tasks, serving) = (JoinSet::new(), Arc::clone(&relay));
    tasks.spawn(async move { serving.serve().await });
    Open { relay, udp, tcp, _tasks: tasks }
}

fn server() -> Endpoint {
    let role = Role::Server { alpns: vec![ALPN.to_vec()] };
    Endpoint::bind(HERE, &secret(1), role, &Settings::stranger()).unwrap()
}

fn client() -> Endpoint {
    Endpoint::bind(HERE, &secret(2), Role::Client, &Settings::session()).unwrap()
}

impl Open {
    async fn tls(&self) -> OuterStream<TcpStream> {
        let stream = TcpStream::connect(self.tcp).await.unwrap();
        OuterStream::connect(stream, self.tcp, GENEROUS).await.unwrap()
    }

    async fn way(&self, endpoint: &Endpoint, meeting: u8, end: End, over_tls: bool) -> Way {
        let (peer, right) = (endpoint.new_peer(), right(meeting, end));
        let way = if over_tls {
            endpoint.stream_way(peer, self.tcp, self.tls().await, Some(right))
        } else {
            endpoint.relayed_way(peer, self.udp, right)
        };
        let seen = tokio::time::timeout(GENEROUS, way.bound()).await.unwrap().unwrap();
        assert!(over_tls || seen == endpoint.local_addr().unwrap());
        way
    }
}

async fn meet(client: &Endpoint, server: &Endpoint, peer: SocketAddr) -> (Connection, Connection) {
    let settings = Settings::session();
    let dial = client.connect(peer, secret(1).public(), &[ALPN], &settings);
    let admit = async { server.accept().await.unwrap().handshake(GENEROUS).await };
    let (near, far) = tokio::time::timeout(GENEROUS, async { tokio::join!(dial, admit) }).await.unwrap();
    (near.unwrap(), far.unwrap())
}

/// A megabyte each way over one stream.
async fn exchange(near: &Connection, far: &Connection) {
    let bytes: Vec<u8> =
        (0..1_000_003_u32).map(|byte| byte.to_le_bytes()[0] ^ byte.to_le_bytes()[1]).collect();
    let (mut send, mut recv) = near.open_bi().await.unwrap();
    let (far, echo) = (far.clone(), bytes.len());
    let echoing = tokio::spawn(async move {
        let (mut send, mut recv) = far.accept_bi().await.unwrap();
        let mut seen = vec![0; echo];
        recv.read_exact(&mut seen).await.unwrap();
        send.write_all(&seen).await.unwrap();
        send.finish().unwrap();
        // The stream ends when what was sent is acknowledged; until then it must not be dropped.
        seen
    });
    send.write_all(&bytes).await.unwrap();
    let mut back = vec![0; bytes.len()];
    tokio::time::timeout(GENEROUS, recv.read_exact(&mut back)).await.unwrap().unwrap();
    assert!(back == bytes && echoing.await.unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_meet_over_udp_and_tls_in_every_combination() {
    let open = open(None).await;
    for (meeting, (agent_tls, client_tls)) in
        [(1, (false, false)), (2, (true, false)), (3, (false, true)), (4, (true, true))]
    {
        let (server, client) = (server(), client());
        let _far = open.way(&server, meeting, End::Agent, agent_tls).await;
        let near = open.way(&client, meeting, End::Client, client_tls).await;
        let (near, far) = meet(&client, &server, near.peer()).await;
        exchange(&near, &far).await;
        near.close(0, b"");
    }
    let counts = open.relay.counts();
    assert_eq!((counts.bound, counts.refused, counts.full), (8, 0, 0));
    assert!(counts.packets > 4 * 1000 && counts.bytes > 8_000_000, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_moves_between_udp_and_tls_and_goes_on_when_one_of_them_ends() {
    let open = open(None).await;
    let (server, client) = (server(), client());
    let far_tls = open.way(&server, 1, End::Agent, true).await;
    let near_tls = open.way(&client, 1, End::Client, true).await;
    let (near, far) = meet(&client, &server, near_tls.peer()).await;
    exchange(&near, &far).await;
    // Both have a leg of a second meeting over UDP.
    let _far_udp = open.way(&server, 2, End::Agent, false).await;
    let near_udp = client.relayed_way(near_tls.peer(), open.udp, right(2, End::Client));
    assert!(near_udp.bound().await.is_some());
    assert!(client.take(&near_udp));
    exchange(&near, &far).await;
    drop((far_tls, near_tls));
    exchange(&near, &far).await;
    assert!(near_udp.silence().unwrap() < GENEROUS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_is_reached_over_tls_and_a_relay_alone_has_none() {
    let (server, client) = (server(), client());
    let with = open(Some(server.clone())).await;
    for (open, reaches) in [(&with, true), (&open(None).await, false)] {
        let mut stream = open.tls().await;
        assert_eq!(stream.certificate(), open.relay.certificate());
        let notice = Notice::hub();
        stream.write_u16(u16::try_from(notice.len()).unwrap()).await.unwrap();
        stream.write_all(&notice).await.unwrap();
        if reaches {
            let way = client.stream_way(client.new_peer(), open.tcp, stream, None);
            let (near, far) = meet(&client, &server, way.peer()).await;
            exchange(&near, &far).await;
        } else {
            // Closed, with TLS's goodbye or without.
            let read = tokio::time::timeout(GENEROUS, stream.read(&mut [0; 8])).await.unwrap();
            assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_udp_does_not_reach_is_reached_over_tls_and_the_connection_moves_to_udp_when_it_passes() {
    let (server, client) = (server(), client());
    let open = open(Some(server.clone())).await;
    let goal = |seed: u8| Goal {
        addresses: vec![open.tcp],
        expected: secret(seed).public(),
        alpns: &[ALPN],
        settings: Settings::control(),
    };
    let admit = async { server.accept().await.unwrap().handshake(GENEROUS).await };
    let began = Instant::now();
    let ladder = ladder();
    let (near, far) = tokio::join!(ladder.to_hub(&client, goal(1)), admit);
    let (Climbed { connection, rung, climb: _climb, .. }, far) = (near.unwrap(), far.unwrap());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(rung, Rung::Tls);
    // Known by where it comes from, not by the address that stands for it.
    assert_eq!((connection.remote_addr(), far.remote_addr().ip()), (open.tcp, open.tcp.ip()));
    exchange(&connection, &far).await;
    // Now UDP passes to where TLS leads.
    let (outside, inside) = (UdpSocket::bind(open.tcp).await.unwrap(), UdpSocket::bind(HERE).await.unwrap());
    inside.connect(server.local_addr().unwrap()).await.unwrap();
    let passed = std::sync::atomic::AtomicU64::new(0);
    let path = async {
        let (mut near, mut there, mut back) = (HERE, [0; 2048], [0; 2048]);
        loop {
            tokio::select! {
                read = outside.recv_from(&mut there) => {
                    let (length, from) = read.unwrap();
                    near = from;
                    inside.send(&there[..length]).await.unwrap();
                    passed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                read = inside.recv(&mut back) => drop(outside.send_to(&back[..read.unwrap()], near).await),
            }
        }
    };
    // The hub goes on to admit, also those who only look whether it is there.
    let admitting = async {
        while let Some(incoming) = server.accept().await {
            drop(incoming.handshake(GENEROUS).await);
        }
    };
    let moved = async {
        loop {
            let before = passed.load(std::sync::atomic::Ordering::Relaxed);
            exchange(&connection, &far).await;
            // A megabyte each way is some hundred packets.
            if passed.load(std::sync::atomic::Ordering::Relaxed) > before + 300 {
                break;
            }
        }
    };
    tokio::select! {
        () = moved => {}
        () = path => {}
        () = admitting => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("the connection stays with TLS"),
    }
    connection.close(0, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_answers_over_tls_with_another_key_is_no_hub() {
    let (server, client) = (server(), client());
    let open = open(Some(server.clone())).await;
    let (addresses, settings) = (vec![open.tcp], Settings::control());
    let goal = Goal { addresses, expected: secret(9).public(), alpns: &[ALPN], settings };
    let admit = async {
        let admitted = server.accept().await.unwrap().handshake(GENEROUS).await;
        drop(admitted);
    };
    let ladder = ladder();
    let (reached, ()) = tokio::join!(ladder.to_hub(&client, goal), admit);
    let fallen = reached.unwrap_err();
    assert_eq!(fallen.unexpected_key(), Some((secret(9).public(), secret(1).public())), "{fallen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_packet_of_a_bound_leg_is_answered_with_fewer_bytes_or_not_at_all() {
    let open = open(None).await;
    let socket = UdpSocket::bind(HERE).await.unwrap();
    socket.connect(open.udp).await.unwrap();
    let right = right(1, End::Agent);
    let forged = RelayKey::new([8; 32]).leg(right.ticket);
    for silent in
        [vec![], vec![0; 8], vec![0; 64], vec![7; 16], Notice::hub().to_vec(), Notice::bind(&forged, 1)]
    {
        socket.send(&silent).await.unwrap();
    }
    let mut answer = [0; 2048];
    // What was sent before is answered before, if it is at all.
    socket.send(&[7; 1200]).await.unwrap();
    let length = tokio::time::timeout(GENEROUS, socket.recv(&mut answer)).await.unwrap().unwrap();
    assert_eq!(length, 17);
    socket.send(&Notice::bind(&right, 1)).await.unwrap();
    let length = tokio::time::timeout(GENEROUS, socket.recv(&mut answer)).await.unwrap().unwrap();
    assert_eq!(length, 77);
    // A replay.
    socket.send(&Notice::bind(&right, 1)).await.unwrap();
    socket.send(&Notice::bind(&right, 2)).await.unwrap();
    let length = tokio::time::timeout(GENEROUS, socket.recv(&mut answer)).await.unwrap().unwrap();
    let own = Notice::read(&answer[8..length], |_| right.key.clone());
    assert!(matches!(own, Ok(Notice::Bound { stamp: 2, .. })), "{own:?}");
    assert_eq!(open.relay.counts().bound, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_places_are_closed_and_those_before_go_on() {
    let open = open(None).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(open.tcp).await.unwrap());
    }
    let mut fifth = TcpStream::connect(open.tcp).await.unwrap();
    let read = tokio::time::timeout(GENEROUS, fifth.read(&mut [0; 8])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    // The silent ones lose their places after their patience.
    let first = silent.first_mut().unwrap();
    let read = tokio::time::timeout(GENEROUS, first.read(&mut [0; 8])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    let _now_served = open.tls().await;
}
