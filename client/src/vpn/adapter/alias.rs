//! Which address on this computer leads to which machine.
//!
//! 1. Networks that lie in others are left to those.
//! 2. A network that nobody else has on this computer keeps its addresses.
//! 3. Otherwise it gets an alias: a network of the same size in a range that no site uses, with the same bits behind the
//!    prefix. Two machines that are both 192.168.0.0/24 have two aliases.
//! 4. Where an alias lies is computed from the device and the network, so that addresses in projects and bookmarks stay.
//!    Where that place is taken, it is the next one that is free.
//! 5. A network that is too wide for an alias is reached as far as nobody else has it.
//!
//! The device hears real addresses only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use postern_adapter::check::{self, Fault, OWN, ROUTES};
use postern_adapter::host::Host;

/// Where machines are on this computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    seed: [u8; 8],
    always: bool,
    rows: Vec<Row>,
}

/// Where one network is on this computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// What it is at the site.
    pub(super) real: IpNet,
    /// What leads there.
    pub(super) way: Way,
}

/// What leads to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Its own addresses; less than all where others have some of them.
    Own(Vec<IpNet>),
    /// An alias.
    Alias(IpNet),
    /// Nothing.
    Nothing(Fault),
}

impl Plan {
    /// Plans for a device; `always` gives every network an alias.
    pub(super) const fn new(seed: [u8; 8], always: bool) -> Self {
        Self { seed, always, rows: Vec::new() }
    }

    /// The plan for these networks. What was planned for those that stay, stays, unless others have it by now.
    pub(super) fn revised(&self, networks: &[IpNet], host: &Host) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        let networks = widest(networks);
        let is_free = |row: &Row| {
            let routes = row.way.routes();
            !routes.is_empty() && check::routes(&routes, host).is_ok()
        };
        let kept = self.rows.iter().filter(|row| networks.contains(&row.real) && is_free(row));
        rows.extend(kept.cloned());
        for real in networks {
            if !rows.iter().any(|row| row.real == real) {
                let way = self.way(real, &rows, host);
                rows.push(Row { real, way });
            }
        }
        rows.sort_by_key(|row| row.real);
        Self { rows, ..self.clone() }
    }

    /// The machine to which an address on this computer leads.
    pub(super) fn real(&self, here: IpAddr) -> Option<IpAddr> {
        self.rows.iter().find_map(|row| match &row.way {
            Way::Own(nets) => nets.iter().any(|net| net.contains(&here)).then_some(here),
            Way::Alias(alias) => moved(here, *alias, row.real),
            Way::Nothing(_) => None,
        })
    }

    /// Where a machine is on this computer.
    pub(super) fn here(&self, real: IpAddr) -> Option<IpAddr> {
        self.rows.iter().find_map(|row| match &row.way {
            Way::Own(nets) => nets.iter().any(|net| net.contains(&real)).then_some(real),
            Way::Alias(alias) => moved(real, row.real, *alias),
            Way::Nothing(_) => None,
        })
    }

    /// The routes that lead to the adapter.
    pub(super) fn routes(&self) -> Vec<IpNet> {
        self.rows.iter().flat_map(|row| row.way.routes()).collect()
    }

    /// What leads where.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The adapter's own address of one family.
    pub(super) fn own_address(&self, v4: bool) -> IpAddr {
        let hash = hash(&self.seed, b"adapter");
        let [range4, range6] = OWN;
        if v4 {
            // Neither the first nor the last of the range.
            let host = u32::try_from(hash % 0xfffe).unwrap_or_default().saturating_add(1);
            address(bits(range4.addr()) | u128::from(host), true)
        } else {
            address(bits(range6.addr()) | u128::from(hash | 1), false)
        }
    }

    fn way(&self, real: IpNet, rows: &[Row], host: &Host) -> Way {
        // An alias of another network may lie where this one is at the site.
        let is_apart = |nets: &[IpNet]| {
            let mut taken = rows.iter().flat_map(|row| row.way.routes());
            !taken.any(|taken| nets.iter().any(|net| check::overlap(*net, taken)))
        };
        let fault = match check::route(real, host) {
            Ok(()) if !self.always && is_apart(&[real]) => return Way::Own(vec![real]),
            Ok(()) => Fault::NotPrivate(real),
            Err(fault) => fault,
        };
        if let Some(alias) = self.alias(real, rows, host) {
            return Way::Alias(alias);
        }
        let mut rest = Vec::new();
        apart(real, host, &mut rest);
        let fits = !self.always && !rest.is_empty() && rest.len() <= PIECES && is_apart(&rest);
        if fits { Way::Own(rest) } else { Way::Nothing(fault) }
    }

    fn alias(&self, real: IpNet, rows: &[Row], host: &Host) -> Option<IpNet> {
        let is_v4 = real.addr().is_ipv4();
        let pool = if is_v4 { POOL4 } else { POOL6 };
        let width = u32::from(real.prefix_len().checked_sub(pool.prefix_len())?);
        let places = 1_u128.checked_shl(width)?;
        let behind = u32::from(real.max_prefix_len().checked_sub(real.prefix_len())?);
        let first = u128::from(hash(&self.seed, real.to_string().as_bytes()));
        let is_free = |net: &IpNet| {
            let by_rows = rows.iter().flat_map(|row| row.way.routes());
            !by_rows.chain(OWN).any(|taken| check::overlap(*net, taken)) && check::route(*net, host).is_ok()
        };
        (0..places.min(PROBES)).find_map(|step| {
            let place = first.wrapping_add(step) % places;
            let ip = address(bits(pool.addr()) | place.checked_shl(behind)?, is_v4);
            IpNet::new(ip, real.prefix_len()).ok().filter(is_free)
        })
    }
}

impl Way {
    fn routes(&self) -> Vec<IpNet> {
        match self {
            Self::Own(nets) => nets.clone(),
            Self::Alias(alias) => vec![*alias],
            Self::Nothing(_) => Vec::new(),
        }
    }
}

/// The networks that lie in no other, sorted.
fn widest(networks: &[IpNet]) -> Vec<IpNet> {
    let mut sorted: Vec<IpNet> = networks.iter().map(IpNet::trunc).collect();
    sorted.sort_unstable_by_key(|net| (net.prefix_len(), *net));
    let mut widest: Vec<IpNet> = Vec::new();
    for net in sorted {
        if !widest.iter().any(|wider| wider.contains(&net)) {
            widest.push(net);
        }
    }
    widest
}

/// The parts of a network that may be routed.
fn apart(net: IpNet, host: &Host, parts: &mut Vec<IpNet>) {
    // Of what is all taken there is no part.
    if parts.len() > PIECES || host.networks.iter().any(|taken| taken.contains(&net)) {
        return;
    }
    match check::route(net, host) {
        Ok(()) => parts.push(net),
        Err(Fault::Taken { .. } | Fault::Needed { .. }) => {
            if let Ok(halves) = net.subnets(net.prefix_len().saturating_add(1)) {
                halves.for_each(|half| apart(half, host, parts));
            }
        }
        Err(
            Fault::NotPrivate(_)
            | Fault::NoIpv6(_)
            | Fault::Form(_)
            | Fault::TooMany { .. }
            | Fault::Address(_),
        ) => {}
    }
}

/// The address that is in `to` where `ip` is in `from`, a network of the same size.
fn moved(ip: IpAddr, from: IpNet, to: IpNet) -> Option<IpAddr> {
    let behind = bits(from.hostmask());
    from.contains(&ip).then(|| address(bits(to.network()) | (bits(ip) & behind), ip.is_ipv4()))
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn address(bits: u128, is_v4: bool) -> IpAddr {
    match u32::try_from(bits) {
        Ok(bits) if is_v4 => Ipv4Addr::from_bits(bits).into(),
        Ok(_) | Err(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

/// FNV-1a: the same on every computer and in every version, which the standard library's does not promise.
fn hash(seed: &[u8; 8], what: &[u8]) -> u64 {
    seed.iter().chain(what).fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Where aliases lie (RFC 6598: shared address space, which is neither public nor used in plants).
const POOL4: IpNet = IpNet::V4(ipnet::Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10));
/// The same (RFC 4193: unique local addresses).
const POOL6: IpNet =
    IpNet::V6(ipnet::Ipv6Net::new_assert(Ipv6Addr::new(0xfd70, 0x6f73, 0x7465, 0, 0, 0, 0, 0), 48));
/// Places that are looked at for one alias.
const PROBES: u128 = 4096;
/// Parts of one network.
const PIECES: usize = ROUTES / 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn host(networks: &[&str]) -> Host {
        Host {
            networks: networks.iter().map(|text| net(text)).collect(),
            needed: vec![ip("192.168.7.1")],
            lacks_ipv6: false,
        }
    }

    fn plan(seed: u8, networks: &[&str], host: &Host) -> Plan {
        let networks: Vec<IpNet> = networks.iter().map(|text| net(text)).collect();
        Plan::new([seed; 8], false).revised(&networks, host)
    }

    #[test]
    fn a_network_that_nobody_has_keeps_its_addresses() {
        let plan = plan(1, &["192.168.0.0/24", "192.168.0.10/32", "fd00:8::/64"], &host(&["192.168.7.0/24"]));
        assert_eq!(plan.routes(), [net("192.168.0.0/24"), net("fd00:8::/64")]);
        assert_eq!(plan.real(ip("192.168.0.10")), Some(ip("192.168.0.10")));
        assert_eq!(plan.real(ip("192.168.1.10")), None);
    }

    #[test]
    fn a_network_that_is_here_already_gets_an_alias_and_keeps_its_last_bits() {
        let plan = plan(1, &["192.168.7.0/24"], &host(&["192.168.7.0/24"]));
        let [Row { real, way: Way::Alias(alias) }] = plan.rows() else { panic!("{plan:?}") };
        assert_eq!((*real, alias.prefix_len()), (net("192.168.7.0/24"), 24));
        assert!(POOL4.contains(alias) && !check::overlap(*alias, OWN[0]), "{alias}");
        let IpAddr::V4(first) = alias.network() else { panic!("IPv6") };
        let [a, b, c, _] = first.octets();
        assert_eq!(plan.real(Ipv4Addr::new(a, b, c, 10).into()), Some(ip("192.168.7.10")));
        assert_eq!(plan.real(ip("192.168.7.10")), None, "that is the engineer's own network");
    }

    #[test]
    fn two_machines_with_the_same_addresses_lie_side_by_side() {
        let mut here = host(&[]);
        let first = plan(1, &["192.168.0.0/24"], &here);
        here.networks.extend(first.routes());
        let second = plan(2, &["192.168.0.0/24"], &here);
        here.networks.extend(second.routes());
        let third = plan(3, &["192.168.0.0/24"], &here);
        let routes = [first.routes(), second.routes(), third.routes()].concat();
        assert_eq!(routes.len(), 3);
        assert_eq!(routes[0], net("192.168.0.0/24"));
        assert!(!check::overlap(routes[1], routes[2]));
    }

    #[test]
    fn an_alias_is_the_same_every_time_and_another_for_another_device() {
        let here = host(&["192.168.0.0/24"]);
        let alias = |seed| plan(seed, &["192.168.0.0/24"], &here).routes();
        assert_eq!(alias(1), [net("100.66.195.0/24")]);
        assert_eq!(alias(1), alias(1));
        assert_ne!(alias(1), alias(2));
    }

    #[test]
    fn public_addresses_of_machines_are_reached_by_an_alias_only() {
        let plan = plan(1, &["11.0.0.0/24", "2001:db8::/64"], &host(&[]));
        let ways: Vec<bool> = plan.rows().iter().map(|row| matches!(row.way, Way::Alias(_))).collect();
        assert_eq!(ways, [true, true], "{plan:?}");
    }

    #[test]
    fn of_a_network_too_wide_for_an_alias_the_part_is_reached_that_nobody_has() {
        let plan = plan(1, &["10.0.0.0/8"], &host(&["10.128.0.0/9"]));
        assert_eq!(plan.routes(), [net("10.0.0.0/9")]);
        assert_eq!(plan.real(ip("10.128.0.1")), None);
        let nothing = super::Plan::new([1; 8], true).revised(&[net("10.0.0.0/8")], &host(&[]));
        assert_eq!(nothing.routes(), []);
    }

    #[test]
    fn what_stays_keeps_its_place_when_other_networks_come_and_go() {
        let here = host(&["192.168.0.0/24"]);
        let first = plan(1, &["192.168.0.0/24"], &here);
        // Not even back to its own addresses, when those are free again.
        let revised = first.revised(&[net("192.168.0.0/24"), net("10.1.0.0/16")], &host(&[]));
        assert_eq!(revised.rows()[1], first.rows()[0]);
        assert_eq!(revised.revised(&[net("10.1.0.0/16")], &here).routes(), [net("10.1.0.0/16")]);
    }

    #[test]
    fn what_this_computer_has_joined_meanwhile_is_given_up_for_an_alias() {
        let first = plan(1, &["192.168.0.0/24"], &host(&[]));
        assert_eq!(first.routes(), [net("192.168.0.0/24")]);
        let revised = first.revised(&[net("192.168.0.0/24")], &host(&["192.168.0.0/16"]));
        assert_eq!(revised.routes(), [net("100.66.195.0/24")]);
        let revised =
            revised.revised(&[net("192.168.0.0/24")], &host(&["192.168.0.0/16", "100.66.195.0/24"]));
        assert_eq!(revised.routes(), [net("100.66.196.0/24")]);
    }

    #[test]
    fn the_adapter_has_an_address_of_its_own() {
        for seed in 0..=255 {
            let plan = Plan::new([seed; 8], false);
            assert_eq!(check::address(plan.own_address(true)), Ok(()));
            assert_eq!(check::address(plan.own_address(false)), Ok(()));
        }
    }

    prop_compose! {
        fn networks()(v4 in prop::collection::vec((any::<u32>(), 8..=32_u8), 0..8),
                      v6 in prop::collection::vec((any::<u128>(), 40..=128_u8), 0..4)) -> Vec<IpNet> {
            let v4 = v4.into_iter().map(|(ip, prefix)| IpNet::new(Ipv4Addr::from(ip).into(), prefix));
            let v6 = v6.into_iter().map(|(ip, prefix)| IpNet::new(Ipv6Addr::from(ip).into(), prefix));
            v4.chain(v6).map(|net| net.unwrap().trunc()).collect()
        }
    }

    #[test]
    fn a_network_that_lies_where_another_one_has_its_alias_gets_one_too() {
        let nets: Vec<IpNet> = ["169.192.0.0/11", "100.64.0.0/12"].map(|net| net.parse().unwrap()).to_vec();
        let host = Host { networks: Vec::new(), needed: Vec::new(), lacks_ipv6: false };
        let plan = Plan::new([0; 8], false).revised(&nets, &host);
        assert!(plan.rows().iter().all(|row| matches!(row.way, Way::Alias(_))), "{plan:?}");
        let routes = plan.routes();
        assert!(!check::overlap(routes[0], routes[1]), "{routes:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_plan_takes_what_others_have_and_no_address_leads_to_two_machines(
            wanted in networks(),
            taken in networks(),
            seed in any::<[u8; 8]>(),
            always in any::<bool>(),
            lacks_ipv6 in any::<bool>(),
        ) {
            let host = Host { networks: taken, needed: Vec::new(), lacks_ipv6 };
            let plan = Plan::new(seed, always).revised(&wanted, &host);
            let routes = plan.routes();
            for (index, route) in routes.iter().enumerate() {
                prop_assert_eq!(check::route(*route, &host), Ok(()));
                prop_assert!(!routes[index + 1..].iter().any(|other| check::overlap(*route, *other)));
            }
            for row in plan.rows() {
                if let Way::Alias(alias) = row.way {
                    for (here, real) in [(alias.network(), row.real.network()), (alias.broadcast(), row.real.broadcast())] {
                        prop_assert_eq!(plan.real(here), Some(real));
                        prop_assert_eq!(plan.here(real), Some(here));
                        prop_assert!(wanted.iter().any(|net| net.contains(&real)));
                    }
                }
            }
            prop_assert_eq!(plan.revised(&wanted, &host), plan);
        }
    }
}
