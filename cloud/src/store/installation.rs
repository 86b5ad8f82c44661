//! What belongs to the installation as a whole: its id, its roots, its addresses.

use std::net::SocketAddr;

use super::engine::params;

use postern_protocol::id::FleetId;

use super::{StoreError, Tx, bytes};

/// An installation, as `init` made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Its id.
    pub fleet: FleetId,
    /// Where the hub listens.
    pub listen: SocketAddr,
    /// Where devices and users reach the hub; empty when it is where it listens.
    pub advertise: Vec<SocketAddr>,
}

impl Tx<'_> {
    pub(super) fn found(&self, installation: &Installation, root: &[u8]) -> Result<(), StoreError> {
        let advertise = serde_json::to_string(&installation.advertise).unwrap_or_default();
        self.sql.execute(
            "INSERT INTO installation (\"only\", fleet, listen, advertise) VALUES (1, ?, ?, ?)",
            params![installation.fleet.as_bytes(), installation.listen.to_string(), advertise],
        )?;
        self.sql.execute("INSERT INTO root (version, sealed) VALUES (1, ?)", params![root])?;
        Ok(())
    }

    /// Whose state this is; none before it was founded.
    pub(super) fn fleet(&self) -> Result<Option<FleetId>, StoreError> {
        let fleet =
            self.sql.first("SELECT fleet FROM installation", params![], |row| row.get::<Vec<u8>>(0))?;
        fleet.map(|fleet| Ok(FleetId::new(bytes(&fleet, "fleet id")?))).transpose()
    }

    /// The installation.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn installation(&self) -> Result<Installation, StoreError> {
        let row: Option<(Vec<u8>, String, String)> =
            self.sql.first("SELECT fleet, listen, advertise FROM installation", params![], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        let damaged = StoreError::Damaged { what: "installation" };
        let Some((fleet, listen, advertise)) = row else { return Err(damaged) };
        let (Ok(listen), Ok(advertise)) = (listen.parse(), serde_json::from_str(&advertise)) else {
            return Err(damaged);
        };
        Ok(Installation { fleet: FleetId::new(bytes(&fleet, "fleet id")?), listen, advertise })
    }

    /// Sealed roots, from version 1 on.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn roots(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT sealed FROM root ORDER BY version")?;
        let roots = query.all(params![], |row| row.get::<Vec<u8>>(0))?;
        if roots.is_empty() { Err(StoreError::Damaged { what: "root" }) } else { Ok(roots) }
    }

    /// The newest root, sealed.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn newest_root(&self) -> Result<Vec<u8>, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT sealed FROM root ORDER BY version DESC LIMIT 1")?;
        query.first(params![], |row| row.get(0))?.ok_or(StoreError::Damaged { what: "root" })
    }

    /// The version of the newest root.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn root_version(&self) -> Result<u32, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT max(version) FROM root")?;
        query
            .query_row(params![], |row| row.get::<Option<u32>>(0))?
            .ok_or(StoreError::Damaged { what: "root" })
    }

    /// The roots after a version, in order, at most `limit` of them.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn roots_after(&self, version: u32, limit: usize) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        let mut query = self
            .sql
            .prepare_cached("SELECT version, sealed FROM root WHERE version > ? ORDER BY version LIMIT ?")?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        query.all(params![version, limit], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Stores the next root. Whoever calls this has verified that it follows the newest.
    ///
    /// # Errors
    /// A [`StoreError`], also when a root of this version is there.
    pub fn save_root(&self, version: u32, sealed: &[u8]) -> Result<(), StoreError> {
        self.sql.execute("INSERT INTO root (version, sealed) VALUES (?, ?)", params![version, sealed])?;
        Ok(())
    }

    /// Remembers where the hub listens now, for the codes that other commands make.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn save_bound(&self, bound: SocketAddr) -> Result<(), StoreError> {
        self.sql.execute("UPDATE installation SET bound = ?", params![bound.to_string()])?;
        Ok(())
    }

    /// Where the hub listened last.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn bound(&self) -> Result<Option<SocketAddr>, StoreError> {
        let bound: Option<String> =
            self.sql.query_row("SELECT bound FROM installation", params![], |row| row.get(0))?;
        Ok(bound.and_then(|bound| bound.parse().ok()))
    }
}
