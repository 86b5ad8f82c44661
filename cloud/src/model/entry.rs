//! Individual entries: what one user is allowed or denied beside what roles give. A deny beats every allow.

use serde::{Deserialize, Serialize};

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use super::assignment::Scope;

/// An allow or deny for one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Who.
    pub user: Name,
    /// Whether it allows or denies.
    pub effect: Effect,
    /// What.
    pub selection: Selection,
    /// Where. Only a deny may do without: it then holds wherever the user could reach.
    pub scope: Option<Scope>,
    /// The first second in which it holds.
    pub from: Option<UnixTime>,
    /// The first second in which it holds no more.
    pub until: Option<UnixTime>,
    /// Demands a second factor not older than this many seconds; allows only.
    pub second_factor_s: Option<u32>,
}

/// What an entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Allows beside what roles allow.
    Allow,
    /// Denies whatever anything else allows.
    Deny,
}

impl Effect {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Allow, Self::Deny];

    /// The word in fleet files and messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// All that an access category selects.
    Category(Name),
    /// Services of this name, as their device or machine calls them.
    Service(Name),
}
