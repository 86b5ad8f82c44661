//! Bounds of flows: how many of a tunnel and of the device, and how many of a tunnel in a second. What exceeds them is refused.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use postern_protocol::limits;

/// Places for the flows of one tunnel.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    pace: Mutex<Pace>,
    scanner: Arc<Semaphore>,
}

/// The place of one flow; dropping it makes room.
#[derive(Debug)]
pub(super) struct Place {
    _of_tunnel: OwnedSemaphorePermit,
    _of_device: OwnedSemaphorePermit,
}

/// How many flows may begin: a burst, and then one each [`EACH`].
#[derive(Debug)]
struct Pace {
    /// When there is room for a whole burst again.
    full_at: Instant,
}

impl Places {
    /// As many as a tunnel has.
    pub(super) fn new() -> Self {
        let pace = Mutex::new(Pace { full_at: Instant::now() });
        Self { free: Arc::new(Semaphore::new(limits::FLOWS)), pace, scanner: Arc::new(Semaphore::new(1)) }
    }

    /// Takes a place of the tunnel and one of the device; none where there is none left, or this one comes too soon.
    pub(super) fn take(&self, device: &Arc<Semaphore>) -> Option<Place> {
        let of_tunnel = Arc::clone(&self.free).try_acquire_owned().ok()?;
        let of_device = Arc::clone(device).try_acquire_owned().ok()?;
        self.is_in_time().then_some(Place { _of_tunnel: of_tunnel, _of_device: of_device })
    }

    /// Whether a flow may begin that takes no place: one of many in a way for packets, which has its own bound.
    pub(super) fn is_in_time(&self) -> bool {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).admits(Instant::now())
    }

    /// Takes the place of the tunnel's one scan; none while there is another.
    pub(super) fn take_scanner(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.scanner).try_acquire_owned().ok()
    }

    /// Places that are taken.
    pub(super) fn taken(&self) -> usize {
        limits::FLOWS.saturating_sub(self.free.available_permits())
    }

    /// Waits until every place was given back.
    pub(super) async fn all_left(&self) {
        let all = u32::try_from(limits::FLOWS).unwrap_or(u32::MAX);
        // It fails only when it is closed, which nobody does.
        let _all = self.free.acquire_many(all).await;
    }
}

impl Pace {
    fn admits(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + EACH;
        let admitted = full_at.saturating_duration_since(now) <= EACH * BURST;
        if admitted {
            self.full_at = full_at;
        }
        admitted
    }
}

/// Streams that a client may have open as soon as it has a VPN. Both ends have a place for each that may
/// come, so that those of a busy VPN are allowed when it becomes one.
pub(super) const STREAMS_OF_A_VPN: u16 = 256;
/// Streams for a VPN with many flows: all of its flows, and requests beside them.
pub(super) const STREAMS_OF_A_BUSY_VPN: u16 = 1152;
/// Between two flows in the long run: 200 in a second. A web page needs a dozen at once, a scan as many as it gets.
const EACH: Duration = Duration::from_millis(5);
/// Flows that may begin at once.
const BURST: u32 = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_flows_begins_at_once_and_the_others_one_by_one() {
        let began = Instant::now();
        let mut pace = Pace { full_at: began };
        assert_eq!((0..1000).filter(|_| pace.admits(began)).count(), 400);
        assert_eq!((0..1000).filter(|_| pace.admits(began + Duration::from_millis(50))).count(), 10);
        assert_eq!((0..1000).filter(|_| pace.admits(began + Duration::from_secs(60))).count(), 400);
    }

    #[tokio::test]
    async fn a_place_is_taken_of_the_tunnel_and_of_the_device_and_given_back_to_both() {
        let (places, device) = (Places::new(), Arc::new(Semaphore::new(2)));
        let (one, two) = (places.take(&device), places.take(&device));
        assert!(one.is_some() && two.is_some() && places.take(&device).is_none());
        assert_eq!(places.taken(), 2);
        drop((one, two));
        places.all_left().await;
        assert_eq!((places.taken(), device.available_permits()), (0, 2));
    }
}
