//! Puts the online keys of the next root into place.
//!
//! 1. [`Exchange::prepare`] writes each new key beside the place where it will lie, as `policy.key.new`.
//! 2. The caller stores the root, and signs under it: keys are found in both places, so this works at once.
//! 3. [`Exchange::settle`] moves keys that the root names no more aside, as `policy.key.old-VERSION`, and the new ones
//!    into place. It may be repeated: whatever a power cut has left undone is done by the next exchange.
//!
//! Before the root is stored nothing has changed for the hub; after it, nothing more must succeed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use postern_protocol::trust::{PublicKey, Root, SecretKey};

use super::file::{self, KeyFileError};
use super::{Purpose, slots};

/// An exchange of key files that was begun.
#[derive(Debug)]
pub struct Exchange<'a> {
    state: &'a Path,
}

/// Why a key cannot be put into place.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The root does not name this key for this purpose: it could never be used.
    #[error("the root names no `{}` key {}", purpose.word(), key.fingerprint())]
    Unnamed {
        /// What it was given for.
        purpose: Purpose,
        /// The key.
        key: PublicKey,
    },
    /// Keys of the root role belong elsewhere.
    #[error("keys of the root role stay offline; give the hub the keys that sign day to day only")]
    Offline,
    /// Every place is taken.
    #[error("no more than {} keys of one role can be held", postern_protocol::limits::ROLE_KEYS)]
    Full,
}

impl<'a> Exchange<'a> {
    /// Writes the keys beside their places. Those that are held already are left where they are.
    ///
    /// # Errors
    /// An [`ExchangeError`]; the hub's keys are as before then.
    pub fn prepare(
        state: &'a Path,
        root: &Root,
        keys: &[(Purpose, SecretKey)],
    ) -> Result<Self, ExchangeError> {
        let exchange = Self { state };
        for (purpose, key) in keys {
            if *purpose == Purpose::Role(postern_protocol::trust::Role::Root) {
                return Err(ExchangeError::Offline);
            }
            if !purpose.named(root).contains(&key.public()) {
                return Err(ExchangeError::Unnamed { purpose: *purpose, key: key.public() });
            }
        }
        for (purpose, key) in keys {
            exchange.bring(*purpose, key, root)?;
        }
        Ok(exchange)
    }

    /// Moves what `root` names no more aside, and what it names into place.
    ///
    /// # Errors
    /// When the file system refuses; the hub finds its keys all the same.
    pub fn settle(state: &Path, root: &Root) -> Result<(), KeyFileError> {
        let before = root.version.saturating_sub(1);
        for purpose in Purpose::ONLINE {
            let named = purpose.named(root);
            for slot in slots(state, purpose.stem()) {
                let is_named =
                    |path: &Path| public(path).map(|key| key.is_some_and(|key| named.contains(&key)));
                let new = incoming(&slot);
                if slot.exists() && !is_named(&slot)? {
                    rename(&slot, &free(&slot, before))?;
                }
                // A key that an exchange brought which came to nothing stays where it is, and is never used.
                if new.exists() && !slot.exists() && is_named(&new)? {
                    rename(&new, &slot)?;
                }
            }
        }
        sync(state)
    }

    fn bring(&self, purpose: Purpose, key: &SecretKey, root: &Root) -> Result<(), ExchangeError> {
        let named = purpose.named(root);
        let mut place = None;
        for slot in slots(self.state, purpose.stem()) {
            let new = incoming(&slot);
            let (lies, comes) = (public(&slot)?, public(&new)?);
            if [lies, comes].contains(&Some(key.public())) {
                return Ok(());
            }
            let stays = [lies, comes].into_iter().flatten().any(|key| named.contains(&key));
            if !stays && place.is_none() {
                place = Some(new);
            }
        }
        let place = place.ok_or(ExchangeError::Full)?;
        if place.exists() {
            // Left by an exchange that came to nothing: no root has ever named it.
            std::fs::remove_file(&place).map_err(io(&place))?;
        }
        file::copy(key, &place)?;
        Ok(sync(self.state)?)
    }
}

/// Where a key waits that will lie in `slot`.
pub(super) fn incoming(slot: &Path) -> PathBuf {
    with(slot, ".new")
}

fn public(path: &Path) -> Result<Option<PublicKey>, KeyFileError> {
    match file::read(path) {
        Ok(key) => Ok(Some(key.public())),
        Err(KeyFileError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A name for a key that is kept aside. Nothing is overwritten: it may be needed to read what it signed.
fn free(slot: &Path, version: u32) -> PathBuf {
    let first = with(slot, &format!(".old-{version}"));
    let more = (2u32..).map(|n| with(slot, &format!(".old-{version}.{n}")));
    std::iter::once(first).chain(more).find(|path| !path.exists()).unwrap_or_default()
}

fn with(slot: &Path, suffix: &str) -> PathBuf {
    let mut name = slot.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn rename(from: &Path, to: &Path) -> Result<(), KeyFileError> {
    std::fs::rename(from, to).map_err(io(from))
}

fn sync(directory: &Path) -> Result<(), KeyFileError> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io(directory))
}

fn io(path: &Path) -> impl FnOnce(io::Error) -> KeyFileError {
    let path = path.to_owned();
    move |error| KeyFileError::Io { path, error }
}
