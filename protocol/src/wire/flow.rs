//! Flows of a VPN: how a client asks for one, and how datagrams and echoes travel in it.
//!
//! 1. After [`Request::OpenVpn`](super::tunnel::Request::OpenVpn) was accepted the tunnel's stream stays open: the client sends
//!    nothing on it, the agent sends [`VpnNews`] frames, and the end of either direction ends the tunnel with all its flows.
//! 2. Each flow is a stream of the same connection that begins with [`Request::Flow`](super::tunnel::Request::Flow).
//! 3. After [`Answer::Flow`](super::tunnel::Answer::Flow) a TCP flow is bytes both ways, each half closed by itself.
//! 4. A UDP or ICMP flow carries [messages](message) both ways: as a QUIC datagram, which begins with the flow's
//!    [number](FlowId), or on the stream in frames, which begin with their length. What does not fit a datagram goes
//!    on the stream, and a receiver takes both. The stream's end ends the flow.
//! 5. [`Request::Packets`](super::tunnel::Request::Packets) opens the way for IP packets in the same manner: each is a message. The agent says
//!    which address they come from, and filters them by the same destinations.
//!
//! A client names an address or a name, and the agent decides: it dials what the policy's destinations contain and the
//! device allows, and a name is resolved by the device.

pub mod message;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::registry::PacketFault;
use crate::policy::{Destination, Protocol};

/// Where a flow shall go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTarget {
    /// What it is carried in.
    pub protocol: Protocol,
    /// The machine.
    pub host: Host,
    /// The port; zero with ICMP and only there.
    pub port: u16,
}

/// A machine, by its address or by a name that the device resolves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name on the machine network.
    Name(HostName),
}

/// A name for a resolver: 1 to 253 bytes of letters, digits, `-`, `_` and `.`, labels of 1 to 63 bytes, at least one letter, no dot at
/// its end. What could be read as an address is no name: it would be judged as another thing than it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(Box<str>);

/// A text that is no [`HostName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a host name has 1 to 253 letters, digits, `-`, `_` and `.`, and is no address")]
pub struct HostNameFault;

/// What the agent says on the stream of a VPN tunnel, one frame each of at most
/// [`ANSWER_BYTES`](super::tunnel::ANSWER_BYTES).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VpnNews {
    /// Where flows may go from now on; the first at once, others when deciding again changed it.
    Destinations(#[serde(with = "super::bounded::destinations")] Vec<Destination>),
    /// How many packets of this tunnel were dropped so far, ascending by fault; a second apart at least, when that has changed.
    Drops(#[serde(with = "super::bounded::drops")] Vec<PacketDrops>),
}

/// Packets that were dropped for one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketDrops {
    /// Why.
    pub fault: PacketFault,
    /// How many.
    pub count: u64,
}

/// Names a UDP or ICMP flow in datagrams: the index of its stream among those that the client opened (RFC 9000 section 2.1: the
/// stream's id without its two lowest bits).
pub type FlowId = u64;

impl HostName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(text: &str) -> Result<(), HostNameFault> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        // `127.1`, `2130706433` and `0x7f.1` are addresses to some resolvers.
        let last = text.rsplit('.').next().unwrap_or_default();
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
            || last.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"));
        let fits = text.len() <= 253 && text.split('.').all(label) && !is_number;
        if fits { Ok(()) } else { Err(HostNameFault) }
    }
}

impl TryFrom<String> for HostName {
    type Error = HostNameFault;

    fn try_from(text: String) -> Result<Self, HostNameFault> {
        Self::check(&text)?;
        Ok(Self(text.into_boxed_str()))
    }
}

impl FromStr for HostName {
    type Err = HostNameFault;

    fn from_str(text: &str) -> Result<Self, HostNameFault> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_resolver_could_take_for_an_address_are_no_names() {
        for good in ["plc", "plc-7.line_2.local", "7up.example", "0x.a", "PLC"] {
            assert_eq!(good.parse::<HostName>().map(String::from), Ok(good.to_owned()), "{good}");
        }
        let longest = format!("{}a", "a.".repeat(126));
        assert_eq!(longest.parse::<HostName>().map(String::from), Ok(longest));
        let long = format!("{}a", "a.".repeat(127));
        for bad in [
            "",
            ".",
            "plc.",
            ".plc",
            "a..b",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "plc.0x1",
            "192.168.0.10",
            "fe80::1",
            "a b",
            "a/b",
            "ä.example",
            "a\0",
            &long,
            &"a".repeat(64),
        ] {
            assert_eq!(bad.parse::<HostName>(), Err(HostNameFault), "{bad}");
            assert_eq!(HostName::try_from(bad.to_owned()), Err(HostNameFault), "{bad}");
        }
    }
}
