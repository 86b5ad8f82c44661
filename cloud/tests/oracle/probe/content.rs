//! What a snapshot contains: everything that the device needs, and nothing more.

use std::collections::{BTreeMap, BTreeSet};

use postern_protocol::name::Name;
use postern_protocol::policy::{Origin, Snapshot};

use super::{Disagreement, Outcome, differ};
use crate::evaluator::{allowances, closings, services, vetoes};
use crate::keyring;
use crate::real::Real;
use crate::world::{HIDDEN, World, id_of, number_of};

/// What a device needs to know, as the model says it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    assigned: bool,
    /// Ids and keys of those who are allowed anything, and who of them is disabled.
    users: BTreeSet<String>,
    services: BTreeSet<String>,
    origins: BTreeSet<Origin>,
    /// Names of cases with the services that they open to somebody.
    cases: BTreeMap<String, BTreeSet<String>>,
}

pub(super) fn put(real: &mut Real<'_>, device: &Name) -> Result<Outcome, Box<Disagreement>> {
    let (world, received) = (real.world, real.device(device));
    let snapshot = received.index.snapshot();
    let (expected, found) = (needs(world, device), contained(snapshot));
    if expected != found {
        return differ(("content", device), expected, found);
    }
    let bounds = world.model.devices.get(device).map(|device| (device.limits, device.freshness));
    let found = (snapshot.limits, snapshot.freshness);
    if bounds.is_some_and(|bounds| bounds != found) {
        return differ(("limits and freshness", device), bounds, found);
    }
    let foreign = foreign(world, &expected, &received.sealed);
    if !foreign.is_empty() {
        return differ(("foreign names in the bytes", device), "none", foreign);
    }
    let idle = idle(snapshot);
    if idle.is_empty() { Ok(Outcome::Other) } else { differ(("rows of no use", device), "none", idle) }
}

fn needs(world: &World, device: &Name) -> Needs {
    let model = &world.model;
    let mut needs = Needs { assigned: model.devices.contains_key(device), ..Needs::default() };
    for place in services(model, device) {
        let mut demands_case = false;
        for (user, enrolled) in &world.roster.users {
            let allowances = allowances(model, user, device, &place);
            if allowances.is_empty() || enrolled.keys.is_empty() {
                continue;
            }
            needs.users.insert(format!("{:?} {:?} {}", enrolled.id, enrolled.keys, enrolled.disabled));
            needs.services.insert(place.name.clone());
            demands_case |= allowances.iter().any(|allowance| allowance.needs_case);
            needs.origins.extend(allowances.into_iter().map(|allowance| allowance.origin));
            needs.origins.extend(vetoes(model, user, device, &place).into_iter().map(|veto| veto.origin));
            needs.origins.extend(closings(model, user, device, &place).into_iter().map(|veto| veto.origin));
        }
        for (name, case) in model.cases.iter().filter(|_| demands_case) {
            use postern_cloud::model::{CaseSubject, Visibility};
            let about = match &case.subject {
                CaseSubject::Machine(machine) => place.machine == Some(machine),
                CaseSubject::Device(named) => named == device,
            };
            if about && case.visibility == Visibility::Shared && (case.from.is_some() || case.until.is_some())
            {
                needs.cases.entry(name.to_string()).or_default().insert(place.name.clone());
            }
        }
    }
    needs
}

fn contained(snapshot: &Snapshot) -> Needs {
    let service = |at: &u32| snapshot.services[usize::try_from(*at).unwrap()].name.to_string();
    let user = |user: &postern_protocol::policy::User| {
        let keys: BTreeSet<_> = user.keys.iter().copied().collect();
        format!("{:?} {keys:?} {}", user.id, user.disabled)
    };
    Needs {
        assigned: snapshot.assigned,
        users: snapshot.users.iter().map(user).collect(),
        services: snapshot.services.iter().map(|service| service.name.to_string()).collect(),
        origins: snapshot.origins.iter().cloned().collect(),
        cases: snapshot
            .cases
            .iter()
            .map(|case| (case.name.to_string(), case.services.iter().map(service).collect()))
            .collect(),
    }
}

/// Names, ids and keys in the bytes that the device has no need of.
fn foreign(world: &World, needs: &Needs, sealed: &[u8]) -> Vec<String> {
    let model = &world.model;
    let mut strange: BTreeSet<&str> = [HIDDEN].into();
    strange.extend(model.accounts.keys().map(Name::as_str));
    strange.extend(model.users.keys().map(Name::as_str));
    strange.extend(model.devices.keys().map(Name::as_str));
    strange.extend(model.machine_models.keys().map(Name::as_str));
    strange.extend(model.facilities.keys().map(Name::as_str));
    strange.extend(model.organisations.keys().map(Name::as_str));
    strange.extend(model.user_groups.keys().map(Name::as_str));
    strange.extend(model.device_groups.keys().map(Name::as_str));
    strange.extend(model.roles.keys().map(Name::as_str));
    strange.extend(model.assignments.keys().map(Name::as_str));
    strange.extend(model.cases.keys().map(Name::as_str).filter(|case| !needs.cases.contains_key(*case)));
    for origin in &needs.origins {
        let group = match origin {
            Origin::Assignment { group, .. } => group.as_ref(),
            Origin::Membership { .. } | Origin::Entry { .. } => None,
        };
        for label in [Some(origin.name()), origin.role(), group].into_iter().flatten() {
            strange.remove(label.as_str());
        }
    }
    // Byte for byte as characters: searching a text is fast without optimisation too.
    let text = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
    let sealed = text(sealed);
    let holds = |bytes: &[u8]| sealed.contains(&text(bytes));
    let mut found: Vec<String> =
        strange.into_iter().filter(|name| holds(name.as_bytes())).map(str::to_owned).collect();
    for (user, enrolled) in &world.roster.users {
        if needs.users.iter().any(|known| known.starts_with(&format!("{:?} ", enrolled.id))) {
            continue;
        }
        let number = number_of(user);
        let keys = (0..keyring::KEYS).map(|which| keyring::public_key(number, which));
        if holds(id_of(number).as_bytes()) || keys.into_iter().any(|key| holds(key.as_bytes())) {
            found.push(format!("id or key of {user}"));
        }
    }
    found
}

/// Rows that no grant and no prohibition leads to.
fn idle(snapshot: &Snapshot) -> Vec<String> {
    let mut idle = Vec::new();
    let rows = || {
        let grants = snapshot.grants.iter().map(|grant| (grant.user, grant.category, grant.origin));
        let prohibitions = snapshot.prohibitions.iter().map(|row| (row.user, row.category, row.origin));
        grants.chain(prohibitions)
    };
    for (at, user) in (0u32..).zip(&snapshot.users) {
        if !snapshot.grants.iter().any(|grant| grant.user == at) {
            idle.push(format!("user {:?}", user.id));
        }
    }
    for (at, category) in (0u32..).zip(&snapshot.categories) {
        if !rows().any(|(_, row, _)| row == at) {
            idle.push(format!("category {}", category.name));
        }
    }
    for (at, path) in (0u32..).zip(&snapshot.paths) {
        if !snapshot.prohibitions.iter().any(|row| row.path == Some(at)) {
            idle.push(format!("path {path}"));
        }
    }
    for (at, origin) in (0u32..).zip(&snapshot.origins) {
        if !rows().any(|(_, _, row)| row == at) {
            idle.push(format!("{origin}"));
        }
    }
    idle
}
