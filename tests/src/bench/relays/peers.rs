//! Ways from the engineer to the machine that go through somebody else.

use std::ffi::OsStr;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

use postern_protocol::wire::relay::{Place, RelayKey};

use super::middle::Middle;
use super::wall::Wall;
use crate::bench::child::{Program, finish, is_installed};
use crate::bench::link::{Link, Side};
use crate::bench::load;
use crate::bench::machine;
use crate::bench::product::{Device, Site};
use crate::bench::rounds::Peer;
use crate::bench::ssh::Ssh;
use crate::programs::Program as Name;
use crate::world::Mishap;

/// Every way that this machine offers.
#[derive(Debug)]
pub(super) struct Ways {
    /// The peers.
    pub(super) peers: Vec<Peer>,
    /// The process in between, for those that have one.
    pub(super) between: Vec<(&'static str, u32)>,
    /// The devices behind the product's own ways.
    pub(super) devices: Vec<(&'static str, Device)>,
    _ssh: Option<[Ssh; 2]>,
    /// The product's relay.
    pub(super) relay: Relay,
}

/// The product's relay, and an address at which nobody answers.
#[derive(Debug)]
pub(in crate::bench) struct Relay {
    pub(super) program: Program,
    pub(in crate::bench) key: RelayKey,
    pub(super) at: SocketAddr,
    pub(in crate::bench) nowhere: UdpSocket,
}

impl Ways {
    /// Brings all of them up.
    ///
    /// # Errors
    /// When one does not come up.
    pub(super) fn open(middle: &Middle, site: &Site, dir: &Path, machine: u16) -> Result<Self, Mishap> {
        let link = middle.link();
        let mut peers =
            vec![peer(DIRECT, (link.address(Side::Device), machine).into(), Vec::new(), Vec::new())];
        let (mut between, mut devices) = (Vec::new(), Vec::new());
        let relay = Relay::start(link, Side::Relay, site, dir)?;
        for (name, label) in [(STRAIGHT, "straight"), (RELAYED, "relayed"), (RELAYED_TLS, "relayed-tls")] {
            let device = site.device(label, dir)?;
            let mut pids = vec![device.pid()?];
            if name != STRAIGHT {
                site.hub.detour(label, Some(relay.nowhere.local_addr()?))?;
                // Or the relay would introduce both ends to each other, and they would go straight.
                Wall::before(link, label, device.listen())?.close()?;
                let place = relay.place(name == RELAYED);
                site.hub.relay(label, [place.clone(), place], relay.key.clone())?;
                pids.push(relay.program.pid());
                between.push((name, relay.program.pid()));
            }
            let (client, at) = site.connect(label)?;
            pids.push(client.pid());
            peers.push(peer(name, at, pids, vec![client]));
            devices.push((name, device));
        }
        let ssh = if Ssh::is_there() {
            let jump = Ssh::start_at(link, &dir.join("jump"), Side::Relay, link.address(Side::Relay))?;
            let far = Ssh::start_at(link, &dir.join("far"), Side::Device, link.address(Side::Device))?;
            let (client, at) = far.forward_over(link, &jump, "aes128-gcm@openssh.com", machine)?;
            between.push((JUMP, jump.pid()));
            peers.push(peer(JUMP, at, vec![jump.pid(), far.pid(), client.pid()], vec![client]));
            Some([jump, far])
        } else {
            eprintln!("NOTE: no ssh server and client here, so they are not compared.");
            None
        };
        if is_installed("rathole") {
            for (name, transport) in [(RATHOLE, None), (RATHOLE_NOISE, Some("noise"))] {
                let (server, client, at) = rathole(link, dir, machine, transport)?;
                between.push((name, server.pid()));
                peers.push(peer(name, at, vec![server.pid(), client.pid()], vec![server, client]));
            }
        } else {
            eprintln!("NOTE: no rathole here, so it is not compared.");
        }
        for peer in &peers {
            // Whoever does not answer once is noticed here, by its name.
            let at = peer.at;
            link.within(Side::Client, || load::ping(at, 1))
                .map_err(|fault| Mishap::unexpected(peer.name, fault, "an answer"))?;
        }
        Ok(Self { peers, between, devices, _ssh: ssh, relay })
    }
}

impl Relay {
    /// Starts the product's relay at a side, over UDP and TLS.
    ///
    /// # Errors
    /// When it does not come up.
    pub(in crate::bench) fn start(link: &Link, side: Side, site: &Site, dir: &Path) -> Result<Self, Mishap> {
        let dir = dir.join("relay");
        fs::create_dir_all(&dir)?;
        let path = dir.join("relay.key");
        let key = postern_cloud::keys::make(&path)
            .map_err(|fault| Mishap::unexpected("a key", fault, "a new one"))?;
        let at = SocketAddr::new(link.address(side), PORT).to_string();
        let mut command = link.command(side, site.shelf().path(Name::Cloud).as_os_str());
        command.args(["relay", "--listen", &at, "--tls", &at, "--key"]).arg(&path);
        let program = Program::start("the relay", command)?;
        let line = program.line(&at)?;
        let at = line.split_whitespace().find_map(|word| word.trim_end_matches(',').parse().ok());
        let at = at.ok_or_else(|| Mishap::unexpected("the relay", &line, "where it listens"))?;
        // Whatever comes there is never read.
        let nowhere = (link.address(Side::Device), 0);
        let nowhere = link.within(Side::Device, || Ok(UdpSocket::bind(nowhere)?))?;
        Ok(Self { program, key: RelayKey::new(*key.seed()), at, nowhere })
    }

    /// Where it is, over UDP or over TLS alone.
    pub(in crate::bench) fn place(&self, over_udp: bool) -> Place {
        place(self.at, over_udp)
    }
}

/// A relay at an address, over UDP or over TLS alone.
pub(super) const fn place(at: SocketAddr, over_udp: bool) -> Place {
    let (udp, tls) = if over_udp { (Some(at.port()), None) } else { (None, Some(at.port())) };
    Place { ip: Some(at.ip()), udp, tls, certificate: None }
}

/// Its server is in between, and shows the machine's port to everybody there; what people use to get out of a network.
fn rathole(
    link: &Link,
    dir: &Path,
    machine: u16,
    transport: Option<&str>,
) -> Result<(Program, Program, SocketAddr), Mishap> {
    let word = transport.unwrap_or("tcp");
    let dir = dir.join(format!("rathole-{word}"));
    fs::create_dir_all(&dir)?;
    let (control, shown) = if transport.is_none() { (2333, 2334) } else { (2335, 2336) };
    let own = link.address(Side::Relay);
    let at = SocketAddr::new(own, shown);
    let (mut open, mut sealed) = (String::new(), String::new());
    if transport.is_some() {
        let mut command = link.command(Side::Relay, OsStr::new("rathole"));
        command.arg("--genkey");
        let keys = finish(command, "")?;
        let key = |of: &str| {
            let after = keys.lines().skip_while(|line| !line.contains(of)).nth(1).map(str::trim);
            after.map(str::to_owned).ok_or_else(|| Mishap::unexpected("keys of rathole", &keys, of))
        };
        sealed = format!("noise.local_private_key = \"{}\"\n", key("Private Key")?);
        open = format!("noise.remote_public_key = \"{}\"\n", key("Public Key")?);
    }
    let kind = format!("type = \"{word}\"\n");
    let server = format!(
        "[server]\nbind_addr = \"{own}:{control}\"\ndefault_token = \"bench\"\n[server.transport]\n{kind}{sealed}\n[server.services.machine]\nbind_addr = \"{at}\"\n"
    );
    let client = format!(
        "[client]\nremote_addr = \"{own}:{control}\"\ndefault_token = \"bench\"\n[client.transport]\n{kind}{open}\n[client.services.machine]\nlocal_addr = \"{}\"\n",
        machine::local(machine)
    );
    let start = |side, role: &str, config: &str, ready: &str| {
        let path = dir.join(format!("{role}.toml"));
        fs::write(&path, config)?;
        let mut command = link.command(side, OsStr::new("rathole"));
        command.arg(format!("--{role}")).arg(&path).env("RUST_LOG", "info");
        let program = Program::start("rathole", command)?;
        program.line(ready)?;
        Ok::<_, Mishap>(program)
    };
    let server = start(Side::Relay, "server", &server, "Listening at")?;
    let client = start(Side::Device, "client", &client, "Control channel established")?;
    Ok((server, client, at))
}

const fn peer(name: &'static str, at: SocketAddr, pids: Vec<u32>, programs: Vec<Program>) -> Peer {
    Peer { name, at, pids, programs }
}

/// The wires themselves, and the kernel in between.
pub(super) const DIRECT: &str = "routed by the kernel";
/// The product without a relay.
pub(super) const STRAIGHT: &str = "postern, straight";
/// Both ends at the relay over UDP.
pub(super) const RELAYED: &str = "postern, relayed over UDP";
/// Both ends at the relay over TLS.
pub(super) const RELAYED_TLS: &str = "postern, relayed over TLS";
/// `ssh` through a jump host.
pub(super) const JUMP: &str = "ssh -L through a jump host";
/// rathole without encryption: whoever runs the server reads everything.
pub(super) const RATHOLE: &str = "rathole tcp (plain)";
/// rathole with encryption to its server, which reads everything.
pub(super) const RATHOLE_NOISE: &str = "rathole noise (to the server)";
const PORT: u16 = 7442;
