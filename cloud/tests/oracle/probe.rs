//! One comparison of what the model means with what the product makes of it.
//!
//! 1. [`probes`] draws the comparisons that one world is put to.
//! 2. [`Probe::disagreement`] asks both sides and says in words where they differ.
//!
//! The kinds: a decision with its reason, end and origin, and its explanation on the device ([`decision`]); what a
//! snapshot contains ([`content`]); what a listing shows, what the cloud explains and what a fleet file preserves
//! ([`cloud`]); which devices an edit recompiles and whom the difference names ([`edit`]).

mod cloud;
mod content;
mod decision;
mod edit;

use std::fmt;

use postern_protocol::name::Name;
use postern_protocol::policy::Reason;
use postern_protocol::time::UnixTime;

pub(crate) use self::decision::Decision;
pub(crate) use self::edit::{Edit, remove};
use crate::dice::Dice;
use crate::evaluator;
use crate::real::Real;
use crate::world::{World, moment, parsed};

/// One comparison; it can be put to another world as well, where that has become smaller.
#[derive(Clone, Debug)]
pub(crate) enum Probe {
    /// A request on the device.
    Decision(Decision),
    /// The snapshot of a device.
    Content { device: Name },
    /// The devices that a listing shows to a user.
    Listing { user: Name, now: UnixTime },
    /// What the cloud explains about a request.
    Explanation(Decision),
    /// Which devices are compiled again after an edit.
    Edit(Edit),
    /// The model written as a fleet file, and read again.
    File,
}

/// What was asked, and both answers.
#[derive(Clone, Debug)]
pub(crate) struct Disagreement {
    pub(crate) question: String,
    pub(crate) model: String,
    pub(crate) product: String,
}

/// How a probe came out where both sides agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Permitted,
    Denied(Reason),
    /// An edit: devices whose policy it changes, those that are compiled again, and all.
    Edited {
        changed: usize,
        affected: usize,
        devices: usize,
    },
    /// Neither.
    Other,
    /// An edit whose model does not hold, or a question about nothing.
    Void,
}

impl Probe {
    /// Asks both sides.
    pub(crate) fn put(&self, real: &mut Real<'_>) -> Result<Outcome, Box<Disagreement>> {
        match self {
            Self::Decision(decision) => decision.put(real),
            Self::Content { device } => content::put(real, device),
            Self::Listing { user, now } => cloud::listing(real, user, *now),
            Self::Explanation(decision) => cloud::explanation(real, decision),
            Self::Edit(edit) => edit.put(real),
            Self::File => cloud::file(real),
        }
    }
}

/// The comparisons that a world is put to.
pub(crate) fn probes(world: &World, dice: &mut Dice) -> Vec<Probe> {
    let mut probes = Vec::new();
    let mut devices: Vec<Name> = world.model.devices.keys().cloned().collect();
    if dice.percent(6) {
        devices.push(parsed("router-9"));
    }
    for device in &devices {
        probes.push(Probe::Content { device: device.clone() });
        let places = evaluator::services(&world.model, device);
        let mut services: Vec<String> = places.iter().map(|place| place.name.clone()).collect();
        if dice.percent(20) || services.is_empty() {
            services.push("nothing".to_owned());
        }
        for user in world.model.users.keys() {
            probes.push(Probe::Decision(Decision::draw(world, user, device, &services, dice)));
            // Most of what could be asked is granted to nobody: the rest is asked more often.
            for place in &places {
                if !evaluator::allowances(&world.model, user, device, place).is_empty() {
                    for _ in 0..QUESTIONS {
                        let service = std::slice::from_ref(&place.name);
                        probes.push(Probe::Decision(Decision::draw(world, user, device, service, dice)));
                    }
                }
            }
        }
        if dice.percent(10) {
            let stranger = parsed("stranger-5");
            probes.push(Probe::Decision(Decision::draw(world, &stranger, device, &services, dice)));
        }
    }
    for user in world.model.users.keys() {
        if dice.percent(50) {
            probes.push(Probe::Listing { user: user.clone(), now: near(dice) });
        }
    }
    let last = probes.iter().rev().find_map(|probe| match probe {
        Probe::Decision(decision) => Some(decision.clone()),
        _ => None,
    });
    probes.extend(last.filter(|_| dice.percent(15)).map(Probe::Explanation));
    if dice.percent(5) {
        probes.push(Probe::File);
    }
    if dice.percent(30) {
        probes.extend(Edit::draw(world, dice).map(Probe::Edit));
    }
    probes
}

/// A second at or beside a second of the grid.
fn near(dice: &mut Dice) -> UnixTime {
    let second = moment(dice).as_secs();
    UnixTime::from_secs(match dice.within(0, 3) {
        0 => second - 1,
        1 => second + 1,
        _ => second,
    })
}

fn differ<T>(
    question: impl fmt::Debug,
    model: impl fmt::Debug,
    product: impl fmt::Debug,
) -> Result<T, Box<Disagreement>> {
    Err(Box::new(Disagreement {
        question: format!("{question:?}"),
        model: format!("{model:?}"),
        product: format!("{product:?}"),
    }))
}

/// Questions for each service that a user is allowed in some way.
const QUESTIONS: usize = 4;
