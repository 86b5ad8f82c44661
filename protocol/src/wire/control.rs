//! Agent and hub: synchronisation of policy on one long-lived stream.
//!
//! 1. The agent's [`Hello`] says what it holds.
//! 2. Later roots come first, one by one ([`HubMessage::Root`]), each after the answer to the one before. At most
//!    [`limits::ROOT_CHAIN`](crate::limits::ROOT_CHAIN) go over one link; it ends then, and the next one goes on.
//! 3. The hub answers [`HubMessage::UpToDate`], or pushes: [`HubMessage::Push`], then [`HubMessage::Chunk`]s.
//! 4. The agent verifies, stores, activates, and answers [`AgentMessage::Ack`] or [`AgentMessage::Nack`].
//! 5. Once in the course of a link the agent sends [`AgentMessage::SealingKey`], to which its secrets are sealed.
//! 6. Whenever something newer is published the hub pushes again; an unfinished push is dropped by the next one.
//!
//! Beside this, each by itself and at any time:
//!
//! 1. The agent asks for the time with a nonce ([`AgentMessage::TimeRequest`]), and the hub answers with a signed
//!    [`HubMessage::Timestamp`], which also names what is newest.
//! 2. Before it pushes, the hub repeats this for the last nonce, so that the agent knows the snapshot by name when it
//!    comes.
//! 3. The agent reports what somebody should look at ([`AgentMessage::Alarm`]).
//! 4. The agent says what tunnels it has stopped ([`AgentMessage::Receipt`]), on each link until the hub has taken it
//!    ([`HubMessage::ReceiptTaken`]).
//! 5. A hub that is about to end says when the agent leaves and comes back ([`HubMessage::Return`]).
//! 6. The agent sends rows of its trail, one [`AgentMessage::Rows`] after the answer to the one before; the hub answers with
//!    [`HubMessage::RowsTaken`] when they are durable.
//!
//! Frames have at most [`limits::SYNC_FRAME_BYTES`](crate::limits::SYNC_FRAME_BYTES). The connection proves the hub's key, but policy is believed for
//! its signatures alone: a stolen hub can withhold, not invent.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::relay::Meeting;
use super::text::Text;
use crate::audit::{Batch, Begin, LogId};
use crate::policy::FreshnessState;
use crate::trust::sealed::Announcement;
use crate::trust::{Digest, NextKey, Nonce, ReceiptId, RootFault, SignedReceipt};

/// What the agent holds, at the beginning of every link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of the root in force.
    pub root_version: u32,
    /// Epoch, version and digest of the highest accepted snapshot; none before the first.
    pub held: Option<Held>,
    /// Whether that snapshot is in force: false after its stored form was found corrupt, so that it is pushed again.
    pub active: bool,
    /// The agent's version, for people.
    pub agent: Text,
    /// How often the agent was started with this state.
    pub boots: u32,
    /// Random, new with each start of the agent and the same for all of its links. One that comes back after another
    /// shows that two machines use one key.
    pub life: Life,
    /// Where clients can reach it; at most [`limits::ADDRESSES`](crate::limits::ADDRESSES).
    #[serde(with = "super::bounded::addresses")]
    pub addresses: Vec<SocketAddr>,
    /// What the policy in force was worth before this link; none without one.
    pub freshness: Option<FreshnessState>,
    /// The highest sequence of a lock that it holds, or that its policy has lifted, in the root's epoch; 0 for none.
    pub locks: u64,
}

/// One run of an agent, from start to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life(pub [u8; 16]);

/// A snapshot, named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its epoch.
    pub epoch: u32,
    /// Its version.
    pub version: u64,
    /// SHA-256 of its payload.
    pub digest: Digest,
}

/// From hub to agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HubMessage {
    /// The agent holds the newest snapshot.
    UpToDate,
    /// A snapshot follows in chunks.
    Push {
        /// Names this push in its answer.
        nonce: u64,
        /// What it claims to be; believed only after verification.
        held: Held,
        /// Bytes of the sealed snapshot.
        bytes: u32,
    },
    /// The next part of the announced snapshot.
    Chunk {
        /// The push it belongs to.
        nonce: u64,
        /// Where it begins; chunks come in order without gaps.
        offset: u32,
        /// At most [`limits::CHUNK_BYTES`](crate::limits::CHUNK_BYTES).
        bytes: Vec<u8>,
    },
    /// What time it is and what is newest, sealed.
    Timestamp {
        /// At most [`limits::TIMESTAMP_BYTES`](crate::limits::TIMESTAMP_BYTES) and the envelope around them.
        bytes: Vec<u8>,
    },
    /// Somebody asks for a new device key: the agent makes one and answers [`AgentMessage::NextKey`], at most once an
    /// hour.
    RotateKey,
    /// All that is locked on the device, sealed.
    Lock {
        /// At most [`limits::LOCK_BYTES`](crate::limits::LOCK_BYTES) and the envelope around them.
        bytes: Vec<u8>,
    },
    /// The root that follows the one in force.
    Root {
        /// Sealed; at most [`limits::ROOT_BYTES`](crate::limits::ROOT_BYTES) of payload.
        bytes: Vec<u8>,
    },
    /// Somebody waits for the device at a relay. It says nothing of who that is, and grants nothing: the agent admits whoever comes
    /// there as it admits everybody.
    Meet(Meeting),
    /// A receipt is stored, and need not be said again.
    ReceiptTaken {
        /// Its name.
        id: ReceiptId,
    },
    /// Rows of the agent's trail are durable.
    RowsTaken {
        /// The sealed acknowledgement; at most [`limits::ACK_BYTES`](crate::limits::ACK_BYTES) of payload.
        bytes: Vec<u8>,
    },
    /// Rows of the agent's trail were not taken.
    RowsRefused {
        /// Their log.
        log: LogId,
        /// Why.
        code: RowsCode,
    },
    /// The hub is about to end, or its agents are wanted elsewhere. Once on a link, and only where
    /// [`ALPN_HUB_V2`](super::registry::ALPN_HUB_V2) was agreed on: agents of the version before cannot read it.
    Return(Return),
}

/// When an agent leaves its hub, and when it comes back. An agent obeys within
/// [`RETURN_MS`](crate::session::leave::RETURN_MS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// Milliseconds until the agent ends the link.
    pub leave_ms: u32,
    /// Milliseconds from then until it dials again.
    pub away_ms: u32,
    /// Which hub is dialled first then, if it is one of those that the agent knows; none for the usual order.
    pub hub: Option<SocketAddr>,
}

/// From agent to hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentMessage {
    /// Verified, stored and in force.
    Ack {
        /// The push.
        nonce: u64,
        /// The snapshot now in force.
        held: Held,
        /// Tunnels that were cut by it.
        cut: u32,
    },
    /// Refused; the earlier snapshot stays in force.
    Nack {
        /// The push.
        nonce: u64,
        /// What was refused.
        held: Held,
        /// Why.
        code: NackCode,
        /// Details for people.
        detail: Text,
    },
    /// Where clients can reach the agent from now on.
    Moved {
        /// At most [`limits::ADDRESSES`](crate::limits::ADDRESSES).
        #[serde(with = "super::bounded::addresses")]
        addresses: Vec<SocketAddr>,
    },
    /// To which key the secrets of this device are sealed; once on a link.
    SealingKey(Announcement),
    /// Asks for a timestamp.
    TimeRequest {
        /// What the answer must repeat.
        nonce: Nonce,
    },
    /// Something happened that somebody should look at.
    Alarm {
        /// What it is about.
        kind: AlarmKind,
        /// Details for people.
        detail: Text,
    },
    /// The key that the agent will present once a snapshot for it is in force. Said again on each link until then.
    NextKey(NextKey),
    /// A lock is verified, stored and in force.
    LockTaken {
        /// Its sequence.
        sequence: u64,
        /// Tunnels that were cut by it.
        cut: u32,
    },
    /// A lock was refused, or is in force and not stored.
    LockRefused {
        /// Why.
        code: NackCode,
        /// Details for people.
        detail: Text,
    },
    /// The root that was sent is in force.
    RootTaken {
        /// Its version.
        version: u32,
    },
    /// The root that was sent is not accepted; the one before stays in force.
    RootRefused {
        /// The version in force.
        version: u32,
        /// Why.
        code: RootCode,
        /// Details for people.
        detail: Text,
    },
    /// Tunnels that the agent has stopped.
    Receipt(SignedReceipt),
    /// Names the log whose rows follow. Said on each link before its first rows, until one of them is acknowledged.
    Log(Begin),
    /// Rows of the agent's trail.
    Rows(Batch),
}

/// Why a hub does not take rows of a trail. New codes are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowsCode {
    /// They could not be stored; they may be sent again.
    Storage,
    /// A device has so many logs that the hub begins no further one.
    Crowded,
    /// A row or checkpoint is malformed, out of its place, or of another key.
    Row,
    /// The hub does not know the log.
    Unknown,
    /// Rows are missing between those that the hub has and these.
    Gap,
    /// The hub has another row in the place of one of them.
    Fork,
    /// A row's tag is not that of the log's ratchet.
    Seal,
}

impl RowsCode {
    /// Whether the log cannot go on at this hub, so that its rows are sent as those of another log.
    #[must_use]
    pub const fn ends_log(self) -> bool {
        match self {
            Self::Storage | Self::Crowded | Self::Row => false,
            Self::Unknown | Self::Gap | Self::Fork | Self::Seal => true,
        }
    }

    /// The word in logs and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Crowded => "crowded",
            Self::Row => "row",
            Self::Unknown => "unknown",
            Self::Gap => "gap",
            Self::Fork => "fork",
            Self::Seal => "seal",
        }
    }
}

/// What an agent raises an alarm about. New kinds are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// Something older than what is held was offered or named.
    Rollback,
    /// Another content of the version that is held was offered or named.
    Equivocation,
    /// Something newer was named and not delivered.
    Freeze,
    /// The time for which the device may work without its cloud is used up.
    Budget,
    /// The device has shown that it would permit what it must refuse: it serves nobody.
    SelfTest,
}

impl AlarmKind {
    /// Every kind, in the order of the numbers.
    pub const ALL: [Self; 5] =
        [Self::Rollback, Self::Equivocation, Self::Freeze, Self::Budget, Self::SelfTest];

    /// The word in logs, listings and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Equivocation => "equivocation",
            Self::Freeze => "freeze",
            Self::Budget => "budget",
            Self::SelfTest => "self_test",
        }
    }
}

/// Why an agent refused a root. New codes are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootCode {
    /// Frame, signatures of the old or the new holders, or encoding.
    Envelope,
    /// Another installation.
    Fleet,
    /// Not the version that follows.
    Version,
    /// The epoch went back.
    Epoch,
    /// Roles, thresholds or keys.
    Form,
}

impl RootCode {
    /// The word in logs and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Envelope => "envelope",
            Self::Fleet => "fleet",
            Self::Version => "version",
            Self::Epoch => "epoch",
            Self::Form => "form",
        }
    }
}

impl From<&RootFault> for RootCode {
    fn from(fault: &RootFault) -> Self {
        match fault {
            RootFault::Envelope(_) | RootFault::Digest { .. } => Self::Envelope,
            RootFault::Fleet { .. } => Self::Fleet,
            RootFault::Version { .. } => Self::Version,
            RootFault::Epoch { .. } => Self::Epoch,
            RootFault::Roles { .. } | RootFault::SharedKey { .. } | RootFault::Hubs => Self::Form,
        }
    }
}

/// Why an agent refused a push. New codes are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NackCode {
    /// Frame, signature or encoding.
    Envelope,
    /// Another fleet, device or key.
    Addressee,
    /// Another epoch than the root's.
    Epoch,
    /// Below the floor.
    Rollback,
    /// The floor's version with other content.
    Equivocation,
    /// Order, counts, references or values.
    Form,
    /// It could not be stored; it may be pushed again.
    Storage,
    /// The bytes did not match the announcement.
    Transfer,
}

impl NackCode {
    /// Whether the same snapshot may be pushed again on the next link: the refusal was not about its content.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Storage | Self::Transfer => true,
            Self::Envelope
            | Self::Addressee
            | Self::Epoch
            | Self::Rollback
            | Self::Equivocation
            | Self::Form => false,
        }
    }

    /// The word in logs and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Envelope => "envelope",
            Self::Addressee => "addressee",
            Self::Epoch => "epoch",
            Self::Rollback => "rollback",
            Self::Equivocation => "equivocation",
            Self::Form => "form",
            Self::Storage => "storage",
            Self::Transfer => "transfer",
        }
    }
}
