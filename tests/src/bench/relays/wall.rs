//! A wall on the client's side, which keeps packets from a device's own address: what goes there goes over the relay, or nowhere.

use std::net::SocketAddr;

use crate::bench::link::{Link, Side, run};
use crate::world::Mishap;

/// A wall. It goes with its namespace.
#[derive(Debug)]
pub(in crate::bench) struct Wall {
    link: Link,
    /// The table of the packet filter.
    name: String,
    far: SocketAddr,
}

impl Wall {
    /// An open one before an address.
    ///
    /// # Errors
    /// When the packet filter refuses it.
    pub(in crate::bench) fn before(link: &Link, name: &str, far: SocketAddr) -> Result<Self, Mishap> {
        let wall = Self { link: link.clone(), name: format!("wall-{name}"), far };
        wall.nft(&["add", "table", "ip", &wall.name])?;
        wall.nft(&["add", "chain", "ip", &wall.name, "out", "{ type filter hook output priority 0; }"])?;
        Ok(wall)
    }

    /// Nothing passes from here on.
    ///
    /// # Errors
    /// When the packet filter refuses it.
    pub(in crate::bench) fn close(&self) -> Result<(), Mishap> {
        let (ip, port) = (self.far.ip().to_string(), self.far.port().to_string());
        self.open()?;
        let rule =
            ["add", "rule", "ip", &self.name, "out", "ip", "daddr", &ip, "udp", "dport", &port, "drop"];
        self.nft(&rule)
    }

    /// All passes again.
    ///
    /// # Errors
    /// When the packet filter refuses it.
    pub(in crate::bench) fn open(&self) -> Result<(), Mishap> {
        self.nft(&["flush", "chain", "ip", &self.name, "out"])
    }

    fn nft(&self, args: &[&str]) -> Result<(), Mishap> {
        let name = self.link.name(Side::Client);
        run("ip", &[&["netns", "exec", &name, "nft"], args].concat()).map(drop)
    }
}
