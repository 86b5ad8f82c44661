//! The command line of invitations.

use clap::Subcommand;
use jiff::SignedDuration;

use postern_protocol::name::{Label, Name};
use postern_protocol::time::UnixTime;

use crate::clock;
use crate::model::MailAddress;

#[derive(Debug, clap::Args)]
pub(crate) struct InvitationArgs {
    /// Acts in the name of this user and by the user's rights.
    #[arg(long, global = true, value_name = "USER")]
    pub(crate) by: Option<Name>,
    #[command(subcommand)]
    pub(crate) command: InvitationCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InvitationCommand {
    /// Invites somebody: makes the user, where there is none, gives the access, and prints a code, in one step.
    New(InvitationNew),
    /// Lists who has not accepted yet.
    List,
    /// Prints a new code for somebody who has not accepted; the one before is worth nothing from then on.
    Resend {
        /// The user's name.
        user: Name,
        /// For how long it is good.
        #[arg(long, value_name = "SPAN", value_parser = clock::parse_span, default_value = "72h")]
        good_for: SignedDuration,
        /// Prints the code also where it could leave by mail.
        #[arg(long)]
        print: bool,
    },
    /// Takes a code back. The user stays in the model, and cannot sign in.
    Revoke {
        /// The user's name.
        user: Name,
    },
}

/// Whom to invite.
#[derive(Debug, clap::Args)]
pub(crate) struct InvitationNew {
    /// The user's name. What somebody else than the operator makes begins with the name of their account and a dot.
    pub(crate) user: Name,
    /// The account to join; that of `--by` if not given.
    #[arg(long)]
    pub(crate) account: Option<Name>,
    /// Where the user gets mail. The code leaves there, if mail is configured.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mail: Option<MailAddress>,
    /// Prints the code also where it could leave by mail.
    #[arg(long)]
    pub(crate) print: bool,
    /// What people call the user.
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<Label>,
    /// The role that the user gets; none if not given.
    #[arg(long, requires = "scope")]
    pub(crate) role: Option<Name>,
    /// Where: `KIND=NAME`, such as `device=press-7` or `account=acme`, or a table as in a fleet file.
    #[arg(long, requires = "role")]
    pub(crate) scope: Option<String>,
    /// An access category that a built-in role opens there; repeat it for each.
    #[arg(long, requires = "role")]
    pub(crate) category: Vec<Name>,
    /// When the access ends, such as `2027-01-31T08:00:00Z`; never if not given.
    #[arg(long, value_name = "TIME", value_parser = clock::parse, requires = "role")]
    pub(crate) until: Option<UnixTime>,
    /// For how long the code is good.
    #[arg(long, value_name = "SPAN", value_parser = clock::parse_span, default_value = "72h")]
    pub(crate) good_for: SignedDuration,
}
