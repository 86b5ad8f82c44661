//! What a client may ask for, whoever it is.
//!
//! 1. Addresses of the adapter lie in ranges that no site uses for machines.
//! 2. A route leads to private addresses only: nothing of the internet can be taken over.
//! 3. A route overlaps nothing that this computer has a route to already, but the default route; it contains no gateway and
//!    no resolver. So nothing that worked before leads somewhere else afterwards.
//!
//! The client asks the same function first, and gives networks that it refuses another address on this computer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::host::Host;

/// Why something is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// More routes than anybody needs.
    #[error("{found} routes, at most {ROUTES} are made")]
    TooMany {
        /// How many.
        found: usize,
    },
    /// An address that could be somebody else's.
    #[error("the address {0} is none for an adapter")]
    Address(IpAddr),
    /// A route with bits behind its prefix.
    #[error("{0} has bits behind its prefix")]
    Form(IpNet),
    /// A route to addresses of the internet, or to none of a machine.
    #[error("{0} is no private network")]
    NotPrivate(IpNet),
    /// A route of a family that this computer does not speak.
    #[error("{0} is IPv6, which is switched off on this computer")]
    NoIpv6(IpNet),
    /// A route to what this computer reaches otherwise.
    #[error("{route} overlaps {taken}, to which this computer has a route")]
    Taken {
        /// What was asked for.
        route: IpNet,
        /// What is there.
        taken: IpNet,
    },
    /// A route that would take over a gateway or resolver of this computer.
    #[error("{route} contains {host}, a gateway or resolver of this computer")]
    Needed {
        /// What was asked for.
        route: IpNet,
        /// What is in it.
        host: IpAddr,
    },
}

/// Checks all routes of an adapter.
///
/// # Errors
/// The first [`Fault`].
pub fn routes(routes: &[IpNet], host: &Host) -> Result<(), Fault> {
    if routes.len() > ROUTES {
        return Err(Fault::TooMany { found: routes.len() });
    }
    routes.iter().try_for_each(|wanted| route(*wanted, host))
}

/// Checks one route.
///
/// # Errors
/// The [`Fault`].
pub fn route(route: IpNet, host: &Host) -> Result<(), Fault> {
    if route.trunc() != route {
        return Err(Fault::Form(route));
    }
    if !PRIVATE.iter().any(|range| range.contains(&route)) {
        return Err(Fault::NotPrivate(route));
    }
    if host.lacks_ipv6 && route.addr().is_ipv6() {
        return Err(Fault::NoIpv6(route));
    }
    if let Some(taken) = host.networks.iter().find(|taken| overlap(route, **taken)) {
        return Err(Fault::Taken { route, taken: *taken });
    }
    if let Some(needed) = host.needed.iter().find(|needed| route.contains(*needed)) {
        return Err(Fault::Needed { route, host: *needed });
    }
    Ok(())
}

/// Checks an address of the adapter itself.
///
/// # Errors
/// [`Fault::Address`].
pub fn address(address: IpAddr) -> Result<(), Fault> {
    let is_fit = OWN.iter().any(|range| range.contains(&address));
    if is_fit { Ok(()) } else { Err(Fault::Address(address)) }
}

/// Whether two networks have an address in common.
#[must_use]
pub fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// Routes of one adapter.
pub const ROUTES: usize = 256;
/// Where adapters have their own addresses; no network of machines is mapped there.
pub const OWN: [IpNet; 2] = [v4([100, 127, 0, 0], 16), v6([0xfd70, 0x6f73, 0x7465, 0xffff, 0, 0, 0, 0], 64)];
/// Where routes may lead (RFC 1918, RFC 6598, RFC 4193).
const PRIVATE: [IpNet; 5] = [
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([100, 64, 0, 0], 10),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn host() -> Host {
        Host {
            networks: vec![net("192.168.7.0/24"), net("10.8.0.0/16"), net("fd00:7::/64")],
            needed: vec![ip("192.168.9.1"), ip("fd00:9::53")],
            lacks_ipv6: false,
        }
    }

    #[test]
    fn private_networks_that_nobody_has_are_routed() {
        for good in [
            "192.168.0.0/24",
            "192.168.0.10/32",
            "10.1.0.0/16",
            "172.16.0.0/12",
            "100.64.3.0/24",
            "fd00:8::/64",
            "fd00:8::10/128",
        ] {
            assert_eq!(route(net(good), &host()), Ok(()), "{good}");
        }
    }

    #[test]
    fn nothing_of_the_internet_and_nothing_wider_than_a_private_range_is_routed() {
        for bad in [
            "0.0.0.0/0",
            "0.0.0.0/1",
            "128.0.0.0/1",
            "8.8.8.8/32",
            "172.0.0.0/8",
            "192.0.0.0/8",
            "100.0.0.0/8",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "224.0.0.0/4",
            "255.255.255.255/32",
            "::/0",
            "2000::/3",
            "fe80::/10",
            "ff00::/8",
            "::ffff:10.0.0.0/104",
        ] {
            assert_eq!(route(net(bad), &host()), Err(Fault::NotPrivate(net(bad))), "{bad}");
        }
        assert_eq!(route(net("10.1.0.1/16"), &host()), Err(Fault::Form(net("10.1.0.1/16"))));
    }

    #[test]
    fn what_this_computer_reaches_already_stays_as_it_is() {
        for (wanted, taken) in [
            ("192.168.7.0/24", "192.168.7.0/24"),
            ("192.168.7.10/32", "192.168.7.0/24"),
            ("192.168.0.0/16", "192.168.7.0/24"),
            ("10.0.0.0/8", "10.8.0.0/16"),
            ("fd00:7::1/128", "fd00:7::/64"),
        ] {
            let fault = Fault::Taken { route: net(wanted), taken: net(taken) };
            assert_eq!(route(net(wanted), &host()), Err(fault));
        }
        let fault = Fault::Needed { route: net("192.168.9.0/24"), host: ip("192.168.9.1") };
        assert_eq!(route(net("192.168.9.0/24"), &host()), Err(fault));
        let fault = Fault::Needed { route: net("fd00:9::/64"), host: ip("fd00:9::53") };
        assert_eq!(route(net("fd00:9::/64"), &host()), Err(fault));
    }

    #[test]
    fn without_ipv6_only_ipv4_is_routed() {
        let host = Host { lacks_ipv6: true, ..Host::default() };
        assert_eq!(route(net("fd00:8::/64"), &host), Err(Fault::NoIpv6(net("fd00:8::/64"))));
        assert_eq!(route(net("192.168.0.0/24"), &host), Ok(()));
    }

    #[test]
    fn one_bad_route_and_one_too_many_refuse_all() {
        let good = net("192.168.0.0/24");
        assert_eq!(routes(&[good, net("0.0.0.0/0")], &host()), Err(Fault::NotPrivate(net("0.0.0.0/0"))));
        assert_eq!(routes(&[good; ROUTES], &host()), Ok(()));
        assert_eq!(routes(&[good; ROUTES + 1], &host()), Err(Fault::TooMany { found: ROUTES + 1 }));
    }

    #[test]
    fn an_adapter_has_an_address_that_no_machine_has() {
        for good in ["100.127.0.1", "100.127.255.254", "fd70:6f73:7465:ffff::1"] {
            assert_eq!(address(ip(good)), Ok(()), "{good}");
        }
        for bad in ["100.64.0.1", "192.168.0.1", "8.8.8.8", "127.0.0.1", "fd70:6f73:7465::1", "::1"] {
            assert_eq!(address(ip(bad)), Err(Fault::Address(ip(bad))), "{bad}");
        }
    }
}
