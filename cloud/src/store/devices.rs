//! Facts about devices: ids, keys, and how their link stands.

use std::net::SocketAddr;

use super::engine::{Row, params};
use serde::Serialize;

use postern_protocol::id::DeviceId;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::PublicKey;
use postern_protocol::wire::control::{NackCode, RootCode};
use postern_protocol::wire::invitation::Invitee;

use super::people::{parse_name, public_key};
use super::{StoreError, Tx, bytes, secs, time};

/// A device's facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceState {
    /// Its name in the model.
    pub name: Name,
    /// The id that the cloud assigned.
    pub id: DeviceId,
    /// Its key; none before it was enrolled.
    pub key: Option<PublicKey>,
    /// The key that it has announced and not used yet. Snapshots are for this one.
    pub next_key: Option<PublicKey>,
    /// Whether somebody has confirmed the key, or need not.
    pub confirmed: bool,
    /// Whether it is out of service.
    pub retired: bool,
    /// Whether its key is forgotten once it is out of service.
    pub forget: bool,
    /// Whether it is asked for a new key.
    pub rotate: bool,
    /// Whether its link was up when this was stored.
    pub online: bool,
    /// When it was last heard of.
    pub seen: Option<UnixTime>,
    /// The agent's version, as it says.
    pub agent: Option<String>,
    /// Where clients reach it, as it says.
    pub addresses: Vec<SocketAddr>,
    /// The version in force on it, as it says.
    pub applied: Option<u64>,
    /// When it last asked what is newest, and the answer named what it holds: from then on its policy is fresh.
    pub confirmed_at: Option<UnixTime>,
    /// What it refused.
    pub refused: Option<Refused>,
    /// The version of the root in force on it, as it says.
    pub root: Option<u32>,
    /// The root that it refused.
    pub root_refused: Option<RootRefused>,
}

/// A root that a device refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootRefused {
    /// The version.
    pub version: u32,
    /// The word of the reason.
    pub code: String,
    /// Details for people.
    pub detail: String,
}

/// Whether a device gets its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It does.
    InService,
    /// Its key awaits confirmation: it is denied everything.
    AwaitsConfirmation,
    /// It is out of service: it is told to forget what it held.
    Retired,
}

impl DeviceState {
    /// Whether it gets its policy.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        match (self.retired, self.confirmed) {
            (true, _) => Standing::Retired,
            (false, false) => Standing::AwaitsConfirmation,
            (false, true) => Standing::InService,
        }
    }

    /// The key that snapshots are for.
    #[must_use]
    pub fn addressed_key(&self) -> Option<PublicKey> {
        self.next_key.or(self.key)
    }
}

/// A version that a device refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The version.
    pub version: u64,
    /// The word of the reason.
    pub code: String,
    /// Whether it is pointless to push that version again.
    pub is_final: bool,
    /// Details for people.
    pub detail: String,
}

const COLUMNS: &str = "name, id, key, online, seen, agent, addresses, applied, refused, refused_code, \
                       refused_final, refused_detail, next_key, confirmed, retired, rotate, root, root_refused, \
                       root_refused_code, root_refused_detail, confirmed_at";

impl Tx<'_> {
    /// All devices that ever were in the model, by name.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn devices(&self) -> Result<Vec<DeviceState>, StoreError> {
        let mut query = self.sql.prepare_cached(&format!("SELECT {COLUMNS} FROM device ORDER BY name"))?;
        let mut rows = query.query(params![])?;
        let mut devices = Vec::new();
        while let Some(row) = rows.next()? {
            devices.push(device(row)?);
        }
        Ok(devices)
    }

    /// The names of all devices that ever were in the model, ascending.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn device_names(&self) -> Result<Vec<Name>, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT name FROM device ORDER BY name")?;
        let mut rows = query.query(params![])?;
        let mut names = Vec::new();
        while let Some(row) = rows.next()? {
            names.push(parse_name(&row.get::<String>(0)?)?);
        }
        Ok(names)
    }

    /// One device.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn device(&self, name: &Name) -> Result<Option<DeviceState>, StoreError> {
        let mut query = self.sql.prepare_cached(&format!("SELECT {COLUMNS} FROM device WHERE name = ?"))?;
        let mut rows = query.query(params![name.as_str()])?;
        rows.next()?.map(device).transpose()
    }

    /// The device of an id.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn device_of_id(&self, id: DeviceId) -> Result<Option<DeviceState>, StoreError> {
        let mut query = self.sql.prepare_cached(&format!("SELECT {COLUMNS} FROM device WHERE id = ?"))?;
        let mut rows = query.query(params![id.as_bytes().as_slice()])?;
        rows.next()?.map(device).transpose()
    }

    /// The device whose key this is, or whose next key.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn device_of_key(&self, key: &PublicKey) -> Result<Option<DeviceState>, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT name FROM device WHERE key = ?1 OR next_key = ?1")?;
        let name: Option<String> = query.first(params![key.as_bytes()], |row| row.get(0))?;
        match name {
            Some(name) => self.device(&parse_name(&name)?),
            None => Ok(None),
        }
    }

    /// Whether the device of a link is asked for a new key; none when the link's key does not speak for it.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn rotation_wanted(&self, name: &Name, key: &PublicKey) -> Result<Option<bool>, StoreError> {
        let mut query = self
            .sql
            .prepare_cached("SELECT rotate FROM device WHERE name = ?1 AND (key = ?2 OR next_key = ?2)")?;
        query.first(params![name.as_str(), key.as_bytes()], |row| row.get(0))
    }

    /// Has a device asked for a new key.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn want_rotation(&self, name: &Name) -> Result<(), StoreError> {
        self.sql.execute("UPDATE device SET rotate = 1 WHERE name = ?", params![name.as_str()])?;
        Ok(())
    }

    /// A device has announced its next key: from now on snapshots are for that one, and both are recognised.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn announce_key(&self, name: &Name, next: &PublicKey) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE device SET next_key = ?, rotate = 0 WHERE name = ?",
            params![next.as_bytes(), name.as_str()],
        )?;
        Ok(())
    }

    /// A device has presented its next key: the one before is worth nothing from now on.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn promote_key(&self, name: &Name) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE device SET key = next_key, next_key = NULL WHERE name = ? AND next_key IS NOT NULL",
            params![name.as_str()],
        )?;
        self.remember_keys(name)
    }

    /// Puts a device out of service, with `forget` until its key is forgotten as well, or back into it.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn retire_device(&self, name: &Name, retired: bool, forget: bool) -> Result<(), StoreError> {
        let retired = match (retired, forget) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => FORGET,
        };
        self.sql.execute("UPDATE device SET retired = ? WHERE name = ?", params![retired, name.as_str()])?;
        Ok(())
    }

    /// Gives a device its key; what was known of the holder of an earlier key is forgotten.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn bind_device(
        &self,
        name: &Name,
        key: &PublicKey,
        confirm: bool,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        self.forget_holder(name)?;
        self.sql.execute(
            "UPDATE device SET key = ?, enrolled = ?, confirmed = ? WHERE name = ?",
            params![key.as_bytes(), secs(now), !confirm, name.as_str()],
        )?;
        self.remember_keys(name)
    }

    /// Forgets the key of a device and all that is known of its holder; a code that was used for it is worth nothing.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn unbind_device(&self, name: &Name) -> Result<(), StoreError> {
        self.withdraw(Invitee::Device, name)?;
        self.forget_holder(name)
    }

    fn forget_holder(&self, name: &Name) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE device SET key = NULL, next_key = NULL, enrolled = NULL, confirmed = 1, retired = 0, rotate = 0,
             life = NULL, lives = ?2, boots = 0, online = 0, seen = NULL, agent = NULL, addresses = '[]', sealing = NULL,
             log = NULL, root = NULL, root_refused = NULL, applied = NULL, refused = NULL, refused_code = NULL, refused_final = NULL, refused_detail = NULL
             WHERE name = ?1",
            params![name.as_str(), b""],
        )?;
        Ok(())
    }

    /// Somebody has compared the key of a device.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn confirm_device(&self, name: &Name) -> Result<(), StoreError> {
        self.sql.execute("UPDATE device SET confirmed = 1 WHERE name = ?", params![name.as_str()])?;
        Ok(())
    }

    /// Notes that a device's link is up, and what it said in its hello.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn link_up(
        &self,
        name: &Name,
        now: UnixTime,
        agent: &str,
        addresses: &[SocketAddr],
        applied: Option<u64>,
    ) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE device SET online = 1, seen = ?, agent = ?, addresses = ?, applied = ? WHERE name = ?",
            params![secs(now), agent, json(addresses), applied.map(number), name.as_str()],
        )?;
        Ok(())
    }

    /// Notes that a device's link is down.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn link_down(&self, name: &Name, now: UnixTime) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE device SET online = 0, seen = ? WHERE name = ?",
            params![secs(now), name.as_str()],
        )?;
        Ok(())
    }

    /// Notes that no link is up: at the start and end of the hub.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn all_links_down(&self) -> Result<(), StoreError> {
        self.sql.execute("UPDATE device SET online = 0 WHERE online <> 0", params![])?;
        Ok(())
    }

    /// Notes where clients reach a device now.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn moved(&self, name: &Name, addresses: &[SocketAddr]) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE device SET addresses = ? WHERE name = ?",
            params![json(addresses), name.as_str()],
        )?;
        Ok(())
    }

    /// Notes which root a device says that it has.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn root_known(&self, name: &Name, version: u32) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE device SET root = ?1,
             root_refused = CASE WHEN root_refused <= ?1 THEN NULL ELSE root_refused END WHERE name = ?2",
            params![version, name.as_str()],
        )?;
        Ok(())
    }

    /// Notes that a device has put a root in force. What it refused before it refused under another root.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn root_taken(&self, name: &Name, version: u32, now: UnixTime) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE device SET root = ?, root_refused = NULL, refused = NULL, seen = ? WHERE name = ?",
            params![version, secs(now), name.as_str()],
        )?;
        Ok(())
    }

    /// Notes that a device refused a root.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn root_refused(
        &self,
        name: &Name,
        version: u32,
        code: RootCode,
        detail: &str,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE device SET root_refused = ?, root_refused_code = ?, root_refused_detail = ?, seen = ?
             WHERE name = ?",
            params![version, code.word(), detail, secs(now), name.as_str()],
        )?;
        Ok(())
    }

    /// Forgets what is in force on devices, and what they refused: an epoch begins, and versions begin anew with it.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn epoch_begins(&self) -> Result<(), StoreError> {
        self.sql.execute("UPDATE device SET applied = NULL, refused = NULL", params![])?;
        Ok(())
    }

    /// Notes what is in force on a device.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn applied(&self, name: &Name, version: u64, now: UnixTime) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE device SET applied = ?1, seen = ?2,
             refused = CASE WHEN refused <= ?1 THEN NULL ELSE refused END WHERE name = ?3",
            params![number(version), secs(now), name.as_str()],
        )?;
        Ok(())
    }

    /// Notes that a device was told at `asked` that what it holds is the newest.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn confirmed(&self, name: &Name, asked: UnixTime) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE device SET confirmed_at = ? WHERE name = ?",
            params![secs(asked), name.as_str()],
        )?;
        Ok(())
    }

    /// Notes what a device refused.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn refused(
        &self,
        name: &Name,
        version: u64,
        code: NackCode,
        detail: &str,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE device SET refused = ?, refused_code = ?, refused_final = ?, refused_detail = ?, seen = ?
             WHERE name = ?",
            params![number(version), code.word(), !code.is_transient(), detail, secs(now), name.as_str()],
        )?;
        Ok(())
    }
}

fn device(row: Row<'_>) -> Result<DeviceState, StoreError> {
    let (name, id, key): (String, Vec<u8>, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (seen, addresses): (Option<i64>, String) = (row.get(4)?, row.get(6)?);
    let (applied, refused): (Option<i64>, Option<i64>) = (row.get(7)?, row.get(8)?);
    let (code, is_final): (Option<String>, Option<bool>) = (row.get(9)?, row.get(10)?);
    let detail: Option<String> = row.get(11)?;
    let (next_key, retired): (Option<Vec<u8>>, i64) = (row.get(12)?, row.get(14)?);
    let (root_code, root_detail): (Option<String>, Option<String>) = (row.get(18)?, row.get(19)?);
    let version = |stored: i64| u64::try_from(stored).unwrap_or(0);
    Ok(DeviceState {
        name: parse_name(&name)?,
        id: DeviceId::new(bytes(&id, "device id")?),
        key: key.map(|key| public_key(&key)).transpose()?,
        next_key: next_key.map(|key| public_key(&key)).transpose()?,
        confirmed: row.get(13)?,
        retired: retired > 0,
        forget: retired == FORGET,
        rotate: row.get(15)?,
        online: row.get(3)?,
        seen: seen.map(time),
        agent: row.get(5)?,
        addresses: serde_json::from_str(&addresses)
            .map_err(|_| StoreError::Damaged { what: "address list" })?,
        applied: applied.map(version),
        confirmed_at: row.get::<Option<i64>>(20)?.map(time),
        refused: refused.map(|refused| Refused {
            version: version(refused),
            code: code.unwrap_or_default(),
            is_final: is_final.unwrap_or(false),
            detail: detail.unwrap_or_default(),
        }),
        root: row.get(16)?,
        root_refused: row.get::<Option<u32>>(17)?.map(|version| RootRefused {
            version,
            code: root_code.unwrap_or_default(),
            detail: root_detail.unwrap_or_default(),
        }),
    })
}

/// How `retired` says that the key is to be forgotten as well.
const FORGET: i64 = 2;

fn json(addresses: &[SocketAddr]) -> String {
    serde_json::to_string(addresses).unwrap_or_else(|_| "[]".to_owned())
}

fn number(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}
