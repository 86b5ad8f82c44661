//! Makes a world in which both sides disagree as small as it gets, greedily.
//!
//! 1. Each entity is taken away, or else each of its parts, then each person's registration.
//! 2. What is left is kept where the model still holds and the same probe still disagrees.
//! 3. Until nothing more can go, or enough was tried.
//!
//! Parts are taken out of the JSON body, so that a new field of the model is shrunk like the others.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::probe::{Disagreement, Probe, remove};
use crate::real::Real;
use crate::world::World;

/// A world that becomes smaller.
struct Shrinking<'p> {
    world: World,
    probe: &'p Probe,
    found: Box<Disagreement>,
    tries: usize,
}

/// The smallest world that was found, and what both sides say about it.
pub(crate) fn shrink(world: World, probe: &Probe, found: Box<Disagreement>) -> (World, Box<Disagreement>) {
    let mut shrinking = Shrinking { world, probe, found, tries: TRIES };
    while shrinking.pass() {}
    (shrinking.world, shrinking.found)
}

impl Shrinking<'_> {
    /// Tries to do without each thing once; whether anything went.
    fn pass(&mut self) -> bool {
        let before = size(&self.world);
        for ((kind, name), body) in self.world.model.rows() {
            let mut less = self.world.clone();
            remove(&mut less.model, kind, &name);
            if self.keeps(less) {
                continue;
            }
            let whole: Value = serde_json::from_str(&body).unwrap();
            for part in lacking(&whole) {
                let mut less = self.world.clone();
                if less.model.insert_row(kind, name.clone(), &part.to_string()).is_ok() && self.keeps(less) {
                    break;
                }
            }
        }
        let registered: Vec<_> = self.world.roster.users.keys().cloned().collect();
        for user in registered {
            let mut less = self.world.clone();
            less.roster.users.remove(&user);
            self.keeps(less);
        }
        let approved: Vec<_> = self.world.roster.approvals.keys().cloned().collect();
        for device in approved {
            let count = self.world.roster.approvals[&device].len();
            for at in (0..count).rev() {
                let mut less = self.world.clone();
                less.roster.approvals.get_mut(&device).unwrap().remove(at);
                self.keeps(less);
            }
        }
        size(&self.world) < before
    }

    /// Keeps a world that is smaller and still disagrees.
    fn keeps(&mut self, less: World) -> bool {
        let holds = size(&less) < size(&self.world) && less.model.check(&BTreeSet::new()).is_empty();
        if !holds || self.tries == 0 {
            return false;
        }
        self.tries -= 1;
        match self.probe.put(&mut Real::of(&less)) {
            Ok(_) => false,
            Err(found) => {
                (self.world, self.found) = (less, found);
                true
            }
        }
    }
}

/// Bytes of all that the world consists of.
fn size(world: &World) -> usize {
    let rows = world.model.rows();
    let bodies: usize = rows.iter().map(|((_, name), body)| name.as_str().len() + body.len()).sum();
    let approvals: usize = world.roster.approvals.values().map(Vec::len).sum();
    bodies + approvals + world.roster.users.values().map(|user| 1 + user.keys.len()).sum::<usize>()
}

/// A value without one of its parts, at any depth.
fn lacking(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![Value::Null],
        Value::Array(items) => {
            let mut found = items.clone();
            for (at, item) in items.iter().enumerate() {
                let mut less = items.clone();
                less.remove(at);
                found.push(Value::Array(less));
                for part in lacking(item) {
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

/// Worlds that are tried at most: a slow answer is worth less than a small one.
const TRIES: usize = 2_000;
