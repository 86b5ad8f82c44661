//! What a discovery says at its end: how much it was, and what was left out for which reason.

use std::net::IpAddr;

use super::reach::{hosts, is_askable};
use super::{Discovery, Scan, few};
use crate::limits;
use crate::policy::{Carries, Destination};
use crate::wire::discovery::{Totals, Unasked, Why};

impl Discovery {
    /// What it came to, and what was left out.
    pub(super) fn totals(&self, now_ms: u64) -> Totals {
        let machines = self.hosts.values().filter(|host| host.sighting().is_some()).count();
        let probes = self.scan.as_ref().map_or(0, |scan| scan.probes);
        let unasked = self.scan.as_ref().map_or_else(Vec::new, |scan| {
            let why = |destination: &Destination| self.why_unasked(scan, destination, now_ms);
            let left = self.reach.0.iter().filter_map(|one| Some((one, why(one)?)));
            left.take(limits::DESTINATIONS)
                .map(|(one, why)| Unasked { destination: bare(one), why })
                .collect()
        });
        Totals { machines: few(machines), probes: few(probes), unasked }
    }

    fn why_unasked(&self, scan: &Scan, destination: &Destination, now_ms: u64) -> Option<Why> {
        if !is_askable(destination) || (destination.carries == Carries::Icmp && !scan.can_echo) {
            return Some(Why::Unaskable);
        }
        let of_it = |ip: &IpAddr| destination.net.contains(*ip);
        let mut left = self.hosts.iter().filter(|(ip, host)| {
            of_it(ip)
                && (!host.is_done_with(destination, &self.reach)
                    || scan.again.iter().any(|end| end.ip == **ip))
        });
        if left.next().is_some() {
            return Some(if now_ms >= scan.ends_ms { Why::Time } else { Why::Probes });
        }
        let is_walked =
            hosts(destination.net).is_some_and(|hosts| hosts.iter().all(|ip| self.walked.contains(ip)));
        if is_walked { None } else { Some(Why::Wide) }
    }
}

/// A destination without its profile, which no client needs to know.
fn bare(destination: &Destination) -> Destination {
    let carries = match &destination.carries {
        Carries::Tcp { ports, .. } => Carries::Tcp { ports: *ports, profile: None },
        other @ (Carries::Udp { .. } | Carries::Icmp) => other.clone(),
    };
    Destination { net: destination.net, carries }
}
