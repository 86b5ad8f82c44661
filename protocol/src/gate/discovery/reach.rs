//! What destinations grant at one address, in the order in which it is asked.
//!
//! 1. An echo, where it is granted: it says soonest whether anybody is there.
//! 2. Expected ports: the known ones of machines, and those of destinations that name few.
//! 3. The rest, ascending.
//!
//! Deliberately absent: UDP. There is no question that every machine answers.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits;
use crate::policy::{Carries, Destination, FlowEnd, Network, Protocol};

/// The destinations of a tunnel.
#[derive(Clone, Debug)]
pub(super) struct Reach(pub(super) Vec<Destination>);

impl Reach {
    /// Whether a machine at this address may be shown.
    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        let end = FlowEnd { protocol: Protocol::Icmp, ip, port: 0 };
        end.is_possible() && self.at(ip).next().is_some()
    }

    /// What is asked first at an address.
    pub(super) fn expected(&self, ip: IpAddr) -> Vec<FlowEnd> {
        let mut ends = Vec::new();
        if self.at(ip).any(|destination| destination.carries == Carries::Icmp) {
            ends.push(FlowEnd { protocol: Protocol::Icmp, ip, port: 0 });
        }
        let mut ports: Vec<u16> = KNOWN_PORTS.iter().copied().filter(|port| self.grants(ip, *port)).collect();
        for narrow in self.at(ip).filter(|destination| is_narrow(destination)) {
            let (first, last) = span(narrow).unwrap_or((1, 0));
            let more: Vec<u16> = (first..=last).filter(|port| !ports.contains(port)).collect();
            ports.extend(more);
        }
        ends.extend(ports.into_iter().map(|port| FlowEnd { protocol: Protocol::Tcp, ip, port }));
        ends
    }

    /// The lowest port at or above `from` that is asked for last at an address.
    pub(super) fn rest(&self, ip: IpAddr, from: u16) -> Option<u16> {
        let mut from = from;
        loop {
            let spans = self.at(ip).filter_map(span);
            let next = spans.filter(|(_, last)| *last >= from).map(|(first, _)| first.max(from)).min()?;
            if !self.is_expected(ip, next) {
                return Some(next);
            }
            from = next.checked_add(1)?;
        }
    }

    /// How much can be asked at an address.
    pub(super) fn count(&self, ip: IpAddr, can_echo: bool) -> usize {
        let mut spans: Vec<(u16, u16)> = self.at(ip).filter_map(span).collect();
        spans.sort_unstable();
        let (mut count, mut above) = (0, 0);
        for (first, last) in spans {
            let first = u32::from(first).max(above);
            let behind = u32::from(last).saturating_add(1);
            count += usize::try_from(behind.saturating_sub(first)).unwrap_or(usize::MAX);
            above = above.max(behind);
        }
        let echo = can_echo && self.at(ip).any(|destination| destination.carries == Carries::Icmp);
        count + usize::from(echo)
    }

    /// The addresses that are walked: those of the narrowest networks, as many as fit whole.
    pub(super) fn walked(&self) -> BTreeSet<IpAddr> {
        let nets = self.0.iter().filter(|destination| is_askable(destination)).map(|one| one.net);
        let mut nets: Vec<(u32, Network)> = nets.filter_map(|net| Some((size(net)?, net))).collect();
        nets.sort_unstable();
        nets.dedup();
        let mut walked = BTreeSet::new();
        for hosts in nets.into_iter().filter_map(|(_, net)| hosts(net)) {
            let more = hosts.iter().filter(|ip| !walked.contains(*ip)).count();
            if walked.len().saturating_add(more) <= limits::WALKED {
                walked.extend(hosts);
            }
        }
        walked
    }

    fn at(&self, ip: IpAddr) -> impl Iterator<Item = &Destination> {
        self.0.iter().filter(move |destination| destination.net.contains(ip))
    }

    fn grants(&self, ip: IpAddr, port: u16) -> bool {
        self.at(ip).filter_map(span).any(|(first, last)| (first..=last).contains(&port))
    }

    /// Whether a port that is granted is one of those that are asked first.
    fn is_expected(&self, ip: IpAddr, port: u16) -> bool {
        let mut narrow = self.at(ip).filter(|destination| is_narrow(destination)).filter_map(span);
        KNOWN_PORTS.contains(&port) || narrow.any(|(first, last)| (first..=last).contains(&port))
    }
}

/// Whether there is a question for its machines.
pub(super) fn is_askable(destination: &Destination) -> bool {
    destination.protocol() != Protocol::Udp
}

/// Whether it names so few TCP ports that each is expected.
pub(super) fn is_narrow(destination: &Destination) -> bool {
    span(destination).is_some_and(|(first, last)| last.saturating_sub(first) < NARROW)
}

/// The hosts of a network that is walked; none of one that is too wide.
pub(super) fn hosts(net: Network) -> Option<Vec<IpAddr>> {
    let size = size(net)?;
    let all: Vec<IpAddr> = match net.ip {
        IpAddr::V4(ip) => {
            // The first and the last address belong to the network and to everybody in it.
            let ends = usize::from(net.prefix < 31);
            let within = (0..size).skip(ends).take(usize::try_from(size).ok()?.saturating_sub(2 * ends));
            within.map(|more| Ipv4Addr::from(ip.to_bits().saturating_add(more)).into()).collect()
        }
        IpAddr::V6(ip) => {
            (0..size).map(|more| Ipv6Addr::from(ip.to_bits().saturating_add(more.into())).into()).collect()
        }
    };
    Some(all)
}

/// Addresses of a network, of one that is not too wide.
fn size(net: Network) -> Option<u32> {
    let bits: u8 = if net.ip.is_ipv4() { 32 } else { 128 };
    let size = 1_u32.checked_shl(u32::from(bits.saturating_sub(net.prefix)))?;
    (usize::try_from(size).ok()? <= limits::WALKED).then_some(size)
}

/// The TCP ports of a destination.
fn span(destination: &Destination) -> Option<(u16, u16)> {
    match &destination.carries {
        Carries::Tcp { ports, .. } => Some((ports.first, ports.last)),
        Carries::Udp { .. } | Carries::Icmp => None,
    }
}

/// Destinations with fewer ports are asked for all of them first.
const NARROW: u16 = 16;

/// Ports at which machines are usually found, controllers first. In the order in which they are asked.
pub const KNOWN_PORTS: [u16; 24] = [
    102, 502, 4840, 44_818, 11_740, 1217, 2455, 48_898, 9600, 5007, 18_245, 20_000, 2404, 1962, 789, 80, 443,
    5900, 22, 8080, 8443, 23, 21, 3389,
];
