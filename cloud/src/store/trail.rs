//! The rows of devices' trails: what arrived, when, and what was signed about it. Nothing here is ever changed or removed.
//!
//! | table | one row for | what is in it |
//! | --- | --- | --- |
//! | `trail_log` | each log of a device | how far it was taken, and what verifies the next row ([`TrailLog`]) |
//! | `trail_row` | each row of a log | its bytes and link, and from them its time, event, verdict, user, tunnel and service ([`TrailRow`]) |
//! | `trail_mark` | each thing that was signed about a row | a checkpoint of the device, or an acknowledgement ([`Signed`]) |
//! | `trail_fork` | a second row in a place that has one | its bytes: evidence, never instead of the first ([`Fork`]) |
//! | `device_key` | each key that was ever bound to a device | since when: who may have signed a checkpoint |
//!
//! (device, log, sequence) names a row for ever; inserting one that is there is an error of the caller, who compares first
//! ([`Tx::trail_body`]). A device has one log at a time; an earlier one stays, and may hold the same rows as the beginning of the
//! later one. To read what happened, ask for the rows that match some conditions ([`Tx::trail_rows`]).

mod query;

use super::engine::{Row, params};

use postern_protocol::audit::{self, End, Event, FlowFate, Intake, LogId, Ratchet, RatchetKey};
use postern_protocol::id::{TunnelId, UserId};
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Digest, PublicKey};

pub use self::query::{TrailQuery, TrailRow};
use super::people::{parse_name, public_key};
use super::{StoreError, Tx, bytes, secs, time};

/// One log of a device, as far as it was taken.
#[derive(Clone, Debug)]
pub struct TrailLog {
    /// Its number in the state file, by which its rows are found. Later logs have higher ones.
    pub number: i64,
    /// The device.
    pub device: Name,
    /// Its name on the wire.
    pub log: LogId,
    /// Its first row.
    pub first: u64,
    /// The link of the row before that one.
    pub previous: Digest,
    /// When it began here.
    pub began: UnixTime,
    /// The newest row, and what verifies the next one.
    pub intake: Intake,
}

/// What was signed about a row of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signed {
    /// A checkpoint of the device, encoded.
    Checkpoint(Vec<u8>),
    /// An acknowledgement, sealed.
    Ack(Vec<u8>),
}

/// A second row in a place that has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The device.
    pub device: Name,
    /// The number of its log.
    pub log: i64,
    /// The place.
    pub seq: u64,
    /// What stands in it first, and is what counts.
    pub stands: Vec<u8>,
    /// What was sent later.
    pub other: Vec<u8>,
    /// When.
    pub received: UnixTime,
}

impl Tx<'_> {
    /// One log of a device.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn trail_log(&self, device: &Name, log: LogId) -> Result<Option<TrailLog>, StoreError> {
        let mut query =
            self.sql.prepare_cached(&format!("SELECT {LOG} FROM trail_log WHERE device = ? AND log = ?"))?;
        let mut rows = query.query(params![device.as_str(), log.as_bytes()])?;
        rows.next()?.map(trail_log).transpose()
    }

    /// The logs of a device, oldest first.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn trail_logs(&self, device: &Name) -> Result<Vec<TrailLog>, StoreError> {
        let mut query = self
            .sql
            .prepare_cached(&format!("SELECT {LOG} FROM trail_log WHERE device = ? ORDER BY number"))?;
        let mut rows = query.query(params![device.as_str()])?;
        let mut logs = Vec::new();
        while let Some(row) = rows.next()? {
            logs.push(trail_log(row)?);
        }
        Ok(logs)
    }

    /// How many logs a device has.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn trail_log_count(&self, device: &Name) -> Result<u16, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT count(*) FROM trail_log WHERE device = ?")?;
        query.query_row(params![device.as_str()], |row| row.get(0))
    }

    /// Begins a log. The device has none of this name.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn begin_trail_log(
        &self,
        device: &Name,
        begin: &audit::Begin,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let intake = Intake::begin(begin);
        let (head, ratchet) = (intake.head(), intake.ratchet());
        self.sql.execute(
            "INSERT INTO trail_log (number, device, log, first, previous, began, seq, link, ratchet, key)
             VALUES ((SELECT coalesce(max(number), 0) + 1 FROM trail_log), ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                device.as_str(),
                begin.log.as_bytes(),
                number(begin.first)?,
                begin.previous.as_bytes(),
                secs(now),
                number(head.seq)?,
                head.link.as_bytes(),
                number(ratchet.next())?,
                ratchet.key().as_bytes(),
            ],
        )?;
        Ok(())
    }

    /// Notes which log a device has now. Whether it had another one since it was enrolled.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn note_log(&self, device: &Name, log: LogId) -> Result<bool, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT log FROM device WHERE name = ?")?;
        let before: Option<Option<Vec<u8>>> = query.first(params![device.as_str()], |row| row.get(0))?;
        self.sql
            .prepare_cached("UPDATE device SET log = ? WHERE name = ?")?
            .execute(params![log.as_bytes(), device.as_str()])?;
        Ok(before.flatten().is_some_and(|before| before != log.as_bytes()))
    }

    /// Keeps how far a log was taken.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn keep_trail_log(&self, log: i64, intake: &Intake) -> Result<(), StoreError> {
        let (head, ratchet) = (intake.head(), intake.ratchet());
        let mut update = self.sql.prepare_cached(
            "UPDATE trail_log SET seq = ?, link = ?, ratchet = ?, key = ?, device_key = ? WHERE number = ?",
        )?;
        update.execute(params![
            number(head.seq)?,
            head.link.as_bytes(),
            number(ratchet.next())?,
            ratchet.key().as_bytes(),
            intake.key().map(|key| *key.as_bytes()),
            log
        ])?;
        Ok(())
    }

    /// Adds a row that was taken to its log. One about a tunnel is found by the user and the service of its permit as well, and one that says that a
    /// policy came into force is noted of the device ([`Tx::past`]).
    ///
    /// # Errors
    /// A [`StoreError`], also when there is a row in its place.
    pub fn add_trail_row(
        &self,
        log: i64,
        taken: &audit::Taken,
        body: &[u8],
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let row = &taken.row;
        let (user, tunnel, service) = about(&row.event);
        // Of the same device: another one could name its tunnels. No earlier than the row before: a device that starts without word of the
        // time has a lower bound of it. A row that claims a time to come moves those behind it no further than to their arrival.
        let mut insert = self.sql.prepare_cached(
            "INSERT INTO trail_row (log, seq, at, event, verdict, \"user\", tunnel, service, body, link, received)
             SELECT ?1, ?2, CASE WHEN coalesce(before.at, 0) <= ?3 THEN ?3 WHEN before.at <= ?11 THEN before.at ELSE ?12 END,
                 ?4, ?5, coalesce(?6, permit.\"user\"), ?7, coalesce(?8, permit.service), ?9, ?10, ?11
             FROM (SELECT 1) AS this LEFT JOIN (
                 SELECT at FROM trail_row WHERE log = ?1 AND seq = ?13
             ) AS before ON true LEFT JOIN (
                 SELECT trail_row.\"user\", trail_row.service FROM trail_row JOIN trail_log ON trail_log.number = trail_row.log
                 WHERE tunnel = ?7 AND event = 'permitted'
                   AND device = (SELECT device FROM trail_log WHERE number = ?1)
                 LIMIT 1
             ) AS permit ON true",
        )?;
        insert.execute(params![
            log,
            number(row.seq)?,
            secs(row.at),
            row.event.word(),
            verdict(&row.event),
            user.map(|user| *user.as_bytes()),
            tunnel.map(|tunnel| *tunnel.as_bytes()),
            service.map(Name::as_str),
            body,
            taken.link.as_bytes(),
            secs(now),
            secs(row.at.max(now)),
            number(row.seq)?.saturating_sub(1)
        ])?;
        if let Event::PolicyApplied { held, .. } = &row.event {
            self.note_applied(log, *held)?;
        }
        Ok(())
    }

    /// The bytes of one row.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn trail_body(&self, log: i64, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT body FROM trail_row WHERE log = ? AND seq = ?")?;
        query.first(params![log, number(seq)?], |row| row.get(0))
    }

    /// Keeps what was signed about a row.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn add_trail_mark(&self, log: i64, seq: u64, signed: &Signed) -> Result<(), StoreError> {
        let (kind, body) = match signed {
            Signed::Checkpoint(body) => (0, body),
            Signed::Ack(body) => (1, body),
        };
        // A device that did not hear the acknowledgement may sign the same place again.
        self.sql
            .prepare_cached(
                "INSERT INTO trail_mark (log, seq, kind, body) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (log, seq, kind) DO UPDATE SET body = ?4",
            )?
            .execute(params![log, number(seq)?, kind, body])?;
        Ok(())
    }

    /// The newest acknowledgement of a log.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn trail_ack(&self, log: i64) -> Result<Option<Vec<u8>>, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT body FROM trail_mark WHERE log = ? AND kind = 1 ORDER BY seq DESC LIMIT 1",
        )?;
        query.first(params![log], |row| row.get(0))
    }

    /// What was signed about rows `from` to `to` of a log, both included, in the order of the rows; of one row the checkpoint
    /// first.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn trail_marks(&self, log: i64, from: u64, to: u64) -> Result<Vec<(u64, Signed)>, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT seq, kind, body FROM trail_mark WHERE log = ? AND seq BETWEEN ? AND ? ORDER BY seq, kind",
        )?;
        let mut rows = query.query(params![log, number(from)?, number(to)?])?;
        let mut marks = Vec::new();
        while let Some(row) = rows.next()? {
            let (kind, body): (i64, Vec<u8>) = (row.get(1)?, row.get(2)?);
            let signed = if kind == 0 { Signed::Checkpoint(body) } else { Signed::Ack(body) };
            marks.push((sequence(row.get(0)?), signed));
        }
        Ok(marks)
    }

    /// Rows of one log as they were taken, from `from` on: sequence, bytes and link. At most `limit`.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn trail_bodies(
        &self,
        log: i64,
        from: u64,
        limit: u32,
    ) -> Result<Vec<(u64, Vec<u8>, Digest)>, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT seq, body, link FROM trail_row WHERE log = ? AND seq >= ? ORDER BY seq LIMIT ?",
        )?;
        let mut rows = query.query(params![log, number(from)?, limit])?;
        let mut bodies = Vec::new();
        while let Some(row) = rows.next()? {
            let link: Vec<u8> = row.get(2)?;
            bodies.push((sequence(row.get(0)?), row.get(1)?, Digest::new(bytes(&link, LINK)?)));
        }
        Ok(bodies)
    }

    /// Keeps a row that was sent for a place that has another. What stands there stays. One for each place is enough.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn add_trail_fork(&self, log: i64, seq: u64, other: &[u8], now: UnixTime) -> Result<(), StoreError> {
        self.sql
            .prepare_cached(
                "INSERT INTO trail_fork (log, seq, body, received) VALUES (?, ?, ?, ?)
                 ON CONFLICT (log, seq) DO NOTHING",
            )?
            .execute(params![log, number(seq)?, other, secs(now)])?;
        Ok(())
    }

    /// All places for which two rows were sent.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn trail_forks(&self) -> Result<Vec<Fork>, StoreError> {
        let mut query = self.sql.prepare_cached(
            "SELECT trail_log.device, fork.log, fork.seq, trail_row.body, fork.body, fork.received
             FROM trail_fork AS fork JOIN trail_log ON trail_log.number = fork.log
             JOIN trail_row ON trail_row.log = fork.log AND trail_row.seq = fork.seq
             ORDER BY trail_log.device, fork.log, fork.seq",
        )?;
        let mut rows = query.query(params![])?;
        let mut forks = Vec::new();
        while let Some(row) = rows.next()? {
            forks.push(Fork {
                device: parse_name(&row.get::<String>(0)?)?,
                log: row.get(1)?,
                seq: sequence(row.get(2)?),
                stands: row.get(3)?,
                other: row.get(4)?,
                received: time(row.get(5)?),
            });
        }
        Ok(forks)
    }

    /// Whether a key is one of a device's, now or at an earlier time.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn is_key_of(&self, device: &Name, key: &PublicKey) -> Result<bool, StoreError> {
        let mut query = self.sql.prepare_cached("SELECT 1 FROM device_key WHERE device = ? AND key = ?")?;
        query.exists(params![device.as_str(), key.as_bytes()])
    }

    /// Remembers the keys that a device has now among those that it ever had.
    pub(super) fn remember_keys(&self, device: &Name) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO device_key (device, key)
             SELECT name, key FROM device WHERE name = ?1 AND key IS NOT NULL
             ON CONFLICT (device, key) DO NOTHING",
            params![device.as_str()],
        )?;
        Ok(())
    }
}

/// What an event comes to. Flows and requests inside of a tunnel are permitted, denied, failed or closed as tunnels are; others go by
/// their own word.
fn verdict(event: &Event) -> &'static str {
    if let Event::Flows { fate, .. } = event {
        return match fate {
            FlowFate::Opened | FlowFate::Probed => PERMITTED,
            FlowFate::Denied(_) => DENIED,
            FlowFate::Failed(_) => FAILED,
            FlowFate::Closed(_) => CLOSED,
        };
    }
    if let Event::Requests { reason, .. } = event {
        return if reason.is_some() { DENIED } else { PERMITTED };
    }
    event.word()
}

/// Whom, which tunnel and which service an event is about.
fn about(event: &Event) -> (Option<UserId>, Option<TunnelId>, Option<&Name>) {
    match event {
        Event::Permitted { tunnel, user, service, .. } => (Some(*user), Some(*tunnel), Some(service)),
        Event::Denied { user, service, .. } => (*user, None, service.as_ref()),
        Event::Failed { tunnel, .. }
        | Event::Closed { tunnel, .. }
        | Event::Requests { tunnel, .. }
        | Event::Recorded { tunnel, .. }
        | Event::RecordingRemoved { tunnel, .. }
        | Event::Changed { tunnel, .. }
        | Event::Flows { tunnel, .. } => (None, Some(*tunnel), None),
        Event::Started { .. }
        | Event::Stopped
        | Event::PolicyApplied { .. }
        | Event::PolicyRefused { .. }
        | Event::Control { .. }
        | Event::Alarm { .. }
        | Event::Enrolled { .. }
        | Event::KeyChanged { .. }
        | Event::Retired { .. }
        | Event::Locked { .. }
        | Event::Unlocked { .. }
        | Event::RootTaken { .. }
        | Event::RootRefused { .. }
        | Event::Gap { .. } => (None, None, None),
    }
}

fn trail_log(row: Row<'_>) -> Result<TrailLog, StoreError> {
    let (device, log): (String, Vec<u8>) = (row.get(1)?, row.get(2)?);
    let (previous, link, key): (Vec<u8>, Vec<u8>, Vec<u8>) = (row.get(4)?, row.get(7)?, row.get(9)?);
    let device_key: Option<Vec<u8>> = row.get(10)?;
    let head = End { seq: sequence(row.get(6)?), link: Digest::new(bytes(&link, LINK)?) };
    let ratchet = Ratchet::new(sequence(row.get(8)?), RatchetKey::new(bytes(&key, "ratchet")?));
    Ok(TrailLog {
        number: row.get(0)?,
        device: parse_name(&device)?,
        log: LogId::new(bytes(&log, "log")?),
        first: sequence(row.get(3)?),
        previous: Digest::new(bytes(&previous, LINK)?),
        began: time(row.get(5)?),
        intake: Intake::resume(head, ratchet, device_key.map(|key| public_key(&key)).transpose()?),
    })
}

/// A sequence as it is stored.
fn number(seq: u64) -> Result<i64, StoreError> {
    i64::try_from(seq).map_err(|_| StoreError::Damaged { what: "sequence" })
}

fn sequence(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

/// What rows come to: the words by which they are found.
pub const VERDICTS: &[&str] = &[
    PERMITTED,
    DENIED,
    FAILED,
    CLOSED,
    "changed",
    "recorded",
    "recording_removed",
    "locked",
    "unlocked",
    "policy_applied",
    "policy_refused",
    "root_taken",
    "root_refused",
    "control",
    "alarm",
    "gap",
    "started",
    "stopped",
    "enrolled",
    "key_changed",
    "retired",
];
const PERMITTED: &str = "permitted";
const DENIED: &str = "denied";
const FAILED: &str = "failed";
const CLOSED: &str = "closed";
const LOG: &str = "number, device, log, first, previous, began, seq, link, ratchet, key, device_key";
const LINK: &str = "link";
