//! Invitations: asking somebody to join, again, and not any more.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use postern_protocol::name::{Label, Name};
use postern_protocol::time::UnixTime;

use super::Api;
use super::bearer::Bearer;
use super::entities::Read;
use super::problem::{Problem, Unmade, Unseen};
use super::shapes::Receipt;
use crate::actor::Actor;
use crate::clock;
use crate::invitation::{self, Ask, CODE_S, Delivery, Handed, Listed, Standing};
use crate::model::MailAddress;

/// Who has not accepted an invitation yet, as far as the token's user may know of them.
#[utoipa::path(get, path = "/v1/invitations", responses((status = 200, body = Invitations), Unseen))]
pub(super) async fn invitations(
    State(api): State<Api>,
    bearer: Bearer,
) -> Result<Json<Invitations>, Problem> {
    let listed = api.read(bearer, |tx, user, now| {
        let items = invitation::list(tx, Actor::User(user), now)?;
        Ok(Invitations { items: items.into_iter().map(Outstanding::from).collect() })
    });
    listed.await.map(Json)
}

/// Invites somebody: makes the user, where there is none, gives what they shall have, and hands out a code, in one step.
#[utoipa::path(post, path = "/v1/invitations", request_body = Invite, responses(
    (status = 200, body = Invited), Unseen, Unmade,
))]
pub(super) async fn invite(
    State(api): State<Api>,
    bearer: Bearer,
    Read(Json(asked)): Read<Json<Invite>>,
) -> Result<Json<Invited>, Problem> {
    let ask = asked.read().map_err(|fault| Problem::unprocessable(fault.to_string()))?;
    let invited = api.write(bearer, move |tx, publisher, user, now| {
        Ok(invitation::invite(tx, publisher, Actor::User(user), &ask, now)?)
    });
    let (handed, done) = invited.await?;
    Ok(Json(Invited { handed: deliver(&api, handed).await, receipt: done.into() }))
}

/// Hands out a new code to somebody who has not accepted; the one before is worth nothing from then on.
#[utoipa::path(post, path = "/v1/invitations/{user}/resend",
    params(("user" = String, Path, min_length = 1, max_length = 64, pattern = "^[a-z0-9][a-z0-9._-]*$"), Lasting),
    responses((status = 200, body = Code), Unseen, Unmade,
))]
pub(super) async fn resend(
    State(api): State<Api>,
    bearer: Bearer,
    Read(Path(name)): Read<Path<Name>>,
    Read(Query(lasting)): Read<Query<Lasting>>,
) -> Result<Json<Code>, Problem> {
    let of = (name, lasting.good_for_s.unwrap_or(CODE_S));
    let handed = api.write(bearer, move |tx, publisher, user, now| {
        Ok(invitation::resend(tx, publisher, Actor::User(user), (&of.0, of.1), now)?)
    });
    Ok(Json(deliver(&api, handed.await?).await))
}

/// Takes the code of somebody back. The user stays, and cannot sign in.
#[utoipa::path(delete, path = "/v1/invitations/{user}",
    params(("user" = String, Path, min_length = 1, max_length = 64, pattern = "^[a-z0-9][a-z0-9._-]*$")),
    responses((status = 200, body = Revoked), Unseen, Unmade,
))]
pub(super) async fn revoke(
    State(api): State<Api>,
    bearer: Bearer,
    Read(Path(name)): Read<Path<Name>>,
) -> Result<Json<Revoked>, Problem> {
    let revoked = api.write(bearer, move |tx, _publisher, user, now| {
        invitation::revoke(tx, Actor::User(user), &name, now)?;
        Ok(Revoked { user: name })
    });
    revoked.await.map(Json)
}

/// Sends a code where that can be done, and shows it otherwise.
async fn deliver(api: &Api, handed: Handed) -> Code {
    let mailer = api.post.as_ref().map(|post| post.mailer().as_ref());
    let (code, mailed, unsent) = match invitation::deliver(mailer, &handed).await {
        Delivery::Shown => (true, None, None),
        Delivery::Mailed(address) => (false, Some(address.to_string()), None),
        Delivery::Unsent(error) => (true, None, Some(error.to_string())),
    };
    let code = code.then(|| handed.code.reveal().to_owned());
    Code {
        user: handed.user,
        account: handed.account,
        code,
        expires: clock::show(handed.expires),
        mailed,
        unsent,
    }
}

/// For how long another code is good.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Lasting {
    /// In seconds; three days if not said.
    #[param(minimum = 60, maximum = 2_592_000)]
    good_for_s: Option<u64>,
}

/// Whom to invite.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Invite {
    /// The user's name; a new one begins with that of the token's account and a dot.
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[a-z0-9][a-z0-9._-]*$")]
    user: Name,
    /// The account to join; the token's own if none.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[a-z0-9][a-z0-9._-]*$")]
    account: Option<Name>,
    /// Where the user gets mail, such as the code.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    mail: Option<MailAddress>,
    /// What people call the user.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    label: Option<Label>,
    /// What the user may: assignments without their subject.
    #[serde(default)]
    #[schema(max_items = 16)]
    access: Vec<Access>,
    /// When that access ends, where it says no end of its own.
    #[serde(default)]
    #[schema(format = DateTime)]
    until: Option<String>,
    /// For how many seconds the code is good; three days if not said.
    #[serde(default)]
    #[schema(minimum = 60, maximum = 2_592_000)]
    good_for_s: Option<u64>,
}

/// An assignment without its subject, in the notation of fleet files. The document describes it as the reader reads it.
#[derive(Debug, Deserialize)]
pub(super) struct Access(Map<String, Value>);

/// Everybody who has not accepted yet.
#[derive(Serialize, ToSchema)]
pub(super) struct Invitations {
    /// Ascending by user.
    items: Vec<Outstanding>,
}

/// Somebody who has not accepted yet.
#[derive(Serialize, ToSchema)]
pub(super) struct Outstanding {
    /// The user.
    #[schema(value_type = String)]
    user: Name,
    /// The account.
    #[schema(value_type = String)]
    account: Name,
    /// `open`, `expired`, or `none` where there is no code.
    #[schema(value_type = String)]
    state: Standing,
    /// Who handed the code out, if that is somebody whom one may know of.
    by: Option<String>,
    /// When.
    made: Option<String>,
    /// When the code ends, or has ended.
    expires: Option<String>,
}

/// A code that was handed out. It is shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct Code {
    /// For whom.
    #[schema(value_type = String)]
    user: Name,
    /// The path of the account.
    account: String,
    /// What the user gives to `postern login`; none where it left by mail.
    code: Option<String>,
    /// When it ends.
    expires: String,
    /// The address to which it left.
    mailed: Option<String>,
    /// Why it did not leave by mail, where it should have.
    unsent: Option<String>,
}

/// Somebody who was invited, and what was done to the model for that.
#[derive(Serialize, ToSchema)]
pub(super) struct Invited {
    #[serde(flatten)]
    handed: Code,
    #[serde(flatten)]
    receipt: Receipt,
}

/// Somebody whose code was taken back.
#[derive(Serialize, ToSchema)]
pub(super) struct Revoked {
    /// The user.
    #[schema(value_type = String)]
    user: Name,
}

/// An invitation that cannot be meant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InviteFault {
    /// More than somebody gets at once.
    #[error("found {0} accesses, expected at most {ACCESSES}")]
    Accesses(usize),
    /// When the access ends.
    #[error("`until`: {0}")]
    Until(clock::TimeFault),
}

impl Invite {
    /// What it asks for.
    ///
    /// # Errors
    /// An [`InviteFault`].
    pub(crate) fn read(self) -> Result<Ask, InviteFault> {
        if self.access.len() > ACCESSES {
            return Err(InviteFault::Accesses(self.access.len()));
        }
        let until = self.until.as_deref().map(clock::parse).transpose().map_err(InviteFault::Until)?;
        let access = self.access.into_iter().map(|Access(body)| body).collect();
        let good_for_s = self.good_for_s.unwrap_or(CODE_S);
        let Self { user, account, mail, label, .. } = self;
        Ok(Ask { user, account, mail, label, access, until, good_for_s })
    }
}

impl From<Listed> for Outstanding {
    fn from(listed: Listed) -> Self {
        let Listed { user, account, state, by, made, expires } = listed;
        let show = |time: Option<UnixTime>| time.map(clock::show);
        Self { user, account, state, by, made: show(made), expires: show(expires) }
    }
}

impl PartialSchema for Access {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().into()
    }
}

impl ToSchema for Access {}

/// What somebody gets with one invitation.
const ACCESSES: usize = 16;
