//! How many handshakes may begin: in all, and from one place.
//!
//! 1. An attempt is charged to where it comes from: an IPv4 address, or a network of IPv6 as one customer has it (/64).
//! 2. Places of which nobody is known share one more bound: a handshake costs the processor of a router a thousand times what its
//!    first packet costs whoever sends it, and addresses are cheap as well.
//! 3. Where somebody has [become known](Arrivals::vouch), the place has a bound of its own for an hour. So a flood from elsewhere keeps
//!    nobody out who was here before.
//!
//! What exceeds a bound is not answered. A peer sends its first packet again after a second, so that an honest one comes later and a
//! flood comes to nothing. Deliberately absent: queues, and clocks of its own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::settings::{Pacing, Rate};
use crate::crowd::network;

/// Who may begin a handshake now. One for each endpoint.
#[derive(Debug)]
pub(super) struct Arrivals {
    pacing: Option<Pacing>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    all: Bucket,
    places: HashMap<IpAddr, Bucket>,
    known: HashMap<IpAddr, Known>,
}

/// What was used up of a rate.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// When there is room for a whole burst again.
    full_at: Instant,
}

#[derive(Debug)]
struct Known {
    bucket: Bucket,
    /// Until when.
    until: Instant,
}

impl Arrivals {
    /// Bounds from now on; none admits everybody.
    pub(super) fn new(pacing: Option<Pacing>, now: Instant) -> Self {
        let state = State { all: Bucket::new(now), places: HashMap::new(), known: HashMap::new() };
        Self { pacing, state: Mutex::new(state) }
    }

    /// Whether a handshake with somebody at `from` may begin.
    pub(super) fn admit(&self, from: IpAddr, now: Instant) -> bool {
        self.pacing.is_none_or(|pacing| self.lock().admit(&pacing, network(from), now))
    }

    /// Somebody at `from` is known: whoever comes from there is not held up by those who come from elsewhere.
    pub(super) fn vouch(&self, from: IpAddr, now: Instant) {
        if self.pacing.is_some() {
            self.lock().vouch(network(from), now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn admit(&mut self, pacing: &Pacing, place: IpAddr, now: Instant) -> bool {
        if let Some(known) = self.known.get_mut(&place).filter(|known| now < known.until) {
            return known.bucket.admits(pacing.known, now);
        }
        if self.places.len() >= PLACES && !self.places.contains_key(&place) {
            // A place whose bucket is full again says nothing.
            self.places.retain(|_, bucket| bucket.full_at > now);
        }
        let is_room = self.places.len() < PLACES;
        let bucket = match self.places.get_mut(&place) {
            Some(bucket) => bucket,
            None if is_room => self.places.entry(place).or_insert(Bucket::new(now)),
            // So many at once are a flood: they share the bound of all.
            None => return self.all.admits(pacing.all, now),
        };
        bucket.admits(pacing.place, now) && self.all.admits(pacing.all, now)
    }

    fn vouch(&mut self, place: IpAddr, now: Instant) {
        let until = now + KNOWN_FOR;
        if let Some(known) = self.known.get_mut(&place) {
            known.until = until;
            return;
        }
        if self.known.len() >= KNOWN
            && let Some(oldest) =
                self.known.iter().min_by_key(|(_, known)| known.until).map(|(place, _)| *place)
        {
            self.known.remove(&oldest);
        }
        self.known.insert(place, Known { bucket: Bucket::new(now), until });
    }
}

impl Bucket {
    const fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    fn admits(&mut self, rate: Rate, now: Instant) -> bool {
        let each = Duration::from_secs(1) / u32::from(rate.per_s.max(1));
        let full_at = self.full_at.max(now) + each;
        let admitted = full_at.saturating_duration_since(now) <= each * u32::from(rate.burst);
        if admitted {
            self.full_at = full_at;
        }
        admitted
    }
}

/// Places that are told apart, 64 bytes each.
const PLACES: usize = 512;
/// Places of people who are known; as many as may be connected, and those of an hour.
const KNOWN: usize = 64;
const KNOWN_FOR: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quic::Admission;

    fn arrivals(now: Instant) -> Arrivals {
        let rate = |burst, per_s| Rate { burst, per_s };
        Arrivals::new(Some(Pacing { place: rate(4, 1), all: rate(8, 4), known: rate(16, 8) }), now)
    }

    fn from(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn admitted(arrivals: &Arrivals, last: u8, now: Instant) -> usize {
        (0..100).filter(|_| arrivals.admit(from(last), now)).count()
    }

    #[test]
    fn one_place_has_a_burst_and_then_its_rate() {
        let now = Instant::now();
        let arrivals = arrivals(now);
        assert_eq!(admitted(&arrivals, 1, now), 4);
        assert_eq!(admitted(&arrivals, 1, now), 0);
        assert_eq!(admitted(&arrivals, 1, now + Duration::from_secs(2)), 2);
        assert_eq!(admitted(&arrivals, 1, now + Duration::from_secs(60)), 4);
    }

    #[test]
    fn many_places_share_a_bound_and_one_that_is_known_is_not_held_up_by_them() {
        let now = Instant::now();
        let arrivals = arrivals(now);
        arrivals.vouch(from(200), now);
        let strangers: usize = (0..100).map(|last| admitted(&arrivals, last, now)).sum();
        assert_eq!(strangers, 8);
        assert_eq!(admitted(&arrivals, 200, now), 16);
        assert_eq!(admitted(&arrivals, 201, now), 0, "nobody is known there");
        let later = now + KNOWN_FOR;
        assert_eq!(admitted(&arrivals, 200, later), 4, "known for an hour");
    }

    #[test]
    fn a_network_of_ipv6_is_one_place() {
        let now = Instant::now();
        let arrivals = arrivals(now);
        let within = |subnet: u16, host: u16| IpAddr::from([0x2001, 0xdb8, 0, subnet, 0, 0, 0, host]);
        assert_eq!((0..100).filter(|host| arrivals.admit(within(1, *host), now)).count(), 4);
        assert_eq!((0..100).filter(|host| arrivals.admit(within(2, *host), now)).count(), 4);
        assert_eq!(network("::ffff:192.0.2.7".parse().unwrap()), from(7));
    }

    #[test]
    fn any_number_of_places_takes_a_bounded_memory_and_a_hub_has_no_bound() {
        let now = Instant::now();
        let arrivals = arrivals(now);
        for place in 0..10_000u32 {
            arrivals.admit(IpAddr::from(place.to_be_bytes()), now);
            arrivals.vouch(IpAddr::from(place.to_be_bytes()), now + Duration::from_millis(place.into()));
        }
        let state = arrivals.lock();
        assert_eq!((state.places.len(), state.known.len()), (PLACES, KNOWN));
        assert!(state.known.contains_key(&IpAddr::from(9_999u32.to_be_bytes())), "the newest is kept");
        let hub = Arrivals::new(Admission::hub().pacing, now);
        assert_eq!(admitted(&hub, 1, now), 100);
    }
}
