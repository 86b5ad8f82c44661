//! `postern vpn --packets` against a real agent and a real kernel: the machine is in a network of its own behind the device, has no gateway, and
//! programs of the engineer's computer speak to it end to end.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use postern_tests::world::site::{MACHINE_ADDRESS, NETWORK, Site};
use postern_tests::world::{Call, DEVICE, Ending, Line, Mishap, Person, Running, World};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;

use super::peers::programs;
use super::stage::{LAB, Outcome};
use super::vpn::{connect, fleet, shape, site, up_with};

/// A device that is prepared for packets, and an engineer.
struct Bench {
    world: World,
    anna: Person,
    _machine: Running,
    site: Site,
}

impl Bench {
    async fn start(test: &str, destinations: &[&str]) -> Result<Option<Self>, Mishap> {
        if programs(test, ["nft", "ping"]).is_none() {
            return Ok(None);
        }
        let Some((site, machine)) = site(test).await? else { return Ok(None) };
        let mut world = World::beside(LAB, &fleet(destinations), NETWORK).await?;
        world.device.stop().await?;
        world.device.configure("[packet_vpn]\ntun = \"tun-p\"\ninterface = \"lan\"\n")?;
        world.device.run().await?;
        let anna = world.person("anna").await?;
        let bench = Self { world, anna, _machine: machine, site };
        bench.prepare("up").await?;
        Ok(Some(bench))
    }

    async fn prepare(&self, what: &str) -> Result<(), Mishap> {
        let state = self.world.dir().join("packets");
        let args = ["packet-vpn", what, "--state", state.to_str().unwrap()];
        self.world.device.call(args).finish().await?.expect_code(0).map(drop)
    }

    /// A VPN that is up, and the machine's address on this computer.
    async fn up(&self) -> Result<(Running, Ipv4Addr), Mishap> {
        up_with(self.anna.call(["vpn", DEVICE, "--packets", "--json"])).await
    }

    /// What the running VPN says of its packets.
    async fn packets(&self) -> Result<Value, Mishap> {
        let said = self.anna.call(["vpn", "--status", "--json"]).finish().await?.expect_code(0)?.json()?;
        Ok(said["vpns"][0]["packets"].clone())
    }

    /// How many IP packets have come to the machine, as its kernel counts them.
    async fn arrived(&self) -> Result<u64, Mishap> {
        let counters = self.site.machine("cat").args(["/proc/net/snmp"]).finish().await?.expect_code(0)?.out;
        let mut lines = counters.lines().filter_map(|line| line.strip_prefix("Ip: "));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let place = names.split(' ').position(|name| name == "InReceives").unwrap();
        Ok(values.split(' ').nth(place).unwrap().parse().unwrap())
    }
}

/// A datagram there and back; how long it took.
async fn ask(socket: &UdpSocket, data: &[u8]) -> Option<Duration> {
    let (began, mut buffer) = (Instant::now(), vec![0; 2000]);
    let asking = async {
        loop {
            socket.send(data).await.ok()?;
            // The first ones may find no way yet, which opens a moment after the adapter.
            let wait = tokio::time::timeout(Duration::from_millis(300), socket.recv(&mut buffer)).await;
            if let Ok(Ok(length)) = wait {
                assert!(buffer[..length] == *data, "{length} bytes");
                return Some(began.elapsed());
            }
        }
    };
    tokio::time::timeout(GENEROUS, asking).await.ok().flatten()
}

async fn udp(machine: Ipv4Addr) -> Result<UdpSocket, Mishap> {
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    socket.connect((machine, 161)).await?;
    Ok(socket)
}

async fn ping(to: Ipv4Addr) -> Result<bool, Mishap> {
    let done = Call::new("ping").args(["-n", "-c", "1", "-W", "2", &to.to_string()]).finish().await?;
    Ok(done.ending == Ending::Code(0))
}

fn destinations() -> [String; 3] {
    ["tcp", "udp", "icmp"].map(|protocol| match protocol {
        "tcp" => format!("\"tcp {NETWORK} 102,5201\""),
        "udp" => format!("\"udp {MACHINE_ADDRESS} 161,5201\""),
        _ => format!("\"icmp {MACHINE_ADDRESS}\""),
    })
}

#[tokio::test]
async fn programs_speak_to_a_machine_without_a_gateway_end_to_end_and_to_nothing_else() -> Outcome {
    let name = "programs_speak_to_a_machine_without_a_gateway_end_to_end_and_to_nothing_else";
    let all = destinations();
    let Some(bench) = Bench::start(name, &all.each_ref().map(String::as_str)).await? else { return Ok(()) };
    let (_running, machine) = bench.up().await?;
    let socket = udp(machine).await?;
    assert!(ask(&socket, b"short").await.is_some() && ask(&socket, &[7; 1252]).await.is_some());
    assert!(ping(machine).await?);
    let mut tcp = connect(machine, 102).await.unwrap();
    let sent: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let (mut reader, mut writer) = tcp.split();
    let mut seen = vec![0; sent.len()];
    let (written, read) = tokio::join!(writer.write_all(&sent), reader.read_exact(&mut seen));
    assert!(written.is_ok() && read.is_ok() && seen == sent);
    // The twins: the machine listens at 103, and another address is the same machine network.
    let arrived = bench.arrived().await?;
    assert_eq!(connect(machine, 103).await.err(), Some(ErrorKind::ConnectionRefused));
    let neighbour = Ipv4Addr::from_bits(machine.to_bits() ^ 1);
    assert!(!ping(neighbour).await?);
    assert_eq!(bench.arrived().await?, arrived, "nothing of it reached the machine");
    let packets = bench.packets().await?;
    assert!(packets["sent"].as_u64() > Some(500) && packets["received_bytes"].as_u64() > Some(2_000_000));
    let rows = bench.world.device.audit().await?;
    let text: Vec<String> = rows.iter().map(ToString::to_string).collect();
    assert!(text.iter().any(|row| row.contains(&format!("tcp {MACHINE_ADDRESS}:102"))), "{text:?}");
    assert!(!text.iter().any(|row| row.contains(&machine.to_string())), "and no alias");
    Ok(())
}

#[tokio::test]
async fn iperf3_moves_packets_both_ways_and_a_path_too_narrow_for_them_still_does() -> Outcome {
    let name = "iperf3_moves_packets_both_ways_and_a_path_too_narrow_for_them_still_does";
    let Some([iperf3]) = programs(name, ["iperf3"]) else { return Ok(()) };
    let all = destinations();
    let Some(bench) = Bench::start(name, &all.each_ref().map(String::as_str)).await? else { return Ok(()) };
    // The way between client and agent: a QUIC packet of 1200 bytes fits, and one around 1280 does not.
    let narrow = Command::new("ip").args(["link", "set", "lo", "mtu", "1240"]).status()?;
    assert!(narrow.success());
    let server =
        bench.site.machine(&iperf3).args(["-s", "-B", MACHINE_ADDRESS, "--forceflush"]).start("iperf3")?;
    server.line("that it listens", |line| line.text.contains("Server listening")).await?;
    let (_running, machine) = bench.up().await?;
    assert!(ask(&udp(machine).await?, &[7; 1252]).await.is_some(), "1280 bytes with their header");
    for more in [&["-n", "2M"][..], &["-n", "2M", "-R"], &["-u", "-b", "5M", "-t", "1", "-l", "1200"]] {
        let to = machine.to_string();
        let args = [&["-c", &to, "-J"][..], more].concat();
        let seen = server.line_count();
        let report = Call::new(&iperf3).args(args).finish().await?.expect_code(0)?.json()?;
        // It serves one after the other, and refuses who comes too soon.
        let ready = |line: &Line| line.text.contains("Server listening");
        server.line_after(seen, "that it is ready again", ready).await?;
        let end = &report["end"];
        let (received, sent) = (&end["sum_received"]["bytes"], &end["sum"]["bytes"]);
        let bytes = received.as_u64().or(sent.as_u64());
        assert!(bytes > Some(400_000), "{more:?}: {end}");
    }
    Ok(())
}

#[tokio::test]
async fn a_withdrawn_right_stops_packets_within_a_second_and_nothing_is_left() -> Outcome {
    let name = "a_withdrawn_right_stops_packets_within_a_second_and_nothing_is_left";
    let all = destinations();
    let all = all.each_ref().map(String::as_str);
    let before = shape();
    let Some(bench) = Bench::start(name, &all).await? else { return Ok(()) };
    let prepared = engineers_shape();
    let (mut running, machine) = bench.up().await?;
    let socket = udp(machine).await?;
    assert!(ask(&socket, b"x").await.is_some());
    bench.world.apply(&fleet(&all).without_grants_of("anna")).await?;
    let withdrawn = Instant::now();
    assert_eq!(running.ended().await?, Ending::Code(4), "{}", running.log());
    assert!(withdrawn.elapsed() < Duration::from_secs(1), "{:?}", withdrawn.elapsed());
    let arrived = bench.arrived().await?;
    let _no_way = socket.send(b"x").await;
    until(|| engineers_shape() == prepared).await;
    assert_eq!(bench.arrived().await?, arrived);
    bench.prepare("down").await?;
    drop(bench);
    // Back in the network of before.
    assert_eq!(shape(), before);
    Ok(())
}

#[tokio::test]
async fn kill_9_of_the_agent_or_the_client_leaves_nothing_and_packets_go_on_with_the_next() -> Outcome {
    let name = "kill_9_of_the_agent_or_the_client_leaves_nothing_and_packets_go_on_with_the_next";
    let all = destinations();
    let Some(mut bench) = Bench::start(name, &all.each_ref().map(String::as_str)).await? else {
        return Ok(());
    };
    let prepared = engineers_shape();
    let (mut running, machine) = bench.up().await?;
    assert!(ask(&udp(machine).await?, b"x").await.is_some());
    bench.world.device.kill().await?;
    running.kill().await?;
    until(|| engineers_shape() == prepared).await;
    // What was prepared stands, and the next agent opens it; so it does after somebody has prepared it anew.
    for again in [false, true] {
        if again {
            bench.world.device.kill().await?;
            bench.prepare("up").await?;
        }
        bench.world.device.run().await?;
        let (mut running, machine) = bench.up().await?;
        assert!(ask(&udp(machine).await?, b"again").await.is_some(), "{}", running.log());
        running.kill().await?;
        until(|| engineers_shape() == prepared).await;
    }
    bench.prepare("down").await?;
    Ok(())
}

#[tokio::test]
async fn a_device_that_is_not_prepared_says_what_to_do() -> Outcome {
    let name = "a_device_that_is_not_prepared_says_what_to_do";
    let Some((_site, _machine)) = site(name).await? else { return Ok(()) };
    let all = destinations();
    let world = World::beside(LAB, &fleet(&all.each_ref().map(String::as_str)), NETWORK).await?;
    let anna = world.person("anna").await?;
    let mut running = anna.call(["vpn", DEVICE, "--packets"]).start("postern")?;
    let said = running.line("why not", |line| line.text.contains("this device carries no packets")).await?;
    assert!(said.text.contains("without `--packets`"), "{}", said.text);
    assert_ne!(running.ended().await?, Ending::Code(0));
    Ok(())
}

/// Interfaces and routes, but for the device's own interface: it is up while the agent has it open.
fn engineers_shape() -> String {
    shape().lines().filter(|line| !line.contains("tun-p")).collect::<Vec<_>>().join("\n")
}

/// Waits for what the kernel does a moment after a program has ended.
async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(GENEROUS, waiting).await.unwrap();
}

const GENEROUS: Duration = Duration::from_secs(30);
