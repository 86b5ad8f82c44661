//! Invitations: who is asked to join a company, with which access, and has not done so yet.
//!
//! 1. [`invite`]: somebody new gets a place in the model, with the roles that they shall have and until when, and a code. The edit is
//!    one of the [`administration`](crate::administration), judged there; handing out the code is judged here. All of it happens, or nothing.
//! 2. [`resend`]: a new code for somebody who has not accepted; the one before is worth nothing from then on.
//! 3. [`revoke`]: the code is worth nothing, and is answered as one that nobody has ever handed out.
//! 4. [`deliver`]: the code leaves by mail, where somebody has configured that, and is shown to whoever asked for it otherwise.
//! 5. Whoever has the code accepts it over the [`login`](crate::login) with a password and a second factor of their own.
//!
//! Whoever has not accepted has no key, and is in no device's policy, whatever the model gives them. A code is kept as a digest; it is shown
//! to whoever asked for it this once, and stands in no log. Deliberately absent: resetting somebody who has accepted. That
//! is the operator's (`user invite`): whoever may invite could otherwise become anybody.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use zeroize::Zeroizing;

use postern_protocol::limits;
use postern_protocol::name::{Label, Name, NameFault};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Digest, Root};
use postern_protocol::wire::invitation::{Invitation, Invitee};

use crate::actor::{Absent, Actor, sees, unknown};
use crate::administration::{Done, Edit, Guard, Refused, Sort};
use crate::chance;
use crate::clock;
use crate::mail::{Letter, Mailer, SendError};
use crate::model::{EntityKind, MailAddress, Model};
use crate::publish::Publisher;
use crate::rights::{Forbidden, Ground, Rights};
use crate::signer::{Signer, SignerError};
use crate::store::{Invited, PersonState, StoreError, Tx};

/// Whom somebody invites.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The user's name.
    pub user: Name,
    /// The account that the user joins; that of whoever invites, if none.
    pub account: Option<Name>,
    /// Where the user gets mail.
    pub mail: Option<MailAddress>,
    /// What people call the user.
    pub label: Option<Label>,
    /// What the user may, each an assignment in the notation of fleet files without its subject.
    pub access: Vec<Map<String, Json>>,
    /// The first second in which that access holds no more, where it says no end of its own.
    pub until: Option<UnixTime>,
    /// For how many seconds the code is good.
    pub good_for_s: u64,
}

/// A code as its bearer pastes it. It prints as nothing in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(Zeroizing<String>);

/// An invitation that was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// For whom.
    pub user: Name,
    /// The path of the account.
    pub account: String,
    /// The code; it is shown this once.
    pub code: Code,
    /// The first second in which it is worth nothing.
    pub expires: UnixTime,
    /// Where the user gets mail.
    pub mail: Option<MailAddress>,
}

/// What became of a code.
#[derive(Debug)]
pub enum Delivery {
    /// Nobody sends it: it is shown to whoever asked for it.
    Shown,
    /// It is under way to this address, and is shown to nobody.
    Mailed(MailAddress),
    /// It could not be sent, and is shown instead.
    Unsent(SendError),
}

/// Somebody who has not accepted, or has an open code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The user.
    pub user: Name,
    /// The account.
    pub account: Name,
    /// Where the invitation stands.
    pub state: Standing,
    /// Who handed the code out, if that is somebody whom one may know of.
    pub by: Option<String>,
    /// When.
    pub made: Option<UnixTime>,
    /// The first second in which it is worth nothing.
    pub expires: Option<UnixTime>,
}

/// Where an invitation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Its code can be used.
    Open,
    /// Nobody has used its code in time.
    Expired,
    /// There is no code: none was handed out, or it was taken back.
    None,
}

/// Why nobody is invited.
#[derive(Debug, thiserror::Error)]
pub enum InvitationError {
    /// The user has a password already.
    #[error(
        "user `{0}` has accepted an invitation already; the operator resets it with `postern-cloud user invite {0}`"
    )]
    Accepted(Name),
    /// The user is disabled.
    #[error("user `{0}` is disabled; the operator lifts that with `postern-cloud user enable {0}`")]
    Disabled(Name),
    /// There is no code of theirs.
    #[error("user `{0}` has no invitation that somebody could still use")]
    None(Name),
    /// Too short or too long.
    #[error("an invitation is good for a time from {} to {}", clock::span(GOOD_S.0), clock::span(GOOD_S.1))]
    Span,
    /// Access that is over before it begins.
    #[error("the access would end {}, which is over", clock::show(*.0))]
    Over(UnixTime),
    /// The operator has no account.
    #[error("the account that `{0}` joins has to be said")]
    NoAccount(Name),
    /// The user is in the model, in another account or under another label.
    #[error(
        "user `{0}` is there already, in another account, with another address or under another label; leave these out to invite \
         that user"
    )]
    Other(Name),
    /// What the access says of its subject.
    #[error("the access of somebody who is invited is theirs; leave `{0}` out of it")]
    Subject(&'static str),
    /// No name can be made up.
    #[error("no name for an assignment can be made up ({0}); take a shorter name for the user")]
    Name(#[from] NameFault),
    /// Whoever invites is not there.
    #[error(transparent)]
    Absent(#[from] Absent),
    /// Nobody knows where the hub is.
    #[error(
        "no address is known under which the hub can be reached: run `postern-cloud serve` once, or found the \
         installation with `--advertise`"
    )]
    NoAddress,
    /// It is not there, or not permitted.
    #[error("{}", .0.lines().join("\n"))]
    Refused(#[from] Refused),
    /// The root or its keys are missing.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The state could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl InvitationError {
    /// What sort of refusal it is. Every way by which somebody invites tells callers by this.
    #[must_use]
    pub const fn sort(&self) -> Sort {
        match self {
            Self::Refused(refused) => refused.sort(),
            Self::None(_) => Sort::Unknown,
            Self::Absent(_) => Sort::Forbidden,
            Self::Accepted(_) | Self::Disabled(_) | Self::Other(_) => Sort::Conflict,
            Self::Span | Self::Over(_) | Self::NoAccount(_) | Self::Subject(_) | Self::Name(_) => {
                Sort::Unreadable
            }
            Self::NoAddress | Self::Signer(_) | Self::Store(_) => Sort::Ours,
        }
    }
}

/// Invites somebody: puts them into the model with what they shall have, and hands out a code.
///
/// # Errors
/// An [`InvitationError`]; nothing of the transaction may be committed then.
pub fn invite(
    tx: &Tx<'_>,
    publisher: &Publisher,
    actor: Actor<'_>,
    ask: &Ask,
    now: UnixTime,
) -> Result<(Handed, Done), InvitationError> {
    actor.present::<InvitationError>(tx)?;
    check_span(ask.good_for_s)?;
    let model = tx.model()?;
    let rights = actor.rights(&model, now)?;
    let known = model.users.get(&ask.user).filter(|_| sees(rights.as_ref(), EntityKind::User, &ask.user));
    let account = match (known, &ask.account, actor) {
        (Some(body), account, _) => {
            let other = account.as_ref().is_some_and(|account| *account != body.account)
                || ask.mail.is_some() && ask.mail != body.mail;
            if other || ask.label.is_some() && ask.label != body.label {
                return Err(InvitationError::Other(ask.user.clone()));
            }
            &body.account
        }
        (None, Some(account), _) => account,
        (None, None, Actor::User(user)) => {
            model.users.get(user).map(|body| &body.account).ok_or_else(|| unknown(EntityKind::User, user))?
        }
        (None, None, Actor::Operator(_)) => return Err(InvitationError::NoAccount(ask.user.clone())),
    };
    permit(rights.as_ref().map_or(Ok(()), |rights| rights.may_invite(account)), &ask.user)?;
    if known.is_some() {
        acceptable(tx, rights.as_ref(), &ask.user)?;
    }
    let edits = edits(&model, actor, ask, (known.is_none()).then_some(account), now)?;
    let done = if edits.is_empty() {
        Done { revision: None, published: Vec::new(), founders: Vec::new() }
    } else {
        actor.edit(tx, publisher, &edits, now)?
    };
    let handed = hand_out(tx, publisher.signer(), actor, (&ask.user, ask.good_for_s), "new", now)?;
    Ok((handed, done))
}

/// Hands out a new code to somebody who has not accepted the one before, which is worth nothing from now on.
///
/// # Errors
/// An [`InvitationError`].
pub fn resend(
    tx: &Tx<'_>,
    publisher: &Publisher,
    actor: Actor<'_>,
    (user, good_for_s): (&Name, u64),
    now: UnixTime,
) -> Result<Handed, InvitationError> {
    actor.present::<InvitationError>(tx)?;
    check_span(good_for_s)?;
    let model = tx.model()?;
    let rights = actor.rights(&model, now)?;
    let body = model
        .users
        .get(user)
        .filter(|_| sees(rights.as_ref(), EntityKind::User, user))
        .ok_or_else(|| unknown(EntityKind::User, user))?;
    permit(rights.as_ref().map_or(Ok(()), |rights| rights.may_resend(&body.account)), user)?;
    acceptable(tx, rights.as_ref(), user)?;
    // What somebody has taken back is not brought back by whoever may only send again.
    if !tx.open_codes()?.contains_key(user) {
        return Err(InvitationError::None(user.clone()));
    }
    hand_out(tx, publisher.signer(), actor, (user, good_for_s), "resend", now)
}

/// Takes the code of somebody back. The user stays in the model, without an account of their own.
///
/// # Errors
/// An [`InvitationError`].
pub fn revoke(tx: &Tx<'_>, actor: Actor<'_>, user: &Name, now: UnixTime) -> Result<(), InvitationError> {
    actor.present::<InvitationError>(tx)?;
    let model = tx.model()?;
    let rights = actor.rights(&model, now)?;
    let body = model
        .users
        .get(user)
        .filter(|_| sees(rights.as_ref(), EntityKind::User, user))
        .ok_or_else(|| unknown(EntityKind::User, user))?;
    permit(rights.as_ref().map_or(Ok(()), |rights| rights.may_revoke(&body.account)), user)?;
    if !tx.revoke_invitation(user)? {
        return Err(InvitationError::None(user.clone()));
    }
    tx.log(now, &actor.who(), &format!("invitation revoke {user}"))?;
    Ok(())
}

/// Everybody of whom one may know and who has not accepted, or has an open code, ascending by name.
///
/// # Errors
/// An [`InvitationError`].
pub fn list(tx: &Tx<'_>, actor: Actor<'_>, now: UnixTime) -> Result<Vec<Listed>, InvitationError> {
    actor.present::<InvitationError>(tx)?;
    let model = tx.model()?;
    let rights = actor.rights(&model, now)?;
    let mut codes = tx.open_codes()?;
    let invited = tx.people()?.into_iter().filter(|person| person.state() == PersonState::Invited);
    let mut people: BTreeMap<Name, _> = invited.map(|person| (person.name, None)).collect();
    people.extend(std::mem::take(&mut codes).into_iter().map(|(name, code)| (name, Some(code))));
    let mut listed = Vec::new();
    for (user, code) in people {
        let Some(body) = model.users.get(&user).filter(|_| sees(rights.as_ref(), EntityKind::User, &user))
        else {
            continue;
        };
        let state = match &code {
            Some(code) if now < code.expires => Standing::Open,
            Some(_) => Standing::Expired,
            None => Standing::None,
        };
        let is_known = |by: &String| {
            let name = by.parse::<Name>();
            rights.is_none() || name.is_ok_and(|name| sees(rights.as_ref(), EntityKind::User, &name))
        };
        let by = code.as_ref().and_then(|code| code.made_by.clone()).filter(is_known);
        let (made, expires) =
            (code.as_ref().and_then(|code| code.made), code.as_ref().map(|code| code.expires));
        listed.push(Listed { account: body.account.clone(), user, state, by, made, expires });
    }
    Ok(listed)
}

/// Sends a code to whom it is for, if somebody has configured mail and said where they get theirs. Whatever comes of that, the invitation
/// is there: it is stored before.
pub async fn deliver(mailer: Option<&Mailer>, handed: &Handed) -> Delivery {
    let (Some(mailer), Some(mail)) = (mailer, &handed.mail) else { return Delivery::Shown };
    let Handed { user, account, code, expires, .. } = handed;
    let text = format!(
        "You are invited to {account}, as {user}.\n\nOn your computer, run this once before {}:\n\npostern login {}\n\n\
         Whoever has this code can be {user}: hand it to nobody. If you did not expect it, delete it.\n",
        clock::show(*expires),
        code.reveal()
    );
    let letter = Letter::new(mail.clone(), format!("Invitation to {account}"), text);
    let sent = match letter {
        Ok(letter) => mailer.send(&letter).await,
        Err(error) => Err(error),
    };
    sent.map_or_else(Delivery::Unsent, |()| Delivery::Mailed(mail.clone()))
}

/// A fresh code for an invitee, with everything that it needs to reach this hub and to know it.
///
/// It pins the newest root, not the first: whoever enrols walks on from there, and need not know what was before.
pub(crate) fn draw(tx: &Tx<'_>, signer: &Signer, invitee: Invitee) -> Result<Invitation, InvitationError> {
    let authority = signer.refresh(tx)?;
    let sealed = tx.newest_root()?;
    Ok(Invitation {
        invitee,
        hubs: hub_addresses(tx)?,
        hub_key: authority.keys.hub.public(),
        root: Root::digest_of(&sealed).map_err(SignerError::from)?,
        secret: chance::bytes(),
    })
}

impl Code {
    /// The code in plain text, for whoever asked for it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

impl Standing {
    /// The word in listings.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Expired => "expired",
            Self::None => "none",
        }
    }
}

fn permit(permitted: Result<(), Ground>, user: &Name) -> Result<(), InvitationError> {
    let forbidden = |ground| Forbidden { kind: EntityKind::User, name: user.clone(), ground };
    permitted.map_err(|ground| Refused::Forbidden(vec![forbidden(ground)]).into())
}

/// Whether a code for somebody in the model may be handed out: to whoever has not accepted, by whoever could give all that they have.
fn acceptable(tx: &Tx<'_>, rights: Option<&Rights<'_>>, user: &Name) -> Result<(), InvitationError> {
    match tx.person(user)?.ok_or_else(|| unknown(EntityKind::User, user))?.state() {
        PersonState::Active => return Err(InvitationError::Accepted(user.clone())),
        PersonState::Disabled => return Err(InvitationError::Disabled(user.clone())),
        PersonState::Invited => {}
    }
    permit(rights.map_or(Ok(()), |rights| rights.could_give_all_of(user)), user)
}

fn check_span(good_for_s: u64) -> Result<(), InvitationError> {
    let (least, most) = (u64::from(GOOD_S.0), u64::from(GOOD_S.1));
    if (least..=most).contains(&good_for_s) { Ok(()) } else { Err(InvitationError::Span) }
}

/// The user, if new in an account, and an assignment for each access.
fn edits(
    model: &Model,
    actor: Actor<'_>,
    ask: &Ask,
    joins: Option<&Name>,
    now: UnixTime,
) -> Result<Vec<Edit>, InvitationError> {
    if let Some(until) = ask.until.filter(|until| *until <= now) {
        return Err(InvitationError::Over(until));
    }
    let new = |kind, name, body| Edit { kind, name, body: Some(body), guard: Guard::Absent };
    let mut edits = Vec::new();
    if let Some(account) = joins {
        let mut body = json!({ "account": account });
        if let Some(body) = body.as_object_mut() {
            body.extend(ask.label.iter().map(|label| ("label".to_owned(), json!(label))));
            body.extend(ask.mail.iter().map(|mail| ("mail".to_owned(), json!(mail))));
        }
        edits.push(new(EntityKind::User, ask.user.clone(), body));
    }
    for access in &ask.access {
        if let Some(key) = ["user", "group"].into_iter().find(|key| access.contains_key(*key)) {
            return Err(InvitationError::Subject(key));
        }
        let mut body = access.clone();
        body.insert("user".to_owned(), json!(ask.user));
        let has_end = body.get("until").is_some_and(|until| !until.is_null());
        if let Some(until) = ask.until.filter(|_| !has_end) {
            body.insert("until".to_owned(), json!(clock::show(until)));
        }
        let name = assignment_name(model, actor, &ask.user, access)?;
        edits.push(new(EntityKind::Assignment, name, Json::Object(body)));
    }
    Ok(edits)
}

/// A name that begins as names of this person's company have to, and that nobody can guess another one from.
fn assignment_name(
    model: &Model,
    actor: Actor<'_>,
    user: &Name,
    access: &Map<String, Json>,
) -> Result<Name, NameFault> {
    let role = access.get("role").and_then(Json::as_str).unwrap_or("role");
    let prefix = match actor {
        Actor::User(caller) => model.users.get(caller).map(|body| format!("{}.", body.account)),
        Actor::Operator(_) => None,
    };
    let prefix = prefix.unwrap_or_default();
    let short = user.as_str().strip_prefix(&prefix).unwrap_or(user.as_str());
    let number = u32::from_be_bytes(chance::bytes());
    let long = format!("{prefix}{short}.{role}-{number:08x}");
    long.parse().or_else(|_| format!("{prefix}{short}-{number:08x}").parse())
}

fn hand_out(
    tx: &Tx<'_>,
    signer: &Signer,
    actor: Actor<'_>,
    (user, good_for_s): (&Name, u64),
    word: &str,
    now: UnixTime,
) -> Result<Handed, InvitationError> {
    let code = draw(tx, signer, Invitee::User)?;
    let digest = Digest::of(&[&code.secret]);
    let expires = now.saturating_add(good_for_s);
    let invited = Invited { invitee: Invitee::User, name: user.clone(), confirm: false };
    let by = actor.who();
    tx.invite(&digest, &invited, expires)?;
    tx.note_inviter(&digest, &by, now)?;
    tx.log(now, &by, &format!("invitation {word} {user} until {}", clock::show(expires)))?;
    let model = tx.model()?;
    let body = model.users.get(user);
    let account = body.map(|body| model.path(&body.account)).unwrap_or_default();
    let mail = body.and_then(|body| body.mail.clone());
    Ok(Handed { user: user.clone(), account, code: Code(Zeroizing::new(code.to_string())), expires, mail })
}

fn hub_addresses(tx: &Tx<'_>) -> Result<Vec<SocketAddr>, InvitationError> {
    let installation = tx.installation()?;
    if !installation.advertise.is_empty() {
        return Ok(installation.advertise.into_iter().take(limits::ADDRESSES).collect());
    }
    let dialable = |address: &SocketAddr| !address.ip().is_unspecified() && address.port() != 0;
    let address = tx.bound()?.filter(dialable).or(Some(installation.listen).filter(dialable));
    Ok(vec![address.ok_or(InvitationError::NoAddress)?])
}

/// For how long an invitation is good where nobody says otherwise.
pub const CODE_S: u64 = 3 * 24 * 3600;
/// For how long one can be good, in seconds.
pub const GOOD_S: (u32, u32) = (60, 30 * 24 * 3600);
