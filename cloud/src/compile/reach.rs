//! What a scope reaches on one device: nothing, some machines behind it, or all of it.

use std::collections::BTreeSet;

use postern_protocol::name::Name;

use crate::model::{Model, Scope, ScopeNode};

/// Part of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing.
    Nothing,
    /// The services of these machines; never an empty set.
    Machines(BTreeSet<Name>),
    /// Every service of the device and of the machines behind it.
    Whole,
}

impl Reach {
    fn machines(machines: BTreeSet<Name>) -> Self {
        if machines.is_empty() { Self::Nothing } else { Self::Machines(machines) }
    }

    /// What lies in both.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, _) | (_, Self::Nothing) => Self::Nothing,
            (Self::Whole, reach) | (reach, Self::Whole) => reach,
            (Self::Machines(a), Self::Machines(b)) => Self::machines(a.intersection(&b).cloned().collect()),
        }
    }

    /// Whether the services of `machine`, or of the device itself for none, are reached.
    pub(super) fn contains(&self, machine: Option<&Name>) -> bool {
        match self {
            Self::Nothing => false,
            Self::Machines(machines) => machine.is_some_and(|machine| machines.contains(machine)),
            Self::Whole => true,
        }
    }
}

/// Resolves a scope for one device.
pub(super) fn reach(model: &Model, scope: &Scope, device: &Name) -> Reach {
    let Some(body) = model.devices.get(device) else { return Reach::Nothing };
    let whole = |inside: bool| if inside { Reach::Whole } else { Reach::Nothing };
    match scope {
        Scope::Account { account, nested: false } => whole(body.account == *account),
        Scope::Account { account, nested: true } => whole(model.is_within(&body.account, account)),
        Scope::DeviceGroup { group } => {
            whole(model.device_groups.get(group).is_some_and(|group| group.devices.contains(device)))
        }
        Scope::Facility { facility } => in_node(model, model.facilities.get(facility), device),
        Scope::Organisation { organisation } => in_node(model, model.organisations.get(organisation), device),
        Scope::Device { device: named } => whole(named == device),
        Scope::Machine { machine } => {
            let behind = model.machines.get(machine).is_some_and(|body| body.device == *device);
            if behind { Reach::machines(BTreeSet::from([machine.clone()])) } else { Reach::Nothing }
        }
        Scope::AllOf { scopes } => {
            let mut scopes = scopes.iter().map(|scope| reach(model, scope, device));
            // All of nothing is nothing: an empty list must not become a scope without bounds.
            scopes.next().map_or(Reach::Nothing, |first| scopes.fold(first, Reach::and))
        }
        Scope::Unknown => Reach::Nothing,
    }
}

fn in_node(model: &Model, node: Option<&ScopeNode>, device: &Name) -> Reach {
    let Some(node) = node else { return Reach::Nothing };
    if node.devices.contains(device) {
        return Reach::Whole;
    }
    let behind = |machine: &&Name| model.machines.get(*machine).is_some_and(|body| body.device == *device);
    Reach::machines(node.machines.iter().filter(behind).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machines(names: &[&str]) -> Reach {
        Reach::machines(names.iter().map(|name| name.parse().unwrap()).collect())
    }

    #[test]
    fn intersections_narrow_and_never_widen() {
        assert_eq!(Reach::Whole.and(machines(&["m1"])), machines(&["m1"]));
        assert_eq!(machines(&["m1", "m2"]).and(machines(&["m2", "m3"])), machines(&["m2"]));
        assert_eq!(machines(&["m1"]).and(machines(&["m2"])), Reach::Nothing);
        assert_eq!(Reach::Nothing.and(Reach::Whole), Reach::Nothing);
    }

    #[test]
    fn all_of_no_scopes_is_nothing() {
        let fleet = "[account.a]\ntenant = \"operating_company\"\n[device.d]\naccount = \"a\"\n";
        let model = crate::fleet::read(fleet, &[]).unwrap();
        let device: Name = "d".parse().unwrap();
        assert_eq!(reach(&model, &Scope::AllOf { scopes: Vec::new() }, &device), Reach::Nothing);
        assert_eq!(reach(&model, &Scope::Unknown, &device), Reach::Nothing);
        assert_eq!(reach(&model, &Scope::Device { device: device.clone() }, &device), Reach::Whole);
    }
}
