//! Packets that this program sends to programs of this computer in the name of machines; TCP connections that are open
//! send their own.

use std::net::{IpAddr, SocketAddr};

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::icmpv6::DestUnreachableCode;
use etherparse::{Icmpv4Type, Icmpv6Type, IpHeaders, PacketBuilder, PacketBuilderStep};

use postern_protocol::wire::flow::message::Echo;

use super::super::verdict::Verdict;
use super::packet::{Content, Key, Packet, Segment};

/// Why a flow is not, in the words of TCP and ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum No {
    /// The machine refused: a reset, or no such port.
    Refused,
    /// Nobody may: administratively prohibited.
    Prohibited,
    /// The machine is away.
    HostAway,
    /// The device is away.
    NetworkAway,
}

impl From<Verdict> for No {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Forbidden => Self::Prohibited,
            Verdict::NoNetwork => Self::NetworkAway,
            Verdict::Refused => Self::Refused,
            Verdict::NoHost | Verdict::Silent | Verdict::Busy | Verdict::Failed => Self::HostAway,
        }
    }
}

/// The answer to a packet whose flow is not; none is said to a reset.
pub(super) fn refusal(packet: &Packet<'_>, bytes: &[u8], no: No) -> Option<Vec<u8>> {
    match (&packet.content, no) {
        (Content::Segment(Segment { resets: true, .. }), _) => None,
        (Content::Segment(segment), No::Refused) => reset(packet.key, segment),
        (Content::Segment(_) | Content::Datagram(_) | Content::Echo(_), no) => {
            unreachable(packet.key, bytes, no)
        }
    }
}

/// A reset (RFC 9293 section 3.5.2, the first group).
pub(super) fn reset(key: Key, segment: &Segment) -> Option<Vec<u8>> {
    let (from, to) = (key.to.port(), key.from.port());
    let step = ip(key.to.ip(), key.from.ip())?;
    let step = match segment.acknowledged {
        Some(expected) => step.tcp(from, to, expected, 0).rst(),
        None => step.tcp(from, to, 0, 0).rst().ack(segment.sequence.wrapping_add(segment.length)),
    };
    let mut bytes = Vec::new();
    step.write(&mut bytes, &[]).ok()?;
    Some(bytes)
}

/// That a packet did not arrive (RFC 792, RFC 4443 section 3.1), with its beginning.
fn unreachable(key: Key, bytes: &[u8], no: No) -> Option<Vec<u8>> {
    let quoted = bytes.get(..bytes.len().min(QUOTED))?;
    let step = ip(key.to.ip(), key.from.ip())?;
    let mut answer = Vec::new();
    if key.to.is_ipv4() {
        let code = match no {
            No::Refused => DestUnreachableHeader::Port,
            No::Prohibited => DestUnreachableHeader::FilterProhibited,
            No::HostAway => DestUnreachableHeader::Host,
            No::NetworkAway => DestUnreachableHeader::Network,
        };
        step.icmpv4(Icmpv4Type::DestinationUnreachable(code)).write(&mut answer, quoted).ok()?;
    } else {
        let code = match no {
            No::Refused => DestUnreachableCode::Port,
            No::Prohibited => DestUnreachableCode::Prohibited,
            No::HostAway => DestUnreachableCode::Address,
            No::NetworkAway => DestUnreachableCode::NoRoute,
        };
        step.icmpv6(Icmpv6Type::DestinationUnreachable(code)).write(&mut answer, quoted).ok()?;
    }
    Some(answer)
}

/// A datagram of a machine.
pub(super) fn datagram(from: SocketAddr, to: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    ip(from.ip(), to.ip())?.udp(from.port(), to.port()).write(&mut bytes, data).ok()?;
    Some(bytes)
}

/// A machine's answer to an echo request.
pub(super) fn echo(from: IpAddr, to: IpAddr, echo: &Echo<'_>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let step = ip(from, to)?;
    if from.is_ipv4() {
        step.icmpv4_echo_reply(echo.identifier, echo.sequence).write(&mut bytes, echo.data).ok()?;
    } else {
        step.icmpv6_echo_reply(echo.identifier, echo.sequence).write(&mut bytes, echo.data).ok()?;
    }
    Some(bytes)
}

fn ip(from: IpAddr, to: IpAddr) -> Option<PacketBuilderStep<IpHeaders>> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Some(PacketBuilder::ipv4(from.octets(), to.octets(), HOPS)),
        (IpAddr::V6(from), IpAddr::V6(to)) => Some(PacketBuilder::ipv6(from.octets(), to.octets(), HOPS)),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

const HOPS: u8 = 64;
/// So much of a packet is quoted that its header and ports are in it, and the answer fits everywhere.
const QUOTED: usize = 548;

#[cfg(test)]
mod tests {
    use etherparse::{SlicedPacket, TransportSlice};

    use super::super::packet::read;
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn syn() -> Vec<u8> {
        let mut bytes = Vec::new();
        let ip = PacketBuilder::ipv4([100, 127, 0, 1], [192, 168, 0, 10], 64);
        ip.tcp(40_000, 102, 7, 1000).syn().write(&mut bytes, &[]).unwrap();
        bytes
    }

    #[test]
    fn a_syn_is_reset_by_its_own_number_and_a_stray_segment_by_what_it_acknowledges() {
        let bytes = syn();
        let answer = refusal(&read(&bytes).unwrap(), &bytes, No::Refused).unwrap();
        let sliced = SlicedPacket::from_ip(&answer).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("{sliced:?}") };
        assert_eq!((tcp.source_port(), tcp.destination_port()), (102, 40_000));
        assert_eq!(
            (tcp.rst(), tcp.ack(), tcp.sequence_number(), tcp.acknowledgment_number()),
            (true, true, 0, 8)
        );
        let mut stray = Vec::new();
        let ip = PacketBuilder::ipv4([100, 127, 0, 1], [192, 168, 0, 10], 64);
        ip.tcp(40_000, 102, 7, 1000).ack(55).write(&mut stray, b"abc").unwrap();
        let answer = refusal(&read(&stray).unwrap(), &stray, No::Refused).unwrap();
        let sliced = SlicedPacket::from_ip(&answer).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("{sliced:?}") };
        assert_eq!((tcp.rst(), tcp.ack(), tcp.sequence_number()), (true, false, 55));
    }

    #[test]
    fn a_reset_is_not_answered() {
        let mut bytes = Vec::new();
        let ip = PacketBuilder::ipv4([100, 127, 0, 1], [192, 168, 0, 10], 64);
        ip.tcp(40_000, 102, 7, 1000).rst().write(&mut bytes, &[]).unwrap();
        assert_eq!(refusal(&read(&bytes).unwrap(), &bytes, No::Refused), None);
        assert_eq!(refusal(&read(&bytes).unwrap(), &bytes, No::Prohibited), None);
    }

    #[test]
    fn what_is_prohibited_is_said_with_the_beginning_of_the_packet() {
        for (no, code) in [(No::Prohibited, 13), (No::HostAway, 1), (No::NetworkAway, 0)] {
            let bytes = syn();
            let answer = refusal(&read(&bytes).unwrap(), &bytes, no).unwrap();
            let sliced = SlicedPacket::from_ip(&answer).unwrap();
            let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else { panic!("{sliced:?}") };
            assert_eq!((icmp.type_u8(), icmp.code_u8()), (3, code));
            assert_eq!(icmp.payload(), bytes);
        }
        let from = addr("[fd70:6f73:7465:ffff::1]:4000");
        let bytes = datagram(from, addr("[fd00::10]:161"), &[7; 1200]).unwrap();
        let answer = refusal(&read(&bytes).unwrap(), &bytes, No::Prohibited).unwrap();
        let sliced = SlicedPacket::from_ip(&answer).unwrap();
        let Some(TransportSlice::Icmpv6(icmp)) = sliced.transport else { panic!("{sliced:?}") };
        assert_eq!((icmp.type_u8(), icmp.code_u8(), icmp.payload().len()), (1, 1, QUOTED));
        assert!(icmp.is_checksum_valid(addr("[fd00::10]:161").ip().octets6(), from.ip().octets6()));
    }

    #[test]
    fn a_closed_port_is_said_to_whoever_sends_datagrams() {
        let bytes = datagram(addr("100.127.0.1:4000"), addr("192.168.0.10:161"), b"abc").unwrap();
        let answer = refusal(&read(&bytes).unwrap(), &bytes, No::Refused).unwrap();
        let sliced = SlicedPacket::from_ip(&answer).unwrap();
        let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else { panic!("{sliced:?}") };
        assert_eq!((icmp.type_u8(), icmp.code_u8()), (3, 3));
    }

    #[test]
    fn an_echo_comes_back_as_it_went() {
        let said = Echo { identifier: 3, sequence: 4, data: b"abc" };
        let bytes = echo("192.168.0.10".parse().unwrap(), "100.127.0.1".parse().unwrap(), &said).unwrap();
        let sliced = SlicedPacket::from_ip(&bytes).unwrap();
        let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else { panic!("{sliced:?}") };
        assert_eq!(
            (icmp.type_u8(), icmp.code_u8(), icmp.bytes5to8(), icmp.payload()),
            (0, 0, [0, 3, 0, 4], b"abc".as_slice())
        );
    }

    trait Octets6 {
        fn octets6(&self) -> [u8; 16];
    }

    impl Octets6 for IpAddr {
        fn octets6(&self) -> [u8; 16] {
            match self {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            }
        }
    }
}
