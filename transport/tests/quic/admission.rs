//! What strangers can make an endpoint hold before they have proved anything.

use postern_transport::quic::{Admission, ConnectError, ConnectionEnd, HandshakeFault, Incoming};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::*;

fn narrow() -> Settings {
    let admission = Admission { handshakes: 4, retry_above: 2, ..Admission::device() };
    Settings { admission, ..Settings::session() }
}

/// First packets of `count` attempts, recorded on a socket that never answers.
async fn first_packets(count: usize) -> Vec<Vec<u8>> {
    let settings = Settings::session();
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = silent.local_addr().unwrap();
    let client = bind(CLIENT, Role::Client, &settings);
    let mut packets: Vec<Vec<u8>> = Vec::new();
    while packets.len() < count {
        let mut packet = vec![0; 2048];
        tokio::select! {
            len = silent.recv(&mut packet) => packet.truncate(len.unwrap()),
            _ = client.connect(addr, public(SERVER), &[ALPN], &settings) => panic!("nobody answers"),
        }
        assert_eq!(packet.len(), 1200, "a client pads its first packets");
        // An attempt that is dropped says goodbye in a second packet of the same connection id.
        if packets.iter().all(|known| destination(known) != destination(&packet)) {
            packets.push(packet);
        }
    }
    packets
}

/// The destination connection id of a long header (RFC 9000 section 17.2).
fn destination(packet: &[u8]) -> &[u8] {
    &packet[6..6 + usize::from(packet[5])]
}

/// Takes all attempts that are admitted and passes them on.
fn admit(endpoint: &Endpoint) -> mpsc::Receiver<Incoming> {
    let (sender, receiver) = mpsc::channel(64);
    let endpoint = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            if sender.send(incoming).await.is_err() {
                break;
            }
        }
    });
    receiver
}

#[tokio::test]
async fn attempts_beyond_the_limit_are_refused_and_admitted_again_when_one_is_over() {
    let settings = narrow();
    let (endpoint, addr) = server(&settings);
    let mut admitted = admit(&endpoint);
    let (results, mut refusals) = mpsc::channel(64);
    for _ in 0..20 {
        let (results, settings) = (results.clone(), settings.clone());
        tokio::spawn(async move {
            let client = bind(CLIENT, Role::Client, &settings);
            let dialled = client.connect(addr, public(SERVER), &[ALPN], &settings).await;
            let _receiver_gone = results.send(dialled.map(|connection| (client, connection))).await;
        });
    }
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(admitted.recv().await.unwrap());
    }
    for _ in 0..16 {
        let refused = refusals.recv().await.unwrap();
        assert_eq!(refused.map(drop), Err(ConnectError::Ended(ConnectionEnd::Refused)));
    }
    assert!(admitted.try_recv().is_err(), "a fifth attempt was admitted");
    held.pop().unwrap().handshake(GENEROUS).await.unwrap();
    assert!(refusals.recv().await.unwrap().is_ok());
    let client = bind(CLIENT, Role::Client, &settings);
    let (dialled, late) = tokio::join!(client.connect(addr, public(SERVER), &[ALPN], &settings), async {
        admitted.recv().await.unwrap().handshake(GENEROUS).await
    });
    assert_eq!(dialled.unwrap().peer_key(), public(SERVER));
    assert_eq!(late.unwrap().peer_key(), public(CLIENT));
}

#[tokio::test]
async fn a_flood_from_unproved_addresses_leaves_room_for_a_real_peer() {
    let settings = narrow();
    let (endpoint, addr) = server(&settings);
    let mut admitted = admit(&endpoint);
    let flood = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let packets = first_packets(40).await;
    // Two are admitted at their word; every other is answered by a Retry and nothing is kept for it.
    let mut held = Vec::new();
    for packet in &packets[..2] {
        flood.send_to(packet, addr).await.unwrap();
        held.push(admitted.recv().await.unwrap());
    }
    let mut answer = [0; 2048];
    for packet in &packets[2..] {
        flood.send_to(packet, addr).await.unwrap();
        let len = flood.recv(&mut answer).await.unwrap();
        assert_eq!(answer[0] & 0xb0, 0xb0, "a long header of type Retry");
        assert!(len < 200, "an answer of {len} bytes to a packet of 1200");
    }
    assert!(admitted.try_recv().is_err(), "a third unproved attempt was admitted");
    let client = bind(CLIENT, Role::Client, &settings);
    let (dialled, real) = tokio::join!(client.connect(addr, public(SERVER), &[ALPN], &settings), async {
        admitted.recv().await.unwrap().handshake(GENEROUS).await
    });
    assert_eq!(dialled.unwrap().peer_key(), public(SERVER));
    assert_eq!(real.unwrap().peer_key(), public(CLIENT));
    drop(held);
}

#[tokio::test]
async fn a_peer_that_stalls_its_handshake_is_dropped_at_the_deadline_and_its_place_is_free() {
    let admission = Admission { handshakes: 1, retry_above: 1, ..Admission::device() };
    let settings = Settings { admission, ..Settings::session() };
    let (endpoint, addr) = server(&settings);
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    stranger.send_to(&first_packets(1).await[0], addr).await.unwrap();
    let within = Duration::from_millis(50);
    let stalled = endpoint.accept().await.unwrap().handshake(within).await;
    assert_eq!(stalled.unwrap_err(), HandshakeFault::TimedOut { within });
    let client = bind(CLIENT, Role::Client, &settings);
    let (dialled, real) = tokio::join!(client.connect(addr, public(SERVER), &[ALPN], &settings), async {
        endpoint.accept().await.unwrap().handshake(GENEROUS).await
    });
    assert_eq!(dialled.unwrap().peer_key(), public(SERVER));
    assert_eq!(real.unwrap().peer_key(), public(CLIENT));
}
