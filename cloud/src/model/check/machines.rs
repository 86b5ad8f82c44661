//! Checks devices, machines and machine models: owners, addresses, and the names of services.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::policy::{Kind, Methods, Reach, Rules};

use super::{Check, Entity, Problem};
use crate::model::{Beyond, EntityKind, Machine, Model, Page};

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
                self.rules(entity, service, &template.offer.at(SOMEWHERE), &template.pages);
            }
        }
    }

    pub(super) fn devices(&mut self) {
        for (name, device) in &self.model.devices {
            let entity = (EntityKind::Device, name);
            self.known(entity, "account", EntityKind::Account, &device.account);
            for (service, body) in &device.services {
                self.rules(entity, service, &body.reach, &body.pages);
            }
            let plain: BTreeSet<&Name> = device.services.keys().collect();
            let mut taken = BTreeSet::new();
            for (service, body) in &device.services {
                for page in body.pages.keys() {
                    let Some(full) = self.page_name(entity, service, (service, page)) else { continue };
                    if plain.contains(&full) || !taken.insert(full.clone()) {
                        self.same_service(entity, format_args!("service.{service}.page.{page}"), name, full);
                    }
                }
            }
        }
        let mut taken = BTreeSet::new();
        for (name, machine) in &self.model.machines {
            let entity = (EntityKind::Machine, name);
            self.known(entity, "device", EntityKind::Device, &machine.device);
            for (service, body) in &machine.services {
                self.rules(entity, service, &body.reach, &body.pages);
                self.service_of_machine(name, machine, (service, &body.pages), &mut taken);
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
        let inherited: Vec<(&Name, &BTreeMap<Name, Page>)> = model
            .services
            .iter()
            .filter(|(service, _)| !machine.services.contains_key(*service))
            .map(|(service, template)| (service, &template.pages))
            .collect();
        if machine.address.is_none() && !inherited.is_empty() {
            self.fault(entity, "model", Problem::NoAddress { model: model_name.clone() });
        }
        for service in inherited {
            self.service_of_machine(name, machine, service, taken);
        }
    }

    /// What a device would refuse must not be published.
    fn rules(&mut self, entity: Entity<'_>, service: &Name, reach: &Reach, pages: &BTreeMap<Name, Page>) {
        if reach.kind() != Kind::Http && !pages.is_empty() {
            let problem = Problem::PagesOf { kind: reach.kind() };
            self.fault(entity, format_args!("service.{service}.page"), problem);
        }
        if let Err(fault) = reach.check_form() {
            self.fault(entity, format_args!("service.{service}"), Problem::Rules { fault });
        }
        for (name, page) in pages {
            self.within_service(entity, (service, name), reach, page);
            if page.assets.len() >= limits::ALLOWS || page.extent().is_none() {
                let problem =
                    Problem::LargePage { assets: limits::ALLOWS - 1, bytes: limits::PATTERN_BYTES - 3 };
                self.fault(entity, format_args!("service.{service}.page.{name}"), problem);
            }
        }
    }

    /// A page lets nothing through that its service does not: what it says beyond that would be believed by whoever reads it.
    fn within_service(
        &mut self,
        entity: Entity<'_>,
        (service, name): (&Name, &Name),
        reach: &Reach,
        page: &Page,
    ) {
        let Some(Rules::Http(rules)) = reach.rules() else { return };
        let page_key = format!("service.{service}.page.{name}");
        for beyond in page.beyond(rules) {
            let key = match beyond {
                Beyond::Path => "path",
                // Where nothing is said of methods there is no such key.
                Beyond::Method(_) if page.methods == Methods::READ => "path",
                Beyond::Method(_) => "methods",
                Beyond::Asset(_) => "assets",
            };
            self.fault(entity, format_args!("{page_key}.{key}"), Problem::PageBeyond(beyond));
        }
        let rows = page.rules(rules).map_or(0, |rules| rules.allow.len());
        if rows > limits::ALLOWS {
            self.fault(entity, page_key, Problem::PageRows { rows });
        }
    }

    /// `a` with `b.c` and `a.b` with `c` would both be `a.b.c`; so would a page of one be another's service.
    fn service_of_machine(
        &mut self,
        name: &Name,
        machine: &'a Machine,
        (service, pages): (&Name, &BTreeMap<Name, Page>),
        taken: &mut BTreeSet<(&'a Name, Name)>,
    ) {
        let entity = (EntityKind::Machine, name);
        let Some(full) = Model::service_name(name, service) else {
            let problem = Problem::LongService { machine: name.clone(), service: service.clone() };
            self.fault(entity, format_args!("service.{service}"), problem);
            return;
        };
        let device = &machine.device;
        if self.is_of_device(device, &full) || !taken.insert((device, full.clone())) {
            self.same_service(entity, format_args!("service.{service}"), device, full.clone());
        }
        for page in pages.keys() {
            let Some(full) = self.page_name(entity, service, (&full, page)) else { continue };
            if self.is_of_device(device, &full) || !taken.insert((device, full.clone())) {
                self.same_service(entity, format_args!("service.{service}.page.{page}"), device, full);
            }
        }
    }

    /// Whether a device has a service of its own, or a page of one, under this name.
    fn is_of_device(&self, device: &Name, full: &Name) -> bool {
        self.model.devices.get(device).is_some_and(|device| {
            device.services.contains_key(full)
                || full.as_str().rsplit_once('.').is_some_and(|_| {
                    device.services.iter().any(|(service, body)| {
                        body.pages
                            .keys()
                            .any(|page| Model::service_name(service, page).as_ref() == Some(full))
                    })
                })
        })
    }

    fn page_name(
        &mut self,
        entity: Entity<'_>,
        local: &Name,
        (service, page): (&Name, &Name),
    ) -> Option<Name> {
        let full = Model::service_name(service, page);
        if full.is_none() {
            let problem = Problem::LongPage { service: service.clone(), page: page.clone() };
            self.fault(entity, format_args!("service.{local}.page.{page}"), problem);
        }
        full
    }

    fn same_service(&mut self, entity: Entity<'_>, key: fmt::Arguments<'_>, device: &Name, service: Name) {
        self.fault(entity, key, Problem::SameService { device: device.clone(), service });
    }

    /// The account of the device that leads to a machine.
    pub(super) fn machine_account(&self, machine: &Name) -> Option<&'a Name> {
        let machine = self.model.machines.get(machine)?;
        self.model.devices.get(&machine.device).map(|device| &device.account)
    }
}

/// An address at which services of a machine model are checked: none of its own is known.
const SOMEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
