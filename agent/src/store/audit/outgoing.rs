//! Rows on their way to the cloud, and what the cloud has said of them.
//!
//! 1. [`AuditDb::outgoing`] reads the next rows behind the stored acknowledgement, and signs a checkpoint of the last.
//! 2. [`AuditDb::keep_ack`] stores an acknowledgement that is about the rows as they are here, and nothing else.
//! 3. [`prune`] makes room with each of them, and with each new row: it removes rows that a stored acknowledgement covers, oldest first, and no others.
//! 4. [`AuditDb::begin_anew`] begins another log with the oldest row that is here, where the present one cannot go on.

use rusqlite::{Connection, OptionalExtension as _, params};

use postern_protocol::audit::row::ROW_BYTES;
use postern_protocol::audit::{
    Batch, Begin, Checkpoint, End, Event, GapCause, Link, LogId, Row, SealedRow, Tag,
};
use postern_protocol::limits;
use postern_protocol::wire::codec;

use super::super::StoreError;
use super::{AuditDb, FORMAT, Signer, Trail, digest, ratchet_file, sqlite, used};

/// What is sent next.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The log, where the hub may not know it.
    pub(crate) begin: Option<Begin>,
    /// Rows of it.
    pub(crate) batch: Batch,
}

impl AuditDb {
    /// The next rows that no stored acknowledgement covers; none when there are none.
    pub(in crate::store) fn outgoing(
        &mut self,
        signer: Option<&Signer>,
    ) -> Result<Option<Box<Outgoing>>, StoreError> {
        let first = self.trail.acked() + 1;
        let (mut rows, mut end) = (Vec::new(), End { seq: first - 1, link: self.trail.floor.link });
        {
            let mut select = self
                .connection
                .prepare("SELECT body, link, tag FROM row WHERE seq >= ?1 ORDER BY seq LIMIT ?2")
                .map_err(sqlite)?;
            let limit = i64::try_from(limits::AUDIT_ROWS).unwrap_or(i64::MAX);
            let mut found = select.query(params![stored(first)?, limit]).map_err(sqlite)?;
            let mut bytes = 0;
            while let Some(row) = found.next().map_err(sqlite)? {
                let body: Vec<u8> = row.get(0).map_err(sqlite)?;
                bytes += body.len();
                if bytes > limits::AUDIT_BYTES {
                    break;
                }
                end = End { seq: end.seq + 1, link: digest(row.get(1).map_err(sqlite)?)? };
                let tag = <[u8; 16]>::try_from(row.get::<_, Vec<u8>>(2).map_err(sqlite)?);
                let tag = tag.map(Tag::new).map_err(|_| FORMAT.damaged())?;
                rows.push(SealedRow { body, tag: (end.seq >= self.trail.sealed_from).then_some(tag) });
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let checkpoint = self.checkpoint(first, end, signer)?;
        if let Some(checkpoint) = checkpoint {
            rows.truncate(usize::try_from(checkpoint.end.seq + 1 - first).unwrap_or(usize::MAX));
        }
        let Trail { log, first: from, previous, sealed_from, .. } = self.trail;
        let begin = if self.trail.ack.is_some() {
            None
        } else {
            // Until the cloud has it the first key is kept.
            let ratchet = ratchet_file::read(&self.dir, log)?.ok_or(FORMAT.damaged())?;
            Some(Begin { log, first: from, previous, sealed_from, key: ratchet.key().clone() })
        };
        Ok(Some(Box::new(Outgoing { begin, batch: Batch { log, first, rows, checkpoint } })))
    }

    /// A checkpoint of `end`, or of the newest row before it that was signed while the key of that time was there.
    fn checkpoint(
        &self,
        first: u64,
        end: End,
        signer: Option<&Signer>,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let present = signer.map(Signer::key);
        if let (Some(signer), Some(key), Some((since, named))) = (signer, present, self.trail.key)
            && named == key.public()
            && since <= end.seq
        {
            return Ok(Some(Checkpoint::sign(signer.whose, self.trail.log, end, &key)));
        }
        let body: Option<Vec<u8>> = self
            .connection
            .query_row(
                "SELECT body FROM checkpoint WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq DESC LIMIT 1",
                params![stored(first)?, stored(end.seq)?],
                |row| row.get(0),
            )
            .optional()
            .map_err(sqlite)?;
        body.map(|body| Ok(codec::decode(&body, super::CHECKPOINT_BYTES)?)).transpose()
    }

    /// Keeps a verified acknowledgement; false where it is about other rows than those that are here.
    pub(in crate::store) fn keep_ack(
        &mut self,
        log: LogId,
        end: End,
        sealed: Vec<u8>,
    ) -> Result<bool, StoreError> {
        if end.seq <= self.trail.acked() {
            return Ok(true);
        }
        if log != self.trail.log || link(&self.connection, end.seq)? != Some(end.link) {
            return Ok(false);
        }
        let mut trail = Trail { ack: Some((end, sealed)), ..self.trail.clone() };
        let is_crowded = self.is_crowded();
        let transaction = self.connection.transaction().map_err(sqlite)?;
        trail.put(&transaction)?;
        if is_crowded {
            prune(&transaction, &mut trail)?;
        }
        transaction
            .execute("DELETE FROM checkpoint WHERE seq <= ?1", params![stored(end.seq)?])
            .map_err(sqlite)?;
        transaction.commit().map_err(sqlite)?;
        self.trail = trail;
        self.used_bytes = used(&self.connection)?;
        self.forget_keys();
        Ok(true)
    }

    /// Begins another log with the oldest row that is here.
    pub(in crate::store) fn begin_anew(&mut self, cause: GapCause) -> Result<(), StoreError> {
        let trail = Trail {
            log: draw(LogId::new)?,
            first: self.trail.floor.seq + 1,
            previous: self.trail.floor.link,
            sealed_from: self.last.seq + 1,
            ack: None,
            owed: Some(cause),
            ..self.trail.clone()
        };
        let transaction = self.connection.transaction().map_err(sqlite)?;
        trail.put(&transaction)?;
        // What was signed names the log.
        transaction.execute("DELETE FROM checkpoint", []).map_err(sqlite)?;
        transaction.commit().map_err(sqlite)?;
        self.trail = trail;
        // Without its key no row is taken; the next start draws another one, because none is sealed.
        self.ratchet = None;
        self.draw_ratchet()?;
        tracing::warn!(reason = cause.word(), "another log of the audit trail begins");
        Ok(())
    }

    /// Forgets the keys of rows that are written. Before the first acknowledgement the cloud may not have the first key.
    pub(in crate::store) fn forget_keys(&mut self) {
        if let Some(ratchet) = self.ratchet.as_ref().filter(|_| self.trail.ack.is_some())
            && let Err(error) = ratchet_file::write(&self.dir, self.trail.log, ratchet)
        {
            tracing::warn!(%error, "the key of audit rows that are written is still on the disk");
        }
    }
}

/// Removes some of the oldest rows that the cloud has, and notes it in `trail`.
pub(super) fn prune(connection: &Connection, trail: &mut Trail) -> Result<(), StoreError> {
    let upto = trail.acked().min(trail.floor.seq + PRUNED);
    let Some(link) = link(connection, upto)? else { return Ok(()) };
    {
        let mut select =
            connection.prepare("SELECT body FROM row WHERE seq <= ?1 ORDER BY seq").map_err(sqlite)?;
        let mut found = select.query(params![stored(upto)?]).map_err(sqlite)?;
        while let Some(row) = found.next().map_err(sqlite)? {
            let row: Row = codec::decode(&row.get::<_, Vec<u8>>(0).map_err(sqlite)?, ROW_BYTES)?;
            if let Event::PolicyApplied { held, .. } = row.event {
                trail.policy = Some(held);
            } else if matches!(row.event, Event::Enrolled { .. }) {
                trail.policy = None;
            }
        }
    }
    connection.execute("DELETE FROM row WHERE seq <= ?1", params![stored(upto)?]).map_err(sqlite)?;
    trail.floor = End { seq: upto, link };
    trail.put(connection)
}

fn link(connection: &Connection, seq: u64) -> Result<Option<Link>, StoreError> {
    let found: Option<Vec<u8>> = connection
        .query_row("SELECT link FROM row WHERE seq = ?1", params![stored(seq)?], |row| row.get(0))
        .optional()
        .map_err(sqlite)?;
    found.map(digest).transpose()
}

/// A random value.
pub(super) fn draw<T, const N: usize>(make: impl FnOnce([u8; N]) -> T) -> Result<T, StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| StoreError::Random)?;
    Ok(make(bytes))
}

pub(super) fn stored(seq: u64) -> Result<i64, StoreError> {
    i64::try_from(seq).map_err(|_| StoreError::Full)
}

/// Rows that are removed in one commit, at most.
const PRUNED: u64 = 256;
