//! Where the device is: which network leads to its hub. It is remembered until the agent ends, and no flash is written for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use postern_protocol::time::UnixTime;
use postern_transport::ladder::{Ladder, Memory, Network, Opened, Surroundings};
use postern_transport::proxy::Proxies;

/// The ladder of this device.
pub(crate) fn ladder(proxies: Proxies) -> Ladder {
    Ladder::new(proxies, Memory::default(), Here(Instant::now()))
}

/// The device, since it began to count.
struct Here(Instant);

impl Surroundings for Here {
    fn now(&self) -> UnixTime {
        // Differences count, and nothing outlives the process: no clock is needed that people read.
        UnixTime::from_secs(self.0.elapsed().as_secs())
    }

    fn network(&self, towards: SocketAddr) -> Network {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Network::of(source_towards(towards), &read("/proc/net/route"), &read("/proc/net/arp"))
    }

    fn keep(&self, _memory: &Memory) {}

    fn opened(&self, opened: &Opened) {
        tracing::warn!(error = %opened, "somebody opens TLS");
    }
}

/// The local address from which `hub` is reached. Sends nothing.
pub(crate) fn source_towards(hub: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(wildcard(hub)).ok()?;
    socket.connect(hub).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip()).filter(|ip| !ip.is_unspecified())
}

/// Any address of the family of `hub`.
pub(crate) const fn wildcard(hub: SocketAddr) -> SocketAddr {
    match hub {
        SocketAddr::V4(_) => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        SocketAddr::V6(_) => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    }
}
