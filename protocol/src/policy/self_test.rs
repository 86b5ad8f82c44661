//! Shows at every start, before anybody is served, that what must be refused is refused.
//!
//! 1. A [`Stage`] is set: a root, a policy, passes and callers of its own, under keys that mean nothing elsewhere. They come into
//!    being by the very checks that real ones pass.
//! 2. What was changed after it was signed is offered: none of it may be taken.
//! 3. One request is permitted. Each of the others differs from it in one thing and must be refused, for the reason that belongs
//!    to that thing: a decision that refuses everything, or for any reason, has not shown that it tells them apart.
//! 4. The policy in force is asked: for a stranger, for its own users with a key that is not theirs, and for all that it grants,
//!    after its end and without a word of the cloud.
//! 5. Whoever serves demands a [`Proven`], which nothing else makes.
//!
//! Deliberately absent: any way to permit. The decision is an argument, so that a test can hand over a broken one; the permit that is
//! made in step 3 is of a service that exists nowhere, and is dropped.

mod stage;

use std::fmt;
use std::sync::Arc;

use self::stage::{INSTANT, SERVICE, Stage};
use super::decide::{Circumstances, Denial, Permit};
use super::explain::{Hypothesis, explain};
use super::freshness::Freshness;
use super::index::{Ask, Index};
use super::reason::Reason;
use crate::time::UnixTime;
use crate::trust::Subject;

/// Proof that the decision refuses what it must. Private fields, one constructor.
#[derive(Debug)]
pub struct Proven {
    refused: u16,
}

impl Proven {
    /// How many requests and forgeries were refused.
    #[must_use]
    pub const fn refused(&self) -> u16 {
        self.refused
    }
}

/// A decision: [`decide`](super::decide()), or one that a test has broken.
pub type Decision<'a> =
    &'a dyn Fn(Option<&Arc<Index>>, &Subject, &Ask, &Circumstances) -> Result<Permit, Denial>;

/// Why nobody may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelfTestFault {
    /// What is genuine was not taken.
    #[error("the self-test cannot begin: its own {0} was not taken")]
    Stage(&'static str),
    /// What was changed after it was signed was taken.
    #[error("the self-test failed: {0} was taken as genuine")]
    Forged(&'static str),
    /// What must be permitted was not.
    #[error("the self-test failed: a request that must be permitted was refused with `{0}`")]
    Refused(Reason),
    /// What must be refused was permitted.
    #[error("the self-test failed: {0} was permitted, `{1}` was expected")]
    Permitted(Probe, Reason),
    /// It was refused for something else.
    #[error("the self-test failed: {probe} was refused with `{found}`, `{expected}` was expected")]
    OtherReason {
        /// What was asked.
        probe: Probe,
        /// The reason given.
        found: Reason,
        /// The reason that belongs to it.
        expected: Reason,
    },
    /// What the policy in force grants would be permitted where it must not be.
    #[error("the self-test failed: the policy in force would permit {0}")]
    InForce(Probe),
}

/// Asks for what must be refused, of a policy of its own and of the one in force.
///
/// # Errors
/// The first [`SelfTestFault`]; nobody may be served then.
pub fn self_test(decision: Decision<'_>, in_force: Option<&Arc<Index>>) -> Result<Proven, SelfTestFault> {
    let stage = Stage::set()?;
    let forged = stage.forgeries()?;
    let decide = |it: &Request<'_>| {
        let ask = it.policy.map_or(Ask::NOTHING, |index| index.ask(it.subject.user(), it.service));
        decision(it.policy, it.subject, &ask, &it.circumstances)
    };
    let allowed = stage.allowed();
    decide(&allowed).map(drop).map_err(|denial| SelfTestFault::Refused(denial.reason()))?;
    let mut refused = forged;
    let requests = stage.requests();
    let live = in_force.map(|index| stage.strangers_to(index)).transpose()?.unwrap_or_default();
    for (probe, request, expected) in requests.iter().chain(live.requests(in_force).iter()) {
        match decide(request) {
            Ok(_permit) => return Err(SelfTestFault::Permitted(*probe, *expected)),
            Err(denial) if denial.reason() == *expected => refused += 1,
            Err(denial) => {
                let found = denial.reason();
                return Err(SelfTestFault::OtherReason { probe: *probe, found, expected: *expected });
            }
        }
    }
    let granted = in_force.map_or(Ok(0), ends_with_its_time)?;
    Ok(Proven { refused: refused + granted })
}

/// What a request differs in from one that is permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// There is no policy.
    NoPolicy,
    /// The pass is over.
    PassOver,
    /// The pass opens other services.
    PassNarrowed,
    /// The policy does not name the user.
    UnknownUser,
    /// The policy names another key for the user.
    OtherKey,
    /// The user is disabled.
    DisabledUser,
    /// The device belongs to nobody.
    Unassigned,
    /// The policy is over.
    PolicyOver,
    /// The cloud was not heard for too long.
    Unheard,
    /// The service does not exist.
    UnknownService,
    /// The user's categories do not contain the service.
    OtherCategory,
    /// A prohibition beats the grant.
    Prohibited,
    /// The grant's window has not begun.
    WindowAhead,
    /// The grant's window is over.
    WindowOver,
    /// The grant demands a second factor.
    NoSecondFactor,
    /// The second factor was used too long ago.
    OldSecondFactor,
    /// The grant demands a case.
    NoCase,
    /// The grant demands an approval.
    NoApproval,
    /// What was approved is over.
    ApprovalOver,
    /// The device is locked.
    Locked,
    /// As many tunnels are open as may be.
    NoRoom,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPolicy => "a request without a policy",
            Self::PassOver => "a request with a pass that is over",
            Self::PassNarrowed => "a request with a pass for other services",
            Self::UnknownUser => "an unknown user",
            Self::OtherKey => "a user with somebody else's key",
            Self::DisabledUser => "a disabled user",
            Self::Unassigned => "a request at a device of nobody",
            Self::PolicyOver => "a request under a policy that is over",
            Self::Unheard => "a request under a policy that nobody has confirmed for too long",
            Self::UnknownService => "a service that does not exist",
            Self::OtherCategory => "a service of another category",
            Self::Prohibited => "a service that a prohibition closes",
            Self::WindowAhead => "a request before its window",
            Self::WindowOver => "a request after its window",
            Self::NoSecondFactor => "a request without the second factor",
            Self::OldSecondFactor => "a request with an old second factor",
            Self::NoCase => "a request without a service case",
            Self::NoApproval => "a request that nobody approved",
            Self::ApprovalOver => "a request whose approval is over",
            Self::Locked => "a request at a locked device",
            Self::NoRoom => "one tunnel more than may be open",
        })
    }
}

/// One request.
struct Request<'a> {
    policy: Option<&'a Arc<Index>>,
    subject: &'a Subject,
    service: &'a str,
    circumstances: Circumstances,
}

type Refusable<'a> = (Probe, Request<'a>, Reason);

/// Callers whom the policy in force must not know.
#[derive(Default)]
struct Strangers {
    /// With the user's rows, and not their key.
    impostors: Vec<Subject>,
    /// Nobody it has heard of.
    unknown: Option<Subject>,
}

impl Strangers {
    fn requests<'a>(&'a self, policy: Option<&'a Arc<Index>>) -> Vec<Refusable<'a>> {
        let assigned = policy.is_some_and(|index| index.snapshot().assigned);
        let unknown = if assigned { Reason::NoGrant } else { Reason::DeviceUnassigned };
        let service = policy.and_then(|index| index.snapshot().services.first());
        let service = service.map_or(SERVICE, |service| service.name.as_str());
        let circumstances = Circumstances::alone(INSTANT, Freshness::ALWAYS);
        let request = |subject| Request { policy, subject, service, circumstances };
        let impostors = self.impostors.iter();
        let impostors = impostors.map(|subject| (Probe::OtherKey, request(subject), Reason::BadPass));
        let unknown = self.unknown.iter().map(|subject| (Probe::UnknownUser, request(subject), unknown));
        impostors.chain(unknown).collect()
    }
}

/// Nothing that the policy in force grants holds after its end, or when the cloud was not heard for too long.
fn ends_with_its_time(index: &Arc<Index>) -> Result<u16, SelfTestFault> {
    let snapshot = index.snapshot();
    let mut refused = 0;
    for grant in snapshot.grants.iter().take(GRANTS) {
        let at = |ix: u32| usize::try_from(ix).unwrap_or(usize::MAX);
        let user = snapshot.users.get(at(grant.user));
        let service = snapshot.categories.get(at(grant.category)).and_then(|list| list.services.first());
        let service = service.and_then(|ix| snapshot.services.get(at(*ix)));
        let (Some(user), Some(service)) = (user, service) else { continue };
        let factor = |now: UnixTime| Hypothesis { user: user.id, second_factor_at: Some(now), only: None };
        for (probe, now, freshness) in [
            (Probe::PolicyOver, snapshot.expires, Freshness::ALWAYS),
            (Probe::Unheard, snapshot.issued, Freshness::NEVER),
        ] {
            let circumstances = Circumstances::alone(now, freshness);
            if explain(Some(index), &factor(now), service.name.as_str(), &circumstances).denied.is_none() {
                return Err(SelfTestFault::InForce(probe));
            }
            refused += 1;
        }
    }
    Ok(refused)
}

/// Grants of the policy in force that are looked at; a start must not take longer because a policy is large.
const GRANTS: usize = 16;
/// Users of it that somebody else pretends to be.
const IMPOSTORS: usize = 2;

#[cfg(test)]
mod tests;
