//! Whether somebody may turn one model into another: every difference is looked at, and needs a permission where the thing is
//! and where it goes.
//!
//! What is changed or taken away is judged where it was; what is new or moved, where it will be. Both by the roles that
//! were held before: no edit gives its author the right to make it.

use std::collections::BTreeSet;

use postern_protocol::name::Name;

use super::confer::Gift;
use super::{Rights, Site};
use crate::model::{
    Account, Assignment, Case, CaseSubject, Device, DeviceGroup, Difference, EntityKind, Entry, Machine,
    Model,
    Permission::{self, *},
    Role, Scope, ScopeNode, User, UserGroup, Visibility,
};

/// A difference that somebody may not make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forbidden {
    /// The kind of the entity.
    pub kind: EntityKind,
    /// Its name.
    pub name: Name,
    /// Why not.
    pub ground: Ground,
}

/// Why somebody may not make a difference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ground {
    /// None of the permissions is held there.
    #[error("this needs {} there", words(any_of))]
    Needs {
        /// One of these would do.
        any_of: &'static [Permission],
    },
    /// A permission would be given that is not held.
    #[error("nobody gives what they do not hold: `{}`", permission.word())]
    NotHeld {
        /// The permission.
        permission: Permission,
    },
    /// A category would be opened that is neither held nor delegable.
    #[error("category `{category}` is neither held by you there nor delegable for your account")]
    NotDelegable {
        /// The category.
        category: Name,
    },
    /// A custom role that is not delegable.
    #[error("role `{role}` is not delegable for your account")]
    RoleNotDelegable {
        /// The role.
        role: Name,
    },
    /// It is about the author's own right to administrate.
    #[error("nobody deletes or demotes themselves; another administrator has to do this")]
    Oneself,
    /// It is the installation's.
    #[error("this belongs to the whole installation, whose operator changes it")]
    Operator,
}

fn words(permissions: &[Permission]) -> String {
    let words: Vec<String> = permissions.iter().map(|one| format!("`{}`", one.word())).collect();
    words.join(" or ")
}

impl<'a> Rights<'a> {
    /// What of the way from this model to a new one the user may not make; nothing where all of it is permitted.
    #[must_use]
    pub fn judge<'b>(&self, new: &'b Model) -> Vec<Forbidden>
    where
        'a: 'b,
    {
        let judge: Judge<'b> = Judge { before: self.within(self.model), after: self.within(new) };
        let mut forbidden = Vec::new();
        for Difference { kind, name, .. } in self.model.differences(new) {
            if let Err(ground) = judge.difference(kind, name) {
                forbidden.push(Forbidden { kind, name: name.clone(), ground });
            }
        }
        if let Some(name) = judge.demoted() {
            let (kind, ground) = (EntityKind::User, Ground::Oneself);
            forbidden.push(Forbidden { kind, name: name.clone(), ground });
        }
        forbidden
    }

    pub(super) fn demand(&self, any_of: &'static [Permission], site: Site<'_>) -> Result<(), Ground> {
        if self.over_any(any_of, site) { Ok(()) } else { Err(Ground::Needs { any_of }) }
    }
}

/// Both sides of an edit, seen with the roles that were held before it.
struct Judge<'a> {
    before: Rights<'a>,
    after: Rights<'a>,
}

impl<'a> Judge<'a> {
    fn difference(&self, kind: EntityKind, name: &Name) -> Result<(), Ground> {
        let (old, new) = (self.before.model, self.after.model);
        match kind {
            EntityKind::Account => self.account(name, old.accounts.get(name), new.accounts.get(name)),
            EntityKind::User => self.user(name, old.users.get(name), new.users.get(name)),
            EntityKind::UserGroup => {
                self.user_group(name, old.user_groups.get(name), new.user_groups.get(name))
            }
            EntityKind::MachineModel => self.both(&[ManageModels], |model| {
                model.machine_models.get(name).map(|one| Site::Account(&one.account))
            }),
            EntityKind::Device => self.device(name, old.devices.get(name), new.devices.get(name)),
            EntityKind::Machine => self.machine(name, old.machines.get(name), new.machines.get(name)),
            EntityKind::DeviceGroup => {
                self.device_group(name, old.device_groups.get(name), new.device_groups.get(name))
            }
            EntityKind::Facility => self.node(
                &[ManageShopfloor],
                &Scope::Facility { facility: name.clone() },
                old.facilities.get(name),
                new.facilities.get(name),
            ),
            EntityKind::Organisation => {
                let scope = Scope::Organisation { organisation: name.clone() };
                self.node(
                    &[ManageCustomers],
                    &scope,
                    old.organisations.get(name),
                    new.organisations.get(name),
                )
            }
            EntityKind::Category => Err(Ground::Operator),
            EntityKind::Role => self.role(old.roles.get(name), new.roles.get(name)),
            EntityKind::Assignment => self.assignment(old.assignments.get(name), new.assignments.get(name)),
            EntityKind::Entry => self.entry(old.entries.get(name), new.entries.get(name)),
            EntityKind::Case => self.case(old.cases.get(name), new.cases.get(name)),
        }
    }

    /// Demands one of some permissions where something is, in each of the models that have it.
    fn both(
        &self,
        any_of: &'static [Permission],
        site: impl Fn(&'a Model) -> Option<Site<'a>>,
    ) -> Result<(), Ground> {
        for rights in [&self.before, &self.after] {
            site(rights.model).map_or(Ok(()), |site| rights.demand(any_of, site))?;
        }
        Ok(())
    }

    fn account(&self, name: &Name, old: Option<&'a Account>, new: Option<&'a Account>) -> Result<(), Ground> {
        let above = |account: Option<&'a Account>| account.map(|account| account.parent.as_ref());
        let outside = |rights: &Rights<'a>, parent: Option<&'a Name>| {
            parent.map_or(Err(Ground::Operator), |parent| {
                rights.demand(&[ManageCustomers], Site::Account(parent))
            })
        };
        let (Some(was), Some(is)) = (old, new) else {
            above(old).map_or(Ok(()), |parent| outside(&self.before, parent))?;
            above(new).map_or(Ok(()), |parent| outside(&self.after, parent))?;
            let none = crate::model::Delegable::default();
            return new.map_or(Ok(()), |account| self.before.may_delegate(&none, &account.delegable));
        };
        if (was.tenant, &was.parent) != (is.tenant, &is.parent) {
            outside(&self.before, was.parent.as_ref())?;
            outside(&self.after, is.parent.as_ref())?;
        }
        if was.delegable != is.delegable {
            // Nobody may widen what they themselves may hand on: that is said from above.
            outside(&self.before, was.parent.as_ref())?;
            self.before.may_delegate(&was.delegable, &is.delegable)?;
        }
        if (&was.recording_key, &was.label) != (&is.recording_key, &is.label) {
            self.before.demand(&[ManageCompany], Site::Account(name))?;
        }
        Ok(())
    }

    fn user(&self, name: &Name, old: Option<&User>, new: Option<&User>) -> Result<(), Ground> {
        let leaves = |account: &Name| self.before.demand(&[DeleteUsers], Site::Account(account));
        let arrives = |account: &Name| {
            let own = account == self.before.account;
            let any_of: &'static [Permission] = if own {
                &[CreateUsers, InviteUsers]
            } else {
                &[CreateUsers, InviteCustomerUsers, InviteUsers]
            };
            self.after.demand(any_of, Site::Account(account))
        };
        if let (Some(old), Some(new)) = (old, new)
            && old.mail != new.mail
        {
            // What goes there can be worth all that the user has.
            self.before.could_give_all_of(name)?;
        }
        match (old, new) {
            (Some(_), None) if name == self.before.user => Err(Ground::Oneself),
            (Some(old), None) => leaves(&old.account),
            (None, Some(new)) => arrives(&new.account),
            (Some(old), Some(new)) if old.account != new.account => {
                leaves(&old.account)?;
                arrives(&new.account)
            }
            (Some(old), Some(_)) => self.before.demand(&[EditUsers], Site::Account(&old.account)),
            (None, None) => Ok(()),
        }
    }

    fn user_group(
        &self,
        name: &Name,
        old: Option<&UserGroup>,
        new: Option<&UserGroup>,
    ) -> Result<(), Ground> {
        for (rights, group) in [(&self.before, old), (&self.after, new)] {
            group.map_or(Ok(()), |group| rights.demand(&[AssignRoles], Site::Account(&group.account)))?;
        }
        // A new member, or one who stays longer, gets every role of the group.
        let Some(new) = new else { return Ok(()) };
        let had = |user: &Name| old.and_then(|old| old.members.get(user));
        let gains = new.members.iter().any(|(user, member)| had(user) != Some(member));
        if !gains {
            return Ok(());
        }
        for assignment in self.after.model.assignments.values() {
            let of_group =
                matches!(&assignment.subject, crate::model::Subject::Group(group) if group == name);
            if of_group {
                self.gives(&assignment.role, &assignment.categories, &assignment.scope, &new.account)?;
            }
        }
        Ok(())
    }

    fn gives(
        &self,
        role: &Name,
        categories: &BTreeSet<Name>,
        scope: &Scope,
        account: &Name,
    ) -> Result<(), Ground> {
        // An unknown role is a fault of the model, and reported as one.
        let Some(body) = self.after.model.role(role) else { return Ok(()) };
        self.after.may_give(Gift { role, categories, scope, account }, body)
    }

    fn device(&self, name: &Name, old: Option<&Device>, new: Option<&Device>) -> Result<(), Ground> {
        const CONFIGURE: &[Permission] = &[ConfigureDevices, ManageRemoteAccess];
        let here = Site::Device(name);
        match (old, new) {
            (Some(_), None) => self.before.demand(&[ManageDevices], here),
            (None, Some(new)) => {
                let account = Site::Account(&new.account);
                self.after.demand(&[ManageDevices], account)?;
                if new.services.is_empty() { Ok(()) } else { self.after.demand(CONFIGURE, account) }
            }
            (Some(old), Some(new)) => {
                if old.account != new.account {
                    self.before.demand(&[ManageDevices], here)?;
                    self.after.demand(&[ManageDevices], Site::Account(&new.account))?;
                }
                if (&old.label, old.closed) != (&new.label, new.closed) {
                    self.before.demand(&[ManageDevices], here)?;
                }
                if (&old.services, &old.limits, &old.freshness)
                    != (&new.services, &new.limits, &new.freshness)
                {
                    self.before.demand(CONFIGURE, here)?;
                }
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }

    fn machine(&self, name: &Name, old: Option<&Machine>, new: Option<&Machine>) -> Result<(), Ground> {
        const MANAGE: &[Permission] = &[ManageShopfloor, ManageCustomers];
        const CONFIGURE: &[Permission] = &[ConfigureDevices, ManageRemoteAccess];
        let here = Site::Machine(name);
        match (old, new) {
            (Some(_), None) => self.before.demand(MANAGE, here),
            (None, Some(new)) => {
                let device = Site::Device(&new.device);
                self.after.demand(MANAGE, device)?;
                // A model brings services as well.
                let leads = new.model.is_some() || !new.services.is_empty();
                if leads { self.after.demand(CONFIGURE, device) } else { Ok(()) }
            }
            (Some(old), Some(new)) => {
                if old.device != new.device {
                    self.before.demand(MANAGE, here)?;
                    self.after.demand(MANAGE, Site::Device(&new.device))?;
                }
                if old.label != new.label {
                    self.before.demand(MANAGE, here)?;
                }
                if (&old.model, &old.address, &old.services) != (&new.model, &new.address, &new.services) {
                    self.before.demand(CONFIGURE, here)?;
                }
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }

    fn device_group(
        &self,
        name: &Name,
        old: Option<&'a DeviceGroup>,
        new: Option<&'a DeviceGroup>,
    ) -> Result<(), Ground> {
        let (same_outline, same_devices) = match (old, new) {
            (Some(old), Some(new)) => (
                (&old.account, old.group_type, &old.label) == (&new.account, new.group_type, &new.label),
                old.devices == new.devices,
            ),
            (None, _) | (_, None) => (false, false),
        };
        if !(same_outline && same_devices) {
            let group = Scope::DeviceGroup { group: name.clone() };
            for (rights, body) in [(&self.before, old), (&self.after, new)] {
                let Some(body) = body else { continue };
                // Who is in charge of a group says what is in it; whose it is and how it is called, its account.
                let is_charged = same_outline && rights.over_scope(ManageDevices, &group);
                if !is_charged {
                    rights.demand(&[ManageDevices], Site::Account(&body.account))?;
                }
            }
            let (was, is) = (old.map(|group| &group.devices), new.map(|group| &group.devices));
            self.takes_in(&[ManageDevices], &group, was, is, |device| (Site::Device(device), here(device)))?;
        }
        let nobody = std::collections::BTreeMap::new();
        let (was, is) = (old.map_or(&nobody, |old| &old.members), new.map_or(&nobody, |new| &new.members));
        for (user, member) in is.iter().filter(|(user, member)| was.get(*user) != Some(*member)) {
            let scope = Scope::DeviceGroup { group: name.clone() };
            let Some(account) = self.after.model.users.get(user).map(|user| &user.account) else { continue };
            self.gives(&member.role, &member.categories, &scope, account)?;
        }
        for user in was.keys().filter(|user| !is.contains_key(*user)) {
            let Some(account) = self.before.model.users.get(user).map(|user| &user.account) else { continue };
            self.before.may_assign(account, &Scope::DeviceGroup { group: name.clone() })?;
        }
        Ok(())
    }

    fn node(
        &self,
        any_of: &'static [Permission],
        scope: &Scope,
        old: Option<&'a ScopeNode>,
        new: Option<&'a ScopeNode>,
    ) -> Result<(), Ground> {
        for (rights, node) in [(&self.before, old), (&self.after, new)] {
            node.map_or(Ok(()), |node| rights.demand(any_of, Site::Account(&node.account)))?;
        }
        let (was, is) = (old.map(|node| &node.devices), new.map(|node| &node.devices));
        self.takes_in(any_of, scope, was, is, |device| (Site::Device(device), here(device)))?;
        let (was, is) = (old.map(|node| &node.machines), new.map(|node| &node.machines));
        let machine =
            |machine: &'a Name| (Site::Machine(machine), Scope::Machine { machine: machine.clone() });
        self.takes_in(any_of, scope, was, is, machine)
    }

    /// What a group or place contains more than before was in the author's charge, or is new; and what is given there is theirs to
    /// give on it: allocating is giving.
    fn takes_in(
        &self,
        any_of: &'static [Permission],
        place: &Scope,
        old: Option<&'a BTreeSet<Name>>,
        new: Option<&'a BTreeSet<Name>>,
        of: impl Fn(&'a Name) -> (Site<'a>, Scope),
    ) -> Result<(), Ground> {
        let more = new.into_iter().flatten().filter(|name| old.is_none_or(|old| !old.contains(*name)));
        for name in more {
            let (site, thing) = of(name);
            // What is new with this edit was looked at by itself, where it will be.
            let rights = if site.is_in(self.before.model) { &self.before } else { &self.after };
            rights.demand(any_of, site)?;
            rights.may_allocate(self.after.model, place, &thing)?;
        }
        Ok(())
    }

    /// Custom roles are the installation's: whoever changes one changes it for all.
    fn role(&self, old: Option<&Role>, new: Option<&Role>) -> Result<(), Ground> {
        if !self.before.over_everything(ManageRoles) {
            return Err(Ground::Operator);
        }
        let Some(new) = new else { return Ok(()) };
        let had = |permission: &&Permission| !old.is_some_and(|old| old.permissions.contains(*permission));
        for permission in new.permissions.iter().filter(had) {
            if !self.before.over_everything(*permission) {
                return Err(Ground::NotHeld { permission: *permission });
            }
        }
        let scope = Scope::Account { account: self.before.account.clone(), nested: true };
        let more = new.categories.iter().filter(|one| !old.is_some_and(|old| old.categories.contains(*one)));
        self.before.may_open(more, &scope)
    }

    fn assignment(&self, old: Option<&Assignment>, new: Option<&Assignment>) -> Result<(), Ground> {
        if let Some(old) = old
            && let Some(account) = self.before.account_of(&old.subject)
        {
            self.before.may_assign(account, &old.scope)?;
        }
        if let Some(new) = new
            && let Some(account) = self.after.account_of(&new.subject)
        {
            self.gives(&new.role, &new.categories, &new.scope, account)?;
        }
        Ok(())
    }

    fn entry(&self, old: Option<&Entry>, new: Option<&Entry>) -> Result<(), Ground> {
        use crate::model::Effect;
        for (rights, entry, gift) in [(&self.before, old, Effect::Deny), (&self.after, new, Effect::Allow)] {
            let Some(entry) = entry else { continue };
            let Some(account) = rights.model.users.get(&entry.user).map(|user| &user.account) else {
                continue;
            };
            rights.may_enter(entry, account, entry.effect == gift)?;
        }
        Ok(())
    }

    fn case(&self, old: Option<&'a Case>, new: Option<&'a Case>) -> Result<(), Ground> {
        let opening = |case: Option<&'a Case>| {
            let case = case.filter(|case| case.is_activated())?;
            Some((case.from, case.until, &case.subject, case.visibility))
        };
        for (rights, case) in [(&self.before, old), (&self.after, new)] {
            let Some(case) = case else { continue };
            // A window that goes to another machine, or that others see from now on, is activated there.
            if case.is_activated() && opening(old) != opening(new) {
                rights.demand(&[ActivateRemoteAccess], site_of(case))?;
            }
            if without_window(old) != without_window(new) {
                let any_of: &'static [Permission] = match (case.visibility, old) {
                    (Visibility::Shared, _) => &[ManageSharedCases],
                    (Visibility::Internal, None) => &[CreateInternalCases, ManageInternalCases],
                    (Visibility::Internal, Some(_)) => &[ManageInternalCases],
                };
                rights.demand(any_of, site_of(case))?;
            }
        }
        Ok(())
    }

    /// The author, where the edit takes the administration of an account from them.
    fn demoted(&self) -> Option<&'a Name> {
        let user = self.before.user;
        let now = self.before.now;
        let is_left = |model: &Model| model.users.contains_key(user);
        if !is_left(self.after.model) {
            // Said where the user is looked at.
            return None;
        }
        let (was, is) =
            (self.before.model.administered_by(user, now), self.after.model.administered_by(user, now));
        was.iter()
            .any(|account| self.after.model.accounts.contains_key(*account) && !is.contains(account))
            .then_some(user)
    }
}

fn without_window(case: Option<&Case>) -> Option<Case> {
    case.map(|case| Case { from: None, until: None, ..case.clone() })
}

fn here(device: &Name) -> Scope {
    Scope::Device { device: device.clone() }
}

const fn site_of(case: &Case) -> Site<'_> {
    match &case.subject {
        CaseSubject::Machine(machine) => Site::Machine(machine),
        CaseSubject::Device(device) => Site::Device(device),
    }
}
