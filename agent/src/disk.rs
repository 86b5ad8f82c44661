//! Plain files and names that survive a power cut once a function here has returned.
//!
//! 1. [`replace`] writes a file beside the one that it replaces, syncs it, renames it, and syncs the directory: a power cut leaves
//!    the old content or the new one.
//! 2. [`rename`], [`remove`] and [`sync`] change names; only after [`sync`] is a change safe.
//!
//! In unit tests each step first asks a disk of the tests, which fails or loses power there.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

#[cfg(test)]
use postern_disk::plain as asked;

/// Gives `dir/name` this content and the mode 0600, by way of the file `partial`.
///
/// # Errors
/// What the system says; the file is the one of before or the new one then.
pub(crate) fn replace(dir: &Path, name: &str, partial: &str, content: &[u8]) -> io::Result<()> {
    let (path, partial) = (dir.join(name), dir.join(partial));
    // Left by a power cut, or put there by somebody who wants to read along.
    if let Err(error) = remove(&partial)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    asked::create(&partial)?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(NOFOLLOW).open(&partial)?;
    asked::write(&partial, content)?;
    file.write_all(content)?;
    asked::sync(&partial)?;
    file.sync_all()?;
    rename(&partial, &path)?;
    sync(dir)
}

/// Gives a file another name in the same directory.
///
/// # Errors
/// What the system says.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    asked::rename(from, to)?;
    std::fs::rename(from, to)
}

/// Removes a file.
///
/// # Errors
/// What the system says.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    asked::remove(path)?;
    std::fs::remove_file(path)
}

/// Makes the names in a directory safe.
///
/// # Errors
/// What the system says.
pub(crate) fn sync(dir: &Path) -> io::Result<()> {
    asked::sync_names(dir)?;
    File::open(dir)?.sync_all()
}

/// Nobody is asked.
#[cfg(not(test))]
mod asked {
    use std::io;
    use std::path::Path;

    macro_rules! unasked {
        ($($step:ident($($argument:ty),*);)*) => {
            $(#[inline] pub(super) const fn $step($(_: $argument),*) -> io::Result<()> { Ok(()) })*
        };
    }
    unasked! {
        create(&Path);
        write(&Path, &[u8]);
        sync(&Path);
        rename(&Path, &Path);
        remove(&Path);
        sync_names(&Path);
    }
}

const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
