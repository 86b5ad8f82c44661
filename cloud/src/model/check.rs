//! Finds everything in a model that cannot be: dangling names, cycles, foreign scopes, roles of the wrong company.
//!
//! 1. Each entity's references resolve, with the nearest name where one is mistyped.
//! 2. Accounts do not nest in a circle.
//! 3. Nothing reaches up or sideways: what a group, place or scope names lies within the account that it is for.
//! 4. Roles fit the tenant role of the users who hold them, so no user combines roles of two tenant roles.
//!
//! All faults are found, not just the first. Deliberately absent: warnings about policies that are possible but
//! useless; the compiler reports those.

mod places;
mod roles;

use std::collections::{BTreeMap, BTreeSet};

use postern_protocol::limits::NAME_BYTES;
use postern_protocol::name::Name;
use postern_protocol::policy::Kind;

use super::{Device, EntityKind, Model, Permission, Service, Tenant};
use crate::nearest::nearest;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFault {
    /// The kind of the entity.
    pub kind: EntityKind,
    /// Its name.
    pub name: Name,
    /// The key inside it, as in a fleet file; empty for the entity itself.
    pub key: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with an entity of a readable model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A name that nothing has.
    #[error("there is no {kind} `{name}`{}", did_you_mean(nearest.as_ref()))]
    Unknown {
        /// The kind of thing that is named.
        kind: EntityKind,
        /// The name.
        name: Name,
        /// An existing name that is spelled alike.
        nearest: Option<Name>,
    },
    /// Accounts nested in a circle.
    #[error("the account is nested in itself, by way of {}; take one `parent` away", quoted(through))]
    Cycle {
        /// The accounts of the circle, from this one outwards.
        through: Vec<Name>,
    },
    /// Something of another account.
    #[error(
        "{kind} `{name}` belongs to account `{owner}`, expected is one of account `{account}` or nested in it"
    )]
    Foreign {
        /// The kind of thing that is named.
        kind: EntityKind,
        /// Its name.
        name: Name,
        /// Where it belongs.
        owner: Name,
        /// Where it would have to belong.
        account: Name,
    },
    /// A place that companies of this tenant role do not have.
    #[error("account `{account}` is {}, only {} accounts have these", found.word(), expected.word())]
    WrongTenant {
        /// The account.
        account: Name,
        /// Its tenant role.
        found: Tenant,
        /// The tenant role that has such places.
        expected: Tenant,
    },
    /// A role for companies of another kind than the user's.
    #[error(
        "role `{role}` is for {} accounts, but user `{user}` belongs to `{account}`, which is {}",
        role_tenant.word(),
        account_tenant.word()
    )]
    RoleTenant {
        /// The role.
        role: Name,
        /// Whose users may hold it.
        role_tenant: Tenant,
        /// Who would hold it.
        user: Name,
        /// The user's account.
        account: Name,
        /// The account's tenant role.
        account_tenant: Tenant,
    },
    /// A permission that companies of the role's tenant role cannot hold.
    #[error("permission `{}` cannot be held in {} accounts", permission.word(), tenant.word())]
    Permission {
        /// The permission.
        permission: Permission,
        /// The role's tenant role.
        tenant: Tenant,
    },
    /// A custom role of a tenant role that has none.
    #[error("{} accounts have no custom roles", tenant.word())]
    NoCustomRoles {
        /// The tenant role.
        tenant: Tenant,
    },
    /// An end that is not after the beginning.
    #[error("the end is not after the beginning")]
    Window,
    /// A service with pages that is not HTTP.
    #[error("a {} service has no pages; only http services have", kind.word())]
    PagesOf {
        /// What the service speaks.
        kind: Kind,
    },
    /// Two services of one device with one name.
    #[error("device `{device}` has another service `{service}` already")]
    SameService {
        /// The device.
        device: Name,
        /// The name of both.
        service: Name,
    },
    /// The name of a machine's service on its device is too long.
    #[error(
        "the service would be called `{machine}.{service}`, which is longer than {NAME_BYTES} bytes; shorten one of the names"
    )]
    LongService {
        /// The machine.
        machine: Name,
        /// The service.
        service: Name,
    },
}

impl Model {
    /// All faults of this model, in the order of its entities.
    ///
    /// `broken` names entities that exist but could not be read: references to them are no further faults.
    #[must_use]
    pub fn check(&self, broken: &BTreeSet<(EntityKind, Name)>) -> Vec<ModelFault> {
        let mut check = Check { model: self, broken, faults: Vec::new() };
        check.accounts();
        check.people();
        check.devices();
        check.places();
        check.roles();
        check.assignments();
        check.faults
    }

    /// The name under which a machine's service is known on its device.
    #[must_use]
    pub fn service_name(machine: &Name, service: &Name) -> Option<Name> {
        format!("{machine}.{service}").parse().ok()
    }
}

struct Check<'a> {
    model: &'a Model,
    broken: &'a BTreeSet<(EntityKind, Name)>,
    faults: Vec<ModelFault>,
}

/// The entity that is being checked.
type Entity<'a> = (EntityKind, &'a Name);

impl<'a> Check<'a> {
    fn fault(&mut self, (kind, name): Entity<'_>, key: impl Into<String>, problem: Problem) {
        self.faults.push(ModelFault { kind, name: name.clone(), key: key.into(), problem });
    }

    /// Whether `name` exists; a fault otherwise, unless it exists and could not be read.
    fn known(&mut self, entity: Entity<'_>, key: impl Into<String>, kind: EntityKind, name: &Name) -> bool {
        if self.model.contains(kind, name) {
            return true;
        }
        if !self.broken.contains(&(kind, name.clone())) {
            let names = self.model.names(kind).into_iter().map(Name::as_str);
            let nearest = nearest(name.as_str(), names).and_then(|name| name.parse().ok());
            self.fault(entity, key, Problem::Unknown { kind, name: name.clone(), nearest });
        }
        false
    }

    /// Whether an account exists and is readable up to its outermost parent.
    fn is_whole(&self, account: &Name) -> bool {
        self.model.ancestry(account).all(|name| self.model.accounts.contains_key(name))
    }

    /// A fault unless what is named lies within `account`. Says nothing where an account is unknown: that is
    /// reported where the account is named.
    fn within(
        &mut self,
        entity: Entity<'_>,
        key: impl Into<String>,
        named: (EntityKind, &Name),
        owner: &Name,
        account: &Name,
    ) {
        let readable = self.is_whole(owner) && self.is_whole(account);
        if readable && !self.model.is_within(owner, account) {
            let (kind, name) = (named.0, named.1.clone());
            let (owner, account) = (owner.clone(), account.clone());
            self.fault(entity, key, Problem::Foreign { kind, name, owner, account });
        }
    }

    fn accounts(&mut self) {
        for (name, account) in &self.model.accounts {
            let entity = (EntityKind::Account, name);
            let Some(parent) = &account.parent else { continue };
            if !self.known(entity, "parent", EntityKind::Account, parent) {
                continue;
            }
            let outwards = self.model.ancestry(name).skip(1);
            let through: Vec<Name> = outwards.take_while(|outer| *outer != name).cloned().collect();
            if self.model.ancestry(name).skip(1).any(|outer| outer == name) {
                self.fault(entity, "parent", Problem::Cycle { through });
            }
        }
    }

    fn people(&mut self) {
        for (name, user) in &self.model.users {
            self.known((EntityKind::User, name), "account", EntityKind::Account, &user.account);
        }
        for (name, group) in &self.model.user_groups {
            let entity = (EntityKind::UserGroup, name);
            self.known(entity, "account", EntityKind::Account, &group.account);
            for member in group.members.keys() {
                let key = format!("members[{member}]");
                if self.known(entity, key.as_str(), EntityKind::User, member)
                    && let Some(user) = self.model.users.get(member)
                {
                    self.within(entity, key, (EntityKind::User, member), &user.account, &group.account);
                }
            }
        }
    }

    fn devices(&mut self) {
        for (name, device) in &self.model.devices {
            let entity = (EntityKind::Device, name);
            self.known(entity, "account", EntityKind::Account, &device.account);
            device.services.iter().for_each(|(service, body)| self.service(entity, service, body));
        }
        let own = |device: &'a Device| device.services.keys().cloned().collect();
        let mut taken: BTreeMap<&Name, BTreeSet<Name>> =
            self.model.devices.iter().map(|(name, device)| (name, own(device))).collect();
        for (name, machine) in &self.model.machines {
            let entity = (EntityKind::Machine, name);
            self.known(entity, "device", EntityKind::Device, &machine.device);
            let taken = taken.entry(&machine.device).or_default();
            for (service, body) in &machine.services {
                self.service(entity, service, body);
                self.service_of_machine(name, &machine.device, service, taken);
            }
        }
    }

    fn service(&mut self, entity: Entity<'_>, name: &Name, service: &Service) {
        if service.kind != Kind::Http && !service.pages.is_empty() {
            self.fault(entity, format!("service.{name}.page"), Problem::PagesOf { kind: service.kind });
        }
    }

    /// `a` with `b.c` and `a.b` with `c` would both be `a.b.c`.
    fn service_of_machine(
        &mut self,
        machine: &Name,
        device: &Name,
        service: &Name,
        taken: &mut BTreeSet<Name>,
    ) {
        let entity = (EntityKind::Machine, machine);
        let key = format!("service.{service}");
        let Some(full) = Model::service_name(machine, service) else {
            let (machine, service) = (machine.clone(), service.clone());
            self.fault(entity, key, Problem::LongService { machine, service });
            return;
        };
        if !taken.insert(full.clone()) {
            self.fault(entity, key, Problem::SameService { device: device.clone(), service: full });
        }
    }
}

fn did_you_mean(nearest: Option<&Name>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

fn quoted(names: &[Name]) -> String {
    if names.is_empty() {
        return "itself".to_owned();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
