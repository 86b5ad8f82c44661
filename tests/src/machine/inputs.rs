//! Counters of what people did at the panel, for tests that must know whether input arrived.
//!
//! 1. The VNC service records each event.
//! 2. A test reads [`Inputs::counts`] or waits with [`Inputs::when`].
//!
//! Deliberately absent: the events themselves; a test sends them and knows what they were.

use tokio::sync::watch;

/// Shared counters; clones count into the same place.
#[derive(Debug, Clone)]
pub struct Inputs {
    counts: watch::Sender<Counts>,
}

impl Default for Inputs {
    fn default() -> Self {
        Self { counts: watch::Sender::new(Counts::default()) }
    }
}

impl Inputs {
    /// The counters now.
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counters satisfy `condition`.
    pub async fn when(&self, mut condition: impl FnMut(&Counts) -> bool) -> Counts {
        let mut counts = self.counts.subscribe();
        match counts.wait_for(|now| condition(now)).await {
            Ok(reached) => *reached,
            // `self` holds a sender, so the channel cannot close while this waits.
            Err(_) => self.counts(),
        }
    }

    pub(crate) fn record(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }
}

/// What arrived at the panel since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys pressed (releases are not counted).
    pub keys: u64,
    /// Presses of the left pointer button.
    pub clicks: u64,
    /// Pointer events of any kind.
    pub pointer_events: u64,
    /// Clipboard texts.
    pub cut_texts: u64,
    /// Viewers connected now.
    pub viewers: u64,
}
