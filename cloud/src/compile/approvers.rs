//! Who could ever approve an access, for the author of a policy: people of an operating company that has the device, who may
//! activate remote access in a scope that reaches it.
//!
//! Deliberately absent: the time. Whether somebody may approve at this moment is asked of [`Rights`](crate::rights::Rights).

use std::collections::BTreeSet;

use postern_protocol::name::Name;

use super::places::Places;
use super::reach::Reach;
use super::source::Extent;
use crate::model::{Assignment, Membership, Model, Permission, Subject, Tenant};

/// Everybody who may activate remote access somewhere.
pub(super) struct Approvers<'a> {
    model: &'a Model,
    places: &'a Places<'a>,
    held: Vec<(Extent<'a>, Vec<&'a Name>)>,
}

impl<'a> Approvers<'a> {
    pub(super) fn of(model: &'a Model, places: &'a Places<'a>) -> Self {
        let activates = |role: &Name| {
            model.role(role).is_some_and(|role| role.permissions.contains(&Permission::ActivateRemoteAccess))
        };
        let assigned = |body: &'a Assignment| {
            let holders: Vec<&Name> = match &body.subject {
                Subject::User(user) => vec![user],
                Subject::Group(group) => {
                    model.user_groups.get(group).into_iter().flat_map(|group| group.members.keys()).collect()
                }
            };
            (Extent::Scope(&body.scope), holders)
        };
        let assignments = model.assignments.values().filter(|body| activates(&body.role)).map(assigned);
        let members = model.device_groups.iter().flat_map(|(name, group)| {
            let holding = group
                .members
                .iter()
                .filter(|(_, Membership { role, .. })| activates(role))
                .map(|(user, _)| user);
            let holders: Vec<&Name> = holding.collect();
            (!holders.is_empty()).then_some((Extent::Group(name), holders))
        });
        Self { model, places, held: assignments.chain(members).collect() }
    }

    /// Up to two people who could approve something on a device: whoever asks is none of them, so that one may not do.
    pub(super) fn two_of(&self, device: &Name) -> BTreeSet<&'a Name> {
        let mut found = BTreeSet::new();
        let Some(owner) = self.model.devices.get(device).map(|body| &body.account) else { return found };
        for (extent, holders) in &self.held {
            let reach = match extent {
                Extent::Scope(scope) => self.places.reach(scope, device),
                Extent::Group(group) => self.places.in_group(group, device),
                // Of what only denies.
                Extent::Bound(_) | Extent::Everywhere => Reach::Nothing,
            };
            if reach == Reach::Nothing {
                continue;
            }
            for holder in holders.iter().filter(|holder| self.operates(holder, owner)) {
                found.insert(*holder);
                if found.len() > 1 {
                    return found;
                }
            }
        }
        found
    }

    fn operates(&self, user: &Name, owner: &Name) -> bool {
        let account = self.model.users.get(user).map(|user| &user.account);
        account.is_some_and(|account| {
            let tenant = self.model.accounts.get(account).map(|account| account.tenant);
            tenant == Some(Tenant::OperatingCompany) && self.model.is_within(owner, account)
        })
    }
}
