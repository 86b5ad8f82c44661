//! Who is allowed and denied what in a random world.

use std::collections::BTreeSet;

use postern_cloud::model::{
    Assignment, Case, CaseSubject, Effect, Entry, Essential, Membership, Model, Permission, Scope, Selection,
    Subject, Tenant, Visibility,
};
use postern_protocol::name::Name;

use super::{
    AGES, SERVICES, any, category, custom_role, devices_within, hidden, machines_within, name, parsed,
    sometimes, users_within, window,
};
use crate::dice::Dice;

/// Categories and custom roles.
pub(super) fn rules(model: &mut Model, dice: &mut Dice) {
    for number in 0..dice.within(1, 4) {
        let name = match dice.within(0, 19) {
            // As long as a name can be: nothing can be appended.
            0 => parsed(&format!("view-{number}-{}", "x".repeat(57))),
            // The name that an entry would like to take.
            1 => parsed("entry.entry-0"),
            _ => name("view", number),
        };
        model.categories.insert(name, category(dice));
    }
    let categories: Vec<Name> = model.categories.keys().cloned().collect();
    for number in 0..dice.within(1, 4) {
        let tenant = if dice.percent(50) { Tenant::OperatingCompany } else { Tenant::ServiceProvider };
        let opened = dice.some(&categories, 60);
        model.roles.insert(name("role", number), custom_role(tenant, opened, dice));
    }
}

/// Memberships of users in device groups.
pub(super) fn members(model: &mut Model, dice: &mut Dice) {
    let groups: Vec<(Name, Name)> =
        model.device_groups.iter().map(|(name, group)| (name.clone(), group.account.clone())).collect();
    for (group, account) in groups {
        for user in users_within(model, &account) {
            if dice.percent(30) {
                let Some((role, categories)) = role(model, dice, std::slice::from_ref(&user)) else {
                    continue;
                };
                let offline = said(&role, dice);
                let membership = Membership { role, categories, until: sometimes(dice, 35), offline };
                if let Some(group) = model.device_groups.get_mut(&group) {
                    group.members.insert(user, membership);
                }
            }
        }
    }
}

pub(super) fn assignments(model: &mut Model, dice: &mut Dice) {
    let groups: Vec<Name> = model.user_groups.keys().cloned().collect();
    for number in 0..dice.within(1, 6) {
        let group = dice.pick(&groups).filter(|_| dice.percent(45)).cloned();
        let (subject, account, holders) = match group {
            Some(group) => {
                let body = &model.user_groups[&group];
                let holders: Vec<Name> = body.members.keys().cloned().collect();
                (Subject::Group(group.clone()), body.account.clone(), holders)
            }
            None => {
                let user = any(&model.users, dice);
                (Subject::User(user.clone()), model.users[&user].account.clone(), vec![user])
            }
        };
        let Some((role, categories)) = role(model, dice, &holders) else { continue };
        let (from, until) = window(dice);
        let (scope, needs_case) = (scope(model, dice, &account, 0), dice.percent(12));
        let (offline, needs_approval) = (said(&role, dice), dice.percent(25));
        let assignment =
            Assignment { subject, role, categories, scope, from, until, needs_case, needs_approval, offline };
        model.assignments.insert(name("grant", number), assignment);
    }
}

pub(super) fn entries(model: &mut Model, dice: &mut Dice) {
    let categories: Vec<Name> = model.categories.keys().cloned().collect();
    for number in 0..dice.within(0, 4) {
        let user = any(&model.users, dice);
        let account = model.users[&user].account.clone();
        // Nobody is allowed anything beside roles that open nothing.
        let allowable = model.tunnel_users().contains(&user);
        let effect = if allowable && dice.percent(50) { Effect::Allow } else { Effect::Deny };
        let selection = if dice.percent(50) {
            Selection::Category(dice.pick(&categories).unwrap().clone())
        } else {
            Selection::Service(parsed(dice.pick(&SERVICES).unwrap()))
        };
        let everywhere = effect == Effect::Deny && dice.percent(50);
        let scope = (!everywhere).then(|| scope(model, dice, &account, 0));
        let (from, until) = window(dice);
        let age = (effect == Effect::Allow && dice.percent(25)).then(|| *dice.pick(&AGES).unwrap());
        let offline = effect == Effect::Allow && dice.percent(40);
        let needs_approval = effect == Effect::Allow && dice.percent(30);
        let second_factor_s = age;
        let entry =
            Entry { user, effect, selection, scope, from, until, second_factor_s, needs_approval, offline };
        // With `entry.` before it this is longer than a name can be.
        let long = if dice.percent(8) { format!("-{}", "x".repeat(53)) } else { String::new() };
        model.entries.insert(parsed(&format!("entry-{number}{long}")), entry);
    }
}

pub(super) fn cases(model: &mut Model, dice: &mut Dice) {
    for number in 0..dice.within(0, 3) {
        let machines: Vec<Name> = model.machines.keys().cloned().collect();
        let machine = dice.pick(&machines).filter(|_| dice.percent(60)).cloned();
        let subject =
            machine.map_or_else(|| CaseSubject::Device(any(&model.devices, dice)), CaseSubject::Machine);
        let visibility = if dice.percent(75) { Visibility::Shared } else { Visibility::Internal };
        let (from, until) = window(dice);
        model.cases.insert(name("case", number), Case { subject, visibility, from, until, label: hidden() });
    }
}

/// A role that all of these users may hold, with the categories that go with it; none when there is no such role.
fn role(model: &Model, dice: &mut Dice, holders: &[Name]) -> Option<(Name, BTreeSet<Name>)> {
    let tenant = |user: &Name| model.accounts[&model.users[user].account].tenant;
    let fits = |role: Option<Tenant>| role.is_none_or(|role| holders.iter().all(|user| tenant(user) == role));
    let custom: Vec<Name> =
        model.roles.iter().filter(|(_, role)| fits(role.tenant)).map(|(name, _)| name.clone()).collect();
    if let Some(role) = dice.pick(&custom).filter(|_| dice.percent(65)) {
        return Some((role.clone(), BTreeSet::new()));
    }
    let opens = |role: &Name| Essential::roles()[role].permissions.contains(&Permission::UseRemoteAccess);
    let useful = dice.percent(85);
    let essential: Vec<Name> = Essential::roles()
        .iter()
        .filter(|(name, role)| fits(role.tenant) && (!useful || opens(name)))
        .map(|(name, _)| name.clone())
        .collect();
    let role = dice.pick(&essential)?;
    let categories: Vec<Name> = model.categories.keys().cloned().collect();
    let opened = if opens(role) && dice.percent(90) { dice.some(&categories, 60) } else { BTreeSet::new() };
    Some((role.clone(), opened))
}

/// What an assignment or membership says about work without the cloud: of a custom role it can only refuse, and of one
/// that uses no tunnels it says nothing.
fn said(role: &Name, dice: &mut Dice) -> Option<bool> {
    match Essential::roles().get(role) {
        Some(essential) if essential.permissions.contains(&Permission::UseRemoteAccess) => {
            *dice.pick(&[None, Some(false), Some(true), Some(true)]).unwrap()
        }
        Some(_) => None,
        None => dice.percent(25).then_some(false),
    }
}

/// A scope within an account.
fn scope(model: &Model, dice: &mut Dice, account: &Name, depth: usize) -> Scope {
    let accounts: Vec<Name> =
        model.accounts.keys().filter(|it| model.is_within(it, account)).cloned().collect();
    let whole = Scope::Account { account: dice.pick(&accounts).unwrap().clone(), nested: dice.percent(60) };
    let owned = |owner: &Name| model.is_within(owner, account);
    match dice.within(0, 99) {
        0..=17 => {
            let groups = model.device_groups.iter().filter(|(_, group)| owned(&group.account));
            let groups: Vec<Name> = groups.map(|(name, _)| name.clone()).collect();
            dice.pick(&groups).map_or(whole, |group| Scope::DeviceGroup { group: group.clone() })
        }
        18..=29 => {
            let nodes = model.facilities.iter().filter(|(_, node)| owned(&node.account));
            let nodes: Vec<Name> = nodes.map(|(name, _)| name.clone()).collect();
            dice.pick(&nodes).map_or(whole, |facility| Scope::Facility { facility: facility.clone() })
        }
        30..=40 => {
            let nodes = model.organisations.iter().filter(|(_, node)| owned(&node.account));
            let nodes: Vec<Name> = nodes.map(|(name, _)| name.clone()).collect();
            dice.pick(&nodes).map_or(whole, |node| Scope::Organisation { organisation: node.clone() })
        }
        41..=52 => {
            let devices = devices_within(model, account);
            dice.pick(&devices).map_or(whole, |device| Scope::Device { device: device.clone() })
        }
        53..=64 => {
            let machines = machines_within(model, account);
            dice.pick(&machines).map_or(whole, |machine| Scope::Machine { machine: machine.clone() })
        }
        65..=80 if depth < 2 => {
            let count = *dice.pick(&[1, 2, 2, 2, 2, 3]).unwrap();
            Scope::AllOf { scopes: (0..count).map(|_| scope(model, dice, account, depth + 1)).collect() }
        }
        81 => Scope::Unknown,
        _ => whole,
    }
}
