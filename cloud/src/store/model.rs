//! The model as rows, one for each entity.

use std::sync::{Arc, PoisonError};

use super::engine::params;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::wire::invitation::Invitee;

use super::{StoreError, Tx};
use crate::chance;
use crate::model::{Difference, EntityKind, Fate, Model};

impl Tx<'_> {
    /// The number of the newest revision; 0 before the first.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn revision(&self) -> Result<i64, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT coalesce(max(number), 0) FROM revision")?;
        query.query_row(params![], |row| row.get(0))
    }

    /// The number of the newest revision that saved a model; 0 before the first. What else is noted in the history, such as a request for
    /// approval, overtakes no edit and makes nobody read the model again.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn model_revision(&self) -> Result<i64, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT coalesce((SELECT number FROM revision WHERE added IS NOT NULL ORDER BY number DESC LIMIT 1), 0)",
        )?;
        query.query_row(params![], |row| row.get(0))
    }

    /// The model of the newest revision.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn model(&self) -> Result<Arc<Model>, StoreError> {
        let revision = self.model_revision()?;
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, model)) = cached.as_ref()
            && *number == revision
        {
            return Ok(Arc::clone(model));
        }
        let model = Arc::new(self.load_model()?);
        if self.revised.get() {
            return Ok(model);
        }
        *cached = Some((revision, Arc::clone(&model)));
        Ok(model)
    }

    fn load_model(&self) -> Result<Model, StoreError> {
        let damaged = || StoreError::Damaged { what: ENTITY };
        let mut model = Model::default();
        let mut query = self.sql.prepare_cached("SELECT kind, name, body FROM entity")?;
        let mut rows = query.query(params![])?;
        while let Some(row) = rows.next()? {
            let (kind, name, body): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let kind = EntityKind::from_word(&kind).ok_or_else(damaged)?;
            let name: Name = name.parse().map_err(|_| damaged())?;
            model.insert_row(kind, name, &body).map_err(|_| damaged())?;
        }
        Ok(model)
    }

    /// Replaces the model: only rows that differ are written. Gives ids to new people and devices, and forgets the
    /// passwords and keys of people who are gone. Devices that are gone keep their id, so that they can be told. Codes
    /// that were handed out for who is gone or in another account now are worth nothing any more, and secrets of devices
    /// that are gone or in another account are forgotten: a new owner must not use what the last one knew. What was whose until now is noted.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn save_model(&self, model: &Model, now: UnixTime, who: &str, what: &str) -> Result<i64, StoreError> {
        let old = self.model()?;
        let differences = old.differences(model);
        let revision = self.log(now, who, what)?;
        self.note_departures(&differences, now)?;
        for Difference { kind, name, fate } in &differences {
            let (before, after) = (old.body(*kind, name), model.body(*kind, name));
            self.note_change(revision, *kind, name, before.as_deref(), after.as_deref())?;
            match fate {
                Fate::Removed => self.remove_row(*kind, name)?,
                Fate::Added | Fate::Changed => {
                    let body = after.ok_or(StoreError::Damaged { what: ENTITY })?;
                    self.sql
                        .prepare_cached(
                            "INSERT INTO entity (kind, name, body, revision) VALUES (?1, ?2, ?3, ?4)
                             ON CONFLICT (kind, name) DO UPDATE SET body = ?3, revision = ?4",
                        )?
                        .execute(params![kind.word(), name.as_str(), body, revision])?;
                }
            }
        }
        self.count(revision, &differences)?;
        self.withdraw_codes(&differences, &old, model)?;
        self.assign_ids(&differences)?;
        self.note_places(&differences, (&old, model), now)?;
        Ok(revision)
    }

    fn remove_row(&self, kind: EntityKind, name: &Name) -> Result<(), StoreError> {
        self.sql
            .prepare_cached("DELETE FROM entity WHERE kind = ? AND name = ?")?
            .execute(params![kind.word(), name.as_str()])?;
        if kind == EntityKind::User {
            self.sql.prepare_cached("DELETE FROM person WHERE name = ?")?.execute(params![name.as_str()])?;
        }
        Ok(())
    }

    fn withdraw_codes(
        &self,
        differences: &[Difference<'_>],
        old: &Model,
        new: &Model,
    ) -> Result<(), StoreError> {
        let known = |kind| differences.iter().filter(move |one| one.fate != Fate::Added && one.kind == kind);
        for Difference { name, .. } in known(EntityKind::User) {
            let [was, is] = [old, new].map(|model| model.users.get(*name).map(|user| &user.account));
            if was != is {
                self.withdraw(Invitee::User, name)?;
            }
        }
        for Difference { name, .. } in known(EntityKind::Device) {
            let [was, is] = [old, new].map(|model| model.devices.get(*name).map(|device| &device.account));
            if was != is {
                self.withdraw(Invitee::Device, name)?;
                self.forget_secrets(name)?;
            }
        }
        Ok(())
    }

    /// Whoever is not new has an id already.
    fn assign_ids(&self, differences: &[Difference<'_>]) -> Result<(), StoreError> {
        let new = |kind| differences.iter().filter(move |one| one.fate == Fate::Added && one.kind == kind);
        let mut person = self
            .sql
            .prepare_cached("INSERT INTO person (name, id) VALUES (?, ?) ON CONFLICT (name) DO NOTHING")?;
        for Difference { name, .. } in new(EntityKind::User) {
            person.execute(params![name.as_str(), chance::bytes::<8>()])?;
        }
        let mut device = self
            .sql
            .prepare_cached("INSERT INTO device (name, id) VALUES (?, ?) ON CONFLICT (name) DO NOTHING")?;
        for Difference { name, .. } in new(EntityKind::Device) {
            device.execute(params![name.as_str(), chance::bytes::<8>()])?;
        }
        Ok(())
    }
}

const ENTITY: &str = "entity of the model";
