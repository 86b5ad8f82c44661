//! Rows about what has happened already: what came into force must not wait for a disk, and neither must whoever told us.
//!
//! 1. [`Auditor::owe`] remembers the row with its time and returns at once.
//! 2. [`Auditor::pay`] writes the rows in order, each again and again until the trail takes it.
//! 3. A snapshot's row is owed in the policy database as well; that debt is settled when the row is durable.
//!
//! The room is bounded. Beyond it the newest rows are lost, and the log and a later row say so: what fills it is a disk that has taken
//! nothing for hundreds of changes.

use std::collections::VecDeque;
use std::time::Duration;

use postern_protocol::audit::Event;
use postern_protocol::policy::Floor;
use postern_protocol::time::UnixTime;

use super::Auditor;

/// Rows that are not written yet, oldest first.
pub(super) type Owed = VecDeque<(UnixTime, Event)>;

impl Auditor {
    /// Has a row written as soon as the trail takes it.
    pub(crate) fn owe(&self, event: Event) {
        let (at, word) = (self.clock.now(), event.word());
        let is_taken = self.owed.send_if_modified(|owed| {
            let has_room = owed.len() < MOST;
            if has_room {
                owed.push_back((at, event));
            }
            has_room
        });
        if !is_taken {
            tracing::error!(event = word, "a row is lost: too many wait for the audit trail");
            self.lose();
        }
    }

    /// Writes what is owed, for as long as the agent lives.
    pub(crate) async fn pay(self) {
        let mut owed = self.owed.subscribe();
        let mut is_failing = false;
        loop {
            let first = owed.borrow_and_update().front().cloned();
            let Some((at, event)) = first else {
                if owed.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let settles = if let Event::PolicyApplied { held, .. } = &event {
                Some(Floor { epoch: held.epoch, version: held.version, digest: held.digest })
            } else {
                None
            };
            if let Err(error) = self.store.append(at, event).await {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::error!(%error, "what happened is not recorded yet");
                }
                tokio::time::sleep(RETRY).await;
                continue;
            }
            is_failing = false;
            self.owed.send_modify(|owed| drop(owed.pop_front()));
            if let Some(floor) = settles {
                self.store.settle(floor).await;
            }
        }
    }

    /// Waits until nothing is owed.
    pub(super) async fn paid(&self) {
        let mut owed = self.owed.subscribe();
        // It fails only without an auditor.
        let _paid = owed.wait_for(VecDeque::is_empty).await;
    }
}

/// Rows that wait.
const MOST: usize = 256;
/// Between attempts.
const RETRY: Duration = Duration::from_secs(2);
