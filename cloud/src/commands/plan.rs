//! The plan: what changes in the model, who gains and who loses what, grouped so that a person can read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;

use postern_protocol::name::Name;
use postern_protocol::policy::{Kind, Reach};

use super::words::{Conditions, span};
use crate::compile::Warning;
use crate::diff::rules::beyond;
use crate::diff::{Access, Diff, Entity};

// Writing to a string cannot fail; the results below are named to say so.

/// The plan in words.
pub(super) fn words(diff: &Diff, warnings: &BTreeSet<Warning>) -> String {
    let mut text = String::new();
    if diff.is_empty() {
        text.push_str("The model is the same; nothing changes.\n");
    } else {
        let Diff { added, changed, removed, .. } = diff;
        let counts = format!("{} added, {} changed, {} removed", added.len(), changed.len(), removed.len());
        let _infallible = writeln!(text, "The model changes: {counts}.");
        write_entities(&mut text, '+', added);
        write_entities(&mut text, '~', changed);
        write_entities(&mut text, '-', removed);
        write_accesses(&mut text, "gains", (&diff.gained, &diff.lost), &diff.rewindowed);
        write_accesses(&mut text, "loses", (&diff.lost, &diff.gained), &diff.rewindowed);
        if diff.gained.is_empty() && diff.lost.is_empty() {
            text.push_str("Nobody gains or loses access.\n");
        }
    }
    write_warnings(&mut text, warnings);
    text
}

pub(super) fn write_warnings(text: &mut String, warnings: &BTreeSet<Warning>) {
    for warning in warnings.iter().take(SHOWN) {
        let _infallible = writeln!(text, "Warning: {warning}.");
    }
    write_rest(text, warnings.len());
}

/// Devices that take a router along which was enrolled before.
pub(super) fn write_returning(text: &mut String, devices: &[Name]) {
    for device in devices.iter().take(SHOWN) {
        let _infallible = writeln!(
            text,
            "Device {device} was in the model before: the router that was enrolled under that name takes its policy. \
             Give another router another name."
        );
    }
    write_rest(text, devices.len());
}

/// Users who lose what they sign in with.
pub(super) fn write_leaving(text: &mut String, users: &[Name]) {
    for user in users.iter().take(SHOWN) {
        let _infallible = writeln!(
            text,
            "User {user} leaves the model with password, one-time codes and keys: who is called {user} later is \
             somebody else."
        );
    }
    write_rest(text, users.len());
}

/// `count` things, of which [`SHOWN`] were written.
pub(super) fn write_rest(text: &mut String, count: usize) {
    if let Some(rest) = count.checked_sub(SHOWN).filter(|rest| *rest > 0) {
        let _infallible = writeln!(text, "  and {rest} more (all with --json)");
    }
}

fn write_entities(text: &mut String, sign: char, entities: &[Entity]) {
    for entity in entities.iter().take(SHOWN) {
        let _infallible = writeln!(text, "  {sign} {} {}", entity.kind, entity.name);
    }
    write_rest(text, entities.len());
}

/// `others` is what goes the other way: a service in both lists leads somewhere else or has other conditions.
fn write_accesses(
    text: &mut String,
    verb: &str,
    (accesses, others): (&[Access], &[Access]),
    rewindowed: &BTreeSet<Name>,
) {
    let ends: BTreeMap<What<'_>, End<'_>> = others.iter().map(|other| (what(other), end(other))).collect();
    let mut by_user: BTreeMap<&Name, Vec<&Access>> = BTreeMap::new();
    for access in accesses {
        by_user.entry(&access.user).or_default().push(access);
    }
    if !by_user.is_empty() {
        let people =
            if by_user.len() == 1 { "1 user".to_owned() } else { format!("{} users", by_user.len()) };
        let _infallible =
            writeln!(text, "{people} {}:", if by_user.len() == 1 { verb } else { plural(verb) });
    }
    for (user, accesses) in by_user.iter().take(SHOWN) {
        let groups = grouped(accesses, &ends, rewindowed);
        for ((services, conditions), devices) in groups.iter().take(GROUPS) {
            let services: Vec<&str> = services.iter().map(|service| service.as_str()).collect();
            let conditions = conditions.as_ref().map(|words| format!(", {words}")).unwrap_or_default();
            let _infallible = writeln!(
                text,
                "  {user} {verb} {} on {}{conditions}",
                services.join(", "),
                enumerate(devices)
            );
        }
        if let Some(rest) = groups.len().checked_sub(GROUPS).filter(|rest| *rest > 0) {
            let _infallible = writeln!(text, "  {user} {verb} {rest} more selections (all with --json)");
        }
    }
    write_rest(text, by_user.len());
}

fn plural(verb: &str) -> &str {
    verb.strip_suffix('s').unwrap_or(verb)
}

/// Services that come under the same conditions, with the devices on which they do.
type Groups<'a> = BTreeMap<(BTreeSet<&'a Name>, Option<String>), BTreeSet<&'a Name>>;

/// User, device and service.
type What<'a> = (&'a Name, &'a Name, &'a Name);

/// What a service speaks, where it is, and what it lets through.
type End<'a> = (Kind, Option<SocketAddr>, &'a Reach);

const fn what(access: &Access) -> What<'_> {
    (&access.user, &access.device, &access.service)
}

fn end(access: &Access) -> End<'_> {
    (access.kind, access.target, &access.reach)
}

fn grouped<'a>(
    accesses: &[&'a Access],
    others: &BTreeMap<What<'_>, End<'_>>,
    rewindowed: &BTreeSet<Name>,
) -> Groups<'a> {
    let mut by_device: BTreeMap<(&Name, Option<String>), BTreeSet<&Name>> = BTreeMap::new();
    for access in accesses {
        let other = others.get(&what(access));
        let speaks = other.is_some_and(|(kind, ..)| *kind != access.kind);
        let speaks = speaks.then(|| format!("as {}", access.kind.word()));
        let moved = other.is_some_and(|(_, target, _)| *target != access.target);
        let moved = moved.then(|| "at another address".to_owned());
        let believed = rewindowed.contains(&access.device);
        let believed =
            believed.then(|| format!("for {} after the last word of the cloud", span(access.window_s)));
        let ruled = other.into_iter().flat_map(|(.., reach)| beyond(&access.reach, reach));
        let words = speaks.into_iter().chain(moved).chain(ruled).chain(believed).chain(conditions(access));
        let words: Vec<String> = words.collect();
        let key = (&access.device, (!words.is_empty()).then(|| words.join(", ")));
        by_device.entry(key).or_default().insert(&access.service);
    }
    let mut groups = Groups::new();
    for ((device, conditions), services) in by_device {
        groups.entry((services, conditions)).or_default().insert(device);
    }
    groups
}

fn conditions(access: &Access) -> Option<String> {
    let conditions = Conditions {
        not_before: access.not_before,
        not_after: access.not_after,
        second_factor_s: access.second_factor_s,
        needs_case: access.needs_case,
        case: access.case.as_ref().map(Name::as_str),
        needs_approval: access.needs_approval,
        // What was approved is no part of a model.
        approval: None,
        offline_s: access.offline_s,
        mode: access.mode,
        record: access.record,
        closed: &access.closed,
    };
    conditions.words()
}

/// Devices by name, or how many where there are many.
fn enumerate(devices: &BTreeSet<&Name>) -> String {
    let shown: Vec<&str> = devices.iter().take(DEVICES).map(|device| device.as_str()).collect();
    match devices.len().checked_sub(DEVICES).filter(|rest| *rest > 0) {
        Some(rest) => format!("{} devices: {} and {rest} more", devices.len(), shown.join(", ")),
        None => shown.join(", "),
    }
}

/// Lines of each kind that a person is shown.
pub(super) const SHOWN: usize = 40;
/// Selections of each user that a person is shown.
const GROUPS: usize = 8;
/// Devices of each selection that a person is shown.
const DEVICES: usize = 6;
