//! How a hub ends without a crowd at its door, or at another one's.
//!
//! 1. Somebody asks for it: SIGTERM, or `postern-cloud drain`, which may say where devices are to go ([`Hub::ask_to_drain`]).
//! 2. From then on nobody new is let in, and each linked device is told when its turn is ([`Leave`]).
//! 3. Requests that are being answered are answered.
//! 4. When all have gone, or the time is over, the hub ends ([`Hub::drain`]). Whoever is still there, and agents that do not know the message, are told that it
//!    ends, and come back by their own jitter.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use postern_protocol::session::leave::Leave;

use super::Hub;
use crate::chance;

/// What keeps a hub from ending, and whether it is about to.
#[derive(Debug)]
pub(super) struct Drain {
    /// Asked for, and where devices are to go.
    asked: watch::Sender<Option<Option<SocketAddr>>>,
    begun: watch::Sender<bool>,
    links: Count,
    requests: Count,
}

/// How many of something there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Count(Arc<watch::Sender<usize>>);

/// One of them, for as long as it is kept.
#[derive(Debug)]
pub(super) struct Counted(Count);

/// What came of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Devices that were told when to come back.
    pub told: usize,
    /// Links that were there when the time was over.
    pub left: usize,
    /// Requests that were not answered by then.
    pub unanswered: usize,
}

impl Count {
    fn one(&self) -> Counted {
        self.0.send_modify(|count| *count += 1);
        Counted(self.clone())
    }

    fn now(&self) -> usize {
        *self.0.borrow()
    }

    async fn none(&self) {
        let mut counts = self.0.subscribe();
        // Ends without it only when the sender is gone, which is kept here.
        let _closed = counts.wait_for(|count| *count == 0).await.is_err();
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Drain {
    pub(super) fn new() -> Self {
        let (asked, begun) = (watch::Sender::new(None), watch::Sender::new(false));
        Self { asked, begun, links: Count::default(), requests: Count::default() }
    }

    /// A link is up for as long as this is kept.
    pub(super) fn link(&self) -> Counted {
        self.links.one()
    }

    /// A request is being answered for as long as this is kept.
    pub(super) fn request(&self) -> Counted {
        self.requests.one()
    }

    /// Whether the hub is about to end.
    pub(super) fn has_begun(&self) -> bool {
        *self.begun.borrow()
    }
}

impl Hub {
    /// Has whoever waits in [`drain_asked`](Self::drain_asked) begin. `to` is where devices go; none where this hub comes back.
    pub fn ask_to_drain(&self, to: Option<SocketAddr>) {
        self.drain.asked.send_modify(|asked| *asked = asked.or(Some(to)));
    }

    /// Waits until somebody asks the hub to end; where devices are to go.
    pub async fn drain_asked(&self) -> Option<SocketAddr> {
        let mut asked = self.drain.asked.subscribe();
        let asked = asked.wait_for(Option::is_some).await;
        asked.ok().and_then(|asked| *asked).flatten()
    }

    /// Lets nobody new in, tells every linked device when to come back, and waits until they have gone and every request is
    /// answered, within bounds.
    pub async fn drain(&self, to: Option<SocketAddr>) -> Drained {
        self.metrics.draining();
        self.drain.begun.send_replace(true);
        let plan = Leave::plan(self.links.count(), to);
        let told = self.links.send_home(|| plan.draw(u64::from_le_bytes(chance::bytes())));
        let window = plan.window();
        tracing::info!(told, within_ms = window.as_millis(), to = ?to, "the hub drains");
        let (links, requests) = (&self.drain.links, &self.drain.requests);
        let (_late, _unanswered) =
            tokio::join!(timeout(window + GRACE, links.none()), timeout(REQUESTS, requests.none()));
        let drained = Drained { told, left: links.now(), unanswered: requests.now() };
        tracing::info!(told, left = drained.left, unanswered = drained.unanswered, "the hub has drained");
        drained
    }
}

/// For the last ones to be gone, over a slow line.
const GRACE: Duration = Duration::from_secs(3);
/// For requests: longer than those take that wait for something.
const REQUESTS: Duration = Duration::from_secs(12);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_counted_is_waited_for() {
        let count = Count::default();
        count.none().await;
        let (one, other) = (count.one(), count.one());
        assert_eq!(count.now(), 2);
        drop(one);
        let waiting = tokio::spawn({
            let count = count.clone();
            async move { count.none().await }
        });
        assert_eq!(count.now(), 1);
        drop(other);
        waiting.await.unwrap();
    }
}
