//! The policy in force, and the only place that asks `decide`.
//!
//! 1. It starts empty: no policy denies everything.
//! 2. [`Gate::install`] swaps in the index of a verified snapshot; the old one lives on only in permits.
//! 3. [`Gate::decide`] answers one request under the policy of this moment.
//!
//! Deliberately absent: any other way to change policy. Whoever holds an index of a verified snapshot can replace
//! it; nobody can edit it.

use std::sync::Arc;

use tokio::sync::watch;

use postern_protocol::id::UserId;
use postern_protocol::policy::explain::Hypothesis;
use postern_protocol::policy::{
    Ask, Circumstances, Denial, Explanation, Freshness, Index, Permit, decide, explain,
};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Subject;

use crate::clock::Clock;

/// The policy in force and the time by which it is judged.
#[derive(Debug)]
pub(crate) struct Gate {
    policy: watch::Sender<Option<Arc<Index>>>,
    clock: Arc<Clock>,
}

/// Tunnels that count against the limits of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Open on the device.
    pub(crate) device: u32,
    /// Open by the same user.
    pub(crate) user: u32,
    /// Open on the same service.
    pub(crate) service: u32,
}

impl Gate {
    /// A gate that denies everything.
    pub(crate) fn new(clock: Arc<Clock>) -> Self {
        Self { policy: watch::Sender::new(None), clock }
    }

    /// Puts a snapshot in force. Live tunnels must be decided again before anything else happens.
    pub(crate) fn install(&self, index: Index) {
        self.clock.learn_policy(index.snapshot().issued);
        self.policy.send_replace(Some(Arc::new(index)));
    }

    /// Decides one request under the policy of this moment.
    ///
    /// # Errors
    /// The denial.
    pub(crate) fn decide(&self, subject: &Subject, service: &str, counts: Counts) -> Result<Permit, Denial> {
        let policy = self.policy.borrow();
        let Some(index) = policy.as_ref() else {
            return decide(None, subject, &Ask::NOTHING, &self.circumstances(counts));
        };
        let ask = index.ask(subject.user(), service);
        decide(Some(index), subject, &ask, &self.circumstances(counts))
    }

    /// Whether the policy in force has a row for this user and key that is not disabled and takes this pass. It permits
    /// nothing.
    pub(crate) fn names(&self, subject: &Subject) -> bool {
        self.policy.borrow().as_ref().is_some_and(|index| {
            let users = &index.snapshot().users;
            let found = users.binary_search_by_key(&subject.user(), |row| row.id).ok();
            found.and_then(|ix| users.get(ix)).is_some_and(|row| {
                !row.disabled && row.keys.contains(&subject.key()) && row.passes_from <= subject.issued()
            })
        })
    }

    /// Says what would be decided for a hypothetical caller, and why; it permits nothing.
    pub(crate) fn explain(
        &self,
        user: UserId,
        service: &str,
        at: Option<UnixTime>,
        second_factor_age_s: Option<u64>,
    ) -> Explanation {
        let now = at.unwrap_or_else(|| self.clock.now());
        explain_under(self.policy.borrow().as_ref(), user, service, now, second_factor_age_s)
    }

    /// The policy in force.
    pub(crate) fn policy(&self) -> Option<Arc<Index>> {
        self.policy.borrow().clone()
    }

    /// The time by which is judged.
    pub(crate) const fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    fn circumstances(&self, counts: Counts) -> Circumstances {
        Circumstances {
            now: self.clock.now(),
            freshness: Freshness::ALWAYS,
            open: counts.device,
            open_by_user: counts.user,
            open_on_service: counts.service,
        }
    }
}

/// What would be decided under `policy`, with no other tunnel open.
pub(crate) fn explain_under(
    policy: Option<&Arc<Index>>,
    user: UserId,
    service: &str,
    now: UnixTime,
    second_factor_age_s: Option<u64>,
) -> Explanation {
    let used = |age| UnixTime::from_secs(now.as_secs().saturating_sub(age));
    let hypothesis = Hypothesis { user, second_factor_at: second_factor_age_s.map(used), only: None };
    let circumstances =
        Circumstances { now, freshness: Freshness::ALWAYS, open: 0, open_by_user: 0, open_on_service: 0 };
    explain(policy, &hypothesis, service, &circumstances)
}
