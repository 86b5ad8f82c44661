//! Somebody who is signed in proves a second factor again, without the password.
//!
//! 1. The key of the handshake names the user, and the pass that comes along names the sign-in.
//! 2. The pass was signed here, for this user and key, is no longer or later than a sign-in can be, and has not ended;
//!    otherwise there is nothing to step up from.
//! 3. The one-time code is counted and used up as at a sign-in.
//! 4. The new pass has the sign-in's other factors, the code at this moment, and the sign-in's end.
//!
//! Whoever comes so far holds the key and a pass, so wrong codes are called that. Deliberately absent: a longer
//! sign-in. A stolen computer with an app on it must not stay signed in for ever.

use std::sync::Arc;

use postern_protocol::time::UnixTime;
use postern_protocol::trust::pass::CLOCK_SKEW_S;
use postern_protocol::trust::{Envelope, Factor, Method, Pass, PublicKey, Role};
use postern_protocol::wire::hub::{HubAnswer, Password, Refusal};

use super::{Code, Failed, Login, Outcome, PASS_S, blocking, use_code};
use crate::publish::PublishError;
use crate::store::{Person, PersonState, Tx};

/// Who claims to be signed in on which key, with what.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The key of the handshake.
    pub key: PublicKey,
    /// The pass of the sign-in.
    pub pass: Vec<u8>,
    /// The one-time code.
    pub otp: Password,
}

impl Login {
    /// Answers with a pass that says that a second factor was used now.
    pub async fn step_up(self: &Arc<Self>, claim: Claim, now: UnixTime) -> Outcome {
        let desk = Arc::clone(self);
        let answer = async {
            self.admit(&claim.key, None)?;
            blocking(move || desk.prove_again(&claim, now).map(Outcome::from)).await
        };
        self.finish("step-up", answer.await)
    }

    /// Whether a key and a pass show a sign-in that has not ended.
    pub(crate) fn is_signed_in(
        &self,
        tx: &Tx<'_>,
        key: &PublicKey,
        pass: &[u8],
        now: UnixTime,
    ) -> Result<bool, PublishError> {
        match self.recognise(tx, key, pass, now) {
            Ok(_) => Ok(true),
            Err(Failed::Refused(_) | Failed::Busy | Failed::Internal) => Ok(false),
            Err(Failed::Publish(error)) => Err(error),
            Err(Failed::Store(error)) => Err(error.into()),
        }
    }

    fn prove_again(&self, claim: &Claim, now: UnixTime) -> Result<HubAnswer, Failed> {
        // Looked at first: strangers shall not queue for the one place in which the state can be written.
        let (person, _) = self.store.read(|tx| self.recognise(tx, &claim.key, &claim.pass, now))?;
        if person.one_time.secret.is_none() && person.one_time.pending.is_none() {
            return Err(Refusal::NoOneTimeCodes.into());
        }
        let at = self.started.elapsed();
        if !self.limiter().admit_code(&person.name, at) {
            return Err(Refusal::TooMany.into());
        }
        let answer = self.store.write(|tx| {
            // Again: the user may have been disabled, or the code used, since the first look.
            let (person, before) = self.recognise(tx, &claim.key, &claim.pass, now)?;
            match use_code(tx, person.clone(), Some(&claim.otp), now)? {
                Code::Used => {}
                Code::Wrong | Code::NotDemanded => return Err(Refusal::OneTimeCode.into()),
            }
            tx.register_key(&person.name, &claim.key, now)?;
            self.seal(tx, &person, &stepped_up(before, now))
        })?;
        self.forgive(&claim.key, &person.name);
        Ok(answer)
    }

    /// The user and the sign-in, if key and pass belong together and hold.
    pub(super) fn recognise(
        &self,
        tx: &Tx<'_>,
        key: &PublicKey,
        pass: &[u8],
        now: UnixTime,
    ) -> Result<(Person, Pass), Failed> {
        let person = tx.person_of_key(key)?.filter(|person| person.state() == PersonState::Active);
        let person = person.ok_or(Refusal::UnknownKey)?;
        let authority = self.publisher.signer().refresh(tx).map_err(PublishError::from)?;
        let identity = authority.root.role(Role::Identity).map_err(|_| Failed::Internal)?;
        let pass: Pass = Envelope::open(pass, identity).map_err(|_| Refusal::Pass)?;
        let named = (pass.fleet, pass.user, pass.key) == (authority.root.fleet, person.id, *key);
        // What a stolen identity key forged for years would otherwise be signed again by the key that replaces it.
        let genuine = pass.issued <= now.saturating_add(CLOCK_SKEW_S)
            && pass.expires <= pass.issued.saturating_add(PASS_S);
        // Signed out everywhere since.
        let counts = pass.issued >= person.passes_from;
        if named && genuine && counts && pass.expires > now {
            Ok((person, pass))
        } else {
            Err(Refusal::Pass.into())
        }
    }
}

/// The same sign-in with a one-time code used now in place of an earlier second factor.
fn stepped_up(before: Pass, now: UnixTime) -> Pass {
    let mut factors = before.factors;
    factors.retain(|factor| !factor.method.is_second_factor());
    factors.push(Factor { method: Method::Totp, at: now });
    factors.sort_unstable();
    // No factor may be later than its pass, also when this clock was set back since the sign-in.
    Pass { factors, issued: now.max(before.issued), ..before }
}
