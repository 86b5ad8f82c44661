//! Whether the destinations of one VPN let through every flow that those of another do.
//!
//! 1. The networks of both cut the addresses into regions, in each of which every address is in the same networks: what is in
//!    a network and in none that is narrower. The ports are cut likewise.
//! 2. Of each region and each cut of the ports one flow stands for all: what governs it on both sides is compared.
//!
//! So the comparison is exact, also where one wide destination takes the place of many narrow ones.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use postern_protocol::policy::snapshot::rules::{ModbusRules, ModbusSpan, UnitSpan};
use postern_protocol::policy::{Destination, FlowEnd, Network, Ports, Profile, Protocol, VpnRules};

/// Whether whoever may use a service by `these` destinations may have every flow that `others` let through, with as much in it.
pub(super) fn cover(these: &VpnRules, others: &VpnRules) -> bool {
    let both = || these.destinations.iter().chain(&others.destinations);
    let networks: BTreeSet<Network> = both().map(|one| one.net).collect();
    let addresses: Vec<IpAddr> =
        networks.iter().filter_map(|net| in_none_narrower(*net, &networks)).collect();
    let starts = |ports: Ports| [Some(ports.first), ports.last.checked_add(1)];
    let ports: BTreeSet<u16> = both().filter_map(Destination::ports).flat_map(starts).flatten().collect();
    let ports = &ports;
    let flows = addresses.iter().flat_map(|ip| {
        let with_ports = [Protocol::Tcp, Protocol::Udp].into_iter().flat_map(move |protocol| {
            ports.iter().map(move |port| FlowEnd { protocol, ip: *ip, port: *port })
        });
        with_ports.chain([FlowEnd { protocol: Protocol::Icmp, ip: *ip, port: 0 }])
    });
    flows.into_iter().all(|flow| match (these.governing(&flow), others.governing(&flow)) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some((_, one)), Some((_, other))) => read(one.profile(), other.profile()),
    })
}

/// What `these` destinations have that `others` have not, as phrases.
pub(super) fn beyond(these: &VpnRules, others: &VpnRules) -> Vec<String> {
    let is_new = |one: &&Destination| {
        let alone = VpnRules { destinations: vec![(*one).clone()] };
        !others.destinations.contains(one) && !cover(others, &alone)
    };
    let new: Vec<&Destination> = these.destinations.iter().filter(is_new).collect();
    let shown = new.iter().take(SHOWN).map(|one| {
        let read = if one.profile().is_some() { " as the gate reads it" } else { "" };
        format!("to {one}{read}")
    });
    let rest = new.len().checked_sub(SHOWN).filter(|rest| *rest > 0);
    shown.chain(rest.map(|rest| format!("and {rest} more destinations"))).collect()
}

/// Whether what one profile lets through contains what another does; none lets everything through.
fn read(one: Option<&Profile>, other: Option<&Profile>) -> bool {
    match (one, other) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(Profile::Modbus(one)), Some(Profile::Modbus(other))) => modbus(one, other),
    }
}

fn modbus(one: &ModbusRules, other: &ModbusRules) -> bool {
    let units =
        |spans: &[UnitSpan]| -> BTreeSet<u8> { spans.iter().flat_map(|one| one.first..=one.last).collect() };
    units(&one.units).is_superset(&units(&other.units))
        && spans(&one.reads, &other.reads)
        && spans(&one.writes, &other.writes)
}

/// Whether each address of `others` is in one of `these`. Spans of one list are apart, but may touch.
fn spans(these: &[ModbusSpan], others: &[ModbusSpan]) -> bool {
    others.iter().all(|other| {
        let mut next = u32::from(other.first);
        for one in these.iter().filter(|one| one.table == other.table) {
            if u32::from(one.first) <= next && next <= u32::from(one.last) {
                next = u32::from(one.last) + 1;
            }
        }
        next > u32::from(other.last)
    })
}

/// An address that is in `net` and in none of the networks within it; none where those fill it.
fn in_none_narrower(net: Network, networks: &BTreeSet<Network>) -> Option<IpAddr> {
    let within = |one: &&Network| one.prefix > net.prefix && net.contains(one.ip);
    let mut next = number(net.ip);
    // In the order of their addresses, wider ones first.
    for one in networks.iter().filter(within) {
        if next < number(one.ip) {
            break;
        }
        next = next.max(number(one.last()).checked_add(1)?);
    }
    (next <= number(net.last())).then(|| address(next, net.ip.is_ipv4()))
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn address(number: u128, is_v4: bool) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if is_v4 => IpAddr::V4(Ipv4Addr::from_bits(number)),
        Ok(_) | Err(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

/// Destinations that a person is shown of one service.
const SHOWN: usize = 4;

#[cfg(test)]
mod tests {
    use postern_protocol::policy::Carries;
    use postern_protocol::policy::snapshot::rules::ModbusTable;

    use super::*;

    /// `tcp 10.0.0.0/24 1-9`, with a profile where it ends in `modbus`.
    fn rules(texts: &[&str]) -> VpnRules {
        let one = |text: &&str| {
            let words: Vec<&str> = text.split(' ').collect();
            let (ip, prefix) = words[1].split_once('/').unwrap_or((words[1], "32"));
            let net = Network { ip: ip.parse().unwrap(), prefix: prefix.parse().unwrap() };
            let ports = words.get(2).map(|ports| {
                let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
                Ports { first: first.parse().unwrap(), last: last.parse().unwrap() }
            });
            let profile = words.get(3).map(|_| Profile::Modbus(ModbusRules::read_only()));
            let carries = match (words[0], ports) {
                ("tcp", Some(ports)) => Carries::Tcp { ports, profile },
                ("udp", Some(ports)) => Carries::Udp { ports },
                _ => Carries::Icmp,
            };
            Destination { net, carries }
        };
        let mut destinations: Vec<Destination> = texts.iter().map(one).collect();
        destinations.sort();
        VpnRules { destinations }
    }

    #[test]
    fn more_addresses_ports_or_less_reading_cover_and_not_the_other_way_round() {
        for (wide, narrow) in [
            (["tcp 10.0.0.0/24 502"].as_slice(), ["tcp 10.0.0.1 502"].as_slice()),
            (&["tcp 10.0.0.1 1-9"], &["tcp 10.0.0.1 2-8"]),
            (&["tcp 10.0.0.1 1-65535"], &["tcp 10.0.0.1 1-65534"]),
            (&["tcp 10.0.0.1 502"], &["tcp 10.0.0.1 502 modbus"]),
            (&["tcp 10.0.0.1 5", "udp 10.0.0.1 5"], &["tcp 10.0.0.1 5"]),
            (&["icmp 10.0.0.0/24", "udp 10.0.0.1 5"], &["icmp 10.0.0.7"]),
            // A narrow destination that is read takes from the wide one.
            (&["tcp 10.0.0.0/24 502"], &["tcp 10.0.0.0/24 502", "tcp 10.0.0.7 502 modbus"]),
        ] {
            let (wide, narrow) = (rules(wide), rules(narrow));
            assert!(cover(&wide, &narrow), "{wide:?} {narrow:?}");
            assert!(!cover(&narrow, &wide), "{narrow:?} {wide:?}");
        }
    }

    #[test]
    fn many_narrow_destinations_are_as_much_as_a_wide_one() {
        for (these, others) in [
            (["tcp 10.0.0.0/31 5"].as_slice(), ["tcp 10.0.0.0 5", "tcp 10.0.0.1 5"].as_slice()),
            (&["tcp 10.0.0.1 1-9"], &["tcp 10.0.0.1 1-4", "tcp 10.0.0.1 5-9"]),
            (&["tcp 10.0.0.0/24 5"], &["tcp 10.0.0.0/24 5", "tcp 10.0.0.9 5"]),
        ] {
            let (these, others) = (rules(these), rules(others));
            assert!(cover(&these, &others) && cover(&others, &these), "{these:?} {others:?}");
        }
        let (halves, whole) =
            (rules(&["tcp 128.0.0.0/2 5", "tcp 192.0.0.0/2 5"]), rules(&["tcp 128.0.0.0/1 5"]));
        assert!(cover(&halves, &whole) && cover(&whole, &halves));
        assert!(!cover(&rules(&["tcp 10.0.0.0 5", "tcp 10.0.0.2 5"]), &rules(&["tcp 10.0.0.0/31 5"])));
    }

    #[test]
    fn spans_of_modbus_that_touch_are_as_much_as_one() {
        let span = |first, last| ModbusSpan { table: ModbusTable::Coils, first, last };
        assert!(spans(&[span(0, 4), span(5, 9)], &[span(2, 8)]));
        assert!(!spans(&[span(0, 4), span(6, 9)], &[span(2, 8)]));
        assert!(spans(&[span(0, u16::MAX)], &[span(7, u16::MAX)]));
        let other = ModbusSpan { table: ModbusTable::HoldingRegisters, first: 2, last: 8 };
        assert!(!spans(&[span(0, 9)], &[other]));
        let (all, writes) =
            (ModbusRules::read_only(), ModbusRules { writes: vec![span(1, 1)], ..ModbusRules::read_only() });
        assert!(modbus(&writes, &all) && !modbus(&all, &writes));
        let one = ModbusRules { units: vec![UnitSpan { first: 1, last: 1 }], ..ModbusRules::read_only() };
        assert!(modbus(&all, &one) && !modbus(&one, &all));
    }

    #[test]
    fn what_is_new_is_named_and_bounded() {
        let old = rules(&["tcp 10.0.0.0/24 502"]);
        assert_eq!(beyond(&rules(&["tcp 10.0.0.7 502", "udp 10.0.0.7 161"]), &old), ["to udp 10.0.0.7 161"]);
        assert_eq!(beyond(&old, &old), Vec::<String>::new());
        let many: Vec<String> = (1..=6).map(|port| format!("tcp 10.0.0.1 {port}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let words = beyond(&rules(&many), &old);
        assert_eq!((words.len(), words[4].as_str()), (5, "and 2 more destinations"));
    }
}
