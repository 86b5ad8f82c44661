//! Flows of a VPN that are permitted, and their twins that are not.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postern_protocol::id::TunnelId;
use postern_protocol::policy::{
    Carries, Destination, ModbusRules, ModbusSpan, ModbusTable, Mode, Network, Ports, Profile, Protocol,
    Reach, Reason, VpnRules,
};
use postern_protocol::wire::flow::message::{begin_datagram, push_frame, split_datagram};
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_protocol::wire::tunnel::Answer;
use postern_transport::quic::StreamFault;
use serde_json::Value;

use crate::client::{Client, news};
use crate::machine::Machine;
use crate::world::{GENEROUS, World};

/// What is carried to the ports of the test's machines.
fn to(carries: Carries) -> Destination {
    Destination { net: Network::only([127, 0, 0, 1].into()), carries }
}

fn tcp(machine: SocketAddr) -> Destination {
    to(Carries::Tcp { ports: Ports::only(machine.port()), profile: None })
}

fn udp(machine: SocketAddr) -> Destination {
    to(Carries::Udp { ports: Ports::only(machine.port()) })
}

/// Has the service `live` carry flows to these destinations.
async fn lead(world: &mut World, version: u64, mut destinations: Vec<Destination>) {
    destinations.sort();
    world.policy.snapshot.services[1].reach = Reach::Flows(VpnRules { destinations });
    world.publish(version).await;
}

/// The rows of flows in the trail: far end, what became of them, and how many.
async fn flows(world: &World, count: usize) -> Vec<(String, String, u64)> {
    world.agent.trail_with("flows", count).await;
    let rows = world.agent.json(&["audit", "list", "--limit", "1000"]).await;
    let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let of_flows = rows.as_array().unwrap().iter().filter(|row| row["event"] == "flows");
    of_flows.map(|row| (word(row, "flow"), word(row, "reason"), row["count"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn flows_go_where_the_policy_leads_and_nowhere_else() {
    let mut world = World::start().await;
    let plc = world.machine.addr();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let router = Destination { net: Network::only([127, 0, 0, 2].into()), ..tcp(plc) };
    lead(&mut world, 3, vec![tcp(plc), tcp(dead), router]).await;
    let client = world.client().await;
    let vpn = client.vpn("live", false).await;
    assert_eq!(vpn.destinations.len(), 3);
    let mut flow = client.tcp(&vpn, plc).await;
    flow.echo(&vec![7; 300_000]).await;
    flow.send.finish().unwrap();
    assert_eq!(flow.drain().await, Ok(0));
    // Another port, another protocol, another host.
    let ask = async |protocol, host: &str, port| client.flow(vpn.id, protocol, host, port).await.answer;
    let denied = Answer::Denied(Reason::PortDenied);
    assert_eq!(ask(Protocol::Tcp, "127.0.0.1", 1).await, denied);
    assert_eq!(ask(Protocol::Udp, "127.0.0.1", plc.port()).await, denied);
    assert_eq!(ask(Protocol::Icmp, "127.0.0.1", 0).await, denied);
    assert_eq!(ask(Protocol::Tcp, "127.0.0.3", plc.port()).await, denied);
    assert_eq!(ask(Protocol::Tcp, "::ffff:127.0.0.1", plc.port()).await, denied);
    // Granted, and the device does not dial it.
    assert_eq!(ask(Protocol::Tcp, "127.0.0.2", plc.port()).await, Answer::Failed(Failure::Forbidden));
    assert_eq!(ask(Protocol::Tcp, "127.0.0.1", dead.port()).await, Answer::Failed(Failure::Refused));
    // A tunnel that does not exist here.
    let other = client.flow(TunnelId::new([9; 8]), Protocol::Tcp, "127.0.0.1", plc.port()).await;
    assert_eq!(other.answer, Answer::Denied(Reason::NoGrant));
    let colleague = world.client().await;
    let stolen = colleague.flow(vpn.id, Protocol::Tcp, "127.0.0.1", plc.port()).await;
    assert_eq!(stolen.answer, Answer::Denied(Reason::NoGrant));
}

#[tokio::test]
async fn a_name_is_resolved_on_the_device_and_its_address_is_judged() {
    let mut world = World::start().await;
    let plc = world.machine.addr();
    lead(&mut world, 3, vec![tcp(plc)]).await;
    let client = world.client().await;
    let vpn = client.vpn("live", false).await;
    let mut flow = client.flow(vpn.id, Protocol::Tcp, "localhost", plc.port()).await;
    assert_eq!(flow.answer, Answer::Flow { ip: plc.ip() });
    flow.echo(b"by name").await;
    // Unknown, and known but not granted, are one answer.
    for (name, port) in [("plc.invalid", plc.port()), ("localhost", 1)] {
        let flow = client.flow(vpn.id, Protocol::Tcp, name, port).await;
        assert_eq!(flow.answer, Answer::Failed(Failure::Unresolved), "{name}");
    }
}

#[tokio::test]
async fn messages_travel_as_datagrams_and_in_frames_where_they_are_too_long() {
    let mut world = World::start().await;
    let (plc, silent) = (Machine::udp().await, std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let gone = silent.local_addr().unwrap();
    drop(silent);
    lead(&mut world, 3, vec![udp(plc.addr()), udp(gone)]).await;
    let client = world.client().await;
    let vpn = client.vpn("live", false).await;
    let mut flow = client.flow(vpn.id, Protocol::Udp, "127.0.0.1", plc.addr().port()).await;
    assert_eq!(flow.answer, Answer::Flow { ip: plc.addr().ip() });
    let id = flow.send.index();
    let mut datagram = Vec::new();
    begin_datagram(id, &mut datagram);
    datagram.extend_from_slice(b"short");
    assert!(client.connection.send_datagram(datagram.into()));
    let back = tokio::time::timeout(GENEROUS, client.connection.read_datagram()).await.unwrap().unwrap();
    assert_eq!(split_datagram(&back), Ok((id, b"short".as_slice())));
    let long = vec![5; 9000];
    let mut frame = Vec::new();
    push_frame(&long, &mut frame).unwrap();
    flow.send.write_all(&frame).await.unwrap();
    let mut framed = vec![0; frame.len()];
    flow.recv.read_exact(&mut framed).await.unwrap();
    assert_eq!(framed, frame);
    // A datagram of no flow goes nowhere and harms nothing.
    assert!(client.connection.send_datagram(vec![0x3f, 1, 2].into()));
    assert!(client.connection.send_datagram(Vec::new().into()));
    flow.send.write_all(&frame).await.unwrap();
    flow.recv.read_exact(&mut framed).await.unwrap();
    // Nobody listens: the client hears it and need not wait.
    let mut refused = client.flow(vpn.id, Protocol::Udp, "127.0.0.1", gone.port()).await;
    refused.send.write_all(&[0, 1, b'x']).await.unwrap();
    let code = CloseCode::Failed(Failure::Refused).number();
    assert_eq!(refused.drain().await, Err(StreamFault::Reset(code)));
}

#[tokio::test]
async fn a_narrower_policy_ends_the_flows_that_it_leaves_out_and_no_others() {
    let mut world = World::start().await;
    let (plc, (drive, mut heard), sensor) =
        (world.machine.addr(), Machine::listener().await, Machine::udp().await);
    let all = vec![tcp(plc), tcp(drive.addr()), udp(sensor.addr())];
    lead(&mut world, 3, all.clone()).await;
    let client = world.client().await;
    let mut vpn = client.vpn("live", false).await;
    let mut kept = client.tcp(&vpn, plc).await;
    let mut cut = client.tcp(&vpn, drive.addr()).await;
    let mut silenced = client.flow(vpn.id, Protocol::Udp, "127.0.0.1", sensor.addr().port()).await;
    lead(&mut world, 4, vec![tcp(plc)]).await;
    let published = Instant::now();
    let denied = Err(StreamFault::Reset(Reason::PortDenied.number().into()));
    assert_eq!((cut.drain().await, silenced.drain().await), (denied.clone(), denied));
    assert_eq!(heard.recv().await, Some(false), "the machine sees a reset");
    assert!(published.elapsed() < Duration::from_secs(1), "{:?}", published.elapsed());
    kept.echo(b"goes on").await;
    assert_eq!(news(&mut vpn.tunnel.recv).await, [tcp(plc).to_string()]);
    // What is granted again opens new flows and revives none.
    lead(&mut world, 5, all).await;
    assert_eq!(news(&mut vpn.tunnel.recv).await.len(), 3);
    kept.echo(b"still").await;
    let stopped = Err(StreamFault::Stopped(Reason::PortDenied.number().into()));
    assert_eq!(cut.send.write_all(b"x").await, stopped);
    client.tcp(&vpn, drive.addr()).await;
}

#[tokio::test]
async fn a_revoked_vpn_takes_all_its_flows_with_it() {
    let mut world = World::start().await;
    let torrent = Machine::torrent().await;
    lead(&mut world, 3, vec![tcp(torrent.addr())]).await;
    let client = world.client().await;
    let mut vpn = client.vpn("live", false).await;
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let mut flow = client.tcp(&vpn, torrent.addr()).await;
        readers.spawn(async move { flow.drain().await });
    }
    world.policy.revoke();
    world.publish(4).await;
    let revoked = || Err(StreamFault::Reset(Reason::Revoked.number().into()));
    for end in readers.join_all().await {
        assert_eq!(end, revoked());
    }
    assert_eq!(vpn.tunnel.drain().await, revoked());
    let after = client.flow(vpn.id, Protocol::Tcp, "127.0.0.1", torrent.addr().port()).await;
    assert_eq!(after.answer, Answer::Denied(Reason::NoGrant));
    world.agent.trail_with("closed", 1).await;
    assert_eq!(world.agent.json(&["sessions"]).await, Value::Array(vec![]));
}

#[tokio::test]
async fn who_only_looks_reads_registers_and_writes_none_and_has_no_flow_that_nobody_reads() {
    let mut world = World::start().await;
    let (plc, raw) = (world.machine.addr(), Machine::udp().await);
    let registers = ModbusSpan { table: ModbusTable::HoldingRegisters, first: 0, last: 99 };
    let everything = ModbusRules { writes: vec![registers], ..ModbusRules::read_only() };
    let profile = Some(Profile::Modbus(everything));
    let modbus = to(Carries::Tcp { ports: Ports::only(plc.port()), profile });
    lead(&mut world, 3, vec![modbus.clone(), udp(raw.addr())]).await;
    let client = world.client().await;
    let vpn = client.vpn("live", true).await;
    assert_eq!(vpn.destinations, [modbus.to_string()], "only what can be had is said");
    let raw = client.flow(vpn.id, Protocol::Udp, "127.0.0.1", raw.addr().port()).await;
    assert_eq!(raw.answer, Answer::Denied(Reason::ViewOnly));
    let read = [0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1];
    let write = [0, 2, 0, 0, 0, 6, 1, 6, 0, 0, 0, 1];
    let mut flow = client.tcp(&vpn, plc).await;
    // The machine echoes what reaches it. The two come at once, cut in the middle.
    let both = [read, write].concat();
    flow.send.write_all(&both[..15]).await.unwrap();
    flow.send.write_all(&both[15..]).await.unwrap();
    let mut answers = [0; 21];
    flow.recv.read_exact(&mut answers).await.unwrap();
    let exception = [0, 2, 0, 0, 0, 3, 1, 0x86, 1];
    let (first, second) = if answers[1] == 2 {
        (answers[9..].to_vec(), answers[..9].to_vec())
    } else {
        (answers[..12].to_vec(), answers[12..].to_vec())
    };
    assert_eq!((first.as_slice(), second.as_slice()), (&read[..], &exception[..]));
    // Bytes that are no request end the flow.
    flow.send.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let code = CloseCode::Failed(Failure::NotUnderstood).number();
    assert_eq!(flow.drain().await, Err(StreamFault::Reset(code)));
    // The twin: who may touch writes, until the grant is narrowed under the open flow.
    let vpn = client.vpn("live", false).await;
    let mut flow = client.tcp(&vpn, plc).await;
    flow.echo(&write).await;
    world.policy.snapshot.grants[0].mode = Mode::ViewOnly;
    world.publish(4).await;
    flow.send.write_all(&write).await.unwrap();
    let mut answer = [0; 9];
    flow.recv.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, exception);
    flow.echo(&read).await;
}

#[tokio::test]
async fn the_trail_has_each_kind_of_flow_and_what_it_carried() {
    let mut world = World::start().await;
    let plc = world.machine.addr();
    lead(&mut world, 3, vec![tcp(plc)]).await;
    let client = world.client().await;
    let mut vpn = client.vpn("live", false).await;
    for _ in 0..3 {
        let mut flow = client.tcp(&vpn, plc).await;
        flow.echo(b"four").await;
        flow.send.finish().unwrap();
        assert_eq!(flow.drain().await, Ok(0));
    }
    for port in 1..=100 {
        client.flow(vpn.id, Protocol::Tcp, "127.0.0.1", port).await;
    }
    vpn.tunnel.send.finish().unwrap();
    assert_eq!(vpn.tunnel.drain().await, Ok(0));
    let trail = world.agent.trail_with("closed", 1).await;
    assert_eq!(
        trail.last().map(|(event, reason)| (event.as_str(), reason.as_str())),
        Some(("closed", "done"))
    );
    let place = format!("tcp {plc}");
    let rows = flows(&world, 3).await;
    let count = |fate: &str| -> Vec<u64> {
        rows.iter().filter(|row| row.0 == place && row.1 == fate).map(|row| row.2).collect()
    };
    assert_eq!((count("opened"), count("done")), (vec![1, 2], vec![3]), "{rows:?}");
    let denied: Vec<u64> = rows.iter().filter(|row| row.1 == "port_denied").map(|row| row.2).collect();
    assert_eq!((denied.len(), denied.iter().sum::<u64>()), (9, 100), "{rows:?}");
    let last = world.agent.json(&["audit", "list"]).await;
    let closed = last.as_array().unwrap().last().unwrap().clone();
    assert_eq!((closed["to_machine"].as_u64(), closed["to_client"].as_u64()), (Some(12), Some(12)));
}

#[tokio::test]
async fn a_client_that_is_gone_leaves_no_socket_at_the_machine() {
    let mut world = World::start().await;
    let (machine, mut heard) = Machine::listener().await;
    lead(&mut world, 3, vec![tcp(machine.addr())]).await;
    let client = world.client().await;
    let vpn = client.vpn("live", false).await;
    let _flow = client.tcp(&vpn, machine.addr()).await;
    client.connection.close(0, b"gone");
    assert_eq!(heard.recv().await, Some(true), "the machine sees a FIN");
    // And so does it when the client ends the tunnel alone; the program at the other end hears a reset.
    let client = world.client().await;
    let mut vpn = client.vpn("live", false).await;
    let mut flow = client.tcp(&vpn, machine.addr()).await;
    vpn.tunnel.send.finish().unwrap();
    assert_eq!(flow.drain().await, Err(StreamFault::Reset(CloseCode::Done.number())));
    assert_eq!(heard.recv().await, Some(true));
}

#[tokio::test]
async fn flows_beyond_the_bound_are_refused_and_make_room_when_they_end() {
    let mut world = World::start_with("[caps]\nflows = 2\n").await;
    let plc = world.machine.addr();
    lead(&mut world, 3, vec![tcp(plc)]).await;
    let client = world.client().await;
    let vpn = client.vpn("live", false).await;
    let (mut one, _two) = (client.tcp(&vpn, plc).await, client.tcp(&vpn, plc).await);
    let third = client.flow(vpn.id, Protocol::Tcp, "127.0.0.1", plc.port()).await;
    assert_eq!(third.answer, Answer::Failed(Failure::Busy));
    one.send.finish().unwrap();
    assert_eq!(one.drain().await, Ok(0));
    let again = async {
        while client.flow(vpn.id, Protocol::Tcp, "127.0.0.1", plc.port()).await.answer
            == Answer::Failed(Failure::Busy)
        {}
    };
    tokio::time::timeout(GENEROUS, again).await.unwrap();
}

#[tokio::test]
async fn a_vpn_with_hundreds_of_flows_carries_each_of_them() {
    let mut world = World::start().await;
    let plc = world.machine.addr();
    lead(&mut world, 3, vec![tcp(plc)]).await;
    let client = world.client().await;
    let vpn = client.vpn("live", false).await;
    let mut open = Vec::new();
    for _ in 0..300 {
        open.push(client.tcp(&vpn, plc).await);
    }
    for flow in &mut open {
        flow.echo(b"still here").await;
    }
}

#[tokio::test]
async fn only_a_vpn_is_opened_for_flows_and_only_by_who_may_use_it() {
    let world = World::start().await;
    let client = world.client().await;
    let open = async |client: &Client, service: &str| client.open_vpn(service).await;
    assert_eq!(open(&client, "hmi").await, Answer::Failed(Failure::Unsupported));
    assert_eq!(open(&client, "secret").await, Answer::Denied(Reason::NoGrant));
    assert_eq!(open(&client, "no-such-thing").await, Answer::Denied(Reason::NoGrant));
    let stranger = Client::stranger(&world.agent).await;
    assert_eq!(open(&stranger, "live").await, Answer::Denied(Reason::BadPass));
    // The twin.
    client.vpn("live", false).await;
}
