//! How often somebody may try: a bucket of attempts for each key and for each user, refilled with time.
//!
//! Pure: time is an argument. A user that does not exist has a bucket like any other, so that running into the limit
//! tells nothing. Both tables are bounded; when one is full, whoever tried longest ago is forgotten first.

use std::collections::BTreeMap;
use std::time::Duration;

use postern_protocol::name::Name;
use postern_protocol::trust::PublicKey;

/// Counts attempts.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    keys: Buckets<PublicKey>,
    users: Buckets<(String, Name)>,
}

impl Limiter {
    /// Takes one attempt from the bucket of a key and, where one is named, of a user. False when either is empty.
    pub(super) fn admit(&mut self, key: &PublicKey, user: Option<(&str, &Name)>, at: Duration) -> bool {
        let by_key = self.keys.take(key, at, KEY_ATTEMPTS);
        let by_user = user.is_none_or(|(account, user)| {
            let account: String = account.chars().take(ACCOUNT_CHARS).collect();
            self.users.take(&(account, user.clone()), at, USER_ATTEMPTS)
        });
        by_key && by_user
    }

    /// Fills the bucket of a key that has proved itself.
    pub(super) fn forgive(&mut self, key: &PublicKey) {
        self.keys.entries.remove(key);
    }
}

#[derive(Debug)]
struct Buckets<K> {
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

impl<K: Ord + Clone> Buckets<K> {
    fn take(&mut self, key: &K, at: Duration, size: u32) -> bool {
        if !self.entries.contains_key(key) && self.entries.len() >= TRACKED {
            let oldest = self.entries.iter().min_by_key(|(_, bucket)| bucket.at).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.entries.remove(&key));
        }
        let bucket = self.entries.entry(key.clone()).or_insert(Bucket { left: size, at });
        let refill = PERIOD / size;
        let gained = at.saturating_sub(bucket.at).as_millis() / refill.as_millis().max(1);
        let gained = u32::try_from(gained).unwrap_or(u32::MAX);
        if gained > 0 {
            bucket.left = bucket.left.saturating_add(gained).min(size);
            bucket.at = at;
        }
        match bucket.left.checked_sub(1) {
            Some(left) => {
                bucket.left = left;
                true
            }
            None => false,
        }
    }
}

/// In which an empty bucket fills.
const PERIOD: Duration = Duration::from_secs(60);
/// Attempts of one key.
const KEY_ATTEMPTS: u32 = 5;
/// Attempts for one user by all keys that are not registered for them.
const USER_ATTEMPTS: u32 = 10;
/// Keys and users whose attempts are counted.
const TRACKED: usize = 8192;
/// More of a claimed account is not told apart.
const ACCOUNT_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use postern_protocol::trust::SecretKey;

    use super::*;

    fn key(seed: u8) -> PublicKey {
        SecretKey::from_seed([seed; 32]).unwrap().public()
    }

    #[test]
    fn a_key_has_five_attempts_and_gets_them_back_within_a_minute() {
        let mut limiter = Limiter::default();
        let start = Duration::from_secs(1000);
        let admitted: Vec<bool> = (0..6).map(|_| limiter.admit(&key(1), None, start)).collect();
        assert_eq!(admitted, [true, true, true, true, true, false]);
        assert!(limiter.admit(&key(2), None, start), "another key is not concerned");
        assert!(!limiter.admit(&key(1), None, start + Duration::from_secs(11)));
        assert!(limiter.admit(&key(1), None, start + Duration::from_secs(12)));
    }

    #[test]
    fn many_keys_share_the_attempts_for_one_user() {
        let mut limiter = Limiter::default();
        let (at, otto, eva) = (Duration::ZERO, "otto".parse().unwrap(), "eva".parse().unwrap());
        for seed in 0..10 {
            assert!(limiter.admit(&key(seed), Some(("acme", &otto)), at));
        }
        assert!(!limiter.admit(&key(11), Some(("acme", &otto)), at));
        assert!(limiter.admit(&key(12), Some(("acme", &eva)), at), "another user is not concerned");
    }

    #[test]
    fn a_proved_key_starts_afresh() {
        let mut limiter = Limiter::default();
        for _ in 0..5 {
            limiter.admit(&key(1), None, Duration::ZERO);
        }
        limiter.forgive(&key(1));
        assert!(limiter.admit(&key(1), None, Duration::ZERO));
    }
}
