//! Sign-ons under way: each for one key, good once and for a while.
//!
//! They are kept in memory. Whoever began one before the hub was restarted begins again.

use std::collections::HashMap;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::PublicKey;
use postern_protocol::wire::hub::Refusal;
use postern_protocol::wire::sign_on::{SignOnBegun, SignOnId, SignOnPurpose};

use super::evidence::Evidence;
use super::provider::Waiting;

/// One sign-on.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Who began it.
    pub(crate) key: PublicKey,
    /// What for.
    pub(crate) purpose: SignOnPurpose,
    /// With whom.
    pub(crate) provider: Name,
    /// When it was begun.
    pub(crate) begun: UnixTime,
    /// The first second in which it is over.
    pub(crate) lapses: UnixTime,
    /// How its end comes to be known.
    pub(crate) way: Way,
}

/// How the end of a sign-on comes to be known.
#[derive(Debug)]
pub(crate) enum Way {
    /// Its code comes from a browser on the user's computer.
    Browser(Waiting),
    /// The provider is asked until it answers.
    Elsewhere {
        /// What was said when it began.
        begun: SignOnBegun,
        /// The answer.
        answer: watch::Receiver<Option<Result<Evidence, Refusal>>>,
        /// Asks.
        _asking: Asking,
    },
}

/// A task that asks a provider; it ends when nobody waits any more.
#[derive(Debug)]
pub(crate) struct Asking(pub(crate) AbortHandle);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// All sign-ons under way.
#[derive(Debug, Default)]
pub(crate) struct Signing {
    attempts: HashMap<SignOnId, Attempt>,
}

impl Signing {
    /// Takes one in. Where all places are taken, the one that ends first is dropped: strangers may begin sign-ons, and cannot keep
    /// others from it.
    pub(crate) fn begin(&mut self, id: SignOnId, attempt: Attempt, now: UnixTime) {
        self.attempts.retain(|_, attempt| attempt.lapses > now);
        if self.attempts.len() >= MOST {
            let first = self.attempts.iter().min_by_key(|(_, attempt)| attempt.lapses).map(|(id, _)| *id);
            first.map(|first| self.attempts.remove(&first));
        }
        self.attempts.insert(id, attempt);
    }

    /// One that was begun with this key and is not over.
    pub(crate) fn of(&self, id: &SignOnId, key: &PublicKey, now: UnixTime) -> Option<&Attempt> {
        self.attempts.get(id).filter(|attempt| attempt.key == *key && attempt.lapses > now)
    }

    /// Takes it out: it is good once.
    pub(crate) fn take(&mut self, id: &SignOnId, key: &PublicKey, now: UnixTime) -> Option<Attempt> {
        self.of(id, key, now)?;
        self.attempts.remove(id)
    }
}

/// Sign-ons at once.
const MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use postern_protocol::trust::SecretKey;
    use postern_protocol::wire::hub::Only;

    use super::*;

    fn at(secs: u64) -> UnixTime {
        UnixTime::from_secs(secs)
    }

    fn key(seed: u8) -> PublicKey {
        SecretKey::from_seed([seed; 32]).unwrap().public()
    }

    fn id(number: u32) -> SignOnId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        SignOnId::new(bytes)
    }

    fn attempt(seed: u8, lapses: u64) -> Attempt {
        let purpose = SignOnPurpose::Login { only: Only::default() };
        let way = Way::Browser(Waiting::nothing());
        Attempt {
            key: key(seed),
            purpose,
            provider: "corp".parse().unwrap(),
            begun: at(0),
            lapses: at(lapses),
            way,
        }
    }

    #[test]
    fn a_sign_on_is_good_once_for_its_own_key_and_until_it_lapses() {
        let mut signing = Signing::default();
        signing.begin(id(1), attempt(1, 100), at(0));
        assert!(signing.take(&id(1), &key(2), at(50)).is_none(), "another key");
        assert!(signing.take(&id(2), &key(1), at(50)).is_none(), "another sign-on");
        assert!(signing.take(&id(1), &key(1), at(100)).is_none(), "too late");
        assert!(signing.take(&id(1), &key(1), at(99)).is_some());
        assert!(signing.take(&id(1), &key(1), at(99)).is_none(), "a second time");
    }

    #[test]
    fn strangers_take_the_places_of_those_who_began_long_ago_and_of_nobody_else() {
        let mut signing = Signing::default();
        let most = u32::try_from(MOST).unwrap();
        for number in 0..most {
            signing.begin(id(number), attempt(1, 100 + u64::from(number)), at(0));
        }
        signing.begin(id(most), attempt(2, 5000), at(0));
        assert!(signing.of(&id(0), &key(1), at(0)).is_none(), "it would have ended first");
        assert!(
            signing.of(&id(1), &key(1), at(0)).is_some() && signing.of(&id(most), &key(2), at(0)).is_some()
        );
        // What is over leaves by itself.
        signing.begin(id(most + 1), attempt(2, 5000), at(4000));
        assert_eq!(signing.attempts.len(), 2);
    }
}
