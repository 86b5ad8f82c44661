//! How many packets of a tunnel were dropped, and the news about it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use postern_protocol::wire::flow::{PacketDrops, VpnNews};
use postern_protocol::wire::registry::PacketFault;

/// Counts of one tunnel.
#[derive(Debug)]
pub(in super::super) struct Drops {
    counts: Mutex<[u64; PacketFault::ALL.len()]>,
    counted: Notify,
}

impl Drops {
    pub(in super::super) fn new() -> Self {
        Self { counts: Mutex::new([0; PacketFault::ALL.len()]), counted: Notify::new() }
    }

    pub(super) fn count(&self, fault: PacketFault) {
        // Numbers begin with one.
        let place = usize::from(fault.number()).saturating_sub(1);
        if let Some(count) = self.counts().get_mut(place) {
            *count = count.saturating_add(1);
        }
        self.counted.notify_one();
    }

    /// Waits until packets were dropped, and for a second after the news before. Safe to cancel.
    pub(in super::super) async fn news(&self, before: Option<Instant>) -> VpnNews {
        if let Some(before) = before {
            tokio::time::sleep_until(before + EACH).await;
        }
        self.counted.notified().await;
        VpnNews::Drops(self.so_far())
    }

    /// What was dropped so far.
    pub(in super::super) fn so_far(&self) -> Vec<PacketDrops> {
        let counts = *self.counts();
        let each = PacketFault::ALL.iter().zip(counts);
        each.filter(|(_, count)| *count > 0)
            .map(|(fault, count)| PacketDrops { fault: *fault, count })
            .collect()
    }

    fn counts(&self) -> MutexGuard<'_, [u64; PacketFault::ALL.len()]> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const EACH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_dropped_is_told_once_a_second_and_not_again_without_a_reason() {
        let drops = Drops::new();
        drops.count(PacketFault::Queue);
        drops.count(PacketFault::Length);
        drops.count(PacketFault::Queue);
        let said = |length, queue| {
            let each = [(PacketFault::Length, length), (PacketFault::Queue, queue)];
            VpnNews::Drops(each.map(|(fault, count)| PacketDrops { fault, count }).to_vec())
        };
        assert_eq!(drops.news(None).await, said(1, 2));
        // Nine tenths of the second have passed.
        let told = Instant::now() - EACH * 9 / 10;
        drops.count(PacketFault::Queue);
        assert_eq!(drops.news(Some(told)).await, said(1, 3));
        assert!(told.elapsed() >= EACH);
        let nothing = std::pin::pin!(drops.news(None));
        assert!(polled_once(nothing).is_pending());
    }

    /// Asks a future once.
    fn polled_once<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }
}
