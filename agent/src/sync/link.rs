//! One link to the hub, from hello to its end.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_protocol::limits;
use postern_protocol::policy::Floor;
use postern_protocol::session::agent::{AgentSync, Event};
use postern_protocol::time::BootTime;
use postern_protocol::trust::sealed::{Announcement, SealingSecret};
use postern_protocol::trust::{NextKey, ReceiptId, SecretKey, SignedReceipt};
use postern_protocol::wire::control::{Held, Hello, HubMessage, Return};
use postern_protocol::wire::hub::HubRequest;
use postern_protocol::wire::registry::{CloseCode, Failure, ProtocolFault};
use postern_protocol::wire::text::Text;
use postern_transport::backoff::Backoff;
use postern_transport::framed::{FrameFault, read_frame, write_frame};
use postern_transport::ladder::Fallen;
use postern_transport::quic::{BindError, ConnectionEnd, RecvStream, SendStream, StreamFault};
use tokio::sync::Mutex;

use super::Uplink;
use super::activate::Answer;
use super::certificate::compare_certificates;
use super::dial::{Dialled, another, dial, in_order};
use crate::clock::Clock;
use crate::receipts::Waiting;
use crate::surroundings::source_towards;

/// Why there is no link, or no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// No hub is known.
    #[error("no address of a hub is known")]
    NoHub,
    /// No socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The hub cannot be reached, or it is not the hub.
    #[error("hub `{hub}`: {error}")]
    Connect {
        /// Its address.
        hub: SocketAddr,
        /// What each way to it says.
        error: Fallen,
    },
    /// The hub closed the link and said why.
    #[error("the hub closed the link: {}; {}", code.sentence(), code.next_step())]
    Closed {
        /// Its code.
        code: CloseCode,
    },
    /// A message did not come or go.
    #[error(transparent)]
    Frame(FrameFault),
    /// The device has a new key; the next link is made with it, at once.
    #[error("the link is made again with the device's new key")]
    KeyChanged,
    /// The hub is reached from another address now.
    #[error("the link is made again from another address")]
    Moved,
    /// The hub is silent, and another one answers.
    #[error("the hub does not answer, and another one does")]
    Deserted,
    /// The hub has said when to come back.
    #[error("the hub is about to end, or sends its devices elsewhere")]
    SentAway {
        /// How long it is not dialled for.
        away: Duration,
    },
    /// The hub broke a rule of the wire.
    #[error("the hub broke the protocol: {}", .0.sentence())]
    Protocol(ProtocolFault),
}

/// When the next link is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing is wrong.
    AtOnce,
    /// The hub ends, or was started anew: its other devices dial as well.
    InTheCrowd,
    /// When the hub has said: it gives each device a moment of its own.
    After(Duration),
    /// After a while, ever longer.
    Later,
}

impl LinkError {
    /// When the next link is made.
    pub(super) const fn remedy(&self) -> Remedy {
        match self {
            Self::KeyChanged | Self::Moved | Self::Deserted => Remedy::AtOnce,
            Self::SentAway { away } => Remedy::After(*away),
            Self::Closed { code: CloseCode::Failed(Failure::Shutdown) }
            | Self::Frame(FrameFault::Stream(StreamFault::ConnectionLost(ConnectionEnd::Reset))) => {
                Remedy::InTheCrowd
            }
            Self::NoHub
            | Self::Bind(_)
            | Self::Connect { .. }
            | Self::Closed { .. }
            | Self::Frame(_)
            | Self::Protocol(_) => Remedy::Later,
        }
    }

    /// Whether nothing was heard of the hub.
    const fn is_silence(&self) -> bool {
        matches!(self, Self::Frame(FrameFault::Stream(StreamFault::ConnectionLost(ConnectionEnd::TimedOut))))
    }
}

impl From<FrameFault> for LinkError {
    fn from(fault: FrameFault) -> Self {
        match fault {
            FrameFault::Stream(StreamFault::ConnectionLost(ConnectionEnd::ClosedByPeer { code, .. }))
            | FrameFault::Stream(StreamFault::Reset(code) | StreamFault::Stopped(code)) => {
                Self::Closed { code: CloseCode::from_number(code) }
            }
            other @ (FrameFault::Ended
            | FrameFault::TooLarge { .. }
            | FrameFault::TimedOut { .. }
            | FrameFault::Truncated { .. }
            | FrameFault::Codec(_)
            | FrameFault::Stream(_)) => Self::Frame(other),
        }
    }
}

/// Makes one link, or takes the one that is `ready`, and keeps it for as long as it lasts; returns why it ended. The next one may be
/// ready then.
pub(super) async fn once(
    uplink: &mut Uplink,
    backoff: &mut Backoff,
    ready: &mut Option<Dialled>,
) -> LinkError {
    let (hub_keys, hubs) = uplink.activator.hubs();
    let hubs = in_order(hubs, uplink.sent_to.take());
    let key = uplink.keys.present();
    // Whose key a root has taken out of the hubs meanwhile is no hub.
    let dialled = match ready.take().filter(|ready| hub_keys.contains(&ready.connection.peer_key())) {
        Some(dialled) => Ok(dialled),
        None => dial(&key, &hub_keys, &hubs, (&uplink.ladder, &uplink.pulse)).await,
    };
    let dialled = match dialled {
        Ok(dialled) => dialled,
        Err(error) => return error,
    };
    if let Some(network) = dialled.network {
        uplink.pulse.handle_up(network, since_start(uplink));
    }
    let (ladder, connection) = (uplink.ladder.clone(), dialled.connection.clone());
    let busy = uplink.activator.registry().busy();
    // Held while something is put in force: that is never left half done.
    let acting = Mutex::new(());
    let finding = another(&dialled, (key, hub_keys), hubs, (ladder.clone(), uplink.pulse.clone()));
    let others = async {
        let found = finding.await;
        (found, acting.lock().await)
    };
    let error = tokio::select! {
        ended = converse(uplink, &dialled, (backoff, &acting)) => match ended {
            Ok(never) => match never {},
            Err(error) => error,
        },
        never = compare_certificates(&ladder, &connection, dialled.hub) => match never {},
        never = dialled.keep_mapped() => match never {},
        never = dialled.keep_in_sight(busy) => match never {},
        (found, _nothing_is_half_done) = others => {
            *ready = Some(found);
            LinkError::Deserted
        }
    };
    if let Some(network) = dialled.network.filter(|_| error.is_silence()) {
        uplink.pulse.handle_silence(network, since_start(uplink));
    }
    let code = match &error {
        LinkError::Protocol(fault) => CloseCode::Fault(*fault),
        LinkError::NoHub
        | LinkError::Bind(_)
        | LinkError::Connect { .. }
        | LinkError::Closed { .. }
        | LinkError::KeyChanged
        | LinkError::Moved
        | LinkError::Deserted
        | LinkError::SentAway { .. }
        | LinkError::Frame(_) => CloseCode::Done,
    };
    dialled.connection.close(code.number(), b"");
    if !matches!(error, LinkError::Moved | LinkError::Deserted) {
        dialled.endpoint.wait_idle().await;
    }
    error
}

async fn converse(
    uplink: &mut Uplink,
    dialled: &Dialled,
    (backoff, acting): (&mut Backoff, &Mutex<()>),
) -> Result<std::convert::Infallible, LinkError> {
    let (mut send, recv) = dialled.connection.open_bi().await.map_err(lost)?;
    let key = uplink.keys.present();
    let mut rekeyed = uplink.keys.watch();
    rekeyed.mark_changed();
    uplink.activator.handle_link();
    let hello = HubRequest::Sync(hello(uplink, dialled.hub));
    write_frame(&mut send, &hello, limits::FRAME_BYTES).await?;
    let clock = Arc::clone(uplink.activator.gate().clock());
    let mut talk =
        Talk { clock: Arc::clone(&clock), sync: AgentSync::new(), said: BTreeSet::new(), leave: None, send };
    // Before anything else: what is live is judged by what the cloud says now.
    clock.linked(true);
    talk.ask().await?;
    // Goes out behind the answer to the first message, so it delays no policy.
    match SealingSecret::derive(&key) {
        Ok(sealing) => talk.sync.handle_sealing_key(Announcement::sign(&key, &sealing)),
        Err(error) => tracing::error!(%error, "no secrets can be sealed to this device"),
    }
    let mut stopped = uplink.receipts.listen();
    stopped.mark_changed();
    let (mut busy, mut changes) = (uplink.activator.registry().busy(), clock.changes());
    clock.tunnels(*busy.borrow_and_update());
    let mut answered = false;
    let mut next = std::pin::pin!(receive(recv));
    loop {
        let due = clock.question_due().unwrap_or(SILENCE);
        tokio::select! {
            (recv, received) = &mut next => {
                next.set(receive(recv));
                let message = received?;
                if !std::mem::replace(&mut answered, true) {
                    // Only a hub that knows this device gets this far.
                    backoff.reset();
                    uplink.status.up(&dialled.connection);
                    uplink.carrier.handle_link();
                    tracing::info!(hub = %dialled.hub, "the link to the hub is up");
                }
                let _whole = acting.lock().await;
                talk.take(message, uplink, dialled.hub).await?;
            }
            rows = uplink.carrier.next(), if answered => talk.sync.handle_rows(rows.begin, rows.batch),
            told = uplink.activator.told() => talk.answer(uplink.activator.handle_told(told)),
            // A hub that does not know this device hears nothing of its next key.
            _changed = rekeyed.changed(), if answered => announce(uplink, &key, &mut talk.sync),
            _changed = stopped.changed(), if answered => talk.say(&stopped.borrow_and_update(), &key),
            // The registry and the clock live as long as the agent.
            _changed = busy.changed() => clock.tunnels(*busy.borrow_and_update()),
            _changed = changes.changed() => {}
            Ok(()) = uplink.changes.changed() => if dialled.has_moved() {
                backoff.reset();
                return Err(LinkError::Moved);
            },
            () = tokio::time::sleep(due) => {}
            told = talk.turn() => {
                tracing::info!(away_ms = told.away_ms, hub = ?told.hub, "the hub sends this device away");
                uplink.sent_to = told.hub;
                return Err(LinkError::SentAway { away: Duration::from_millis(told.away_ms.into()) });
            }
        }
        if answered {
            talk.report();
            talk.ask().await?;
        }
        if uplink.keys.public() != key.public() {
            // The acknowledgement is on its way; the hub ends the link when it has read everything.
            let _gone = talk.send.finish();
            let _late = tokio::time::timeout(FAREWELL, dialled.connection.closed()).await;
            return Err(LinkError::KeyChanged);
        }
    }
}

/// What the agent says on one link.
struct Talk {
    clock: Arc<Clock>,
    sync: AgentSync,
    /// Receipts that were said on this link.
    said: BTreeSet<ReceiptId>,
    /// When to leave the hub, and what it has said of coming back.
    leave: Option<(tokio::time::Instant, Return)>,
    send: SendStream,
}

impl Talk {
    async fn take(
        &mut self,
        message: HubMessage,
        uplink: &mut Uplink,
        hub: SocketAddr,
    ) -> Result<(), LinkError> {
        if matches!(message, HubMessage::Chunk { .. }) {
            self.clock.progress();
        }
        match self.sync.handle_message(message).map_err(LinkError::Protocol)? {
            Some(Event::Offered { held, bytes }) => {
                if let Some(outcome) = uplink.activator.activate(held, bytes).await {
                    self.sync.handle_outcome(held, outcome);
                }
            }
            Some(Event::KeyWanted) => prepare_key(uplink),
            Some(Event::Timestamp { bytes }) => uplink.activator.hear(&bytes),
            Some(Event::Lock { bytes }) => {
                if let Some(outcome) = uplink.activator.lock(bytes) {
                    self.sync.handle_lock(outcome);
                }
            }
            Some(Event::Root(bytes)) => self.sync.handle_root_outcome(uplink.activator.take_root(bytes)),
            Some(Event::Meet(meeting)) => uplink.meetings.attend(meeting, hub.ip()),
            Some(Event::ReceiptTaken(id)) => uplink.receipts.forget(id),
            Some(Event::RowsTaken(bytes)) => {
                let (root, whose) = uplink.activator.trusted();
                uplink.carrier.handle_taken(bytes, &root, whose);
            }
            Some(Event::RowsRefused(log, code)) => uplink.carrier.handle_refused(log, code),
            Some(Event::Return(told)) => {
                let leave = Duration::from_millis(told.leave_ms.into());
                self.leave = Some((tokio::time::Instant::now() + leave, told));
            }
            Some(Event::UpToDate) | None => {}
        }
        Ok(())
    }

    /// Waits until it is this device's turn to leave the hub; for ever where the hub has not asked for that.
    async fn turn(&self) -> Return {
        match self.leave {
            Some((at, told)) => {
                tokio::time::sleep_until(at).await;
                told
            }
            None => std::future::pending().await,
        }
    }

    /// Says what became of something that was put in force before.
    fn answer(&mut self, answer: Option<Answer>) {
        match answer {
            Some(Answer::Policy(held, outcome)) => self.sync.handle_outcome(held, outcome),
            Some(Answer::Lock(outcome)) => self.sync.handle_lock(outcome),
            None => {}
        }
    }

    /// Says what tunnels were stopped, once on this link.
    fn say(&mut self, waiting: &Waiting, key: &SecretKey) {
        for receipt in waiting {
            if !self.said.insert(receipt.id) {
                continue;
            }
            match SignedReceipt::sign(key, *receipt) {
                Ok(signed) => self.sync.handle_receipt(signed),
                Err(error) => tracing::error!(%error, "a receipt cannot be signed"),
            }
        }
    }

    /// Reports alarms that the hub was not told yet.
    fn report(&mut self) {
        while let Some(cause) = self.clock.unsent_alarm() {
            self.sync.handle_alarm(cause.kind(), cause.detail());
        }
    }

    /// Asks for the time when that is due, and sends what waits.
    async fn ask(&mut self) -> Result<(), LinkError> {
        if let Some(nonce) = self.clock.question() {
            self.sync.handle_question(nonce);
        }
        while let Some(message) = self.sync.poll_transmit() {
            write_frame(&mut self.send, &message, limits::SYNC_FRAME_BYTES).await?;
        }
        Ok(())
    }
}

/// Announces the next key, where there is one.
fn announce(uplink: &Uplink, key: &SecretKey, sync: &mut AgentSync) {
    if let Some(next) = uplink.keys.next() {
        sync.handle_next_key(NextKey::announce(uplink.activator.device(), key, &next));
    }
}

/// The hub asks for a new key. Each costs writes to flash, so a hub that asks for ever gets one an hour.
fn prepare_key(uplink: &mut Uplink) {
    let now = Instant::now();
    if uplink.keys.next().is_none() && uplink.key_wanted.is_some_and(|at| now.duration_since(at) < KEY_PAUSE)
    {
        tracing::warn!("the hub asks for a new key too often");
        return;
    }
    uplink.key_wanted = Some(now);
    match uplink.keys.prepare() {
        Ok(_announced_by_the_watch) => tracing::info!("the hub asks for a new key"),
        Err(error) => tracing::error!(%error, "the new key cannot be made"),
    }
}

/// The stream moves through, so that a message that is half read is not lost when something else happens.
async fn receive(mut recv: RecvStream) -> (RecvStream, Result<HubMessage, LinkError>) {
    // A silent hub is nothing wrong: the connection's own pings notice when it is gone.
    let received = read_frame(&mut recv, limits::SYNC_FRAME_BYTES, SILENCE).await;
    (recv, received.map_err(LinkError::from))
}

fn since_start(uplink: &Uplink) -> BootTime {
    let elapsed = uplink.started.elapsed();
    BootTime::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

fn hello(uplink: &Uplink, hub: SocketAddr) -> Hello {
    let activator = &uplink.activator;
    Hello {
        root_version: activator.root_version(),
        held: activator.floor().map(held),
        active: activator.is_active(),
        agent: Text::clean(env!("CARGO_PKG_VERSION")),
        boots: uplink.boots,
        life: uplink.life,
        addresses: addresses(uplink, hub),
        freshness: activator.gate().clock().state(),
        locks: activator.highest_lock(),
    }
}

fn addresses(uplink: &Uplink, hub: SocketAddr) -> Vec<SocketAddr> {
    if !uplink.addresses.is_empty() {
        return uplink.addresses.clone();
    }
    source_towards(hub).map(|ip| SocketAddr::new(ip, uplink.port)).into_iter().collect()
}

/// A floor as the wire names it.
pub(super) const fn held(floor: Floor) -> Held {
    Held { epoch: floor.epoch, version: floor.version, digest: floor.digest }
}

fn lost(end: ConnectionEnd) -> LinkError {
    FrameFault::Stream(StreamFault::ConnectionLost(end)).into()
}

/// For the hub to read an acknowledgement.
const FAREWELL: Duration = Duration::from_secs(2);
/// Between two keys that the hub asks for.
const KEY_PAUSE: Duration = Duration::from_secs(3600);
const SILENCE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
