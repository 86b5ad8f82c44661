//! Why a user may or may not use a service: the device's own judgement, asked in the cloud.
//!
//! 1. The user, device and service are looked up; a mistyped name gets its nearest neighbour.
//! 2. The device's policy is compiled, signed with a throw-away key, verified and indexed: the way it takes to a device.
//! 3. The `explain` of the protocol judges, so that cloud and device cannot give two answers.
//!
//! A user who has registered no key is judged as if they had one, and the answer says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use postern_protocol::id::{DeviceId, FleetId};
use postern_protocol::name::Name;
use postern_protocol::policy::explain::{Explanation, Hypothesis};
use postern_protocol::policy::{Circumstances, Expectation, Index, SnapshotFault, explain, verify};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Envelope, EnvelopeFault, KeyFault, Role, RoleKeys, Root, SecretKey};

use crate::chance;
use crate::compile::{Addressee, CompileError, Compiler, Enrolled, Roster, Term};
use crate::model::{EntityKind, Model};
use crate::nearest::nearest;

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
    /// The moment that is judged.
    pub at: UnixTime,
    /// Whether the user has registered a key; without one the device does not know them yet.
    pub registered: bool,
    /// The judgement, with every grant that contains the service.
    pub judgement: Explanation,
    /// Roles whose categories contain the service, with the category: what an assignment would have to give.
    pub opened_by: Vec<Opener>,
}

/// A role and the category through which it contains a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Opener {
    /// The role.
    pub role: Name,
    /// The category.
    pub category: Name,
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

/// Answers a question about a model.
///
/// # Errors
/// An [`ExplainError`].
pub fn answer(model: &Model, roster: &Roster, question: &Question<'_>) -> Result<Answer, ExplainError> {
    let user = look_up(question.user, EntityKind::User.word(), model.names(EntityKind::User))?;
    let device = look_up(question.device, EntityKind::Device.word(), model.names(EntityKind::Device))?;
    let services = Compiler::new(model, roster).service_names(&device);
    let service = look_up(question.service, "service", services.keys().collect())?;
    let registered = roster.users.get(&user).is_some_and(|user| !user.keys.is_empty());
    let supposed = suppose_key(roster, &user)?;
    let id = supposed.users.get(&user).map_or(NOBODY, |user| user.id);
    let index = index(model, &supposed, &device, question.at)?;
    let hypothesis = Hypothesis { user: id, second_factor_at: question.second_factor_at };
    let circumstances = Circumstances { now: question.at, open: 0, open_by_user: 0, open_on_service: 0 };
    let judgement = explain(Some(&Arc::new(index)), &hypothesis, service.as_str(), &circumstances);
    let opened_by =
        services.get(&service).map(|(local, service)| openers(model, local, service)).unwrap_or_default();
    Ok(Answer { user, device, service, at: question.at, registered, judgement, opened_by })
}

fn openers(model: &Model, local: &Name, service: &crate::model::Service) -> Vec<Opener> {
    let mut openers = Vec::new();
    for (role, body) in &model.roles {
        let selecting = body.categories.iter().filter(|category| {
            model.categories.get(*category).is_some_and(|category| category.selects(local, service))
        });
        openers.extend(selecting.map(|category| Opener { role: role.clone(), category: category.clone() }));
    }
    openers
}

fn look_up(name: &str, what: &'static str, names: Vec<&Name>) -> Result<Name, ExplainError> {
    names.iter().find(|known| known.as_str() == name).map(|known| (*known).clone()).ok_or_else(|| {
        let nearest = nearest(name, names.into_iter().map(Name::as_str)).map(str::to_owned);
        ExplainError::Unknown { what, name: name.to_owned(), nearest }
    })
}

/// The roster with a key for one user, if they have none.
fn suppose_key(roster: &Roster, user: &Name) -> Result<Roster, ExplainError> {
    let mut roster = roster.clone();
    let unknown = || Enrolled { id: NOBODY, keys: [].into(), disabled: false };
    let enrolled = roster.users.entry(user.clone()).or_insert_with(unknown);
    if enrolled.keys.is_empty() {
        enrolled.keys.insert(SecretKey::from_seed(chance::bytes())?.public());
    }
    Ok(roster)
}

fn index(model: &Model, roster: &Roster, device: &Name, at: UnixTime) -> Result<Index, ExplainError> {
    let key = SecretKey::from_seed(chance::bytes())?;
    let fleet = FleetId::new([0; 8]);
    let role = |role| RoleKeys { role, threshold: 1, keys: vec![key.public()] };
    let root = Root {
        fleet,
        version: 1,
        expires: UnixTime::MAX,
        policy_epoch: 1,
        roles: vec![role(Role::Root), role(Role::Policy), role(Role::Identity)],
        hubs: Vec::new(),
    };
    let addressee = Addressee { fleet, device: DeviceId::new([0; 8]), device_key: key.public(), epoch: 1 };
    // As if it were signed just now: what is asked is what the policy says, not how old it is.
    let term = Term { version: 1, issued: at, expires: at.saturating_add(crate::publish::LIFETIME_S) };
    let content = Compiler::new(model, roster).compile(device)?;
    let sealed = Envelope::seal(&content.into_snapshot(addressee, term), &[&key])?;
    let expected =
        Expectation { root: &root, device: addressee.device, device_key: addressee.device_key, floor: None };
    Ok(Index::build(verify(&sealed, &expected)?))
}

impl<'a> Compiler<'a> {
    /// The services of a device by their name there, with their own name.
    #[must_use]
    pub fn service_names(&self, device: &Name) -> BTreeMap<Name, (&'a Name, &'a crate::model::Service)> {
        let endpoints = self.endpoints(device);
        endpoints.into_iter().map(|endpoint| (endpoint.name, (endpoint.local, endpoint.service))).collect()
    }
}

/// A user who is in the model and has no id yet; no id of this value is ever drawn in practice.
const NOBODY: postern_protocol::id::UserId = postern_protocol::id::UserId::new([0; 8]);
