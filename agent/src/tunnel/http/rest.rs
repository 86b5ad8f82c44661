//! Logins that machines have refused, and when the device tries again: a machine that counts wrong passwords must not lock its account
//! because somebody reloads a page.
//!
//! 1. Whoever is about to send a login takes a [`Turn`]. As long as nobody knows whether the machine takes it there is one turn at a
//!    time, and the others wait for what comes of it: a page with forty pictures costs one attempt.
//! 2. A login that was refused rests: a minute first, twice as long after each further refusal, and fifteen minutes at most.
//! 3. A login that was taken before is doubted first: machines also say 401 of a page that is not for this account. Three refusals with
//!    nothing taken between them, and it rests.
//! 4. Another secret, user or machine is another login and is tried at once; so is what was refused as soon as the secret is set anew.
//!
//! It is kept in memory alone, for the whole device: tunnels come and go, the machine's count stays. Deliberately absent: the secret.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Queue, OwnedMutexGuard};
use tokio::time::Instant;

use postern_protocol::name::Name;
use postern_protocol::policy::Credential;
use postern_protocol::trust::Digest;
use postern_protocol::wire::text::Text;

/// What became of the device's logins.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    doors: Mutex<BTreeMap<Door, Arc<Queue<State>>>>,
}

/// Where who logs in with what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Door {
    target: SocketAddr,
    user: Text,
    secret: Name,
}

/// What is known of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing.
    Untried,
    /// The machine takes it.
    Taken { version: Digest },
    /// The machine has taken it, and then refused it so often.
    Doubted { version: Digest, refusals: u32 },
    /// The machine has refused it so often, and is left alone until then.
    Refused { version: Digest, times: u32, until: Instant },
}

/// Leave to log in once.
#[derive(Debug)]
pub(super) struct Turn {
    queue: Arc<Queue<State>>,
    /// Held while nobody knows whether the machine takes the login.
    first: Option<OwnedMutexGuard<State>>,
    version: Digest,
}

impl Logins {
    /// Waits for a turn. `version` tells one content of the secret from another.
    ///
    /// # Errors
    /// For how long the login rests.
    pub(super) async fn turn(
        &self,
        target: SocketAddr,
        credential: &Credential,
        version: Digest,
    ) -> Result<Turn, Duration> {
        let queue = self.queue(target, credential);
        let state = Arc::clone(&queue).lock_owned().await;
        let first = match state.rests(version, Instant::now()) {
            Some(left) => return Err(left),
            None if *state == (State::Taken { version }) => None,
            None => Some(state),
        };
        Ok(Turn { queue, first, version })
    }

    fn queue(&self, target: SocketAddr, credential: &Credential) -> Arc<Queue<State>> {
        let door = Door { target, user: credential.user.clone(), secret: credential.secret.clone() };
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        if doors.len() >= DOORS && !doors.contains_key(&door) {
            // Logins of policies that are long gone; one that is in use is asked about once more.
            doors.pop_first();
        }
        Arc::clone(doors.entry(door).or_insert_with(|| Arc::new(Queue::new(State::Untried))))
    }
}

impl Turn {
    /// The machine has taken the login, or has not asked for one.
    pub(super) fn taken(self) {
        if let Some(mut state) = self.first {
            *state = State::Taken { version: self.version };
        }
    }

    /// The machine has refused the login. Returns for how long it rests; nothing where it is only doubted.
    pub(super) async fn refused(self) -> Duration {
        let mut state = match self.first {
            Some(state) => state,
            None => self.queue.lock_owned().await,
        };
        *state = state.refused(self.version, Instant::now());
        state.rests(self.version, Instant::now()).unwrap_or_default()
    }
}

impl State {
    /// For how long a login with this content of its secret rests yet.
    fn rests(self, of: Digest, now: Instant) -> Option<Duration> {
        match self {
            Self::Refused { version, until, .. } if version == of => {
                until.checked_duration_since(now).filter(|left| !left.is_zero())
            }
            Self::Untried | Self::Taken { .. } | Self::Doubted { .. } | Self::Refused { .. } => None,
        }
    }

    /// The same after one more refusal.
    fn refused(self, of: Digest, now: Instant) -> Self {
        let times = match self {
            // Another request of the same moment has said it already.
            Self::Refused { version, until, .. } if version == of && now < until => return self,
            Self::Refused { version, times, .. } if version == of => times.saturating_add(1),
            Self::Taken { version } if version == of => return Self::Doubted { version, refusals: 1 },
            Self::Doubted { version, refusals } if version == of && refusals + 1 < DOUBTS => {
                return Self::Doubted { version, refusals: refusals + 1 };
            }
            Self::Untried | Self::Taken { .. } | Self::Doubted { .. } | Self::Refused { .. } => 1,
        };
        let wait = FIRST.saturating_mul(2u32.saturating_pow(times - 1)).min(LONGEST);
        Self::Refused { version: of, times, until: now + wait }
    }
}

/// Machines that lock an account do so after three to ten wrong passwords within a quarter of an hour.
const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Refusals after which a login that was taken before rests.
const DOUBTS: u32 = 3;
/// Logins that are remembered.
const DOORS: usize = 256;

#[cfg(test)]
mod tests {
    use postern_protocol::policy::Scheme;

    use super::*;

    fn credential() -> Credential {
        Credential {
            scheme: Scheme::Basic,
            user: Text::clean("service"),
            secret: "web-login".parse().unwrap(),
        }
    }

    fn version(byte: u8) -> Digest {
        Digest::of(&[&[byte]])
    }

    #[test]
    fn each_refusal_makes_the_rest_longer_up_to_a_quarter_of_an_hour() {
        let (mut state, mut now) = (State::Untried, Instant::now());
        for seconds in [60, 120, 240, 480, 900, 900] {
            state = state.refused(version(1), now);
            assert_eq!(state.rests(version(1), now), Some(Duration::from_secs(seconds)));
            assert_eq!(state.refused(version(1), now), state, "of the same moment");
            assert_eq!(state.rests(version(2), now), None, "a secret that was set anew");
            now += Duration::from_secs(seconds);
            assert_eq!(state.rests(version(1), now), None);
        }
        let anew = state.refused(version(2), now);
        assert_eq!(anew.rests(version(2), now), Some(FIRST));
    }

    #[test]
    fn one_page_that_is_not_for_the_account_keeps_nobody_from_the_others() {
        let (now, taken) = (Instant::now(), State::Taken { version: version(1) });
        let mut state = taken;
        for _ in 0..2 {
            state = state.refused(version(1), now);
            assert_eq!(state.rests(version(1), now), None);
        }
        // The twin: nothing but refusals is a password that was changed at the machine.
        assert_eq!(state.refused(version(1), now).rests(version(1), now), Some(FIRST));
        assert_eq!(
            taken.refused(version(2), now).rests(version(2), now),
            Some(FIRST),
            "a secret that was never taken"
        );
    }

    #[tokio::test]
    async fn until_a_login_is_known_one_asks_and_the_others_wait_for_what_comes_of_it() {
        let (logins, target) = (Logins::default(), SocketAddr::from(([192, 0, 2, 1], 80)));
        let own = credential();
        let turn = logins.turn(target, &own, version(1)).await.unwrap();
        let others = || logins.turn(target, &own, version(1));
        let mut waiting = std::pin::pin!(others());
        assert!(futures_pending(waiting.as_mut()).await);
        let elsewhere = SocketAddr::from(([192, 0, 2, 2], 80));
        logins.turn(elsewhere, &credential(), version(1)).await.unwrap().taken();
        assert!(turn.refused().await > Duration::ZERO);
        assert!(waiting.await.unwrap_err() <= FIRST);
        assert!(others().await.unwrap_err() <= FIRST);
        // The twin: a new secret is tried at once, and what is taken is nobody's turn any more.
        logins.turn(target, &credential(), version(2)).await.unwrap().taken();
        let (one, two) = (
            logins.turn(target, &credential(), version(2)).await.unwrap(),
            logins.turn(target, &credential(), version(2)).await.unwrap(),
        );
        assert_eq!([one.refused().await, two.refused().await], [Duration::ZERO; 2]);
        assert!(logins.turn(target, &own, version(2)).await.unwrap().refused().await > Duration::ZERO);
    }

    #[tokio::test]
    async fn who_goes_away_in_the_middle_of_a_turn_leaves_it_to_the_next() {
        let (logins, target) = (Logins::default(), SocketAddr::from(([192, 0, 2, 1], 80)));
        drop(logins.turn(target, &credential(), version(1)).await.unwrap());
        logins.turn(target, &credential(), version(1)).await.unwrap().taken();
    }

    /// Whether something is not ready when it is asked once.
    async fn futures_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }
}
