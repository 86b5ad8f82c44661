//! Rules of an HTTP service: which requests reach the machine, and as whom.

mod methods;
mod pattern;

use serde::{Deserialize, Serialize};

use super::super::form::{FormFault, ascending, count};
use super::{Upstream, impossible, is_plain};
use crate::limits;
use crate::name::Name;
use crate::wire::text::Text;

pub use self::methods::{Method, Methods, NoMethod};
pub use self::pattern::{Pattern, PatternFault};

/// Rules of an HTTP service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HttpRules {
    /// How the gate speaks to the machine.
    pub upstream: Upstream,
    /// Where a browser begins: a path in visible ASCII, with or without query and fragment, that begins with one `/`.
    pub start: Text,
    /// What reaches the machine, ascending; empty allows nothing. At most [`limits::ALLOWS`].
    pub allow: Vec<Allow>,
    /// What logs the gate in at the machine, if it asks.
    pub credential: Option<Credential>,
    /// Whether the machine is told who asks.
    pub identity: bool,
    /// How much of a path is recorded.
    pub log: PathLog,
}

/// Requests that reach the machine: those of one path, some methods and some query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Allow {
    /// Where.
    pub path: Pattern,
    /// How.
    pub methods: Methods,
    /// The only keys that may stand in the query, ascending; an empty list is a request without query, none is any.
    /// At most [`limits::QUERY_KEYS`].
    pub query: Option<Vec<Text>>,
}

/// What logs the gate in at the machine, so that no person needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Credential {
    /// How.
    pub scheme: Scheme,
    /// As whom: printable ASCII that needs no escape in a header.
    pub user: Text,
    /// The name of the secret that holds the password.
    pub secret: Name,
}

/// How HTTP authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// RFC 7617.
    Basic,
    /// RFC 7616.
    Digest,
}

/// How much of a path is recorded in the audit. Queries are never recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathLog {
    /// All of it.
    Full,
    /// Its first segment.
    Prefix,
    /// Nothing.
    None,
}

impl HttpRules {
    /// The whole of a plain service: every path, method and query.
    #[must_use]
    pub fn whole() -> Self {
        let everything = Allow { path: Pattern::everything(), methods: Methods::ALL, query: None };
        Self {
            upstream: Upstream::PLAIN,
            start: Text::clean("/"),
            allow: vec![everything],
            credential: None,
            identity: false,
            log: PathLog::Full,
        }
    }

    pub(super) fn check_form(&self) -> Result<(), FormFault> {
        self.upstream.check_form()?;
        let start = self.start.as_str();
        // To a browser `//host` and `/\host` are another server.
        let is_path =
            start.starts_with('/') && !start.starts_with("//") && is_plain(start, &['\\', '"', '<', '>']);
        if !is_path {
            return Err(impossible("start"));
        }
        count("allow", self.allow.len(), limits::ALLOWS)?;
        ascending("allow", &self.allow, |a, b| a < b)?;
        self.allow.iter().try_for_each(Allow::check_form)?;
        self.credential.as_ref().map_or(Ok(()), Credential::check_form)
    }
}

impl Allow {
    /// The requests that both let through; none where there are none.
    #[must_use]
    pub fn and(&self, other: &Self) -> Option<Self> {
        let query = match (&self.query, &other.query) {
            (None, query) | (query, None) => query.clone(),
            (Some(these), Some(others)) => {
                Some(these.iter().filter(|key| others.contains(key)).cloned().collect())
            }
        };
        Some(Self { path: self.path.and(&other.path)?, methods: self.methods.and(other.methods)?, query })
    }

    fn check_form(&self) -> Result<(), FormFault> {
        let Some(keys) = &self.query else { return Ok(()) };
        count("query", keys.len(), limits::QUERY_KEYS)?;
        ascending("query", keys, |a, b| a < b)?;
        // As they stand in a URL: what would need an escape there could be written in two ways.
        let in_form =
            |key: &Text| !key.as_str().is_empty() && is_plain(key.as_str(), &['&', '=', ';', '#', '%', '+']);
        if keys.iter().all(in_form) { Ok(()) } else { Err(impossible("query")) }
    }
}

impl Credential {
    pub(super) fn check_form(&self) -> Result<(), FormFault> {
        // A colon ends the user in Basic, a quote in Digest.
        let user = self.user.as_str();
        let plain =
            user.chars().all(|c| (c.is_ascii_graphic() || c == ' ') && !matches!(c, ':' | '"' | '\\'));
        if plain && !user.is_empty() { Ok(()) } else { Err(impossible("user")) }
    }
}
