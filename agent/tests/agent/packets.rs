//! Packets of a VPN, of a client that speaks the wire and may lie, and machines that have no gateway.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use etherparse::{
    IpHeaders, PacketBuilder, PacketBuilderStep, SlicedPacket, TcpOptionElement, TransportSlice,
};
use postern_protocol::id::TunnelId;
use postern_protocol::policy::{
    Carries, Destination, ModbusRules, Network, Ports, Profile, Reach, Reason, VpnRules,
};
use postern_protocol::wire::flow::message::{begin_datagram, push_frame, split_datagram};
use postern_protocol::wire::flow::{PacketDrops, VpnNews};
use postern_protocol::wire::registry::{Failure, PacketFault};
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer};
use postern_transport::framed::read_frame;
use postern_transport::quic::StreamFault;

use crate::client::{Client, Tunnel, Vpn};
use crate::site::{LAN, Site, say};
use crate::world::{Done, GENEROUS, World};

const PLC: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 10);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 11);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);

/// An agent with an interface for packets, prepared by its own command.
async fn world() -> World {
    let config = format!(
        "machine_networks = [\"192.168.77.0/24\"]\n[packet_vpn]\ntun = \"tun-p\"\ninterface = \"{LAN}\"\n"
    );
    let mut world = World::start_with(&config).await;
    let everything = [tcp_to(Ports::only(102)), tcp_to(Ports::only(103)), udp_to(161), to(Carries::Icmp)];
    lead(&mut world, 3, &everything).await;
    assert_eq!(prepare(&world, "up").await.code, 0);
    world
}

async fn prepare(world: &World, what: &str) -> Done {
    let state = world.agent.dir().join("packets");
    world.agent.run(&["packet-vpn", what, "--state", state.to_str().unwrap()]).await
}

fn to(carries: Carries) -> Destination {
    Destination { net: Network::only(PLC.into()), carries }
}

fn tcp_to(ports: Ports) -> Destination {
    to(Carries::Tcp { ports, profile: None })
}

fn udp_to(port: u16) -> Destination {
    to(Carries::Udp { ports: Ports::only(port) })
}

async fn lead(world: &mut World, version: u64, destinations: &[Destination]) {
    let mut destinations = destinations.to_vec();
    destinations.sort();
    world.policy.snapshot.services[1].reach = Reach::Flows(VpnRules { destinations });
    world.publish(version).await;
}

/// A way for packets that is open.
struct Way {
    client: Client,
    vpn: Vpn,
    stream: Tunnel,
    ip: Ipv4Addr,
}

impl Way {
    async fn open(world: &World) -> Self {
        let client = world.client().await;
        let vpn = client.vpn("live", false).await;
        let stream = client.packets(vpn.id).await;
        let Answer::Packets { ip, mtu: 1280 } = stream.answer else { panic!("{:?}", stream.answer) };
        Self { client, vpn, stream, ip }
    }

    /// Sends a packet as a datagram.
    fn send(&self, packet: &[u8]) {
        let mut datagram = Vec::new();
        begin_datagram(self.stream.send.index(), &mut datagram);
        datagram.extend_from_slice(packet);
        assert!(self.client.connection.send_datagram(datagram.into()));
    }

    /// Sends a packet in a frame.
    async fn send_framed(&mut self, packet: &[u8]) {
        let mut frame = Vec::new();
        push_frame(packet, &mut frame).unwrap();
        self.stream.send.write_all(&frame).await.unwrap();
    }

    /// The next packet, however it comes.
    async fn next(&mut self) -> Vec<u8> {
        let mut length = [0; 2];
        let waiting = async {
            tokio::select! {
                datagram = self.client.connection.read_datagram() => {
                    let datagram = datagram.unwrap();
                    let (flow, packet) = split_datagram(&datagram).unwrap();
                    assert_eq!(flow, self.stream.send.index());
                    packet.to_vec()
                }
                read = self.stream.recv.read_exact(&mut length) => {
                    read.unwrap();
                    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
                    self.stream.recv.read_exact(&mut packet).await.unwrap();
                    packet
                }
            }
        };
        tokio::time::timeout(GENEROUS, waiting).await.unwrap()
    }

    /// Waits until the device has said that so many packets were dropped for these faults.
    async fn dropped(&mut self, expected: &[(PacketFault, u64)]) {
        let each = expected.iter().map(|(fault, count)| PacketDrops { fault: *fault, count: *count });
        let expected: Vec<PacketDrops> = each.collect();
        loop {
            match read_frame(&mut self.vpn.tunnel.recv, ANSWER_BYTES, GENEROUS).await.unwrap() {
                VpnNews::Drops(drops) if drops == expected => return,
                VpnNews::Drops(drops) => println!("so far {drops:?}"),
                VpnNews::Destinations(_) => {}
            }
        }
    }

    fn between(&self, to: Ipv4Addr) -> PacketBuilderStep<IpHeaders> {
        PacketBuilder::ipv4(self.ip.octets(), to.octets(), 64)
    }

    fn udp(&self, to: Ipv4Addr, port: u16, data: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        self.between(to).udp(5000, port).write(&mut packet, data).unwrap();
        packet
    }

    fn ping(&self, to: Ipv4Addr) -> Vec<u8> {
        let mut packet = Vec::new();
        self.between(to).icmpv4_echo_request(7, 1).write(&mut packet, b"ping").unwrap();
        packet
    }

    fn syn(&self, to: Ipv4Addr, port: u16) -> Vec<u8> {
        let mut packet = Vec::new();
        let options = [TcpOptionElement::MaximumSegmentSize(1460)];
        let step = self.between(to).tcp(5000, port, 100, 64_000).syn().options(&options).unwrap();
        step.write(&mut packet, &[]).unwrap();
        packet
    }

    /// Opens a connection; the next numbers of both sides.
    async fn connect(&mut self, port: u16) -> (u32, u32) {
        self.send(&self.syn(PLC, port));
        let answer = self.next().await;
        let sliced = SlicedPacket::from_ip(&answer).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("{sliced:?}") };
        assert!(tcp.syn() && tcp.ack(), "{tcp:?}");
        assert!(
            tcp.options_iterator().any(|option| option == Ok(TcpOptionElement::MaximumSegmentSize(1240)))
        );
        let (own, theirs) = (101, tcp.sequence_number() + 1);
        let mut packet = Vec::new();
        self.between(PLC).tcp(5000, port, own, 64_000).ack(theirs).write(&mut packet, &[]).unwrap();
        self.send(&packet);
        (own, theirs)
    }
}

fn with(mut packet: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    packet[at] = byte;
    packet
}

#[tokio::test]
async fn packets_reach_what_is_granted_and_machines_without_a_gateway_answer() {
    let Some(site) = Site::enter("packets_reach_what_is_granted") else { return };
    let seen = site.serve();
    let world = world().await;
    let mut way = Way::open(&world).await;
    assert_eq!(way.ip, Ipv4Addr::new(100, 96, 0, 2));
    for data in [&b"short"[..], &[7; 1252]] {
        way.send_framed(&way.udp(PLC, 161, data)).await;
        let answer = way.next().await;
        let sliced = SlicedPacket::from_ip(&answer).unwrap();
        let Some(TransportSlice::Udp(udp)) = sliced.transport else { panic!("{sliced:?}") };
        assert_eq!((udp.source_port(), udp.destination_port(), udp.payload()), (161, 5000, data));
        assert_eq!(seen.recv_timeout(GENEROUS).unwrap().ip(), ROUTER, "as the machine sees it");
    }
    way.send(&way.ping(PLC));
    let answer = way.next().await;
    assert_eq!((&answer[12..20], answer[20]), (&[PLC.octets(), way.ip.octets()].concat()[..], 0));
    let (own, theirs) = way.connect(102).await;
    let mut packet = Vec::new();
    way.between(PLC).tcp(5000, 102, own, 64_000).ack(theirs).psh().write(&mut packet, b"hello").unwrap();
    way.send(&packet);
    let echoed = loop {
        let answer = way.next().await;
        let sliced = SlicedPacket::from_ip(&answer).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("{sliced:?}") };
        if !tcp.payload().is_empty() {
            break tcp.payload().to_vec();
        }
    };
    assert_eq!(echoed, b"hello");
    // Each is in the trail, like a flow of any VPN.
    let rows = world.agent.json(&["audit", "list", "--limit", "1000"]).await;
    let flows: Vec<&str> = rows.as_array().unwrap().iter().filter_map(|row| row["flow"].as_str()).collect();
    assert_eq!(flows, ["udp 192.168.77.10:161", "icmp 192.168.77.10", "tcp 192.168.77.10:102"]);
}

#[tokio::test]
async fn the_devices_kernel_counts_hops_and_says_where_they_ended() {
    let Some(site) = Site::enter("the_devices_kernel_counts_hops") else { return };
    let world = world().await;
    let mut way = Way::open(&world).await;
    let arrived = site.arrived();
    let mut last = Vec::new();
    PacketBuilder::ipv4(way.ip.octets(), PLC.octets(), 1).udp(5000, 161).write(&mut last, b"x").unwrap();
    way.send(&last);
    let answer = way.next().await;
    // Time exceeded, from the device's own address of the range.
    assert_eq!((&answer[12..16], answer[20], answer[21]), (&[100, 96, 0, 1][..], 11, 0));
    assert_eq!(site.arrived(), arrived);
}

#[tokio::test]
async fn what_is_spoofed_cut_malformed_or_not_granted_never_reaches_a_machine() {
    let Some(site) = Site::enter("what_is_spoofed_cut_malformed_or_not_granted") else { return };
    let _seen = site.serve();
    let mut world = world().await;
    let profile = Some(Profile::Modbus(ModbusRules::read_only()));
    let modbus = to(Carries::Tcp { ports: Ports::only(102), profile });
    lead(&mut world, 4, &[modbus, udp_to(161), to(Carries::Icmp)]).await;
    let mut way = Way::open(&world).await;
    // Nothing else is on its way then.
    way.send(&way.ping(PLC));
    way.next().await;
    let arrived = site.arrived();
    let good = way.udp(PLC, 161, b"x");
    let mut spoofed = Vec::new();
    PacketBuilder::ipv4([192, 168, 77, 1], PLC.octets(), 64)
        .udp(5000, 161)
        .write(&mut spoofed, b"x")
        .unwrap();
    let mut neighbour = Vec::new();
    PacketBuilder::ipv4([100, 96, 0, 3], PLC.octets(), 64)
        .udp(5000, 161)
        .write(&mut neighbour, b"x")
        .unwrap();
    let mut inner = Vec::new();
    PacketBuilder::ipv4(way.ip.octets(), PLC.octets(), 64).udp(5000, 161).write(&mut inner, &good).unwrap();
    for (bad, count) in [
        (good[..good.len() - 1].to_vec(), 1),
        (vec![0x60; 60], 1),
        (with([&good[..20], &[1, 1, 1, 1], &good[20..]].concat(), 0, 0x46), 1),
        (with(good.clone(), 6, 0x20), 1),
        (with(good.clone(), 7, 1), 1),
        (with(inner, 9, 4), 1),
        (with(way.syn(PLC, 102), 33, 3), 1),
        (with(way.ping(PLC), 20, 13), 1),
        (spoofed, 1),
        (neighbour, 1),
        (way.udp(Ipv4Addr::new(224, 0, 0, 1), 161, b"x"), 1),
        (way.udp(Ipv4Addr::BROADCAST, 161, b"x"), 1),
        (way.udp(OTHER, 161, b"x"), 2),
        (way.udp(PLC, 162, b"x"), 1),
        (way.syn(PLC, 103), 1),
        (way.ping(OTHER), 1),
        // It is granted, and read by a gate, which reads no packets.
        (way.syn(PLC, 102), 3),
    ] {
        for _ in 0..count {
            way.send_framed(&bad).await;
        }
    }
    let dropped = [
        (PacketFault::Length, 1),
        (PacketFault::Version, 1),
        (PacketFault::Options, 1),
        (PacketFault::Fragment, 2),
        (PacketFault::Protocol, 1),
        (PacketFault::Flags, 1),
        (PacketFault::Kind, 1),
        (PacketFault::Source, 2),
        (PacketFault::Address, 2),
        (PacketFault::NotGranted, 5),
        (PacketFault::Read, 3),
    ];
    way.dropped(&dropped).await;
    assert_eq!(site.arrived(), arrived);
    // The twin: the same packet as it should be.
    way.send_framed(&good).await;
    while way.next().await.get(9) != Some(&17) {}
    assert!(site.arrived() > arrived);
    way.vpn.tunnel.send.finish().unwrap();
    world.agent.trail_with("closed", 1).await;
    let rows = world.agent.json(&["audit", "list", "--limit", "1000"]).await;
    let counted = |reason: &str| -> u64 {
        let rows = rows.as_array().unwrap().iter().filter(|row| row["reason"] == reason);
        rows.filter_map(|row| row["count"].as_u64()).sum()
    };
    assert_eq!((counted("port_denied"), counted("not_understood"), counted("unsupported")), (5, 12, 3));
}

#[tokio::test]
async fn the_device_itself_and_what_is_not_on_its_machine_network_are_reached_by_nobody() {
    let Some(site) = Site::enter("the_device_itself_and_what_is_not_on_its_machine_network") else { return };
    let mut world = world().await;
    let everywhere =
        Destination { net: Network { ip: [0, 0, 0, 0].into(), prefix: 0 }, carries: Carries::Icmp };
    let near = [[192, 168, 77, 1], [100, 96, 0, 1], [10, 9, 9, 9]]
        .map(|ip: [u8; 4]| Destination { net: Network::only(ip.into()), carries: Carries::Icmp });
    assert!(!everywhere.net.is_in_form(), "no policy says that");
    lead(&mut world, 4, &near).await;
    let mut way = Way::open(&world).await;
    let arrived = site.arrived();
    for ip in [ROUTER, Ipv4Addr::new(100, 96, 0, 1), Ipv4Addr::new(10, 9, 9, 9)] {
        way.send_framed(&way.ping(ip)).await;
        let answer = way.next().await;
        assert_eq!((answer[20], answer[21]), (3, 13), "{ip}");
    }
    way.dropped(&[(PacketFault::Forbidden, 3)]).await;
    assert_eq!(site.arrived(), arrived);
}

#[tokio::test]
async fn a_machine_begins_nothing() {
    let Some(site) = Site::enter("a_machine_begins_nothing") else { return };
    let world = world().await;
    let mut way = Way::open(&world).await;
    // The router's own firewall stops those on the wire; this is the agent's own wall.
    let to = std::net::SocketAddr::from((way.ip, 5000));
    std::net::UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"hello", to).unwrap();
    way.dropped(&[(PacketFault::Uninvited, 1)]).await;
    drop(site);
}

#[tokio::test]
async fn a_narrower_policy_resets_what_it_leaves_out_within_a_second_and_nothing_else() {
    let Some(site) = Site::enter("a_narrower_policy_resets_what_it_leaves_out") else { return };
    let _seen = site.serve();
    let mut world = world().await;
    let mut way = Way::open(&world).await;
    way.connect(102).await;
    let (own, theirs) = way.connect(103).await;
    lead(&mut world, 4, &[tcp_to(Ports::only(102)), udp_to(161)]).await;
    let published = Instant::now();
    let reset = way.next().await;
    assert!(published.elapsed() < Duration::from_secs(1), "{:?}", published.elapsed());
    let sliced = SlicedPacket::from_ip(&reset).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("{sliced:?}") };
    assert_eq!((tcp.source_port(), tcp.rst(), tcp.sequence_number()), (103, true, theirs));
    let mut packet = Vec::new();
    way.between(PLC).tcp(5000, 103, own, 64_000).ack(theirs).psh().write(&mut packet, b"x").unwrap();
    way.send_framed(&packet).await;
    way.dropped(&[(PacketFault::Stray, 1)]).await;
    way.send_framed(&way.udp(PLC, 161, b"goes on")).await;
    while way.next().await.get(9) != Some(&17) {}
}

#[tokio::test]
async fn a_revoked_vpn_carries_no_packet_within_a_second() {
    let Some(site) = Site::enter("a_revoked_vpn_carries_no_packet") else { return };
    let _seen = site.serve();
    let mut world = world().await;
    let mut way = Way::open(&world).await;
    way.send(&way.udp(PLC, 161, b"x"));
    way.next().await;
    world.policy.revoke();
    world.publish(4).await;
    let published = Instant::now();
    let revoked = Err(StreamFault::Reset(Reason::Revoked.number().into()));
    assert_eq!(way.vpn.tunnel.drain().await, revoked);
    assert_eq!(way.stream.drain().await, revoked);
    assert!(published.elapsed() < Duration::from_secs(1), "{:?}", published.elapsed());
    let arrived = site.arrived();
    way.send(&way.udp(PLC, 161, b"x"));
    // An answer of the agent that came behind it.
    assert_eq!(way.client.packets(way.vpn.id).await.answer, Answer::Denied(Reason::NoGrant));
    assert_eq!(site.arrived(), arrived);
}

#[tokio::test]
async fn a_device_without_an_interface_for_packets_says_so_and_a_tunnel_has_one_way() {
    let mut without = World::start().await;
    lead(&mut without, 3, &[udp_to(161)]).await;
    let client = without.client().await;
    let vpn = client.vpn("live", false).await;
    for _ in 0..2 {
        assert_eq!(client.packets(vpn.id).await.answer, Answer::Failed(Failure::NoPackets));
    }
    let stranger = client.packets(TunnelId::new([9; 8])).await;
    assert_eq!(stranger.answer, Answer::Denied(Reason::NoGrant));
    let Some(_site) = Site::enter("a_tunnel_has_one_way") else { return };
    let world = world().await;
    let way = Way::open(&world).await;
    assert_eq!(way.client.packets(way.vpn.id).await.answer, Answer::Failed(Failure::Busy));
    let other = Way::open(&world).await;
    assert_eq!(other.ip, Ipv4Addr::new(100, 96, 0, 3));
    let stolen = other.client.packets(way.vpn.id).await;
    assert_eq!(stolen.answer, Answer::Denied(Reason::NoGrant));
}

#[tokio::test]
async fn what_was_prepared_is_taken_back_without_a_trace_also_after_crashes() {
    let Some(site) = Site::enter("what_was_prepared_is_taken_back") else { return };
    say("nft", &["add", "table", "inet", "vendor"]);
    let before = at_rest(&site.shape());
    let mut world = world().await;
    let prepared = at_rest(&site.shape());
    assert!(prepared.contains("tun-p") && prepared.contains("masquerade") && prepared != before);
    // Again, and over what a crash has left: everything, or half of it.
    assert_eq!((prepare(&world, "up").await.code, at_rest(&site.shape())), (0, prepared.clone()));
    for crash in [&["link", "del", "tun-p"][..], &["link", "set", "tun-p", "down"]] {
        say("ip", crash);
        assert_eq!((prepare(&world, "up").await.code, at_rest(&site.shape())), (0, prepared.clone()));
    }
    say("nft", &["delete", "table", "inet", "postern"]);
    assert_eq!(prepare(&world, "status").await.code, 5);
    assert_eq!((prepare(&world, "up").await.code, at_rest(&site.shape())), (0, prepared));
    assert_eq!(prepare(&world, "status").await.code, 0);
    // The agent is killed with a way open; the next one carries on, and so does it over another interface.
    let way = Way::open(&world).await;
    world.agent.kill().await;
    drop(way);
    world.agent.start().await;
    let way = Way::open(&world).await;
    let mut stream = way.stream;
    assert_eq!(prepare(&world, "up").await.code, 0);
    let gone = Err(StreamFault::Reset(Failure::NoPackets.number().into()));
    assert_eq!(stream.drain().await, gone);
    Way::open(&world).await;
    for _ in 0..2 {
        assert_eq!((prepare(&world, "down").await.code, at_rest(&site.shape())), (0, before.clone()));
    }
    // What was forwarded before still is.
    std::fs::write(format!("/proc/sys/net/ipv4/conf/{LAN}/forwarding"), "1").unwrap();
    let before = at_rest(&site.shape());
    assert_eq!(prepare(&world, "up").await.code, 0);
    assert_eq!((prepare(&world, "down").await.code, at_rest(&site.shape())), (0, before));
}

#[tokio::test]
async fn kill_9_at_any_step_of_preparing_leaves_what_is_taken_back() {
    let Some(site) = Site::enter("kill_9_at_any_step_of_preparing") else { return };
    let before = at_rest(&site.shape());
    let world = world().await;
    let prepared = at_rest(&site.shape());
    let room = tempfile::tempdir().unwrap();
    let nft = say("sh", &["-c", "command -v nft"]);
    let count = room.path().join("count");
    let script = format!(
        "#!/bin/sh\necho >> {0}\n[ $(wc -l < {0}) -ne $KILL_AT ] || {{ kill -9 $PPID; sleep 0.2; }}\nexec {1} \"$@\"\n",
        count.display(),
        nft.trim()
    );
    let program = room.path().join("nft");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let state = world.agent.dir().join("packets");
    let path = format!("PATH={}:{}", room.path().display(), std::env::var("PATH").unwrap());
    // It speaks to the firewall before, between and behind the other steps; then it lives. What it has asked for by then is
    // done after its end.
    let mut killed = 0;
    for step in 1..=5 {
        for then in ["up", "down"] {
            std::fs::write(&count, "").unwrap();
            let options = [path.clone(), format!("KILL_AT={step}")];
            let args = ["packet-vpn", "up", "--state", state.to_str().unwrap()];
            let ended = world.agent.under("env", &options, &args).status().await.unwrap();
            killed += u32::from(ended.code().is_none());
            assert_eq!(prepare(&world, then).await.code, 0, "{step}");
            let now = at_rest(&site.shape());
            assert_eq!(now, if then == "up" { prepared.clone() } else { before.clone() }, "{step}");
        }
    }
    assert_eq!(killed, 8);
}

/// A shape without what tells whether an agent has the interface open at this moment.
fn at_rest(shape: &str) -> String {
    let mut lines = Vec::new();
    for line in shape.lines() {
        let words = line.split_whitespace().filter(|word| *word != "linkdown");
        lines.push(
            words.map(|word| if word == "UNKNOWN" { "DOWN" } else { word }).collect::<Vec<_>>().join(" "),
        );
    }
    lines.join("\n")
}

#[tokio::test]
async fn who_only_looks_may_ping_and_nothing_else_goes_as_packets() {
    let Some(site) = Site::enter("who_only_looks_may_ping") else { return };
    let _seen = site.serve();
    let world = world().await;
    let client = world.client().await;
    let vpn = client.vpn("live", true).await;
    let stream = client.packets(vpn.id).await;
    let Answer::Packets { ip, .. } = stream.answer else { panic!("{:?}", stream.answer) };
    let mut way = Way { client, vpn, stream, ip };
    way.send(&way.ping(PLC));
    assert_eq!(way.next().await[20], 0, "the answer to an echo");
    let arrived = site.arrived();
    way.send_framed(&way.udp(PLC, 161, b"x")).await;
    way.send_framed(&way.syn(PLC, 102)).await;
    way.dropped(&[(PacketFault::Looking, 2)]).await;
    assert_eq!(site.arrived(), arrived);
}

#[tokio::test]
async fn an_agent_without_any_right_opens_what_was_made_for_its_user_and_nothing_else() {
    let Some(site) = Site::enter("an_agent_without_any_right") else { return };
    let _seen = site.serve();
    let mut world = world().await;
    assert_eq!(prepare(&world, "down").await.code, 0);
    assert_eq!(world.agent.stop().await, Some(0));
    world.agent.belong_to(12_345);
    world.agent.start().await;
    let client = world.client().await;
    let vpn = client.vpn("live", false).await;
    assert_eq!(client.packets(vpn.id).await.answer, Answer::Failed(Failure::NoPackets));
    assert_eq!(prepare(&world, "up").await.code, 0);
    let mut way = Way::open(&world).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.agent.pid())).unwrap();
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    way.send(&way.udp(PLC, 161, b"x"));
    way.next().await;
    assert_eq!(prepare(&world, "down").await.code, 0);
}

#[tokio::test]
async fn what_cannot_be_prepared_is_said_by_name_and_leaves_nothing() {
    let Some(site) = Site::enter("what_cannot_be_prepared_is_said") else { return };
    let before = site.shape();
    for (tables, code, said) in [
        ("", 2, "the configuration has no `[packet_vpn]`"),
        ("[packet_vpn]\ntun = \"tun-p\"\ninterface = \"eth9\"\n", 1, "there is no interface `eth9`"),
        ("[packet_vpn]\ntun = \"lan\"\ninterface = \"lan\"\n", 1, "the interface `lan` exists and is no TUN"),
        (
            "[packet_vpn]\ntun = \"tun-p\"\ninterface = \"lan\"\nrange = \"192.168.77.128/25\"\n",
            1,
            "the range 192.168.77.128/25 overlaps 192.168.77.0/24 on `lan`",
        ),
    ] {
        let world = World::start_with(tables).await;
        let done = prepare(&world, "up").await;
        assert!(done.err.contains(said), "{done:?}");
        assert_eq!((done.code, site.shape()), (code, before.clone()));
    }
}
