//! Malformed, oversized, slow and hostile bytes on the sockets of the agent.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use postern_protocol::limits;
use postern_protocol::policy::Reason;
use postern_protocol::trust::{Channel, Proof, Signature};
use postern_protocol::wire::registry::{CloseCode, ProtocolFault};
use postern_protocol::wire::tunnel::{Answer, Request};
use postern_transport::framed::write_frame;
use postern_transport::quic::{ConnectionEnd, StreamFault};

use crate::client::Client;
use crate::world::{GENEROUS, World, other_user};

async fn end_of_stream(client: &Client, bytes: &[u8], finish: bool) -> StreamFault {
    let (mut send, mut recv) = client.connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    if finish {
        send.finish().unwrap();
    }
    tokio::time::timeout(GENEROUS, recv.read_chunk(1)).await.unwrap().unwrap_err()
}

fn fault(fault: ProtocolFault) -> StreamFault {
    StreamFault::Reset(CloseCode::Fault(fault).number())
}

#[tokio::test]
async fn nonsense_costs_its_stream_and_nothing_else() {
    let world = World::start().await;
    let client = world.client().await;
    let mut tunnel = client.tunnel("web").await;
    assert_eq!(end_of_stream(&client, &u32::MAX.to_le_bytes(), false).await, fault(ProtocolFault::Oversize));
    assert_eq!(end_of_stream(&client, &4097u32.to_le_bytes(), false).await, fault(ProtocolFault::Oversize));
    assert_eq!(
        end_of_stream(&client, b"\x03\x00\x00\x00\xff\xff\xff", false).await,
        fault(ProtocolFault::Malformed)
    );
    assert_eq!(end_of_stream(&client, b"\x09\x00\x00\x00\x01", true).await, fault(ProtocolFault::Malformed));
    assert_eq!(
        end_of_stream(&client, b"\x02\x00\x00\x00\x01\x00", false).await,
        fault(ProtocolFault::Malformed)
    );
    assert_eq!(end_of_stream(&client, b"\x00", true).await, fault(ProtocolFault::Malformed));
    tunnel.echo(b"unimpressed").await;
}

#[tokio::test]
async fn a_request_that_never_comes_and_a_stranger_who_never_signs_in_are_dropped() {
    let world = World::start().await;
    let member = world.client().await;
    let stranger = Client::stranger(&world.agent).await;
    let began = Instant::now();
    let slow = end_of_stream(&member, b"\x10\x00", false);
    let (slow, gone) = tokio::join!(slow, stranger.connection.closed());
    assert_eq!(slow, fault(ProtocolFault::TimedOut));
    let code = CloseCode::Fault(ProtocolFault::TimedOut).number();
    assert!(matches!(gone, ConnectionEnd::ClosedByPeer { code: found, .. } if found == code), "{gone:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    member.tunnel("web").await.echo(b"members stay").await;
}

#[tokio::test]
async fn strangers_cannot_take_the_places_of_members() {
    let world = World::start_with("[caps]\nstrangers = 2\nconnections = 1").await;
    let member = world.client().await;
    let (first, second) = (Client::stranger(&world.agent).await, Client::stranger(&world.agent).await);
    let third = Client::stranger(&world.agent).await;
    // Who is there longest gives way to who comes, and is told why; the others have their time.
    let busy = u32::from(postern_protocol::wire::registry::Failure::Busy.number());
    let end = tokio::time::timeout(GENEROUS, first.connection.closed()).await.unwrap();
    assert!(matches!(end, ConnectionEnd::ClosedByPeer { code, .. } if code == busy), "{end:?}");
    let late = CloseCode::Fault(ProtocolFault::TimedOut).number();
    for stranger in [second, third] {
        let end = tokio::time::timeout(GENEROUS, stranger.connection.closed()).await.unwrap();
        assert!(matches!(end, ConnectionEnd::ClosedByPeer { code, .. } if code == late), "{end:?}");
    }
    member.tunnel("web").await.echo(b"members stay").await;
}

#[tokio::test]
async fn a_pass_alone_takes_no_place_of_those_whom_the_policy_names() {
    let world = World::start_with("[caps]\nconnections = 1").await;
    let elsewhere = Client::connect(&world.agent, 99).await;
    let pass = crate::policy::pass(other_user().0, 99, false);
    assert!(matches!(elsewhere.authenticate(&pass).await, Answer::Welcome { .. }));
    assert_eq!(elsewhere.open("web").await.answer, Answer::Denied(Reason::NoGrant));
    let member = world.client().await;
    member.tunnel("web").await.echo(b"there is room").await;
    let end = tokio::time::timeout(GENEROUS, elsewhere.connection.closed()).await.unwrap();
    let code = u32::from(Reason::NoGrant.number());
    assert!(matches!(end, ConnectionEnd::ClosedByPeer { code: found, .. } if found == code), "{end:?}");
    member.tunnel("web").await.echo(b"members stay").await;
}

#[tokio::test]
async fn three_refused_passes_end_the_connection() {
    let world = World::start().await;
    let client = Client::connect(&world.agent, 50).await;
    let stolen = crate::policy::pass(crate::policy::USER, crate::policy::USER_SEED, true);
    for _ in 0..2 {
        assert_eq!(client.authenticate(&stolen).await, Answer::Denied(Reason::BadPass));
    }
    let (mut send, _recv) = client.connection.open_bi().await.unwrap();
    let signature = Signature::new([1; 64]);
    let proof = Proof { device: crate::policy::DEVICE, channel: Channel::new([1; 16]), signature };
    let third = Request::Authenticate { pass: stolen, proof };
    write_frame(&mut send, &third, limits::FRAME_BYTES).await.unwrap();
    let end = tokio::time::timeout(GENEROUS, client.connection.closed()).await.unwrap();
    let code = u32::from(Reason::BadPass.number());
    assert!(matches!(end, ConnectionEnd::ClosedByPeer { code: found, .. } if found == code), "{end:?}");
    let denied = world.agent.trail().await.into_iter().filter(|(event, _)| event == "denied").count();
    assert_eq!(denied, 2, "identical denials share a row, and a replay is none of another's pass");
    world.client().await.tunnel("web").await.echo(b"others are not concerned").await;
}

#[tokio::test]
async fn a_connection_ends_with_its_pass_and_its_tunnels_before_it() {
    let world = World::start().await;
    let client = Client::stranger(&world.agent).await;
    let issued = crate::policy::now();
    let pass = crate::policy::pass_of(&postern_protocol::trust::Pass {
        fleet: crate::policy::FLEET,
        user: crate::policy::USER,
        key: crate::policy::secret(crate::policy::USER_SEED).public(),
        factors: Vec::new(),
        issued,
        expires: issued.saturating_add(2),
        narrow: postern_protocol::trust::Narrowing::NONE,
    });
    assert!(matches!(client.authenticate(&pass).await, Answer::Welcome { .. }));
    let mut tunnel = client.tunnel("web").await;
    assert_eq!(tunnel.drain().await, Err(StreamFault::Reset(Reason::BadPass.number().into())));
    let end = tokio::time::timeout(GENEROUS, client.connection.closed()).await.unwrap();
    assert!(matches!(end, ConnectionEnd::ClosedByPeer { code: 1, .. }), "{end:?}");
}

#[tokio::test]
async fn noise_on_the_udp_socket_is_ignored() {
    let world = World::start().await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for len in [0usize, 1, 20, 1200, 1400] {
        for byte in [0u8, 0x40, 0xc0, 0xff] {
            socket.send_to(&vec![byte; len], world.agent.listening()).unwrap();
        }
    }
    world.client().await.tunnel("web").await.echo(b"still here").await;
}

#[tokio::test]
async fn nonsense_on_the_control_socket_gets_one_line_and_changes_nothing() {
    let world = World::start().await;
    let path = world.agent.dir().join("control.sock");
    for nonsense in
        [&b"hello\n"[..], b"{\"command\":\"open\"}\n", b"{\"command\":\"status\",\"x\":1}\n", &[b'x'; 9000]]
    {
        let path = path.clone();
        let nonsense = nonsense.to_vec();
        let answer = tokio::task::spawn_blocking(move || {
            let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
            let _closed = stream.write_all(&nonsense);
            let mut answer = String::new();
            let _reset = stream.read_to_string(&mut answer);
            answer
        })
        .await
        .unwrap();
        assert!(answer.is_empty() || answer.starts_with("{\"refused\":"), "{answer}");
    }
    assert_eq!(world.agent.json(&["status"]).await["tunnels"], 0);
}
