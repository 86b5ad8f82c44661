//! A device's trail as a file that anybody can verify with public keys alone, and that verification.
//!
//! 1. [`export`] writes the roots, then every log with its rows and what was signed about them. Each log ends with an
//!    acknowledgement of this moment: nothing newer was there. A reader therefore notices a tail that was cut off later.
//! 2. [`verify`] reads such a file, and names the first row that is wrong.
//! 3. [`report()`] writes what concerns one company, without names of others: a document that is read and does not verify.
//!
//! The form of the file is the protocol's ([`postern_protocol::audit::export`]).

mod report;
#[cfg(test)]
pub(crate) mod sample;

use std::io::{self, BufRead, Read as _};

use postern_protocol::audit::export::{HEAD, Item, LINE_BYTES};
use postern_protocol::audit::verify::{ExportFault, Summary, Verifier};
use postern_protocol::audit::{Ack, Checkpoint, Whose};
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{EnvelopeFault, Root};
use postern_protocol::wire::codec;
use postern_protocol::wire::text::Text;

pub use self::report::{Report, is_guessed, report};
use crate::signer::Authority;
use crate::store::{Signed, StoreError, TrailLog, Tx};

/// Why a trail was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The state could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The last acknowledgement could not be signed.
    #[error(transparent)]
    Seal(#[from] EnvelopeFault),
    /// The lines could not be written.
    #[error("the export could not be written: {0}")]
    Io(#[from] io::Error),
}

/// Why an export does not verify.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error("the export could not be read: {0}")]
    Io(#[from] io::Error),
    /// It is not what the device wrote and the cloud acknowledged.
    #[error("line {line}: {fault}")]
    Fault {
        /// Where that shows.
        line: u64,
        /// What is wrong, with the first row that is concerned.
        fault: ExportFault,
    },
}

/// Exports the whole trail of a device; returns how many rows it has. None for a device that never sent any.
///
/// # Errors
/// An [`ExportError`].
pub fn export(
    tx: &Tx<'_>,
    authority: &Authority,
    device: &Name,
    now: UnixTime,
    out: &mut dyn io::Write,
) -> Result<Option<u64>, ExportError> {
    let (Some(state), logs) = (tx.device(device)?, tx.trail_logs(device)?) else { return Ok(None) };
    if logs.is_empty() {
        return Ok(None);
    }
    let whose = Whose { fleet: authority.root.fleet, device: state.id };
    writeln!(out, "{HEAD}")?;
    for (_, sealed) in tx.roots_after(0, usize::MAX)? {
        put(out, &Item::Root(sealed))?;
    }
    put(out, &Item::Device { whose, name: Text::clean(device.as_str()) })?;
    let count = u16::try_from(logs.len()).unwrap_or(u16::MAX);
    let mut rows = 0;
    for log in &logs {
        rows += rows_of(tx, log, out)?;
        let (marks, root_version) = (Vec::new(), authority.root.version);
        let end = log.intake.head();
        let receipt = Ack { whose, log: log.log, end, marks, logs: count, root_version, at: now };
        put(out, &Item::Ack(authority.keys.audit_ack.seal(&receipt)?))?;
    }
    Ok(Some(rows))
}

/// Writes one log with what was signed about its rows.
fn rows_of(tx: &Tx<'_>, log: &TrailLog, out: &mut dyn io::Write) -> Result<u64, ExportError> {
    put(out, &Item::Log { log: log.log, first: log.first, previous: log.previous })?;
    let mut next = log.first;
    loop {
        let bodies = tx.trail_bodies(log.number, next, CHUNK)?;
        let Some((last, ..)) = bodies.last() else { return Ok(next - log.first) };
        let last = *last;
        let mut marks = tx.trail_marks(log.number, next, last)?.into_iter().peekable();
        for (seq, body, link) in bodies {
            put(out, &Item::Row { link, body })?;
            while let Some((_, signed)) = marks.next_if(|(of, _)| *of == seq) {
                put(out, &item(signed)?)?;
            }
        }
        next = last.saturating_add(1);
    }
}

fn item(signed: Signed) -> Result<Item, ExportError> {
    Ok(match signed {
        Signed::Ack(sealed) => Item::Ack(sealed),
        Signed::Checkpoint(body) => {
            let checkpoint: Checkpoint = codec::decode(&body, LINE_BYTES).map_err(EnvelopeFault::Codec)?;
            Item::Checkpoint(checkpoint)
        }
    })
}

/// Verifies an export by what `root` names, and the roots after it.
///
/// # Errors
/// A [`VerifyError`]; its fault names the first row that is wrong.
pub fn verify(root: Root, mut text: impl BufRead) -> Result<Summary, VerifyError> {
    let mut verifier = Verifier::new(root);
    let (mut line, mut number) = (String::new(), 0);
    loop {
        line.clear();
        // A line that is longer is none; it is not read to its end.
        let read = text.by_ref().take(LONGEST).read_line(&mut line)?;
        let at = |fault| VerifyError::Fault { line: number, fault };
        if read == 0 {
            return verifier.finish().map_err(at);
        }
        number += 1;
        let at = |fault| VerifyError::Fault { line: number, fault };
        verifier.handle_line(line.trim_end_matches('\n')).map_err(at)?;
    }
}

fn put(out: &mut dyn io::Write, item: &Item) -> io::Result<()> {
    writeln!(out, "{}", item.line())
}

/// Rows that are read at a time.
const CHUNK: u32 = 512;
/// Bytes of a line that are read at most: digits, a word and the break.
const LONGEST: u64 = LINE_BYTES as u64 + 64;
