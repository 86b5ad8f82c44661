//! `vpn`: the machine network over a network adapter, in a network of the test's own.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use postern_protocol::policy::{Carries, Destination, Network, Ports, Reason};
use postern_protocol::wire::registry::CloseCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpStream, UdpSocket};
use tokio::process::Command;

use crate::device::Device;
use crate::forward::{echo, end, world};
use crate::namespace::Namespace;
use crate::world::{GENEROUS, Outcome, Running, World, loopback};

const PLC: &str = "192.168.0.10";

/// A VPN that is up, and what it said.
async fn up(world: &World, args: &[&str]) -> (Running, Value) {
    let mut running = world.start(&[&["vpn", "press-7", "--json"], args].concat());
    let Some(said) = running.stdout.next_line().await.unwrap() else { panic!("{:?}", running.ended().await) };
    (running, serde_json::from_str(&said).unwrap())
}

async fn connect(place: &str) -> Result<TcpStream, ErrorKind> {
    let place: SocketAddr = place.parse().unwrap();
    let connected = tokio::time::timeout(GENEROUS, TcpStream::connect(place)).await.unwrap();
    connected.map_err(|error| error.kind())
}

async fn status(world: &World) -> Value {
    let outcome = world.run(&["vpn", "--status", "--json"]).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    serde_json::from_str::<Value>(&outcome.stdout).unwrap()["vpns"].clone()
}

/// Waits for what the kernel does a moment after a program has ended.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(GENEROUS, waiting).await.unwrap_or_else(|_| panic!("not {what}"));
}

/// The program that made the adapter.
fn maker(running: &Running) -> Pid {
    let id = running.child.id().unwrap();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    let [child] = children.split_ascii_whitespace().collect::<Vec<_>>()[..] else { panic!("{children}") };
    assert!(std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap().starts_with("postern-adapter"));
    Pid::from_raw(child.parse().unwrap()).unwrap()
}

fn destination(net: &str, prefix: u8) -> Destination {
    let net = Network { ip: net.parse().unwrap(), prefix };
    Destination { net, carries: Carries::Tcp { ports: Ports::ALL, profile: None } }
}

#[tokio::test]
async fn programs_that_know_nothing_of_the_vpn_reach_machines_by_tcp_udp_and_ping() {
    let Some(network) = Namespace::enter("programs_that_know_nothing_of_the_vpn") else { return };
    let world = world(&["lines"]).await;
    let (_running, said) = up(&world, &[]).await;
    assert_eq!((&said["device"], &said["interface"]), (&"press-7".into(), &"postern0".into()));
    assert_eq!(said["networks"][0]["here"][0], "192.168.0.0/24");
    assert_eq!(
        network.ip(&["route", "show", "dev", "postern0"]).trim(),
        "192.168.0.0/24 proto static scope link metric 30000"
    );
    assert!(network.ip(&["link", "show", "postern0"]).contains("mtu 1280 "));

    let mut tcp = connect("192.168.0.10:102").await.unwrap();
    echo(&mut tcp, b"over the adapter").await;
    tcp.shutdown().await.unwrap();
    let mut rest = Vec::new();
    tcp.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"bye", "each direction ends by itself");

    let udp = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    udp.connect("192.168.0.10:161").await.unwrap();
    let mut buffer = [0; 4000];
    // The last is cut by the kernel here, and comes back whole.
    for data in [vec![7; 4], vec![8; 1200], vec![9; 3000]] {
        udp.send(&data).await.unwrap();
        let length = tokio::time::timeout(GENEROUS, udp.recv(&mut buffer)).await.unwrap().unwrap();
        // A datagram or, while the way takes only smaller ones, a frame.
        let words = [&b"datagram: "[..], b"frame: "];
        assert!(words.iter().any(|words| buffer[..length] == [words, data.as_slice()].concat()));
    }

    assert_eq!(ping(PLC, 1000).await, Ok(1000));
    assert_eq!(ping(PLC, 1452).await, Ok(1452), "in two pieces");
    let asked = ["tcp 192.168.0.10 102", "udp 192.168.0.10 161", "icmp 192.168.0.10 0"];
    assert_eq!(world.device.machines.asked(), asked);
    assert_eq!(world.device.opens(), ["lines"], "one tunnel for all flows");
}

/// Sends an echo request with so much data; how much came back, or the kind and code of the ICMP error.
async fn ping(to: &str, bytes: usize) -> Result<usize, (u8, u8)> {
    use socket2::{Domain, Protocol, Socket, Type};
    let to = SocketAddr::new(to.parse::<IpAddr>().unwrap(), 0);
    let data = vec![9; bytes];
    let sent = data.clone();
    let pinging = tokio::task::spawn_blocking(move || {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
        socket.set_read_timeout(Some(GENEROUS)).unwrap();
        let kind = etherparse::Icmpv4Type::EchoRequest(etherparse::IcmpEchoHeader { id: 7, seq: 1 });
        let mut packet = etherparse::Icmpv4Header::with_checksum(kind, &data).to_bytes().to_vec();
        packet.extend_from_slice(&data);
        socket.send_to(&packet, &to.into()).unwrap();
        let mut socket = std::io::BufReader::with_capacity(4096, socket);
        loop {
            let mut buffer = vec![0; 4096];
            let length = std::io::Read::read(&mut socket, &mut buffer).unwrap();
            let message = &buffer[20..length];
            match message[0] {
                0 => {
                    assert_eq!(message[4..8], [0, 7, 0, 1]);
                    assert_eq!(message[8..], data);
                    return Ok(message.len() - 8);
                }
                3 => return Err((message[0], message[1])),
                _ => {}
            }
        }
    });
    let came = pinging.await.unwrap();
    assert!(came.is_err() || came == Ok(sent.len()));
    came
}

#[tokio::test]
async fn curl_fetches_a_page_and_much_goes_both_ways_at_once() {
    let Some(_network) = Namespace::enter("curl_fetches_a_page_and_much_goes_both_ways_at_once") else {
        return;
    };
    let world = world(&["lines"]).await;
    let (_running, _) = up(&world, &[]).await;
    match Command::new("curl").args(["--silent", "--show-error", "http://192.168.0.10/"]).output().await {
        Ok(fetched) => assert_eq!(String::from_utf8(fetched.stdout).unwrap(), "panel"),
        Err(_) => println!("SKIPPED: the program `curl` is missing"),
    }
    let tcp = connect("192.168.0.10:102").await.unwrap();
    let (mut reader, mut writer) = tcp.into_split();
    let sent: Vec<u8> =
        (0..16_000_000_u32).flat_map(|number| (number % 251).to_le_bytes().into_iter().take(1)).collect();
    let writing = sent.clone();
    let writing = tokio::spawn(async move {
        writer.write_all(&writing).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut seen = Vec::new();
    tokio::time::timeout(GENEROUS, reader.read_to_end(&mut seen)).await.unwrap().unwrap();
    writing.await.unwrap();
    assert!(seen.len() == sent.len() + 3 && seen[..sent.len()] == sent && seen.ends_with(b"bye"));
    let vpns = status(&world).await;
    assert!(vpns[0]["sent"].as_u64().unwrap() >= 16_000_000, "{vpns}");
    assert!(vpns[0]["received"].as_u64().unwrap() >= 16_000_000, "{vpns}");
}

#[tokio::test]
async fn who_is_refused_hears_it_at_once_and_the_status_says_why() {
    let Some(_network) = Namespace::enter("who_is_refused_hears_it_at_once_and_the_status_says_why") else {
        return;
    };
    let world = world(&["lines"]).await;
    let (mut running, _) = up(&world, &[]).await;
    for (port, kind, words) in [
        (1, ErrorKind::ConnectionRefused, "the machine refused the connection"),
        (2, ErrorKind::HostUnreachable, "the machine did not answer"),
        (5, ErrorKind::HostUnreachable, "the address may not be reached from this device"),
    ] {
        assert_eq!(connect(&format!("{PLC}:{port}")).await.err(), Some(kind), "{port}");
        let line = running.err().await;
        assert!(line.starts_with(&format!("postern: press-7/lines: {PLC}:{port}: ")), "{line}");
        let refusal = &status(&world).await[0]["refusals"][0];
        assert_eq!((&refusal["port"], &refusal["protocol"]), (&port.into(), &"tcp".into()), "{words}");
        assert!(line.contains(refusal["reason"].as_str().unwrap()), "{line} {refusal}");
    }
    let udp = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    udp.connect("192.168.0.10:162").await.unwrap();
    for _ in 0..2 {
        udp.send(b"x").await.unwrap();
        let answer = tokio::time::timeout(GENEROUS, udp.recv(&mut [0; 9])).await.unwrap();
        assert_eq!(answer.map_err(|error| error.kind()), Err(ErrorKind::HostUnreachable));
    }
    let udp = |asked: &&String| asked.starts_with("udp");
    assert_eq!(world.device.machines.asked().iter().filter(udp).count(), 1, "the device is asked once");
    let account = &status(&world).await[0];
    assert_eq!((&account["refused"], &account["opened"]), (&4.into(), &0.into()));
    assert_eq!(account["refusals"][0]["reason"], "this address is not granted");
    // The same for people, without the first line's time.
    let shown = world.run(&["vpn", "--status"]).await;
    let lines: Vec<&str> = shown.stdout.lines().collect();
    assert!(lines[0].starts_with("press-7/lines on postern0 for "), "{shown:?}");
    let expected = [
        "0 flows open, 0 opened, 4 refused; 0 B sent, 0 B received",
        "192.168.0.0/24\t192.168.0.0/24\ticmp 192.168.0.0/24, tcp 192.168.0.0/24 1-65535, udp 192.168.0.0/24 161",
        "udp 192.168.0.10:162\t1\tthis address is not granted; ask your administrator for it",
    ];
    assert_eq!(lines[1..4], expected, "{shown:?}");
    assert_eq!(lines.len(), 7);
}

#[tokio::test]
async fn a_reset_on_either_side_is_a_reset_on_the_other_over_the_adapter() {
    let Some(_network) = Namespace::enter("a_reset_on_either_side_is_a_reset_on_the_other_over_the_adapter")
    else {
        return;
    };
    let world = world(&["lines"]).await;
    let (_running, _) = up(&world, &[]).await;
    let mut cut = connect("192.168.0.10:6").await.unwrap();
    cut.write_all(b"x").await.unwrap();
    assert_eq!(end(&mut cut).await, Err(ErrorKind::ConnectionReset));
    let mut socket = connect("192.168.0.10:7").await.unwrap();
    socket.write_all(b"x").await.unwrap();
    socket.set_zero_linger().unwrap();
    drop(socket);
    assert_eq!(world.device.machines.ended().await, "Err(Reset(0))");
}

#[tokio::test]
async fn two_machines_with_the_same_addresses_are_reached_side_by_side_and_the_own_network_stays() {
    let Some(network) = Namespace::enter("two_machines_with_the_same_addresses_are_reached_side_by_side")
    else {
        return;
    };
    let world = world(&["lines", "cell"]).await;
    let (mut first, said) = up(&world, &["--service", "lines"]).await;
    assert_eq!(
        (&said["networks"][0]["here"][0], &said["networks"][0]["alias"]),
        (&"192.168.0.0/24".into(), &false.into())
    );
    let (_second, said) = up(&world, &["--service", "lines"]).await;
    assert_eq!((&said["interface"], &said["networks"][0]["alias"]), (&"postern1".into(), &true.into()));
    let alias: ipnet::Ipv4Net = said["networks"][0]["here"][0].as_str().unwrap().parse().unwrap();
    assert!("100.64.0.0/10".parse::<ipnet::Ipv4Net>().unwrap().contains(&alias), "{alias}");
    let machine = Ipv4Addr::from_bits(alias.network().to_bits() | 10);
    let (mut one, mut other) =
        (connect("192.168.0.10:102").await.unwrap(), connect(&format!("{machine}:102")).await.unwrap());
    echo(&mut one, b"one").await;
    echo(&mut other, b"other").await;
    assert_eq!(ping(&machine.to_string(), 10).await, Ok(10), "answers come from the alias");
    // The device hears the real address.
    let asked = ["tcp 192.168.0.10 102", "tcp 192.168.0.10 102", "icmp 192.168.0.10 0"];
    assert_eq!(world.device.machines.asked(), asked);
    // An own network with the addresses of `cell`, first before the VPN is up, then a second one after it.
    network.ip(&["link", "add", "lan0", "type", "veth", "peer", "lan1"]);
    network.ip(&["address", "add", "10.1.0.77/24", "dev", "lan0"]);
    network.ip(&["link", "set", "lan0", "up"]);
    let (_third, said) = up(&world, &["--service", "cell"]).await;
    assert_eq!(said["networks"][0]["alias"], true, "{said}");
    assert!(network.ip(&["route", "get", "10.1.0.10"]).contains("dev lan0"));
    network.ip(&["address", "add", "192.168.0.77/24", "dev", "lan0"]);
    assert!(network.ip(&["route", "get", "192.168.0.10"]).contains("dev lan0"), "at once");
    assert_eq!(first.err().await, "postern: press-7: machines are reached elsewhere now");
    let moved = network.ip(&["route", "show", "dev", "postern0"]);
    assert!(moved.starts_with("100."), "{moved}");
}

#[tokio::test]
async fn all_vpns_of_a_device_are_one_network_and_ipv6_is_no_different() {
    let Some(_network) = Namespace::enter("all_vpns_of_a_device_are_one_network_and_ipv6_is_no_different")
    else {
        return;
    };
    let world = world(&["cell", "lines"]).await;
    let (mut running, said) = up(&world, &[]).await;
    assert_eq!(said["services"], serde_json::json!(["cell", "lines"]));
    let here: Vec<&Value> = said["networks"].as_array().unwrap().iter().map(|net| &net["here"][0]).collect();
    assert_eq!(here, ["10.1.0.10/32", "192.168.0.0/24"]);
    for place in ["10.1.0.10:502", "192.168.0.10:102"] {
        echo(&mut connect(place).await.unwrap(), place.as_bytes()).await;
    }
    assert_eq!(world.device.opens(), ["cell", "lines"]);
    world.device.machines.lead(vec![destination("fd00:8::", 64), destination("2001:db8::", 64)]);
    for _each_tunnel in 0..2 {
        assert_eq!(running.err().await, "postern: press-7: machines are reached elsewhere now");
    }
    let networks = status(&world).await[0]["networks"].clone();
    let alias: ipnet::Ipv6Net = networks[0]["here"][0].as_str().unwrap().parse().unwrap();
    assert_eq!(
        (&networks[0]["real"], &networks[1]["here"][0]),
        (&"2001:db8::/64".into(), &"fd00:8::/64".into())
    );
    let machine = std::net::Ipv6Addr::from_bits(alias.network().to_bits() | 0x10);
    let refused = connect(&format!("[{machine}]:1")).await.err();
    assert_eq!(refused, Some(ErrorKind::PermissionDenied), "what is prohibited is so in the words of IPv6");
    assert!(world.device.machines.asked().contains(&"tcp 2001:db8::10 1".to_owned()));
}

#[tokio::test]
async fn after_a_restart_of_the_device_the_same_adapter_leads_there_again() {
    let Some(network) = Namespace::enter("after_a_restart_of_the_device_the_same_adapter_leads_there_again")
    else {
        return;
    };
    let mut world = world(&["lines"]).await;
    let (mut running, _) = up(&world, &[]).await;
    let mut old = connect("192.168.0.10:102").await.unwrap();
    echo(&mut old, b"before").await;
    world.device.stop();
    world.device = Device::start(loopback());
    world.hub.list(vec![world.device.entry("press-7", "acme")]);
    assert_eq!(end(&mut old).await, Err(ErrorKind::ConnectionReset));
    assert!(running.err().await.ends_with("; connecting again"));
    assert_eq!(running.err().await, "postern: press-7: connected again");
    echo(&mut connect("192.168.0.10:102").await.unwrap(), b"after").await;
    assert!(network.ip(&["link", "show", "postern0"]).contains("mtu 1280 "));
}

#[tokio::test]
async fn routes_follow_where_the_tunnel_leads_and_its_end_resets_flows_and_takes_the_adapter_away() {
    let Some(network) = Namespace::enter("routes_follow_where_the_tunnel_leads") else { return };
    let before = network.shape();
    let world = world(&["lines"]).await;
    let (mut running, _) = up(&world, &[]).await;
    world.device.machines.lead(vec![destination("192.168.0.0", 25), destination("10.9.0.0", 16)]);
    assert_eq!(running.err().await, "postern: press-7: machines are reached elsewhere now");
    let routes = network.ip(&["route", "show", "dev", "postern0"]);
    let routes: Vec<&str> = routes.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(routes, ["10.9.0.0/16", "192.168.0.0/25"]);
    let mut socket = connect("192.168.0.10:102").await.unwrap();
    echo(&mut socket, b"still").await;
    world.device.cut(CloseCode::Denied(Reason::Revoked));
    assert_eq!(end(&mut socket).await, Err(ErrorKind::ConnectionReset));
    let outcome = running.ended().await;
    let line = "postern: press-7/lines: tun-0404040404040404: your access was withdrawn; ask your administrator why (who \
                can change it: your administrator)\n";
    assert_eq!((outcome.code, outcome.stderr.as_str()), (4, line));
    until("restored", || network.shape() == before).await;
}

#[tokio::test]
async fn kill_9_of_one_or_all_leaves_no_adapter_no_route_and_no_program() {
    let Some(network) = Namespace::enter("kill_9_of_one_or_all_leaves_no_adapter_no_route_and_no_program")
    else {
        return;
    };
    let before = network.shape();
    let world = world(&["lines"]).await;
    let gone =
        |program: Pid| move || !std::path::Path::new(&format!("/proc/{}", program.as_raw_nonzero())).exists();

    let (mut client_killed, _) = up(&world, &[]).await;
    let program = maker(&client_killed);
    client_killed.child.kill().await.unwrap();
    until("restored", || network.shape() == before).await;
    until("ended", gone(program)).await;
    assert_eq!(status(&world).await, Value::Array(Vec::new()), "and the socket is swept");

    let (maker_killed, _) = up(&world, &[]).await;
    kill_process(maker(&maker_killed), Signal::KILL).unwrap();
    let Outcome { code, stderr, .. } = maker_killed.ended().await;
    let line = "postern: press-7/lines: the network adapter was taken away, or `postern-adapter` ended; bring the VPN up \
                again\n";
    assert_eq!((code, stderr.as_str()), (1, line));
    until("restored", || network.shape() == before).await;

    let (mut both_killed, _) = up(&world, &[]).await;
    let program = maker(&both_killed);
    kill_process(program, Signal::KILL).unwrap();
    both_killed.child.kill().await.unwrap();
    until("restored", || network.shape() == before).await;
    until("ended", gone(program)).await;
    assert_eq!(status(&world).await, Value::Array(Vec::new()));
    let left: Vec<_> = std::fs::read_dir(world.home().join("run")).unwrap().collect();
    assert_eq!(left.len(), 0, "{left:?}");
}

#[tokio::test]
async fn a_vpn_is_ended_by_its_device_and_ctrl_c_is_no_error() {
    let Some(network) = Namespace::enter("a_vpn_is_ended_by_its_device_and_ctrl_c_is_no_error") else {
        return;
    };
    let before = network.shape();
    let world = world(&["lines"]).await;
    let (running, _) = up(&world, &[]).await;
    let mut socket = connect("192.168.0.10:102").await.unwrap();
    echo(&mut socket, b"open").await;
    let unknown = world.run(&["vpn", "--down", "press-8"]).await;
    let line = "postern: no VPN of press-8 is up; see `postern vpn --status`\n";
    assert_eq!((unknown.code, unknown.stderr.as_str()), (11, line));
    let down = world.run(&["vpn", "--down", "press-7"]).await;
    assert_eq!((down.code, down.stdout.as_str()), (0, "press-7: postern0 is down\n"));
    let outcome = running.ended().await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    assert_eq!(end(&mut socket).await, Err(ErrorKind::ConnectionReset));
    until("restored", || network.shape() == before).await;
    let (running, _) = up(&world, &[]).await;
    kill_process(Pid::from_child_id(running.child.id()), Signal::INT).unwrap();
    assert_eq!(running.ended().await.code, 0);
    until("restored", || network.shape() == before).await;
}

trait FromChildId: Sized {
    fn from_child_id(id: Option<u32>) -> Self;
}

impl FromChildId for Pid {
    fn from_child_id(id: Option<u32>) -> Self {
        Self::from_raw(id.unwrap().try_into().unwrap()).unwrap()
    }
}

#[tokio::test]
async fn without_the_right_to_make_an_adapter_nothing_is_opened_and_the_line_says_what_helps() {
    let Some(_network) = Namespace::enter("without_the_right_to_make_an_adapter_nothing_is_opened") else {
        return;
    };
    let world = world(&["lines"]).await;
    let home = tempfile::tempdir().unwrap();
    chown(home.path(), Some(65_534), None).unwrap();
    let mut command = world.command(&["vpn", "press-7"]);
    command.uid(65_534).env("POSTERN_HOME", home.path()).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    let output = command.output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("postern: you may not make a network adapter on this computer; use `sudo setcap "),
        "{said}"
    );
    assert!(
        said.ends_with("; `postern forward` and `postern proxy` need no administrator rights\n"),
        "{said}"
    );
    assert_eq!((output.status.code(), world.device.opens()), (Some(1), Vec::new()));
}

/// Gives a program a capability as `setcap cap_net_admin=ep` does (linux/capability.h, `struct vfs_cap_data`).
fn give_right(program: &Path) {
    let words: [u32; 5] = [0x0200_0001, 1 << 12, 0, 0, 0];
    let value: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    rustix::fs::setxattr(program, "security.capability", &value, rustix::fs::XattrFlags::empty()).unwrap();
}

#[tokio::test]
async fn who_is_not_root_gets_an_adapter_from_the_one_program_that_has_the_right() {
    let Some(network) = Namespace::enter("who_is_not_root_gets_an_adapter") else { return };
    let before = network.shape();
    let world = world(&["lines"]).await;
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(world.home().parent().unwrap(), open.clone()).unwrap();
    let bin = tempfile::tempdir().unwrap();
    std::fs::set_permissions(bin.path(), open).unwrap();
    for program in [env!("CARGO_BIN_EXE_postern"), env!("CARGO_BIN_EXE_postern-adapter")] {
        let name = Path::new(program).file_name().unwrap();
        std::fs::copy(program, bin.path().join(name)).unwrap();
    }
    give_right(&bin.path().join("postern-adapter"));
    chown(world.home(), Some(65_534), None).unwrap();
    for entry in std::fs::read_dir(world.home()).unwrap() {
        chown(entry.unwrap().path(), Some(65_534), None).unwrap();
    }
    let mut command = Command::new(bin.path().join("postern"));
    command.args(["vpn", "press-7", "--json"]).env("POSTERN_HOME", world.home()).kill_on_drop(true);
    command.uid(65_534).gid(65_534).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let Some(said) = out.next_line().await.unwrap() else { panic!("{:?}", child.wait_with_output().await) };
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["interface"], "postern0");
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
    assert!(status.contains("\nUid:\t65534\t65534\t65534\t65534\n"), "{status}");
    assert!(status.contains("\nCapEff:\t0000000000000000\n"), "{status}");
    echo(&mut connect("192.168.0.10:102").await.unwrap(), b"without any right").await;
    kill_process(Pid::from_child_id(child.id()), Signal::INT).unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    until("restored", || network.shape() == before).await;
}
