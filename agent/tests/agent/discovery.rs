//! Discoveries that are permitted, and their twins that are not. Neighbours are those of the tests in network namespaces.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use postern_protocol::id::TunnelId;
use postern_protocol::policy::{
    Carries, Destination, ModbusRules, Network, Ports, Profile, Reach, Reason, VpnRules,
};
use postern_protocol::wire::discovery::{DiscoveryNews, Presence, Sighting, Totals, Unasked, Why};
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_protocol::wire::tunnel::Answer;
use postern_transport::framed::FrameFault;
use postern_transport::quic::StreamFault;
use tokio::net::TcpStream;
use tokio::sync::mpsc::error::TryRecvError;

use crate::client::{Client, Tunnel, found};
use crate::machine::Machine;
use crate::world::{GENEROUS, World};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn tcp(ip: [u8; 4], first: u16, last: u16) -> Destination {
    let carries = Carries::Tcp { ports: Ports { first, last }, profile: None };
    Destination { net: Network::only(ip.into()), carries }
}

fn only(machine: SocketAddr) -> Destination {
    tcp([127, 0, 0, 1], machine.port(), machine.port())
}

/// So many that a scan of them does not end by itself in the time of a test.
fn many() -> Destination {
    tcp([127, 0, 0, 1], 20_000, 21_999)
}

/// Has the service `live` carry flows to these destinations.
async fn lead(world: &mut World, version: u64, mut destinations: Vec<Destination>) {
    destinations.sort();
    world.policy.snapshot.services[1].reach = Reach::Flows(VpnRules { destinations });
    world.publish(version).await;
}

/// Everything that is told of a discovery which must be permitted: the last word on each machine, and the totals.
async fn told(mut discovery: Tunnel) -> (Vec<Sighting>, Totals) {
    assert_eq!(discovery.answer, Answer::Discovery);
    let mut seen: Vec<Sighting> = Vec::new();
    loop {
        match found(&mut discovery.recv).await.unwrap() {
            DiscoveryNews::Seen(sighting) => {
                seen.retain(|known| known.ip != sighting.ip);
                seen.push(sighting);
            }
            DiscoveryNews::Progress { .. } => {}
            DiscoveryNews::End(totals) => {
                assert_eq!(discovery.drain().await, Ok(0), "nothing follows the end");
                return (seen, totals);
            }
        }
    }
}

/// Reads a discovery until it is reset.
async fn cut(discovery: &mut Tunnel) -> FrameFault {
    loop {
        if let Err(fault) = found(&mut discovery.recv).await {
            return fault;
        }
    }
}

/// The rows of flows: what became of them, and how many.
async fn rows(world: &World) -> Vec<(String, u64)> {
    world.agent.trail_with("closed", 1).await;
    let rows = world.agent.json(&["audit", "list", "--limit", "1000"]).await;
    let flows = rows.as_array().unwrap().iter().filter(|row| row["event"] == "flows");
    flows.map(|row| (row["reason"].as_str().unwrap().to_owned(), row["count"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn a_scan_finds_what_is_granted_asks_nobody_else_and_says_nothing_to_the_machine() {
    let mut world = World::start().await;
    let (plc, mut heard) = Machine::listener().await;
    let (secret, mut never) = Machine::listener().await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let talker = Machine::torrent().await;
    let router = tcp([127, 0, 0, 2], plc.addr().port(), plc.addr().port());
    lead(&mut world, 3, vec![only(plc.addr()), only(dead), only(talker.addr()), router]).await;
    let client = world.client().await;
    let mut vpn = client.vpn("live", false).await;
    let (seen, totals) = told(client.discover(vpn.id, true).await).await;
    let mut open = vec![plc.addr().port(), talker.addr().port()];
    open.sort_unstable();
    // Nobody is at 127.0.0.2 as far as this device is concerned.
    let (mac, presence) = (None, Presence::Reachable);
    assert_eq!(seen, [Sighting { ip: LOCAL, mac, presence, open, echo: None }]);
    assert_eq!(totals, Totals { machines: 1, probes: 4, unasked: Vec::new() });
    assert_eq!(heard.recv().await, Some(true), "the machine sees a FIN and no byte before it");
    vpn.tunnel.send.finish().unwrap();
    assert_eq!(vpn.tunnel.drain().await, Ok(0));
    let mut rows = rows(&world).await;
    rows.sort();
    let row = |reason: &str, count| (reason.to_owned(), count);
    let probed = [row("probed", 0), row("probed", 1), row("probed", 1)];
    assert_eq!(rows[..2], [row("forbidden_target", 1), probed[0].clone()]);
    assert_eq!(rows[2..], [probed[1].clone(), probed[2].clone(), row("refused", 1)]);
    assert_eq!(never.try_recv(), Err(TryRecvError::Empty));
    // It would have heard.
    drop(TcpStream::connect(secret.addr()).await.unwrap());
    assert_eq!(never.recv().await, Some(true));
}

#[tokio::test]
async fn without_a_scan_nobody_is_asked() {
    let mut world = World::start().await;
    let (plc, mut heard) = Machine::listener().await;
    lead(&mut world, 3, vec![only(plc.addr())]).await;
    let client = world.client().await;
    let vpn = client.vpn("live", false).await;
    let (seen, totals) = told(client.discover(vpn.id, false).await).await;
    assert_eq!((seen, totals), (vec![], Totals { machines: 0, probes: 0, unasked: Vec::new() }));
    assert_eq!(heard.try_recv(), Err(TryRecvError::Empty));
}

#[tokio::test]
async fn only_the_connection_of_a_tunnel_discovers_with_it() {
    let mut world = World::start().await;
    let plc = world.machine.addr();
    lead(&mut world, 3, vec![only(plc)]).await;
    let client = world.client().await;
    let vpn = client.vpn("live", false).await;
    for scan in [false, true] {
        let denied = Answer::Denied(Reason::NoGrant);
        assert_eq!(client.discover(TunnelId::new([9; 8]), scan).await.answer, denied);
        assert_eq!(world.client().await.discover(vpn.id, scan).await.answer, denied);
        let stranger = Client::stranger(&world.agent).await;
        assert_eq!(stranger.discover(vpn.id, scan).await.answer, Answer::Denied(Reason::BadPass));
        // The twin.
        assert_eq!(client.discover(vpn.id, scan).await.answer, Answer::Discovery);
    }
}

#[tokio::test]
async fn who_only_looks_finds_what_a_gate_reads_and_nothing_else() {
    let mut world = World::start().await;
    let (plc, (drive, mut never)) = (world.machine.addr(), Machine::listener().await);
    let profile = Some(Profile::Modbus(ModbusRules::read_only()));
    let ports = Ports::only(plc.port());
    let read = Destination { carries: Carries::Tcp { ports, profile }, ..only(plc) };
    lead(&mut world, 3, vec![read, only(drive.addr())]).await;
    let client = world.client().await;
    let looking = client.vpn("live", true).await;
    let (seen, totals) = told(client.discover(looking.id, true).await).await;
    assert_eq!(seen.iter().map(|one| one.open.clone()).collect::<Vec<_>>(), [vec![plc.port()]]);
    assert_eq!(totals, Totals { machines: 1, probes: 1, unasked: Vec::new() });
    assert_eq!(never.try_recv(), Err(TryRecvError::Empty));
    // The twin touches.
    let vpn = client.vpn("live", false).await;
    let (_, totals) = told(client.discover(vpn.id, true).await).await;
    assert_eq!(totals.probes, 2);
}

#[tokio::test]
async fn each_probe_is_decided_by_the_narrowest_destination_like_every_flow() {
    let mut world = World::start().await;
    let (plc, mut never) = Machine::listener().await;
    let port = plc.addr().port();
    let profile = Some(Profile::Modbus(ModbusRules::read_only()));
    let ports = Ports { first: port - 1, last: port };
    let read = Destination { carries: Carries::Tcp { ports, profile }, ..only(plc.addr()) };
    lead(&mut world, 3, vec![read, only(plc.addr())]).await;
    let client = world.client().await;
    let mut looking = client.vpn("live", true).await;
    let (_, totals) = told(client.discover(looking.id, true).await).await;
    assert_eq!(totals.probes, 2);
    assert_eq!(never.try_recv(), Err(TryRecvError::Empty), "nobody reads the narrower one");
    looking.tunnel.send.finish().unwrap();
    assert_eq!(looking.tunnel.drain().await, Ok(0));
    assert!(rows(&world).await.contains(&("view_only".to_owned(), 1)));
}

#[tokio::test]
async fn a_scan_ends_at_its_bound_says_what_is_left_and_is_a_handful_of_rows() {
    let mut world = World::start().await;
    lead(&mut world, 3, vec![many()]).await;
    let client = world.client().await;
    let mut vpn = client.vpn("live", false).await;
    let (seen, totals) = told(client.discover(vpn.id, true).await).await;
    let unasked = vec![Unasked { destination: many(), why: Why::Probes }];
    assert_eq!(totals, Totals { machines: 1, probes: 1024, unasked });
    assert_eq!(seen.len(), 1);
    vpn.tunnel.send.finish().unwrap();
    assert_eq!(vpn.tunnel.drain().await, Ok(0));
    let rows = rows(&world).await;
    assert_eq!(rows.iter().map(|(_, count)| count).sum::<u64>(), 1024, "{rows:?}");
    // The announcement, eight far ends by name, and one row for the others of each fate.
    assert!(rows.len() <= 1 + 8 + 2, "{rows:?}");
}

#[tokio::test]
async fn a_tunnel_has_one_scan_at_a_time_and_another_when_it_is_over() {
    let mut world = World::start().await;
    lead(&mut world, 3, vec![many()]).await;
    let client = world.client().await;
    let vpn = client.vpn("live", false).await;
    let mut first = client.discover(vpn.id, true).await;
    assert_eq!(first.answer, Answer::Discovery);
    assert_eq!(client.discover(vpn.id, true).await.answer, Answer::Failed(Failure::Busy));
    // What is known is told meanwhile, and another tunnel scans.
    assert_eq!(client.discover(vpn.id, false).await.answer, Answer::Discovery);
    let other = client.vpn("live", false).await;
    assert_eq!(client.discover(other.id, true).await.answer, Answer::Discovery);
    // The client wants it no more.
    first.send.finish().unwrap();
    let fault = cut(&mut first).await;
    assert_eq!(fault, FrameFault::Stream(StreamFault::Reset(CloseCode::Done.number())));
    assert_eq!(client.discover(vpn.id, true).await.answer, Answer::Discovery);
}

#[tokio::test]
async fn a_policy_that_takes_a_destination_away_stops_a_scan_at_once_and_a_wider_one_does_not() {
    let mut world = World::start().await;
    let (plc, added) = (world.machine.addr(), Machine::echo().await);
    lead(&mut world, 3, vec![many(), only(plc)]).await;
    let client = world.client().await;
    let vpn = client.vpn("live", false).await;
    let mut scan = client.discover(vpn.id, true).await;
    lead(&mut world, 4, vec![many(), only(plc), only(added.addr())]).await;
    assert!(matches!(
        found(&mut scan.recv).await,
        Ok(DiscoveryNews::Seen(_) | DiscoveryNews::Progress { .. })
    ));
    lead(&mut world, 5, vec![many(), only(added.addr())]).await;
    let published = Instant::now();
    let revoked = FrameFault::Stream(StreamFault::Reset(Reason::Revoked.number().into()));
    assert_eq!(cut(&mut scan).await, revoked);
    assert!(published.elapsed() < Duration::from_secs(1), "{:?}", published.elapsed());
    // The tunnel goes on, and finds what is left to find.
    assert_eq!(client.discover(vpn.id, true).await.answer, Answer::Discovery);
}

#[tokio::test]
async fn a_revoked_tunnel_takes_its_scan_with_it_and_what_was_asked_is_in_the_trail() {
    let mut world = World::start().await;
    lead(&mut world, 3, vec![many()]).await;
    let client = world.client().await;
    let vpn = client.vpn("live", false).await;
    let mut scan = client.discover(vpn.id, true).await;
    found(&mut scan.recv).await.unwrap();
    world.policy.revoke();
    world.publish(4).await;
    let revoked = FrameFault::Stream(StreamFault::Reset(Reason::Revoked.number().into()));
    assert_eq!(cut(&mut scan).await, revoked);
    assert_eq!(client.discover(vpn.id, true).await.answer, Answer::Denied(Reason::NoGrant));
    let rows = rows(&world).await;
    assert_eq!(rows.first().map(|(reason, count)| (reason.as_str(), *count)), Some(("probed", 0)));
    assert!(rows[1..].iter().map(|(_, count)| count).sum::<u64>() >= 1, "{rows:?}");
}

#[tokio::test]
async fn a_scan_shares_the_places_of_the_device_with_flows() {
    let mut world = World::start_with("[caps]\nflows = 2\n").await;
    let plc = world.machine.addr();
    lead(&mut world, 3, vec![only(plc)]).await;
    let client = world.client().await;
    let vpn = client.vpn("live", false).await;
    let (one, mut two) = (client.tcp(&vpn, plc).await, client.tcp(&vpn, plc).await);
    assert_eq!(client.discover(vpn.id, false).await.answer, Answer::Failed(Failure::Busy));
    two.send.finish().unwrap();
    assert_eq!(two.drain().await, Ok(0));
    let begun = async {
        loop {
            let scan = client.discover(vpn.id, true).await;
            if scan.answer == Answer::Discovery {
                return scan;
            }
        }
    };
    let scan = tokio::time::timeout(GENEROUS, begun).await.unwrap();
    // It waits for a place to ask from.
    drop(one);
    let (_, totals) = told(scan).await;
    assert_eq!((totals.machines, totals.probes), (1, 1));
}
