//! What a device sends of its log, and how the cloud takes it; pure.
//!
//! 1. A [`Begin`] names a log and gives the first key of its ratchet. It is said again until the first acknowledgement.
//! 2. A [`Batch`] has rows that follow each other. The cloud compares those that it has, and takes the others with
//!    [`Intake::take`]: each in its place, with its link and its tag.
//! 3. A batch may end with a checkpoint, signed by the key that the rows say is in force.
//!
//! Sending again is harmless: (device, log, sequence) names a row, and what is there already is compared and left. Another row
//! in the same place is a fork, which is never written over what is there.

use serde::{Deserialize, Serialize};

use super::chain;
use super::ratchet::{Ratchet, RatchetKey, Tag};
use super::row::ROW_BYTES;
use super::{Checkpoint, End, Event, Link, LogId, Row};
use crate::trust::PublicKey;
use crate::wire::codec;
use crate::wire::control::RowsCode;

/// The beginning of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// Its name.
    pub log: LogId,
    /// Its first row: 1, or the oldest that the device has where it goes on with rows of a log before.
    pub first: u64,
    /// The link of the row before that one.
    pub previous: Link,
    /// The first row with a tag. Those before it were written under a ratchet that is lost.
    pub sealed_from: u64,
    /// The key of that row.
    pub key: RatchetKey,
}

/// A row as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedRow {
    /// Its encoding.
    pub body: Vec<u8>,
    /// Its tag; none before [`Begin::sealed_from`].
    pub tag: Option<Tag>,
}

/// Rows that follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Their log.
    pub log: LogId,
    /// Sequence of the first of them.
    pub first: u64,
    /// At least one and at most [`AUDIT_ROWS`](crate::limits::AUDIT_ROWS), with bodies of at most
    /// [`AUDIT_BYTES`](crate::limits::AUDIT_BYTES) together.
    pub rows: Vec<SealedRow>,
    /// What the device signs about the last of them. None where they were written under a key that it has no more; a later one
    /// covers them then.
    pub checkpoint: Option<Checkpoint>,
}

/// How far the cloud has a log, and what it needs for the next row.
#[derive(Clone, Debug)]
pub struct Intake {
    head: End,
    ratchet: Ratchet,
    /// The device's key in force at the newest row, as far as the rows say.
    key: Option<PublicKey>,
}

/// A row that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What it says.
    pub row: Row,
    /// Its link.
    pub link: Link,
}

impl Intake {
    /// A log of which nothing is there yet.
    #[must_use]
    pub fn begin(begin: &Begin) -> Self {
        let head = End { seq: begin.first.saturating_sub(1), link: begin.previous };
        Self { head, ratchet: Ratchet::new(begin.sealed_from, begin.key.clone()), key: None }
    }

    /// A log as it was stored.
    #[must_use]
    pub const fn resume(head: End, ratchet: Ratchet, key: Option<PublicKey>) -> Self {
        Self { head, ratchet, key }
    }

    /// The newest row that is there.
    #[must_use]
    pub const fn head(&self) -> End {
        self.head
    }

    /// What verifies the next row.
    #[must_use]
    pub const fn ratchet(&self) -> &Ratchet {
        &self.ratchet
    }

    /// The device's key in force, as the rows say.
    #[must_use]
    pub const fn key(&self) -> Option<PublicKey> {
        self.key
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// Why it is not the one; nothing is changed then.
    pub fn take(&mut self, sealed: &SealedRow) -> Result<Taken, RowsCode> {
        let seq = self.head.seq.checked_add(1).ok_or(RowsCode::Row)?;
        let row: Row = codec::decode(&sealed.body, ROW_BYTES).map_err(|_| RowsCode::Row)?;
        if row.seq != seq {
            return Err(RowsCode::Row);
        }
        let link = chain::link(&self.head.link, &sealed.body);
        let is_sealed = match sealed.tag {
            Some(tag) => self.ratchet.next() == seq && self.ratchet.take(&link, &tag),
            None => seq < self.ratchet.next(),
        };
        if !is_sealed {
            return Err(RowsCode::Seal);
        }
        if let Event::Enrolled { key, .. } | Event::KeyChanged { key } = row.event {
            self.key = Some(key);
        }
        self.head = End { seq, link };
        Ok(Taken { row, link })
    }

    /// Whether a checkpoint at the newest row may stand: by the key that the rows say is in force. Where they have not said it, it
    /// is that of the first checkpoint. That the signature holds is the caller's to see.
    pub fn admits(&mut self, checkpoint: &Checkpoint) -> bool {
        let key = *self.key.get_or_insert(checkpoint.key);
        checkpoint.end == self.head && checkpoint.key == key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Whose;
    use crate::id::{DeviceId, FleetId};
    use crate::time::UnixTime;
    use crate::trust::SecretKey;

    const LOG: LogId = LogId::new([1; 16]);

    fn begin(sealed_from: u64) -> Begin {
        let key = RatchetKey::new([7; 32]);
        Begin { log: LOG, first: 1, previous: chain::ORIGIN, sealed_from, key }
    }

    /// Rows of these events with tags from `sealed_from` on, and their links.
    fn rows(events: &[Event], sealed_from: u64) -> Vec<(SealedRow, Link)> {
        let (mut last, mut ratchet) = (chain::ORIGIN, Ratchet::new(sealed_from, RatchetKey::new([7; 32])));
        (1..)
            .zip(events)
            .map(|(seq, event)| {
                let row = Row { seq, at: UnixTime::EPOCH, event: event.clone() };
                let (body, link) = chain::append(&last, &row).unwrap();
                last = link;
                (SealedRow { body, tag: (seq >= sealed_from).then(|| ratchet.seal(&link)) }, link)
            })
            .collect()
    }

    #[test]
    fn rows_are_taken_in_their_places_and_a_refused_one_changes_nothing() {
        let rows = rows(&[Event::Stopped, Event::Stopped, Event::Stopped], 1);
        let mut intake = Intake::begin(&begin(1));
        assert_eq!(intake.take(&rows[1].0), Err(RowsCode::Row), "out of its place");
        for (row, link) in &rows {
            let mut forged = row.clone();
            forged.tag = Some(Tag::new([0; 16]));
            assert_eq!(intake.take(&forged), Err(RowsCode::Seal));
            assert_eq!(intake.take(&SealedRow { tag: None, ..row.clone() }), Err(RowsCode::Seal));
            assert_eq!(intake.take(row).map(|taken| taken.link), Ok(*link));
        }
        assert_eq!(intake.head(), End { seq: 3, link: rows[2].1 });
        let garbage = SealedRow { body: vec![0xff], tag: None };
        assert_eq!(intake.take(&garbage), Err(RowsCode::Row));
    }

    #[test]
    fn rows_before_the_ratchet_need_no_tag_and_those_behind_it_do() {
        let rows = rows(&[Event::Stopped, Event::Stopped, Event::Stopped], 3);
        let mut intake = Intake::begin(&begin(3));
        let early = SealedRow { tag: rows[2].0.tag, ..rows[0].0.clone() };
        assert_eq!(intake.take(&early), Err(RowsCode::Seal), "a tag of another row");
        for (row, _) in &rows[..2] {
            intake.take(row).unwrap();
        }
        let bare = SealedRow { tag: None, ..rows[2].0.clone() };
        assert_eq!(intake.take(&bare), Err(RowsCode::Seal));
        intake.take(&rows[2].0).unwrap();
    }

    #[test]
    fn a_checkpoint_is_by_the_key_that_the_rows_say_is_in_force() {
        let key = |seed| SecretKey::from_seed([seed; 32]).unwrap();
        let whose = Whose { fleet: FleetId::new([1; 8]), device: DeviceId::new([2; 8]) };
        let enrolled = Event::Enrolled { device: whose.device, key: key(10).public() };
        let rows = rows(&[enrolled, Event::KeyChanged { key: key(11).public() }], 1);
        let mut intake = Intake::begin(&begin(1));
        intake.take(&rows[0].0).unwrap();
        let sign = |end, seed| Checkpoint::sign(whose, LOG, end, &key(seed));
        assert!(intake.admits(&sign(intake.head(), 10)));
        assert!(!intake.admits(&sign(intake.head(), 11)), "not yet");
        intake.take(&rows[1].0).unwrap();
        assert!(!intake.admits(&sign(intake.head(), 10)), "not any more");
        assert!(intake.admits(&sign(intake.head(), 11)));
        assert!(!intake.admits(&sign(End { seq: 1, link: rows[0].1 }, 11)), "of another row");
    }
}
