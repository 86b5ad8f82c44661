//! The state directory: private, nobody else's, and held by one agent at a time.

mod strict;

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::trouble::Trouble;

pub(crate) use self::strict::StateFault;

/// A locked state directory. The lock goes with the process, however it ends.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the directory where it is missing, looks at whose it is and at all that is in it, and locks it.
    ///
    /// # Errors
    /// [`Trouble::Occupied`], [`Trouble::State`] or [`Trouble::StateDir`].
    pub(crate) fn lock(path: &Path) -> Result<Self, Trouble> {
        let trouble = |error: io::Error| Trouble::StateDir { path: path.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(trouble)?;
        let agent = rustix::process::geteuid().as_raw();
        strict::above(path, agent)?;
        // No link in the place of the lock is followed; what else is there is looked at when nobody changes it any more.
        let (name, mut lock) = (path.join("lock"), File::options());
        lock.custom_flags(NOFOLLOW);
        let made = lock.clone().write(true).create(true).truncate(false).mode(0o600).open(&name);
        let lock = match made {
            // A disk that takes no writes any more must not end the agent again and again: it denies, and says why.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => lock.read(true).open(&name),
            made => made,
        };
        let lock = lock.map_err(|error| match error.raw_os_error() {
            Some(ELOOP) => StateFault::Link { path: name }.into(),
            _ => trouble(error),
        })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Trouble::Occupied { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(trouble(error)),
        }
        strict::within(path, agent)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Looks at a state directory as the agent does at its start, beside a running one or without one. Root looks at it for whom it
/// belongs to.
///
/// # Errors
/// The first [`StateFault`].
pub(crate) fn inspect(path: &Path) -> Result<(), StateFault> {
    // Where there is none, there is nothing to be said about it.
    let Ok(owner) = std::fs::metadata(path).map(|found| found.uid()) else { return Ok(()) };
    let caller = rustix::process::geteuid().as_raw();
    let agent = if caller == 0 { owner } else { caller };
    strict::above(path, agent)?;
    strict::within(path, agent)
}

const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
const ELOOP: i32 = rustix::io::Errno::LOOP.raw_os_error();

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_agent_on_the_same_directory_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let first = StateDir::lock(&path).unwrap();
        assert!(matches!(StateDir::lock(&path), Err(Trouble::Occupied { .. })));
        drop(first);
        StateDir::lock(&path).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let refused = StateDir::lock(dir.path());
        assert!(matches!(refused, Err(Trouble::State(StateFault::Mode { mode: 0o777, .. }))), "{refused:?}");
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        StateDir::lock(dir.path()).unwrap();
    }

    #[test]
    fn a_link_in_the_place_of_the_lock_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        let state = dir.path().join("state");
        std::fs::create_dir(&state).unwrap();
        std::os::unix::fs::symlink(&elsewhere, state.join("lock")).unwrap();
        let refused = StateDir::lock(&state);
        assert!(matches!(refused, Err(Trouble::State(StateFault::Link { .. }))), "{refused:?}");
        assert!(!elsewhere.exists());
    }
}
