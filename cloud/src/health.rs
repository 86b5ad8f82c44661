//! Whether this process lives, and whether it serves: what a supervisor and a load balancer ask.
//!
//! 1. It lives while it answers at all.
//! 2. It serves while connections are admitted, the state answers within [`PATIENCE`], and it is not about to end. A hub without
//!    the model knows what is newest as well.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::AbortHandle;

use crate::cluster::Edge;
use crate::store::Store;

/// What is known of a process that serves.
#[derive(Debug, Default)]
pub struct Health {
    /// The state, where there is one.
    store: Option<Arc<Store>>,
    serving: OnceLock<AbortHandle>,
    /// The part of a hub without the model.
    edge: OnceLock<Edge>,
    draining: AtomicBool,
    /// Held by a question to the store: those who ask again while it waits make it no longer.
    asking: Arc<Mutex<()>>,
}

/// Why nobody should be sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unready {
    /// Connections are not admitted yet, or not any more.
    #[error("connections are not admitted")]
    Closed,
    /// It is about to end.
    #[error("draining: it is about to end")]
    Draining,
    /// The state does not answer, or not in time.
    #[error("the state does not answer")]
    Store,
    /// A hub without the model does not know what is newest.
    #[error("this hub does not know what is newest: NATS or the primary is away")]
    Behind,
}

impl Health {
    /// Of a process with a state.
    #[must_use]
    pub fn of(store: &Arc<Store>) -> Self {
        Self { store: Some(Arc::clone(store)), ..Self::default() }
    }

    /// Connections are admitted for as long as this task runs; the first call counts.
    pub fn serves(&self, task: AbortHandle) {
        let _first = self.serving.set(task);
    }

    /// It serves no longer than it knows what is newest; the first call counts.
    pub(crate) fn follows(&self, edge: Edge) {
        let _first = self.edge.set(edge);
    }

    /// It is about to end: nobody new should come.
    pub fn drains(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether it serves.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn readiness(&self) -> Result<(), Unready> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Unready::Draining);
        }
        if self.serving.get().is_none_or(AbortHandle::is_finished) {
            return Err(Unready::Closed);
        }
        if self.edge.get().is_some_and(|edge| !edge.may_vouch()) {
            return Err(Unready::Behind);
        }
        let Some(store) = &self.store else { return Ok(()) };
        let asking = Arc::clone(&self.asking).try_lock_owned().map_err(|_| Unready::Store)?;
        let store = Arc::clone(store);
        let asked = tokio::task::spawn_blocking(move || {
            let _asking = asking;
            store.data_version().is_ok()
        });
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false) | Err(_)) | Err(_) => Err(Unready::Store),
        }
    }
}

/// For the state to answer.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_ready_from_its_first_admission_until_it_drains_or_admits_nobody() {
        let health = Health::default();
        assert_eq!(health.readiness().await, Err(Unready::Closed));
        let task = tokio::spawn(std::future::pending::<()>());
        health.serves(task.abort_handle());
        assert_eq!(health.readiness().await, Ok(()));
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(health.readiness().await, Err(Unready::Closed));
        let other = Health::default();
        other.serves(tokio::spawn(std::future::pending::<()>()).abort_handle());
        other.drains();
        assert_eq!(other.readiness().await, Err(Unready::Draining));
    }
}
