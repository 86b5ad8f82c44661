//! Checks what single users are allowed or denied, and service cases.

use super::{Check, Problem};
use crate::model::{CaseSubject, Effect, EntityKind, Selection};

impl Check<'_> {
    pub(super) fn entries(&mut self) {
        let tunnel_users = self.model.tunnel_users();
        for (name, entry) in &self.model.entries {
            let entity = (EntityKind::Entry, name);
            // Whoever has no role reaches nothing, and basic roles open nothing: an entry alone must not change that.
            if self.known(entity, "user", EntityKind::User, &entry.user)
                && entry.effect == Effect::Allow
                && !tunnel_users.contains(&entry.user)
            {
                self.fault(entity, "user", Problem::NoRole { user: entry.user.clone() });
            }
            match &entry.selection {
                Selection::Category(category) => {
                    self.known(entity, "category", EntityKind::Category, category);
                }
                // Devices and machines have services of any name; one that nothing has is a warning.
                Selection::Service(_) => {}
            }
            self.window(entity, entry.from, entry.until);
            match (entry.effect, &entry.scope) {
                (Effect::Allow, None) => self.fault(entity, "", Problem::NoScope),
                (Effect::Allow | Effect::Deny, Some(scope)) => {
                    let account = self.model.users.get(&entry.user).map(|user| &user.account);
                    self.scope(entity, scope, account);
                }
                (Effect::Deny, None) => {}
            }
            if entry.effect == Effect::Deny && entry.offline {
                self.fault(entity, "offline", Problem::DenyOffline);
            }
            if entry.effect == Effect::Deny && entry.second_factor_s.is_some() {
                self.fault(entity, "second-factor", Problem::DenyFactor);
            }
            if entry.effect == Effect::Deny && entry.needs_approval {
                self.fault(entity, "needs-approval", Problem::DenyApproval);
            }
        }
    }

    pub(super) fn cases(&mut self) {
        for (name, case) in &self.model.cases {
            let entity = (EntityKind::Case, name);
            match &case.subject {
                CaseSubject::Machine(machine) => self.known(entity, "machine", EntityKind::Machine, machine),
                CaseSubject::Device(device) => self.known(entity, "device", EntityKind::Device, device),
            };
            self.window(entity, case.from, case.until);
        }
    }
}
