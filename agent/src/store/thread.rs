//! The store's own thread: commands come over a bounded channel, audit rows that wait together are committed together.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot, watch};

use postern_protocol::audit::{End, Event, GapCause, LogId, Row};
use postern_protocol::name::Name;
use postern_protocol::policy::Floor;
use postern_protocol::session::freshness::Note;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Receipt, ReceiptId};

use super::audit::{AuditDb, Outgoing};
use super::policy::{PolicyDb, Replaced, StoredLock};
use super::staged::Staged;
use super::{Databases, Enrollment, StoreError, floor, wipe};

/// The way to the store's thread. Clones share it.
///
/// What grows with the number of requests, rows and receipts, has places of its own in the queue: however many wait, a policy,
/// a lock or a key finds room.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    commands: mpsc::Sender<Command>,
    records: Arc<Semaphore>,
    fill: Fill,
    heads: watch::Receiver<u64>,
}

/// What waits for the disk.
pub(crate) type Pending = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// What is asked of the trail on its way to the cloud.
#[derive(Debug)]
pub(crate) enum Cargo {
    /// The next rows.
    Rows,
    /// Keeps an acknowledgement that was verified.
    Keep(LogId, End, Vec<u8>),
    /// Begins another log.
    Anew,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Carried {
    /// Rows, if there are any.
    Rows(Option<Box<Outgoing>>),
    /// Whether the acknowledgement is about the rows that are here.
    Kept(bool),
    /// Another log has begun behind this row.
    Begun(u64),
}

/// A [`Cargo`] that waits for the disk.
pub(crate) type Carrying = Pin<Box<dyn Future<Output = Result<Carried, StoreError>> + Send>>;

/// How full the trail is, readable at any time.
#[derive(Clone, Debug)]
pub(crate) struct Fill {
    used_kib: Arc<AtomicU32>,
    waiting: Arc<AtomicU32>,
    limit_kib: u32,
}

/// Starts the thread. It ends when the last [`Store`] is gone or [`Store::close`] was called.
pub(crate) fn start(databases: Databases) -> Store {
    let (commands, inbox) = mpsc::channel(RECORDS + ERRANDS);
    let limit_kib = u32::try_from(databases.audit_bytes / 1024).unwrap_or(u32::MAX);
    let fill = Fill { used_kib: Arc::default(), waiting: Arc::default(), limit_kib };
    let (head, heads) = watch::channel(0);
    let mut keeper =
        Keeper { databases, fill: fill.clone(), head, warned: false, failing: false, reopen_after: None };
    keeper.measure();
    let spawned = std::thread::Builder::new().name("store".into()).spawn(move || keeper.run(inbox));
    if let Err(error) = spawned {
        // The inbox is gone with the closure: every command is answered `closed`, so nothing is permitted.
        tracing::error!(%error, "the store's thread could not be started");
    }
    Store { commands, records: Arc::new(Semaphore::new(RECORDS)), fill, heads }
}

impl Store {
    /// Appends one row and waits until it is durable.
    ///
    /// # Errors
    /// Why it is not. [`StoreError::Busy`] when too many rows wait already.
    pub(crate) async fn append(&self, at: UnixTime, event: Event) -> Result<(), StoreError> {
        let (reply, durable) = oneshot::channel();
        // Where no place is free, what would permit is refused; what merely records waits its turn.
        let place = if matches!(event, Event::Permitted { .. }) {
            self.place()?
        } else {
            Arc::clone(&self.records).acquire_owned().await.map_err(|_| StoreError::Closed)?
        };
        let append = Command::Append(Append { at, event, reply, _place: place });
        self.commands.send(append).await.map_err(|_| StoreError::Closed)?;
        durable.await.map_err(|_| StoreError::Closed)?
    }

    /// Stores a verified snapshot in one transaction, then the floor file. If it retires the device, nothing of earlier
    /// snapshots is left on the disk afterwards.
    ///
    /// It takes its place in the queue at once; what is returned waits until it is durable.
    ///
    /// # Errors
    /// Why nothing was stored.
    pub(crate) fn install(&self, staged: Staged) -> Pending {
        self.begin(|reply| Errand::Install { staged: Box::new(staged), reply })
    }

    /// Leaves nothing of earlier snapshots on the disk, where a power cut came before [`install`](Self::install) had.
    pub(crate) fn forget(&self) {
        let _full = self.commands.try_send(Command::Run(Errand::Forget));
    }

    /// Stores a verified lock in place of those that it contains, as [`install`](Self::install) does.
    ///
    /// # Errors
    /// Why it was not stored.
    pub(crate) fn take_lock(&self, lock: StoredLock, instead_of: Replaced) -> Pending {
        self.begin(|reply| Errand::TakeLock { lock, instead_of, reply })
    }

    /// Stores who this device is and the root in force: the database first, then the plain copy. As
    /// [`install`](Self::install) does.
    ///
    /// # Errors
    /// Why nothing was stored.
    pub(crate) fn keep_enrollment(&self, enrollment: Enrollment) -> Pending {
        self.begin(|reply| Errand::KeepEnrollment { enrollment: Box::new(enrollment), reply })
    }

    /// The audit row of this snapshot was written.
    pub(crate) async fn settle(&self, floor: Floor) {
        let _closed = self.commands.send(Command::Run(Errand::Settle { floor })).await;
    }

    /// Remembers what time it is at least, and what is spent of the budget; says when that is durable, or why it is not.
    pub(crate) fn note(&self, note: Note) -> Pending {
        self.begin(|reply| Errand::Note { note, reply })
    }

    /// Remembers what time it is at least, before an orderly end.
    pub(crate) async fn keep_time(&self, time: UnixTime) {
        let _closed = self.commands.send(Command::Run(Errand::KeepTime { time })).await;
    }

    /// Keeps a sealed secret.
    ///
    /// # Errors
    /// Why it was not stored.
    pub(crate) async fn keep_secret(&self, name: Name, sealed: Vec<u8>) -> Result<(), StoreError> {
        self.ask(|reply| Command::Run(Errand::KeepSecret { name, sealed, reply })).await?
    }

    /// Forgets a sealed secret; whether there was one.
    ///
    /// # Errors
    /// Why it was not forgotten.
    pub(crate) async fn forget_secret(&self, name: Name) -> Result<bool, StoreError> {
        self.ask(|reply| Command::Run(Errand::ForgetSecret { name, reply })).await?
    }

    /// Keeps a receipt until it is taken, in the place of another where it stands for both. A full queue, or a disk that takes
    /// nothing, leaves it to the memory of whoever calls this.
    pub(crate) fn keep_receipt(&self, receipt: Receipt, instead_of: Option<ReceiptId>) {
        if let Ok(place) = self.place() {
            let keep = Errand::KeepReceipt { receipt, instead_of, _place: place };
            let _full = self.commands.try_send(Command::Run(keep));
        }
    }

    /// A receipt was taken.
    pub(crate) fn forget_receipt(&self, id: ReceiptId) {
        if let Ok(place) = self.place() {
            let _full = self.commands.try_send(Command::Run(Errand::ForgetReceipt { id, _place: place }));
        }
    }

    /// The newest rows, oldest first.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub(crate) async fn newest(&self, limit: u16) -> Result<Vec<Row>, StoreError> {
        self.ask(|reply| Command::Run(Errand::Newest { limit, reply })).await?
    }

    /// Verifies the chain over all rows.
    ///
    /// # Errors
    /// The first row that is wrong.
    pub(crate) async fn verify(&self) -> Result<u64, StoreError> {
        self.ask(|reply| Command::Run(Errand::Verify { reply })).await?
    }

    /// Reads rows for the cloud, or keeps what it has said of them.
    pub(crate) fn carry(&self, cargo: Cargo) -> Carrying {
        let (reply, answer) = oneshot::channel();
        let queued = self.commands.try_send(Command::Run(Errand::Carry { cargo, reply }));
        Box::pin(async move {
            queued.map_err(|_| StoreError::Busy)?;
            answer.await.map_err(|_| StoreError::Closed)?
        })
    }

    /// The newest row of the trail, whenever there is a newer one.
    pub(crate) fn heads(&self) -> watch::Receiver<u64> {
        self.heads.clone()
    }

    /// Finishes what waits and closes both files.
    pub(crate) async fn close(&self) {
        let _closed = self.ask(|reply| Command::Close { reply }).await;
    }

    /// How full the trail is.
    pub(crate) const fn fill(&self) -> &Fill {
        &self.fill
    }

    /// A place for a record, if one is free.
    fn place(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        Arc::clone(&self.records).try_acquire_owned().map_err(|error| match error {
            TryAcquireError::NoPermits => StoreError::Busy,
            TryAcquireError::Closed => StoreError::Closed,
        })
    }

    /// Puts an errand in the queue now, whoever waits for it and for how long. A full queue refuses.
    fn begin(&self, errand: impl FnOnce(oneshot::Sender<Result<(), StoreError>>) -> Errand) -> Pending {
        let (reply, answer) = oneshot::channel();
        let queued = self.commands.try_send(Command::Run(errand(reply))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        });
        Box::pin(async move {
            queued?;
            answer.await.map_err(|_| StoreError::Closed)?
        })
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)
    }
}

impl Fill {
    /// KiB in use.
    pub(crate) fn used_kib(&self) -> u32 {
        self.used_kib.load(Ordering::Relaxed)
    }

    /// Rows that the cloud has not acknowledged.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// KiB that may be used.
    pub(crate) const fn limit_kib(&self) -> u32 {
        self.limit_kib
    }

    /// Per cent in use.
    pub(crate) fn percent(&self) -> u32 {
        let percent = u64::from(self.used_kib()) * 100 / u64::from(self.limit_kib.max(1));
        u32::try_from(percent).unwrap_or(u32::MAX)
    }
}

#[derive(Debug)]
enum Command {
    Append(Append),
    Run(Errand),
    Close { reply: oneshot::Sender<()> },
}

/// Everything that is done by itself, between batches of rows.
#[derive(Debug)]
enum Errand {
    Install { staged: Box<Staged>, reply: oneshot::Sender<Result<(), StoreError>> },
    Forget,
    TakeLock { lock: StoredLock, instead_of: Replaced, reply: oneshot::Sender<Result<(), StoreError>> },
    KeepEnrollment { enrollment: Box<Enrollment>, reply: oneshot::Sender<Result<(), StoreError>> },
    Settle { floor: Floor },
    Note { note: Note, reply: oneshot::Sender<Result<(), StoreError>> },
    KeepTime { time: UnixTime },
    KeepSecret { name: Name, sealed: Vec<u8>, reply: oneshot::Sender<Result<(), StoreError>> },
    ForgetSecret { name: Name, reply: oneshot::Sender<Result<bool, StoreError>> },
    KeepReceipt { receipt: Receipt, instead_of: Option<ReceiptId>, _place: OwnedSemaphorePermit },
    ForgetReceipt { id: ReceiptId, _place: OwnedSemaphorePermit },
    Newest { limit: u16, reply: oneshot::Sender<Result<Vec<Row>, StoreError>> },
    Verify { reply: oneshot::Sender<Result<u64, StoreError>> },
    Carry { cargo: Cargo, reply: oneshot::Sender<Result<Carried, StoreError>> },
}

#[derive(Debug)]
struct Append {
    at: UnixTime,
    event: Event,
    reply: oneshot::Sender<Result<(), StoreError>>,
    _place: OwnedSemaphorePermit,
}

/// What the thread owns.
struct Keeper {
    databases: Databases,
    fill: Fill,
    head: watch::Sender<u64>,
    warned: bool,
    failing: bool,
    reopen_after: Option<Instant>,
}

impl Keeper {
    fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        while let Some(command) = inbox.blocking_recv() {
            let mut next = Some(command);
            while let Some(command) = next.take() {
                match command {
                    Command::Append(first) => {
                        let mut batch = vec![first];
                        next = gather(&mut batch, &mut inbox);
                        self.append(batch);
                    }
                    Command::Close { reply } => {
                        drop(self);
                        let _gone = reply.send(());
                        return;
                    }
                    Command::Run(errand) => self.run_errand(errand),
                }
            }
        }
    }

    fn run_errand(&mut self, errand: Errand) {
        match errand {
            Errand::Install { staged, reply } => {
                let installed = self.install(&staged);
                if staged.retired && installed.is_ok() {
                    self.forget();
                }
                let _gone = reply.send(installed);
            }
            Errand::Forget => self.forget(),
            Errand::TakeLock { lock, instead_of, reply } => {
                let taken = self.change(|db| db.take_lock(&lock, instead_of));
                if taken.is_ok() {
                    self.mark();
                }
                let _gone = reply.send(taken);
            }
            Errand::KeepEnrollment { enrollment, reply } => {
                let _gone = reply.send(self.keep_enrollment(&enrollment));
            }
            Errand::Settle { floor } => self.quietly(|db| db.settle(floor)),
            Errand::Note { note, reply } => {
                let _gone = reply.send(self.change(|db| db.note(note)));
            }
            Errand::KeepTime { time } => self.quietly(|db| db.keep_time(time)),
            Errand::KeepSecret { name, sealed, reply } => {
                let _gone = reply.send(self.change(|db| db.keep_secret(&name, &sealed)));
            }
            Errand::ForgetSecret { name, reply } => {
                let _gone = reply.send(self.change(|db| db.forget_secret(&name)));
            }
            Errand::KeepReceipt { receipt, instead_of, _place: _ } => {
                self.quietly(|db| db.keep_receipt(&receipt, instead_of));
            }
            Errand::ForgetReceipt { id, _place: _ } => self.quietly(|db| db.forget_receipt(id)),
            Errand::Newest { limit, reply } => {
                let _gone = reply.send(self.audit().and_then(|db| db.newest(limit)));
            }
            Errand::Verify { reply } => {
                let _gone = reply.send(self.audit().and_then(|db| db.verify()));
            }
            Errand::Carry { cargo, reply } => {
                let carried = self.carry(cargo);
                self.measure();
                let _gone = reply.send(carried);
            }
        }
    }

    fn carry(&mut self, cargo: Cargo) -> Result<Carried, StoreError> {
        let signer = self.databases.signer.clone();
        let db = self.audit()?;
        match cargo {
            Cargo::Rows => db.outgoing(signer.as_ref()).map(Carried::Rows),
            Cargo::Keep(log, end, sealed) => db.keep_ack(log, end, sealed).map(Carried::Kept),
            Cargo::Anew => {
                db.begin_anew(GapCause::Refused)?;
                Ok(Carried::Begun(db.progress().1))
            }
        }
    }

    fn append(&mut self, batch: Vec<Append>) {
        // Above the marks only what ends, or what a known user was refused, is recorded: the reserve is for that.
        let percent = self.fill.percent();
        let (refused, batch): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|a| highest_percent(&a.event).is_some_and(|mark| percent >= mark));
        for Append { reply, .. } in refused {
            let _gone = reply.send(Err(StoreError::Full));
        }
        if batch.is_empty() {
            return;
        }
        let signer = self.databases.signer.clone();
        let rows = batch.iter().map(|a| (a.at, &a.event));
        let written = self.audit().and_then(|db| db.append(rows, signer.as_ref()));
        self.measure();
        match written {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::warn!("the audit trail can be written again");
                }
                batch.into_iter().for_each(|a| drop(a.reply.send(Ok(()))));
                // After the answers: a tunnel need not wait for it.
                self.databases.audit.iter_mut().for_each(AuditDb::forget_keys);
            }
            Err(error) => {
                // Once, not for every request of a client.
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, "the audit trail cannot be written; no tunnel is opened");
                }
                if !error.keeps_connection() {
                    self.databases.audit = None;
                }
                batch.into_iter().for_each(|a| drop(a.reply.send(Err(StoreError::Full))));
            }
        }
    }

    fn install(&mut self, staged: &Staged) -> Result<(), StoreError> {
        self.change(|db| db.install(staged))?;
        self.mark();
        Ok(())
    }

    /// Writes the mark of the policy database outside of it.
    fn mark(&mut self) {
        let mark = self.change(|db| db.mark());
        let Databases { dir, owner, .. } = &self.databases;
        let written = mark.and_then(|mark| mark.map_or(Ok(()), |mark| floor::write(dir, owner, mark)));
        if let Err(error) = written {
            tracing::warn!(%error, "the copy of the version floor cannot be written; the database has it");
        }
    }

    /// Leaves nothing of earlier snapshots behind: neither in the journal nor in a database that was set aside.
    fn forget(&mut self) {
        let forgotten = self.change(PolicyDb::forget);
        let wiped = wipe::set_aside(&self.databases.dir, super::policy::FILE);
        if let Err(error) = forgotten.and(wiped) {
            tracing::error!(%error, "something of an earlier policy is still on the disk");
        }
    }

    fn keep_enrollment(&mut self, enrollment: &Enrollment) -> Result<(), StoreError> {
        self.change(|db| db.keep_enrollment(enrollment))?;
        enrollment.write(&self.databases.dir)
    }

    fn quietly(&mut self, change: impl FnOnce(&mut PolicyDb) -> Result<(), StoreError>) {
        if let Err(error) = self.change(change) {
            tracing::warn!(%error, "a note in the policy database was not stored");
        }
    }

    /// Changes the policy database. One that fails is opened anew with the next change.
    fn change<T>(
        &mut self,
        change: impl FnOnce(&mut PolicyDb) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let changed = self.policy().and_then(change);
        if changed.as_ref().is_err_and(|error| !error.keeps_connection()) {
            self.databases.policy = None;
        }
        changed
    }

    fn policy(&mut self) -> Result<&mut PolicyDb, StoreError> {
        if self.databases.policy.is_none() {
            let dir = &self.databases.dir;
            let db = super::sound(dir, super::policy::FILE, || PolicyDb::open(dir))?;
            self.databases.policy = Some(db);
        }
        self.databases.policy.as_mut().ok_or(StoreError::Closed)
    }

    fn audit(&mut self) -> Result<&mut AuditDb, StoreError> {
        if self.databases.audit.is_none() {
            if self.reopen_after.is_some_and(|after| Instant::now() < after) {
                return Err(StoreError::Busy);
            }
            self.reopen_after = Some(Instant::now() + REOPEN_PAUSE);
            let Databases { dir, audit_bytes, .. } = &self.databases;
            let db = super::sound(dir, super::audit::FILE, || AuditDb::open(dir, *audit_bytes))?;
            self.databases.audit = Some(db);
        }
        self.databases.audit.as_mut().ok_or(StoreError::Closed)
    }

    fn measure(&mut self) {
        let used = self.databases.audit.as_ref().map_or(0, AuditDb::used_bytes);
        let (head, acked) = self.databases.audit.as_ref().map_or((0, 0), AuditDb::progress);
        let waiting = u32::try_from(head.saturating_sub(acked)).unwrap_or(u32::MAX);
        self.fill.waiting.store(waiting, Ordering::Relaxed);
        self.head.send_if_modified(|known| {
            let is_newer = *known != head;
            *known = head;
            is_newer
        });
        self.fill.used_kib.store(u32::try_from(used / 1024).unwrap_or(u32::MAX), Ordering::Relaxed);
        let high = self.fill.percent() >= WARN_PERCENT;
        if high && !self.warned {
            tracing::warn!(
                percent = self.fill.percent(),
                "the audit trail is nearly full; refusals of strangers are recorded no more, and at 95 % no tunnel is opened"
            );
        }
        self.warned = high;
    }
}

/// How full the trail may be for a row to be taken; none for rows that are taken as long as there is room.
///
/// Strangers stop at the lower mark: nothing that somebody without identity does may lead to the one that shuts the
/// gate.
const fn highest_percent(event: &Event) -> Option<u32> {
    match event {
        Event::Permitted { .. } | Event::Requests { .. } | Event::Flows { .. } => Some(SHUT_PERCENT),
        Event::Denied { user: None, .. } => Some(WARN_PERCENT),
        Event::Started { .. }
        | Event::Stopped
        | Event::PolicyApplied { .. }
        | Event::PolicyRefused { .. }
        | Event::Denied { user: Some(_), .. }
        | Event::Failed { .. }
        | Event::Closed { .. }
        | Event::Control { .. }
        | Event::Locked { .. }
        | Event::Unlocked { .. }
        | Event::Alarm { .. }
        | Event::RootTaken { .. }
        | Event::RootRefused { .. }
        | Event::Enrolled { .. }
        | Event::KeyChanged { .. }
        | Event::Recorded { .. }
        | Event::RecordingRemoved { .. }
        | Event::Changed { .. }
        | Event::Gap { .. }
        | Event::Retired { .. } => None,
    }
}

/// Takes the appends that wait behind the first; returns the first other command.
fn gather(batch: &mut Vec<Append>, inbox: &mut mpsc::Receiver<Command>) -> Option<Command> {
    while batch.len() < BATCH {
        match inbox.try_recv() {
            Ok(Command::Append(append)) => batch.push(append),
            Ok(other) => return Some(other),
            Err(_) => return None,
        }
    }
    None
}

/// Rows and receipts that may wait; what would permit is refused beyond it.
const RECORDS: usize = 256;
/// Everything else that may wait beside them. Each has one source that waits for its answer, but for the receipts above.
const ERRANDS: usize = 64;
/// Rows in one commit.
const BATCH: usize = 64;
const WARN_PERCENT: u32 = 80;
const SHUT_PERCENT: u32 = 95;
/// A broken disk is not asked more often than this.
const REOPEN_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn idle() -> (Store, mpsc::Receiver<Command>) {
        let (commands, inbox) = mpsc::channel(RECORDS + ERRANDS);
        let fill = Fill { used_kib: Arc::default(), waiting: Arc::default(), limit_kib: 1 };
        let (_, heads) = watch::channel(0);
        (Store { commands, records: Arc::new(Semaphore::new(RECORDS)), fill, heads }, inbox)
    }

    fn note() -> Note {
        Note { time: UnixTime::EPOCH, spent: 0 }
    }

    #[tokio::test]
    async fn a_policy_finds_room_beside_as_many_rows_as_may_wait_and_a_row_too_many_waits_outside() {
        let (store, mut inbox) = idle();
        let mut rows = tokio::task::JoinSet::new();
        for _ in 0..2 * RECORDS {
            let store = store.clone();
            rows.spawn(async move { store.append(UnixTime::EPOCH, Event::Stopped).await });
        }
        while store.records.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let noted = store.note(note());
        let mut taken = 0;
        while let Some(command) = inbox.recv().await {
            match command {
                Command::Append(append) => append.reply.send(Ok(())).unwrap(),
                Command::Run(Errand::Note { reply, .. }) => {
                    reply.send(Ok(())).unwrap();
                    break;
                }
                other @ (Command::Run(_) | Command::Close { .. }) => panic!("{other:?}"),
            }
            taken += 1;
        }
        assert_eq!(taken, RECORDS);
        noted.await.unwrap();
    }

    #[tokio::test]
    async fn errands_without_number_are_refused_beyond_their_bound() {
        let (store, _inbox) = idle();
        let noted: Vec<_> = (0..ERRANDS + RECORDS).map(|_| store.note(note())).collect();
        assert!(matches!(store.note(note()).await, Err(StoreError::Busy)));
        drop(noted);
    }
}
