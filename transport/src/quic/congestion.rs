//! Cubic with a bound on the queue that it builds: bulk transfers leave room for somebody's key presses.
//!
//! Cubic fills the buffer before the narrowest link until packets are lost; in a modem that is a second of waiting
//! for everybody. The round trip tells how much of the buffer is ours:
//!
//! 1. Every second round trip the present round trip is compared with the shortest that was ever seen.
//! 2. More than [`MOST_QUEUE`] above it: the window shrinks to what carries the same rate with that much queue.
//! 3. Less than half of that: the bound grows by a quarter, so that a faster link is found within a second.
//! 4. When the queue has not been short for [`STALE`], the shortest round trip may be one of another place or another
//!    radio cell: half the window for four round trips shows what it is now. A window that losses have made small builds no queue, and
//!    half of it could be less than a packet: then nothing would be sent, nothing acknowledged, and the look would never end.
//! 5. While nothing is acknowledged a full window lets a [packet a second](trickle) through.
//! 6. Cubic runs underneath and does not grow while the bound is in force, so a loss still shrinks what counts.
//!
//! The bound never falls below [`LEAST_WINDOW`], for a look below half of it: beside transfers that fill the buffer whatever we do, a share of
//! the link remains. Deliberately absent: pacing and loss recovery, which are quinn's.

mod trickle;

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory, Cubic, CubicConfig};
use quinn_proto::RttEstimator;

use self::trickle::Trickle;

/// Makes a [`ShortQueue`] for each path.
#[derive(Debug, Default)]
pub(super) struct ShortQueueConfig;

impl ControllerFactory for ShortQueueConfig {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        let cubic = Cubic::new(Arc::new(CubicConfig::default()), now, mtu);
        Box::new(ShortQueue::new(cubic, now, mtu))
    }
}

/// Cubic under a bound that follows the round trip.
#[derive(Clone, Debug)]
struct ShortQueue {
    cubic: Cubic,
    /// Bytes that may be in flight whatever Cubic says.
    bound: u64,
    /// When the bound is next reconsidered.
    next: Instant,
    /// The shortest round trip that still counts; none before the first acknowledgement.
    shortest: Option<Duration>,
    /// When the queue was last seen to be short.
    confirmed: Instant,
    /// A look at the present shortest round trip that is under way.
    look: Option<Look>,
    /// What may go although the window is full.
    trickle: Trickle,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    until: Instant,
    shortest: Duration,
    /// The bound that is in force again afterwards.
    resume: u64,
}

impl ShortQueue {
    fn new(cubic: Cubic, now: Instant, mtu: u16) -> Self {
        let trickle = Trickle::new(now, mtu);
        Self { cubic, bound: LARGEST_BOUND, next: now, shortest: None, confirmed: now, look: None, trickle }
    }

    fn reconsider(&mut self, now: Instant, present: Duration, shortest_ever: Duration) {
        let shortest = self.shortest.unwrap_or(shortest_ever).min(present);
        self.shortest = Some(shortest);
        if let Some(look) = self.look.as_mut() {
            look.shortest = look.shortest.min(present);
            if now >= look.until {
                (self.shortest, self.bound) = (Some(look.shortest), look.resume);
                (self.confirmed, self.look) = (now, None);
                self.next = now + present * 2;
            }
            return;
        }
        if now < self.next {
            return;
        }
        // What changes now shows in the round trip after next.
        self.next = now + present * 2;
        let queue = present.saturating_sub(shortest);
        if queue < MOST_QUEUE / 2 {
            self.confirmed = now;
            self.bound = (self.bound + self.bound / 4).min(LARGEST_BOUND);
        } else if now.saturating_duration_since(self.confirmed) >= STALE {
            let window = self.usual();
            self.look = Some(Look { until: now + present * 4, shortest: present, resume: window });
            self.bound = (window / 2).max(LEAST_WINDOW / 2);
        } else if queue > MOST_QUEUE {
            self.bound = scaled(self.usual(), shortest + MOST_QUEUE, present).max(LEAST_WINDOW);
        }
    }

    /// The window while all goes well.
    fn usual(&self) -> u64 {
        self.cubic.window().min(self.bound)
    }

    fn is_bound(&self) -> bool {
        self.bound < self.cubic.window()
    }
}

impl Controller for ShortQueue {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
        self.trickle.handle_sent(now, bytes);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        let is_limited = app_limited || self.is_bound();
        self.cubic.on_ack(now, sent, bytes, is_limited, rtt);
        self.reconsider(now, rtt.get(), rtt.min());
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.cubic.on_end_acks(now, in_flight, app_limited || self.is_bound(), largest);
        self.trickle.handle_acknowledged(now, in_flight);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost_bytes: u64) {
        self.cubic.on_congestion_event(now, sent, is_persistent, lost_bytes);
        self.trickle.handle_lost(lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.cubic.on_mtu_update(new_mtu);
        self.trickle.handle_mtu(new_mtu);
    }

    fn window(&self) -> u64 {
        self.trickle.window(self.usual(), Instant::now)
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// When the connection with this controller had something acknowledged last.
pub(super) fn acknowledged(controller: Box<dyn Controller>) -> Option<Instant> {
    controller.into_any().downcast::<ShortQueue>().ok().map(|short| short.trickle.acknowledged())
}

/// The share `part` / `whole` of `bytes`.
fn scaled(bytes: u64, part: Duration, whole: Duration) -> u64 {
    let product = u128::from(bytes) * part.as_micros();
    u64::try_from(product / whole.as_micros().max(1)).unwrap_or(u64::MAX)
}

/// Queue that a connection may build, as time. A ping of 60 ms stays below 100 beside a transfer.
const MOST_QUEUE: Duration = Duration::from_millis(30);
/// Half a second at half the rate in this time costs one per cent.
const STALE: Duration = Duration::from_secs(20);
/// Carries 8 Mbit/s over 60 ms beside others who fill the buffer.
const LEAST_WINDOW: u64 = 64 * 1024;
/// Above any bandwidth-delay product that this product meets.
const LARGEST_BOUND: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const SHORTEST: Duration = Duration::from_millis(60);

    fn controller(now: Instant, cubic_window: u64) -> ShortQueue {
        let mut config = CubicConfig::default();
        config.initial_window(cubic_window);
        let cubic = Cubic::new(Arc::new(config), now, 1200);
        ShortQueue::new(cubic, now, 1200)
    }

    /// Round trip through a link of `rate` bytes per second that holds the whole window.
    fn round_trip(window: u64, rate: u64) -> Duration {
        SHORTEST.max(Duration::from_micros(window * 1_000_000 / rate))
    }

    #[test]
    fn a_queue_in_a_modem_settles_at_its_bound_and_the_link_stays_full() {
        let mut now = Instant::now();
        let rate = 1_250_000;
        let mut short = controller(now, 400_000);
        for _ in 0..20 {
            let present = round_trip(short.usual(), rate);
            short.reconsider(now, present, SHORTEST);
            now += present * 2;
        }
        let present = round_trip(short.usual(), rate);
        assert!(present <= SHORTEST + MOST_QUEUE, "{present:?}");
        assert!(short.usual() > rate * 60 / 1000, "{}", short.usual());
    }

    #[test]
    fn a_fast_link_is_left_to_cubic() {
        let mut now = Instant::now();
        let mut short = controller(now, 4_000_000);
        for _ in 0..20 {
            short.reconsider(now, Duration::from_millis(5), Duration::from_micros(80));
            now += Duration::from_millis(10);
        }
        assert_eq!((short.usual(), short.is_bound()), (4_000_000, false));
    }

    #[test]
    fn a_queue_of_others_leaves_the_least_window_and_its_end_gives_the_link_back() {
        let mut now = Instant::now();
        let mut short = controller(now, 400_000);
        for _ in 0..20 {
            short.reconsider(now, Duration::from_millis(500), SHORTEST);
            now += Duration::from_secs(1);
        }
        assert_eq!(short.usual(), LEAST_WINDOW);
        for _ in 0..9 {
            short.reconsider(now, SHORTEST, SHORTEST);
            now += SHORTEST * 2;
        }
        assert_eq!(short.usual(), 400_000);
    }

    #[test]
    fn a_longer_way_is_noticed_and_gets_its_window_back() {
        let mut now = Instant::now();
        let mut short = controller(now, 400_000);
        short.reconsider(now, SHORTEST, SHORTEST);
        // A hand-over: every round trip takes 200 ms from here, whatever is in flight.
        let longer = Duration::from_millis(200);
        let mut least = u64::MAX;
        let (end, step) = (now + Duration::from_secs(40), longer / 10);
        while now < end {
            now += step;
            short.reconsider(now, longer, SHORTEST);
            least = least.min(short.usual());
        }
        assert_eq!((least, short.usual()), (LEAST_WINDOW / 2, 400_000));
    }

    #[test]
    fn a_look_leaves_room_for_packets_where_losses_have_made_the_window_small() {
        let mut now = Instant::now();
        let mut short = controller(now, 2400);
        let mut least = u64::MAX;
        for _ in 0..400 {
            // Packets that overtake one another keep the round trip from being short for as long as anybody looks.
            short.reconsider(now, SHORTEST + MOST_QUEUE, SHORTEST);
            least = least.min(short.usual());
            now += Duration::from_millis(100);
        }
        assert_eq!(least, 2400);
    }

    #[test]
    fn a_look_at_a_standing_queue_finds_the_same_shortest_round_trip() {
        let mut now = Instant::now();
        let rate = 1_250_000;
        let mut short = controller(now, 400_000);
        let end = now + Duration::from_secs(300);
        while now < end {
            let present = round_trip(short.usual(), rate);
            short.reconsider(now, present, SHORTEST);
            now += present / 10;
        }
        assert_eq!(short.shortest, Some(SHORTEST));
        assert!(round_trip(short.usual(), rate) <= SHORTEST + MOST_QUEUE, "{}", short.usual());
    }

    #[test]
    fn the_bound_moves_once_in_two_round_trips() {
        let now = Instant::now();
        let mut short = controller(now, 400_000);
        short.reconsider(now, Duration::from_millis(180), SHORTEST);
        assert_eq!(short.usual(), 200_000);
        short.reconsider(now + Duration::from_millis(359), Duration::from_millis(180), SHORTEST);
        assert_eq!(short.usual(), 200_000);
        short.reconsider(now + Duration::from_millis(360), Duration::from_millis(180), SHORTEST);
        assert_eq!(short.usual(), 100_000);
    }

    #[test]
    fn a_loss_shrinks_the_window_also_under_the_bound() {
        let now = Instant::now();
        let mut short = controller(now, 400_000);
        short.reconsider(now, Duration::from_millis(100), SHORTEST);
        assert_eq!(short.usual(), 360_000);
        short.on_congestion_event(now, now, false, 1200);
        assert_eq!(short.usual(), 280_000);
    }
}
