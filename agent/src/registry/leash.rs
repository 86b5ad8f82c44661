//! How the registry reaches a tunnel: the newest ruling, and a bell.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use postern_protocol::policy::Permit;
use postern_protocol::wire::registry::CloseCode;

/// What was decided about a live tunnel.
#[derive(Debug)]
pub(crate) enum Ruling {
    /// It goes on under this permit.
    Permitted(Permit),
    /// It stops at once.
    Cut(CloseCode),
}

/// Holds the newest ruling until the tunnel takes it. A cut is never replaced.
#[derive(Debug)]
pub(crate) struct Leash {
    slot: Mutex<Option<Ruling>>,
    bell: Notify,
}

impl Leash {
    pub(super) fn new() -> Self {
        Self { slot: Mutex::new(None), bell: Notify::new() }
    }

    pub(super) fn rule(&self, ruling: Ruling) {
        let mut slot = self.lock();
        if !matches!(*slot, Some(Ruling::Cut(_))) {
            *slot = Some(ruling);
        }
        drop(slot);
        self.bell.notify_one();
    }

    /// Waits for the next ruling. Safe to cancel.
    pub(crate) async fn ruling(&self) -> Ruling {
        loop {
            if let Some(ruling) = self.lock().take() {
                return ruling;
            }
            self.bell.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Ruling>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
