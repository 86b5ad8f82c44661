//! `postern-adapter`: makes the network adapter for `postern vpn`, and has no other right and no other use.
//!
//! 1. The client asks over a Unix socket ([`message`]); who it is, the kernel says ([`session`]).
//! 2. What it asks for is checked against the networks that this computer has ([`check`], [`host`]): no route may take
//!    anything that leads elsewhere already.
//! 3. The adapter is made, gets its address and its routes ([`netlink`]), and is handed to the client ([`passing`]). This
//!    program keeps nothing of it but its number.
//! 4. Routes are changed when the client asks, until it hangs up.
//!
//! The adapter lives as long as the client has it: the kernel takes it away with all its addresses and routes when the client ends,
//! however it ends, also when this program was killed before. So there is nothing to restore, and nothing to leave behind.
//!
//! Deliberately absent: packets, which this program never sees; names and resolvers; everything that outlives the client.

#![cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "checks and messages are the same everywhere")
)]

pub mod check;
pub mod host;
pub mod message;

#[cfg(target_os = "linux")]
mod device;
#[cfg(target_os = "linux")]
pub mod netlink;
#[cfg(target_os = "linux")]
pub mod passing;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod session;

#[cfg(target_os = "linux")]
pub use self::program::{SERVICE, main};
