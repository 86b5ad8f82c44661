//! The gate on an edge router: decides on the device who may reach which service, and carries the tunnels.
//!
//! 1. [`main`] reads the command line and the [`config`], and runs one command.
//! 2. `daemon` wires the long-running parts together and owns their lives: `sync` keeps the link to the hub,
//!    `tunnel` serves clients, `control` serves the local socket.
//!    `nearby` says on machine networks where the device is.
//! 3. `gate` holds the policy in force and is the only caller of `decide`; `registry` holds the live tunnels and
//!    has them decided again; `audit` records.
//! 4. `packet_vpn` prepares the device for packets, as root and in a process of its own; the agent only opens what it made, with `tun`.
//! 5. `secrets` opens the passwords of machines by name, for as long as one is used.
//! 6. `sandbox` gives up what a running agent does not need, before it reads a byte from the network.
//! 7. `store` keeps policy and audit in SQLite on a thread of its own; `clock` knows what time it is at least,
//!    and `anchor` which root is in force; `disk` writes what is no database.
//!
//! Each file imports from its right in this order: daemon and command, sync and tunnel, gate, registry and audit,
//! store, clock, control and identity, transport, protocol.
//!
//! Deliberately absent: any way to change policy on the device, any address that comes from a peer, and any queue
//! that waits for capacity.

mod anchor;
mod args;
mod audit;
mod clock;
mod command;
pub mod config;
mod control;
mod daemon;
mod disk;
mod exit;
mod gate;
mod identity;
mod logging;
mod meeting;
mod mutex;
mod nearby;
mod network;
mod packet_vpn;
mod receipts;
mod recordings;
mod registry;
mod report;
mod sandbox;
mod secrets;
mod store;
mod surroundings;
mod sync;
mod systemd;
mod trouble;
mod tun;
mod tunnel;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs `postern-agent` with these arguments, the first being the program's name, and returns its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    command::run(args).into()
}
