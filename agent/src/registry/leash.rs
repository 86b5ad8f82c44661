//! How the registry reaches a tunnel: the ruling of this moment, and a bell for each tunnel that waits for the next one.
//!
//! 1. A leash begins with the permit of the admission; deciding again puts another in its place, or cuts.
//! 2. [`Leash::ruling`] is what holds at this moment. Whoever judges something by the permit asks for it then, and keeps
//!    none for later.
//! 3. [`Leash::reins`] follow: each of a tunnel's tasks has its own and misses no change, however late it looks.

use std::sync::Arc;

use tokio::sync::watch;

use postern_protocol::policy::Permit;
use postern_protocol::wire::registry::CloseCode;

/// What was decided about a live tunnel.
#[derive(Clone, Debug)]
pub(crate) enum Ruling {
    /// It goes on under this permit.
    Permitted(Arc<Permit>),
    /// It stops at once.
    Cut(CloseCode),
}

/// Holds the newest ruling. A cut is never replaced.
#[derive(Debug)]
pub(crate) struct Leash {
    ruling: watch::Sender<Ruling>,
}

/// Waits for rulings on behalf of one task.
#[derive(Debug)]
pub(crate) struct Reins {
    ruling: watch::Receiver<Ruling>,
}

impl Leash {
    pub(super) fn new(permit: Arc<Permit>) -> Self {
        Self { ruling: watch::Sender::new(Ruling::Permitted(permit)) }
    }

    pub(super) fn rule(&self, ruling: Ruling) {
        self.ruling.send_if_modified(|last| {
            let goes_on = matches!(last, Ruling::Permitted(_));
            if goes_on {
                *last = ruling;
            }
            goes_on
        });
    }

    /// The ruling of this moment.
    pub(crate) fn ruling(&self) -> Ruling {
        self.ruling.borrow().clone()
    }

    /// Reins that begin with the ruling of this moment.
    pub(crate) fn reins(&self) -> Reins {
        let mut ruling = self.ruling.subscribe();
        // Otherwise a cut between the admission and this would never be heard.
        ruling.mark_changed();
        Reins { ruling }
    }
}

impl Reins {
    /// Waits for the next ruling; the first time it is the one of this moment. Safe to cancel.
    pub(crate) async fn changed(&mut self) -> Ruling {
        if self.ruling.changed().await.is_err() {
            // The tunnel has left, and nobody rules over it any more.
            std::future::pending::<()>().await;
        }
        self.ruling.borrow_and_update().clone()
    }
}
