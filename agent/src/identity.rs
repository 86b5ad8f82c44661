//! The device's private key, in a file that nobody else can read.
//!
//! 1. [`create`] makes it when the device is enrolled: 32 random bytes as 64 hexadecimal digits, mode 0600.
//! 2. [`Keys::load`] reads it, and refuses a file that others could have read, replaced or pointed elsewhere.
//! 3. [`create_next`] makes its successor in a file beside it. Which of the two is in force is said by the stored
//!    snapshot, which is for one key: [`promote`] only gives the successor the name of the key.
//!
//! It is made lazily, because random numbers may be rare at the first boot. Deliberately absent: any way to export
//! it, and any way to replace it that does not end in a snapshot for the new key.

mod device_keys;

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use postern_protocol::id::DeviceId;
use postern_protocol::policy::{Expectation, Floor, SnapshotFault, Verified, verify};
use postern_protocol::trust::{KeyFault, PublicKey, Root, SecretKey};
use zeroize::Zeroizing;

use crate::disk;

pub(crate) use self::device_keys::DeviceKeys;

/// The key in force and, between its announcement and its first snapshot, its successor.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// The key.
    pub(crate) present: SecretKey,
    /// Its successor.
    pub(crate) next: Option<SecretKey>,
}

impl Keys {
    /// Reads both keys in `state_dir`, as they lie there.
    ///
    /// # Errors
    /// A [`KeyError`]; [`KeyError::Missing`] when there is no key yet.
    pub(crate) fn load(state_dir: &Path) -> Result<Self, KeyError> {
        let present = read(state_dir, FILE)?;
        let next = match read(state_dir, NEXT) {
            Ok(next) => Some(next),
            Err(KeyError::Missing { .. }) => None,
            // One that others could have read is used for nothing; the key itself is as good as before.
            Err(error) => {
                tracing::warn!(%error, "the next key is not used");
                None
            }
        };
        Ok(Self { present, next })
    }

    /// Verifies a snapshot for the key or, while that is announced, for its successor.
    ///
    /// # Errors
    /// As [`verify()`].
    pub(crate) fn verify(
        &self,
        sealed: &[u8],
        root: &Root,
        device: DeviceId,
        floor: Option<Floor>,
    ) -> Result<Verified, SnapshotFault> {
        let verify =
            |key: &SecretKey| verify(sealed, &Expectation { root, device, device_key: key.public(), floor });
        match (verify(&self.present), &self.next) {
            (Err(SnapshotFault::DeviceKey), Some(next)) => verify(next),
            (verdict, _) => verdict,
        }
    }

    /// The keys as a snapshot for `addressed` puts them in force: a successor with a stored snapshot is the key, also
    /// when a power cut came before its file was renamed. True when that is so.
    pub(crate) fn settle(&mut self, addressed: &PublicKey) -> bool {
        match self.next.take_if(|next| next.public() == *addressed) {
            Some(next) => {
                self.present = next;
                true
            }
            None => false,
        }
    }
}

/// Reads the key in a file of `state_dir`.
fn read(state_dir: &Path, name: &str) -> Result<SecretKey, KeyError> {
    let path = state_dir.join(name);
    let mut file = match OpenOptions::new().read(true).custom_flags(NOFOLLOW).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(KeyError::Missing { path }),
        Err(error) if error.raw_os_error() == Some(ELOOP) => return Err(KeyError::NotAFile { path }),
        Err(error) => return Err(KeyError::Io { path, error }),
    };
    check(&file, &path)?;
    let mut text = Zeroizing::new(Vec::with_capacity(LARGEST));
    let limit = u64::try_from(LARGEST).unwrap_or(u64::MAX);
    io::Read::by_ref(&mut file)
        .take(limit)
        .read_to_end(&mut text)
        .map_err(|error| KeyError::Io { path: path.clone(), error })?;
    let seed = seed(&text).ok_or(KeyError::Content { path })?;
    Ok(SecretKey::from_seed(seed)?)
}

/// Reads the key in `state_dir`, or makes it.
///
/// # Errors
/// A [`KeyError`].
pub(crate) fn create(state_dir: &Path) -> Result<SecretKey, KeyError> {
    make(state_dir, FILE)
}

/// Reads the successor of the key in `state_dir`, or makes it: one that was announced stays the one.
///
/// # Errors
/// A [`KeyError`].
pub(crate) fn create_next(state_dir: &Path) -> Result<SecretKey, KeyError> {
    match make(state_dir, NEXT) {
        // Whoever has heard of it waits in vain: flash has changed it. Another one takes its place.
        Err(KeyError::Content { .. }) => drop_next(state_dir).and_then(|()| make(state_dir, NEXT)),
        made => made,
    }
}

/// Gives the successor the name of the key, over the key that it replaces. The commit of a snapshot for it comes
/// before: from then on the old key is worth nothing here.
///
/// # Errors
/// A [`KeyError`]; none when there is no successor, because that was done before.
pub(crate) fn promote(state_dir: &Path) -> Result<(), KeyError> {
    let path = state_dir.join(NEXT);
    match disk::rename(&path, &state_dir.join(FILE)).and_then(|()| disk::sync(state_dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(KeyError::Io { path, error }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes a successor that came to nothing.
///
/// # Errors
/// A [`KeyError`].
pub(crate) fn drop_next(state_dir: &Path) -> Result<(), KeyError> {
    let path = state_dir.join(NEXT);
    match disk::remove(&path).and_then(|()| disk::sync(state_dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(KeyError::Io { path, error }),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn make(state_dir: &Path, name: &str) -> Result<SecretKey, KeyError> {
    let path = match read(state_dir, name) {
        Err(KeyError::Missing { path }) => path,
        loaded => return loaded,
    };
    let io_error = |error| KeyError::Io { path: path.clone(), error };
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|_| KeyError::Random)?;
    let text = Zeroizing::new(HEXLOWER.encode(seed.as_ref()) + "\n");
    // A half-written key must not look like one: it gets its name when it is complete and on disk.
    disk::replace(state_dir, name, PARTIAL, text.as_bytes()).map_err(io_error)?;
    read(state_dir, name)
}

fn check(file: &File, path: &Path) -> Result<(), KeyError> {
    let metadata = file.metadata().map_err(|error| KeyError::Io { path: path.to_owned(), error })?;
    if !metadata.is_file() {
        return Err(KeyError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Mode { path: path.to_owned(), mode });
    }
    let (found, expected) = (metadata.uid(), rustix::process::geteuid().as_raw());
    // Root can read every file, and `check` as root looks at the service's key.
    if found != expected && expected != 0 {
        return Err(KeyError::Owner { path: path.to_owned(), found, expected });
    }
    Ok(())
}

fn seed(text: &[u8]) -> Option<[u8; 32]> {
    if let Ok(raw) = <[u8; 32]>::try_from(text) {
        return Some(raw);
    }
    let digits = text.strip_suffix(b"\n").unwrap_or(text);
    let bytes = Zeroizing::new(HEXLOWER.decode(digits).ok()?);
    <[u8; 32]>::try_from(bytes.as_slice()).ok()
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// None was made yet.
    #[error("there is no device key at `{}`; enrol this device first", path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// Somebody put something else in its place.
    #[error("`{}` is no regular file; a link could point at somebody else's key", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Others can read it, so it may be known already.
    #[error(
        "the device key `{}` has mode {mode:04o}, 0600 is expected: others may have read it; if you are sure that nobody did, run `chmod 600`, otherwise enrol the device anew",
        path.display()
    )]
    Mode {
        /// The path.
        path: PathBuf,
        /// The mode seen.
        mode: u32,
    },
    /// Somebody else's file.
    #[error("the device key `{}` belongs to user {found}, this agent runs as user {expected}", path.display())]
    Owner {
        /// The path.
        path: PathBuf,
        /// The owner seen.
        found: u32,
        /// The agent's user.
        expected: u32,
    },
    /// Neither 32 bytes nor 64 digits.
    #[error("the device key `{}` is damaged: 64 hexadecimal digits are expected", path.display())]
    Content {
        /// The path.
        path: PathBuf,
    },
    /// A seed whose public key is weak.
    #[error(transparent)]
    Fault(#[from] KeyFault),
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// The file cannot be read or written.
    #[error("the device key `{}` cannot be read or written: {error}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}

/// The key.
pub(crate) const FILE: &str = "device.key";
/// Its successor.
pub(crate) const NEXT: &str = "device.key.next";
/// One that is being written.
pub(crate) const PARTIAL: &str = "device.key.partial";
const LARGEST: usize = 128;
const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
const ELOOP: i32 = rustix::io::Errno::LOOP.raw_os_error();

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_created_key_is_loaded_again_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let key = create(dir.path()).unwrap();
        assert_eq!(read(dir.path(), FILE).unwrap().public(), key.public());
        assert_eq!(create(dir.path()).unwrap().public(), key.public());
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_missing_key_is_missing_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(read(dir.path(), FILE), Err(KeyError::Missing { .. })));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path()).unwrap();
        for open in [0o640, 0o604, 0o660, 0o644] {
            mode(&dir.path().join(FILE), open);
            assert!(matches!(read(dir.path(), FILE), Err(KeyError::Mode { mode, .. }) if mode == open));
        }
        mode(&dir.path().join(FILE), 0o400);
        read(dir.path(), FILE).unwrap();
    }

    #[test]
    fn a_link_in_place_of_the_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path()).unwrap();
        std::fs::rename(dir.path().join(FILE), dir.path().join("elsewhere")).unwrap();
        symlink(dir.path().join("elsewhere"), dir.path().join(FILE)).unwrap();
        assert!(matches!(read(dir.path(), FILE), Err(KeyError::NotAFile { .. })));
    }

    #[test]
    fn raw_and_hexadecimal_seeds_are_read_and_damaged_ones_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        for (content, readable) in [
            (vec![7; 32], true),
            (b"07".repeat(32), true),
            (vec![7; 31], false),
            (b"07".repeat(31), false),
            (b"zz".repeat(32), false),
            (Vec::new(), false),
        ] {
            std::fs::write(&path, &content).unwrap();
            mode(&path, 0o600);
            match read(dir.path(), FILE) {
                Ok(key) => {
                    assert!(readable && key.public() == SecretKey::from_seed([7; 32]).unwrap().public())
                }
                Err(error) => assert!(!readable && matches!(error, KeyError::Content { .. }), "{error}"),
            }
        }
    }

    #[test]
    fn a_successor_is_made_once_and_takes_the_name_of_the_key_when_it_is_promoted() {
        let dir = tempfile::tempdir().unwrap();
        let old = create(dir.path()).unwrap();
        assert!(Keys::load(dir.path()).unwrap().next.is_none());
        let next = create_next(dir.path()).unwrap();
        assert_eq!(create_next(dir.path()).unwrap().public(), next.public());
        assert_ne!(next.public(), old.public());
        let keys = Keys::load(dir.path()).unwrap();
        assert_eq!(keys.present.public(), old.public());
        assert_eq!(keys.next.map(|key| key.public()), Some(next.public()));
        let mode = std::fs::metadata(dir.path().join(NEXT)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        promote(dir.path()).unwrap();
        promote(dir.path()).unwrap();
        let keys = Keys::load(dir.path()).unwrap();
        assert_eq!((keys.present.public(), keys.next.is_none()), (next.public(), true));
    }

    #[test]
    fn a_successor_that_is_damaged_is_made_anew_and_a_key_that_is_damaged_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (old, next) = (create(dir.path()).unwrap(), create_next(dir.path()).unwrap());
        std::fs::write(dir.path().join(NEXT), "07").unwrap();
        let keys = Keys::load(dir.path()).unwrap();
        assert_eq!((keys.present.public(), keys.next.is_none()), (old.public(), true));
        let anew = create_next(dir.path()).unwrap().public();
        assert_ne!(anew, next.public());
        assert_eq!(Keys::load(dir.path()).unwrap().next.unwrap().public(), anew);
        std::fs::write(dir.path().join(FILE), "07").unwrap();
        assert!(matches!(create(dir.path()), Err(KeyError::Content { .. })));
    }

    #[test]
    fn a_successor_counts_only_for_a_snapshot_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let (old, next) = (create(dir.path()).unwrap(), create_next(dir.path()).unwrap());
        let mut keys = Keys::load(dir.path()).unwrap();
        assert!(!keys.settle(&old.public()));
        assert_eq!((keys.present.public(), keys.next.is_some()), (old.public(), true));
        assert!(keys.settle(&next.public()));
        assert_eq!((keys.present.public(), keys.next.is_none()), (next.public(), true));
        drop_next(dir.path()).unwrap();
        drop_next(dir.path()).unwrap();
        assert!(Keys::load(dir.path()).unwrap().next.is_none());
    }
}
