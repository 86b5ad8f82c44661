//! Who decides on a request for approval: somebody who is signed in, with a fresh second factor where they have one.

use postern_protocol::time::UnixTime;
use postern_protocol::trust::PublicKey;
use postern_protocol::wire::hub::Refusal;

use super::{Failed, Login};
use crate::publish::PublishError;
use crate::store::{Person, StoreError, Tx};

impl Login {
    /// The user of a key whose sign-in holds, or why they decide nothing. A stolen computer whose owner has one-time codes lets
    /// nobody in: it takes a code of the last hours.
    pub(crate) fn decider(
        &self,
        tx: &Tx<'_>,
        (key, pass): (&PublicKey, &[u8]),
        now: UnixTime,
    ) -> Result<Result<Person, Refusal>, PublishError> {
        let (person, pass) = match self.recognise(tx, key, pass, now) {
            Ok(found) => found,
            Err(Failed::Refused(refusal)) => return Ok(Err(refusal)),
            Err(Failed::Publish(error)) => return Err(error),
            Err(Failed::Store(error)) => return Err(error.into()),
            Err(Failed::Busy | Failed::Internal) => {
                return Err(StoreError::Damaged { what: "identity role" }.into());
            }
        };
        let used =
            pass.factors.iter().filter(|factor| factor.method.is_second_factor()).map(|it| it.at).max();
        let is_fresh = used.is_some_and(|at| now.secs_since(at) < FRESH_S);
        if person.one_time.secret.is_some() && !is_fresh {
            return Ok(Err(Refusal::SecondFactor));
        }
        Ok(Ok(person))
    }
}

/// How old the second factor of who decides may be: a shift.
const FRESH_S: u64 = 8 * 3600;
