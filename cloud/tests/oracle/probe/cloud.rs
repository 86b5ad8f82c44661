//! What the cloud says beside the snapshots: listings, explanations, fleet files, and which devices an edit recompiles.

use std::collections::BTreeSet;

use postern_cloud::compile::{Compiler, affected};
use postern_cloud::explain;
use postern_cloud::fleet;
use postern_cloud::model::{EntityKind, Model};
use postern_cloud::visibility::visible_devices;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use super::{Decision, Disagreement, Outcome, differ};
use crate::dice::Dice;
use crate::evaluator::{self, Open, Question, Verdict};
use crate::keyring;
use crate::real::Real;
use crate::world::{World, draft, id_of, number_of};

/// One entity that is added, replaced or removed.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    kind: EntityKind,
    name: Name,
    /// Its new body as JSON; none removes it.
    body: Option<String>,
}

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

/// The cloud explains as if the user had a key, and the policy were signed just now.
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
    let enrolled = roster.users.entry(decision.user.clone()).or_insert_with(|| {
        postern_cloud::compile::Enrolled { id: id_of(number), keys: BTreeSet::new(), disabled: false }
    });
    enrolled.keys.insert(key);
    let question = Question {
        user: decision.user.clone(),
        device: decision.device.clone(),
        service: decision.service.clone(),
        now: decision.now,
        second_factor_at: decision.second_factor_at,
        key,
        pass_expires: UnixTime::MAX,
        policy_expires: Some(decision.now.saturating_add(postern_cloud::publish::LIFETIME_S)),
        open: Open::default(),
    };
    let expected = evaluator::may(&world.model, &roster, &question);
    let asked = explain::Question {
        user: decision.user.as_str(),
        device: decision.device.as_str(),
        service: &decision.service,
        at: decision.now,
        second_factor_at: decision.second_factor_at,
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

impl Edit {
    /// An entity of another random model takes the place of one of this, or one goes.
    pub(super) fn draw(world: &World, dice: &mut Dice) -> Option<Self> {
        let other = draft(dice).rows();
        let own = world.model.rows();
        let mut names: Vec<&(EntityKind, Name)> = own.keys().chain(other.keys()).collect();
        names.dedup();
        for _ in 0..ATTEMPTS {
            let row = *dice.pick(&names)?;
            let body = other.get(row).filter(|_| dice.percent(80)).cloned();
            let edit = Self { kind: row.0, name: row.1.clone(), body };
            if edit.apply(&world.model).is_some() {
                return Some(edit);
            }
        }
        None
    }

    /// The model after the edit; none where that does not hold or nothing changes.
    fn apply(&self, model: &Model) -> Option<Model> {
        let mut after = model.clone();
        match &self.body {
            Some(body) => after.insert_row(self.kind, self.name.clone(), body).unwrap(),
            // Its devices go to the account that it was nested in.
            None if self.kind == EntityKind::Account => drop(after.remove_account(&self.name).ok()?),
            None => remove(&mut after, self.kind, &self.name),
        }
        (after != *model && after.check(&BTreeSet::new()).is_empty()).then_some(after)
    }

    pub(super) fn put(&self, real: &mut Real<'_>) -> Result<Outcome, Box<Disagreement>> {
        let world = real.world;
        let Some(after) = self.apply(&world.model) else { return Ok(Outcome::Void) };
        let affected = affected(&world.model, &after);
        let (before, compiler) = (&world.model, Compiler::new(&after, &world.roster));
        let devices: BTreeSet<&Name> = before.devices.keys().chain(after.devices.keys()).collect();
        let mut changed = 0;
        for device in &devices {
            let (old, new) = (real.device(device), compiler.compile(device).unwrap());
            changed += usize::from(old.content != new);
            if old.content != new && !affected.contains(*device) {
                return differ((self, device), "another policy", ("not affected", &affected));
            }
        }
        Ok(Outcome::Edited { changed, affected: affected.len(), devices: devices.len() })
    }
}

/// Takes an entity out, whatever names it.
pub(crate) fn remove(model: &mut Model, kind: EntityKind, name: &Name) {
    match kind {
        EntityKind::Account => drop(model.accounts.remove(name)),
        EntityKind::User => drop(model.users.remove(name)),
        EntityKind::UserGroup => drop(model.user_groups.remove(name)),
        EntityKind::MachineModel => drop(model.machine_models.remove(name)),
        EntityKind::Device => drop(model.devices.remove(name)),
        EntityKind::Machine => drop(model.machines.remove(name)),
        EntityKind::DeviceGroup => drop(model.device_groups.remove(name)),
        EntityKind::Facility => drop(model.facilities.remove(name)),
        EntityKind::Organisation => drop(model.organisations.remove(name)),
        EntityKind::Category => drop(model.categories.remove(name)),
        EntityKind::Role => drop(model.roles.remove(name)),
        EntityKind::Assignment => drop(model.assignments.remove(name)),
        EntityKind::Entry => drop(model.entries.remove(name)),
        EntityKind::Case => drop(model.cases.remove(name)),
    }
}

/// Edits that are tried before a world goes without.
const ATTEMPTS: usize = 6;
