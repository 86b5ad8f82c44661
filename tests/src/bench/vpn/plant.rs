//! The machine network behind the device: one machine, which has an address for each peer, so that all of them lead to it at the same
//! time and none in another's way.
//!
//! The device forwards packets for those who need that, as a router does; the machine answers over it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::datagrams;
use crate::bench::link::{Link, MTU, Model, Side, run};
use crate::bench::machine;
use crate::world::Mishap;

/// The machine, which ends with this process.
#[derive(Debug)]
pub(super) struct Plant {
    link: Link,
    port: u16,
}

impl Plant {
    /// Makes the network and serves bytes and datagrams at the same port of each address.
    ///
    /// # Errors
    /// When root cannot make it.
    pub(super) fn make(link: &Link) -> Result<Self, Mishap> {
        let (device, plant) = (link.name(Side::Device), link.name(Side::Plant));
        run("ip", &["netns", "add", &plant])?;
        let pair = ["link", "add", LAN, "mtu", MTU, "netns", &device, "type", "veth", "peer", LAN];
        run("ip", &[pair.as_slice(), &["mtu", MTU, "netns", &plant]].concat())?;
        link.ip(Side::Device, &["addr", "add", &format!("{ROUTER}/24"), "dev", LAN])?;
        for number in 0..ADDRESSES {
            link.ip(Side::Plant, &["addr", "add", &format!("{}/24", address(number)), "dev", LAN])?;
        }
        for (side, interface) in [(Side::Device, LAN), (Side::Plant, LAN), (Side::Plant, "lo")] {
            link.ip(side, &["link", "set", interface, "up"])?;
        }
        link.ip(Side::Plant, &["route", "add", "default", "via", &ROUTER.to_string()])?;
        for side in [Side::Client, Side::Device, Side::Plant] {
            for setting in SETTINGS {
                run("ip", &["netns", "exec", &link.name(side), "sysctl", "-q", "-w", setting])?;
            }
        }
        let port = machine::serve(link, Side::Plant)?;
        for number in 0..ADDRESSES {
            datagrams::serve(link, SocketAddr::new(address(number), port))?;
        }
        Ok(Self { link: link.clone(), port })
    }

    /// Where one of the machine's addresses is served.
    pub(super) const fn at(&self, number: u8) -> SocketAddr {
        SocketAddr::new(address(number), self.port)
    }

    /// Makes both wires behave like `model`.
    ///
    /// # Errors
    /// When the interfaces refuse it.
    pub(super) fn switch(&self, model: Model) -> Result<(), Mishap> {
        self.link.switch(model)?;
        let to = if model == Model::Packets { "off" } else { "on" };
        [Side::Device, Side::Plant].into_iter().try_for_each(|side| self.link.offload(side, LAN, to))
    }
}

/// One of the machine's addresses.
pub(super) const fn address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 168, 77, 10 + number))
}

/// The network of the machine.
pub(in crate::bench) const NETWORK: &str = "192.168.77.0/24";
/// The device's address there.
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
/// The device forwards, and everybody may send echoes, as systemd has it.
const SETTINGS: [&str; 2] = ["net.ipv4.ip_forward=1", "net.ipv4.ping_group_range=0 2147483647"];
/// The interface on both sides.
pub(super) const LAN: &str = "lan";
/// One for each peer that there may be.
const ADDRESSES: u8 = 8;
