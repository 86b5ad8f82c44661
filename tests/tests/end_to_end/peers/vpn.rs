//! A machine network as engineers' own programs see it through a VPN: curl, iperf3, and clients of Modbus, OPC UA and S7.
//!
//! Each test has a [`Site`]: the machine stands in a network of its own and has no gateway, so it can answer nobody but the device.

use std::net::SocketAddr;
use std::path::Path;

use postern_tests::world::site::{MACHINE_ADDRESS, NETWORK, Site};
use postern_tests::world::{Call, DEVICE, Ending, Fleet, Mishap, Person, Running, Stream, World};

use super::super::stage::{LAB, Outcome};
use super::{missing, programs};

/// Programs, machines and an engineer who may use the VPN `plant`.
struct Plant {
    world: World,
    anna: Person,
    site: Site,
}

impl Plant {
    /// Starts the world at a site; none where that takes more rights than this has.
    async fn start(test: &str, site: Option<Site>, destinations: &[&str]) -> Result<Option<Self>, Mishap> {
        let Some(site) = site else {
            missing(test, "the right to make network namespaces (root)");
            return Ok(None);
        };
        let world = World::beside(LAB, &fleet(destinations), NETWORK).await?;
        let anna = world.person("anna").await?;
        Ok(Some(Self { world, anna, site }))
    }

    /// Starts a machine that says when it is ready.
    async fn machine(&self, call: Call, ready: &str) -> Result<Running, Mishap> {
        let machine = call.start("machine")?;
        machine.line("that it is ready", |line| line.text.contains(ready)).await?;
        Ok(machine)
    }

    /// A command that listens at one local address for each place that it leads to.
    async fn listening(&self, args: &[&str], places: usize) -> Result<(Running, Vec<SocketAddr>), Mishap> {
        let running =
            self.anna.call([&[args[0], DEVICE], &args[1..], &["--json"]].concat()).start("near end")?;
        let said = running.line("where it listens", |line| line.stream == Stream::Out).await?.text;
        let named = said.split('"').filter_map(|word| word.parse::<SocketAddr>().ok());
        let addresses: Vec<SocketAddr> = named.filter(|named| named.ip().is_loopback()).collect();
        if addresses.len() < places {
            return Err(Mishap::unexpected("local addresses", said, places));
        }
        Ok((running, addresses))
    }
}

fn fleet(destinations: &[&str]) -> Fleet {
    Fleet::new().vpn("plant", destinations).allow("anna", &["plant"])
}

pub(crate) fn plant_script() -> String {
    format!("{}/tests/end_to_end/peers/plant.py", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) async fn has_packages(test: &str, python: &Path, packages: &str) -> Result<bool, Mishap> {
    let found = Call::new(python).args(["-c", &format!("import {packages}")]).finish().await?;
    let has = found.expect_code(0).is_ok();
    if !has {
        missing(test, &format!("the Python packages `{packages}`"));
    }
    Ok(has)
}

#[tokio::test]
async fn programs_of_controllers_work_through_a_forward_and_write_where_they_may() -> Outcome {
    let name = "programs_of_controllers_work_through_a_forward_and_write_where_they_may";
    let Some([python, _ip]) = programs(name, ["python3", "ip"]) else { return Ok(()) };
    if !has_packages(name, &python, "pymodbus, asyncua, snap7").await? {
        return Ok(());
    }
    let site = Site::enter()?;
    let ports = ["502", "1502", "4840", "102"];
    let to = |port: &str| format!("tcp {MACHINE_ADDRESS} {port}");
    let mut destinations: Vec<String> = ports[1..].iter().map(|port| format!("\"{}\"", to(port))).collect();
    destinations.push(format!("{{ flow = \"{}\", modbus = \"read-only\" }}", to("502")));
    let destinations: Vec<&str> = destinations.iter().map(String::as_str).collect();
    let Some(plant) = Plant::start(name, site, &destinations).await? else { return Ok(()) };
    let script = plant_script();
    let mut machines = Vec::new();
    for (kind, port) in [("modbus", "502"), ("modbus", "1502"), ("opcua", "4840"), ("s7", "102")] {
        let call = plant.site.machine(&python).args(["-u", &script, kind, MACHINE_ADDRESS, port]);
        machines.push(plant.machine(call, "ready").await?);
    }
    let places = ports.map(|port| format!("{MACHINE_ADDRESS}:{port}"));
    let args: Vec<&str> = std::iter::once("forward").chain(places.iter().map(String::as_str)).collect();
    let (_forward, near) = plant.listening(&args, ports.len()).await?;
    let ask = async |kind: &str, to: SocketAddr| -> Result<String, Mishap> {
        let port = to.port().to_string();
        let call = Call::new(&python).args([script.as_str(), kind, "127.0.0.1", &port]);
        Ok(call.finish().await?.expect_code(0)?.out)
    };
    // Exception 1 is `illegal function`: the gate has answered, and the register holds what it held.
    let read_only = "connected True\nread [4, 5, 6]\nwritten 1\nread [4]\n";
    assert_eq!(ask("ask-modbus", near[0]).await?, read_only);
    assert_eq!(ask("ask-modbus", near[1]).await?, "connected True\nread [4, 5, 6]\nwritten yes\nread [99]\n");
    assert_eq!(ask("ask-opcua", near[2]).await?, "read 7\nread 8\n");
    assert_eq!(ask("ask-s7", near[3]).await?, "read 01020304\n");
    Ok(())
}

#[tokio::test]
async fn curl_reaches_through_both_proxies_what_is_granted_and_nothing_else() -> Outcome {
    let name = "curl_reaches_through_both_proxies_what_is_granted_and_nothing_else";
    let Some([curl, python, _ip]) = programs(name, ["curl", "python3", "ip"]) else { return Ok(()) };
    let site = Site::enter()?;
    let destinations = [&format!("\"tcp {NETWORK} 80\""), &format!("\"udp {MACHINE_ADDRESS} 9000\"")];
    let destinations = destinations.map(String::as_str);
    let Some(plant) = Plant::start(name, site, &destinations).await? else { return Ok(()) };
    let room = tempfile::tempdir()?;
    std::fs::write(room.path().join("index.html"), "a page of the machine\n")?;
    let mut machines = Vec::new();
    for port in ["80", "81"] {
        let call = plant.site.machine(&python).dir(room.path());
        let call = call.args(["-u", "-m", "http.server", "--bind", MACHINE_ADDRESS, port]);
        machines.push(plant.machine(call, "Serving").await?);
    }
    let udp = plant.site.machine(&python).args(["-u", &plant_script(), "udp", MACHINE_ADDRESS, "9000"]);
    machines.push(plant.machine(udp, "ready").await?);
    let (_proxy, near) = plant.listening(&["proxy"], 1).await?;
    let fetch = async |way: &str, port: u16| {
        let (proxy, url) = (format!("{way}://{}", near[0]), format!("http://{MACHINE_ADDRESS}:{port}/"));
        Call::new(&curl).args(["-s", "--proxytunnel", "-x", &proxy, "-m", "20", &url]).finish().await
    };
    for way in ["socks5h", "http"] {
        assert_eq!(fetch(way, 80).await?.expect_code(0)?.out, "a page of the machine\n", "{way}");
        // The twin: the machine listens there, and the policy does not lead there.
        let refused = fetch(way, 81).await?;
        assert!(refused.out.is_empty() && refused.ending != Ending::Code(0), "{way}: {refused:?}");
    }
    let args = [&plant_script(), "ask-udp", &near[0].to_string(), MACHINE_ADDRESS, "9000"];
    let asked = Call::new(&python).args(args).finish().await?.expect_code(0)?;
    assert_eq!(asked.out, "back 10 True\nback 4000 True\n");
    Ok(())
}

#[tokio::test]
async fn iperf3_moves_bytes_both_ways_and_ends_with_its_right() -> Outcome {
    let name = "iperf3_moves_bytes_both_ways_and_ends_with_its_right";
    let Some([iperf3, _ip]) = programs(name, ["iperf3", "ip"]) else { return Ok(()) };
    let site = Site::enter()?;
    let destination = format!("\"tcp {MACHINE_ADDRESS} 5201\"");
    let Some(plant) = Plant::start(name, site, &[&destination]).await? else { return Ok(()) };
    let server = plant.site.machine(&iperf3).args(["-s", "-B", MACHINE_ADDRESS, "--forceflush"]);
    let machine = plant.machine(server, "Server listening").await?;
    let (_forward, near) = plant.listening(&["forward", &format!("{MACHINE_ADDRESS}:5201")], 1).await?;
    let port = near[0].port().to_string();
    let client = |more: &[&str]| {
        Call::new(&iperf3).args([["-c", "127.0.0.1", "-p", &port, "--forceflush"].as_slice(), more].concat())
    };
    for direction in [[].as_slice(), &["-R"]] {
        let args = [["-n", "20M", "-J"].as_slice(), direction].concat();
        let seen = machine.line_count();
        let report = client(&args).finish().await?.expect_code(0)?.json()?;
        // It serves one after the other, and refuses who comes too soon.
        machine
            .line_after(seen, "that it is ready again", |line| line.text.contains("Server listening"))
            .await?;
        let received = report["end"]["sum_received"]["bytes"].as_u64();
        assert!(received.is_some_and(|bytes| bytes >= 10_000_000), "{direction:?}: {received:?}");
    }
    let mut endless = client(&["-t", "60"]).start("iperf3")?;
    endless.line("the first second", |line| line.text.contains("sec")).await?;
    plant.world.apply(&fleet(&[&destination]).without_grants_of("anna")).await?;
    assert_ne!(endless.ended().await?, Ending::Code(0), "{}", endless.log());
    Ok(())
}
