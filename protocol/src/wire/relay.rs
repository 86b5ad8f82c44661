//! A blind relay and the two ends of a meeting: an agent and a client, neither of which the other can dial.
//!
//! 1. The hub gives each end a [`Leg`]: a [`Ticket`] that names the meeting, and the [`LegKey`] that belongs to it. The
//!    relay derives the same key from the ticket and the [`RelayKey`] that it shares with the hub; it asks nobody.
//! 2. An end binds its address with [`Notice::Bind`] and gets its [`Handle`] with [`Notice::Bound`], both under a MAC of the
//!    leg's key. It binds anew when its address changes, and from time to time.
//! 3. Whatever follows is `handle | QUIC packet`. The relay puts the other end's handle in place of the sender's and sends
//!    the packet to where that end has bound. It holds no key of what is in it.
//!
//! ```text
//! UDP   packet           handle: 8 bytes, not zero | QUIC packet
//!       notice           zero: 8 bytes | notice
//! TLS   frame            length: u16, big endian | either of the two
//! ```
//!
//! Nothing goes to an address that has not bound, and no answer is longer than what it answers: a relay amplifies nothing.
//! A relay that lies denies service and no more: the ends prove their keys to each other inside.

mod key;
mod notice;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::trust::Digest;

pub use self::key::{Leg, LegKey, RelayKey, Ticket};
pub use self::notice::{Notice, NoticeFault};

/// Names one meeting of two ends; random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MeetingId(pub [u8; 16]);

/// Which end of a meeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum End {
    /// The device: it accepts the connection.
    Agent,
    /// The engineer's computer: it dials.
    Client,
}

/// What the hub tells each end of a meeting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meeting {
    /// The own leg.
    pub leg: Leg,
    /// Where relays are, best first, at most [`limits::ADDRESSES`](crate::limits::ADDRESSES); both ends are told the same ones.
    #[serde(with = "super::bounded::addresses")]
    pub relays: Vec<Place>,
}

/// Where a relay is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its address; none for the one at which the hub was reached.
    pub ip: Option<IpAddr>,
    /// Its port for UDP.
    pub udp: Option<u16>,
    /// Its port for TLS.
    pub tls: Option<u16>,
    /// SHA-256 of its certificate: who sees another one there has a box in between that reads TLS.
    pub certificate: Option<Digest>,
}

/// Names one leg at the relay; eight bytes that are not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle([u8; HANDLE_BYTES]);

/// What a packet towards or from a relay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A QUIC packet for or from the leg with this handle.
    Data(Handle, &'a [u8]),
    /// A notice, not decoded yet.
    Notice(&'a [u8]),
}

impl End {
    /// The end across.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Agent => Self::Client,
            Self::Client => Self::Agent,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Agent => 0,
            Self::Client => 1,
        }
    }
}

impl Handle {
    /// A handle of these bytes; none when all are zero, which marks notices.
    #[must_use]
    pub fn new(bytes: [u8; HANDLE_BYTES]) -> Option<Self> {
        (bytes != NOTICE).then_some(Self(bytes))
    }

    /// The eight bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HANDLE_BYTES] {
        &self.0
    }
}

/// Tells data from notices; none when there are fewer than eight bytes.
#[must_use]
pub fn split(packet: &[u8]) -> Option<Packet<'_>> {
    let (first, rest) = packet.split_first_chunk()?;
    Some(Handle::new(*first).map_or(Packet::Notice(rest), |handle| Packet::Data(handle, rest)))
}

/// Bytes before each QUIC packet.
pub const HANDLE_BYTES: usize = 8;
/// What a notice begins with.
const NOTICE: [u8; HANDLE_BYTES] = [0; HANDLE_BYTES];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_zeros_begin_a_notice_and_eight_other_bytes_are_a_handle() {
        let mut packet = [0, 0, 0, 0, 0, 0, 0, 0, 9, 8];
        assert_eq!(split(&packet), Some(Packet::Notice(&[9, 8])));
        packet[7] = 1;
        let handle = Handle::new([0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
        assert_eq!(split(&packet), Some(Packet::Data(handle, &[9, 8])));
        assert_eq!(split(&packet[..8]), Some(Packet::Data(handle, &[])));
        assert_eq!(split(&packet[..7]), None);
        assert_eq!(Handle::new([0; 8]), None);
    }
}
