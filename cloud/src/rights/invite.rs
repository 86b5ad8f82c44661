//! Who may hand out, send again and take back the code that makes somebody's account their own.
//!
//! Whoever holds such a code can be that person. Handing one out is therefore giving all that the person has, and nobody gives
//! what they do not hold.

use postern_protocol::name::Name;

use super::confer::Gift;
use super::judge::Ground;
use super::{Rights, Site};
use crate::model::{
    Effect,
    Permission::{self, *},
    Scope, Subject,
};

impl Rights<'_> {
    /// Whether somebody of an account may be invited.
    ///
    /// # Errors
    /// The [`Ground`] on which not.
    pub fn may_invite(&self, account: &Name) -> Result<(), Ground> {
        let own = account == self.account;
        let any_of: &'static [Permission] =
            if own { &[InviteUsers] } else { &[InviteCustomerUsers, InviteUsers] };
        self.demand(any_of, Site::Account(account))
    }

    /// Whether the invitation of somebody of an account may be sent again.
    ///
    /// # Errors
    /// The [`Ground`] on which not.
    pub fn may_resend(&self, account: &Name) -> Result<(), Ground> {
        self.demand(&[ResendInvitations], Site::Account(account))
    }

    /// Whether the invitation of somebody of an account may be taken back.
    ///
    /// # Errors
    /// The [`Ground`] on which not.
    pub fn may_revoke(&self, account: &Name) -> Result<(), Ground> {
        self.demand(&[RevokeInvitations], Site::Account(account))
    }

    /// Whether all that a user is given, now or later, could be given by this person. Without it whoever may send an invitation again
    /// could accept it in the place of somebody with more rights.
    ///
    /// # Errors
    /// The [`Ground`] on which something of it could not.
    pub fn could_give_all_of(&self, user: &Name) -> Result<(), Ground> {
        let model = self.model;
        let Some(account) = model.users.get(user).map(|user| &user.account) else { return Ok(()) };
        for assignment in model.assignments.values() {
            let is_theirs = match &assignment.subject {
                Subject::User(holder) => holder == user,
                Subject::Group(group) => {
                    model.user_groups.get(group).is_some_and(|group| group.members.contains_key(user))
                }
            };
            let role = model.role(&assignment.role).filter(|_| is_theirs);
            let (categories, scope) = (&assignment.categories, &assignment.scope);
            role.map_or(Ok(()), |body| {
                self.may_convey(Gift { role: &assignment.role, categories, scope, account }, body)
            })?;
        }
        for (group, body) in &model.device_groups {
            let Some(member) = body.members.get(user) else { continue };
            let scope = Scope::DeviceGroup { group: group.clone() };
            let (role, categories) = (&member.role, &member.categories);
            model.role(role).map_or(Ok(()), |body| {
                self.may_convey(Gift { role, categories, scope: &scope, account }, body)
            })?;
        }
        for entry in model.entries.values().filter(|entry| entry.user == *user) {
            if entry.effect == Effect::Allow {
                self.may_enter(entry, account, true)?;
            }
        }
        Ok(())
    }
}
