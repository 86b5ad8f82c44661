//! The installation's private keys: made once, kept in files that nobody else may read.
//!
//! 1. [`found`] makes everything in a directory beside the final one and renames it: afterwards there is a whole
//!    installation or none, whatever happens in between.
//! 2. [`Keys::load`] reads the online keys and refuses files that others could have read.
//!
//! The root key lies in `offline/` because it belongs on a medium in a safe: whoever has it can replace every other
//! key, and no command but `init` needs it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use postern_protocol::id::FleetId;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Envelope, EnvelopeFault, KeyFault, Role, RoleKeys, Root, SecretKey};

use crate::chance;
use crate::store::{Installation, Store, StoreError};

/// The keys that a running hub needs.
#[derive(Debug)]
pub struct Keys {
    /// Signs snapshots.
    pub policy: SecretKey,
    /// Signs passes.
    pub identity: SecretKey,
    /// Signs timestamps.
    pub timestamp: SecretKey,
    /// Signs locks.
    pub lock: SecretKey,
    /// Signs acknowledgements of audit rows.
    pub audit_ack: SecretKey,
    /// Proves the hub in handshakes.
    pub hub: SecretKey,
}

/// Why a key file is not used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file system refused.
    #[error("the key file `{path}`: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        error: io::Error,
    },
    /// Others can read it, so others may have it.
    #[error(
        "the key file `{path}` has mode {mode:04o}, expected 0600: others may have read it; make new keys, or \
         `chmod 600` it if you are sure that nobody has"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A link, directory or device.
    #[error("the key file `{path}` is not a plain file")]
    NotPlain {
        /// The file.
        path: PathBuf,
    },
    /// Not 64 hexadecimal digits.
    #[error("the key file `{path}` does not hold 64 hexadecimal digits")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// A seed that makes no sound key.
    #[error(transparent)]
    Key(#[from] KeyFault),
}

impl Keys {
    /// Reads the online keys of a state directory.
    ///
    /// # Errors
    /// A [`KeyFileError`].
    pub fn load(state: &Path) -> Result<Self, KeyFileError> {
        let key = |name| read_key(&state.join(name));
        Ok(Self {
            policy: key(POLICY)?,
            identity: key(IDENTITY)?,
            timestamp: key(TIMESTAMP)?,
            lock: key(LOCK)?,
            audit_ack: key(AUDIT_ACK)?,
            hub: key(HUB)?,
        })
    }
}

/// What `init` is told.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the hub will listen.
    pub listen: SocketAddr,
    /// Where devices and users will reach it.
    pub advertise: Vec<SocketAddr>,
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
    /// The state file could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Founds an installation in `state`, which must not exist or be empty.
///
/// # Errors
/// A [`FoundError`]; nothing is left in `state` then.
pub fn found(state: &Path, plan: &Plan, now: UnixTime) -> Result<Installation, FoundError> {
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
    let made = draw_up(&draft, plan, now).and_then(|installation| {
        // Onto nothing or onto an empty directory; anything else that appeared meanwhile makes this fail.
        std::fs::rename(&draft, state).map_err(io(state))?;
        sync_directory(parent)?;
        Ok(installation)
    });
    if made.is_err() {
        let _nothing_to_lose = std::fs::remove_dir_all(&draft);
    }
    made
}

fn draw_up(draft: &Path, plan: &Plan, now: UnixTime) -> Result<Installation, FoundError> {
    let directory = |path: &Path| {
        let made = DirBuilder::new().mode(0o700).create(path);
        made.map_err(|error| FoundError::Io { path: path.to_owned(), error })
    };
    directory(draft)?;
    let offline = draft.join(OFFLINE);
    directory(&offline)?;
    let root_key = new_key(&offline.join(ROOT))?;
    let policy = new_key(&draft.join(POLICY))?;
    let identity = new_key(&draft.join(IDENTITY))?;
    let timestamp = new_key(&draft.join(TIMESTAMP))?;
    let lock = new_key(&draft.join(LOCK))?;
    let audit_ack = new_key(&draft.join(AUDIT_ACK))?;
    let hub = new_key(&draft.join(HUB))?;
    let fleet = FleetId::new(chance::bytes());
    let role = |role, key: &SecretKey| RoleKeys { role, threshold: 1, keys: vec![key.public()] };
    let root = Root {
        fleet,
        version: 1,
        expires: now.saturating_add(ROOT_LIFETIME_S),
        policy_epoch: 1,
        roles: vec![
            role(Role::Root, &root_key),
            role(Role::Policy, &policy),
            role(Role::Identity, &identity),
            role(Role::Timestamp, &timestamp),
            role(Role::Lock, &lock),
            role(Role::AuditAck, &audit_ack),
        ],
        hubs: vec![hub.public()],
    };
    let sealed = Envelope::seal(&root, &[&root_key])?;
    let installation = Installation { fleet, listen: plan.listen, advertise: plan.advertise.clone() };
    Store::create(&draft.join(DATABASE), &installation, &sealed)?;
    sync_directory(&offline)?;
    sync_directory(draft)?;
    Ok(installation)
}

fn sync_directory(path: &Path) -> Result<(), FoundError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| FoundError::Io { path: path.to_owned(), error })
}

fn new_key(path: &Path) -> Result<SecretKey, KeyFileError> {
    let io = |error| KeyFileError::Io { path: path.to_owned(), error };
    let key = SecretKey::from_seed(chance::bytes())?;
    let mut text = Zeroizing::new(HEXLOWER.encode(key.seed().as_slice()));
    text.push('\n');
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
    Ok(key)
}

fn read_key(path: &Path) -> Result<SecretKey, KeyFileError> {
    let io = |error| KeyFileError::Io { path: path.to_owned(), error };
    // Of the link itself, if it is one: a link could point at a file that others may write.
    if !std::fs::symlink_metadata(path).map_err(io)?.is_file() {
        return Err(KeyFileError::NotPlain { path: path.to_owned() });
    }
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(80).read_to_string(&mut text).map_err(io)?;
    let bytes = HEXLOWER.decode(text.trim_end().as_bytes()).ok().map(Zeroizing::new);
    let seed: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.as_slice().try_into().ok());
    let seed = seed.ok_or_else(|| KeyFileError::Malformed { path: path.to_owned() })?;
    Ok(SecretKey::from_seed(seed)?)
}

/// The state file in a state directory.
pub const DATABASE: &str = "cloud.db";
/// The directory for keys that belong elsewhere.
pub const OFFLINE: &str = "offline";
const ROOT: &str = "root.key";
const POLICY: &str = "policy.key";
const IDENTITY: &str = "identity.key";
const TIMESTAMP: &str = "timestamp.key";
const LOCK: &str = "lock.key";
const AUDIT_ACK: &str = "audit-ack.key";
const HUB: &str = "hub.key";
/// Five years: a root is replaced before, by its holders.
const ROOT_LIFETIME_S: u64 = 5 * 365 * 24 * 3600;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn plan() -> Plan {
        Plan { listen: "127.0.0.1:0".parse().unwrap(), advertise: Vec::new() }
    }

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    #[test]
    fn an_installation_is_founded_once_and_never_overwritten() {
        let parent = tempfile::tempdir().unwrap();
        let state = parent.path().join("cloud");
        found(&state, &plan(), NOW).unwrap();
        let before = std::fs::read(state.join(POLICY)).unwrap();
        let error = found(&state, &plan(), NOW).unwrap_err();
        assert!(matches!(error, FoundError::Exists(path) if path == state));
        assert_eq!(std::fs::read(state.join(POLICY)).unwrap(), before);
        let left: Vec<_> =
            std::fs::read_dir(parent.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["cloud"]);
    }

    #[test]
    fn every_file_is_its_owners_alone() {
        let parent = tempfile::tempdir().unwrap();
        let state = parent.path().join("cloud");
        found(&state, &plan(), NOW).unwrap();
        for name in [POLICY, IDENTITY, TIMESTAMP, LOCK, AUDIT_ACK, HUB, DATABASE, "offline/root.key"] {
            let mode = std::fs::metadata(state.join(name)).unwrap().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}");
        }
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let state = parent.path().join("cloud");
        found(&state, &plan(), NOW).unwrap();
        Keys::load(&state).unwrap();
        for mode in [0o640, 0o604] {
            std::fs::set_permissions(state.join(HUB), std::fs::Permissions::from_mode(mode)).unwrap();
            let error = Keys::load(&state).unwrap_err();
            assert!(matches!(error, KeyFileError::Exposed { mode: found, .. } if found == mode), "{error}");
        }
    }

    #[test]
    fn a_cut_or_linked_key_file_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let state = parent.path().join("cloud");
        found(&state, &plan(), NOW).unwrap();
        let whole = std::fs::read(state.join(POLICY)).unwrap();
        std::fs::write(state.join(POLICY), &whole[..20]).unwrap();
        assert!(matches!(Keys::load(&state).unwrap_err(), KeyFileError::Malformed { .. }));
        std::fs::remove_file(state.join(POLICY)).unwrap();
        std::os::unix::fs::symlink(state.join(HUB), state.join(POLICY)).unwrap();
        assert!(matches!(Keys::load(&state).unwrap_err(), KeyFileError::NotPlain { .. }));
    }
}
