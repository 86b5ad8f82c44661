//! The networks of this device, as the kernel tells them.

use std::io;

use if_addrs::IfAddr;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// One interface and what is on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Network {
    /// The interface's name.
    pub(super) name: String,
    /// Its number.
    pub(super) index: u32,
    /// Own addresses there, each with the network around it.
    pub(super) addresses: Vec<IpNet>,
}

/// All that neighbours can be on: neither loopback nor lines to a single peer.
///
/// # Errors
/// What the system says.
pub(super) fn all() -> io::Result<Vec<Network>> {
    let mut networks: Vec<Network> = Vec::new();
    let interfaces = if_addrs::get_if_addrs()?.into_iter();
    for interface in interfaces.filter(|one| !one.is_loopback() && !one.is_p2p()) {
        let Some(index) = interface.index else { continue };
        let address = match &interface.addr {
            IfAddr::V4(v4) => Ipv4Net::new(v4.ip, v4.prefixlen).map(IpNet::V4),
            IfAddr::V6(v6) => Ipv6Net::new(v6.ip, v6.prefixlen).map(IpNet::V6),
        };
        let Ok(address) = address else { continue };
        match networks.iter_mut().find(|network| network.index == index) {
            Some(network) => network.addresses.push(address),
            None => networks.push(Network { name: interface.name, index, addresses: vec![address] }),
        }
    }
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_no_network_and_every_other_has_an_address() {
        for network in all().unwrap() {
            assert!(network.name != "lo" && !network.addresses.is_empty(), "{network:?}");
        }
    }
}
