//! The thread that writes recordings: no tunnel waits for its disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use zeroize::Zeroizing;

use postern_protocol::audit::Event;
use postern_protocol::id::TunnelId;
use postern_protocol::recording::{Header, What, WriteError, Writer};
use postern_protocol::trust::digest::Hasher;

use super::shelf::{Shelf, ShelfError};
use crate::audit::Auditor;
use crate::clock::Clock;

/// What tunnels ask of the thread.
#[derive(Debug)]
pub(super) enum Order {
    /// Begin a file; the answer, once it is on the disk, is the place that was given for it. Until then the order has it, so
    /// that a disk that hangs gathers no more orders than there are places.
    Begin {
        header: Box<Header>,
        seed: Zeroizing<[u8; 32]>,
        lost: watch::Sender<bool>,
        place: OwnedSemaphorePermit,
        reply: oneshot::Sender<OwnedSemaphorePermit>,
    },
    /// Something happened.
    Event { tunnel: TunnelId, at_ms: u64, what: What, waits: OwnedSemaphorePermit },
    /// Nothing follows.
    End { tunnel: TunnelId, reply: Option<oneshot::Sender<()>> },
    /// Remove a finished one because somebody at the device wants it.
    Remove { tunnel: TunnelId, uid: u32, reply: oneshot::Sender<bool> },
}

/// One recording that is being written.
struct Reel {
    /// None once it is finished.
    writer: Option<Writer>,
    file: File,
    path: PathBuf,
    hasher: Hasher,
    bytes: u64,
    at_ms: u64,
    /// When the first event came that is not sealed yet.
    waits_since: Option<Instant>,
    /// When the first byte was written that the disk may still lose.
    unsynced_since: Option<Instant>,
    lost: watch::Sender<bool>,
}

struct Recordist {
    shelf: Shelf,
    auditor: Auditor,
    clock: Arc<Clock>,
    reels: BTreeMap<TunnelId, Reel>,
}

/// Starts the thread; it ends when nobody can order any more.
pub(super) fn start(shelf: Shelf, auditor: Auditor, clock: Arc<Clock>) -> Result<Sender<Order>, ShelfError> {
    // Bounded by the room and the places that what comes in it holds.
    let (orders, inbox) = channel();
    let path = shelf.path().to_owned();
    let mut recordist = Recordist { shelf, auditor, clock, reels: BTreeMap::new() };
    std::thread::Builder::new()
        .name("recordings".to_owned())
        .spawn(move || recordist.run(&inbox))
        .map_err(|error| ShelfError { path, error })?;
    Ok(orders)
}

impl Recordist {
    fn run(&mut self, inbox: &Receiver<Order>) {
        loop {
            // Nothing is due while nothing is written: an idle device does not wake up for this.
            let next = if self.reels.is_empty() {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(TICK)
            };
            match next {
                Ok(order) => self.handle(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.tick();
        }
        let tunnels: Vec<TunnelId> = self.reels.keys().copied().collect();
        tunnels.into_iter().for_each(|tunnel| self.end(tunnel));
    }

    fn handle(&mut self, order: Order) {
        match order {
            Order::Begin { header, seed, lost, place, reply } => match self.begin(&header, seed, lost) {
                Ok(()) => {
                    if reply.send(place).is_err() {
                        self.end(header.tunnel);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, tunnel = %header.tunnel, "a recording could not be begun");
                }
            },
            Order::Event { tunnel, at_ms, what, waits } => {
                self.event(tunnel, at_ms, what);
                drop(waits);
            }
            Order::End { tunnel, reply } => {
                self.end(tunnel);
                let _gone = reply.map(|reply| reply.send(()));
            }
            Order::Remove { tunnel, uid, reply } => {
                let removed = !self.reels.contains_key(&tunnel) && self.shelf.remove(tunnel);
                if removed {
                    self.auditor.owe(Event::RecordingRemoved { tunnel, uid: Some(uid) });
                }
                let _gone = reply.send(removed);
            }
        }
    }

    fn begin(
        &mut self,
        header: &Header,
        seed: Zeroizing<[u8; 32]>,
        lost: watch::Sender<bool>,
    ) -> Result<(), ReelError> {
        let (writer, beginning) = Writer::begin(header, seed)?;
        self.make_room(LEAST_BYTES)?;
        let (path, file) = self.shelf.create(header)?;
        let mut reel = Reel {
            writer: Some(writer),
            file,
            path,
            hasher: Hasher::default(),
            bytes: 0,
            at_ms: 0,
            waits_since: None,
            unsynced_since: None,
            lost,
        };
        let begun = reel.write(&beginning, &mut self.shelf).and_then(|()| Ok(reel.file.sync_all()?));
        match &begun {
            Ok(()) => {
                self.reels.insert(header.tunnel, reel);
            }
            // Whoever tries again and again must not fill the directory with what never began.
            Err(_) => self.shelf.discard(&reel.path),
        }
        begun
    }

    fn event(&mut self, tunnel: TunnelId, at_ms: u64, what: What) {
        let Some(reel) = self.reels.get_mut(&tunnel) else { return };
        reel.at_ms = reel.at_ms.max(at_ms);
        let Some(writer) = &mut reel.writer else { return };
        writer.push(reel.at_ms, what);
        reel.waits_since.get_or_insert_with(Instant::now);
        if writer.is_full() {
            self.seal(tunnel);
        }
    }

    fn tick(&mut self) {
        let is_due = |since: Option<Instant>, after| since.is_some_and(|since| since.elapsed() >= after);
        let due: Vec<TunnelId> = self
            .reels
            .iter()
            .filter(|(_, reel)| is_due(reel.waits_since, SEALED_WITHIN))
            .map(|(tunnel, _)| *tunnel)
            .collect();
        due.into_iter().for_each(|tunnel| self.seal(tunnel));
        let mut failed = Vec::new();
        for (tunnel, reel) in &mut self.reels {
            let orphaned = reel.lost.sender_count() == 1;
            let unsynced = is_due(reel.unsynced_since, SYNCED_WITHIN);
            if orphaned || (unsynced && reel.sync().is_err()) {
                failed.push(*tunnel);
            }
        }
        failed.into_iter().for_each(|tunnel| self.end(tunnel));
    }

    /// Writes a chunk of what waits; a recording that cannot be written is over.
    fn seal(&mut self, tunnel: TunnelId) {
        let sealed = self.try_seal(tunnel);
        if let Err(error) = sealed {
            tracing::warn!(%error, %tunnel, "a recording cannot be written further; its tunnel ends");
            if let Some(reel) = self.reels.remove(&tunnel) {
                self.close(tunnel, reel, false);
            }
        }
    }

    fn try_seal(&mut self, tunnel: TunnelId) -> Result<(), ReelError> {
        let most = self.shelf.most_each();
        let Some(reel) = self.reels.get_mut(&tunnel) else { return Ok(()) };
        reel.waits_since = None;
        let Some(writer) = &mut reel.writer else { return Ok(()) };
        let chunk = writer.seal()?;
        if reel.bytes + length(&chunk) > most {
            return Err(ReelError::Long);
        }
        self.make_room(length(&chunk))?;
        let Some(reel) = self.reels.get_mut(&tunnel) else { return Ok(()) };
        reel.write(&chunk, &mut self.shelf)
    }

    fn end(&mut self, tunnel: TunnelId) {
        let Some(mut reel) = self.reels.remove(&tunnel) else { return };
        let finished = self.finish(&mut reel);
        if let Err(error) = &finished {
            tracing::warn!(%error, %tunnel, "a recording has no end");
        }
        self.close(tunnel, reel, finished.is_ok());
    }

    fn finish(&mut self, reel: &mut Reel) -> Result<(), ReelError> {
        let Some(writer) = reel.writer.take() else { return Ok(()) };
        let last = writer.finish()?;
        self.make_room(length(&last))?;
        reel.write(&last, &mut self.shelf)?;
        reel.sync()
    }

    /// Says what became of a recording, to its tunnel and to the trail.
    fn close(&mut self, tunnel: TunnelId, reel: Reel, complete: bool) {
        reel.lost.send_replace(true);
        let digest = reel.hasher.finish();
        self.shelf.finished(&reel.path);
        self.auditor.owe(Event::Recorded { tunnel, bytes: reel.bytes, digest, complete });
    }

    /// Removes what is old enough until there is room, and says so in the trail.
    fn make_room(&mut self, bytes: u64) -> Result<(), ReelError> {
        let removed = self.shelf.make_room(bytes, self.clock.now());
        for tunnel in removed {
            self.auditor.owe(Event::RecordingRemoved { tunnel, uid: None });
        }
        if self.shelf.has_room(bytes) { Ok(()) } else { Err(ReelError::Full) }
    }
}

impl Reel {
    /// Writes all of `bytes`, or leaves the file as it was: the trail vouches for what it says of it, to the byte.
    fn write(&mut self, bytes: &[u8], shelf: &mut Shelf) -> Result<(), ReelError> {
        if let Err(error) = self.file.write_all(bytes) {
            // A disk that fails here as well leaves a file that is longer than the trail says.
            let _as_it_was = self.file.set_len(self.bytes);
            return Err(error.into());
        }
        shelf.count(&self.path, length(bytes));
        self.hasher.update(bytes);
        self.bytes += length(bytes);
        self.unsynced_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), ReelError> {
        self.unsynced_since = None;
        Ok(self.file.sync_data()?)
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Why a recording cannot go on.
#[derive(Debug, thiserror::Error)]
enum ReelError {
    #[error("the room for recordings is used up, and none is old enough to go")]
    Full,
    #[error("it is as long as one recording may be")]
    Long,
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// How often is looked for what is due.
const TICK: Duration = Duration::from_millis(500);
/// How long an event waits for others of its chunk.
const SEALED_WITHIN: Duration = Duration::from_secs(5);
/// How long the disk may keep a chunk in its cache.
const SYNCED_WITHIN: Duration = Duration::from_secs(15);
/// Room that a recording needs to begin.
const LEAST_BYTES: u64 = 64 * 1024;
