//! Whether a peer answers: of what it is to acknowledge, something was.

use std::time::{Duration, Instant};

use super::GLANCE;
use crate::quic::connection::Connection;

/// What a connection had asked when it was answered last.
pub(super) struct Asked {
    asked: u64,
    answered: Option<Instant>,
}

impl Asked {
    pub(super) fn now(connection: &Connection) -> Self {
        Self { asked: connection.asked(), answered: connection.answered() }
    }

    /// Whether something was asked since, and nothing answered.
    pub(super) fn is_unanswered(&mut self, connection: &Connection) -> bool {
        if connection.answered() != self.answered {
            *self = Self::now(connection);
        }
        connection.asked() > self.asked
    }
}

impl Connection {
    /// Waits until something that the peer is to acknowledge has been out for `patience` and nothing was acknowledged. Safe to cancel.
    pub async fn unanswered(&self, patience: Duration) {
        let mut asked = Asked::now(self);
        // The first glance at which something was not acknowledged yet.
        let mut since: Option<Instant> = None;
        let glance = GLANCE.max(patience / 8);
        loop {
            tokio::time::sleep(glance).await;
            if !asked.is_unanswered(self) {
                since = None;
            } else if since.get_or_insert_with(Instant::now).elapsed() >= patience {
                return;
            }
        }
    }

    /// Waits until the peer acknowledges something. Safe to cancel.
    pub async fn answer(&self) {
        let before = self.answered();
        while self.answered() == before {
            tokio::time::sleep(GLANCE).await;
        }
    }
}
