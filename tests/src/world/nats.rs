//! A device and an engineer, each behind a router that translates addresses, and what lies between the two: five network namespaces.
//!
//! ```text
//! device 10.1.0.2 -- 10.1.0.1 door 198.51.100.2 -- 198.51.100.1 between 203.0.113.1 -- 203.0.113.2 gate 10.2.0.1 -- 10.2.0.2 person
//! ```
//!
//! 1. [`Nats::make`] makes them, with routers that let in what answers, and keep ports or take others for each destination.
//! 2. [`Nats::enter`] moves the calling thread to a place: what it starts and opens from then on lives there.
//! 3. [`Nats::close_door`] and its sisters change something there: close it, start it anew, give the device another address.
//!
//! Takes root, as sites do.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::mishap::Mishap;
use super::site::{ip, make};

/// The namespaces, named after this process.
#[derive(Debug)]
pub struct Nats {
    tag: String,
    /// Where the thread was before.
    home: File,
}

/// One of the networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where the device stands, with its machines.
    Device,
    /// Its router.
    Door,
    /// Where the hub is.
    Between,
    /// The engineer's router.
    Gate,
    /// Where the engineer is.
    Person,
}

/// Which ports routers take outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Those that are used inside, for all destinations alike.
    Kept,
    /// Any, another one for each destination.
    Random,
}

impl Nats {
    /// Makes them; none where this is not root, who alone may.
    ///
    /// # Errors
    /// The command that failed, with what it printed.
    pub fn make(ports: Ports) -> Result<Option<Self>, Mishap> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let own = "/proc/thread-self/ns/net";
        let home = File::open(own).map_err(Mishap::io(format!("opening `{own}`")))?;
        let nats = Self { tag: format!("postern-{}", std::process::id()), home };
        for place in Place::ALL {
            make(&nats.name(place))?;
        }
        for (from, from_at, to, to_at) in [
            (Place::Device, "10.1.0.2/24", Place::Door, "10.1.0.1/24"),
            (Place::Door, "198.51.100.2/24", Place::Between, "198.51.100.1/24"),
            (Place::Gate, "203.0.113.2/24", Place::Between, "203.0.113.1/24"),
            (Place::Person, "10.2.0.2/24", Place::Gate, "10.2.0.1/24"),
        ] {
            // A wire has the name of where it leads.
            let (near, far) = (nats.name(from), nats.name(to));
            let (at_near, at_far) = (to.word(), from.word());
            ip(&["link", "add", at_near, "netns", &near, "type", "veth", "peer", at_far, "netns", &far])?;
            for (space, wire, address) in [(&near, at_near, from_at), (&far, at_far, to_at)] {
                ip(&["-n", space, "addr", "add", address, "dev", wire])?;
                ip(&["-n", space, "link", "set", wire, "up"])?;
            }
        }
        for (place, router) in [
            (Place::Device, "10.1.0.1"),
            (Place::Door, "198.51.100.1"),
            (Place::Gate, "203.0.113.1"),
            (Place::Person, "10.2.0.1"),
        ] {
            ip(&["-n", &nats.name(place), "route", "add", "default", "via", router])?;
        }
        for place in [Place::Door, Place::Between, Place::Gate] {
            ip(&["netns", "exec", &nats.name(place), "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])?;
        }
        for place in [Place::Door, Place::Gate] {
            nats.filter(place, &router(ports))?;
        }
        Ok(Some(nats))
    }

    /// Moves the calling thread to a place, from wherever it is.
    ///
    /// # Errors
    /// When it cannot be entered.
    pub fn enter(&self, place: Place) -> Result<(), Mishap> {
        let path = format!("/run/netns/{}", self.name(place));
        let space = File::open(&path).map_err(Mishap::io(format!("opening `{path}`")))?;
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|fault| Mishap::io(format!("entering `{path}`"))(fault.into()))
    }

    /// Has the device's router drop what goes to the engineer's, and what comes from there.
    ///
    /// # Errors
    /// The command that failed, with what it printed.
    pub fn close_door(&self) -> Result<(), Mishap> {
        self.filter(
            Place::Door,
            "add chain ip router shut { type filter hook forward priority -5; policy accept; }\n\
             add rule ip router shut ip saddr 203.0.113.2 drop\n\
             add rule ip router shut ip daddr 203.0.113.2 drop\n",
        )
    }

    /// Starts the device's router anew: it forgets who was behind it.
    ///
    /// # Errors
    /// The command that failed, with what it printed.
    pub fn restart_door(&self) -> Result<(), Mishap> {
        let door = self.name(Place::Door);
        ip(&["-n", &door, "link", "set", "between", "down"])?;
        ip(&["-n", &door, "link", "set", "between", "up"])?;
        ip(&["-n", &door, "route", "replace", "default", "via", "198.51.100.1"]).map(drop)
    }

    /// Gives the device, or the engineer's computer, another address.
    ///
    /// # Errors
    /// The command that failed, with what it printed.
    pub fn move_to_another_address(&self, place: Place) -> Result<(), Mishap> {
        let (net, router) = if place == Place::Device { ("10.1.0", "door") } else { ("10.2.0", "gate") };
        let space = self.name(place);
        ip(&["-n", &space, "addr", "del", &format!("{net}.2/24"), "dev", router])?;
        ip(&["-n", &space, "addr", "add", &format!("{net}.3/24"), "dev", router])?;
        ip(&["-n", &space, "route", "replace", "default", "via", &format!("{net}.1")]).map(drop)
    }

    fn filter(&self, place: Place, rules: &str) -> Result<(), Mishap> {
        use std::io::Write as _;
        let name = self.name(place);
        let io = Mishap::io("starting `nft`");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &name, "nft", "-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(io)?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(rules.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        let output_text = String::from_utf8_lossy(&output.stderr).into_owned();
        let found = output.status.into();
        Err(Mishap::Exit { command: format!("nft in {name}"), found, expected: 0, output: output_text })
    }

    fn name(&self, place: Place) -> String {
        format!("{}-{}", self.tag, place.word())
    }
}

impl Place {
    const ALL: [Self; 5] = [Self::Device, Self::Door, Self::Between, Self::Gate, Self::Person];

    const fn word(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Door => "door",
            Self::Between => "between",
            Self::Gate => "gate",
            Self::Person => "person",
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _stays = move_into_link_name_space(self.home.as_fd(), Some(LinkNameSpaceType::Network));
        for place in Place::ALL {
            let _never_made = ip(&["netns", "del", &self.name(place)]);
        }
    }
}

/// As routers are: what goes out is masqueraded, what comes in must answer it.
fn router(ports: Ports) -> String {
    let masquerade = match ports {
        Ports::Kept => "masquerade",
        Ports::Random => "masquerade fully-random",
    };
    format!(
        "table ip router {{\n\
         chain out {{ type nat hook postrouting priority srcnat; oifname \"between\" {masquerade}; }}\n\
         chain here {{ type filter hook input priority 0; iifname \"between\" ct state new drop; }}\n\
         chain through {{ type filter hook forward priority 0; iifname \"between\" ct state new drop; }}\n\
         }}\n"
    )
}

/// Where the hub is.
pub const HUB: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
