//! Rules of a VPN: which flows it carries, and the search for the destination that governs one.
//!
//! 1. A destination is a network, a protocol, ports, and a profile where the gate reads what is said.
//! 2. Of the destinations that contain a flow the narrowest governs it: the longest prefix, then the fewest ports, then one
//!    with a profile. A rule for one machine stands before the rule of its network, in both directions: it may let more
//!    through, or less.
//! 3. The list is in that order, so the first that contains the flow is the one. None is a refusal.

mod modbus;

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::super::Target;
use super::super::form::{FormFault, ascending, count};
use super::impossible;
use crate::limits;

pub use self::modbus::{ModbusRules, ModbusSpan, ModbusTable, UnitSpan};

/// Rules of a VPN.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VpnRules {
    /// Where flows may go, strictly ascending, which is narrowest first; 1 to [`limits::DESTINATIONS`].
    pub destinations: Vec<Destination>,
}

/// Where flows may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The addresses.
    pub net: Network,
    /// What may be carried to them.
    pub carries: Carries,
}

/// What may be carried to a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carries {
    /// TCP connections.
    Tcp {
        /// To these ports.
        ports: Ports,
        /// What the gate reads in them; none is any bytes.
        profile: Option<Profile>,
    },
    /// UDP datagrams and the answers to them.
    Udp {
        /// To these ports.
        ports: Ports,
    },
    /// ICMP echo requests and the answers to them.
    Icmp,
}

/// A protocol that a gate reads in a TCP flow. New profiles are added at the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Modbus TCP: requests that the rules do not name are answered with an exception by the gate.
    Modbus(ModbusRules),
}

/// Addresses with a common beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Network {
    /// The lowest of them: canonical, with nothing behind the prefix, neither unspecified nor multicast.
    pub ip: IpAddr,
    /// Bits that they have in common; at most 32 or 128.
    pub prefix: u8,
}

/// Ports from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ports {
    /// The lowest; not zero.
    pub first: u16,
    /// The highest; not below the lowest.
    pub last: u16,
}

/// What a flow is carried in. New protocols are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// A TCP connection.
    Tcp,
    /// UDP datagrams to one address and port, and the answers from there.
    Udp,
    /// ICMP echo requests to one address, and the answers from there.
    Icmp,
}

/// The far end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowEnd {
    /// What it is carried in.
    pub protocol: Protocol,
    /// The machine.
    pub ip: IpAddr,
    /// The port; zero with ICMP and only there.
    pub port: u16,
}

impl VpnRules {
    /// TCP connections to one place.
    #[must_use]
    pub fn tcp(target: Target) -> Self {
        let carries = Carries::Tcp { ports: Ports::only(target.port), profile: None };
        Self { destinations: vec![Destination { net: Network::only(target.ip), carries }] }
    }

    /// The one place whose TCP connections are all that is carried, read by nobody; none where there is more or less.
    #[must_use]
    pub fn only_tcp(&self) -> Option<Target> {
        let [Destination { net, carries: Carries::Tcp { ports, .. } }] = self.destinations.as_slice() else {
            return None;
        };
        let target = Target { ip: net.ip, port: ports.first };
        (*self == Self::tcp(target)).then_some(target)
    }

    /// The destination that governs a flow, with its position; none refuses it. Takes nothing but comparisons.
    #[must_use]
    pub fn governing(&self, end: &FlowEnd) -> Option<(usize, &Destination)> {
        if !end.is_possible() {
            return None;
        }
        self.destinations.iter().enumerate().find(|(_, destination)| destination.contains(end))
    }

    pub(in super::super) fn check_form(&self) -> Result<(), FormFault> {
        if self.destinations.is_empty() {
            return Err(impossible("destinations"));
        }
        count("destinations", self.destinations.len(), limits::DESTINATIONS)?;
        ascending("destinations", &self.destinations, |a, b| a < b)?;
        self.destinations.iter().try_for_each(Destination::check_form)
    }
}

impl Destination {
    /// The protocol of its flows.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.carries.protocol()
    }

    /// The ports of its flows; none with ICMP.
    #[must_use]
    pub const fn ports(&self) -> Option<Ports> {
        match &self.carries {
            Carries::Tcp { ports, .. } | Carries::Udp { ports } => Some(*ports),
            Carries::Icmp => None,
        }
    }

    /// What the gate reads in its flows.
    #[must_use]
    pub const fn profile(&self) -> Option<&Profile> {
        match &self.carries {
            Carries::Tcp { profile, .. } => profile.as_ref(),
            Carries::Udp { .. } | Carries::Icmp => None,
        }
    }

    /// Whether whoever only looks may have its flows: a gate tells reading from writing in them, or they change nothing.
    #[must_use]
    pub const fn tells_looking(&self) -> bool {
        match &self.carries {
            Carries::Tcp { profile, .. } => profile.is_some(),
            Carries::Udp { .. } => false,
            Carries::Icmp => true,
        }
    }

    /// Whether a flow to `end` is one of its flows.
    #[must_use]
    pub fn contains(&self, end: &FlowEnd) -> bool {
        self.protocol() == end.protocol
            && self.net.contains(end.ip)
            && self.ports().is_none_or(|ports| ports.contains(end.port))
    }

    /// What decides the order: narrower goes before wider, and at the same width a profile before none.
    fn rank(&self) -> (Protocol, u8, u16, bool, IpAddr, u16, &Carries) {
        let (width, first) = self.ports().map_or((0, 0), |ports| (ports.width(), ports.first));
        let wide = u8::MAX - self.net.prefix;
        (self.protocol(), wide, width, self.profile().is_none(), self.net.ip, first, &self.carries)
    }

    fn check_form(&self) -> Result<(), FormFault> {
        if !self.net.is_in_form() {
            return Err(impossible("net"));
        }
        if self.ports().is_some_and(|ports| ports.first == 0 || ports.last < ports.first) {
            return Err(impossible("ports"));
        }
        match self.profile() {
            Some(Profile::Modbus(rules)) => rules.check_form(),
            None => Ok(()),
        }
    }
}

impl Ord for Destination {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Destination {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Carries {
    /// The protocol.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Tcp { .. } => Protocol::Tcp,
            Self::Udp { .. } => Protocol::Udp,
            Self::Icmp => Protocol::Icmp,
        }
    }
}

impl Network {
    /// One address.
    #[must_use]
    pub const fn only(ip: IpAddr) -> Self {
        Self { ip, prefix: bits(ip) }
    }

    /// Whether an address has the common beginning.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let behind = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                (net.to_bits() ^ ip.to_bits()) & !behind == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let behind = u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                (net.to_bits() ^ ip.to_bits()) & !behind == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// The highest of the addresses.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        match self.ip {
            IpAddr::V4(ip) => {
                let behind = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                IpAddr::V4((ip.to_bits() | behind).into())
            }
            IpAddr::V6(ip) => {
                let behind = u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                IpAddr::V6((ip.to_bits() | behind).into())
            }
        }
    }

    /// Whether a device accepts it: one network has one spelling, and one that begins at no machine's address is a mistake.
    #[must_use]
    pub fn is_in_form(&self) -> bool {
        let nothing_behind = match self.ip {
            IpAddr::V4(ip) => ip.to_bits() & u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0) == 0,
            IpAddr::V6(ip) => ip.to_bits() & u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0) == 0,
        };
        self.prefix <= bits(self.ip)
            && nothing_behind
            && self.ip.to_canonical() == self.ip
            && !self.ip.is_unspecified()
            && !self.ip.is_multicast()
    }
}

impl Ports {
    /// Every port.
    pub const ALL: Self = Self { first: 1, last: u16::MAX };

    /// One port.
    #[must_use]
    pub const fn only(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// Whether it is one of them.
    #[must_use]
    pub const fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// How many more than one.
    const fn width(&self) -> u16 {
        self.last.saturating_sub(self.first)
    }
}

impl Protocol {
    /// All protocols, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Icmp];

    /// The word in files, logs and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }
}

impl FlowEnd {
    /// Whether there can be such a flow. A mapped address would slip past networks that are written in IPv4, and whoever
    /// speaks to many at once is not governed by one destination.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        let is_broadcast = matches!(self.ip, IpAddr::V4(ip) if ip.is_broadcast());
        self.ip.to_canonical() == self.ip
            && !self.ip.is_unspecified()
            && !self.ip.is_multicast()
            && !is_broadcast
            && (self.port == 0) == (self.protocol == Protocol::Icmp)
    }
}

/// As a fleet file says it: `tcp 192.168.0.0/24 502`.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol().word(), self.net)?;
        self.ports().map_or(Ok(()), |ports| write!(f, " {ports}"))
    }
}

/// A single address goes without its prefix.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == bits(self.ip) {
            write!(f, "{}", self.ip)
        } else {
            write!(f, "{}/{}", self.ip, self.prefix)
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl fmt::Display for FlowEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Tcp | Protocol::Udp => {
                write!(f, "{} {}", self.protocol.word(), SocketAddr::new(self.ip, self.port))
            }
            Protocol::Icmp => write!(f, "{} {}", self.protocol.word(), self.ip),
        }
    }
}

/// Bits of an address of this family.
const fn bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests;
