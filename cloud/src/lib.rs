//! The cloud's side of Postern: the access model, its compiler, and the hub that agents and users dial.
//!
//! 1. [`fleet`] reads a declarative file into a [`model`], or refuses it with the place of every error.
//! 2. [`diff`] says who gains and loses what; [`compile`] turns the model into the policy of one device.
//! 3. [`publish`] signs what changed, with the [`keys`] that the newest root names ([`signer`]); [`store`] keeps model and snapshots in one transaction.
//!    Roots are drawn up and signed away from all of that ([`ceremony`]).
//!    What devices have recorded is kept as they sent it, and exported as a file that anybody can verify ([`trail`]).
//! 4. [`hub`] admits agents and users; [`login`] proves who users are; [`visibility`] says what they may know of, and [`sessions`] what they
//!    may see of the trail. [`past`] knows whose a device was.
//!    Several hubs of one installation share on NATS what they need (`cluster`).
//!    [`approval`] keeps who asks to be let in and what the machine's own company answers.
//!    [`invitation`] keeps who was asked to join and has not done so yet; [`mail`] brings them their codes.
//!    [`rights`] says who may change what; every edit by somebody else than the operator goes through [`administration`], over
//!    HTTP by the [`api`]. What an operator watches is in [`metrics`].
//! 5. [`explain`] asks the device's own judgement why somebody may or may not use a service; [`review`] asks it for
//!    everything that one user or device is concerned with. [`setup`] asks for the first model.
//!
//! The program is [`main`], so that a laboratory can run the same code under another name. Deliberately absent:
//! anything that a device would have to trust. It believes signatures, never this process.

pub mod actor;
pub mod administration;
pub mod api;
pub mod approval;
mod args;
mod buckets;
pub mod case;
pub mod ceremony;
mod chance;
mod clock;
mod cluster;
mod commands;
pub mod compile;
pub mod diff;
pub mod explain;
mod files;
pub mod fleet;
pub mod health;
pub mod hub;
pub mod invitation;
pub mod keys;
pub mod login;
pub mod mail;
pub mod metrics;
pub mod model;
mod nearest;
pub mod news;
mod parallel;
pub mod past;
pub mod publish;
pub mod relay;
pub mod review;
pub mod rights;
pub mod sessions;
pub mod setup;
pub mod signer;
pub mod sso;
pub mod store;
pub mod trail;
pub mod visibility;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

/// Runs `postern-cloud` with the given arguments, of which the first is the program's name.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match args::Args::try_parse_from(args) {
        Ok(args) => commands::run(args),
        Err(error) => {
            // Help and version go to the standard output and are no failure.
            let _gone = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}
