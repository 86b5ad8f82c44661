//! A slow and obvious reader of packets, for comparison: no library helps it.

use postern_protocol::wire::registry::PacketFault::{self, *};

/// What was read: addresses, protocol, ports or identifier, flags, and for an error the flow that it is about.
#[derive(Clone, Copy, Debug)]
pub enum Read {
    Tcp { source: u16, destination: u16, flags: u8 },
    Udp { source: u16, destination: u16 },
    Echo { is_request: bool, identifier: u16 },
    Error { from: [u8; 4], protocol: u8, machine: [u8; 4], far: u16, near: u16 },
}

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from(bytes[at]) << 8 | u16::from(bytes[at + 1])
}

pub fn address(bytes: &[u8], at: usize) -> [u8; 4] {
    [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]
}

/// The header alone.
fn header(bytes: &[u8], is_quoted: bool) -> Result<u8, PacketFault> {
    if bytes.is_empty() {
        return Err(Length);
    }
    if bytes[0] / 16 != 4 {
        return Err(if is_quoted { Length } else { Version });
    }
    let words = usize::from(bytes[0] % 16);
    if bytes.len() < 20 || words < 5 || bytes.len() < words * 4 {
        return Err(Length);
    }
    if words > 5 {
        return Err(Options);
    }
    if !is_quoted && usize::from(word(bytes, 2)) != bytes.len() {
        return Err(Length);
    }
    // More fragments, or not the first one; the reserved bit counts in a packet that would be carried.
    if word(bytes, 6) & 0x3fff != 0 || (!is_quoted && bytes[6] & 0x80 != 0) {
        return Err(Fragment);
    }
    Ok(bytes[9])
}

/// What a packet is.
pub fn read(bytes: &[u8]) -> Result<Read, PacketFault> {
    let protocol = header(bytes, false)?;
    let rest = &bytes[20..];
    match protocol {
        6 => {
            if rest.len() < 20 || rest[12] / 16 < 5 || rest.len() < usize::from(rest[12] / 16) * 4 {
                return Err(Length);
            }
            let flags = rest[13];
            let opens = flags & SYN != 0 && flags & (FIN | RST) == 0;
            let resets = flags & RST != 0 && flags & (FIN | SYN) == 0;
            let goes_on = flags & (SYN | RST) == 0 && flags & ACK != 0;
            if !(opens || resets || goes_on) {
                return Err(Flags);
            }
            let (source, destination) = (word(rest, 0), word(rest, 2));
            if source == 0 || destination == 0 {
                Err(Address)
            } else {
                Ok(Read::Tcp { source, destination, flags })
            }
        }
        17 => {
            if rest.len() < 8 || usize::from(word(rest, 4)) != rest.len() {
                return Err(Length);
            }
            let (source, destination) = (word(rest, 0), word(rest, 2));
            if source == 0 || destination == 0 { Err(Address) } else { Ok(Read::Udp { source, destination }) }
        }
        1 => {
            if rest.len() < 8 {
                return Err(Length);
            }
            match (rest[0], rest[1]) {
                (8, 0) => Ok(Read::Echo { is_request: true, identifier: word(rest, 4) }),
                (0, 0) => Ok(Read::Echo { is_request: false, identifier: word(rest, 4) }),
                (3, code) if code < 16 => about(&rest[8..]),
                (11, code) if code < 2 => about(&rest[8..]),
                (12, code) if code < 3 => about(&rest[8..]),
                _ => Err(Kind),
            }
        }
        _ => Err(Protocol),
    }
}

fn about(bytes: &[u8]) -> Result<Read, PacketFault> {
    let protocol = header(bytes, true)?;
    if bytes.len() < 28 {
        return Err(Length);
    }
    let (from, machine) = (address(bytes, 12), address(bytes, 16));
    let (far, near) = match protocol {
        6 | 17 => (word(bytes, 22), word(bytes, 20)),
        1 if bytes[20] == 8 && bytes[21] == 0 => (0, word(bytes, 24)),
        1 => return Err(Kind),
        _ => return Err(Protocol),
    };
    Ok(Read::Error { from, protocol, machine, far, near })
}
