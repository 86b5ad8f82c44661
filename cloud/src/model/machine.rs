//! Machines behind edge routers, and the models that they are built after.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use postern_protocol::name::{Label, Name};
use postern_protocol::policy::{Carries, Destination, Kind, Network, Reach, Rules, Target, VpnRules};

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
    /// Tunnels at the same time.
    pub tunnels: u16,
    /// Seconds without a byte after which a tunnel ends.
    pub idle_s: u32,
    /// Seconds after which a tunnel ends in any case.
    pub duration_s: u32,
    /// Whether everybody only looks.
    pub view_only: bool,
    /// Where it leads from the address of a machine.
    pub offer: Offer,
    /// Named paths; HTTP services only.
    pub pages: BTreeMap<Name, Page>,
}

/// Where a service of a machine model leads, without the address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offer {
    /// Flows to the machine.
    Flows(BTreeSet<Carries>),
    /// One port of the machine.
    Port {
        /// The TCP port, not zero.
        port: u16,
        /// What it speaks, and what its gate lets through.
        rules: Rules,
    },
}

impl Offer {
    /// What it speaks.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Flows(_) => Kind::Vpn,
            Self::Port { rules, .. } => rules.kind(),
        }
    }

    /// The rules of a port.
    #[must_use]
    pub const fn rules(&self) -> Option<&Rules> {
        match self {
            Self::Flows(_) => None,
            Self::Port { rules, .. } => Some(rules),
        }
    }

    /// Where it leads at an address.
    #[must_use]
    pub fn at(&self, ip: IpAddr) -> Reach {
        match self {
            Self::Flows(carries) => {
                let net = Network::only(ip);
                let destination = |carries: &Carries| Destination { net, carries: carries.clone() };
                let mut destinations: Vec<Destination> = carries.iter().map(destination).collect();
                destinations.sort_unstable();
                Reach::Flows(VpnRules { destinations })
            }
            Self::Port { port, rules } => {
                Reach::Place { target: Target { ip, port: *port }, rules: rules.clone() }
            }
        }
    }
}

impl Template {
    /// What it speaks.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.offer.kind()
    }

    /// The service at an address.
    #[must_use]
    pub fn at(&self, ip: IpAddr) -> Service {
        Service {
            tunnels: self.tunnels,
            idle_s: self.idle_s,
            duration_s: self.duration_s,
            view_only: self.view_only,
            reach: self.offer.at(ip),
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
