//! Policies that are possible and do nothing, so that their author probably meant something else.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use serde::Serialize;

use postern_protocol::name::Name;
use postern_protocol::policy::Kind;
use postern_protocol::time::UnixTime;

use super::approvers::Approvers;
use super::places::Places;
use super::source::{Extent, Pick, Source};
use crate::model::{
    Assignment, Category, Effect, EntityKind, Entry, Essential, Machine, Membership, Model, Permission, Role,
    Scope, Subject,
};

/// Something that grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "warning", rename_all = "snake_case")]
pub enum Warning {
    /// The category selects no service of any device.
    SelectsNothing {
        /// The category.
        category: Name,
    },
    /// The category names a service or page that no device has.
    NamesNothing {
        /// The category.
        category: Name,
        /// What it names.
        name: Name,
    },
    /// The assignment's scope has a type that this version does not know.
    UnknownScope {
        /// The assignment.
        assignment: Name,
    },
    /// The assignment's scope contains no device.
    EmptyScope {
        /// The assignment.
        assignment: Name,
    },
    /// The assignment's scope contains devices outside of a user's account; they stay closed.
    OutsideAccount {
        /// The assignment.
        assignment: Name,
        /// A user who does not get everything in scope.
        user: Name,
        /// A device that stays closed.
        device: Name,
    },
    /// The role may use tunnels and nothing says which: an essential role needs categories where it is given.
    OpensNothing {
        /// Where it is given.
        #[serde(flatten)]
        bearer: Bearer,
        /// The role.
        role: Name,
    },
    /// A case is demanded for a role that opens nothing anyway.
    CaseForNothing {
        /// The assignment.
        assignment: Name,
        /// The role.
        role: Name,
    },
    /// An approval is demanded for a role that opens nothing anyway.
    ApprovalForNothing {
        /// The assignment.
        assignment: Name,
        /// The role.
        role: Name,
    },
    /// An approval is demanded that nobody can give: what it would open stays closed.
    NobodyApproves {
        /// What demands it.
        #[serde(flatten)]
        by: Demander,
        /// A device that stays closed to some or all.
        device: Name,
    },
    /// The role is deprecated.
    Deprecated {
        /// Where it is given.
        #[serde(flatten)]
        bearer: Bearer,
        /// The role.
        role: Name,
        /// The first second in which it opens nothing any more.
        ends: UnixTime,
    },
    /// The entry denies in a scope of an unknown type, which counts as everywhere.
    UnknownDeny {
        /// The entry.
        entry: Name,
    },
    /// The entry selects no service within its scope that its user may reach.
    EntryOfNothing {
        /// The entry.
        entry: Name,
    },
    /// A service is entered with a secret that the cloud has not sealed to the device.
    NoSecret {
        /// The device.
        device: Name,
        /// The service, by its name on the device.
        service: Name,
        /// The secret.
        secret: Name,
    },
    /// The user has no role and no entry that allows anything, and can reach nothing.
    NoRole {
        /// The user.
        user: Name,
    },
}

/// What gives a role to somebody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", untagged)]
pub enum Bearer {
    /// An assignment.
    Assignment {
        /// Its name.
        assignment: Name,
    },
    /// The membership of a user in a device group.
    Membership {
        /// The group.
        group: Name,
        /// The user.
        user: Name,
    },
}

/// What demands an approval.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", untagged)]
pub enum Demander {
    /// An assignment.
    Assignment {
        /// Its name.
        assignment: Name,
    },
    /// An entry.
    Entry {
        /// Its name.
        entry: Name,
    },
}

impl Demander {
    const fn entity(&self) -> (EntityKind, &Name) {
        match self {
            Self::Assignment { assignment } => (EntityKind::Assignment, assignment),
            Self::Entry { entry } => (EntityKind::Entry, entry),
        }
    }
}

impl Bearer {
    const fn entity(&self) -> (EntityKind, &Name) {
        match self {
            Self::Assignment { assignment } => (EntityKind::Assignment, assignment),
            Self::Membership { group, .. } => (EntityKind::DeviceGroup, group),
        }
    }
}

impl fmt::Display for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assignment { .. } => f.write_str("it"),
            Self::Membership { user, .. } => write!(f, "the membership of `{user}`"),
        }
    }
}

impl Warning {
    /// The entity that it is about.
    #[must_use]
    pub const fn entity(&self) -> (EntityKind, &Name) {
        match self {
            Self::SelectsNothing { category } | Self::NamesNothing { category, .. } => {
                (EntityKind::Category, category)
            }
            Self::OpensNothing { bearer, .. } | Self::Deprecated { bearer, .. } => bearer.entity(),
            Self::UnknownDeny { entry } | Self::EntryOfNothing { entry } => (EntityKind::Entry, entry),
            Self::UnknownScope { assignment }
            | Self::EmptyScope { assignment }
            | Self::CaseForNothing { assignment, .. }
            | Self::ApprovalForNothing { assignment, .. }
            | Self::OutsideAccount { assignment, .. } => (EntityKind::Assignment, assignment),
            Self::NobodyApproves { by, .. } => by.entity(),
            Self::NoSecret { device, .. } => (EntityKind::Device, device),
            Self::NoRole { user } => (EntityKind::User, user),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = self.entity();
        write!(f, "{kind} `{name}`: ")?;
        match self {
            Self::SelectsNothing { .. } => f.write_str("it selects no service or page of any device"),
            Self::NamesNothing { name, .. } => write!(f, "no device has `{name}`"),
            Self::UnknownScope { .. } => {
                f.write_str("its scope has a type that this version does not know; it grants nothing")
            }
            Self::UnknownDeny { .. } => f.write_str(
                "its scope has a type that this version does not know; it denies as if that were everywhere",
            ),
            Self::EmptyScope { .. } => f.write_str("its scope contains no device"),
            Self::OutsideAccount { user, device, .. } => {
                write!(f, "device `{device}` stays closed to `{user}`: it lies outside of the user's account")
            }
            Self::OpensNothing { bearer, role } => {
                write!(
                    f,
                    "{bearer} opens nothing: role `{role}` may use tunnels, and `categories` says to what"
                )
            }
            Self::CaseForNothing { role, .. } => {
                write!(f, "`needs-case` has no effect: role `{role}` opens nothing here")
            }
            Self::ApprovalForNothing { role, .. } => {
                write!(f, "`needs-approval` has no effect: role `{role}` opens nothing here")
            }
            Self::NobodyApproves { device, .. } => write!(
                f,
                "nobody can approve what it demands on device `{device}`: that takes somebody else than who asks, of an operating \
                 company that has the device, with `{}` in a scope that contains it",
                Permission::ActivateRemoteAccess.word()
            ),
            Self::Deprecated { bearer, role, ends } => {
                let ends = crate::clock::show(*ends);
                write!(
                    f,
                    "{bearer} gives role `{role}`, which is deprecated and opens nothing from {ends} on"
                )
            }
            Self::EntryOfNothing { .. } => f.write_str("it selects nothing that its user could reach"),
            Self::NoSecret { device, service, secret } => write!(
                f,
                "service `{service}` is entered with secret `{secret}`, which is not set for it: `postern-cloud secret set {device} \
                 {secret}`, or on the device itself `postern-agent secret set {secret}`"
            ),
            Self::NoRole { .. } => f.write_str("the user has no role and can reach nothing"),
        }
    }
}

/// Everything in a model that does nothing, ascending.
#[must_use]
pub fn warnings(model: &Model) -> BTreeSet<Warning> {
    let places = Places::new(model);
    let offered = Offered::of(model);
    let mut warnings = BTreeSet::new();
    categories(model, &offered, &mut warnings);
    let mut accounts = AccountsOf::default();
    let approvers = Approvers::of(model, &places);
    for (name, assignment) in &model.assignments {
        let bearer = Bearer::Assignment { assignment: name.clone() };
        role(model, &bearer, &assignment.role, &assignment.categories, &mut warnings);
        needless_demand(model, name, assignment, &mut warnings);
        if assignment.needs_approval && opens(model, assignment) {
            let users = users_of(model, &assignment.subject);
            if let Some(device) = unapprovable(&places, model, (&users, &assignment.scope), &approvers) {
                let by = Demander::Assignment { assignment: name.clone() };
                warnings.insert(Warning::NobodyApproves { by, device: device.clone() });
            }
        }
        scope(&places, model, (name, assignment), &mut accounts, &mut warnings);
    }
    for (name, group) in &model.device_groups {
        for (user, Membership { role: held, categories, .. }) in &group.members {
            let bearer = Bearer::Membership { group: name.clone(), user: user.clone() };
            role(model, &bearer, held, categories, &mut warnings);
        }
    }
    for (name, entry) in &model.entries {
        if entry.effect == Effect::Deny && entry.scope.as_ref().is_some_and(mentions_unknown) {
            warnings.insert(Warning::UnknownDeny { entry: name.clone() });
        }
        if entry.needs_approval
            && let Some(scope) = &entry.scope
            && let Some(device) = unapprovable(&places, model, (&[&entry.user], scope), &approvers)
        {
            let by = Demander::Entry { entry: name.clone() };
            warnings.insert(Warning::NobodyApproves { by, device: device.clone() });
        }
        if !selects_something(model, &places, &offered, name, entry) {
            warnings.insert(Warning::EntryOfNothing { entry: name.clone() });
        }
    }
    let concerned = concerned(model);
    let without = model.users.keys().filter(|user| !concerned.contains(user));
    warnings.extend(without.map(|user| Warning::NoRole { user: user.clone() }));
    warnings
}

/// What devices and machines offer, without saying where.
struct Offered<'a> {
    kinds: BTreeSet<Kind>,
    services: HashSet<&'a Name>,
    pages: HashSet<&'a Name>,
}

impl<'a> Offered<'a> {
    fn of(model: &'a Model) -> Self {
        let mut offered = Self { kinds: BTreeSet::new(), services: HashSet::new(), pages: HashSet::new() };
        let of_devices = model.devices.values().flat_map(|device| &device.services);
        let of_machines = model.machines.values().flat_map(|machine| &machine.services);
        for (name, service) in of_devices.chain(of_machines) {
            offered.add(name, service.kind(), service.pages.keys());
        }
        let with_address = |machine: &&'a Machine| machine.address.is_some();
        let built = model.machines.values().filter(with_address).filter_map(|machine| machine.model.as_ref());
        for built in built.collect::<HashSet<_>>() {
            for (name, template) in
                model.machine_models.get(built).into_iter().flat_map(|model| &model.services)
            {
                offered.add(name, template.kind(), template.pages.keys());
            }
        }
        offered
    }

    /// Whether a category selects anything of it.
    fn has_some_of(&self, category: &Category) -> bool {
        category.kinds.iter().any(|kind| self.kinds.contains(kind))
            || category.services.iter().any(|service| self.services.contains(service))
            || category.pages.iter().any(|page| self.pages.contains(page))
    }

    fn add(&mut self, name: &'a Name, kind: Kind, pages: impl Iterator<Item = &'a Name>) {
        self.kinds.insert(kind);
        self.services.insert(name);
        self.pages.extend(pages);
    }
}

fn categories(model: &Model, offered: &Offered<'_>, warnings: &mut BTreeSet<Warning>) {
    for (name, category) in &model.categories {
        let category_name = || name.clone();
        if !offered.has_some_of(category) {
            warnings.insert(Warning::SelectsNothing { category: category_name() });
        }
        let services = category.services.iter().filter(|service| !offered.services.contains(service));
        let pages = category.pages.iter().filter(|page| !offered.pages.contains(page));
        for missing in services.chain(pages) {
            warnings.insert(Warning::NamesNothing { category: category_name(), name: missing.clone() });
        }
    }
}

fn role(
    model: &Model,
    bearer: &Bearer,
    name: &Name,
    categories: &BTreeSet<Name>,
    warnings: &mut BTreeSet<Warning>,
) {
    let Some(body) = model.role(name) else { return };
    if let Some(ends) = body.ends {
        warnings.insert(Warning::Deprecated { bearer: bearer.clone(), role: name.clone(), ends });
    }
    let essential = Essential::from_word(name.as_str()).is_some();
    let may_use = body.permissions.contains(&Permission::UseRemoteAccess);
    if essential && may_use && categories.is_empty() {
        warnings.insert(Warning::OpensNothing { bearer: bearer.clone(), role: name.clone() });
    }
}

fn needless_demand(model: &Model, name: &Name, assignment: &Assignment, warnings: &mut BTreeSet<Warning>) {
    if opens(model, assignment) {
        return;
    }
    let named = || (name.clone(), assignment.role.clone());
    if assignment.needs_case {
        let (assignment, role) = named();
        warnings.insert(Warning::CaseForNothing { assignment, role });
    }
    if assignment.needs_approval {
        let (assignment, role) = named();
        warnings.insert(Warning::ApprovalForNothing { assignment, role });
    }
}

fn users_of<'a>(model: &'a Model, subject: &'a Subject) -> Vec<&'a Name> {
    match subject {
        Subject::User(user) => vec![user],
        Subject::Group(group) => {
            model.user_groups.get(group).into_iter().flat_map(|group| group.members.keys()).collect()
        }
    }
}

/// The first device in a scope that some of the users may reach, and on which there is nobody to approve it for one of them.
fn unapprovable<'a>(
    places: &Places<'a>,
    model: &'a Model,
    (users, scope): (&[&Name], &'a Scope),
    approvers: &Approvers<'_>,
) -> Option<&'a Name> {
    let accounts: BTreeSet<&Name> =
        users.iter().filter_map(|user| Some(&model.users.get(*user)?.account)).collect();
    let mut devices = places.in_scope(scope);
    devices.sort_unstable();
    devices.into_iter().find(|device| {
        let owner = model.devices.get(*device).map(|body| &body.account);
        let reached = |owner| accounts.iter().any(|account| model.is_within(owner, account));
        let found = approvers.two_of(device);
        owner.is_some_and(reached) && found.len() < 2 && found.iter().all(|one| users.contains(one))
    })
}

fn opens(model: &Model, assignment: &Assignment) -> bool {
    let of_role = |role: &Role| !role.categories.is_empty();
    !assignment.categories.is_empty() || model.role(&assignment.role).is_some_and(of_role)
}

/// The accounts of the users of each group, each with its first user.
#[derive(Default)]
struct AccountsOf<'a>(BTreeMap<&'a Name, Vec<(&'a Name, &'a Name)>>);

impl<'a> AccountsOf<'a> {
    /// In the order of the users.
    fn subject(&mut self, model: &'a Model, subject: &'a Subject) -> Vec<(&'a Name, &'a Name)> {
        let account = |user: &'a Name| Some((user, &model.users.get(user)?.account));
        match subject {
            Subject::User(user) => account(user).into_iter().collect(),
            Subject::Group(group) => {
                let known = self.0.entry(group).or_insert_with(|| {
                    let members =
                        model.user_groups.get(group).into_iter().flat_map(|group| group.members.keys());
                    let mut seen = HashSet::new();
                    members.filter_map(account).filter(|(_, account)| seen.insert(*account)).collect()
                });
                known.clone()
            }
        }
    }
}

fn scope<'a>(
    places: &Places<'a>,
    model: &'a Model,
    (name, assignment): (&Name, &'a Assignment),
    accounts: &mut AccountsOf<'a>,
    warnings: &mut BTreeSet<Warning>,
) {
    let assignment_name = || name.clone();
    if mentions_unknown(&assignment.scope) {
        warnings.insert(Warning::UnknownScope { assignment: assignment_name() });
        return;
    }
    let owners = places.owners(&assignment.scope);
    // Who manages people or data needs no device.
    if owners.is_empty() && opens(model, assignment) {
        warnings.insert(Warning::EmptyScope { assignment: assignment_name() });
    }
    let outside = accounts.subject(model, &assignment.subject).into_iter().find_map(|(user, account)| {
        let beyond = owners.iter().filter(|(owner, _)| !model.is_within(owner, account));
        beyond.map(|(_, device)| *device).min().map(|device| (user.clone(), device.clone()))
    });
    if let Some((user, device)) = outside {
        warnings.insert(Warning::OutsideAccount { assignment: assignment_name(), user, device });
    }
}

/// Whether an entry selects something that is offered, where its user may reach at all.
fn selects_something<'a>(
    model: &'a Model,
    places: &Places<'a>,
    offered: &Offered<'_>,
    name: &'a Name,
    entry: &'a Entry,
) -> bool {
    let (Some(source), Some(user)) = (Source::of_entry(model, name, entry), model.users.get(&entry.user))
    else {
        return false;
    };
    let selects = source.picks.iter().any(|pick| match pick {
        Pick::Service { service, .. } => offered.services.contains(service),
        Pick::Category(category) => {
            model.categories.get(*category).is_some_and(|category| offered.has_some_of(category))
        }
    });
    let reaches = match source.extent {
        Extent::Bound(scope) if mentions_unknown(scope) => true,
        Extent::Scope(scope) | Extent::Bound(scope) => {
            places.owners(scope).into_iter().any(|(owner, _)| model.is_within(owner, &user.account))
        }
        Extent::Group(_) | Extent::Everywhere => true,
    };
    selects && reaches
}

/// The users to whom any rule gives something to do.
fn concerned(model: &Model) -> HashSet<&Name> {
    let allows = model.entries.values().filter(|entry| entry.effect == Effect::Allow);
    let mut concerned: HashSet<&Name> = allows.map(|entry| &entry.user).collect();
    concerned.extend(model.device_groups.values().flat_map(|group| group.members.keys()));
    for assignment in model.assignments.values() {
        match &assignment.subject {
            Subject::User(user) => concerned.extend([user]),
            Subject::Group(group) => {
                concerned
                    .extend(model.user_groups.get(group).into_iter().flat_map(|group| group.members.keys()));
            }
        }
    }
    concerned
}

fn mentions_unknown(scope: &Scope) -> bool {
    match scope {
        Scope::Unknown => true,
        Scope::AllOf { scopes } => scopes.iter().any(mentions_unknown),
        Scope::Account { .. }
        | Scope::DeviceGroup { .. }
        | Scope::Facility { .. }
        | Scope::Organisation { .. }
        | Scope::Device { .. }
        | Scope::Machine { .. } => false,
    }
}
