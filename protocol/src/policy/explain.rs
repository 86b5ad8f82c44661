//! The judgement in words: what would be decided for a user and a service at a time, and because of which grants.
//!
//! It asks the same `judge` as [`decide`](super::decide()), so the answer is the same; it makes no permit.

use std::sync::Arc;

use serde::Serialize;

use super::decide::{Circumstances, Facts, No, holds, judge};
use super::index::Index;
use super::reason::Reason;
use super::snapshot::Grant;
use crate::id::UserId;
use crate::time::UnixTime;

/// Who is supposed to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hypothesis {
    /// The user, with one of the keys of their row and a pass that is in date.
    pub user: UserId,
    /// When their second factor was used, if at all.
    pub second_factor_at: Option<UnixTime>,
}

/// The verdict on one request and on each grant that contains the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// None is a permit; otherwise the reason of the denial.
    pub denied: Option<Reason>,
    /// Until when the permit would hold.
    pub until: Option<UnixTime>,
    /// Every grant of the user that contains the service.
    pub chains: Vec<Chain>,
}

/// One grant with its origin and its own verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// Whether the verdict rests on this grant.
    pub used: bool,
    /// The role assignment.
    pub assignment: String,
    /// The role.
    pub role: String,
    /// The user group, if one is on the way.
    pub group: Option<String>,
    /// The access category.
    pub category: String,
    /// The beginning of its window.
    pub not_before: Option<UnixTime>,
    /// The end of its window.
    pub not_after: Option<UnixTime>,
    /// Age in seconds that its second factor may have.
    pub second_factor_s: Option<u32>,
    /// Its first failing condition; none when it holds.
    pub fails: Option<Reason>,
}

/// Explains the decision on `service` for a hypothetical caller.
#[must_use]
pub fn explain(
    policy: Option<&Arc<Index>>,
    hypothesis: &Hypothesis,
    service: &str,
    circumstances: &Circumstances,
) -> Explanation {
    let facts = Facts {
        user: hypothesis.user,
        key: None,
        pass_expires: UnixTime::MAX,
        second_factor_at: hypothesis.second_factor_at,
    };
    let Some(index) = policy else {
        return Explanation { denied: Some(Reason::NoPolicy), until: None, chains: Vec::new() };
    };
    let ask = index.ask(hypothesis.user, service);
    let (denied, until, used) = match judge(policy, &facts, &ask, circumstances) {
        Ok(yes) => (None, Some(yes.until), Some(yes.grant)),
        Err(No { reason, grant }) => (Some(reason), None, grant),
    };
    let mut chains = Vec::new();
    if let (Some(user), Some(service)) = (ask.user, ask.service) {
        for (ix, grant) in index.grants_of(user).filter(|(_, grant)| index.contains(grant.category, service))
        {
            chains.extend(chain(index, grant, &facts, circumstances.now, used == Some(ix)));
        }
    }
    Explanation { denied, until, chains }
}

fn chain(index: &Index, grant: &Grant, facts: &Facts, now: UnixTime, used: bool) -> Option<Chain> {
    let origin = index.origin(grant.origin)?;
    Some(Chain {
        used,
        assignment: origin.assignment.to_string(),
        role: origin.role.to_string(),
        group: origin.group.as_ref().map(ToString::to_string),
        category: index.category(grant.category)?.name.to_string(),
        not_before: grant.not_before,
        not_after: grant.not_after,
        second_factor_s: grant.second_factor_s,
        fails: holds(grant, facts, now).err(),
    })
}

#[cfg(test)]
mod tests;
