//! Requests for approval and the answers to them: facts beside the model, in which nobody's rights are edited.
//!
//! 1. [`ask`]: somebody whose grant demands an approval asks for one service, with a reason. A second request while the first is
//!    open is the first.
//! 2. [`approve`], [`reject`] and [`revoke`]: whoever may, decides. What is approved is never wider or longer than what was asked
//!    for, and reaches the device in the same transaction.
//! 3. [`may_decide`]: somebody else than who asks, of an operating company that has the device, with the permission to activate
//!    remote access over the machine. The operator of the installation, who signs its policy, may always.
//!
//! Those who may decide can also do so by a [`code`] from a letter, once.
//!
//! Every step is in `history`. Deliberately absent: the end of what was approved. The device holds it by itself.

pub mod code;

use std::collections::BTreeSet;

use postern_protocol::id::ApprovalId;
use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::policy::Origin;
use postern_protocol::time::UnixTime;

use crate::chance;
use crate::clock;
use crate::compile::{Compiler, Roster};
use crate::fleet::Cut;
use crate::model::{Model, Permission, Tenant};
use crate::publish::{Affected, Publication, PublishError, Publisher};
use crate::rights::{Rights, Site};
use crate::store::{ApprovalRequest, ApprovalState, Decision, Given, PersonState, StoreError, Tx};

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The device.
    pub device: Name,
    /// The service, by its name on the device.
    pub service: Name,
    /// Whether no more than looking.
    pub view_only: bool,
    /// For how many seconds from the approval on.
    pub for_s: u32,
    /// Why, for those who decide.
    pub why: String,
}

/// Who decides.
#[derive(Clone, Copy, Debug)]
pub enum Decider<'a> {
    /// A user of the model.
    User(&'a Name),
    /// A user of the model, by a code that was sent to them.
    Code(&'a Name),
    /// The operator of the installation, by the name that the system gives.
    Operator(&'a str),
}

/// What is approved of a request; never more than was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Whether no more than looking.
    pub view_only: bool,
    /// For how many seconds at most; none is as long as was asked for.
    pub for_s: Option<u32>,
}

/// Why a request or a decision is refused.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// Nothing that the user is granted there waits for an approval. Unknown, hidden and ungranted are one answer.
    #[error("nothing that you are granted there waits for an approval")]
    Nothing,
    /// There is nobody who may decide.
    #[error(
        "nobody can approve it: the company that runs the device has nobody else who may activate remote access there"
    )]
    Nobody,
    /// No time, or too much of it.
    #[error("an approval is for a time from {} to {}", clock::span(MIN_S), clock::span(MAX_S))]
    Span,
    /// No reason, or a long one.
    #[error("a reason of 1 to {} bytes is needed for those who decide", limits::TEXT_BYTES)]
    Reason,
    /// Too many requests wait already.
    #[error("too many requests wait already: take one of them back, or wait for an answer")]
    TooMany,
    /// There is no such request among those that one may know of.
    #[error("there is no request `{0}` that you may decide")]
    Unknown(ApprovalId),
    /// A code that is worth nothing; which of the reasons it is, is told to nobody.
    #[error("this code is worth nothing: it was used, is over, or somebody has answered otherwise")]
    Code,
    /// It is decided, or over.
    #[error("request `{id}` is {} already", state.word())]
    Decided {
        /// The request.
        id: ApprovalId,
        /// Where it stands.
        state: ApprovalState,
    },
    /// Nothing could be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The state could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Asks for an approval. Returns the request and whether it is new.
///
/// # Errors
/// An [`ApprovalError`].
pub fn ask(
    tx: &Tx<'_>,
    user: &Name,
    wish: &Wish,
    now: UnixTime,
) -> Result<(ApprovalRequest, bool), ApprovalError> {
    if !(MIN_S..=MAX_S).contains(&wish.for_s) {
        return Err(ApprovalError::Span);
    }
    if wish.why.trim().is_empty() || wish.why.len() > limits::TEXT_BYTES {
        return Err(ApprovalError::Reason);
    }
    tx.lapse_approvals(now)?;
    let model = tx.model()?;
    let origins = demanding(&model, user, &wish.device, &wish.service, now);
    let Some(body) = model.devices.get(&wish.device).filter(|_| !origins.is_empty()) else {
        return Err(ApprovalError::Nothing);
    };
    if let Some(open) = tx.pending_approval(user, &wish.device, &wish.service)? {
        return Ok((open, false));
    }
    let (of_user, of_device) = tx.pending_approvals(user, &wish.device)?;
    if of_user >= OPEN_OF_USER || of_device >= OPEN_OF_DEVICE {
        return Err(ApprovalError::TooMany);
    }
    let request = ApprovalRequest {
        id: ApprovalId::new(chance::bytes()),
        user: user.clone(),
        device: wish.device.clone(),
        account: body.account.clone(),
        service: wish.service.clone(),
        origins,
        view_only: wish.view_only,
        for_s: wish.for_s,
        why: wish.why.clone(),
        asked: now,
        lapses: now.saturating_add(PENDING_S),
        state: ApprovalState::Pending,
        decision: None,
        given: None,
    };
    if approvers(tx, &model, &request, now)?.is_empty() {
        return Err(ApprovalError::Nobody);
    }
    tx.add_approval(&request)?;
    let mode = if wish.view_only { ", to look only," } else { "" };
    let what = format!("for{mode} {}: {}", clock::span(wish.for_s), Cut(&wish.why));
    log(tx, now, user.as_str(), ("ask", &what), &request)?;
    Ok((request, true))
}

/// Approves an open request, and signs the device's next policy. Returns it as it stands then.
///
/// # Errors
/// An [`ApprovalError`]; nothing of the transaction may be committed then.
pub fn approve(
    tx: &Tx<'_>,
    publisher: &Publisher,
    id: ApprovalId,
    decider: Decider<'_>,
    bounds: Bounds,
    now: UnixTime,
) -> Result<(ApprovalRequest, Vec<Publication>), ApprovalError> {
    let request = decidable(tx, id, decider, now)?;
    if request.state != ApprovalState::Pending {
        return Err(ApprovalError::Decided { id, state: request.state });
    }
    let for_s = bounds.for_s.unwrap_or(request.for_s).min(request.for_s);
    if for_s < MIN_S {
        return Err(ApprovalError::Span);
    }
    let view_only = request.view_only || bounds.view_only;
    let given = Given { view_only, until: now.saturating_add(u64::from(for_s)) };
    let mode = if view_only { "to look only, " } else { "" };
    let what = format!("{mode}until {}", clock::show(given.until));
    let by = decider.name();
    let decision = Decision { by: by.clone(), at: now, why: String::new() };
    tx.decide_approval(id, ApprovalState::Approved, &decision, Some(given))?;
    log(tx, now, &by, ("approve", &what), &request)?;
    let published = publisher.publish(tx, Affected::Device(&request.device), now)?;
    let (state, decision, given) = (ApprovalState::Approved, Some(decision), Some(given));
    Ok((ApprovalRequest { state, decision, given, ..request }, published))
}

/// Says no to an open request.
///
/// # Errors
/// An [`ApprovalError`].
pub fn reject(
    tx: &Tx<'_>,
    id: ApprovalId,
    decider: Decider<'_>,
    why: &str,
    now: UnixTime,
) -> Result<ApprovalRequest, ApprovalError> {
    let request = decidable(tx, id, decider, now)?;
    match request.state {
        ApprovalState::Pending => end(tx, request, (ApprovalState::Rejected, "reject"), decider, why, now),
        state @ (ApprovalState::Approved
        | ApprovalState::Rejected
        | ApprovalState::Revoked
        | ApprovalState::Expired) => Err(ApprovalError::Decided { id, state }),
    }
}

/// Takes back what was approved, and signs the device's next policy; live tunnels end with it. Whoever asked may take the request
/// back as well.
///
/// # Errors
/// An [`ApprovalError`]; nothing of the transaction may be committed then.
pub fn revoke(
    tx: &Tx<'_>,
    publisher: &Publisher,
    id: ApprovalId,
    decider: Decider<'_>,
    why: &str,
    now: UnixTime,
) -> Result<(ApprovalRequest, Vec<Publication>), ApprovalError> {
    let own = tx.approval(id)?.filter(|request| decider.is(&request.user));
    let request = match own {
        Some(_) => {
            tx.lapse_approvals(now)?;
            tx.approval(id)?.ok_or(ApprovalError::Unknown(id))?
        }
        None => decidable(tx, id, decider, now)?,
    };
    match request.state {
        ApprovalState::Pending | ApprovalState::Approved => {
            let ended = end(tx, request, (ApprovalState::Revoked, "revoke"), decider, why, now)?;
            let published = publisher.publish(tx, Affected::Device(&ended.device), now)?;
            Ok((ended, published))
        }
        state @ (ApprovalState::Rejected | ApprovalState::Revoked | ApprovalState::Expired) => {
            Err(ApprovalError::Decided { id, state })
        }
    }
}

/// Whether a user may decide on a request now.
///
/// # Errors
/// A [`StoreError`].
pub fn may_decide(
    tx: &Tx<'_>,
    model: &Model,
    user: &Name,
    request: &ApprovalRequest,
    now: UnixTime,
) -> Result<bool, StoreError> {
    let is_active = tx.person(user)?.is_some_and(|person| person.state() == PersonState::Active);
    Ok(is_active && could_decide(model, user, request, now))
}

/// Everybody who may decide on a request now, ascending.
///
/// # Errors
/// A [`StoreError`].
pub fn approvers(
    tx: &Tx<'_>,
    model: &Model,
    request: &ApprovalRequest,
    now: UnixTime,
) -> Result<Vec<Name>, StoreError> {
    let mut found = Vec::new();
    for user in model.users.keys() {
        // Most people are of other companies: those cost one look.
        if is_of_company(model, user, request) && may_decide(tx, model, user, request, now)? {
            found.push(user.clone());
        }
    }
    Ok(found)
}

/// The operating company nearest to the device, whose people decide; none where the device is in nobody's operation.
#[must_use]
pub fn company<'a>(model: &'a Model, device: &Name) -> Option<&'a Name> {
    let owner = &model.devices.get(device)?.account;
    model.ancestry(owner).find(|account| operates(model, account))
}

fn operates(model: &Model, account: &Name) -> bool {
    model.accounts.get(account).is_some_and(|account| account.tenant == Tenant::OperatingCompany)
}

/// Whether somebody else than who asks is of an operating company that has the device of a request.
pub(crate) fn is_of_company(model: &Model, user: &Name, request: &ApprovalRequest) -> bool {
    let owner = model.devices.get(&request.device).map(|device| &device.account);
    let account = model.users.get(user).map(|user| &user.account);
    // What was asked of the people of one company is nothing for those of the next.
    owner.filter(|owner| **owner == request.account).zip(account).is_some_and(|(owner, account)| {
        *user != request.user && operates(model, account) && model.is_within(owner, account)
    })
}

fn could_decide(model: &Model, user: &Name, request: &ApprovalRequest, now: UnixTime) -> bool {
    if !is_of_company(model, user, request) {
        return false;
    }
    let roster = Roster::default();
    let compiler = Compiler::among(model, &roster, [&request.device]);
    let endpoints = compiler.endpoints(&request.device);
    // A service that is gone is nobody's to open.
    let Some(endpoint) = endpoints.iter().find(|endpoint| endpoint.name == request.service) else {
        return false;
    };
    let site = endpoint.machine.map_or(Site::Device(&request.device), Site::Machine);
    Rights::of(model, user, now).is_some_and(|rights| rights.over(Permission::ActivateRemoteAccess, site))
}

/// What demands an approval of what a user is granted of a service, has not ended, and is not denied for good.
fn demanding(model: &Model, user: &Name, device: &Name, service: &Name, now: UnixTime) -> BTreeSet<Origin> {
    let roster = Roster::default();
    let (rows, bans) = Compiler::among(model, &roster, [device]).rows_and_bans_of(user, device);
    let waiting = rows.into_iter().filter(|row| row.needs_approval && row.services.contains(service));
    let lasting =
        waiting.filter(|row| row.open(service, &bans).iter().any(|(window, _)| window.lasts_at(now)));
    lasting.map(|row| row.origin).collect()
}

/// A request that somebody may decide, as it stands now. That there is another one is told to nobody else.
fn decidable(
    tx: &Tx<'_>,
    id: ApprovalId,
    decider: Decider<'_>,
    now: UnixTime,
) -> Result<ApprovalRequest, ApprovalError> {
    let known = tx.approval(id)?.ok_or(ApprovalError::Unknown(id))?;
    if let Decider::User(user) | Decider::Code(user) = decider
        && !may_decide(tx, &*tx.model()?, user, &known, now)?
    {
        return Err(ApprovalError::Unknown(id));
    }
    tx.lapse_approvals(now)?;
    tx.approval(id)?.ok_or(ApprovalError::Unknown(id))
}

fn end(
    tx: &Tx<'_>,
    request: ApprovalRequest,
    (state, word): (ApprovalState, &str),
    decider: Decider<'_>,
    why: &str,
    now: UnixTime,
) -> Result<ApprovalRequest, ApprovalError> {
    let by = decider.name();
    let decision = Decision { by: by.clone(), at: now, why: why.to_owned() };
    tx.decide_approval(request.id, state, &decision, request.given)?;
    log(tx, now, &by, (word, &Cut(why).to_string()), &request)?;
    Ok(ApprovalRequest { state, decision: Some(decision), ..request })
}

fn log(
    tx: &Tx<'_>,
    now: UnixTime,
    who: &str,
    (word, what): (&str, &str),
    request: &ApprovalRequest,
) -> Result<(), StoreError> {
    let ApprovalRequest { id, user, device, service, .. } = request;
    let about = format!("approval {word} {id} of {user} for {device}/{service}");
    let what = if what.is_empty() { about } else { format!("{about} {what}") };
    tx.log(now, who, &what).map(drop)
}

impl Decider<'_> {
    /// Who it is, in `history` and listings.
    fn name(self) -> String {
        match self {
            Self::User(user) => user.to_string(),
            Self::Code(user) => format!("{user} (by a code)"),
            Self::Operator(name) => format!("{name} (operator)"),
        }
    }

    fn is(self, user: &Name) -> bool {
        match self {
            Self::User(decider) => decider == user,
            Self::Code(_) | Self::Operator(_) => false,
        }
    }
}

/// How long a request waits for an answer.
pub const PENDING_S: u64 = 24 * 3600;
/// The least and the most that is approved at once, in seconds.
pub const MIN_S: u32 = 1;
/// As above: a week.
pub const MAX_S: u32 = 7 * 24 * 3600;
/// Open requests of one user, and about one device.
const OPEN_OF_USER: u32 = 16;
/// As above.
const OPEN_OF_DEVICE: u32 = 64;
