//! Prepares a device for the packet VPN and takes everything back: the only part of the agent that runs as root, in a process of its
//! own that ends at once.
//!
//! 1. [`up`] takes back what an earlier one has left, then looks whether everything is there that it needs.
//!    Two at once take [turns](turn), and wait for what somebody who was killed has begun.
//! 2. What is about to be changed is written down first ([`state`]): a crash at any moment leaves a note for whoever comes next.
//! 3. The TUN interface is made for the agent's user; the [`rules`] of the firewall stand before anything is [forwarded](kernel).
//! 4. [`down`] does the same backwards, from the note. Afterwards the device is as it was before.
//!
//! Deliberately absent: iptables. A device that has nothing else is told so, and has the flow VPN, which needs none of this.

mod kernel;
mod rules;
mod state;
mod turn;

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use postern_protocol::gate::packet::MTU;

use self::kernel::Forwarding;
use self::rules::Rules;
use self::state::State;
use self::turn::Turn;
use crate::config::{Config, PacketVpn};

/// What is to be prepared.
struct Plan<'a> {
    tun: &'a str,
    interface: &'a str,
    vpn: &'a PacketVpn,
    owner: u32,
}

/// What there is of a packet VPN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PacketVpnReport {
    /// The TUN interface's name.
    pub(crate) tun: String,
    /// Whether it is there.
    pub(crate) made: bool,
    /// The interface to the machines.
    pub(crate) interface: String,
    /// Whether packets are forwarded from it.
    pub(crate) forwards: bool,
    /// Whether the rules of the firewall stand.
    pub(crate) rules: bool,
}

/// Why it cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PacketVpnError {
    /// Nobody asked for it.
    #[error(
        "the configuration has no `[packet_vpn]`; it needs the name of an interface: `tun = \"postern0\"`"
    )]
    NotConfigured,
    /// Not root.
    #[error("this takes root's right over the network (CAP_NET_ADMIN): {0}")]
    NoRight(io::Error),
    /// No firewall that is spoken.
    #[error("the program `nft` is missing; install nftables")]
    NoNft,
    /// Another firewall.
    #[error("this device has iptables and no `nft`; the packet VPN needs nftables, and the flow VPN neither")]
    IptablesOnly,
    /// The rules were refused.
    #[error("`nft` refused the rules: {0}")]
    Nft(String),
    /// No TUN.
    #[error("`/dev/net/tun` is missing; load the kernel module `tun`")]
    NoTunModule,
    /// The machines are not there.
    #[error("there is no interface `{0}` to the machines")]
    NoInterface(String),
    /// The name is taken.
    #[error("the interface `{0}` exists and is no TUN interface; choose another name")]
    Taken(String),
    /// The range is taken.
    #[error("the range {range} overlaps {taken} on `{interface}`; choose another `range`")]
    Range {
        /// Ours.
        range: ipnet::Ipv4Net,
        /// Theirs.
        taken: ipnet::Ipv4Net,
        /// Whose.
        interface: String,
    },
    /// A file of the agent or of the kernel.
    #[error("`{}`: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// The TUN interface.
    #[error("the interface `{name}` cannot be made or removed: {error}")]
    Tun {
        /// Its name.
        name: String,
        /// The system's reason.
        error: io::Error,
    },
}

/// Prepares the device.
///
/// # Errors
/// A [`PacketVpnError`]; what was changed by then is taken back.
pub(crate) fn up(config: &Config, dir: &Path) -> Result<PacketVpnReport, PacketVpnError> {
    let plan = Plan::of(config)?;
    Rules::find()?;
    if !Path::new("/dev/net/tun").exists() {
        return Err(PacketVpnError::NoTunModule);
    }
    if !postern_tun::exists(plan.interface) {
        return Err(PacketVpnError::NoInterface(plan.interface.to_owned()));
    }
    let turn = Turn::take(dir)?;
    take_back(dir, plan.tun, &turn)?;
    if let Some((interface, taken)) = kernel::overlapping(plan.vpn.range)? {
        return Err(PacketVpnError::Range { range: plan.vpn.range, taken, interface });
    }
    let prepared = plan.prepare(dir, &turn);
    if prepared.is_err() {
        let _second_error = take_back(dir, plan.tun, &turn);
    }
    prepared?;
    status(config)
}

/// Takes everything back. Done where nothing is there.
///
/// # Errors
/// A [`PacketVpnError`]; the note stays, and it can be tried again.
pub(crate) fn down(config: &Config, dir: &Path) -> Result<PacketVpnReport, PacketVpnError> {
    let vpn = config.packet_vpn.as_ref().ok_or(PacketVpnError::NotConfigured)?;
    Rules::find()?;
    take_back(dir, &vpn.tun, &Turn::take(dir)?)?;
    status(config)
}

/// What there is.
///
/// # Errors
/// [`PacketVpnError::NotConfigured`], or without the program to ask.
pub(crate) fn status(config: &Config) -> Result<PacketVpnReport, PacketVpnError> {
    let vpn = config.packet_vpn.as_ref().ok_or(PacketVpnError::NotConfigured)?;
    let interface = config.packet_interface().unwrap_or_default();
    Ok(PacketVpnReport {
        tun: vpn.tun.clone(),
        made: postern_tun::exists(&vpn.tun),
        interface: interface.to_owned(),
        forwards: Forwarding::of(interface).is_on(),
        rules: Rules::stand()?,
    })
}

impl PacketVpnReport {
    /// Whether everything is there.
    pub(crate) const fn is_up(&self) -> bool {
        self.made && self.forwards && self.rules
    }
}

impl<'a> Plan<'a> {
    fn of(config: &'a Config) -> Result<Self, PacketVpnError> {
        let vpn = config.packet_vpn.as_ref().ok_or(PacketVpnError::NotConfigured)?;
        let interface = config.packet_interface().ok_or(PacketVpnError::NotConfigured)?;
        // The state belongs to the user whom the agent runs as; another one it would refuse.
        let owner = std::fs::metadata(&config.state_dir)
            .map_err(|error| PacketVpnError::File { path: config.state_dir.clone(), error })?
            .uid();
        Ok(Self { tun: &vpn.tun, interface, vpn, owner })
    }

    fn prepare(&self, dir: &Path, turn: &Turn) -> Result<(), PacketVpnError> {
        let machines = Forwarding::of(self.interface);
        let was_off = !machines.is_on();
        let forwarding = if was_off { vec![self.interface.to_owned()] } else { Vec::new() };
        State { tun: self.tun.to_owned(), forwarding }.write(dir)?;
        let address = (PacketVpn::gateway_of(self.vpn.range), self.vpn.range.prefix_len());
        postern_tun::create(self.tun, address, MTU, self.owner).map_err(|error| of_tun(self.tun, error))?;
        kernel::without_ipv6(self.tun);
        let rules = Rules { tun: self.tun, interface: self.interface, range: self.vpn.range, alone: was_off };
        rules.set(turn)?;
        Forwarding::of(self.tun).set(true)?;
        if was_off { machines.set(true) } else { Ok(()) }
    }
}

fn take_back(dir: &Path, tun: &str, turn: &Turn) -> Result<(), PacketVpnError> {
    let state = State::read(dir)?;
    for interface in state.iter().flat_map(|state| &state.forwarding) {
        Forwarding::of(interface).set(false)?;
    }
    Rules::remove(turn)?;
    // It may have had another name in the configuration of before.
    for name in state.iter().map(|state| state.tun.as_str()).chain([tun]) {
        if postern_tun::exists(name) && !postern_tun::is_tun(name) {
            return Err(PacketVpnError::Taken(name.to_owned()));
        }
        postern_tun::remove(name).map_err(|error| of_tun(name, error))?;
    }
    State::remove(dir)
}

fn of_tun(name: &str, error: io::Error) -> PacketVpnError {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return PacketVpnError::NoRight(error);
    }
    PacketVpnError::Tun { name: name.to_owned(), error }
}
