//! How a running hub learns at once that another command has published: a line on a local socket.
//!
//! The store is asked every two seconds as well, so that a lost nudge costs two seconds and not a policy.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::UnixListener;

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
}

impl Watcher {
    /// Makes the socket, for the owner of the state directory alone. The caller holds the lock of the directory, so a
    /// socket that is there is a dead hub's.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn bind(hub: Arc<Hub>, endpoint: Endpoint, state: &Path) -> std::io::Result<Self> {
        let path = socket_path(state);
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { hub, endpoint, listener })
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
                        // What it says does not matter; that it came is the message.
                        let mut line = [0; 16];
                        let said = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut line)).await;
                        // Whoever says nothing only looked whether a hub is here.
                        if !matches!(said, Ok(Ok(0))) {
                            self.follow(&mut proved).await;
                            self.hub.news.publish();
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
                _ = renewals.tick() => {
                    if let Err(error) = self.hub.renew(std::mem::replace(&mut affected, Affected::Due)).await {
                        tracing::error!(%error, "old snapshots could not be renewed");
                    }
                }
            }
        }
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

/// How late a publication is noticed whose nudge was lost.
const POLL: Duration = Duration::from_secs(2);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How often snapshots are looked at for their age.
const RENEWAL: Duration = Duration::from_secs(60);
