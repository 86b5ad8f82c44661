//! How often somebody may try to sign in: a bucket of attempts for each key and for each user.
//!
//! A user that does not exist has a bucket like any other, so that running into the limit tells nothing.

use std::time::Duration;

use postern_protocol::name::Name;
use postern_protocol::trust::PublicKey;

use crate::buckets::{Buckets, Size};

/// Counts attempts.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    keys: Buckets<PublicKey>,
    users: Buckets<Name>,
    codes: Buckets<Name>,
    elsewhere: Buckets<()>,
}

impl Limiter {
    /// Takes one attempt from the bucket of a key and, where one is named, of a user. False when either is empty.
    ///
    /// Users have one bucket whatever account is claimed: an account has several spellings. What the key may not try
    /// is not counted for the user, so that one key cannot keep a user out.
    pub(super) fn admit(&mut self, key: &PublicKey, user: Option<&Name>, at: Duration) -> bool {
        self.keys.take(key, at, KEY_ATTEMPTS)
            && user.is_none_or(|user| self.users.take(user, at, USER_ATTEMPTS))
    }

    /// Takes one attempt at a one-time code by somebody who knows the user's password. A million codes of which three
    /// are right would not withstand the attempts that passwords have.
    pub(super) fn admit_code(&mut self, user: &Name, at: Duration) -> bool {
        self.codes.take(user, at, CODE_ATTEMPTS)
    }

    /// Takes one sign-on elsewhere: before anybody has proved anything, the hub asks a provider for each.
    pub(super) fn admit_elsewhere(&mut self, at: Duration) -> bool {
        self.elsewhere.take(&(), at, ELSEWHERE)
    }

    /// Fills the buckets of a key and user that have proved everything that was asked of them.
    pub(super) fn forgive(&mut self, key: &PublicKey, user: &Name) {
        self.keys.forget(key);
        self.codes.forget(user);
    }
}

/// Attempts of one key.
const KEY_ATTEMPTS: Size = Size { attempts: 5, period: Duration::from_secs(60) };
/// Attempts for one user by all keys that are not registered for them.
const USER_ATTEMPTS: Size = Size { attempts: 10, period: Duration::from_secs(60) };
/// Attempts at one-time codes for one user: guessing for a year succeeds with one in four, not within hours.
const CODE_ATTEMPTS: Size = Size { attempts: 10, period: Duration::from_secs(3600) };

/// Sign-ons elsewhere by all keys.
const ELSEWHERE: Size = Size { attempts: 60, period: Duration::from_secs(60) };

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
            assert!(limiter.admit(&key(seed), Some(&otto), at));
        }
        assert!(!limiter.admit(&key(11), Some(&otto), at));
        assert!(limiter.admit(&key(12), Some(&eva), at), "another user is not concerned");
    }

    #[test]
    fn one_key_that_tries_too_often_uses_up_its_own_attempts_and_not_the_users() {
        let mut limiter = Limiter::default();
        let (at, otto) = (Duration::ZERO, "otto".parse().unwrap());
        let admitted = (0..100).filter(|_| limiter.admit(&key(1), Some(&otto), at)).count();
        assert_eq!(admitted, 5);
        assert!(limiter.admit(&key(2), Some(&otto), at));
    }

    #[test]
    fn codes_have_ten_attempts_an_hour_whatever_key_tries() {
        let mut limiter = Limiter::default();
        let otto = "otto".parse().unwrap();
        let admitted =
            (0..60).filter(|second| limiter.admit_code(&otto, Duration::from_secs(*second))).count();
        assert_eq!(admitted, 10);
        assert!(limiter.admit_code(&otto, Duration::from_secs(360)));
    }

    #[test]
    fn a_proved_key_starts_afresh() {
        let mut limiter = Limiter::default();
        for _ in 0..5 {
            limiter.admit(&key(1), None, Duration::ZERO);
        }
        limiter.forgive(&key(1), &"otto".parse().unwrap());
        assert!(limiter.admit(&key(1), None, Duration::ZERO));
    }
}
