//! The machine network of a device, for programs of this computer and without rights over its network.
//!
//! 1. [`choose`] finds the VPN service that is meant; the device decides whether it opens.
//! 2. [`tunnel`] is one open VPN tunnel; its stream says where flows may go, and its end is the end of all flows.
//! 3. [`gateway`] has at most one tunnel open and opens another for the next flow when it is gone.
//! 4. [`session`] keeps the connection to the device up, as `postern connect` does.
//! 5. [`forward`], [`proxy`] and, for a VPN to one place, [`pipe`] take local connections; [`carry`] joins each with a flow,
//!    [`messages`] does so with datagrams, and [`verdict`] says why there is none.
//! 6. [`discover`] shows which machines are there.
//! 7. [`adapter`] takes packets of a network adapter with routes instead, for programs that know no proxy.
//!
//! Deliberately absent: names on this computer. A name is resolved by the device. Only the adapter needs rights over this
//! computer's network, and a program of its own makes it.

#[cfg(target_os = "linux")]
pub(crate) mod adapter;
mod carry;
mod choose;
pub(crate) mod discover;
pub(crate) mod forward;
mod gateway;
mod messages;
pub(crate) mod pipe;
pub(crate) mod proxy;
pub(crate) mod session;
mod tunnel;
mod verdict;
