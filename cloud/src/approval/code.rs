//! Approvals by a code from a letter: one person, one request, once.
//!
//! 1. [`hand_out`]: each of those who may decide on a new request, and who has an address, gets a code of their own.
//! 2. [`read`]: what a code would approve, without doing so: who only looks, as a scanner of links does, approves nothing.
//! 3. [`approve`]: just that request, as it was asked for, in the name of whom the code was for, if that person may still do it.
//!
//! A code ends with its request: when somebody decides on it, one way or the other, when it lapses, and with the person. It is stored as
//! a digest. Whatever is wrong with one, the answer is the same. Deliberately absent: a second factor. Whoever reads somebody's mail can
//! use what is in it; `approval-codes = false` in `mail.toml` sends none.

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Digest;
use postern_protocol::wire::approval_code::ApprovalCode;
use postern_protocol::wire::text::Text;

use super::{ApprovalError, Bounds, Decider, approvers, may_decide};
use crate::chance;
use crate::clock;
use crate::mail::{Letter, Mailer, SendError};
use crate::model::{MailAddress, Model};
use crate::publish::{Publication, Publisher};
use crate::store::{ApprovalRequest, ApprovalState, StoreError, Tx};

/// A code for one of those who may decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// Who.
    pub approver: Name,
    /// Where they get mail.
    pub mail: MailAddress,
    /// The code.
    pub code: ApprovalCode,
}

/// Hands out a code to everybody who may decide on a request and has an address, at most [`LETTERS`].
///
/// # Errors
/// A [`StoreError`].
pub fn hand_out(tx: &Tx<'_>, request: &ApprovalRequest, now: UnixTime) -> Result<Vec<Handed>, StoreError> {
    let model = tx.model()?;
    let mut handed = Vec::new();
    for approver in approvers(tx, &model, request, now)? {
        let Some(mail) = model.users.get(&approver).and_then(|body| body.mail.clone()) else { continue };
        if handed.len() >= LETTERS {
            tracing::warn!("more people may decide on a request than are written to");
            break;
        }
        let code = ApprovalCode::new(chance::bytes());
        tx.add_approval_code(&digest(&code), request.id, &approver, request.lapses)?;
        handed.push(Handed { approver, mail, code });
    }
    Ok(handed)
}

/// What a code would approve now, and in whose name.
///
/// # Errors
/// [`ApprovalError::Code`] for one that is worth nothing, whatever the reason.
pub fn read(
    tx: &Tx<'_>,
    code: &ApprovalCode,
    now: UnixTime,
) -> Result<(ApprovalRequest, Name), ApprovalError> {
    let known = tx.approval_code(&digest(code))?.filter(|known| now < known.expires);
    let known = known.ok_or(ApprovalError::Code)?;
    let request = tx.approval(known.approval)?.ok_or(ApprovalError::Code)?;
    let is_open = request.state == ApprovalState::Pending && now < request.lapses;
    if !is_open || !may_decide(tx, &*tx.model()?, &known.approver, &request, now)? {
        return Err(ApprovalError::Code);
    }
    Ok((request, known.approver))
}

/// Approves what a code is for. `by` is who brings it, where that is known: never whoever asked.
///
/// # Errors
/// An [`ApprovalError`]; nothing of the transaction may be committed then.
pub fn approve(
    tx: &Tx<'_>,
    publisher: &Publisher,
    (code, by): (&ApprovalCode, Option<&Name>),
    now: UnixTime,
) -> Result<(ApprovalRequest, Name, Vec<Publication>), ApprovalError> {
    let (request, approver) = read(tx, code, now)?;
    if by == Some(&request.user) {
        return Err(ApprovalError::Code);
    }
    let decider = Decider::Code(&approver);
    // The decision takes every code of the request with it.
    let (request, published) = super::approve(tx, publisher, request.id, decider, Bounds::default(), now)?;
    Ok((request, approver, published))
}

/// The letter that brings a code.
///
/// # Errors
/// A [`SendError`].
pub fn letter(
    model: &Model,
    request: &ApprovalRequest,
    handed: &Handed,
    mailer: &Mailer,
) -> Result<Letter, SendError> {
    let code = handed.code.reveal();
    let told = told(model, request);
    let link = mailer.link().map_or_else(String::new, |base| format!("{base}/approve/{code}\n\nor "));
    let text = format!(
        "{told}\n\nTo let them in, before {}:\n\n{link}on your computer:\n\npostern approve --code {code}\n\n\
         It works once, and for nothing else; whoever has this letter can use it. To say no: postern reject {}\n",
        clock::show(request.lapses),
        request.id,
    );
    let ApprovalRequest { user, device, service, .. } = request;
    Letter::new(handed.mail.clone(), format!("{user} waits to be let in: {device}/{service}"), text)
}

/// What somebody asks for, in two paragraphs; the words of whoever asks are on a line of their own.
#[must_use]
pub fn told(model: &Model, request: &ApprovalRequest) -> String {
    let ApprovalRequest { user, device, account, service, view_only, for_s, why, .. } = request;
    let who = model.users.get(user).map(|body| model.path(&body.account)).unwrap_or_default();
    let mode = if *view_only { "to look only" } else { "with all that is granted" };
    format!(
        "{who}/{user} asks to use {service} of {device} ({}), {mode}, for {}.\n\nWhy, in their words: {}",
        model.path(account),
        clock::span(*for_s),
        Text::clean(why)
    )
}

fn digest(code: &ApprovalCode) -> Digest {
    Digest::of(&[code.as_bytes()])
}

/// People who are written to about one request.
const LETTERS: usize = 32;
