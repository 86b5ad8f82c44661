//! Knocks: tiny packets by which a device opens its own NAT for somebody whom it meets at a relay.
//!
//! 1. [`Knocks::handle_other`] takes where the relay sees the other end. Five knocks follow, half a second apart; then one every 20 seconds,
//!    because mappings of addresses end.
//! 2. Another place begins anew.
//! 3. Whatever the relay says, there are no more than [`KNOCKS`] of them in one meeting: a relay that lies has a device send that many
//!    bytes to somebody, one by one.

use std::net::SocketAddr;
use std::time::Duration;

use crate::time::BootTime;

/// The knocks of one meeting.
#[derive(Debug)]
pub struct Knocks {
    at: Option<SocketAddr>,
    /// Of the burst.
    left: u32,
    all: u32,
    due: BootTime,
}

impl Knocks {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { at: None, left: 0, all: 0, due: BootTime::ZERO }
    }

    /// The other end is there from now on, or nobody knows where.
    pub fn handle_other(&mut self, other: Option<SocketAddr>, now: BootTime) {
        if self.at != other {
            (self.at, self.left, self.due) = (other, BURST, now);
        }
    }

    /// Where to knock now, if it is time.
    pub fn poll_knock(&mut self, now: BootTime) -> Option<SocketAddr> {
        let at = self.at.filter(|_| now >= self.due && self.all < KNOCKS)?;
        self.all += 1;
        self.left = self.left.saturating_sub(1);
        self.due = now.after(if self.left > 0 { SOON } else { REFRESH });
        Some(at)
    }

    /// When [`Knocks::poll_knock`] yields something next; none as long as nothing is heard.
    #[must_use]
    pub fn timeout(&self) -> Option<BootTime> {
        self.at.filter(|_| self.all < KNOCKS).map(|_| self.due)
    }
}

impl Default for Knocks {
    fn default() -> Self {
        Self::new()
    }
}

/// Knocks of one meeting at most: three hours of them, or eight places.
pub const KNOCKS: u32 = 40;
const BURST: u32 = 5;
/// The five of them cover the first attempt of the other end, a second after it has come.
const SOON: Duration = Duration::from_millis(500);
/// Mappings of addresses last 30 s in the field.
const REFRESH: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> BootTime {
        BootTime::from_millis(ms)
    }

    fn place(port: u16) -> SocketAddr {
        ([192, 0, 2, 9], port).into()
    }

    /// When and where it knocks, looked at every hundred milliseconds.
    fn heard(knocks: &mut Knocks, from: u64, to: u64) -> Vec<(u64, u16)> {
        let times = (from..to).step_by(100);
        times.filter_map(|ms| knocks.poll_knock(at(ms)).map(|place| (ms, place.port()))).collect()
    }

    #[test]
    fn five_knocks_open_a_way_and_one_every_twenty_seconds_keeps_it_open() {
        let mut knocks = Knocks::new();
        assert_eq!((heard(&mut knocks, 0, 1000), knocks.timeout()), (vec![], None));
        knocks.handle_other(Some(place(1)), at(1000));
        let expected = [(1000, 1), (1500, 1), (2000, 1), (2500, 1), (3000, 1), (23_000, 1), (43_000, 1)];
        assert_eq!(heard(&mut knocks, 1000, 60_000), expected);
        assert_eq!(knocks.timeout(), Some(at(63_000)));
    }

    #[test]
    fn the_same_place_again_is_no_news_and_another_one_is() {
        let mut knocks = Knocks::new();
        knocks.handle_other(Some(place(1)), at(0));
        assert_eq!(heard(&mut knocks, 0, 3000).len(), 5);
        knocks.handle_other(Some(place(1)), at(3000));
        assert_eq!(heard(&mut knocks, 3000, 6000), []);
        knocks.handle_other(Some(place(2)), at(6000));
        assert_eq!(heard(&mut knocks, 6000, 7000), [(6000, 2), (6500, 2)]);
        knocks.handle_other(None, at(7000));
        assert_eq!((heard(&mut knocks, 7000, 60_000), knocks.timeout()), (vec![], None));
    }

    #[test]
    fn a_relay_that_names_ever_other_places_has_a_meeting_knock_forty_times_and_no_more() {
        let mut knocks = Knocks::new();
        let mut all = 0;
        for number in 0..10_000_u64 {
            knocks.handle_other(Some(place(u16::try_from(number).unwrap())), at(number * 1000));
            all += heard(&mut knocks, number * 1000, number * 1000 + 1000).len();
        }
        assert_eq!((all, knocks.timeout()), (40, None));
    }
}
