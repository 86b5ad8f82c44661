//! Why a database server did not do what it was asked.

use std::error::Error as _;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::error::{Severity, SqlState};

/// Why a database on a server cannot be used. Never with a password or a stored value in it.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Its URL cannot be read. What it says is not repeated: a password may be in it.
    #[error(
        "its URL cannot be read: it is `postgres://USER@HOST/DATABASE`, with `%XX` for what is not a letter or digit in names and \
         passwords"
    )]
    Url,
    /// The file that says where it is, or what belongs to it, cannot be read.
    #[error("`{path}`: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Nobody can vouch for the server.
    #[error("no authorities to verify the server by: {0}")]
    Authorities(String),
    /// No connection to the server.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// The connection ended, or an answer did not come in time.
    #[error("the connection to the server was lost: {0}")]
    Lost(String),
    /// A commit was asked for and the connection was lost, and since then nobody could be asked what became of it.
    #[error(
        "the connection to the server was lost while it stored something, and it could not be asked since; look before it is done again"
    )]
    Unknown,
    /// Another process writes.
    #[error("another process has been writing for {} s", WAIT.as_secs())]
    Busy,
    /// The server refused a statement.
    #[error("{message} (SQLSTATE {code})")]
    Refused {
        /// What it says, without details: they may have values in them.
        message: String,
        /// Its code.
        code: String,
    },
    /// There is an installation already.
    #[error(
        "the database has the state of installation {0} already; another one needs a database of its own"
    )]
    Founded(String),
    /// It has never been founded.
    #[error("the database has no state of an installation")]
    Empty,
    /// Another hub serves.
    #[error("another hub has begun to serve this installation")]
    Superseded,
    /// The keys in the state directory are of another installation.
    #[error(
        "the database has the state of installation {found}, and the state directory the keys of {expected}"
    )]
    Other {
        /// The installation of the database.
        found: String,
        /// The installation of the state directory.
        expected: String,
    },
}

impl DatabaseError {
    /// What the server said.
    pub(super) fn of(error: &tokio_postgres::Error) -> Self {
        let Some(refused) = error.as_db_error() else {
            return Self::Lost(whole(error));
        };
        if matches!(refused.parsed_severity(), Some(Severity::Fatal | Severity::Panic)) {
            return Self::Lost(refused.message().to_owned());
        }
        if *refused.code() == SqlState::LOCK_NOT_AVAILABLE {
            return Self::Busy;
        }
        Self::Refused { message: refused.message().to_owned(), code: refused.code().code().to_owned() }
    }

    /// Whether the connection is worth nothing any more.
    pub(super) const fn is_end(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Unreachable(_))
    }
}

/// An error with its causes.
pub(super) fn whole(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// How long a writer waits for another one, as in a file: for an apply to a large fleet that is seconds.
pub(super) const WAIT: Duration = Duration::from_secs(30);
