//! A request on the device: the verdict, its reason, its end and its origin, and the same in words.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use postern_cloud::model::Model;
use postern_protocol::gate::http::{Asked, Target, judge};
use postern_protocol::name::Name;
use postern_protocol::policy::explain::Hypothesis;
use postern_protocol::policy::snapshot::rules::Method;
use postern_protocol::policy::{Ask, Circumstances, Freshness, Mode, Origin, Permit, Rules, decide, explain};
use postern_protocol::time::UnixTime;

use super::{Disagreement, Outcome, differ, near};
use crate::dice::Dice;
use crate::evaluator::{self, Open, Place, Question, Verdict};
use crate::keyring::{self, KEYS, Keyring};
use crate::real::Real;
use crate::world::{World, grid, id_of, number_of, recording_key};

/// Who asks for what, and under which circumstances.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) user: Name,
    pub(crate) device: Name,
    pub(crate) service: String,
    pub(crate) now: UnixTime,
    pub(crate) second_factor_at: Option<UnixTime>,
    /// Which of the person's keys; not all of them are registered.
    which: u8,
    pass_expires: UnixTime,
    has_policy: bool,
    /// How long the device believes its policy, and how long it opens anything.
    pub(super) freshness: Freshness,
    open: Open,
    /// Whether they wish for no more than to look.
    view_only: bool,
    /// Whether the device is asked for its explanation as well.
    explained: bool,
}

impl Decision {
    pub(super) fn draw(
        world: &World,
        user: &Name,
        device: &Name,
        services: &[String],
        dice: &mut Dice,
    ) -> Self {
        let registered: Vec<u8> = (0..KEYS).filter(|which| is_registered(world, user, *which)).collect();
        let any = u8::try_from(dice.within(0, usize::from(KEYS) - 1)).unwrap();
        let which = dice.pick(&registered).copied().filter(|_| dice.percent(96)).unwrap_or(any);
        let crowded = dice.percent(12);
        let mut open = |most| if crowded { u32::try_from(dice.within(0, most)).unwrap() } else { 0 };
        let (on_device, by_user, on_service) = (open(4), open(3), open(3));
        let open = Open { on_device, by_user, on_service, writing: on_service.min(open(2)) };
        Self {
            user: user.clone(),
            device: device.clone(),
            service: dice.pick(services).unwrap().clone(),
            now: near(dice),
            second_factor_at: *dice.pick(&keyring::factors()).unwrap(),
            which,
            pass_expires: keyring::ends()[usize::from(dice.percent(92))],
            has_policy: dice.percent(99),
            freshness: freshness(dice),
            open,
            view_only: dice.percent(15),
            explained: dice.percent(30),
        }
    }

    /// The same as a question to the evaluator.
    fn question(&self, world: &World) -> Question {
        Question {
            user: self.user.clone(),
            device: self.device.clone(),
            service: self.service.clone(),
            now: self.now,
            second_factor_at: self.second_factor_at,
            key: keyring::public_key(number_of(&self.user), self.which),
            pass_expires: self.pass_expires,
            policy_expires: self.has_policy.then_some(world.policy_expires),
            fresh_until: self.freshness.fresh_until,
            offline_until: self.freshness.offline_until,
            open: self.open,
            view_only: self.view_only,
        }
    }

    fn circumstances(&self) -> Circumstances {
        let Open { on_device: open, by_user: open_by_user, on_service: open_on_service, writing } = self.open;
        let Self { now, freshness, .. } = *self;
        Circumstances { now, freshness, open, open_by_user, open_on_service, writers_on_service: writing }
    }

    pub(super) fn put(&self, real: &mut Real<'_>) -> Result<Outcome, Box<Disagreement>> {
        let world = real.world;
        let question = self.question(world);
        let expected = evaluator::may(&world.model, &world.roster, &question);
        self.decided(real, &expected)?;
        if self.explained {
            self.explained(real, question)?;
        }
        Ok(match expected {
            Verdict::Permitted { .. } => Outcome::Permitted,
            Verdict::Denied { reason, .. } => Outcome::Denied(reason),
        })
    }

    fn decided(&self, real: &mut Real<'_>, expected: &Verdict) -> Result<(), Box<Disagreement>> {
        let index = self.has_policy.then(|| real.device(&self.device).index.clone());
        let number = number_of(&self.user);
        let subject = Keyring::get().subject(&(number, self.which, self.second_factor_at, self.pass_expires));
        let ask = index
            .as_ref()
            .map_or(Ask::NOTHING, |index| index.ask(id_of(number), &self.service))
            .wishing(self.view_only);
        let found = decide(index.as_ref(), subject, &ask, &self.circumstances()).map(Arc::new);
        let agrees = match (&found, expected) {
            (Ok(permit), Verdict::Permitted { mode, until, recorded, because }) => {
                let places = evaluator::services(&real.world.model, &self.device);
                let place = places.iter().find(|place| place.name == self.service);
                permit.until() == *until
                    && permit.mode() == *mode
                    && permit.recording() == recorded.then(recording_key)
                    && permit.user() == id_of(number)
                    && place.is_some_and(|place| {
                        permit.target() == place.service.reach.target().map(SocketAddr::from)
                    })
                    && place.is_some_and(|place| self.lets_through(&real.world.model, permit, place))
                    && place.is_some_and(|place| lets_flow(permit, *mode, place))
                    && permit.origin().is_some_and(|origin| because.contains(origin))
            }
            (Err(denial), Verdict::Denied { reason, because }) => {
                denial.reason() == *reason && is_among(denial.origin(), because)
            }
            (Ok(_), Verdict::Denied { .. }) | (Err(_), Verdict::Permitted { .. }) => false,
        };
        let found =
            found.map(|permit| (permit.mode(), permit.until(), permit.recording(), permit.origin().cloned()));
        let found = found.map_err(|denial| (denial.reason(), denial.origin().cloned()));
        if agrees { Ok(()) } else { differ(self, expected, found) }
    }

    /// The explanation supposes a pass that is in date and one of the user's keys.
    fn explained(&self, real: &mut Real<'_>, question: Question) -> Result<(), Box<Disagreement>> {
        let world = real.world;
        let number = number_of(&self.user);
        let keys = world.roster.users.get(&self.user).map(|enrolled| &enrolled.keys);
        let key = keys.and_then(|keys| keys.first().copied()).unwrap_or(question.key);
        let question = Question { key, pass_expires: UnixTime::MAX, view_only: false, ..question };
        let expected = evaluator::may(&world.model, &world.roster, &question);
        let index = self.has_policy.then(|| real.device(&self.device).index.clone());
        let hypothesis =
            Hypothesis { user: id_of(number), second_factor_at: self.second_factor_at, only: None };
        let found = explain(index.as_ref(), &hypothesis, &self.service, &self.circumstances());
        let used: Vec<&Origin> =
            found.chains.iter().filter(|chain| chain.used).map(|chain| &chain.origin).collect();
        let agrees = match &expected {
            Verdict::Permitted { mode, until, because, recorded } => {
                found.chains.iter().all(|chain| !chain.used || chain.record == *recorded)
                    && found.denied.is_none()
                    && found.mode == Some(*mode)
                    && found.until == Some(*until)
                    && matches!(used.as_slice(), [one] if because.contains(*one))
            }
            Verdict::Denied { reason, because } => {
                let forbidding: BTreeSet<&Origin> = found
                    .prohibitions
                    .iter()
                    .filter(|veto| veto.refuses())
                    .map(|veto| &veto.origin)
                    .collect();
                found.denied == Some(*reason)
                    && found.until.is_none()
                    && (used.iter().all(|origin| because.contains(*origin)))
                    && (used.len() == 1
                        || because.is_empty()
                        || because.iter().collect::<BTreeSet<_>>() == forbidding)
            }
        };
        if agrees { Ok(()) } else { differ(("explained", self), expected, found) }
    }

    /// Whether a service lets through what the model says of it, and a web server and its pages each request that the model says.
    fn lets_through(&self, model: &Model, permit: &Permit, place: &Place<'_>) -> bool {
        let reach = &permit.service().reach;
        let Some(Rules::Http(rules)) = reach.rules() else { return *reach == place.service.reach };
        let asked = evaluator::PATHS.iter().flat_map(|path| Method::ALL.map(|method| (*path, method)));
        let through = asked.filter(|(path, method)| {
            let target = Target::parse(path).unwrap();
            let asked = Asked { method: method.word(), target, upgrade: false };
            judge(&rules.allow, permit.closed(), permit.mode(), &asked).is_ok()
        });
        let who = (&self.user, &self.device, self.now);
        through.collect::<BTreeSet<_>>() == evaluator::requests(model, who, place, permit.mode())
    }
}

/// Whether the flows of a VPN are those that the model says.
fn lets_flow(permit: &Arc<Permit>, mode: Mode, place: &Place<'_>) -> bool {
    let Some(rules) = place.service.reach.flows() else { return true };
    evaluator::flows(rules).all(|flow| {
        let found = permit.flow(flow).map(|flow| flow.profile().is_some()).ok();
        found == evaluator::may_flow(rules, mode, &flow)
    })
}

/// A device that is fresh, stale or beyond its budget, or becomes so amid everything.
fn freshness(dice: &mut Dice) -> Freshness {
    let later = grid(1000);
    match dice.within(0, 99) {
        0..=64 => Freshness { fresh_until: later, offline_until: later },
        65..=84 => Freshness { fresh_until: near(dice), offline_until: later },
        // In either order: what is used up is used up.
        85..=95 => Freshness { fresh_until: near(dice), offline_until: near(dice) },
        _ => Freshness { fresh_until: later, offline_until: near(dice) },
    }
}

fn is_registered(world: &World, user: &Name, which: u8) -> bool {
    let key = keyring::public_key(number_of(user), which);
    world.roster.users.get(user).is_some_and(|enrolled| enrolled.keys.contains(&key))
}

fn is_among(origin: Option<&Origin>, because: &BTreeSet<Origin>) -> bool {
    origin.map_or(because.is_empty(), |origin| because.contains(origin))
}
