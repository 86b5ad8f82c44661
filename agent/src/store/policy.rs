//! `policy.db`: enrolment, the snapshot in force, the floor, counters, the audit row that is owed, and sealed secrets.
//!
//! Each change is one transaction, and writes the digest of everything with it. A page that flash has changed, or brought back from
//! earlier, fits its neighbours as far as SQLite can see; against the digest it does not, and the database is damaged.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use postern_protocol::name::Name;
use postern_protocol::policy::{Floor, LockPlace};
use postern_protocol::session::CHUNK_S;
use postern_protocol::session::freshness::Note;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Digest;

use super::enrollment::Enrollment;
use super::file::Format;
use super::floor::Mark;
use super::staged::{Reseal, Staged};
use super::{StoreError, content};

/// The open database.
#[derive(Debug)]
pub(super) struct PolicyDb(pub(super) Connection);

/// What is stored of the policy.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) sealed: Option<Vec<u8>>,
    pub(super) floor: Option<Floor>,
    pub(super) owed: Option<Floor>,
    pub(super) locks: Vec<StoredLock>,
}

/// A lock as it was taken; empty bytes are the whole device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredLock {
    /// Its place among all locks of this device.
    pub(crate) place: LockPlace,
    /// The envelope.
    pub(crate) sealed: Vec<u8>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counters {
    /// Starts so far.
    pub(super) boots: u32,
    /// What time it is at least.
    pub(super) time: UnixTime,
    /// Seconds of the budget for work without the cloud that are spent.
    pub(super) spent: u32,
}

impl PolicyDb {
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let mut db = Self(FORMAT.open(dir)?);
        if !content::is_whole(&db.0)? {
            // An earlier version of the agent wrote it, or nobody did yet.
            db.change(|_transaction| Ok(()))?;
        }
        Ok(db)
    }

    pub(super) fn open_read_only(dir: &Path) -> Result<Self, StoreError> {
        let db = Self(FORMAT.open_read_only(dir)?);
        // In one view: a running agent may write between the digest and what it is about.
        content::is_whole(&*db.0.unchecked_transaction().map_err(sqlite)?)?;
        Ok(db)
    }

    /// Everything about an enrolment in one transaction, over everything of an earlier one.
    pub(super) fn enroll(
        &mut self,
        enrollment: &Enrollment,
        floor: Floor,
        sealed: &[u8],
    ) -> Result<(), StoreError> {
        self.change(|transaction| {
            put_enrollment(transaction, enrollment)?;
            put_policy(transaction, floor, sealed)?;
            // Time that another cloud has signed must not bind this one, its row is not owed any more, its locks are not
            // this cloud's to lift, what was stopped is not its business, and what was sealed to the key before opens no more.
            transaction
                .execute_batch(
                    "DELETE FROM owed; DELETE FROM secret; DELETE FROM held_lock; DELETE FROM receipt; UPDATE counter SET time = 0, spent = 0;",
                )
                .map_err(sqlite)
        })
    }

    /// Restores the enrolment of a database that was lost.
    pub(super) fn keep_enrollment(&mut self, enrollment: &Enrollment) -> Result<(), StoreError> {
        self.change(|transaction| put_enrollment(transaction, enrollment))
    }

    /// Stores a snapshot: envelope, floor, the owed audit row, what time it is at least, an end to the locks that it
    /// lifts, and the secrets that were set here as its key and its word leave them; all or nothing.
    pub(super) fn install(&mut self, staged: &Staged) -> Result<(), StoreError> {
        let Staged { floor, ref sealed, time, cleared, retired, ref reseal } = *staged;
        self.change(|transaction| {
            put_policy(transaction, floor, sealed)?;
            lift(transaction, LockPlace { epoch: floor.epoch, sequence: cleared })?;
            if retired {
                transaction.execute("DELETE FROM secret", []).map_err(sqlite)?;
            } else if let Some(reseal) = reseal {
                seal_anew(transaction, reseal)?;
            }
            put_floor(
                transaction,
                "INSERT OR REPLACE INTO owed (id, epoch, version, digest) VALUES (1, ?1, ?2, ?3)",
                floor,
            )?;
            put_time(transaction, time)
        })
    }

    /// Moves the journal into the database and empties it: pages of earlier snapshots lie in both, and freed ones are
    /// overwritten with zeros when they are freed.
    pub(super) fn forget(&mut self) -> Result<(), StoreError> {
        self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(())).map_err(sqlite)
    }

    /// Keeps a lock, in place of those that it contains, all or nothing.
    pub(super) fn take_lock(&mut self, lock: &StoredLock, instead_of: Replaced) -> Result<(), StoreError> {
        self.change(|transaction| {
            match instead_of {
                Replaced::These(places) => places.iter().try_for_each(|place| forget(transaction, *place))?,
                Replaced::All => {
                    transaction.execute("DELETE FROM held_lock", []).map_err(sqlite)?;
                }
            }
            let LockPlace { epoch, sequence } = lock.place;
            transaction
                .execute(
                    "INSERT OR REPLACE INTO held_lock (epoch, sequence, sealed) VALUES (?1, ?2, ?3)",
                    params![epoch, sequence.to_be_bytes(), lock.sealed],
                )
                .map(drop)
                .map_err(sqlite)
        })
    }

    /// The audit row of this snapshot was written. That of a later one is still owed.
    pub(super) fn settle(&mut self, floor: Floor) -> Result<(), StoreError> {
        let Floor { epoch, version, digest } = floor;
        self.change(|transaction| {
            transaction
                .execute(
                    "DELETE FROM owed WHERE epoch = ?1 AND version = ?2 AND digest = ?3",
                    params![epoch, version.cast_signed(), digest.as_bytes().as_slice()],
                )
                .map(drop)
                .map_err(sqlite)
        })
    }

    /// Counts a start, and debits it: what follows may be without a word of the cloud.
    pub(super) fn count_boot(&mut self) -> Result<(), StoreError> {
        self.change(|transaction| {
            transaction
                .execute(
                    "UPDATE counter SET boots = boots + 1, spent = min(spent + ?1, ?2)",
                    params![CHUNK_S, u32::MAX],
                )
                .map(drop)
                .map_err(sqlite)
        })
    }

    /// Remembers what time it is at least, and what is spent of the budget.
    pub(super) fn note(&mut self, note: Note) -> Result<(), StoreError> {
        self.change(|transaction| {
            transaction
                .execute("UPDATE counter SET time = ?1, spent = ?2", params![seconds(note.time), note.spent])
                .map(drop)
                .map_err(sqlite)
        })
    }

    /// Remembers what time it is at least.
    pub(super) fn keep_time(&mut self, time: UnixTime) -> Result<(), StoreError> {
        self.change(|transaction| put_time(transaction, time))
    }

    /// Keeps a sealed secret in the place of an earlier one of its name.
    pub(super) fn keep_secret(&mut self, name: &Name, sealed: &[u8]) -> Result<(), StoreError> {
        self.change(|transaction| put_secret(transaction, name, sealed))
    }

    /// Forgets a sealed secret; whether there was one.
    pub(super) fn forget_secret(&mut self, name: &Name) -> Result<bool, StoreError> {
        self.change(|transaction| {
            let forgotten = transaction.execute("DELETE FROM secret WHERE name = ?1", params![name.as_str()]);
            forgotten.map(|rows| rows > 0).map_err(sqlite)
        })
    }

    /// Makes a change, all or nothing, and writes the digest of what is stored then.
    pub(super) fn change<T>(
        &mut self,
        change: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self.0.transaction().map_err(sqlite)?;
        let changed = change(&transaction)?;
        content::put(&transaction)?;
        transaction.commit().map_err(sqlite)?;
        Ok(changed)
    }

    /// The sealed secrets by name.
    pub(super) fn secrets(&self) -> Result<BTreeMap<Name, Vec<u8>>, StoreError> {
        read_secrets(&self.0)
    }

    pub(super) fn enrollment(&self) -> Result<Option<Enrollment>, StoreError> {
        let body: Option<Vec<u8>> = self
            .0
            .query_row("SELECT body FROM enrollment", [], |row| row.get(0))
            .optional()
            .map_err(sqlite)?;
        body.map(|body| Enrollment::decode(&body).map_err(|_| FORMAT.damaged())).transpose()
    }

    pub(super) fn stored(&self) -> Result<Stored, StoreError> {
        let sealed =
            self.0.query_row("SELECT sealed FROM policy", [], |row| row.get(0)).optional().map_err(sqlite)?;
        let floor = |sql| {
            let found = self.0.query_row(sql, [], read_floor).optional().map_err(sqlite)?;
            found.map(|floor| floor.ok_or_else(|| FORMAT.damaged())).transpose()
        };
        Ok(Stored {
            sealed,
            floor: floor("SELECT epoch, version, digest FROM floor")?,
            owed: floor("SELECT epoch, version, digest FROM owed")?,
            locks: self.locks()?,
        })
    }

    /// What a copy outside must remember of this database; none before there is a floor.
    pub(super) fn mark(&self) -> Result<Option<Mark>, StoreError> {
        let Stored { floor, locks, .. } = self.stored()?;
        Ok(floor.map(|floor| Mark { floor, lock: locks.iter().map(|lock| lock.place).max() }))
    }

    fn locks(&self) -> Result<Vec<StoredLock>, StoreError> {
        let mut query = self
            .0
            .prepare("SELECT epoch, sequence, sealed FROM held_lock ORDER BY epoch, sequence")
            .map_err(sqlite)?;
        let rows = query
            .query_map([], |row| {
                let (epoch, sequence, sealed): (u32, [u8; 8], Vec<u8>) =
                    (row.get(0)?, row.get(1)?, row.get(2)?);
                let place = LockPlace { epoch, sequence: u64::from_be_bytes(sequence) };
                Ok(StoredLock { place, sealed })
            })
            .map_err(sqlite)?;
        rows.collect::<Result<_, _>>().map_err(sqlite)
    }

    /// What is counted.
    pub(super) fn counters(&self) -> Result<Counters, StoreError> {
        let (boots, time, spent): (u32, i64, u32) = self
            .0
            .query_row("SELECT boots, time, spent FROM counter", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .map_err(sqlite)?;
        Ok(Counters { boots, time: UnixTime::from_secs(u64::try_from(time).unwrap_or(0)), spent })
    }
}

fn put_enrollment(connection: &Connection, enrollment: &Enrollment) -> Result<(), StoreError> {
    let insert = "INSERT OR REPLACE INTO enrollment (id, body) VALUES (1, ?1)";
    connection.execute(insert, params![enrollment.encode()?]).map(drop).map_err(sqlite)
}

fn put_secret(connection: &Connection, name: &Name, sealed: &[u8]) -> Result<(), StoreError> {
    let insert = "INSERT OR REPLACE INTO secret (name, sealed) VALUES (?1, ?2)";
    connection.execute(insert, params![name.as_str(), sealed]).map(drop).map_err(sqlite)
}

fn read_secrets(connection: &Connection) -> Result<BTreeMap<Name, Vec<u8>>, StoreError> {
    let mut query = connection.prepare("SELECT name, sealed FROM secret").map_err(sqlite)?;
    let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?))).map_err(sqlite)?;
    rows.map(|row| {
        let (name, sealed) = row.map_err(sqlite)?;
        Ok((name.parse().map_err(|_| FORMAT.damaged())?, sealed))
    })
    .collect()
}

fn seal_anew(connection: &Connection, reseal: &Reseal) -> Result<(), StoreError> {
    for (name, sealed) in read_secrets(connection)? {
        if let Some(anew) = reseal.anew(&name, &sealed)? {
            put_secret(connection, &name, &anew)?;
        }
    }
    Ok(())
}

fn put_time(connection: &Connection, time: UnixTime) -> Result<(), StoreError> {
    let update = connection.execute("UPDATE counter SET time = ?1", params![seconds(time)]);
    update.map(drop).map_err(sqlite)
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Which locks a new one contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Replaced {
    /// Those at these places.
    These(Vec<LockPlace>),
    /// Every one.
    All,
}

/// Removes every lock up to a place. Sequences are stored most significant byte first, so SQLite orders them.
fn lift(connection: &Connection, up_to: LockPlace) -> Result<(), StoreError> {
    connection
        .execute(
            "DELETE FROM held_lock WHERE epoch < ?1 OR (epoch = ?1 AND sequence <= ?2)",
            params![up_to.epoch, up_to.sequence.to_be_bytes()],
        )
        .map(drop)
        .map_err(sqlite)
}

fn forget(connection: &Connection, place: LockPlace) -> Result<(), StoreError> {
    connection
        .execute(
            "DELETE FROM held_lock WHERE epoch = ?1 AND sequence = ?2",
            params![place.epoch, place.sequence.to_be_bytes()],
        )
        .map(drop)
        .map_err(sqlite)
}

fn put_policy(connection: &Connection, floor: Floor, sealed: &[u8]) -> Result<(), StoreError> {
    connection
        .execute("INSERT OR REPLACE INTO policy (id, sealed) VALUES (1, ?1)", params![sealed])
        .map_err(sqlite)?;
    put_floor(
        connection,
        "INSERT OR REPLACE INTO floor (id, epoch, version, digest) VALUES (1, ?1, ?2, ?3)",
        floor,
    )
}

fn put_floor(connection: &Connection, sql: &str, floor: Floor) -> Result<(), StoreError> {
    // SQLite counts in signed numbers; the bits are kept, and nothing is compared in SQL.
    let version = floor.version.cast_signed();
    connection
        .execute(sql, params![floor.epoch, version, floor.digest.as_bytes().as_slice()])
        .map(drop)
        .map_err(sqlite)
}

fn read_floor(row: &Row<'_>) -> rusqlite::Result<Option<Floor>> {
    let (epoch, version, digest): (u32, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let digest = <[u8; 32]>::try_from(digest).ok().map(Digest::new);
    Ok(digest.map(|digest| Floor { epoch, version: version.cast_unsigned(), digest }))
}

pub(super) fn sqlite(error: rusqlite::Error) -> StoreError {
    FORMAT.error(error)
}

pub(super) const FILE: &str = "policy.db";
pub(super) const FORMAT: Format = Format {
    file: FILE,
    migrations: &["
        CREATE TABLE enrollment (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL) STRICT;
        CREATE TABLE policy (id INTEGER PRIMARY KEY CHECK (id = 1), sealed BLOB NOT NULL) STRICT;
        CREATE TABLE floor (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL, version INTEGER NOT NULL, digest BLOB NOT NULL) STRICT;
        CREATE TABLE owed (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL, version INTEGER NOT NULL, digest BLOB NOT NULL) STRICT;
        CREATE TABLE counter (id INTEGER PRIMARY KEY CHECK (id = 1), boots INTEGER NOT NULL, pass_issued INTEGER NOT NULL) STRICT;
        INSERT INTO counter (id, boots, pass_issued) VALUES (1, 0, 0);
    ", "
        CREATE TABLE secret (name TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
    ", "
        ALTER TABLE counter RENAME COLUMN pass_issued TO time;
        ALTER TABLE counter ADD COLUMN spent INTEGER NOT NULL DEFAULT 0;
    ", "
        CREATE TABLE held_lock (epoch INTEGER NOT NULL, sequence BLOB NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (epoch, sequence)) STRICT;
    ", "
        CREATE TABLE content (id INTEGER PRIMARY KEY CHECK (id = 1), digest BLOB) STRICT;
        INSERT INTO content (id, digest) VALUES (1, NULL);
        UPDATE counter SET spent = 4294967295 WHERE NOT EXISTS (SELECT 1 FROM enrollment);
    ", "
        CREATE TABLE receipt (id BLOB PRIMARY KEY, body BLOB NOT NULL) STRICT;
        UPDATE content SET digest = NULL;
    "],
};
