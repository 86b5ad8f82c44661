//! The state directory: private, and held by one agent at a time.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::trouble::Trouble;

/// A locked state directory. The lock goes with the process, however it ends.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the directory where it is missing, and locks it.
    ///
    /// # Errors
    /// [`Trouble::Occupied`], [`Trouble::StateMode`] or [`Trouble::StateDir`].
    pub(crate) fn lock(path: &Path) -> Result<Self, Trouble> {
        let trouble = |error: io::Error| Trouble::StateDir { path: path.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(trouble)?;
        let metadata = std::fs::metadata(path).map_err(trouble)?;
        let mode = metadata.mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(Trouble::StateMode { path: path.to_owned(), mode });
        }
        let (found, expected) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if !may_own(found, expected) {
            return Err(Trouble::StateOwner { path: path.to_owned(), found, expected });
        }
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(trouble)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Trouble::Occupied { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(trouble(error)),
        }
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Whoever owns the directory can exchange key, enrolment and policy: only the agent's own user and root may.
const fn may_own(owner: u32, agent: u32) -> bool {
    owner == agent || owner == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_agent_s_user_and_root_may_own_the_directory() {
        assert!(may_own(1000, 1000) && may_own(0, 1000) && may_own(0, 0));
        assert!(!may_own(1001, 1000) && !may_own(1000, 0));
    }

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
        assert!(matches!(StateDir::lock(dir.path()), Err(Trouble::StateMode { mode: 0o777, .. })));
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        StateDir::lock(dir.path()).unwrap();
    }
}
