//! Checks device groups with their memberships, facilities and organisations.

use std::collections::BTreeMap;

use postern_protocol::name::Name;

use super::{Check, Entity, Problem};
use crate::model::{EntityKind, ScopeNode, Tenant};

impl Check<'_> {
    pub(super) fn places(&mut self) {
        for (name, group) in &self.model.device_groups {
            let entity = (EntityKind::DeviceGroup, name);
            self.known(entity, "account", EntityKind::Account, &group.account);
            for device in &group.devices {
                self.contained_device(entity, device, &group.account);
            }
            for (user, membership) in &group.members {
                self.member(entity, format_args!("member.{user}"), user, &group.account);
                let key = |key: &str| format!("member.{user}.{key}");
                self.opened(entity, &key, &membership.role, &membership.categories);
                self.offline(entity, &key("offline"), &membership.role, membership.offline);
                self.holder(entity, &key("role"), &membership.role, user);
            }
        }
        let model = self.model;
        self.scope_nodes(EntityKind::Facility, &model.facilities, Tenant::OperatingCompany);
        self.scope_nodes(EntityKind::Organisation, &model.organisations, Tenant::ServiceProvider);
    }

    fn scope_nodes(&mut self, kind: EntityKind, nodes: &BTreeMap<Name, ScopeNode>, expected: Tenant) {
        for (name, node) in nodes {
            let entity = (kind, name);
            if self.known(entity, "account", EntityKind::Account, &node.account)
                && let Some(account) = self.model.accounts.get(&node.account)
                && account.tenant != expected
            {
                let (account, found) = (node.account.clone(), account.tenant);
                self.fault(entity, "account", Problem::WrongTenant { account, found, expected });
            }
            for device in &node.devices {
                self.contained_device(entity, device, &node.account);
            }
            for machine in &node.machines {
                let key = format_args!("machines[{machine}]");
                if self.known(entity, key, EntityKind::Machine, machine)
                    && let Some(owner) = self.machine_account(machine)
                {
                    self.within(entity, key, (EntityKind::Machine, machine), owner, &node.account);
                }
            }
        }
    }

    fn contained_device(&mut self, entity: Entity<'_>, device: &Name, account: &Name) {
        let key = format_args!("devices[{device}]");
        if self.known(entity, key, EntityKind::Device, device)
            && let Some(body) = self.model.devices.get(device)
        {
            self.within(entity, key, (EntityKind::Device, device), &body.account, account);
        }
    }
}
