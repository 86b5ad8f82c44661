//! The machine network of a device, for programs of this computer and without rights over its network.
//!
//! 1. [`choose`] finds the VPN service that is meant; the device decides whether it opens.
//! 2. [`tunnel`] is one open VPN tunnel; its stream says where flows may go, and its end is the end of all flows.
//! 3. [`gateway`] has at most one tunnel open and opens another for the next flow when it is gone.
//! 4. [`session`] keeps the connection to the device up, as `postern connect` does.
//! 5. [`forward`], [`proxy`] and, for a VPN to one place, [`pipe`] take local connections; [`carry`] joins each with a flow.
//!
//! Deliberately absent: names and routes on this computer. A name is resolved by the device, and whoever needs an adapter
//! with routes needs more rights than this program asks for.

mod carry;
mod choose;
pub(crate) mod forward;
mod gateway;
pub(crate) mod pipe;
pub(crate) mod proxy;
pub(crate) mod session;
mod tunnel;
