//! Sessions as a hub knows them: a user's own, or those that a user may audit.
//!
//! 1. The caller is whoever has the key of the connection; for sessions of others a pass says that the sign-in has not ended.
//!    [`SessionQuery`] says whose sessions are wanted, and where and when.
//! 2. The hub answers with a [`SessionPage`]: the newest sessions first, and where the next page begins.
//!
//! It is made of rows that devices have sent: what a device has not sent yet is not in it. Only sessions and refusals are: no other
//! fact of a device, and nothing of a device that the caller may not know of.

use serde::{Deserialize, Serialize};

use super::registry::Failure;
use crate::id::{TunnelId, UserId};
use crate::limits;
use crate::name::Name;
use crate::policy::{Kind, Reason};
use crate::time::UnixTime;

/// Which sessions are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionQuery {
    /// Whose.
    pub whose: SessionsOf,
    /// On this device alone.
    pub device: Option<Name>,
    /// Begun at this time or later.
    pub from: Option<UnixTime>,
    /// Begun before this time.
    pub until: Option<UnixTime>,
    /// Where the page begins; the newest ones without it.
    pub after: Option<PageMark>,
    /// Sessions at most; a hub answers with [`limits::SESSIONS`] at most.
    pub limit: u16,
}

/// Whose sessions are wanted. New ways are added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionsOf {
    /// The caller's own.
    Mine,
    /// Those of everybody that the caller may audit.
    Everybody {
        /// The caller's pass, as the hub sealed it.
        pass: Vec<u8>,
    },
    /// Those of one user, as far as the caller may audit them.
    User {
        /// The caller's pass, as the hub sealed it.
        pass: Vec<u8>,
        /// The user.
        user: Name,
    },
}

/// Where a page ended: behind so many sessions that began in this second. It is the hub's; callers send it back as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageMark {
    /// When the last session began.
    pub at: UnixTime,
    /// Sessions of that second that were looked at.
    pub seen: u32,
}

/// Some sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionPage {
    /// The newest first; at most [`limits::SESSIONS`].
    #[serde(with = "super::bounded::sessions")]
    pub sessions: Vec<SessionEntry>,
    /// Where the next page begins, if there may be one.
    pub more: Option<PageMark>,
}

/// One session, or a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEntry {
    /// When it began or was refused, by the device's time.
    pub at: UnixTime,
    /// The device.
    pub device: Name,
    /// The service, where it may be told.
    pub service: Option<Name>,
    /// Who, where it is not the caller and the device knew whom it refused.
    pub user: Option<SessionUser>,
    /// What came of it.
    pub outcome: SessionOutcome,
}

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionUser {
    /// An opaque id.
    pub id: UserId,
    /// The name, of a user of the caller's account or of one nested in it.
    pub name: Option<Name>,
}

/// What came of a request for a tunnel. New outcomes are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionOutcome {
    /// It was refused.
    Denied {
        /// Why.
        reason: Reason,
        /// Identical refusals within a minute that this stands for.
        count: u32,
    },
    /// It was permitted, and could not be opened.
    Failed {
        /// The tunnel.
        tunnel: TunnelId,
        /// Why.
        failure: Failure,
    },
    /// It was opened, and the hub knows of no end.
    Open {
        /// The tunnel.
        tunnel: TunnelId,
        /// What it speaks.
        kind: Kind,
        /// Whether it is recorded.
        recorded: bool,
    },
    /// It was opened, and ended.
    Ended {
        /// The tunnel.
        tunnel: TunnelId,
        /// What it spoke.
        kind: Kind,
        /// Whether it was recorded.
        recorded: bool,
        /// Why it ended, as the number of a [`CloseCode`](super::registry::CloseCode).
        code: u32,
        /// Seconds that it was open.
        seconds: u64,
        /// Bytes from the client to the machine.
        to_machine: u64,
        /// Bytes from the machine to the client.
        to_client: u64,
    },
}

impl SessionQuery {
    /// How many sessions are wanted, within what one answer holds.
    #[must_use]
    pub fn size(&self) -> usize {
        usize::from(self.limit).clamp(1, limits::SESSIONS)
    }
}
