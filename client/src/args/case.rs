//! The command line of service cases.

use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;

use postern_protocol::name::{Label, Name};
use postern_protocol::time::UnixTime;
use postern_protocol::wire::case::{CaseEnd, CaseWindow};

use super::Lasting;

/// Arguments of `case`.
#[derive(Debug, clap::Args)]
pub(crate) struct CaseArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: CaseCommand,
}

/// What `case` does.
#[derive(Debug, Subcommand)]
pub(crate) enum CaseCommand {
    /// Lists the cases that you may know of, and whether remote access is active
    List,
    /// Shows one case
    Show {
        /// The case's name
        name: Name,
    },
    /// Opens a case. With `--for` or `--until` remote access is activated in the same step
    Open(CaseOpen),
    /// Activates remote access for a time, or changes for how long. The device ends it by itself
    Activate {
        /// The case's name
        name: Name,
        #[command(flatten)]
        span: CaseSpan,
    },
    /// Ends remote access at once and leaves the case open. Live tunnels that rest on it are cut
    Deactivate {
        /// The case's name
        name: Name,
    },
    /// Closes a case. Live tunnels that rest on it are cut
    Close {
        /// The case's name
        name: Name,
    },
}

/// What a new case is.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("about").required(true).args(["machine", "device"]))]
pub(crate) struct CaseOpen {
    /// Who takes part in it: only a shared case lets the service provider in
    #[arg(value_enum)]
    pub(crate) visibility: Openness,
    /// The machine that it is about: its own services and nothing beside it
    #[arg(long, value_name = "NAME")]
    pub(crate) machine: Option<Name>,
    /// The device that it is about, with everything behind it
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<Name>,
    /// What it is about, for those who list it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<Label>,
    /// Its name, which begins with that of your company's account and a dot; made up if not given
    #[arg(long)]
    pub(crate) name: Option<Name>,
    #[command(flatten)]
    pub(crate) span: CaseSpan,
}

/// When remote access is active.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct CaseSpan {
    /// The beginning, such as 2027-01-31T08:00:00Z; at once if not given
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) from: Option<UnixTime>,
    /// The end
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) until: Option<UnixTime>,
    /// How long it lasts, such as 30m or 4h
    #[arg(long = "for", value_name = "TIME", conflicts_with = "until")]
    pub(crate) for_: Option<Lasting>,
}

/// Who takes part in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Openness {
    /// The operating company and its service provider
    Shared,
    /// The operating company alone; it lets nobody in
    Internal,
}

impl CaseSpan {
    /// The window; none where no end is given.
    pub(crate) fn window(self) -> Option<CaseWindow> {
        let end = self.until.map(CaseEnd::At).or(self.for_.map(|Lasting(secs)| CaseEnd::After(secs)))?;
        Some(CaseWindow { from: self.from, end })
    }
}

/// Reads a time in RFC 3339.
///
/// # Errors
/// What is none.
pub(super) fn parse_time(text: &str) -> Result<UnixTime, TimeFault> {
    let time: Timestamp = text.parse().map_err(|_| TimeFault)?;
    u64::try_from(time.as_second()).map(UnixTime::from_secs).map_err(|_| TimeFault)
}

/// A text that says no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time with its offset, such as 2027-01-31T08:00:00Z (RFC 3339)")]
pub(crate) struct TimeFault;
