//! PostgreSQL: a server that others keep available.
//!
//! 1. [`Place`] is where it is and how it is spoken to; [`Database`] is this process' way there.
//! 2. A transaction that reads sees one state and cannot change it. Those that write are one after another, over all processes of the
//!    installation, by a lock of the database that ends with the transaction.
//! 3. Each that writes leaves a mark. By the count of marks a process sees that another one has written; by its own mark it finds out what became
//!    of a transaction whose last answer was lost.
//! 4. A connection that is lost is made anew by the next transaction. The one that was under way has failed, and nothing of it is stored.

mod fault;
mod numbered;
mod place;
mod primacy;
pub(in crate::store) mod schema;
mod session;
mod tls;

use std::borrow::Cow;
use std::cell::Cell;
use std::error::Error;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use data_encoding::HEXLOWER;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

pub use self::fault::DatabaseError;
pub(in crate::store) use self::place::Place;
pub use self::primacy::Primacy;
use self::session::{ANSWER, Session};
use super::{Access, Value};
use crate::chance;

pub(super) type Row = tokio_postgres::Row;

/// The way of this process to its database.
#[derive(Debug)]
pub(in crate::store) struct Database {
    place: Place,
    /// None once it was lost.
    session: Option<Session>,
    /// How many transactions of this process are stored.
    own: i64,
}

impl Database {
    /// Connects. The schema is looked at by [`schema::migrate`].
    pub(in crate::store) fn connect(place: Place) -> Result<Self, DatabaseError> {
        let session = Session::connect(&place, ANSWER)?;
        Ok(Self { place, session: Some(session), own: 0 })
    }

    pub(in crate::store) fn begin(&mut self, access: Access) -> Result<Transaction<'_>, DatabaseError> {
        let begin = match access {
            Access::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned(),
            Access::Write => format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {ALONE}"),
            Access::Note => {
                format!(
                    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = off; {ALONE}"
                )
            }
        };
        self.on_a_connection(|session| session.batch(&begin))?;
        Ok(Transaction { database: self, access, walks: Cell::new(0), over: false })
    }

    pub(super) fn data_version(&mut self) -> Result<i64, DatabaseError> {
        let marks =
            self.on_a_connection(|session| session.ask("SELECT coalesce(max(number), 0) FROM mark"))?;
        let marks: i64 = marks.and_then(|marks| marks.parse().ok()).unwrap_or(0);
        Ok(marks.saturating_sub(self.own))
    }

    /// Asks what begins something; where the connection was lost since it was used last, once more on another one.
    fn on_a_connection<T>(
        &mut self,
        ask: impl Fn(&Session) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        if let Some(session) = self.session.as_ref().filter(|session| !session.is_over()) {
            match ask(session) {
                Err(error) if error.is_end() || session.is_over() => {}
                Err(error) => {
                    session.send("ROLLBACK");
                    return Err(error);
                }
                Ok(answer) => return Ok(answer),
            }
        }
        self.session = None;
        let session = self.session.insert(Session::connect(&self.place, ANSWER)?);
        ask(session).inspect_err(|_| session.send("ROLLBACK"))
    }

    /// What became of a transaction that left this mark, if it is stored. Whoever has the lock of writers knows: nothing is under way then.
    fn is_stored(&mut self, mark: &str) -> Result<bool, DatabaseError> {
        let until = Instant::now() + SETTLE;
        loop {
            let question = format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; {ALONE}; SELECT count(*) FROM mark WHERE mark = '\\x{mark}'; COMMIT"
            );
            match self.on_a_connection(|session| session.ask(&question)) {
                Ok(count) => return Ok(count.as_deref() == Some("1")),
                Err(_) if Instant::now() < until => std::thread::sleep(AGAIN),
                Err(_) => return Err(DatabaseError::Unknown),
            }
        }
    }
}

/// A transaction. Dropped without a commit it changes nothing.
#[derive(Debug)]
pub(in crate::store) struct Transaction<'a> {
    database: &'a mut Database,
    access: Access,
    /// Cursors that are open, each inside of the one before.
    walks: Cell<u32>,
    over: bool,
}

impl Transaction<'_> {
    fn session(&self) -> Result<&Session, DatabaseError> {
        self.database.session.as_ref().ok_or_else(|| DatabaseError::Lost("it is closed".to_owned()))
    }

    pub(super) fn prepare(&self, text: &str) -> Result<Statement<'_>, DatabaseError> {
        Ok(Statement { transaction: self, text: text.to_owned(), prepared: self.session()?.prepare(text)? })
    }

    /// Stores what was done, and says so once it is. Where the answer does not come, the database is asked what became of it.
    pub(in crate::store) fn commit(mut self) -> Result<(), DatabaseError> {
        self.over = true;
        let session = self.session()?;
        if self.access == Access::Read {
            session.send("COMMIT");
            return Ok(());
        }
        let mark = HEXLOWER.encode(&chance::bytes::<16>());
        let asked = session.batch(&format!(
            "INSERT INTO mark (number, mark) SELECT coalesce(max(number), 0) + 1, '\\x{mark}' FROM mark;
             DELETE FROM mark WHERE number <= (SELECT max(number) FROM mark) - {MARKS};
             COMMIT"
        ));
        match asked {
            Ok(()) => {}
            Err(error) if error.is_end() || session.is_over() => {
                if !self.database.is_stored(&mark)? {
                    return Err(error);
                }
            }
            Err(error) => {
                session.send("ROLLBACK");
                return Err(error);
            }
        }
        self.database.own = self.database.own.saturating_add(1);
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.over
            && let Some(session) = &self.database.session
        {
            session.send("ROLLBACK");
        }
    }
}

/// A prepared statement.
pub(in crate::store) struct Statement<'a> {
    transaction: &'a Transaction<'a>,
    text: String,
    prepared: tokio_postgres::Statement,
}

impl Statement<'_> {
    pub(super) fn execute(&self, values: &[Value<'_>]) -> Result<usize, DatabaseError> {
        self.transaction.session()?.execute(&self.prepared, values)
    }

    pub(super) fn query(&self, values: &[Value<'_>]) -> Result<Rows<'_>, DatabaseError> {
        Ok(Rows { found: self.transaction.session()?.query(&self.prepared, values)?, at: 0, cursor: None })
    }

    /// Fetches rows as they are read, in a plan that is good for the first of them.
    pub(super) fn walk(&self, values: &[Value<'_>]) -> Result<Rows<'_>, DatabaseError> {
        let (transaction, depth) = (self.transaction, self.transaction.walks.get());
        let session = transaction.session()?;
        let declare = session.prepare(&format!("DECLARE walk_{depth} NO SCROLL CURSOR FOR {}", self.text))?;
        session.execute(&declare, values)?;
        transaction.walks.set(depth.saturating_add(1));
        Ok(Rows { found: Vec::new(), at: 0, cursor: Some(Cursor { transaction, depth, piece: FIRST_PIECE }) })
    }
}

/// What a statement found.
pub(in crate::store) struct Rows<'a> {
    found: Vec<Row>,
    at: usize,
    cursor: Option<Cursor<'a>>,
}

/// More of it, at the server.
struct Cursor<'a> {
    transaction: &'a Transaction<'a>,
    depth: u32,
    piece: u32,
}

impl Rows<'_> {
    pub(super) fn next(&mut self) -> Result<Option<&Row>, DatabaseError> {
        if self.at >= self.found.len()
            && let Some(cursor) = &mut self.cursor
        {
            let (session, depth, piece) = (cursor.transaction.session()?, cursor.depth, cursor.piece);
            self.found = session.query_once(&format!("FETCH {piece} FROM walk_{depth}"))?;
            self.at = 0;
            cursor.piece = LATER_PIECES;
        }
        let row = self.found.get(self.at);
        self.at = self.at.saturating_add(1);
        Ok(row)
    }
}

impl Drop for Cursor<'_> {
    fn drop(&mut self) {
        self.transaction.walks.set(self.depth);
        if let Ok(session) = self.transaction.session() {
            session.send(&format!("CLOSE walk_{}", self.depth));
        }
    }
}

pub(super) fn value(row: &Row, at: usize) -> Result<Value<'_>, DatabaseError> {
    row.try_get(at).map_err(|error| DatabaseError::of(&error))
}

impl<'a> FromSql<'a> for Value<'a> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        match *kind {
            Type::INT8 => i64::from_sql(kind, raw).map(Self::Integer),
            Type::INT4 => i32::from_sql(kind, raw).map(|number| Self::Integer(number.into())),
            Type::BOOL => bool::from_sql(kind, raw).map(|truth| Self::Integer(truth.into())),
            Type::BYTEA => Ok(Self::Blob(Cow::Borrowed(raw))),
            _ => <&str>::from_sql(kind, raw).map(|text| Self::Text(Cow::Borrowed(text))),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT8, Type::INT4, Type::BOOL, Type::BYTEA, Type::TEXT, Type::VARCHAR].contains(kind)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, kind) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Integer(number), &Type::INT4) => i32::try_from(*number)?.to_sql(kind, out),
            (Self::Integer(number), &Type::INT8) => number.to_sql(kind, out),
            (Self::Text(text), &Type::TEXT) => text.to_sql(kind, out),
            (Self::Blob(bytes), &Type::BYTEA) => bytes.as_ref().to_sql(kind, out),
            (Self::Integer(_) | Self::Text(_) | Self::Blob(_), _) => {
                Err(format!("the statement wants {kind}").into())
            }
        }
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT8, Type::INT4, Type::BYTEA, Type::TEXT].contains(kind)
    }

    to_sql_checked!();
}

/// Writers of one database wait here for each other: `PSTN` and what it is for.
const ALONE: &str = "SELECT pg_advisory_xact_lock(1347638350, 1)";
/// Marks that are kept. One is asked for within seconds, if ever.
const MARKS: u32 = 1000;
/// For how long a database that has vanished is asked what became of a transaction.
const SETTLE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(200);
/// Rows that are fetched first, and each time after that.
const FIRST_PIECE: u32 = 64;
const LATER_PIECES: u32 = 1024;

#[cfg(test)]
mod tests;
