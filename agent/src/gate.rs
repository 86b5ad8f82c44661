//! The policy in force, and the only place that asks `decide`.
//!
//! 1. It starts empty: no policy denies everything.
//! 2. [`Gate::install`] swaps in the index of a verified snapshot; the old one lives on only in permits.
//! 3. [`self_test`] shows that what must be refused is refused; whoever serves demands its proof.
//! 4. [`Gate::decide`] answers one request under the policy of this moment. A live tunnel for which no seat is left is
//!    narrowed to looking and not refused.
//!
//! Deliberately absent: any other way to change policy. Whoever holds an index of a verified snapshot can replace
//! it; nobody can edit it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use postern_protocol::id::UserId;
use postern_protocol::policy::explain::Hypothesis;
use postern_protocol::policy::{
    Ask, Circumstances, Denial, Explanation, Freshness, FreshnessState, Index, Locks, Permit, Proven, Reason,
    SelfTestFault, decide, explain,
};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Subject;

use crate::anchor::Anchor;
use crate::clock::Clock;
use crate::mutex::Mutex;

/// The policy in force and the time by which it is judged.
#[derive(Debug)]
pub(crate) struct Gate {
    policy: Mutex<Option<Arc<Index>>>,
    /// It is another one.
    changed: watch::Sender<()>,
    clock: Arc<Clock>,
    anchor: Anchor,
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
    /// Those of them that may touch.
    pub(crate) writers: u32,
}

/// What a caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    /// The service's name.
    pub(crate) service: &'a str,
    /// Whether to look only, whatever is granted.
    pub(crate) view_only: bool,
}

/// What is decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A tunnel that is to be opened: the policy must be confirmed.
    Opening,
    /// A tunnel that is live: it keeps the freshness that was earned before an unconfirmed policy came.
    Live,
}

impl Gate {
    /// A gate that denies everything.
    pub(crate) fn new(clock: Arc<Clock>, anchor: Anchor) -> Self {
        Self { policy: Mutex::new(None), changed: watch::Sender::new(()), clock, anchor }
    }

    /// Puts a snapshot in force. Live tunnels must be decided again before anything else happens.
    pub(crate) fn install(&self, index: Index) {
        self.clock.learn_policy(&index);
        *self.policy.lock() = Some(Arc::new(index));
        self.changed.send_replace(());
    }

    /// Puts the policy in force under these locks, in place of those of before. Live tunnels must be decided again
    /// before anything else happens.
    pub(crate) fn lock(&self, locks: &Locks) {
        if let Some(index) = self.policy.lock().as_mut() {
            *index = Arc::new(Index::clone(index).under(locks));
        }
        self.changed.send_replace(());
    }

    /// Takes the policy out of force: the root does not vouch for it any more. Live tunnels must be decided again before
    /// anything else happens.
    pub(crate) fn withdraw(&self) {
        *self.policy.lock() = None;
        self.changed.send_replace(());
    }

    /// Decides one request under the policy of this moment.
    ///
    /// # Errors
    /// The denial.
    pub(crate) fn decide(
        &self,
        subject: &Subject,
        wanted: Wanted<'_>,
        counts: Counts,
        stage: Stage,
    ) -> Result<Permit, Denial> {
        let policy = self.policy();
        let circumstances = self.circumstances(counts, stage);
        let Some(index) = policy.as_ref() else {
            return decide(None, subject, &Ask::NOTHING, &circumstances);
        };
        let ask = index.ask(subject.user(), wanted.service).wishing(wanted.view_only);
        let decided = decide(Some(index), subject, &ask, &circumstances);
        match &decided {
            // No seat is left: a tunnel that is live goes on looking. One that is to be opened may ask for that.
            Err(denial) if stage == Stage::Live && denial.reason() == Reason::Concurrency => {
                decide(Some(index), subject, &ask.wishing(true), &circumstances)
            }
            Ok(_) | Err(_) => decided,
        }
    }

    /// Waits until the cloud has confirmed the policy, for as long as a word of it may come any moment and two seconds at
    /// most. Returns whether it was worth asking.
    pub(crate) async fn settled(&self) -> bool {
        if !self.clock.awaits_word() {
            return false;
        }
        let mut changes = self.clock.changes();
        let word = async { while self.clock.awaits_word() && changes.changed().await.is_ok() {} };
        let _late = tokio::time::timeout(WORD, word).await;
        true
    }

    /// Whether the policy in force has a row for this user and key that is not disabled and takes this pass. It permits
    /// nothing.
    pub(crate) fn names(&self, subject: &Subject) -> bool {
        self.policy().is_some_and(|index| {
            let users = &index.snapshot().users;
            let found = users.binary_search_by_key(&subject.user(), |row| row.id).ok();
            found.and_then(|ix| users.get(ix)).is_some_and(|row| {
                !row.disabled
                    && !index.locks().deny_user(row.id)
                    && row.keys.contains(&subject.key())
                    && row.passes_from <= subject.issued()
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
        let reading = self.clock.reading();
        // Nobody knows how fresh the policy will be at another time.
        let (now, freshness) = at.map_or((reading.now, reading.opening), |at| (at, Freshness::ALWAYS));
        // The edge of what is fresh moves on with each word of the cloud: it is no end that people should be told.
        let is_fresh = freshness.state(now) == FreshnessState::Fresh;
        let freshness = if is_fresh { Freshness::ALWAYS } else { freshness };
        let freshness = freshness.until(self.anchor.expires());
        explain_under(self.policy().as_ref(), user, service, (now, freshness), second_factor_age_s)
    }

    /// Hears whenever another policy is in force.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The policy in force.
    pub(crate) fn policy(&self) -> Option<Arc<Index>> {
        self.policy.lock().clone()
    }

    /// The time by which is judged.
    pub(crate) const fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    fn circumstances(&self, counts: Counts, stage: Stage) -> Circumstances {
        let reading = self.clock.reading();
        Circumstances {
            now: reading.now,
            freshness: match stage {
                Stage::Opening => reading.opening,
                Stage::Live => reading.live,
            }
            .until(self.anchor.expires()),
            open: counts.device,
            open_by_user: counts.user,
            open_on_service: counts.service,
            writers_on_service: counts.writers,
        }
    }
}

/// For a word of the cloud: a round trip to it, and the verification of what came with it.
const WORD: Duration = Duration::from_secs(2);

/// Asks this agent's decision for what must be refused, under a policy of its own and under this one.
///
/// # Errors
/// What it would have permitted; nobody may be served then.
pub(crate) fn self_test(policy: Option<&Arc<Index>>) -> Result<Proven, SelfTestFault> {
    postern_protocol::policy::self_test(&decide, policy)
}

/// What would be decided under `policy`, with no other tunnel open.
pub(crate) fn explain_under(
    policy: Option<&Arc<Index>>,
    user: UserId,
    service: &str,
    (now, freshness): (UnixTime, Freshness),
    second_factor_age_s: Option<u64>,
) -> Explanation {
    let used = |age| UnixTime::from_secs(now.as_secs().saturating_sub(age));
    let hypothesis = Hypothesis { user, second_factor_at: second_factor_age_s.map(used), only: None };
    let circumstances = Circumstances::alone(now, freshness);
    explain(policy, &hypothesis, service, &circumstances)
}
