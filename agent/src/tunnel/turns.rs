//! Answers that open nothing come at once as long as few are asked for, and one by one when many are.
//!
//! A refusal costs the agent a hundred times what it costs whoever asks. The stream of a request that waits for its turn counts among the
//! client's until it was answered: so the client's own limit of streams bounds what waits, and its rate what is answered.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Whose turn it is, of one connection.
#[derive(Debug)]
pub(super) struct Turns {
    /// When there is room for a whole burst again.
    full_at: Mutex<Instant>,
}

impl Turns {
    /// All are free.
    pub(super) fn new() -> Self {
        Self { full_at: Mutex::new(Instant::now()) }
    }

    /// Waits for the next.
    pub(super) async fn next(&self) {
        let wait = self.take(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes the next, and says how long it is until then.
    fn take(&self, now: Instant) -> Duration {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        *full_at = (*full_at).max(now) + EACH;
        full_at.saturating_duration_since(now).saturating_sub(EACH * BURST).min(LONGEST)
    }
}

/// Between two answers in the long run: 20 in a second.
const EACH: Duration = Duration::from_millis(50);
/// Answers that come at once.
const BURST: u32 = 128;
/// Longer than this nobody waits: a client with a VPN has a thousand streams.
const LONGEST: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_answered_at_once_and_the_others_one_by_one() {
        let (turns, now) = (Turns::new(), Instant::now() + Duration::from_secs(1));
        for _ in 0..BURST {
            assert_eq!(turns.take(now), Duration::ZERO);
        }
        assert_eq!((turns.take(now), turns.take(now)), (EACH, EACH * 2));
        assert_eq!(turns.take(now + EACH * 3), Duration::ZERO);
        assert_eq!(turns.take(now + EACH * 3), EACH);
    }

    #[test]
    fn after_a_quiet_time_there_is_a_burst_again_and_nobody_waits_for_ever() {
        let (turns, now) = (Turns::new(), Instant::now() + Duration::from_secs(1));
        let waits: Vec<Duration> = (0..2_000).map(|_| turns.take(now)).collect();
        assert_eq!(waits.last(), Some(&LONGEST));
        let later = now + Duration::from_secs(600);
        assert!((0..BURST).all(|_| turns.take(later).is_zero()));
    }
}
