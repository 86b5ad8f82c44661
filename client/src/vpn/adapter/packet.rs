//! What a packet of the adapter is about: which flow, and what of it.
//!
//! Deliberately absent: fragments, which are put together before, and everything that is neither TCP, UDP nor an echo request: multicast,
//! neighbour discovery, what a machine would answer with an error. All that is dropped.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use etherparse::{IpNumber, IpSlice, TcpSlice, UdpSlice};

use postern_protocol::policy::Protocol;
use postern_protocol::wire::flow::message::Echo;

/// A flow as programs of this computer see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// What it is carried in.
    pub(super) protocol: Protocol,
    /// The program.
    pub(super) from: SocketAddr,
    /// The machine, by its address on this computer; both ports are zero with ICMP.
    pub(super) to: SocketAddr,
}

/// A packet that belongs to a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    /// Which.
    pub(super) key: Key,
    /// What.
    pub(super) content: Content<'a>,
}

/// What a packet brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// A TCP segment.
    Segment(Segment),
    /// The payload of a UDP datagram.
    Datagram(&'a [u8]),
    /// An echo request.
    Echo(Echo<'a>),
}

/// What matters of a TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Whether it begins a connection.
    pub(super) opens: bool,
    /// Whether it ends one at once.
    pub(super) resets: bool,
    /// Its sequence number.
    pub(super) sequence: u32,
    /// What it acknowledges.
    pub(super) acknowledged: Option<u32>,
    /// The sequence numbers that it takes.
    pub(super) length: u32,
    /// Where in the packet the largest segment that its sender takes is written.
    pub(super) mss: Option<Range<usize>>,
}

/// Reads a packet; none belongs to no flow.
pub(super) fn read(bytes: &[u8]) -> Option<Packet<'_>> {
    let ip = IpSlice::from_slice(bytes).ok()?;
    if ip.is_fragmenting_payload() {
        return None;
    }
    let (from, to) = (ip.source_addr(), ip.destination_addr());
    if !is_host(from) || !is_host(to) {
        return None;
    }
    let payload = ip.payload();
    let key = |protocol, source, destination| Key {
        protocol,
        from: SocketAddr::new(from, source),
        to: SocketAddr::new(to, destination),
    };
    match (payload.ip_number, from) {
        (IpNumber::TCP, _) => {
            let tcp = TcpSlice::from_slice(payload.payload).ok()?;
            let key = key(Protocol::Tcp, tcp.source_port(), tcp.destination_port());
            let before = bytes.len().checked_sub(payload.payload.len())?;
            Some(Packet { key, content: Content::Segment(segment(&tcp, before)?) })
        }
        (IpNumber::UDP, _) => {
            let udp = UdpSlice::from_slice(payload.payload).ok()?;
            let key = key(Protocol::Udp, udp.source_port(), udp.destination_port());
            Some(Packet { key, content: Content::Datagram(udp.payload()) })
        }
        (IpNumber::ICMP, IpAddr::V4(_)) => echo(key(Protocol::Icmp, 0, 0), payload.payload, ECHO_REQUEST_V4),
        (IpNumber::IPV6_ICMP, IpAddr::V6(_)) => {
            echo(key(Protocol::Icmp, 0, 0), payload.payload, ECHO_REQUEST_V6)
        }
        _ => None,
    }
    .filter(|packet| packet.key.protocol == Protocol::Icmp || packet.key.to.port() != 0)
}

fn segment(tcp: &TcpSlice<'_>, before: usize) -> Option<Segment> {
    let length = u32::try_from(tcp.payload().len()).ok()?;
    Some(Segment {
        opens: tcp.syn() && !tcp.ack(),
        resets: tcp.rst(),
        sequence: tcp.sequence_number(),
        acknowledged: tcp.ack().then(|| tcp.acknowledgment_number()),
        length: length.checked_add(u32::from(tcp.syn()))?.checked_add(u32::from(tcp.fin()))?,
        mss: mss(tcp.options(), before.checked_add(TCP_HEADER)?),
    })
}

/// Where the option of RFC 9293 section 3.7.1 has its value.
fn mss(options: &[u8], before: usize) -> Option<Range<usize>> {
    let mut at = 0;
    loop {
        match *options.get(at..)? {
            [0, ..] => return None,
            [1, ..] => at += 1,
            [2, 4, _, _, ..] => {
                let start = before.checked_add(at)?.checked_add(2)?;
                return Some(start..start.checked_add(2)?);
            }
            [_, length, ..] if length >= 2 => at += usize::from(length),
            _ => return None,
        }
    }
}

fn echo(key: Key, message: &[u8], request: u8) -> Option<Packet<'_>> {
    let (head, rest) = message.split_first_chunk::<4>()?;
    let [kind, 0, _, _] = *head else { return None };
    // The rest is the message of the wire: identifier, sequence number, data.
    let echo = Echo::parse(rest).ok().filter(|_| kind == request)?;
    Some(Packet { key, content: Content::Echo(echo) })
}

/// Whether it is the address of one host.
fn is_host(ip: IpAddr) -> bool {
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_multicast() || ip.is_unspecified() || ip.is_loopback() || is_broadcast)
}

const TCP_HEADER: usize = 20;
const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, TcpOptionElement};
    use proptest::prelude::*;

    use super::*;

    const HERE: [u8; 4] = [100, 127, 0, 1];
    const MACHINE: [u8; 4] = [192, 168, 0, 10];

    fn built(step: etherparse::PacketBuilderStep<impl Build>, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Build::build(step, &mut bytes, payload);
        bytes
    }

    /// The last step differs by protocol, and its methods are the same.
    trait Build: Sized {
        fn build(step: etherparse::PacketBuilderStep<Self>, bytes: &mut Vec<u8>, payload: &[u8]);
    }

    macro_rules! build {
        ($($header:ty),+) => {
            $(impl Build for $header {
                fn build(step: etherparse::PacketBuilderStep<Self>, bytes: &mut Vec<u8>, payload: &[u8]) {
                    step.write(bytes, payload).unwrap();
                }
            })+
        };
    }
    build!(etherparse::UdpHeader, etherparse::TcpHeader, etherparse::Icmpv4Header, etherparse::Icmpv6Header);

    fn v4() -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
        PacketBuilder::ipv4(HERE, MACHINE, 64)
    }

    fn key(protocol: Protocol, from: u16, to: u16) -> Key {
        Key { protocol, from: (HERE, from).into(), to: (MACHINE, to).into() }
    }

    #[test]
    fn a_syn_says_who_wants_what_and_where_its_largest_segment_stands() {
        let options = [TcpOptionElement::Noop, TcpOptionElement::MaximumSegmentSize(1240)];
        let packet = built(v4().tcp(40_000, 102, 7, 1000).syn().options(&options).unwrap(), b"");
        let expected = Segment {
            opens: true,
            resets: false,
            sequence: 7,
            acknowledged: None,
            length: 1,
            mss: Some(43..45),
        };
        let read = read(&packet).unwrap();
        assert_eq!(
            read,
            Packet { key: key(Protocol::Tcp, 40_000, 102), content: Content::Segment(expected) }
        );
        assert_eq!(packet[43..45], 1240_u16.to_be_bytes());
    }

    #[test]
    fn a_segment_takes_its_bytes_and_its_end() {
        let packet = built(v4().tcp(1, 2, 100, 1000).ack(5).fin(), b"abc");
        let Some(Packet { content: Content::Segment(segment), .. }) = read(&packet) else { panic!("none") };
        assert_eq!((segment.opens, segment.length, segment.acknowledged), (false, 4, Some(5)));
    }

    #[test]
    fn datagrams_and_echo_requests_bring_their_payload() {
        let udp = built(v4().udp(40_000, 161), b"abc");
        let expected = Packet { key: key(Protocol::Udp, 40_000, 161), content: Content::Datagram(b"abc") };
        assert_eq!(read(&udp), Some(expected));
        let ping = built(v4().icmpv4_echo_request(3, 4), b"abc");
        let echo = Echo { identifier: 3, sequence: 4, data: b"abc" };
        let expected = Packet { key: key(Protocol::Icmp, 0, 0), content: Content::Echo(echo) };
        assert_eq!(read(&ping), Some(expected));
        let v6 = PacketBuilder::ipv6([0xfd; 16], [0xfc; 16], 64).icmpv6_echo_request(3, 4);
        let ping = built(v6, b"abc");
        assert_eq!(read(&ping).map(|packet| packet.content), Some(Content::Echo(echo)));
    }

    #[test]
    fn what_belongs_to_no_flow_is_none() {
        assert_eq!(read(&built(v4().icmpv4_echo_reply(3, 4), b"abc")), None);
        assert_eq!(read(&built(v4().udp(1, 0), b"abc")), None);
        let multicast = PacketBuilder::ipv4(HERE, [224, 0, 0, 251], 1).udp(5353, 5353);
        assert_eq!(read(&built(multicast, b"abc")), None);
        let broadcast = PacketBuilder::ipv4(HERE, [255; 4], 1).udp(68, 67);
        assert_eq!(read(&built(broadcast, b"abc")), None);
        let mut fragment = built(v4().udp(1, 2), b"abc");
        fragment[6] = 0x20;
        assert_eq!(read(&fragment), None);
        for length in 0..built(v4().udp(1, 2), b"").len() {
            assert_eq!(read(&built(v4().udp(1, 2), b"")[..length]), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_packet_ends_the_program(bytes in prop::collection::vec(any::<u8>(), 0..80), first in 0x40..0x70_u8) {
            let mut bytes = bytes;
            if let Some(version) = bytes.first_mut() {
                *version = first;
            }
            if let Some(Packet { content: Content::Segment(Segment { mss: Some(mss), .. }), .. }) = read(&bytes) {
                prop_assert!(mss.end <= bytes.len());
            }
        }
    }
}
