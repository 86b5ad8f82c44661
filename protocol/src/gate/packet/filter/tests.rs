use std::sync::Arc;

use etherparse::{PacketBuilder, SlicedPacket, TcpOptionElement, TransportSlice};

use super::*;
use crate::policy::world::{Vpn, vpn};
use crate::policy::{Carries, Destination, Mode, Network, Ports};

const CLIENT: Ipv4Addr = Ipv4Addr::new(100, 96, 0, 2);
const PLC: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 10);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 11);

/// A permit of TCP to 102 up to `last`, UDP to 161 and echoes of the controller.
fn permit(last: u16) -> Vpn {
    let to = |carries| Destination { net: Network::only(PLC.into()), carries };
    let destinations = vec![
        to(Carries::Tcp { ports: Ports { first: 102, last }, profile: None }),
        to(Carries::Udp { ports: Ports::only(161) }),
        to(Carries::Icmp),
    ];
    vpn(destinations, Mode::Full { clipboard: false })
}

/// A filter and what it stands on.
struct Gate {
    filter: Filter,
    permit: Vpn,
    asked: usize,
    now_ms: u64,
}

impl Gate {
    fn new() -> Self {
        Self { filter: Filter::new(CLIENT), permit: permit(103), asked: 0, now_ms: 1_000_000 }
    }

    fn out(&mut self, bytes: &[u8]) -> Outcome {
        let (permit, asked) = (Arc::clone(&self.permit), &mut self.asked);
        self.filter.handle_outbound(&mut bytes.to_vec(), self.now_ms, |end| {
            *asked += 1;
            permit.flow(end).map_err(|_| PacketFault::NotGranted)
        })
    }

    /// A packet that must begin a flow, which then is open.
    fn open(&mut self, bytes: &[u8]) -> Key {
        let Passage::Begins(key) = self.out(bytes).passage else { panic!("{:?}", self.out(bytes)) };
        assert!(self.filter.begin(&key, self.now_ms));
        key
    }

    fn come(&mut self, bytes: &[u8]) -> Result<(), PacketFault> {
        self.filter.handle_inbound(&mut bytes.to_vec(), self.now_ms)
    }

    fn over(&mut self) -> Vec<Over> {
        self.filter.handle_timeout(self.now_ms);
        std::iter::from_fn(|| self.filter.poll_over()).collect()
    }
}

fn ip(from: Ipv4Addr, to: Ipv4Addr) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ipv4(from.octets(), to.octets(), 64)
}

/// A segment of a connection, with these flags: `S`, `A`, `F`, `R`.
fn tcp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), flags: &str, data: &[u8]) -> Vec<u8> {
    let mut step = ip(from.0, to.0).tcp(from.1, to.1, 100, 1000);
    for flag in flags.chars() {
        step = match flag {
            'S' => step.syn(),
            'A' => step.ack(500),
            'F' => step.fin(),
            'R' => step.rst(),
            _ => panic!("{flag}"),
        };
    }
    let mut bytes = Vec::new();
    step.write(&mut bytes, data).unwrap();
    bytes
}

fn udp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Vec<u8> {
    let mut bytes = Vec::new();
    ip(from.0, to.0).udp(from.1, to.1).write(&mut bytes, b"abc").unwrap();
    bytes
}

fn ping(from: Ipv4Addr, to: Ipv4Addr, identifier: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    ip(from, to).icmpv4_echo_request(identifier, 1).write(&mut bytes, b"abc").unwrap();
    bytes
}

fn pong(from: Ipv4Addr, to: Ipv4Addr, identifier: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    ip(from, to).icmpv4_echo_reply(identifier, 1).write(&mut bytes, b"abc").unwrap();
    bytes
}

fn unreachable(from: Ipv4Addr, to: Ipv4Addr, about: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let code = etherparse::icmpv4::DestUnreachableHeader::Host;
    ip(from, to)
        .icmpv4(etherparse::Icmpv4Type::DestinationUnreachable(code))
        .write(&mut bytes, about)
        .unwrap();
    bytes
}

const fn dropped(fault: PacketFault) -> Passage {
    Passage::Drop(fault)
}

/// Type and code of an ICMP answer.
fn icmp(answer: Option<&Vec<u8>>) -> Option<(u8, u8)> {
    let sliced = SlicedPacket::from_ip(answer?).unwrap();
    let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else { return None };
    Some((icmp.type_u8(), icmp.code_u8()))
}

#[test]
fn what_is_granted_passes_and_its_twins_do_not() {
    let mut gate = Gate::new();
    for (granted, answer) in [
        (tcp((CLIENT, 5000), (PLC, 102), "S", b""), tcp((PLC, 102), (CLIENT, 5000), "SA", b"")),
        (udp((CLIENT, 5000), (PLC, 161)), udp((PLC, 161), (CLIENT, 5000))),
        (ping(CLIENT, PLC, 7), pong(PLC, CLIENT, 7)),
    ] {
        assert_eq!(gate.come(&answer), Err(PacketFault::Uninvited), "before it was asked for");
        gate.open(&granted);
        assert_eq!(gate.come(&answer), Ok(()));
        assert_eq!(gate.out(&granted).passage, Passage::Pass);
    }
    assert_eq!((gate.asked, gate.filter.flows()), (3, 3));
    for (denied, answer) in [
        (udp((CLIENT, 5000), (PLC, 162)), Some((3, 13))),
        (udp((CLIENT, 5000), (OTHER, 161)), Some((3, 13))),
        (ping(CLIENT, OTHER, 7), Some((3, 13))),
    ] {
        let outcome = gate.out(&denied);
        assert_eq!(outcome.passage, dropped(PacketFault::NotGranted));
        assert_eq!(icmp(outcome.answer.as_ref()), answer);
    }
    let refused = gate.out(&tcp((CLIENT, 5000), (PLC, 104), "S", b""));
    assert_eq!(refused.passage, dropped(PacketFault::NotGranted));
    let answer = refused.answer.unwrap();
    let sliced = SlicedPacket::from_ip(&answer).unwrap();
    let Some(TransportSlice::Tcp(reset)) = sliced.transport else { panic!("{sliced:?}") };
    assert_eq!((reset.rst(), reset.acknowledgment_number()), (true, 101));
    assert_eq!(reset.calc_checksum_ipv4(PLC.octets(), CLIENT.octets()), Ok(reset.checksum()));
}

#[test]
fn nobody_but_the_client_sends_and_nobody_but_the_client_is_sent_to() {
    let mut gate = Gate::new();
    let spoofed = gate.out(&udp((OTHER, 5000), (PLC, 161)));
    assert_eq!((spoofed.passage, spoofed.answer), (dropped(PacketFault::Source), None));
    gate.open(&udp((CLIENT, 5000), (PLC, 161)));
    assert_eq!(gate.come(&udp((PLC, 161), (OTHER, 5000))), Err(PacketFault::Uninvited));
    assert_eq!(gate.come(&udp((PLC, 161), (CLIENT, 5000))), Ok(()));
}

#[test]
fn what_comes_from_another_place_than_was_asked_is_dropped() {
    let mut gate = Gate::new();
    gate.open(&udp((CLIENT, 5000), (PLC, 161)));
    for stranger in [
        udp((PLC, 162), (CLIENT, 5000)),
        udp((PLC, 161), (CLIENT, 5001)),
        udp((OTHER, 161), (CLIENT, 5000)),
        ping(PLC, CLIENT, 5000),
        pong(PLC, CLIENT, 5000),
        tcp((PLC, 161), (CLIENT, 5000), "SA", b""),
        tcp((PLC, 161), (CLIENT, 5000), "S", b""),
    ] {
        assert_eq!(gate.come(&stranger), Err(PacketFault::Uninvited));
    }
}

#[test]
fn a_machine_opens_no_connection_not_even_in_the_place_of_one() {
    let mut gate = Gate::new();
    gate.open(&tcp((CLIENT, 5000), (PLC, 102), "S", b""));
    assert_eq!(gate.come(&tcp((PLC, 102), (CLIENT, 5000), "S", b"")), Err(PacketFault::Uninvited));
    assert_eq!(gate.come(&tcp((PLC, 102), (CLIENT, 5000), "SA", b"")), Ok(()));
}

#[test]
fn errors_come_through_where_they_are_about_an_open_flow_and_nowhere_else() {
    let mut gate = Gate::new();
    let sent = udp((CLIENT, 5000), (PLC, 161));
    let router = Ipv4Addr::new(192, 168, 0, 1);
    assert_eq!(gate.come(&unreachable(router, CLIENT, &sent)), Err(PacketFault::Uninvited));
    gate.open(&sent);
    assert_eq!(gate.come(&unreachable(router, CLIENT, &sent)), Ok(()));
    for other in [udp((CLIENT, 5001), (PLC, 161)), udp((OTHER, 5000), (PLC, 161)), ping(CLIENT, PLC, 5000)] {
        assert_eq!(gate.come(&unreachable(router, CLIENT, &other)), Err(PacketFault::Uninvited));
    }
    // A client sends none.
    assert_eq!(gate.out(&unreachable(CLIENT, PLC, &sent)).passage, dropped(PacketFault::Kind));
}

#[test]
fn nothing_passes_before_the_row_of_its_flow_is_durable() {
    let mut gate = Gate::new();
    let (ask, answer) = (udp((CLIENT, 5000), (PLC, 161)), udp((PLC, 161), (CLIENT, 5000)));
    let Passage::Begins(key) = gate.out(&ask).passage else { panic!() };
    assert_eq!(gate.out(&ask).passage, dropped(PacketFault::Waiting));
    assert_eq!(gate.come(&answer), Err(PacketFault::Uninvited));
    gate.filter.withdraw(&key);
    assert!(!gate.filter.begin(&key, gate.now_ms), "it is forgotten");
    assert_eq!((gate.filter.flows(), gate.over()), (0, vec![]));
    let key = gate.open(&ask);
    assert_eq!((gate.out(&ask).passage, gate.come(&answer)), (Passage::Pass, Ok(())));
    gate.now_ms += 60_000;
    let over = Over { key, refused: None, to_machine: 62, to_client: 31, seconds: 0 };
    assert_eq!(gate.over(), [over]);
}

#[test]
fn a_segment_of_no_connection_is_reset_and_opens_none() {
    let mut gate = Gate::new();
    for flags in ["A", "SA", "FA"] {
        let outcome = gate.out(&tcp((CLIENT, 5000), (PLC, 102), flags, b"x"));
        assert_eq!(outcome.passage, dropped(PacketFault::Stray), "{flags}");
        assert!(outcome.answer.is_some(), "{flags}");
    }
    let reset = gate.out(&tcp((CLIENT, 5000), (PLC, 102), "R", b""));
    assert_eq!((reset.passage, reset.answer), (dropped(PacketFault::Stray), None));
    assert_eq!((gate.asked, gate.filter.flows()), (0, 0));
}

#[test]
fn a_connection_lives_as_long_as_it_is_open_and_not_much_longer() {
    let minutes = |count: u64| count * 60_000;
    for (client, machine, patience) in [
        // Not accepted; open; half closed; closed; reset.
        (&[][..], &[][..], minutes(1)),
        (&["A"], &["SA"], minutes(124)),
        (&["FA"], &["SA"], minutes(5)),
        (&["FA"], &["SA", "FA"], 10_000),
        (&["A"], &["SA", "RA"], 10_000),
        (&["R"], &["SA"], 10_000),
    ] {
        let mut gate = Gate::new();
        gate.open(&tcp((CLIENT, 5000), (PLC, 102), "S", b""));
        for flags in machine.iter().take(1) {
            assert_eq!(gate.come(&tcp((PLC, 102), (CLIENT, 5000), flags, b"")), Ok(()));
        }
        for flags in client {
            assert_eq!(gate.out(&tcp((CLIENT, 5000), (PLC, 102), flags, b"")).passage, Passage::Pass);
        }
        for flags in machine.iter().skip(1) {
            assert_eq!(gate.come(&tcp((PLC, 102), (CLIENT, 5000), flags, b"")), Ok(()));
        }
        gate.now_ms += patience - 1;
        assert_eq!(gate.over().len(), 0, "{client:?} {machine:?}");
        gate.now_ms += 1000;
        assert_eq!(gate.over().len(), 1, "{client:?} {machine:?}");
        let late = gate.out(&tcp((CLIENT, 5000), (PLC, 102), "A", b"")).passage;
        assert_eq!(late, dropped(PacketFault::Stray));
    }
}

#[test]
fn the_ports_of_a_connection_that_is_over_may_open_another_which_is_decided_again() {
    let mut gate = Gate::new();
    let syn = tcp((CLIENT, 5000), (PLC, 103), "S", b"");
    gate.open(&syn);
    assert_eq!(gate.out(&syn).passage, Passage::Pass, "again, for it was lost");
    assert_eq!(gate.come(&tcp((PLC, 103), (CLIENT, 5000), "RA", b"")), Ok(()));
    gate.permit = permit(102);
    assert_eq!(gate.out(&syn).passage, dropped(PacketFault::NotGranted));
    gate.permit = permit(103);
    gate.open(&syn);
    assert_eq!((gate.asked, gate.over().len()), (3, 1));
}

#[test]
fn another_permit_ends_what_it_leaves_out_at_both_sides_and_nothing_else() {
    let mut gate = Gate::new();
    for port in [102, 103] {
        gate.open(&tcp((CLIENT, 5000), (PLC, port), "S", b""));
        assert_eq!(gate.come(&tcp((PLC, port), (CLIENT, 5000), "SA", b"")), Ok(()));
        assert_eq!(gate.out(&tcp((CLIENT, 5000), (PLC, port), "A", b"four")).passage, Passage::Pass);
    }
    let narrow = permit(102);
    let resets = gate.filter.handle_permit(|end| narrow.flow(end).map_err(|_| PacketFault::NotGranted));
    let [[to_machine, to_client]] = resets.as_slice() else { panic!("{resets:?}") };
    for (bytes, from, to, sequence) in [(to_machine, CLIENT, PLC, 104), (to_client, PLC, CLIENT, 101)] {
        let packet = read(bytes).unwrap();
        let Content::Tcp(segment) = packet.content else { panic!("{packet:?}") };
        assert_eq!((packet.from, packet.to, segment.rst, segment.sequence), (from, to, true, sequence));
    }
    assert_eq!(gate.come(&tcp((PLC, 102), (CLIENT, 5000), "A", b"")), Ok(()));
    assert_eq!(gate.come(&tcp((PLC, 103), (CLIENT, 5000), "A", b"")), Err(PacketFault::Uninvited));
    let over: Vec<_> = gate.over().iter().map(|over| (over.key.end.port, over.refused)).collect();
    assert_eq!(over, [(103, Some(PacketFault::NotGranted))]);
    assert_eq!(gate.filter.close().len(), 1);
    assert_eq!(gate.over().len(), 1);
}

#[test]
fn a_permit_for_one_place_opens_no_other() {
    let (mut filter, permit) = (Filter::new(CLIENT), permit(103));
    let elsewhere = FlowEnd { protocol: Protocol::Udp, ip: PLC.into(), port: 161 };
    let mut bytes = udp((CLIENT, 5000), (OTHER, 161));
    let outcome = filter.handle_outbound(&mut bytes, 0, |_| Ok(permit.flow(elsewhere).unwrap()));
    assert_eq!((outcome.passage, filter.flows()), (dropped(PacketFault::NotGranted), 0));
}

#[test]
fn what_is_too_large_is_said_with_the_size_that_fits() {
    let mut gate = Gate::new();
    let mut bytes = Vec::new();
    ip(CLIENT, PLC).udp(5000, 161).write(&mut bytes, &[7; 1252]).unwrap();
    gate.open(&bytes);
    bytes.clear();
    ip(CLIENT, PLC).udp(5000, 161).write(&mut bytes, &[7; 1253]).unwrap();
    let outcome = gate.out(&bytes);
    assert_eq!(outcome.passage, dropped(PacketFault::Oversize));
    let answer = outcome.answer.unwrap();
    assert_eq!((icmp(Some(&answer)), &answer[26..28]), (Some((3, 4)), &1280_u16.to_be_bytes()[..]));
    assert_eq!(gate.come(&bytes), Err(PacketFault::Oversize));
}

#[test]
fn the_largest_segment_is_lowered_in_both_directions() {
    let with_mss = |from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), is_answer: bool| {
        let mut bytes = Vec::new();
        let step = ip(from.0, to.0).tcp(from.1, to.1, 1, 1).syn();
        let step = if is_answer { step.ack(2) } else { step };
        step.options(&[TcpOptionElement::MaximumSegmentSize(1460)]).unwrap().write(&mut bytes, b"").unwrap();
        bytes
    };
    let mut gate = Gate::new();
    let mut syn = with_mss((CLIENT, 5000), (PLC, 102), false);
    let permit = Arc::clone(&gate.permit);
    let outcome = gate.filter.handle_outbound(&mut syn, 0, |end| Ok(permit.flow(end).unwrap()));
    let Passage::Begins(key) = outcome.passage else { panic!("{outcome:?}") };
    assert!(gate.filter.begin(&key, 0));
    let mut answer = with_mss((PLC, 102), (CLIENT, 5000), true);
    assert_eq!(gate.filter.handle_inbound(&mut answer, 0), Ok(()));
    assert_eq!((&syn[42..44], &answer[42..44]), (&1240_u16.to_be_bytes()[..], &1240_u16.to_be_bytes()[..]));
}

#[test]
fn addresses_of_many_are_refused_before_anybody_is_asked() {
    let mut gate = Gate::new();
    for many in [[224, 0, 0, 1], [255, 255, 255, 255], [0, 0, 0, 0]] {
        assert_eq!(gate.out(&udp((CLIENT, 5000), (many.into(), 161))).passage, dropped(PacketFault::Address));
    }
    assert_eq!(gate.asked, 0);
}

#[test]
fn a_flood_of_flows_is_refused_at_the_bound_and_answers_are_paced() {
    let mut gate = Gate::new();
    for near in 1..=4096 {
        gate.open(&udp((CLIENT, near), (PLC, 161)));
    }
    let one_more = udp((CLIENT, 5000), (PLC, 161));
    assert_eq!(gate.out(&one_more).passage, dropped(PacketFault::Busy));
    assert_eq!(gate.out(&udp((CLIENT, 4096), (PLC, 161))).passage, Passage::Pass, "what is open stays");
    let denied = ping(CLIENT, OTHER, 1);
    assert_eq!((0..1000).filter(|_| gate.out(&denied).answer.is_some()).count(), 100);
    gate.now_ms += 100;
    assert_eq!((0..1000).filter(|_| gate.out(&denied).answer.is_some()).count(), 10);
    gate.now_ms += 60_000;
    gate.open(&one_more);
    assert_eq!(gate.filter.flows(), 1, "the silent ones made room");
}
