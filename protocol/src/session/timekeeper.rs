//! What time it is on a device: the last attested time and the clock that counts from boot, never the wall clock.
//!
//! 1. Until somebody attests the time only a lower bound is known: the newest time that was ever signed for this device.
//! 2. The bound grows with the boot clock. What is past it has ended; what lies ahead of it may have begun.
//! 3. An attestation replaces what was known, also when it is earlier: its nonce proves that it is the newer word. So a
//!    thief who attested the year 2106 has set the clock until the next genuine attestation, and no longer.
//!
//! Deliberately absent: which attestation to believe. That is said by [`FreshnessWatch`](super::freshness::FreshnessWatch).

use std::time::Duration;

use crate::time::{BootTime, UnixTime};

/// The time of a device; pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timekeeper {
    /// What was signed.
    signed: UnixTime,
    /// When it was true.
    since: BootTime,
    attested: bool,
}

impl Timekeeper {
    /// Knows nothing but that it is not before `bound`.
    #[must_use]
    pub const fn new(bound: UnixTime, now: BootTime) -> Self {
        Self { signed: bound, since: now, attested: false }
    }

    /// Somebody whose word counts says that it was `time` when this device asked at `asked`.
    ///
    /// Counted from the question, not from the answer: an answer that is held back cannot make what ends last longer.
    /// What is signed has whole seconds, so the device may be one second late.
    pub const fn handle_attested(&mut self, time: UnixTime, asked: BootTime) {
        *self = Self { signed: time, since: asked, attested: true };
    }

    /// Something was signed at `time`: it is not earlier. Attested time does not need that.
    pub fn handle_signed(&mut self, time: UnixTime, now: BootTime) {
        if !self.attested && time > self.at(now) {
            *self = Self { signed: time, since: now, attested: false };
        }
    }

    /// What time it is at a moment of the boot clock.
    #[must_use]
    pub fn at(&self, moment: BootTime) -> UnixTime {
        UnixTime::from_secs(self.millis(moment) / 1000)
    }

    /// How long it is from `now` until `time`, to the millisecond; zero when it has come.
    #[must_use]
    pub fn until(&self, time: UnixTime, now: BootTime) -> Duration {
        Duration::from_millis(time.as_secs().saturating_mul(1000).saturating_sub(self.millis(now)))
    }

    /// Whether the time was attested since boot; otherwise it is a lower bound.
    #[must_use]
    pub const fn is_attested(&self) -> bool {
        self.attested
    }

    fn millis(&self, moment: BootTime) -> u64 {
        let signed = self.signed.as_secs().saturating_mul(1000);
        let (moment, since) = (moment.as_millis(), self.since.as_millis());
        if moment >= since {
            signed.saturating_add(moment - since)
        } else {
            signed.saturating_sub(since - moment)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> UnixTime {
        UnixTime::from_secs(secs)
    }

    fn boot(secs: u64) -> BootTime {
        BootTime::from_millis(secs * 1000)
    }

    #[test]
    fn the_bound_grows_with_the_boot_clock_and_rises_with_what_was_signed() {
        let mut time = Timekeeper::new(at(1000), boot(50));
        assert_eq!((time.at(boot(50)), time.at(boot(60)), time.is_attested()), (at(1000), at(1010), false));
        time.handle_signed(at(1005), boot(60));
        assert_eq!(time.at(boot(60)), at(1010), "it is later than that already");
        time.handle_signed(at(2000), boot(60));
        assert_eq!(time.at(boot(61)), at(2001));
    }

    #[test]
    fn an_attestation_replaces_what_was_known_also_when_it_is_earlier() {
        let mut time = Timekeeper::new(at(1000), boot(0));
        time.handle_attested(at(4_291_747_200), boot(10));
        assert_eq!(time.at(boot(20)), at(4_291_747_210), "a thief's");
        time.handle_attested(at(1030), boot(30));
        assert_eq!((time.at(boot(40)), time.is_attested()), (at(1040), true));
        time.handle_signed(at(5000), boot(40));
        assert_eq!(time.at(boot(40)), at(1040), "attested time needs no bound");
    }

    #[test]
    fn edges_are_met_to_the_millisecond_and_nothing_overflows() {
        let time = Timekeeper::new(at(1000), boot(10));
        assert_eq!(time.until(at(1002), BootTime::from_millis(10_250)), Duration::from_millis(1750));
        assert_eq!(time.until(at(999), boot(10)), Duration::ZERO);
        assert_eq!(time.at(boot(5)), at(995), "moments before count too");
        let end = Timekeeper::new(UnixTime::MAX, boot(0));
        assert_eq!(end.at(BootTime::from_millis(u64::MAX)), UnixTime::from_secs(u64::MAX / 1000));
        assert_eq!(Timekeeper::new(at(0), boot(9)).at(boot(0)), at(0));
    }
}
