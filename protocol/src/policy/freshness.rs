//! For how long the word of the cloud lasts, and what holds without it.
//!
//! 1. *Fresh*: a signed timestamp has named the policy in force not long ago. Every grant counts.
//! 2. *Stale*: no word, and the budget for that is not used up. Only grants count that are marked for it.
//! 3. *Expired*: the budget is used up. Nothing is permitted until the cloud is heard again.
//!
//! Deliberately absent: how these times are found. Attested time, boot clock and budget are the device's business.

use serde::{Deserialize, Serialize};

use crate::time::UnixTime;

/// For how long a device works without its cloud; part of its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreshnessRule {
    /// Seconds for which a timestamp that names the policy in force keeps it fresh; not zero.
    pub window_s: u32,
    /// Seconds of served time, beyond the window and without a word of the cloud, after which nothing is permitted; zero
    /// allows none.
    pub offline_s: u32,
}

/// Until when the policy in force is fresh, and until when it counts at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// The first second in which it is not fresh.
    pub fresh_until: UnixTime,
    /// The first second in which it permits nothing.
    pub offline_until: UnixTime,
}

/// What a policy is worth in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FreshnessState {
    /// Confirmed not long ago.
    Fresh,
    /// Not confirmed, within the budget.
    Stale,
    /// Beyond the budget.
    Expired,
}

impl FreshnessState {
    /// The word in listings and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Expired => "expired",
        }
    }
}

impl Freshness {
    /// Fresh for ever: what somebody supposes who asks what a policy says.
    pub const ALWAYS: Self = Self { fresh_until: UnixTime::MAX, offline_until: UnixTime::MAX };
    /// Worth nothing.
    pub const NEVER: Self = Self { fresh_until: UnixTime::EPOCH, offline_until: UnixTime::EPOCH };

    /// The same, and worth nothing from `end` on: what a policy rests on, such as its root, may end before.
    #[must_use]
    pub fn until(self, end: UnixTime) -> Self {
        Self { offline_until: self.offline_until.min(end), ..self }
    }

    /// What the policy is worth in second `now`.
    #[must_use]
    pub fn state(&self, now: UnixTime) -> FreshnessState {
        if self.offline_until <= now {
            FreshnessState::Expired
        } else if self.fresh_until <= now {
            FreshnessState::Stale
        } else {
            FreshnessState::Fresh
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_fresh_then_stale_then_expired_and_the_budget_is_final() {
        let at = UnixTime::from_secs;
        let freshness = Freshness { fresh_until: at(100), offline_until: at(200) };
        assert_eq!(freshness.state(at(99)), FreshnessState::Fresh);
        assert_eq!(freshness.state(at(100)), FreshnessState::Stale);
        assert_eq!(freshness.state(at(199)), FreshnessState::Stale);
        assert_eq!(freshness.state(at(200)), FreshnessState::Expired);
        let ended = freshness.until(at(150));
        assert_eq!(
            (ended.state(at(149)), ended.state(at(150))),
            (FreshnessState::Stale, FreshnessState::Expired)
        );
        assert_eq!(freshness.until(at(250)), freshness);
        let spent = Freshness { fresh_until: at(300), offline_until: at(200) };
        assert_eq!(spent.state(at(250)), FreshnessState::Expired);
        assert_eq!(Freshness::ALWAYS.state(at(u64::MAX - 1)), FreshnessState::Fresh);
        assert_eq!(Freshness::NEVER.state(at(0)), FreshnessState::Expired);
    }
}
