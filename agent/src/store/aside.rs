//! Databases that were damaged, kept for whoever looks into it, and never more of them than there is room for.
//!
//! 1. A damaged database gets the next number: `policy.db.damaged-0`, then `-1`, and so on.
//! 2. The first of each kind is kept, which shows how it began, and the newest ones. Those between go, and the log says so: a disk that
//!    dies damages something at each start, and must not fill itself with what it has damaged.
//!
//! Deliberately absent: repair. What is damaged is never read again by the agent.

use std::path::{Path, PathBuf};

use super::StoreError;
use crate::disk;

/// Moves the database `dir/file` and its journals out of the way and returns its new name.
pub(super) fn set(dir: &Path, file: &str) -> Result<PathBuf, StoreError> {
    let path = dir.join(file);
    let kept = numbers(dir, file);
    let next = kept.last().map_or(0, |last| last.saturating_add(1));
    let aside = named(dir, file, next);
    disk::rename(&path, &aside).map_err(|error| StoreError::Io { path, error })?;
    for journal in ["-wal", "-shm", "-journal"] {
        // Without its database a journal means nothing; a new database must not meet an old one.
        let _absent = disk::remove(&dir.join(format!("{file}{journal}")));
    }
    let surplus = kept.len().saturating_add(1).saturating_sub(KEPT);
    for number in kept.into_iter().skip(1).take(surplus) {
        let old = named(dir, file, number);
        match disk::remove(&old) {
            Ok(()) => {
                tracing::warn!(file = %old.display(), "a database that was set aside made room for a newer one")
            }
            // It takes the room of one file more, and is tried again with the next.
            Err(error) => {
                tracing::warn!(%error, file = %old.display(), "a database that was set aside stays")
            }
        }
    }
    Ok(aside)
}

/// The numbers that are there, ascending.
fn numbers(dir: &Path, file: &str) -> Vec<u32> {
    let prefix = format!("{file}{ASIDE}");
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut numbers: Vec<u32> = names.filter_map(|name| name.strip_prefix(&prefix)?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn named(dir: &Path, file: &str, number: u32) -> PathBuf {
    dir.join(format!("{file}{ASIDE}{number}"))
}

/// Between the name of a database and its number.
pub(super) const ASIDE: &str = ".damaged-";
/// Of each database: the first, and the newest three.
const KEPT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn damaged(dir: &Path, file: &str, content: usize) -> PathBuf {
        std::fs::write(dir.join(file), content.to_string()).unwrap();
        set(dir, file).unwrap()
    }

    #[test]
    fn of_many_damaged_databases_the_first_and_the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..12 {
            let aside = damaged(dir.path(), "audit.db", number);
            assert_eq!(aside, dir.path().join(format!("audit.db.damaged-{number}")));
            assert_eq!(std::fs::read_to_string(aside).unwrap(), number.to_string());
        }
        assert_eq!(numbers(dir.path(), "audit.db"), [0, 9, 10, 11]);
        assert_eq!(std::fs::read_to_string(dir.path().join("audit.db.damaged-0")).unwrap(), "0");
    }

    #[test]
    fn as_many_as_there_is_room_for_are_all_kept_and_each_database_has_room_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..KEPT {
            damaged(dir.path(), "audit.db", number);
        }
        damaged(dir.path(), "policy.db", 0);
        std::fs::write(dir.path().join("audit.db.damaged-by-hand"), "mine").unwrap();
        assert_eq!(numbers(dir.path(), "audit.db"), [0, 1, 2, 3]);
        assert_eq!(numbers(dir.path(), "policy.db"), [0]);
        assert!(dir.path().join("audit.db.damaged-by-hand").exists());
    }

    #[test]
    fn journals_of_a_damaged_database_go_and_those_of_another_stay() {
        let dir = tempfile::tempdir().unwrap();
        let there = |name: &str| dir.path().join(name).exists();
        for name in ["policy.db-wal", "policy.db-shm", "audit.db-wal"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        damaged(dir.path(), "policy.db", 0);
        assert!(!there("policy.db") && !there("policy.db-wal") && !there("policy.db-shm"));
        assert!(there("audit.db-wal"));
    }

    #[test]
    fn what_cannot_be_moved_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.db");
        assert!(
            matches!(set(dir.path(), "policy.db"), Err(StoreError::Io { path: found, .. }) if found == path)
        );
    }
}
