//! Dials a machine: only the address in the permit, and only inside the networks that this device may dial.
//!
//! 1. [`Guard::allows`] refuses loopback, link-local, multicast, the hub's and the device's own addresses, whatever the
//!    policy says: a service that points at the router itself would open its administration to engineers.
//! 2. [`Guard::dial`] connects within a deadline, from the machine's interface where one is configured. `pin` connects in the same way.
//!
//! An address that is listed as a single address (`/32`, `/128`) is dialled even if the first step would refuse it.
//! Deliberately absent: names. What was authorised is an address, and that address is dialled.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpSocket, TcpStream};

use postern_protocol::policy::{Permit, VpnRules};
use postern_protocol::wire::registry::Failure;

use crate::config::Config;

/// Which targets may be dialled, and how.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    networks: Vec<IpNet>,
    /// Addresses of the hub: no machine either, even where it stands in a private network.
    hubs: Vec<IpAddr>,
    interface: Option<String>,
    within: Duration,
}

impl Guard {
    /// The guard of a configuration, on a device that belongs to `hubs`.
    pub(crate) fn new(config: &Config, hubs: &[SocketAddr]) -> Self {
        Self {
            networks: config.machine_networks.clone(),
            hubs: hubs.iter().map(|hub| hub.ip().to_canonical()).collect(),
            interface: config.machine_interface.clone(),
            within: Duration::from_secs(config.dial_timeout_s.into()),
        }
    }

    /// Connects to the target of a permit.
    ///
    /// # Errors
    /// What to tell the client.
    pub(super) async fn dial(&self, permit: &Permit) -> Result<TcpStream, Failure> {
        let flows = permit.service().reach.flows().and_then(VpnRules::only_tcp);
        // A VPN to one place is carried as the one flow that it is; this version carries no other.
        let target = permit.target().or_else(|| flows.map(SocketAddr::from)).ok_or(Failure::Unsupported)?;
        self.connect(target).await
    }

    /// Connects to an address that whoever runs this device has typed; no client can.
    ///
    /// # Errors
    /// As [`Guard::dial`].
    pub(crate) async fn connect(&self, target: SocketAddr) -> Result<TcpStream, Failure> {
        if !self.allows(target) {
            return Err(Failure::Forbidden);
        }
        let socket = self.socket(target.ip()).map_err(|error| {
            tracing::warn!(%error, "no socket for the machine's network");
            Failure::Internal
        })?;
        let stream = match tokio::time::timeout(self.within, socket.connect(target)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Err(Failure::Refused);
            }
            Ok(Err(_)) | Err(_) => return Err(Failure::Unreachable),
        };
        // Modbus, S7 and RFB are ping-pong: Nagle with delayed acknowledgements adds 40 to 200 ms.
        let _slower = stream.set_nodelay(true);
        Ok(stream)
    }

    fn allows(&self, target: SocketAddr) -> bool {
        let ip = target.ip().to_canonical();
        let exact =
            self.networks.iter().any(|net| net.prefix_len() == net.max_prefix_len() && net.addr() == ip);
        let is_other = || is_special(ip) || self.hubs.contains(&ip) || is_own(target);
        exact || (self.networks.iter().any(|net| net.contains(&ip)) && !is_other())
    }

    fn socket(&self, ip: IpAddr) -> io::Result<TcpSocket> {
        let socket = if ip.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(interface) = &self.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        Ok(socket)
    }
}

/// Addresses that belong to no machine.
fn is_special(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.octets().first() == Some(&0)
        }
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local()
        }
    }
}

/// Whether the address is one of this device's own: the kernel then reaches it from itself. Sends nothing.
/// Without a socket to ask with (no descriptor is left) every address counts as own.
fn is_own(target: SocketAddr) -> bool {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let Ok(socket) = std::net::UdpSocket::bind(any) else { return true };
    let source = socket.connect(target).and_then(|()| socket.local_addr());
    source.is_ok_and(|source| source.ip().to_canonical() == target.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(networks: &[&str]) -> Guard {
        let networks = networks.iter().map(|net| net.parse().unwrap()).collect();
        Guard { networks, hubs: Vec::new(), interface: None, within: Duration::from_secs(1) }
    }

    fn allows(networks: &[&str], ip: &str) -> bool {
        guard(networks).allows(SocketAddr::new(ip.parse().unwrap(), 80))
    }

    #[test]
    fn only_the_listed_networks_are_dialled() {
        let private = ["10.0.0.0/8", "192.168.0.0/16", "fc00::/7"];
        assert!(allows(&private, "192.168.10.20"));
        assert!(allows(&private, "fd00::1"));
        assert!(allows(&private, "::ffff:10.1.2.3"));
        for public in ["192.0.2.1", "8.8.8.8", "2001:db8::1", "172.16.0.1", "::ffff:192.0.2.1"] {
            assert!(!allows(&private, public), "{public}");
        }
    }

    #[test]
    fn loopback_link_local_multicast_and_unspecified_are_refused_even_inside_a_listed_network() {
        let all = ["0.0.0.0/0", "::/0"];
        assert!(allows(&all, "192.0.2.1"));
        for special in [
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
        ] {
            assert!(!allows(&all, special), "{special}");
        }
    }

    #[test]
    fn a_single_address_is_dialled_when_it_is_listed_as_such() {
        assert!(allows(&["127.0.0.1/32"], "127.0.0.1"));
        assert!(!allows(&["127.0.0.1/32"], "127.0.0.2"));
        assert!(allows(&["::1/128"], "::1"));
        assert!(!allows(&["127.0.0.0/8"], "127.0.0.1"));
    }

    #[test]
    fn the_hub_in_a_machine_network_is_refused_and_its_neighbour_is_not() {
        let hubs = vec!["192.168.0.5".parse().unwrap()];
        let guard = Guard { hubs, ..guard(&["192.168.0.0/16"]) };
        assert!(!guard.allows("192.168.0.5:443".parse().unwrap()));
        assert!(!guard.allows("[::ffff:192.168.0.5]:443".parse().unwrap()));
        assert!(guard.allows("192.168.0.6:443".parse().unwrap()));
    }

    #[test]
    fn an_address_of_the_device_itself_is_recognised() {
        assert!(is_own("127.0.0.1:80".parse().unwrap()));
        assert!(!is_own("192.0.2.77:80".parse().unwrap()));
    }
}
