//! What each revision did to each entity of the model: as it was, and as it is.

use super::engine::{Value, params};

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use super::{StoreError, Tx, time};
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

/// One entity in one revision, with who made it when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedChange {
    /// The revision.
    pub revision: i64,
    /// When.
    pub at: UnixTime,
    /// Who, as the history of the installation says it.
    pub who: String,
    /// By what.
    pub what: String,
    /// The kind.
    pub kind: EntityKind,
    /// The name.
    pub name: Name,
    /// Its stored form before; none where it is new.
    pub before: Option<String>,
    /// Its stored form after; none where it is gone.
    pub after: Option<String>,
}

/// A place in the changes of the model, newest first: behind some changes of a revision. It names none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeMark {
    /// The revision.
    pub revision: i64,
    /// How many of its changes, of those that are asked for, lie before this place.
    pub seen: u32,
}

impl ChangeMark {
    /// Before the newest one.
    pub const NEWEST: Self = Self { revision: i64::MAX, seen: 0 };

    /// The place behind the next change, which is of this revision.
    #[must_use]
    pub const fn past(self, revision: i64) -> Self {
        let seen = if self.revision == revision { self.seen.saturating_add(1) } else { 1 };
        Self { revision, seen }
    }
}

impl Tx<'_> {
    /// The revision in which an entity was changed last; none where it does not exist.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn version(&self, kind: EntityKind, name: &Name) -> Result<Option<Version>, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT revision FROM entity WHERE kind = ? AND name = ?")?;
        Ok(query.first(params![kind.word(), name.as_str()], |row| row.get(0))?.map(Version))
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
        let mut rows = query.query(params![revision])?;
        let mut changes = Vec::new();
        while let Some(row) = rows.next()? {
            let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
            let kind = EntityKind::from_word(&kind).ok_or_else(damaged)?;
            let name = name.parse().map_err(|_| damaged())?;
            changes.push(EntityChange { kind, name, before: row.get(2)?, after: row.get(3)? });
        }
        Ok(changes)
    }

    /// Says each change behind a place to `each`, newest first and those of one revision by kind and name, descending, until it says that this
    /// is enough. Returns whether there was nothing left.
    ///
    /// # Errors
    /// A [`StoreError`], or what `each` fails with.
    pub fn changes_behind<E: From<StoreError>>(
        &self,
        from: ChangeMark,
        kind: Option<EntityKind>,
        name: Option<&Name>,
        mut each: impl FnMut(NotedChange) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let damaged = || StoreError::Damaged { what: "change of the model" };
        let mut conditions = String::new();
        let mut wanted = vec![Value::Integer(from.revision)];
        match (kind, name) {
            (Some(kind), _) => {
                // Of a kind alone they are read in their order: sorting all of them for a page would take longer (so no index on it is used).
                let column = if name.is_some() { "kind".to_owned() } else { self.sql.unindexed("kind") };
                conditions.push_str(&format!(" AND {column} = ?"));
                wanted.push(Value::Text(kind.word().into()));
            }
            // By these the index finds a name.
            (None, Some(_)) => {
                let words: Vec<String> =
                    EntityKind::ALL.iter().map(|kind| format!("'{}'", kind.word())).collect();
                conditions.push_str(&format!(" AND kind IN ({})", words.join(", ")));
            }
            (None, None) => {}
        }
        if let Some(name) = name {
            conditions.push_str(" AND name = ?");
            wanted.push(Value::Text(name.as_str().into()));
        }
        let text = format!(
            "SELECT change.revision, at, who, what, kind, name, before, after
             FROM change JOIN revision ON revision.number = change.revision
             WHERE change.revision <= ?{conditions}
             ORDER BY change.revision DESC, kind DESC, name DESC"
        );
        let mut query = self.sql.prepare_cached(&text)?;
        let mut rows = query.walk(&wanted)?;
        let mut skip = from.seen;
        while let Some(row) = rows.next()? {
            let revision: i64 = row.get(0)?;
            if skip > 0 && revision == from.revision {
                skip -= 1;
                continue;
            }
            let (kind, name): (String, String) = (row.get(4)?, row.get(5)?);
            let change = NotedChange {
                revision,
                at: time(row.get(1)?),
                who: row.get(2)?,
                what: row.get(3)?,
                kind: EntityKind::from_word(&kind).ok_or_else(damaged)?,
                name: name.parse().map_err(|_| damaged())?,
                before: row.get(6)?,
                after: row.get(7)?,
            };
            if !each(change)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The stored form of an entity as it was after a revision from which on every change was noted; none where it was not there.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn entity_as_of(
        &self,
        kind: EntityKind,
        name: &Name,
        revision: i64,
    ) -> Result<Option<String>, StoreError> {
        let mut next = self.sql.prepare_cached(
            "SELECT before FROM change WHERE kind = ? AND name = ? AND revision > ? ORDER BY revision LIMIT 1",
        )?;
        let before: Option<Option<String>> =
            next.first(params![kind.word(), name.as_str(), revision], |row| row.get(0))?;
        if let Some(before) = before {
            return Ok(before);
        }
        let mut now = self.sql.prepare_cached("SELECT body FROM entity WHERE kind = ? AND name = ?")?;
        now.first(params![kind.word(), name.as_str()], |row| row.get(0))
    }

    /// Whether an entity was taken away after a revision, whatever has its name now.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn was_removed_since(
        &self,
        kind: EntityKind,
        name: &Name,
        revision: i64,
    ) -> Result<bool, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM change WHERE kind = ? AND name = ? AND revision > ? AND after IS NULL)",
        )?;
        query.query_row(params![kind.word(), name.as_str(), revision], |row| row.get(0))
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
