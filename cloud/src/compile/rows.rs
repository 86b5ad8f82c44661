//! Assignments, resolved for one device: who, which services, under which conditions, and why.

use std::collections::{BTreeMap, BTreeSet};

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use super::reach::{Reach, reach};
use super::{CompileError, Content, Roster};
use crate::model::{Assignment, Model, Scope, Service, Subject};

/// Resolves the assignments of one model for one device after another.
#[derive(Clone, Debug)]
pub struct Compiler<'a> {
    model: &'a Model,
    roster: &'a Roster,
    machines: BTreeMap<&'a Name, Vec<&'a Name>>,
}

/// One user, one category, one assignment, on one device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The user.
    pub user: Name,
    /// The category.
    pub category: Name,
    /// The machines to which the scope narrows the category; none when it reaches the whole device.
    pub machines: Option<BTreeSet<Name>>,
    /// The services that are granted, by their name on the device; never empty.
    pub services: BTreeSet<Name>,
    /// The assignment.
    pub assignment: Name,
    /// Its role.
    pub role: Name,
    /// The user group through which it reaches the user.
    pub group: Option<Name>,
    /// The first second in which it holds.
    pub not_before: Option<UnixTime>,
    /// The first second in which it holds no more.
    pub not_after: Option<UnixTime>,
    /// Age in seconds that the second factor may have.
    pub second_factor_s: Option<u32>,
}

/// A service with its two names.
pub(crate) struct Endpoint<'a> {
    /// As it is known on the device.
    pub(crate) name: Name,
    /// As its machine or device calls it: what categories select by.
    pub(crate) local: &'a Name,
    machine: Option<&'a Name>,
    pub(crate) service: &'a Service,
}

impl<'a> Compiler<'a> {
    /// Prepares a model that passed its check.
    #[must_use]
    pub fn new(model: &'a Model, roster: &'a Roster) -> Self {
        let mut machines: BTreeMap<&Name, Vec<&Name>> = BTreeMap::new();
        for (name, machine) in &model.machines {
            machines.entry(&machine.device).or_default().push(name);
        }
        Self { model, roster, machines }
    }

    /// All that is granted on a device, ascending.
    #[must_use]
    pub fn rows(&self, device: &Name) -> BTreeSet<Row> {
        let all = self.model.assignments.iter().map(|(name, body)| Resolved {
            name,
            body,
            users: self.subjects(body),
        });
        self.resolve(all, device)
    }

    /// All that one user is granted on a device, ascending.
    #[must_use]
    pub fn rows_of(&self, user: &Name, device: &Name) -> BTreeSet<Row> {
        self.resolve(self.assignments_of(user), device)
    }

    /// All that one user is granted, by device. Looks at the user's own assignments only.
    #[must_use]
    pub fn reachable(&self, user: &Name) -> BTreeMap<&'a Name, BTreeSet<Row>> {
        let assignments: Vec<Resolved<'a>> = self.assignments_of(user).collect();
        if assignments.is_empty() {
            return BTreeMap::new();
        }
        let granted = |device: &'a Name| {
            let rows = self.resolve(assignments.iter().cloned(), device);
            (!rows.is_empty()).then_some((device, rows))
        };
        self.model.devices.keys().filter_map(granted).collect()
    }

    /// The policy of a device. One that is not in the model is unassigned: it permits nothing.
    ///
    /// # Errors
    /// When the policy is larger than a snapshot may be.
    pub fn compile(&self, device: &Name) -> Result<Content, CompileError> {
        let Some(body) = self.model.devices.get(device) else { return Ok(Content::unassigned()) };
        Content::assemble(device, body.limits, &self.rows(device), &self.endpoints(device), self.roster)
    }

    pub(super) const fn model(&self) -> &'a Model {
        self.model
    }

    /// Every service of a device and of the machines behind it.
    pub(crate) fn endpoints(&self, device: &Name) -> Vec<Endpoint<'a>> {
        let model = self.model;
        let own = model.devices.get(device).map(|device| &device.services).into_iter().flatten();
        let mut endpoints: Vec<Endpoint<'a>> = own
            .map(|(local, service)| Endpoint { name: local.clone(), local, machine: None, service })
            .collect();
        for machine in self.machines.get(device).into_iter().flatten() {
            let services =
                model.machines.get(*machine).map(|machine| &machine.services).into_iter().flatten();
            // A name that is too long was refused by the check.
            endpoints.extend(services.filter_map(|(local, service)| {
                let name = Model::service_name(machine, local)?;
                Some(Endpoint { name, local, machine: Some(machine), service })
            }));
        }
        endpoints
    }

    /// The assignments that are for one user, with nobody else.
    fn assignments_of<'s>(&'s self, user: &'s Name) -> impl Iterator<Item = Resolved<'a>> + use<'a, 's> {
        let user = self.model.users.get_key_value(user).map(|(name, _)| name);
        self.model.assignments.iter().filter_map(move |(name, body)| {
            let user = user?;
            let concerned = match &body.subject {
                Subject::User(subject) => subject == user,
                Subject::Group(group) => {
                    self.model.user_groups.get(group).is_some_and(|group| group.members.contains(user))
                }
            };
            concerned.then(|| Resolved { name, body, users: vec![user] })
        })
    }

    fn resolve(&self, assignments: impl Iterator<Item = Resolved<'a>>, device: &Name) -> BTreeSet<Row> {
        let mut rows = BTreeSet::new();
        let Some(body) = self.model.devices.get(device) else { return rows };
        let endpoints = self.endpoints(device);
        for assignment in assignments {
            // The scope first: of many assignments few reach a device.
            let reach = self.reach(&assignment.body.scope, device);
            if reach == Reach::Nothing {
                continue;
            }
            let users: Vec<&Name> =
                assignment.users.iter().copied().filter(|user| self.may_reach(user, &body.account)).collect();
            for (category, services) in self.selections(assignment.body, &reach, &endpoints) {
                rows.extend(
                    users.iter().map(|user| self.row(&assignment, user, category, &services, &reach)),
                );
            }
        }
        rows
    }

    pub(super) fn reach(&self, scope: &Scope, device: &Name) -> Reach {
        reach(self.model, scope, device)
    }

    /// The users whom an assignment is for.
    pub(super) fn subjects(&self, assignment: &'a Assignment) -> Vec<&'a Name> {
        match &assignment.subject {
            Subject::User(user) => vec![user],
            Subject::Group(group) => self
                .model
                .user_groups
                .get(group)
                .map(|group| group.members.iter().collect())
                .unwrap_or_default(),
        }
    }

    /// Whether a user may reach devices of `owner` at all: those of their own account and of accounts nested in it.
    fn may_reach(&self, user: &Name, owner: &Name) -> bool {
        self.model.users.get(user).is_some_and(|user| self.model.is_within(owner, &user.account))
    }

    /// The categories of an assignment's role that select something within its reach.
    fn selections(
        &self,
        assignment: &Assignment,
        reach: &Reach,
        endpoints: &[Endpoint<'_>],
    ) -> Vec<(&'a Name, BTreeSet<Name>)> {
        let Some(role) = self.model.roles.get(&assignment.role) else { return Vec::new() };
        let categories = role.categories.iter().filter_map(|name| self.model.categories.get_key_value(name));
        categories
            .filter_map(|(name, category)| {
                let services: BTreeSet<Name> = endpoints
                    .iter()
                    .filter(|endpoint| reach.contains(endpoint.machine))
                    .filter(|endpoint| category.selects(endpoint.local, endpoint.service))
                    .map(|endpoint| endpoint.name.clone())
                    .collect();
                (!services.is_empty()).then_some((name, services))
            })
            .collect()
    }

    fn row(
        &self,
        assignment: &Resolved<'_>,
        user: &Name,
        category: &Name,
        services: &BTreeSet<Name>,
        reach: &Reach,
    ) -> Row {
        let machines = match reach {
            Reach::Nothing | Reach::Whole => None,
            Reach::Machines(machines) => Some(machines.clone()),
        };
        let group = match &assignment.body.subject {
            Subject::User(_) => None,
            Subject::Group(group) => Some(group.clone()),
        };
        Row {
            user: user.clone(),
            category: category.clone(),
            machines,
            services: services.clone(),
            assignment: assignment.name.clone(),
            role: assignment.body.role.clone(),
            group,
            not_before: assignment.body.from,
            not_after: assignment.body.until,
            second_factor_s: self
                .model
                .roles
                .get(&assignment.body.role)
                .and_then(|role| role.second_factor_s),
        }
    }
}

/// An assignment and the users that are looked at.
#[derive(Clone, Debug)]
struct Resolved<'a> {
    name: &'a Name,
    body: &'a Assignment,
    users: Vec<&'a Name>,
}
