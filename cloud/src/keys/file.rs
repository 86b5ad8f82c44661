//! One private key in one file: 64 hexadecimal digits that nobody else may read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use postern_protocol::trust::{KeyFault, Role, SecretKey};

use crate::chance;

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
    /// The root names keys of a role, and too few of them are here.
    #[error(
        "the root needs {needed} keys of its `{}` role here, {held} of the {} that it names are in `{}`",
        role.word(), named, directory.display()
    )]
    Unheld {
        /// The role.
        role: Role,
        /// Keys that must sign.
        needed: usize,
        /// Keys of the role that are in the directory.
        held: usize,
        /// Keys that the root names.
        named: usize,
        /// Where they were looked for.
        directory: PathBuf,
    },
    /// The root names no hub key that is here: nobody would recognise the hub.
    #[error("none of the {named} hub keys that the root names is in `{}`", directory.display())]
    NoHub {
        /// Keys that the root names.
        named: usize,
        /// Where they were looked for.
        directory: PathBuf,
    },
    /// A seed that makes no sound key.
    #[error(transparent)]
    Key(#[from] KeyFault),
}

/// Makes a key in a new file that nobody else may read. Nothing is ever overwritten.
///
/// # Errors
/// [`KeyFileError::Io`], also when the file exists.
pub fn make(path: &Path) -> Result<SecretKey, KeyFileError> {
    let io = |error| KeyFileError::Io { path: path.to_owned(), error };
    let key = SecretKey::from_seed(chance::bytes())?;
    write(path, &key).map_err(io)?;
    Ok(key)
}

/// Reads a key, and makes it where there is none.
///
/// # Errors
/// As [`read`] and [`make`].
pub(crate) fn read_or_make(path: &Path) -> Result<SecretKey, KeyFileError> {
    // Of the link itself, which `read` refuses.
    if path.symlink_metadata().is_ok() { read(path) } else { make(path) }
}

/// Writes a key into a new file that nobody else may read.
fn write(path: &Path, key: &SecretKey) -> io::Result<()> {
    let mut text = Zeroizing::new(HEXLOWER.encode(key.seed().as_slice()));
    text.push('\n');
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Copies a key into a new file that nobody else may read.
///
/// # Errors
/// [`KeyFileError::Io`], also when the file exists.
pub(crate) fn copy(key: &SecretKey, path: &Path) -> Result<(), KeyFileError> {
    write(path, key).map_err(|error| KeyFileError::Io { path: path.to_owned(), error })
}

/// Reads a key file, unless others could have read it too.
///
/// # Errors
/// A [`KeyFileError`].
pub fn read(path: &Path) -> Result<SecretKey, KeyFileError> {
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
