//! Reviews: all that one user can reach and why, and all who can reach one device and why.
//!
//! 1. The devices that concern the user, or the users that concern the device, are found in the model.
//! 2. Each device's policy takes the way to a device, and the device's own judgement is asked for every service and
//!    user, as if a second factor had been used this moment: what it demands is a condition, not a refusal. The device
//!    has word of the cloud; for how long a grant holds without is a condition too.
//! 3. Every grant is one line, also one that has not begun, has ended, waits for a case or is denied by an entry.
//!
//! Users who have registered no key are judged as if they had one, and marked.

use std::collections::BTreeSet;

use serde::Serialize;

use postern_protocol::name::Name;
use postern_protocol::policy::explain::{Chain, Explanation, Given, Hypothesis, Veto};
use postern_protocol::policy::{
    Circumstances, Freshness, Kind, Mode, Origin, Pattern, Reason, Service, explain,
};
use postern_protocol::time::UnixTime;

use crate::compile::{Compiler, Roster};
use crate::explain::{ExplainError, Trial};
use crate::model::Model;

/// Every grant that concerns a user or a device, ascending by user, device and service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Review {
    /// The moment that is judged.
    pub at: UnixTime,
    /// The grants.
    pub grants: Vec<Granted>,
}

/// One grant of one service to one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Granted {
    /// The user.
    pub user: Name,
    /// Whether the user has registered a key; without one the device does not know them yet.
    pub registered: bool,
    /// The device.
    pub device: Name,
    /// The service, by its name on the device.
    pub service: Name,
    /// What it speaks.
    pub kind: Kind,
    /// Where the grant comes from.
    pub origin: Origin,
    /// The access category.
    pub category: String,
    /// The first second in which it holds.
    pub not_before: Option<UnixTime>,
    /// The first second in which it holds no more.
    pub not_after: Option<UnixTime>,
    /// Age in seconds that the second factor may have.
    pub second_factor_s: Option<u32>,
    /// Whether it demands an active service case.
    pub needs_case: bool,
    /// The active case that it rests on.
    pub case: Option<String>,
    /// Whether it demands an approval.
    pub needs_approval: bool,
    /// The approval that it rests on.
    pub approval: Option<Given>,
    /// What may be done.
    pub mode: Mode,
    /// Whether its tunnels are recorded.
    pub record: bool,
    /// Paths of it that an entry denies at that moment.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub closed: BTreeSet<Pattern>,
    /// Seconds for which it holds while the device is cut off from the cloud; zero for not at all.
    pub offline_s: u32,
    /// How it stands at that moment.
    #[serde(flatten)]
    pub standing: Standing,
}

/// How a grant stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub enum Standing {
    /// It opens the service, with a second factor where it demands one.
    Open,
    /// A condition fails.
    Fails {
        /// Which one; a word in JSON.
        #[serde(serialize_with = "word")]
        reason: Reason,
    },
    /// An entry denies the service.
    Denied {
        /// The entry.
        by: Origin,
        /// The first second in which it denies no more.
        until: Option<UnixTime>,
    },
    /// The user is disabled.
    Disabled,
}

/// Reviews all that a user of the model can reach.
///
/// # Errors
/// An [`ExplainError`].
pub fn of_user(model: &Model, roster: &Roster, user: &Name, at: UnixTime) -> Result<Review, ExplainError> {
    let trial = Trial::new()?;
    let supposed = trial.suppose(roster, [user]);
    let compiler = Compiler::new(model, &supposed);
    let mut grants = Vec::new();
    for device in compiler.devices_of(user) {
        let inquiry = Inquiry { trial: &trial, compiler: &compiler, roster, supposed: &supposed, device, at };
        grants.extend(inquiry.grants([user])?);
    }
    Ok(Review { at, grants })
}

/// Reviews all who can reach a device of the model.
///
/// # Errors
/// An [`ExplainError`].
pub fn of_device(
    model: &Model,
    roster: &Roster,
    device: &Name,
    at: UnixTime,
) -> Result<Review, ExplainError> {
    let trial = Trial::new()?;
    let rows = Compiler::new(model, roster).rows(device);
    let users: BTreeSet<&Name> = rows.iter().map(|row| &row.user).collect();
    let supposed = trial.suppose(roster, users.iter().copied());
    let compiler = Compiler::new(model, &supposed);
    let inquiry = Inquiry { trial: &trial, compiler: &compiler, roster, supposed: &supposed, device, at };
    Ok(Review { at, grants: inquiry.grants(users)? })
}

/// One device, and what is asked of it.
struct Inquiry<'a> {
    trial: &'a Trial,
    compiler: &'a Compiler<'a>,
    roster: &'a Roster,
    supposed: &'a Roster,
    device: &'a Name,
    at: UnixTime,
}

impl Inquiry<'_> {
    fn grants<'n>(&self, users: impl IntoIterator<Item = &'n Name>) -> Result<Vec<Granted>, ExplainError> {
        let index = self.trial.index(self.compiler, self.device, self.at)?;
        let now = Circumstances::alone(self.at, Freshness::ALWAYS);
        let mut grants = Vec::new();
        for user in users {
            let id = Trial::id(self.supposed, user);
            let hypothesis = Hypothesis { user: id, second_factor_at: Some(self.at), only: None };
            for service in &index.snapshot().services {
                let judgement = explain(Some(&index), &hypothesis, service.name.as_str(), &now);
                let granted = |chain| self.granted(user, service, chain, &judgement);
                grants.extend(judgement.chains.iter().map(granted));
            }
        }
        Ok(grants)
    }

    fn granted(&self, user: &Name, service: &Service, chain: &Chain, judgement: &Explanation) -> Granted {
        Granted {
            user: user.clone(),
            registered: self.roster.users.get(user).is_some_and(|user| !user.keys.is_empty()),
            device: self.device.clone(),
            service: service.name.clone(),
            kind: service.kind(),
            origin: chain.origin.clone(),
            category: chain.category.clone(),
            not_before: chain.not_before,
            not_after: chain.not_after,
            second_factor_s: chain.second_factor_s,
            needs_case: chain.needs_case,
            case: chain.case.clone(),
            needs_approval: chain.needs_approval,
            approval: chain.approval,
            mode: chain.mode.narrower(service.widest()),
            record: chain.record,
            closed: closed(judgement),
            offline_s: if chain.offline_ok { self.compiler.freshness(self.device).offline_s } else { 0 },
            standing: Standing::of(chain, judgement),
        }
    }
}

impl Standing {
    fn of(chain: &Chain, judgement: &Explanation) -> Self {
        let in_force = judgement.prohibitions.iter().find(|veto| veto.refuses());
        match (judgement.denied, in_force, chain.fails) {
            (Some(Reason::UserDisabled), _, _) => Self::Disabled,
            (_, Some(Veto { origin, not_after, .. }), _) => {
                Self::Denied { by: origin.clone(), until: *not_after }
            }
            (_, None, Some(reason)) => Self::Fails { reason },
            (Some(reason), None, None) => Self::Fails { reason },
            (None, None, None) => Self::Open,
        }
    }
}

/// The paths that are denied at the moment that was judged.
pub(crate) fn closed(judgement: &Explanation) -> BTreeSet<Pattern> {
    let in_force = judgement.prohibitions.iter().filter(|veto| veto.in_force);
    in_force.filter_map(|veto| veto.path.clone()).collect()
}

fn word<S: serde::Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.word())
}
