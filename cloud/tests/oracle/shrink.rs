//! Makes a world in which both sides disagree as small as it gets, greedily.
//!
//! 1. Each part of each entity is taken away, then each entity, then each person's registration.
//! 2. What is left is kept where the model still holds and the same probe still disagrees.
//! 3. Until nothing more can go.
//!
//! Parts are taken out of the JSON body, so that a new field of the model is shrunk like the others.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::probe::{Disagreement, Probe, remove};
use crate::real::Real;
use crate::world::World;

/// The smallest world that was found, and what both sides say about it.
pub(crate) fn shrink(
    mut world: World,
    probe: &Probe,
    mut found: Box<Disagreement>,
) -> (World, Box<Disagreement>) {
    loop {
        let before = size(&world);
        for candidate in candidates(&world) {
            // A candidate may be of a world that has shrunk since: it is put to the question all the same.
            if let Some(disagreement) = still(&candidate, probe)
                && size(&candidate) < size(&world)
            {
                (world, found) = (candidate, disagreement);
                break;
            }
        }
        if size(&world) == before {
            return (world, found);
        }
    }
}

fn still(world: &World, probe: &Probe) -> Option<Box<Disagreement>> {
    let holds = world.model.check(&BTreeSet::new()).is_empty();
    holds.then(|| probe.put(&mut Real::of(world)).err()).flatten()
}

/// Bytes of all that the world consists of.
fn size(world: &World) -> usize {
    let rows = world.model.rows();
    let bodies: usize = rows.iter().map(|((_, name), body)| name.as_str().len() + body.len()).sum();
    bodies + world.roster.users.values().map(|user| 1 + user.keys.len()).sum::<usize>()
}

/// Worlds that lack one thing, those that lack much first.
fn candidates(world: &World) -> Vec<World> {
    let mut candidates = Vec::new();
    for ((kind, name), body) in world.model.rows() {
        let mut less = world.clone();
        remove(&mut less.model, kind, &name);
        candidates.push(less);
        let whole: Value = serde_json::from_str(&body).unwrap();
        for part in lacking(&whole) {
            let mut less = world.clone();
            if less.model.insert_row(kind, name.clone(), &part.to_string()).is_ok() {
                candidates.push(less);
            }
        }
    }
    for user in world.roster.users.keys() {
        let mut less = world.clone();
        less.roster.users.remove(user);
        candidates.push(less);
    }
    candidates.sort_by_key(size);
    candidates
}

/// A value without one of its parts, at any depth.
fn lacking(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![Value::Null],
        Value::Array(items) => {
            let mut found: Vec<Value> = items.clone();
            for at in 0..items.len() {
                let mut less = items.clone();
                less.remove(at);
                found.push(Value::Array(less));
                for part in lacking(&items[at]) {
                    let mut less = items.clone();
                    less[at] = part;
                    found.push(Value::Array(less));
                }
            }
            found
        }
        Value::Object(fields) => {
            let mut found = vec![Value::Null];
            // One of several scopes in place of them all.
            found.extend(fields.values().filter_map(Value::as_array).flatten().cloned());
            for (key, field) in fields {
                let mut less = fields.clone();
                less.remove(key);
                found.push(Value::Object(less));
                for part in lacking(field) {
                    let mut less = fields.clone();
                    less.insert(key.clone(), part);
                    found.push(Value::Object(less));
                }
            }
            found
        }
    }
}
