//! Dials a machine: only the address in the permit, and only inside the networks that this device may dial.
//!
//! 1. [`Guard::allows`] refuses loopback, link-local, multicast, the hub's and the device's own addresses, whatever the
//!    policy says: a service that points at the router itself would open its administration to engineers. It refuses what lies
//!    on the way to the internet as well: the factory's offices, and whoever else is connected there.
//! 2. [`Guard::dial`] connects within a deadline, from the machine's interface where one is configured. `pin` connects in the same way.
//!
//! An address that is listed as a single address (`/32`, `/128`) is dialled even if the first step would refuse it.
//! Deliberately absent: names. What was authorised is an address, and that address is dialled.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use postern_protocol::policy::{FlowEnd, FlowPermit, Permit, Protocol};
use postern_protocol::wire::registry::Failure;

use crate::config::Config;

/// Which targets may be dialled, and how.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    networks: Vec<IpNet>,
    /// Addresses of the hub: no machine either, even where it stands in a private network.
    hubs: Vec<IpAddr>,
    interface: Option<String>,
    /// Whether machines may be where the internet is.
    on_uplink: bool,
    within: Duration,
}

impl Guard {
    /// The guard of a configuration, on a device that belongs to `hubs`.
    pub(crate) fn new(config: &Config, hubs: &[SocketAddr]) -> Self {
        Self {
            networks: config.machine_networks.clone(),
            hubs: hubs.iter().map(|hub| hub.ip().to_canonical()).collect(),
            interface: config.machine_interface.clone(),
            on_uplink: config.machines_on_uplink || config.machine_interface.is_some(),
            within: Duration::from_secs(config.dial_timeout_s.into()),
        }
    }

    /// Connects to the target of a permit.
    ///
    /// # Errors
    /// What to tell the client.
    pub(super) async fn dial(&self, permit: &Permit) -> Result<TcpStream, Failure> {
        // A VPN has no target: its flows are dialled, each under its own permit.
        self.connect(permit.target().ok_or(Failure::Unsupported)?).await
    }

    /// Connects to the far end of a TCP flow.
    ///
    /// # Errors
    /// As [`Guard::dial`], and [`Failure::Timeout`] for a machine that does not answer at all.
    pub(super) async fn dial_flow(&self, flow: &FlowPermit) -> Result<TcpStream, Failure> {
        let end = flow.end();
        let stream = self.connect_apart(SocketAddr::new(end.ip, end.port)).await?;
        // A machine that was switched off would keep its flow open for ever.
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4).with_retries(4);
        let _slower = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        Ok(stream)
    }

    /// A socket for the messages of a UDP or ICMP flow. Sends nothing. The kernel lets nothing through but what its far end says.
    ///
    /// # Errors
    /// As [`Guard::dial`]; [`Failure::Unsupported`] where the system lets nobody send echoes (`net.ipv4.ping_group_range`).
    pub(super) fn message_socket(&self, flow: &FlowPermit) -> Result<UdpSocket, Failure> {
        let FlowEnd { protocol, ip, port } = flow.end();
        let target = SocketAddr::new(ip, port);
        if !self.allows(target) {
            return Err(Failure::Forbidden);
        }
        let (domain, icmp) = if ip.is_ipv4() {
            (Domain::IPV4, socket2::Protocol::ICMPV4)
        } else {
            (Domain::IPV6, socket2::Protocol::ICMPV6)
        };
        let (carried, no_right) = match protocol {
            Protocol::Icmp => (icmp, Failure::Unsupported),
            Protocol::Udp => (socket2::Protocol::UDP, Failure::Internal),
            Protocol::Tcp => return Err(Failure::Internal),
        };
        let socket =
            Socket::new(domain, Type::DGRAM, Some(carried)).map_err(|error| without(&error, no_right))?;
        let bound = self.interface.as_ref().map_or(Ok(()), |name| socket.bind_device(Some(name.as_bytes())));
        bound
            .and_then(|()| socket.set_nonblocking(true))
            .map_err(|error| without(&error, Failure::Internal))?;
        socket.connect(&target.into()).map_err(|error| {
            // The address at which a whole network listens.
            let is_broadcast = error.kind() == io::ErrorKind::PermissionDenied;
            if is_broadcast { Failure::Forbidden } else { Failure::Unreachable }
        })?;
        UdpSocket::from_std(socket.into()).map_err(|error| without(&error, Failure::Internal))
    }

    /// Connects to an address that whoever runs this device has typed; no client can.
    ///
    /// # Errors
    /// As [`Guard::dial`].
    pub(crate) async fn connect(&self, target: SocketAddr) -> Result<TcpStream, Failure> {
        let connected = self.connect_apart(target).await;
        connected.map_err(|failure| if failure == Failure::Timeout { Failure::Unreachable } else { failure })
    }

    async fn connect_apart(&self, target: SocketAddr) -> Result<TcpStream, Failure> {
        if !self.allows(target) {
            return Err(Failure::Forbidden);
        }
        let socket = self.socket(target.ip()).map_err(|error| without(&error, Failure::Internal))?;
        let stream = match tokio::time::timeout(self.within, socket.connect(target)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Err(Failure::Refused);
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => return Err(Failure::Timeout),
            Ok(Err(_)) => return Err(Failure::Unreachable),
            Err(_elapsed) => return Err(Failure::Timeout),
        };
        // Modbus, S7 and RFB are ping-pong: Nagle with delayed acknowledgements adds 40 to 200 ms.
        let _slower = stream.set_nodelay(true);
        Ok(stream)
    }

    /// The machine's interface, where one is configured.
    pub(super) fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// Whether an address may be dialled at all, whatever the policy says.
    pub(crate) fn allows(&self, target: SocketAddr) -> bool {
        let ip = target.ip().to_canonical();
        let exact =
            self.networks.iter().any(|net| net.prefix_len() == net.max_prefix_len() && net.addr() == ip);
        let is_other = || {
            is_special(ip)
                || self.hubs.contains(&ip)
                || is_own(target)
                || (!self.on_uplink && self.is_beyond_uplink(target))
        };
        exact || (self.networks.iter().any(|net| net.contains(&ip)) && !is_other())
    }

    /// Whether an interface leads to machines: the configured one, or one with an address among them from which neither the hub nor
    /// the internet is reached.
    pub(crate) fn is_on_machines_side(&self, interface: &str, own: impl Iterator<Item = IpAddr>) -> bool {
        if let Some(configured) = &self.interface {
            return configured == interface;
        }
        let (mut is_among, mut is_uplink) = (false, false);
        for ip in own {
            is_among |= self.networks.iter().any(|net| net.contains(&ip)) && !is_special(ip);
            is_uplink |= !self.on_uplink && self.is_uplink(ip);
        }
        is_among && !is_uplink
    }

    /// Whether a single byte may go to an address on the word of a relay: not into a network of machines, not to the device itself, and not
    /// to everybody.
    pub(crate) fn lets_knock(&self, at: SocketAddr) -> bool {
        let ip = at.ip().to_canonical();
        let is_inside = self.networks.iter().any(|net| net.contains(&ip));
        at.port() != 0 && !is_inside && !is_special(ip) && !is_own(at)
    }

    /// Whether an address is reached as the hub is, or as the internet is.
    fn is_beyond_uplink(&self, target: SocketAddr) -> bool {
        matches!(source(target), Some(Ok(from)) if self.is_uplink(from))
    }

    /// Whether the hub or the internet is reached from this address of the device.
    fn is_uplink(&self, from: IpAddr) -> bool {
        // Addresses for documentation (RFC 5737, RFC 3849), for which no route but the default one is.
        let internet: IpAddr = match from {
            IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
            IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        };
        let mut uplinks = self.hubs.iter().copied().chain([internet]);
        uplinks.any(|ip| matches!(source((ip, 443).into()), Some(Ok(source)) if source == from))
    }

    fn socket(&self, ip: IpAddr) -> io::Result<TcpSocket> {
        let socket = if ip.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(interface) = &self.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        Ok(socket)
    }
}

/// What to say where there is no socket.
fn without(error: &io::Error, otherwise: Failure) -> Failure {
    // No descriptor is left, for the process or for the system.
    if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) {
        return Failure::Busy;
    }
    tracing::warn!(%error, "no socket for the machine's network");
    otherwise
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

/// Whether the address is one of this device's own: the kernel then reaches it from itself. Without a socket to ask with (no
/// descriptor is left) every address counts as own.
fn is_own(target: SocketAddr) -> bool {
    source(target).is_none_or(|source| source.is_ok_and(|ip| ip == target.ip().to_canonical()))
}

/// From which of the device's addresses another one is reached, as the routes are now. Sends nothing. None without a socket to
/// ask with.
fn source(target: SocketAddr) -> Option<io::Result<IpAddr>> {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    let source = socket.connect(target).and_then(|()| socket.local_addr());
    Some(source.map(|source| source.ip().to_canonical()))
}

const ENFILE: i32 = rustix::io::Errno::NFILE.raw_os_error();
const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
/// Silence after which a machine is asked whether it is still there; after as much again it is not.
const KEEPALIVE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(networks: &[&str]) -> Guard {
        let networks = networks.iter().map(|net| net.parse().unwrap()).collect();
        Guard { networks, hubs: Vec::new(), interface: None, on_uplink: true, within: Duration::from_secs(1) }
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
    fn a_relay_has_nobody_knock_at_machines_at_the_device_or_at_everybody() {
        let knocks =
            |at: &str| guard(&["192.168.10.0/24", "198.51.100.7/32"]).lets_knock(at.parse().unwrap());
        assert!(knocks("192.0.2.1:4000"));
        for refused in [
            "192.168.10.20:4000",
            "[::ffff:192.168.10.20]:4000",
            "198.51.100.7:4000",
            "127.0.0.1:4000",
            "169.254.169.254:80",
            "224.0.0.1:4000",
            "255.255.255.255:4000",
            "0.0.0.0:4000",
            "192.0.2.1:0",
        ] {
            assert!(!knocks(refused), "{refused}");
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
    fn what_is_reached_as_the_hub_is_counts_as_uplink_and_nothing_else_does() {
        let hubs = vec![Ipv4Addr::LOCALHOST.into()];
        let target = "127.0.0.5:80".parse().unwrap();
        assert!(Guard { hubs, ..guard(&["127.0.0.0/8"]) }.is_beyond_uplink(target));
        assert!(!guard(&["127.0.0.0/8"]).is_beyond_uplink(target));
    }

    #[test]
    fn an_interface_leads_to_machines_by_name_or_by_an_address_among_them_that_leads_not_to_the_hub() {
        let leads = |guard: &Guard, name, ip: &str| {
            guard.is_on_machines_side(name, [ip.parse().unwrap()].into_iter())
        };
        let hubs = vec![Ipv4Addr::LOCALHOST.into()];
        let unnamed = Guard { hubs, on_uplink: false, ..guard(&["192.168.0.0/16", "127.0.0.0/8"]) };
        assert!(leads(&unnamed, "eth1", "192.168.7.1"));
        assert!(!leads(&unnamed, "eth1", "10.0.0.1"), "another network");
        assert!(!leads(&unnamed, "eth0", "127.0.0.1"), "where the hub is");
        let named = Guard { interface: Some("eth1".to_owned()), ..unnamed };
        assert!(leads(&named, "eth1", "10.0.0.1") && !leads(&named, "eth2", "192.168.7.1"));
    }

    #[test]
    fn an_address_of_the_device_itself_is_recognised() {
        assert!(is_own("127.0.0.1:80".parse().unwrap()));
        assert!(!is_own("192.0.2.77:80".parse().unwrap()));
    }
}
