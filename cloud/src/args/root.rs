//! The command line of roots: ceremonies on files, and what goes into them.

use std::path::PathBuf;

use clap::Subcommand;

use postern_protocol::time::UnixTime;

use crate::clock;
use crate::keys::{Purpose, PurposeFault};

#[derive(Debug, Subcommand)]
pub(crate) enum RootCommand {
    /// Makes root keys and the first root, signed by them, on a machine that never sees the hub.
    Init(RootInit),
    /// Draws up the next root, without signatures, and says what changes.
    Rotate(RootRotate),
    /// Adds the signature of one holder to a root file, after saying what it means.
    Sign {
        /// The root file.
        file: PathBuf,
        /// The holder's key file.
        #[arg(long)]
        key: PathBuf,
    },
    /// Shows a root file: what it says, who has signed, and how many more must.
    Show {
        /// The root file.
        file: PathBuf,
    },
    /// Puts a signed root in force on the hub's machine, and signs policies anew where it makes them worthless.
    Publish {
        /// The root file.
        file: PathBuf,
        /// A new online key that the root names, such as `policy=policy.key`; may be repeated.
        #[arg(long = "key", value_name = "ROLE=FILE")]
        keys: Vec<Of>,
    },
    /// Key files.
    #[command(subcommand)]
    Key(RootKeyCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RootKeyCommand {
    /// Makes a key in a new file that nobody else may read, and prints its public half.
    New {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct RootInit {
    /// The root file to write.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// How many root keys are made, each for a holder and a medium of its own.
    #[arg(long, default_value_t = 3)]
    pub(crate) keys: u8,
    /// How many of them must sign the next root.
    #[arg(long, default_value_t = 2)]
    pub(crate) threshold: u8,
    /// Where the key files are written.
    #[arg(long, default_value = ".")]
    pub(crate) key_dir: PathBuf,
    /// The public half of a key, or a file with it, that signs policy.
    #[arg(long, value_name = "PUB")]
    pub(crate) policy: Vec<String>,
    /// One that signs passes.
    #[arg(long, value_name = "PUB")]
    pub(crate) identity: Vec<String>,
    /// One that signs timestamps.
    #[arg(long, value_name = "PUB")]
    pub(crate) timestamp: Vec<String>,
    /// One that signs locks.
    #[arg(long, value_name = "PUB")]
    pub(crate) lock: Vec<String>,
    /// One that signs acknowledgements of audit rows.
    #[arg(long, value_name = "PUB")]
    pub(crate) audit_ack: Vec<String>,
    /// One that proves the hub.
    #[arg(long, value_name = "PUB")]
    pub(crate) hub: Vec<String>,
    #[command(flatten)]
    pub(crate) lifetime: Lifetime,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RootRotate {
    /// The root file that it follows; the newest root in `--state` if not given.
    #[arg(long)]
    pub(crate) from: Option<PathBuf>,
    /// The root file to write.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// A key that begins to count: `policy=PUB`, where PUB is its public half or a file with it.
    #[arg(long, value_name = "ROLE=PUB")]
    pub(crate) add_key: Vec<Of>,
    /// A key that counts no more.
    #[arg(long, value_name = "ROLE=PUB")]
    pub(crate) remove_key: Vec<Of>,
    /// How many keys of a role must sign.
    #[arg(long, value_name = "ROLE=N")]
    pub(crate) threshold: Vec<Of>,
    /// Makes every policy worthless that was signed before, whatever its version: after the theft of a policy key.
    #[arg(long)]
    pub(crate) raise_epoch: bool,
    /// A hub key that begins to be recognised.
    #[arg(long, value_name = "PUB")]
    pub(crate) add_hub: Vec<String>,
    /// A hub key that is recognised no more.
    #[arg(long, value_name = "PUB")]
    pub(crate) remove_hub: Vec<String>,
    #[command(flatten)]
    pub(crate) lifetime: Lifetime,
}

/// When a root expires.
#[derive(Debug, clap::Args)]
pub(crate) struct Lifetime {
    /// When it expires, in RFC 3339.
    #[arg(long, value_parser = clock::parse, conflicts_with = "lifetime")]
    pub(crate) expires: Option<UnixTime>,
    /// For how long it holds from now on.
    #[arg(long, value_parser = clock::parse_lifetime, default_value = "5y")]
    pub(crate) lifetime: jiff::Span,
}

/// Something for a role, as `ROLE=VALUE`.
#[derive(Clone, Debug)]
pub(crate) struct Of {
    /// For what.
    pub(crate) purpose: Purpose,
    /// What.
    pub(crate) value: String,
}

impl std::str::FromStr for Of {
    type Err = OfFault;

    fn from_str(text: &str) -> Result<Self, OfFault> {
        let (role, value) = text.split_once('=').ok_or(OfFault::Form)?;
        Ok(Self { purpose: role.parse()?, value: value.to_owned() })
    }
}

/// Why a text is not for a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OfFault {
    /// No equals sign.
    #[error("expected a role and a value, such as policy=policy.key")]
    Form,
    /// Not a role.
    #[error(transparent)]
    Purpose(#[from] PurposeFault),
}
