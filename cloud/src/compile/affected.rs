//! Which devices an edit can affect, so that only those are compiled.
//!
//! 1. The two models are compared entity by entity, in what the compiler reads of them: labels, permissions,
//!    tenant roles and types of groups lead nowhere.
//! 2. What changed about a device, its machines, places or account leads to that device.
//! 3. What changed about people, roles, categories and rules leads to the sources that depend on it, and from there to
//!    the devices in their scopes.
//!
//! Each step is taken in the old model and in the new one: what moved away counts as much as what came. The set may
//! name too many devices and never too few.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use super::places::{Anchor, Places};
use super::reach::Reach;
use super::source::Source;
use crate::model::change::Change;
use crate::model::{
    Case, CaseSubject, DeviceGroup, Difference, Effect, EntityKind, Entry, Machine, Model, Role, ScopeNode,
    Selection, Subject, UserGroup, Visibility,
};

/// The devices whose content may differ between two models, also those that are in one of them only.
#[must_use]
pub fn affected(old: &Model, new: &Model) -> BTreeSet<Name> {
    affected_by(old, new, &old.differences(new))
}

/// As [`affected()`], for models whose differences are known already: to find them takes longer than all the rest.
pub(crate) fn affected_by<'a>(
    old: &'a Model,
    new: &'a Model,
    differences: &[Difference<'a>],
) -> BTreeSet<Name> {
    let edit = Edit { old, new, differences };
    let (before, after) = (Places::new(old), Places::new(new));
    let mut devices = HashSet::new();
    located(&edit, [(old, &before), (new, &after)], &mut devices);
    let touched = Touched::by(&edit);
    touched.follow(old, &before, &mut devices);
    touched.follow(new, &after, &mut devices);
    devices.into_iter().cloned().collect()
}

/// Two models and what differs.
struct Edit<'d, 'a> {
    old: &'a Model,
    new: &'a Model,
    differences: &'d [Difference<'a>],
}

impl<'a> Edit<'_, 'a> {
    /// The entities of a table that differ in what `read` takes of them, ascending.
    fn changes<T, K: PartialEq>(
        &self,
        kind: EntityKind,
        table: impl Fn(&'a Model) -> &'a BTreeMap<Name, T>,
        read: impl Fn(&'a T) -> K,
    ) -> Vec<Change<'a, T>> {
        let (old, new) = (table(self.old), table(self.new));
        let of_kind = self.differences.iter().filter(|one| one.kind == kind);
        let changes =
            of_kind.map(|Difference { name, .. }| Change { name, old: old.get(*name), new: new.get(*name) });
        changes.filter(|change| change.old.map(&read) != change.new.map(&read)).collect()
    }
}

/// A model with its places.
type Side<'p, 'a> = (&'a Model, &'p Places<'a>);

/// Adds the devices that changed, or around which something changed.
fn located<'a>(edit: &Edit<'_, 'a>, sides: [Side<'_, 'a>; 2], devices: &mut HashSet<&'a Name>) {
    let Edit { old, new, .. } = *edit;
    let changed = edit.changes(
        EntityKind::Device,
        |model| &model.devices,
        |one| (&one.account, one.closed, (one.limits, one.freshness), &one.services),
    );
    devices.extend(changed.into_iter().map(|change| change.name));
    let read = edit.changes(
        EntityKind::Machine,
        |model| &model.machines,
        |one| (&one.device, &one.model, one.address, &one.services),
    );
    devices.extend(
        read.iter().flat_map(|change| change.old.into_iter().chain(change.new)).map(|one| &one.device),
    );
    let models =
        edit.changes(EntityKind::MachineModel, |model| &model.machine_models, |model| &model.services);
    let models: HashSet<&Name> = models.into_iter().map(|change| change.name).collect();
    let accounts = edit.changes(
        EntityKind::Account,
        |model| &model.accounts,
        |account| (&account.parent, account.recording_key),
    );
    let cases = edit.changes(EntityKind::Case, |model| &model.cases, in_force);
    for (model, places) in sides {
        if !models.is_empty() {
            let built =
                |machine: &&Machine| machine.model.as_ref().is_some_and(|model| models.contains(model));
            devices.extend(model.machines.values().filter(built).map(|machine| &machine.device));
        }
        for account in &accounts {
            devices.extend(places.devices(Anchor::Nested(account.name)));
        }
    }
    for change in cases {
        devices.extend(change.old.and_then(|case| old.device_of_case(case)));
        devices.extend(change.new.and_then(|case| new.device_of_case(case)));
    }
    for change in edit.changes(EntityKind::DeviceGroup, |model| &model.device_groups, |group| &group.devices)
    {
        let [before, after] = sets(&change, |group| &group.devices);
        devices.extend(before.symmetric_difference(&after));
    }
    let read = |node: &'a ScopeNode| (&node.devices, &node.machines);
    in_nodes(edit.changes(EntityKind::Facility, |model| &model.facilities, read), [old, new], devices);
    in_nodes(edit.changes(EntityKind::Organisation, |model| &model.organisations, read), [old, new], devices);
}

fn in_nodes<'a>(
    changes: Vec<Change<'a, ScopeNode>>,
    models: [&'a Model; 2],
    devices: &mut HashSet<&'a Name>,
) {
    for change in changes {
        let [before, after] = sets(&change, |node| &node.devices);
        devices.extend(before.symmetric_difference(&after));
        let [before, after] = sets(&change, |node| &node.machines);
        for machine in before.symmetric_difference(&after) {
            let leading = models.into_iter().filter_map(|model| model.machines.get(*machine));
            devices.extend(leading.map(|machine| &machine.device));
        }
    }
}

/// What a device can learn of a case; nothing of one that never opens anything.
fn in_force(case: &Case) -> Option<(&CaseSubject, [Option<UnixTime>; 2])> {
    let opens = case.visibility == Visibility::Shared && case.is_activated();
    opens.then_some((&case.subject, [case.from, case.until]))
}

/// Names of what changed about people and rules.
struct Touched<'a> {
    users: HashSet<&'a Name>,
    groups: HashSet<&'a Name>,
    roles: HashSet<&'a Name>,
    categories: HashSet<&'a Name>,
    assignments: HashSet<&'a Name>,
    memberships: HashSet<(&'a Name, &'a Name)>,
    entries: HashSet<&'a Name>,
}

impl<'a> Touched<'a> {
    fn by(edit: &Edit<'_, 'a>) -> Self {
        let role = |role: &'a Role| {
            (&role.categories, role.second_factor_s, role.needs_case, role.offline, role.ends)
        };
        let groups =
            edit.changes(EntityKind::DeviceGroup, |model| &model.device_groups, |group| &group.members);
        let empty = BTreeMap::new();
        let mut memberships = HashSet::new();
        for group in &groups {
            let members = |group: Option<&'a DeviceGroup>| group.map(|group| &group.members);
            let (before, after) = (members(group.old), members(group.new));
            for name in before.into_iter().chain(after).flat_map(BTreeMap::keys) {
                if before.unwrap_or(&empty).get(name) != after.unwrap_or(&empty).get(name) {
                    memberships.insert((group.name, name));
                }
            }
        }
        Self {
            users: names(edit.changes(EntityKind::User, |model| &model.users, |user| &user.account)),
            groups: names(edit.changes(
                EntityKind::UserGroup,
                |model| &model.user_groups,
                |group| &group.members,
            )),
            roles: names(edit.changes(EntityKind::Role, |model| &model.roles, role)),
            categories: names(edit.changes(
                EntityKind::Category,
                |model| &model.categories,
                |one| (&one.kinds, &one.services, &one.pages, one.mode, one.record),
            )),
            assignments: names(edit.changes(
                EntityKind::Assignment,
                |model| &model.assignments,
                |assignment| assignment,
            )),
            memberships,
            entries: names(edit.changes(EntityKind::Entry, |model| &model.entries, |entry| entry)),
        }
    }

    /// Adds the devices to which these changes lead in one of the models.
    fn follow(&self, model: &'a Model, places: &Places<'a>, devices: &mut HashSet<&'a Name>) {
        let denials: Vec<(&Name, &Entry)> = model
            .entries
            .iter()
            .filter(|(name, entry)| entry.effect == Effect::Deny && self.touches_entry(name, entry))
            .collect();
        // A denial matters where its user can be: what concerns them is gathered on the way.
        let mut around: HashMap<&Name, HashSet<&'a Name>> =
            denials.iter().map(|(_, entry)| (&entry.user, HashSet::new())).collect();
        let members = self.members(model, around.keys().copied().collect());
        let mut visit = |touched: bool, watched: &[&'a Name], source: Option<Source<'a>>| {
            let in_scope = source.and_then(|source| source.devices(places)).unwrap_or_default();
            for user in watched {
                around.entry(user).or_default().extend(in_scope.iter().copied());
            }
            devices.extend(in_scope.into_iter().filter(|_| touched));
        };
        for (name, body) in &model.assignments {
            let (concerned, watched) = match &body.subject {
                Subject::User(user) => (self.users.contains(user), members.watched(user)),
                Subject::Group(group) => members.of(group),
            };
            let named = || self.roles.contains(&body.role) || self.names_category(&body.categories);
            let touched =
                concerned || self.assignments.contains(name) || named() || self.opens(model, &body.role);
            if touched || !watched.is_empty() {
                visit(touched, watched, Source::of_assignment(model, name, body));
            }
        }
        for (name, group) in &model.device_groups {
            for (user, body) in &group.members {
                let named = || self.roles.contains(&body.role) || self.names_category(&body.categories);
                let touched = self.users.contains(user)
                    || self.memberships.contains(&(name, user))
                    || named()
                    || self.opens(model, &body.role);
                let watched = members.watched(user);
                if touched || !watched.is_empty() {
                    visit(touched, watched, Source::of_membership(model, name, user, body));
                }
            }
        }
        for (name, body) in model.entries.iter().filter(|(_, body)| body.effect == Effect::Allow) {
            let (touched, watched) = (self.touches_entry(name, body), members.watched(&body.user));
            if touched || !watched.is_empty() {
                visit(touched, watched, Source::of_entry(model, name, body));
            }
        }
        for (name, entry) in denials {
            let Some(source) = Source::of_entry(model, name, entry) else { continue };
            let here = around.get(&entry.user).into_iter().flatten().copied();
            devices.extend(here.filter(|device| source.reach(places, device) != Reach::Nothing));
        }
    }

    fn touches_entry(&self, name: &Name, entry: &Entry) -> bool {
        let selects = match &entry.selection {
            Selection::Category(category) => self.categories.contains(category),
            Selection::Service(_) => false,
        };
        selects || self.entries.contains(name) || self.users.contains(&entry.user)
    }

    /// Whether one of a role's own categories changed.
    fn opens(&self, model: &Model, role: &Name) -> bool {
        !self.categories.is_empty()
            && model.role(role).is_some_and(|role| self.names_category(&role.categories))
    }

    fn names_category(&self, categories: &BTreeSet<Name>) -> bool {
        !self.categories.is_empty() && categories.iter().any(|name| self.categories.contains(name))
    }

    fn members(&self, model: &'a Model, watched: BTreeSet<&'a Name>) -> Members<'a> {
        let mut groups = HashMap::new();
        for (name, group) in &model.user_groups {
            let touched =
                self.groups.contains(name) || self.users.iter().any(|user| group.members.contains_key(*user));
            let inside = inside(group, &watched);
            if touched || !inside.is_empty() {
                groups.insert(name, (touched, inside));
            }
        }
        Members { groups, alone: watched.into_iter().map(|user| (user, [user])).collect() }
    }
}

/// Those of some users who are in a group; looks through the shorter of the two lists.
fn inside<'a>(group: &'a UserGroup, users: &BTreeSet<&'a Name>) -> Vec<&'a Name> {
    if users.len() < group.members.len() {
        users.iter().copied().filter(|user| group.members.contains_key(*user)).collect()
    } else {
        group.members.keys().filter(|user| users.contains(user)).collect()
    }
}

/// Of the user groups, those with a changed user or one whose devices are wanted.
struct Members<'a> {
    groups: HashMap<&'a Name, (bool, Vec<&'a Name>)>,
    alone: HashMap<&'a Name, [&'a Name; 1]>,
}

impl<'a> Members<'a> {
    fn of(&self, group: &Name) -> (bool, &[&'a Name]) {
        self.groups.get(group).map_or((false, &[]), |(touched, inside)| (*touched, inside))
    }

    fn watched(&self, user: &Name) -> &[&'a Name] {
        self.alone.get(user).map_or(&[], <[&Name; 1]>::as_slice)
    }
}

/// What a set of an entity was and is.
fn sets<'a, T>(change: &Change<'a, T>, of: impl Fn(&'a T) -> &'a BTreeSet<Name>) -> [BTreeSet<&'a Name>; 2] {
    [change.old, change.new].map(|body| body.into_iter().flat_map(&of).collect())
}

fn names<T>(changes: Vec<Change<'_, T>>) -> HashSet<&Name> {
    changes.into_iter().map(|change| change.name).collect()
}
