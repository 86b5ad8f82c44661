//! What a client hears of a packet that is not carried, as if the machine or a firewall before it had said it; and the end of a
//! connection that was cut.

use std::net::Ipv4Addr;

use super::MTU;
use super::change::checksum;
use super::read::{Content, HEADER, Packet, Segment};
use crate::wire::registry::PacketFault;

/// Answers to what is refused: so many at once, and then one each so often.
#[derive(Debug)]
pub(super) struct Pace {
    full_at_ms: u64,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { full_at_ms: 0 }
    }

    pub(super) fn admits(&mut self, now_ms: u64) -> bool {
        let full_at_ms = self.full_at_ms.max(now_ms).saturating_add(EACH_MS);
        let admitted = full_at_ms.saturating_sub(now_ms) <= EACH_MS * BURST;
        if admitted {
            self.full_at_ms = full_at_ms;
        }
        admitted
    }
}

/// What the client hears of a packet that was dropped.
pub(super) fn to(fault: PacketFault, bytes: &[u8], packet: &Packet) -> Option<Vec<u8>> {
    match fault {
        PacketFault::NotGranted | PacketFault::Looking | PacketFault::Read | PacketFault::Forbidden => {
            prohibited(bytes, packet)
        }
        PacketFault::Stray => match packet.content {
            Content::Tcp(segment) => stray(packet, &segment),
            Content::Udp { .. }
            | Content::EchoRequest { .. }
            | Content::EchoReply { .. }
            | Content::Error(_) => None,
        },
        // Who sends nonsense hears nothing, and who sends too much sends it again.
        PacketFault::Length
        | PacketFault::Version
        | PacketFault::Options
        | PacketFault::Fragment
        | PacketFault::Protocol
        | PacketFault::Flags
        | PacketFault::Kind
        | PacketFault::Source
        | PacketFault::Address
        | PacketFault::Busy
        | PacketFault::Waiting
        | PacketFault::Unrecorded
        | PacketFault::Oversize
        | PacketFault::Uninvited
        | PacketFault::Queue => None,
    }
}

/// The answer to a packet that may not go there: a reset of a connection, otherwise that it is prohibited.
fn prohibited(bytes: &[u8], packet: &Packet) -> Option<Vec<u8>> {
    match packet.content {
        Content::Tcp(segment) => stray(packet, &segment),
        Content::Udp { .. } | Content::EchoRequest { .. } => {
            Some(unreachable(bytes, (packet.to, packet.from), PROHIBITED, 0))
        }
        // Nothing is said about an error (RFC 1122, section 3.2.2).
        Content::EchoReply { .. } | Content::Error(_) => None,
    }
}

/// That a packet is too large for the way.
pub(super) fn too_large(bytes: &[u8], from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    unreachable(bytes, (to, from), FRAGMENTATION_NEEDED, MTU)
}

/// A reset of a connection that nobody knows (RFC 9293 section 3.5.2); none is said to a reset.
fn stray(packet: &Packet, segment: &Segment) -> Option<Vec<u8>> {
    if segment.rst {
        return None;
    }
    let ports = (segment.destination, segment.source);
    let answer = if segment.ack {
        reset((packet.to, packet.from), ports, segment.acknowledged, None)
    } else {
        let acknowledged = segment.sequence.wrapping_add(segment.length);
        reset((packet.to, packet.from), ports, 0, Some(acknowledged))
    };
    Some(answer)
}

/// A reset.
pub(super) fn reset(
    (from, to): (Ipv4Addr, Ipv4Addr),
    (source, destination): (u16, u16),
    sequence: u32,
    acknowledged: Option<u32>,
) -> Vec<u8> {
    let mut tcp = Vec::with_capacity(TCP_HEADER);
    tcp.extend(source.to_be_bytes());
    tcp.extend(destination.to_be_bytes());
    tcp.extend(sequence.to_be_bytes());
    tcp.extend(acknowledged.unwrap_or(0).to_be_bytes());
    tcp.extend([0x50, if acknowledged.is_some() { 0x14 } else { 0x04 }, 0, 0, 0, 0, 0, 0]);
    let pseudo = [&from.octets()[..], &to.octets(), &[0, TCP, 0, 20]].concat();
    let sum = checksum(&[&pseudo, &tcp]);
    packet((from, to), TCP, tcp, (16, sum))
}

/// ICMP destination unreachable (RFC 792, RFC 1191), with the beginning of the packet.
fn unreachable(bytes: &[u8], addresses: (Ipv4Addr, Ipv4Addr), code: u8, mtu: u16) -> Vec<u8> {
    let quoted = bytes.get(..bytes.len().min(QUOTED)).unwrap_or_default();
    let mut icmp = Vec::with_capacity(quoted.len().saturating_add(8));
    icmp.extend([3, code, 0, 0, 0, 0]);
    icmp.extend(mtu.to_be_bytes());
    icmp.extend_from_slice(quoted);
    let sum = checksum(&[&icmp]);
    packet(addresses, ICMP, icmp, (2, sum))
}

/// A packet around `payload`, whose checksum is `sum` and stands there.
fn packet(
    (from, to): (Ipv4Addr, Ipv4Addr),
    protocol: u8,
    mut payload: Vec<u8>,
    (sum_at, sum): (usize, u16),
) -> Vec<u8> {
    if let Some(place) = payload.get_mut(sum_at..sum_at.saturating_add(2)) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    let length = u16::try_from(payload.len().saturating_add(HEADER)).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    // Whole, and never to be cut.
    let head = [0x45, 0, high, low, 0, 0, 0x40, 0, HOPS, protocol];
    let addresses = [from.octets(), to.octets()].concat();
    let sum = checksum(&[&head, &addresses]);
    [&head[..], &sum.to_be_bytes(), &addresses, &payload].concat()
}

const TCP: u8 = 6;
const ICMP: u8 = 1;
const TCP_HEADER: usize = 20;
const HOPS: u8 = 64;
const PROHIBITED: u8 = 13;
const FRAGMENTATION_NEEDED: u8 = 4;
/// So much of a packet is quoted that its header and ports are in it, and the answer fits everywhere (RFC 1812 section 4.3.2.3).
const QUOTED: usize = 548;
/// Between two answers in the long run: 100 in a second.
const EACH_MS: u64 = 10;
/// Answers at once.
const BURST: u64 = 100;
