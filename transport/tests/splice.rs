//! The copy loop between real TCP sockets and real QUIC streams over loopback.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use postern_protocol::trust::SecretKey;
use postern_transport::quic::{Connection, Endpoint, RecvStream, Role, SendStream, Settings, StreamFault};
use postern_transport::splice::{Limits, Meter, SpliceEnd, SpliceFault, splice};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const ALPN: &[u8] = b"postern-test/1";
const GENEROUS: Duration = Duration::from_secs(20);

/// A local program, the socket that is spliced for it, and both ends of the stream.
struct World {
    program: TcpStream,
    socket: TcpStream,
    near: (SendStream, RecvStream),
    far: (SendStream, RecvStream),
    _alive: (Endpoint, Endpoint, Connection, Connection),
}

async fn world() -> World {
    let settings = Settings::session();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let device = SecretKey::from_seed([1; 32]).unwrap();
    let user = SecretKey::from_seed([2; 32]).unwrap();
    let role = Role::Server { alpns: vec![ALPN.to_vec()] };
    let server = Endpoint::bind(any, &device, role, &settings).unwrap();
    let client = Endpoint::bind(any, &user, Role::Client, &settings).unwrap();
    let dial = client.connect(server.local_addr().unwrap(), device.public(), &[ALPN], &settings);
    let admit = async { server.accept().await.unwrap().handshake(GENEROUS).await };
    let (near_connection, far_connection) = tokio::join!(dial, admit);
    let (near_connection, far_connection) = (near_connection.unwrap(), far_connection.unwrap());
    let mut near = near_connection.open_bi().await.unwrap();
    near.0.write_all(b"!").await.unwrap();
    let mut far = far_connection.accept_bi().await.unwrap();
    far.1.read_exact(&mut [0]).await.unwrap();
    let listener = TcpListener::bind(any).await.unwrap();
    let (program, socket) =
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    World {
        program: program.unwrap(),
        socket: socket.unwrap().0,
        near,
        far,
        _alive: (server, client, near_connection, far_connection),
    }
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_direction_ends_by_itself() {
    let World { mut program, mut socket, mut near, mut far, _alive } = world().await;
    let meter = Meter::new();
    let copy = splice(socket.split(), (&mut near.0, &mut near.1), &meter, Limits::NONE);
    let talk = async {
        program.write_all(b"request").await.unwrap();
        program.shutdown().await.unwrap();
        let mut request = Vec::new();
        far.1.read_to_end(&mut request).await.unwrap();
        assert_eq!(request, b"request");
        // The answer comes after the request has ended: half-close must not end the tunnel.
        far.0.write_all(b"the answer").await.unwrap();
        far.0.finish().unwrap();
        let mut answer = Vec::new();
        program.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"the answer");
    };
    let (end, ()) = tokio::join!(copy, talk);
    assert_eq!(end.unwrap(), SpliceEnd::Finished);
    assert_eq!((meter.sent(), meter.received()), (7, 10));
}

#[tokio::test]
async fn megabytes_pass_both_ways_at_once_without_a_changed_byte() {
    let World { program, mut socket, mut near, mut far, _alive } = world().await;
    let data: Vec<u8> = (0..4_000_000_u32).flat_map(u32::to_le_bytes).take(4_000_003).collect();
    let meter = Meter::new();
    let copy = splice(socket.split(), (&mut near.0, &mut near.1), &meter, Limits::NONE);
    let (mut from_socket, mut to_socket) = program.into_split();
    let upload = async {
        to_socket.write_all(&data).await.unwrap();
        to_socket.shutdown().await.unwrap();
    };
    let echo = async {
        while let Some(chunk) = far.1.read_chunk(usize::MAX).await.unwrap() {
            far.0.write_chunk(chunk).await.unwrap();
        }
        far.0.finish().unwrap();
    };
    let download = async {
        let mut seen = Vec::new();
        from_socket.read_to_end(&mut seen).await.unwrap();
        seen
    };
    let (end, (), (), seen) = tokio::join!(copy, upload, echo, download);
    assert_eq!(end.unwrap(), SpliceEnd::Finished);
    assert!(seen == data, "the echo differs");
    assert_eq!((meter.sent(), meter.received()), (4_000_003, 4_000_003));
}

#[tokio::test]
async fn a_cut_ends_the_copy_with_its_code() {
    let World { program: _program, mut socket, mut near, mut far, _alive } = world().await;
    let meter = Meter::new();
    far.0.reset(26);
    let end = splice(socket.split(), (&mut near.0, &mut near.1), &meter, Limits::NONE).await;
    assert!(matches!(end, Err(SpliceFault::Stream(StreamFault::Reset(26)))), "{end:?}");
}

#[tokio::test]
async fn a_cut_is_noticed_after_the_other_direction_has_ended() {
    let World { program: _program, mut socket, mut near, mut far, _alive } = world().await;
    let meter = Meter::new();
    far.0.finish().unwrap();
    far.1.stop(26);
    let end = splice(socket.split(), (&mut near.0, &mut near.1), &meter, Limits::NONE).await;
    assert!(matches!(end, Err(SpliceFault::Stream(StreamFault::Stopped(26)))), "{end:?}");
}

#[tokio::test]
async fn a_reader_that_stops_reading_stops_the_writer() {
    let World { mut program, mut socket, mut near, far: _far, _alive } = world().await;
    let meter = Meter::new();
    let copy = splice(socket.split(), (&mut near.0, &mut near.1), &meter, Limits::NONE);
    let chunk = vec![0; 64 * 1024];
    let flood = async {
        for _ in 0..1024 {
            program.write_all(&chunk).await.unwrap();
        }
    };
    // Sixty-four megabytes do not fit into windows and socket buffers: only an unbounded buffer would take them.
    tokio::select! {
        _ = copy => panic!("the copy ended"),
        () = flood => panic!("everything was taken"),
        () = stalled(&meter) => {}
    }
    let window = u64::from(Settings::session().stream_window);
    assert!(meter.sent() <= window, "{} bytes were taken, the window is {window}", meter.sent());
}

/// Until the count has not moved for long; nothing else tells that nothing more will come.
async fn stalled(meter: &Meter) {
    while meter.idle() < Duration::from_millis(300) || meter.sent() == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_silent_tunnel_ends_at_its_idle_limit() {
    let World { program: _program, mut socket, mut near, far: _far, _alive } = world().await;
    let meter = Meter::new();
    let limits = Limits { idle: Some(Duration::from_millis(50)), duration: None };
    let end = splice(socket.split(), (&mut near.0, &mut near.1), &meter, limits).await;
    assert_eq!(end.unwrap(), SpliceEnd::Idle);
}
