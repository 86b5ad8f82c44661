//! What is locked where, and the newest lock that was signed for each device.

use super::engine::{Row, params};
use serde::Serialize;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use super::people::parse_name;
use super::{StoreError, Tx, secs, time};

/// What a rule locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LockKind {
    /// A user.
    User,
    /// A device.
    Device,
    /// An access category.
    Category,
}

impl LockKind {
    /// The word in listings, JSON and the state file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Device => "device",
            Self::Category => "category",
        }
    }

    fn parse(word: &str) -> Result<Self, StoreError> {
        let all = [Self::User, Self::Device, Self::Category];
        all.into_iter().find(|kind| kind.word() == word).ok_or(StoreError::Damaged { what: "lock" })
    }
}

/// One thing that is locked, on one device or on all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LockRule {
    /// What.
    pub kind: LockKind,
    /// Its name.
    pub name: Name,
    /// Where; none is on every device.
    pub on: Option<Name>,
    /// Why, for people.
    pub why: String,
    /// Who locked it.
    pub who: String,
    /// When.
    pub at: UnixTime,
}

/// The newest lock of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceLock {
    /// The policy epoch that it counts in.
    pub epoch: u32,
    /// Its sequence; 0 before the first.
    pub sequence: u64,
    /// Up to which sequence locks are lifted.
    pub cleared: u64,
    /// The envelope; none when everything is lifted.
    pub sealed: Option<Vec<u8>>,
    /// The highest sequence that the device has said to hold.
    pub applied: u64,
}

impl DeviceLock {
    /// What a timestamp names: the newest that the device can be given. What is neither lifted nor kept, because its
    /// target is gone, must not make a device wait that never had it.
    #[must_use]
    pub const fn named(&self) -> u64 {
        if self.sealed.is_some() { self.sequence } else { self.cleared }
    }

    /// Whether the device holds the newest.
    #[must_use]
    pub const fn is_applied(&self) -> bool {
        self.applied >= self.sequence
    }
}

impl Tx<'_> {
    /// Every rule, by kind and name.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn lock_rules(&self) -> Result<Vec<LockRule>, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT kind, name, device, why, who, at FROM lock_rule ORDER BY kind, name, device",
        )?;
        let mut rows = query.query(params![])?;
        let mut rules = Vec::new();
        while let Some(row) = rows.next()? {
            rules.push(rule(row)?);
        }
        Ok(rules)
    }

    /// Adds a rule, or changes why it is there. Returns whether it is new.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn add_lock_rule(&self, rule: &LockRule) -> Result<bool, StoreError> {
        let on = rule.on.as_ref().map_or("", Name::as_str);
        let known: Option<i64> = self.sql.first(
            "SELECT 1 FROM lock_rule WHERE kind = ? AND name = ? AND device = ?",
            params![rule.kind.word(), rule.name.as_str(), on],
            |row| row.get(0),
        )?;
        self.sql.execute(
            "INSERT INTO lock_rule (kind, name, device, why, who, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (kind, name, device) DO UPDATE SET why = ?4, who = ?5, at = ?6",
            params![rule.kind.word(), rule.name.as_str(), on, rule.why, rule.who, secs(rule.at)],
        )?;
        Ok(known.is_none())
    }

    /// Removes a rule. Returns whether it was there.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn remove_lock_rule(
        &self,
        kind: LockKind,
        name: &Name,
        on: Option<&Name>,
    ) -> Result<bool, StoreError> {
        let removed = self.sql.execute(
            "DELETE FROM lock_rule WHERE kind = ? AND name = ? AND device = ?",
            params![kind.word(), name.as_str(), on.map_or("", Name::as_str)],
        )?;
        Ok(removed > 0)
    }

    /// What was signed for a device in an epoch; nothing yet in a new one.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn device_lock(&self, device: &Name, epoch: u32) -> Result<DeviceLock, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT sequence, cleared, sealed, applied FROM device_lock WHERE device = ? AND epoch = ?",
        )?;
        let found = query.first(params![device.as_str(), epoch], |row| {
            let number = |at| Ok::<u64, StoreError>(u64::try_from(row.get::<i64>(at)?).unwrap_or(0));
            let (sequence, cleared, applied) = (number(0)?, number(1)?, number(3)?);
            Ok(DeviceLock { epoch, sequence, cleared, sealed: row.get(2)?, applied })
        })?;
        Ok(found.unwrap_or_else(|| DeviceLock { epoch, ..DeviceLock::default() }))
    }

    /// Keeps what was signed for a device.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn save_device_lock(&self, device: &Name, lock: &DeviceLock) -> Result<(), StoreError> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.sql.execute(
            "INSERT INTO device_lock (device, epoch, sequence, cleared, sealed, applied)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (device) DO UPDATE SET
             epoch = ?2, sequence = ?3, cleared = ?4, sealed = ?5, applied = ?6",
            params![
                device.as_str(),
                lock.epoch,
                number(lock.sequence),
                number(lock.cleared),
                lock.sealed,
                number(lock.applied)
            ],
        )?;
        Ok(())
    }

    /// A device says which lock it holds.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn lock_taken(&self, device: &Name, sequence: u64) -> Result<(), StoreError> {
        let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
        self.sql.execute(
            "UPDATE device_lock SET applied = ?1 WHERE device = ?2 AND applied < ?1",
            params![sequence, device.as_str()],
        )?;
        Ok(())
    }
}

fn rule(row: Row<'_>) -> Result<LockRule, StoreError> {
    let (kind, name, on): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let on = if on.is_empty() { None } else { Some(parse_name(&on)?) };
    Ok(LockRule {
        kind: LockKind::parse(&kind)?,
        name: parse_name(&name)?,
        on,
        why: row.get(3)?,
        who: row.get(4)?,
        at: time(row.get(5)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_timestamp_names_can_be_given_to_a_device_that_has_nothing() {
        let lock = |sequence, cleared, sealed: Option<&[u8]>| DeviceLock {
            sequence,
            cleared,
            sealed: sealed.map(<[u8]>::to_vec),
            ..DeviceLock::default()
        };
        assert_eq!(DeviceLock::default().named(), 0);
        assert_eq!(lock(7, 3, Some(b"newest")).named(), 7, "it is sent");
        assert_eq!(lock(7, 7, None).named(), 7, "the snapshot says so");
        assert_eq!(lock(7, 3, None).named(), 3, "its target is gone; nobody can send it");
    }
}
