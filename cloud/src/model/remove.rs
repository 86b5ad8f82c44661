//! Takes an account away: what happens to its people, its places and its devices.
//!
//! 1. Its devices, the machines behind them and the machine models that these need go to the account that it was
//!    nested in. The devices come back closed: nothing that is granted there, by whomever, opens one until an
//!    administrator takes `closed` away.
//! 2. Its users, groups, places and cases go, and with them every assignment and entry that is theirs or that names
//!    one of its places. An intersection with a place that is gone is empty, so it goes as a whole.
//! 3. Entries that allow something to a user whose last role that may use tunnels went with it go as well.
//! 4. A deny of somebody else that names one of its places is not dropped on the way: that would be a grant.
//!
//! Deliberately absent: accounts that are nested in it. They are moved or removed first, by name, so that nobody takes
//! a company away without having seen it.

use std::collections::{BTreeMap, BTreeSet};

use postern_protocol::name::Name;

use super::{CaseSubject, Effect, EntityKind, Model, Scope, Subject};
use crate::nearest::nearest;

/// What removing an account does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// The account that it was nested in.
    pub parent: Option<Name>,
    /// Devices that go to the parent, closed.
    pub returned: BTreeSet<Name>,
    /// Machine models that go to the parent, because machines behind those devices need them.
    pub inherited: BTreeSet<Name>,
    /// Everything that is gone, the account itself too.
    pub removed: BTreeSet<(EntityKind, Name)>,
}

/// Why an account stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoveFault {
    /// There is no such account.
    #[error(
        "there is no account `{account}`{}",
        nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
    )]
    Unknown {
        /// The name.
        account: Name,
        /// An existing name that is spelled alike.
        nearest: Option<Name>,
    },
    /// Other accounts are nested in it.
    #[error("account `{account}` still contains {}; remove or move them first", quoted("account", nested))]
    Nested {
        /// The account.
        account: Name,
        /// Those in it.
        nested: Vec<Name>,
    },
    /// It has devices and no account to which they could go.
    #[error(
        "account `{account}` is nested in no other and still has {}; remove or move them first",
        quoted("device", devices)
    )]
    Devices {
        /// The account.
        account: Name,
        /// Its devices.
        devices: Vec<Name>,
    },
    /// Users of other accounts are denied something in it.
    #[error(
        "{} of users outside of account `{account}` deny something in its places; give them another scope first, so that \
         nobody gains access",
        quoted("entry", entries)
    )]
    Denied {
        /// The account.
        account: Name,
        /// The entries.
        entries: Vec<Name>,
    },
}

impl Model {
    /// Removes an account; the model stays free of faults if it was.
    ///
    /// # Errors
    /// Why the account stays; the model is unchanged then.
    pub fn remove_account(&mut self, account: &Name) -> Result<Removal, RemoveFault> {
        let Some(body) = self.accounts.get(account) else {
            let nearest = nearest(account.as_str(), self.accounts.keys().map(Name::as_str));
            let nearest = nearest.and_then(|name| name.parse().ok());
            return Err(RemoveFault::Unknown { account: account.clone(), nearest });
        };
        let parent = body.parent.clone();
        let nested = names(&self.accounts, |body| body.parent.as_ref() == Some(account));
        if !nested.is_empty() {
            return Err(RemoveFault::Nested { account: account.clone(), nested });
        }
        let devices = names(&self.devices, |body| body.account == *account);
        if parent.is_none() && !devices.is_empty() {
            return Err(RemoveFault::Devices { account: account.clone(), devices });
        }
        let gone = Gone::of(self, account, &devices);
        let entries = names(&self.entries, |entry| {
            entry.effect == Effect::Deny
                && !gone.contains(EntityKind::User, &entry.user)
                && entry.scope.as_ref().is_some_and(|scope| gone.names(scope))
        });
        if !entries.is_empty() {
            return Err(RemoveFault::Denied { account: account.clone(), entries });
        }
        let (mut removed, inherited) = gone.take(self, parent.as_ref());
        // Whose last role went with it can be allowed nothing by an entry either.
        let users = self.tunnel_users();
        let idle =
            names(&self.entries, |entry| entry.effect == Effect::Allow && !users.contains(&entry.user));
        for entry in idle {
            self.entries.remove(&entry);
            removed.insert((EntityKind::Entry, entry));
        }
        if let Some(parent) = &parent {
            for device in &devices {
                if let Some(body) = self.devices.get_mut(device) {
                    body.account = parent.clone();
                    body.closed = true;
                }
            }
        }
        Ok(Removal { parent, returned: devices.into_iter().collect(), inherited, removed })
    }
}

/// What goes with an account.
struct Gone {
    entities: BTreeSet<(EntityKind, Name)>,
    /// Its machine models that machines still need.
    needed: BTreeSet<Name>,
}

impl Gone {
    fn of(model: &Model, account: &Name, devices: &[Name]) -> Self {
        let devices: BTreeSet<&Name> = devices.iter().collect();
        let machines: BTreeSet<&Name> = model
            .machines
            .iter()
            .filter(|(_, machine)| devices.contains(&machine.device))
            .map(|(name, _)| name)
            .collect();
        let needed: BTreeSet<Name> =
            machines.iter().filter_map(|name| model.machines.get(*name)?.model.clone()).collect();
        let needed = needed
            .into_iter()
            .filter(|name| model.machine_models.get(name).is_some_and(|body| body.account == *account))
            .collect();
        let mut gone = Self { entities: BTreeSet::from([(EntityKind::Account, account.clone())]), needed };
        gone.extend(EntityKind::User, names(&model.users, |body| body.account == *account));
        gone.extend(EntityKind::UserGroup, names(&model.user_groups, |body| body.account == *account));
        gone.extend(EntityKind::DeviceGroup, names(&model.device_groups, |body| body.account == *account));
        gone.extend(EntityKind::Facility, names(&model.facilities, |body| body.account == *account));
        gone.extend(EntityKind::Organisation, names(&model.organisations, |body| body.account == *account));
        let models = names(&model.machine_models, |body| body.account == *account);
        let unused = models.into_iter().filter(|name| !gone.needed.contains(name)).collect();
        gone.extend(EntityKind::MachineModel, unused);
        let cases = names(&model.cases, |case| match &case.subject {
            CaseSubject::Device(device) => devices.contains(device),
            CaseSubject::Machine(machine) => machines.contains(machine),
        });
        gone.extend(EntityKind::Case, cases);
        let assignments = names(&model.assignments, |assignment| {
            gone.names(&assignment.scope)
                || match &assignment.subject {
                    Subject::User(user) => gone.contains(EntityKind::User, user),
                    Subject::Group(group) => gone.contains(EntityKind::UserGroup, group),
                }
        });
        gone.extend(EntityKind::Assignment, assignments);
        let entries = names(&model.entries, |entry| {
            let named = || entry.scope.as_ref().is_some_and(|scope| gone.names(scope));
            gone.contains(EntityKind::User, &entry.user) || (entry.effect == Effect::Allow && named())
        });
        gone.extend(EntityKind::Entry, entries);
        gone
    }

    fn extend(&mut self, kind: EntityKind, names: Vec<Name>) {
        self.entities.extend(names.into_iter().map(|name| (kind, name)));
    }

    fn contains(&self, kind: EntityKind, name: &Name) -> bool {
        self.entities.contains(&(kind, name.clone()))
    }

    /// Whether a scope names something that goes, in any of its parts.
    fn names(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Account { account, .. } => self.contains(EntityKind::Account, account),
            Scope::DeviceGroup { group } => self.contains(EntityKind::DeviceGroup, group),
            Scope::Facility { facility } => self.contains(EntityKind::Facility, facility),
            Scope::Organisation { organisation } => self.contains(EntityKind::Organisation, organisation),
            Scope::AllOf { scopes } => scopes.iter().any(|scope| self.names(scope)),
            // Devices and machines stay, closed.
            Scope::Device { .. } | Scope::Machine { .. } | Scope::Unknown => false,
        }
    }

    /// Takes everything out of the model, and out of the groups of other accounts.
    fn take(
        self,
        model: &mut Model,
        parent: Option<&Name>,
    ) -> (BTreeSet<(EntityKind, Name)>, BTreeSet<Name>) {
        for (kind, name) in &self.entities {
            model.remove(*kind, name);
        }
        let users = &model.users;
        for group in model.user_groups.values_mut() {
            group.members.retain(|user, _| users.contains_key(user));
        }
        for group in model.device_groups.values_mut() {
            group.members.retain(|user, _| users.contains_key(user));
        }
        if let Some(parent) = parent {
            for name in &self.needed {
                if let Some(body) = model.machine_models.get_mut(name) {
                    body.account = parent.clone();
                }
            }
        }
        (self.entities, self.needed)
    }
}

fn names<T>(table: &BTreeMap<Name, T>, belongs: impl Fn(&T) -> bool) -> Vec<Name> {
    table.iter().filter(|(_, body)| belongs(body)).map(|(name, _)| name.clone()).collect()
}

/// Names in a sentence: all of a few, the first of many.
fn quoted(kind: &str, names: &[Name]) -> String {
    let plural = match (kind, names.len()) {
        (_, 1) => kind.to_owned(),
        ("entry", _) => "entries".to_owned(),
        (_, _) => format!("{kind}s"),
    };
    let listed: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(LISTED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{plural} {}{more}", listed.join(", "))
}

/// Names in one sentence.
const LISTED: usize = 5;
