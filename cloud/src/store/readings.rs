//! Who has read of the trail: a row for each reading, made before what was read goes out, and never changed but by its end.

use super::engine::params;
use serde::Serialize;

use postern_protocol::time::UnixTime;

use super::{StoreError, Tx, secs, time};

/// In which manner the trail was read. New manners are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// Rows, listed on the hub's machine.
    List,
    /// The whole trail of a device, as a file that verifies.
    Export,
    /// What concerns one company, as a file without names of others.
    Report,
    /// Sessions of others, asked of the hub by a user who may.
    Sessions,
}

/// One reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// Its number, ascending.
    pub number: i64,
    /// When.
    pub at: UnixTime,
    /// Who: an account of the hub's machine, or a user as account and name.
    pub who: String,
    /// In which manner.
    pub manner: Manner,
    /// What was asked for.
    pub what: String,
    /// How many rows were read; none where the reading did not come to its end.
    pub rows: Option<u64>,
}

impl Manner {
    /// Every manner.
    pub const ALL: [Self; 4] = [Self::List, Self::Export, Self::Report, Self::Sessions];

    /// The word in listings and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Export => "export",
            Self::Report => "report",
            Self::Sessions => "sessions",
        }
    }
}

impl Tx<'_> {
    /// Notes that somebody reads, and that so many rows are read where that is known; its number.
    ///
    /// # Errors
    /// A [`StoreError`]; then nothing may be shown.
    pub fn note_reading(
        &self,
        who: &str,
        (manner, what): (Manner, &str),
        rows: Option<u64>,
        now: UnixTime,
    ) -> Result<i64, StoreError> {
        self.sql.query_row(
            "INSERT INTO trail_reading (number, at, who, manner, what, rows)
             VALUES ((SELECT coalesce(max(number), 0) + 1 FROM trail_reading), ?, ?, ?, ?, ?) RETURNING number",
            params![secs(now), who, manner.word(), what, rows.map(count)],
            |row| row.get(0),
        )
    }

    /// Notes that a reading came to its end.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn end_reading(&self, number: i64, rows: u64) -> Result<(), StoreError> {
        self.sql
            .prepare_cached("UPDATE trail_reading SET rows = ? WHERE number = ?")?
            .execute(params![count(rows), number])?;
        Ok(())
    }

    /// The newest readings, newest first.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn readings(&self, limit: u32) -> Result<Vec<Reading>, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT number, at, who, manner, what, rows FROM trail_reading ORDER BY number DESC LIMIT ?",
        )?;
        let mut rows = query.query(params![limit])?;
        let mut readings = Vec::new();
        while let Some(row) = rows.next()? {
            let word: String = row.get(3)?;
            let manner = Manner::ALL.into_iter().find(|manner| manner.word() == word);
            readings.push(Reading {
                number: row.get(0)?,
                at: time(row.get(1)?),
                who: row.get(2)?,
                manner: manner.ok_or(StoreError::Damaged { what: "manner of reading" })?,
                what: row.get(4)?,
                rows: row.get::<Option<i64>>(5)?.map(|rows| u64::try_from(rows).unwrap_or(0)),
            });
        }
        Ok(readings)
    }
}

fn count(rows: u64) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
