//! A row as one flat line for listings, the same on the device and in the cloud.
//!
//! 1. [`AuditLine`] has what any event may have; in JSON only what the row's event has is present.
//! 2. [`AuditLine::details`] says in words what has no column of its own.

mod counts;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Event, FlowFate, GateCounts, Row};
use crate::id::{TunnelId, UserId};
use crate::path::{Path, Peer};
use crate::policy::{Kind, Mode, Origin};
use crate::time::UnixTime;
use crate::wire::registry::CloseCode;
use crate::wire::text::Text;

/// One row; only what its event has is present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditLine {
    /// Its place in the trail.
    pub seq: u64,
    /// When it was written, seconds since 1970.
    pub at: u64,
    /// What happened, as a word.
    pub event: String,
    /// Which tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelId>,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// Which service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What it speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<SocketAddr>,
    /// What it could do before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Mode>,
    /// What it may do at first, or from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Why, as a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where the grant comes from that was used or came furthest, or the prohibition that refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Where the caller was, or the relay that led to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    /// By which path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Path>,
    /// Version of the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Tunnels that were cut, or denials that the row stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Bytes from the client to the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_machine: Option<u64>,
    /// Bytes from the machine to the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_client: Option<u64>,
    /// Seconds that a tunnel was open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// What the gate let through and dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateCounts>,
    /// Whether the tunnel may only go on while it is recorded; where a recording has ended, whether it has an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<bool>,
    /// SHA-256 of the file of a recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Bytes of the file of a recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Where flows of a VPN went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// Who used the local control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// What they asked for, the version of an agent, or what was wrong with a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl AuditLine {
    /// When it was written.
    #[must_use]
    pub const fn at(&self) -> UnixTime {
        UnixTime::from_secs(self.at)
    }

    /// What has no column of its own, in words.
    #[must_use]
    pub fn details(&self) -> String {
        let parts = [
            self.tunnel.map(|tunnel| tunnel.to_string()),
            self.target.map(|target| format!("target {target}")),
            self.flow.clone(),
            self.mode_in_words(),
            self.version.map(|version| format!("version {version}")),
            self.peer.zip(self.path).map(|(addr, path)| format!("from {}", Peer { addr, path })),
            self.origin.clone(),
            self.count.map(|count| format!("count {count}")),
            self.to_machine.map(|bytes| format!("{bytes} bytes to the machine")),
            self.to_client.map(|bytes| format!("{bytes} bytes to the client")),
            self.seconds.map(|seconds| format!("{seconds} s")),
            self.gate.map(counts::text),
            self.uid.map(|uid| format!("uid {uid}")),
            self.detail.clone(),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// The mode at first, where it is worth a remark, or what became of it.
    fn mode_in_words(&self) -> Option<String> {
        match (self.before, self.mode?) {
            (Some(before), now) if before != now => Some(format!("{before}, then {now}")),
            (Some(_), now) => Some(now.words().to_owned()),
            (None, now) => now.remark().map(String::from),
        }
    }
}

impl From<Row> for AuditLine {
    fn from(Row { seq, at, event }: Row) -> Self {
        let line = Self { seq, at: at.as_secs(), event: event.word().to_owned(), ..Self::default() };
        match event {
            Event::Started { agent, boots } => {
                Self { detail: Some(agent.to_string()), count: Some(boots), ..line }
            }
            Event::Stopped => line,
            Event::PolicyApplied { held, cut } => {
                Self { version: Some(held.version), count: Some(cut), ..line }
            }
            Event::PolicyRefused { held, code } => {
                Self { version: Some(held.version), reason: Some(code.word().to_owned()), ..line }
            }
            Event::Permitted {
                tunnel,
                user,
                service,
                kind,
                target,
                mode,
                origin,
                version,
                peer,
                recorded,
            } => Self {
                tunnel: Some(tunnel),
                user: Some(user),
                service: Some(service.to_string()),
                kind: Some(kind),
                target: target.map(Into::into),
                mode: Some(mode),
                origin: origin.as_ref().map(Origin::to_string),
                version: Some(version),
                peer: Some(peer.addr),
                path: Some(peer.path),
                recorded: recorded.then_some(true),
                ..line
            },
            Event::Denied { user, service, reason, fault, origin, peer, count } => Self {
                user,
                service: service.map(|name| name.to_string()),
                reason: Some(reason.word().to_owned()),
                origin: origin.as_ref().map(Origin::to_string),
                peer: Some(peer.addr),
                path: Some(peer.path),
                count: Some(count),
                detail: fault.map(|fault| fault.to_string()),
                ..line
            },
            Event::Failed { tunnel, failure } => {
                Self { tunnel: Some(tunnel), reason: Some(failure.word().to_owned()), ..line }
            }
            Event::Closed { tunnel, code, to_machine, to_client, seconds, peer, gate } => Self {
                tunnel: Some(tunnel),
                reason: Some(CloseCode::from_number(code).word().to_owned()),
                to_machine: Some(to_machine),
                to_client: Some(to_client),
                seconds: Some(seconds),
                peer: Some(peer.addr),
                path: Some(peer.path),
                gate,
                ..line
            },
            Event::Flows { tunnel, to, fate, count, to_machine, to_client, seconds } => {
                let has_ended = matches!(fate, FlowFate::Closed(_));
                Self {
                    tunnel: Some(tunnel),
                    flow: to.map(|to| to.to_string()),
                    reason: Some(fate_word(fate).to_owned()),
                    count: Some(count),
                    to_machine: has_ended.then_some(to_machine),
                    to_client: has_ended.then_some(to_client),
                    seconds: has_ended.then_some(seconds),
                    ..line
                }
            }
            Event::Control { uid, command } => {
                Self { uid: Some(uid), detail: Some(command.to_string()), ..line }
            }
            Event::Locked { sequence, device, users, categories, cut } => {
                let whole = if device { "the whole device, " } else { "" };
                let detail = format!("lock {sequence}: {whole}{users} users, {categories} categories");
                Self { count: Some(cut), detail: Some(detail), ..line }
            }
            Event::Unlocked { sequence } => {
                Self { detail: Some(format!("locks up to {sequence} are lifted")), ..line }
            }
            Event::Alarm { kind, detail } => {
                Self { reason: Some(kind.word().to_owned()), detail: Some(detail.to_string()), ..line }
            }
            Event::Enrolled { device, key } => {
                Self { detail: Some(format!("{device}, key {}", key.fingerprint())), ..line }
            }
            Event::KeyChanged { key } => Self { detail: Some(format!("key {}", key.fingerprint())), ..line },
            Event::Retired { held } => Self { version: Some(held.version), ..line },
            Event::RootTaken { version, epoch, cut } => Self {
                version: Some(version.into()),
                detail: Some(format!("epoch {epoch}")),
                count: Some(cut),
                ..line
            },
            Event::RootRefused { version, code } => {
                Self { version: Some(version.into()), reason: Some(code.word().to_owned()), ..line }
            }
            Event::Requests { tunnel, method, path, status, reason, count, bytes } => Self {
                tunnel: Some(tunnel),
                reason: reason.map(|reason| reason.word().to_owned()),
                detail: Some(request(method.as_ref(), path.as_ref(), status)),
                count: Some(count),
                to_client: Some(bytes),
                ..line
            },
            Event::Recorded { tunnel, bytes, digest, complete } => Self {
                tunnel: Some(tunnel),
                bytes: Some(bytes),
                digest: Some(digest.to_string()),
                recorded: Some(complete),
                ..line
            },
            Event::Gap { cause, rows } => {
                Self { reason: Some(cause.word().to_owned()), count: (rows > 0).then_some(rows), ..line }
            }
            Event::RecordingRemoved { tunnel, uid } => Self { tunnel: Some(tunnel), uid, ..line },
            Event::Changed { tunnel, before, mode, rules, origin, version, count } => Self {
                tunnel: Some(tunnel),
                before: Some(before),
                mode: Some(mode),
                origin: origin.as_ref().map(Origin::to_string),
                version: Some(version),
                count: (count > 1).then_some(count),
                detail: rules.then(|| "other rules".to_owned()),
                ..line
            },
        }
    }
}

/// A request in words: what was asked, and what came of it.
fn request(method: Option<&Text>, path: Option<&Text>, status: Option<u16>) -> String {
    let mut words: Vec<String> = method.into_iter().chain(path).map(Text::to_string).collect();
    if method.is_none() {
        words.push("requests of other kinds".to_owned());
    }
    words.extend(status.map(|status| format!("-> {status}")));
    words.join(" ")
}

/// What became of flows, as a word.
fn fate_word(fate: FlowFate) -> &'static str {
    match fate {
        FlowFate::Opened => "opened",
        FlowFate::Denied(reason) => reason.word(),
        FlowFate::Failed(failure) => failure.word(),
        FlowFate::Closed(number) => CloseCode::from_number(number).word(),
        FlowFate::Probed => "probed",
    }
}
