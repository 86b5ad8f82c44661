//! `connect`: bytes, refusals, cuts and reconnects.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::process::Stdio;

use postern_protocol::policy::Reason;
use postern_protocol::wire::registry::CloseCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::device::Device;
use crate::world::{GENEROUS, Running, World, loopback};

async fn dial(port: u16) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap()
}

/// Sends `text` and expects it back.
async fn echo(socket: &mut TcpStream, text: &[u8]) {
    socket.write_all(text).await.unwrap();
    let mut seen = vec![0; text.len()];
    tokio::time::timeout(GENEROUS, socket.read_exact(&mut seen)).await.unwrap().unwrap();
    assert_eq!(seen, text);
}

pub(crate) fn interrupt(running: &Running) {
    let pid = running.child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
}

#[tokio::test]
async fn bytes_pass_both_ways_each_end_closes_its_own_and_ctrl_c_is_no_error() {
    let world = World::signed_in().await;
    let mut running = world.start(&["connect", "press-7", "panel"]);
    let url = running.out().await;
    let port: u16 = url.strip_prefix("vnc://127.0.0.1:").unwrap().parse().unwrap();
    let (mut one, mut two) = (dial(port).await, dial(port).await);
    echo(&mut one, b"first").await;
    echo(&mut two, b"second").await;
    one.shutdown().await.unwrap();
    let mut rest = Vec::new();
    one.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"bye", "the answer after the request's end");
    echo(&mut two, b"still open").await;
    interrupt(&running);
    let outcome = running.ended().await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    assert_eq!(world.device.opens(), ["panel", "panel"]);
}

#[tokio::test]
async fn vnc_and_websocket_have_their_own_addresses() {
    let world = World::signed_in().await;
    let mut panel = world.start(&["connect", "press-7", "panel"]);
    let url = panel.out().await;
    let port = url.strip_prefix("vnc://127.0.0.1:").unwrap();
    assert_eq!(panel.out().await, format!("vncviewer 127.0.0.1::{port}"));
    let mut live = world.start(&["connect", "press-7", "live", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&live.out().await).unwrap();
    assert_eq!((&value["kind"], &value["service"]), (&"websocket".into(), &"live".into()));
    let (address, token) = (value["address"].as_str().unwrap(), value["token"].as_str().unwrap());
    assert_eq!(value["url"], format!("ws://{address}/?postern={token}"));
}

#[tokio::test]
async fn who_is_recorded_is_told_so_and_nobody_else() {
    let world = World::signed_in().await;
    let mut running = world.start(&["connect", "press-7", "till"]);
    assert_eq!(running.err().await, "postern: this session is recorded for the company that runs the device");
    for (service, recorded) in [("till", true), ("panel", false)] {
        let mut running = world.start(&["connect", "press-7", service, "--json"]);
        let value: serde_json::Value = serde_json::from_str(&running.out().await).unwrap();
        assert_eq!(value["recorded"], recorded);
    }
    let listed = world.run(&["services", "press-7", "--json"]).await;
    let value: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(value["services"][0]["recorded"], false);
}

#[tokio::test]
async fn who_wishes_to_look_asks_the_device_for_no_more_and_is_told() {
    let world = World::signed_in().await;
    let mut running = world.start(&["connect", "press-7", "panel", "--view-only", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&running.out().await).unwrap();
    assert_eq!(value["mode"], "view_only");
    let address: std::net::SocketAddr = value["address"].as_str().unwrap().parse().unwrap();
    echo(&mut dial(address.port()).await, b"first").await;
    assert_eq!(world.device.opens(), ["panel to look"]);
    let mut spoken = world.start(&["connect", "press-7", "live", "--view-only"]);
    let _url = spoken.out().await;
    assert_eq!(spoken.err().await, "postern: you may look but not touch");
    let mut full = world.start(&["connect", "press-7", "live", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&full.out().await).unwrap();
    assert_eq!(value["mode"], serde_json::json!({ "full": { "clipboard": false } }));
}

#[tokio::test]
async fn a_refusal_is_one_line_and_the_device_has_been_asked() {
    let world = World::signed_in().await;
    let refused = world.run(&["connect", "press-7", "secret"]).await;
    let line = "postern: press-7/secret: nothing grants you this service on this device; ask your administrator for \
                an access category that contains it (who can change it: your administrator)\n";
    assert_eq!((refused.code, refused.stdout.as_str(), refused.stderr.as_str()), (4, "", line));
    let blocked = world.run(&["connect", "press-7", "vault", "--json"]).await;
    let value: serde_json::Value = serde_json::from_str(&blocked.stdout).unwrap();
    assert_eq!((blocked.code, &value["error"]["word"]), (4, &"second_factor_required".into()));
    assert_eq!(value["error"]["who"], "you");
    let failed = world.run(&["connect", "press-7", "plc"]).await;
    let line = "postern: press-7/plc: the machine does not answer; check that it is switched on and cabled\n";
    assert_eq!((failed.code, failed.stderr.as_str()), (9, line));
    assert_eq!(world.device.opens(), ["secret", "vault", "plc"]);
}

#[tokio::test]
async fn nonsense_from_a_device_is_one_line_and_never_a_panic() {
    let world = World::signed_in().await;
    for (service, what) in [
        ("huge", "a message was too large"),
        ("garbage", "a message was malformed"),
        ("short", "a message came out of turn"),
        ("silent", "a message came out of turn"),
    ] {
        let outcome = world.run(&["connect", "press-7", service]).await;
        let line = format!("postern: press-7/{service}: {what}; use a matching version\n");
        assert_eq!((outcome.code, outcome.stderr), (1, line));
    }
}

#[tokio::test]
async fn a_cut_resets_the_local_connection_and_says_why() {
    let world = World::signed_in().await;
    let mut running = world.start(&["connect", "press-7", "panel"]);
    let mut socket = dial(running.port().await).await;
    echo(&mut socket, b"live").await;
    world.device.cut(CloseCode::Denied(Reason::Revoked));
    let end = tokio::time::timeout(GENEROUS, socket.read(&mut [0])).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let line = "postern: press-7/panel: tun-0303030303030303: your access was withdrawn; ask your administrator why \
                (who can change it: your administrator)";
    assert_eq!(running.err().await, line);
}

/// Everything that a viewer reads which speaks first and closes when the other side does.
async fn look(port: u16) -> Vec<u8> {
    let mut viewer = dial(port).await;
    viewer.write_all(b"RFB 003.008\n").await.unwrap();
    let mut read = Vec::new();
    tokio::time::timeout(GENEROUS, viewer.read_to_end(&mut read)).await.unwrap().unwrap();
    read
}

#[tokio::test]
async fn a_viewer_reads_why_the_device_opens_no_tunnel_for_it() {
    let world = World::signed_in().await;
    let mut running = world.start(&["connect", "press-7", "kiosk"]);
    let words = "held by user usr-0909090909090909 (role `technician`) since 2026-11-18 11:06 +00:00; look only with \
                 `--view-only`, or try again when it is free (it passes with time)";
    let length = u32::try_from(words.len()).unwrap().to_be_bytes();
    let expected = [b"RFB 003.008\n\0".as_slice(), &length, words.as_bytes()].concat();
    assert_eq!(look(running.port().await).await, expected);
    assert_eq!(running.err().await, format!("postern: press-7/kiosk: {words}"));
}

#[tokio::test]
async fn a_viewer_that_was_told_by_the_device_reads_it_to_the_end_and_the_terminal_says_it_too() {
    let world = World::signed_in().await;
    let mut running = world.start(&["connect", "press-7", "booth"]);
    assert_eq!(look(running.port().await).await, b"RFB 003.008\n\0\0\0\0\x09no secret");
    let line = "postern: press-7/booth: tun-0303030303030303: the machine's password is not stored on the device; set it at \
                the device with `postern-agent secret set`";
    assert_eq!(running.err().await, line);
}

#[tokio::test]
async fn once_ends_with_the_connection_and_its_exit_code() {
    let world = World::signed_in().await;
    let mut good = world.start(&["connect", "press-7", "panel", "--once"]);
    let mut socket = dial(good.port().await).await;
    echo(&mut socket, b"x").await;
    socket.shutdown().await.unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.unwrap();
    assert_eq!((rest.as_slice(), good.ended().await.code), (b"bye".as_slice(), 0));
    let mut bad = world.start(&["connect", "press-7", "panel", "--once"]);
    let mut socket = dial(bad.port().await).await;
    echo(&mut socket, b"x").await;
    world.device.cut(CloseCode::Denied(Reason::Revoked));
    let outcome = bad.ended().await;
    assert_eq!(outcome.code, 4);
    assert!(outcome.stderr.contains("your access was withdrawn"), "{}", outcome.stderr);
}

#[tokio::test]
async fn stdio_carries_standard_input_and_output_to_both_ends() {
    let world = World::signed_in().await;
    let outcome = world.run_with_input(&["connect", "press-7", "panel", "--stdio"], "over the pipe").await;
    assert_eq!(
        (outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()),
        (0, "over the pipe\nbye", "")
    );
    let refused = world.run(&["connect", "press-7", "secret", "--stdio"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (4, ""));
}

#[tokio::test]
async fn stdio_says_what_comes_from_a_device_that_has_heard_enough() {
    let world = World::signed_in().await;
    let input = format!("POST / HTTP/1.1\r\n\r\n{}", "x".repeat(1024 * 1024));
    let outcome = world.run_with_input(&["connect", "press-7", "brief", "--stdio"], &input).await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    assert!(
        outcome.stdout.starts_with("HTTP/1.1 413 No\r\n") && outcome.stdout.ends_with("\r\n\r\ntoo long")
    );
}

#[tokio::test]
async fn stdio_that_is_cut_ends_although_its_input_stays_open() {
    let world = World::signed_in().await;
    let mut child =
        world.command(&["connect", "press-7", "panel", "--stdio"]).stdin(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    stdin.write_all(b"x").await.unwrap();
    stdout.read_exact(&mut [0]).await.unwrap();
    world.device.cut(CloseCode::Denied(Reason::Expired));
    let output = tokio::time::timeout(GENEROUS, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("your access has ended"), "{stderr}");
    drop(stdin);
}

#[tokio::test]
async fn after_a_restart_of_the_device_new_connections_work_and_old_ones_are_gone() {
    let mut world = World::signed_in().await;
    let mut running = world.start(&["connect", "press-7", "panel"]);
    let port = running.port().await;
    let mut old = dial(port).await;
    echo(&mut old, b"before").await;
    world.device.stop();
    world.device = Device::start(loopback());
    world.hub.list(vec![world.device.entry("press-7", "acme")]);
    let end = tokio::time::timeout(GENEROUS, old.read(&mut [0])).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut said = [running.err().await, running.err().await, running.err().await];
    said.sort();
    assert!(
        said[0].contains("press-7/panel: tun-0303030303030303: the other side is shutting down"),
        "{said:?}"
    );
    assert_eq!(said[1], "postern: press-7: connected again");
    assert!(said[2].ends_with("; connecting again"), "{said:?}");
    echo(&mut dial(port).await, b"after").await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let world = World::signed_in().await;
    let taken = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let outcome = world.run(&["connect", "press-7", "panel", "--port", &port]).await;
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{}", outcome.stderr);
}

#[tokio::test]
async fn open_starts_the_viewer_with_the_address() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::signed_in().await;
    let bin = tempfile::tempdir().unwrap();
    let (viewer, seen) = (bin.path().join("vncviewer"), bin.path().join("seen"));
    // Renamed into place, so that whoever sees the file sees all of it.
    let script = format!("#!/bin/sh\necho \"$1\" > '{0}.draft' && mv '{0}.draft' '{0}'\n", seen.display());
    std::fs::write(&viewer, script).unwrap();
    std::fs::set_permissions(&viewer, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap());
    let mut child =
        world.command(&["connect", "press-7", "panel", "--open"]).env("PATH", path).spawn().unwrap();
    let mut stdout = tokio::io::BufReader::new(child.stdout.take().unwrap());
    let mut url = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut stdout, &mut url).await.unwrap();
    let port = url.trim_end().strip_prefix("vnc://127.0.0.1:").unwrap().to_owned();
    let waited = async {
        while !seen.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(GENEROUS, waited).await.unwrap();
    assert_eq!(std::fs::read_to_string(&seen).unwrap(), format!("127.0.0.1::{port}\n"));
}
