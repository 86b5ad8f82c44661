//! Where everything is: which devices an account, group, place or machine leads to, and the way back.
//!
//! 1. [`Places::anchor`]: the narrowest single thing that a scope cannot reach beyond. Rules are filed under it.
//! 2. [`Places::anchors`]: all that one device can be reached through. Only rules filed there are looked at.
//! 3. [`Places::reach`]: what a scope reaches on that device, exactly.
//!
//! Each table is made when it is first asked for, and of the devices that are looked at: an edit of one device needs
//! few of them, and small ones.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::OnceLock;

use postern_protocol::name::Name;

use super::reach::Reach;
use crate::model::{Device, Model, Scope, ScopeNode};

/// One thing that devices lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Anchor<'a> {
    Account(&'a Name),
    Nested(&'a Name),
    Group(&'a Name),
    Facility(&'a Name),
    Organisation(&'a Name),
    Device(&'a Name),
    Machine(&'a Name),
}

type Table<'a> = HashMap<&'a Name, Vec<&'a Name>>;

/// The places of one model.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    model: &'a Model,
    /// The devices that are looked at; none where that is all of them.
    only: Option<HashSet<&'a Name>>,
    devices: OnceLock<Table<'a>>,
    within: OnceLock<Table<'a>>,
    machines: OnceLock<Table<'a>>,
    collections: OnceLock<HashMap<&'a Name, Vec<Anchor<'a>>>>,
    cases: OnceLock<Table<'a>>,
}

impl<'a> Places<'a> {
    pub(crate) const fn new(model: &'a Model) -> Self {
        Self {
            model,
            only: None,
            devices: OnceLock::new(),
            within: OnceLock::new(),
            machines: OnceLock::new(),
            collections: OnceLock::new(),
            cases: OnceLock::new(),
        }
    }

    /// As if the model had only these of its devices.
    pub(super) fn among<'n>(model: &'a Model, devices: impl IntoIterator<Item = &'n Name>) -> Self {
        let known = devices.into_iter().filter_map(|name| model.devices.get_key_value(name));
        Self { only: Some(known.map(|(name, _)| name).collect()), ..Self::new(model) }
    }

    /// Whether a device is looked at.
    pub(super) fn covers(&self, device: &Name) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(device))
    }

    /// All that the devices that are looked at can be reached through; none where that is everything.
    pub(super) fn around(&self) -> Option<HashSet<Anchor<'a>>> {
        let only = self.only.as_ref()?;
        Some(only.iter().flat_map(|device| self.anchors(device)).collect())
    }

    /// The narrowest thing that contains all that a scope can reach; none when it reaches nothing at all.
    pub(super) fn anchor(&self, scope: &'a Scope) -> Option<Anchor<'a>> {
        let model = self.model;
        match scope {
            Scope::Account { account, nested: false } => Some(Anchor::Account(account)),
            Scope::Account { account, nested: true } => Some(Anchor::Nested(account)),
            Scope::DeviceGroup { group } => Some(Anchor::Group(group)),
            Scope::Facility { facility } => Some(Anchor::Facility(facility)),
            Scope::Organisation { organisation } => Some(Anchor::Organisation(organisation)),
            Scope::Device { device } => model.devices.contains_key(device).then_some(Anchor::Device(device)),
            Scope::Machine { machine } => {
                model.machines.contains_key(machine).then_some(Anchor::Machine(machine))
            }
            Scope::AllOf { scopes } => {
                let anchors: Option<Vec<Anchor<'a>>> =
                    scopes.iter().map(|scope| self.anchor(scope)).collect();
                anchors?.into_iter().min_by_key(|anchor| (self.size(*anchor), *anchor))
            }
            Scope::Unknown => None,
        }
    }

    /// All that a device can be reached through.
    pub(super) fn anchors(&self, device: &'a Name) -> Vec<Anchor<'a>> {
        let Some(body) = self.model.devices.get(device) else { return Vec::new() };
        let mut anchors = vec![Anchor::Device(device), Anchor::Account(&body.account)];
        anchors.extend(self.model.ancestry(&body.account).map(Anchor::Nested));
        anchors.extend(self.machines(device).iter().map(|machine| Anchor::Machine(machine)));
        anchors.extend(self.collections().get(device).into_iter().flatten());
        anchors
    }

    /// The devices that lie in something, or have a machine that does. May name devices that are not in the model.
    pub(super) fn devices(&self, anchor: Anchor<'a>) -> Vec<&'a Name> {
        let model = self.model;
        match anchor {
            Anchor::Account(account) => self.directly_in(account).to_vec(),
            Anchor::Nested(account) => {
                let accounts = self.accounts_within(account);
                accounts.iter().flat_map(|account| self.directly_in(account)).copied().collect()
            }
            Anchor::Group(group) => {
                model.device_groups.get(group).into_iter().flat_map(|group| &group.devices).collect()
            }
            Anchor::Facility(facility) => self.of_node(model.facilities.get(facility)),
            Anchor::Organisation(organisation) => self.of_node(model.organisations.get(organisation)),
            Anchor::Device(device) => vec![device],
            Anchor::Machine(machine) => {
                model.machines.get(machine).map(|body| &body.device).into_iter().collect()
            }
        }
    }

    /// The devices on which a scope reaches something.
    pub(super) fn in_scope(&self, scope: &'a Scope) -> Vec<&'a Name> {
        let Some(anchor) = self.anchor(scope) else { return Vec::new() };
        let mut devices = self.devices(anchor);
        devices.retain(|device| self.reach(scope, device) != Reach::Nothing);
        devices
    }

    /// The accounts that own devices on which a scope reaches something, each with the first of these devices.
    pub(super) fn owners(&self, scope: &'a Scope) -> Vec<(&'a Name, &'a Name)> {
        let model = self.model;
        let accounts = match scope {
            Scope::Account { account, nested: false } => vec![account],
            Scope::Account { account, nested: true } => self.accounts_within(account).to_vec(),
            Scope::DeviceGroup { .. }
            | Scope::Facility { .. }
            | Scope::Organisation { .. }
            | Scope::Device { .. }
            | Scope::Machine { .. }
            | Scope::AllOf { .. }
            | Scope::Unknown => {
                let mut owners: HashMap<&Name, &Name> = HashMap::new();
                for device in self.in_scope(scope) {
                    let Some(body) = model.devices.get(device) else { continue };
                    let first = owners.entry(&body.account).or_insert(device);
                    *first = device.min(*first);
                }
                return owners.into_iter().collect();
            }
        };
        let first = |account: &'a Name| self.directly_in(account).first().map(|device| (account, *device));
        accounts.into_iter().filter_map(first).collect()
    }

    /// What a scope reaches on a device.
    pub(crate) fn reach(&self, scope: &'a Scope, device: &Name) -> Reach<'a> {
        self.resolve(scope, device, &Reach::Nothing)
    }

    /// The most that a scope could reach on a device: where its type is unknown, everything.
    pub(super) fn bound(&self, scope: &'a Scope, device: &Name) -> Reach<'a> {
        self.resolve(scope, device, &Reach::Whole)
    }

    fn resolve(&self, scope: &'a Scope, device: &Name, unknown: &Reach<'a>) -> Reach<'a> {
        let model = self.model;
        let Some(body) = model.devices.get(device) else { return Reach::Nothing };
        match scope {
            Scope::Account { account, nested: false } => Reach::whole(body.account == *account),
            Scope::Account { account, nested: true } => Reach::whole(model.is_within(&body.account, account)),
            Scope::DeviceGroup { group } => self.in_group(group, device),
            Scope::Facility { facility } => self.in_node(model.facilities.get(facility), device),
            Scope::Organisation { organisation } => {
                self.in_node(model.organisations.get(organisation), device)
            }
            Scope::Device { device: named } => Reach::whole(named == device),
            Scope::Machine { machine } => {
                let behind = model.machines.get(machine).is_some_and(|body| body.device == *device);
                Reach::machines(behind.then_some(machine).into_iter().collect())
            }
            Scope::AllOf { scopes } => {
                let mut scopes = scopes.iter().map(|scope| self.resolve(scope, device, unknown));
                // All of nothing is nothing: an empty list must not become a scope without bounds.
                scopes.next().map_or(Reach::Nothing, |first| scopes.fold(first, Reach::and))
            }
            Scope::Unknown => unknown.clone(),
        }
    }

    /// Whether a group contains a device, which it then reaches as a whole.
    pub(crate) fn in_group(&self, group: &Name, device: &Name) -> Reach<'a> {
        Reach::whole(self.model.device_groups.get(group).is_some_and(|group| group.devices.contains(device)))
    }

    /// The machines behind a device, ascending.
    pub(super) fn machines(&self, device: &Name) -> &[&'a Name] {
        let machines = self.machines.get_or_init(|| {
            let behind = self.model.machines.iter().map(|(name, machine)| (&machine.device, name));
            table(behind.filter(|(device, _)| self.covers(device)))
        });
        machines.get(device).map_or(&[], Vec::as_slice)
    }

    /// The cases of a device and of the machines behind it, ascending.
    pub(super) fn cases(&self, device: &Name) -> &[&'a Name] {
        let cases = self.cases.get_or_init(|| {
            let cases = self.model.cases.iter();
            let pairs = cases.filter_map(|(name, case)| Some((self.model.device_of_case(case)?, name)));
            table(pairs.filter(|(device, _)| self.covers(device)))
        });
        cases.get(device).map_or(&[], Vec::as_slice)
    }

    fn in_node(&self, node: Option<&'a ScopeNode>, device: &Name) -> Reach<'a> {
        let Some(node) = node else { return Reach::Nothing };
        if node.devices.contains(device) {
            return Reach::Whole;
        }
        let behind = self.machines(device).iter().copied();
        Reach::machines(behind.filter(|machine| node.machines.contains(*machine)).collect())
    }

    fn of_node(&self, node: Option<&'a ScopeNode>) -> Vec<&'a Name> {
        let Some(node) = node else { return Vec::new() };
        let behind = node.machines.iter().filter_map(|machine| self.model.machines.get(machine));
        let devices: BTreeSet<&Name> = behind.map(|machine| &machine.device).chain(&node.devices).collect();
        devices.into_iter().collect()
    }

    /// Those of some devices that are looked at.
    fn covered(&self, devices: &'a BTreeSet<Name>) -> Vec<&'a Name> {
        match &self.only {
            // Through the shorter of the two lists.
            Some(only) if only.len() < devices.len() => {
                only.iter().copied().filter(|device| devices.contains(*device)).collect()
            }
            Some(_) | None => devices.iter().filter(|device| self.covers(device)).collect(),
        }
    }

    /// The devices that belong directly to an account, ascending.
    fn directly_in(&self, account: &Name) -> &[&'a Name] {
        self.owned().get(account).map_or(&[], Vec::as_slice)
    }

    fn owned(&self) -> &Table<'a> {
        self.devices.get_or_init(|| {
            let owned = |(name, body): (&'a Name, &'a Device)| (&body.account, name);
            let Some(only) = &self.only else { return table(self.model.devices.iter().map(owned)) };
            let mut only: Vec<&Name> = only.iter().copied().collect();
            only.sort_unstable();
            table(only.into_iter().filter_map(|name| self.model.devices.get_key_value(name)).map(owned))
        })
    }

    /// An account and those nested in it.
    fn accounts_within(&self, account: &Name) -> &[&'a Name] {
        let within = self.within.get_or_init(|| {
            // Also accounts that only devices name: a model that was not checked is resolved the same way round.
            let owners = self.owned().keys().copied();
            let accounts: BTreeSet<&Name> = self.model.accounts.keys().chain(owners).collect();
            let outwards = |inner| self.model.ancestry(inner).map(move |outer| (outer, inner));
            table(accounts.into_iter().flat_map(outwards))
        });
        within.get(account).map_or(&[], Vec::as_slice)
    }

    /// The groups and nodes that a device, or a machine behind it, lies in.
    fn collections(&self) -> &HashMap<&'a Name, Vec<Anchor<'a>>> {
        self.collections.get_or_init(|| {
            let model = self.model;
            let mut collections: HashMap<&Name, Vec<Anchor<'a>>> = HashMap::new();
            let mut file = |devices: Vec<&'a Name>, anchor: Anchor<'a>| {
                for device in devices {
                    collections.entry(device).or_default().push(anchor);
                }
            };
            for (name, group) in &model.device_groups {
                file(self.covered(&group.devices), Anchor::Group(name));
            }
            let nodes = model
                .facilities
                .iter()
                .map(|(name, node)| (Anchor::Facility(name), node))
                .chain(model.organisations.iter().map(|(name, node)| (Anchor::Organisation(name), node)));
            for (anchor, node) in nodes {
                let mut devices = self.of_node(Some(node));
                devices.retain(|device| self.covers(device));
                file(devices, anchor);
            }
            collections
        })
    }

    /// About how many devices lie in something: enough to choose the narrowest.
    fn size(&self, anchor: Anchor<'a>) -> usize {
        let model = self.model;
        let node = |node: Option<&ScopeNode>| node.map_or(0, |node| node.devices.len() + node.machines.len());
        match anchor {
            Anchor::Account(account) => self.directly_in(account).len(),
            Anchor::Nested(account) => {
                self.accounts_within(account).iter().map(|account| self.directly_in(account).len()).sum()
            }
            Anchor::Group(group) => model.device_groups.get(group).map_or(0, |group| group.devices.len()),
            Anchor::Facility(facility) => node(model.facilities.get(facility)),
            Anchor::Organisation(organisation) => node(model.organisations.get(organisation)),
            Anchor::Device(_) | Anchor::Machine(_) => 1,
        }
    }
}

fn table<'a>(pairs: impl Iterator<Item = (&'a Name, &'a Name)>) -> Table<'a> {
    let mut table = Table::new();
    let mut pairs = pairs.peekable();
    while let Some((key, value)) = pairs.next() {
        let values = table.entry(key).or_default();
        values.push(value);
        // Neighbours often lie in the same thing, and to compare two names takes less time than to look one up.
        while let Some((_, value)) = pairs.next_if(|(next, _)| *next == key) {
            values.push(value);
        }
    }
    table
}

#[cfg(test)]
mod tests;
