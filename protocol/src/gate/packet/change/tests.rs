use etherparse::{PacketBuilder, SlicedPacket, TcpOptionElement, TransportSlice};

use super::super::read::read;
use super::*;

const CLIENT: Ipv4Addr = Ipv4Addr::new(100, 96, 0, 2);
const MACHINE: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 10);
const HERE: Ipv4Addr = Ipv4Addr::new(100, 127, 3, 4);
const ALIAS: Ipv4Addr = Ipv4Addr::new(100, 66, 195, 10);

/// What stands for the client and the machine; others stay.
fn other(ip: Ipv4Addr) -> Ipv4Addr {
    match ip {
        CLIENT => HERE,
        MACHINE => ALIAS,
        ip => ip,
    }
}

fn between(from: Ipv4Addr, to: Ipv4Addr) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ipv4(from.octets(), to.octets(), 64)
}

fn syn(options: &[TcpOptionElement]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let tcp = between(CLIENT, MACHINE).tcp(40_000, 102, 7, 1000).syn();
    tcp.options(options).unwrap().write(&mut bytes, b"data").unwrap();
    bytes
}

/// Fails where a checksum of the packet is wrong.
fn assert_sums(bytes: &[u8]) {
    assert_eq!(checksum(&[&bytes[..HEADER]]), 0, "header");
    let payload = &bytes[HEADER..];
    if bytes[9] == 1 {
        assert_eq!(checksum(&[payload]), 0, "ICMP");
    } else {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        assert_eq!(checksum(&[&bytes[12..20], &[0, bytes[9]], &length, payload]), 0, "payload");
    }
}

#[test]
fn a_larger_segment_than_fits_is_lowered_and_a_smaller_one_stays() {
    for (before, after) in [(1460, 1240), (u16::MAX, 1240), (1240, 1240), (536, 536)] {
        // At an even place and at an odd one.
        for options in [
            &[TcpOptionElement::MaximumSegmentSize(before)][..],
            &[TcpOptionElement::Noop, TcpOptionElement::MaximumSegmentSize(before)],
        ] {
            let mut bytes = syn(options);
            let packet = read(&bytes).unwrap();
            clamp_mss(&mut bytes, &packet);
            assert_sums(&bytes);
            let sliced = SlicedPacket::from_ip(&bytes).unwrap();
            let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("{sliced:?}") };
            let size = TcpOptionElement::MaximumSegmentSize(after);
            assert!(tcp.options_iterator().any(|option| option == Ok(size.clone())), "{after}");
        }
    }
    let without = syn(&[]);
    let mut bytes = without.clone();
    clamp_mss(&mut bytes, &read(&without).unwrap());
    assert_eq!(bytes, without);
}

#[test]
fn a_packet_with_other_addresses_is_the_packet_that_would_have_been_built_with_them() {
    let build = |from, to, kind: u8, data: &[u8]| {
        let mut bytes = Vec::new();
        let ip = between(from, to);
        match kind {
            0 => ip.tcp(40_000, 102, 7, 1000).ack(9).write(&mut bytes, data).unwrap(),
            1 => ip.udp(40_000, 161).write(&mut bytes, data).unwrap(),
            _ => ip.icmpv4_echo_request(3, 4).write(&mut bytes, data).unwrap(),
        }
        bytes
    };
    for kind in 0..3 {
        for data in [&b""[..], b"a", b"abcd", &[0xff; 1200]] {
            let mut bytes = build(CLIENT, MACHINE, kind, data);
            let packet = read(&bytes).unwrap();
            readdress(&mut bytes, &packet, other);
            assert_eq!(bytes, build(HERE, ALIAS, kind, data), "{kind}");
        }
    }
}

#[test]
fn a_datagram_without_a_checksum_gets_none() {
    let mut bytes = Vec::new();
    between(CLIENT, MACHINE).udp(40_000, 161).write(&mut bytes, b"abc").unwrap();
    bytes[UDP_CHECKSUM_AT..UDP_CHECKSUM_AT + 2].fill(0);
    let packet = read(&bytes).unwrap();
    readdress(&mut bytes, &packet, other);
    assert_eq!(bytes[UDP_CHECKSUM_AT..UDP_CHECKSUM_AT + 2], [0, 0]);
}

#[test]
fn an_error_is_about_the_packet_with_the_other_addresses() {
    let error = |from: Ipv4Addr, to, about: &[u8]| {
        let mut bytes = Vec::new();
        let kind =
            etherparse::Icmpv4Type::TimeExceeded(etherparse::icmpv4::TimeExceededCode::TtlExceededInTransit);
        between(from, to).icmpv4(kind).write(&mut bytes, about).unwrap();
        bytes
    };
    let mut about = Vec::new();
    between(CLIENT, MACHINE).udp(40_000, 33_434).write(&mut about, b"abcdefgh").unwrap();
    // From the machine, and from a router before it.
    let router = Ipv4Addr::new(192, 168, 0, 1);
    for (sender, seen) in [(MACHINE, ALIAS), (router, router)] {
        let mut bytes = error(sender, CLIENT, &about);
        let packet = read(&bytes).unwrap();
        readdress(&mut bytes, &packet, other);
        assert_sums(&bytes);
        let Ok(Packet { content: Content::Error(quoted), from, to }) = read(&bytes) else { panic!() };
        assert_eq!((from, to, quoted.from, quoted.to), (seen, HERE, HERE, ALIAS));
        assert_eq!(checksum(&[&bytes[QUOTED_AT..QUOTED_AT + HEADER]]), 0);
    }
}
