//! `forward`, and `connect` to a VPN: single places of the machine network at ports of this computer.

use std::io::ErrorKind;
use std::net::SocketAddr;

use postern_protocol::policy::Reason;
use postern_protocol::wire::registry::CloseCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::device::Device;
use crate::world::{GENEROUS, Running, World, loopback};

/// Anna signed in, with these VPNs on the device.
pub(crate) async fn world(vpns: &[&str]) -> World {
    let world = World::signed_in().await;
    world.device.machines.list(vpns);
    world
}

/// The local address in the next line of standard output, which says where it leads.
async fn address(running: &mut Running, target: &str) -> SocketAddr {
    let line = running.out().await;
    let (address, leads_to) = line.split_once(" -> ").unwrap();
    assert_eq!(leads_to, target);
    address.parse().unwrap()
}

pub(crate) async fn echo(socket: &mut TcpStream, text: &[u8]) {
    socket.write_all(text).await.unwrap();
    let mut seen = vec![0; text.len()];
    tokio::time::timeout(GENEROUS, socket.read_exact(&mut seen)).await.unwrap().unwrap();
    assert_eq!(seen, text);
}

/// How a connection ends from which nothing comes.
pub(crate) async fn end(socket: &mut TcpStream) -> Result<usize, ErrorKind> {
    let end = tokio::time::timeout(GENEROUS, socket.read(&mut [0])).await.unwrap();
    end.map_err(|error| error.kind())
}

#[tokio::test]
async fn each_place_has_a_port_and_each_connection_is_a_flow_whose_directions_end_by_themselves() {
    let world = world(&["lines"]).await;
    let mut running = world.start(&["forward", "press-7", "192.168.0.10:102", "plc-7:4840"]);
    let first = address(&mut running, "192.168.0.10:102").await;
    let second = address(&mut running, "plc-7:4840").await;
    assert!(first.ip().is_loopback() && second.ip().is_loopback());
    let mut one = TcpStream::connect(first).await.unwrap();
    echo(&mut one, b"first").await;
    let mut two = TcpStream::connect(second).await.unwrap();
    echo(&mut two, b"second").await;
    one.shutdown().await.unwrap();
    let mut rest = Vec::new();
    one.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"bye", "the answer after the request's end");
    echo(&mut two, b"still open").await;
    assert_eq!(world.device.opens(), ["lines"], "one tunnel for all flows");
    assert_eq!(world.device.machines.asked(), ["tcp 192.168.0.10 102", "tcp plc-7 4840"]);
}

#[tokio::test]
async fn programs_read_where_each_place_is_and_listeners_are_where_they_were_wanted() {
    let world = world(&["lines"]).await;
    let args =
        ["forward", "press-7", "192.168.0.10:102", "[fd00::10]:502", "--listen", "127.0.0.2:0", "--json"];
    let mut running = world.start(&args);
    let value: serde_json::Value = serde_json::from_str(&running.out().await).unwrap();
    assert_eq!((&value["device"], &value["service"]), (&"press-7".into(), &"lines".into()));
    assert_eq!(value["forwards"][0]["target"], "192.168.0.10:102");
    assert_eq!(value["forwards"][1]["target"], "[fd00::10]:502");
    assert!(value["forwards"][0]["address"].as_str().unwrap().starts_with("127.0.0.2:"), "{value}");
    assert!(value["forwards"][1]["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{value}");
}

#[tokio::test]
async fn a_flow_that_cannot_be_is_reset_and_said_in_one_line_and_others_go_on() {
    let world = world(&["lines"]).await;
    let places =
        ["192.168.0.10:1", "192.168.0.10:2", "192.168.0.10:3", "192.168.0.10:5", "plc-8:80", "10.9.9.9:80"];
    let args = [&["forward", "press-7"], places.as_slice(), &["192.168.0.10:102"]].concat();
    let mut running = world.start(&args);
    let words = [
        "the machine refused the connection; check that the service runs on the machine",
        "the machine does not answer; check that it is switched on and cabled",
        "the machine did not answer in time; check that it is switched on and cabled",
        "the device may not dial the service's address; ask your administrator to correct the service's address or the \
         device's machine network",
        "the device knows no machine of that name; use its address",
        "this address is not granted; ask your administrator for it (who can change it: your administrator)",
    ];
    for (place, words) in places.into_iter().zip(words) {
        // It may be reset before this end has noticed that it was there.
        let ended = match TcpStream::connect(address(&mut running, place).await).await {
            Ok(mut socket) => end(&mut socket).await,
            Err(error) => Err(error.kind()),
        };
        assert_eq!(ended, Err(ErrorKind::ConnectionReset), "{place}");
        assert_eq!(running.err().await, format!("postern: press-7/lines: {place}: {words}"));
    }
    let mut good = TcpStream::connect(address(&mut running, "192.168.0.10:102").await).await.unwrap();
    echo(&mut good, b"good").await;
}

#[tokio::test]
async fn a_reset_on_either_side_is_a_reset_on_the_other() {
    let world = world(&["lines"]).await;
    let mut running = world.start(&["forward", "press-7", "192.168.0.10:6", "192.168.0.10:7"]);
    let mut socket = TcpStream::connect(address(&mut running, "192.168.0.10:6").await).await.unwrap();
    socket.write_all(b"x").await.unwrap();
    assert_eq!(end(&mut socket).await, Err(ErrorKind::ConnectionReset));
    let line = "postern: press-7/lines: 192.168.0.10:6: the machine broke the connection; open it again";
    assert_eq!(running.err().await, line);
    let mut socket = TcpStream::connect(address(&mut running, "192.168.0.10:7").await).await.unwrap();
    socket.write_all(b"x").await.unwrap();
    socket.set_zero_linger().unwrap();
    drop(socket);
    assert_eq!(world.device.machines.ended().await, "Err(Reset(0))");
}

#[tokio::test]
async fn an_end_is_an_end_and_no_reset() {
    let world = world(&["lines"]).await;
    let mut running = world.start(&["forward", "press-7", "192.168.0.10:7"]);
    let mut socket = TcpStream::connect(address(&mut running, "192.168.0.10:7").await).await.unwrap();
    socket.write_all(b"x").await.unwrap();
    socket.shutdown().await.unwrap();
    assert_eq!(world.device.machines.ended().await, "finished");
    assert_eq!(end(&mut socket).await, Ok(0));
}

#[tokio::test]
async fn a_tunnel_that_is_cut_resets_its_flows_and_is_said_once_and_the_next_connection_asks_anew() {
    let world = world(&["lines"]).await;
    let mut running = world.start(&["forward", "press-7", "192.168.0.10:102"]);
    let place = address(&mut running, "192.168.0.10:102").await;
    let (mut one, mut two) =
        (TcpStream::connect(place).await.unwrap(), TcpStream::connect(place).await.unwrap());
    echo(&mut one, b"one").await;
    echo(&mut two, b"two").await;
    world.device.refuse(Reason::NoGrant);
    world.device.cut(CloseCode::Denied(Reason::Revoked));
    assert_eq!(end(&mut one).await, Err(ErrorKind::ConnectionReset));
    assert_eq!(end(&mut two).await, Err(ErrorKind::ConnectionReset));
    let line = "postern: press-7/lines: tun-0404040404040404: your access was withdrawn; ask your administrator why (who \
                can change it: your administrator)";
    assert_eq!(running.err().await, line);
    let mut refused = TcpStream::connect(place).await.unwrap();
    assert_eq!(end(&mut refused).await, Err(ErrorKind::ConnectionReset));
    let line = "postern: press-7/lines: 192.168.0.10:102: nothing grants you this service on this device; ask your \
                administrator for an access category that contains it (who can change it: your administrator)";
    assert_eq!(running.err().await, line);
    world.device.permit();
    world.device.heal();
    echo(&mut TcpStream::connect(place).await.unwrap(), b"again").await;
    assert_eq!(world.device.opens(), ["lines", "lines", "lines"]);
}

#[tokio::test]
async fn after_a_restart_of_the_device_the_same_port_leads_there_again() {
    let mut world = world(&["lines"]).await;
    let mut running = world.start(&["forward", "press-7", "192.168.0.10:102"]);
    let place = address(&mut running, "192.168.0.10:102").await;
    let mut old = TcpStream::connect(place).await.unwrap();
    echo(&mut old, b"before").await;
    world.device.stop();
    world.device = Device::start(loopback());
    world.hub.list(vec![world.device.entry("press-7", "acme")]);
    assert_eq!(end(&mut old).await, Err(ErrorKind::ConnectionReset));
    assert!(running.err().await.ends_with("; connecting again"));
    assert_eq!(running.err().await, "postern: press-7: connected again");
    echo(&mut TcpStream::connect(place).await.unwrap(), b"after").await;
    assert_eq!(world.device.opens(), ["lines"]);
}

#[tokio::test]
async fn of_several_vpns_the_one_is_taken_that_leads_there() {
    let world = world(&["cell", "lines"]).await;
    let mut running = world.start(&["forward", "press-7", "192.168.0.10:102"]);
    let place = address(&mut running, "192.168.0.10:102").await;
    echo(&mut TcpStream::connect(place).await.unwrap(), b"found").await;
    assert_eq!(world.device.opens(), ["cell", "lines"], "looked at one after the other");
    let nowhere = world.run(&["forward", "press-7", "10.9.9.9:80"]).await;
    let line = "postern: press-7: none of the VPNs cell, lines leads to 10.9.9.9:80; check the address, or ask your \
                administrator for it (who can change it: your administrator)\n";
    assert_eq!((nowhere.code, nowhere.stderr.as_str()), (4, line));
    let named = world.run(&["forward", "press-7", "plc-7:80"]).await;
    let line = "postern: press-7: this device has several VPNs: cell, lines; choose one with `--service`\n";
    assert_eq!((named.code, named.stderr.as_str()), (2, line));
}

#[tokio::test]
async fn without_a_vpn_nothing_is_forwarded_and_the_line_says_what_helps() {
    let world = world(&[]).await;
    let none = world.run(&["forward", "press-7", "192.168.0.10:102"]).await;
    let line = "postern: press-7: no VPN of this device is open to you; ask your administrator for an access category \
                that contains one (who can change it: your administrator)\n";
    assert_eq!((none.code, none.stderr.as_str()), (4, line));
    let other = world.run(&["forward", "press-7", "192.168.0.10:102", "--service", "hmi"]).await;
    let line = "postern: press-7: `hmi` is no VPN but a service of the kind http; use `postern connect`, or name a VPN \
                with `--service`\n";
    assert_eq!((other.code, other.stderr.as_str()), (2, line));
    let unknown =
        world.run(&["forward", "press-7", "192.168.0.10:102", "--service", "secret", "--json"]).await;
    let value: serde_json::Value = serde_json::from_str(&unknown.stdout).unwrap();
    assert_eq!((unknown.code, &value["error"]["word"]), (4, &"no_grant".into()));
    let shut = world.run(&["forward", "press-7", "192.168.0.10:102", "--service", "vault"]).await;
    assert_eq!(shut.code, 2, "a screen: {shut:?}");
    let open = world.run(&["forward", "press-7", "192.168.0.10:102", "--listen", "0.0.0.0:1"]).await;
    assert!(open.code == 2 && open.stderr.contains("other computers must not come in"), "{open:?}");
    assert_eq!(world.device.opens(), ["secret"]);
}

#[tokio::test]
async fn who_is_recorded_is_told_once_and_others_are_not() {
    let world = world(&["taped"]).await;
    let mut running = world.start(&["forward", "press-7", "192.168.0.10:1", "--json"]);
    assert_eq!(running.err().await, "postern: this session is recorded for the company that runs the device");
    let value: serde_json::Value = serde_json::from_str(&running.out().await).unwrap();
    assert_eq!(value["recorded"], true);
    let address = value["forwards"][0]["address"].as_str().unwrap().to_owned();
    let mut socket = TcpStream::connect(&address).await.unwrap();
    assert_eq!(end(&mut socket).await, Err(ErrorKind::ConnectionReset));
    assert!(running.err().await.contains("the machine refused the connection"));
    world.device.machines.list(&["lines"]);
    let mut running = world.start(&["forward", "press-7", "192.168.0.10:1", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&running.out().await).unwrap();
    assert_eq!(value["recorded"], false);
    let address = value["forwards"][0]["address"].as_str().unwrap().to_owned();
    let _socket = TcpStream::connect(&address).await.unwrap();
    assert!(running.err().await.contains("the machine refused the connection"), "the first line");
}

#[tokio::test]
async fn once_ends_with_the_connection_and_its_exit_code() {
    let world = world(&["lines"]).await;
    let mut good = world.start(&["forward", "press-7", "192.168.0.10:102", "--once"]);
    let mut socket = TcpStream::connect(address(&mut good, "192.168.0.10:102").await).await.unwrap();
    echo(&mut socket, b"x").await;
    socket.shutdown().await.unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.unwrap();
    assert_eq!((rest.as_slice(), good.ended().await.code), (b"bye".as_slice(), 0));
    let mut bad = world.start(&["forward", "press-7", "192.168.0.10:1", "--once"]);
    let _socket = TcpStream::connect(address(&mut bad, "192.168.0.10:1").await).await.unwrap();
    assert_eq!(bad.ended().await.code, 9);
    let mut cut = world.start(&["forward", "press-7", "192.168.0.10:102", "--once"]);
    let mut socket = TcpStream::connect(address(&mut cut, "192.168.0.10:102").await).await.unwrap();
    echo(&mut socket, b"x").await;
    world.device.cut(CloseCode::Denied(Reason::Revoked));
    assert_eq!(cut.ended().await.code, 4);
}

#[tokio::test]
async fn connect_carries_a_vpn_to_one_place_and_says_what_carries_more() {
    let world = world(&["cell", "lines"]).await;
    let mut running = world.start(&["connect", "press-7", "cell"]);
    let url = running.out().await;
    let place: SocketAddr = url.strip_prefix("tcp://").unwrap().parse().unwrap();
    echo(&mut TcpStream::connect(place).await.unwrap(), b"pipe").await;
    assert_eq!(world.device.machines.asked(), ["tcp 10.1.0.10 502"]);
    let piped = world.run_with_input(&["connect", "press-7", "cell", "--stdio"], "over the pipe").await;
    assert_eq!((piped.code, piped.stdout.as_str(), piped.stderr.as_str()), (0, "over the pipe\nbye", ""));
    let line = "postern: press-7/lines: this VPN leads to more than one place; use `postern forward DEVICE HOST:PORT` for \
                one of them, or `postern proxy DEVICE` for all\n";
    for args in [&["connect", "press-7", "lines"][..], &["connect", "press-7", "lines", "--stdio"]] {
        let wide = world.run(args).await;
        assert_eq!((wide.code, wide.stdout.as_str(), wide.stderr.as_str()), (2, "", line));
    }
}
