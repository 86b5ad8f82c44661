//! What can go wrong while a world is built or watched, with what was seen.

use std::fmt;
use std::io;
use std::time::Duration;

/// A step of a test or of the laboratory that did not come out as it must.
///
/// `Debug` prints the message for people, because that is what a failing test shows.
#[derive(thiserror::Error)]
pub enum Mishap {
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A command ended with another exit code than expected.
    #[error("`{command}` ended with {found}, expected exit code {expected}\n--- its output\n{output}---")]
    Exit {
        /// The command line.
        command: String,
        /// The exit code, none after a signal.
        found: Ending,
        /// The exit code that was expected.
        expected: i32,
        /// Everything that it printed.
        output: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {within:?}\n--- what was seen instead\n{seen}---")]
    Deadline {
        /// What was awaited.
        what: String,
        /// For how long.
        within: Duration,
        /// What was there instead.
        seen: String,
    },
    /// Something was there, but not what was expected.
    #[error("{what}: {seen} was seen, {expected} was expected")]
    Unexpected {
        /// What was looked at.
        what: String,
        /// What was found.
        seen: String,
        /// What was expected.
        expected: String,
    },
}

impl Mishap {
    /// Names what was attempted when the operating system refused it.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Something was there, but not what was expected.
    pub fn unexpected(what: impl Into<String>, seen: impl fmt::Display, expected: impl fmt::Display) -> Self {
        Self::Unexpected { what: what.into(), seen: seen.to_string(), expected: expected.to_string() }
    }
}

impl fmt::Debug for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<io::Error> for Mishap {
    fn from(source: io::Error) -> Self {
        Self::Io { what: "a socket or file of the test".into(), source }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl From<std::process::ExitStatus> for Ending {
    fn from(status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}
