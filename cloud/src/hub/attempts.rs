//! How often strangers may try enrolment codes: for each source, and over the whole hub.
//!
//! An attempt is taken before the code is looked at and given back when the code was genuine, so that many attempts at
//! once are no way around the limit. Refusing costs no write.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use postern_transport::crowd::network;

use crate::buckets::{Buckets, Size};

/// Counts wrong codes while the hub runs.
#[derive(Debug)]
pub(super) struct Attempts {
    started: Instant,
    counts: Mutex<Counts>,
}

/// The counts themselves; pure.
#[derive(Debug, Default)]
struct Counts {
    sources: Buckets<IpAddr>,
    hub: Buckets<()>,
}

impl Attempts {
    /// Nothing was tried yet.
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), counts: Mutex::default() }
    }

    /// Takes one attempt. False when this source or the hub has none left.
    pub(super) fn admit(&self, source: IpAddr) -> bool {
        let at = self.started.elapsed();
        self.lock().admit(source, at)
    }

    /// Gives the attempt of a genuine code back.
    pub(super) fn forgive(&self, source: IpAddr) {
        self.lock().forgive(source);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// What a source may not try is not counted for the hub, so that one source cannot keep the others out.
    fn admit(&mut self, source: IpAddr, at: Duration) -> bool {
        self.sources.take(&network(source), at, SOURCE) && self.hub.take(&(), at, HUB)
    }

    fn forgive(&mut self, source: IpAddr) {
        self.sources.give_back(&network(source), SOURCE);
        self.hub.give_back(&(), HUB);
    }
}

/// Wrong codes of one source.
const SOURCE: Size = Size { attempts: 10, period: Duration::from_secs(60) };
/// Wrong codes of all sources: with codes of 128 bits this bounds the work, not the luck.
const HUB: Size = Size { attempts: 600, period: Duration::from_secs(60) };

#[cfg(test)]
mod tests {
    use super::*;

    fn source(number: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(0xc000_0200 + number))
    }

    #[test]
    fn a_source_has_ten_wrong_codes_a_minute_and_another_one_is_not_concerned() {
        let mut counts = Counts::default();
        let admitted = (0..100).filter(|_| counts.admit(source(1), Duration::ZERO)).count();
        assert_eq!(admitted, 10);
        assert!(counts.admit(source(2), Duration::ZERO));
        assert!(!counts.admit(source(1), Duration::from_secs(5)));
        assert!(counts.admit(source(1), Duration::from_secs(6)));
    }

    #[test]
    fn genuine_codes_are_not_counted() {
        let mut counts = Counts::default();
        for _ in 0..10_000 {
            assert!(counts.admit(source(1), Duration::ZERO));
            counts.forgive(source(1));
        }
    }

    #[test]
    fn all_sources_share_what_the_hub_takes() {
        let mut counts = Counts::default();
        let admitted = (0..1000).filter(|number| counts.admit(source(*number), Duration::ZERO)).count();
        assert_eq!(admitted, 600);
        assert!(counts.admit(source(2000), Duration::from_secs(1)));
    }
}
