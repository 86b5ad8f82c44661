//! What this computer has routes to, and which hosts it needs.
//!
//! Deliberately absent: rules and tables beside the main one. What they hold is more specific than a route in the main
//! table, which can therefore take nothing away from them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The networks of this computer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// To which there are routes, but for default routes.
    pub networks: Vec<IpNet>,
    /// Gateways and resolvers.
    pub needed: Vec<IpAddr>,
    /// Whether IPv6 is switched off: nothing can be routed then.
    pub lacks_ipv6: bool,
}

impl Host {
    /// Reads what is there now; routes over the interface `without` do not count.
    ///
    /// # Errors
    /// Where the routes cannot be read: then nothing can be checked.
    #[cfg(target_os = "linux")]
    pub fn read(without: Option<&str>) -> std::io::Result<Self> {
        let routes = std::fs::read_to_string("/proc/self/net/route")?;
        // A computer without IPv6 has no such file.
        let routes6 = std::fs::read_to_string("/proc/self/net/ipv6_route").unwrap_or_default();
        let resolvers = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
        let resolvers = resolvers.map(|file| std::fs::read_to_string(file).unwrap_or_default());
        // Where it is switched off not even loopback has an address.
        let addresses6 = std::fs::read_to_string("/proc/self/net/if_inet6").unwrap_or_default();
        let host = Self::parse(&routes, &routes6, &resolvers.concat(), without);
        Ok(Self { lacks_ipv6: addresses6.is_empty(), ..host })
    }

    /// Makes sense of what the kernel and the resolver's configuration say. Lines that are not understood are passed over.
    #[must_use]
    pub fn parse(routes: &str, routes6: &str, resolvers: &str, without: Option<&str>) -> Self {
        let v4 = routes.lines().skip(1).filter_map(row_v4);
        let v6 = routes6.lines().filter_map(row_v6);
        let mut host = Self::default();
        for Row { net, gateway, interface } in v4.chain(v6) {
            if Some(interface) == without || net.addr().is_loopback() || is_link_local(net.addr()) {
                continue;
            }
            if net.prefix_len() > 0 && !net.addr().is_multicast() {
                host.networks.push(net);
            }
            host.needed.extend(gateway);
        }
        host.needed.extend(resolvers.lines().filter_map(resolver));
        host
    }
}

/// One route.
struct Row<'a> {
    net: IpNet,
    gateway: Option<IpAddr>,
    interface: &'a str,
}

/// A line of `/proc/net/route`: interface, destination, gateway, flags, .., mask as the seventh of what follows.
fn row_v4(line: &str) -> Option<Row<'_>> {
    let mut words = line.split_ascii_whitespace();
    let interface = words.next()?;
    // The kernel prints the bytes of the network as a number of this computer.
    let mut address = || words.next().and_then(|word| u32::from_str_radix(word, 16).ok());
    let (net, gateway) = (address()?, address()?);
    let mask = words.nth(4).and_then(|word| u32::from_str_radix(word, 16).ok())?;
    let ip = |number: u32| IpAddr::V4(Ipv4Addr::from(number.to_ne_bytes()));
    let prefix = u8::try_from(mask.count_ones()).ok()?;
    let net = IpNet::new(ip(net), prefix).ok()?.trunc();
    Some(Row { net, gateway: (gateway != 0).then(|| ip(gateway)), interface })
}

/// A line of `/proc/net/ipv6_route`: destination, prefix, source, prefix, next hop, metric, .., interface at the end.
fn row_v6(line: &str) -> Option<Row<'_>> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [net, prefix, _, _, gateway, .., flags, interface] = words.as_slice() else { return None };
    let ip = |word: &str| u128::from_str_radix(word, 16).ok().map(|number| Ipv6Addr::from(number).into());
    let flags = u32::from_str_radix(flags, 16).ok()?;
    // What is refused leads nowhere.
    if flags & RTF_REJECT != 0 {
        return None;
    }
    let net = IpNet::new(ip(net)?, u8::from_str_radix(prefix, 16).ok()?).ok()?.trunc();
    let gateway = ip(gateway).filter(|gateway: &IpAddr| !gateway.is_unspecified());
    Some(Row { net, gateway, interface })
}

fn resolver(line: &str) -> Option<IpAddr> {
    let address = line.trim().strip_prefix("nameserver")?.trim();
    // A link-local one has its interface behind it.
    address.split('%').next()?.parse().ok()
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// linux/route.h.
const RTF_REJECT: u32 = 0x0200;

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0107A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0007A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
postern0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth0\t0000FEA9\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
nonsense
";
    const ROUTES6: &str = "\
fd000007000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000007000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000002 00000000 00000001     eth0
";

    #[test]
    #[cfg(target_endian = "little")]
    fn networks_gateways_and_resolvers_are_found() {
        let resolvers =
            "# nameserver 1.2.3.4\nnameserver 192.168.9.53\nnameserver fe80::1%eth0\nsearch example\n";
        let host = Host::parse(ROUTES, ROUTES6, resolvers, Some("postern0"));
        let nets = ["192.168.7.0/24", "172.17.0.0/16", "fd00:7::/64"];
        assert_eq!(host.networks, nets.map(|net| net.parse::<IpNet>().unwrap()));
        let needed = ["192.168.7.1", "fd00:7::1", "192.168.9.53", "fe80::1"];
        assert_eq!(host.needed, needed.map(|ip| ip.parse::<IpAddr>().unwrap()));
        let with = Host::parse(ROUTES, ROUTES6, resolvers, None);
        assert!(with.networks.contains(&"192.168.0.0/24".parse().unwrap()));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_this_computer_says_is_understood() {
        let host = Host::read(None).unwrap();
        assert!(host.networks.iter().all(|net| net.prefix_len() > 0 && net.trunc() == *net));
    }
}
