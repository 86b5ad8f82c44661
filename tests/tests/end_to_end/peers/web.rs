//! Servers and clients of the web.

use std::net::SocketAddr;
use std::path::Path;

use postern_tests::world::{Call, Mishap, Running, Stream};

use super::super::gate::DENIED;
use super::super::stage::Outcome;
use super::{answers, behind_the_gate, free_tcp_port, missing, programs};

#[tokio::test]
async fn curl_gets_the_same_bytes_from_nginx_through_the_gate_as_directly() -> Outcome {
    let name = "curl_gets_the_same_bytes_from_nginx_through_the_gate_as_directly";
    let Some([nginx, curl]) = programs(name, ["nginx", "curl"]) else { return Ok(()) };
    let room = tempfile::tempdir()?;
    let (web, _nginx) = serve_files(&nginx, room.path()).await?;
    let (world, session) = behind_the_gate("http", web).await?;
    // A name below `localhost` is this computer by definition (RFC 6761), which not every resolver knows.
    let here = format!("peer.press-7.localhost:{}:127.0.0.1", session.address.port());
    let base = ["--silent", "--show-error", "--fail", "--resolve", &here];
    let key = format!("X-Postern-Token: {}", session.key.clone().expect("a key for programs"));
    let fetch = async |url: &str, more: &[&str], file: &str| -> Result<Vec<u8>, Mishap> {
        let path = room.path().join(file);
        let curl = Call::new(&curl).args(base).args(more).arg("--output").arg(&path).arg(url);
        curl.finish().await?.expect_code(0)?;
        Ok(std::fs::read(path)?)
    };
    let (origin, _link) = session.url.split_once("/?").expect("a link");
    let large = format!("{origin}/large");
    let direct = fetch(&format!("http://{web}/large"), &[], "direct").await?;
    let through = fetch(&large, &["--header", &key], "through").await?;
    assert_eq!(direct.len(), LARGE);
    assert!(through == direct, "the bytes differ");
    // The other way in is a browser's: a link that is good once, and a cookie.
    let jar = room.path().join("jar").display().to_string();
    let jar = ["--cookie-jar", &jar, "--cookie", &jar];
    let start = fetch(&session.url, &[&jar[..], &["--location"]].concat(), "start").await?;
    assert_eq!(start, PAGE.as_bytes());
    assert!(fetch(&large, &jar, "with-cookie").await? == direct, "the bytes differ");
    for (url, more, code) in [
        (format!("{origin}/none"), &["--header", &key][..], 404),
        (large.clone(), &[], 403),
        (session.url.clone(), &[], 403),
        (large.clone(), &["--header", &key, "--header", "Host: evil.example"], 421),
        (large, &["--header", &key, "--header", "Origin: http://evil.example"], 403),
    ] {
        let print = ["--silent", "--resolve", &here, "--output", "/dev/null", "--write-out", "%{http_code}"];
        let done = Call::new(&curl).args(print).args(more).arg(&url).finish().await?.expect_code(0)?;
        assert_eq!(done.out, code.to_string(), "{url} {more:?}");
    }
    world.person("bert").await?.refused("peer").await?.expect_code(DENIED)?;
    Ok(())
}

#[tokio::test]
async fn chromium_shows_the_same_page_of_nginx_through_the_gate_as_directly() -> Outcome {
    let name = "chromium_shows_the_same_page_of_nginx_through_the_gate_as_directly";
    let Some([nginx, chromium]) = programs(name, ["nginx", "chromium"]) else { return Ok(()) };
    let room = tempfile::tempdir()?;
    let (web, _nginx) = serve_files(&nginx, room.path()).await?;
    let (_world, session) = behind_the_gate("http", web).await?;
    let show = async |url: &str, file: &str| -> Result<Vec<u8>, Mishap> {
        let path = room.path().join(file);
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--window-size=640,400",
        ];
        let profile = format!("--user-data-dir={}", room.path().join(format!("{file}.profile")).display());
        let output = format!("--screenshot={}", path.display());
        Call::new(&chromium).args(flags).arg(profile).arg(output).arg(url).finish().await?.expect_code(0)?;
        Ok(std::fs::read(path)?)
    };
    let direct = show(&format!("http://{web}/"), "direct.png").await?;
    let through = show(&session.url, "through.png").await?;
    assert!(direct.starts_with(b"\x89PNG") && direct.len() > 1000, "{} bytes", direct.len());
    assert!(through == direct, "the pictures differ: {} and {} bytes", direct.len(), through.len());
    Ok(())
}

#[tokio::test]
async fn python_websockets_talk_through_the_gate_in_frames_of_every_size() -> Outcome {
    let name = "python_websockets_talk_through_the_gate_in_frames_of_every_size";
    let Some([python]) = programs(name, ["python3"]) else { return Ok(()) };
    let has_library = Call::new(&python).args(["-c", "import websockets"]).finish().await?;
    if has_library.expect_code(0).is_err() {
        missing(name, "the Python package `websockets`");
        return Ok(());
    }
    let server = Call::new(&python).args(["-u", "-c", WEBSOCKET_SERVER]).start("websockets")?;
    let port = server.line("a port", |line| line.stream == Stream::Out).await?.text;
    let live: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let (world, session) = behind_the_gate("websocket", live).await?;
    let done =
        Call::new(&python).args(["-c", WEBSOCKET_CLIENT, &session.url]).finish().await?.expect_code(0)?;
    assert_eq!(done.out.trim(), "8 frames came back, close code 1000");
    world.person("bert").await?.refused("peer").await?.expect_code(DENIED)?;
    Ok(())
}

async fn serve_files(nginx: &Path, room: &Path) -> Result<(SocketAddr, Running), Mishap> {
    let root = room.join("root");
    std::fs::create_dir(&root)?;
    std::fs::write(root.join("index.html"), PAGE)?;
    let large: Vec<u8> = (0..=250).cycle().take(LARGE).collect();
    std::fs::write(root.join("large"), large)?;
    start_nginx(nginx, room, &format!("root {};", root.display())).await
}

/// Starts nginx with what stands in its only server.
pub(super) async fn start_nginx(
    nginx: &Path,
    room: &Path,
    server: &str,
) -> Result<(SocketAddr, Running), Mishap> {
    let address = free_tcp_port().await?;
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let place = room.display();
    let config = format!(
        "{user} worker_processes 1; pid {place}/pid; error_log {place}/error.log; events {{}}\n\
         http {{ access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;\n\
         fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;\n\
         types {{ text/html html; }} server {{ listen {address}; {server} }} }}\n"
    );
    let path = room.join("nginx.conf");
    std::fs::write(&path, config)?;
    let error_log = format!("{place}/error.log");
    let running =
        Call::new(nginx).args(["-e", &error_log, "-g", "daemon off;", "-c"]).arg(path).start("nginx")?;
    answers(address).await?;
    Ok((address, running))
}

const LARGE: usize = 8 * 1024 * 1024;

const PAGE: &str = "<!doctype html><meta charset=utf-8><title>Press</title>\
<body style='background:linear-gradient(45deg,#123,#9cf);font:40px sans-serif;color:#fff'>\
<h1>Press 7</h1><p>Pressure 182 bar</p>";

const WEBSOCKET_SERVER: &str = "
import asyncio, websockets
async def echo(socket):
    async for message in socket:
        await socket.send(message)
async def main():
    async with websockets.serve(echo, '127.0.0.1', 0, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()
asyncio.run(main())
";

const WEBSOCKET_CLIENT: &str = "
import asyncio, sys, websockets
async def main():
    sizes = [0, 1, 125, 126, 65535, 65536, 200000, 262144]
    async with websockets.connect(sys.argv[1], max_size=None, proxy=None) as socket:
        for size in sizes:
            message = bytes(i % 251 for i in range(size))
            await socket.send(message)
            assert await socket.recv() == message, size
    print(len(sizes), 'frames came back, close code', socket.close_code)
asyncio.run(main())
";
