//! The command line of service cases.

use clap::{Subcommand, ValueEnum};
use jiff::SignedDuration;

use postern_protocol::name::{Label, Name};
use postern_protocol::time::UnixTime;

use crate::clock;
use crate::model::Visibility;

#[derive(Debug, clap::Args)]
pub(crate) struct CaseArgs {
    /// Acts in the name of this user and by the user's rights, such as somebody of the operating company on the telephone.
    #[arg(long, global = true, value_name = "USER")]
    pub(crate) by: Option<Name>,
    #[command(subcommand)]
    pub(crate) command: CaseCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaseCommand {
    /// Lists cases, and whether remote access is active.
    List,
    /// Shows one case.
    Show {
        /// The case's name.
        name: String,
    },
    /// Opens a case. With `--for` or `--until` remote access is activated in the same step.
    Open(CaseOpen),
    /// Closes a case. Live tunnels that rest on it are cut at once.
    Close {
        /// The case's name.
        name: String,
    },
    /// Activates remote access for a time, or changes for how long. The device ends it by itself.
    Activate {
        /// The case's name.
        name: String,
        #[command(flatten)]
        span: CaseSpan,
    },
    /// Ends remote access at once and leaves the case open. Live tunnels that rest on it are cut.
    Deactivate {
        /// The case's name.
        name: String,
    },
}

/// What a new case is.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("about").required(true).args(["machine", "device"]))]
pub(crate) struct CaseOpen {
    /// Who takes part in it: only a shared case lets the service provider in.
    #[arg(value_enum)]
    pub(crate) visibility: Openness,
    /// The machine that it is about: its own services and nothing beside it.
    #[arg(long)]
    pub(crate) machine: Option<Name>,
    /// The device that it is about, with everything behind it.
    #[arg(long)]
    pub(crate) device: Option<Name>,
    /// What it is about, for those who list it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<Label>,
    /// Its name, which begins with that of the account; made up if not given.
    #[arg(long)]
    pub(crate) name: Option<Name>,
    #[command(flatten)]
    pub(crate) span: CaseSpan,
}

/// When remote access is active.
#[derive(Debug, clap::Args)]
pub(crate) struct CaseSpan {
    /// The beginning, such as `2027-01-31T08:00:00Z`; at once if not given.
    #[arg(long, value_name = "TIME", value_parser = clock::parse)]
    pub(crate) from: Option<UnixTime>,
    /// The end.
    #[arg(long, value_name = "TIME", value_parser = clock::parse)]
    pub(crate) until: Option<UnixTime>,
    /// How long it lasts, such as `4h`.
    #[arg(long = "for", value_name = "SPAN", value_parser = clock::parse_span, conflicts_with = "until")]
    pub(crate) for_: Option<SignedDuration>,
}

/// Who takes part in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Openness {
    /// The operating company and its service provider.
    Shared,
    /// The operating company alone; it lets nobody in.
    Internal,
}

impl From<Openness> for Visibility {
    fn from(openness: Openness) -> Self {
        match openness {
            Openness::Shared => Self::Shared,
            Openness::Internal => Self::Internal,
        }
    }
}
