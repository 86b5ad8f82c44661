//! The agent's end of the control socket.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use postern_transport::crowd::is_called;

use super::{REQUEST_BYTES, Request, Response};
use crate::logging::Limiter;

/// A request on its way to whoever can answer it.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What is asked.
    pub(crate) request: Request,
    /// The user who asks.
    pub(crate) uid: u32,
    /// Where the answer goes.
    pub(crate) reply: oneshot::Sender<Response>,
}

/// The bound socket. Its file is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    mode: u32,
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// Another agent answers there.
    #[error("another agent answers at `{}`; stop it, or set `control.socket` to another path", path.display())]
    Occupied {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be made.
    #[error("the control socket `{}` cannot be made: {error}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}

/// Makes the directory of the socket, where it is missing.
///
/// # Errors
/// A [`ControlError`].
pub(crate) fn prepare(path: &Path) -> Result<(), ControlError> {
    match path.parent().filter(|parent| !parent.exists()) {
        Some(parent) => {
            std::fs::create_dir_all(parent).map_err(|error| ControlError::Io { path: path.to_owned(), error })
        }
        None => Ok(()),
    }
}

impl Listener {
    /// Makes the socket, replacing the file of an agent that is gone.
    ///
    /// # Errors
    /// A [`ControlError`].
    pub(crate) fn bind(path: &Path, mode: u32) -> Result<Self, ControlError> {
        let io_error = |error| ControlError::Io { path: path.to_owned(), error };
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(ControlError::Occupied { path: path.to_owned() });
        }
        // Only a socket that nobody answers at: a mistaken path must not cost somebody's file.
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
        if is_socket {
            std::fs::remove_file(path).map_err(io_error)?;
        }
        // Never more open than it will be, not even between the next two calls.
        let usual = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let socket = UnixListener::bind(path);
        rustix::process::umask(usual);
        let socket = socket.map_err(io_error)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(io_error)?;
        Ok(Self { socket, path: path.to_owned(), mode })
    }

    /// Answers callers until it is dropped, a bounded number at a time.
    pub(crate) async fn serve(self, requests: mpsc::Sender<Asked>) {
        let (mut callers, mut silent) = (JoinSet::new(), Silent::default());
        let said = Limiter::new(1);
        loop {
            tokio::select! {
                accepted = self.socket.accept(), if callers.len() < CALLERS || silent.are_any() => match accepted {
                    Ok((stream, _)) => {
                        if callers.len() >= CALLERS {
                            silent.oldest_leaves();
                        }
                        let (allowed, spoken) = (self.allowed(&stream), Arc::default());
                        let talk = converse(stream, allowed, requests.clone(), Arc::clone(&spoken));
                        silent.add(callers.spawn(tokio::time::timeout(PATIENCE, talk)), spoken);
                    }
                    Err(error) => {
                        if let Some(suppressed) = said.admit() {
                            tracing::warn!(%error, suppressed, "a caller of the control socket was lost");
                        }
                        // A file that one of them holds may be what is missing.
                        if is_called(&self.socket) {
                            silent.oldest_leaves();
                        }
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                Some(_ended) = callers.join_next() => {}
            }
        }
    }

    /// The caller's user id, when it may ask.
    fn allowed(&self, stream: &UnixStream) -> Option<u32> {
        let caller = stream.peer_cred().ok()?;
        // The kernel let only root, the owner and, with this mode, members of the group connect. The credentials name
        // the caller's first group alone, so they cannot tell a member by a further group from a stranger.
        let group_may = self.mode & 0o060 == 0o060;
        let own = rustix::process::geteuid().as_raw();
        (caller.uid() == 0 || caller.uid() == own || group_may).then_some(caller.uid())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// Callers of whom no request was read yet. Who is silent longest gives way when all places are taken: a local program says at once
/// what it wants, so that one which holds places in silence keeps nobody out.
#[derive(Default)]
struct Silent(VecDeque<(AbortHandle, Arc<AtomicBool>)>);

impl Silent {
    fn add(&mut self, caller: AbortHandle, spoken: Arc<AtomicBool>) {
        self.0.push_back((caller, spoken));
    }

    fn are_any(&mut self) -> bool {
        self.0.retain(|(caller, spoken)| !caller.is_finished() && !spoken.load(Ordering::Relaxed));
        !self.0.is_empty()
    }

    fn oldest_leaves(&mut self) {
        if self.are_any()
            && let Some((caller, _)) = self.0.pop_front()
        {
            caller.abort();
        }
    }
}

async fn converse(
    mut stream: UnixStream,
    allowed: Option<u32>,
    requests: mpsc::Sender<Asked>,
    spoken: Arc<AtomicBool>,
) {
    let (read, mut write) = stream.split();
    let response = match allowed {
        None => Response::Refused("only root, the agent's own user and its group may ask; use `sudo`".into()),
        Some(uid) => match request(read).await {
            Ok(request) => {
                spoken.store(true, Ordering::Relaxed);
                forward(request, uid, &requests).await
            }
            Err(refused) => refused,
        },
    };
    let Ok(mut line) = serde_json::to_vec(&response) else { return };
    line.push(b'\n');
    // A caller that is gone needs no answer.
    let _gone = write.write_all(&line).await;
    let _gone = write.shutdown().await;
}

async fn request(read: impl tokio::io::AsyncRead + Unpin) -> Result<Request, Response> {
    let limit = u64::try_from(REQUEST_BYTES).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    let mut reader = BufReader::with_capacity(1024, read.take(limit));
    if reader.read_until(b'\n', &mut line).await.is_err() || line.last() != Some(&b'\n') {
        return Err(Response::Refused(format!("one line of at most {REQUEST_BYTES} bytes is expected")));
    }
    serde_json::from_slice(&line).map_err(|error| {
        Response::Refused(format!("the request is malformed: {error}; use a matching version"))
    })
}

async fn forward(request: Request, uid: u32, requests: &mpsc::Sender<Asked>) -> Response {
    let (reply, answer) = oneshot::channel();
    let busy = || Response::Refused("the agent is busy or stopping; try again".into());
    if requests.try_send(Asked { request, uid, reply }).is_err() {
        return busy();
    }
    answer.await.unwrap_or_else(|_| busy())
}

/// Callers at a time.
const CALLERS: usize = 8;
/// Time for one request and its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a failed accept, which is a lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_in_the_place_of_the_socket_is_left_alone_and_an_old_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        std::fs::write(&path, "somebody's").unwrap();
        assert!(matches!(Listener::bind(&path, 0o600), Err(ControlError::Io { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody's");
        std::fs::remove_file(&path).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        Listener::bind(&path, 0o600).unwrap();
    }
}
