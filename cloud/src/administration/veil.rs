//! What a caller may not see is not there: not in what is shown, not in what is complained about, and not to be referred to.
//!
//! An edit that names something hidden is told what it would be told of a name that nobody has. Its faults are therefore those of
//! the model as far as the caller sees it, less those that it had before; only then is the whole looked at.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use postern_protocol::name::Name;

use super::{Edit, Refused};
use crate::model::{EntityKind, Model, ModelFault, Problem};
use crate::rights::Rights;

/// Checks a model with some edits.
pub(super) fn check(rights: &Rights<'_>, old: &Model, new: &Model, edits: &[Edit]) -> Result<(), Refused> {
    let edited: BTreeSet<(EntityKind, &Name)> = edits.iter().map(|edit| (edit.kind, &edit.name)).collect();
    let seen = seen(rights, old);
    let mut after = seen.clone();
    for (kind, name) in &edited {
        after.remove(*kind, name);
        after.put(new.only(*kind, name));
    }
    let faults = |model: &Model| {
        let faults = model.check(&BTreeSet::new()).into_iter();
        faults.filter(|fault| edited.contains(&(fault.kind, &fault.name))).collect::<Vec<ModelFault>>()
    };
    let before = faults(&seen);
    let faults: Vec<_> = faults(&after).into_iter().filter(|fault| !before.contains(fault)).collect();
    if !faults.is_empty() {
        return Err(Refused::Faults(faults));
    }
    let all = new.check(&BTreeSet::new());
    if all.is_empty() {
        return Ok(());
    }
    let is_shown = |fault: &ModelFault| {
        edited.contains(&(fault.kind, &fault.name)) || rights.sees(fault.kind, &fault.name)
    };
    let mut shown: Vec<_> = all.into_iter().filter(is_shown).collect();
    for fault in &mut shown {
        // What is spelled alike may be hidden.
        if let Problem::Unknown { nearest, .. } = &mut fault.problem {
            *nearest = None;
        }
    }
    Err(if shown.is_empty() { Refused::Depended } else { Refused::Faults(shown) })
}

/// Takes out of an entity what the caller may not see of it.
pub(super) fn hide(rights: &Rights<'_>, model: &Model, kind: EntityKind, name: &Name, body: &mut Json) {
    let Some(body) = body.as_object_mut() else { return };
    if kind == EntityKind::DeviceGroup && !rights.sees_members(name) {
        body.remove(MEMBER);
    }
    if !rights.reads(kind, name) {
        body.retain(|key, _| OUTLINE.contains(&key.as_str()));
    }
    if kind == EntityKind::Account && hidden_parent(rights, model, name).is_some() {
        body.remove(PARENT);
    }
}

/// Leaves what was hidden of an entity as it was: who was not shown it does not take it away.
pub(super) fn keep(rights: &Rights<'_>, old: &Model, name: &Name, read: &mut Model) {
    if let (Some(group), Some(was)) = (read.device_groups.get_mut(name), old.device_groups.get(name))
        && !rights.sees_members(name)
    {
        group.members.clone_from(&was.members);
    }
    if let Some(account) = read.accounts.get_mut(name)
        && account.parent.is_none()
    {
        account.parent = hidden_parent(rights, old, name).cloned();
    }
}

fn hidden_parent<'m>(rights: &Rights<'_>, model: &'m Model, account: &Name) -> Option<&'m Name> {
    let parent = model.accounts.get(account)?.parent.as_ref()?;
    (!rights.sees(EntityKind::Account, parent)).then_some(parent)
}

/// The model as far as the caller sees it.
fn seen(rights: &Rights<'_>, model: &Model) -> Model {
    let mut seen = Model::default();
    for kind in EntityKind::ALL {
        for name in model.names(*kind) {
            if rights.sees(*kind, name) {
                seen.put(model.only(*kind, name));
            }
        }
    }
    seen
}

/// The table of a device group that says who has a role on it.
const MEMBER: &str = "member";
/// What is shown of something to those who may know of it and no more.
const OUTLINE: [&str; 4] = ["account", "device", "label", "tenant"];
/// The account that an account lies in.
const PARENT: &str = "parent";
