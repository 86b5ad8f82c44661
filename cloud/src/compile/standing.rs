//! How matters stand on one device: what every source that reaches it grants there, and what is denied.
//!
//! 1. [`Standing::new`] lists the services of the device and of the machines behind it, and their pages, each as a
//!    service of its own.
//! 2. [`Standing::allow`] resolves one source: its reach, what its categories select within it, and those of its users
//!    who may reach devices of this account at all.
//! 3. [`Standing::deny`] adds what is denied to users of what they were granted, and the paths that this closes in the rest of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use postern_protocol::name::Name;
use postern_protocol::policy::{Mode, Pattern};
use postern_protocol::trust::sealed::SealingKey;

use super::closing::closed_by;
use super::places::Places;
use super::reach::Reach;
use super::source::{Holder, Pick, Source};
use super::window::Window;
use crate::model::{Model, Service};

/// What is granted and denied on one device.
#[derive(Debug)]
pub(super) struct Standing<'s, 'a> {
    model: &'a Model,
    places: &'s Places<'a>,
    device: &'a Name,
    /// The account of the device and those that it is nested in: users of other accounts reach nothing here.
    lineage: Vec<&'a Name>,
    endpoints: Vec<Endpoint<'a>>,
    selections: Vec<Selected<'a>>,
    known: BTreeMap<(Pick<'a>, Reach<'a>), Option<usize>>,
    /// What a selection closes where it is denied, as selections.
    closing: BTreeMap<usize, Vec<usize>>,
    grants: Vec<Rule<'s, 'a>>,
    bans: Vec<Rule<'s, 'a>>,
}

/// A service with its two names.
#[derive(Debug)]
pub(crate) struct Endpoint<'a> {
    /// As it is known on the device.
    pub(crate) name: Name,
    /// As its machine or device calls it: what categories select by.
    pub(crate) local: &'a Name,
    /// The page of that service which this is; none for the service itself.
    pub(crate) page: Option<Name>,
    /// Where that page is, with all below it.
    pub(crate) extent: Option<Pattern>,
    pub(crate) machine: Option<&'a Name>,
    pub(crate) service: Cow<'a, Service>,
}

/// What a category or entry selects within a reach; never nothing.
#[derive(Debug)]
pub(super) struct Selected<'a> {
    pub(super) pick: Pick<'a>,
    /// The machines to which the reach narrows it; none when it is the whole device.
    pub(super) machines: Option<Vec<&'a Name>>,
    /// Positions of endpoints, ascending.
    pub(super) services: Vec<usize>,
    /// The path that is denied in these services; none is all of them. Only what is denied has one.
    pub(super) closes: Option<Pattern>,
}

/// One user and one selection, because of one source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule<'s, 'a> {
    pub(super) holder: Holder<'a>,
    /// The position of the selection.
    pub(super) selected: usize,
    pub(super) source: &'s Source<'a>,
    pub(super) window: Window,
}

impl<'s, 'a> Standing<'s, 'a> {
    /// Nothing yet; none for a device that is not in the model.
    pub(super) fn new(model: &'a Model, places: &'s Places<'a>, device: &Name) -> Option<Self> {
        let (device, body) = model.devices.get_key_value(device)?;
        // Without services no selection selects anything: a closed device grants nothing to anybody.
        let endpoints = if body.closed { Vec::new() } else { endpoints(model, places, device) };
        Some(Self {
            model,
            places,
            device,
            lineage: model.ancestry(&body.account).collect(),
            endpoints,
            selections: Vec::new(),
            known: BTreeMap::new(),
            closing: BTreeMap::new(),
            grants: Vec::new(),
            bans: Vec::new(),
        })
    }

    /// Adds what a source grants to some users.
    pub(super) fn allow<'h>(
        &mut self,
        source: &'s Source<'a>,
        holders: impl Iterator<Item = &'h Holder<'a>> + Clone,
    ) where
        'a: 'h,
    {
        let reach = source.reach(self.places, self.device);
        if reach == Reach::Nothing {
            return;
        }
        for pick in &source.picks {
            let Some(selected) = self.select(*pick, &reach) else { continue };
            let lineage = &self.lineage;
            let reaching = holders.clone().filter(|holder| lineage.contains(&holder.account));
            self.grants.extend(reaching.filter_map(|holder| {
                let window = source.window(holder)?;
                Some(Rule { holder: *holder, selected, source, window })
            }));
        }
    }

    /// Adds what entries deny to the users who were granted something of it.
    pub(super) fn deny(&mut self, against: impl Fn(&Name) -> &'s [Source<'a>]) {
        let mut granted: BTreeMap<&'a Name, (Holder<'a>, BTreeSet<usize>)> = BTreeMap::new();
        for rule in self.grants.iter().filter(|rule| !against(rule.holder.user).is_empty()) {
            let (_, services) = granted.entry(rule.holder.user).or_insert((rule.holder, BTreeSet::new()));
            services.extend(self.selections.get(rule.selected).into_iter().flat_map(|one| &one.services));
        }
        for (user, (holder, granted)) in granted {
            for source in against(user) {
                // The end of a membership in a group bounds what the group gives, never a denial.
                let holder = Holder { until: None, ..holder };
                let Some(window) = source.window(&holder) else { continue };
                let reach = source.reach(self.places, self.device);
                let denied: Vec<usize> =
                    source.picks.iter().filter_map(|pick| self.select(*pick, &reach)).collect();
                let closing: Vec<usize> = denied.iter().flat_map(|denied| self.closing(*denied)).collect();
                for selected in denied.into_iter().chain(closing) {
                    if self.services(selected).iter().any(|service| granted.contains(service)) {
                        self.bans.push(Rule { holder, selected, source, window });
                    }
                }
            }
        }
    }

    pub(super) const fn device(&self) -> &'a Name {
        self.device
    }

    /// Every service of the device and of the machines behind it, ascending by name.
    pub(super) fn endpoints(&self) -> &[Endpoint<'a>] {
        &self.endpoints
    }

    pub(super) fn selections(&self) -> &[Selected<'a>] {
        &self.selections
    }

    pub(super) fn grants(&self) -> &[Rule<'s, 'a>] {
        &self.grants
    }

    pub(super) fn bans(&self) -> &[Rule<'s, 'a>] {
        &self.bans
    }

    /// The positions of the services of a selection.
    pub(super) fn services(&self, selected: usize) -> &[usize] {
        self.selections.get(selected).map_or(&[], |selected| &selected.services)
    }

    /// The path that a selection closes where it is denied; none is all of it.
    pub(super) fn closes(&self, selected: usize) -> Option<&Pattern> {
        self.selections.get(selected).and_then(|selected| selected.closes.as_ref())
    }

    /// What may be done in a selection.
    pub(super) fn mode(&self, selected: usize) -> Mode {
        self.selections.get(selected).map_or(Mode::ViewOnly, |selected| selected.pick.mode(self.model))
    }

    /// Whether what a selection permits is recorded.
    pub(super) fn records(&self, selected: usize) -> bool {
        self.selections.get(selected).is_some_and(|selected| selected.pick.records(self.model))
    }

    /// The recording key of the device's account, or of the nearest above it that has one.
    pub(super) fn recording_key(&self) -> Option<SealingKey> {
        self.lineage.iter().find_map(|account| self.model.accounts.get(*account)?.recording_key)
    }

    /// The positions of what a selection closes beside itself where it is denied.
    fn closing(&mut self, denied: usize) -> Vec<usize> {
        if let Some(known) = self.closing.get(&denied) {
            return known.clone();
        }
        let Some(Selected { pick, machines, services, .. }) = self.selections.get(denied) else {
            return Vec::new();
        };
        let (pick, machines) = (*pick, machines.clone());
        let closed = closed_by(&self.endpoints, services);
        let from = self.selections.len();
        self.selections.extend(closed.into_iter().map(|(path, services)| {
            let machines = machines.clone();
            Selected { pick, machines, services, closes: Some(path) }
        }));
        let closing: Vec<usize> = (from..self.selections.len()).collect();
        self.closing.insert(denied, closing.clone());
        closing
    }

    /// The position of what is picked within a reach; none when that is nothing.
    fn select(&mut self, pick: Pick<'a>, reach: &Reach<'a>) -> Option<usize> {
        let key = (pick, reach.clone());
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let reached =
            self.endpoints.iter().enumerate().filter(|(_, endpoint)| reach.contains(endpoint.machine));
        let picked =
            reached.filter(|(_, endpoint)| pick.selects(self.model, endpoint)).map(|(position, _)| position);
        let services: Vec<usize> = picked.collect();
        let position = (!services.is_empty()).then_some(self.selections.len());
        if position.is_some() {
            let machines = match reach {
                Reach::Machines(machines) => Some(machines.clone()),
                Reach::Nothing | Reach::Whole => None,
            };
            self.selections.push(Selected { pick, machines, services, closes: None });
        }
        self.known.insert(key, position);
        position
    }
}

/// Every service of a device and of the machines behind it, and every page of one, ascending by name.
pub(super) fn endpoints<'a>(model: &'a Model, places: &Places<'a>, device: &Name) -> Vec<Endpoint<'a>> {
    let own = model.devices.get(device).map(|device| &device.services).into_iter().flatten();
    let mut endpoints = Vec::new();
    for (local, service) in own {
        with_pages(&mut endpoints, local.clone(), (local, None), Cow::Borrowed(service));
    }
    for machine in places.machines(device) {
        let Some(body) = model.machines.get(*machine) else { continue };
        for (local, service) in model.services_of(body) {
            // A name that is too long was refused by the check.
            let Some(name) = Model::service_name(machine, local) else { continue };
            with_pages(&mut endpoints, name, (local, Some(machine)), service);
        }
    }
    endpoints.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    endpoints
}

/// Adds a service and its pages.
fn with_pages<'a>(
    endpoints: &mut Vec<Endpoint<'a>>,
    name: Name,
    (local, machine): (&'a Name, Option<&'a Name>),
    service: Cow<'a, Service>,
) {
    let pages = service.pages.iter().filter_map(|(page, body)| {
        let name = Model::service_name(&name, page)?;
        let service = Cow::Owned(service.page(body)?);
        Some(Endpoint { name, local, page: Some(page.clone()), extent: body.extent(), machine, service })
    });
    endpoints.extend(pages);
    endpoints.push(Endpoint { name, local, page: None, extent: None, machine, service });
}
