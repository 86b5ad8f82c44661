//! `proxy`: the machine network for programs that speak SOCKS5 or HTTP CONNECT.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::process::Command;

use crate::forward::{echo, end, world};
use crate::world::{GENEROUS, Running, World};

/// A running proxy and its address.
async fn proxy(world: &World) -> (Running, SocketAddr) {
    let mut running = world.start(&["proxy", "press-7", "--listen", "0"]);
    let socks = running.out().await;
    let address = socks.strip_prefix("socks5h://").unwrap().parse().unwrap();
    assert_eq!(running.out().await, format!("http://{address}"));
    (running, address)
}

/// A program that was greeted.
async fn greeted(proxy: SocketAddr) -> TcpStream {
    let mut program = TcpStream::connect(proxy).await.unwrap();
    program.write_all(&[5, 1, 0]).await.unwrap();
    assert_eq!(take(&mut program, 2).await, [5, 0]);
    program
}

async fn take(program: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    tokio::time::timeout(GENEROUS, program.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

/// Asks for 192.168.0.10 at this port and yields the first two bytes of the answer.
async fn ask(program: &mut TcpStream, port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    program.write_all(&[5, 1, 0, 1, 192, 168, 0, 10, high, low]).await.unwrap();
    take(program, 2).await
}

async fn say(proxy: SocketAddr, words: &str) -> String {
    let mut program = TcpStream::connect(proxy).await.unwrap();
    program.write_all(words.as_bytes()).await.unwrap();
    let mut heard = String::new();
    tokio::time::timeout(GENEROUS, program.read_to_string(&mut heard)).await.unwrap().unwrap();
    heard
}

#[tokio::test]
async fn socks_reaches_addresses_and_names_and_the_device_resolves_them() {
    let world = world(&["lines"]).await;
    let (_running, address) = proxy(&world).await;
    let mut program = greeted(address).await;
    assert_eq!(ask(&mut program, 102).await, [5, 0]);
    assert_eq!(take(&mut program, 8).await, [0, 1, 192, 168, 0, 10, 0, 102]);
    echo(&mut program, b"over socks").await;
    let mut named = greeted(address).await;
    named.write_all(b"\x05\x01\x00\x03\x05plc-7\x12\xe8").await.unwrap();
    assert_eq!(take(&mut named, 10).await, [5, 0, 0, 1, 192, 168, 0, 10, 0x12, 0xe8]);
    echo(&mut named, b"by name").await;
    assert_eq!(world.device.machines.asked(), ["tcp 192.168.0.10 102", "tcp plc-7 4840"]);
    assert_eq!(world.device.opens(), ["lines"]);
}

#[tokio::test]
async fn socks_says_in_its_codes_why_there_is_no_flow() {
    let world = world(&["lines"]).await;
    let (mut running, address) = proxy(&world).await;
    for (port, code) in [(1, 5), (2, 4), (3, 6), (4, 1), (5, 2)] {
        let mut program = greeted(address).await;
        assert_eq!(ask(&mut program, port).await, [5, code], "port {port}");
        assert_eq!(take(&mut program, 8).await, [0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(end(&mut program).await, Ok(0));
        let line = running.err().await;
        assert!(line.starts_with(&format!("postern: press-7/lines: 192.168.0.10:{port}: ")), "{line}");
    }
    let mut denied = greeted(address).await;
    denied.write_all(&[5, 1, 0, 1, 10, 9, 9, 9, 0, 80]).await.unwrap();
    assert_eq!(take(&mut denied, 2).await, [5, 2]);
    let line = "postern: press-7/lines: 10.9.9.9:80: this address is not granted; ask your administrator for it (who can \
                change it: your administrator)";
    assert_eq!(running.err().await, line);
    let mut program = greeted(address).await;
    assert_eq!(ask(&mut program, 102).await, [5, 0], "one that is granted");
}

#[tokio::test]
async fn http_connect_opens_a_flow_or_says_why_not_in_words() {
    let world = world(&["lines"]).await;
    let (_running, address) = proxy(&world).await;
    let mut program = TcpStream::connect(address).await.unwrap();
    program.write_all(b"CONNECT plc-7:102 HTTP/1.1\r\nHost: plc-7:102\r\n\r\nearly").await.unwrap();
    let expected = b"HTTP/1.1 200 Connection established\r\n\r\nearly";
    assert_eq!(take(&mut program, expected.len()).await, expected);
    echo(&mut program, b"over http").await;
    for (place, status, words) in [
        (
            "10.9.9.9:80",
            "403 Forbidden",
            "10.9.9.9:80: this address is not granted; ask your administrator for it (who",
        ),
        ("192.168.0.10:1", "502 Bad Gateway", "192.168.0.10:1: the machine refused the connection; check"),
        (
            "192.168.0.10:3",
            "504 Gateway Timeout",
            "192.168.0.10:3: the machine did not answer in time; check",
        ),
        ("192.168.0.10:4", "503 Service Unavailable", "192.168.0.10:4: the device is at its capacity; close"),
    ] {
        let heard = say(address, &format!("CONNECT {place} HTTP/1.1\r\n\r\n")).await;
        let (head, body) = heard.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{heard}");
        assert!(body.starts_with(words), "{heard}");
    }
}

#[tokio::test]
async fn what_a_web_page_could_send_reaches_nothing() {
    let world = world(&["lines"]).await;
    let (mut running, address) = proxy(&world).await;
    let heard = say(address, "POST http://192.168.0.10/ HTTP/1.1\r\nHost: 192.168.0.10\r\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\n"), "{heard}");
    let mut other = TcpStream::connect(address).await.unwrap();
    other.write_all(&[4, 1, 0, 80]).await.unwrap();
    assert!(matches!(end(&mut other).await, Ok(0) | Err(ErrorKind::ConnectionReset)));
    let line = "postern: press-7/lines: a local program speaks neither SOCKS5 nor HTTP CONNECT; set its proxy as printed, \
                or use `postern forward`";
    assert_eq!(running.err().await, line);
    assert_eq!(world.device.machines.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn datagrams_of_an_association_go_to_machines_and_back_and_nobody_elses_do() {
    let world = world(&["lines"]).await;
    let (mut running, address) = proxy(&world).await;
    let mut control = greeted(address).await;
    control.write_all(&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    let answer = take(&mut control, 10).await;
    assert_eq!(answer[..8], [5, 0, 0, 1, 127, 0, 0, 1]);
    let relay = SocketAddr::from(([127, 0, 0, 1], u16::from_be_bytes([answer[8], answer[9]])));
    let program = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let head = [0, 0, 0, 1, 192, 168, 0, 10, 0, 161];
    let mut heard = vec![0; 8192];
    let large = vec![7; 4000];
    // What fits a datagram travels in one, and the rest on the stream of the flow.
    for (text, way) in
        [(b"one".as_slice(), b"datagram: ".as_slice()), (&large, b"frame: "), (b"two", b"datagram: ")]
    {
        program.send_to(&[&head, text].concat(), relay).await.unwrap();
        let (length, from) =
            tokio::time::timeout(GENEROUS, program.recv_from(&mut heard)).await.unwrap().unwrap();
        assert_eq!(from, relay);
        assert_eq!(heard[..length], [&head, way, text].concat());
    }
    // Another program of this computer, and one at another address of it.
    for place in ["127.0.0.1:0", "127.0.0.2:0"] {
        let stranger = UdpSocket::bind(place).await.unwrap();
        stranger.send_to(&[0, 0, 0, 1, 192, 168, 0, 11, 0, 161, 1], relay).await.unwrap();
    }
    program.send_to(&[0, 0, 0, 1, 192, 168, 0, 10, 0, 53, 1], relay).await.unwrap();
    let line = "postern: press-7/lines: udp 192.168.0.10:53: this address is not granted; ask your administrator for it \
                (who can change it: your administrator)";
    assert_eq!(running.err().await, line);
    assert_eq!(world.device.machines.asked(), ["udp 192.168.0.10 161", "udp 192.168.0.10 53"]);
    drop(control);
    assert_eq!(
        world.device.machines.ended().await,
        "udp",
        "the flow ends with the connection that asked for it"
    );
}

#[tokio::test]
async fn a_device_with_several_vpns_is_asked_for_by_name_and_the_port_stays_the_same() {
    let world = world(&["cell", "lines"]).await;
    let several = world.run(&["proxy", "press-7"]).await;
    let line = "postern: press-7: this device has several VPNs: cell, lines; choose one with `--service`\n";
    assert_eq!((several.code, several.stderr.as_str()), (2, line));
    let mut first = world.start(&["proxy", "press-7", "--service", "lines", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&first.out().await).unwrap();
    let address = value["address"].as_str().unwrap().to_owned();
    assert_eq!(value["socks"], format!("socks5h://{address}"));
    assert_eq!((&value["service"], &value["http"]), (&"lines".into(), &format!("http://{address}").into()));
    first.child.kill().await.unwrap();
    let mut second = world.start(&["proxy", "press-7", "--service", "lines"]);
    assert_eq!(second.out().await, format!("socks5h://{address}"));
}

#[tokio::test]
async fn curl_fetches_a_page_of_a_machine_both_ways() {
    if Command::new("curl").arg("--version").output().await.is_err() {
        assert_ne!(std::env::var("POSTERN_REQUIRE_PEERS").as_deref(), Ok("1"), "`curl` is missing");
        println!("SKIPPED: the program `curl` is missing");
        return;
    }
    let world = world(&["lines"]).await;
    let (_running, address) = proxy(&world).await;
    let socks = format!("socks5h://{address}");
    let http = format!("http://{address}");
    for args in [&["--proxy", &socks][..], &["--proxytunnel", "--proxy", &http]] {
        let fetched = Command::new("curl")
            .args(["--silent", "--show-error", "--noproxy", ""])
            .args(args)
            .arg("http://plc-7/")
            .output()
            .await
            .unwrap();
        let (page, said) =
            (String::from_utf8(fetched.stdout).unwrap(), String::from_utf8(fetched.stderr).unwrap());
        assert_eq!((fetched.status.code(), page.as_str(), said.as_str()), (Some(0), "panel", ""), "{args:?}");
    }
    let refused = Command::new("curl")
        .args(["--silent", "--noproxy", "", "--proxy", &socks, "http://192.168.0.10:1/"])
        .output()
        .await
        .unwrap();
    assert_eq!(refused.status.code(), Some(97), "curl's word for a SOCKS refusal");
    assert_eq!(world.device.machines.asked(), ["tcp plc-7 80", "tcp plc-7 80", "tcp 192.168.0.10 1"]);
}
