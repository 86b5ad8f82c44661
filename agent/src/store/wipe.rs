//! Overwrites and removes files of the state directory.
//!
//! Flash may keep an older copy of a block in a place that no program reaches; what is sealed to a TPM or encrypted
//! below the file system is safe from that. Everything that reads files finds nothing afterwards.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::StoreError;

/// Overwrites and removes the databases named `file` that were set aside as damaged.
pub(super) fn set_aside(dir: &Path, file: &str) -> Result<(), StoreError> {
    let prefix = format!("{file}{}", super::aside::ASIDE);
    wipe(dir, |name| name.starts_with(&prefix)).map(drop)
}

/// Overwrites and removes everything that makes this device what it is, and with `audit` its trail. It can be done
/// again after a power cut: whatever is left is removed then. Returns how many files there were.
///
/// # Errors
/// The first file that cannot be removed.
pub(crate) fn everything(dir: &Path, audit: bool) -> Result<usize, StoreError> {
    // The keys first: without them nothing else is worth anything.
    let keys = wipe(dir, |name| name.starts_with(crate::identity::FILE))?;
    let of = |name: &str, file: &str| {
        name == file || name.strip_prefix(file).is_some_and(|rest| rest.starts_with(['-', '.']))
    };
    let rest = wipe(dir, |name| {
        let state =
            [super::policy::FILE, super::enrollment::FILE, super::floor::FILES[0], super::floor::FILES[1]];
        state.iter().any(|file| of(name, file))
            || (audit && [super::audit::FILE, super::audit::RATCHET].iter().any(|file| of(name, file)))
    })?;
    Ok(keys + rest)
}

fn wipe(dir: &Path, which: impl Fn(&str) -> bool) -> Result<usize, StoreError> {
    let failed = |path: PathBuf| move |error| StoreError::Io { path, error };
    let mut wiped = 0;
    for entry in std::fs::read_dir(dir).map_err(failed(dir.to_owned()))? {
        let entry = entry.map_err(failed(dir.to_owned()))?;
        let path = entry.path();
        if entry.file_name().to_str().is_some_and(&which) {
            one(&path).map_err(failed(path.clone()))?;
            wiped += 1;
        }
    }
    if wiped > 0 {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed(dir.to_owned()))?;
    }
    Ok(wiped)
}

fn one(path: &Path) -> io::Result<()> {
    // A link is removed, not followed: what it points at belongs to somebody else.
    let metadata = std::fs::symlink_metadata(path)?;
    if metadata.is_file() {
        let mut file = File::options().write(true).open(path)?;
        let zeros = [0; 4096];
        let mut left = metadata.len();
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
            file.write_all(zeros.get(..size).unwrap_or(&zeros))?;
            left = left.saturating_sub(u64::try_from(size).unwrap_or(u64::MAX));
        }
        file.sync_all()?;
    }
    std::fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn state() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "device.key",
            "device.key.next",
            "device.key.partial",
            "policy.db",
            "policy.db-wal",
            "policy.db.damaged-0",
            "enrollment",
            "enrollment.partial",
            "floor.a",
            "floor.b",
            "audit.db",
            "audit.db-wal",
            "audit.ratchet",
            "lock",
            "somebody-elses",
            "policy.dba",
        ] {
            std::fs::write(dir.path().join(name), vec![7; 5000]).unwrap();
        }
        dir
    }

    #[test]
    fn everything_of_the_device_goes_and_the_trail_stays_unless_it_is_named() {
        let dir = state();
        assert_eq!(everything(dir.path(), false).unwrap(), 10);
        assert_eq!(
            names(dir.path()),
            ["audit.db", "audit.db-wal", "audit.ratchet", "lock", "policy.dba", "somebody-elses"]
        );
        assert_eq!(everything(dir.path(), true).unwrap(), 3);
        assert_eq!(names(dir.path()), ["lock", "policy.dba", "somebody-elses"]);
        assert_eq!(everything(dir.path(), true).unwrap(), 0);
    }

    #[test]
    fn what_is_removed_was_overwritten_and_a_link_leads_nowhere() {
        let dir = state();
        let (key, witness) = (dir.path().join("device.key"), dir.path().join("witness"));
        // A second name of the same file shows what is left in it.
        std::fs::hard_link(&key, &witness).unwrap();
        std::fs::remove_file(dir.path().join("floor.a")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("somebody-elses"), dir.path().join("floor.a")).unwrap();
        everything(dir.path(), false).unwrap();
        assert_eq!(std::fs::read(&witness).unwrap(), vec![0; 5000]);
        assert_eq!(std::fs::read(dir.path().join("somebody-elses")).unwrap(), vec![7; 5000]);
        assert!(!dir.path().join("floor.a").is_symlink());
    }

    #[test]
    fn only_databases_that_were_set_aside_go_with_a_policy() {
        let dir = state();
        set_aside(dir.path(), "policy.db").unwrap();
        assert!(!dir.path().join("policy.db.damaged-0").exists() && dir.path().join("policy.db").exists());
    }
}
