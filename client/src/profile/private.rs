//! Files that nobody else may read or replace.
//!
//! 1. The directory is made with mode 0700; one that others can write to is refused.
//! 2. A file is read through one open descriptor: a symbolic link, another owner or bits for others are refused.
//!    Without this a key could be read by others, or be replaced by one that somebody else holds.
//! 3. A file is written beside its place with mode 0600, synced and renamed: readers see the old or the new one.
//!
//! On Windows the directory inherits the access list of the user's profile, and steps 1 and 2 check nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Why a file or directory is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileFault {
    /// Others can read or change it.
    #[error("`{}` can be reached by others (mode {found:04o}, expected {expected:04o})", path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        found: u32,
        /// What they should be.
        expected: u32,
    },
    /// It belongs to somebody else.
    #[error("`{}` belongs to user {found}, expected is {expected}", path.display())]
    Owner {
        /// Which.
        path: PathBuf,
        /// Its owner.
        found: u32,
        /// Who runs this program.
        expected: u32,
    },
    /// A symbolic link, directory, pipe or device.
    #[error("`{}` is not a regular file", path.display())]
    NotRegular {
        /// Which.
        path: PathBuf,
    },
    /// The content is too long or not what belongs there.
    #[error("`{}` is damaged", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("`{}`: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        #[source]
        error: io::Error,
    },
}

/// Makes the directory and its parents, or checks the one that is there.
pub(super) fn create_dir(dir: &Path) -> Result<(), FileFault> {
    let failed = |error| FileFault::Io { path: dir.to_owned(), error };
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::create_dir_all(parent).map_err(failed)?,
        Some(_) | None => {}
    }
    match make_dir(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_dir(dir),
        Err(error) => Err(failed(error)),
    }
}

/// The content of a file, at most `max` bytes of it; `None` when it does not exist.
pub(super) fn read(dir: &Path, name: &str, max: usize) -> Result<Option<Zeroizing<Vec<u8>>>, FileFault> {
    let path = dir.join(name);
    let failed = |error| FileFault::Io { path: path.clone(), error };
    let file = match open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if is_link(&error) => return Err(FileFault::NotRegular { path }),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(FileFault::NotRegular { path });
    }
    check_owner(&path, &metadata)?;
    check_mode(&path, &metadata, 0o077, 0o600)?;
    let limit = u64::try_from(max).unwrap_or(u64::MAX);
    let mut content = Zeroizing::new(Vec::with_capacity(max.min(4096)));
    file.take(limit.saturating_add(1)).read_to_end(&mut content).map_err(failed)?;
    if content.len() > max { Err(FileFault::Damaged { path }) } else { Ok(Some(content)) }
}

/// Writes a file so that it is there whole or not at all.
pub(super) fn write(dir: &Path, name: &str, content: &[u8]) -> Result<(), FileFault> {
    let path = dir.join(name);
    // Two programs of one user may write at once; each has its own draft.
    let draft = dir.join(format!(".{name}.{}", std::process::id()));
    let written = write_draft(&draft, content).and_then(|()| fs::rename(&draft, &path));
    written.and_then(|()| sync_dir(dir)).map_err(|error| {
        let _absent = fs::remove_file(&draft);
        FileFault::Io { path, error }
    })
}

/// Removes a file; one that is not there is removed.
pub(super) fn remove(dir: &Path, name: &str) -> Result<(), FileFault> {
    let path = dir.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileFault::Io { path, error }),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write_draft(draft: &Path, content: &[u8]) -> io::Result<()> {
    // Left by a process of the same number that was killed.
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(draft)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(unix)]
fn make_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(dir)
}

#[cfg(not(unix))]
fn make_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir(dir)
}

fn check_dir(dir: &Path) -> Result<(), FileFault> {
    let failed = |error| FileFault::Io { path: dir.to_owned(), error };
    let metadata = fs::metadata(dir).map_err(failed)?;
    if !metadata.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    check_owner(dir, &metadata)?;
    // Others may look at the names in it, but not change them.
    check_mode(dir, &metadata, 0o022, 0o700)
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    // Without waiting, because a pipe of that name would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(unix)]
fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(not(unix))]
fn is_link(_error: &io::Error) -> bool {
    false
}

#[cfg(unix)]
fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), FileFault> {
    use std::os::unix::fs::MetadataExt as _;
    let (found, expected) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if found == expected { Ok(()) } else { Err(FileFault::Owner { path: path.to_owned(), found, expected }) }
}

#[cfg(unix)]
fn check_mode(path: &Path, metadata: &fs::Metadata, refused: u32, expected: u32) -> Result<(), FileFault> {
    use std::os::unix::fs::MetadataExt as _;
    let found = metadata.mode() & 0o7777;
    if found & refused == 0 {
        Ok(())
    } else {
        Err(FileFault::Exposed { path: path.to_owned(), found, expected })
    }
}

#[cfg(not(unix))]
fn check_owner(_path: &Path, _metadata: &fs::Metadata) -> Result<(), FileFault> {
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(
    _path: &Path,
    _metadata: &fs::Metadata,
    _refused: u32,
    _expected: u32,
) -> Result<(), FileFault> {
    Ok(())
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn dir() -> (tempfile::TempDir, PathBuf) {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("one/two");
        create_dir(&dir).unwrap();
        (base, dir)
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn directory_and_file_are_for_their_owner_alone() {
        let (_base, dir) = dir();
        write(&dir, "key", b"secret").unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(fs::metadata(dir.join("key")).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(read(&dir, "key", 6).unwrap().unwrap().as_slice(), b"secret");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "a draft was left");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_its_mode() {
        let (_base, dir) = dir();
        write(&dir, "key", b"secret").unwrap();
        chmod(&dir.join("key"), 0o640);
        let message = read(&dir, "key", 6).unwrap_err().to_string();
        let path = dir.join("key").display().to_string();
        assert_eq!(message, format!("`{path}` can be reached by others (mode 0640, expected 0600)"));
    }

    #[test]
    fn a_link_is_refused_even_to_a_good_file() {
        let (_base, dir) = dir();
        write(&dir, "other", b"secret").unwrap();
        symlink(dir.join("other"), dir.join("key")).unwrap();
        let fault = read(&dir, "key", 6).unwrap_err();
        assert!(matches!(fault, FileFault::NotRegular { .. }), "{fault}");
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let (_base, dir) = dir();
        chmod(&dir, 0o770);
        let fault = create_dir(&dir).unwrap_err();
        assert!(matches!(fault, FileFault::Exposed { found: 0o770, expected: 0o700, .. }), "{fault}");
        chmod(&dir, 0o755);
        create_dir(&dir).unwrap();
    }

    #[test]
    fn a_file_above_its_limit_is_damaged_and_one_that_is_missing_is_none() {
        let (_base, dir) = dir();
        write(&dir, "pass", b"1234567").unwrap();
        let fault = read(&dir, "pass", 6).unwrap_err();
        assert!(matches!(fault, FileFault::Damaged { .. }), "{fault}");
        assert_eq!(read(&dir, "nothing", 6).unwrap(), None);
        remove(&dir, "nothing").unwrap();
    }
}
