//! The wire between engineer and device: two network namespaces joined by a veth pair with an MTU of 1500.
//!
//! 1. [`Link::make`] makes the namespaces, or falls back to loopback where that is not allowed.
//! 2. [`Link::command`] starts a program at one side, [`Link::within`] runs a function there.
//! 3. [`Link::switch`] changes between 64-kilobyte and real packets while everything stays up.
//!
//! Deliberately absent: removing the namespaces. The supervisor does that, because it outlives whatever goes wrong.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::programs::PARENT;
use crate::world::Mishap;

/// Two places and a wire.
#[derive(Clone, Debug)]
pub struct Link {
    tag: String,
    is_namespaced: bool,
}

/// An end of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where the engineer sits.
    Client,
    /// Where agent and machine are.
    Device,
    /// The machine network behind the device, where a part of the benchmark has made one.
    Plant,
    /// Where relays stand, with a wire to either end, where a part of the benchmark has made it.
    Relay,
}

/// What the wire does with large writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Segmentation and merging are left to the wire: "packets" of 64 kilobytes, which flatters kernel TCP.
    Offloads,
    /// Every packet has at most 1,500 bytes: nearer to a router.
    Packets,
    /// The loopback interface, where nobody may make namespaces.
    Loopback,
}

impl Model {
    /// The word in tables and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Offloads => "offloads",
            Self::Packets => "packets",
            Self::Loopback => "loopback",
        }
    }
}

impl Side {
    const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Device => "device",
            Self::Plant => "plant",
            Self::Relay => "relay",
        }
    }
}

impl Link {
    /// Makes the namespaces `TAG-client` and `TAG-device` as root, and takes loopback otherwise.
    ///
    /// # Errors
    /// When root cannot make them.
    pub fn make(tag: &str) -> Result<Self, Mishap> {
        let link = Self { tag: tag.to_owned(), is_namespaced: rustix::process::geteuid().is_root() };
        if link.is_namespaced {
            let (client, device) = (link.name(Side::Client), link.name(Side::Device));
            run("ip", &["netns", "add", &client])?;
            run("ip", &["netns", "add", &device])?;
            let pair = ["link", "add", WIRE, "mtu", MTU, "netns", &client, "type", "veth", "peer", WIRE];
            run("ip", &[pair.as_slice(), &["mtu", MTU, "netns", &device]].concat())?;
            for side in [Side::Client, Side::Device] {
                let (name, address) = (link.name(side), format!("{}/24", link.address(side)));
                run("ip", &["-n", &name, "link", "set", "lo", "up"])?;
                run("ip", &["-n", &name, "addr", "add", &address, "dev", WIRE])?;
                run("ip", &["-n", &name, "link", "set", WIRE, "up"])?;
            }
        }
        Ok(link)
    }

    /// The models that this link can show.
    #[must_use]
    pub const fn models(&self) -> &'static [Model] {
        if self.is_namespaced { &[Model::Packets, Model::Offloads] } else { &[Model::Loopback] }
    }

    /// Makes the wire behave like `model`.
    ///
    /// # Errors
    /// When the interfaces refuse it.
    pub fn switch(&self, model: Model) -> Result<(), Mishap> {
        let to = match model {
            Model::Offloads => "on",
            Model::Packets => "off",
            Model::Loopback => return Ok(()),
        };
        [Side::Client, Side::Device].into_iter().try_for_each(|side| self.offload(side, WIRE, to))
    }

    /// Switches what an interface of one side leaves to the wire `on` or `off`.
    ///
    /// # Errors
    /// When the interface refuses it.
    pub(super) fn offload(&self, side: Side, interface: &str, to: &str) -> Result<(), Mishap> {
        let ethtool =
            ["netns", "exec", &self.name(side), "ethtool", "-K", interface, "tso", to, "gso", to, "gro", to];
        run("ip", &ethtool).map(drop)
    }

    /// Whether there are namespaces, and with them interfaces.
    #[must_use]
    pub const fn is_namespaced(&self) -> bool {
        self.is_namespaced
    }

    /// Runs `ip` on the interfaces of one side.
    ///
    /// # Errors
    /// When it fails, with what it printed.
    pub(super) fn ip(&self, side: Side, args: &[&str]) -> Result<String, Mishap> {
        run("ip", &[&["-n", &self.name(side)], args].concat())
    }

    /// The address of one side.
    #[must_use]
    pub const fn address(&self, side: Side) -> IpAddr {
        match (self.is_namespaced, side) {
            (false, Side::Client | Side::Device | Side::Plant | Side::Relay) => {
                IpAddr::V4(Ipv4Addr::LOCALHOST)
            }
            (true, Side::Client) => IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)),
            (true, Side::Device) => IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2)),
            (true, Side::Plant) => IpAddr::V4(Ipv4Addr::new(192, 168, 77, 10)),
            (true, Side::Relay) => IpAddr::V4(Ipv4Addr::new(10, 78, 0, 1)),
        }
    }

    /// A command that will run at one side.
    #[must_use]
    pub fn command(&self, side: Side, program: &OsStr) -> Command {
        let mut command = if self.is_namespaced {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &self.name(side)]).arg(program);
            command
        } else {
            Command::new(program)
        };
        // Programs of the product end with this process.
        command.env(PARENT, std::process::id().to_string());
        command
    }

    /// Runs `work` at one side: sockets that it opens belong there for their whole life, and so do its threads.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or with `work`.
    pub fn within<T: Send>(
        &self,
        side: Side,
        work: impl FnOnce() -> Result<T, Mishap> + Send,
    ) -> Result<T, Mishap> {
        let thread = || {
            if self.is_namespaced {
                let path = format!("/run/netns/{}", self.name(side));
                let space = File::open(&path).map_err(Mishap::io(format!("opening `{path}`")))?;
                move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|fault| Mishap::io(format!("entering `{path}`"))(fault.into()))?;
            }
            work()
        };
        let result = std::thread::scope(|scope| scope.spawn(thread).join());
        result.unwrap_or_else(|_| Err(Mishap::unexpected("a thread of the benchmark", "a panic", "a result")))
    }

    /// The name of a side's namespace.
    #[must_use]
    pub fn name(&self, side: Side) -> String {
        format!("{}-{}", self.tag, side.word())
    }

    /// Removes what [`Link::make`] made under `tag`, with the processes in it. Does nothing where nothing is.
    pub fn remove(tag: &str) {
        for side in [Side::Client, Side::Device, Side::Plant, Side::Relay] {
            let name = format!("{tag}-{}", side.word());
            if let Ok(pids) = run("ip", &["netns", "pids", &name]) {
                for pid in pids.split_whitespace() {
                    // It may have ended by itself meanwhile.
                    let _already_gone = run("kill", &["-KILL", pid]);
                }
                let _reported_by_the_next_run = run("ip", &["netns", "del", &name]);
            }
        }
    }
}

/// Runs a command to its end and yields what it printed.
pub(super) fn run(program: &str, args: &[&str]) -> Result<String, Mishap> {
    let text = || format!("{program} {}", args.join(" "));
    let output =
        Command::new(program).args(args).output().map_err(Mishap::io(format!("starting `{}`", text())))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let output_text = format!("{printed}{}", String::from_utf8_lossy(&output.stderr));
    Err(Mishap::Exit { command: text(), found: output.status.into(), expected: 0, output: output_text })
}

/// The name of the interface at both sides.
const WIRE: &str = "wire";
pub(super) const MTU: &str = "1500";
