//! How a running hub learns at once that another command has published: a line on a local socket.
//!
//! The store is asked every two seconds as well, so that a lost nudge costs two seconds and not a policy.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use postern_protocol::trust::PublicKey;
use postern_protocol::wire::registry::ALPNS_HUB;
use postern_transport::quic::{Endpoint, Settings};

use super::{Hub, socket_path};
use crate::files::PAUSE;
use crate::publish::Affected;
use crate::signer::days_left;

/// Tells the hub of a state directory that something was published. Nobody need be listening.
pub fn notify(state: &Path) {
    let told = std::os::unix::net::UnixStream::connect(socket_path(state)).and_then(|mut hub| {
        hub.set_write_timeout(Some(Duration::from_secs(1)))?;
        hub.write_all(b"published\n")
    });
    if let Err(error) = told {
        tracing::debug!(%error, "no hub was told");
    }
}

/// Whether a hub listens for nudges.
#[must_use]
pub fn is_running(state: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket_path(state)).is_ok()
}

/// Hears of what other commands publish, and renews old snapshots.
#[derive(Debug)]
pub struct Watcher {
    hub: Arc<Hub>,
    endpoint: Endpoint,
    listener: UnixListener,
    /// Those who wait for the end of this hub.
    mourners: Vec<UnixStream>,
    /// Whether it has what is needed to sign snapshots.
    renews: bool,
}

impl Watcher {
    /// Makes the socket, and renews what grows old where `renews` says that the model is here. The socket is for the owner of the state directory alone. The caller holds the lock of the directory, so a
    /// socket that is there is a dead hub's.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn bind(hub: Arc<Hub>, endpoint: Endpoint, state: &Path, renews: bool) -> std::io::Result<Self> {
        let path = socket_path(state);
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { hub, endpoint, listener, mourners: Vec::new(), renews })
    }

    /// Watches until dropped.
    pub async fn run(mut self) {
        let mut proved = self.hub.signer().now().keys.hub.public();
        let mut polls = tokio::time::interval(POLL);
        let mut renewals = tokio::time::interval(RENEWAL);
        let mut days = tokio::time::interval(DAY);
        let (mut version, mut affected) = (None, Affected::All);
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    if accepted.is_err() {
                        // Out of files: what other commands publish is noticed by the next look at the store.
                        tokio::time::sleep(PAUSE).await;
                    }
                    if let Ok((mut stream, _)) = accepted {
                        let mut line = [0; 64];
                        let said = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut line)).await;
                        let said = said.map_or(Some(1), Result::ok).and_then(|bytes| line.get(..bytes));
                        match said.map(Word::read) {
                            Some(Word::Drain(to)) => self.drain(stream, to).await,
                            // Whatever else it says: that it came is the message.
                            Some(Word::News) | None => {
                                self.follow(&mut proved).await;
                                self.hub.news.publish();
                            }
                            Some(Word::Nothing) => {}
                        }
                    }
                }
                _ = polls.tick() => {
                    if let Some(found) = self.data_version().await
                        && version.replace(found).is_some_and(|earlier| earlier != found)
                    {
                        self.follow(&mut proved).await;
                        self.hub.news.publish();
                    }
                }
                _ = days.tick() => {
                    let (authority, now) = (self.hub.signer().now(), (self.hub.clock)());
                    if let Some(days) = days_left(&authority.root, now) {
                        let version = authority.root.version;
                        tracing::warn!(version, days, "the root expires soon; `postern-cloud root rotate` begins the next");
                    }
                }
                _ = renewals.tick(), if self.renews => {
                    if let Err(error) = self.hub.renew(std::mem::replace(&mut affected, Affected::Due)).await {
                        tracing::error!(%error, "old snapshots could not be renewed");
                    }
                }
            }
        }
    }

    /// Has the hub end, and keeps whoever asked for it: they hear of the end when their stream ends.
    async fn drain(&mut self, mut stream: UnixStream, to: Option<SocketAddr>) {
        let said = format!("{DRAINS}\n");
        let told = tokio::time::timeout(Duration::from_secs(1), stream.write_all(said.as_bytes())).await;
        if matches!(told, Ok(Ok(()))) && self.mourners.len() < MOURNERS {
            self.mourners.push(stream);
        }
        self.hub.ask_to_drain(to);
    }

    /// Follows a root that was published: its keys sign, and its hub key proves new connections.
    async fn follow(&mut self, proved: &mut PublicKey) {
        let before = self.hub.signer().now().root.version;
        let authority = match self.hub.refresh().await {
            Ok(authority) => authority,
            Err(error) => return tracing::error!(%error, "nothing can be signed under the newest root"),
        };
        let (version, hub) = (authority.root.version, &authority.keys.hub);
        if version != before {
            tracing::info!(version, "a root is followed");
        }
        if hub.public() != *proved {
            *proved = hub.public();
            let alpns: Vec<Vec<u8>> = ALPNS_HUB.iter().map(|alpn| alpn.to_vec()).collect();
            if let Err(error) = self.endpoint.present(hub, &alpns, &Settings::hub()) {
                tracing::error!(%error, "the new hub key cannot be used");
            }
        }
    }

    async fn data_version(&self) -> Option<i64> {
        let hub = Arc::clone(&self.hub);
        let found = tokio::task::spawn_blocking(move || hub.store.data_version()).await.ok()?;
        found.inspect_err(|error| tracing::error!(%error, "the state cannot be read")).ok()
    }
}

/// What somebody says on the local socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Nothing: they only looked whether a hub is here.
    Nothing,
    /// Something was published.
    News,
    /// The hub shall end, and its devices go there.
    Drain(Option<SocketAddr>),
}

impl Word {
    fn read(line: &[u8]) -> Self {
        let text = std::str::from_utf8(line).unwrap_or_default();
        match text.trim_end().split_once(' ').unwrap_or((text.trim_end(), "")) {
            _ if line.is_empty() => Self::Nothing,
            ("drain", "") => Self::Drain(None),
            ("drain", to) => to.parse().map_or(Self::News, |to| Self::Drain(Some(to))),
            _ => Self::News,
        }
    }
}

/// What a hub answers to who has it drain.
pub const DRAINS: &str = "draining";
/// Those who may wait for its end.
const MOURNERS: usize = 16;
/// How late a publication is noticed whose nudge was lost.
const POLL: Duration = Duration::from_secs(2);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How often snapshots are looked at for their age.
const RENEWAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_drains_where_it_is_told_to_and_takes_everything_else_for_news() {
        let to = "192.0.2.7:7440".parse().ok();
        for (line, expected) in [
            ("", Word::Nothing),
            ("published\n", Word::News),
            ("drain\n", Word::Drain(None)),
            ("drain 192.0.2.7:7440\n", Word::Drain(to)),
            ("drain somewhere\n", Word::News),
            ("drains\n", Word::News),
        ] {
            assert_eq!(Word::read(line.as_bytes()), expected, "{line}");
        }
        assert_eq!(Word::read(&[0xff]), Word::News);
    }
}
