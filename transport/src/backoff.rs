//! Says how long to wait before the next attempt: exponential backoff with full jitter.
//!
//! 1. The ceiling starts at one second and doubles with every failure up to five minutes.
//! 2. The delay is uniform between zero and the ceiling, so that ten thousand devices that lost the same hub do
//!    not come back in the same second.
//! 3. A success starts over, and so does another network.
//! 4. Who was told that the other side ends, or finds that it was started anew, is one of many: its first ceiling is eight seconds
//!    ([`Backoff::crowd`]).
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

    /// Waits as after three failures: many others have lost the same peer in the same moment.
    pub fn crowd(&mut self) {
        self.failures = self.failures.max(CROWD);
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
/// Ten thousand devices come back at 1,250 a second, which two cores of a hub nearly do, and none waits long.
const CROWD: u32 = 3;

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

    const DEVICES: usize = 10_000;
    /// What a hub on two cores admits in a second; more are refused before any cryptography.
    const ADMITTED: usize = 1000;

    /// SplitMix64.
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = *state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// What a hub sees that is back after `away`: attempts in its busiest second, and when the last device is there.
    ///
    /// `lost` yields when a device notices, and whether it was told. An attempt at a hub that is away takes ten seconds.
    fn storm(away: Duration, lost: impl Fn(&mut u64) -> (Duration, bool)) -> (usize, Duration) {
        let (mut state, mut attempts) = (20_261_129, std::collections::BTreeMap::new());
        for device in 0..DEVICES {
            let mut backoff = Backoff::new();
            let (noticed, told) = lost(&mut state);
            if told {
                backoff.crowd();
            }
            let first = noticed + backoff.delay(random(&mut state));
            attempts.insert((first, device), backoff);
        }
        let (mut seconds, mut last) = (std::collections::BTreeMap::new(), Duration::ZERO);
        while let Some(((at, device), mut backoff)) = attempts.pop_first() {
            let mut again = |ended: Duration| {
                let delay = backoff.delay(random(&mut state));
                attempts.insert((ended + delay, device), backoff.clone());
            };
            if at < away {
                again(at + Duration::from_secs(10));
                continue;
            }
            let (second, since) = (at.as_secs() - away.as_secs(), at - away);
            let seen: &mut usize = seconds.entry(second).or_default();
            *seen += 1;
            if *seen > ADMITTED { again(at) } else { last = last.max(since) }
        }
        (seconds.into_values().max().unwrap_or(0), last)
    }

    #[test]
    fn ten_thousand_devices_whose_hub_is_started_anew_do_not_come_back_in_the_same_second() {
        // Told that it ends, and back at once.
        let (most, last) = storm(Duration::ZERO, |_| (Duration::ZERO, true));
        assert!(most < 1500, "{most} in one second");
        // Those few whom a full hub has refused thrice.
        assert!(last < Duration::from_secs(120), "{last:?}");
        // Killed, and back: each notices when it has heard nothing for its patience, which ends somewhere in the 25 seconds between two
        // pings.
        let noticed = |state: &mut u64| Duration::from_millis(random(state) % 25_000);
        let (most, last) = storm(Duration::ZERO, |state| (noticed(state), true));
        assert!(most < 600, "{most} in one second");
        assert!(last < Duration::from_secs(60), "{last:?}");
    }

    #[test]
    fn a_hub_that_was_away_is_found_by_a_few_in_each_second_and_by_all_within_five_minutes() {
        let idle = |state: &mut u64| Duration::from_millis(50_000 + random(state) % 25_000);
        for away in [120, 600, 3600] {
            let (most, last) = storm(Duration::from_secs(away), |state| (idle(state), false));
            assert!(most < 600, "{most} in one second after {away} s");
            assert!(last <= Duration::from_secs(310), "{last:?} after {away} s");
        }
    }
}
