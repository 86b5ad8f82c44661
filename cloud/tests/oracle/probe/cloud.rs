//! What the cloud says beside the snapshots: listings, explanations and fleet files.

use std::collections::BTreeSet;

use postern_cloud::explain;
use postern_cloud::fleet;
use postern_cloud::visibility::visible_devices;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use super::{Decision, Disagreement, Outcome, differ};
use crate::evaluator::{self, Open, Question, Verdict};
use crate::keyring;
use crate::real::Real;
use crate::world::{id_of, number_of};

pub(super) fn listing(real: &Real<'_>, user: &Name, now: UnixTime) -> Result<Outcome, Box<Disagreement>> {
    let model = &real.world.model;
    let devices = model.devices.keys();
    let expected: Vec<Name> =
        devices.filter(|device| evaluator::may_see(model, user, device, now)).cloned().collect();
    let found = visible_devices(model, user, now);
    if found == expected { Ok(Outcome::Other) } else { differ(("listing", user, now), expected, found) }
}

pub(super) fn file(real: &Real<'_>) -> Result<Outcome, Box<Disagreement>> {
    // A scope of a type of later versions has no words.
    let Ok(text) = fleet::write(&real.world.model) else { return Ok(Outcome::Void) };
    match fleet::read(&text, &[]) {
        Ok(model) if model == real.world.model => Ok(Outcome::Other),
        Ok(model) => differ("fleet file", &real.world.model, model),
        Err(complaints) => differ("fleet file", text, complaints),
    }
}

/// The cloud explains as if the user had a key, the policy were signed just now, and the device had word of the cloud or
/// had just lost it.
pub(super) fn explanation(real: &Real<'_>, decision: &Decision) -> Result<Outcome, Box<Disagreement>> {
    let world = real.world;
    let services = evaluator::services(&world.model, &decision.device);
    let exists = services.iter().any(|place| place.name == decision.service);
    if !exists || !world.model.users.contains_key(&decision.user) {
        return Ok(Outcome::Void);
    }
    let number = number_of(&decision.user);
    let key = keyring::public_key(number, 0);
    let mut roster = world.roster.clone();
    let enrolled =
        roster.users.entry(decision.user.clone()).or_insert_with(|| postern_cloud::compile::Enrolled {
            id: id_of(number),
            keys: BTreeSet::new(),
            disabled: false,
            passes_from: UnixTime::EPOCH,
        });
    enrolled.keys.insert(key);
    // Of a device that is to be explained, stale or not is a matter of what is asked.
    let offline = decision.freshness.fresh_until <= decision.now;
    let budget_s = u64::from(world.model.devices[&decision.device].freshness.offline_s);
    let lifetime_s = (14 * 86_400).max(2 * budget_s);
    let question = Question {
        user: decision.user.clone(),
        device: decision.device.clone(),
        service: decision.service.clone(),
        now: decision.now,
        second_factor_at: decision.second_factor_at,
        key,
        pass_expires: UnixTime::MAX,
        policy_expires: Some(decision.now.saturating_add(lifetime_s)),
        fresh_until: if offline { decision.now } else { UnixTime::MAX },
        offline_until: if offline { decision.now.saturating_add(budget_s) } else { UnixTime::MAX },
        open: Open::default(),
        view_only: false,
    };
    let expected = evaluator::may(&world.model, &roster, &question);
    let asked = explain::Question {
        user: decision.user.as_str(),
        device: decision.device.as_str(),
        service: &decision.service,
        at: decision.now,
        second_factor_at: decision.second_factor_at,
        offline,
    };
    let answer = explain::answer(&world.model, &world.roster, &asked).unwrap();
    let agrees = match &expected {
        Verdict::Permitted { until, .. } => {
            answer.judgement.denied.is_none() && answer.judgement.until == Some(*until)
        }
        Verdict::Denied { reason, .. } => answer.judgement.denied == Some(*reason),
    };
    if agrees { Ok(Outcome::Other) } else { differ(("explained by the cloud", decision), expected, answer) }
}
