//! One device's link: synchronisation on a stream that stays open.
//!
//! 1. The device is greeted ([`greet`](super::greet)); anybody else is told that the key is unknown.
//! 2. What the greeting found goes to the state machine that decides what is said next.
//! 3. Roots after the one that it has are sent first, at most 64 over one link; then the link ends, and the next goes on.
//! 4. Whenever something is published, the newest snapshot is offered; answers are stored.
//! 5. Questions for the time are answered from what the link knows, and what is pushed is named first.
//! 6. Rows of its trail are taken ([`trail`](super::trail)) and acknowledged when they are durable.
//! 7. When the stream or connection ends, or a newer connection of the device takes over, the link is over.
//!
//! What it learns of the device is a [`Report`] each, and whoever has the model's database records it: this file writes nothing.
//!
//! A device may announce its next key: both are recognised until the next one greets, and from then on that one alone.
//! A run of an agent that comes back after another one is a copy of the device, and raises an alarm.
//!
//! A version that was refused for its content is not pushed again, on this link or a later one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use postern_protocol::audit::Batch;
use postern_protocol::limits;
use postern_protocol::policy::FreshnessState;
use postern_protocol::session::hub::{Event, HubSync};
use postern_protocol::time::UnixTime;
use postern_protocol::wire::control::{AgentMessage, Hello, HubMessage};
use postern_protocol::wire::hub::Refusal;
use postern_protocol::wire::registry::{ALPN_HUB_V2, CloseCode, Failure, ProtocolFault};
use postern_transport::crowd::Word;
use postern_transport::framed::{FrameFault, read_frame, write_frame};
use postern_transport::quic::{Connection, RecvStream, SendStream};

use super::greet::{Greeted, Newest, newest, roots_after};
use super::links::{Inbox, Told};
use super::report::{Outcome, Report, Whence};
use super::{Failed, Hub, blocking, close, notary};
use crate::chance;
use crate::cluster::What;

/// Why a link is over.
enum LinkEnd {
    /// The device broke a rule and is told so.
    Fault(ProtocolFault),
    /// The connection is gone, or another one took over; or the device shall come again for more roots.
    Gone,
    /// The hub is about to end, and the agent does not know how to be told more.
    Shutdown,
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
    if let Some(edge) = hub.edge()
        && !edge.ready().await
    {
        // Another hub may know what is newest.
        return close(&connection, ProtocolFault::TimedOut);
    }
    let greeted = {
        let (hub, connection, hello) = (Arc::clone(&hub), connection.clone(), hello.clone());
        blocking(move || hub.greet(&connection, &hello)).await
    };
    let Greeted { device, id, newest, lock, roots, inbox } = match greeted {
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
    let _counted = (hub.metrics.link(), hub.drain.link());
    if hub.drain.has_begun() {
        // Came while everybody was told to go, and may not have been told.
        close_for(&connection, Failure::Shutdown);
        hub.links.release(&device, &connection);
        return;
    }
    let before = hello.freshness.map_or("none", FreshnessState::word);
    tracing::info!(device = %device, before, "link up");
    let mut sync = HubSync::new(&hello, newest.offered, u64::from_le_bytes(chance::bytes()));
    newest.held.into_iter().for_each(|held| sync.handle_newest(held));
    sync.handle_roots(roots);
    let locked = lock.named();
    lock.sealed.into_iter().for_each(|sealed| sync.handle_lock(lock.sequence, sealed));
    let whence = Whence { device, id, key: connection.peer_key() };
    if let Some(edge) = hub.edge() {
        let from = connection.remote_addr().ip();
        if let Outcome::Over(fault) = hub.say(edge, whence.clone(), What::Linked { hello, from }) {
            // Nobody would know of the link.
            hub.links.release(&whence.device, &connection);
            return close(&connection, fault);
        }
    }
    let link = Link {
        hub: Arc::clone(&hub),
        whence: whence.clone(),
        locked,
        send,
        sync,
        answer_by: None,
        knows_return: connection.alpn() == ALPN_HUB_V2,
        rows: None,
        pushed: None,
        asked: None,
        confirmed: None,
    };
    let (end, confirmed) = link.drive(recv, inbox).await;
    match end {
        LinkEnd::Fault(fault) => close(&connection, fault),
        // A connection without its link would be a visitor that nobody counts.
        LinkEnd::Gone => connection.close(CloseCode::Done.number(), b""),
        LinkEnd::Shutdown => close_for(&connection, Failure::Shutdown),
        LinkEnd::Failed(error) => {
            tracing::error!(%error, device = %whence.device, "a link failed");
            close(&connection, ProtocolFault::TimedOut);
        }
    }
    if hub.links.release(&whence.device, &connection) {
        tracing::info!(device = %whence.device, "link down");
        if let Err(error) = hub.report(whence, Report::Down { confirmed }).await {
            tracing::error!(%error, "the end of a link was not noted");
        }
    }
}

struct Link {
    hub: Arc<Hub>,
    /// Whose it is.
    whence: Whence,
    /// The newest lock for the device: timestamps name it.
    locked: u64,
    send: SendStream,
    sync: HubSync,
    /// When a push that is under way must be answered.
    answer_by: Option<Instant>,
    /// Whether the agent's version has the message that says when to come back.
    knows_return: bool,
    /// When a push that is not answered began.
    pushed: Option<Instant>,
    /// Rows of which it is not known yet what came of them, and when they are reported again: at an edge alone.
    rows: Option<(Batch, Instant)>,
    /// When the device last asked for the time.
    asked: Option<UnixTime>,
    /// When it last asked and held what is newest: its policy counts from then.
    confirmed: Option<UnixTime>,
}

impl Link {
    /// Runs until the end; returns it, and when the device last heard that it holds what is newest.
    async fn drive(mut self, recv: RecvStream, inbox: Inbox) -> (LinkEnd, Option<UnixTime>) {
        let end = self.converse(recv, inbox).await;
        (end, self.confirmed)
    }

    async fn converse(&mut self, recv: RecvStream, mut inbox: Inbox) -> LinkEnd {
        // What was published between the greeting and now would otherwise be heard of only with the next one.
        inbox.look.notify_one();
        let mut next = std::pin::pin!(receive(recv));
        loop {
            if let Err(end) = self.transmit().await {
                return end;
            }
            if self.sync.is_exhausted() {
                return LinkEnd::Gone;
            }
            let (answer_by, again_by) = (self.answer_by, self.rows.as_ref().map(|(_, at)| *at));
            let outcome = tokio::select! {
                (recv, received) = &mut next => {
                    next.set(receive(recv));
                    match received {
                        Ok(message) => self.take(message).await,
                        Err(fault) => Err(end_of(&fault)),
                    }
                }
                () = inbox.look.notified() => self.look().await,
                Some(told) = inbox.told.recv() => match told {
                    Told::Meeting(meeting) => {
                        self.sync.handle_meeting(meeting);
                        Ok(())
                    }
                    Told::Leave(leave) if self.knows_return => {
                        self.sync.handle_leave(leave);
                        Ok(())
                    }
                    Told::Leave(_) => Err(LinkEnd::Shutdown),
                    Told::Outcome(outcome) => self.hear(outcome),
                },
                () = wait_until(again_by) => self.repeat().await,
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
            if let HubMessage::Push { bytes, .. } = message {
                self.hub.metrics.push(bytes);
                self.pushed = Some(Instant::now());
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
        if !self.hub.may_vouch() {
            // Another hub may know better.
            tracing::warn!(device = %self.whence.device, "this hub does not know what is newest");
            return Err(LinkEnd::Fault(ProtocolFault::TimedOut));
        }
        let (hub, now) = (&self.hub, (self.hub.clock)());
        match notary::sign(&hub.publisher.signer().now(), self.whence.id, naming, self.locked, now) {
            Ok(bytes) => Ok(Some(HubMessage::Timestamp { bytes })),
            Err(error) => {
                tracing::error!(%error, device = %self.whence.device, "a timestamp could not be signed");
                Err(LinkEnd::Failed(Failed::Internal))
            }
        }
    }

    async fn take(&mut self, message: AgentMessage) -> Result<(), LinkEnd> {
        let event = self.sync.handle_message(message).map_err(LinkEnd::Fault)?;
        let device = self.whence.device.clone();
        let report = match event {
            Event::Applied { held, cut } => {
                self.answer_by = None;
                self.hub.metrics.answer("applied", self.pushed.take().map(|pushed| pushed.elapsed()));
                tracing::info!(device = %device, version = held.version, cut, "policy applied");
                self.report(Report::Applied(held)).await?;
                return self.confirm().await;
            }
            Event::Refused { held, code, detail } => {
                self.answer_by = None;
                self.hub.metrics.answer("refused", self.pushed.take().map(|pushed| pushed.elapsed()));
                tracing::warn!(device = %device, version = held.version, reason = code.word(), "policy refused");
                Report::Refused { version: held.version, code, detail }
            }
            Event::RootTaken { version } => {
                self.answer_by = None;
                tracing::info!(device = %device, version, "root taken");
                self.report(Report::RootTaken(version)).await?;
                // A snapshot that was refused under the root before may be wanted now.
                return self.look().await;
            }
            Event::RootRefused { version, code, detail } => {
                self.answer_by = None;
                tracing::warn!(device = %device, version, reason = code.word(), "root refused");
                Report::RootRefused { version, code, detail }
            }
            Event::Moved(addresses) => Report::Moved(addresses.into_iter().take(limits::ADDRESSES).collect()),
            Event::SealingKey(announcement) => Report::SealingKey(announcement),
            Event::LockTaken { sequence, cut } => {
                tracing::info!(device = %device, cut, "a lock is in force");
                Report::LockTaken(sequence)
            }
            Event::LockRefused { code, detail } => {
                tracing::warn!(device = %device, reason = code.word(), error = %detail, "a lock was refused");
                return Ok(());
            }
            Event::Receipt(signed) => Report::Receipt(signed),
            Event::Asked => {
                self.asked = Some((self.hub.clock)());
                return self.confirm().await;
            }
            Event::Alarm { kind, detail } => {
                tracing::warn!(device = %device, reason = kind.word(), %detail, "the device raised an alarm");
                Report::Alarm { kind, detail }
            }
            Event::NextKey(next) => Report::NextKey(next),
            Event::Log(begin) => Report::Log(begin),
            Event::Rows(batch) => Report::Rows(batch),
        };
        self.report(report).await
    }

    async fn report(&mut self, report: Report) -> Result<(), LinkEnd> {
        if let (Report::Rows(batch), Some(_)) = (&report, self.hub.edge()) {
            self.rows = Some((batch.clone(), Instant::now() + ROWS));
        }
        let outcome = self.hub.report(self.whence.clone(), report).await?;
        self.hear(outcome)
    }

    /// Nobody has said what came of rows: that, or they, were lost on the way. Rows that are known are acknowledged once more.
    async fn repeat(&mut self) -> Result<(), LinkEnd> {
        match (self.rows.take(), self.hub.edge()) {
            (Some((batch, _)), Some(edge)) if edge.is_answered() => self.report(Report::Rows(batch)).await,
            (Some((batch, _)), _) => {
                // While the primary is away they wait where they are.
                self.rows = Some((batch, Instant::now() + ROWS));
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    fn hear(&mut self, outcome: Outcome) -> Result<(), LinkEnd> {
        match outcome {
            Outcome::Noted => {}
            Outcome::ReceiptStored(id) => self.sync.handle_receipt_stored(id),
            Outcome::RowsTaken(ack) => {
                self.rows = None;
                self.sync.handle_rows_taken(ack);
            }
            Outcome::RowsRefused(log, code) => {
                self.rows = None;
                self.sync.handle_rows_refused(log, code);
            }
            Outcome::Over(fault) => return Err(LinkEnd::Fault(fault)),
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

    async fn note_confirmed(&mut self) -> Result<(), LinkEnd> {
        match self.confirmed {
            Some(asked) => self.report(Report::Confirmed(asked)).await,
            None => Ok(()),
        }
    }

    /// Looks whether something newer is published.
    async fn look(&mut self) -> Result<(), LinkEnd> {
        let (hub, held) = (Arc::clone(&self.hub), self.sync.held());
        let (Whence { device, key, .. }, known) = (self.whence.clone(), self.sync.newest_root());
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

fn close_for(connection: &Connection, failure: Failure) {
    connection.close(CloseCode::Failed(failure).number(), failure.word().as_bytes());
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

/// For rows to be recorded at the primary, before they are reported again.
const ROWS: Duration = Duration::from_secs(5);
/// For one frame to leave; a device that reads nothing is gone.
const WRITE: Duration = Duration::from_secs(30);
/// For the answer to a push: transfer over a slow link, verification and a commit to slow flash.
const ANSWER: Duration = Duration::from_secs(180);
/// A device may be silent for this long on its stream; that it lives is seen by the connection's pings.
const SILENCE: Duration = Duration::from_secs(30 * 24 * 3600);
