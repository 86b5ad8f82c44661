//! The place in between: a third namespace with a wire to either end, which routes. From then on all that goes from one end to
//! the other goes through it.

use std::net::Ipv4Addr;

use crate::bench::link::{Link, MTU, Model, Side, run};
use crate::world::Mishap;

/// The place; the supervisor removes it.
#[derive(Debug)]
pub(super) struct Middle {
    link: Link,
}

impl Middle {
    /// Makes it.
    ///
    /// # Errors
    /// When root cannot make it.
    pub(super) fn make(link: &Link) -> Result<Self, Mishap> {
        let relay = link.name(Side::Relay);
        run("ip", &["netns", "add", &relay])?;
        for (side, end) in ENDS {
            let other = link.name(side);
            let pair =
                ["link", "add", end.wire, "mtu", MTU, "netns", &relay, "type", "veth", "peer", BETWEEN];
            run("ip", &[pair.as_slice(), &["mtu", MTU, "netns", &other]].concat())?;
            link.ip(side, &["addr", "add", &format!("{}/24", end.outer), "dev", BETWEEN])?;
            link.ip(Side::Relay, &["addr", "add", &format!("{}/24", end.inner), "dev", end.wire])?;
            link.ip(side, &["link", "set", BETWEEN, "up"])?;
            link.ip(Side::Relay, &["link", "set", end.wire, "up"])?;
        }
        let own = link.address(Side::Relay).to_string();
        link.ip(Side::Relay, &["addr", "add", &format!("{own}/32"), "dev", "lo"])?;
        link.ip(Side::Relay, &["link", "set", "lo", "up"])?;
        let [(near, _), (far, _)] = ENDS;
        for ((side, end), other) in ENDS.into_iter().zip([far, near]) {
            let (here, there) = (link.address(side).to_string(), link.address(other).to_string());
            let (inner, outer) = (end.inner.to_string(), end.outer.to_string());
            // What goes to the other end takes no other way any more.
            for to in [&own, &there] {
                link.ip(side, &["route", "add", to, "via", &inner, "src", &here])?;
            }
            link.ip(Side::Relay, &["route", "add", &here, "via", &outer])?;
        }
        run("ip", &["netns", "exec", &relay, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])?;
        Ok(Self { link: link.clone() })
    }

    /// The three places.
    pub(super) const fn link(&self) -> &Link {
        &self.link
    }

    /// Makes all wires behave like `model`.
    ///
    /// # Errors
    /// When the interfaces refuse it.
    pub(super) fn switch(&self, model: Model) -> Result<(), Mishap> {
        self.link.switch(model)?;
        let to = if model == Model::Packets { "off" } else { "on" };
        ENDS.into_iter().try_for_each(|(side, end)| {
            self.link.offload(side, BETWEEN, to)?;
            self.link.offload(Side::Relay, end.wire, to)
        })
    }

    /// Narrows the client's wire both ways, or widens it again.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(super) fn narrow(&self, narrow: bool) -> Result<(), Mishap> {
        if narrow {
            self.switch(Model::Packets)?;
        }
        let [(near, end), _] = ENDS;
        for (side, wire) in [(near, BETWEEN), (Side::Relay, end.wire)] {
            let name = self.link.name(side);
            let head = ["netns", "exec", &name, "tc", "qdisc"];
            let tail: &[&str] = if narrow {
                &["add", "dev", wire, "root", "tbf", "rate", "10mbit", "burst", "3000", "limit", "250000"]
            } else {
                &["del", "dev", wire, "root"]
            };
            run("ip", &[&head, tail].concat())?;
        }
        Ok(())
    }
}

/// The addresses of a wire to the place in between.
#[derive(Clone, Copy, Debug)]
struct End {
    wire: &'static str,
    inner: Ipv4Addr,
    outer: Ipv4Addr,
}

const ENDS: [(Side, End); 2] = [
    (
        Side::Client,
        End { wire: "near", inner: Ipv4Addr::new(10, 78, 1, 1), outer: Ipv4Addr::new(10, 78, 1, 2) },
    ),
    (
        Side::Device,
        End { wire: "far", inner: Ipv4Addr::new(10, 78, 2, 1), outer: Ipv4Addr::new(10, 78, 2, 2) },
    ),
];
/// The wire's name at the ends.
const BETWEEN: &str = "between";
