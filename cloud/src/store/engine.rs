//! What the store asks of an SQL engine, and the two that answer: SQLite in a file, PostgreSQL elsewhere.
//!
//! 1. [`Engine`] is an open database; [`Engine::begin`] begins a transaction, with one of three promises ([`Access`]).
//! 2. [`Sql`] is that transaction: it prepares statements, whose text both engines understand, and commits.
//! 3. [`Statement`], [`Rows`] and [`Row`] run one and read what it found. [`Value`] is all that goes in or comes out.
//!
//! The dialect is what both have: `ON CONFLICT`, `RETURNING`, `?` and `?1` for values; names that are words of SQL in quotes. A condition on a
//! value that may be null says what it is (`CAST(?1 AS TEXT) IS NULL`). What one engine alone understands is asked for here
//! ([`Sql::through`], [`Sql::unindexed`]). Truth is an integer, as everywhere in the tables.

pub(super) mod postgres;
mod sqlite;
mod value;

use super::StoreError;

pub(super) use self::sqlite::open as open_file;
pub(super) use self::value::{Column, Param, Value};

/// An open database.
#[derive(Debug)]
pub(super) enum Engine {
    /// A file of this process and its fellows on this machine.
    Sqlite(rusqlite::Connection),
    /// A server.
    Postgres(Box<postgres::Database>),
}

/// What a transaction may do, and what of it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// It sees one state and changes nothing.
    Read,
    /// It is the only one that writes, and lasts once it is committed.
    Write,
    /// The same, but a power cut may take the newest of these back.
    Note,
}

impl Access {
    /// The word in metrics.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Note => "note",
        }
    }
}

impl Engine {
    pub(super) fn begin(&mut self, access: Access) -> Result<Sql<'_>, StoreError> {
        match self {
            Self::Sqlite(connection) => Ok(Sql::Sqlite(sqlite::begin(connection, access)?)),
            Self::Postgres(database) => Ok(Sql::Postgres(database.begin(access)?)),
        }
    }

    /// A number that changes when another process has written.
    pub(super) fn data_version(&mut self) -> Result<i64, StoreError> {
        match self {
            Self::Sqlite(connection) => Ok(sqlite::data_version(connection)?),
            Self::Postgres(database) => Ok(database.data_version()?),
        }
    }
}

/// A transaction. Dropped without a commit it changes nothing.
#[derive(Debug)]
pub(super) enum Sql<'a> {
    Sqlite(rusqlite::Transaction<'a>),
    Postgres(postgres::Transaction<'a>),
}

impl Sql<'_> {
    /// A statement that is parsed and planned once, as long as it is used now and then.
    pub(super) fn prepare_cached(&self, text: &str) -> Result<Statement<'_>, StoreError> {
        match self {
            Self::Sqlite(sql) => Ok(Statement::Sqlite(sql.prepare_cached(text)?)),
            Self::Postgres(sql) => Ok(Statement::Postgres(sql.prepare(text)?)),
        }
    }

    /// As [`Statement::execute`].
    pub(super) fn execute(&self, text: &str, values: &[Value<'_>]) -> Result<usize, StoreError> {
        self.prepare_cached(text)?.execute(values)
    }

    /// As [`Statement::query_row`].
    pub(super) fn query_row<T>(
        &self,
        text: &str,
        values: &[Value<'_>],
        read: impl FnOnce(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.prepare_cached(text)?.query_row(values, read)
    }

    /// As [`Statement::first`].
    pub(super) fn first<T>(
        &self,
        text: &str,
        values: &[Value<'_>],
        read: impl FnOnce(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.prepare_cached(text)?.first(values, read)
    }

    /// What stands behind the name of a table that must be walked along an index. PostgreSQL is not told: it knows how much there is.
    pub(super) fn through(&self, index: &str) -> String {
        match self {
            Self::Sqlite(_) => format!(" INDEXED BY {index}"),
            Self::Postgres(_) => String::new(),
        }
    }

    /// A column in a condition for which no index may be used.
    pub(super) fn unindexed(&self, column: &str) -> String {
        match self {
            Self::Sqlite(_) => format!("+{column}"),
            Self::Postgres(_) => column.to_owned(),
        }
    }

    pub(super) fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(sql) => Ok(sql.commit()?),
            Self::Postgres(sql) => Ok(sql.commit()?),
        }
    }
}

/// A prepared statement.
pub(super) enum Statement<'a> {
    Sqlite(rusqlite::CachedStatement<'a>),
    Postgres(postgres::Statement<'a>),
}

impl Statement<'_> {
    /// Runs it and says how many rows it changed.
    pub(super) fn execute(&mut self, values: &[Value<'_>]) -> Result<usize, StoreError> {
        match self {
            Self::Sqlite(statement) => Ok(statement.execute(rusqlite::params_from_iter(values))?),
            Self::Postgres(statement) => Ok(statement.execute(values)?),
        }
    }

    /// The rows that it finds. They are read to the end, or are few.
    pub(super) fn query(&mut self, values: &[Value<'_>]) -> Result<Rows<'_>, StoreError> {
        match self {
            Self::Sqlite(statement) => Ok(Rows::Sqlite(statement.query(rusqlite::params_from_iter(values))?)),
            Self::Postgres(statement) => Ok(Rows::Postgres(statement.query(values)?)),
        }
    }

    /// The same for many rows of which perhaps only the first are read, in an order that an index has.
    pub(super) fn walk(&mut self, values: &[Value<'_>]) -> Result<Rows<'_>, StoreError> {
        match self {
            Self::Sqlite(_) => self.query(values),
            Self::Postgres(statement) => Ok(Rows::Postgres(statement.walk(values)?)),
        }
    }

    /// The first row, if there is one.
    pub(super) fn first<T>(
        &mut self,
        values: &[Value<'_>],
        read: impl FnOnce(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.query(values)?.next()?.map(read).transpose()
    }

    /// The one row that there always is.
    pub(super) fn query_row<T>(
        &mut self,
        values: &[Value<'_>],
        read: impl FnOnce(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.first(values, read)?.ok_or(StoreError::Damaged { what: "row" })
    }

    /// Every row, read.
    pub(super) fn all<T>(
        &mut self,
        values: &[Value<'_>],
        mut read: impl FnMut(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut rows = self.query(values)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(read(row)?);
        }
        Ok(all)
    }

    /// Whether there is any row.
    pub(super) fn exists(&mut self, values: &[Value<'_>]) -> Result<bool, StoreError> {
        Ok(self.query(values)?.next()?.is_some())
    }
}

/// The rows of a statement, one after another.
pub(super) enum Rows<'a> {
    Sqlite(rusqlite::Rows<'a>),
    Postgres(postgres::Rows<'a>),
}

impl Rows<'_> {
    pub(super) fn next(&mut self) -> Result<Option<Row<'_>>, StoreError> {
        match self {
            Self::Sqlite(rows) => Ok(rows.next()?.map(Row::Sqlite)),
            Self::Postgres(rows) => Ok(rows.next()?.map(Row::Postgres)),
        }
    }
}

/// One row.
#[derive(Clone, Copy)]
pub(super) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a postgres::Row),
}

impl<'a> Row<'a> {
    /// What stands in a column, counted from 0.
    pub(super) fn get<T: Column>(&self, at: usize) -> Result<T, StoreError> {
        T::read(self.value(at)?).ok_or(StoreError::Damaged { what: "value" })
    }

    /// The same without a copy: text.
    pub(super) fn text(&self, at: usize) -> Result<&'a str, StoreError> {
        match self.value(at)? {
            Value::Text(std::borrow::Cow::Borrowed(text)) => Ok(text),
            Value::Text(_) | Value::Null | Value::Integer(_) | Value::Blob(_) => {
                Err(StoreError::Damaged { what: "text" })
            }
        }
    }

    /// The same: bytes.
    pub(super) fn blob(&self, at: usize) -> Result<&'a [u8], StoreError> {
        self.blob_or_null(at)?.ok_or(StoreError::Damaged { what: "id or key" })
    }

    /// The same: bytes, or nothing.
    pub(super) fn blob_or_null(&self, at: usize) -> Result<Option<&'a [u8]>, StoreError> {
        match self.value(at)? {
            Value::Null => Ok(None),
            Value::Blob(std::borrow::Cow::Borrowed(bytes)) => Ok(Some(bytes)),
            Value::Blob(_) | Value::Integer(_) | Value::Text(_) => {
                Err(StoreError::Damaged { what: "id or key" })
            }
        }
    }

    fn value(&self, at: usize) -> Result<Value<'a>, StoreError> {
        match self {
            Self::Sqlite(row) => sqlite::value(row.get_ref(at)?),
            Self::Postgres(row) => Ok(postgres::value(row, at)?),
        }
    }
}

/// The values of a statement.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::store::engine::Param::value(&$value)),*] as &[$crate::store::engine::Value<'_>]
    };
}
pub(super) use params;
