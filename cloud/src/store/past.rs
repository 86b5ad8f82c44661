//! What was whose, since when. Nothing here is ever changed or removed: the trail names who and what is gone.
//!
//! | table | one row for |
//! | --- | --- |
//! | `account_past` | each change of where an account lies, its beginning and its end |
//! | `device_past` | each change of a device's account, with when the device had a policy of the time after it |
//! | `user_past` | each change of a user's account; a user has an id of their own for ever |
//!
//! Of two changes in one second the later one counts, as if the other had not been; where the clock goes back, it is that of the change before.

use super::engine::params;

use postern_protocol::id::UserId;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::wire::control::Held;

use super::people::parse_name;
use super::{StoreError, Tx, bytes, secs, time};
use crate::model::{Difference, EntityKind, Fate, Model};
use crate::past::{Past, PastUser, Place, Tenure};

impl Tx<'_> {
    /// What was whose. Users are asked for one by one ([`Tx::past_user`]).
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn past(&self) -> Result<Past, StoreError> {
        let mut past = Past::default();
        let mut query = self.sql.prepare_cached(
            "SELECT account, since, gone, parent FROM account_past ORDER BY account, since",
        )?;
        let mut rows = query.query(params![])?;
        while let Some(row) = rows.next()? {
            let (account, parent): (String, Option<String>) = (row.get(0)?, row.get(3)?);
            let place = match (row.get(2)?, parent) {
                (true, _) => None,
                (false, None) => Some(Place::Top),
                (false, Some(parent)) => Some(Place::In(parse_name(&parent)?)),
            };
            let history = past.accounts.entry(parse_name(&account)?).or_default();
            history.push((time(row.get(1)?), place));
        }
        let mut query = self.sql.prepare_cached(
            "SELECT device, since, account, applied FROM device_past ORDER BY device, since",
        )?;
        let mut rows = query.query(params![])?;
        while let Some(row) = rows.next()? {
            let (device, account): (String, Option<String>) = (row.get(0)?, row.get(2)?);
            let account = account.as_deref().map(parse_name).transpose()?;
            let (since, applied) = (time(row.get(1)?), row.get::<Option<i64>>(3)?.map(time));
            past.devices.entry(parse_name(&device)?).or_default().push(Tenure { since, account, applied });
        }
        Ok(past)
    }

    /// A user, also one who has left.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn past_user(&self, id: UserId) -> Result<Option<PastUser>, StoreError> {
        let mut query = self
            .sql
            .prepare_cached("SELECT name, since, account FROM user_past WHERE id = ? ORDER BY since")?;
        let mut rows = query.query(params![id.as_bytes()])?;
        let mut user: Option<PastUser> = None;
        while let Some(row) = rows.next()? {
            let (name, account): (String, Option<String>) = (row.get(0)?, row.get(2)?);
            let account = account.as_deref().map(parse_name).transpose()?;
            let name = parse_name(&name)?;
            let user = user.get_or_insert_with(|| PastUser { name, accounts: Vec::new() });
            user.accounts.push((time(row.get(1)?), account));
        }
        Ok(user)
    }

    /// Everybody who has or had a name.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn users_called(&self, name: &Name) -> Result<Vec<UserId>, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT DISTINCT id FROM user_past WHERE name = ?")?;
        let mut rows = query.query(params![name.as_str()])?;
        let mut users = Vec::new();
        while let Some(row) = rows.next()? {
            users.push(UserId::new(bytes(&row.get::<Vec<u8>>(0)?, "user id")?));
        }
        Ok(users)
    }

    /// Every name that a user has or had, ascending.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn past_user_names(&self) -> Result<Vec<Name>, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT DISTINCT name FROM user_past ORDER BY name")?;
        let mut rows = query.query(params![])?;
        let mut names = Vec::new();
        while let Some(row) = rows.next()? {
            names.push(parse_name(&row.get::<String>(0)?)?);
        }
        Ok(names)
    }

    /// Notes that a policy came into force on the device of a log, for each time in which the device was in one account and of which it had none.
    /// What its logs have until now was before: also where its clock says otherwise.
    pub(super) fn note_applied(&self, log: i64, held: Held) -> Result<(), StoreError> {
        let version = i64::try_from(held.version).unwrap_or(i64::MAX);
        self.sql
            .prepare_cached(
                "UPDATE device_past SET applied = (
                     SELECT max(at) FROM trail_row WHERE log IN (
                         SELECT number FROM trail_log AS other WHERE other.device = device_past.device))
                 WHERE device = (SELECT device FROM trail_log WHERE number = ?1)
                   AND applied IS NULL AND (epoch, version) < (?2, ?3)",
            )?
            .execute(params![log, held.epoch, version])?;
        Ok(())
    }

    /// Notes what an edit did to whom and what belongs where, before the ids of users who leave are forgotten.
    pub(super) fn note_departures(
        &self,
        differences: &[Difference<'_>],
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let mut leave = self.sql.prepare_cached(
            "INSERT INTO user_past (id, since, name, account)
             SELECT id, coalesce((SELECT max(since) FROM user_past AS past WHERE past.id = person.id AND since > ?2), ?2), name, NULL
             FROM person WHERE name = ?1
             ON CONFLICT (id, since) DO UPDATE SET name = ?1, account = NULL",
        )?;
        for Difference { kind, name, fate } in differences {
            if (*kind, *fate) == (EntityKind::User, Fate::Removed) {
                leave.execute(params![name.as_str(), secs(now)])?;
            }
        }
        Ok(())
    }

    /// Notes where accounts, devices and users are from now on, where that is another place than before. New users have their ids.
    pub(super) fn note_places(
        &self,
        differences: &[Difference<'_>],
        (old, new): (&Model, &Model),
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let mut account = self.sql.prepare_cached(
            "INSERT INTO account_past (account, since, gone, parent)
             VALUES (?1, coalesce((SELECT max(since) FROM account_past WHERE account = ?1 AND since > ?2), ?2), ?3, ?4)
             ON CONFLICT (account, since) DO UPDATE SET gone = ?3, parent = ?4",
        )?;
        let mut device = self.sql.prepare_cached(
            "INSERT INTO device_past (device, since, account, epoch, version)
             VALUES (?1, coalesce((SELECT max(since) FROM device_past WHERE device = ?1 AND since > ?2), ?2), ?3,
                 coalesce((SELECT epoch FROM snapshot WHERE device = ?1), 0),
                 coalesce((SELECT version FROM snapshot WHERE device = ?1), 0))
             ON CONFLICT (device, since) DO UPDATE SET
                 account = excluded.account, epoch = excluded.epoch, version = excluded.version, applied = NULL",
        )?;
        let mut user = self.sql.prepare_cached(
            "INSERT INTO user_past (id, since, name, account)
             SELECT id, coalesce((SELECT max(since) FROM user_past AS past WHERE past.id = person.id AND since > ?2), ?2), name, ?3
             FROM person WHERE name = ?1
             ON CONFLICT (id, since) DO UPDATE SET name = ?1, account = ?3",
        )?;
        for Difference { kind, name, .. } in differences {
            if *kind == EntityKind::Account {
                let [was, is] = [old, new].map(|model| model.accounts.get(*name).map(|body| &body.parent));
                if was != is {
                    let parent = is.and_then(Option::as_ref).map(Name::as_str);
                    account.execute(params![name.as_str(), secs(now), is.is_none(), parent])?;
                }
            } else if *kind == EntityKind::Device {
                let [was, is] = [old, new].map(|model| model.devices.get(*name).map(|body| &body.account));
                if was != is {
                    device.execute(params![name.as_str(), secs(now), is.map(Name::as_str)])?;
                }
            } else if *kind == EntityKind::User {
                let [was, is] = [old, new].map(|model| model.users.get(*name).map(|body| &body.account));
                if let Some(is) = is.filter(|is| was != Some(*is)) {
                    user.execute(params![name.as_str(), secs(now), is.as_str()])?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
