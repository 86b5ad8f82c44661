//! The networks of this device, as the kernel tells them, and when they change.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use if_addrs::IfAddr;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use tokio::io::unix::AsyncFd;

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

/// Changes of addresses and routes (RFC 3549; linux/rtnetlink.h).
#[derive(Debug)]
pub(super) struct Changes(AsyncFd<OwnedFd>);

impl Changes {
    /// Subscribes to them. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn subscribe() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // NETLINK_ROUTE is protocol zero, the default.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types that could give another file every time; an `OwnedFd` cannot"
        )]
        Ok(Self(AsyncFd::new(socket)?))
    }

    /// Waits for the next ones, and a moment longer: they come in crowds.
    pub(super) async fn next(&self) {
        if let Ok(mut ready) = self.0.readable().await {
            ready.clear_ready();
        }
        tokio::time::sleep(SETTLED).await;
        // What they say is looked up. One that was lost for want of room is one all the same.
        let mut passed_over = [0; 64];
        for _ in 0..MOST_AT_ONCE {
            if matches!(recv(&self.0, passed_over.as_mut_slice(), RecvFlags::TRUNC), Err(Errno::AGAIN)) {
                break;
            }
        }
    }
}

/// `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`, `RTMGRP_IPV6_IFADDR`, `RTMGRP_IPV6_ROUTE`.
const GROUPS: u32 = 0x10 | 0x40 | 0x100 | 0x400;
/// Changes that are passed over together.
const MOST_AT_ONCE: usize = 1024;
const SETTLED: Duration = Duration::from_secs(1);

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
