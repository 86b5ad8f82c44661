//! The device's private key, in a file that nobody else can read.
//!
//! 1. [`create`] makes it when the device is enrolled: 32 random bytes as 64 hexadecimal digits, mode 0600.
//! 2. [`load`] reads it, and refuses a file that others could have read, replaced or pointed elsewhere.
//!
//! It is made lazily, because random numbers may be rare at the first boot. Deliberately absent: any way to export
//! or replace it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use postern_protocol::trust::{KeyFault, SecretKey};
use zeroize::Zeroizing;

/// Reads the key in `state_dir`.
///
/// # Errors
/// A [`KeyError`]; [`KeyError::Missing`] when there is none yet.
pub(crate) fn load(state_dir: &Path) -> Result<SecretKey, KeyError> {
    let path = state_dir.join(FILE);
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
    let path = match load(state_dir) {
        Err(KeyError::Missing { path }) => path,
        loaded => return loaded,
    };
    let io_error = |error| KeyError::Io { path: path.clone(), error };
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|_| KeyError::Random)?;
    let text = Zeroizing::new(HEXLOWER.encode(seed.as_ref()) + "\n");
    // A half-written key must not look like one: it gets its name when it is complete and on disk.
    let partial = state_dir.join(PARTIAL);
    let _absent = std::fs::remove_file(&partial);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(NOFOLLOW)
        .open(&partial)
        .map_err(io_error)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io_error)?;
    std::fs::rename(&partial, &path).map_err(io_error)?;
    File::open(state_dir).and_then(|dir| dir.sync_all()).map_err(io_error)?;
    load(state_dir)
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

const FILE: &str = "device.key";
const PARTIAL: &str = "device.key.partial";
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
        assert_eq!(load(dir.path()).unwrap().public(), key.public());
        assert_eq!(create(dir.path()).unwrap().public(), key.public());
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_missing_key_is_missing_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(load(dir.path()), Err(KeyError::Missing { .. })));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path()).unwrap();
        for open in [0o640, 0o604, 0o660, 0o644] {
            mode(&dir.path().join(FILE), open);
            assert!(matches!(load(dir.path()), Err(KeyError::Mode { mode, .. }) if mode == open));
        }
        mode(&dir.path().join(FILE), 0o400);
        load(dir.path()).unwrap();
    }

    #[test]
    fn a_link_in_place_of_the_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path()).unwrap();
        std::fs::rename(dir.path().join(FILE), dir.path().join("elsewhere")).unwrap();
        symlink(dir.path().join("elsewhere"), dir.path().join(FILE)).unwrap();
        assert!(matches!(load(dir.path()), Err(KeyError::NotAFile { .. })));
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
            match load(dir.path()) {
                Ok(key) => {
                    assert!(readable && key.public() == SecretKey::from_seed([7; 32]).unwrap().public())
                }
                Err(error) => assert!(!readable && matches!(error, KeyError::Content { .. }), "{error}"),
            }
        }
    }
}
