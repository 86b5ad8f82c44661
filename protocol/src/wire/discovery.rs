//! What is on the machine network, as far as a VPN tunnel reaches: how a device tells it.
//!
//! 1. [`Request::Discover`](super::tunnel::Request::Discover) names an open VPN tunnel of the same connection and has a stream of its own.
//! 2. After [`Answer::Discovery`](super::tunnel::Answer::Discovery) the agent sends [`DiscoveryNews`]: machines that the device knows
//!    already, with a scan also how far it is and what it finds, and an end. It finishes the stream behind that.
//! 3. A machine may be told of again; the later word replaces the earlier one.
//! 4. The stream is reset when the tunnel is cut, and when deciding again takes a destination away. The client sends nothing
//!    more, and ends a discovery by ending its half of the stream.
//!
//! Nothing is told of an address that no destination of the tunnel contains.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::policy::Destination;

/// What the agent says on the stream of a discovery, one frame each of at most
/// [`ANSWER_BYTES`](super::tunnel::ANSWER_BYTES).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiscoveryNews {
    /// A machine, with all that is known of it now.
    Seen(Sighting),
    /// How far a scan is.
    Progress {
        /// Probes so far.
        asked: u16,
        /// Probes that there will be, as far as is known now.
        of: u16,
    },
    /// That was all.
    End(Totals),
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Its address.
    pub ip: IpAddr,
    /// Its hardware address, where it is on the device's own network.
    pub mac: Option<Mac>,
    /// How fresh that is.
    pub presence: Presence,
    /// TCP ports at which it accepted a connection, ascending.
    #[serde(with = "super::bounded::ports")]
    pub open: Vec<u16>,
    /// Whether it answered an echo; none where it was not asked.
    pub echo: Option<bool>,
}

/// How fresh it is what is known of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Presence {
    /// It answered moments ago.
    Reachable,
    /// It was there, and whether it still is was not asked lately.
    Stale,
}

/// The address of a network card (IEEE 802).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

/// What a discovery came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Machines that were told of.
    pub machines: u16,
    /// Probes that were made.
    pub probes: u16,
    /// What a scan left out, whole or in part.
    #[serde(with = "super::bounded::destinations")]
    pub unasked: Vec<Unasked>,
}

/// A destination that a scan left out, whole or in part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unasked {
    /// The destination, without its profile.
    pub destination: Destination,
    /// Why.
    pub why: Why,
}

/// Why something was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Why {
    /// It has more addresses than are walked; only machines that were known were asked.
    Wide,
    /// A scan has no more probes.
    Probes,
    /// A scan has no more time.
    Time,
    /// There is no question that every machine answers (UDP), or the device cannot ask it (ICMP without ping sockets).
    Unaskable,
}

impl Presence {
    /// The word in listings and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reachable => "reachable",
            Self::Stale => "stale",
        }
    }
}

impl Why {
    /// The word in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Probes => "probes",
            Self::Time => "time",
            Self::Unaskable => "unaskable",
        }
    }
}

/// As `02:00:5e:10:00:01`.
impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_is_written_in_pairs_of_hexadecimal_digits() {
        assert_eq!(Mac([2, 0, 0x5e, 0x10, 0, 0xff]).to_string(), "02:00:5e:10:00:ff");
    }
}
