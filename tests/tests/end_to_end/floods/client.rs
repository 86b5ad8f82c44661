//! Programs of the engineer's own computer that connect to a listener of `postern` and say nothing, or half of what they have to say:
//! those of pages, frames and screens, of `forward` and of `proxy`.

use std::net::SocketAddr;
use std::time::Instant;

use postern_tests::world::flow::Flow;
use postern_tests::world::probe::{vnc_picture, websocket_talk, within};
use postern_tests::world::{DEVICE, Exchange, Mishap, Person, Running, Stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::cloud::{AT_ONCE, Sockets};
use crate::end_to_end::gate::echoed;
use crate::end_to_end::stage::{LAB, Outcome, Plant};

/// More than `connect` has places for, and by so many that all of them are taken again after the first have left.
const AT_CONNECT: usize = 128;
/// The same of `forward` and `proxy`.
const AT_VPN: usize = 640;

#[tokio::test]
async fn programs_that_are_silent_at_a_page_s_listener_keep_no_browser_out() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;
    let session = anna.connect("echo").await?;
    let mut served = session.exchange().await?;
    assert_eq!(echoed(&mut served, b"before").await?, b"before");
    // Nothing, half a head, and requests without a key: their bodies never come.
    let foreign = format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 9\r\n\r\n", session.address);
    for word in ["", "GET / HTTP/1.1\r\nHost: ", &foreign] {
        let mut silent = Sockets::come(session.address, AT_CONNECT, word.as_bytes()).await?;
        let began = Instant::now();
        let mut newcomer = session.exchange().await?;
        assert_eq!(echoed(&mut newcomer, b"newcomer").await?, b"newcomer", "beside `{word}`");
        assert!(began.elapsed() < AT_ONCE, "{:?} beside `{word}`", began.elapsed());
        // The twin: whoever is being served stays, in the middle of an answer.
        assert_eq!(echoed(&mut served, b"while").await?, b"while", "beside `{word}`");
        silent.first_is_cut().await?;
    }
    Ok(())
}

#[tokio::test]
async fn programs_that_are_silent_at_a_listener_of_frames_keep_no_program_out() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let session = world.person("anna").await?.connect("live").await?;
    let served = Flow::download(&session).await?;
    served.receives(1).await?;
    let mut silent = Sockets::come(session.address, AT_CONNECT, b"GET / HTTP/1.1\r\n").await?;
    let began = Instant::now();
    let (_values, echo) = websocket_talk(&session, "newcomer").await?;
    assert!(echo.contains("newcomer"), "{echo}");
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    served.receives(1).await?;
    silent.first_is_cut().await
}

#[tokio::test]
async fn viewers_that_are_silent_keep_no_viewer_out_though_each_has_a_tunnel_at_once() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;
    // Who only looks does so beside others.
    let session = anna.connect_with("hmi", &["--view-only"]).await?;
    let served = Flow::download(&session).await?;
    served.receives(1_000).await?;
    // More than there are streams on the connection to the device.
    let mut silent = Sockets::come(session.address, AT_CONNECT, b"").await?;
    let began = Instant::now();
    vnc_picture(session.address).await?;
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    served.receives(1_000).await?;
    silent.first_is_cut().await
}

#[tokio::test]
async fn a_silent_program_does_not_keep_the_only_place_of_whoever_operates_a_screen() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let session = world.person("anna").await?.connect("hmi").await?;
    let mut silent = Sockets::come(session.address, 1, b"").await?;
    // The device has let it in, and would let nobody else operate the panel.
    silent.first_is_greeted().await?;
    let served = Flow::download(&session).await?;
    served.receives(1_000).await?;
    silent.first_is_cut().await?;
    // The twin: whoever operates it is not silent, and keeps the place.
    let refused = vnc_picture(session.address).await.unwrap_err().to_string();
    assert!(refused.contains("held by user"), "{refused}");
    served.receives(1_000).await
}

/// Starts `forward` or `proxy` to the place at `target`, and yields where it listens.
async fn listening(who: &Person, args: &[&str], target: SocketAddr) -> Result<(Running, SocketAddr), Mishap> {
    let running = who.call(args.iter().copied()).start("postern")?;
    let said = running.line("where it listens", |line| line.stream == Stream::Out).await?.text;
    let mut named = said.split('"').filter_map(|word| word.parse::<SocketAddr>().ok());
    let near = named.find(|named| *named != target);
    near.map(|near| (running, near)).ok_or_else(|| Mishap::unexpected("the listener", said, "an address"))
}

#[tokio::test]
async fn programs_that_are_silent_at_forward_keep_no_other_out() -> Outcome {
    let plant = Plant::start().await?;
    let target = plant.echo.address;
    let place = format!("\"tcp {} {}\"", target.ip(), target.port());
    let fleet = plant.services().vpn("cell", &[&place]).allow("anna", &["cell"]);
    let world = postern_tests::world::World::start(LAB, &fleet).await?;
    let anna = world.person("anna").await?;
    let at = target.to_string();
    let (_forward, near) = listening(&anna, &["forward", DEVICE, &at, "--json"], target).await?;
    let mut served = Exchange::open(near).await?;
    assert_eq!(echoed(&mut served, b"before").await?, b"before");
    let mut silent = Sockets::come(near, AT_VPN, b"").await?;
    let mut newcomer = Exchange::open(near).await?;
    assert_eq!(echoed(&mut newcomer, b"newcomer").await?, b"newcomer");
    assert_eq!(echoed(&mut served, b"while").await?, b"while");
    silent.first_is_cut().await
}

#[tokio::test]
async fn programs_that_are_silent_at_the_proxy_keep_no_other_out() -> Outcome {
    let plant = Plant::start().await?;
    let target = plant.echo.address;
    let place = format!("\"tcp {} {}\"", target.ip(), target.port());
    let fleet = plant.services().vpn("cell", &[&place]).allow("anna", &["cell"]);
    let world = postern_tests::world::World::start(LAB, &fleet).await?;
    let anna = world.person("anna").await?;
    let (_proxy, near) = listening(&anna, &["proxy", DEVICE, "--listen", "0", "--json"], target).await?;
    let mut served = led(near, target).await?;
    assert_eq!(said_back(&mut served, "before").await?, "before");
    for word in ["", "CONNECT ", "\u{5}"] {
        let mut silent = Sockets::come(near, AT_VPN, word.as_bytes()).await?;
        let began = Instant::now();
        let mut newcomer = led(near, target).await?;
        assert_eq!(said_back(&mut newcomer, "newcomer").await?, "newcomer", "beside `{word}`");
        assert!(began.elapsed() < AT_ONCE, "{:?} beside `{word}`", began.elapsed());
        assert_eq!(said_back(&mut served, "while").await?, "while", "beside `{word}`");
        silent.first_is_cut().await?;
    }
    Ok(())
}

/// A connection to `target` through the proxy, at the beginning of an echo.
async fn led(proxy: SocketAddr, target: SocketAddr) -> Result<TcpStream, Mishap> {
    within("an answer of the proxy", async {
        let mut program = TcpStream::connect(proxy).await?;
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        program.write_all(head.as_bytes()).await?;
        expect(&mut program, "HTTP/1.1 200 ").await?;
        let head = format!("POST / HTTP/1.1\r\nHost: {target}\r\nTransfer-Encoding: chunked\r\n\r\n");
        program.write_all(head.as_bytes()).await?;
        expect(&mut program, "HTTP/1.1 200 ").await?;
        Ok(program)
    })
    .await
}

/// Reads a head that begins so.
async fn expect(program: &mut TcpStream, begin: &str) -> Outcome {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(program.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if head.starts_with(begin) {
        Ok(())
    } else {
        Err(Mishap::unexpected("the head of an answer", head, begin))
    }
}

/// Says a word in a chunk of its own, and reads the one that comes back.
async fn said_back(program: &mut TcpStream, word: &str) -> Result<String, Mishap> {
    within("an echo", async {
        program.write_all(format!("{:x}\r\n{word}\r\n", word.len()).as_bytes()).await?;
        let mut chunk = vec![0; format!("{:x}\r\n{word}\r\n", word.len()).len()];
        program.read_exact(&mut chunk).await?;
        let chunk = String::from_utf8_lossy(&chunk).into_owned();
        Ok(chunk.lines().nth(1).unwrap_or_default().to_owned())
    })
    .await
}
