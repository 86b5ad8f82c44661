//! What somebody may hand on: a role, a category, a place in a group.
//!
//! Nobody gives what they do not hold, unless it was marked as delegable for their account by whoever is responsible for it from
//! above. Built-in roles are no secret of anybody: a tenant administrator gives them, with nothing in them that opens a
//! tunnel. What opens one is a category, and each of those is held or delegable.

use std::collections::BTreeSet;

use postern_protocol::name::Name;

use super::judge::Ground;
use super::{Rights, Site};
use crate::model::{Delegable, Effect, Entry, Essential, Model, Permission, Role, Scope, Selection, Subject};

/// Something that an edit gives to somebody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gift<'g> {
    pub(super) role: &'g Name,
    pub(super) categories: &'g BTreeSet<Name>,
    pub(super) scope: &'g Scope,
    /// The account of those who get it.
    pub(super) account: &'g Name,
}

impl<'a> Rights<'a> {
    /// Whether a role may be given; it and the scope are read in `new`, where they may be new as well.
    pub(super) fn may_give(&self, gift: Gift<'_>, role: &Role) -> Result<(), Ground> {
        self.may_assign(gift.account, gift.scope)?;
        self.may_convey(gift, role)
    }

    /// Whether something may be put into a group or place: everybody who has a role there gets it on the thing too.
    pub(super) fn may_allocate(&self, new: &Model, place: &Scope, thing: &Scope) -> Result<(), Ground> {
        for assignment in new.assignments.values().filter(|assignment| mentions(&assignment.scope, place)) {
            let (role, categories) = (&assignment.role, &assignment.categories);
            let Some(body) = new.role(role) else { continue };
            self.may_convey(Gift { role, categories, scope: thing, account: self.account }, body)?;
        }
        let Scope::DeviceGroup { group } = place else { return Ok(()) };
        for member in new.device_groups.get(group).into_iter().flat_map(|group| group.members.values()) {
            let (role, categories) = (&member.role, &member.categories);
            let Some(body) = new.role(role) else { continue };
            self.may_convey(Gift { role, categories, scope: thing, account: self.account }, body)?;
        }
        Ok(())
    }

    /// Whether what a role contains is held there, or delegable.
    pub(super) fn may_convey(&self, gift: Gift<'_>, role: &Role) -> Result<(), Ground> {
        if let Some(essential) = Essential::from_word(gift.role.as_str()) {
            let gives_all = self.administrates(gift.scope);
            let held = |permission: &&Permission| !self.over_scope(**permission, gift.scope);
            if !gives_all && let Some(missing) = essential_permissions(essential).iter().find(held) {
                return Err(Ground::NotHeld { permission: *missing });
            }
        } else if !self.delegable().any(|account| account.roles.contains(gift.role)) {
            let held = |permission: &&Permission| !self.over_scope(**permission, gift.scope);
            if let Some(missing) = role.permissions.iter().find(held) {
                return Err(Ground::NotHeld { permission: *missing });
            }
            self.may_open(role.categories.iter(), gift.scope)?;
        }
        self.may_open(gift.categories.iter(), gift.scope)
    }

    /// Whether an entry may be made, or taken away: who takes a deny away gives what it denied.
    pub(super) fn may_enter(&self, entry: &Entry, account: &Name, is_gift: bool) -> Result<(), Ground> {
        let everywhere = Scope::Account { account: account.clone(), nested: true };
        let scope = entry.scope.as_ref().unwrap_or(&everywhere);
        match entry.effect {
            Effect::Allow => self.may_assign(account, scope)?,
            // Whom an administrator may deny something is theirs to say, wherever that is.
            Effect::Deny => self.demand(&[Permission::AssignRoles], Site::Account(account))?,
        }
        if !is_gift {
            return Ok(());
        }
        match &entry.selection {
            Selection::Category(category) => self.may_open(std::iter::once(category), scope),
            // Services of one name are of no category that somebody could hold.
            Selection::Service(_) => {
                if self.over_everything(Permission::AssignRoles) {
                    Ok(())
                } else {
                    Err(Ground::Operator)
                }
            }
        }
    }

    /// Whether roles may be assigned to people of an account, in a scope.
    pub(super) fn may_assign(&self, account: &Name, scope: &Scope) -> Result<(), Ground> {
        const ASSIGN: Permission = Permission::AssignRoles;
        if !self.over_scope(ASSIGN, scope) {
            return Err(Ground::Needs { any_of: &[ASSIGN] });
        }
        // People of the own company may be allocated what is in one's charge there; those of others by their administrators.
        if account == self.account || self.over(ASSIGN, Site::Account(account)) {
            return Ok(());
        }
        Err(Ground::Needs { any_of: &[ASSIGN] })
    }

    /// Whether categories may be opened to somebody in a scope.
    pub(super) fn may_open<'c>(
        &self,
        mut categories: impl Iterator<Item = &'c Name>,
        scope: &Scope,
    ) -> Result<(), Ground> {
        let missing = categories.find(|category| {
            let held = self.held.iter().any(|held| held.opens(category) && self.contains(held.extent, scope));
            !held && !self.delegable().any(|account| account.categories.contains(*category))
        });
        missing.map_or(Ok(()), |category| Err(Ground::NotDelegable { category: category.clone() }))
    }

    /// Whether what is new among the delegable things of an account may be added by this person.
    pub(super) fn may_delegate(&self, old: &Delegable, new: &Delegable) -> Result<(), Ground> {
        let categories = new.categories.difference(&old.categories);
        let own = Scope::Account { account: self.account.clone(), nested: true };
        self.may_open(categories, &own)?;
        let mut roles = new.roles.difference(&old.roles);
        let missing = roles.find(|role| !self.delegable().any(|account| account.roles.contains(*role)));
        missing.map_or(Ok(()), |role| Err(Ground::RoleNotDelegable { role: role.clone() }))
    }

    /// The account of those who get something, by its subject.
    pub(super) fn account_of(&self, subject: &Subject) -> Option<&'a Name> {
        match subject {
            Subject::User(user) => self.model.users.get(user).map(|user| &user.account),
            Subject::Group(group) => self.model.user_groups.get(group).map(|group| &group.account),
        }
    }

    /// What is delegable for the user's own account.
    fn delegable(&self) -> impl Iterator<Item = &'a Delegable> + use<'a> {
        self.model.accounts.get(self.account).map(|account| &account.delegable).into_iter()
    }

    /// Whether `tenant-admin` is held over a scope.
    fn administrates(&self, scope: &Scope) -> bool {
        self.held.iter().any(|held| held.is(Essential::TenantAdmin) && self.contains(held.extent, scope))
    }
}

/// Whether a scope is bounded by a group or place.
fn mentions(scope: &Scope, place: &Scope) -> bool {
    match scope {
        Scope::AllOf { scopes } => scopes.iter().any(|scope| mentions(scope, place)),
        Scope::Account { .. }
        | Scope::DeviceGroup { .. }
        | Scope::Facility { .. }
        | Scope::Organisation { .. }
        | Scope::Device { .. }
        | Scope::Machine { .. }
        | Scope::Unknown => scope == place,
    }
}

fn essential_permissions(role: Essential) -> &'static BTreeSet<Permission> {
    static NONE: BTreeSet<Permission> = BTreeSet::new();
    let found = Essential::roles().iter().find(|(name, _)| name.as_str() == role.word());
    found.map_or(&NONE, |(_, role)| &role.permissions)
}
