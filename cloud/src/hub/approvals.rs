//! Approvals over the hub: who waits asks and is told at once, and who may decides.
//!
//! 1. The user is whoever has the key of the connection. Who decides also presents the pass of the sign-in.
//! 2. Asking is bounded for each key, besides the bounds of what may be open.
//! 3. A decision is stored and signed before it is answered, and devices that are linked have it then.
//! 4. Those who may decide get a code by mail where that is configured, and whoever brings it approves that one request.
//! 5. Who waits asks where the request stands and is answered when that changes, or after a while.
//!
//! Deliberately absent: names of those who could decide. People of other companies are nobody's to list.

use std::sync::Arc;
use std::time::Duration;

use postern_protocol::id::ApprovalId;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::PublicKey;
use postern_protocol::wire::approval::{ApprovalEntry, ApprovalStanding, ApprovalVerdict, ApprovalWish};
use postern_protocol::wire::approval_code::ApprovalCode;
use postern_protocol::wire::hub::{HubAnswer, Refusal};
use postern_protocol::wire::text::Text;

use super::{ARRIVAL, Failed, Hub, blocking};
use crate::approval::{self, ApprovalError, Bounds, Decider, Wish, code};
use crate::buckets::Size;
use crate::mail::Letter;
use crate::model::Model;
use crate::publish::Publication;
use crate::store::{ApprovalRequest, ApprovalState, Tx};

/// Who decides what, with which key and sign-in.
pub(super) struct Decided {
    pub(super) key: PublicKey,
    pub(super) pass: Vec<u8>,
    pub(super) id: ApprovalId,
    pub(super) verdict: ApprovalVerdict,
}

impl Hub {
    pub(super) fn ask_approval(
        &self,
        key: &PublicKey,
        wish: ApprovalWish,
        now: UnixTime,
    ) -> Result<HubAnswer, Failed> {
        // Looked at first: strangers shall not queue for the one place in which the state can be written.
        let user = self.store.read(|tx| user(tx, key))?;
        if !self.wishes.admit(key, EACH) {
            return Err(Refusal::TooMany.into());
        }
        let (entry, letters) = self.store.write(|tx| {
            let ApprovalWish { device, service, view_only, for_s, why } = wish;
            let model = tx.model()?;
            let device = tx.device_of_id(device)?.ok_or(Refusal::NoApproval)?.name;
            let wish = Wish { device, service, view_only, for_s, why: why.to_string() };
            let (request, is_new) = approval::ask(tx, &user, &wish, now)?;
            let letters = if is_new { self.letters(tx, &model, &request, now)? } else { Vec::new() };
            Ok::<_, Failed>((entry(tx, &model, &user, &request, now)?, letters))
        })?;
        // Only now, that it is stored; who asks does not wait for it.
        if let Some(post) = self.post.get() {
            letters.into_iter().for_each(|letter| post.dispatch(letter));
        }
        Ok(HubAnswer::Approvals(vec![entry]))
    }

    /// Letters to those who may decide on a request, each with a code.
    fn letters(
        &self,
        tx: &Tx<'_>,
        model: &Model,
        request: &ApprovalRequest,
        now: UnixTime,
    ) -> Result<Vec<Letter>, Failed> {
        let post = self.post.get().filter(|post| post.mailer().sends_approval_codes());
        let Some(post) = post else { return Ok(Vec::new()) };
        let mut letters = Vec::new();
        for handed in code::hand_out(tx, request, now)? {
            match code::letter(model, request, &handed, post.mailer()) {
                Ok(letter) => letters.push(letter),
                Err(error) => tracing::warn!(%error, "a letter was not written"),
            }
        }
        Ok(letters)
    }

    /// Approves what a code is for. Whoever has the code may, but who asked.
    pub(super) async fn approve_by_code(
        self: &Arc<Self>,
        key: PublicKey,
        code: ApprovalCode,
        now: UnixTime,
    ) -> Result<HubAnswer, Failed> {
        let hub = Arc::clone(self);
        let (entry, published) = blocking(move || hub.store_by_code(&key, &code, now)).await?;
        if !published.is_empty() {
            self.news.publish();
        }
        self.links.settle(&published, ARRIVAL).await;
        self.decisions.publish();
        Ok(HubAnswer::Approvals(vec![entry]))
    }

    fn store_by_code(
        &self,
        key: &PublicKey,
        code: &ApprovalCode,
        now: UnixTime,
    ) -> Result<(ApprovalEntry, Vec<Publication>), Failed> {
        // Looked at first: strangers shall not queue for the one place in which the state can be written.
        self.store.read(|tx| Ok::<_, Failed>(code::read(tx, code, now).map(drop)?))?;
        if !self.wishes.admit(key, EACH) {
            return Err(Refusal::TooMany.into());
        }
        self.store.write(|tx| {
            let by = tx.person_of_key(key)?.map(|person| person.name);
            let (request, approver, published) =
                code::approve(tx, &self.publisher, (code, by.as_ref()), now)?;
            Ok((entry(tx, &*tx.model()?, &approver, &request, now)?, published))
        })
    }

    /// Own requests and those that one may decide, the open ones first.
    pub(super) fn list_approvals(&self, key: &PublicKey, now: UnixTime) -> Result<HubAnswer, Failed> {
        self.store.read(|tx| {
            let user = user(tx, key)?;
            let model = tx.model()?;
            let mut entries = Vec::new();
            for request in tx.approvals(LOOKED_AT)? {
                // Others are not looked at any further.
                if request.user != user && !approval::is_of_company(&model, &user, &request) {
                    continue;
                }
                let entry = entry(tx, &model, &user, &request, now)?;
                let is_live = matches!(
                    entry.standing,
                    ApprovalStanding::Pending { .. } | ApprovalStanding::Approved { .. }
                );
                if entry.own || (entry.may_decide && is_live) {
                    entries.push(entry);
                }
                if entries.len() >= LISTED {
                    break;
                }
            }
            Ok(HubAnswer::Approvals(entries))
        })
    }

    /// Answers when an own request is not pending any more, or after a while.
    pub(super) async fn await_approval(
        self: &Arc<Self>,
        key: PublicKey,
        id: ApprovalId,
    ) -> Result<HubAnswer, Failed> {
        let (mut news, mut decisions) = (self.news.listen(), self.decisions.listen());
        let mut patience = std::pin::pin!(tokio::time::sleep(AWAITED));
        loop {
            let (hub, now) = (Arc::clone(self), (self.clock)());
            let entry = blocking(move || hub.own_request(&key, id, now)).await?;
            let is_pending = matches!(entry.standing, ApprovalStanding::Pending { .. });
            let answer = HubAnswer::Approvals(vec![entry]);
            if !is_pending {
                return Ok(answer);
            }
            tokio::select! {
                _ = news.changed() => {}
                _ = decisions.changed() => {}
                () = &mut patience => return Ok(answer),
            }
        }
    }

    fn own_request(&self, key: &PublicKey, id: ApprovalId, now: UnixTime) -> Result<ApprovalEntry, Failed> {
        self.store.read(|tx| {
            let user = user(tx, key)?;
            let request = tx.approval(id)?.filter(|request| request.user == user);
            let request = request.ok_or(Refusal::NoRequest)?;
            entry(tx, &*tx.model()?, &user, &request, now)
        })
    }

    /// Holds the answer back until the devices that are linked have what was decided.
    pub(super) async fn decide_approval(
        self: &Arc<Self>,
        decided: Decided,
        now: UnixTime,
    ) -> Result<HubAnswer, Failed> {
        let hub = Arc::clone(self);
        let (entry, published) = blocking(move || hub.store_decision(&decided, now)).await?;
        if !published.is_empty() {
            self.news.publish();
        }
        self.links.settle(&published, ARRIVAL).await;
        self.decisions.publish();
        Ok(HubAnswer::Approvals(vec![entry]))
    }

    fn store_decision(
        &self,
        decided: &Decided,
        now: UnixTime,
    ) -> Result<(ApprovalEntry, Vec<Publication>), Failed> {
        let Decided { key, pass, id, verdict } = decided;
        let known = |tx: &Tx<'_>| Ok::<_, Failed>(self.login.decider(tx, (key, pass), now)??);
        self.store.read(known)?;
        if !self.wishes.admit(key, EACH) {
            return Err(Refusal::TooMany.into());
        }
        self.store.write(|tx| {
            // Again: the user may have been disabled since the first look.
            let user = known(tx)?.name;
            let (by, publisher) = (Decider::User(&user), &self.publisher);
            let (request, published) = match verdict {
                ApprovalVerdict::Approve { view_only, for_s } => {
                    let bounds = Bounds { view_only: *view_only, for_s: *for_s };
                    approval::approve(tx, publisher, *id, by, bounds, now)?
                }
                ApprovalVerdict::Reject { why } => {
                    (approval::reject(tx, *id, by, why.as_str(), now)?, Vec::new())
                }
                ApprovalVerdict::Revoke { why } => {
                    approval::revoke(tx, publisher, *id, by, why.as_str(), now)?
                }
            };
            Ok((entry(tx, &*tx.model()?, &user, &request, now)?, published))
        })
    }
}

impl From<ApprovalError> for Failed {
    fn from(error: ApprovalError) -> Self {
        match error {
            ApprovalError::Nothing => Refusal::NoApproval.into(),
            ApprovalError::Nobody => Refusal::NoApprover.into(),
            ApprovalError::Span | ApprovalError::Reason => Refusal::Wish.into(),
            ApprovalError::TooMany => Refusal::TooManyRequests.into(),
            ApprovalError::Unknown(_) | ApprovalError::Code => Refusal::NoRequest.into(),
            ApprovalError::Decided { .. } => Refusal::Decided.into(),
            ApprovalError::Publish(error) => error.into(),
            ApprovalError::Store(error) => error.into(),
        }
    }
}

fn user(tx: &Tx<'_>, key: &PublicKey) -> Result<Name, Failed> {
    let person = tx.person_of_key(key)?.filter(|person| !person.disabled);
    Ok(person.ok_or(Refusal::UnknownKey)?.name)
}

fn entry(
    tx: &Tx<'_>,
    model: &Model,
    user: &Name,
    request: &ApprovalRequest,
    now: UnixTime,
) -> Result<ApprovalEntry, Failed> {
    let path = |account: &Name| Text::clean(&model.path(account));
    let who = model.users.get(&request.user).map(|body| model.path(&body.account)).unwrap_or_default();
    let given = request.given;
    let why = || Text::clean(request.decision.as_ref().map_or("", |decision| decision.why.as_str()));
    let standing = match (request.state, given) {
        (ApprovalState::Pending, _) if now < request.lapses => {
            ApprovalStanding::Pending { lapses: request.lapses }
        }
        (ApprovalState::Approved, Some(given)) if now < given.until => {
            ApprovalStanding::Approved { view_only: given.view_only, until: given.until }
        }
        (ApprovalState::Rejected, _) => ApprovalStanding::Rejected { why: why() },
        (ApprovalState::Revoked, _) => ApprovalStanding::Revoked { why: why() },
        (ApprovalState::Pending | ApprovalState::Approved | ApprovalState::Expired, _) => {
            ApprovalStanding::Expired
        }
    };
    Ok(ApprovalEntry {
        id: request.id,
        own: request.user == *user,
        may_decide: approval::may_decide(tx, model, user, request, now)?,
        who: Text::clean(&format!("{who}/{}", request.user)),
        device: request.device.clone(),
        account: path(&request.account),
        service: request.service.clone(),
        company: approval::company(model, &request.device).map_or_else(|| Text::clean(""), path),
        view_only: request.view_only,
        for_s: request.for_s,
        why: Text::clean(&request.why),
        asked: request.asked,
        standing,
    })
}

/// Requests and decisions of one user.
const EACH: Size = Size { attempts: 30, period: Duration::from_secs(60) };
/// For how long an answer is held back that says the same as the one before.
const AWAITED: Duration = Duration::from_secs(10);
/// Requests of one listing.
const LISTED: usize = 150;
/// Requests that are looked at for it.
const LOOKED_AT: u32 = 10_000;
