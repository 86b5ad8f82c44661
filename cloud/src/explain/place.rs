//! Whether a service lies in a scope, and if not, which part of the scope leaves it out.

use serde::Serialize;

use postern_protocol::name::Name;

use crate::model::{Model, Scope, ScopeNode};

/// A service by where it is: on a device, behind one of its machines or the device's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) device: &'a Name,
    pub(super) machine: Option<&'a Name>,
}

/// What of a scope contains a place and what does not; a scope that is no intersection is one part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// Parts that contain it.
    pub inside: Vec<Scope>,
    /// Parts that do not. All of an intersection must, so one is enough to leave it out.
    pub outside: Vec<Scope>,
}

impl Parts {
    pub(super) fn of(model: &Model, scope: &Scope, place: Place<'_>) -> Self {
        let mut parts = Self::default();
        parts.sort(model, scope, place);
        parts
    }

    /// Whether the whole scope contains it: an intersection of nothing contains nothing.
    pub(super) const fn contain(&self) -> bool {
        self.outside.is_empty() && !self.inside.is_empty()
    }

    fn sort(&mut self, model: &Model, scope: &Scope, place: Place<'_>) {
        if let Scope::AllOf { scopes } = scope
            && !scopes.is_empty()
        {
            scopes.iter().for_each(|scope| self.sort(model, scope, place));
        } else if place.lies_in(model, scope) {
            self.inside.push(scope.clone());
        } else {
            self.outside.push(scope.clone());
        }
    }
}

impl Place<'_> {
    fn lies_in(&self, model: &Model, scope: &Scope) -> bool {
        let owner = model.devices.get(self.device).map(|device| &device.account);
        match scope {
            Scope::Account { account, nested: false } => owner == Some(account),
            Scope::Account { account, nested: true } => {
                owner.is_some_and(|owner| model.is_within(owner, account))
            }
            Scope::DeviceGroup { group } => {
                model.device_groups.get(group).is_some_and(|group| group.devices.contains(self.device))
            }
            Scope::Facility { facility } => self.lies_in_node(model.facilities.get(facility)),
            Scope::Organisation { organisation } => self.lies_in_node(model.organisations.get(organisation)),
            Scope::Device { device } => device == self.device,
            Scope::Machine { machine } => self.machine == Some(machine),
            Scope::AllOf { scopes } => {
                !scopes.is_empty() && scopes.iter().all(|scope| self.lies_in(model, scope))
            }
            Scope::Unknown => false,
        }
    }

    fn lies_in_node(&self, node: Option<&ScopeNode>) -> bool {
        node.is_some_and(|node| {
            node.devices.contains(self.device)
                || self.machine.is_some_and(|machine| node.machines.contains(machine))
        })
    }
}
