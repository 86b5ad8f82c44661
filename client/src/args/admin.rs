//! The command line of administration.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Subcommand;
use serde_json::Value as Json;

use postern_protocol::name::{Label, Name};
use postern_protocol::time::UnixTime;
use postern_protocol::wire::administration::HistoryMark;

use super::Lasting;
use super::case::parse_time;
use crate::admin::json;

/// Arguments of `admin`.
#[derive(Debug, clap::Args)]
pub(crate) struct AdminArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: AdminCommand,
}

/// What `admin` does.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Shows who you are, and which permissions you hold somewhere
    Me,
    /// Lists what there is of a kind, as far as you may see it
    List {
        /// The kind, such as device, user, user-group, assignment, case
        kind: Name,
        /// Only names after this one
        #[arg(long, value_name = "NAME")]
        after: Option<Name>,
        /// So many at most [default: all]
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
    },
    /// Shows one, as a fleet file has it
    Show(Entity),
    /// Makes a new one
    Create {
        #[command(flatten)]
        entity: Entity,
        /// Its keys, as a fleet file has them (TOML) or as JSON; `-` is standard input
        file: PathBuf,
    },
    /// Replaces one that is there by what the file says
    Replace {
        #[command(flatten)]
        entity: Entity,
        /// Its keys, as a fleet file has them (TOML) or as JSON; `-` is standard input
        file: PathBuf,
        /// Only where it is this version still, as `show` says it
        #[arg(long, value_name = "N")]
        if_version: Option<u64>,
    },
    /// Changes single keys of one that is there: those in the file; null (JSON) takes a key away
    Edit {
        #[command(flatten)]
        entity: Entity,
        /// The keys to change, as TOML or JSON; `-` is standard input
        file: PathBuf,
        /// Only where it is this version still, as `show` says it
        #[arg(long, value_name = "N")]
        if_version: Option<u64>,
    },
    /// Takes one away, and nothing that names it
    Remove {
        #[command(flatten)]
        entity: Entity,
        /// Only where it is this version still, as `show` says it
        #[arg(long, value_name = "N")]
        if_version: Option<u64>,
    },
    /// Makes all edits of a file, or none; every one that is refused is named
    Batch {
        /// The edits: JSON `{"edits": [{"kind", "name", "body", "version"}, ..]}` or TOML `[[edits]]`; `-` is standard input
        file: PathBuf,
    },
    /// Lists who changed what when, newest first, as it was and as it is, as far as you may know of it
    History(AdminHistory),
    /// Lists who has not accepted an invitation yet
    Invitations,
    /// Invites somebody: makes the user, where there is none, gives the access, and hands out a code, in one step
    Invite(AdminInvite),
    /// Hands out another code to somebody who has not accepted; the one before is worth nothing from then on
    ResendInvite {
        /// The user's name
        user: Name,
        /// For how long it is good, such as 2h or 7d [default: 3d]
        #[arg(long, value_name = "TIME")]
        good_for: Option<Lasting>,
    },
    /// Takes a code back. The user stays in the model, and cannot sign in
    RevokeInvite {
        /// The user's name
        user: Name,
    },
}

/// Which changes to list.
#[derive(Debug, clap::Args)]
pub(crate) struct AdminHistory {
    /// Only of this kind, such as device, user, user-group, assignment, case
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<Name>,
    /// Only of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<Name>,
    /// Only older ones than this place, as an earlier listing has said it
    #[arg(long, value_name = "PLACE")]
    pub(crate) after: Option<HistoryPlace>,
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}

/// A place in the history as people carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistoryPlace(pub(crate) HistoryMark);

/// A text that is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a place as a listing says it, such as 17-3")]
pub(crate) struct HistoryPlaceFault;

impl FromStr for HistoryPlace {
    type Err = HistoryPlaceFault;

    fn from_str(text: &str) -> Result<Self, HistoryPlaceFault> {
        let (revision, seen) = text.split_once('-').ok_or(HistoryPlaceFault)?;
        let revision = revision.parse().map_err(|_| HistoryPlaceFault)?;
        let seen = seen.parse().map_err(|_| HistoryPlaceFault)?;
        Ok(Self(HistoryMark { revision, seen }))
    }
}

impl fmt::Display for HistoryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(HistoryMark { revision, seen }) = self;
        write!(f, "{revision}-{seen}")
    }
}

/// Whom to invite.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("access").multiple(true).args(["role", "file"]))]
pub(crate) struct AdminInvite {
    /// The user's name, which begins with that of your company's account and a dot
    pub(crate) user: Name,
    /// All of it, or more accesses than one, as `POST /v1/invitations` takes it (JSON, or TOML); `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The account to join [default: your own]
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<Name>,
    /// Where the user gets mail; the code leaves there, if the hub sends mail
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mail: Option<String>,
    /// What people call the user
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<Label>,
    /// The role that the user gets [default: none]
    #[arg(long, value_name = "NAME", requires = "scope")]
    pub(crate) role: Option<Name>,
    /// Where: `KIND=NAME`, such as device=press-7 or account=acme, or a table as in a fleet file
    #[arg(long, value_name = "SCOPE", requires = "role")]
    pub(crate) scope: Option<ScopeText>,
    /// An access category that a built-in role opens there; repeat it for each
    #[arg(long, value_name = "NAME", requires = "role")]
    pub(crate) category: Vec<Name>,
    /// When the access ends, such as 2027-01-31T08:00:00Z [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "access")]
    pub(crate) until: Option<UnixTime>,
    /// For how long the code is good, such as 2h or 7d [default: 3d]
    #[arg(long, value_name = "TIME")]
    pub(crate) good_for: Option<Lasting>,
}

/// A scope as the hub takes it. Which kinds there are is the hub's to say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScopeText(pub(crate) Json);

/// A text that says no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScopeFault {
    /// Neither of the two forms.
    #[error(
        "expected a kind and a name, such as `device=press-7`, or a table, such as `{{ account = \"acme\", nested = true }}`"
    )]
    Form,
    /// A table that cannot be read.
    #[error("this is no table: {0}")]
    Table(String),
}

impl FromStr for ScopeText {
    type Err = ScopeFault;

    fn from_str(text: &str) -> Result<Self, ScopeFault> {
        if text.trim_start().starts_with('{') {
            let mut table: toml::Table = format!("scope = {text}")
                .parse()
                .map_err(|error: toml::de::Error| ScopeFault::Table(error.message().to_owned()))?;
            return table.remove("scope").map(|scope| Self(json(scope))).ok_or(ScopeFault::Form);
        }
        let (kind, name) = text.split_once('=').ok_or(ScopeFault::Form)?;
        Ok(Self(serde_json::json!({ kind.trim(): name.trim() })))
    }
}

/// One thing of the model.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Entity {
    /// The kind, such as device, user, user-group, assignment, case
    pub(crate) kind: Name,
    /// The name; what you make begins with the name of your company's account and a dot
    pub(crate) name: Name,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_scope_is_a_kind_and_a_name_or_a_table_and_nothing_else() {
        let read = |text: &str| text.parse().map(|ScopeText(scope)| scope);
        assert_eq!(read("device=press-7"), Ok(json!({ "device": "press-7" })));
        let nested = json!({ "account": "acme", "nested": true });
        assert_eq!(read("{ account = \"acme\", nested = true }"), Ok(nested));
        assert_eq!(read("press-7"), Err(ScopeFault::Form));
        assert!(matches!(read("{ account = }"), Err(ScopeFault::Table(_))));
    }

    #[test]
    fn a_place_in_the_history_is_read_as_it_is_said() {
        let place: HistoryPlace = "17-3".parse().unwrap();
        assert_eq!(
            (place, place.to_string()),
            (HistoryPlace(HistoryMark { revision: 17, seen: 3 }), "17-3".to_owned())
        );
        for wrong in ["", "17", "17-", "-3", "17-x"] {
            assert_eq!(wrong.parse::<HistoryPlace>(), Err(HistoryPlaceFault), "{wrong}");
        }
    }
}
