//! Sealing keys of devices, and the secrets that are sealed to them: bytes that nothing here can read.
//!
//! A secret belongs to a device, a name and the device key for which it was sealed. One that was sealed for an earlier
//! key is kept so that people see it, and goes to no device.

use super::engine::{Row, params};

use postern_protocol::name::Name;
use postern_protocol::policy::Secret;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::PublicKey;
use postern_protocol::trust::sealed::Announcement;
use postern_protocol::wire::codec;

use super::people::{parse_name, public_key};
use super::{DeviceState, StoreError, Tx, secs, time};

/// A secret without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// The device.
    pub device: Name,
    /// The secret's name there.
    pub name: Name,
    /// The device key for which it was sealed.
    pub device_key: PublicKey,
    /// When it was set.
    pub set: UnixTime,
}

impl Tx<'_> {
    /// Keeps what a device says about its sealing key. The caller has verified it.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn announce(&self, device: &Name, announcement: &Announcement) -> Result<(), StoreError> {
        let bytes = codec::encode(announcement, ANNOUNCEMENT_BYTES)
            .map_err(|_| StoreError::Damaged { what: ANNOUNCEMENT })?;
        self.sql
            .prepare_cached("UPDATE device SET sealing = ? WHERE name = ?")?
            .execute(params![bytes, device.as_str()])?;
        Ok(())
    }

    /// What a device said about its sealing key; to be verified before something is sealed to it, because whoever could
    /// write this file could have put another key there.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn announcement(&self, device: &Name) -> Result<Option<Announcement>, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT sealing FROM device WHERE name = ?")?;
        let found: Option<Option<Vec<u8>>> = query.first(params![device.as_str()], |row| row.get(0))?;
        let read = |bytes: Vec<u8>| {
            codec::decode(&bytes, ANNOUNCEMENT_BYTES).map_err(|_| StoreError::Damaged { what: ANNOUNCEMENT })
        };
        found.flatten().map(read).transpose()
    }

    /// Keeps a sealed secret in the place of an earlier one of the same name.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn save_secret(&self, secret: &StoredSecret, sealed: &[u8]) -> Result<(), StoreError> {
        self.sql
            .prepare_cached(
                "INSERT INTO secret (device, name, device_key, set_at, sealed) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (device, name) DO UPDATE SET device_key = ?3, set_at = ?4, sealed = ?5",
            )?
            .execute(params![
                secret.device.as_str(),
                secret.name.as_str(),
                secret.device_key.as_bytes(),
                secs(secret.set),
                sealed
            ])?;
        Ok(())
    }

    /// Forgets a secret; whether there was one.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn remove_secret(&self, device: &Name, name: &Name) -> Result<bool, StoreError> {
        let mut delete = self.sql.prepare_cached("DELETE FROM secret WHERE device = ? AND name = ?")?;
        Ok(delete.execute(params![device.as_str(), name.as_str()])? > 0)
    }

    /// Forgets all secrets of a device that belongs to somebody else now.
    pub(super) fn forget_secrets(&self, device: &Name) -> Result<(), StoreError> {
        self.sql.prepare_cached("DELETE FROM secret WHERE device = ?")?.execute(params![device.as_str()])?;
        Ok(())
    }

    /// The secrets of one device or of all, by device and name.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn secrets(&self, device: Option<&Name>) -> Result<Vec<StoredSecret>, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT device, name, device_key, set_at FROM secret WHERE CAST(?1 AS TEXT) IS NULL OR device = ?1
             ORDER BY device, name",
        )?;
        let mut rows = query.query(params![device.map(Name::as_str)])?;
        let mut secrets = Vec::new();
        while let Some(row) = rows.next()? {
            secrets.push(stored(row)?);
        }
        Ok(secrets)
    }

    /// The secrets that a device can open with the key that it has now, ascending by name.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn sealed_secrets(&self, device: &DeviceState) -> Result<Vec<Secret>, StoreError> {
        let Some(key) = device.addressed_key() else { return Ok(Vec::new()) };
        let mut query = self.sql.prepare_cached(
            "SELECT name, sealed FROM secret WHERE device = ? AND device_key = ? ORDER BY name",
        )?;
        let mut rows = query.query(params![device.name.as_str(), key.as_bytes()])?;
        let mut secrets = Vec::new();
        while let Some(row) = rows.next()? {
            secrets.push(Secret { name: parse_name(&row.get::<String>(0)?)?, sealed: row.get(1)? });
        }
        Ok(secrets)
    }
}

fn stored(row: Row<'_>) -> Result<StoredSecret, StoreError> {
    let (device, name, key): (String, String, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok(StoredSecret {
        device: parse_name(&device)?,
        name: parse_name(&name)?,
        device_key: public_key(&key)?,
        set: time(row.get(3)?),
    })
}

/// A key and a signature.
const ANNOUNCEMENT_BYTES: usize = 96;
const ANNOUNCEMENT: &str = "sealing key";
