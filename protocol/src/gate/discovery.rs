//! A discovery of the machine network: which machines are there, as far as the destinations of a VPN reach.
//!
//! 1. [`Discovery::new`] takes the destinations and what the kernel knows of its neighbours, and drops what no destination contains.
//! 2. With [`Discovery::scan`] it asks as well. [`poll_probe`](Discovery::poll_probe) says whom and what: neighbours before others, known
//!    ports before the rest, everybody once before anybody twice. A machine that turns up is a neighbour from then on.
//! 3. [`handle_heard`](Discovery::handle_heard) takes what came of a probe, [`handle_neighbours`](Discovery::handle_neighbours) what the
//!    kernel has learnt meanwhile: where nobody is, nothing more is asked.
//! 4. [`poll_news`](Discovery::poll_news) says what the client is told, with an end when there is no more to ask, no probe left
//!    or no time. What was left out is named.
//!
//! Bounds: [`limits::PROBES`] probes, [`AT_ONCE`] at once, one in [`GAP_MS`], [`LONGEST_MS`] in all, [`limits::WALKED`] addresses besides
//! the neighbours. Time is the caller's, in milliseconds of a clock that only goes forward. Deliberately absent: a decision. Each
//! probe is a flow, which the policy is asked about like any other.

mod host;
mod reach;
mod totals;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use self::host::Host;
use self::reach::Reach;
use crate::limits;
use crate::policy::{Destination, FlowEnd, Protocol};
use crate::wire::discovery::{DiscoveryNews, Mac, Presence};

pub use self::reach::KNOWN_PORTS;

/// A discovery that is under way.
#[derive(Debug)]
pub struct Discovery {
    reach: Reach,
    hosts: BTreeMap<IpAddr, Host>,
    /// Addresses that are walked, also those of neighbours.
    walked: BTreeSet<IpAddr>,
    scan: Option<Scan>,
    is_over: bool,
}

/// What a scan keeps.
#[derive(Debug)]
struct Scan {
    ends_ms: u64,
    /// When the next probe may be made.
    next_ms: u64,
    probes: usize,
    under_way: BTreeSet<FlowEnd>,
    /// Probes for which there was no place.
    again: Vec<FlowEnd>,
    can_echo: bool,
    /// When progress is told again, and what was told last.
    progress_ms: u64,
    told: usize,
}

/// What the kernel knows of an address on a network that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The address.
    pub ip: IpAddr,
    /// Who has it.
    pub mac: Option<Mac>,
    /// How fresh that is; none where it has asked and nobody answered.
    pub presence: Option<Presence>,
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The machine accepted the connection, or answered the echo.
    Open,
    /// The machine refused the connection.
    Closed,
    /// Nothing came back in time, or the network knows no way.
    Silent,
    /// The policy did not permit this flow.
    Denied,
    /// The device does not dial this address.
    Forbidden,
    /// The device cannot ask this way at all.
    Unable,
}

impl Discovery {
    /// Tells what is known, and asks nobody.
    #[must_use]
    pub fn new(destinations: Vec<Destination>, neighbours: &[Neighbour]) -> Self {
        let reach = Reach(destinations);
        let (hosts, walked) = (BTreeMap::new(), BTreeSet::new());
        let mut discovery = Self { reach, hosts, walked, scan: None, is_over: false };
        discovery.handle_neighbours(neighbours);
        discovery
    }

    /// Asks as well.
    #[must_use]
    pub fn scan(destinations: Vec<Destination>, neighbours: &[Neighbour], now_ms: u64) -> Self {
        let mut discovery = Self::new(destinations, neighbours);
        discovery.walked = discovery.reach.walked();
        for ip in discovery.walked.iter().filter(|ip| discovery.reach.contains(**ip)) {
            discovery.hosts.entry(*ip).or_insert_with(|| Host::new(*ip));
        }
        discovery.scan = Some(Scan {
            ends_ms: now_ms.saturating_add(LONGEST_MS),
            next_ms: now_ms,
            probes: 0,
            under_way: BTreeSet::new(),
            again: Vec::new(),
            can_echo: true,
            progress_ms: now_ms,
            told: 0,
        });
        discovery
    }

    /// Takes what the kernel knows now. What no destination contains is dropped.
    pub fn handle_neighbours(&mut self, neighbours: &[Neighbour]) {
        let known = self.hosts.values().filter(|host| host.sighting().is_some()).count();
        let mut room = NEIGHBOURS.saturating_sub(known);
        for Neighbour { ip, mac, presence } in neighbours.iter().filter(|one| self.reach.contains(one.ip)) {
            let Some(presence) = presence else {
                if let Some(host) = self.hosts.get_mut(ip) {
                    host.is_absent = true;
                }
                continue;
            };
            let is_new = self.hosts.get(ip).is_none_or(|host| host.sighting().is_none());
            if !is_new || room > 0 {
                room = room.saturating_sub(usize::from(is_new));
                let host = self.hosts.entry(*ip).or_insert_with(|| Host::new(*ip));
                host.meet(*mac, *presence);
            }
        }
    }

    /// Takes what came of a probe.
    pub fn handle_heard(&mut self, end: FlowEnd, heard: Heard) {
        let Some(scan) = &mut self.scan else { return };
        if !scan.under_way.remove(&end) {
            return;
        }
        let Some(host) = self.hosts.get_mut(&end.ip) else { return };
        match heard {
            Heard::Open => host.answered(end, true),
            Heard::Closed => host.answered(end, false),
            Heard::Silent => host.was_silent(end),
            Heard::Denied => {}
            Heard::Forbidden => host.is_forbidden = true,
            Heard::Unable => scan.can_echo &= end.protocol != Protocol::Icmp,
        }
    }

    /// There was no place for a probe: it is made later.
    pub fn handle_no_place(&mut self, now_ms: u64, end: FlowEnd) {
        let Some(scan) = &mut self.scan else { return };
        if scan.under_way.remove(&end) {
            scan.again.push(end);
            scan.next_ms = now_ms.saturating_add(NO_PLACE_MS);
        }
    }

    /// The next probe that is to be made now.
    pub fn poll_probe(&mut self, now_ms: u64) -> Option<FlowEnd> {
        let scan = self.scan.as_mut()?;
        if now_ms >= scan.ends_ms || now_ms < scan.next_ms || scan.under_way.len() >= AT_ONCE {
            return None;
        }
        let end = match scan.again.pop() {
            Some(end) => end,
            None if scan.probes >= limits::PROBES => return None,
            None => {
                let end = next(&mut self.hosts, &self.reach, scan.can_echo)?;
                scan.probes = scan.probes.saturating_add(1);
                end
            }
        };
        scan.next_ms = now_ms.saturating_add(GAP_MS);
        scan.under_way.insert(end);
        Some(end)
    }

    /// When to poll again at the latest; none when only probes are waited for.
    #[must_use]
    pub fn poll_timeout(&self, now_ms: u64) -> Option<u64> {
        let scan = self.scan.as_ref()?;
        let may_ask = scan.under_way.len() < AT_ONCE && now_ms < scan.next_ms;
        Some(if may_ask { scan.next_ms.min(scan.ends_ms) } else { scan.ends_ms })
    }

    /// What the client is told next; none for now, or for good after [`DiscoveryNews::End`].
    pub fn poll_news(&mut self, now_ms: u64) -> Option<DiscoveryNews> {
        if self.is_over {
            return None;
        }
        if let Some(host) = self.hosts.values_mut().find(|host| !host.is_told) {
            host.is_told = true;
            return host.sighting().cloned().map(DiscoveryNews::Seen);
        }
        if self.is_finished(now_ms) {
            self.is_over = true;
            return Some(DiscoveryNews::End(self.totals(now_ms)));
        }
        let of = self.foreseen();
        let scan = self.scan.as_mut()?;
        if scan.told == scan.probes || now_ms < scan.progress_ms {
            return None;
        }
        (scan.told, scan.progress_ms) = (scan.probes, now_ms.saturating_add(PROGRESS_MS));
        Some(DiscoveryNews::Progress { asked: few(scan.probes), of: few(of) })
    }

    /// Whether nothing more will be asked: the end is told next.
    #[must_use]
    pub fn is_finished(&self, now_ms: u64) -> bool {
        let Some(scan) = &self.scan else { return true };
        let is_all_asked =
            scan.probes >= limits::PROBES || self.hosts.values().all(|host| host.turn().is_none());
        now_ms >= scan.ends_ms || (is_all_asked && scan.again.is_empty() && scan.under_way.is_empty())
    }

    /// Probes whose end is not known.
    pub fn under_way(&self) -> impl Iterator<Item = FlowEnd> {
        self.scan.iter().flat_map(|scan| scan.under_way.iter().copied())
    }

    /// Probes that there will have been.
    fn foreseen(&self) -> usize {
        let Some(scan) = &self.scan else { return 0 };
        let mut foreseen = scan.probes;
        for (ip, host) in self.hosts.iter().filter(|(_, host)| host.turn().is_some()) {
            let left = self.reach.count(*ip, scan.can_echo).saturating_sub(host.asked);
            foreseen = foreseen.saturating_add(left);
            if foreseen >= limits::PROBES {
                return limits::PROBES;
            }
        }
        foreseen
    }
}

/// Whether a tunnel does not reach any more as far as it did: what was told and asked went further, and must stop.
#[must_use]
pub fn is_narrower(before: &[Destination], now: &[Destination]) -> bool {
    !before.iter().all(|destination| now.contains(destination))
}

/// Takes the next question of whoever's turn it is.
fn next(hosts: &mut BTreeMap<IpAddr, Host>, reach: &Reach, can_echo: bool) -> Option<FlowEnd> {
    loop {
        let turns = hosts.values_mut().filter_map(|host| Some((host.turn()?, host)));
        let (_, host) = turns.min_by_key(|(turn, _)| *turn)?;
        if let Some(end) = host.ask(reach, can_echo) {
            return Some(end);
        }
    }
}

fn few(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// Probes under way at the same time.
pub const AT_ONCE: usize = 32;
/// For how long an answer to one is waited for.
pub const WITHIN_MS: u64 = 1000;
/// Between two probes: half of the pace of a tunnel's flows, so that there is room for others.
pub const GAP_MS: u64 = 10;
/// How long a scan takes at the most.
pub const LONGEST_MS: u64 = 60_000;
/// After a probe for which there was no place.
const NO_PLACE_MS: u64 = 100;
/// Between two words about how far it is.
const PROGRESS_MS: u64 = 250;
/// Machines that are told of: as many as a kernel remembers by default.
const NEIGHBOURS: usize = 1024;

#[cfg(test)]
mod tests;
