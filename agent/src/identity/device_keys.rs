//! The keys of a running agent: what is presented and believed from one moment to the next.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use postern_protocol::id::DeviceId;
use postern_protocol::policy::{Floor, SnapshotFault, Verified};
use postern_protocol::trust::{PublicKey, Root, SecretKey};

use super::{KeyError, Keys, create_next, promote};

/// The device's keys, shared by everything that presents or believes one.
#[derive(Debug)]
pub(crate) struct DeviceKeys {
    dir: PathBuf,
    keys: Mutex<Keys>,
    changed: watch::Sender<()>,
}

impl DeviceKeys {
    /// Takes the keys of a state directory.
    pub(crate) fn new(dir: PathBuf, keys: Keys) -> Self {
        Self { dir, keys: Mutex::new(keys), changed: watch::Sender::new(()) }
    }

    /// The key in force.
    pub(crate) fn present(&self) -> SecretKey {
        self.lock().present.clone()
    }

    /// The public half of the key in force.
    pub(crate) fn public(&self) -> PublicKey {
        self.lock().present.public()
    }

    /// Its successor, once there is one.
    pub(crate) fn next(&self) -> Option<SecretKey> {
        self.lock().next.clone()
    }

    /// The successor, if a snapshot for `addressed` puts it in force.
    pub(crate) fn successor(&self, addressed: &PublicKey) -> Option<SecretKey> {
        self.next().filter(|next| next.public() == *addressed)
    }

    /// Makes the successor, durably, before anybody hears of it. One that is there already stays.
    ///
    /// # Errors
    /// A [`KeyError`].
    pub(crate) fn prepare(&self) -> Result<PublicKey, KeyError> {
        let next = create_next(&self.dir)?;
        let public = next.public();
        self.lock().next = Some(next);
        self.changed.send_replace(());
        Ok(public)
    }

    /// Verifies a snapshot for the key or its announced successor.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub(crate) fn verify(
        &self,
        sealed: &[u8],
        root: &Root,
        device: DeviceId,
        floor: Option<Floor>,
    ) -> Result<Verified, SnapshotFault> {
        let keys = self.lock().clone();
        keys.verify(sealed, root, device, floor)
    }

    /// A snapshot for `addressed` is in force. If that is the successor, it is the key from now on. Returns whether.
    pub(crate) fn settle(&self, addressed: &PublicKey) -> bool {
        let settled = self.lock().settle(addressed);
        if settled {
            // Should it fail, the next start settles it again: the stored snapshot says which key is in force.
            if let Err(error) = promote(&self.dir) {
                tracing::error!(%error, "the new key has not got its name yet");
            }
            tracing::info!("the device has a new key");
            self.changed.send_replace(());
        }
        settled
    }

    /// Tells whoever waits on it when the keys changed.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
