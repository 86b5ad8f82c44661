//! What an oracle is worth: products that get one thing wrong are noticed.

use postern_cloud::model::{Effect, Model, Scope, Subject, Visibility};

use crate::dice::Dice;
use crate::probe::{Probe, probes};
use crate::real::Real;
use crate::world::World;

/// A mistake, as the model that a product which makes it would compile.
type Mistake = (&'static str, fn(&mut Model));

const MISTAKES: [Mistake; 18] = [
    ("forgets that entries deny", |model| model.entries.retain(|_, entry| entry.effect == Effect::Allow)),
    ("forgets that entries allow", |model| model.entries.retain(|_, entry| entry.effect == Effect::Deny)),
    ("forgets when members leave their group", |model| {
        model
            .user_groups
            .values_mut()
            .flat_map(|group| group.members.values_mut())
            .for_each(|it| it.until = None);
    }),
    ("forgets when memberships end", |model| {
        let groups = model.device_groups.values_mut();
        groups.flat_map(|group| group.members.values_mut()).for_each(|it| it.until = None);
    }),
    ("forgets when assignments begin", |model| {
        model.assignments.values_mut().for_each(|assignment| assignment.from = None);
    }),
    ("forgets that roles demand a second factor", |model| {
        model.roles.values_mut().for_each(|role| role.second_factor_s = None);
    }),
    ("forgets that assignments demand a case", |model| {
        model.assignments.values_mut().for_each(|assignment| assignment.needs_case = false);
    }),
    ("forgets that assignments demand an approval", |model| {
        model.assignments.values_mut().for_each(|assignment| assignment.needs_approval = false);
    }),
    ("forgets that entries demand an approval", |model| {
        model.entries.values_mut().for_each(|entry| entry.needs_approval = false);
    }),
    ("takes every custom role for marked for work without the cloud", |model| {
        model.roles.values_mut().for_each(|role| role.offline = true);
    }),
    ("forgets that assignments and memberships refuse work without the cloud", |model| {
        marks_of(model).filter(|said| **said == Some(false)).for_each(|said| *said = None);
    }),
    ("forgets that assignments and memberships mark essential roles", |model| {
        marks_of(model).filter(|said| **said == Some(true)).for_each(|said| *said = None);
    }),
    ("takes every entry for marked for work without the cloud", |model| {
        model.entries.values_mut().for_each(|entry| entry.offline = true);
    }),
    ("takes internal cases for shared ones", |model| {
        model.cases.values_mut().for_each(|case| case.visibility = Visibility::Shared);
    }),
    ("opens closed devices", |model| model.devices.values_mut().for_each(|device| device.closed = false)),
    ("takes a scope for that of the nested accounts too", |model| {
        for assignment in model.assignments.values_mut() {
            if let Scope::Account { nested, .. } = &mut assignment.scope {
                *nested = true;
            }
        }
    }),
    ("takes the first of several scopes for all of them", |model| {
        for assignment in model.assignments.values_mut() {
            if let Scope::AllOf { scopes } = &assignment.scope
                && let Some(first) = scopes.first()
            {
                assignment.scope = first.clone();
            }
        }
    }),
    ("combines the scope of one assignment with the role of another", |model| {
        let scopes: Vec<(Subject, Scope)> =
            model.assignments.values().map(|it| (it.subject.clone(), it.scope.clone())).collect();
        for assignment in model.assignments.values_mut() {
            let other = scopes.iter().find(|(subject, _)| *subject == assignment.subject);
            assignment.scope = other.map_or(Scope::Unknown, |(_, scope)| scope.clone());
        }
    }),
];

/// What assignments and memberships say about work without the cloud.
fn marks_of(model: &mut Model) -> impl Iterator<Item = &mut Option<bool>> {
    let assignments = model.assignments.values_mut().map(|assignment| &mut assignment.offline);
    let groups = model.device_groups.values_mut();
    assignments.chain(groups.flat_map(|group| group.members.values_mut()).map(|member| &mut member.offline))
}

#[test]
fn a_product_that_makes_one_mistake_is_noticed() {
    for (mistake, make) in MISTAKES {
        assert!((0..WORLDS).any(|seed| is_noticed(seed, make)), "a product that {mistake}");
    }
}

/// Whether a decision in the world of a seed is another one.
fn is_noticed(seed: u64, make: fn(&mut Model)) -> bool {
    let mut dice = Dice::new(Dice::new(seed).next());
    let Some(world) = World::of(&mut dice) else { return false };
    let mut model = world.model.clone();
    make(&mut model);
    let mut real = Real::believing(&world, &model);
    let probes = probes(&world, &mut dice);
    probes.iter().filter(|it| matches!(it, Probe::Decision(_))).any(|probe| probe.put(&mut real).is_err())
}

/// Worlds in which each mistake must show.
const WORLDS: u64 = 400;
