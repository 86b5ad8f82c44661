//! WireGuard in user space. Both programs are told by `wg` what to do, over a socket in `/run`, which each has for itself.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{BORINGTUN, Ground, Peers, WIREGUARD_GO, WITHIN, free_port, inner, join, on_its_own};
use crate::bench::child::{Program, finish};
use crate::bench::link::Side;
use crate::bench::vpn::plant::address;
use crate::world::Mishap;

/// One of the two.
#[derive(Clone, Copy)]
pub(super) struct WireGuard {
    /// Its name in tables.
    pub(super) name: &'static str,
    /// Its program.
    pub(super) program: &'static str,
    /// What it needs to stay in the foreground, and to be as fast as it gets on two cores.
    arguments: &'static [&'static str],
    /// Its adapter, at both sides.
    adapter: &'static str,
}

impl Peers {
    /// Brings one of them up.
    pub(super) fn wireguard(
        &mut self,
        ground: Ground<'_>,
        number: u8,
        peer: WireGuard,
    ) -> Result<(), Mishap> {
        let link = ground.link;
        let far = free_port(link, Side::Device)?;
        let sides = [Side::Client, Side::Device];
        let keys = [key(ground.dir, peer, "client")?, key(ground.dir, peer, "device")?];
        let start = |side| {
            let mut command = on_its_own(link, side, peer.program);
            command.args(peer.arguments).arg(peer.adapter);
            Program::start(peer.name, command)
        };
        let programs = [start(Side::Client)?, start(Side::Device)?];
        let near = self.by_way(ground, far)?.to_string();
        let ([own, other], [client, device]) =
            (sides.map(|side| format!("{}/32", inner(number, side))), &keys);
        let allowed = format!("{other},{}/32", address(number));
        let port = far.port().to_string();
        let to_device = ["peer", &device.public, "allowed-ips", &allowed, "endpoint", &near];
        let to_client = ["listen-port", &port, "peer", &client.public, "allowed-ips", &own];
        let told = [(client, to_device.as_slice()), (device, &to_client)];
        for (program, (key, more)) in programs.iter().zip(told) {
            tell(program, peer, key, more)?;
        }
        join(link, number, [peer.adapter; 2], Some(MTU))?;
        let pids = programs.iter().map(Program::pid).collect();
        self.add(ground, peer.name, number, pids, programs.into());
        Ok(())
    }
}

/// A private key in a file, and the public one.
struct Key {
    file: String,
    public: String,
}

fn key(dir: &Path, peer: WireGuard, side: &str) -> Result<Key, Mishap> {
    let private = finish(wg("genkey"), "")?;
    let file = dir.join(format!("{}-{side}.key", peer.adapter));
    std::fs::write(&file, &private)?;
    let public = finish(wg("pubkey"), &private)?.trim().to_owned();
    Ok(Key { file: file.display().to_string(), public })
}

fn wg(what: &str) -> Command {
    let mut command = Command::new("wg");
    command.arg(what);
    command
}

/// Waits until the program listens, then configures it.
fn tell(program: &Program, peer: WireGuard, key: &Key, more: &[&str]) -> Result<(), Mishap> {
    let begun = Instant::now();
    loop {
        let mut command = Command::new("nsenter");
        command.args(["--target", &program.pid().to_string(), "--mount", "--net", "wg", "set", peer.adapter]);
        command.args(["private-key", &key.file]).args(more);
        match finish(command, "") {
            Ok(_) => return Ok(()),
            Err(fault) if begun.elapsed() > WITHIN => {
                return Err(Mishap::unexpected(
                    peer.program,
                    format!("{fault}{}", program.log()),
                    "a configured one",
                ));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Both.
pub(super) const PEERS: [WireGuard; 2] = [
    WireGuard { name: WIREGUARD_GO, program: "wireguard-go", arguments: &["--foreground"], adapter: "wggo" },
    WireGuard {
        name: BORINGTUN,
        program: "boringtun-cli",
        arguments: &["--foreground", "--disable-drop-privileges", "--threads", "1"],
        adapter: "wgrs",
    },
];
/// As `wg-quick` sets it on a wire of 1,500 bytes.
const MTU: &str = "1420";
