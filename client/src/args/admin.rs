//! The command line of administration.

use std::path::PathBuf;

use clap::Subcommand;

use postern_protocol::name::Name;

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
}

/// One thing of the model.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Entity {
    /// The kind, such as device, user, user-group, assignment, case
    pub(crate) kind: Name,
    /// The name; what you make begins with the name of your company's account and a dot
    pub(crate) name: Name,
}
