//! A site with a machine network of its own: two network namespaces joined by a wire.
//!
//! 1. [`Site::enter`] makes them and moves the calling thread into the router's, where hub, agent and people live on loopback. What
//!    the thread starts from then on lives there too.
//! 2. [`Site::machine`] is a command on the machine's side, which has one address on the wire, no way to loopback and no gateway.
//! 3. Dropping the site ends what runs on the machine's side and removes both namespaces.
//!
//! Takes root. A thread that has entered stays there: a test runner with a process, or a thread, for each test fits.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::mishap::Mishap;
use super::process::Call;

/// The two namespaces, named after this process.
#[derive(Debug)]
pub struct Site {
    tag: String,
    number: u8,
    /// Where the thread was before.
    home: File,
}

impl Site {
    /// Makes the site; none where this is not root, who alone may.
    ///
    /// # Errors
    /// The command that failed, with what it printed.
    pub fn enter() -> Result<Option<Self>, Mishap> {
        Self::enter_one(0)
    }

    /// The same for one of several sites, which have the same addresses on their wires.
    ///
    /// # Errors
    /// As [`enter`](Self::enter).
    pub fn enter_one(number: u8) -> Result<Option<Self>, Mishap> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let own = "/proc/thread-self/ns/net";
        let home = File::open(own).map_err(Mishap::io(format!("opening `{own}`")))?;
        let site = Self { tag: format!("postern-{}-{number}", std::process::id()), number, home };
        let (router, machine) = (site.name(ROUTER), site.name(MACHINE));
        make(&router)?;
        make(&machine)?;
        ip(&["link", "add", WIRE, "netns", &router, "type", "veth", "peer", WIRE, "netns", &machine])?;
        for (name, address) in [(&router, ROUTER_ADDRESS), (&machine, MACHINE_ADDRESS)] {
            ip(&["-n", name, "addr", "add", &format!("{address}/24"), "dev", WIRE])?;
            ip(&["-n", name, "link", "set", WIRE, "up"])?;
        }
        // As systemd sets it.
        ip(&["netns", "exec", &router, "sysctl", "-q", "-w", "net.ipv4.ping_group_range=0 2147483647"])?;
        site.enter_again()?;
        Ok(Some(site))
    }

    /// Moves the calling thread into the router's network, from wherever it is.
    ///
    /// # Errors
    /// When it cannot be entered.
    pub fn enter_again(&self) -> Result<(), Mishap> {
        let path = format!("/run/netns/{}", self.router());
        let space = File::open(&path).map_err(Mishap::io(format!("opening `{path}`")))?;
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|fault| Mishap::io(format!("entering `{path}`"))(fault.into()))
    }

    /// All that could be left behind in the router's network, as [`Office::shape`](super::Office::shape).
    ///
    /// # Errors
    /// The command that failed, with what it printed.
    pub fn shape(&self) -> Result<(String, usize), Mishap> {
        Ok((super::office::shape(&self.router())?, super::office::processes(&self.router())?))
    }

    /// The namespace of the router.
    pub(super) fn router(&self) -> String {
        self.name(ROUTER)
    }

    /// Which of several it is.
    pub(super) const fn number(&self) -> u8 {
        self.number
    }

    /// The same command, on the machine's side.
    #[must_use]
    pub fn on_machines_side(&self, call: &Call) -> Call {
        call.inside(&self.name(MACHINE))
    }

    /// A command on the machine's side.
    #[must_use]
    pub fn machine(&self, program: impl AsRef<OsStr>) -> Call {
        Call::new("ip").args(["netns", "exec", &self.name(MACHINE)]).arg(program.as_ref())
    }

    fn name(&self, side: &str) -> String {
        format!("{}-{side}", self.tag)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _stays = move_into_link_name_space(self.home.as_fd(), Some(LinkNameSpaceType::Network));
        for side in [MACHINE, ROUTER] {
            let name = self.name(side);
            let pids = ip(&["netns", "pids", &name]).unwrap_or_default();
            for pid in pids.split_whitespace().filter(|_| side == MACHINE) {
                let _already_gone = Command::new("kill").args(["-KILL", pid]).status();
            }
            let _never_made = ip(&["netns", "del", &name]);
        }
    }
}

/// Makes a namespace with a loopback, whose interfaces have all of their addresses at once: nobody else could have one.
pub(super) fn make(name: &str) -> Result<(), Mishap> {
    ip(&["netns", "add", name])?;
    ip(&["netns", "exec", name, "sysctl", "-q", "-w", "net.ipv6.conf.default.accept_dad=0"])?;
    ip(&["-n", name, "link", "set", "lo", "up"]).map(drop)
}

/// Runs `ip` in the present network.
///
/// # Errors
/// When it fails, with what it printed.
pub fn run_ip(args: &[&str]) -> Result<(), Mishap> {
    ip(args).map(drop)
}

pub(super) fn ip(args: &[&str]) -> Result<String, Mishap> {
    let text = || format!("ip {}", args.join(" "));
    let output =
        Command::new("ip").args(args).output().map_err(Mishap::io(format!("starting `{}`", text())))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let said = format!("{printed}{}", String::from_utf8_lossy(&output.stderr));
    Err(Mishap::Exit { command: text(), found: output.status.into(), expected: 0, output: said })
}

/// The network of machines.
pub const NETWORK: &str = "192.168.77.0/24";
/// The router's address there.
pub const ROUTER_ADDRESS: &str = "192.168.77.1";
/// The machine.
pub const MACHINE_ADDRESS: &str = "192.168.77.10";
const ROUTER: &str = "router";
const MACHINE: &str = "machine";
/// The interface on both sides.
const WIRE: &str = "lan";
