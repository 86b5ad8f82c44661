//! What an edge has of what is published: brought by entries of the bucket, and by those that the primary pushes at the same time.
//!
//! 1. A push is there at once, also while the servers of NATS agree on who leads the bucket. What was pushed and missed is in the bucket.
//! 2. Both are the same entries under the same veil. One that is known changes nothing, and one of the bucket does not take back a later
//!    one that was pushed ([`Order`]), unless all is read again because the replica is not what the primary has.
//! 3. The [`Tally`] is changed with the replica, and says whether it is whole.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::jetstream::kv;
use bytes::Bytes;

use super::entry::{ENTRY_BYTES, Entry, Mark, Order, Tally, Topic, root_mark};
use super::veil::{Veil, VeilFault};
use crate::hub::Hub;

/// What an edge has, and who may write it.
#[derive(Debug)]
pub(super) struct Replica {
    hub: Arc<Hub>,
    veil: Veil,
    tally: Mutex<Tally>,
    /// Of entries that were pushed and not seen in the bucket yet, how new they are. Held while the replica is written.
    pushed: tokio::sync::Mutex<BTreeMap<Topic, Order>>,
}

/// Something that NATS shows.
#[derive(Debug)]
pub(super) struct Shown {
    key: String,
    /// None where it is gone.
    sealed: Option<Bytes>,
    by_push: bool,
}

impl Shown {
    /// An entry that was pushed.
    pub(super) const fn pushed(key: String, sealed: Bytes) -> Self {
        Self { key, sealed: Some(sealed), by_push: true }
    }
}

impl From<kv::Entry> for Shown {
    fn from(entry: kv::Entry) -> Self {
        let kv::Entry { key, value, operation, .. } = entry;
        let sealed = match operation {
            kv::Operation::Put => Some(value),
            kv::Operation::Delete | kv::Operation::Purge => None,
        };
        Self { key, sealed, by_push: false }
    }
}

/// What changes in a replica.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A root; whether it follows the one before is for the replica to say.
    Root {
        /// Its version.
        version: u32,
        /// The envelope.
        sealed: Vec<u8>,
        /// Its mark.
        mark: Mark,
    },
    /// A device is new or different.
    Device {
        /// What is known of it now.
        entry: Box<Entry>,
        /// Its mark.
        mark: Mark,
    },
    /// Something is not there any more.
    Gone(Topic),
}

impl Replica {
    /// Nothing yet.
    pub(super) fn new(hub: Arc<Hub>, veil: Veil) -> Self {
        Self { hub, veil, tally: Mutex::default(), pushed: tokio::sync::Mutex::default() }
    }

    /// The tally of what is here.
    pub(super) fn sum(&self) -> [u8; 32] {
        self.tally().sum()
    }

    /// All is read again: what the bucket has counts, whatever was pushed.
    pub(super) async fn begin_anew(&self) {
        self.pushed.lock().await.clear();
    }

    /// Writes what is shown; false where that failed and all must be read again.
    pub(super) async fn apply(&self, some: Vec<Shown>) -> bool {
        let mut pushed = self.pushed.lock().await;
        let mut changes = Vec::new();
        for shown in some {
            match self.change(&shown, &mut pushed) {
                Ok(change) => changes.extend(change),
                // Whoever put it there keeps what is true back, which shows.
                Err(error) => tracing::warn!(%error, "an entry on NATS"),
            }
        }
        if changes.is_empty() {
            return true;
        }
        let marks: Vec<_> = changes.iter().map(|change| (change.topic(), change.mark())).collect();
        if let Err(error) = self.hub.replicate(changes).await {
            tracing::error!(%error, "the replica cannot be written");
            return false;
        }
        let mut tally = self.tally();
        for (topic, mark) in marks {
            match mark {
                Some(mark) => tally.put(topic, mark),
                None => drop(tally.remove(topic)),
            }
        }
        true
    }

    /// What something that is shown changes here; nothing where it is known, or older than what was pushed.
    fn change(
        &self,
        shown: &Shown,
        pushed: &mut BTreeMap<Topic, Order>,
    ) -> Result<Option<Change>, VeilFault> {
        let Shown { key, sealed, by_push } = shown;
        let Some(sealed) = sealed else {
            let gone = self.tally().topics().find(|topic| topic.key() == *key);
            return Ok(gone.map(Change::Gone));
        };
        let change = if let Some(version) = key.strip_prefix("root.") {
            let sealed: Vec<u8> = self.veil.open(key, sealed, ENTRY_BYTES)?;
            let version = version.parse().map_err(|_| VeilFault::Foreign)?;
            Change::Root { version, mark: root_mark(self.veil.tally(), version, &sealed), sealed }
        } else {
            let entry: Entry = self.veil.open(key, sealed, ENTRY_BYTES)?;
            Change::Device { mark: entry.mark(self.veil.tally())?, entry: Box::new(entry) }
        };
        let topic = change.topic();
        let is_known = change.mark().is_some_and(|mark| self.tally().has(topic, mark));
        if let Change::Device { entry, .. } = &change {
            let order = entry.order();
            let is_older = pushed.get(&topic).is_some_and(|newest| order < *newest);
            if *by_push {
                pushed.insert(topic, order);
            } else if is_older {
                return Ok(None);
            } else {
                pushed.remove(&topic);
            }
        }
        Ok((!is_known).then_some(change))
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Change {
    const fn topic(&self) -> Topic {
        match self {
            Self::Root { version, .. } => Topic::Root(*version),
            Self::Device { entry, .. } => Topic::Device(entry.id),
            Self::Gone(topic) => *topic,
        }
    }

    const fn mark(&self) -> Option<Mark> {
        match self {
            Self::Root { mark, .. } | Self::Device { mark, .. } => Some(*mark),
            Self::Gone(_) => None,
        }
    }
}
