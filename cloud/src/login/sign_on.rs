//! Somebody signs in, accepts an invitation or steps up with the word of an identity provider.
//!
//! 1. What it is for is looked at before the provider is asked: an invitation that is over, or a pass that is, needs no browser.
//! 2. The provider is asked, once the person was there. Nothing of the store is held meanwhile.
//! 3. Its evidence is an identity, which is linked to one user at most; and factors, which say when what was proved.
//! 4. Everything else is as at other sign-ins: the key is registered, and the pass is for it alone.
//!
//! A user has one way to sign in. Who accepts an invitation with an identity has no password, so that whoever leaves the company of
//! the provider has nothing left.

use std::sync::Arc;
use std::time::Duration;

use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Digest, Factor, Method, Narrowing, Pass, PublicKey};
use postern_protocol::wire::hub::{HubAnswer, Refusal};
use postern_protocol::wire::sign_on::{
    SignOn, SignOnBegun, SignOnCode, SignOnId, SignOnPurpose, SignOnWay, Url,
};
use postern_protocol::wire::text::Text;
use tokio::sync::watch;

use super::{Failed, Holder, Login, Outcome, PASS_S, blocking, narrowing};
use crate::chance;
use crate::clock;
use crate::sso::{Asking, Attempt, Demand, Evidence, Provider, SsoError, Unfit, Way};
use crate::store::{Identity, Person, PersonState, Tx};

/// What came of a question to a provider.
type Vouched = Result<Evidence, Refusal>;

impl Login {
    /// Begins a sign-on.
    pub async fn begin_sign_on(self: &Arc<Self>, key: PublicKey, ask: SignOn, now: UnixTime) -> Outcome {
        let answer = async {
            self.admit(&key, None)?;
            let provider = self.providers().named(ask.provider.as_ref()).ok_or(Refusal::NoProvider)?;
            let (desk, purpose) = (Arc::clone(self), ask.purpose.clone());
            blocking(move || desk.store.read(|tx| desk.is_worth_it(tx, &key, &purpose, now))).await?;
            let begun = match ask.way {
                SignOnWay::Browser { port } => self.send_browser(key, ask.purpose, provider, port, now).await,
                SignOnWay::Elsewhere => self.send_elsewhere(key, ask.purpose, provider, now).await,
            };
            Ok(HubAnswer::SignOn(begun?).into())
        };
        self.finish("sign-on", answer.await)
    }

    /// Finishes a sign-on with the code that came back to the user's computer.
    pub async fn finish_sign_on(
        self: &Arc<Self>,
        key: PublicKey,
        (id, code): (SignOnId, SignOnCode),
        issuer: Option<Text>,
        now: UnixTime,
    ) -> Outcome {
        let answer = async {
            let attempt = {
                let mut signing = self.signing();
                let is_browser = |attempt: &Attempt| matches!(attempt.way, Way::Browser(_));
                let attempt = signing.of(&id, &key, now).filter(|it| is_browser(it)).is_some();
                if attempt { signing.take(&id, &key, now) } else { None }
            };
            let Some(Attempt { provider, purpose, begun, way: Way::Browser(waiting), .. }) = attempt else {
                return Err(Refusal::SignOn.into());
            };
            let provider = self.providers().named(Some(&provider)).ok_or(Refusal::NoProvider)?;
            // RFC 9207: an answer of another provider than was asked.
            if issuer.is_some_and(|issuer| issuer.as_str() != provider.settings().issuer.as_str()) {
                return Err(Refusal::Provider.into());
            }
            let mut evidence = vouched(provider, provider.redeem(waiting, code.reveal(), now).await)?;
            if provider.settings().always_prompt {
                // Whatever was proved was proved since then.
                evidence.at = evidence.at.or(Some(begun));
            }
            self.conclude(key, (purpose, begun), provider, evidence, now).await
        };
        self.finish("sign-on", answer.await)
    }

    /// Waits for the end of a sign-on elsewhere, for ten seconds at most.
    pub async fn await_sign_on(
        self: &Arc<Self>,
        key: PublicKey,
        id: SignOnId,
        clock: fn() -> UnixTime,
    ) -> Outcome {
        let answer = async {
            let (begun, mut answer) = {
                let signing = self.signing();
                match signing.of(&id, &key, clock()).map(|attempt| &attempt.way) {
                    Some(Way::Elsewhere { begun, answer, .. }) => (begun.clone(), answer.clone()),
                    Some(Way::Browser(_)) | None => return Err(Refusal::SignOn.into()),
                }
            };
            let vouched = match tokio::time::timeout(WAIT, said(&mut answer)).await {
                Err(_) => return Ok(HubAnswer::SignOn(begun).into()),
                Ok(vouched) => vouched,
            };
            let now = clock();
            let attempt = self.signing().take(&id, &key, now).ok_or(Refusal::SignOn)?;
            let provider = self.providers().named(Some(&attempt.provider)).ok_or(Refusal::NoProvider)?;
            let evidence = vouched?;
            self.conclude(key, (attempt.purpose, attempt.begun), provider, evidence, now).await
        };
        self.finish("sign-on", answer.await)
    }

    async fn send_browser(
        &self,
        key: PublicKey,
        purpose: SignOnPurpose,
        provider: &Provider,
        port: u16,
        now: UnixTime,
    ) -> Result<SignOnBegun, Failed> {
        let (id, settings) = (SignOnId::new(chance::bytes()), provider.settings());
        let port = settings.loopback_port.unwrap_or(port);
        let demand = match purpose {
            SignOnPurpose::Login { .. } | SignOnPurpose::Accept { .. } => Demand::Within(PASS_S),
            SignOnPurpose::StepUp { .. } => Demand::Again,
        };
        let asked = provider.authorize(&id, port, demand).await;
        let (url, waiting) = asked.map_err(|error| refusal(provider, &error))?;
        let url = Url::try_from(url)
            .map_err(|fault| refusal(provider, &SsoError::Unbelievable(fault.to_string())))?;
        let (name, lapses) = (settings.name.clone(), now.saturating_add(BROWSER_S));
        let attempt =
            Attempt { key, purpose, provider: name.clone(), begun: now, lapses, way: Way::Browser(waiting) };
        self.signing().begin(id, attempt, now);
        Ok(SignOnBegun { id, provider: name, url, code: None, port, lapses })
    }

    async fn send_elsewhere(
        &self,
        key: PublicKey,
        purpose: SignOnPurpose,
        provider: &Arc<Provider>,
        now: UnixTime,
    ) -> Result<SignOnBegun, Failed> {
        // Asked so, a provider cannot be told to let the person prove everything once more.
        if !provider.settings().elsewhere || matches!(purpose, SignOnPurpose::StepUp { .. }) {
            return Err(Refusal::NoProvider.into());
        }
        if !self.limiter().admit_elsewhere(self.started.elapsed()) {
            return Err(Refusal::TooMany.into());
        }
        let asked = provider.begin_elsewhere().await.map_err(|error| refusal(provider, &error))?;
        let (id, name) = (SignOnId::new(chance::bytes()), provider.settings().name.clone());
        let complete = asked.verification_uri_complete().map(|uri| uri.secret().as_str());
        let url = complete.unwrap_or_else(|| asked.verification_uri().as_str()).to_owned();
        let begun = SignOnBegun {
            id,
            provider: name.clone(),
            url: Url::try_from(url)
                .map_err(|fault| refusal(provider, &SsoError::Unbelievable(fault.to_string())))?,
            code: Some(Text::clean(asked.user_code().secret())),
            port: 0,
            lapses: now.saturating_add(asked.expires_in().as_secs().min(ELSEWHERE_S)),
        };
        let (send, answer) = watch::channel(None);
        let (asks, clock) = (Arc::clone(provider), self.clock);
        let task = tokio::spawn(async move {
            let said = asks.await_elsewhere(&asked, clock).await;
            // Nobody waits any more.
            let _gone = send.send(Some(vouched(&asks, said)));
        });
        let way = Way::Elsewhere { begun: begun.clone(), answer, _asking: Asking(task.abort_handle()) };
        let attempt = Attempt { key, purpose, provider: name, begun: now, lapses: begun.lapses, way };
        self.signing().begin(id, attempt, now);
        Ok(begun)
    }

    /// Whether a browser is needed at all.
    fn is_worth_it(
        &self,
        tx: &Tx<'_>,
        key: &PublicKey,
        purpose: &SignOnPurpose,
        now: UnixTime,
    ) -> Result<(), Failed> {
        match purpose {
            SignOnPurpose::Login { .. } => Ok(()),
            SignOnPurpose::Accept { secret } => self.invited(tx, &Digest::of(&[secret]), now).map(drop),
            SignOnPurpose::StepUp { pass } => self.recognise(tx, key, pass, now).map(drop),
        }
    }

    /// Gives what the evidence is worth for what was begun then.
    async fn conclude(
        self: &Arc<Self>,
        key: PublicKey,
        (purpose, begun): (SignOnPurpose, UnixTime),
        provider: &Arc<Provider>,
        evidence: Evidence,
        now: UnixTime,
    ) -> Result<Outcome, Failed> {
        let (desk, provider) = (Arc::clone(self), Arc::clone(provider));
        blocking(move || {
            let settings = provider.settings();
            let factors = evidence.factors(&settings.second_factor, PASS_S, now).map_err(|unfit| {
                let why = match unfit {
                    Unfit::Old => "longer ago than was asked for",
                    Unfit::Early => "later than now; one of the two clocks is wrong",
                };
                let at = evidence.at.map(clock::show).unwrap_or_default();
                refusal(
                    &provider,
                    &SsoError::Unbelievable(format!("the person signed in there at {at}, {why}")),
                )
            })?;
            let identity =
                Identity { issuer: settings.issuer.to_string(), subject: evidence.subject.clone() };
            let outcome = desk.store.write(|tx| match &purpose {
                SignOnPurpose::Login { only } => {
                    let person = tx.person_of_identity(&identity)?.ok_or(Refusal::Unlinked)?;
                    if person.state() != PersonState::Active || !is_for(tx, &provider, &person)? {
                        return Err(Refusal::Unlinked.into());
                    }
                    let published = desk.register(tx, &person.name, &key, now)?;
                    let narrow = narrowing(tx, &person.name, only, now)?;
                    let to = Holder { person: &person, key: &key, narrow };
                    Ok(Outcome { answer: desk.pass(tx, to, factors, now)?, published })
                }
                SignOnPurpose::Accept { secret } => {
                    desk.accept_with(tx, (&key, &Digest::of(&[secret])), (&provider, &identity), factors, now)
                }
                SignOnPurpose::StepUp { pass } => {
                    let (person, before) = desk.recognise(tx, &key, pass, now)?;
                    if person.identity.as_ref() != Some(&identity) || !is_for(tx, &provider, &person)? {
                        return Err(Refusal::Unlinked.into());
                    }
                    let newer = stepped_up(before, &factors, begun, now).ok_or(Refusal::NoSecondFactor)?;
                    tx.register_key(&person.name, &key, now)?;
                    Ok(desk.seal(tx, &person, &newer)?.into())
                }
            })?;
            if let HubAnswer::LoggedIn { name, .. } = &outcome.answer {
                desk.forgive(&key, name);
            }
            Ok::<_, Failed>(outcome)
        })
        .await
    }

    /// Links the identity to the user who was invited.
    fn accept_with(
        &self,
        tx: &Tx<'_>,
        (key, secret): (&PublicKey, &Digest),
        (provider, identity): (&Provider, &Identity),
        factors: Vec<Factor>,
        now: UnixTime,
    ) -> Result<Outcome, Failed> {
        // Looked up again: the code may have been used while the person was elsewhere.
        let pending = self.invited(tx, secret, now)?;
        let name = &pending.invited.name;
        let person = tx.person(name)?.ok_or(Refusal::Code)?;
        if !is_for(tx, provider, &person)? || !tx.link(name, identity, now)? {
            return Err(Refusal::Unlinkable.into());
        }
        tx.use_invitation(secret, key, now)?;
        tx.forget_keys(name)?;
        // Whoever had the account before may hold a pass and the key that it is bound to.
        tx.cut_passes(name, now)?;
        let published = self.register(tx, name, key, now)?;
        let person = tx.person(name)?.ok_or(Refusal::Code)?;
        let to = Holder { person: &person, key, narrow: Narrowing::NONE };
        Ok(Outcome { answer: self.pass(tx, to, factors, now)?, published })
    }
}

/// Whether a provider may vouch for a user: the accounts that it is for hold the user's.
fn is_for(tx: &Tx<'_>, provider: &Provider, person: &Person) -> Result<bool, Failed> {
    let (model, accounts) = (tx.model()?, &provider.settings().accounts);
    let Some(user) = model.users.get(&person.name) else { return Ok(false) };
    Ok(accounts.is_empty() || accounts.iter().any(|account| model.is_within(&user.account, account)))
}

/// The same sign-in with the second factor that the provider has just seen; none if it was seen before it was asked for. However long the
/// person took, of the time that a browser has.
fn stepped_up(before: Pass, factors: &[Factor], begun: UnixTime, now: UnixTime) -> Option<Pass> {
    let second = factors.iter().find(|factor| factor.method == Method::FederatedSecond)?;
    if begun.secs_since(second.at) > JUST_NOW_S {
        return None;
    }
    let mut kept = before.factors;
    kept.retain(|factor| !factor.method.is_second_factor());
    kept.push(*second);
    kept.sort_unstable();
    // No factor may be later than its pass, also when this clock was set back since the sign-in.
    Some(Pass { factors: kept, issued: now.max(before.issued), ..before })
}

/// What a provider has said, once it has. The task that asks it may end without an answer.
async fn said(answer: &mut watch::Receiver<Option<Vouched>>) -> Vouched {
    let said = answer.wait_for(Option::is_some).await;
    said.ok().and_then(|said| said.clone()).unwrap_or(Err(Refusal::SignOn))
}

fn vouched(provider: &Provider, said: Result<Evidence, SsoError>) -> Vouched {
    said.map_err(|error| refusal(provider, &error))
}

/// Notes what a provider did, for who runs the hub, and says to the user what they can do about it.
fn refusal(provider: &Provider, error: &SsoError) -> Refusal {
    let name = &provider.settings().name;
    match error {
        SsoError::Unreachable(_) | SsoError::Unbelievable(_) | SsoError::NotElsewhere => {
            tracing::warn!(provider = %name, %error, "an identity provider was of no use");
            Refusal::Provider
        }
        SsoError::Refused(_) => {
            tracing::info!(provider = %name, %error, "an identity provider has refused somebody");
            Refusal::NotVouched
        }
        SsoError::Late => Refusal::SignOn,
    }
}

/// How long somebody has for what the provider wants to know, in a browser on the same computer.
const BROWSER_S: u64 = 600;
/// And elsewhere, at most.
const ELSEWHERE_S: u64 = 900;
/// How long before it was asked for a second factor may have been proved that counts as proved again: clocks differ, and a provider takes what it saw
/// in the last minute.
const JUST_NOW_S: u64 = 300;
/// How long an answer is waited for at once.
const WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use postern_protocol::id::{FleetId, UserId};
    use postern_protocol::trust::SecretKey;

    use super::*;

    #[test]
    fn whoever_is_in_time_with_the_browser_is_in_time_with_the_second_factor() {
        let begun = UnixTime::from_secs(1_800_000_000);
        let before = Pass {
            fleet: FleetId::new([1; 8]),
            user: UserId::new([2; 8]),
            key: SecretKey::from_seed([3; 32]).unwrap().public(),
            factors: vec![Factor { method: Method::Federated, at: begun }],
            issued: begun,
            expires: begun.saturating_add(PASS_S),
            narrow: Narrowing::NONE,
        };
        let at = |at, now| {
            let seen = [Factor { method: Method::FederatedSecond, at }];
            stepped_up(before.clone(), &seen, begun, begun.saturating_add(now)).is_some()
        };
        let earlier = |secs| UnixTime::from_secs(begun.as_secs() - secs);
        // Of a provider that does not say when it counts from the beginning; of others as they say.
        for now in [0, 299, BROWSER_S - 1] {
            assert!(at(begun, now) && at(earlier(JUST_NOW_S), now), "{now}");
            assert!(
                !at(earlier(JUST_NOW_S + 1), now),
                "what was proved before is none that was proved again"
            );
        }
    }
}
