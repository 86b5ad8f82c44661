//! The VPNs that are compared: each leads to an address of the machine of its own, over a network adapter at the engineer's side.
//!
//! 1. Postern as it is used: an agent, and `postern vpn`; once more with `--packets`, where this build has that.
//! 2. WireGuard in user space ([`wireguard`]), OpenVPN ([`openvpn`]) and `ssh -w` between adapters at both sides, with keys of their own and
//!    nothing of this computer's configuration.
//! 3. The device forwarding packets, which is the limit.
//!
//! What is not installed is named and left out.

use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::plant::{LAN, Plant, address};
use crate::bench::child::{Program, is_installed};
use crate::bench::link::{Link, Side};
use crate::bench::load;
use crate::bench::narrow;
use crate::bench::policy::{Content, PLANT};
use crate::bench::product::{Device, Site};
use crate::bench::rounds::Peer;
use crate::bench::ssh::Ssh;
use crate::shim::{Conditions, Shim};
use crate::world::Mishap;

mod openvpn;
mod wireguard;

/// Everybody who takes part.
#[derive(Debug)]
pub(super) struct Peers {
    /// The peers.
    pub(super) all: Vec<Peer>,
    shims: Vec<Shim>,
    /// What serves them, or must live as long as they do.
    _devices: Vec<Device>,
    _ssh: Option<Ssh>,
}

/// Where peers are brought up.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    /// The wire.
    pub(super) link: &'a Link,
    /// The product.
    pub(super) site: &'a Site,
    /// The machine.
    pub(super) plant: &'a Plant,
    /// Where files are kept.
    pub(super) dir: &'a Path,
    /// What lies between both sides beside the wire; then only those take part that are carried in UDP.
    pub(super) path: Option<Conditions>,
}

impl Peers {
    /// Brings them up.
    ///
    /// # Errors
    /// When one that is installed does not come up, with its name.
    pub(super) fn open(ground: Ground<'_>) -> Result<Self, Mishap> {
        std::fs::create_dir_all(ground.dir)?;
        let mut peers = Self { all: Vec::new(), shims: Vec::new(), _devices: Vec::new(), _ssh: None };
        let named = |name: &str| {
            let name = name.to_owned();
            move |fault| Mishap::unexpected(name, fault, "a VPN that is up")
        };
        peers.postern(ground, 0, POSTERN).map_err(named(POSTERN))?;
        if ground.site.vpn_has("--packets")? {
            peers.postern(ground, 6, PACKETS).map_err(named(PACKETS))?;
        }
        for (number, peer) in (1..).zip(wireguard::PEERS) {
            if is_missing(peer.program) || is_missing("wg") {
                continue;
            }
            peers.wireguard(ground, number, peer).map_err(named(peer.name))?;
        }
        if !is_missing("openvpn") && !is_missing("openssl") {
            peers.openvpn(ground, 3).map_err(named(OPENVPN))?;
        }
        if ground.path.is_none() {
            if Ssh::is_there() {
                peers.ssh(ground, 4).map_err(named(SSH))?;
            } else {
                eprintln!("NOTE: no ssh server and client here, so they are not compared.");
            }
            let route = format!("{}/32", address(5));
            let device = ground.link.address(Side::Device).to_string();
            ground.link.ip(Side::Client, &["route", "add", &route, "via", &device])?;
            peers.add(ground, ROUTED, 5, Vec::new(), Vec::new());
        }
        for peer in &peers.all {
            // Whoever does not answer once is noticed here, by its name.
            let at = peer.at;
            ground.link.within(Side::Client, || load::ping(at, 1)).map_err(named(peer.name))?;
        }
        Ok(peers)
    }

    /// Puts the path before `far`, where there is one.
    fn by_way(&mut self, ground: Ground<'_>, far: SocketAddr) -> Result<SocketAddr, Mishap> {
        let Some(conditions) = ground.path else { return Ok(far) };
        let shim = narrow::before(ground.link, far, conditions)?;
        let at = shim.at;
        self.shims.push(shim);
        Ok(at)
    }

    fn add(
        &mut self,
        ground: Ground<'_>,
        name: &'static str,
        number: u8,
        pids: Vec<u32>,
        programs: Vec<Program>,
    ) {
        self.all.push(Peer { name, at: ground.plant.at(number), pids, programs });
    }

    fn postern(&mut self, ground: Ground<'_>, number: u8, peer: &'static str) -> Result<(), Mishap> {
        let Ground { site, dir, .. } = ground;
        // A device's name is one in the whole fleet.
        let place = dir.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let name = format!("vpn-{number}-{place}");
        let content = Content { plant: Some(address(number)), ..site.content() };
        let mut device = site.device_under(&name, dir, content)?;
        let mut options = [].as_slice();
        if peer == PACKETS {
            device.prepare_for_packets(LAN)?;
            site.hub.settled(&name)?;
            options = &["--packets"];
        }
        if ground.path.is_some() {
            let at = self.by_way(ground, device.listen())?;
            site.hub.detour(&name, Some(at))?;
        }
        let client = site.vpn(&name, PLANT, options)?;
        let pids = vec![device.pid()?, client.pid()];
        self.add(ground, peer, number, pids, vec![client]);
        self._devices.push(device);
        Ok(())
    }

    fn ssh(&mut self, ground: Ground<'_>, number: u8) -> Result<(), Mishap> {
        let Ground { link, dir, .. } = ground;
        let ssh = Ssh::start(link, dir)?;
        let client = ssh.tunnel(link, "aes128-gcm@openssh.com", SSH_UNIT)?;
        join(link, number, [&format!("tun{SSH_UNIT}"); 2], None)?;
        let pids = vec![ssh.pid(), client.pid()];
        self.add(ground, SSH, number, pids, vec![client]);
        self._ssh = Some(ssh);
        Ok(())
    }
}

/// Names a program that is not installed.
fn is_missing(program: &str) -> bool {
    let is_missing = !is_installed(program);
    if is_missing {
        eprintln!("NOTE: `{program}` is not installed, so its VPN is not compared.");
    }
    is_missing
}

/// Gives the adapters at both sides (client's first) their addresses, and the client the route to its address of the machine.
fn join(link: &Link, number: u8, adapters: [&str; 2], mtu: Option<&str>) -> Result<(), Mishap> {
    let inner = [inner(number, Side::Client).to_string(), inner(number, Side::Device).to_string()];
    let [client, device] = &inner;
    for (side, adapter, own, other) in
        [(Side::Client, adapters[0], client, device), (Side::Device, adapters[1], device, client)]
    {
        appears(link, side, adapter)?;
        link.ip(side, &["addr", "add", own, "peer", other, "dev", adapter])?;
        if let Some(mtu) = mtu {
            link.ip(side, &["link", "set", adapter, "mtu", mtu])?;
        }
        link.ip(side, &["link", "set", adapter, "up"])?;
    }
    let machine = format!("{}/32", address(number));
    link.ip(Side::Client, &["route", "add", &machine, "dev", adapters[0]]).map(drop)
}

/// Waits for an adapter.
fn appears(link: &Link, side: Side, adapter: &str) -> Result<(), Mishap> {
    let begun = Instant::now();
    loop {
        match link.ip(side, &["link", "show", "dev", adapter]) {
            Ok(_) => return Ok(()),
            Err(fault) if begun.elapsed() > WITHIN => return Err(fault),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// The address of a peer's adapter.
fn inner(number: u8, side: Side) -> IpAddr {
    IpAddr::from([10, 88, number, if side == Side::Client { 1 } else { 2 }])
}

/// A command that ends with this process, whatever ends it, and whose files in `/run` are its own.
fn on_its_own(link: &Link, side: Side, program: &str) -> Command {
    let mut command = link.command(side, OsStr::new("setpriv"));
    command.args([
        "--pdeathsig",
        "KILL",
        "sh",
        "-c",
        "mount -t tmpfs none /run && exec \"$@\"",
        "sh",
        program,
    ]);
    command
}

/// A UDP port that is free at a side now.
fn free_port(link: &Link, side: Side) -> Result<SocketAddr, Mishap> {
    let any = SocketAddr::new(link.address(side), 0);
    link.within(side, || Ok(std::net::UdpSocket::bind(any)?.local_addr()?))
}

/// The product.
pub(super) const POSTERN: &str = "postern";
/// The product, with packets as they are.
const PACKETS: &str = "postern, packets";
/// WireGuard in Go.
pub(super) const WIREGUARD_GO: &str = "wireguard-go";
/// WireGuard in Rust.
pub(super) const BORINGTUN: &str = "boringtun";
/// OpenVPN over UDP.
pub(super) const OPENVPN: &str = "openvpn";
const SSH: &str = "ssh -w";
/// The device forwards, and nothing is encrypted.
const ROUTED: &str = "forwarding";
const SSH_UNIT: u8 = 7;
const WITHIN: Duration = Duration::from_secs(10);
