//! Why a user may or may not use a service: the device's own judgement, asked in the cloud.
//!
//! 1. The user, device and service are looked up; a mistyped name gets its nearest neighbour.
//! 2. The device's policy is compiled, signed with a throw-away key, verified and indexed: the way it takes to a device.
//! 3. The `explain` of the protocol judges, so that cloud and device cannot give two answers.
//! 4. For a denial the model is searched for what would have to be true.
//! 5. Beside the model stand locks and the device's own state: whether its key is confirmed, and whether it is in service.
//!    They are judged last, so that what is granted is shown with what keeps it shut.
//!
//! The device is supposed to have word of the cloud, or to be cut off from it. A user who has registered no key is judged as if they had one, and the answer says so.

mod place;
mod remedy;
mod source;
mod trial;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use postern_protocol::name::Name;
use postern_protocol::policy::explain::{Explanation, Hypothesis};
use postern_protocol::policy::{Circumstances, Freshness, FreshnessRule, Reason, SnapshotFault, explain};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{EnvelopeFault, KeyFault, LockTarget};

use crate::compile::{CompileError, Compiler, Endpoint, Roster};
use crate::fleet::Cut;
use crate::model::{EntityKind, Model, Service};
use crate::nearest::nearest;
use crate::store::{LockKind, LockRule, Standing};

pub use self::place::Parts;
pub use self::remedy::{Mark, Opener, Remedy, Unfit, Unfitness};

pub(crate) use self::trial::Trial;

/// A question.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Who.
    pub user: &'a str,
    /// On which device.
    pub device: &'a str,
    /// Which service.
    pub service: &'a str,
    /// When.
    pub at: UnixTime,
    /// When a second factor was used before, if at all.
    pub second_factor_at: Option<UnixTime>,
    /// Whether the device is supposed to be cut off from the cloud, with its whole budget for that.
    pub offline: bool,
}

/// What stands beside the model.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// How the device stands.
    pub standing: Standing,
    /// Everything that is locked, wherever.
    pub locks: &'a [LockRule],
}

impl Beside<'_> {
    /// A device in service, and nothing is locked.
    pub const NOTHING: Self = Self { standing: Standing::InService, locks: &[] };
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The user.
    pub user: Name,
    /// The device.
    pub device: Name,
    /// The service.
    pub service: Name,
    /// The machine whose service it is; none for the device's own.
    pub machine: Option<Name>,
    /// The moment that is judged.
    pub at: UnixTime,
    /// Whether the device is supposed to be cut off.
    pub offline: bool,
    /// For how long the device works without its cloud.
    pub freshness: FreshnessRule,
    /// Whether the user has registered a key; without one the device does not know them yet.
    pub registered: bool,
    /// How the device stands.
    pub standing: Standing,
    /// The locks that concern the question.
    pub locks: Vec<LockRule>,
    /// The judgement, with every grant and prohibition that contains the service.
    pub judgement: Explanation,
    /// What would have to be true; empty where it is permitted.
    pub remedies: Vec<Remedy>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// A name that nothing has.
    #[error("there is no {what} `{name}`{}", nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    Unknown {
        /// What was looked up.
        what: &'static str,
        /// The name.
        name: String,
        /// An existing name that is spelled alike.
        nearest: Option<String>,
    },
    /// A service that the device does not have.
    #[error("there is no service `{name}`; {}", offered(device, nearest.as_deref(), services))]
    NoService {
        /// What was looked up.
        name: String,
        /// Where.
        device: Name,
        /// An existing service that is spelled alike.
        nearest: Option<String>,
        /// The services that the device has.
        services: Vec<Name>,
    },
    /// The policy is too large.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It could not be signed.
    #[error(transparent)]
    Seal(#[from] EnvelopeFault),
    /// The device would refuse it.
    #[error(transparent)]
    Verify(#[from] SnapshotFault),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyFault),
}

/// Answers a question about a model alone.
///
/// # Errors
/// An [`ExplainError`].
pub fn answer(model: &Model, roster: &Roster, question: &Question<'_>) -> Result<Answer, ExplainError> {
    answer_beside(model, roster, &Beside::NOTHING, question)
}

/// Answers a question about a model and what stands beside it.
///
/// # Errors
/// An [`ExplainError`].
pub fn answer_beside(
    model: &Model,
    roster: &Roster,
    beside: &Beside<'_>,
    question: &Question<'_>,
) -> Result<Answer, ExplainError> {
    let user = look_up(question.user, EntityKind::User.word(), model.names(EntityKind::User))?;
    let device = look_up(question.device, EntityKind::Device.word(), model.names(EntityKind::Device))?;
    let trial = Trial::new()?;
    let supposed = trial.suppose(roster, [user]);
    let compiler = Compiler::new(model, &supposed);
    let endpoints = compiler.endpoints(device);
    let service = look_up_service(question.service, device, endpoints.iter().map(|e| &e.name).collect())?;
    let index = trial.index(&compiler, device, question.at)?;
    let freshness = compiler.freshness(device);
    let hypothesis = Hypothesis {
        user: Trial::id(&supposed, user),
        second_factor_at: question.second_factor_at,
        only: None,
    };
    let freshness_then = if question.offline { cut_off(freshness, question.at) } else { Freshness::ALWAYS };
    let circumstances = Circumstances::alone(question.at, freshness_then);
    let judge = |index| explain(Some(index), &hypothesis, service.as_str(), &circumstances);
    let mut judgement = judge(&index);
    let locks = locks_on(device, user, &judgement, beside.locks);
    let denied = match beside.standing {
        Standing::InService if locks.is_empty() => None,
        Standing::InService => judge(&trial.locked(&index, &targets(&locks, hypothesis.user))).denied,
        // It is told of no user and no service.
        Standing::AwaitsConfirmation => Some(Reason::NoGrant),
        Standing::Retired => Some(Reason::DeviceUnassigned),
    };
    let found = endpoints.iter().find(|endpoint| endpoint.name == *service);
    let remedies = found.map(|endpoint| remedies(model, user, device, endpoint, question.at, &judgement));
    if denied.is_some() {
        (judgement.denied, judgement.until, judgement.mode) = (denied, None, None);
        judgement.chains.iter_mut().for_each(|chain| chain.used = false);
    }
    Ok(Answer {
        user: user.clone(),
        device: device.clone(),
        service: service.clone(),
        machine: found.and_then(|endpoint| endpoint.machine.cloned()),
        at: question.at,
        offline: question.offline,
        freshness,
        registered: roster.users.get(user).is_some_and(|user| !user.keys.is_empty()),
        standing: beside.standing,
        locks,
        judgement,
        remedies: remedies.unwrap_or_default(),
    })
}

/// The locks that concern a user on a device, and categories of what is granted there.
fn locks_on(device: &Name, user: &Name, granted: &Explanation, rules: &[LockRule]) -> Vec<LockRule> {
    let here = rules.iter().filter(|rule| rule.on.as_ref().is_none_or(|on| on == device));
    let concerns = |rule: &&LockRule| match rule.kind {
        LockKind::Device => rule.name == *device,
        LockKind::User => rule.name == *user,
        LockKind::Category => {
            let target = LockTarget::Category(rule.name.clone());
            let is_locked = |name: Name| target.is_category(&name);
            granted.chains.iter().any(|chain| chain.category.parse().is_ok_and(is_locked))
        }
    };
    here.filter(concerns).cloned().collect()
}

/// What a device is told of these locks.
fn targets(locks: &[LockRule], user: postern_protocol::id::UserId) -> Vec<LockTarget> {
    let target = |rule: &LockRule| match rule.kind {
        LockKind::Device => LockTarget::Device,
        LockKind::User => LockTarget::User(user),
        LockKind::Category => LockTarget::Category(rule.name.clone()),
    };
    let targets: std::collections::BTreeSet<LockTarget> = locks.iter().map(target).collect();
    targets.into_iter().collect()
}

/// A device that has just stopped to believe its policy for want of a word from the cloud.
fn cut_off(rule: FreshnessRule, at: UnixTime) -> Freshness {
    Freshness { fresh_until: at, offline_until: at.saturating_add(u64::from(rule.offline_s)) }
}

fn remedies(
    model: &Model,
    user: &Name,
    device: &Name,
    endpoint: &Endpoint<'_>,
    at: UnixTime,
    judgement: &Explanation,
) -> Vec<Remedy> {
    let place = place::Place { device, machine: endpoint.machine };
    let Endpoint { local, page, service, .. } = endpoint;
    let wanted = source::Wanted { local, page: page.as_ref(), service: service.as_ref() };
    remedy::Matter { model, user, place, wanted, at, judgement }.remedies()
}

fn look_up<'n>(name: &str, what: &'static str, names: Vec<&'n Name>) -> Result<&'n Name, ExplainError> {
    names.iter().copied().find(|known| known.as_str() == name).ok_or_else(|| {
        let nearest = nearest(name, names.into_iter().map(Name::as_str)).map(str::to_owned);
        ExplainError::Unknown { what, name: Cut(name).to_string(), nearest }
    })
}

fn look_up_service<'n>(name: &str, device: &Name, names: Vec<&'n Name>) -> Result<&'n Name, ExplainError> {
    names.iter().copied().find(|known| known.as_str() == name).ok_or_else(|| ExplainError::NoService {
        name: Cut(name).to_string(),
        device: device.clone(),
        nearest: nearest(name, names.iter().map(|name| name.as_str())).map(str::to_owned),
        services: names.into_iter().cloned().collect(),
    })
}

/// What to ask for instead.
fn offered(device: &Name, nearest: Option<&str>, services: &[Name]) -> String {
    if let Some(name) = nearest {
        return format!("did you mean `{name}`?");
    }
    if services.is_empty() {
        return format!("device `{device}` has none");
    }
    let shown: Vec<String> = services.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let rest = services.len().saturating_sub(SHOWN);
    let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("device `{device}` has {}{rest}", shown.join(", "))
}

/// Services that a message names.
const SHOWN: usize = 12;

impl<'a> Compiler<'a> {
    /// The services and pages of a device by their name there, with the own name of the service.
    #[must_use]
    pub fn service_names(&self, device: &Name) -> BTreeMap<Name, (&'a Name, Cow<'a, Service>)> {
        let endpoints = self.endpoints(device);
        endpoints.into_iter().map(|endpoint| (endpoint.name, (endpoint.local, endpoint.service))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_a_device_lacks_is_answered_with_those_that_it_has() {
        let device: Name = "gate".parse().unwrap();
        let names: Vec<Name> = (1..=14).map(|number| format!("m{number}.web").parse().unwrap()).collect();
        let asked = |name, names: &[Name]| {
            look_up_service(name, &device, names.iter().collect()).cloned().map_err(|error| error.to_string())
        };
        let two = names.get(..2).unwrap();
        assert_eq!(asked("m2.web", two), Ok(names[1].clone()));
        assert_eq!(asked("m2.wed", two).unwrap_err(), "there is no service `m2.wed`; did you mean `m2.web`?");
        let found = asked("hmi", two).unwrap_err();
        assert_eq!(found, "there is no service `hmi`; device `gate` has `m1.web`, `m2.web`");
        let found = asked("hmi", &names).unwrap_err();
        assert!(found.ends_with("`m11.web`, `m12.web` and 2 more"), "{found}");
        assert_eq!(asked("hmi", &[]).unwrap_err(), "there is no service `hmi`; device `gate` has none");
    }
}
