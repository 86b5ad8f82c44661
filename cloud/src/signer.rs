//! Who may sign now: the newest root, and the keys of it that are held here.
//!
//! 1. [`Signer::open`] reads the newest root of the state file and the key files that it names.
//! 2. [`Signer::refresh`] does so again inside a transaction, when that transaction sees a newer root: whatever is signed
//!    in it is signed under the root that is stored with it.
//! 3. [`Signer::now`] is what the last of them has seen.
//!
//! A hub that runs while a root is published therefore never signs under an older one: its next transaction sees the
//! new root, and fails where the keys for it are missing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Root, RootFault};

use crate::cluster;
use crate::keys::{KeyFileError, Keys};
use crate::store::{StoreError, Tx};

/// Signs for one installation. Shared by everything that signs.
#[derive(Debug)]
pub struct Signer {
    state: PathBuf,
    newest: RwLock<Arc<Authority>>,
}

/// One root and its keys.
#[derive(Debug)]
pub struct Authority {
    /// The root.
    pub root: Root,
    /// The keys of it that are held here.
    pub keys: Keys,
}

/// Why nothing can be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The stored root does not hold.
    #[error("the stored root: {0}")]
    Root(#[from] RootFault),
    /// A key is missing or unsafe.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The state could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// For how many days a root holds on, when it is time to make the next one; none before that.
#[must_use]
pub fn days_left(root: &Root, now: UnixTime) -> Option<u64> {
    let left = root.expires.secs_since(now);
    (left < NOTICE_S).then_some(left / DAY_S)
}

impl Signer {
    /// Reads root and keys.
    ///
    /// # Errors
    /// A [`SignerError`].
    pub fn open(state: &Path, tx: &Tx<'_>) -> Result<Self, SignerError> {
        let authority = read(state, tx)?;
        Ok(Self { state: state.to_owned(), newest: RwLock::new(Arc::new(authority)) })
    }

    /// Who may sign in this transaction.
    ///
    /// # Errors
    /// A [`SignerError`]; what was known before stays.
    pub fn refresh(&self, tx: &Tx<'_>) -> Result<Arc<Authority>, SignerError> {
        let known = self.now();
        if tx.root_version()? == known.root.version {
            return Ok(known);
        }
        let newest = Arc::new(read(&self.state, tx)?);
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&newest);
        Ok(newest)
    }

    /// Who could sign when that was last looked at.
    #[must_use]
    pub fn now(&self) -> Arc<Authority> {
        Arc::clone(&self.newest.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(state: &Path, tx: &Tx<'_>) -> Result<Authority, SignerError> {
    let root = Root::self_signed(&tx.newest_root()?)?;
    // An edge that has begun with few keys never has more.
    let is_edge = cluster::edge_file(state).exists();
    let keys = if is_edge { Keys::load_edge(state, &root)? } else { Keys::load(state, &root)? };
    Ok(Authority { root, keys })
}

const DAY_S: u64 = 24 * 3600;
/// Time enough to bring holders together.
const NOTICE_S: u64 = 90 * DAY_S;
