//! Says how long to wait before the next attempt: exponential backoff with full jitter.
//!
//! 1. The ceiling starts at one second and doubles with every failure up to five minutes.
//! 2. The delay is uniform between zero and the ceiling, so that ten thousand devices that lost the same hub do
//!    not come back in the same second.
//! 3. A success starts over.
//!
//! Deliberately absent: clocks, timers and random numbers. The caller passes randomness and sleeps.

use std::time::Duration;

/// The state of one reconnect loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// The loop of every link: one second up to five minutes.
    #[must_use]
    pub const fn new() -> Self {
        Self::between(BASE, CAP)
    }

    /// A loop whose first ceiling is `base` and whose last is `cap`.
    #[must_use]
    pub const fn between(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// Counts a failure and yields the wait before the next attempt: `random` scaled to 0 up to the ceiling.
    pub fn delay(&mut self, random: u64) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        let nanos = ceiling.as_nanos().saturating_add(1).saturating_mul(u128::from(random)) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(ceiling)
    }

    /// Forgets the failures after a success.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The longest wait that the next failure can cause.
    #[must_use]
    pub fn ceiling(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

const BASE: Duration = Duration::from_secs(1);
const CAP: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_from_one_second_to_five_minutes_and_stay_there() {
        let mut backoff = Backoff::new();
        let ceilings: Vec<u64> = (0..12)
            .map(|_| {
                let ceiling = backoff.ceiling().as_secs();
                backoff.delay(0);
                ceiling
            })
            .collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        for _ in 0..100 {
            backoff.delay(0);
        }
        assert_eq!(backoff.ceiling(), Duration::from_secs(300));
    }

    #[test]
    fn delays_span_zero_to_the_ceiling_and_never_exceed_it() {
        for failures in 0..40 {
            let fresh = Backoff { failures, ..Backoff::new() };
            let ceiling = fresh.ceiling();
            assert_eq!(fresh.clone().delay(0), Duration::ZERO);
            assert_eq!(fresh.clone().delay(u64::MAX), ceiling);
            let half = fresh.clone().delay(1 << 63);
            assert!(half.abs_diff(ceiling / 2) <= Duration::from_nanos(1), "{half:?} of {ceiling:?}");
        }
    }

    #[test]
    fn a_success_starts_over() {
        let mut backoff = Backoff::new();
        for _ in 0..5 {
            backoff.delay(7);
        }
        backoff.reset();
        assert_eq!(backoff, Backoff::new());
    }
}
