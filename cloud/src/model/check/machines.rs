//! Checks devices, machines and machine models: owners, addresses, and the names of services.

use std::collections::BTreeSet;

use postern_protocol::name::Name;
use postern_protocol::policy::Kind;

use super::{Check, Entity, Problem};
use crate::model::{EntityKind, Machine, Model};

impl Model {
    /// The name under which a machine's service is known on its device.
    #[must_use]
    pub fn service_name(machine: &Name, service: &Name) -> Option<Name> {
        format!("{machine}.{service}").parse().ok()
    }
}

impl<'a> Check<'a> {
    pub(super) fn machine_models(&mut self) {
        for (name, model) in &self.model.machine_models {
            let entity = (EntityKind::MachineModel, name);
            self.known(entity, "account", EntityKind::Account, &model.account);
            for (service, template) in &model.services {
                self.pages(entity, service, template.kind, template.pages.is_empty());
            }
        }
    }

    pub(super) fn devices(&mut self) {
        for (name, device) in &self.model.devices {
            let entity = (EntityKind::Device, name);
            self.known(entity, "account", EntityKind::Account, &device.account);
            for (service, body) in &device.services {
                self.pages(entity, service, body.kind, body.pages.is_empty());
            }
        }
        let mut taken = BTreeSet::new();
        for (name, machine) in &self.model.machines {
            let entity = (EntityKind::Machine, name);
            self.known(entity, "device", EntityKind::Device, &machine.device);
            for (service, body) in &machine.services {
                self.pages(entity, service, body.kind, body.pages.is_empty());
                self.service_of_machine(name, machine, service, &mut taken);
            }
            self.model_of_machine(name, machine, &mut taken);
        }
    }

    fn model_of_machine(
        &mut self,
        name: &Name,
        machine: &'a Machine,
        taken: &mut BTreeSet<(&'a Name, Name)>,
    ) {
        let entity = (EntityKind::Machine, name);
        let Some(model_name) = &machine.model else { return };
        if !self.known(entity, "model", EntityKind::MachineModel, model_name) {
            return;
        }
        let Some(model) = self.model.machine_models.get(model_name) else { return };
        if let Some(owner) = self.machine_account(name)
            && !self.fits(owner, &model.account)
        {
            let (owner, account) = (owner.clone(), model.account.clone());
            let (model, device) = (model_name.clone(), machine.device.clone());
            self.fault(entity, "model", Problem::ForeignModel { model, account, device, owner });
        }
        let inherited: Vec<&Name> =
            model.services.keys().filter(|service| !machine.services.contains_key(*service)).collect();
        if machine.address.is_none() && !inherited.is_empty() {
            self.fault(entity, "model", Problem::NoAddress { model: model_name.clone() });
        }
        for service in inherited {
            self.service_of_machine(name, machine, service, taken);
        }
    }

    fn pages(&mut self, entity: Entity<'_>, service: &Name, kind: Kind, none: bool) {
        if kind != Kind::Http && !none {
            self.fault(entity, format_args!("service.{service}.page"), Problem::PagesOf { kind });
        }
    }

    /// `a` with `b.c` and `a.b` with `c` would both be `a.b.c`.
    fn service_of_machine(
        &mut self,
        name: &Name,
        machine: &'a Machine,
        service: &Name,
        taken: &mut BTreeSet<(&'a Name, Name)>,
    ) {
        let entity = (EntityKind::Machine, name);
        let Some(full) = Model::service_name(name, service) else {
            let problem = Problem::LongService { machine: name.clone(), service: service.clone() };
            self.fault(entity, format_args!("service.{service}"), problem);
            return;
        };
        let device = &machine.device;
        let own = self.model.devices.get(device).is_some_and(|device| device.services.contains_key(&full));
        if own || !taken.insert((device, full.clone())) {
            let problem = Problem::SameService { device: device.clone(), service: full };
            self.fault(entity, format_args!("service.{service}"), problem);
        }
    }

    /// The account of the device that leads to a machine.
    pub(super) fn machine_account(&self, machine: &Name) -> Option<&'a Name> {
        let machine = self.model.machines.get(machine)?;
        self.model.devices.get(&machine.device).map(|device| &device.account)
    }
}
