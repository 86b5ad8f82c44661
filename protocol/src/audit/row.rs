//! What an audit row says.

use serde::{Deserialize, Serialize};

use crate::gate::rfb::Tally;
use crate::id::{DeviceId, TunnelId, UserId};
use crate::name::Name;
use crate::path::Peer;
use crate::policy::{FlowEnd, Kind, Mode, Origin, Reason, Target};
use crate::time::UnixTime;
use crate::trust::{Digest, PublicKey};
use crate::wire::control::{AlarmKind, Held, NackCode, RootCode};
use crate::wire::registry::{CloseCode, Failure};
use crate::wire::text::Text;

/// One row. Its place in the trail is its sequence number, counted from 1 without gaps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its place.
    pub seq: u64,
    /// The device's time when it was written.
    pub at: UnixTime,
    /// What happened.
    pub event: Event,
}

/// What happened. New events are added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The agent began to serve.
    Started {
        /// Its version.
        agent: Text,
        /// How often it was started with this state.
        boots: u32,
    },
    /// The agent stopped in order.
    Stopped,
    /// A snapshot came into force.
    PolicyApplied {
        /// Which one.
        held: Held,
        /// Tunnels that it cut.
        cut: u32,
    },
    /// A snapshot was refused.
    PolicyRefused {
        /// What it claimed to be.
        held: Held,
        /// Why.
        code: NackCode,
    },
    /// A tunnel was permitted; written before its first byte.
    Permitted {
        /// The tunnel.
        tunnel: TunnelId,
        /// Who.
        user: UserId,
        /// To which service.
        service: Name,
        /// What it speaks.
        kind: Kind,
        /// Where that is; none of a VPN, whose flows have rows of their own.
        target: Option<Target>,
        /// What it may do at first; deciding again may change that.
        mode: Mode,
        /// Why it was permitted.
        origin: Option<Origin>,
        /// The snapshot that permitted it.
        version: u64,
        /// Where the caller was.
        peer: Peer,
        /// Whether it may only go on while it is recorded.
        recorded: bool,
    },
    /// A request was denied.
    Denied {
        /// Who, when the caller was known.
        user: Option<UserId>,
        /// Which service was asked for, when a request was read.
        service: Option<Name>,
        /// Why.
        reason: Reason,
        /// What was wrong with a pass that was presented, as a word; callers are not told.
        fault: Option<Text>,
        /// The grant that came furthest.
        origin: Option<Origin>,
        /// Where the caller was.
        peer: Peer,
        /// Identical denials in the last minute that this row stands for, itself included.
        count: u32,
    },
    /// A permitted tunnel could not be opened.
    Failed {
        /// The tunnel.
        tunnel: TunnelId,
        /// Why.
        failure: Failure,
    },
    /// An open tunnel ended.
    Closed {
        /// The tunnel.
        tunnel: TunnelId,
        /// Why, as [`CloseCode`] number.
        code: u32,
        /// Bytes from the client to the machine.
        to_machine: u64,
        /// Bytes from the machine to the client.
        to_client: u64,
        /// Seconds it was open.
        seconds: u64,
        /// Where the caller was last: a connection moves between paths, and a caller between networks.
        peer: Peer,
        /// What a gate that understands the service saw in it; none of a plain tunnel, or one that never carried a byte.
        gate: Option<GateCounts>,
    },
    /// Somebody used the local control to change something.
    Control {
        /// Their user id on this system.
        uid: u32,
        /// What they asked for.
        command: Text,
    },
    /// Something happened that somebody should look at.
    Alarm {
        /// What it is about.
        kind: AlarmKind,
        /// Details for people.
        detail: Text,
    },
    /// The device was enrolled anew: what the trail says of policies before is about an earlier enrolment.
    Enrolled {
        /// The identity that the cloud assigned.
        device: DeviceId,
        /// The key that it has from now on.
        key: PublicKey,
    },
    /// The device's next key came into force, and the one before is worth nothing.
    KeyChanged {
        /// The key that it has from now on.
        key: PublicKey,
    },
    /// The device was put out of service: what it held of users and services is gone.
    Retired {
        /// The snapshot that said so.
        held: Held,
    },
    /// A lock came into force.
    Locked {
        /// Its sequence.
        sequence: u64,
        /// Whether it locks the whole device.
        device: bool,
        /// Users that it locks.
        users: u16,
        /// Access categories that it locks.
        categories: u16,
        /// Tunnels that it cut.
        cut: u32,
    },
    /// A snapshot lifted locks.
    Unlocked {
        /// The highest sequence that it lifted.
        sequence: u64,
    },
    /// A root came into force.
    RootTaken {
        /// Its version.
        version: u32,
        /// Its epoch of policy.
        epoch: u32,
        /// Tunnels that were cut because it does not vouch for the policy that was in force.
        cut: u32,
    },
    /// A root was refused.
    RootRefused {
        /// The version that stays in force.
        version: u32,
        /// Why.
        code: RootCode,
    },
    /// Requests of one kind in an HTTP tunnel within a minute. What is none stands for many of them, or is not recorded.
    Requests {
        /// The tunnel.
        tunnel: TunnelId,
        /// Their method.
        method: Option<Text>,
        /// Their path, as far as the service records it; never the query.
        path: Option<Text>,
        /// The status of their answers; none where nothing was answered.
        status: Option<u16>,
        /// Why the gate refused them.
        reason: Option<Reason>,
        /// How many.
        count: u32,
        /// Bytes of the bodies of their answers.
        bytes: u64,
    },
    /// The recording of a tunnel ended. The row binds the file to the trail: nothing in the file says who wrote it.
    Recorded {
        /// The tunnel.
        tunnel: TunnelId,
        /// Bytes of the file.
        bytes: u64,
        /// SHA-256 of the file.
        digest: Digest,
        /// Whether it has an end; one that could not be written further has none.
        complete: bool,
    },
    /// A recording was removed from the device.
    RecordingRemoved {
        /// The tunnel that it is of.
        tunnel: TunnelId,
        /// Who asked for it, by their user id on this system; none where it was old and its room was needed.
        uid: Option<u32>,
    },
    /// A live tunnel goes on with other rights, because it was decided again.
    Changed {
        /// The tunnel.
        tunnel: TunnelId,
        /// What it could do according to the row before.
        before: Mode,
        /// What it can do from now on.
        mode: Mode,
        /// Whether other rules of its service hold.
        rules: bool,
        /// Why it is permitted now.
        origin: Option<Origin>,
        /// The snapshot that permits it now; the one of the row before where time, a seat, a pass or a lock was the cause.
        version: u64,
        /// Changes that this row stands for, itself included: the device bounds them for each tunnel and hour.
        count: u32,
    },
    /// Flows of one kind in a VPN tunnel: the first opening of a kind in a minute as soon as it is permitted, before its first byte,
    /// and the others of that minute in one row.
    Flows {
        /// The tunnel.
        tunnel: TunnelId,
        /// Where they went or should have gone; none stands for many places.
        to: Option<FlowEnd>,
        /// What became of them.
        fate: FlowFate,
        /// How many.
        count: u32,
        /// Bytes from the client to the machine, of those that ended.
        to_machine: u64,
        /// Bytes from the machine to the client, of those that ended.
        to_client: u64,
        /// Seconds that the one was open that was open longest, of those that ended.
        seconds: u64,
    },
    /// Something is missing before this row, or the trail goes on under another name.
    Gap {
        /// Why.
        cause: GapCause,
        /// Rows that are missing, as far as that is known.
        rows: u32,
    },
}

/// Why something is missing in a trail, or it goes on as another log. New causes are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// What happened found no room in the trail, or none while it waited for it.
    Full,
    /// The trail before was damaged or removed; this is the first row of a new one.
    Lost,
    /// The key that seals its rows was lost; they are sealed with another from here on.
    Unsealed,
    /// The cloud has another story of it, or does not know it.
    Refused,
}

impl GapCause {
    /// The word in listings.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Lost => "lost",
            Self::Unsealed => "unsealed",
            Self::Refused => "refused",
        }
    }
}

/// What became of flows. New fates are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowFate {
    /// They were permitted.
    Opened,
    /// Policy said no.
    Denied(Reason),
    /// They were permitted and could not be opened, or the device had no room for them.
    Failed(Failure),
    /// They ended, for the reason with this [`CloseCode`] number.
    Closed(u32),
    /// The device asked there for a scan, and was answered; nothing was carried. A row of none says that a scan begins.
    Probed,
}

/// What a gate let through and what it dropped while a tunnel was open. New kinds are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateCounts {
    /// A VNC session.
    Vnc {
        /// What the viewer might do at first.
        began: Mode,
        /// What it might do in the end.
        ended: Mode,
        /// Keys that went down or up.
        keys: Tally,
        /// Movements and buttons of the pointer.
        pointers: Tally,
        /// Texts for the machine's clipboard.
        cut_texts: Tally,
        /// Keys and pointers that the gate released because the viewer might not touch any more, or had left.
        released: u64,
    },
    /// Requests of an HTTP tunnel.
    Http(
        /// Those that reached the machine, and those that the gate answered itself.
        Tally,
    ),
    /// Messages of a WebSocket.
    Websocket {
        /// From the client to the machine.
        to_machine: Tally,
        /// From the machine to the client.
        to_client: u64,
        /// Control frames, both ways.
        controls: u64,
    },
    /// Flows of a VPN.
    Flows {
        /// Those that were permitted and opened.
        opened: u64,
        /// Those that policy refused.
        denied: u64,
        /// Those that could not be opened, or for which the device had no room.
        failed: u64,
    },
}

impl Event {
    /// The word in listings.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Stopped => "stopped",
            Self::PolicyApplied { .. } => "policy_applied",
            Self::PolicyRefused { .. } => "policy_refused",
            Self::Permitted { .. } => "permitted",
            Self::Denied { .. } => "denied",
            Self::Failed { .. } => "failed",
            Self::Closed { .. } => "closed",
            Self::Control { .. } => "control",
            Self::Locked { .. } => "locked",
            Self::Unlocked { .. } => "unlocked",
            Self::Alarm { .. } => "alarm",
            Self::Enrolled { .. } => "enrolled",
            Self::KeyChanged { .. } => "key_changed",
            Self::Retired { .. } => "retired",
            Self::RootTaken { .. } => "root_taken",
            Self::RootRefused { .. } => "root_refused",
            Self::Requests { .. } => "requests",
            Self::Recorded { .. } => "recorded",
            Self::RecordingRemoved { .. } => "recording_removed",
            Self::Changed { .. } => "changed",
            Self::Flows { .. } => "flows",
            Self::Gap { .. } => "gap",
        }
    }

    /// Why a tunnel ended, for an event that says so.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Closed { code, .. } => Some(CloseCode::from_number(*code)),
            Self::Started { .. }
            | Self::Stopped
            | Self::PolicyApplied { .. }
            | Self::PolicyRefused { .. }
            | Self::Permitted { .. }
            | Self::Denied { .. }
            | Self::Failed { .. }
            | Self::Control { .. }
            | Self::Locked { .. }
            | Self::Unlocked { .. }
            | Self::Alarm { .. }
            | Self::Enrolled { .. }
            | Self::KeyChanged { .. }
            | Self::RootTaken { .. }
            | Self::RootRefused { .. }
            | Self::Requests { .. }
            | Self::Recorded { .. }
            | Self::RecordingRemoved { .. }
            | Self::Changed { .. }
            | Self::Flows { .. }
            | Self::Gap { .. }
            | Self::Retired { .. } => None,
        }
    }
}

/// Bytes of one encoded row at most.
pub const ROW_BYTES: usize = 2048;
