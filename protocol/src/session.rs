//! Both ends of policy synchronisation as state machines, without sockets and clock.
//!
//! The vocabulary is quinn's: `handle_*` tells a machine what happened, `poll_*` asks what it wants. The caller owns
//! the stream, the clock and the verification:
//!
//! 1. [`hub::HubSync`] is told what the agent said in its hello and what is published; `poll_transmit` yields pushes.
//! 2. [`agent::AgentSync`] assembles a push and hands the bytes out as [`agent::Event::Offered`].
//! 3. The caller verifies, stores, activates, and reports with `handle_outcome`; `poll_transmit` yields the answer.
//!
//! Beside them stands [`freshness::FreshnessWatch`], the device's watch over time: when to ask, what an answer means, for how long
//! the policy counts, and what somebody should look at ([`alarm`]).
//!
//! [`leg::Leg`] is one end's binding at a relay, [`knock::Knocks`] how a device opens its NAT for the other end, and [`pulse::Pulse`] how often
//! an idle link speaks. [`leave::Leave`] says when the agents of a hub that ends go, and when they come back.
//!
//! Whatever is lost or reordered by broken links, each new link begins with the state of the world (a hello), so
//! both ends converge on the newest version and never on an older one.

pub mod agent;
pub mod alarm;
mod budget;
pub mod freshness;
pub mod hub;
pub mod knock;
pub mod leave;
pub mod leg;
mod missing;
pub mod pulse;
pub mod timekeeper;

pub use budget::CHUNK_S;
