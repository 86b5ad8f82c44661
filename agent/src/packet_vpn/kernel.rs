//! What the kernel forwards, and what it routes already.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use super::PacketVpnError;

/// Whether packets that come in over one interface are forwarded (`net.ipv4.conf.NAME.forwarding`).
pub(super) struct Forwarding(PathBuf);

impl Forwarding {
    pub(super) fn of(interface: &str) -> Self {
        Self(Path::new("/proc/sys/net/ipv4/conf").join(interface).join("forwarding"))
    }

    pub(super) fn is_on(&self) -> bool {
        fs::read_to_string(&self.0).is_ok_and(|text| text.trim() == "1")
    }

    /// Switches it; done where the interface is gone.
    pub(super) fn set(&self, on: bool) -> Result<(), PacketVpnError> {
        match fs::write(&self.0, if on { "1" } else { "0" }) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !on => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(PacketVpnError::NoRight(error))
            }
            Err(error) => Err(PacketVpnError::File { path: self.0.clone(), error }),
            Ok(()) => Ok(()),
        }
    }
}

/// Nothing but IPv4 is carried: the kernel need not ask for routers on an interface that has none.
pub(super) fn without_ipv6(interface: &str) {
    let path = Path::new("/proc/sys/net/ipv6/conf").join(interface).join("disable_ipv6");
    let _no_ipv6_at_all = fs::write(path, "1");
}

/// A network that is routed already and overlaps the range, with its interface.
pub(super) fn overlapping(range: Ipv4Net) -> Result<Option<(String, Ipv4Net)>, PacketVpnError> {
    let path = Path::new("/proc/net/route");
    let table =
        fs::read_to_string(path).map_err(|error| PacketVpnError::File { path: path.to_owned(), error })?;
    Ok(routes(&table).find(|(_, net)| net.contains(&range) || range.contains(net)))
}

/// The networks of a table of routes, but for the default one.
fn routes(table: &str) -> impl Iterator<Item = (String, Ipv4Net)> {
    table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (interface, destination, mask) = (words.next()?, words.next()?, words.nth(5)?);
        let net = Ipv4Net::with_netmask(address(destination)?, address(mask)?).ok()?;
        (net.prefix_len() > 0).then(|| (interface.to_owned(), net))
    })
}

/// An address as the kernel has it in memory.
fn address(hex: &str) -> Option<Ipv4Addr> {
    u32::from_str_radix(hex, 16).ok().map(|number| Ipv4Addr::from(number.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_are_read_as_the_kernel_shows_them() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     lan\t004DA8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let found: Vec<_> = routes(table).collect();
        assert_eq!(found, [("lan".to_owned(), "192.168.77.0/24".parse().unwrap())]);
    }
}
