//! Tells every link that something may have been published.

use tokio::sync::watch;

/// Counts publications; clones share the count. What was published is read from the store.
#[derive(Clone, Debug)]
pub struct News(watch::Sender<u64>);

impl Default for News {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl News {
    /// Wakes everyone who listens.
    pub fn publish(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Hears of every publication from now on; several at once are heard as one.
    #[must_use]
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}
