//! Machines behind edge routers, and the models that they are built after.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use postern_protocol::name::{Label, Name};
use postern_protocol::policy::{Kind, Rules, Target};

use super::Model;
use super::service::{Page, Service};

/// A machine behind an edge router. Its services are named `MACHINE.SERVICE` on that device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The router that leads to it.
    pub device: Name,
    /// The machine model whose services it has.
    #[serde(default)]
    pub model: Option<Name>,
    /// Where the services of its model are; needed when it has a model with services.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// What people call it.
    pub label: Option<Label>,
    /// Its own services; one of the same name takes the place of the model's.
    pub services: BTreeMap<Name, Service>,
}

/// What machines of one type have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineModel {
    /// The account that owns it; its machines belong to that account or to accounts nested in it.
    pub account: Name,
    /// What people call it.
    pub label: Option<Label>,
    /// The services of each machine of this model.
    pub services: BTreeMap<Name, Template>,
}

/// A service of a machine model: everything but the address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// The TCP port, not zero.
    pub port: u16,
    /// Tunnels at the same time.
    pub tunnels: u16,
    /// Seconds without a byte after which a tunnel ends.
    pub idle_s: u32,
    /// Seconds after which a tunnel ends in any case.
    pub duration_s: u32,
    /// Whether everybody only looks.
    pub view_only: bool,
    /// What it speaks, and what its gate lets through.
    pub rules: Rules,
    /// Named paths; HTTP services only.
    pub pages: BTreeMap<Name, Page>,
}

impl Template {
    /// What it speaks.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.rules.kind()
    }

    /// The service at an address.
    #[must_use]
    pub fn at(&self, ip: IpAddr) -> Service {
        Service {
            target: Target { ip, port: self.port },
            tunnels: self.tunnels,
            idle_s: self.idle_s,
            duration_s: self.duration_s,
            view_only: self.view_only,
            rules: self.rules.clone(),
            pages: self.pages.clone(),
        }
    }
}

impl Model {
    /// The services of a machine, its own and those of its model, by their local names.
    #[must_use]
    pub fn services_of<'a>(&'a self, machine: &'a Machine) -> BTreeMap<&'a Name, Cow<'a, Service>> {
        let mut services = BTreeMap::new();
        let model = machine.model.as_ref().and_then(|model| self.machine_models.get(model));
        if let (Some(model), Some(address)) = (model, machine.address) {
            let templates = model.services.iter();
            services.extend(templates.map(|(name, template)| (name, Cow::Owned(template.at(address)))));
        }
        services.extend(machine.services.iter().map(|(name, service)| (name, Cow::Borrowed(service))));
        services
    }
}
