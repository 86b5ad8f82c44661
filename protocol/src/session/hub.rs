//! The hub's end: sends later roots one by one, then pushes the newest snapshot until the agent holds or refuses it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::audit::{Batch, Begin, LogId};
use crate::limits::{AUDIT_BYTES, AUDIT_ROWS, CHUNK_BYTES, ROOT_CHAIN};
use crate::trust::sealed::Announcement;
use crate::trust::{NextKey, Nonce, ReceiptId, SignedReceipt};
use crate::wire::control::{
    AgentMessage, AlarmKind, Held, Hello, HubMessage, NackCode, Return, RootCode, RowsCode,
};
use crate::wire::registry::ProtocolFault;
use crate::wire::relay::Meeting;
use crate::wire::text::Text;

/// The hub's state of one link to one agent.
#[derive(Debug)]
pub struct HubSync {
    /// What the agent holds in force, as far as this link has heard.
    held: Option<Held>,
    /// The newest published snapshot that the agent neither holds nor refused, newer than the push under way.
    pending: Option<Published>,
    /// The push under way: sent, or being sent, and not answered.
    push: Option<Push>,
    /// Refused for its content: not tried again on this link.
    refused: Option<Held>,
    /// The last push that the agent could not store: it may do so yet.
    unstored: Option<(u64, Held)>,
    /// The newest published snapshot, whether or not the agent will have it: what timestamps name.
    newest: Option<Held>,
    /// The last question for the time.
    asked: Option<Nonce>,
    /// A timestamp must go out before anything else.
    owes_time: bool,
    next_nonce: u64,
    greeted: bool,
    /// Whether the agent has announced its sealing key on this link.
    announced: bool,
    rotation: Rotation,
    /// The highest lock that the agent holds, or was sent.
    locked: u64,
    /// The highest lock that it may answer about.
    answerable: u64,
    /// A sealed lock that must go out before the next push.
    lock: Option<Vec<u8>>,
    roots: Roots,
    /// Meetings that the agent is to be told of.
    meetings: VecDeque<Meeting>,
    /// Receipts that were stored and are not answered yet.
    receipts: VecDeque<ReceiptId>,
    rows: Rows,
    /// When the agent is to leave, until it is told.
    leave: Option<Return>,
}

/// The rows of the agent's trail that came last.
#[derive(Debug)]
enum Rows {
    /// All are answered.
    Answered,
    /// Some are being stored.
    Asked,
    /// The answer waits.
    Answer(HubMessage),
}

/// Whether the agent is asked for a new key; once on each link is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rotation {
    NotWanted,
    Wanted,
    Asked,
}

/// The roots on their way to one agent.
#[derive(Debug)]
struct Roots {
    /// The version in force there.
    version: u32,
    /// Those that follow it, in order, and are not sent yet.
    waiting: VecDeque<SealedRoot>,
    /// One is sent and not answered.
    is_asked: bool,
    /// How many were sent over this link.
    sent: usize,
    /// One was refused: it would be refused again, so the next link tries.
    is_refused: bool,
}

/// A sealed root, shared by every link that sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRoot {
    /// Its version.
    pub version: u32,
    /// The sealed bytes.
    pub bytes: Arc<[u8]>,
}

/// What a timestamp must say; the caller knows the rest, signs and sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Naming {
    /// The agent's question.
    pub nonce: Nonce,
    /// The newest published snapshot.
    pub held: Option<Held>,
}

/// A sealed snapshot, shared by every link that pushes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// What it is.
    pub held: Held,
    /// The sealed bytes, at most 4 GiB and in truth at most
    /// [`limits::SNAPSHOT_BYTES`](crate::limits::SNAPSHOT_BYTES) and signatures.
    pub bytes: Arc<[u8]>,
}

/// What an agent's message means for the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The agent has put a snapshot in force.
    Applied {
        /// Which one.
        held: Held,
        /// Tunnels that were cut by it.
        cut: u32,
    },
    /// The agent refused one.
    Refused {
        /// Which one.
        held: Held,
        /// Why.
        code: NackCode,
        /// Details for people.
        detail: Text,
    },
    /// The agent can be reached elsewhere.
    Moved(Vec<std::net::SocketAddr>),
    /// The agent says to which key its secrets are sealed; nothing is verified yet.
    SealingKey(Announcement),
    /// The agent asked for the time; [`HubSync::poll_naming`] says what to answer.
    Asked,
    /// The agent raised an alarm.
    Alarm {
        /// What it is about.
        kind: AlarmKind,
        /// Details for people.
        detail: Text,
    },
    /// The agent announces its next key, which is to be verified.
    NextKey(NextKey),
    /// A lock is in force on the agent.
    LockTaken {
        /// Its sequence.
        sequence: u64,
        /// Tunnels that it cut.
        cut: u32,
    },
    /// The agent refused a lock, or could not store it.
    LockRefused {
        /// Why.
        code: NackCode,
        /// Details for people.
        detail: Text,
    },
    /// The agent has put a root in force. A snapshot that it refused before may be accepted now, and locks of a later epoch:
    /// [`HubSync::handle_lock`] is to be told the newest again.
    RootTaken {
        /// Its version.
        version: u32,
    },
    /// The agent refused a root.
    RootRefused {
        /// The version that it refused.
        version: u32,
        /// Why.
        code: RootCode,
        /// Details for people.
        detail: Text,
    },
    /// The agent says what tunnels it has stopped; nothing is verified yet. [`HubSync::handle_receipt_stored`] is told when it is
    /// stored.
    Receipt(SignedReceipt),
    /// The agent names the log whose rows follow.
    Log(Begin),
    /// The agent sends rows: store them, then answer with [`HubSync::handle_rows_taken`] or [`HubSync::handle_rows_refused`].
    Rows(Batch),
}

#[derive(Debug)]
struct Push {
    nonce: u64,
    published: Published,
    /// None before the announcement went out.
    offset: Option<usize>,
}

impl HubSync {
    /// A fresh link: what the agent says it holds, and what is published for it.
    #[must_use]
    pub fn new(hello: &Hello, newest: Option<Published>, first_nonce: u64) -> Self {
        let held = hello.held.filter(|_| hello.active);
        let mut sync = Self {
            held,
            pending: None,
            push: None,
            refused: None,
            unstored: None,
            newest: None,
            asked: None,
            owes_time: false,
            next_nonce: first_nonce,
            greeted: false,
            announced: false,
            rotation: Rotation::NotWanted,
            locked: hello.locks,
            answerable: hello.locks,
            lock: None,
            roots: Roots {
                version: hello.root_version,
                waiting: VecDeque::new(),
                is_asked: false,
                sent: 0,
                is_refused: false,
            },
            meetings: VecDeque::new(),
            receipts: VecDeque::new(),
            rows: Rows::Answered,
            leave: None,
        };
        if let Some(newest) = newest {
            sync.handle_published(newest);
        }
        sync
    }

    /// Takes notice of roots that follow the one in force on the agent, in order. Those that are known, and those behind
    /// a gap, are ignored.
    pub fn handle_roots(&mut self, roots: impl IntoIterator<Item = SealedRoot>) {
        for root in roots {
            let asked = self.roots.version.saturating_add(self.roots.is_asked.into());
            let last = self.roots.waiting.back().map_or(asked, |root| root.version);
            if !self.roots.is_refused && last.checked_add(1) == Some(root.version) {
                self.roots.waiting.push_back(root);
            }
        }
        // A snapshot may need the root that is on its way; one that is not wholly sent begins again after it.
        if !self.roots.waiting.is_empty()
            && let Some(push) = self.push.take_if(|push| !push.is_sent())
            && self.pending.is_none()
        {
            self.pending = Some(push.published);
        }
    }

    /// Takes notice of a newer snapshot. Older ones and those already held, pushed or refused are ignored.
    pub fn handle_published(&mut self, published: Published) {
        self.handle_newest(published.held);
        let pushed = self.push.as_ref().map(|push| push.published.held);
        let known = [pushed, self.refused, self.pending.as_ref().map(|p| p.held)];
        let newest = known.iter().flatten().all(|known| order(known) < order(&published.held));
        if !newest || !self.differs(&published.held) {
            return;
        }
        // What is not wholly sent is not worth sending on: the agent drops it when the next push begins.
        if self.push.as_ref().is_some_and(|push| !push.is_sent()) {
            self.push = None;
        }
        self.pending = Some(published);
    }

    /// Takes notice of a lock with this sequence. It goes out before any push: a snapshot may lift what an earlier lock
    /// said and the newest one repeats.
    pub fn handle_lock(&mut self, sequence: u64, sealed: Vec<u8>) {
        if sequence > self.locked {
            self.locked = sequence;
            self.answerable = self.answerable.max(sequence);
            self.lock = Some(sealed);
        }
    }

    /// Takes notice of what is newest although it is not to be pushed: timestamps name it all the same.
    pub fn handle_newest(&mut self, held: Held) {
        if self.newest.is_none_or(|newest| order(&newest) <= order(&held)) {
            self.newest = Some(held);
        }
    }

    /// Has the agent asked for a new key, once on this link.
    pub const fn handle_rotation_wanted(&mut self) {
        if matches!(self.rotation, Rotation::NotWanted) {
            self.rotation = Rotation::Wanted;
        }
    }

    /// A receipt is verified and stored, now or before: the agent may forget it.
    pub fn handle_receipt_stored(&mut self, id: ReceiptId) {
        self.receipts.push_back(id);
    }

    /// Takes one message of the agent.
    ///
    /// # Errors
    /// [`ProtocolFault::Unexpected`] for an answer to a push that was never completed, or about another snapshot:
    /// without this check an agent could be shown as holding what it was never sent. So is a second sealing key.
    pub fn handle_message(&mut self, message: AgentMessage) -> Result<Event, ProtocolFault> {
        match message {
            AgentMessage::Ack { nonce, held, cut } => {
                if self.unstored.take_if(|unstored| *unstored == (nonce, held)).is_none() {
                    self.answered(nonce, held)?;
                }
                self.held = Some(held);
                Ok(Event::Applied { held, cut })
            }
            AgentMessage::Nack { nonce, held, code, detail } => {
                self.answered(nonce, held)?;
                self.refused = Some(held);
                if code == NackCode::Storage {
                    self.unstored = Some((nonce, held));
                }
                Ok(Event::Refused { held, code, detail })
            }
            AgentMessage::Moved { addresses } => Ok(Event::Moved(addresses)),
            // A key follows from the device's key and cannot change while a link lasts. Without this check a device
            // could make its hub verify signatures for ever.
            AgentMessage::SealingKey(_) if self.announced => Err(ProtocolFault::Unexpected),
            AgentMessage::SealingKey(announcement) => {
                self.announced = true;
                Ok(Event::SealingKey(announcement))
            }
            AgentMessage::TimeRequest { nonce } => {
                self.asked = Some(nonce);
                self.owes_time = true;
                Ok(Event::Asked)
            }
            AgentMessage::Alarm { kind, detail } => Ok(Event::Alarm { kind, detail }),
            AgentMessage::NextKey(next) => Ok(Event::NextKey(next)),
            AgentMessage::LockTaken { sequence, .. } if sequence > self.answerable => {
                Err(ProtocolFault::Unexpected)
            }
            AgentMessage::LockTaken { sequence, cut } => Ok(Event::LockTaken { sequence, cut }),
            AgentMessage::LockRefused { code, detail } => Ok(Event::LockRefused { code, detail }),
            AgentMessage::RootTaken { version } => {
                self.root_answered(version)?;
                self.roots.version = version;
                // It was refused under another root.
                self.refused = None;
                // A root with a higher epoch starts the sequences of locks anew, and ends what is locked of those before: to
                // be sent a lock once more does no harm, to hold none would.
                self.locked = 0;
                Ok(Event::RootTaken { version })
            }
            AgentMessage::Receipt(receipt) => Ok(Event::Receipt(receipt)),
            AgentMessage::RootRefused { version, code, detail } => {
                let refused = version.saturating_add(1);
                self.root_answered(refused)?;
                self.roots.is_refused = true;
                self.roots.waiting.clear();
                Ok(Event::RootRefused { version: refused, code, detail })
            }
            AgentMessage::Log(begin) => Ok(Event::Log(begin)),
            AgentMessage::Rows(batch) => self.take_rows(batch),
        }
    }

    /// The rows that came last are durable, as this sealed acknowledgement says.
    pub fn handle_rows_taken(&mut self, bytes: Vec<u8>) {
        self.answer_rows(HubMessage::RowsTaken { bytes });
    }

    /// The rows that came last were not taken.
    pub fn handle_rows_refused(&mut self, log: LogId, code: RowsCode) {
        self.answer_rows(HubMessage::RowsRefused { log, code });
    }

    /// What a timestamp must say that goes out before the next message of [`poll_transmit`](Self::poll_transmit): the
    /// answer to a question, or the name of what is pushed next, for the last question. An agent that never asked is
    /// told nothing.
    pub fn poll_naming(&mut self) -> Option<Naming> {
        // A key that signs timestamps may be one of those that are on their way.
        if self.roots.is_asked || !self.roots.waiting.is_empty() {
            return None;
        }
        let nonce = self.asked?;
        let announces = self.push.is_none() && self.pending.is_some();
        if !announces && !self.owes_time {
            return None;
        }
        self.owes_time = false;
        if announces {
            self.begin_push();
        }
        Some(Naming { nonce, held: self.newest })
    }

    /// The next message for the agent.
    pub fn poll_transmit(&mut self) -> Option<HubMessage> {
        // It costs the agent room on its disk, and concerns nothing else.
        if let Some(id) = self.receipts.pop_front() {
            return Some(HubMessage::ReceiptTaken { id });
        }
        // Its clock runs from here, whatever else is under way.
        if let Some(leave) = self.leave.take() {
            return Some(HubMessage::Return(leave));
        }
        // Roots first: a lock or snapshot of a later epoch or key is worth nothing without them.
        if self.roots.is_asked || self.is_exhausted() {
            return None;
        }
        if let Some(root) = self.roots.waiting.pop_front() {
            self.roots.is_asked = true;
            self.roots.sent += 1;
            return Some(HubMessage::Root { bytes: root.bytes.to_vec() });
        }
        if let Some(bytes) = self.lock.take() {
            return Some(HubMessage::Lock { bytes });
        }
        if let Some(answer) = self.rows.take_answer() {
            return Some(answer);
        }
        // Somebody waits; a chunk more or less of a snapshot does not matter.
        if let Some(meeting) = self.meetings.pop_front() {
            return Some(HubMessage::Meet(meeting));
        }
        self.begin_push();
        let greeted = std::mem::replace(&mut self.greeted, true);
        if let Some(message) = self.poll_push() {
            return Some(message);
        }
        if !greeted && self.push.is_none() {
            return Some(HubMessage::UpToDate);
        }
        let asked = self.rotation == Rotation::Wanted;
        asked.then(|| {
            self.rotation = Rotation::Asked;
            HubMessage::RotateKey
        })
    }

    /// Whether this link has carried as many roots as one may, and more are waiting: the next link goes on.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        !self.roots.is_asked && self.roots.sent >= ROOT_CHAIN && !self.roots.waiting.is_empty()
    }

    /// Tells the agent of a meeting. Of many that wait, the oldest are forgotten: whoever waited there has given up.
    pub fn handle_meeting(&mut self, meeting: Meeting) {
        while self.meetings.len() >= MEETINGS {
            self.meetings.pop_front();
        }
        self.meetings.push_back(meeting);
    }

    /// Tells the agent when to leave and come back; to be called once for a link, of an agent that knows the message.
    pub const fn handle_leave(&mut self, leave: Return) {
        self.leave = Some(leave);
    }

    /// The version of the newest root that the agent has, or will have when this link has sent what it knows.
    #[must_use]
    pub fn newest_root(&self) -> u32 {
        let asked = self.roots.version.saturating_add(self.roots.is_asked.into());
        self.roots.waiting.back().map_or(asked, |root| root.version)
    }

    /// The version of the root in force on the agent, as far as this link has heard.
    #[must_use]
    pub const fn root_version(&self) -> u32 {
        self.roots.version
    }

    /// What the agent holds in force, as far as this link has heard.
    #[must_use]
    pub const fn held(&self) -> Option<Held> {
        self.held
    }

    /// Whether the agent holds the newest snapshot, root and lock, as far as this link has heard: a timestamp names just
    /// these then.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let waits = self.roots.is_asked || !self.roots.waiting.is_empty() || self.lock.is_some();
        !waits && self.held.is_some() && self.held == self.newest
    }

    /// A second batch before the answer to the first would have the hub hold what a device sends as fast as it can.
    fn take_rows(&mut self, batch: Batch) -> Result<Event, ProtocolFault> {
        let bytes = batch.rows.iter().map(|row| row.body.len()).sum::<usize>();
        if batch.rows.is_empty() || batch.rows.len() > AUDIT_ROWS || bytes > AUDIT_BYTES {
            return Err(ProtocolFault::Oversize);
        }
        if !matches!(self.rows, Rows::Answered) {
            return Err(ProtocolFault::Unexpected);
        }
        self.rows = Rows::Asked;
        Ok(Event::Rows(batch))
    }

    fn answer_rows(&mut self, answer: HubMessage) {
        if matches!(self.rows, Rows::Asked) {
            self.rows = Rows::Answer(answer);
        }
    }

    fn begin_push(&mut self) {
        if self.push.is_none()
            && let Some(published) = self.pending.take()
        {
            let nonce = self.next_nonce;
            self.next_nonce = self.next_nonce.wrapping_add(1);
            self.push = Some(Push { nonce, published, offset: None });
        }
    }

    /// Whether the agent does not hold `newest` yet. The same version with other content is pushed as well: the
    /// agent refuses it as equivocation, and two stories under one version come to light instead of going to sleep.
    fn differs(&self, newest: &Held) -> bool {
        self.held.is_none_or(|held| {
            order(&held) < order(newest) || (order(&held) == order(newest) && held != *newest)
        })
    }

    fn poll_push(&mut self) -> Option<HubMessage> {
        let Push { nonce, published, offset } = self.push.as_mut()?;
        let Some(from) = *offset else {
            *offset = Some(0);
            let bytes = u32::try_from(published.bytes.len()).unwrap_or(u32::MAX);
            return Some(HubMessage::Push { nonce: *nonce, held: published.held, bytes });
        };
        let rest = published.bytes.get(from..).filter(|rest| !rest.is_empty())?;
        let chunk = rest.get(..CHUNK_BYTES).unwrap_or(rest);
        *offset = Some(from + chunk.len());
        let offset = u32::try_from(from).unwrap_or(u32::MAX);
        Some(HubMessage::Chunk { nonce: *nonce, offset, bytes: chunk.to_vec() })
    }

    /// An answer about the root that was sent, of this version.
    fn root_answered(&mut self, version: u32) -> Result<(), ProtocolFault> {
        let is_next = self.roots.version.checked_add(1) == Some(version);
        if !std::mem::take(&mut self.roots.is_asked) || !is_next {
            return Err(ProtocolFault::Unexpected);
        }
        Ok(())
    }

    fn answered(&mut self, nonce: u64, held: Held) -> Result<(), ProtocolFault> {
        let answers = |push: &Push| push.nonce == nonce && push.published.held == held && push.is_sent();
        if self.push.as_ref().is_some_and(answers) {
            self.push = None;
            Ok(())
        } else {
            Err(ProtocolFault::Unexpected)
        }
    }
}

impl Rows {
    fn take_answer(&mut self) -> Option<HubMessage> {
        match std::mem::replace(self, Self::Answered) {
            Self::Answer(answer) => Some(answer),
            other @ (Self::Answered | Self::Asked) => {
                *self = other;
                None
            }
        }
    }
}

impl Push {
    fn is_sent(&self) -> bool {
        self.offset == Some(self.published.bytes.len())
    }
}

const fn order(held: &Held) -> (u32, u64) {
    (held.epoch, held.version)
}

/// Meetings that wait until the agent is told.
const MEETINGS: usize = 8;

#[cfg(test)]
mod tests;
