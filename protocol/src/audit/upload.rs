//! When a device sends rows to its cloud, and when it may count on them: the agent's end, pure.
//!
//! 1. Rows that were written wait a second for company ([`Upload::handle_head`]); while none wait there is no timer.
//! 2. [`Upload::poll_read`] says from which row on the store is to be read; the rows go out, one batch at a time. A slow hub
//!    therefore holds the next batch back, and nothing piles up.
//! 3. An acknowledgement is verified and stored by the caller ([`Upload::handle_taken`], [`Upload::handle_kept`]). Only then the
//!    rows count as the cloud's, and the next batch begins behind them.
//! 4. A new link begins behind the last stored acknowledgement. Rows whose acknowledgement was lost are sent again; the cloud
//!    compares them and acknowledges again.
//! 5. Where the cloud says that the log cannot go on, another begins with the oldest row that is there, at most once an hour.
//!
//! Time is the caller's, in milliseconds of a clock that only goes forward.

use crate::limits;
use crate::wire::control::RowsCode;

/// The rows of one device on their way to its cloud.
#[derive(Debug)]
pub struct Upload {
    /// The newest row that is durable here.
    head: u64,
    /// The newest row that the cloud has, by a stored acknowledgement.
    acked: u64,
    state: State,
    /// Before this no other log is begun.
    anew_after_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No link, or the hub takes no rows over this one.
    Halted,
    /// Everything is the cloud's.
    Idle,
    /// Rows wait until then.
    Waiting { due_ms: u64 },
    /// The store is asked for rows, when this was the newest one.
    Reading { head: u64 },
    /// Rows are sent and not answered.
    Sent,
    /// An acknowledgement is on its way to the disk.
    Keeping,
    /// Another log is about to begin.
    Beginning,
}

impl Upload {
    /// No link yet; `acked` is the newest row with a stored acknowledgement, `head` the newest at all.
    #[must_use]
    pub const fn new(acked: u64, head: u64) -> Self {
        Self { head, acked, state: State::Halted, anew_after_ms: 0 }
    }

    /// A link is up. What was sent over the one before and not acknowledged is sent again.
    pub fn handle_link(&mut self, now_ms: u64) {
        self.rest(now_ms, 0);
    }

    /// The link is down.
    pub const fn handle_down(&mut self) {
        self.state = State::Halted;
    }

    /// Rows up to `head` are durable here.
    pub fn handle_head(&mut self, now_ms: u64, head: u64) {
        self.head = self.head.max(head);
        if self.state == State::Idle {
            self.rest(now_ms, GATHER_MS);
        }
    }

    /// Whether somebody must say when there are rows: not while they wait, or are on their way.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// When [`poll_read`](Self::poll_read) has something; none while it depends on somebody else.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<u64> {
        match self.state {
            State::Waiting { due_ms } => Some(due_ms),
            State::Halted
            | State::Idle
            | State::Reading { .. }
            | State::Sent
            | State::Keeping
            | State::Beginning => None,
        }
    }

    /// The first row that is to be read and sent, when it is time to.
    pub fn poll_read(&mut self, now_ms: u64) -> Option<u64> {
        let is_due = matches!(self.state, State::Waiting { due_ms } if due_ms <= now_ms);
        is_due.then(|| {
            self.state = State::Reading { head: self.head };
            self.acked.saturating_add(1)
        })
    }

    /// The rows were read, if there are any. Whether they are to be sent: not over another link than the one that they were
    /// read for.
    #[must_use]
    pub fn handle_read(&mut self, are_there: bool) -> bool {
        let State::Reading { head } = self.state else { return false };
        self.state = State::Sent;
        if !are_there {
            // All of them are acknowledged already: by what was stored before this agent was started.
            self.acked = self.acked.max(head);
            self.state = State::Idle;
        }
        are_there
    }

    /// The hub has acknowledged rows up to `seq`. Whether that answers what was sent, so that it is to be stored.
    #[must_use]
    pub fn handle_taken(&mut self, seq: u64) -> bool {
        let is_answer = self.state == State::Sent && self.acked < seq;
        if is_answer {
            self.state = State::Keeping;
        }
        is_answer
    }

    /// The acknowledgement is stored.
    pub fn handle_kept(&mut self, now_ms: u64, seq: u64) {
        self.acked = self.acked.max(seq);
        let is_many = self.head.saturating_sub(self.acked) >= ROWS;
        if self.state == State::Keeping {
            self.rest(now_ms, if is_many { 0 } else { GATHER_MS });
        }
    }

    /// The store could not be read or written.
    pub fn handle_failed(&mut self, now_ms: u64) {
        if matches!(self.state, State::Reading { .. } | State::Keeping | State::Beginning) {
            self.state = State::Waiting { due_ms: now_ms.saturating_add(RETRY_MS) };
        }
    }

    /// The hub has refused what was sent, or the store has another row than was acknowledged. True when another log is to
    /// begin; otherwise nothing is sent before the next link, or for a minute where the hub could not store it.
    #[must_use]
    pub fn handle_refused(&mut self, now_ms: u64, code: RowsCode) -> bool {
        if !matches!(self.state, State::Sent | State::Keeping) {
            return false;
        }
        // A hub that refuses for ever costs a write to flash each time.
        let begins = code.ends_log() && self.anew_after_ms <= now_ms;
        self.state = match code {
            _ if begins => State::Beginning,
            // A disk that was full or busy for a moment must not keep rows until the link is made again.
            RowsCode::Storage => State::Waiting { due_ms: now_ms.saturating_add(RETRY_MS) },
            RowsCode::Crowded
            | RowsCode::Row
            | RowsCode::Unknown
            | RowsCode::Gap
            | RowsCode::Fork
            | RowsCode::Seal => State::Halted,
        };
        if begins {
            self.anew_after_ms = now_ms.saturating_add(ANEW_MS);
        }
        begins
    }

    /// Another log has begun, with the row behind `acked`.
    pub fn handle_begun(&mut self, now_ms: u64, acked: u64) {
        self.acked = acked;
        if self.state == State::Beginning {
            self.rest(now_ms, 0);
        }
    }

    fn rest(&mut self, now_ms: u64, gather_ms: u64) {
        self.state = if self.acked < self.head {
            State::Waiting { due_ms: now_ms.saturating_add(gather_ms) }
        } else {
            State::Idle
        };
    }
}

/// Rows wait for company: one wake-up and one signature for what belongs together.
const GATHER_MS: u64 = 1000;
/// A store that fails is not asked more often than this.
const RETRY_MS: u64 = 60_000;
const ANEW_MS: u64 = 3_600_000;
const ROWS: u64 = limits::AUDIT_ROWS as u64;

#[cfg(test)]
mod tests;
