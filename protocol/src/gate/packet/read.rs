//! Takes one packet apart (RFC 791, RFC 9293, RFC 768, RFC 792).
//!
//! Nothing is guessed: a packet whose lengths disagree, that has options, or that is a piece of another one is refused with its
//! fault. A filter and a machine that read such a packet differently would let through what neither meant.

use std::net::Ipv4Addr;

use etherparse::{IpNumber, Ipv4HeaderSlice, TcpHeaderSlice};

use crate::policy::Protocol;
use crate::wire::registry::PacketFault;

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who sent it.
    pub from: Ipv4Addr,
    /// Who shall have it.
    pub to: Ipv4Addr,
    /// What it carries.
    pub content: Content,
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A TCP segment.
    Tcp(Segment),
    /// A UDP datagram.
    Udp {
        /// The sender's port.
        source: u16,
        /// The receiver's port.
        destination: u16,
    },
    /// An ICMP echo request.
    EchoRequest {
        /// Its identifier.
        identifier: u16,
    },
    /// The answer to one.
    EchoReply {
        /// Its identifier.
        identifier: u16,
    },
    /// An ICMP error about another packet.
    Error(Quoted),
}

/// What matters of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of the segment")]
pub struct Segment {
    /// The sender's port.
    pub source: u16,
    /// The receiver's port.
    pub destination: u16,
    /// Begins a connection.
    pub syn: bool,
    /// Acknowledges.
    pub ack: bool,
    /// Ends its direction.
    pub fin: bool,
    /// Ends the connection.
    pub rst: bool,
    /// The sequence number of its first byte.
    pub sequence: u32,
    /// The number that is expected next, where it acknowledges.
    pub acknowledged: u32,
    /// The sequence numbers that it takes.
    pub length: u32,
    /// Where in the packet the largest segment stands that its sender takes.
    pub mss_at: Option<usize>,
}

/// The packet that an ICMP error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Its protocol.
    pub protocol: Protocol,
    /// Who sent it.
    pub from: Ipv4Addr,
    /// Who should have it.
    pub to: Ipv4Addr,
    /// The sender's port, or the identifier of an echo request.
    pub near: u16,
    /// The receiver's port; zero with ICMP.
    pub far: u16,
}

/// Reads a packet.
///
/// # Errors
/// The [`PacketFault`] that it is dropped for.
pub fn read(bytes: &[u8]) -> Result<Packet, PacketFault> {
    let (from, to, protocol, payload) = whole(bytes)?;
    let content = match protocol {
        IpNumber::TCP => Content::Tcp(segment(payload)?),
        IpNumber::UDP => datagram(payload)?,
        IpNumber::ICMP => message(payload)?,
        _ => return Err(PacketFault::Protocol),
    };
    Ok(Packet { from, to, content })
}

/// Addresses, protocol and payload of a packet that is whole and plain.
fn whole(bytes: &[u8]) -> Result<(Ipv4Addr, Ipv4Addr, IpNumber, &[u8]), PacketFault> {
    if bytes.first().is_some_and(|first| first >> 4 != 4) {
        return Err(PacketFault::Version);
    }
    let ip = Ipv4HeaderSlice::from_slice(bytes).map_err(|_| PacketFault::Length)?;
    if !ip.options().is_empty() {
        return Err(PacketFault::Options);
    }
    if usize::from(ip.total_len()) != bytes.len() {
        return Err(PacketFault::Length);
    }
    // The reserved bit is as good as a fragment: nobody sends it who means well (RFC 3514).
    if ip.is_fragmenting_payload() || bytes.get(FLAGS_AT).is_some_and(|flags| flags & 0x80 != 0) {
        return Err(PacketFault::Fragment);
    }
    let payload = bytes.get(HEADER..).ok_or(PacketFault::Length)?;
    Ok((ip.source_addr(), ip.destination_addr(), ip.protocol(), payload))
}

fn segment(payload: &[u8]) -> Result<Segment, PacketFault> {
    let tcp = TcpHeaderSlice::from_slice(payload).map_err(|_| PacketFault::Length)?;
    let (syn, fin, rst, ack) = (tcp.syn(), tcp.fin(), tcp.rst(), tcp.ack());
    // What no connection contains is how systems are told apart and filters are slipped past.
    let possible = match (syn, fin, rst) {
        (true, false, false) | (false, false, true) => true,
        (false, _, false) => ack,
        (true, _, true) | (true, true, _) | (false, true, true) => false,
    };
    if !possible {
        return Err(PacketFault::Flags);
    }
    let head = tcp.slice().len();
    let data = payload.len().checked_sub(head).and_then(|data| u32::try_from(data).ok());
    let length = data.ok_or(PacketFault::Length)?;
    let (source, destination) = ports(tcp.source_port(), tcp.destination_port())?;
    Ok(Segment {
        source,
        destination,
        syn,
        ack,
        fin,
        rst,
        sequence: tcp.sequence_number(),
        acknowledged: if ack { tcp.acknowledgment_number() } else { 0 },
        length: length.saturating_add(u32::from(syn)).saturating_add(u32::from(fin)),
        mss_at: if syn { mss_at(tcp.options()) } else { None },
    })
}

/// Where in the packet the value of the option of RFC 9293 section 3.7.1 stands.
fn mss_at(options: &[u8]) -> Option<usize> {
    let mut at = 0_usize;
    loop {
        match *options.get(at..)? {
            [0, ..] | [] => return None,
            [1, ..] => at = at.checked_add(1)?,
            [2, 4, _, _, ..] => return (HEADER + TCP_HEADER + 2).checked_add(at),
            [_, length, ..] if length >= 2 => at = at.checked_add(length.into())?,
            _ => return None,
        }
    }
}

fn datagram(payload: &[u8]) -> Result<Content, PacketFault> {
    let [a, b, c, d, e, f, ..] = *payload else { return Err(PacketFault::Length) };
    if payload.len() < UDP_HEADER || usize::from(u16::from_be_bytes([e, f])) != payload.len() {
        return Err(PacketFault::Length);
    }
    let (source, destination) = ports(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))?;
    Ok(Content::Udp { source, destination })
}

fn message(payload: &[u8]) -> Result<Content, PacketFault> {
    let ([kind, code, _, _, a, b, _, _], rest) =
        payload.split_first_chunk::<ICMP_HEADER>().ok_or(PacketFault::Length)?;
    let identifier = u16::from_be_bytes([*a, *b]);
    match (*kind, *code) {
        (8, 0) => Ok(Content::EchoRequest { identifier }),
        (0, 0) => Ok(Content::EchoReply { identifier }),
        // Unreachable, time exceeded, a parameter that is wrong. No redirect: it would lead elsewhere.
        (3, 0..=15) | (11, 0 | 1) | (12, 0..=2) => quoted(rest).map(Content::Error),
        _ => Err(PacketFault::Kind),
    }
}

/// The beginning of a packet, of which eight bytes behind its header may be all (RFC 792).
fn quoted(bytes: &[u8]) -> Result<Quoted, PacketFault> {
    let ip = Ipv4HeaderSlice::from_slice(bytes).map_err(|_| PacketFault::Length)?;
    if !ip.options().is_empty() {
        return Err(PacketFault::Options);
    }
    if ip.is_fragmenting_payload() {
        return Err(PacketFault::Fragment);
    }
    let rest = bytes.get(HEADER..).and_then(|rest| rest.first_chunk::<8>());
    let [a, b, c, d, e, f, ..] = *rest.ok_or(PacketFault::Length)?;
    let (protocol, near, far) = match ip.protocol() {
        IpNumber::TCP => (Protocol::Tcp, [a, b], [c, d]),
        IpNumber::UDP => (Protocol::Udp, [a, b], [c, d]),
        IpNumber::ICMP if (a, b) == (8, 0) => (Protocol::Icmp, [e, f], [0, 0]),
        IpNumber::ICMP => return Err(PacketFault::Kind),
        _ => return Err(PacketFault::Protocol),
    };
    let (near, far) = (u16::from_be_bytes(near), u16::from_be_bytes(far));
    Ok(Quoted { protocol, from: ip.source_addr(), to: ip.destination_addr(), near, far })
}

fn ports(source: u16, destination: u16) -> Result<(u16, u16), PacketFault> {
    if source == 0 || destination == 0 { Err(PacketFault::Address) } else { Ok((source, destination)) }
}

/// Bytes of an IPv4 header without options.
pub(super) const HEADER: usize = 20;
const FLAGS_AT: usize = 6;
const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const ICMP_HEADER: usize = 8;

#[cfg(test)]
mod tests;
