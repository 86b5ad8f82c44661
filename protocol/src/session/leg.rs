//! One end's leg at a relay: binds, binds again when nobody answers or the address has changed, and knows its handle.
//!
//! 1. [`Leg::poll_bind`] yields a notice whenever one is due: at once, then after 200 ms and twice as long each time up to
//!    2 s, until the relay answers; from then on every 20 s, because mappings of addresses end unnoticed.
//! 2. [`Leg::handle_notice`] takes what the relay says. `unbound` proves nothing and makes the leg bind again, twice a second at most.
//!    The relay says `bound` by itself as well when the other end comes from elsewhere.
//! 3. [`Leg::rebind`] is for who knows that the own address has changed.
//!
//! Packets that come with the leg's [handle](Leg::handle) are the other end's.

use std::net::SocketAddr;
use std::time::Duration;

use crate::time::BootTime;
use crate::wire::relay::{self, Handle, Notice, NoticeFault};

/// A leg of this end, from the ticket to its end.
#[derive(Debug)]
pub struct Leg {
    right: relay::Leg,
    /// That of the newest notice; zero before the first.
    stamp: u64,
    bound: Option<Bound>,
    /// When to bind next.
    due: BootTime,
    /// How long to wait for an answer.
    patience: Duration,
    /// When it bound last.
    asked: Option<BootTime>,
}

/// What the relay has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Begins packets of this leg, both ways.
    pub handle: Handle,
    /// The own address as the relay sees it.
    pub seen: SocketAddr,
    /// The other end's address as the relay sees it, where both ends speak UDP. A relay may lie about it.
    pub other: Option<SocketAddr>,
}

impl Leg {
    /// A leg that binds at once.
    #[must_use]
    pub const fn new(right: relay::Leg, now: BootTime) -> Self {
        Self { right, stamp: 0, bound: None, due: now, patience: FIRST, asked: None }
    }

    /// The notice that is to be sent now, if one is. `stamp` is the highest that was used with this right, by this leg or by
    /// another one, and is raised.
    pub fn poll_bind(&mut self, now: BootTime, stamp: &mut u64) -> Option<Vec<u8>> {
        if now < self.due {
            return None;
        }
        *stamp = stamp.saturating_add(1);
        self.stamp = *stamp;
        self.asked = Some(now);
        self.due = now.after(self.patience);
        self.patience = self.patience.saturating_mul(2).min(LONGEST);
        Some(Notice::bind(&self.right, self.stamp))
    }

    /// When [`Leg::poll_bind`] yields something next.
    #[must_use]
    pub const fn timeout(&self) -> BootTime {
        self.due
    }

    /// Takes a notice of the relay; true when the leg is bound by it, again or for the first time.
    ///
    /// # Errors
    /// [`NoticeFault`]; nothing has changed then.
    pub fn handle_notice(&mut self, notice: &[u8], now: BootTime) -> Result<bool, NoticeFault> {
        match Notice::read(notice, |_| self.right.key.clone())? {
            // An answer to an earlier notice may name an address that is no longer the own one.
            Notice::Bound { stamp, handle, seen, other } if stamp == self.stamp => {
                self.bound = Some(Bound { handle, seen, other });
                self.patience = FIRST;
                self.due = now.after(REFRESH);
                Ok(true)
            }
            Notice::Unbound { handle } if self.handle() == Some(handle) => {
                self.rebind(now);
                Ok(false)
            }
            Notice::Bound { .. } | Notice::Unbound { .. } | Notice::Bind { .. } | Notice::Hub => Ok(false),
        }
    }

    /// Binds again, half a second after the last time at the earliest.
    pub fn rebind(&mut self, now: BootTime) {
        let earliest = self.asked.map_or(now, |asked| asked.after(PAUSE).max(now));
        self.due = self.due.min(earliest);
    }

    /// What the relay said last; none before the first time.
    #[must_use]
    pub const fn bound(&self) -> Option<Bound> {
        self.bound
    }

    /// What packets of this leg begin with.
    #[must_use]
    pub fn handle(&self) -> Option<Handle> {
        self.bound.map(|bound| bound.handle)
    }
}

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(500);
/// Mappings of addresses last 30 s in the field.
const REFRESH: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixTime;
    use crate::wire::relay::{End, MeetingId, RelayKey, Ticket};

    fn right() -> relay::Leg {
        let ticket = Ticket {
            meeting: MeetingId([7; 16]),
            end: End::Agent,
            until: UnixTime::from_secs(1_800_000_000),
        };
        RelayKey::new([1; 32]).leg(ticket)
    }

    fn bound(stamp: u64, handle: u8) -> Vec<u8> {
        let handle = Handle::new([handle; 8]).unwrap();
        let packet = Notice::bound(&right().key, stamp, handle, "192.0.2.1:4000".parse().unwrap(), None);
        packet[8..].to_vec()
    }

    fn unbound(handle: u8) -> Vec<u8> {
        Notice::unbound(Handle::new([handle; 8]).unwrap())[8..].to_vec()
    }

    fn bind(leg: &mut Leg, now: u64) -> Option<Vec<u8>> {
        let mut stamp = leg.stamp;
        leg.poll_bind(BootTime::from_millis(now), &mut stamp)
    }

    /// The times in milliseconds at which it binds, when each millisecond is looked at and nobody answers.
    fn binds(leg: &mut Leg, from: u64, to: u64) -> Vec<u64> {
        (from..to).filter(|now| bind(leg, *now).is_some()).collect()
    }

    #[test]
    fn it_binds_at_once_and_again_ever_more_slowly_until_it_is_answered() {
        let mut leg = Leg::new(right(), BootTime::ZERO);
        assert_eq!(binds(&mut leg, 0, 8000), [0, 200, 600, 1400, 3000, 5000, 7000]);
        assert_eq!(leg.handle(), None);
        assert_eq!(leg.handle_notice(&bound(7, 3), BootTime::from_millis(8000)), Ok(true));
        assert_eq!(leg.handle(), Handle::new([3; 8]));
        assert_eq!(leg.bound().unwrap().seen, "192.0.2.1:4000".parse().unwrap());
        assert_eq!(binds(&mut leg, 8000, 28_300), [28_000, 28_200]);
    }

    #[test]
    fn an_answer_to_an_earlier_notice_or_under_another_key_binds_nothing() {
        let mut leg = Leg::new(right(), BootTime::ZERO);
        assert_eq!(binds(&mut leg, 0, 300), [0, 200]);
        assert_eq!(leg.handle_notice(&bound(1, 3), BootTime::from_millis(300)), Ok(false));
        let mut forged = bound(2, 3);
        forged[20] ^= 1;
        assert_eq!(leg.handle_notice(&forged, BootTime::from_millis(300)), Err(NoticeFault::Mac));
        assert_eq!(leg.handle(), None);
    }

    #[test]
    fn a_relay_that_forgot_the_leg_is_told_again_and_a_flood_of_such_words_is_answered_twice_a_second() {
        let mut leg = Leg::new(right(), BootTime::ZERO);
        assert_eq!(binds(&mut leg, 0, 1), [0]);
        assert_eq!(leg.handle_notice(&bound(1, 3), BootTime::from_millis(10)), Ok(true));
        // Of another leg: not believed.
        assert_eq!(leg.handle_notice(&unbound(4), BootTime::from_millis(20)), Ok(false));
        assert_eq!(binds(&mut leg, 20, 10_000), []);
        let mut bound_at = Vec::new();
        for now in 10_000..12_000 {
            let at = BootTime::from_millis(now);
            assert_eq!(leg.handle_notice(&unbound(3), at), Ok(false));
            if bind(&mut leg, now).is_some() {
                bound_at.push(now);
            }
        }
        assert_eq!(bound_at, [10_000, 10_200, 10_600, 11_100, 11_600]);
    }

    #[test]
    fn the_other_end_is_where_the_relay_says_last_and_a_word_of_an_earlier_binding_changes_nothing() {
        let mut leg = Leg::new(right(), BootTime::ZERO);
        assert_eq!(binds(&mut leg, 0, 1), [0]);
        let other: [SocketAddr; 2] = ["192.0.2.9:1".parse().unwrap(), "192.0.2.9:2".parse().unwrap()];
        let handle = Handle::new([3; 8]).unwrap();
        let bound = |stamp, other| {
            Notice::bound(&right().key, stamp, handle, "192.0.2.1:4000".parse().unwrap(), other)[8..].to_vec()
        };
        let mut hear = |stamp, other| {
            leg.handle_notice(&bound(stamp, other), BootTime::from_millis(10))
                .map(|_| leg.bound().unwrap().other)
        };
        assert_eq!(hear(1, None), Ok(None));
        assert_eq!(hear(1, Some(other[0])), Ok(Some(other[0])));
        assert_eq!(hear(1, Some(other[1])), Ok(Some(other[1])));
        assert_eq!(hear(0, Some(other[0])), Ok(Some(other[1])));
    }

    #[test]
    fn what_it_binds_with_never_repeats_a_stamp() {
        let mut leg = Leg::new(right(), BootTime::ZERO);
        let key = RelayKey::new([1; 32]);
        let (mut stamp, mut stamps) = (4, Vec::new());
        for now in 0..5000 {
            if let Some(packet) = leg.poll_bind(BootTime::from_millis(now), &mut stamp) {
                match Notice::read(&packet[8..], |ticket| key.leg_key(ticket.unwrap())) {
                    Ok(Notice::Bind { ticket, stamp }) => {
                        assert_eq!(ticket, right().ticket);
                        stamps.push(stamp);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(stamps, [5, 6, 7, 8, 9]);
    }
}
