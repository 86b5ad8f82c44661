//! Who administrates a company, and that an edit does not take the last one away.
//!
//! A tenant administrator of an account is one of its users who holds `tenant-admin` in a scope that names the account,
//! from now on and without end. Whoever holds it for a parent sees down, and is nobody of the account itself.
//! Deliberately absent: who asks for the edit. Only the operator of an installation changes its model.

use std::collections::{BTreeMap, BTreeSet};

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use super::{Assignment, Essential, Model, Scope, Subject};

/// An account that an edit would leave to nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bereft {
    /// The account.
    pub account: Name,
    /// Its tenant administrators before the edit.
    pub administrators: BTreeSet<Name>,
}

impl Model {
    /// The accounts that have a tenant administrator, and would have users and none in `new`, ascending.
    #[must_use]
    pub fn bereft_in(&self, new: &Self, now: UnixTime) -> Vec<Bereft> {
        let after = new.administrators(now);
        let populated: BTreeSet<&Name> = new.users.values().map(|user| &user.account).collect();
        let before = self.administrators(now).into_iter();
        before
            .filter(|(account, _)| populated.contains(account) && !after.contains_key(account))
            .map(|(account, users)| Bereft {
                account: account.clone(),
                administrators: users.into_iter().cloned().collect(),
            })
            .collect()
    }

    /// The tenant administrators of each account that has any.
    pub(crate) fn administrators(&self, now: UnixTime) -> BTreeMap<&Name, BTreeSet<&Name>> {
        let mut found: BTreeMap<&Name, BTreeSet<&Name>> = BTreeMap::new();
        for assignment in self.assignments.values().filter(|assignment| administrates(assignment, now)) {
            for user in self.lasting_holders(assignment) {
                let Some(account) = self.users.get(user).map(|user| &user.account) else { continue };
                if self.is_named_by(&assignment.scope, account) {
                    found.entry(account).or_default().insert(user);
                }
            }
        }
        found
    }

    /// The accounts that a user administrates for good, as [`bereft_in`](Self::bereft_in) counts.
    #[must_use]
    pub fn administered_by(&self, user: &Name, now: UnixTime) -> BTreeSet<&Name> {
        let found = self.administrators(now).into_iter();
        found.filter(|(_, users)| users.contains(user)).map(|(account, _)| account).collect()
    }

    /// Who is assigned, without those whose place in the group ends.
    fn lasting_holders<'a>(&'a self, assignment: &'a Assignment) -> Vec<&'a Name> {
        match &assignment.subject {
            Subject::User(user) => vec![user],
            Subject::Group(group) => {
                let members = self.user_groups.get(group).into_iter().flat_map(|group| &group.members);
                members.filter(|(_, member)| member.until.is_none()).map(|(user, _)| user).collect()
            }
        }
    }

    /// Whether a scope names an account, or one that it is nested in with all below.
    pub(crate) fn is_named_by(&self, scope: &Scope, account: &Name) -> bool {
        match scope {
            Scope::Account { account: named, nested: false } => named == account,
            Scope::Account { account: named, nested: true } => self.is_within(account, named),
            Scope::DeviceGroup { .. }
            | Scope::Facility { .. }
            | Scope::Organisation { .. }
            | Scope::Device { .. }
            | Scope::Machine { .. }
            | Scope::AllOf { .. }
            | Scope::Unknown => false,
        }
    }
}

/// Whether an assignment makes a tenant administrator now and for good.
fn administrates(assignment: &Assignment, now: UnixTime) -> bool {
    assignment.role.as_str() == Essential::TenantAdmin.word()
        && assignment.until.is_none()
        && assignment.from.is_none_or(|from| from <= now)
}
