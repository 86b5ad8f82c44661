//! The ways to the machine that are compared, from the plain wire to Postern.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;

use super::child::{Program, is_installed};
use super::link::{Link, Side};
use super::load;
use super::machine;
use super::narrow;
use super::own_command;
use super::product::{Device, Site};
use super::report::{Bound, Grid, Report};
use super::rounds::Peer;
use super::ssh::Ssh;
use super::supervise::{SHARED_MEMORY, tag};
use crate::shim::{Conditions, Shim};
use crate::world::Mishap;

/// Every way that this machine offers.
#[derive(Debug)]
pub struct Ways {
    /// The peers.
    pub peers: Vec<Peer>,
    /// What serves several of them, or must live as long as they do.
    _devices: Vec<Device>,
    _ssh: Option<Ssh>,
    _shims: Vec<Shim>,
}

impl Ways {
    /// Brings all of them up.
    ///
    /// # Errors
    /// When one does not come up.
    pub fn open(link: &Link, site: &Site, dir: &Path, machine: u16) -> Result<Self, Mishap> {
        let direct = SocketAddr::new(link.address(Side::Device), machine);
        let mut peers = vec![peer(DIRECT, direct, Vec::new(), Vec::new())];
        let mut devices = Vec::new();
        for (name, label, state) in
            [(POSTERN, "disk", dir.to_owned()), (POSTERN_MEMORY, "memory", memory_dir(dir)?)]
        {
            let device = site.device(label, &state)?;
            let (client, at) = site.connect(device.name())?;
            let pids = vec![device.pid()?, client.pid()];
            peers.push(peer(name, at, pids, vec![client]));
            devices.push(device);
        }
        for (name, arguments) in [(QUINN, [].as_slice()), (DEFAULTS, &["--defaults"])] {
            let (server, far) = quinn_server(link, machine, arguments)?;
            peers.push(quinn_client(link, name, server, far, arguments)?);
        }
        let ssh = Ssh::is_there().then(|| Ssh::start(link, dir)).transpose()?;
        if let Some(ssh) = &ssh {
            for (name, cipher) in [
                ("ssh -L aes128-gcm", "aes128-gcm@openssh.com"),
                ("ssh -L chacha20", "chacha20-poly1305@openssh.com"),
            ] {
                let (client, at) = ssh.forward(link, cipher, machine)?;
                peers.push(peer(name, at, vec![ssh.pid(), client.pid()], vec![client]));
            }
        } else {
            eprintln!("NOTE: no ssh server and client here, so they are not compared.");
        }
        if is_installed("dumbpipe") {
            peers.push(dumbpipe(link, machine)?);
        }
        for peer in &peers {
            // Whoever does not answer once is noticed here, by its name.
            let at = peer.at;
            link.within(Side::Client, || load::ping(at, 1))
                .map_err(|fault| Mishap::unexpected(peer.name, fault, "an answer"))?;
        }
        Ok(Self { peers, _devices: devices, _ssh: ssh, _shims: Vec::new() })
    }

    /// Brings those up that run over UDP, each behind a narrow link of its own.
    ///
    /// # Errors
    /// When one does not come up.
    pub fn open_narrow(link: &Link, site: &Site, device: &Device, machine: u16) -> Result<Self, Mishap> {
        let (mut peers, mut shims) = (Vec::new(), Vec::new());
        let narrow = |far| narrow::before(link, far, Conditions::NARROW);
        let shim = narrow(device.listen())?;
        site.hub.detour(device.name(), Some(shim.at))?;
        shims.push(shim);
        let (client, at) = site.connect(device.name())?;
        peers.push(peer(POSTERN, at, Vec::new(), vec![client]));
        for (name, arguments) in [(QUINN, [].as_slice()), (DEFAULTS, &["--defaults"])] {
            let (server, far) = quinn_server(link, machine, arguments)?;
            let shim = narrow(far)?;
            peers.push(quinn_client(link, name, server, shim.at, arguments)?);
            shims.push(shim);
        }
        Ok(Self { peers, _devices: Vec::new(), _ssh: None, _shims: shims })
    }
}

/// Judges the targets that a comparison says something of.
pub fn judge(report: &mut Report, model: &str, grid: &Grid) {
    for (column, what) in [("up", "up"), ("down", "down"), ("up16", "16 streams up")] {
        let what = |peer: &str| format!("{model}: {what} / {peer}");
        report.judge("P1", what(QUINN), grid.ratio(POSTERN, QUINN, column), Bound::AtLeast(0.95));
        report.judge("P1", what(DEFAULTS), grid.ratio(POSTERN, DEFAULTS, column), Bound::AtLeast(1.25));
        report.judge("P1", what(DUMBPIPE), grid.ratio(POSTERN, DUMBPIPE, column), Bound::AtLeast(1.0));
    }
    for (column, what) in [("up_cpu", "up"), ("down_cpu", "down"), ("up16_cpu", "16 streams up")] {
        let what = format!("{model}: CPU per GiB {what} / {QUINN}");
        report.judge("P2", what, grid.ratio(POSTERN, QUINN, column), Bound::AtMost(1.05));
    }
    // The wire's own round trip is not the tunnel's.
    let ping = |peer| Some(grid.median(peer, "ping_p50")? - grid.median(DIRECT, "ping_p50")?);
    let ratio = ping(POSTERN).zip(ping(QUINN)).map(|(ours, raw)| ours / raw);
    report.judge("P3", format!("{model}: added round trip / {QUINN}"), ratio, Bound::AtMost(1.1));
    let set_up = grid.ratio(POSTERN_MEMORY, QUINN, "set_up_p50");
    report.judge("P4", format!("{model}: set-up without fsync / {QUINN}"), set_up, Bound::AtMost(1.2));
}

const fn peer(name: &'static str, at: SocketAddr, pids: Vec<u32>, programs: Vec<Program>) -> Peer {
    Peer { name, at, pids, programs }
}

fn quinn_server(link: &Link, machine: u16, arguments: &[&str]) -> Result<(Program, SocketAddr), Mishap> {
    let mut command = own_command(link, Side::Device)?;
    let listen = SocketAddr::new(link.address(Side::Device), 0).to_string();
    command.args(["quinn-server", &listen, &machine::local(machine).to_string()]).args(arguments);
    let server = Program::start("the raw copy's server", command)?;
    let at = address_in(&server.line("listening on")?)?;
    Ok((server, at))
}

fn quinn_client(
    link: &Link,
    name: &'static str,
    server: Program,
    far: SocketAddr,
    arguments: &[&str],
) -> Result<Peer, Mishap> {
    let mut command = own_command(link, Side::Client)?;
    command.args(["quinn-client", &far.to_string()]).args(arguments);
    let client = Program::start("the raw copy's client", command)?;
    let at = address_in(&client.line("listening on")?)?;
    Ok(peer(name, at, vec![server.pid(), client.pid()], vec![server, client]))
}

/// iroh's forwarder, where somebody has installed it. It finds its peer through the ticket's direct address.
fn dumbpipe(link: &Link, machine: u16) -> Result<Peer, Mishap> {
    let mut command = link.command(Side::Device, OsStr::new("dumbpipe"));
    command.args(["listen-tcp", "--host", &machine::local(machine).to_string()]);
    let server = Program::start("dumbpipe", command)?;
    let line = server.line("dumbpipe connect-tcp")?;
    let ticket = line.split_whitespace().last().unwrap_or_default().to_owned();
    let at =
        link.within(Side::Client, || Ok(std::net::TcpListener::bind(machine::local(0))?.local_addr()?))?;
    let mut command = link.command(Side::Client, OsStr::new("dumbpipe"));
    command.args(["connect-tcp", "--addr", &at.to_string(), &ticket]);
    let client = Program::start("dumbpipe", command)?;
    client.line("")?;
    Ok(peer(DUMBPIPE, at, vec![server.pid(), client.pid()], vec![server, client]))
}

/// The address at the end of a line.
///
/// # Errors
/// When there is none.
pub(super) fn address_in(line: &str) -> Result<SocketAddr, Mishap> {
    let word = line.split_whitespace().last().unwrap_or_default();
    word.parse().map_err(|_| Mishap::unexpected("a line", line, "one that ends with an address"))
}

/// A directory in memory, beside `dir`: what is written there costs no disk.
fn memory_dir(dir: &Path) -> Result<std::path::PathBuf, Mishap> {
    let shared = Path::new(SHARED_MEMORY);
    let path = if shared.is_dir() { shared.join(tag(dir)) } else { dir.join("memory") };
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

/// The wire itself.
pub const DIRECT: &str = "direct";
/// The product.
pub const POSTERN: &str = "postern";
/// The product with its state in memory: what is left when writing costs nothing.
pub const POSTERN_MEMORY: &str = "postern, state in memory";
/// quinn with the product's settings.
pub const QUINN: &str = "raw quinn";
/// quinn with its own settings.
pub const DEFAULTS: &str = "raw quinn, defaults";
/// iroh's forwarder.
pub const DUMBPIPE: &str = "dumbpipe";
