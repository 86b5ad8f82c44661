//! `audit.db`: the chained rows, bounded in size, never deleted here.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};

use postern_protocol::audit::row::ROW_BYTES;
use postern_protocol::audit::{Event, Link, Row, chain, verify_chain};
use postern_protocol::policy::Floor;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Digest;
use postern_protocol::wire::codec;
use postern_protocol::wire::control::Held;

use super::StoreError;
use super::file::Format;

/// The open trail and its end.
#[derive(Debug)]
pub(super) struct AuditDb {
    connection: Connection,
    last: End,
    used_bytes: u64,
}

/// The newest row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    seq: u64,
    link: Link,
}

impl AuditDb {
    /// Opens the trail for writing; it takes no more than `limit_bytes`.
    pub(super) fn open(dir: &Path, limit_bytes: u64) -> Result<Self, StoreError> {
        let connection = FORMAT.open(dir)?;
        let pages = i64::try_from(limit_bytes / PAGE_BYTES).unwrap_or(i64::MAX);
        connection
            .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
            .map_err(sqlite)?;
        Self::with(connection)
    }

    /// Opens the trail for reading.
    pub(super) fn open_read_only(dir: &Path) -> Result<Self, StoreError> {
        Self::with(FORMAT.open_read_only(dir)?)
    }

    /// Appends rows in one commit. Either all are durable afterwards or none is.
    pub(super) fn append<'a>(
        &mut self,
        events: impl Iterator<Item = (UnixTime, &'a Event)>,
    ) -> Result<(), StoreError> {
        let mut last = self.last;
        let transaction = self.connection.transaction().map_err(sqlite)?;
        {
            let mut insert = transaction
                .prepare("INSERT INTO row (seq, body, link) VALUES (?1, ?2, ?3)")
                .map_err(sqlite)?;
            for (at, event) in events {
                let row = Row { seq: last.seq + 1, at, event: event.clone() };
                let (body, link) = chain::append(&last.link, &row)?;
                let seq = i64::try_from(row.seq).map_err(|_| StoreError::Full)?;
                insert.execute(params![seq, body, link.as_bytes().as_slice()]).map_err(sqlite)?;
                last = End { seq: row.seq, link };
            }
        }
        transaction.commit().map_err(sqlite)?;
        self.last = last;
        self.used_bytes = used(&self.connection)?;
        Ok(())
    }

    /// Bytes that the trail occupies.
    pub(super) const fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// The newest rows, oldest first.
    pub(super) fn newest(&self, limit: u16) -> Result<Vec<Row>, StoreError> {
        let mut select =
            self.connection.prepare("SELECT body FROM row ORDER BY seq DESC LIMIT ?1").map_err(sqlite)?;
        let bodies = select.query_map(params![limit], |row| row.get::<_, Vec<u8>>(0)).map_err(sqlite)?;
        let mut rows = Vec::new();
        for body in bodies {
            rows.push(codec::decode(&body.map_err(sqlite)?, ROW_BYTES)?);
        }
        rows.reverse();
        Ok(rows)
    }

    /// The newest snapshot that the trail says came into force.
    pub(super) fn newest_policy(&self) -> Result<Option<Floor>, StoreError> {
        let mut select = self.connection.prepare("SELECT body FROM row ORDER BY seq DESC").map_err(sqlite)?;
        let bodies = select.query_map([], |row| row.get::<_, Vec<u8>>(0)).map_err(sqlite)?;
        for body in bodies {
            let row: Row = codec::decode(&body.map_err(sqlite)?, ROW_BYTES)?;
            match row.event {
                Event::PolicyApplied { held: Held { epoch, version, digest }, .. } => {
                    return Ok(Some(Floor { epoch, version, digest }));
                }
                // What came before was policy of another enrolment.
                Event::Enrolled { .. } => return Ok(None),
                Event::Started { .. }
                | Event::Stopped
                | Event::PolicyRefused { .. }
                | Event::Permitted { .. }
                | Event::Denied { .. }
                | Event::Failed { .. }
                | Event::Closed { .. }
                | Event::Control { .. }
                | Event::Alarm { .. }
                | Event::KeyChanged { .. }
                | Event::Retired { .. }
                | Event::Locked { .. }
                | Event::Unlocked { .. }
                | Event::Requests { .. }
                | Event::Recorded { .. }
                | Event::RecordingRemoved { .. }
                | Event::Changed { .. }
                | Event::Flows { .. }
                | Event::RootTaken { .. }
                | Event::RootRefused { .. } => {}
            }
        }
        Ok(None)
    }

    /// Verifies the whole chain, a few rows at a time.
    pub(super) fn verify(&self) -> Result<u64, StoreError> {
        let mut select = self
            .connection
            .prepare("SELECT body, link FROM row WHERE seq >= ?1 ORDER BY seq LIMIT ?2")
            .map_err(sqlite)?;
        let (mut first, mut link) = (1u64, chain::ORIGIN);
        loop {
            let from = i64::try_from(first).map_err(|_| FORMAT.damaged())?;
            let rows = select
                .query_map(params![from, BATCH], |row| {
                    Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
                })
                .map_err(sqlite)?;
            let mut batch = Vec::new();
            for row in rows {
                let (body, claimed) = row.map_err(sqlite)?;
                batch.push((body, digest(claimed)?));
            }
            if batch.is_empty() {
                return Ok(first - 1);
            }
            link = verify_chain(link, first, batch.iter().map(|(body, link)| (body.as_slice(), *link)))?;
            first += u64::try_from(batch.len()).unwrap_or(u64::MAX);
        }
    }

    fn with(connection: Connection) -> Result<Self, StoreError> {
        let last = connection
            .query_row("SELECT seq, link FROM row ORDER BY seq DESC LIMIT 1", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
            })
            .optional()
            .map_err(sqlite)?;
        let last = match last {
            Some((seq, link)) => {
                End { seq: u64::try_from(seq).map_err(|_| FORMAT.damaged())?, link: digest(link)? }
            }
            None => End { seq: 0, link: chain::ORIGIN },
        };
        let used_bytes = used(&connection)?;
        Ok(Self { connection, last, used_bytes })
    }
}

fn used(connection: &Connection) -> Result<u64, StoreError> {
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).map_err(sqlite)?;
    Ok(u64::try_from(pages).unwrap_or(0).saturating_mul(PAGE_BYTES))
}

fn digest(bytes: Vec<u8>) -> Result<Digest, StoreError> {
    <[u8; 32]>::try_from(bytes).map(Digest::new).map_err(|_| FORMAT.damaged())
}

fn sqlite(error: rusqlite::Error) -> StoreError {
    FORMAT.error(error)
}

pub(super) const FILE: &str = "audit.db";
const FORMAT: Format = Format {
    file: FILE,
    migrations: &[
        "CREATE TABLE row (seq INTEGER PRIMARY KEY, body BLOB NOT NULL, link BLOB NOT NULL) STRICT;",
    ],
};
const PAGE_BYTES: u64 = 4096;
/// Rows that are verified at a time.
const BATCH: u16 = 512;
