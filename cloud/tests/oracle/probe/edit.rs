//! An edit: which devices it recompiles, and whom the difference tells that they gain or lose.

use std::collections::BTreeSet;

use postern_cloud::compile::{Approved, Compiler, Enrolled, Roster, affected};
use postern_cloud::diff::{Access, Diff};
use postern_cloud::model::{EntityKind, Model};
use postern_protocol::id::ApprovalId;
use postern_protocol::name::Name;
use postern_protocol::policy::snapshot::rules::Method;
use postern_protocol::policy::{Mode, Reach, VpnRules};
use postern_protocol::time::UnixTime;

use super::{Disagreement, Outcome, differ, near};
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
    /// When somebody looks who may do what before and after.
    now: UnixTime,
    second_factor_at: Option<UnixTime>,
    /// How many seconds ago the device heard from the cloud.
    silent_s: u64,
    /// Whether everything is approved that demands it; otherwise nothing is.
    approved: bool,
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
            let (now, second_factor_at) = (near(dice), *dice.pick(&keyring::factors())?);
            let silent_s = *dice.pick(&SILENCES)?;
            let (kind, name, approved) = (row.0, row.1.clone(), dice.percent(60));
            let edit = Self { kind, name, body, now, second_factor_at, silent_s, approved };
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
        self.told(before, &after, &devices)?;
        Ok(Outcome::Edited { changed, affected: affected.len(), devices: devices.len() })
    }

    /// Whoever may do at that moment what they could not do before is among those who gain, and the other way round.
    fn told(
        &self,
        before: &Model,
        after: &Model,
        devices: &BTreeSet<&Name>,
    ) -> Result<(), Box<Disagreement>> {
        let diff = Diff::between(before, after);
        let users: BTreeSet<&Name> = before.users.keys().chain(after.users.keys()).collect();
        for device in devices {
            let services: BTreeSet<String> = [before, after]
                .into_iter()
                .flat_map(|model| evaluator::services(model, device))
                .map(|place| place.name)
                .collect();
            for (user, service) in users.iter().flat_map(|user| services.iter().map(move |it| (*user, it))) {
                let [old, new] = [before, after].map(|model| self.may(model, user, device, service));
                let is_told = |accesses: &[Access]| {
                    accesses.iter().any(|access| {
                        access.user == *user
                            && access.device == **device
                            && access.service.as_str() == service
                    })
                };
                if exceeds(new.as_ref(), old.as_ref()) && !is_told(&diff.gained) {
                    return differ((self, user, device, service), ("gains", old, new), &diff.gained);
                }
                if exceeds(old.as_ref(), new.as_ref()) && !is_told(&diff.lost) {
                    return differ((self, user, device, service), ("loses", old, new), &diff.lost);
                }
            }
        }
        Ok(())
    }

    /// What a user who has signed in may do with a service; nothing when they may not use it.
    fn may(&self, model: &Model, user: &Name, device: &Name, service: &str) -> Option<Might> {
        let number = number_of(user);
        let key = keyring::public_key(number, 0);
        let enrolled = Enrolled {
            id: id_of(number),
            keys: BTreeSet::from([key]),
            disabled: false,
            passes_from: UnixTime::EPOCH,
        };
        let mut roster = Roster { users: [(user.clone(), enrolled)].into(), ..Roster::default() };
        let freshness = model.devices.get(device)?.freshness;
        // Window and budget count from the last word on.
        let heard = self.now.as_secs().saturating_sub(self.silent_s);
        let fresh_until = UnixTime::from_secs(heard + u64::from(freshness.window_s));
        let question = Question {
            user: user.clone(),
            device: device.clone(),
            service: service.to_owned(),
            now: self.now,
            second_factor_at: self.second_factor_at,
            key,
            pass_expires: UnixTime::MAX,
            policy_expires: Some(UnixTime::MAX),
            fresh_until,
            offline_until: fresh_until.saturating_add(u64::from(freshness.offline_s)),
            open: Open::default(),
            view_only: false,
        };
        let places = evaluator::services(model, device);
        let place = places.iter().find(|place| place.name == service)?;
        if self.approved {
            let origins = evaluator::allowances(model, user, device, place);
            let approved = Approved {
                id: ApprovalId::new([1; 8]),
                user: user.clone(),
                account: model.devices[device].account.clone(),
                service: service.parse().unwrap(),
                origins: origins.into_iter().map(|allowance| allowance.origin).collect(),
                mode: Mode::WIDEST,
                until: UnixTime::MAX,
            };
            roster.approvals.insert(device.clone(), vec![approved]);
        }
        let reach = place.service.reach.clone();
        let looking = Question { view_only: true, ..question.clone() };
        // Who finds no seat may still look.
        let verdicts = [question, looking].map(|question| evaluator::may(model, &roster, &question));
        verdicts.into_iter().find_map(|verdict| match verdict {
            Verdict::Permitted { mode, .. } => {
                let requests = evaluator::requests(model, (user, device, self.now), place, mode);
                Some(Might { reach: reach.clone(), mode, requests })
            }
            Verdict::Denied { .. } => None,
        })
    }
}

/// What somebody might do at a moment.
#[derive(Debug)]
struct Might {
    reach: Reach,
    mode: Mode,
    /// Of a web server or page, what may be asked of it.
    requests: BTreeSet<(&'static str, Method)>,
}

/// Whether one might do something that another one might not.
fn exceeds(one: Option<&Might>, other: Option<&Might>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one.is_some() };
    flows(&one.reach, &other.reach) || one.mode > other.mode || !one.requests.is_subset(&other.requests)
}

/// Whether one leads to another place, or lets a flow through that another one does not.
fn flows(one: &Reach, other: &Reach) -> bool {
    match (one, other) {
        (Reach::Flows(one), Reach::Flows(other)) => evaluator::flows(one).any(|flow| {
            let read = |rules: &VpnRules| {
                evaluator::governing(rules, &flow).map(|governs| governs.profile().is_some())
            };
            // What a gate reads in random worlds is one and the same; being read is less than not.
            match (read(one), read(other)) {
                (None, _) | (Some(_), Some(false)) | (Some(true), Some(true)) => false,
                (Some(_), None) | (Some(false), Some(true)) => true,
            }
        }),
        _ => one.target() != other.target(),
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

/// Seconds since the last word of the cloud: fresh everywhere, and around each window and budget.
const SILENCES: [u64; 6] = [0, 0, 100, 1000, 5000, 1_000_000];
/// Edits that are tried before a world goes without.
const ATTEMPTS: usize = 6;
