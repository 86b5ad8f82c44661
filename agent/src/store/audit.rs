//! `audit.db`: the chained rows, sealed one by one, bounded in size. What the cloud has not acknowledged is never removed.
//!
//! 1. A commit has rows, and where one of them begins or ends a session a checkpoint that the device signs.
//! 2. The keys that sealed them are forgotten afterwards ([`ratchet_file`]).
//! 3. Rows go to the cloud and are removed from here as [`outgoing`] says.

mod outgoing;
mod ratchet_file;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Statement, params};
use serde::{Deserialize, Serialize};

use postern_protocol::audit::row::ROW_BYTES;
use postern_protocol::audit::{
    ChainFault, Checkpoint, End, Event, GapCause, Link, LogId, Ratchet, RatchetKey, Row, Whose, chain,
    verify_chain,
};
use postern_protocol::policy::Floor;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Digest, PublicKey, SecretKey};
use postern_protocol::wire::codec;
use postern_protocol::wire::control::Held;

use self::outgoing::{draw, prune, stored};
use super::StoreError;
use super::file::Format;
use crate::identity::DeviceKeys;

pub(crate) use self::outgoing::Outgoing;
pub(super) use self::ratchet_file::FILE as RATCHET;

/// The open trail and its end.
#[derive(Debug)]
pub(super) struct AuditDb {
    connection: Connection,
    dir: PathBuf,
    trail: Trail,
    /// None where it was opened for reading, and where the first key of a log could not be written yet.
    ratchet: Option<Ratchet>,
    last: End,
    used_bytes: u64,
    limit_bytes: u64,
}

/// What is known of the trail beside its rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Trail {
    log: LogId,
    /// Its first row, and the link of the row before.
    first: u64,
    previous: Link,
    /// The first row whose tag is of this log's ratchet.
    sealed_from: u64,
    /// The newest row that was removed.
    floor: End,
    /// The newest policy that the removed rows say came into force.
    policy: Option<Held>,
    /// The device's key that the rows say is in force, and which one says so.
    key: Option<(u64, PublicKey)>,
    /// The newest acknowledgement, as it was received.
    ack: Option<(End, Vec<u8>)>,
    /// Why this log follows another one; the row that says so goes before the next one.
    owed: Option<GapCause>,
}

/// What signs checkpoints.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    /// Whose trail it is.
    pub(crate) whose: Whose,
    /// The device's keys.
    pub(crate) keys: Arc<DeviceKeys>,
}

impl Signer {
    fn key(&self) -> SecretKey {
        self.keys.present()
    }
}

impl Trail {
    const fn begin(log: LogId) -> Self {
        let floor = End { seq: 0, link: chain::ORIGIN };
        let (policy, key, ack, owed) = (None, None, None, None);
        Self { log, first: 1, previous: chain::ORIGIN, sealed_from: 1, floor, policy, key, ack, owed }
    }

    /// The newest row that the cloud has.
    fn acked(&self) -> u64 {
        self.ack.as_ref().map_or(self.floor.seq, |(end, _)| end.seq.max(self.floor.seq))
    }

    fn put(&self, connection: &Connection) -> Result<(), StoreError> {
        let body = codec::encode(self, TRAIL_BYTES)?;
        connection
            .execute("INSERT OR REPLACE INTO trail (only, body) VALUES (1, ?1)", params![body])
            .map_err(sqlite)?;
        Ok(())
    }
}

impl AuditDb {
    /// Opens the trail for writing; it takes no more than `limit_bytes`.
    pub(super) fn open(dir: &Path, limit_bytes: u64) -> Result<Self, StoreError> {
        let connection = FORMAT.open(dir)?;
        let pages = i64::try_from(limit_bytes / PAGE_BYTES).unwrap_or(i64::MAX);
        connection
            .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
            .map_err(sqlite)?;
        // Rows are no secrets: what is removed is not written over at the price of flash.
        connection.execute_batch("PRAGMA secure_delete = FAST;").map_err(sqlite)?;
        let known = trail(&connection)?;
        let is_new = known.is_none();
        let trail = known.map_or_else(|| draw(LogId::new).map(Trail::begin), Ok)?;
        let mut db = Self { limit_bytes, ..Self::with(dir, connection, trail)? };
        if is_new {
            db.trail.owed = ratchet_file::exists(dir).then_some(GapCause::Lost);
            db.trail.put(&db.connection)?;
        }
        let next = db.last.seq + 1;
        let stored = if is_new { None } else { ratchet_file::read(dir, db.trail.log)? };
        db.ratchet = stored.and_then(|mut ratchet| ratchet.forward(next).then_some(ratchet));
        match db.ratchet {
            Some(_) => {}
            // A log of which no row is sealed yet: it begins here, or the power went as it did.
            None if next == db.trail.sealed_from => db.draw_ratchet()?,
            None => db.begin_anew(GapCause::Unsealed)?,
        }
        Ok(db)
    }

    /// The first key of a log, which is kept until the cloud has it.
    fn draw_ratchet(&mut self) -> Result<(), StoreError> {
        let ratchet = Ratchet::new(self.trail.sealed_from, draw(RatchetKey::new)?);
        ratchet_file::write(&self.dir, self.trail.log, &ratchet)?;
        self.ratchet = Some(ratchet);
        Ok(())
    }

    /// Opens the trail for reading.
    pub(super) fn open_read_only(dir: &Path) -> Result<Self, StoreError> {
        let connection = FORMAT.open_read_only(dir)?;
        let trail = trail(&connection)?.unwrap_or(Trail::begin(LogId::new([0; 16])));
        Self::with(dir, connection, trail)
    }

    /// Appends rows in one commit. Either all are durable afterwards or none is.
    pub(super) fn append<'a>(
        &mut self,
        events: impl Iterator<Item = (UnixTime, &'a Event)>,
        signer: Option<&Signer>,
    ) -> Result<(), StoreError> {
        if self.ratchet.is_none() {
            self.draw_ratchet()?;
        }
        let is_crowded = self.is_crowded();
        let mut sealer = Sealer {
            trail: self.trail.clone(),
            ratchet: self.ratchet.clone().ok_or(StoreError::Closed)?,
            last: self.last,
            is_changed: false,
        };
        let mut session = None;
        let transaction = self.connection.transaction().map_err(sqlite)?;
        {
            let mut insert = transaction.prepare(INSERT).map_err(sqlite)?;
            for (at, event) in events {
                if let Some(cause) = sealer.trail.owed.take() {
                    sealer.is_changed = true;
                    sealer.row(&mut insert, at, &Event::Gap { cause, rows: 0 })?;
                }
                sealer.row(&mut insert, at, event)?;
                if matches!(event, Event::Permitted { .. } | Event::Closed { .. }) {
                    session = Some(at);
                }
            }
            if let Some((at, signer)) = session.zip(signer) {
                // A key of which the rows say nothing yet is named by a row of its own.
                sealer.row(&mut insert, at, &Event::KeyChanged { key: signer.key().public() })?;
                sealer.sign(&transaction, signer)?;
            }
        }
        if is_crowded {
            prune(&transaction, &mut sealer.trail)?;
        }
        if sealer.is_changed {
            sealer.trail.put(&transaction)?;
        }
        transaction.commit().map_err(sqlite)?;
        let Sealer { trail, ratchet, last, .. } = sealer;
        (self.trail, self.ratchet, self.last) = (trail, Some(ratchet), last);
        self.used_bytes = used(&self.connection)?;
        Ok(())
    }

    /// Whether rows that the cloud has make room for new ones.
    const fn is_crowded(&self) -> bool {
        self.used_bytes >= self.limit_bytes / 100 * PRUNE_PERCENT
    }

    /// The newest row, and the newest one that the cloud has.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.last.seq, self.trail.acked())
    }

    /// Bytes that the trail occupies.
    pub(super) const fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// The newest rows, oldest first.
    pub(super) fn newest(&self, limit: u16) -> Result<Vec<Row>, StoreError> {
        let mut select =
            self.connection.prepare("SELECT body FROM row ORDER BY seq DESC LIMIT ?1").map_err(sqlite)?;
        let bodies = select.query_map(params![limit], |row| row.get::<_, Vec<u8>>(0)).map_err(sqlite)?;
        let mut rows = Vec::new();
        for body in bodies {
            rows.push(codec::decode(&body.map_err(sqlite)?, ROW_BYTES)?);
        }
        rows.reverse();
        Ok(rows)
    }

    /// Tunnels that were open when the agent ended without a word: permitted since its last start, and closed nowhere.
    ///
    /// Of a trail that goes back further than [`SOUGHT`] rows to its start, those alone are looked at: a start must not wait for long.
    pub(super) fn left_open(&self) -> Result<u32, StoreError> {
        let mut select =
            self.connection.prepare("SELECT body FROM row ORDER BY seq DESC LIMIT ?1").map_err(sqlite)?;
        let bodies = select.query_map(params![SOUGHT], |row| row.get::<_, Vec<u8>>(0)).map_err(sqlite)?;
        let (mut ended, mut open) = (BTreeSet::new(), 0u32);
        for body in bodies {
            let row: Row = codec::decode(&body.map_err(sqlite)?, ROW_BYTES)?;
            match row.event {
                Event::Closed { tunnel, .. } | Event::Failed { tunnel, .. } => drop(ended.insert(tunnel)),
                Event::Permitted { tunnel, .. } => open += u32::from(!ended.contains(&tunnel)),
                // In order, or what is before was counted by the start before, or was another device.
                Event::Stopped | Event::Started { .. } | Event::Enrolled { .. } => break,
                Event::Gap { .. }
                | Event::PolicyApplied { .. }
                | Event::PolicyRefused { .. }
                | Event::Denied { .. }
                | Event::Control { .. }
                | Event::Alarm { .. }
                | Event::KeyChanged { .. }
                | Event::Retired { .. }
                | Event::Locked { .. }
                | Event::Unlocked { .. }
                | Event::Requests { .. }
                | Event::Recorded { .. }
                | Event::RecordingRemoved { .. }
                | Event::Changed { .. }
                | Event::Flows { .. }
                | Event::RootTaken { .. }
                | Event::RootRefused { .. } => {}
            }
        }
        Ok(open)
    }

    /// The newest snapshot that the trail says came into force.
    pub(super) fn newest_policy(&self) -> Result<Option<Floor>, StoreError> {
        let mut select = self.connection.prepare("SELECT body FROM row ORDER BY seq DESC").map_err(sqlite)?;
        let bodies = select.query_map([], |row| row.get::<_, Vec<u8>>(0)).map_err(sqlite)?;
        for body in bodies {
            let row: Row = codec::decode(&body.map_err(sqlite)?, ROW_BYTES)?;
            match row.event {
                Event::PolicyApplied { held: Held { epoch, version, digest }, .. } => {
                    return Ok(Some(Floor { epoch, version, digest }));
                }
                // What came before was policy of another enrolment.
                Event::Enrolled { .. } => return Ok(None),
                Event::Gap { .. }
                | Event::Started { .. }
                | Event::Stopped
                | Event::PolicyRefused { .. }
                | Event::Permitted { .. }
                | Event::Denied { .. }
                | Event::Failed { .. }
                | Event::Closed { .. }
                | Event::Control { .. }
                | Event::Alarm { .. }
                | Event::KeyChanged { .. }
                | Event::Retired { .. }
                | Event::Locked { .. }
                | Event::Unlocked { .. }
                | Event::Requests { .. }
                | Event::Recorded { .. }
                | Event::RecordingRemoved { .. }
                | Event::Changed { .. }
                | Event::Flows { .. }
                | Event::RootTaken { .. }
                | Event::RootRefused { .. } => {}
            }
        }
        let removed = self.trail.policy;
        Ok(removed.map(|Held { epoch, version, digest }| Floor { epoch, version, digest }))
    }

    /// Verifies the chain over all rows that are here, and that it is the one that was signed and acknowledged: what the cloud has
    /// must not be missing at the end. Returns how many rows there are.
    pub(super) fn verify(&self) -> Result<u64, StoreError> {
        let mut select = self
            .connection
            .prepare("SELECT body, link FROM row WHERE seq >= ?1 ORDER BY seq LIMIT ?2")
            .map_err(sqlite)?;
        let End { seq: floor, mut link } = self.trail.floor;
        let mut signed = self.signed()?;
        let mut first = floor + 1;
        loop {
            let from = stored(first)?;
            let rows = select
                .query_map(params![from, BATCH], |row| {
                    Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
                })
                .map_err(sqlite)?;
            let mut batch = Vec::new();
            for row in rows {
                let (body, claimed) = row.map_err(sqlite)?;
                batch.push((body, digest(claimed)?));
            }
            if batch.is_empty() {
                let (found, acknowledged) = (first - 1, self.trail.acked());
                if acknowledged > found {
                    return Err(ChainFault::Missing { found, acknowledged }.into());
                }
                return Ok(found - floor);
            }
            link = verify_chain(link, first, batch.iter().map(|(body, link)| (body.as_slice(), *link)))?;
            for (seq, (_, link)) in (first..).zip(&batch) {
                if signed.pop_if(|end| end.seq == seq).is_some_and(|end| end.link != *link) {
                    return Err(ChainFault::Rewritten { seq }.into());
                }
            }
            first += u64::try_from(batch.len()).unwrap_or(u64::MAX);
        }
    }

    /// Places for which somebody has signed, the newest first.
    fn signed(&self) -> Result<Vec<End>, StoreError> {
        let mut select =
            self.connection.prepare("SELECT body FROM checkpoint ORDER BY seq DESC").map_err(sqlite)?;
        let bodies = select.query_map([], |row| row.get::<_, Vec<u8>>(0)).map_err(sqlite)?;
        let mut signed = Vec::new();
        for body in bodies {
            let checkpoint: Checkpoint = codec::decode(&body.map_err(sqlite)?, CHECKPOINT_BYTES)?;
            signed.push(checkpoint.end);
        }
        signed.extend(self.trail.ack.iter().map(|(end, _)| *end));
        Ok(signed)
    }

    fn with(dir: &Path, connection: Connection, trail: Trail) -> Result<Self, StoreError> {
        let last = connection
            .query_row("SELECT seq, link FROM row ORDER BY seq DESC LIMIT 1", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
            })
            .optional()
            .map_err(sqlite)?;
        let last = match last {
            Some((seq, link)) => {
                End { seq: u64::try_from(seq).map_err(|_| FORMAT.damaged())?, link: digest(link)? }
            }
            None => trail.floor,
        };
        let used_bytes = used(&connection)?;
        let (dir, ratchet, limit_bytes) = (dir.to_owned(), None, u64::MAX);
        Ok(Self { connection, dir, trail, ratchet, last, used_bytes, limit_bytes })
    }
}

/// Seals the rows of one commit.
struct Sealer {
    trail: Trail,
    ratchet: Ratchet,
    last: End,
    /// Whether `trail` is to be stored.
    is_changed: bool,
}

impl Sealer {
    fn row(&mut self, insert: &mut Statement<'_>, at: UnixTime, event: &Event) -> Result<(), StoreError> {
        let seq = self.last.seq + 1;
        if let Event::Enrolled { key, .. } | Event::KeyChanged { key } = event {
            // The row of a change may come late; a checkpoint by the key has said so already.
            let is_known = matches!(event, Event::KeyChanged { .. })
                && self.trail.key.is_some_and(|(_, known)| known == *key);
            if is_known {
                return Ok(());
            }
            (self.trail.key, self.is_changed) = (Some((seq, *key)), true);
        }
        let row = Row { seq, at, event: event.clone() };
        let (body, link) = chain::append(&self.last.link, &row)?;
        let tag = self.ratchet.seal(&link);
        let (link_bytes, tag) = (link.as_bytes().as_slice(), tag.as_bytes().as_slice());
        insert.execute(params![stored(seq)?, body, link_bytes, tag]).map_err(sqlite)?;
        self.last = End { seq, link };
        Ok(())
    }

    /// Signs for everything up to the newest row. The newest checkpoint of a key covers those before it.
    fn sign(&self, connection: &Connection, signer: &Signer) -> Result<(), StoreError> {
        let since = self.trail.key.map_or(0, |(since, _)| since);
        let checkpoint = Checkpoint::sign(signer.whose, self.trail.log, self.last, &signer.key());
        let (body, seq) = (codec::encode(&checkpoint, CHECKPOINT_BYTES)?, stored(self.last.seq)?);
        connection
            .execute("DELETE FROM checkpoint WHERE seq >= ?1", params![stored(since)?])
            .and_then(|_| {
                connection.execute("INSERT INTO checkpoint (seq, body) VALUES (?1, ?2)", params![seq, body])
            })
            .map_err(sqlite)?;
        Ok(())
    }
}

fn trail(connection: &Connection) -> Result<Option<Trail>, StoreError> {
    let body: Option<Vec<u8>> =
        connection.query_row("SELECT body FROM trail", [], |row| row.get(0)).optional().map_err(sqlite)?;
    body.map(|body| codec::decode(&body, TRAIL_BYTES).map_err(|_| FORMAT.damaged())).transpose()
}

/// Bytes that rows occupy; pages of rows that were removed are free for others.
fn used(connection: &Connection) -> Result<u64, StoreError> {
    let count = |pragma| connection.query_row(pragma, [], |row| row.get::<_, i64>(0)).map_err(sqlite);
    let pages = count("PRAGMA page_count")? - count("PRAGMA freelist_count")?;
    Ok(u64::try_from(pages).unwrap_or(0).saturating_mul(PAGE_BYTES))
}

fn digest(bytes: Vec<u8>) -> Result<Digest, StoreError> {
    <[u8; 32]>::try_from(bytes).map(Digest::new).map_err(|_| FORMAT.damaged())
}

fn sqlite(error: rusqlite::Error) -> StoreError {
    FORMAT.error(error)
}

pub(super) const FILE: &str = "audit.db";
const FORMAT: Format = Format {
    file: FILE,
    migrations: &[
        "CREATE TABLE row (seq INTEGER PRIMARY KEY, body BLOB NOT NULL, link BLOB NOT NULL, tag BLOB NOT NULL) STRICT;
         CREATE TABLE checkpoint (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
         CREATE TABLE trail (only INTEGER PRIMARY KEY CHECK (only = 1), body BLOB NOT NULL) STRICT;",
    ],
};
const INSERT: &str = "INSERT INTO row (seq, body, link, tag) VALUES (?1, ?2, ?3, ?4)";
const PAGE_BYTES: u64 = 4096;
/// From here on rows that the cloud has make room for new ones.
const PRUNE_PERCENT: u64 = 70;
/// Rows that a start looks at for what was left open, about 6 MB.
const SOUGHT: u32 = 65_536;
const CHECKPOINT_BYTES: usize = 256;
/// Most of it is the acknowledgement with the signatures of its role.
const TRAIL_BYTES: usize = 4096;
/// Rows that are verified at a time.
const BATCH: u16 = 512;

#[cfg(test)]
mod tests;
