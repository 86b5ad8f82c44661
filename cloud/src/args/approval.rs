//! The command line of approvals.

use clap::Subcommand;
use jiff::SignedDuration;

use postern_protocol::id::ApprovalId;

use crate::clock;

#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalCommand {
    /// Lists requests that wait and what is approved, the open ones first.
    List {
        /// Also what was rejected or revoked, or is over.
        #[arg(long)]
        all: bool,
        /// How many at most.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Approves a request, no further and no longer than it asks.
    Approve {
        /// The request, such as `apr-0123456789abcdef`.
        id: ApprovalId,
        /// To look only.
        #[arg(long)]
        view_only: bool,
        /// For how long, such as `2h`; as long as was asked for if not given.
        #[arg(long = "for", value_name = "TIME", value_parser = clock::parse_span)]
        for_: Option<SignedDuration>,
    },
    /// Says no to a request.
    Reject {
        /// The request.
        id: ApprovalId,
        /// Why, for who asked.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Takes back what was approved. Live tunnels are cut at once.
    Revoke {
        /// The request.
        id: ApprovalId,
        /// Why, for who asked.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}
