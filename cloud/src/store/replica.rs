//! What hubs without the model's database know of devices: taken out of one state file, put into another.

use super::engine::params;

use postern_protocol::id::DeviceId;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Digest;

use super::{DeviceLock, DeviceState, Sealed, SealedTerm, StoreError, Tx, secs};
use crate::cluster::{Entry, Lock, Object};

impl Tx<'_> {
    /// What hubs know of a device, without the bytes of its snapshot.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub(crate) fn entry(&self, device: DeviceState, epoch: u32) -> Result<Entry, StoreError> {
        let snapshot = self.snapshot_term(&device.name)?;
        let DeviceLock { epoch, sequence, cleared, sealed, applied: _ } =
            self.device_lock(&device.name, epoch)?;
        Ok(Entry {
            id: device.id,
            key: device.key,
            next_key: device.next_key,
            rotate: device.rotate,
            refused: device.refused.filter(|refused| refused.is_final).map(|refused| refused.version),
            snapshot: snapshot.map(|term| Object { held: term.held, bytes: Vec::new() }),
            lock: Lock { epoch, sequence, cleared, sealed },
            name: device.name,
        })
    }

    /// The same, with the bytes of its snapshot; none where there is no such device.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub(crate) fn whole_entry(&self, id: DeviceId, epoch: u32) -> Result<Option<Entry>, StoreError> {
        let Some(device) = self.device_of_id(id)? else { return Ok(None) };
        let entry = self.entry(device, epoch)?;
        let sealed = self.snapshot(&entry.name)?;
        let snapshot = sealed.map(|sealed| Object { held: sealed.term.held, bytes: sealed.bytes });
        Ok(Some(Entry { snapshot, ..entry }))
    }

    /// Puts what is known of a device into the place of what was.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub(crate) fn replicate(&self, entry: &Entry) -> Result<(), StoreError> {
        let Entry { name, id, key, next_key, rotate, refused, snapshot, lock } = entry;
        let [key, next_key] = [key, next_key].map(|key| key.map(|key| *key.as_bytes()));
        // Names and keys may have gone from one device to another.
        self.sql.execute(
            "DELETE FROM device WHERE name = ?1 OR id = ?2 OR key IN (?3, ?4) OR next_key IN (?3, ?4)",
            params![name.as_str(), id.as_bytes(), key, next_key],
        )?;
        let refused = refused.map(|version| i64::try_from(version).unwrap_or(i64::MAX));
        self.sql.execute(
            "INSERT INTO device (name, id, key, next_key, rotate, refused, refused_final) VALUES (?, ?, ?, ?, ?, ?, 1)",
            params![name.as_str(), id.as_bytes(), key, next_key, rotate, refused],
        )?;
        if let Some(Object { held, bytes }) = snapshot {
            // Nobody here makes the next one: what it is made of, and when, is not needed.
            let (content, issued, expires) = (Digest::of(&[]), UnixTime::EPOCH, UnixTime::MAX);
            let term = SealedTerm { held: *held, content, issued, expires };
            self.save_snapshot(name, &Sealed { term, bytes: bytes.clone() })?;
        }
        let Lock { epoch, sequence, cleared, sealed } = lock.clone();
        self.save_device_lock(name, &DeviceLock { epoch, sequence, cleared, sealed, applied: 0 })
    }

    /// Forgets a device.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub(crate) fn unreplicate(&self, id: DeviceId) -> Result<(), StoreError> {
        self.sql.execute("DELETE FROM device WHERE id = ?", params![id.as_bytes()])?;
        Ok(())
    }

    /// Forgets every device.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub(crate) fn clear_replica(&self) -> Result<(), StoreError> {
        self.sql.execute("DELETE FROM device", params![])?;
        Ok(())
    }

    /// The number of the last parcel of a hub that was recorded; 0 before the first.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub(crate) fn last_parcel(&self, hub: &[u8; 16]) -> Result<u64, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT coalesce(max(seq), 0) FROM parcel WHERE hub = ?")?;
        let seq: i64 = query.query_row(params![hub], |row| row.get(0))?;
        Ok(u64::try_from(seq).unwrap_or(0))
    }

    /// A parcel of a hub is recorded; of hubs of which nothing was heard since `before`, nothing is remembered.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub(crate) fn parcel_recorded(
        &self,
        hub: &[u8; 16],
        seq: u64,
        (now, before): (UnixTime, UnixTime),
    ) -> Result<(), StoreError> {
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        self.sql.execute(
            "INSERT INTO parcel (hub, seq, at) VALUES (?1, ?2, ?3) ON CONFLICT (hub) DO UPDATE SET seq = ?2, at = ?3",
            params![hub, seq, secs(now)],
        )?;
        self.sql.execute("DELETE FROM parcel WHERE at < ?", params![secs(before)])?;
        Ok(())
    }
}
