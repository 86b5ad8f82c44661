//! What goes over the wire of the API, and how the document describes it.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use postern_protocol::name::Name;

use crate::administration::{Done, Edit, Guard, Seen, Version};
use crate::model::{EntityKind, Permission};

/// A kind of entity, as fleet files spell it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Kind(pub(crate) EntityKind);

/// A word that is no kind of entity.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no kind of entity")]
pub(crate) struct KindFault(String);

impl TryFrom<String> for Kind {
    type Error = KindFault;

    fn try_from(word: String) -> Result<Self, KindFault> {
        EntityKind::from_word(&word).map(Self).ok_or(KindFault(word))
    }
}

impl PartialSchema for Kind {
    fn schema() -> RefOr<Schema> {
        let words = EntityKind::ALL.iter().map(|kind| kind.word());
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
    }
}

impl ToSchema for Kind {}

/// The token's user.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    /// The name.
    #[schema(value_type = String)]
    pub(super) user: Name,
    /// The account.
    #[schema(value_type = String)]
    pub(super) account: Name,
    /// The permissions that are held somewhere; over what, their assignments say.
    #[schema(value_type = Vec<String>)]
    pub(super) permissions: Vec<Permission>,
}

/// One entity.
#[derive(Serialize, ToSchema)]
pub(super) struct Entity {
    /// The name.
    #[schema(value_type = String)]
    name: Name,
    /// The version, for `If-Match` and edits.
    version: i64,
    /// Its keys, in the notation of fleet files.
    #[schema(value_type = Object)]
    body: Json,
}

impl From<Seen> for Entity {
    fn from(seen: Seen) -> Self {
        Self { name: seen.name, version: seen.version.0, body: seen.body }
    }
}

/// Some entities of one kind.
#[derive(Serialize, ToSchema)]
pub(super) struct Page {
    /// Ascending by name.
    pub(super) items: Vec<Entity>,
    /// What to give as `after` to get the next ones; none where these are the last.
    #[schema(value_type = Option<String>)]
    pub(super) next: Option<Name>,
}

/// Edits that are made as a whole or not at all.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    /// One for each entity.
    #[schema(min_items = 1, max_items = 1000)]
    pub(super) edits: Vec<BatchEdit>,
}

/// A batch of nothing, or of too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {0} edits, expected 1 to {EDITS}")]
pub(crate) struct BatchFault(usize);

impl Batch {
    /// What it asks for.
    ///
    /// # Errors
    /// A [`BatchFault`].
    pub(crate) fn edits(self) -> Result<Vec<Edit>, BatchFault> {
        if self.edits.is_empty() || self.edits.len() > EDITS {
            return Err(BatchFault(self.edits.len()));
        }
        let edits = self.edits.into_iter().map(|BatchEdit { kind, name, body, version }| {
            let guard = match version {
                None => Guard::Any,
                Some(0) => Guard::Absent,
                Some(version) => Guard::Is(Version(version)),
            };
            Edit { kind: kind.0, name, body, guard }
        });
        Ok(edits.collect())
    }
}

/// What one entity is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchEdit {
    /// The kind.
    pub(super) kind: Kind,
    /// The name.
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[a-z0-9][a-z0-9._-]*$")]
    pub(super) name: Name,
    /// Its keys; null takes it away.
    #[schema(value_type = Option<Object>)]
    pub(super) body: Option<Json>,
    /// The version that it is made from; null for any, 0 where nothing must be there.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub(super) version: Option<i64>,
}

/// What was done.
#[derive(Serialize, ToSchema)]
pub(super) struct Receipt {
    /// The revision that it is; null where nothing was different.
    revision: Option<i64>,
    /// Devices for which new policy was signed.
    #[schema(value_type = Vec<String>)]
    devices: Vec<Name>,
    /// Users who became the tenant administrator of an account, because they are its first.
    #[schema(value_type = Vec<String>)]
    founders: Vec<Name>,
}

impl From<Done> for Receipt {
    fn from(done: Done) -> Self {
        let devices = done.published.into_iter().map(|publication| publication.device).collect();
        Self { revision: done.revision, devices, founders: done.founders }
    }
}

/// Edits of a batch.
const EDITS: usize = 1000;
