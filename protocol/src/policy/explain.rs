//! The judgement in words: what would be decided for a user and a service at a time, and because of which rules.
//!
//! It asks the same `judge` as [`decide`](super::decide()), so the answer is the same; it makes no permit.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::decide::{Circumstances, Conditions, Facts, No, Rule, active_case, approval, holds, judge};
use super::index::Index;
use super::mode::Mode;
use super::reason::Reason;
use super::snapshot::{Approval, Case, Grant, Origin, Pattern, Prohibition, Service};
use crate::id::{ApprovalId, UserId};
use crate::name::Name;
use crate::time::UnixTime;
use crate::trust::LockTarget;

/// Who is supposed to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hypothesis<'a> {
    /// The user, with one of the keys of their row and a pass that is in date.
    pub user: UserId,
    /// When their second factor was used, if at all.
    pub second_factor_at: Option<UnixTime>,
    /// The only services that their pass opens; none is every service.
    pub only: Option<&'a [Name]>,
}

/// The verdict on one request and on each rule that contains the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// None is a permit; otherwise the reason of the denial.
    pub denied: Option<Reason>,
    /// Until when the permit would hold.
    pub until: Option<UnixTime>,
    /// What the permit would let do.
    pub mode: Option<Mode>,
    /// Every grant of the user that contains the service.
    pub chains: Vec<Chain>,
    /// Every prohibition of the user that contains the service: those in force beat all grants.
    pub prohibitions: Vec<Veto>,
    /// What is locked on the device and concerns this user and service. A grant whose category is locked is void and is
    /// not among the chains.
    pub locks: Vec<LockTarget>,
}

/// One grant with its origin and its own verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// Whether the verdict rests on this grant.
    pub used: bool,
    /// Where it comes from.
    pub origin: Origin,
    /// The access category.
    pub category: String,
    /// The beginning of its window.
    pub not_before: Option<UnixTime>,
    /// The end of its window.
    pub not_after: Option<UnixTime>,
    /// Age in seconds that its second factor may have.
    pub second_factor_s: Option<u32>,
    /// Whether it demands an active service case.
    pub needs_case: bool,
    /// Whether it demands an approval.
    pub needs_approval: bool,
    /// Whether it holds while the policy is stale.
    pub offline_ok: bool,
    /// What may be done, before the service narrows it.
    pub mode: Mode,
    /// Whether its tunnels are recorded.
    pub record: bool,
    /// The active case that it rests on, if it demands one and there is one.
    pub case: Option<String>,
    /// The approval that it rests on, if it demands one and there is one.
    pub approval: Option<Given>,
    /// Its first failing condition; none when it holds.
    pub fails: Option<Reason>,
}

/// What was approved of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Given {
    /// The request.
    pub id: ApprovalId,
    /// The most that may be done.
    pub mode: Mode,
    /// The first second in which it is worth nothing.
    pub until: UnixTime,
}

impl From<&Approval> for Given {
    fn from(approval: &Approval) -> Self {
        Self { id: approval.id, mode: approval.mode, until: approval.not_after }
    }
}

/// One prohibition with its origin; it refuses while it is in force, whatever the chains say: the service, or one path of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Veto {
    /// The path that it closes; none is the whole service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Pattern>,
    /// Whether it is in force at the moment that is judged.
    pub in_force: bool,
    /// Where it comes from.
    pub origin: Origin,
    /// The access category.
    pub category: String,
    /// The beginning of its window.
    pub not_before: Option<UnixTime>,
    /// The end of its window.
    pub not_after: Option<UnixTime>,
}

impl Veto {
    /// Whether it keeps its user from the whole service at the moment that is judged.
    #[must_use]
    pub const fn refuses(&self) -> bool {
        self.in_force && self.path.is_none()
    }
}

/// Explains the decision on `service` for a hypothetical caller.
#[must_use]
pub fn explain(
    policy: Option<&Arc<Index>>,
    hypothesis: &Hypothesis<'_>,
    service: &str,
    circumstances: &Circumstances,
) -> Explanation {
    let facts = Facts {
        user: hypothesis.user,
        key: None,
        pass_issued: UnixTime::MAX,
        pass_expires: UnixTime::MAX,
        second_factor_at: hypothesis.second_factor_at,
        only: hypothesis.only,
    };
    let mut explanation = Explanation {
        denied: None,
        until: None,
        mode: None,
        chains: Vec::new(),
        prohibitions: Vec::new(),
        locks: Vec::new(),
    };
    let Some(index) = policy else {
        return Explanation { denied: Some(Reason::NoPolicy), ..explanation };
    };
    let ask = index.ask(hypothesis.user, service);
    let used = match judge(policy, &facts, &ask, circumstances) {
        Ok(yes) => {
            explanation.until = Some(yes.until);
            explanation.mode = Some(yes.mode);
            Some(Rule::Grant(yes.grant))
        }
        Err(No { reason, rule }) => {
            explanation.denied = Some(reason);
            rule
        }
    };
    if let (Some(caller), Some(service)) = (ask.user.and_then(|user| index.caller(user)), ask.service) {
        let now = circumstances.now;
        let case = active_case(index, service, now);
        explanation.chains = index
            .grants_for(caller, service)
            .filter_map(|(ix, grant)| {
                let widest = index.service(service).map_or(Mode::ViewOnly, Service::widest);
                let given = approval(index, (ix, service), grant.mode.narrower(widest), now);
                let conditions = Conditions { case_end: || case.map(Case::end), approval: || given };
                let fails = holds(grant, &facts, conditions, circumstances.freshness, now).err();
                let rests = Rests { case, approval: given };
                chain(index, grant, rests, Verdict { used: used == Some(Rule::Grant(ix)), fails })
            })
            .collect();
        let rows = index.prohibitions_for(caller, service);
        explanation.prohibitions = rows.filter_map(|(_, row)| veto(index, row, now)).collect();
        explanation.locks = locks(index, hypothesis.user, service);
    }
    explanation
}

/// What is locked of a user and a service, each target once.
fn locks(index: &Index, user: UserId, service: u32) -> Vec<LockTarget> {
    let categories = &index.snapshot().categories;
    let holds = |target: &LockTarget| match target {
        LockTarget::Device => true,
        LockTarget::User(locked) => *locked == user,
        LockTarget::Category(_) => categories
            .iter()
            .any(|category| category.services.contains(&service) && target.is_category(&category.name)),
    };
    let found: BTreeSet<&LockTarget> = index.locks().targets().filter(|target| holds(target)).collect();
    found.into_iter().cloned().collect()
}

/// What was judged of one grant.
struct Verdict {
    used: bool,
    fails: Option<Reason>,
}

/// What a grant may rest on beside itself.
struct Rests<'a> {
    case: Option<&'a Case>,
    approval: Option<&'a Approval>,
}

fn chain(index: &Index, grant: &Grant, rests: Rests<'_>, verdict: Verdict) -> Option<Chain> {
    let category = index.category(grant.category)?;
    Some(Chain {
        used: verdict.used,
        origin: index.origin(grant.origin)?.clone(),
        category: category.name.to_string(),
        not_before: grant.not_before,
        not_after: grant.not_after,
        second_factor_s: grant.second_factor_s,
        needs_case: grant.needs_case,
        needs_approval: grant.needs_approval,
        offline_ok: grant.offline_ok,
        mode: grant.mode,
        record: category.record,
        case: rests.case.filter(|_| grant.needs_case).map(|case| case.name.to_string()),
        approval: rests.approval.filter(|_| grant.needs_approval).map(Given::from),
        fails: verdict.fails,
    })
}

fn veto(index: &Index, row: &Prohibition, now: UnixTime) -> Option<Veto> {
    let path = match row.path {
        Some(path) => Some(index.path(path)?.clone()),
        None => None,
    };
    Some(Veto {
        path,
        in_force: row.in_force(now),
        origin: index.origin(row.origin)?.clone(),
        category: index.category(row.category)?.name.to_string(),
        not_before: row.not_before,
        not_after: row.not_after,
    })
}

#[cfg(test)]
mod tests;
