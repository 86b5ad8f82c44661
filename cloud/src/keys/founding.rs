//! Founds an installation: its keys, its first root and its state, all of it or nothing.
//!
//! 1. Everything is made in a directory beside the final one.
//! 2. The keys are made here, or come from a ceremony together with the root that names them.
//! 3. The directory is renamed: afterwards there is a whole installation or none, whatever happens in between.
//!
//! Root keys that are made here lie in `offline/` because each belongs on a medium of its own: whoever has a threshold
//! of them can replace every other key, and nothing that runs needs them.

use std::fs::{DirBuilder, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;

use postern_protocol::id::FleetId;
use postern_protocol::limits;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{
    Envelope, EnvelopeFault, PublicKey, Role, RoleKeys, Root, RootFault, SecretKey,
};

use super::file::{self, KeyFileError};
use super::{DATABASE, Exchange, ExchangeError, HUB, Keys, OFFLINE, Purpose, stem};
use crate::chance;
use crate::store::{DatabaseFile, Installation, Store, StoreError};

/// What `init` is told.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the hub will listen.
    pub listen: SocketAddr,
    /// Where devices and users will reach it.
    pub advertise: Vec<SocketAddr>,
    /// Where its first root comes from.
    pub origin: Origin,
}

/// Where the first root of an installation comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// All keys are made here; those of the root in a directory that belongs elsewhere.
    Here {
        /// Root keys.
        keys: u8,
        /// How many of them must sign the next root.
        threshold: u8,
    },
    /// From a ceremony on other machines: the root keys were never here.
    Ceremony {
        /// Root version 1, signed by its threshold.
        root: Vec<u8>,
        /// The online keys that it names.
        keys: Vec<(Purpose, SecretKey)>,
    },
}

impl Origin {
    /// Three root keys of which two must sign: one can be lost, and one thief is not enough.
    pub const USUAL: Self = Self::Here { keys: 3, threshold: 2 };
}

/// Why an installation cannot be founded.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    /// Something is there already; nothing is ever overwritten.
    #[error(
        "`{0}` is not empty; an installation is founded once, in a directory of its own, and its keys are never \
         overwritten"
    )]
    Exists(PathBuf),
    /// The path has no parent or no name.
    #[error("`{0}` is no path for a new directory")]
    BadPath(PathBuf),
    /// No set of root keys could ever sign the next root, or one thief could.
    #[error(
        "{threshold} of {keys} root keys cannot be asked for: from 1 to all of at most {} can",
        limits::ROLE_KEYS
    )]
    Threshold {
        /// Keys asked for.
        keys: u8,
        /// Threshold asked for.
        threshold: u8,
    },
    /// The root of the ceremony does not hold.
    #[error("the root of the ceremony: {0}")]
    Root(#[from] RootFault),
    /// Not the first root.
    #[error("the root of the ceremony has version {0}; an installation is founded with version 1")]
    NotFirst(u32),
    /// A key cannot be put into place.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The file system refused.
    #[error("`{path}`: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        error: io::Error,
    },
    /// A key could not be made or written.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The root could not be signed.
    #[error(transparent)]
    Envelope(#[from] EnvelopeFault),
    /// The database has the state, and the directory with the keys is not where it belongs.
    #[error(
        "`{draft}` has all of the installation and could not become `{state}`, so move it there: {error}"
    )]
    Left {
        /// Where it is.
        draft: PathBuf,
        /// Where it belongs.
        state: PathBuf,
        /// The system's reason.
        #[source]
        error: io::Error,
    },
    /// The state file could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Founds an installation in `state`, which must not exist or be empty.
///
/// # Errors
/// A [`FoundError`]; nothing is left in `state` then.
pub fn found(state: &Path, plan: &Plan, now: UnixTime) -> Result<Installation, FoundError> {
    found_in(state, plan, None, now)
}

/// The same with the state in a database, which has none of an installation yet; in the directory where none is given.
///
/// # Errors
/// A [`FoundError`]; nothing is left in `state` then.
pub fn found_in(
    state: &Path,
    plan: &Plan,
    database: Option<DatabaseFile>,
    now: UnixTime,
) -> Result<Installation, FoundError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| FoundError::Io { path, error }
    };
    match std::fs::read_dir(state) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(FoundError::Exists(state.to_owned()));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(state)(error)),
    }
    let name = state.file_name().ok_or_else(|| FoundError::BadPath(state.to_owned()))?;
    let parent = match state.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(FoundError::BadPath(state.to_owned())),
    };
    std::fs::create_dir_all(parent).map_err(io(parent))?;
    let draft_name = format!(".{}.{}", name.to_string_lossy(), HEXLOWER.encode(&chance::bytes::<8>()));
    let draft = parent.join(draft_name);
    let is_elsewhere = database.is_some();
    let made = draw_up(&draft, plan, database, now).and_then(|installation| {
        // Onto nothing or onto an empty directory; anything else that appeared meanwhile makes this fail.
        std::fs::rename(&draft, state).map_err(|error| {
            if is_elsewhere {
                // A database that has a state, and nowhere the keys for it, would be worse.
                FoundError::Left { draft: draft.clone(), state: state.to_owned(), error }
            } else {
                io(state)(error)
            }
        })?;
        sync_directory(parent)?;
        Ok(installation)
    });
    if made.as_ref().is_err_and(|error| !matches!(error, FoundError::Left { .. })) {
        let _nothing_to_lose = std::fs::remove_dir_all(&draft);
    }
    made
}

fn draw_up(
    draft: &Path,
    plan: &Plan,
    database: Option<DatabaseFile>,
    now: UnixTime,
) -> Result<Installation, FoundError> {
    directory(draft)?;
    let (root, sealed) = match &plan.origin {
        Origin::Here { keys, threshold } => make_all(draft, *keys, *threshold, now)?,
        Origin::Ceremony { root, keys } => {
            let sealed = root.clone();
            let root = Root::self_signed(&sealed)?;
            if root.version != 1 {
                return Err(FoundError::NotFirst(root.version));
            }
            Exchange::prepare(draft, &root, keys)?;
            Exchange::settle(draft, &root)?;
            (root, sealed)
        }
    };
    // A hub that could not sign under its own root would be noticed by its first device.
    Keys::load(draft, &root)?;
    let installation =
        Installation { fleet: root.fleet, listen: plan.listen, advertise: plan.advertise.clone() };
    match database {
        Some(file) => {
            let file = DatabaseFile { fleet: Some(root.fleet), ..file };
            file.write(draft).map_err(StoreError::from)?;
            sync_directory(draft)?;
            Store::create_in(&file, &installation, &sealed)?;
        }
        None => drop(Store::create(&draft.join(DATABASE), &installation, &sealed)?),
    }
    sync_directory(draft)?;
    Ok(installation)
}

/// Makes every key, and the root that names them, signed by all of its holders.
fn make_all(draft: &Path, keys: u8, threshold: u8, now: UnixTime) -> Result<(Root, Vec<u8>), FoundError> {
    let offline = draft.join(OFFLINE);
    directory(&offline)?;
    let root_keys = make_root_keys(&offline, keys, threshold)?;
    let mut roles = vec![role_of(Role::Root, threshold, &root_keys)];
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Root) {
        let key = file::make(&draft.join(format!("{}.key", stem(role))))?;
        roles.push(role_of(role, 1, &[key]));
    }
    let hub = file::make(&draft.join(format!("{HUB}.key")))?;
    let root = Root {
        fleet: FleetId::new(chance::bytes()),
        version: 1,
        expires: now.saturating_add(ROOT_LIFETIME_S),
        policy_epoch: 1,
        roles,
        hubs: vec![hub.public()],
    };
    let sealed = Envelope::seal(&root, &root_keys.iter().collect::<Vec<_>>())?;
    sync_directory(&offline)?;
    Ok((root, sealed))
}

/// Makes the files `root-1.key`, `root-2.key`, ... in a directory, each for a holder of its own.
///
/// # Errors
/// [`FoundError::Threshold`] before anything is made, or the [`KeyFileError`] of a file.
pub(crate) fn make_root_keys(
    directory: &Path,
    keys: u8,
    threshold: u8,
) -> Result<Vec<SecretKey>, FoundError> {
    if threshold == 0 || threshold > keys || usize::from(keys) > limits::ROLE_KEYS {
        return Err(FoundError::Threshold { keys, threshold });
    }
    let made = (1..=keys).map(|n| file::make(&directory.join(format!("root-{n}.key"))));
    Ok(made.collect::<Result<_, _>>()?)
}

fn role_of(role: Role, threshold: u8, keys: &[SecretKey]) -> RoleKeys {
    let mut keys: Vec<PublicKey> = keys.iter().map(SecretKey::public).collect();
    keys.sort_unstable();
    RoleKeys { role, threshold, keys }
}

fn directory(path: &Path) -> Result<(), FoundError> {
    let made = DirBuilder::new().mode(0o700).create(path);
    made.map_err(|error| FoundError::Io { path: path.to_owned(), error })
}

fn sync_directory(path: &Path) -> Result<(), FoundError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| FoundError::Io { path: path.to_owned(), error })
}

/// Five years: a root is replaced before, by its holders.
pub(crate) const ROOT_LIFETIME_S: u64 = 5 * 365 * 24 * 3600;
