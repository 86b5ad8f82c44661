//! Where engineers sit: a network of its own, joined to the routers of sites by a wire each, and to nothing else.
//!
//! 1. [`Office::beside`] makes it. Wire number N has the addresses 10.79.N.1 at the router and 10.79.N.2 here, and an MTU of the test's choice.
//! 2. [`Office::at`] lets a command run there, [`Office::run`] a part of the test.
//! 3. [`Office::shape`] is all that a VPN could leave behind there.
//!
//! Takes root, as sites do.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::mishap::Mishap;
use super::process::Call;
use super::site::{Site, ip, make};

/// The namespace, named after this process.
#[derive(Debug)]
pub struct Office {
    name: String,
}

impl Office {
    /// Makes it beside these sites; packets on the wires have at most `mtu` bytes.
    ///
    /// # Errors
    /// The command that failed, with what it printed.
    pub fn beside(sites: &[&Site], mtu: u16) -> Result<Self, Mishap> {
        let office = Self { name: format!("postern-{}-office", std::process::id()) };
        let (name, mtu) = (office.name.as_str(), mtu.to_string());
        make(name)?;
        for site in sites {
            let (router, number) = (site.router(), site.number());
            let wire = format!("wan{number}");
            let pair = ["link", "add", &wire, "mtu", &mtu, "netns", &router, "type", "veth", "peer", &wire];
            ip(&[pair.as_slice(), &["mtu", &mtu, "netns", name]].concat())?;
            for (space, address) in [(router.as_str(), Self::wan(site)), (name, wan(number, 2))] {
                ip(&["-n", space, "addr", "add", &format!("{address}/24"), "dev", &wire])?;
                ip(&["-n", space, "link", "set", &wire, "up"])?;
            }
        }
        Ok(office)
    }

    /// The address of a site's router at its end of the wire.
    #[must_use]
    pub const fn wan(site: &Site) -> IpAddr {
        wan(site.number(), 1)
    }

    /// The same command, here.
    #[must_use]
    pub fn at(&self, call: &Call) -> Call {
        call.inside(&self.name)
    }

    /// A part of the test, here: its sockets belong here.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or with the part.
    pub async fn run<T: Send + 'static, F: Future<Output = Result<T, Mishap>>>(
        &self,
        part: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, Mishap> {
        let path = format!("/run/netns/{}", self.name);
        let thread = move || {
            let space = File::open(&path).map_err(Mishap::io(format!("opening `{path}`")))?;
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|fault| Mishap::io(format!("entering `{path}`"))(fault.into()))?;
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(part())
        };
        let (said, heard) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || said.send(thread()));
        heard.await.unwrap_or_else(|_| Err(Mishap::unexpected("a part of the test", "a panic", "a result")))
    }

    /// Interfaces with their addresses, routes, rules, the packet filter and open sockets; and how many processes there are.
    ///
    /// # Errors
    /// The command that failed, with what it printed.
    pub fn shape(&self) -> Result<(String, usize), Mishap> {
        Ok((shape(&self.name)?, processes(&self.name)?))
    }
}

/// As [`Office::shape`] of any namespace. Sockets that only wait for late packets are left out: the kernel forgets them by itself.
pub(super) fn shape(name: &str) -> Result<String, Mishap> {
    let mut whole = String::new();
    for args in [
        ["-brief", "address"].as_slice(),
        &["-4", "route", "show", "table", "all"],
        &["-6", "route", "show", "table", "all"],
        &["-4", "rule"],
        &["-6", "rule"],
    ] {
        whole.push_str(&ip(&[&["-n", name], args].concat())?);
    }
    for words in [["nft", "list", "ruleset"].as_slice(), &["ss", "-H", "-a", "-n", "-t", "-u"]] {
        if let Ok(output) = Command::new("ip").args(["netns", "exec", name]).args(words).output() {
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            let lines =
                printed.lines().filter(|line| !line.contains("TIME-WAIT")).map(|line| format!("{line}\n"));
            whole.extend(lines);
        }
    }
    Ok(whole)
}

/// The processes in a namespace.
pub(super) fn processes(name: &str) -> Result<usize, Mishap> {
    Ok(ip(&["netns", "pids", name])?.lines().count())
}

impl Drop for Office {
    fn drop(&mut self) {
        let pids = ip(&["netns", "pids", &self.name]).unwrap_or_default();
        for pid in pids.split_whitespace() {
            let _already_gone = Command::new("kill").args(["-KILL", pid]).status();
        }
        let _never_made = ip(&["netns", "del", &self.name]);
    }
}

const fn wan(number: u8, end: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 79, number, end))
}
