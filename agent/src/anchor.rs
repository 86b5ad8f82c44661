//! The root in force: who may sign policy and passes, and by which keys a hub is recognised.
//!
//! One for the whole agent. Whoever asks gets the root of this moment; whoever must act on a change hears of it.
//! Deliberately absent: verification. Only what `Root::accept_next` or the store at boot yields is put here.

use std::sync::Arc;

use tokio::sync::watch;

use postern_protocol::time::UnixTime;
use postern_protocol::trust::Root;

/// The shared root. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Anchor(watch::Sender<Arc<Root>>);

impl Anchor {
    /// Begins with the root that was stored.
    pub(crate) fn new(root: Root) -> Self {
        Self(watch::Sender::new(Arc::new(root)))
    }

    /// A root that names nobody and never ends, for tests of what does not look at it.
    #[cfg(test)]
    pub(crate) fn of_nobody() -> Self {
        let fleet = postern_protocol::id::FleetId::new([0; 8]);
        let (roles, hubs) = (Vec::new(), Vec::new());
        Self::new(Root { fleet, version: 1, expires: UnixTime::MAX, policy_epoch: 1, roles, hubs })
    }

    /// The root of this moment.
    pub(crate) fn root(&self) -> Arc<Root> {
        Arc::clone(&self.0.borrow())
    }

    /// The first second in which nothing is permitted under the root of this moment.
    pub(crate) fn expires(&self) -> UnixTime {
        self.0.borrow().expires
    }

    /// Puts a later root in force. What rests on the earlier one must be judged again before anything else happens.
    pub(crate) fn replace(&self, root: Root) {
        self.0.send_replace(Arc::new(root));
    }

    /// Hears of every replacement from now on.
    pub(crate) fn listen(&self) -> watch::Receiver<Arc<Root>> {
        self.0.subscribe()
    }
}
