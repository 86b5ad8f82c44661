//! Policies that are possible and do nothing, so that their author probably meant something else.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use postern_protocol::name::Name;

use super::Roster;
use super::reach::Reach;
use super::rows::Compiler;
use crate::model::{EntityKind, Model, Scope};

/// Something that grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "warning", rename_all = "snake_case")]
pub enum Warning {
    /// The category names pages, which no gate enforces yet.
    Pages {
        /// The category.
        category: Name,
    },
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
    /// The user has no role and can reach nothing.
    NoRole {
        /// The user.
        user: Name,
    },
}

impl Warning {
    /// The entity that it is about.
    #[must_use]
    pub const fn entity(&self) -> (EntityKind, &Name) {
        match self {
            Self::Pages { category }
            | Self::SelectsNothing { category }
            | Self::NamesNothing { category, .. } => (EntityKind::Category, category),
            Self::UnknownScope { assignment }
            | Self::EmptyScope { assignment }
            | Self::OutsideAccount { assignment, .. } => (EntityKind::Assignment, assignment),
            Self::NoRole { user } => (EntityKind::User, user),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = self.entity();
        write!(f, "{kind} `{name}`: ")?;
        match self {
            Self::Pages { .. } => {
                f.write_str("pages grant nothing: devices cannot yet tell one page of a service from another")
            }
            Self::SelectsNothing { .. } => f.write_str("it selects no service of any device"),
            Self::NamesNothing { name, .. } => write!(f, "no device has `{name}`"),
            Self::UnknownScope { .. } => {
                f.write_str("its scope has a type that this version does not know; it grants nothing")
            }
            Self::EmptyScope { .. } => f.write_str("its scope contains no device"),
            Self::OutsideAccount { user, device, .. } => {
                write!(f, "device `{device}` stays closed to `{user}`: it lies outside of the user's account")
            }
            Self::NoRole { .. } => f.write_str("the user has no role and can reach nothing"),
        }
    }
}

/// Everything in a model that does nothing, ascending.
#[must_use]
pub fn warnings(model: &Model) -> BTreeSet<Warning> {
    let roster = Roster::default();
    let compiler = Compiler::new(model, &roster);
    let mut warnings = BTreeSet::new();
    categories(model, &mut warnings);
    assignments(&compiler, &mut warnings);
    let with_role: BTreeSet<&Name> =
        model.assignments.values().flat_map(|assignment| compiler.subjects(assignment)).collect();
    let without = model.users.keys().filter(|user| !with_role.contains(user));
    warnings.extend(without.map(|user| Warning::NoRole { user: user.clone() }));
    warnings
}

fn categories(model: &Model, warnings: &mut BTreeSet<Warning>) {
    let of_devices = model.devices.values().flat_map(|device| &device.services);
    let of_machines = model.machines.values().flat_map(|machine| &machine.services);
    let services: Vec<_> = of_devices.chain(of_machines).collect();
    for (name, category) in &model.categories {
        let category_name = || name.clone();
        if !category.pages.is_empty() {
            warnings.insert(Warning::Pages { category: category_name() });
        }
        if !category.is_pages_only()
            && !services.iter().any(|(name, service)| category.selects(name, service))
        {
            warnings.insert(Warning::SelectsNothing { category: category_name() });
        }
        let missing_service =
            category.services.iter().filter(|named| !services.iter().any(|(name, _)| name == named));
        let missing_page =
            category.pages.iter().filter(|named| !services.iter().any(|(_, s)| s.pages.contains_key(*named)));
        for missing in missing_service.chain(missing_page) {
            warnings.insert(Warning::NamesNothing { category: category_name(), name: missing.clone() });
        }
    }
}

fn assignments(compiler: &Compiler<'_>, warnings: &mut BTreeSet<Warning>) {
    let model = compiler.model();
    for (name, assignment) in &model.assignments {
        let assignment_name = || name.clone();
        if mentions_unknown(&assignment.scope) {
            warnings.insert(Warning::UnknownScope { assignment: assignment_name() });
            continue;
        }
        let devices: Vec<&Name> = model
            .devices
            .keys()
            .filter(|device| compiler.reach(&assignment.scope, device) != Reach::Nothing)
            .collect();
        if devices.is_empty() {
            warnings.insert(Warning::EmptyScope { assignment: assignment_name() });
        }
        let outside = compiler.subjects(assignment).into_iter().find_map(|user| {
            let account = &model.users.get(user)?.account;
            let beyond = |device: &&&Name| {
                model.devices.get(**device).is_some_and(|device| !model.is_within(&device.account, account))
            };
            devices.iter().find(beyond).map(|device| (user.clone(), (*device).clone()))
        });
        if let Some((user, device)) = outside {
            warnings.insert(Warning::OutsideAccount { assignment: assignment_name(), user, device });
        }
    }
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
