//! Discoveries of small networks, compared with a slow and obvious account of what they may ask and must find.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use postern_protocol::gate::discovery::{AT_ONCE, Discovery, Heard, Neighbour};
use postern_protocol::policy::{Carries, Destination, FlowEnd, Network, Ports, Protocol};
use postern_protocol::wire::discovery::{DiscoveryNews, Mac, Presence, Sighting, Totals, Why};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

fn address(host: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host).into()
}

fn destination() -> impl Strategy<Value = Destination> {
    let ports = (1u16..30, 0u16..30).prop_map(|(first, more)| Ports { first, last: first + more });
    let carries = prop_oneof![
        ports.clone().prop_map(|ports| Carries::Tcp { ports, profile: None }),
        ports.prop_map(|ports| Carries::Udp { ports }),
        Just(Carries::Icmp),
    ];
    (0u8..16, 28u8..=32, carries).prop_map(|(host, prefix, carries)| {
        let behind = u8::try_from(u32::MAX.checked_shr(prefix.into()).unwrap_or(0)).unwrap();
        Destination { net: Network { ip: address(host & !behind), prefix }, carries }
    })
}

/// A network: who is there, with open ports; who answers echoes; who is in the kernel's table.
#[derive(Clone, Debug)]
struct Plant {
    machines: BTreeMap<u8, (BTreeSet<u16>, bool)>,
    known: BTreeSet<u8>,
}

fn plant() -> impl Strategy<Value = Plant> {
    let machine = (0u8..20, btree_set(1u16..60, 0..6), any::<bool>());
    (vec(machine, 0..6), btree_set(0u8..20, 0..6)).prop_map(|(machines, known)| Plant {
        machines: machines.into_iter().map(|(host, open, echo)| (host, (open, echo))).collect(),
        known,
    })
}

impl Plant {
    fn neighbours(&self) -> Vec<Neighbour> {
        let mac = |host: u8| Some(Mac([2, 0, 0, 0, 0, host]));
        let presence = Some(Presence::Stale);
        self.known.iter().map(|host| Neighbour { ip: address(*host), mac: mac(*host), presence }).collect()
    }

    fn answer(&self, end: FlowEnd) -> Heard {
        let found = self.machines.iter().find(|(host, _)| address(**host) == end.ip);
        match (found, end.protocol) {
            (Some((_, (_, true))), Protocol::Icmp) => Heard::Open,
            (Some((_, (open, _))), Protocol::Tcp) if open.contains(&end.port) => Heard::Open,
            (Some(_), Protocol::Tcp) => Heard::Closed,
            (None, _) | (Some(_), Protocol::Icmp | Protocol::Udp) => Heard::Silent,
        }
    }
}

/// Whether a destination has this flow, by trying each of its addresses and ports.
fn grants(destinations: &[Destination], wanted: FlowEnd) -> bool {
    destinations.iter().any(|destination| {
        let IpAddr::V4(first) = destination.net.ip else { panic!("IPv4 only") };
        let count = 1u8 << (32 - destination.net.prefix);
        let is_there = (0..count).any(|more| address(first.octets()[3] + more) == wanted.ip);
        let carries = match &destination.carries {
            Carries::Tcp { ports, .. } => {
                wanted.protocol == Protocol::Tcp && (ports.first..=ports.last).any(|port| port == wanted.port)
            }
            Carries::Udp { ports } => {
                wanted.protocol == Protocol::Udp && (ports.first..=ports.last).any(|port| port == wanted.port)
            }
            Carries::Icmp => wanted.protocol == Protocol::Icmp,
        };
        is_there && carries
    })
}

/// Every flow of these protocols to an address that there is.
fn ends(ip: IpAddr) -> impl Iterator<Item = FlowEnd> {
    let tcp = (1..=60).map(move |port| FlowEnd { protocol: Protocol::Tcp, ip, port });
    let udp = (1..=60).map(move |port| FlowEnd { protocol: Protocol::Udp, ip, port });
    std::iter::once(FlowEnd { protocol: Protocol::Icmp, ip, port: 0 }).chain(tcp).chain(udp)
}

/// Whether an address is neither the first nor the last of a network with more than two.
fn is_walked(destinations: &[Destination], ip: IpAddr) -> bool {
    let asks = destinations.iter().filter(|one| one.protocol() != Protocol::Udp);
    let mut with = asks.filter(|one| one.net.contains(ip));
    with.any(|one| one.net.prefix >= 31 || (ip != one.net.ip && ip != one.net.last()))
}

/// Runs a scan; returns what was asked, the last word on each machine, and the totals.
fn run(destinations: Vec<Destination>, plant: &Plant) -> (Vec<FlowEnd>, BTreeMap<IpAddr, Sighting>, Totals) {
    let mut discovery = Discovery::scan(destinations, &plant.neighbours(), 0);
    let (mut asked, mut seen, mut now_ms) = (Vec::new(), BTreeMap::new(), 0);
    let mut under_way: Vec<FlowEnd> = Vec::new();
    loop {
        while let Some(end) = discovery.poll_probe(now_ms) {
            under_way.push(end);
            assert!(under_way.len() <= AT_ONCE);
            asked.push(end);
        }
        // Answers come late, and the last first.
        if now_ms % 50 == 0 {
            while let Some(end) = under_way.pop() {
                discovery.handle_heard(end, plant.answer(end));
            }
        }
        while let Some(news) = discovery.poll_news(now_ms) {
            match news {
                DiscoveryNews::Seen(sighting) => drop(seen.insert(sighting.ip, sighting)),
                DiscoveryNews::Progress { asked, of } => assert!(asked <= of, "{asked} of {of}"),
                DiscoveryNews::End(totals) => return (asked, seen, totals),
            }
        }
        now_ms += 10;
    }
}

proptest! {
    #[test]
    fn nothing_outside_the_destinations_is_asked_or_shown_and_within_them_nothing_is_missed(
        destinations in vec(destination(), 1..6), plant in plant(),
    ) {
        let (asked, seen, totals) = run(destinations.clone(), &plant);
        let all: BTreeSet<FlowEnd> = asked.iter().copied().collect();
        prop_assert_eq!(all.len(), asked.len(), "nobody is asked the same twice");
        let is_known = |ip| plant.known.iter().any(|host| address(*host) == ip);
        let expected: BTreeSet<FlowEnd> = (0..20)
            .map(address)
            .filter(|ip| is_walked(&destinations, *ip) || is_known(*ip))
            .flat_map(ends)
            .filter(|end| end.protocol != Protocol::Udp && grants(&destinations, *end))
            .collect();
        prop_assert_eq!(&all, &expected);
        let mut found = BTreeMap::new();
        for ip in (0..20).map(address) {
            let of_it: Vec<FlowEnd> = expected.iter().copied().filter(|end| end.ip == ip).collect();
            let heard = |end: &FlowEnd| plant.answer(*end);
            let answered = of_it.iter().any(|end| heard(end) != Heard::Silent);
            let shown = is_known(ip) && ends(ip).any(|end| grants(&destinations, end));
            if !answered && !shown {
                continue;
            }
            let mac = plant.neighbours().iter().find(|one| one.ip == ip).and_then(|one| one.mac);
            let presence = if answered { Presence::Reachable } else { Presence::Stale };
            let tcp = of_it.iter().filter(|end| end.protocol == Protocol::Tcp && heard(end) == Heard::Open);
            let open = tcp.map(|end| end.port).collect();
            let echo = of_it.iter().find(|end| end.protocol == Protocol::Icmp).map(|end| heard(end) == Heard::Open);
            found.insert(ip, Sighting { ip, mac, presence, open, echo });
        }
        prop_assert_eq!(usize::from(totals.machines), found.len());
        prop_assert_eq!(seen, found);
        prop_assert_eq!(usize::from(totals.probes), asked.len());
        for unasked in &totals.unasked {
            prop_assert_eq!((unasked.why, unasked.destination.protocol()), (Why::Unaskable, Protocol::Udp));
        }
        let udp = destinations.iter().filter(|one| one.protocol() == Protocol::Udp).count();
        prop_assert_eq!(totals.unasked.len(), udp);
    }

    #[test]
    fn the_order_of_what_a_kernel_says_never_matters(
        destinations in vec(destination(), 1..6), plant in plant(), host in select((0u8..20).collect::<Vec<_>>()),
    ) {
        let mut neighbours = plant.neighbours();
        neighbours.push(Neighbour { ip: address(host), mac: None, presence: Some(Presence::Reachable) });
        let told = |neighbours: &[Neighbour]| {
            let mut discovery = Discovery::new(destinations.clone(), neighbours);
            std::iter::from_fn(|| discovery.poll_news(0)).collect::<Vec<_>>()
        };
        let forwards = told(&neighbours);
        neighbours.reverse();
        prop_assert_eq!(told(&neighbours), forwards);
    }
}
