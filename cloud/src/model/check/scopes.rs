//! Checks where assignments and entries hold: what a scope names exists and lies within the holder's account.

use postern_protocol::name::Name;

use super::{Check, Entity, Problem, SCOPE_DEPTH};
use crate::model::{EntityKind, Scope};

impl<'a> Check<'a> {
    /// `account` is that of those who are assigned; none is an unknown one, which is reported elsewhere.
    pub(super) fn scope(&mut self, entity: Entity<'_>, scope: &Scope, account: Option<&Name>) {
        self.scope_at(entity, "scope", scope, account, 1);
    }

    fn scope_at(
        &mut self,
        entity: Entity<'_>,
        key: &str,
        scope: &Scope,
        account: Option<&Name>,
        depth: usize,
    ) {
        if let Scope::AllOf { scopes } = scope {
            if scopes.is_empty() {
                self.fault(entity, format_args!("{key}.all-of"), Problem::EmptyScope);
            }
            if depth > SCOPE_DEPTH {
                self.fault(entity, key, Problem::DeepScope);
                return;
            }
            for (position, scope) in scopes.iter().enumerate() {
                self.scope_at(entity, &format!("{key}.all-of[{position}]"), scope, account, depth + 1);
            }
            return;
        }
        let Some((kind, name, owner)) = self.named(scope) else { return };
        let key = format_args!("{key}.{kind}");
        if self.known(entity, key, kind, name)
            && let (Some(owner), Some(account)) = (owner, account)
        {
            self.within(entity, key, (kind, name), owner, account);
        }
    }

    /// What a scope names, and the account that owns it. A scope's key in a fleet file is the kind's word.
    fn named<'s>(&self, scope: &'s Scope) -> Option<(EntityKind, &'s Name, Option<&'s Name>)>
    where
        'a: 's,
    {
        let model = self.model;
        Some(match scope {
            Scope::Account { account, .. } => (EntityKind::Account, account, Some(account)),
            Scope::DeviceGroup { group } => {
                (EntityKind::DeviceGroup, group, model.device_groups.get(group).map(|group| &group.account))
            }
            Scope::Facility { facility } => {
                (EntityKind::Facility, facility, model.facilities.get(facility).map(|node| &node.account))
            }
            Scope::Organisation { organisation } => {
                let owner = model.organisations.get(organisation).map(|node| &node.account);
                (EntityKind::Organisation, organisation, owner)
            }
            Scope::Device { device } => {
                (EntityKind::Device, device, model.devices.get(device).map(|device| &device.account))
            }
            Scope::Machine { machine } => (EntityKind::Machine, machine, self.machine_account(machine)),
            // The first is walked by the caller; the second grants nothing, and the compiler reports it.
            Scope::AllOf { .. } | Scope::Unknown => return None,
        })
    }
}
