//! The command line of users.

use clap::Subcommand;

use postern_protocol::name::Name;
use postern_protocol::trust::Fingerprint;

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Prints an invitation for a user of the model: single use, for three days. Accepting it resets the user's
    /// password, one-time codes and keys.
    Invite {
        /// The user's name.
        name: String,
    },
    /// Lists users.
    List,
    /// Refuses a user on every device, at once, and signs the user out everywhere.
    Disable {
        /// The user's name.
        name: String,
    },
    /// Signs a user out everywhere: every pass signed until now is worthless, and tunnels that rest on one are cut.
    SignOut {
        /// The user's name.
        name: String,
    },
    /// Lists the keys of a user, one for each computer on which the user has signed in.
    Keys {
        /// The user's name.
        name: String,
    },
    /// Withdraws one key of a user, such as that of a lost computer: what it opened is cut, and the user's other keys live on.
    WithdrawKey {
        /// The user's name.
        name: String,
        /// The key's fingerprint, as `user keys` lists it and `postern status` shows it on that computer.
        fingerprint: Fingerprint,
    },
    /// Lifts a `disable`.
    Enable {
        /// The user's name.
        name: String,
    },
    /// Lets a user sign in as somebody at an identity provider, and in no other way: a password is worth nothing any more.
    Link {
        /// The user's name.
        name: String,
        /// Who that is there: the subject (`sub`) of its ID tokens, and no address of e-mail.
        #[arg(long)]
        subject: String,
        /// The provider's name in `sso.toml`; may be left out where there is one alone.
        #[arg(long, value_name = "NAME")]
        provider: Option<Name>,
    },
    /// Takes a user's identity away, and signs the user out everywhere; an invitation lets the user in again.
    Unlink {
        /// The user's name.
        name: String,
    },
}
