//! The history of the model: who changed which entity when.

use std::fmt;
use std::str::FromStr;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use postern_protocol::limits;
use postern_protocol::name::Name;

use super::Api;
use super::bearer::Bearer;
use super::entities::Read;
use super::problem::{Problem, Unallowed, Unseen};
use super::shapes::Kind;
use crate::administration::{self, Author, HistoryPage, HistoryQuery, ToldChange};
use crate::clock;
use crate::store::ChangeMark;

/// Who changed which entity when, with what it was and what it is, as far as the token's user may know of it: newest first. It takes
/// `audit.read` over the account; what was another company's at the time is left out. A page may have no item although there are more.
#[utoipa::path(get, path = "/v1/history", params(Wanted), responses(
    (status = 200, body = History), Unseen, Unallowed,
))]
pub(super) async fn history(
    State(api): State<Api>,
    bearer: Bearer,
    Read(Query(wanted)): Read<Query<Wanted>>,
) -> Result<Json<History>, Problem> {
    let query = wanted.read()?;
    let page = api.read(bearer, move |tx, user, now| Ok(administration::history(tx, user, &query, now)?));
    let HistoryPage { changes, more } = page.await?;
    let items = changes.into_iter().map(Change::from).collect();
    Ok(Json(History { items, next: more.map(|mark| Mark(mark).to_string()) }))
}

/// Which part of the history is wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only entities of this kind.
    #[param(inline)]
    kind: Option<Kind>,
    /// Only entities of this name.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[a-z0-9][a-z0-9._-]*$")]
    name: Option<Name>,
    /// Only what lies behind this place: the `next` of an earlier answer to the same question.
    #[param(pattern = "^[0-9]+-[0-9]+$")]
    after: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u16>,
}

/// Some changes.
#[derive(Serialize, ToSchema)]
pub(super) struct History {
    /// Newest first.
    items: Vec<Change>,
    /// What to give as `after` to get the next ones; none where everything was looked at.
    next: Option<String>,
}

/// One change of one entity.
#[derive(Serialize, ToSchema)]
pub(super) struct Change {
    /// The revision.
    revision: i64,
    /// When.
    at: String,
    /// The user who made it; none for the operator, and for somebody of whom one may not know.
    #[schema(value_type = Option<String>)]
    by: Option<Name>,
    /// Whether whoever runs the installation made it.
    by_operator: bool,
    /// The kind.
    #[schema(value_type = String)]
    kind: &'static str,
    /// The name.
    #[schema(value_type = String)]
    name: Name,
    /// Its keys before, in the notation of fleet files; null where it is new.
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// Its keys after; null where it is gone.
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
}

impl Wanted {
    fn read(self) -> Result<HistoryQuery, Problem> {
        let bad = |why: String| Problem::unreadable(StatusCode::BAD_REQUEST, why);
        let limit = self.limit.map_or(limits::CHANGES, usize::from);
        if !(1..=limits::CHANGES).contains(&limit) {
            return Err(bad(format!("found `limit` {limit}, expected 1 to {}", limits::CHANGES)));
        }
        let after = self.after.as_deref().map(str::parse::<Mark>).transpose();
        let after = after.map_err(|fault| bad(fault.to_string()))?.map(|Mark(mark)| mark);
        Ok(HistoryQuery { kind: self.kind.map(|kind| kind.0), name: self.name, after, limit })
    }
}

impl From<ToldChange> for Change {
    fn from(change: ToldChange) -> Self {
        let ToldChange { revision, at, by, kind, name, before, after, mark: _ } = change;
        let (by, by_operator) = match by {
            Author::User(user) => (Some(user), false),
            Author::Operator => (None, true),
            Author::Hidden => (None, false),
        };
        Self { revision, at: clock::show(at), by, by_operator, kind: kind.word(), name, before, after }
    }
}

/// A place in the history as programs carry it.
struct Mark(ChangeMark);

/// A text that is no place.
#[derive(Debug, thiserror::Error)]
#[error("`after` takes the `next` of an earlier answer")]
struct MarkFault;

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(ChangeMark { revision, seen }) = self;
        write!(f, "{revision}-{seen}")
    }
}

impl FromStr for Mark {
    type Err = MarkFault;

    fn from_str(text: &str) -> Result<Self, MarkFault> {
        let (revision, seen) = text.split_once('-').ok_or(MarkFault)?;
        let (revision, seen) =
            (revision.parse().map_err(|_| MarkFault)?, seen.parse().map_err(|_| MarkFault)?);
        Ok(Self(ChangeMark { revision, seen }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written_and_nothing_else_is_one() {
        let mark = ChangeMark { revision: 17, seen: 3 };
        assert_eq!(Mark(mark).to_string(), "17-3");
        assert!("17-3".parse::<Mark>().is_ok_and(|Mark(read)| read == mark));
        for wrong in ["", "17", "17-", "-3", "17-x", "17-3-1", "99999999999999999999-1"] {
            assert!(wrong.parse::<Mark>().is_err(), "{wrong}");
        }
    }
}
