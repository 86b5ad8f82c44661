//! Takes the rows of devices' trails: each once, in its place, and acknowledged when it is durable.
//!
//! 1. A device names its log ([`begin`]). Another log than the one before raises an alarm: what was not uploaded of that one may
//!    be missing.
//! 2. Rows that are here already are compared. Another row in a place that has one is a fork: it is kept as evidence beside the
//!    first, raises an alarm, and nothing is acknowledged.
//! 3. The others are taken one by one: place, link, tag. Then the checkpoint: the key that the rows say is in force, one of the
//!    device's, and its signature.
//! 4. Rows, checkpoint and acknowledgement are committed together ([`take`]); the caller sends the acknowledgement after the
//!    commit. A hub that ends in between is sent the rows again, finds them equal, and acknowledges again.
//!
//! What is refused changes nothing but alarms and evidence.

use postern_protocol::audit::{Ack, Batch, Begin, Mark, Taken, Whose};
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::EnvelopeFault;
use postern_protocol::wire::codec;
use postern_protocol::wire::control::RowsCode;

use crate::signer::Authority;
use crate::store::{AlarmKind, Signed, StoreError, TrailLog, Tx};

/// Why an acknowledgement could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seal(#[from] EnvelopeFault),
}

/// A device begins a log, or repeats that it has.
pub(super) fn begin(tx: &Tx<'_>, device: &Name, begin: &Begin, now: UnixTime) -> Result<(), StoreError> {
    if tx.trail_log(device, begin.log)?.is_some() || tx.trail_log_count(device)? >= LOGS {
        return Ok(());
    }
    tx.begin_trail_log(device, begin, now)?;
    let replaces = tx.note_log(device, begin.log)?;
    if replaces || begin.first > 1 {
        let detail = format!("log {} begins with row {}", begin.log, begin.first);
        tx.alarm(device, AlarmKind::NewLog, &detail, now)?;
        tracing::warn!(device = %device, reason = AlarmKind::NewLog.word(), "an alarm was raised");
    }
    Ok(())
}

/// Takes a batch; the sealed acknowledgement, or why it is not taken.
pub(super) fn take(
    tx: &Tx<'_>,
    authority: &Authority,
    (device, whose): (&Name, Whose),
    batch: &Batch,
    now: UnixTime,
) -> Result<Result<Vec<u8>, RowsCode>, TakeError> {
    let logs = tx.trail_log_count(device)?;
    let Some(mut log) = tx.trail_log(device, batch.log)? else {
        return Ok(Err(if logs >= LOGS { RowsCode::Crowded } else { RowsCode::Unknown }));
    };
    let taken = match judge(tx, &mut log, batch, now)? {
        Ok(taken) => taken,
        Err(code) => return refuse(tx, device, &log, code, now),
    };
    let end = log.intake.head();
    if let Some(checkpoint) = batch.checkpoint.filter(|checkpoint| checkpoint.end.seq >= end.seq) {
        let is_genuine = log.intake.admits(&checkpoint)
            && tx.is_key_of(device, &checkpoint.key)?
            && checkpoint.holds(whose, batch.log);
        if !is_genuine {
            return refuse(tx, device, &log, RowsCode::Row, now);
        }
        let body = codec::encode(&checkpoint, CHECKPOINT_BYTES).map_err(EnvelopeFault::Codec)?;
        tx.add_trail_mark(log.number, end.seq, &Signed::Checkpoint(body))?;
    }
    let marks = taken.iter().map(|(taken, _)| Mark::of(&taken.link)).collect();
    let root_version = authority.root.version;
    let ack = Ack { whose, log: batch.log, end, marks, logs, root_version, at: now };
    let sealed = authority.keys.audit_ack.seal(&ack)?;
    for (row, body) in &taken {
        tx.add_trail_row(log.number, row, body, now)?;
    }
    // What is here already was acknowledged in the commit that brought it; the device only has not heard it.
    if !taken.is_empty() {
        tx.add_trail_mark(log.number, end.seq, &Signed::Ack(sealed.clone()))?;
        tx.keep_trail_log(log.number, &log.intake)?;
    }
    Ok(Ok(sealed))
}

type Rows<'a> = Vec<(Taken, &'a [u8])>;

/// The rows of a batch that are new.
fn judge<'a>(
    tx: &Tx<'_>,
    log: &mut TrailLog,
    batch: &'a Batch,
    now: UnixTime,
) -> Result<Result<Rows<'a>, RowsCode>, StoreError> {
    let head = log.intake.head().seq;
    if batch.first < log.first || batch.first > head.saturating_add(1) {
        return Ok(Err(RowsCode::Gap));
    }
    let mut taken = Vec::new();
    for (seq, row) in (batch.first..).zip(&batch.rows) {
        if seq > head {
            match log.intake.take(row) {
                Ok(row_taken) => taken.push((row_taken, row.body.as_slice())),
                Err(code) => return Ok(Err(code)),
            }
        } else if tx.trail_body(log.number, seq)?.as_ref() != Some(&row.body) {
            tx.add_trail_fork(log.number, seq, &row.body, now)?;
            return Ok(Err(RowsCode::Fork));
        }
    }
    Ok(Ok(taken))
}

fn refuse(
    tx: &Tx<'_>,
    device: &Name,
    log: &TrailLog,
    code: RowsCode,
    now: UnixTime,
) -> Result<Result<Vec<u8>, RowsCode>, TakeError> {
    let kind = match code {
        RowsCode::Fork => Some(AlarmKind::Fork),
        RowsCode::Seal | RowsCode::Row => Some(AlarmKind::Seal),
        // The log that follows says so.
        RowsCode::Gap | RowsCode::Unknown | RowsCode::Storage | RowsCode::Crowded => None,
    };
    if let Some(kind) = kind {
        let detail = format!("log {}, behind row {}: {}", log.log, log.intake.head().seq, code.word());
        tx.alarm(device, kind, &detail, now)?;
        tracing::warn!(device = %device, reason = code.word(), "rows of a device were refused");
    }
    Ok(Err(code))
}

/// Logs of one device. Each further one is an alarm; a device that begins ever new ones fills no disk.
const LOGS: u16 = 256;
const CHECKPOINT_BYTES: usize = 256;

#[cfg(test)]
mod tests;
