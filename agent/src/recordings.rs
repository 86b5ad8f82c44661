//! Recordings of tunnels: written here, sealed to a key that is not here.
//!
//! 1. [`Recordings::fulfil`] takes a permit and begins the recording that its tunnel must have. It alone makes a [`Fulfilled`], and
//!    what carries bytes takes one: no tunnel that must be recorded moves a byte before its file is on the disk.
//! 2. A [`Recorder`] hands events to one thread, `recordist`, over a queue with room for a megabyte. The tunnel waits for no disk; when the queue stays
//!    full, or the disk takes no more, the recording ends and the tunnel with it.
//! 3. The thread seals a chunk when it is full and after five seconds, and has the disk keep it within fifteen. A power cut leaves
//!    a file that is readable up to its last whole chunk.
//! 4. `shelf` is the directory: what may lie there, and what goes when room is needed.
//!
//! Deliberately absent: anything that opens a recording.

mod recordist;
mod shelf;

use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use zeroize::Zeroizing;

use postern_protocol::id::{DeviceId, FleetId, TunnelId};
use postern_protocol::policy::{Kind, Permit};
use postern_protocol::recording::{Header, What};
use postern_protocol::wire::registry::Failure;

use crate::audit::Auditor;
use crate::clock::Clock;
use crate::config;
use crate::registry::Admitted;

use self::recordist::Order;
pub(crate) use self::shelf::{Kept, Shelf, ShelfError};

/// Where recordings are begun.
#[derive(Debug)]
pub(crate) struct Recordings {
    orders: Sender<Order>,
    /// Bytes that may wait for the thread.
    room: Arc<Semaphore>,
    /// Recordings that may be written at a time.
    places: Arc<Semaphore>,
    clock: Arc<Clock>,
    fleet: FleetId,
    device: DeviceId,
}

/// A permit whose obligations are met for as long as this is held.
#[derive(Debug)]
pub(crate) struct Fulfilled {
    permit: Arc<Permit>,
    recorder: Option<Arc<Recorder>>,
}

/// Records one tunnel. Dropping the last one ends the recording.
#[derive(Debug)]
pub(crate) struct Recorder {
    tunnel: TunnelId,
    since: Instant,
    orders: Sender<Order>,
    room: Arc<Semaphore>,
    lost: watch::Sender<bool>,
    /// So that times never go back, whoever of a tunnel's tasks is first.
    turn: Mutex<()>,
    _place: OwnedSemaphorePermit,
}

/// The recording cannot go on, and neither can the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

impl Recordings {
    /// Opens the shelf and starts the thread.
    ///
    /// Where its directory cannot be used, what must be recorded is refused, and everything else goes on.
    pub(crate) fn start(
        state: &Path,
        limits: config::Recordings,
        (fleet, device): (FleetId, DeviceId),
        (auditor, clock): (Auditor, Arc<Clock>),
    ) -> Self {
        let started =
            Shelf::open(state, limits).and_then(|shelf| recordist::start(shelf, auditor, Arc::clone(&clock)));
        let orders = started.unwrap_or_else(|error| {
            tracing::error!(%error, "nothing can be recorded before the next start");
            std::sync::mpsc::channel().0
        });
        let (room, places) = (Arc::new(Semaphore::new(ROOM_BYTES)), Arc::new(Semaphore::new(PLACES)));
        Self { orders, room, places, clock, fleet, device }
    }

    /// Does what a permit demands beside the right, as it was demanded when the tunnel was admitted.
    ///
    /// # Errors
    /// [`Failure::Recording`] where it cannot be done.
    pub(crate) async fn fulfil(&self, permit: Arc<Permit>, tunnel: &Admitted) -> Result<Fulfilled, Failure> {
        let Some(key) = tunnel.recording else { return Ok(Fulfilled { permit, recorder: None }) };
        let (service, category) = (permit.service(), permit.category());
        let category = category.filter(|_| is_recordable(service.kind())).ok_or(Failure::Recording)?;
        let header = Header {
            fleet: self.fleet,
            device: self.device,
            tunnel: tunnel.id,
            user: permit.user(),
            category: category.name.clone(),
            service: service.name.clone(),
            kind: service.kind(),
            begun: self.clock.now(),
            key,
        };
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Failure::Busy)?;
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| Failure::Internal)?;
        let (lost, (reply, begun)) = (watch::Sender::new(false), oneshot::channel());
        let order = Order::Begin { header: Box::new(header), seed, lost: lost.clone(), place, reply };
        self.orders.send(order).map_err(|_| Failure::Recording)?;
        let Ok(Ok(place)) = tokio::time::timeout(PATIENCE, begun).await else {
            return Err(Failure::Recording);
        };
        let (orders, room) = (self.orders.clone(), Arc::clone(&self.room));
        let since = Instant::now();
        let turn = Mutex::default();
        let recorder = Recorder { tunnel: tunnel.id, since, orders, room, lost, turn, _place: place };
        Ok(Fulfilled { permit, recorder: Some(Arc::new(recorder)) })
    }

    /// Removes a finished recording; false where there is none of this tunnel, and none where the disk does not answer:
    /// whoever asks for something else must not wait for it.
    pub(crate) async fn remove(&self, tunnel: TunnelId, uid: u32) -> Option<bool> {
        let (reply, removed) = oneshot::channel();
        self.orders.send(Order::Remove { tunnel, uid, reply }).ok()?;
        tokio::time::timeout(PATIENCE, removed).await.ok()?.ok()
    }
}

impl Fulfilled {
    /// The permit.
    pub(crate) const fn permit(&self) -> &Arc<Permit> {
        &self.permit
    }

    /// What records the tunnel, if it must be.
    pub(crate) const fn recorder(&self) -> Option<&Arc<Recorder>> {
        self.recorder.as_ref()
    }
}

impl Recorder {
    /// Records something small.
    ///
    /// # Errors
    /// [`Lost`], from then on for ever.
    pub(crate) fn note(&self, what: What) -> Result<(), Lost> {
        let waits = Arc::clone(&self.room).try_acquire_many_owned(NOTE_BYTES).map_err(|_| self.lose())?;
        self.send(what, waits)
    }

    /// Records what the machine shows, before anybody sees it. Waits a moment where a burst has filled the queue.
    ///
    /// # Errors
    /// [`Lost`], from then on for ever.
    pub(crate) async fn show(&self, bytes: &[u8]) -> Result<(), Lost> {
        for piece in bytes.chunks(postern_protocol::recording::EVENT_BYTES) {
            // A small event takes more than its bytes.
            let weight = u32::try_from(piece.len()).unwrap_or(u32::MAX).max(NOTE_BYTES);
            let room = Arc::clone(&self.room).acquire_many_owned(weight);
            let waits = tokio::time::timeout(PATIENCE, room).await;
            let Ok(Ok(waits)) = waits else { return Err(self.lose()) };
            self.send(What::Shown(piece.to_vec()), waits)?;
        }
        Ok(())
    }

    /// Waits until the recording cannot go on. Safe to cancel.
    pub(crate) async fn lost(&self) {
        let mut lost = self.lost.subscribe();
        // The sender is this one: it does not go before.
        let _lost = lost.wait_for(|lost| *lost).await;
    }

    /// Ends the recording and waits until its last byte is on the disk.
    pub(crate) async fn finish(&self) {
        let (reply, finished) = oneshot::channel();
        if self.orders.send(Order::End { tunnel: self.tunnel, reply: Some(reply) }).is_ok() {
            let _late = tokio::time::timeout(PATIENCE, finished).await;
        }
    }

    fn send(&self, what: What, waits: OwnedSemaphorePermit) -> Result<(), Lost> {
        if *self.lost.borrow() {
            return Err(Lost);
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let at_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let order = Order::Event { tunnel: self.tunnel, at_ms, what, waits };
        self.orders.send(order).map_err(|_gone| self.lose())
    }

    fn lose(&self) -> Lost {
        self.lost.send_replace(true);
        Lost
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Where the thread has gone there is nothing to end.
        let _gone = self.orders.send(Order::End { tunnel: self.tunnel, reply: None });
    }
}

/// What can be looked at later.
pub(crate) const fn is_recordable(kind: Kind) -> bool {
    match kind {
        Kind::Vnc | Kind::Http => true,
        Kind::Vpn | Kind::Websocket => false,
    }
}

/// Bytes that wait for the thread, of all recordings together.
const ROOM_BYTES: usize = 1024 * 1024;
/// What a small event counts for.
const NOTE_BYTES: u32 = 1024;
/// Recordings at a time; each holds up to two chunks.
const PLACES: usize = 32;
/// How long a tunnel waits for the thread: as it begins, when a burst has filled the queue, and for its last byte.
const PATIENCE: Duration = Duration::from_secs(5);
