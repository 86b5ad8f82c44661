//! What can be asked: who one is, what one may see, and edits of it.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

use postern_protocol::name::Name;

use super::Api;
use super::bearer::Bearer;
use super::problem::{Problem, Unmade, Unseen};
use super::shapes::{Batch, Entity, Kind, Me, Page, Receipt};
use crate::administration::{self, Edit, Guard, Version};

/// The token's user, and the permissions that they hold somewhere.
#[utoipa::path(get, path = "/v1/me", responses(
    (status = 200, body = Me), Unseen,
))]
pub(super) async fn me(State(api): State<Api>, bearer: Bearer) -> Result<Json<Me>, Problem> {
    let me = api.read(bearer, |tx, user, now| Ok(administration::me(tx, user, now)?)).await?;
    let administration::Me { user, account, permissions } = me;
    Ok(Json(Me { user, account, permissions: permissions.into_iter().collect() }))
}

/// Entities of one kind, as far as the token's user may see them.
#[utoipa::path(get, path = "/v1/{kind}", params(("kind" = Kind, Path), Window), responses(
    (status = 200, body = Page), Unseen,
))]
pub(super) async fn list(
    State(api): State<Api>,
    bearer: Bearer,
    Read(Path(kind)): Read<Path<Kind>>,
    Read(Query(window)): Read<Query<Window>>,
) -> Result<Json<Page>, Problem> {
    let limit = usize::from(window.limit.unwrap_or(PAGE));
    if !(1..=usize::from(PAGE)).contains(&limit) {
        let why = format!("found `limit` {limit}, expected 1 to {PAGE}");
        return Err(Problem::unreadable(StatusCode::BAD_REQUEST, why));
    }
    let page = api.read(bearer, move |tx, user, now| {
        let (seen, next) = administration::list(tx, user, kind.0, window.after.as_ref(), limit, now)?;
        Ok(Page { items: seen.into_iter().map(Entity::from).collect(), next })
    });
    page.await.map(Json)
}

/// One entity.
#[utoipa::path(get, path = "/v1/{kind}/{name}", params(("kind" = Kind, Path), ("name" = String, Path)), responses(
    (status = 200, body = Entity, headers(("ETag" = String, description = "its version"))), Unseen,
))]
pub(super) async fn show(
    State(api): State<Api>,
    bearer: Bearer,
    Read(Path((kind, name))): Read<Path<(Kind, Name)>>,
) -> Result<Response, Problem> {
    let seen = api.read(bearer, move |tx, user, now| Ok(administration::show(tx, user, kind.0, &name, now)?));
    let seen = seen.await?;
    let tag = HeaderValue::from_str(&format!("\"{}\"", seen.version.0)).map_err(|_| Problem::FAILED)?;
    Ok(([(header::ETAG, tag)], Json(Entity::from(seen))).into_response())
}

/// Makes or replaces one entity. `If-Match` with its `ETag` refuses when somebody has changed it since; `If-None-Match: *` when
/// it is there.
#[utoipa::path(put, path = "/v1/{kind}/{name}",
    params(("kind" = Kind, Path), ("name" = String, Path), Conditions),
    request_body(content = Object, description = "its keys, in the notation of fleet files"),
    responses(
        (status = 200, body = Receipt), Unseen, Unmade,
))]
pub(super) async fn put(
    State(api): State<Api>,
    bearer: Bearer,
    Read(Path((kind, name))): Read<Path<(Kind, Name)>>,
    headers: HeaderMap,
    Read(Json(body)): Read<Json<Map<String, Value>>>,
) -> Result<Json<Receipt>, Problem> {
    let guard = guard(&headers)?;
    edit(&api, bearer, vec![Edit { kind: kind.0, name, body: Some(Value::Object(body)), guard }]).await
}

/// Takes one entity away, and nothing that names it.
#[utoipa::path(delete, path = "/v1/{kind}/{name}",
    params(("kind" = Kind, Path), ("name" = String, Path), Conditions),
    responses(
        (status = 200, body = Receipt), Unseen, Unmade,
))]
pub(super) async fn remove(
    State(api): State<Api>,
    bearer: Bearer,
    Read(Path((kind, name))): Read<Path<(Kind, Name)>>,
    headers: HeaderMap,
) -> Result<Json<Receipt>, Problem> {
    let guard = guard(&headers)?;
    edit(&api, bearer, vec![Edit { kind: kind.0, name, body: None, guard }]).await
}

/// Makes all of some edits, or none; every one that is refused is named.
#[utoipa::path(post, path = "/v1/edits", request_body = Batch, responses(
    (status = 200, body = Receipt), Unseen, Unmade,
))]
pub(super) async fn batch(
    State(api): State<Api>,
    bearer: Bearer,
    Read(Json(batch)): Read<Json<Batch>>,
) -> Result<Json<Receipt>, Problem> {
    let edits = batch.edits();
    edit(
        &api,
        bearer,
        edits.map_err(|fault| Problem::unreadable(StatusCode::UNPROCESSABLE_ENTITY, fault.to_string()))?,
    )
    .await
}

async fn edit(api: &Api, bearer: Bearer, edits: Vec<Edit>) -> Result<Json<Receipt>, Problem> {
    let done = api.write(bearer, move |tx, publisher, user, now| {
        Ok(administration::edit(tx, publisher, user, &edits, now)?)
    });
    done.await.map(|done| Json(Receipt::from(done)))
}

/// Which version the conditions of a request mean (RFC 9110, section 13.1).
fn guard(headers: &HeaderMap) -> Result<Guard, Problem> {
    let text =
        |name| headers.get(name).map(|value| value.to_str().map_err(|_| Problem::BAD_VERSION)).transpose();
    let version = |tag: &str| {
        let number = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        number.and_then(|number| number.parse().ok()).map(Version).ok_or(Problem::NO_VERSION)
    };
    match (text(header::IF_MATCH)?.map(version).transpose()?, text(header::IF_NONE_MATCH)?) {
        (None, None) => Ok(Guard::Any),
        (None, Some("*")) => Ok(Guard::Absent),
        (Some(version), None) => Ok(Guard::Is(version)),
        (Some(_), Some("*")) => Err(Problem::NEVER),
        (None | Some(_), Some(_)) => Err(Problem::BAD_VERSION),
    }
}

/// Which part of a list is wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Window {
    /// Only names after this one.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[a-z0-9][a-z0-9._-]*$")]
    after: Option<Name>,
    /// How many at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u16>,
}

/// On which version of an entity a request insists (RFC 9110, section 13.1).
#[expect(dead_code, reason = "describes the headers that `guard` reads")]
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Conditions {
    /// The `ETag` of an earlier answer: only where the entity is still that version.
    #[param(rename = "If-Match", required = false, nullable = false)]
    if_match: Option<String>,
    /// `*`: only where nothing of this name is there.
    #[param(rename = "If-None-Match", required = false, schema_with = star)]
    if_none_match: Option<String>,
}

fn star() -> Schema {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["*"])).into()
}

/// A part of a request, whose faults are problems like all others.
pub(super) struct Read<T>(pub(super) T);

impl<S: Send + Sync, T: FromRequestParts<S>> FromRequestParts<S> for Read<T>
where
    Problem: From<T::Rejection>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(T::from_request_parts(parts, state).await?))
    }
}

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequest<S> for Read<Json<T>> {
    type Rejection = Problem;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Problem> {
        Ok(Self(Json::from_request(request, state).await?))
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::unreadable(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::unreadable(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    /// A word that is no kind, and a name that nobody can have, lead nowhere.
    fn from(_rejection: PathRejection) -> Self {
        Self::NO_PAGE
    }
}

/// Entities on a page.
const PAGE: u16 = 500;
