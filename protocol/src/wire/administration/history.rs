//! What a hub tells of the history of the access model: who changed which entity when, as it was and as it is.

use serde::{Deserialize, Serialize};

use crate::name::Name;
use crate::time::UnixTime;

/// A place in the history, newest first. It names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryMark {
    /// The revision.
    pub revision: u64,
    /// How many changes of it lie before this place.
    pub seen: u32,
}

/// One change of one entity, as far as the caller may know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeEntry {
    /// The revision.
    pub revision: u64,
    /// When.
    pub at: UnixTime,
    /// Who made it.
    pub by: ChangeAuthor,
    /// The kind.
    pub kind: Name,
    /// The name.
    pub name: Name,
    /// What became of it.
    pub fate: ChangeFate,
    /// Its keys before as JSON; none where it is new, or where both are more than a page has room for.
    pub before: Option<String>,
    /// Its keys after; none where it is gone, or where both are more than a page has room for.
    pub after: Option<String>,
}

/// Who made a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeAuthor {
    /// A user.
    User(Name),
    /// Whoever runs the installation.
    Operator,
    /// Somebody of whom the caller may not know.
    Hidden,
}

/// What became of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeFate {
    /// It is new.
    Added,
    /// It is different.
    Changed,
    /// It is gone.
    Removed,
}
