use super::*;
use crate::audit::{Batch, Begin, Event, Intake, Link, LogId, Ratchet, RatchetKey, Row, SealedRow, chain};
use crate::time::UnixTime;

/// What the cloud has stored of one log.
struct Cloud {
    intake: Intake,
    rows: Vec<Vec<u8>>,
}

/// A device and its cloud in virtual time; what is stored survives, what is on its way does not.
struct Pair {
    now: u64,
    upload: Upload,
    /// On the device's disk.
    rows: Vec<(SealedRow, Link)>,
    ratchet: Ratchet,
    acked: u64,
    cloud: Cloud,
}

/// What is lost in one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Nothing,
    /// The rows do not arrive.
    Rows,
    /// The rows are stored, and the acknowledgement is lost: the line, or the hub, is gone after its commit.
    Ack,
    /// The acknowledgement arrives, and the device ends before it is stored.
    Kept,
}

const KEY: [u8; 32] = [7; 32];

fn begin() -> Begin {
    let log = LogId::new([1; 16]);
    Begin { log, first: 1, previous: chain::ORIGIN, sealed_from: 1, key: RatchetKey::new(KEY) }
}

impl Pair {
    fn new() -> Self {
        Self {
            now: 0,
            upload: Upload::new(0, 0),
            rows: Vec::new(),
            ratchet: Ratchet::new(1, RatchetKey::new(KEY)),
            acked: 0,
            cloud: Cloud { intake: Intake::begin(&begin()), rows: Vec::new() },
        }
    }

    fn write(&mut self, count: u64) {
        for _ in 0..count {
            let seq = u64::try_from(self.rows.len()).unwrap() + 1;
            let previous = self.rows.last().map_or(chain::ORIGIN, |(_, link)| *link);
            let row = Row { seq, at: UnixTime::from_secs(seq), event: Event::Stopped };
            let (body, link) = chain::append(&previous, &row).unwrap();
            let tag = Some(self.ratchet.seal(&link));
            self.rows.push((SealedRow { body, tag }, link));
            self.upload.handle_head(self.now, seq);
        }
    }

    /// One batch and its answer, when there is one to be sent. False when there is not.
    fn exchange(&mut self, loss: Loss) -> bool {
        let Some(due) = self.upload.poll_timeout() else { return false };
        self.now = self.now.max(due);
        let first = self.upload.poll_read(self.now).unwrap();
        let from = usize::try_from(first - 1).unwrap();
        let rows: Vec<SealedRow> =
            self.rows.iter().skip(from).take(limits::AUDIT_ROWS).map(|(row, _)| row.clone()).collect();
        assert_eq!(self.upload.handle_read(!rows.is_empty()), !rows.is_empty());
        let batch = Batch { log: begin().log, first, rows, checkpoint: None };
        if loss == Loss::Rows {
            return self.interrupt();
        }
        let head = self.cloud.take(&batch);
        if loss == Loss::Ack {
            return self.interrupt();
        }
        assert!(self.upload.handle_taken(head));
        if loss == Loss::Kept {
            // The device starts again, with what is on its disk.
            self.upload = Upload::new(self.acked, u64::try_from(self.rows.len()).unwrap());
            return self.interrupt();
        }
        self.acked = head;
        self.upload.handle_kept(self.now, head);
        true
    }

    fn interrupt(&mut self) -> bool {
        self.upload.handle_down();
        self.now += 60_000;
        self.upload.handle_link(self.now);
        true
    }

    fn finish(&mut self) {
        while self.exchange(Loss::Nothing) {}
        let written: Vec<&Vec<u8>> = self.rows.iter().map(|(row, _)| &row.body).collect();
        assert_eq!(self.cloud.rows.iter().collect::<Vec<_>>(), written);
        assert_eq!(self.acked, u64::try_from(written.len()).unwrap());
    }
}

impl Cloud {
    /// Takes what is new, compares what is not; the newest row that it has.
    fn take(&mut self, batch: &Batch) -> u64 {
        for (seq, row) in (batch.first..).zip(&batch.rows) {
            if seq <= self.intake.head().seq {
                assert_eq!(self.rows[usize::try_from(seq - 1).unwrap()], row.body);
            } else {
                self.intake.take(row).unwrap();
                self.rows.push(row.body.clone());
            }
        }
        self.intake.head().seq
    }
}

#[test]
fn every_row_comes_exactly_once_whatever_is_lost_and_whenever() {
    const LOSSES: [Loss; 4] = [Loss::Nothing, Loss::Rows, Loss::Ack, Loss::Kept];
    // Every sequence of four exchanges, with rows that are written in between.
    for case in 0..LOSSES.len().pow(4) {
        let mut pair = Pair::new();
        pair.upload.handle_link(0);
        for step in 0..4_u32 {
            pair.write(if step == 1 { 150 } else { 3 });
            pair.exchange(LOSSES[case / LOSSES.len().pow(step) % LOSSES.len()]);
        }
        pair.finish();
    }
}

#[test]
fn an_outage_is_stored_and_forwarded_in_bounded_batches_one_at_a_time() {
    let mut pair = Pair::new();
    pair.write(1000);
    assert_eq!(pair.upload.poll_timeout(), None, "without a link there is no timer");
    pair.now = 5;
    pair.upload.handle_link(5);
    assert_eq!(pair.upload.poll_read(5), Some(1));
    assert_eq!((pair.upload.poll_read(5), pair.upload.poll_timeout()), (None, None), "one at a time");
    pair.interrupt();
    let mut batches = 0;
    while pair.exchange(Loss::Nothing) {
        batches += 1;
    }
    assert_eq!(
        (batches, pair.now),
        (16, 60_005 + 1000),
        "only the last, which is not full, waits for company"
    );
    pair.finish();
}

#[test]
fn rows_gather_for_a_second_and_nothing_wakes_while_there_are_none() {
    let mut pair = Pair::new();
    pair.upload.handle_link(0);
    assert!(pair.upload.is_idle());
    assert_eq!(pair.upload.poll_timeout(), None);
    pair.now = 10_000;
    pair.write(1);
    assert_eq!((pair.upload.poll_timeout(), pair.upload.is_idle()), (Some(11_000), false));
    pair.now = 10_900;
    pair.write(5);
    assert_eq!(pair.upload.poll_timeout(), Some(11_000), "company does not delay the first");
    assert_eq!(pair.upload.poll_read(10_999), None);
    assert!(pair.exchange(Loss::Nothing));
    assert_eq!((pair.acked, pair.upload.poll_timeout()), (6, None));
}

#[test]
fn rows_that_were_read_for_a_link_before_are_not_sent() {
    let mut upload = Upload::new(0, 9);
    upload.handle_link(0);
    assert_eq!(upload.poll_read(0), Some(1));
    upload.handle_down();
    upload.handle_link(5);
    assert!(!upload.handle_read(true), "they would be sent twice over this one");
    assert_eq!(upload.poll_read(5), Some(1));
    assert!(upload.handle_read(true));
}

#[test]
fn a_started_device_whose_rows_are_all_acknowledged_looks_once_and_then_sleeps() {
    // It knows its newest row, and the store which of them are acknowledged.
    let mut upload = Upload::new(0, 0);
    upload.handle_head(0, 9);
    upload.handle_link(0);
    assert_eq!(upload.poll_read(0), Some(1));
    assert!(!upload.handle_read(false));
    upload.handle_head(5, 9);
    assert_eq!((upload.poll_timeout(), upload.is_idle()), (None, true));
    upload.handle_head(7, 10);
    assert_eq!(upload.poll_timeout(), Some(1007));
}

#[test]
fn a_row_that_is_written_while_the_store_is_read_is_not_forgotten() {
    let mut upload = Upload::new(0, 9);
    upload.handle_link(0);
    assert_eq!(upload.poll_read(0), Some(1));
    upload.handle_head(1, 10);
    assert!(!upload.handle_read(false));
    upload.handle_head(2, 10);
    assert_eq!(upload.poll_timeout(), Some(1002));
}

#[test]
fn an_answer_to_nothing_is_not_kept() {
    let mut pair = Pair::new();
    pair.write(2);
    assert!(!pair.upload.handle_taken(2), "no link");
    pair.upload.handle_link(0);
    assert!(!pair.upload.handle_taken(2), "nothing sent");
    assert_eq!(pair.upload.poll_read(0), Some(1));
    assert!(pair.upload.handle_read(true));
    assert!(!pair.upload.handle_taken(0), "nothing new");
    assert!(pair.upload.handle_taken(2));
    assert!(!pair.upload.handle_taken(2), "being stored");
}

#[test]
fn another_log_begins_where_the_cloud_has_another_story_and_at_most_once_an_hour() {
    let mut upload = Upload::new(5, 9);
    let send = |upload: &mut Upload, now| {
        upload.handle_link(now);
        assert!(upload.poll_read(now).is_some());
        assert!(upload.handle_read(true));
    };
    send(&mut upload, 0);
    assert!(upload.handle_refused(0, RowsCode::Fork));
    upload.handle_begun(0, 2);
    assert_eq!(upload.poll_read(0), Some(3), "from the oldest row that is there");
    assert!(upload.handle_read(true));
    assert!(!upload.handle_refused(1, RowsCode::Fork), "not again");
    assert_eq!(upload.poll_timeout(), None, "nothing is sent over this link any more");
    send(&mut upload, 3_600_000);
    assert!(upload.handle_refused(3_600_000, RowsCode::Seal));
}

#[test]
fn what_another_log_would_not_heal_waits_for_the_next_link() {
    for code in [RowsCode::Crowded, RowsCode::Row] {
        let mut upload = Upload::new(0, 9);
        upload.handle_link(0);
        assert_eq!(upload.poll_read(0), Some(1));
        assert!(upload.handle_read(true));
        assert!(!upload.handle_refused(0, code), "{code:?}");
        assert_eq!((upload.poll_timeout(), upload.is_idle()), (None, false));
        upload.handle_link(7);
        assert_eq!(upload.poll_read(7), Some(1));
    }
}

#[test]
fn rows_that_the_hub_could_not_store_are_sent_again_after_a_minute() {
    let mut upload = Upload::new(0, 9);
    upload.handle_link(0);
    assert_eq!(upload.poll_read(0), Some(1));
    assert!(upload.handle_read(true));
    assert!(!upload.handle_refused(0, RowsCode::Storage));
    assert_eq!((upload.poll_read(59_999), upload.poll_read(60_000)), (None, Some(1)));
}

#[test]
fn a_store_that_fails_is_asked_again_after_a_minute() {
    let mut upload = Upload::new(0, 9);
    upload.handle_link(0);
    assert_eq!(upload.poll_read(0), Some(1));
    upload.handle_failed(0);
    assert_eq!((upload.poll_read(59_999), upload.poll_read(60_000)), (None, Some(1)));
}
