//! Users prove who they are and get a pass for the key of their connection.
//!
//! 1. [`Login::accept_invitation`]: a single-use code and a new password; the key of the handshake is registered.
//! 2. [`Login::login`]: account, user, password, and a one-time code where one is set up.
//! 3. [`Login::enroll_otp`]: a new secret for one-time codes; the first code made with it puts it in force.
//! 4. [`Login::step_up`]: a one-time code alone, of somebody who is signed in; the new pass ends with the old one.
//! 5. [`Login::logout`]: the key of the handshake is forgotten, and with it every right on every device.
//! 6. [`Login::logout_everywhere`]: the same, and every pass of the user that was signed until now is worthless.
//! 7. [`Login::begin_sign_on`]: 1, 2 and 4 with the word of an identity provider in place of password and code.
//!
//! What a stranger could probe has one answer and one cost: an unknown user is hashed against a dummy, and hashing
//! is bounded so that a flood of attempts fills a queue and not the machine. A registered key changes snapshots, so
//! it is published in the transaction that stores it.

mod decider;
mod limiter;
mod one_time;
mod password;
mod sign_on;
mod step_up;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Digest, Factor, Method, Narrowing, Pass, PublicKey};
use postern_protocol::wire::hub::{HubAnswer, Only, Password, Refusal};
use postern_protocol::wire::invitation::Invitee;
use postern_protocol::wire::registry::Failure;
use postern_protocol::wire::text::Text;

use self::limiter::Limiter;
pub use self::step_up::Claim as StepUpClaim;
use crate::news::News;
use crate::publish::{Affected, Publication, PublishError, Publisher};
use crate::sso::{Providers, Signing};
use crate::store::{Pending, Person, Store, StoreError, Tx};
use crate::visibility::visible_devices;

/// Answers everything that users ask about themselves.
#[derive(Debug)]
pub struct Login {
    store: Arc<Store>,
    publisher: Arc<Publisher>,
    news: News,
    /// Hashes under way.
    hashing: Semaphore,
    limiter: Mutex<Limiter>,
    /// Whom the installation believes.
    providers: OnceLock<Providers>,
    /// Sign-ons under way.
    signing: Mutex<Signing>,
    clock: fn() -> UnixTime,
    started: Instant,
}

/// Who claims to be whom, on which key.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The key of the handshake.
    pub key: PublicKey,
    /// The account's path or name.
    pub account: String,
    /// The user's name.
    pub user: Name,
    /// The password.
    pub password: Password,
    /// The one-time code.
    pub otp: Option<Password>,
    /// What the pass shall be good for at most.
    pub only: Only,
}

/// What a user is told, and what was published by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The answer.
    pub answer: HubAnswer,
    /// Snapshots that were signed because the user's keys are different now.
    pub published: Vec<Publication>,
}

impl From<HubAnswer> for Outcome {
    fn from(answer: HubAnswer) -> Self {
        Self { answer, published: Vec::new() }
    }
}

/// Why there is no pass.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// Said to the caller as it is.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many hashes are waiting.
    #[error("too many sign-ins at the same time")]
    Busy,
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a task of the hub failed")]
    Internal,
}

impl Login {
    /// A desk at which users are known by `store`.
    #[must_use]
    pub fn new(store: Arc<Store>, publisher: Arc<Publisher>, news: News, clock: fn() -> UnixTime) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        password::prepare();
        Self {
            store,
            publisher,
            news,
            hashing: Semaphore::new(cores),
            limiter: Mutex::new(Limiter::default()),
            providers: OnceLock::new(),
            signing: Mutex::default(),
            clock,
            started: Instant::now(),
        }
    }

    /// Believes these identity providers from here on. The first time counts.
    pub fn believe(&self, providers: Providers) {
        let _already = self.providers.set(providers);
    }

    fn providers(&self) -> &Providers {
        self.providers.get_or_init(Providers::default)
    }

    fn signing(&self) -> MutexGuard<'_, Signing> {
        self.signing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signs a user in.
    pub async fn login(self: &Arc<Self>, claim: Claim, now: UnixTime) -> Outcome {
        let answer = async {
            let person = self.prove_password(&claim).await?;
            let desk = Arc::clone(self);
            blocking(move || {
                let outcome = desk.finish_login(&claim, &person, now)?;
                desk.forgive(&claim.key, &claim.user);
                Ok::<_, Failed>(outcome)
            })
            .await
        };
        self.finish("login", answer.await)
    }

    /// Makes a new secret for one-time codes.
    pub async fn enroll_otp(self: &Arc<Self>, claim: Claim, now: UnixTime) -> Outcome {
        let answer = async {
            let person = self.prove_password(&claim).await?;
            let desk = Arc::clone(self);
            blocking(move || {
                let answer = desk.finish_enroll_otp(&claim, &person, now)?;
                desk.forgive(&claim.key, &claim.user);
                Ok::<_, Failed>(answer.into())
            })
            .await
        };
        self.finish("one-time code", answer.await)
    }

    /// Turns an invitation into a password and a registered key.
    pub async fn accept_invitation(
        self: &Arc<Self>,
        key: PublicKey,
        secret: [u8; 16],
        password: Password,
        now: UnixTime,
    ) -> Outcome {
        let answer = async {
            let secret = Digest::of(&[&secret]);
            self.admit(&key, None)?;
            let desk = Arc::clone(self);
            blocking(move || desk.store.read(|tx| desk.invited(tx, &secret, now).map(drop))).await?;
            // Only now, so that nobody without a code learns anything about passwords.
            if password.reveal().chars().count() < PASSWORD_CHARS {
                return Err(Refusal::WeakPassword.into());
            }
            let hash = self.hash(password).await?;
            let desk = Arc::clone(self);
            blocking(move || desk.finish_invitation(&key, &secret, &hash, now)).await
        };
        self.finish("invitation", answer.await)
    }

    /// Forgets the key of a user.
    pub async fn logout(self: &Arc<Self>, key: PublicKey, now: UnixTime) -> Outcome {
        self.sign_out(key, Reach::Here, now).await
    }

    /// Forgets the key of a user and cuts every pass of theirs, on whatever computer it is.
    pub async fn logout_everywhere(self: &Arc<Self>, key: PublicKey, now: UnixTime) -> Outcome {
        self.sign_out(key, Reach::Everywhere, now).await
    }

    async fn sign_out(self: &Arc<Self>, key: PublicKey, reach: Reach, now: UnixTime) -> Outcome {
        let desk = Arc::clone(self);
        let answer = blocking(move || {
            // Looked at first: strangers shall not queue for the one place in which the state can be written.
            desk.store.read(|tx| tx.person_of_key(&key))?.ok_or(Refusal::UnknownKey)?;
            desk.store.write(|tx| {
                let person = tx.person_of_key(&key)?.ok_or(Refusal::UnknownKey)?;
                tx.forget_key(&key)?;
                match reach {
                    Reach::Here => {}
                    Reach::Everywhere => tx.cut_passes(&person.name, now)?,
                }
                let published = desk.publisher.publish(tx, Affected::User(&person.name), now)?;
                Ok::<_, Failed>(Outcome { answer: HubAnswer::Done, published })
            })
        });
        self.finish("logout", answer.await)
    }

    fn finish(&self, what: &'static str, outcome: Result<Outcome, Failed>) -> Outcome {
        let answer = match outcome {
            Ok(outcome) => {
                // Every link looks into the store at news; a sign-in that changes nothing is none.
                if !outcome.published.is_empty() {
                    self.news.publish();
                }
                return outcome;
            }
            Err(Failed::Refused(refusal)) => HubAnswer::Refused(refusal),
            Err(Failed::Busy) => HubAnswer::Failed(Failure::Busy),
            Err(error @ (Failed::Publish(_) | Failed::Store(_) | Failed::Internal)) => {
                tracing::error!(%error, what, "a request of a user failed");
                HubAnswer::Failed(Failure::Internal)
            }
        };
        answer.into()
    }

    /// Counts an attempt, before it costs anything.
    fn admit(&self, key: &PublicKey, user: Option<&Name>) -> Result<(), Failed> {
        let at = self.started.elapsed();
        if self.limiter().admit(key, user, at) { Ok(()) } else { Err(Refusal::TooMany.into()) }
    }

    /// Counts an attempt at a one-time code. The refusal is that of a wrong code: another one would say that the
    /// password is right.
    fn admit_code(&self, claim: &Claim) -> Result<(), Failed> {
        let at = self.started.elapsed();
        let admitted = claim.otp.is_none() || self.limiter().admit_code(&claim.user, at);
        if admitted { Ok(()) } else { Err(Refusal::Login.into()) }
    }

    /// Forgets the attempts of somebody who has proved everything. Not before: whoever knows the password alone could
    /// try one-time codes without end.
    fn forgive(&self, key: &PublicKey, user: &Name) {
        self.limiter().forgive(key, user);
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The user, if the password is theirs. Everything else is one refusal after one hash.
    async fn prove_password(self: &Arc<Self>, claim: &Claim) -> Result<Person, Failed> {
        let (desk, account, user, key) =
            (Arc::clone(self), claim.account.clone(), claim.user.clone(), claim.key);
        let (person, known_key) = blocking(move || {
            desk.store.read(|tx| {
                let known = tx.person_of_key(&key)?.is_some_and(|owner| owner.name == user);
                Ok::<_, StoreError>((find(tx, &account, &user)?, known))
            })
        })
        .await?;
        // A key that is registered for this user has a count of its own: nobody else can use it up.
        let counted = (!known_key).then_some(&claim.user);
        self.admit(&claim.key, counted)?;
        let hash = person.as_ref().and_then(|person| person.password.clone());
        let proved = self.verify(claim.password.clone(), hash).await?;
        let person = person.filter(|person| proved && !person.disabled).ok_or(Refusal::Login)?;
        self.admit_code(claim)?;
        Ok(person)
    }

    async fn verify(&self, password: Password, hash: Option<String>) -> Result<bool, Failed> {
        let _turn = self.turn().await?;
        blocking(move || Ok::<_, Failed>(password::verify(&password, hash.as_deref()))).await
    }

    async fn hash(&self, password: Password) -> Result<String, Failed> {
        let _turn = self.turn().await?;
        blocking(move || password::hash(&password).ok_or(Failed::Internal)).await
    }

    async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Failed> {
        let turn = tokio::time::timeout(HASH_WAIT, self.hashing.acquire()).await;
        turn.map_err(|_| Failed::Busy)?.map_err(|_| Failed::Internal)
    }

    fn finish_login(&self, claim: &Claim, proved: &Person, now: UnixTime) -> Result<Outcome, Failed> {
        self.store.write(|tx| {
            let used_code = check_code(tx, claim, proved, now)?;
            let factors = [Some(Method::Password), used_code.then_some(Method::Totp)];
            let published = self.register(tx, &proved.name, &claim.key, now)?;
            // Read again: the user may have been signed out everywhere since the password was looked at.
            let person = tx.person(&proved.name)?.ok_or(Refusal::Login)?;
            let narrow = narrowing(tx, &person.name, &claim.only, now)?;
            let to = Holder { person: &person, key: &claim.key, narrow };
            let factors = factors.into_iter().flatten().map(|method| Factor { method, at: now }).collect();
            let answer = self.pass(tx, to, factors, now)?;
            Ok(Outcome { answer, published })
        })
    }

    fn finish_enroll_otp(&self, claim: &Claim, proved: &Person, now: UnixTime) -> Result<HubAnswer, Failed> {
        self.store.write(|tx| {
            check_code(tx, claim, proved, now)?;
            let mut one_time = tx.person(&proved.name)?.ok_or(Refusal::Login)?.one_time;
            let secret = one_time::new_secret();
            let account = tx.model()?.users.get(&proved.name).map(|user| user.account.clone());
            let uri = one_time::uri(&secret, account.as_ref(), &proved.name);
            one_time.pending = Some(secret);
            tx.save_one_time(&proved.name, &one_time)?;
            Ok(HubAnswer::Otp { uri })
        })
    }

    fn finish_invitation(
        &self,
        key: &PublicKey,
        secret: &Digest,
        hash: &str,
        now: UnixTime,
    ) -> Result<Outcome, Failed> {
        self.store.write(|tx| {
            // Looked up again: two connections may have come this far with one code.
            let pending = self.invited(tx, secret, now)?;
            let name = &pending.invited.name;
            tx.use_invitation(secret, key, now)?;
            tx.restart_person(name, hash)?;
            // Whoever had the account before may hold a pass and the key that it is bound to.
            tx.cut_passes(name, now)?;
            // All keys of before are gone, so this one is new and its registration publishes.
            let published = self.register(tx, name, key, now)?;
            let person = tx.person(name)?.ok_or(Refusal::Code)?;
            let to = Holder { person: &person, key, narrow: Narrowing::NONE };
            let factors = vec![Factor { method: Method::Password, at: now }];
            let answer = self.pass(tx, to, factors, now)?;
            Ok(Outcome { answer, published })
        })
    }

    fn invited(&self, tx: &Tx<'_>, secret: &Digest, now: UnixTime) -> Result<Pending, Failed> {
        let pending = tx.invitation(secret, Invitee::User)?.ok_or(Refusal::Code)?;
        let person = tx.person(&pending.invited.name)?.ok_or(Refusal::Code)?;
        if pending.used_by.is_some() || pending.expires <= now || person.disabled {
            return Err(Refusal::Code.into());
        }
        Ok(pending)
    }

    fn register(
        &self,
        tx: &Tx<'_>,
        name: &Name,
        key: &PublicKey,
        now: UnixTime,
    ) -> Result<Vec<Publication>, Failed> {
        match tx.person_of_key(key)? {
            // One key, one person: otherwise a pass of one would open the rows of the other.
            Some(owner) if owner.name != *name => return Err(Refusal::Login.into()),
            Some(_) | None => {}
        }
        if !tx.register_key(name, key, now)? {
            return Ok(Vec::new());
        }
        Ok(self.publisher.publish(tx, Affected::User(name), now)?)
    }

    fn pass(
        &self,
        tx: &Tx<'_>,
        to: Holder<'_>,
        factors: Vec<Factor>,
        now: UnixTime,
    ) -> Result<HubAnswer, Failed> {
        // Somebody who signed out everywhere in this very second signs in from the next one on.
        let issued = now.max(to.person.passes_from);
        let pass = Pass {
            fleet: tx.installation()?.fleet,
            user: to.person.id,
            key: *to.key,
            factors,
            issued,
            expires: issued.saturating_add(PASS_S),
            narrow: to.narrow,
        };
        self.seal(tx, to.person, &pass)
    }

    fn seal(&self, tx: &Tx<'_>, person: &Person, pass: &Pass) -> Result<HubAnswer, Failed> {
        let Pass { fleet, user, .. } = *pass;
        let authority = self.publisher.signer().refresh(tx).map_err(PublishError::from)?;
        let pass = authority.keys.identity.seal(pass).map_err(|_| Failed::Internal)?;
        let model = tx.model()?;
        let body = model.users.get(&person.name).ok_or(Refusal::Login)?;
        let account = Text::clean(&model.path(&body.account));
        Ok(HubAnswer::LoggedIn { fleet, user, account, name: person.name.clone(), pass })
    }
}

/// How far a sign-out reaches.
#[derive(Clone, Copy, Debug)]
enum Reach {
    /// To the key of the handshake.
    Here,
    /// To every pass of the user.
    Everywhere,
}

/// Who gets a pass, on which key, and what it is good for at most.
struct Holder<'a> {
    person: &'a Person,
    key: &'a PublicKey,
    narrow: Narrowing,
}

/// What a user wants a pass to be good for at most, by ids. A device that the user may not see is not there.
fn narrowing(tx: &Tx<'_>, user: &Name, only: &Only, now: UnixTime) -> Result<Narrowing, Failed> {
    let devices = match &only.devices {
        None => None,
        Some(names) => {
            let model = tx.model()?;
            let visible = visible_devices(&model, user, now);
            let mut ids = Vec::new();
            for name in names {
                let device = if visible.contains(name) { tx.device(name)? } else { None };
                ids.push(device.ok_or(Refusal::Narrowing)?.id);
            }
            Some(ids)
        }
    };
    let mut narrow = Narrowing { devices, services: only.services.clone() };
    for list in narrow.devices.iter_mut() {
        list.sort_unstable();
        list.dedup();
    }
    for list in narrow.services.iter_mut() {
        list.sort_unstable();
        list.dedup();
    }
    if narrow.is_well_formed() { Ok(narrow) } else { Err(Refusal::Narrowing.into()) }
}

/// A user by name, if the account is theirs and an invitation was accepted.
fn find(tx: &Tx<'_>, account: &str, user: &Name) -> Result<Option<Person>, StoreError> {
    let model = tx.model()?;
    let belongs = model
        .users
        .get(user)
        .is_some_and(|body| body.account.as_str() == account || model.path(&body.account) == account);
    if belongs { tx.person(user) } else { Ok(None) }
}

/// Whether a one-time code was demanded and used. A code that was used once is worth nothing again.
fn check_code(tx: &Tx<'_>, claim: &Claim, proved: &Person, now: UnixTime) -> Result<bool, Failed> {
    // Read again: the password was checked some time ago, and a code may have been used meanwhile.
    let person = tx.person(&proved.name)?.ok_or(Refusal::Login)?;
    if person.disabled || person.password != proved.password {
        return Err(Refusal::Login.into());
    }
    let handed_out = person.one_time.pending.is_some();
    match use_code(tx, person, claim.otp.as_ref(), now)? {
        Code::Used => Ok(true),
        // Whoever gives a code believes to have one: without it the sign-in would look as if it had been used.
        Code::NotDemanded if claim.otp.is_some() && handed_out => Err(Refusal::Login.into()),
        Code::NotDemanded if claim.otp.is_some() => Err(Refusal::NoOneTimeCodes.into()),
        Code::NotDemanded => Ok(false),
        Code::Wrong => Err(Refusal::Login.into()),
    }
}

/// What a one-time code, or none, is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    /// It was right and is used up now.
    Used,
    /// It is wrong, missing, late or was used before.
    Wrong,
    /// No secret is in force, and it is not the first code of one that was handed out.
    NotDemanded,
}

fn use_code(tx: &Tx<'_>, person: Person, code: Option<&Password>, now: UnixTime) -> Result<Code, StoreError> {
    let mut one_time = person.one_time;
    let step = |secret: &[u8], last| code.and_then(|code| one_time::check(secret, code.reveal(), now, last));
    if let Some(used) = one_time.pending.as_ref().and_then(|secret| step(secret, 0)) {
        one_time.secret = one_time.pending.take();
        one_time.last_step = used;
    } else {
        let Some(secret) = &one_time.secret else { return Ok(Code::NotDemanded) };
        let Some(used) = step(secret, one_time.last_step) else { return Ok(Code::Wrong) };
        one_time.last_step = used;
    }
    tx.save_one_time(&person.name, &one_time)?;
    Ok(Code::Used)
}

/// Runs what waits for the disk or burns the processor beside the tasks of the hub.
async fn blocking<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Failed>
where
    Failed: From<E>,
{
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| Failed::Internal)?;
    Ok(done?)
}

/// A working day; after that a user signs in again.
pub const PASS_S: u64 = 12 * 3600;
/// Characters that a new password must have.
pub const PASSWORD_CHARS: usize = 10;
/// How long a sign-in waits for its turn to be hashed.
const HASH_WAIT: Duration = Duration::from_secs(5);
