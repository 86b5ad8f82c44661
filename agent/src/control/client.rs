//! The commands' end of the control socket: one question, one answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{RESPONSE_BYTES, Request, Response};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// No agent listens there.
    #[error("no agent answers at `{}`; start it with `postern-agent run`", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// This user may not.
    #[error("this user may not ask the agent at `{}`; use `sudo`, or join the agent's group", path.display())]
    Forbidden {
        /// The socket.
        path: PathBuf,
    },
    /// The agent says no.
    #[error("the agent refused: {reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
    /// The answer is incomplete or not understood.
    #[error("the answer of the agent cannot be read: {error}")]
    Answer {
        /// Why.
        error: serde_json::Error,
    },
    /// The socket broke.
    #[error("the control socket `{}`: {error}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}

/// Asks the agent at `path`.
///
/// # Errors
/// An [`AskError`].
pub(crate) fn ask(path: &Path, request: &Request) -> Result<serde_json::Value, AskError> {
    let io_error = |error| AskError::Io { path: path.to_owned(), error };
    let mut stream = UnixStream::connect(path).map_err(|error| {
        let kind = error.kind();
        if matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
            AskError::NotRunning { path: path.to_owned() }
        } else if kind == io::ErrorKind::PermissionDenied {
            AskError::Forbidden { path: path.to_owned() }
        } else {
            io_error(error)
        }
    })?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(io_error)?;
    let mut line = serde_json::to_vec(request).map_err(|error| AskError::Answer { error })?;
    line.push(b'\n');
    // The agent may refuse, and close, before it has read the request.
    let _refused = stream.write_all(&line);
    let mut answer = Vec::new();
    let limit = u64::try_from(RESPONSE_BYTES).unwrap_or(u64::MAX);
    BufReader::new(stream.take(limit)).read_until(b'\n', &mut answer).map_err(io_error)?;
    match serde_json::from_slice(&answer).map_err(|error| AskError::Answer { error })? {
        Response::Report(report) => Ok(report),
        Response::Refused(reason) => Err(AskError::Refused { reason }),
    }
}

const PATIENCE: Duration = Duration::from_secs(15);
