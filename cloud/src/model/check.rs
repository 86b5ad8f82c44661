//! Finds everything in a model that cannot be: dangling names, circles, foreign scopes, roles of the wrong company.
//!
//! 1. Each entity's references resolve, with the nearest name where one is mistyped.
//! 2. Accounts do not nest in a circle, and not deeper than [`NESTING`].
//! 3. Nothing reaches up or sideways: what a group, place, model or scope names lies within the account that it is for.
//! 4. Roles fit the tenant role of the users who hold them, so no user combines roles of two tenant roles.
//! 5. What cannot open anything does not claim to: categories stand only where a role may use tunnels.
//!
//! All faults are found, not just the first; after [`FAULTS`] of them the rest is not listed. Deliberately absent:
//! warnings about policies that are possible but useless, which the compiler reports, and everything that depends on
//! the time of day, except for [`Model::retired`].

mod entries;
mod machines;
mod places;
mod problem;
mod roles;
mod scopes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use super::{EntityKind, Model};
use crate::nearest::nearest;

pub use self::problem::{ModelFault, Problem};

impl Model {
    /// The faults of this model, in the order of its entities; at most [`FAULTS`].
    ///
    /// `broken` names entities that exist but could not be read: references to them are no further faults.
    #[must_use]
    pub fn check(&self, broken: &BTreeSet<(EntityKind, Name)>) -> Vec<ModelFault> {
        let mut check = Check {
            model: self,
            broken,
            faults: Vec::new(),
            neighbours: BTreeMap::new(),
            comparisons: COMPARISONS,
        };
        check.accounts();
        check.people();
        check.machine_models();
        check.devices();
        check.places();
        check.roles();
        check.assignments();
        check.entries();
        check.cases();
        check.faults
    }
}

struct Check<'a> {
    model: &'a Model,
    broken: &'a BTreeSet<(EntityKind, Name)>,
    faults: Vec<ModelFault>,
    /// The nearest name of each unknown one that was met.
    neighbours: BTreeMap<(EntityKind, Name), Option<Name>>,
    /// How many names may still be compared with unknown ones.
    comparisons: usize,
}

/// The entity that is being checked.
type Entity<'a> = (EntityKind, &'a Name);

impl Check<'_> {
    fn fault(&mut self, (kind, name): Entity<'_>, key: impl Display, problem: Problem) {
        if self.faults.len() < FAULTS {
            self.faults.push(ModelFault { kind, name: name.clone(), key: key.to_string(), problem });
        }
    }

    /// Whether `name` exists; a fault otherwise, unless it exists and could not be read.
    fn known(&mut self, entity: Entity<'_>, key: impl Display, kind: EntityKind, name: &Name) -> bool {
        if self.model.contains(kind, name) {
            return true;
        }
        if !self.broken.contains(&(kind, name.clone())) && self.faults.len() < FAULTS {
            let nearest = self.neighbour(kind, name);
            self.fault(entity, key, Problem::Unknown { kind, name: name.clone(), nearest });
        }
        false
    }

    /// The nearest name to an unknown one. A file of nothing but unknown names does not get all of them answered.
    fn neighbour(&mut self, kind: EntityKind, name: &Name) -> Option<Name> {
        if let Some(known) = self.neighbours.get(&(kind, name.clone())) {
            return known.clone();
        }
        let mut names = self.model.names(kind);
        if kind == EntityKind::Role {
            names.extend(super::Essential::roles().keys());
        }
        self.comparisons = self.comparisons.checked_sub(names.len())?;
        let candidates = names.into_iter().map(Name::as_str);
        let neighbour = nearest(name.as_str(), candidates).and_then(|name| name.parse().ok());
        self.neighbours.insert((kind, name.clone()), neighbour.clone());
        neighbour
    }

    /// Whether an account exists and is readable up to its outermost parent.
    fn is_whole(&self, account: &Name) -> bool {
        self.model.ancestry(account).all(|name| self.model.accounts.contains_key(name))
    }

    /// Whether `owner` lies within `account`, or one of them is unknown: that is reported where the account is named.
    fn fits(&self, owner: &Name, account: &Name) -> bool {
        owner == account
            || self.model.is_within(owner, account)
            || !self.is_whole(owner)
            || !self.is_whole(account)
    }

    /// A fault unless what is named lies within `account`.
    fn within(
        &mut self,
        entity: Entity<'_>,
        key: impl Display,
        (kind, name): Entity<'_>,
        owner: &Name,
        account: &Name,
    ) {
        if !self.fits(owner, account) {
            let (name, owner, account) = (name.clone(), owner.clone(), account.clone());
            self.fault(entity, key, Problem::Foreign { kind, name, owner, account });
        }
    }

    /// A fault unless the end is after the beginning.
    fn window(&mut self, entity: Entity<'_>, from: Option<UnixTime>, until: Option<UnixTime>) {
        if let (Some(from), Some(until)) = (from, until)
            && from >= until
        {
            self.fault(entity, "until", Problem::Window { from, until });
        }
    }

    fn accounts(&mut self) {
        for (name, account) in &self.model.accounts {
            let entity = (EntityKind::Account, name);
            for category in &account.delegable.categories {
                self.known(
                    entity,
                    format_args!("delegable-categories[{category}]"),
                    EntityKind::Category,
                    category,
                );
            }
            for role in &account.delegable.roles {
                self.delegable_role(entity, role);
            }
            let Some(parent) = &account.parent else { continue };
            if !self.known(entity, "parent", EntityKind::Account, parent) {
                continue;
            }
            let mut outwards = self.model.ancestry(name).skip(1);
            let mut through: Vec<Name> = Vec::new();
            let circle = loop {
                match outwards.next() {
                    Some(outer) if outer == name => break true,
                    Some(outer) => through.push(outer.clone()),
                    None => break false,
                }
            };
            if circle {
                self.fault(entity, "parent", Problem::Cycle { through });
            } else if through.len() > NESTING && is_straight(&through) {
                self.fault(entity, "parent", Problem::TooDeep);
            }
        }
    }

    /// A role that may be handed on is a custom one: what a built-in role contains is no secret of anybody.
    fn delegable_role(&mut self, entity: Entity<'_>, role: &Name) {
        let key = format_args!("delegable-roles[{role}]");
        if super::Essential::from_word(role.as_str()).is_some() {
            self.fault(entity, key, Problem::DelegableAnyway { role: role.clone() });
        } else {
            self.known(entity, key, EntityKind::Role, role);
        }
    }

    fn people(&mut self) {
        for (name, user) in &self.model.users {
            self.known((EntityKind::User, name), "account", EntityKind::Account, &user.account);
        }
        for (name, group) in &self.model.user_groups {
            let entity = (EntityKind::UserGroup, name);
            self.known(entity, "account", EntityKind::Account, &group.account);
            for (user, member) in &group.members {
                match member.until {
                    None => self.member(entity, format_args!("members[{user}]"), user, &group.account),
                    Some(_) => self.member(entity, format_args!("member.{user}"), user, &group.account),
                }
            }
        }
    }

    /// A member of a group exists and lies within the group's account.
    fn member(&mut self, entity: Entity<'_>, key: impl Display + Copy, member: &Name, account: &Name) {
        if self.known(entity, key, EntityKind::User, member)
            && let Some(user) = self.model.users.get(member)
        {
            self.within(entity, key, (EntityKind::User, member), &user.account, account);
        }
    }
}

/// Whether no account comes twice: the way from an account into a circle that others form is reported there.
fn is_straight(outwards: &[Name]) -> bool {
    outwards.iter().collect::<BTreeSet<_>>().len() == outwards.len()
}

/// Accounts are nested at most this deep. Companies, their customers and their customers' plants are three; each step
/// is walked for each user and device.
pub const NESTING: usize = 16;
/// Scopes are nested at most this deep: an `all-of` inside of an `all-of` says nothing that one could not.
pub const SCOPE_DEPTH: usize = 4;
/// Faults of one model that are listed. A file of some megabytes can have a million, and nobody reads them.
pub const FAULTS: usize = 1000;

/// Names that are compared with unknown ones: about a second.
const COMPARISONS: usize = 4_000_000;
