//! The command line of locks.

use clap::{Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum LockCommand {
    /// Locks a user, a device or an access category. Live tunnels are cut at once.
    Add {
        /// What it is.
        #[arg(value_enum)]
        what: Lockable,
        /// Its name.
        name: String,
        /// On this device only; a user or a category is locked on every device if not given.
        #[arg(long, value_name = "DEVICE")]
        on: Option<String>,
        /// Why, for those who list it.
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// Lists what is locked, and which devices know it.
    List,
    /// Lifts a lock by a new policy. Rights come back for new tunnels; what was cut stays cut.
    Lift {
        /// What it is.
        #[arg(value_enum)]
        what: Lockable,
        /// Its name.
        name: String,
        /// On this device only, as it was locked.
        #[arg(long, value_name = "DEVICE")]
        on: Option<String>,
    },
}

/// What can be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lockable {
    /// A user.
    User,
    /// A whole device.
    Device,
    /// An access category.
    Category,
}
