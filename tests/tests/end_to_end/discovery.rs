//! What is behind a device: `postern discover` against a real agent with real machines, and nmap over `postern vpn`.
//!
//! Each test has a [`Site`]: the machines stand in a network of their own, and the device is their neighbour.

use std::net::SocketAddr;

use postern_tests::world::site::{MACHINE_ADDRESS, NETWORK, Site};
use postern_tests::world::{Call, DEVICE, Ending, Fleet, Mishap, Person, Running, World};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::peers::vpn::{has_packages, plant_script};
use super::peers::{missing, programs};
use super::stage::{LAB, Outcome};
use super::vpn::{site, up};

/// A site, with the right to make one.
fn enter(test: &str) -> Result<Option<Site>, Mishap> {
    let site = Site::enter()?;
    if site.is_none() {
        missing(test, "the right to make network namespaces (root)");
    }
    Ok(site)
}

fn fleet(destinations: &[&str]) -> Fleet {
    Fleet::new().vpn("cell", destinations).allow("anna", &["cell"])
}

/// What somebody is told.
async fn discover(person: &Person, more: &[&str]) -> Result<Value, Mishap> {
    let args = [&["discover", DEVICE, "cell", "--json"], more].concat();
    person.call(args).finish().await?.expect_code(0)?.json()
}

/// The hardware address on the machine's side.
async fn mac(site: &Site) -> Result<String, Mishap> {
    let read = site.machine("cat").arg("/sys/class/net/lan/address").finish().await?;
    Ok(read.expect_code(0)?.out.trim().to_owned())
}

/// Sends something there and waits for the machine's answer, whatever it is.
async fn trouble(address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let _refused = TcpStream::connect(address).await;
}

/// Runs a command of iproute2 to its end.
async fn ip(call: Call, args: &str) -> Result<String, Mishap> {
    Ok(call.args(args.split(' ')).finish().await?.expect_code(0)?.out)
}

/// The rows of flows once the VPN is closed: far end, what became of them, and how many.
async fn flows(world: &World) -> Result<Vec<(String, String, u64)>, Mishap> {
    let closed = |rows: &[Value]| rows.iter().any(|row| row["event"] == "closed");
    let rows = world.device.audit_until("the end of the VPN", closed).await?;
    let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let of_flows = rows.iter().filter(|row| row["event"] == "flows");
    Ok(of_flows.map(|row| (word(row, "flow"), word(row, "reason"), row["count"].as_u64().unwrap())).collect())
}

/// Each kind has a row where there is room for it, and one row for the rest of each fate.
fn expect_a_handful(rows: &[(String, String, u64)], named: usize) {
    let (of_places, of_rest): (Vec<_>, Vec<_>) = rows.iter().partition(|(to, ..)| !to.is_empty());
    assert!(of_places.len() <= named, "{rows:#?}");
    let mut fates: Vec<&str> = of_rest.iter().map(|(_, fate, _)| fate.as_str()).collect();
    let count = fates.len();
    fates.sort_unstable();
    fates.dedup();
    assert!(fates.len() <= 5 && count == fates.len(), "one row for each fate: {rows:#?}");
}

#[tokio::test]
async fn neighbours_appear_after_traffic_with_their_hardware_addresses_and_others_are_not_shown() -> Outcome {
    let name = "neighbours_appear_after_traffic_with_their_hardware_addresses_and_others_are_not_shown";
    let Some([_ip]) = programs(name, ["ip"]) else { return Ok(()) };
    let Some(site) = enter(name)? else { return Ok(()) };
    ip(site.machine("ip"), "addr add 192.168.77.11/24 dev lan").await?;
    ip(site.machine("ip"), "addr add fd00:77::10/64 dev lan nodad").await?;
    ip(Call::new("ip"), "addr add fd00:77::1/64 dev lan nodad").await?;
    let destinations = [&format!("\"tcp {MACHINE_ADDRESS} 102\""), "\"udp fd00:77::/64 161\""];
    let world = World::beside(LAB, &fleet(&destinations), &format!("{NETWORK} fd00:77::/64")).await?;
    let anna = world.person("anna").await?;
    let nobody = anna.call(["discover", DEVICE]).finish().await?.expect_code(0)?;
    assert_eq!(nobody.out, "");
    assert!(nobody.err.contains("`--scan` asks each granted host"), "{nobody:?}");
    for address in [&format!("{MACHINE_ADDRESS}:1"), "192.168.77.11:1", "[fd00:77::10]:1"] {
        trouble(address).await;
    }
    let known = ip(Call::new("ip"), "neigh show dev lan").await?;
    assert!(known.contains("192.168.77.11 "), "the kernel knows all of them: {known}");
    let (found, mac) = (discover(&anna, &[]).await?, mac(&site).await?);
    let machines = found["machines"].as_array().unwrap();
    let seen: Vec<[&Value; 2]> = machines.iter().map(|one| [&one["address"], &one["mac"]]).collect();
    let mac = json!(mac);
    assert_eq!(seen, [[&json!(MACHINE_ADDRESS), &mac], [&json!("fd00:77::10"), &mac]]);
    assert!(machines.iter().all(|one| one["open"] == json!([]) && one["echo"].is_null()), "{found}");
    // At a terminal there is a table, and how far a scan is while it lasts.
    let table =
        anna.call(["discover", DEVICE, "--scan"]).at_terminal("{}").finish().await?.expect_code(0)?.out;
    for words in ["ADDRESS", "OPEN PORTS", "of 1 asked, 2 machines", "over UDP"] {
        assert!(table.contains(words), "{words}: {table:?}");
    }
    // Whoever may go nowhere sees nobody, and the kernel knows them still.
    world.apply(&fleet(&["\"tcp 192.168.77.12 102\""])).await?;
    assert_eq!(discover(&anna, &[]).await?["machines"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_scan_of_a_network_finds_its_controllers_leaves_them_working_and_is_a_handful_of_rows() -> Outcome {
    let name = "a_scan_of_a_network_finds_its_controllers_leaves_them_working_and_is_a_handful_of_rows";
    let Some([python, _ip]) = programs(name, ["python3", "ip"]) else { return Ok(()) };
    if !has_packages(name, &python, "pymodbus, asyncua, snap7").await? {
        return Ok(());
    }
    let Some(site) = enter(name)? else { return Ok(()) };
    let script = plant_script();
    let mut machines: Vec<Running> = Vec::new();
    for (kind, port) in [("modbus", "502"), ("modbus", "1502"), ("opcua", "4840"), ("s7", "102")] {
        let call = site.machine(&python).args(["-u", &script, kind, MACHINE_ADDRESS, port]);
        let machine = call.start("machine")?;
        machine.line("that it is ready", |line| line.text.contains("ready")).await?;
        machines.push(machine);
    }
    let destinations = [&format!("\"tcp {NETWORK} 102,502,4840\""), &format!("\"icmp {NETWORK}\"")];
    let destinations = destinations.map(String::as_str);
    let world = World::beside(LAB, &fleet(&destinations), NETWORK).await?;
    let anna = world.person("anna").await?;
    let found = discover(&anna, &["--scan"]).await?;
    let port = |port: u16, name: &str| json!({"port": port, "name": name});
    let machine = json!({
        "address": MACHINE_ADDRESS, "mac": mac(&site).await?, "state": "reachable", "echo": true,
        "open": [port(102, "S7"), port(502, "Modbus TCP"), port(4840, "OPC UA")],
    });
    assert_eq!(found["machines"], json!([machine]), "neither 1502 nor the device itself: {found}");
    assert_eq!(found["unasked"], json!([]), "{found}");
    // Each address once, the machine's four questions, and few more until the kernel knows who is absent.
    let probes = found["probes"].as_u64().unwrap();
    assert!((253 + 3..=1016).contains(&probes), "{found}");
    let ask = async |kind: &str, port: &str| -> Result<String, Mishap> {
        let call = Call::new(&python).args([script.as_str(), kind, MACHINE_ADDRESS, port]);
        Ok(call.finish().await?.expect_code(0)?.out)
    };
    let written = "connected True\nread [4, 5, 6]\nwritten yes\nread [99]\n";
    assert_eq!(ask("ask-modbus", "502").await?, written);
    assert_eq!(ask("ask-opcua", "4840").await?, "read 7\nread 8\n");
    assert_eq!(ask("ask-s7", "102").await?, "read 01020304\n");
    let rows = flows(&world).await?;
    assert_eq!(rows[0], (String::new(), "probed".to_owned(), 0), "announced before the first probe");
    assert_eq!(rows.iter().map(|(.., count)| count).sum::<u64>(), probes, "{rows:#?}");
    expect_a_handful(&rows[1..], 8);
    Ok(())
}

#[tokio::test]
async fn nmap_over_the_adapter_sees_what_is_granted_and_the_machine_hears_of_nothing_else() -> Outcome {
    let name = "nmap_over_the_adapter_sees_what_is_granted_and_the_machine_hears_of_nothing_else";
    let Some([nmap]) = programs(name, ["nmap"]) else { return Ok(()) };
    let Some((_site, machine)) = site(name).await? else { return Ok(()) };
    let world = World::beside(LAB, &fleet(&[&format!("\"tcp {NETWORK} 102,104\"")]), NETWORK).await?;
    let (_running, here) = up(&world).await?;
    let scan =
        Call::new(&nmap).args(["-sT", "-Pn", "-n", "-r", "-p", "102-104", "-oG", "-", &here.to_string()]);
    let said = scan.finish().await?.expect_code(0)?.out;
    let state = |port: u16, state: &str| said.contains(&format!("{port}/{state}/tcp"));
    assert!(state(102, "open"), "granted, and somebody listens: {said}");
    assert!(state(104, "closed"), "granted, and nobody listens: {said}");
    assert!(state(103, "filtered"), "not granted, and somebody listens: {said}");
    let accepted = |port: u16| machine.log().matches(&format!("accepted {port}")).count();
    // The machine's own word on each connection, the last one from beside it.
    drop(TcpStream::connect((MACHINE_ADDRESS, 103)).await?);
    machine.line("the connection from beside it", |line| line.text == "accepted 103").await?;
    assert_eq!((accepted(102) > 0, accepted(103)), (true, 1), "{}", machine.log());
    Ok(())
}

#[tokio::test]
async fn a_network_scan_with_nmap_over_the_adapter_is_a_handful_of_rows() -> Outcome {
    let name = "a_network_scan_with_nmap_over_the_adapter_is_a_handful_of_rows";
    let Some([nmap]) = programs(name, ["nmap"]) else { return Ok(()) };
    let Some((_site, _machine)) = site(name).await? else { return Ok(()) };
    let world = World::beside(LAB, &fleet(&[&format!("\"tcp {NETWORK} 102\"")]), NETWORK).await?;
    let (mut running, here) = up(&world).await?;
    // Below the pace at which flows may begin, patient with who answers, and not one by one with those who do not.
    let pace =
        "--max-rate 150 --min-parallelism 128 --max-retries 1 --min-rtt-timeout 2s --max-rtt-timeout 2s";
    let scan = Call::new(&nmap).args(["-sT", "-Pn", "-n", "-p", "102,103", "-oG", "-"]).args(pace.split(' '));
    let scan = scan.arg(format!("{here}/24"));
    let said = scan.finish().await?.expect_code(0)?.out;
    assert_eq!(said.matches("102/open/tcp").count(), 1, "{said}");
    assert_eq!(said.matches("103/open/tcp").count(), 0, "{said}");
    running.signal(Signal::INT);
    assert_eq!(running.ended().await?, Ending::Code(0), "{}", running.log());
    let rows = flows(&world).await?;
    let denied: u64 = rows.iter().filter(|row| row.1 == "port_denied").map(|row| row.2).sum();
    assert!(denied >= 200, "most of what was not granted came to the device: {rows:#?}");
    // The one place that opened has two rows for that and one for the end; eight others have one of their own.
    expect_a_handful(&rows, 3 + 8);
    Ok(())
}
