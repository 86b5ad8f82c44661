//! The digest of everything that `policy.db` holds.
//!
//! SQLite's quick check sees whether pages fit together. It sees neither a byte that has changed within a row nor a page that is
//! that of an earlier time. What lies here decides who is let in: who this device is, the floor, locks, the budget.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, params};

use postern_protocol::trust::Digest;

use super::policy::{FORMAT, sqlite};
use super::{Damage, StoreError};

/// Whether what is stored is what its digest was made of; false where none was written yet.
///
/// # Errors
/// [`StoreError::Corrupt`] where it is not.
pub(super) fn is_whole(connection: &Connection) -> Result<bool, StoreError> {
    let stored: Option<Option<Vec<u8>>> = connection
        .query_row("SELECT digest FROM content", [], |row| row.get(0))
        .optional()
        .map_err(sqlite)?;
    match stored {
        Some(Some(stored)) if stored == digest(connection)?.as_bytes() => Ok(true),
        Some(None) => Ok(false),
        Some(Some(_)) | None => Err(mixed()),
    }
}

/// Writes the digest of what is stored now.
pub(super) fn put(connection: &Connection) -> Result<(), StoreError> {
    let digest = digest(connection)?;
    // Nothing is written where nothing has changed, as SQLite does it.
    let rows = connection
        .execute("UPDATE content SET digest = ?1", params![digest.as_bytes().as_slice()])
        .map_err(sqlite)?;
    if rows == 1 { Ok(()) } else { Err(mixed()) }
}

const fn mixed() -> StoreError {
    StoreError::Corrupt { file: FORMAT.file, found: Damage::Mixed }
}

/// Each value with its type and length, row by row and table by table, chained.
fn digest(connection: &Connection) -> Result<Digest, StoreError> {
    let mut digest = Digest::new([0; 32]);
    for table in TABLES {
        digest = link(&digest, b'T', table.as_bytes());
        let mut query =
            connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).map_err(sqlite)?;
        let columns = query.column_count();
        let mut rows = query.query([]).map_err(sqlite)?;
        while let Some(row) = rows.next().map_err(sqlite)? {
            for column in 0..columns {
                digest = match row.get_ref(column).map_err(sqlite)? {
                    ValueRef::Null => link(&digest, b'N', &[]),
                    ValueRef::Integer(number) => link(&digest, b'I', &number.to_le_bytes()),
                    ValueRef::Real(number) => link(&digest, b'R', &number.to_le_bytes()),
                    ValueRef::Text(text) => link(&digest, b'S', text),
                    ValueRef::Blob(bytes) => link(&digest, b'B', bytes),
                };
            }
        }
    }
    Ok(digest)
}

fn link(before: &Digest, kind: u8, bytes: &[u8]) -> Digest {
    Digest::of(&[before.as_bytes(), &[kind], bytes])
}

const TABLES: [&str; 8] =
    ["enrollment", "policy", "floor", "owed", "counter", "held_lock", "secret", "receipt"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_in_the_digest_but_the_one_that_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let connection = FORMAT.open(dir.path()).unwrap();
        let mut query = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
        let mut found: Vec<String> =
            query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        found.sort();
        let mut expected = [&TABLES[..], &["content"]].concat();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
