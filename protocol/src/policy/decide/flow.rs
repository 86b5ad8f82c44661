//! The decision on one flow inside a permitted VPN tunnel.
//!
//! 1. [`Permit::flow`] looks for the destination that governs the flow, in the snapshot that permitted the tunnel.
//! 2. Who only looks has no flow in which nobody could tell looking from touching.
//! 3. A [`FlowPermit`] carries the permit of its tunnel: it cannot outlive it without holding the snapshot that said so.
//! 4. When the tunnel is decided again, each of its flows is asked of the new permit, and gets a new permit of its own or
//!    ends.
//!
//! Conditions (window, second factor, case, lock) were judged for the tunnel and are judged again with it; a flow has none
//! of its own. Deliberately absent: what a device never dials, whatever the policy says. That is asked where it dials.

use std::sync::Arc;

use super::Permit;
use crate::policy::reason::Reason;
use crate::policy::snapshot::rules::{Destination, FlowEnd, Profile};
use crate::wire::registry::PacketFault;

/// Proof that [`Permit::flow`] said yes. Private fields, one constructor: whatever moves bytes of a flow demands one.
#[derive(Debug)]
pub struct FlowPermit {
    permit: Arc<Permit>,
    end: FlowEnd,
    /// Position in the destinations of the service.
    destination: usize,
}

/// Why a flow is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowRefusal {
    /// The tunnel leads to one place; it has no flows.
    #[error("the service carries no flows")]
    NoVpn,
    /// No destination of the service contains it.
    #[error("no destination of the service contains it")]
    Destination,
    /// The tunnel only looks, and no gate reads this flow.
    #[error("the tunnel only looks and no gate reads this flow")]
    Looking,
}

impl FlowRefusal {
    /// The reason that callers are told.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            // What the service is was said when the tunnel opened: nothing is revealed.
            Self::NoVpn | Self::Destination => Reason::PortDenied,
            Self::Looking => Reason::ViewOnly,
        }
    }
}

impl Permit {
    /// Decides one flow of this tunnel. Compares with each destination at most once and allocates nothing.
    ///
    /// # Errors
    /// The [`FlowRefusal`].
    pub fn flow(self: &Arc<Self>, end: FlowEnd) -> Result<FlowPermit, FlowRefusal> {
        let rules = self.service().reach.flows().ok_or(FlowRefusal::NoVpn)?;
        let (destination, governs) = rules.governing(&end).ok_or(FlowRefusal::Destination)?;
        if !self.mode.touches() && !governs.tells_looking() {
            return Err(FlowRefusal::Looking);
        }
        Ok(FlowPermit { permit: Arc::clone(self), end, destination })
    }

    /// Decides one flow of this tunnel whose packets are carried as they are. What a gate must read in a flow nobody reads in
    /// packets: without this check they would slip past it.
    ///
    /// # Errors
    /// The [`PacketFault`] that its packets are dropped for.
    pub fn packets(self: &Arc<Self>, end: FlowEnd) -> Result<FlowPermit, PacketFault> {
        let flow = self.flow(end).map_err(|refusal| match refusal {
            FlowRefusal::NoVpn | FlowRefusal::Destination => PacketFault::NotGranted,
            FlowRefusal::Looking => PacketFault::Looking,
        })?;
        if flow.profile().is_some() { Err(PacketFault::Read) } else { Ok(flow) }
    }

    /// Where flows of this tunnel may go: every destination whose flows [`Permit::flow`] would permit, narrowest first.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        let all = self.service().reach.flows().map_or(&[][..], |rules| &rules.destinations);
        all.iter().filter(|destination| self.mode.touches() || destination.tells_looking())
    }
}

impl FlowPermit {
    /// The far end: the address to dial.
    #[must_use]
    pub const fn end(&self) -> FlowEnd {
        self.end
    }

    /// The permit of the tunnel that it belongs to.
    #[must_use]
    pub const fn tunnel(&self) -> &Arc<Permit> {
        &self.permit
    }

    /// The destination that governs it.
    #[must_use]
    pub fn destination(&self) -> Option<&Destination> {
        self.permit.service().reach.flows()?.destinations.get(self.destination)
    }

    /// What the gate must read in it; none is any bytes.
    #[must_use]
    pub fn profile(&self) -> Option<&Profile> {
        self.destination()?.profile()
    }
}

#[cfg(test)]
mod tests;
