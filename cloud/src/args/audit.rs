//! The command line of the trails of devices.

use std::path::PathBuf;

use clap::Subcommand;
use clap::builder::PossibleValuesParser;

use postern_protocol::time::UnixTime;

use crate::clock;
use crate::store::VERDICTS;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Lists rows of all devices, oldest first: the newest ones that match. That somebody looked is noted.
    List(AuditList),
    /// Writes the whole trail of a device into a file that `audit verify` verifies, or what concerns one account into a file that names
    /// nobody else. That somebody did is noted.
    Export(AuditExport),
    /// Lists who has read of the trail, the newest reading first.
    Readings {
        /// How many readings at most.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Verifies an exported trail by public keys alone, and names the first row that is wrong.
    Verify {
        /// The export.
        file: PathBuf,
        /// The root file that is trusted; roots of the export after it are followed. The first root in `--state` if not given.
        #[arg(long, value_name = "FILE")]
        root: Option<PathBuf>,
    },
}

/// Which rows are listed.
#[derive(Debug, clap::Args)]
pub(crate) struct AuditList {
    /// Only those about this user, by name or id; also one who has left.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only those of this device.
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// Only those about services of this name.
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Only those that come to this: also requests and flows inside of a tunnel are permitted, denied, failed or closed.
    #[arg(long, value_name = "WORD", value_parser = PossibleValuesParser::new(VERDICTS), hide_possible_values = true)]
    pub(crate) verdict: Option<String>,
    /// Only those of this time or later: in RFC 3339, or how long ago, such as `2h`.
    #[arg(long, value_name = "TIME", value_parser = clock::parse_past)]
    pub(crate) from: Option<UnixTime>,
    /// Only those before this time.
    #[arg(long, value_name = "TIME", value_parser = clock::parse_past)]
    pub(crate) until: Option<UnixTime>,
    /// Rows at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
}

/// What is exported, and where to.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("whose").required(true).args(["device", "account"]))]
pub(crate) struct AuditExport {
    /// The device whose whole trail is exported.
    pub(crate) device: Option<String>,
    /// The account for which a report is written: rows of its devices, and of those of accounts nested in it, while they were.
    #[arg(long)]
    pub(crate) account: Option<String>,
    /// Of a report only rows of this time or later: in RFC 3339, or how long ago, such as `720h`.
    #[arg(long, value_name = "TIME", value_parser = clock::parse_past, conflicts_with = "device")]
    pub(crate) from: Option<UnixTime>,
    /// Of a report only rows before this time.
    #[arg(long, value_name = "TIME", value_parser = clock::parse_past, conflicts_with = "device")]
    pub(crate) until: Option<UnixTime>,
    /// The file to write, which nobody else may read.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Replaces the file if it exists.
    #[arg(long)]
    pub(crate) force: bool,
}
