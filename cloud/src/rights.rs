//! What a person may administrate: the permissions of the roles that they hold, each where its assignment holds.
//!
//! 1. [`Rights::of`] collects what a user holds now. Each source stands alone, as in a device's policy: the permissions of one
//!    assignment are never combined with the scope of another.
//! 2. [`Rights::over`] says whether a permission covers a place: an account, a device or a machine.
//! 3. [`Rights::sees`] says whether something of the model may be shown at all.
//! 4. [`Rights::judge`] compares two models and names every difference that the person may not make. It is the same
//!    for one entity, a batch and a whole fleet file: there is no other way in which somebody changes the model.
//!
//! Who may hand out the code that makes somebody's account their own is asked of [`Rights::may_invite`] and those beside it.
//!
//! Pure: the model and the time are arguments. Deliberately absent: tunnels. What somebody may administrate opens nothing, and
//! what they may enter is the compiler's to say.

mod confer;
mod invite;
mod judge;
mod sight;

use std::collections::BTreeSet;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use crate::compile::{Places, Reach};
use crate::model::{Essential, Model, Permission, Role, Scope, Subject};

pub use self::judge::{Forbidden, Ground};

/// What one person may administrate.
#[derive(Debug)]
pub struct Rights<'a> {
    model: &'a Model,
    places: Places<'a>,
    user: &'a Name,
    /// The user's account. Whatever a scope contains, nothing outside of it is reached.
    account: &'a Name,
    held: Vec<Held<'a>>,
    now: UnixTime,
}

/// A role that somebody holds somewhere.
#[derive(Clone, Copy, Debug)]
struct Held<'a> {
    name: &'a Name,
    role: &'a Role,
    /// The access categories that the assignment names beside an essential role.
    categories: &'a BTreeSet<Name>,
    extent: Extent<'a>,
}

/// Where a role is held.
#[derive(Clone, Copy, Debug)]
enum Extent<'a> {
    /// In the scope of an assignment.
    Scope(&'a Scope),
    /// On the devices of a group, by a membership.
    Group(&'a Name),
}

/// A place of the model over which a permission is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site<'a> {
    /// An account by itself: its people, groups and places, and whatever is new in it.
    Account(&'a Name),
    /// A device with everything behind it.
    Device(&'a Name),
    /// A machine.
    Machine(&'a Name),
}

impl<'a> Rights<'a> {
    /// What a user holds now; none for somebody who is not in the model.
    #[must_use]
    pub fn of(model: &'a Model, user: &Name, now: UnixTime) -> Option<Self> {
        let (user, body) = model.users.get_key_value(user)?;
        let in_force = |from: Option<UnixTime>, until: Option<UnixTime>| {
            from.is_none_or(|from| from <= now) && until.is_none_or(|until| now < until)
        };
        let mut held = Vec::new();
        for assignment in model.assignments.values() {
            let is_holder = match &assignment.subject {
                Subject::User(holder) => holder == user,
                Subject::Group(group) => model
                    .user_groups
                    .get(group)
                    .and_then(|group| group.members.get(user))
                    .is_some_and(|member| in_force(None, member.until)),
            };
            if is_holder && in_force(assignment.from, assignment.until) {
                let (categories, extent) = (&assignment.categories, Extent::Scope(&assignment.scope));
                held.extend(Held::of(model, &assignment.role, categories, extent, now));
            }
        }
        for (name, group) in &model.device_groups {
            let Some(member) = group.members.get(user).filter(|member| in_force(None, member.until)) else {
                continue;
            };
            held.extend(Held::of(model, &member.role, &member.categories, Extent::Group(name), now));
        }
        Some(Self { model, places: Places::new(model), user, account: &body.account, held, now })
    }

    /// The user whose rights these are.
    #[must_use]
    pub const fn user(&self) -> &'a Name {
        self.user
    }

    /// The user's account.
    #[must_use]
    pub const fn account(&self) -> &'a Name {
        self.account
    }

    /// The permissions that are held anywhere.
    #[must_use]
    pub fn permissions(&self) -> BTreeSet<Permission> {
        self.held.iter().flat_map(|held| &held.role.permissions).copied().collect()
    }

    /// Whether a permission covers a place.
    #[must_use]
    pub fn over(&self, permission: Permission, site: Site<'_>) -> bool {
        self.held
            .iter()
            .any(|held| held.role.permissions.contains(&permission) && self.covers(held.extent, site))
    }

    /// Whether one of some permissions covers a place.
    #[must_use]
    pub fn over_any(&self, permissions: &[Permission], site: Site<'_>) -> bool {
        permissions.iter().any(|permission| self.over(*permission, site))
    }

    /// Whether a permission covers all that a scope contains, now and as it grows.
    #[must_use]
    pub fn over_scope(&self, permission: Permission, scope: &Scope) -> bool {
        self.held
            .iter()
            .any(|held| held.role.permissions.contains(&permission) && self.contains(held.extent, scope))
    }

    /// Whether a permission covers the whole installation: every account that lies in no other, with all below.
    #[must_use]
    pub fn over_everything(&self, permission: Permission) -> bool {
        let mut roots = self.model.accounts.iter().filter(|(_, account)| account.parent.is_none()).peekable();
        roots.peek().is_some()
            && roots.all(|(root, _)| {
                self.over_scope(permission, &Scope::Account { account: root.clone(), nested: true })
            })
    }

    /// The same rights where another model says what lies where.
    #[must_use]
    pub fn within<'b>(&self, model: &'b Model) -> Rights<'b>
    where
        'a: 'b,
    {
        let (user, account, now) = (self.user, self.account, self.now);
        Rights { model, places: Places::new(model), user, account, held: self.held.clone(), now }
    }

    fn covers(&self, extent: Extent<'a>, site: Site<'_>) -> bool {
        match site {
            Site::Account(account) => {
                self.model.is_within(account, self.account) && self.names(extent, account)
            }
            Site::Device(device) => self.reach(extent, device) == Reach::Whole,
            Site::Machine(machine) => self
                .model
                .machines
                .get_key_value(machine)
                .is_some_and(|(name, body)| self.reach(extent, &body.device).contains(Some(name))),
        }
    }

    /// Whether an extent names an account, or one that it is nested in with all below.
    fn names(&self, extent: Extent<'_>, account: &Name) -> bool {
        match extent {
            Extent::Scope(scope) => self.model.is_named_by(scope, account),
            Extent::Group(_) => false,
        }
    }

    fn reach(&self, extent: Extent<'a>, device: &Name) -> Reach<'a> {
        let owner = self.model.devices.get(device).map(|device| &device.account);
        if !owner.is_some_and(|owner| self.model.is_within(owner, self.account)) {
            return Reach::Nothing;
        }
        match extent {
            Extent::Scope(scope) => self.places.reach(scope, device),
            Extent::Group(group) => self.places.in_group(group, device),
        }
    }

    /// Whether an extent contains a scope. A group or place is contained by its own name, or with its account and all that is
    /// in it.
    fn contains(&self, extent: Extent<'a>, scope: &Scope) -> bool {
        let model = self.model;
        match scope {
            Scope::Account { account, nested: false } => self.covers(extent, Site::Account(account)),
            Scope::Account { account, nested: true } => {
                self.model.is_within(account, self.account) && self.names_below(extent, account)
            }
            Scope::DeviceGroup { group } => {
                let Some(body) = model.device_groups.get(group) else { return false };
                let own = matches!(extent, Extent::Group(held) if held == group) || extent.is(scope);
                own && model.is_within(&body.account, self.account)
                    || self.covers(extent, Site::Account(&body.account))
                        && body.devices.iter().all(|device| self.covers(extent, Site::Device(device)))
            }
            Scope::Facility { facility } => self.contains_node(extent, scope, model.facilities.get(facility)),
            Scope::Organisation { organisation } => {
                self.contains_node(extent, scope, model.organisations.get(organisation))
            }
            Scope::Device { device } => self.covers(extent, Site::Device(device)),
            Scope::Machine { machine } => self.covers(extent, Site::Machine(machine)),
            // What lies in all of them lies in each.
            Scope::AllOf { scopes } => scopes.iter().any(|scope| self.contains(extent, scope)),
            Scope::Unknown => false,
        }
    }

    fn contains_node(
        &self,
        extent: Extent<'a>,
        scope: &Scope,
        node: Option<&crate::model::ScopeNode>,
    ) -> bool {
        let Some(node) = node else { return false };
        extent.is(scope) && self.model.is_within(&node.account, self.account)
            || self.covers(extent, Site::Account(&node.account))
                && node.devices.iter().all(|device| self.covers(extent, Site::Device(device)))
                && node.machines.iter().all(|machine| self.covers(extent, Site::Machine(machine)))
    }

    /// Whether an extent names an account with all that will ever be nested in it.
    fn names_below(&self, extent: Extent<'_>, account: &Name) -> bool {
        match extent {
            Extent::Scope(Scope::Account { account: held, nested: true }) => {
                self.model.is_within(account, held)
            }
            // What lies in several scopes is devices and no company.
            Extent::Scope(
                Scope::Account { nested: false, .. }
                | Scope::AllOf { .. }
                | Scope::DeviceGroup { .. }
                | Scope::Facility { .. }
                | Scope::Organisation { .. }
                | Scope::Device { .. }
                | Scope::Machine { .. }
                | Scope::Unknown,
            )
            | Extent::Group(_) => false,
        }
    }
}

impl Site<'_> {
    /// Whether it is there.
    fn is_in(self, model: &Model) -> bool {
        match self {
            Self::Account(account) => model.accounts.contains_key(account),
            Self::Device(device) => model.devices.contains_key(device),
            Self::Machine(machine) => model.machines.contains_key(machine),
        }
    }
}

impl<'a> Held<'a> {
    fn of(
        model: &'a Model,
        name: &'a Name,
        categories: &'a BTreeSet<Name>,
        extent: Extent<'a>,
        now: UnixTime,
    ) -> Option<Self> {
        let role = model.role(name).filter(|role| role.ends.is_none_or(|ends| now < ends))?;
        Some(Self { name, role, categories, extent })
    }

    fn opens(&self, category: &Name) -> bool {
        self.role.categories.contains(category) || self.categories.contains(category)
    }

    fn is(&self, role: Essential) -> bool {
        self.name.as_str() == role.word()
    }
}

impl Extent<'_> {
    /// Whether this is just that scope.
    fn is(self, scope: &Scope) -> bool {
        matches!(self, Self::Scope(held) if held == scope)
    }
}

#[cfg(test)]
mod tests;
