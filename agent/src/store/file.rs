//! Opens one SQLite file so that a commit survives a power cut on flash.
//!
//! 1. WAL and `synchronous = FULL`: one fsync for each commit, and nothing that was committed is lost.
//! 2. A real write proves that WAL works here: JFFS2 and some overlays report it and fail later. Where it does not,
//!    a truncated rollback journal with an exclusive lock is used.
//! 3. `quick_check`, then migrations by `user_version`. What is sorted on the way is in memory: a running agent makes no file elsewhere.

use std::cmp::Ordering;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{Damage, StoreError};
use crate::disk;

/// One database file: its name, and what leads from each format to the next.
#[derive(Debug)]
pub(super) struct Format {
    pub(super) file: &'static str,
    pub(super) migrations: &'static [&'static str],
}

impl Format {
    /// Opens `dir/file` for writing, creating or migrating it.
    pub(super) fn open(&self, dir: &Path) -> Result<Connection, StoreError> {
        // SQLite refuses a link anywhere in the path. The directory may stand behind one (`/var` on a data partition);
        // it is private, so only the file itself must be none.
        let dir = dir.canonicalize().map_err(|error| StoreError::Io { path: dir.to_owned(), error })?;
        let path = dir.join(self.file);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connect = || Connection::open_with_flags(&path, flags).map_err(|error| self.error(error));
        let mut connection = connect()?;
        // SQLite creates with the umask, and gives its journals the mode of the database.
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, private)
            .map_err(|error| StoreError::Io { path: path.clone(), error })?;
        if !self.write_ahead(&connection)? {
            tracing::warn!(
                file = self.file,
                "no write-ahead log on this file system; a rollback journal is used"
            );
            drop(connection);
            connection = connect()?;
            self.roll_back(&connection)?;
        }
        // SQLite does not sync the name of a new database, and does not say when that of a new journal could not be synced: whatever is
        // committed to them would be gone with their names.
        disk::sync(&dir).map_err(|error| StoreError::Io { path: dir, error })?;
        self.check(&connection)?;
        self.migrate(&mut connection)?;
        self.check_tables(&connection)?;
        Ok(connection)
    }

    /// Opens `dir/file` for reading.
    pub(super) fn open_read_only(&self, dir: &Path) -> Result<Connection, StoreError> {
        let path = dir.join(self.file);
        if !path.exists() {
            return Err(StoreError::Missing { path });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| self.error(error))?;
        self.check(&connection)?;
        let found = self.version(&connection)?;
        let expected = self.newest();
        match found.cmp(&expected) {
            Ordering::Equal => self.check_tables(&connection).map(|()| connection),
            Ordering::Less => Err(StoreError::Older { file: self.file, found, expected }),
            Ordering::Greater => Err(self.newer(&connection, found)),
        }
    }

    /// Gives an error of SQLite the name of the file.
    pub(super) fn error(&self, error: rusqlite::Error) -> StoreError {
        if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            return StoreError::Full;
        }
        StoreError::Sqlite { file: self.file, error }
    }

    /// A stored value that this agent never writes.
    pub(super) const fn damaged(&self) -> StoreError {
        StoreError::Corrupt { file: self.file, found: Damage::Value }
    }

    /// Whether the write-ahead log works here.
    fn write_ahead(&self, connection: &Connection) -> Result<bool, StoreError> {
        let wal = Self::prepare(connection).and_then(|()| {
            let mode: String =
                connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
            probe(connection).map(|()| mode == "wal")
        });
        match wal {
            Err(error) if self.is_final(&error) => Err(self.error(error)),
            wal => Ok(wal.unwrap_or(false)),
        }
    }

    /// Uses a rollback journal. The connection must be new: with its lock taken before anything is read it needs no memory that
    /// processes share, not even for a log that was written elsewhere.
    fn roll_back(&self, connection: &Connection) -> Result<(), StoreError> {
        connection
            .execute_batch("PRAGMA locking_mode = EXCLUSIVE;")
            .and_then(|()| Self::prepare(connection))
            .and_then(|()| connection.execute_batch("PRAGMA journal_mode = TRUNCATE;"))
            .and_then(|()| probe(connection))
            .map_err(|error| self.error(error))
    }

    fn prepare(connection: &Connection) -> rusqlite::Result<()> {
        let prepare = "PRAGMA page_size = 4096; PRAGMA cache_size = -256; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;";
        connection.execute_batch(prepare)
    }

    /// Errors that another journal mode does not heal.
    fn is_final(&self, error: &rusqlite::Error) -> bool {
        matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::DiskFull
                    | ErrorCode::ReadOnly
                    | ErrorCode::PermissionDenied
            )
        )
    }

    fn check(&self, connection: &Connection) -> Result<(), StoreError> {
        let verdict: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| self.error(error))?;
        if verdict == "ok" {
            Ok(())
        } else {
            Err(StoreError::Corrupt { file: self.file, found: Damage::Pages })
        }
    }

    /// Whether the tables are those that the migrations make. The quick check takes the words of a definition as they are, and with
    /// one that has changed there no row could be written ever again.
    fn check_tables(&self, connection: &Connection) -> Result<(), StoreError> {
        let mut model = Connection::open_in_memory().map_err(|error| self.error(error))?;
        self.migrate(&mut model)?;
        if self.tables(connection)? == self.tables(&model)? {
            Ok(())
        } else {
            Err(StoreError::Corrupt { file: self.file, found: Damage::Tables })
        }
    }

    /// A number of a format that is not known yet: with the tables of the newest one that is known, it is the number that changed.
    fn newer(&self, connection: &Connection, found: i64) -> StoreError {
        match self.check_tables(connection) {
            Ok(()) => StoreError::Corrupt { file: self.file, found: Damage::Value },
            Err(_) => StoreError::Newer { file: self.file, found, expected: self.newest() },
        }
    }

    fn tables(&self, connection: &Connection) -> Result<Vec<(String, Option<String>)>, StoreError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            let mut query = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name")?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        };
        read().map_err(|error| self.error(error))
    }

    fn migrate(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let (found, expected) = (self.version(connection)?, self.newest());
        if found > expected {
            return Err(self.newer(connection, found));
        }
        let steps =
            usize::try_from(found).ok().and_then(|done| self.migrations.get(done..)).unwrap_or_default();
        if steps.is_empty() {
            return Ok(());
        }
        let transaction = connection.transaction().map_err(|error| self.error(error))?;
        for step in steps {
            transaction.execute_batch(step).map_err(|error| self.error(error))?;
        }
        transaction.pragma_update(None, "user_version", expected).map_err(|error| self.error(error))?;
        transaction.commit().map_err(|error| self.error(error))
    }

    fn version(&self, connection: &Connection) -> Result<i64, StoreError> {
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|error| self.error(error))
    }

    fn newest(&self) -> i64 {
        i64::try_from(self.migrations.len()).unwrap_or(i64::MAX)
    }
}

/// Replaces `dir/name` so that a power cut leaves the old or the new content.
pub(super) fn replace(dir: &Path, name: &str, content: &[u8]) -> Result<(), StoreError> {
    let replaced = disk::replace(dir, name, &format!("{name}.partial"), content);
    replaced.map_err(|error| StoreError::Io { path: dir.join(name), error })
}

/// What SQLite says when a page could not be read.
pub(super) const READ: i32 = rusqlite::ffi::SQLITE_IOERR_READ;
/// What it says when `fsync` failed.
pub(super) const SYNC: i32 = rusqlite::ffi::SQLITE_IOERR_FSYNC;
pub(super) const SYNC_DIR: i32 = rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC;

/// A write that changes nothing and yet goes through journal, shared memory and file.
fn probe(connection: &Connection) -> Result<(), rusqlite::Error> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    connection.execute_batch(&format!("BEGIN IMMEDIATE; PRAGMA user_version = {version}; COMMIT;"))
}
