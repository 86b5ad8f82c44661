//! Carries rows of the trail to the hub, beside everything else on the link.
//!
//! 1. [`Carrier::next`] waits until rows are due, reads them from the store, and hands them out. While there are none it wakes for
//!    nothing; rows that are written within a second go together.
//! 2. An acknowledgement is verified by the root in force, and stored before anything is taken for granted or removed.
//! 3. The rules are those of [`Upload`]; this is its shell.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use postern_protocol::audit::upload::Upload;
use postern_protocol::audit::{Ack, LogId, Whose};
use postern_protocol::trust::Root;
use postern_protocol::wire::control::RowsCode;

use crate::store::{Cargo, Carried, Carrying, Outgoing, Store, StoreError};

/// The way of the trail to the cloud.
pub(crate) struct Carrier {
    upload: Upload,
    store: Store,
    heads: watch::Receiver<u64>,
    /// What waits for the disk, and the acknowledged row where it is an acknowledgement.
    work: Option<(Carrying, u64)>,
    /// The log that rows were read of last.
    log: Option<LogId>,
    started: Instant,
}

impl Carrier {
    pub(crate) fn new(store: Store) -> Self {
        let heads = store.heads();
        Self { upload: Upload::new(0, 0), store, heads, work: None, log: None, started: Instant::now() }
    }

    /// The hub knows this device.
    pub(super) fn handle_link(&mut self) {
        self.look();
        self.upload.handle_link(self.now());
    }

    pub(super) const fn handle_down(&mut self) {
        self.upload.handle_down();
    }

    /// The next rows for the hub. Nothing is lost when it is dropped.
    pub(super) async fn next(&mut self) -> Outgoing {
        loop {
            self.look();
            if let Some((carrying, seq)) = &mut self.work {
                let (carried, seq) = (carrying.await, *seq);
                self.work = None;
                if let Some(rows) = self.carried(carried, seq) {
                    return rows;
                }
            } else if self.upload.poll_read(self.now()).is_some() {
                self.work = Some((self.store.carry(Cargo::Rows), 0));
            } else if let Some(due) = self.upload.poll_timeout() {
                tokio::time::sleep(Duration::from_millis(due.saturating_sub(self.now()))).await;
            } else if !self.upload.is_idle() || self.heads.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The hub says that rows are durable.
    pub(super) fn handle_taken(&mut self, sealed: Vec<u8>, root: &Root, whose: Whose) {
        match Ack::open(&sealed, root, whose) {
            Ok(ack) if self.upload.handle_taken(ack.end.seq) => {
                let keep = Cargo::Keep(ack.log, ack.end, sealed);
                self.work = Some((self.store.carry(keep), ack.end.seq));
            }
            Ok(_of_earlier_rows) => {}
            Err(error) => tracing::warn!(%error, "an acknowledgement of audit rows is not genuine"),
        }
    }

    /// The hub says that rows are not taken, or the store that others were acknowledged.
    pub(super) fn handle_refused(&mut self, log: LogId, code: RowsCode) {
        if self.log != Some(log) {
            return;
        }
        tracing::warn!(reason = code.word(), "the hub does not take rows of the audit trail");
        if self.upload.handle_refused(self.now(), code) {
            self.work = Some((self.store.carry(Cargo::Anew), 0));
        }
    }

    fn carried(&mut self, carried: Result<Carried, StoreError>, seq: u64) -> Option<Outgoing> {
        let now = self.now();
        match carried {
            Ok(Carried::Rows(rows)) => {
                let is_wanted = self.upload.handle_read(rows.is_some());
                self.log = rows.as_ref().map(|rows| rows.batch.log);
                return rows.filter(|_| is_wanted).map(|rows| *rows);
            }
            Ok(Carried::Kept(true)) => self.upload.handle_kept(now, seq),
            Ok(Carried::Kept(false)) => {
                self.log.into_iter().for_each(|log| self.handle_refused(log, RowsCode::Fork));
            }
            Ok(Carried::Begun(acked)) => self.upload.handle_begun(now, acked),
            Err(error) => {
                tracing::warn!(%error, "the audit trail cannot be read for the cloud");
                self.upload.handle_failed(now);
            }
        }
        None
    }

    fn look(&mut self) {
        let head = *self.heads.borrow_and_update();
        self.upload.handle_head(self.now(), head);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl std::fmt::Debug for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carrier").field("upload", &self.upload).finish_non_exhaustive()
    }
}
