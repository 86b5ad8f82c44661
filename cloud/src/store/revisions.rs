//! The log of revisions: who changed what, and how much of the model.

use super::engine::params;
use serde::Serialize;

use postern_protocol::time::UnixTime;

use super::{StoreError, Tx, secs, time};
use crate::model::{Difference, Fate};

/// One change of the state, as it was noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Revision {
    /// Its number, ascending without gaps.
    pub number: i64,
    /// When.
    pub at: UnixTime,
    /// Who.
    pub who: String,
    /// By what.
    pub what: String,
    /// What it did to the model; none where it was about something else, or where nobody counted yet.
    pub entities: Option<EntityCounts>,
}

/// How many entities of the model a revision touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct EntityCounts {
    /// New ones.
    pub added: u32,
    /// Changed ones.
    pub changed: u32,
    /// Those that are gone.
    pub removed: u32,
}

impl Tx<'_> {
    /// The newest revisions, newest first, at most `limit`.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn revisions(&self, limit: u32) -> Result<Vec<Revision>, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT number, at, who, what, added, changed, removed FROM revision ORDER BY number DESC LIMIT ?",
        )?;
        let mut rows = query.query(params![limit])?;
        let mut revisions = Vec::new();
        while let Some(row) = rows.next()? {
            let (added, changed, removed): (Option<u32>, Option<u32>, Option<u32>) =
                (row.get(4)?, row.get(5)?, row.get(6)?);
            let entities = match (added, changed, removed) {
                (Some(added), Some(changed), Some(removed)) => Some(EntityCounts { added, changed, removed }),
                (None | Some(_), _, _) => None,
            };
            let (number, at) = (row.get(0)?, time(row.get(1)?));
            revisions.push(Revision { number, at, who: row.get(2)?, what: row.get(3)?, entities });
        }
        Ok(revisions)
    }

    /// Notes who changed what, as a new revision.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn log(&self, now: UnixTime, who: &str, what: &str) -> Result<i64, StoreError> {
        self.revised.set(true);
        self.sql.query_row(
            "INSERT INTO revision (number, at, who, what)
             VALUES ((SELECT coalesce(max(number), 0) + 1 FROM revision), ?, ?, ?) RETURNING number",
            params![secs(now), who, what],
            |row| row.get(0),
        )
    }

    /// Notes how much of the model a revision touched.
    pub(super) fn count(&self, revision: i64, differences: &[Difference<'_>]) -> Result<(), StoreError> {
        let count = |of: Fate| {
            let count = differences.iter().filter(|difference| difference.fate == of).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        self.sql.execute(
            "UPDATE revision SET added = ?, changed = ?, removed = ? WHERE number = ?",
            params![count(Fate::Added), count(Fate::Changed), count(Fate::Removed), revision],
        )?;
        Ok(())
    }
}
