//! Changes a packet on its way and keeps its checksums right, by the difference (RFC 1624): what was wrong before stays wrong, and
//! the receiver finds it.

use std::net::Ipv4Addr;

use super::MTU;
use super::read::{Content, HEADER, Packet};

/// Lowers the largest segment that a connection may use to what fits the way; a smaller one stays.
pub fn clamp_mss(bytes: &mut [u8], packet: &Packet) {
    let Content::Tcp(segment) = packet.content else { return };
    let Some(at) = segment.mss_at else { return };
    let Some(before) = word(bytes, at) else { return };
    if before <= MSS {
        return;
    }
    put(bytes, at, MSS);
    // The checksum is of words, and an option may begin in the middle of one.
    let (before, after) = if at % 2 == 0 { (before, MSS) } else { (before.swap_bytes(), MSS.swap_bytes()) };
    adjust(bytes, TCP_CHECKSUM_AT, &[(before, after)]);
}

/// Gives a packet the addresses that stand for its own, and so the packet that an error is about.
pub fn readdress(bytes: &mut [u8], packet: &Packet, other: impl Fn(Ipv4Addr) -> Ipv4Addr) {
    let (from, to) = (other(packet.from), other(packet.to));
    let changes = [words(packet.from, from), words(packet.to, to)].concat();
    place(bytes, 0, from, to);
    adjust(bytes, IP_CHECKSUM_AT, &changes);
    match packet.content {
        Content::Tcp(_) => adjust(bytes, TCP_CHECKSUM_AT, &changes),
        // Zero is no checksum (RFC 768).
        Content::Udp { .. } if word(bytes, UDP_CHECKSUM_AT) == Some(0) => {}
        Content::Udp { .. } => {
            adjust(bytes, UDP_CHECKSUM_AT, &changes);
            if word(bytes, UDP_CHECKSUM_AT) == Some(0) {
                put(bytes, UDP_CHECKSUM_AT, u16::MAX);
            }
        }
        // No address is in their checksum.
        Content::EchoRequest { .. } | Content::EchoReply { .. } => {}
        Content::Error(quoted) => {
            // The error's checksum stays: it is over a header that sums up to the same.
            let (from, to) = (other(quoted.from), other(quoted.to));
            let quoted_changes = [words(quoted.from, from), words(quoted.to, to)].concat();
            place(bytes, QUOTED_AT, from, to);
            adjust(bytes, QUOTED_AT + IP_CHECKSUM_AT, &quoted_changes);
        }
    }
}

/// The checksum of RFC 1071 over these bytes.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            let high = pair.first().copied().unwrap_or(0);
            let low = pair.get(1).copied().unwrap_or(0);
            sum = sum.wrapping_add(u16::from_be_bytes([high, low]).into());
        }
    }
    !folded(sum)
}

/// Equation 3 of RFC 1624.
fn adjust(bytes: &mut [u8], at: usize, changes: &[(u16, u16)]) {
    let Some(before) = word(bytes, at) else { return };
    let sum = changes.iter().fold(u32::from(!before), |sum, (before, after)| {
        sum.wrapping_add(u32::from(!before)).wrapping_add(u32::from(*after))
    });
    put(bytes, at, !folded(sum));
}

fn folded(sum: u32) -> u16 {
    let sum = (sum >> 16).wrapping_add(sum & 0xffff);
    let sum = (sum >> 16).wrapping_add(sum & 0xffff);
    u16::try_from(sum & 0xffff).unwrap_or_default()
}

fn words(before: Ipv4Addr, after: Ipv4Addr) -> [(u16, u16); 2] {
    let [a, b, c, d] = before.octets();
    let [e, f, g, h] = after.octets();
    [[[a, b], [e, f]], [[c, d], [g, h]]]
        .map(|[before, after]| (u16::from_be_bytes(before), u16::from_be_bytes(after)))
}

/// Writes the addresses of the header that begins there.
fn place(bytes: &mut [u8], at: usize, from: Ipv4Addr, to: Ipv4Addr) {
    let addresses = [from.octets(), to.octets()].concat();
    let start = at.saturating_add(ADDRESSES_AT);
    if let Some(found) = bytes.get_mut(start..start.saturating_add(addresses.len())) {
        found.copy_from_slice(&addresses);
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(found) = bytes.get_mut(at..at.saturating_add(2)) {
        found.copy_from_slice(&value.to_be_bytes());
    }
}

/// The largest segment that fits a packet.
pub(super) const MSS: u16 = MTU - 40;
const IP_CHECKSUM_AT: usize = 10;
const ADDRESSES_AT: usize = 12;
const TCP_CHECKSUM_AT: usize = HEADER + 16;
const UDP_CHECKSUM_AT: usize = HEADER + 6;
const QUOTED_AT: usize = HEADER + 8;

#[cfg(test)]
mod tests;
