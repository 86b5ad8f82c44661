//! Several hubs of one installation, which find on NATS what each of them needs.
//!
//! 1. One hub, the [`Primary`], has the model's database and signs policy. The others, [`Edge`]s, have neither: each keeps a replica
//!    of what is published, and no key that could permit anything.
//! 2. The primary puts an [`Entry`] for each device, and each root, into a key-value bucket, and pushes it as a plain message at the same
//!    time. Edges follow both, and offer to the devices that link with them what is there. The devices verify it, as always.
//! 3. What links learn of devices, rows of their trails above all, goes into a stream; while that stands still (its servers agree on
//!    who leads) edges hand it to the primary themselves. The primary records it, each message once, and tells the edge what came of it.
//! 4. Every few seconds an edge asks the primary for the [`Tally`] of all that is published. While its own is the same it may tell
//!    devices that what they hold is the newest; a while after that it may not, and sends them elsewhere.
//! 5. What users ask goes to the primary over QUIC between the two ([`Forward`]), and never over NATS.
//!
//! NATS is believed nothing. Whatever goes through it is under a [`Veil`], with a key that it does not have: it can withhold, and
//! that is seen by 4; what it repeats is known, or changes nothing. Without NATS links stay up and decisions go on; only what is new
//! waits. Deliberately absent: a database of several writers, and an election of who has it.

mod bus;
mod edge;
mod entry;
mod forward;
mod primary;
mod replica;
mod talk;
mod veil;

use std::path::{Path, PathBuf};

pub(crate) use self::bus::{Bus, BusError, Settings};
pub(crate) use self::edge::Edge;
pub(crate) use self::entry::{ENTRY_BYTES, Entry, Lock, Object, Tally, Topic, root_mark};
pub(crate) use self::forward::Forward;
pub(crate) use self::primary::Primary;
pub(crate) use self::replica::Change;
pub(crate) use self::talk::{Forwarded, HubId, Said, Tell, What};
pub(crate) use self::veil::Veil;

/// Which part a hub has among others of its installation.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// It has the model.
    Primary(Primary),
    /// It has a replica.
    Edge(Edge),
}

/// The file that makes a state directory an edge's: where the primary is.
pub(crate) fn edge_file(state: &Path) -> PathBuf {
    state.join("edge.toml")
}

/// The key that the hubs of an installation share.
pub(crate) fn key_file(state: &Path) -> PathBuf {
    state.join("cluster.key")
}
