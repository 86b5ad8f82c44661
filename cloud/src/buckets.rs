//! Buckets of attempts, refilled with time: the arithmetic of every limit on how often somebody may try.
//!
//! Pure: time is an argument. The tables are bounded; when one is full, whoever has most attempts left is forgotten
//! first, so that a flood of other names empties nobody's count.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

/// One bucket for each key, in a bounded table.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    entries: BTreeMap<K, Bucket>,
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self { entries: BTreeMap::new() }
    }
}

#[derive(Debug)]
struct Bucket {
    left: u32,
    at: Duration,
}

/// How many attempts a bucket holds, and in which time an empty one fills.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Attempts of a full bucket.
    pub(crate) attempts: u32,
    /// In which an empty one fills.
    pub(crate) period: Duration,
}

impl Bucket {
    /// Adds what has accrued until `at`.
    fn refill(&mut self, at: Duration, size: Size) {
        let each = (size.period / size.attempts).as_millis().max(1);
        let gained = at.saturating_sub(self.at).as_millis() / each;
        let gained = u32::try_from(gained).unwrap_or(u32::MAX);
        if gained > 0 {
            self.left = self.left.saturating_add(gained).min(size.attempts);
            self.at = at;
        }
    }
}

impl<K: Ord + Clone> Buckets<K> {
    /// Takes one attempt out of the bucket of `key`. False when it is empty.
    pub(crate) fn take(&mut self, key: &K, at: Duration, size: Size) -> bool {
        if !self.entries.contains_key(key) && self.entries.len() >= TRACKED {
            self.forget_harmless(at, size);
        }
        let bucket = self.entries.entry(key.clone()).or_insert(Bucket { left: size.attempts, at });
        bucket.refill(at, size);
        match bucket.left.checked_sub(1) {
            Some(left) => {
                bucket.left = left;
                true
            }
            None => false,
        }
    }

    /// Gives an attempt back that turned out to be none.
    pub(crate) fn give_back(&mut self, key: &K, size: Size) {
        if let Some(bucket) = self.entries.get_mut(key) {
            bucket.left = bucket.left.saturating_add(1).min(size.attempts);
        }
    }

    /// Fills the bucket of `key`.
    pub(crate) fn forget(&mut self, key: &K) {
        self.entries.remove(key);
    }

    /// Forgets the half that has most attempts left. A half at once, so that a flood does not cost a search each.
    fn forget_harmless(&mut self, at: Duration, size: Size) {
        let mut order: Vec<(Reverse<u32>, Duration, K)> = Vec::with_capacity(self.entries.len());
        for (key, bucket) in &mut self.entries {
            bucket.refill(at, size);
            order.push((Reverse(bucket.left), bucket.at, key.clone()));
        }
        order.sort_unstable();
        for (_, _, key) in order.into_iter().take(TRACKED / 2) {
            self.entries.remove(&key);
        }
    }
}

/// Keys whose attempts are counted.
const TRACKED: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Size = Size { attempts: 10, period: Duration::from_secs(60) };

    #[test]
    fn a_flood_of_other_names_does_not_empty_a_count() {
        let mut buckets: Buckets<u32> = Buckets::default();
        for _ in 0..10 {
            assert!(buckets.take(&0, Duration::ZERO, TEN));
        }
        for name in 1..20_000 {
            assert!(buckets.take(&name, Duration::from_secs(1), TEN));
        }
        assert!(buckets.entries.len() <= TRACKED);
        assert!(!buckets.take(&0, Duration::from_secs(1), TEN));
    }

    #[test]
    fn an_attempt_that_is_given_back_can_be_made_again_and_never_more_than_a_full_bucket() {
        let mut buckets: Buckets<u32> = Buckets::default();
        for _ in 0..10 {
            assert!(buckets.take(&0, Duration::ZERO, TEN));
        }
        buckets.give_back(&0, TEN);
        assert!(buckets.take(&0, Duration::ZERO, TEN));
        assert!(!buckets.take(&0, Duration::ZERO, TEN));
        for _ in 0..100 {
            buckets.give_back(&0, TEN);
        }
        let admitted = (0..100).filter(|_| buckets.take(&0, Duration::ZERO, TEN)).count();
        assert_eq!(admitted, 10);
    }
}
