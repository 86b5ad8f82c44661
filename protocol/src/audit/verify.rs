//! Verifies an exported trail by public keys alone, and names the first row that is wrong.
//!
//! 1. The reader trusts one root; roots of the export that follow it are accepted one by one.
//! 2. Each row stands in its place, and its link covers it and the link before: a changed, removed, inserted or swapped row is
//!    named.
//! 3. Each checkpoint is about the rows as they are, and signed by the device's key that the rows say was in force there. Whoever
//!    has the newest key of a device cannot sign for the time of an earlier one.
//! 4. Each acknowledgement is about the rows as they are. Whoever wrote a history anew and sealed it with the device's own key
//!    cannot sign for the cloud; the marks in the acknowledgement name the first row that is another.
//! 5. Every row is acknowledged, and every acknowledged row and log is there: a tail that was cut off is named.
//!
//! An acknowledgement that no known root vouches for counts for nothing. What no other one covers is worth the device's word alone and counts as wrong here: the cloud exports no such row.

use std::collections::VecDeque;

use super::export::{HEAD, Item, LineFault};
use super::row::ROW_BYTES;
use super::{Ack, AckFault, End, Event, Link, LogId, Mark, Row, Whose, chain};
use crate::limits;
use crate::time::UnixTime;
use crate::trust::{PublicKey, Root, RootFault};
use crate::wire::codec::{self, CodecFault};
use crate::wire::text::Text;

/// An export that is being verified, item after item.
#[derive(Debug)]
pub struct Verifier {
    /// Trusted, ascending by version; never empty.
    roots: Vec<Root>,
    device: Option<(Whose, Text)>,
    log: Option<Log>,
    summary: Summary,
    /// The most logs that an acknowledgement says there are.
    logs: u16,
    /// Whether the first line was read.
    is_headed: bool,
}

/// What was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The device, as people call it. Nothing signs the name.
    pub name: Text,
    /// Rows of all logs.
    pub rows: u64,
    /// Logs.
    pub logs: u16,
    /// Rows that the device itself has signed for.
    pub signed: u64,
    /// When the cloud said that nothing newer was there, of the log for which that is longest ago.
    pub complete_at: Option<UnixTime>,
    /// The root under which it said so.
    pub root_version: u32,
    /// Acknowledgements that no root vouches for which the reader knows: by keys of earlier ones, or by nobody. They count for
    /// nothing.
    pub unchecked: u64,
}

/// The log that is being read.
#[derive(Debug)]
struct Log {
    id: LogId,
    first: u64,
    end: End,
    /// The device's key in force, as the rows say.
    key: Option<PublicKey>,
    /// Up to here the device or the cloud has signed for the rows as they are.
    vouched: u64,
    /// Up to here the device has.
    signed: u64,
    acked: u64,
    /// When the newest acknowledgement was signed, and under which root.
    at: UnixTime,
    root_version: u32,
    /// Links of the newest rows, oldest first.
    links: VecDeque<Link>,
}

/// What is wrong with an export: the first thing, with the first row that is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportFault {
    /// The first line is not that of an export, or of one of a later format.
    #[error("not an audit export of format 1")]
    Head,
    /// A line says nothing that an export can say.
    #[error(transparent)]
    Line(#[from] LineFault),
    /// Items stand in an order that no export has, or one is missing.
    #[error("the export is out of order")]
    Order,
    /// A root does not follow the one that is trusted.
    #[error(transparent)]
    Root(#[from] RootFault),
    /// A row cannot be read.
    #[error("row {seq} cannot be read: {fault}")]
    Codec {
        /// The row.
        seq: u64,
        /// What is wrong.
        fault: CodecFault,
    },
    /// A row is missing, inserted or out of place.
    #[error("row {found} stands where row {seq} belongs")]
    Sequence {
        /// The row that belongs there.
        seq: u64,
        /// The row that stands there.
        found: u64,
    },
    /// A row does not match its link.
    #[error("row {seq} was changed: it does not match its link")]
    Changed {
        /// The row.
        seq: u64,
    },
    /// The device has not signed these rows.
    #[error("row {seq}: the device's key of that time has not signed the rows from here to {by}")]
    Unsigned {
        /// The first row that nobody vouches for.
        seq: u64,
        /// The row at which the checkpoint stands.
        by: u64,
    },
    /// The rows are not those that the cloud acknowledged.
    #[error(
        "row {seq} is not the one that the cloud acknowledged (the first that differs is at most row {by})"
    )]
    Rewritten {
        /// The first row that may be another; the first that is where both are the same.
        seq: u64,
        /// The first row that is another for certain.
        by: u64,
    },
    /// An acknowledgement counts for nothing.
    #[error("the acknowledgement behind row {seq}: {fault}")]
    Ack {
        /// The row before it.
        seq: u64,
        /// What is wrong.
        fault: AckFault,
    },
    /// Rows that the device has signed, or the cloud acknowledged, are missing at the end.
    #[error("row {seq} is missing: rows up to {signed} were signed or acknowledged")]
    Missing {
        /// The first row that is missing.
        seq: u64,
        /// The newest row that was signed or acknowledged.
        signed: u64,
    },
    /// Rows that no acknowledgement covers.
    #[error("row {seq} and those after it were never acknowledged by the cloud")]
    Unacknowledged {
        /// The first of them.
        seq: u64,
    },
    /// A whole log is missing.
    #[error("{found} logs, the cloud has {expected} of this device")]
    Logs {
        /// Logs in the export.
        found: u16,
        /// Logs that the cloud has.
        expected: u16,
    },
}

impl Verifier {
    /// Begins, with the root that the reader trusts.
    #[must_use]
    pub fn new(root: Root) -> Self {
        let (roots, summary) = (vec![root], Summary::default());
        Self { roots, device: None, log: None, summary, logs: 0, is_headed: false }
    }

    /// Takes the next line of the file, without its break.
    ///
    /// # Errors
    /// The first [`ExportFault`].
    pub fn handle_line(&mut self, line: &str) -> Result<(), ExportFault> {
        if !std::mem::replace(&mut self.is_headed, true) {
            return if line == HEAD { Ok(()) } else { Err(ExportFault::Head) };
        }
        Item::parse(line)?.map_or(Ok(()), |item| self.handle(&item))
    }

    /// Takes the next item.
    ///
    /// # Errors
    /// The first [`ExportFault`].
    pub fn handle(&mut self, item: &Item) -> Result<(), ExportFault> {
        match item {
            Item::Root(sealed) => self.root(sealed),
            Item::Device { whose, name } => {
                if self.device.replace((*whose, name.clone())).is_some() {
                    return Err(ExportFault::Order);
                }
                self.summary.name = name.clone();
                Ok(())
            }
            Item::Log { log, first, previous } => {
                self.end_log()?;
                let seq = first.checked_sub(1).ok_or(ExportFault::Order)?;
                self.log = Some(Log::new(*log, End { seq, link: *previous }));
                Ok(())
            }
            Item::Row { link, body } => self.log()?.row(*link, body),
            Item::Checkpoint(checkpoint) => {
                let (whose, _) = self.device.as_ref().ok_or(ExportFault::Order)?;
                let log = self.log.as_mut().ok_or(ExportFault::Order)?;
                let key = *log.key.get_or_insert(checkpoint.key);
                let is_genuine = checkpoint.key == key && checkpoint.holds(*whose, log.id);
                if is_genuine && checkpoint.end.seq > log.end.seq {
                    let (seq, signed) = (log.end.seq.saturating_add(1), checkpoint.end.seq);
                    return Err(ExportFault::Missing { seq, signed });
                }
                if checkpoint.end != log.end || !is_genuine {
                    let (seq, by) = (log.vouched.saturating_add(1), log.end.seq);
                    return Err(ExportFault::Unsigned { seq, by });
                }
                (log.signed, log.vouched) = (log.end.seq, log.end.seq);
                Ok(())
            }
            Item::Ack(sealed) => self.ack(sealed),
        }
    }

    /// Everything was taken.
    ///
    /// # Errors
    /// What is missing.
    pub fn finish(mut self) -> Result<Summary, ExportFault> {
        self.end_log()?;
        let (found, expected) = (self.summary.logs, self.logs);
        if self.device.is_none() {
            return Err(ExportFault::Order);
        }
        if found < expected {
            return Err(ExportFault::Logs { found, expected });
        }
        Ok(self.summary)
    }

    fn root(&mut self, sealed: &[u8]) -> Result<(), ExportFault> {
        let newest = self.roots.last().ok_or(ExportFault::Order)?;
        // What is not after the trusted one is not looked at: nothing here could vouch for it.
        if Root::unverified(sealed)?.version > newest.version {
            let next = newest.accept_next(sealed)?;
            self.roots.push(next);
        }
        Ok(())
    }

    fn ack(&mut self, sealed: &[u8]) -> Result<(), ExportFault> {
        let (whose, _) = self.device.as_ref().ok_or(ExportFault::Order)?;
        let log = self.log.as_mut().ok_or(ExportFault::Order)?;
        let opened = self.roots.iter().rev().map(|root| Ack::open(sealed, root, *whose));
        let mut vouched = opened.filter(|opened| !matches!(opened, Err(AckFault::Envelope(_))));
        let Some(opened) = vouched.next() else {
            self.summary.unchecked += 1;
            return Ok(());
        };
        let ack = opened.map_err(|fault| ExportFault::Ack { seq: log.end.seq, fault })?;
        if ack.log != log.id {
            return Err(ExportFault::Order);
        }
        self.logs = self.logs.max(ack.logs);
        log.ack(&ack)
    }

    fn log(&mut self) -> Result<&mut Log, ExportFault> {
        self.log.as_mut().ok_or(ExportFault::Order)
    }

    fn end_log(&mut self) -> Result<(), ExportFault> {
        let Some(log) = self.log.take() else { return Ok(()) };
        if log.acked < log.end.seq || log.root_version == 0 {
            return Err(ExportFault::Unacknowledged { seq: log.acked.saturating_add(1) });
        }
        let rows = |to: u64| to.saturating_sub(log.first.saturating_sub(1));
        let summary = &mut self.summary;
        summary.rows = summary.rows.saturating_add(rows(log.end.seq));
        summary.signed = summary.signed.saturating_add(rows(log.signed));
        summary.logs = summary.logs.saturating_add(1);
        summary.complete_at = Some(summary.complete_at.map_or(log.at, |at| at.min(log.at)));
        summary.root_version = summary.root_version.max(log.root_version);
        Ok(())
    }
}

impl Log {
    fn new(id: LogId, end: End) -> Self {
        Self {
            id,
            first: end.seq.saturating_add(1),
            end,
            key: None,
            vouched: end.seq,
            signed: end.seq,
            acked: end.seq,
            at: UnixTime::EPOCH,
            root_version: 0,
            links: VecDeque::new(),
        }
    }

    fn row(&mut self, claimed: Link, body: &[u8]) -> Result<(), ExportFault> {
        let seq = self.end.seq.saturating_add(1);
        let row: Row = codec::decode(body, ROW_BYTES).map_err(|fault| ExportFault::Codec { seq, fault })?;
        if row.seq != seq {
            return Err(ExportFault::Sequence { seq, found: row.seq });
        }
        let link = chain::link(&self.end.link, body);
        if link != claimed {
            return Err(ExportFault::Changed { seq });
        }
        if let Event::Enrolled { key, .. } | Event::KeyChanged { key } = row.event {
            self.key = Some(key);
        }
        self.end = End { seq, link };
        self.links.push_back(link);
        if self.links.len() > limits::AUDIT_ROWS {
            self.links.pop_front();
        }
        Ok(())
    }

    fn ack(&mut self, ack: &Ack) -> Result<(), ExportFault> {
        let (End { seq, .. }, signed) = (self.end, ack.end.seq);
        if signed > seq {
            return Err(ExportFault::Missing { seq: seq.saturating_add(1), signed });
        }
        if signed < seq {
            return Err(ExportFault::Order);
        }
        if ack.end.link != self.end.link {
            return Err(self.rewritten(&ack.marks));
        }
        (self.acked, self.vouched) = (seq, seq);
        (self.at, self.root_version) = (ack.at, ack.root_version);
        Ok(())
    }

    /// The first row that is not the one that these marks are of.
    fn rewritten(&self, marks: &[Mark]) -> ExportFault {
        let compared = marks.iter().rev().zip(self.links.iter().rev());
        let wrong = compared.take_while(|(mark, link)| **mark != Mark::of(link)).count().max(1);
        let back = u64::try_from(wrong - 1).unwrap_or(u64::MAX);
        let by = self.end.seq.saturating_sub(back);
        // The row before it is known to be the right one; otherwise it may have been changed as well.
        let is_exact = marks.len() > wrong || by == self.acked.saturating_add(1);
        ExportFault::Rewritten { seq: if is_exact { by } else { self.acked.saturating_add(1) }, by }
    }
}

#[cfg(test)]
mod tests;
