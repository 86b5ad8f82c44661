//! Checks what device groups, facilities and organisations contain.

use std::collections::BTreeMap;

use postern_protocol::name::Name;

use super::{Check, Problem};
use crate::model::{EntityKind, ScopeNode, Tenant};

impl Check<'_> {
    pub(super) fn places(&mut self) {
        for (name, group) in &self.model.device_groups {
            let entity = (EntityKind::DeviceGroup, name);
            self.known(entity, "account", EntityKind::Account, &group.account);
            for device in &group.devices {
                self.contained_device(entity, device, &group.account);
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
                let key = format!("machines[{machine}]");
                if self.known(entity, key.as_str(), EntityKind::Machine, machine)
                    && let Some(owner) = self.machine_account(machine)
                {
                    self.within(entity, key, (EntityKind::Machine, machine), &owner, &node.account);
                }
            }
        }
    }

    fn contained_device(&mut self, entity: (EntityKind, &Name), device: &Name, account: &Name) {
        let key = format!("devices[{device}]");
        if self.known(entity, key.as_str(), EntityKind::Device, device)
            && let Some(body) = self.model.devices.get(device)
        {
            self.within(entity, key, (EntityKind::Device, device), &body.account, account);
        }
    }

    /// The account of the device that leads to a machine.
    pub(super) fn machine_account(&self, machine: &Name) -> Option<Name> {
        let machine = self.model.machines.get(machine)?;
        self.model.devices.get(&machine.device).map(|device| device.account.clone())
    }
}
