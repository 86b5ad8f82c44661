//! One device's link: synchronisation on a stream that stays open.
//!
//! 1. The device is greeted ([`greet`](super::greet)); anybody else is told that the key is unknown.
//! 2. What the greeting found goes to the state machine that decides what is said next.
//! 3. Roots after the one that it has are sent first, at most 64 over one link; then the link ends, and the next goes on.
//! 4. Whenever something is published, the newest snapshot is offered; answers are stored.
//! 5. Questions for the time are answered from what the link knows, and what is pushed is named first.
//! 6. Rows of its trail are taken ([`trail`]) and acknowledged when they are durable.
//! 7. When the stream or connection ends, or a newer connection of the device takes over, the link is over.
//!
//! A device may announce its next key: both are recognised until the next one greets, and from then on that one alone.
//! A run of an agent that comes back after another one is a copy of the device, and raises an alarm.
//!
//! A version that was refused for its content is not pushed again, on this link or a later one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use postern_protocol::audit::{Batch, Whose};
use postern_protocol::id::DeviceId;
use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::policy::FreshnessState;
use postern_protocol::session::hub::{Event, HubSync};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{NextKey, PublicKey, SignedReceipt};
use postern_protocol::wire::control::{AgentMessage, Held, Hello, HubMessage, RowsCode};
use postern_protocol::wire::hub::Refusal;
use postern_protocol::wire::registry::{CloseCode, ProtocolFault};
use postern_protocol::wire::relay::Meeting;
use postern_transport::crowd::Word;
use postern_transport::framed::{FrameFault, read_frame, write_frame};
use postern_transport::quic::{Connection, RecvStream, SendStream};

use super::greet::{Greeted, Newest, newest, roots_after};
use super::{Failed, Hub, blocking, close, notary, trail};
use crate::chance;
use crate::publish::{Affected, PublishError};
use crate::store::{AlarmKind, StoreError, Tx};

type Meetings = tokio::sync::mpsc::Receiver<Meeting>;

/// Why a link is over.
enum LinkEnd {
    /// The device broke a rule and is told so.
    Fault(ProtocolFault),
    /// The connection is gone, or another one took over; or the device shall come again for more roots.
    Gone,
    /// The state could not be read or written.
    Failed(Failed),
}

impl From<Failed> for LinkEnd {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

/// Runs a link until it ends.
pub(super) async fn run(
    hub: Arc<Hub>,
    connection: Connection,
    visit: &Word,
    mut hello: Hello,
    (send, recv): (SendStream, RecvStream),
) {
    hello.addresses.truncate(limits::ADDRESSES);
    let greeted = {
        let (hub, connection, hello) = (Arc::clone(&hub), connection.clone(), hello.clone());
        blocking(move || hub.greet(&connection, &hello)).await
    };
    let Greeted { device, id, newest, lock, roots, meetings } = match greeted {
        Ok(Some(greeted)) => greeted,
        Ok(None) => return close(&connection, ProtocolFault::Unknown),
        Err(error) => {
            tracing::error!(%error, "a link could not begin");
            return close(&connection, ProtocolFault::TimedOut);
        }
    };
    if !visit.stays() {
        // Had to give way a moment ago: the connection ends with its task.
        return;
    }
    let before = hello.freshness.map_or("none", FreshnessState::word);
    tracing::info!(device = %device, before, "link up");
    let mut sync = HubSync::new(&hello, newest.offered, u64::from_le_bytes(chance::bytes()));
    newest.held.into_iter().for_each(|held| sync.handle_newest(held));
    sync.handle_roots(roots);
    let locked = lock.named();
    lock.sealed.into_iter().for_each(|sealed| sync.handle_lock(lock.sequence, sealed));
    let link = Link {
        hub: Arc::clone(&hub),
        device: device.clone(),
        id,
        key: connection.peer_key(),
        locked,
        send,
        sync,
        answer_by: None,
        asked: None,
        confirmed: None,
    };
    let (end, confirmed) = link.drive(recv, meetings).await;
    match end {
        LinkEnd::Fault(fault) => close(&connection, fault),
        // A connection without its link would be a visitor that nobody counts.
        LinkEnd::Gone => connection.close(CloseCode::Done.number(), b""),
        LinkEnd::Failed(error) => {
            tracing::error!(%error, device = %device, "a link failed");
            close(&connection, ProtocolFault::TimedOut);
        }
    }
    if hub.links.release(&device, &connection) {
        tracing::info!(device = %device, "link down");
        let now = (hub.clock)();
        let down = move |tx: &Tx<'_>| {
            confirmed.map_or(Ok(()), |asked| tx.confirmed(&device, asked))?;
            tx.link_down(&device, now)
        };
        let noted = blocking(move || Ok(hub.store.note(down)?)).await;
        if let Err(error) = noted {
            tracing::error!(%error, "the end of a link was not noted");
        }
    }
}

struct Link {
    hub: Arc<Hub>,
    device: Name,
    id: DeviceId,
    /// The key of this connection.
    key: PublicKey,
    /// The newest lock for it: timestamps name it.
    locked: u64,
    send: SendStream,
    sync: HubSync,
    /// When a push that is under way must be answered.
    answer_by: Option<Instant>,
    /// When the device last asked for the time.
    asked: Option<UnixTime>,
    /// When it last asked and held what is newest: its policy counts from then.
    confirmed: Option<UnixTime>,
}

impl Link {
    /// Runs until the end; returns it, and when the device last heard that it holds what is newest.
    async fn drive(mut self, recv: RecvStream, meetings: Meetings) -> (LinkEnd, Option<UnixTime>) {
        let end = self.converse(recv, meetings).await;
        (end, self.confirmed)
    }

    async fn converse(&mut self, recv: RecvStream, mut meetings: Meetings) -> LinkEnd {
        let mut news = self.hub.news.listen();
        // What was published between the greeting and now would otherwise be heard of only with the next one.
        news.mark_changed();
        let mut next = std::pin::pin!(receive(recv));
        loop {
            if let Err(end) = self.transmit().await {
                return end;
            }
            if self.sync.is_exhausted() {
                return LinkEnd::Gone;
            }
            let answer_by = self.answer_by;
            let outcome = tokio::select! {
                (recv, received) = &mut next => {
                    next.set(receive(recv));
                    match received {
                        Ok(message) => self.take(message).await,
                        Err(fault) => Err(end_of(&fault)),
                    }
                }
                changed = news.changed() => match changed {
                    Ok(()) => self.look().await,
                    Err(_) => Err(LinkEnd::Gone),
                },
                Some(meeting) = meetings.recv() => {
                    self.sync.handle_meeting(meeting);
                    Ok(())
                }
                () = wait_until(answer_by) => Err(LinkEnd::Fault(ProtocolFault::TimedOut)),
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    async fn transmit(&mut self) -> Result<(), LinkEnd> {
        while let Some(message) = self.next_message()? {
            if matches!(message, HubMessage::Push { .. } | HubMessage::Root { .. }) {
                self.answer_by = Some(Instant::now() + ANSWER);
            }
            let write = write_frame(&mut self.send, &message, limits::SYNC_FRAME_BYTES);
            match tokio::time::timeout(WRITE, write).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(LinkEnd::Gone),
                Err(_) => return Err(LinkEnd::Fault(ProtocolFault::TimedOut)),
            }
        }
        Ok(())
    }

    /// What goes out next: the time and the name of what is pushed go before it.
    fn next_message(&mut self) -> Result<Option<HubMessage>, LinkEnd> {
        let Some(naming) = self.sync.poll_naming() else { return Ok(self.sync.poll_transmit()) };
        let (hub, now) = (&self.hub, (self.hub.clock)());
        match notary::sign(&hub.publisher.signer().now(), self.id, naming, self.locked, now) {
            Ok(bytes) => Ok(Some(HubMessage::Timestamp { bytes })),
            Err(error) => {
                tracing::error!(%error, device = %self.device, "a timestamp could not be signed");
                Err(LinkEnd::Failed(Failed::Internal))
            }
        }
    }

    async fn take(&mut self, message: AgentMessage) -> Result<(), LinkEnd> {
        let event = self.sync.handle_message(message).map_err(LinkEnd::Fault)?;
        let (hub, device, now) = (Arc::clone(&self.hub), self.device.clone(), (self.hub.clock)());
        match event {
            Event::Applied { held, cut } => {
                self.answer_by = None;
                tracing::info!(device = %device, version = held.version, cut, "policy applied");
                let noted =
                    self.note(move || hub.store.note(|tx| tx.applied(&device, held.version, now))).await;
                self.hub.links.answered(&self.device, held.version);
                noted?;
                self.confirm().await?;
                self.forget_retired(held).await
            }
            Event::Refused { held, code, detail } => {
                self.answer_by = None;
                tracing::warn!(device = %device, version = held.version, reason = code.word(), "policy refused");
                self.hub.links.answered(&self.device, held.version);
                self.note(move || {
                    hub.store.note(|tx| tx.refused(&device, held.version, code, detail.as_str(), now))
                })
                .await
            }
            Event::RootTaken { version } => {
                self.answer_by = None;
                tracing::info!(device = %device, version, "root taken");
                self.note(move || hub.store.note(|tx| tx.root_taken(&device, version, now))).await?;
                // A snapshot that was refused under the root before may be wanted now.
                self.look().await
            }
            Event::RootRefused { version, code, detail } => {
                self.answer_by = None;
                tracing::warn!(device = %device, version, reason = code.word(), "root refused");
                self.note(move || {
                    hub.store.note(|tx| tx.root_refused(&device, version, code, detail.as_str(), now))
                })
                .await
            }
            Event::Moved(addresses) => {
                let addresses: Vec<SocketAddr> = addresses.into_iter().take(limits::ADDRESSES).collect();
                self.note(move || hub.store.note(|tx| tx.moved(&device, &addresses))).await
            }
            Event::SealingKey(announcement) => {
                self.note(move || hub.hear_sealing_key(&device, &announcement)).await
            }
            Event::LockTaken { sequence, cut } => {
                tracing::info!(device = %device, cut, "a lock is in force");
                self.note(move || hub.store.note(|tx| tx.lock_taken(&device, sequence))).await
            }
            Event::LockRefused { code, detail } => {
                tracing::warn!(device = %device, reason = code.word(), error = %detail, "a lock was refused");
                Ok(())
            }
            Event::Receipt(signed) => self.stopped(signed, now).await,
            Event::Asked => {
                self.asked = Some(now);
                self.confirm().await
            }
            Event::Alarm { kind, detail } => {
                tracing::warn!(device = %device, reason = kind.word(), %detail, "the device raised an alarm");
                self.note(move || {
                    hub.store.note(|tx| tx.alarm(&device, AlarmKind::from(kind), detail.as_str(), now))
                })
                .await
            }
            Event::NextKey(next) => self.announced(next, now).await,
            Event::Log(begin) => {
                self.note(move || hub.store.write(|tx| trail::begin(tx, &device, &begin, now))).await
            }
            Event::Rows(batch) => {
                self.take_rows(batch, now).await;
                Ok(())
            }
        }
    }

    /// Stores rows of the device's trail and answers. Whatever goes wrong with them, the link goes on: what is withdrawn must be
    /// heard of.
    async fn take_rows(&mut self, batch: Batch, now: UnixTime) {
        let (hub, name, device, log) = (Arc::clone(&self.hub), self.device.clone(), self.id, batch.log);
        let answered = blocking(move || {
            hub.store.write(|tx| {
                let authority = hub.publisher.signer().refresh(tx).map_err(PublishError::from)?;
                let whose = Whose { fleet: authority.root.fleet, device };
                trail::take(tx, &authority, (&name, whose), &batch, now).map_err(Failed::from)
            })
        })
        .await;
        // Committed; only now the device may hear of it.
        match answered {
            Ok(Ok(ack)) => self.sync.handle_rows_taken(ack),
            Ok(Err(code)) => self.sync.handle_rows_refused(log, code),
            Err(error) => {
                tracing::error!(%error, device = %self.device, "rows of a trail could not be stored");
                self.sync.handle_rows_refused(log, RowsCode::Storage);
            }
        }
    }

    /// A device says what tunnels it has stopped. It says so on each link until it hears that this is stored.
    async fn stopped(&mut self, signed: SignedReceipt, now: UnixTime) -> Result<(), LinkEnd> {
        let (hub, device, key) = (Arc::clone(&self.hub), self.device.clone(), self.key);
        let fleet = self.hub.publisher.signer().now().root.fleet;
        let receipt = match signed.verify(&key, fleet, self.id) {
            Ok(receipt) => receipt,
            Err(error) => {
                tracing::warn!(device = %device, %error, "a receipt is not the device's");
                return Err(LinkEnd::Fault(ProtocolFault::Malformed));
            }
        };
        let (cut, reason) = (receipt.cut, receipt.cause.word());
        tracing::info!(device = %device, cut, reason, ms = receipt.stopped_ms, "tunnels have stopped");
        self.note(move || hub.store.note(|tx| tx.keep_receipt(&device, (&signed, &receipt), &key, now)))
            .await?;
        self.sync.handle_receipt_stored(receipt.id);
        Ok(())
    }

    /// A device has announced its next key. Snapshots are for that key from now on; whether the device has one of them
    /// shows when it presents the key.
    async fn announced(&mut self, next: NextKey, now: UnixTime) -> Result<(), LinkEnd> {
        let (hub, name, key) = (Arc::clone(&self.hub), self.device.clone(), self.key);
        let announced = blocking(move || {
            hub.store.write(|tx| {
                let device = tx.device(&name)?.filter(|device| device.key == Some(key));
                let device = device.ok_or(Refusal::UnknownKey)?;
                // A key of another device or of this one's past: one key, one device, and no way back.
                let elsewhere = tx.device_of_key(&next.key)?.is_some_and(|other| other.name != name);
                if elsewhere || !next.holds(device.id, &key) {
                    return Err(Failed::from(Refusal::UnknownKey));
                }
                tx.announce_key(&name, &next.key)?;
                hub.publisher.publish(tx, Affected::Device(&name), now)?;
                Ok(())
            })
        })
        .await;
        match announced {
            Ok(()) => {
                tracing::info!(device = %self.device, "a next key was announced");
                self.hub.news.publish();
                Ok(())
            }
            Err(Failed::Refused(_)) => Err(LinkEnd::Fault(ProtocolFault::Malformed)),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets the key of a device that has acknowledged that it is out of service, where that was asked for.
    async fn forget_retired(&self, held: Held) -> Result<(), LinkEnd> {
        let (hub, name) = (Arc::clone(&self.hub), self.device.clone());
        let forgotten = blocking(move || {
            let asked = |tx: &Tx<'_>| {
                let device = tx.device(&name)?.is_some_and(|device| device.retired && device.forget);
                Ok::<_, StoreError>(device && tx.snapshot_term(&name)?.is_some_and(|term| term.held == held))
            };
            if !hub.store.read(asked)? {
                return Ok(false);
            }
            hub.store
                .write(|tx| if asked(tx)? { tx.unbind_device(&name).map(|()| true) } else { Ok(false) })
                .map_err(Failed::Store)
        })
        .await?;
        if forgotten {
            tracing::info!(device = %self.device, "the key of a device out of service was forgotten");
            return Err(LinkEnd::Fault(ProtocolFault::Unknown));
        }
        Ok(())
    }

    /// The device hears, or has heard with its last question, that what it holds is the newest. That is noted once for
    /// each link, at its end, and before something newer is published: questions cost no writes.
    async fn confirm(&mut self) -> Result<(), LinkEnd> {
        let Some(asked) = self.asked.filter(|_| self.sync.is_current()) else { return Ok(()) };
        match self.confirmed.replace(asked) {
            Some(_) => Ok(()),
            None => self.note_confirmed().await,
        }
    }

    async fn note_confirmed(&self) -> Result<(), LinkEnd> {
        let Some(asked) = self.confirmed else { return Ok(()) };
        let (hub, device) = (Arc::clone(&self.hub), self.device.clone());
        self.note(move || hub.store.note(|tx| tx.confirmed(&device, asked))).await
    }

    async fn note(
        &self,
        work: impl FnOnce() -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), LinkEnd> {
        Ok(blocking(move || Ok(work()?)).await?)
    }

    /// Looks whether something newer is published.
    async fn look(&mut self) -> Result<(), LinkEnd> {
        let (hub, device, held) = (Arc::clone(&self.hub), self.device.clone(), self.sync.held());
        let (key, known) = (self.key, self.sync.newest_root());
        let seen = blocking(move || {
            hub.store.read(|tx| {
                let wanted = tx.rotation_wanted(&device, &key)?.ok_or(Refusal::UnknownKey)?;
                let lock = tx.device_lock(&device, hub.publisher.epoch())?;
                let roots = if tx.root_version()? > known { roots_after(tx, known)? } else { Vec::new() };
                let term = tx.snapshot_term(&device)?;
                // Most news is about other devices; their snapshots need not be read.
                let newest = if term.is_some_and(|term| Some(term.held) != held) {
                    newest(tx, &device)?
                } else {
                    Newest::default()
                };
                Ok((wanted, lock, roots, newest))
            })
        })
        .await;
        // Somebody rejected the key, or forgot it with the device.
        if matches!(seen, Err(Failed::Refused(_))) {
            return Err(LinkEnd::Fault(ProtocolFault::Unknown));
        }
        let (wanted, lock, roots, newest) = seen?;
        if wanted {
            self.sync.handle_rotation_wanted();
        }
        let was_current = self.sync.is_current();
        self.sync.handle_roots(roots);
        self.locked = lock.named();
        lock.sealed.into_iter().for_each(|sealed| self.sync.handle_lock(lock.sequence, sealed));
        newest.held.into_iter().for_each(|held| self.sync.handle_newest(held));
        newest.offered.into_iter().for_each(|published| self.sync.handle_published(published));
        if was_current && !self.sync.is_current() {
            return self.note_confirmed().await;
        }
        Ok(())
    }
}

async fn receive(mut recv: RecvStream) -> (RecvStream, Result<AgentMessage, FrameFault>) {
    let message = read_frame(&mut recv, limits::SYNC_FRAME_BYTES, SILENCE).await;
    (recv, message)
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn end_of(fault: &FrameFault) -> LinkEnd {
    match fault {
        FrameFault::TooLarge { .. } => LinkEnd::Fault(ProtocolFault::Oversize),
        FrameFault::Codec(_) | FrameFault::Truncated { .. } => LinkEnd::Fault(ProtocolFault::Malformed),
        FrameFault::TimedOut { .. } => LinkEnd::Fault(ProtocolFault::TimedOut),
        FrameFault::Ended | FrameFault::Stream(_) => LinkEnd::Gone,
    }
}

/// For one frame to leave; a device that reads nothing is gone.
const WRITE: Duration = Duration::from_secs(30);
/// For the answer to a push: transfer over a slow link, verification and a commit to slow flash.
const ANSWER: Duration = Duration::from_secs(180);
/// A device may be silent for this long on its stream; that it lives is seen by the connection's pings.
const SILENCE: Duration = Duration::from_secs(30 * 24 * 3600);
