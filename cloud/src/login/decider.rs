//! Who decides for others, on approvals, cases and the model: somebody who is signed in, with a fresh second factor where they have one.

use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Narrowing, Pass, PublicKey};
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
        caller: (&PublicKey, &[u8]),
        now: UnixTime,
    ) -> Result<Result<Person, Refusal>, PublishError> {
        Ok(self.deciding(tx, caller, now)?.map(|(person, _)| person))
    }

    /// The user of a key whose sign-in holds, and what it is narrowed to. Whoever is to change something decides, as above.
    pub(crate) fn administrator(
        &self,
        tx: &Tx<'_>,
        caller: (&PublicKey, &[u8]),
        changes: bool,
        now: UnixTime,
    ) -> Result<Result<(Person, Narrowing), Refusal>, PublishError> {
        let found = if changes { self.deciding(tx, caller, now)? } else { self.signed_in(tx, caller, now)? };
        Ok(found.map(|(person, pass)| (person, pass.narrow)))
    }

    fn deciding(
        &self,
        tx: &Tx<'_>,
        caller: (&PublicKey, &[u8]),
        now: UnixTime,
    ) -> Result<Result<(Person, Pass), Refusal>, PublishError> {
        let (person, pass) = match self.signed_in(tx, caller, now)? {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let used =
            pass.factors.iter().filter(|factor| factor.method.is_second_factor()).map(|it| it.at).max();
        let is_fresh = used.is_some_and(|at| now.secs_since(at) < FRESH_S);
        if person.one_time.secret.is_some() && !is_fresh {
            return Ok(Err(Refusal::SecondFactor));
        }
        Ok(Ok((person, pass)))
    }

    fn signed_in(
        &self,
        tx: &Tx<'_>,
        (key, pass): (&PublicKey, &[u8]),
        now: UnixTime,
    ) -> Result<Result<(Person, Pass), Refusal>, PublishError> {
        match self.recognise(tx, key, pass, now) {
            Ok(found) => Ok(Ok(found)),
            Err(Failed::Refused(refusal)) => Ok(Err(refusal)),
            Err(Failed::Publish(error)) => Err(error),
            Err(Failed::Store(error)) => Err(error.into()),
            Err(Failed::Busy | Failed::Internal) => Err(StoreError::Damaged { what: "identity role" }.into()),
        }
    }
}

/// How old the second factor of who decides may be: a shift.
const FRESH_S: u64 = 8 * 3600;
