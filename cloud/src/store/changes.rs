//! What each revision did to each entity of the model: as it was, and as it is.

use rusqlite::{OptionalExtension as _, params};

use postern_protocol::name::Name;

use super::{StoreError, Tx};
use crate::administration::Version;
use crate::model::EntityKind;

/// One entity in one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityChange {
    /// The kind.
    pub kind: EntityKind,
    /// The name.
    pub name: Name,
    /// Its stored form before; none where it is new.
    pub before: Option<String>,
    /// Its stored form after; none where it is gone.
    pub after: Option<String>,
}

impl Tx<'_> {
    /// The revision in which an entity was changed last; none where it does not exist.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn version(&self, kind: EntityKind, name: &Name) -> Result<Option<Version>, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT revision FROM entity WHERE kind = ? AND name = ?")?;
        Ok(query.query_row([kind.word(), name.as_str()], |row| row.get(0)).optional()?.map(Version))
    }

    /// What a revision did, by kind and name; nothing for revisions that were not about the model.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn changes(&self, revision: i64) -> Result<Vec<EntityChange>, StoreError> {
        let damaged = || StoreError::Damaged { what: "change of the model" };
        let mut query = self.sql.prepare_cached(
            "SELECT kind, name, before, after FROM change WHERE revision = ? ORDER BY kind, name",
        )?;
        let mut rows = query.query([revision])?;
        let mut changes = Vec::new();
        while let Some(row) = rows.next()? {
            let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
            let kind = EntityKind::from_word(&kind).ok_or_else(damaged)?;
            let name = name.parse().map_err(|_| damaged())?;
            changes.push(EntityChange { kind, name, before: row.get(2)?, after: row.get(3)? });
        }
        Ok(changes)
    }

    /// Notes what a revision did to an entity.
    pub(super) fn note_change(
        &self,
        revision: i64,
        kind: EntityKind,
        name: &Name,
        before: Option<&str>,
        after: Option<&str>,
    ) -> Result<(), StoreError> {
        self.sql
            .prepare_cached(
                "INSERT INTO change (revision, kind, name, before, after) VALUES (?, ?, ?, ?, ?)",
            )?
            .execute(params![revision, kind.word(), name.as_str(), before, after])?;
        Ok(())
    }
}
