//! What was measured of a way, and whether one is much worse than another.

use std::time::Duration;

/// Packets and the round trip of a way, from some moment on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Measured {
    /// Packets of QUIC that were sent.
    pub(in super::super) sent: u64,
    /// Those of them that were lost, as far as is known.
    pub(in super::super) lost: u64,
    /// The round trip now.
    pub(in super::super) round_trip: Duration,
}

impl Measured {
    /// What came after `before`.
    pub(super) const fn since(self, before: Self) -> Self {
        Self {
            sent: self.sent.saturating_sub(before.sent),
            lost: self.lost.saturating_sub(before.lost),
            round_trip: self.round_trip,
        }
    }

    /// Both together, with the round trip of the newer one.
    pub(super) const fn and(self, newer: Self) -> Self {
        Self {
            sent: self.sent.saturating_add(newer.sent),
            lost: self.lost.saturating_add(newer.lost),
            round_trip: newer.round_trip,
        }
    }

    /// Whether it loses more than a twentieth beyond twice what the other one loses. A few losses are chance.
    pub(super) const fn loses_more_than(self, other: Self) -> bool {
        self.lost >= FEW && self.per_mille() > other.per_mille().saturating_mul(2).saturating_add(50)
    }

    /// Whether its round trip is longer than twice that of the other one and a tenth of a second.
    pub(super) fn is_longer_than(self, other: Self) -> bool {
        self.round_trip > other.round_trip.saturating_mul(2).saturating_add(SLACK)
    }

    const fn per_mille(self) -> u64 {
        match self.lost.saturating_mul(1000).checked_div(self.sent) {
            Some(share) => share,
            None => 0,
        }
    }
}

const FEW: u64 = 3;
const SLACK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sent: u64, lost: u64, ms: u64) -> Measured {
        Measured { sent, lost, round_trip: Duration::from_millis(ms) }
    }

    #[test]
    fn a_way_that_loses_more_than_a_twentieth_is_worse_than_a_good_one_and_not_than_one_that_loses_as_much() {
        assert!(of(40, 3, 0).loses_more_than(of(500, 0, 0)));
        assert!(!of(60, 3, 0).loses_more_than(of(500, 0, 0)), "a twentieth");
        assert!(!of(4, 2, 0).loses_more_than(of(500, 0, 0)), "two may be chance");
        assert!(!of(100, 20, 0).loses_more_than(of(100, 8, 0)));
        assert!(of(100, 22, 0).loses_more_than(of(100, 8, 0)));
        assert!(of(100, 6, 0).loses_more_than(Measured::default()), "nothing is known of the other one");
    }

    #[test]
    fn a_way_is_longer_beyond_twice_the_round_trip_and_a_tenth_of_a_second() {
        assert!(!of(0, 0, 180).is_longer_than(of(0, 0, 40)));
        assert!(of(0, 0, 181).is_longer_than(of(0, 0, 40)));
        assert!(!of(0, 0, 100).is_longer_than(Measured::default()));
    }

    #[test]
    fn measures_are_taken_from_a_moment_on_and_add_up() {
        let (before, now) = (of(100, 3, 20), of(150, 5, 30));
        assert_eq!(now.since(before), of(50, 2, 30));
        assert_eq!(of(7, 1, 90).and(now.since(before)), of(57, 3, 30));
    }
}
