//! The device's interface for packets, and whose address is whose.
//!
//! 1. It is opened with the first request, once `postern-agent packet-vpn up` has made it, and again after it was taken away.
//! 2. Each tunnel gets an address of the configured range, in turn: one that was just given back is given last, for machines may
//!    still answer whoever had it.
//! 3. One task reads it and gives each packet to the way of the tunnel that has its address.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::Ipv4Net;
use tokio::sync::watch;

use postern_protocol::wire::registry::Failure;

use super::Way;
use crate::config::PacketVpn;
use crate::tun::Tun;

/// The packet VPN of this device, where it has one.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    config: Option<PacketVpn>,
    interface: Mutex<Option<Arc<Interface>>>,
}

/// The interface, open.
#[derive(Debug)]
pub(super) struct Interface {
    tun: Arc<Tun>,
    addresses: Mutex<Addresses>,
    gone: watch::Sender<bool>,
}

/// Addresses of tunnels.
#[derive(Debug)]
struct Addresses {
    range: Ipv4Net,
    /// The last that was given.
    last: Ipv4Addr,
    ways: BTreeMap<Ipv4Addr, Option<Arc<Way>>>,
}

/// An address, until it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    interface: Arc<Interface>,
    ip: Ipv4Addr,
    gone: watch::Receiver<bool>,
}

impl Packets {
    /// As configured; nothing is opened yet.
    pub(crate) fn new(config: Option<&PacketVpn>) -> Self {
        Self { config: config.cloned(), interface: Mutex::default() }
    }

    /// An address for a tunnel.
    ///
    /// # Errors
    /// [`Failure::NoPackets`] without an interface, [`Failure::Busy`] without an address.
    pub(super) fn lease(&self) -> Result<Lease, Failure> {
        let config = self.config.as_ref().ok_or(Failure::NoPackets)?;
        let mut place = self.interface.lock().unwrap_or_else(PoisonError::into_inner);
        let present = place.take().filter(|interface| !*interface.gone.borrow());
        let interface = match present {
            Some(interface) => interface,
            None => Interface::open(config).map_err(|error| {
                tracing::warn!(%error, tun = config.tun, "the interface for packets cannot be opened");
                Failure::NoPackets
            })?,
        };
        let lease = interface.lease();
        *place = Some(interface);
        lease
    }
}

impl Interface {
    fn open(config: &PacketVpn) -> io::Result<Arc<Self>> {
        let interface = Arc::new(Self {
            tun: Arc::new(Tun::attach(&config.tun)?),
            addresses: Mutex::new(Addresses::new(config.range)),
            gone: watch::Sender::new(false),
        });
        let reader = Arc::clone(&interface);
        tokio::spawn(async move {
            let error = reader.read().await;
            tracing::warn!(%error, "the interface for packets is gone");
            reader.gone.send_replace(true);
        });
        Ok(interface)
    }

    fn lease(self: &Arc<Self>) -> Result<Lease, Failure> {
        let ip = self.addresses().take().ok_or(Failure::Busy)?;
        Ok(Lease { interface: Arc::clone(self), ip, gone: self.gone.subscribe() })
    }

    /// Reads until the interface is taken away.
    async fn read(&self) -> io::Error {
        let mut buffer = vec![0; LARGEST];
        loop {
            let ready = match self.tun.ready().await {
                Ok(ready) => ready,
                Err(error) => return error,
            };
            if let Err(error) = ready.read(&mut buffer, |packet| self.pass_on(packet)) {
                return error;
            }
            // Others have their turn before the next burst.
            tokio::task::yield_now().await;
        }
    }

    fn pass_on(&self, packet: &[u8]) {
        let to = packet.get(DESTINATION_AT..).and_then(|rest| rest.first_chunk::<4>());
        let Some(to) = to.map(|octets| Ipv4Addr::from(*octets)) else { return };
        let way = self.addresses().ways.get(&to).cloned().flatten();
        if let Some(way) = way {
            way.hear(packet);
        }
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Addresses {
    fn new(range: Ipv4Net) -> Self {
        Self { range, last: PacketVpn::gateway_of(range), ways: BTreeMap::new() }
    }

    /// The next free address behind the last one.
    fn take(&mut self) -> Option<Ipv4Addr> {
        let hosts = || self.range.hosts().filter(|ip| *ip != PacketVpn::gateway_of(self.range));
        let last = self.last;
        let mut in_turn = hosts().filter(|ip| *ip > last).chain(hosts().filter(|ip| *ip <= last));
        let ip = in_turn.find(|ip| !self.ways.contains_key(ip))?;
        self.last = ip;
        self.ways.insert(ip, None);
        Some(ip)
    }
}

impl Lease {
    /// The address.
    pub(super) const fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// The interface.
    pub(super) fn tun(&self) -> Arc<Tun> {
        Arc::clone(&self.interface.tun)
    }

    /// Has packets for this address go that way.
    pub(super) fn begin(&self, way: Arc<Way>) {
        self.interface.addresses().ways.insert(self.ip, Some(way));
    }

    /// Waits until the interface is taken away. Safe to cancel.
    pub(super) async fn gone(&mut self) {
        // Whoever says so lives as long as this lease.
        let _gone = self.gone.wait_for(|gone| *gone).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.interface.addresses().ways.remove(&self.ip);
    }
}

const DESTINATION_AT: usize = 16;
/// More than the interface's largest packet: what is cut is no packet.
const LARGEST: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_given_in_turn_and_none_is_given_twice() {
        let mut addresses = Addresses::new("100.96.0.0/29".parse().unwrap());
        let given: Vec<u8> = std::iter::from_fn(|| addresses.take()).map(|ip| ip.octets()[3]).collect();
        assert_eq!(given, [2, 3, 4, 5, 6]);
        assert_eq!(addresses.take(), None);
        for back in [3, 5] {
            addresses.ways.remove(&Ipv4Addr::new(100, 96, 0, back));
        }
        addresses.last = Ipv4Addr::new(100, 96, 0, 4);
        assert_eq!(addresses.take(), Some(Ipv4Addr::new(100, 96, 0, 5)));
        assert_eq!(addresses.take(), Some(Ipv4Addr::new(100, 96, 0, 3)));
    }

    #[test]
    fn a_device_that_is_not_configured_for_it_carries_no_packets() {
        let packets = Packets::new(None);
        assert_eq!(packets.lease().err(), Some(Failure::NoPackets));
        let tun = "no-such-tun".to_owned();
        let range = "100.96.0.0/24".parse().unwrap();
        let packets = Packets::new(Some(&PacketVpn { tun, interface: None, range }));
        assert_eq!(packets.lease().err(), Some(Failure::NoPackets));
    }
}
