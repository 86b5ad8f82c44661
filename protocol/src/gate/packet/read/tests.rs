use etherparse::{PacketBuilder, PacketBuilderStep, TcpOptionElement};

use super::*;

const CLIENT: [u8; 4] = [100, 96, 0, 2];
const MACHINE: [u8; 4] = [192, 168, 0, 10];

fn ip() -> PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ipv4(CLIENT, MACHINE, 64)
}

fn tcp(options: &[TcpOptionElement]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ip().tcp(40_000, 102, 7, 1000).syn().options(options).unwrap().write(&mut bytes, b"").unwrap();
    bytes
}

fn udp(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ip().udp(40_000, 161).write(&mut bytes, data).unwrap();
    bytes
}

fn ping() -> Vec<u8> {
    let mut bytes = Vec::new();
    ip().icmpv4_echo_request(3, 4).write(&mut bytes, b"abc").unwrap();
    bytes
}

/// The packet with this byte in place of what was there.
fn with(mut bytes: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    bytes[at] = byte;
    bytes
}

#[test]
fn a_syn_says_who_wants_what_and_where_its_largest_segment_stands() {
    let bytes = tcp(&[TcpOptionElement::Noop, TcpOptionElement::MaximumSegmentSize(1460)]);
    let segment = Segment {
        source: 40_000,
        destination: 102,
        syn: true,
        ack: false,
        fin: false,
        rst: false,
        sequence: 7,
        acknowledged: 0,
        length: 1,
        mss_at: Some(43),
    };
    let packet = Packet { from: CLIENT.into(), to: MACHINE.into(), content: Content::Tcp(segment) };
    assert_eq!(read(&bytes), Ok(packet));
    assert_eq!(bytes[43..45], 1460_u16.to_be_bytes());
}

#[test]
fn datagrams_and_echoes_name_their_ports_and_identifiers() {
    let content = |bytes: &[u8]| read(bytes).map(|packet| packet.content);
    assert_eq!(content(&udp(b"abc")), Ok(Content::Udp { source: 40_000, destination: 161 }));
    assert_eq!(content(&ping()), Ok(Content::EchoRequest { identifier: 3 }));
    assert_eq!(content(&with(ping(), 20, 0)), Ok(Content::EchoReply { identifier: 3 }));
}

#[test]
fn an_error_names_the_packet_that_it_is_about() {
    for (quoted, protocol, near, far) in [
        (tcp(&[]), Protocol::Tcp, 40_000, 102),
        (udp(b"abcdefgh"), Protocol::Udp, 40_000, 161),
        (ping(), Protocol::Icmp, 3, 0),
    ] {
        // Header and eight bytes are as much as some machines quote.
        for length in [28, quoted.len()] {
            let mut bytes = Vec::new();
            let reason = etherparse::Icmpv4Type::DestinationUnreachable(
                etherparse::icmpv4::DestUnreachableHeader::Host,
            );
            let ip = PacketBuilder::ipv4(MACHINE, CLIENT, 64);
            ip.icmpv4(reason).write(&mut bytes, &quoted[..length]).unwrap();
            let expected = Quoted { protocol, from: CLIENT.into(), to: MACHINE.into(), near, far };
            assert_eq!(read(&bytes).map(|packet| packet.content), Ok(Content::Error(expected)));
        }
    }
}

#[test]
fn what_is_not_whole_and_plain_is_refused_with_its_fault() {
    let cases = [
        ("nothing", Vec::new(), PacketFault::Length),
        ("IPv6", with(udp(b""), 0, 0x60), PacketFault::Version),
        ("IPv6 in name only", vec![0x60], PacketFault::Version),
        ("a short header", with(udp(b""), 0, 0x44), PacketFault::Length),
        ("options", with(udp(b"abcdefgh"), 0, 0x46), PacketFault::Options),
        ("more than it says", [udp(b""), vec![0]].concat(), PacketFault::Length),
        ("less than it says", udp(b"abc")[..30].to_vec(), PacketFault::Length),
        ("a first fragment", with(udp(b""), 6, 0x20), PacketFault::Fragment),
        ("a later fragment", with(udp(b""), 7, 1), PacketFault::Fragment),
        ("the reserved bit", with(udp(b""), 6, 0x80), PacketFault::Fragment),
        ("IP in IP", with(udp(b""), 9, 4), PacketFault::Protocol),
        ("IPv6 in IP", with(udp(b""), 9, 41), PacketFault::Protocol),
        ("GRE", with(udp(b""), 9, 47), PacketFault::Protocol),
        ("IGMP", with(udp(b""), 9, 2), PacketFault::Protocol),
        ("a datagram that says less", with(udp(b"abc"), 25, 8), PacketFault::Length),
        ("no port to come from", with(with(udp(b""), 20, 0), 21, 0), PacketFault::Address),
        ("no port to go to", with(with(udp(b""), 22, 0), 23, 0), PacketFault::Address),
        ("a TCP header that is longer than the packet", with(tcp(&[]), 32, 0xf0), PacketFault::Length),
        ("a TCP header that is too short", with(tcp(&[]), 32, 0x40), PacketFault::Length),
        ("no flags", with(tcp(&[]), 33, 0), PacketFault::Flags),
        ("SYN and FIN", with(tcp(&[]), 33, 3), PacketFault::Flags),
        ("SYN and RST", with(tcp(&[]), 33, 6), PacketFault::Flags),
        ("FIN without ACK", with(tcp(&[]), 33, 1), PacketFault::Flags),
        ("every flag", with(tcp(&[]), 33, 0xff), PacketFault::Flags),
        ("a timestamp request", with(ping(), 20, 13), PacketFault::Kind),
        ("a redirect", with(ping(), 20, 5), PacketFault::Kind),
        ("an echo with a code", with(ping(), 21, 1), PacketFault::Kind),
        ("an error about nothing", with(ping(), 20, 3), PacketFault::Length),
    ];
    for (what, bytes, fault) in cases {
        assert_eq!(read(&bytes), Err(fault), "{what}");
    }
    for whole in [tcp(&[]), udp(b""), ping()] {
        for length in 1..whole.len() {
            assert_eq!(read(&whole[..length]), Err(PacketFault::Length), "{length}");
        }
        // The length is made to fit: a header that is cut is still none.
        for length in 21..whole.len().min(28) {
            let cut = with(whole[..length].to_vec(), 3, u8::try_from(length).unwrap());
            assert_eq!(read(&cut), Err(PacketFault::Length), "{length}");
        }
    }
}
