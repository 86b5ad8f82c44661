//! SQLite: one file with WAL and `synchronous=FULL`, so that what was committed survives a power cut.

use std::borrow::Cow;
use std::path::Path;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql, Transaction, TransactionBehavior};

use super::{Access, Engine, Value};
use crate::store::{BUSY, StoreError, schema};

/// Opens a file that is there, and brings its schema up to date.
pub(in crate::store) fn open(path: &Path) -> Result<Engine, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    schema::migrate(&mut connection)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(Engine::Sqlite(connection))
}

pub(super) fn begin(connection: &mut Connection, access: Access) -> rusqlite::Result<Transaction<'_>> {
    let behaviour = match access {
        Access::Read => TransactionBehavior::Deferred,
        // Said each time: what is signed must never be lost because something was noted before.
        Access::Write => {
            connection.pragma_update(None, "synchronous", "FULL")?;
            TransactionBehavior::Immediate
        }
        Access::Note => {
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            TransactionBehavior::Immediate
        }
    };
    connection.transaction_with_behavior(behaviour)
}

pub(super) fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "data_version", |row| row.get(0))
}

pub(super) fn value(value: ValueRef<'_>) -> Result<Value<'_>, StoreError> {
    match value {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(number) => Ok(Value::Integer(number)),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).map_err(|_| StoreError::Damaged { what: "text" })?;
            Ok(Value::Text(Cow::Borrowed(text)))
        }
        ValueRef::Blob(bytes) => Ok(Value::Blob(Cow::Borrowed(bytes))),
        ValueRef::Real(_) => Err(StoreError::Damaged { what: "number" }),
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Statements that are kept prepared: more than there are.
const STATEMENTS: usize = 256;
