//! The newest sealed snapshot of each device.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::engine::{Row, params};

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Digest;
use postern_protocol::wire::control::Held;

use super::people::parse_name;
use super::{StoreError, Tx, bytes, secs, time};

/// A snapshot as it was signed, named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedTerm {
    /// Epoch, version and digest.
    pub held: Held,
    /// Digest of policy and addressee: equal content needs no new version.
    pub content: Digest,
    /// When it was signed.
    pub issued: UnixTime,
    /// The first second in which it permits nothing.
    pub expires: UnixTime,
}

/// What all devices are to be given, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    /// The version of the newest root.
    pub root: u32,
    /// A number for each device.
    pub devices: HashMap<Name, u64>,
}

/// A snapshot as it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// What it is.
    pub term: SealedTerm,
    /// The bytes that devices verify.
    pub bytes: Vec<u8>,
}

impl Tx<'_> {
    /// What the newest snapshot of a device is.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn snapshot_term(&self, device: &Name) -> Result<Option<SealedTerm>, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT epoch, version, digest, content, issued, expires FROM snapshot WHERE device = ?",
        )?;
        let mut rows = query.query(params![device.as_str()])?;
        rows.next()?.map(term).transpose()
    }

    /// The newest snapshot of a device.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn snapshot(&self, device: &Name) -> Result<Option<Sealed>, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT epoch, version, digest, content, issued, expires, sealed FROM snapshot WHERE device = ?",
        )?;
        let mut rows = query.query(params![device.as_str()])?;
        rows.next()?.map(|row| Ok(Sealed { term: term(row)?, bytes: row.get(6)? })).transpose()
    }

    /// What each device is to be given, as a number that is another one whenever that is; of the locks of one epoch.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn stamps(&self, epoch: u32) -> Result<Stamps, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT device.name, key, next_key, rotate, snapshot.epoch, version, digest, sequence, cleared FROM device
             LEFT JOIN snapshot ON snapshot.device = device.name
             LEFT JOIN device_lock ON device_lock.device = device.name AND device_lock.epoch = ?",
        )?;
        let mut rows = query.query(params![epoch])?;
        let mut devices = HashMap::new();
        while let Some(row) = rows.next()? {
            let mut hasher = DefaultHasher::new();
            for blob in [1, 2, 6] {
                row.blob_or_null(blob)?.hash(&mut hasher);
            }
            for number in [3, 4, 5, 7, 8] {
                row.get::<Option<i64>>(number)?.hash(&mut hasher);
            }
            devices.insert(parse_name(row.text(0)?)?, hasher.finish());
        }
        Ok(Stamps { root: self.root_version()?, devices })
    }

    /// The devices whose newest snapshot has half of its lifetime behind it, ascending.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn due_devices(&self, now: UnixTime) -> Result<Vec<Name>, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT device FROM snapshot WHERE ?1 - issued >= (expires - issued) / 2 ORDER BY device",
        )?;
        let mut rows = query.query(params![secs(now)])?;
        let mut names = Vec::new();
        while let Some(row) = rows.next()? {
            names.push(parse_name(&row.get::<String>(0)?)?);
        }
        Ok(names)
    }

    /// Replaces the newest snapshot of a device.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn save_snapshot(&self, device: &Name, sealed: &Sealed) -> Result<(), StoreError> {
        let Sealed { term, bytes } = sealed;
        let version = i64::try_from(term.held.version).unwrap_or(i64::MAX);
        let mut statement = self.sql.prepare_cached(
            "INSERT INTO snapshot (device, epoch, version, digest, content, issued, expires, sealed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (device) DO UPDATE SET
             epoch = ?2, version = ?3, digest = ?4, content = ?5, issued = ?6, expires = ?7, sealed = ?8",
        )?;
        statement.execute(params![
            device.as_str(),
            term.held.epoch,
            version,
            term.held.digest.as_bytes(),
            term.content.as_bytes(),
            secs(term.issued),
            secs(term.expires),
            bytes
        ])?;
        Ok(())
    }
}

fn term(row: Row<'_>) -> Result<SealedTerm, StoreError> {
    let (version, digest, content): (i64, Vec<u8>, Vec<u8>) = (row.get(1)?, row.get(2)?, row.get(3)?);
    Ok(SealedTerm {
        held: Held {
            epoch: row.get(0)?,
            version: u64::try_from(version).unwrap_or(0),
            digest: Digest::new(bytes(&digest, "digest")?),
        },
        content: Digest::new(bytes(&content, "digest")?),
        issued: time(row.get(4)?),
        expires: time(row.get(5)?),
    })
}
