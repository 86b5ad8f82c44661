//! The agent's end: takes roots one by one, assembles one push at a time, and answers each that was completed.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::audit::{Batch, Begin, LogId};
use crate::limits;
use crate::trust::envelope::OVERHEAD;
use crate::trust::sealed::Announcement;
use crate::trust::{NextKey, Nonce, ReceiptId, SignedReceipt};
use crate::wire::control::{AgentMessage, AlarmKind, Held, HubMessage, NackCode, Return, RootCode, RowsCode};
use crate::wire::registry::ProtocolFault;
use crate::wire::relay::Meeting;
use crate::wire::text::Text;

/// The agent's state of one link.
#[derive(Debug, Default)]
pub struct AgentSync {
    incoming: Option<Incoming>,
    /// A snapshot that was handed out and is not answered yet.
    judging: Option<(u64, Held)>,
    /// One that was reported as not stored, and may be stored yet.
    unstored: Option<(u64, Held)>,
    /// Whether a root was handed out and is not answered yet.
    judging_root: bool,
    /// Roots that have come over this link.
    roots: usize,
    /// It was told when to leave.
    leaves: bool,
    answers: VecDeque<AgentMessage>,
}

/// What the hub's message means for the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The hub has nothing newer.
    UpToDate,
    /// A snapshot is complete: verify it, store it, activate it, then report with [`AgentSync::handle_outcome`].
    Offered {
        /// What it claims to be.
        held: Held,
        /// The sealed snapshot.
        bytes: Vec<u8>,
    },
    /// What claims to be the answer to the last question for the time.
    Timestamp {
        /// The sealed timestamp.
        bytes: Vec<u8>,
    },
    /// The hub asks for a new key.
    KeyWanted,
    /// A lock: verify it, put it in force, store it, then report with [`AgentSync::handle_lock`].
    Lock {
        /// The sealed lock.
        bytes: Vec<u8>,
    },
    /// Somebody waits at a relay.
    Meet(Meeting),
    /// A later root: verify it, put it in force, then report with [`AgentSync::handle_root_outcome`].
    Root(Vec<u8>),
    /// The hub has stored a receipt.
    ReceiptTaken(ReceiptId),
    /// What claims to be the acknowledgement of the rows that were sent last.
    RowsTaken(Vec<u8>),
    /// Rows were not taken.
    RowsRefused(LogId, RowsCode),
    /// Leave the hub, and come back: when and where to, within what an agent obeys.
    Return(Return),
}

/// What became of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootOutcome {
    /// In force.
    Taken {
        /// Its version.
        version: u32,
    },
    /// Refused.
    Refused {
        /// The version that stays in force.
        version: u32,
        /// Why.
        code: RootCode,
        /// Details for people.
        detail: Text,
    },
}

/// What became of an offered snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In force.
    Applied {
        /// Tunnels that were cut by it.
        cut: u32,
    },
    /// Refused, or in force and not stored.
    Refused {
        /// Why.
        code: NackCode,
        /// Details for people.
        detail: Text,
    },
}

#[derive(Debug)]
struct Incoming {
    nonce: u64,
    held: Held,
    expected: usize,
    bytes: Vec<u8>,
}

impl AgentSync {
    /// A fresh link, after the hello was sent.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one message of the hub.
    ///
    /// # Errors
    /// A [`ProtocolFault`] that ends the link: an announcement above the limit, or chunks out of turn.
    pub fn handle_message(&mut self, message: HubMessage) -> Result<Option<Event>, ProtocolFault> {
        match message {
            HubMessage::UpToDate => Ok(Some(Event::UpToDate)),
            HubMessage::Push { nonce, held, bytes } => self.begin(nonce, held, bytes),
            HubMessage::Chunk { nonce, offset, bytes } => self.append(nonce, offset, &bytes),
            HubMessage::Timestamp { bytes } => Ok(Some(Event::Timestamp { bytes })),
            HubMessage::RotateKey => Ok(Some(Event::KeyWanted)),
            HubMessage::Lock { bytes } => Ok(Some(Event::Lock { bytes })),
            HubMessage::Root { bytes } => self.take_root(bytes),
            HubMessage::Meet(meeting) => Ok(Some(Event::Meet(meeting))),
            HubMessage::ReceiptTaken { id } => Ok(Some(Event::ReceiptTaken(id))),
            HubMessage::RowsTaken { bytes } => Ok(Some(Event::RowsTaken(bytes))),
            HubMessage::RowsRefused { log, code } => Ok(Some(Event::RowsRefused(log, code))),
            // Said again and again it would keep the agent from ever leaving.
            HubMessage::Return(_) if self.leaves => Err(ProtocolFault::Unexpected),
            HubMessage::Return(told) => {
                self.leaves = true;
                Ok(Some(Event::Return(told.bounded())))
            }
        }
    }

    /// Reports what became of the snapshot that was offered as `held`. One that was reported as not stored may be reported
    /// as applied later, once. What this link did not offer is not answered.
    pub fn handle_outcome(&mut self, held: Held, outcome: Outcome) {
        let is_it = |offered: &mut (u64, Held)| offered.1 == held;
        self.answers.push_back(match outcome {
            Outcome::Applied { cut } => {
                let offered = self.judging.take_if(is_it).or_else(|| self.unstored.take_if(is_it));
                let Some((nonce, held)) = offered else { return };
                AgentMessage::Ack { nonce, held, cut }
            }
            Outcome::Refused { code, detail } => {
                let Some((nonce, held)) = self.judging.take_if(is_it) else { return };
                if code == NackCode::Storage {
                    self.unstored = Some((nonce, held));
                }
                AgentMessage::Nack { nonce, held, code, detail }
            }
        });
    }

    /// Reports what became of the root.
    pub fn handle_root_outcome(&mut self, outcome: RootOutcome) {
        if !std::mem::take(&mut self.judging_root) {
            return;
        }
        self.answers.push_back(match outcome {
            RootOutcome::Taken { version } => AgentMessage::RootTaken { version },
            RootOutcome::Refused { version, code, detail } => {
                AgentMessage::RootRefused { version, code, detail }
            }
        });
    }

    /// Reports where clients can reach the agent from now on.
    pub fn handle_addresses(&mut self, mut addresses: Vec<SocketAddr>) {
        addresses.truncate(limits::ADDRESSES);
        // Only the newest matters, so a hub that reads slowly makes nothing pile up here.
        self.answers.retain(|answer| !matches!(answer, AgentMessage::Moved { .. }));
        self.answers.push_back(AgentMessage::Moved { addresses });
    }

    /// Announces the key to which this device's secrets are sealed; to be called once for each link.
    pub fn handle_sealing_key(&mut self, announcement: Announcement) {
        self.answers.push_back(AgentMessage::SealingKey(announcement));
    }

    /// Asks for the time. A question that was not sent yet is replaced.
    pub fn handle_question(&mut self, nonce: Nonce) {
        self.answers.retain(|answer| !matches!(answer, AgentMessage::TimeRequest { .. }));
        self.answers.push_back(AgentMessage::TimeRequest { nonce });
    }

    /// Reports an alarm. One of the same kind that was not sent yet is replaced.
    pub fn handle_alarm(&mut self, kind: AlarmKind, detail: Text) {
        self.answers
            .retain(|answer| !matches!(answer, AgentMessage::Alarm { kind: other, .. } if *other == kind));
        self.answers.push_back(AgentMessage::Alarm { kind, detail });
    }

    /// Announces the next key of the device.
    pub fn handle_next_key(&mut self, next: NextKey) {
        self.answers.retain(|answer| !matches!(answer, AgentMessage::NextKey(_)));
        self.answers.push_back(AgentMessage::NextKey(next));
    }

    /// Reports what became of a lock: its sequence and the tunnels that it cut, or why it was refused.
    pub fn handle_lock(&mut self, outcome: Result<(u64, u32), (NackCode, Text)>) {
        self.answers.push_back(match outcome {
            Ok((sequence, cut)) => AgentMessage::LockTaken { sequence, cut },
            Err((code, detail)) => AgentMessage::LockRefused { code, detail },
        });
    }

    /// Says what tunnels were stopped; to be called once for each receipt on a link.
    pub fn handle_receipt(&mut self, receipt: SignedReceipt) {
        self.answers.push_back(AgentMessage::Receipt(receipt));
    }

    /// Sends rows of the trail, behind the beginning of their log where the hub may not know it. The caller sends no more before
    /// these are answered.
    pub fn handle_rows(&mut self, begin: Option<Begin>, batch: Batch) {
        self.answers.extend(begin.map(AgentMessage::Log));
        self.answers.push_back(AgentMessage::Rows(batch));
    }

    /// The next message for the hub.
    pub fn poll_transmit(&mut self) -> Option<AgentMessage> {
        self.answers.pop_front()
    }

    fn take_root(&mut self, bytes: Vec<u8>) -> Result<Option<Event>, ProtocolFault> {
        if bytes.len() > ROOT_SEALED_BYTES {
            return Err(ProtocolFault::Oversize);
        }
        // Each costs signature checks and a write to flash; a hub that has more to say says it over the next link.
        if self.judging_root || self.roots == limits::ROOT_CHAIN {
            return Err(ProtocolFault::Unexpected);
        }
        self.roots += 1;
        self.judging_root = true;
        Ok(Some(Event::Root(bytes)))
    }

    fn begin(&mut self, nonce: u64, held: Held, bytes: u32) -> Result<Option<Event>, ProtocolFault> {
        let expected = usize::try_from(bytes).map_err(|_| ProtocolFault::Oversize)?;
        // Refused before a byte is reserved for it.
        if expected == 0 || expected > SEALED_BYTES {
            return Err(ProtocolFault::Oversize);
        }
        // A push that comes while another is unfinished replaces it: only the newest matters.
        self.incoming = Some(Incoming { nonce, held, expected, bytes: Vec::new() });
        Ok(None)
    }

    fn append(&mut self, nonce: u64, offset: u32, chunk: &[u8]) -> Result<Option<Event>, ProtocolFault> {
        let incoming =
            self.incoming.as_mut().filter(|i| i.nonce == nonce).ok_or(ProtocolFault::Unexpected)?;
        let in_order = usize::try_from(offset).is_ok_and(|offset| offset == incoming.bytes.len());
        let fits = incoming.bytes.len() + chunk.len() <= incoming.expected;
        if !in_order || !fits || chunk.is_empty() || chunk.len() > limits::CHUNK_BYTES {
            return Err(ProtocolFault::Unexpected);
        }
        incoming.bytes.extend_from_slice(chunk);
        if incoming.bytes.len() < incoming.expected {
            return Ok(None);
        }
        // The hub pushes again before the answer to the last push only when it breaks the rules.
        if self.judging.is_some() {
            return Err(ProtocolFault::Unexpected);
        }
        let Some(Incoming { nonce, held, bytes, .. }) = self.incoming.take() else { return Ok(None) };
        self.judging = Some((nonce, held));
        Ok(Some(Event::Offered { held, bytes }))
    }
}

/// Bytes of a sealed snapshot: payload, frame and signatures.
const SEALED_BYTES: usize = limits::SNAPSHOT_BYTES + OVERHEAD;
/// Bytes of a sealed root.
const ROOT_SEALED_BYTES: usize = limits::ROOT_BYTES + OVERHEAD;

#[cfg(test)]
mod tests;
