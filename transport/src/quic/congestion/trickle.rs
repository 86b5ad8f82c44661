//! One packet a second although the window is full, while nothing is acknowledged.
//!
//! 1. Where a network is gone for a while, the window is soon full of packets that were lost. From there on QUIC sends nothing but probes, each
//!    of which waits twice as long as the one before (RFC 9002 section 6.2.1): after twenty seconds of nothing the next may be twenty seconds away.
//! 2. Whatever quinn wants to send meanwhile (a keep-alive, an acknowledgement of what the peer was heard to say) may take data with it once
//!    a second. Its acknowledgement shows what was lost, and the transfer goes on.
//!
//! So a transfer resumes at the latest with the next keep-alive of either end, for a packet in five seconds on a network that is dead.

use std::time::{Duration, Instant};

/// What is in flight, and since when nothing is heard of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trickle {
    /// Bytes in flight; packets that carry nothing but acknowledgements count until the next acknowledgement comes.
    in_flight: u64,
    /// When something was acknowledged.
    heard: Instant,
    /// When something was sent.
    sent: Instant,
    mtu: u64,
}

impl Trickle {
    pub(super) fn new(now: Instant, mtu: u16) -> Self {
        Self { in_flight: 0, heard: now, sent: now, mtu: mtu.into() }
    }

    pub(super) const fn handle_sent(&mut self, now: Instant, bytes: u64) {
        self.in_flight = self.in_flight.saturating_add(bytes);
        self.sent = now;
    }

    pub(super) const fn handle_acknowledged(&mut self, now: Instant, in_flight: u64) {
        self.in_flight = in_flight;
        self.heard = now;
    }

    /// When something was acknowledged last, or could have been for the first time.
    pub(super) const fn acknowledged(&self) -> Instant {
        self.heard
    }

    pub(super) const fn handle_lost(&mut self, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
    }

    pub(super) fn handle_mtu(&mut self, mtu: u16) {
        self.mtu = mtu.into();
    }

    /// The window where `usual` would be the one: more than it, when a packet is due that finds no room in it.
    /// The time is asked for only when there is no room.
    pub(super) fn window(&self, usual: u64, now: impl FnOnce() -> Instant) -> u64 {
        // quinn sends a packet of this size when it ends below the window.
        let with_one_more = self.in_flight.saturating_add(self.mtu);
        if with_one_more < usual {
            return usual;
        }
        let since = |at: Instant| at.saturating_duration_since(self.heard).as_millis() / EVERY.as_millis();
        if since(now()) > since(self.sent) { with_one_more.saturating_add(1) } else { usual }
    }
}

const EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u16 = 1200;
    const WINDOW: u64 = 10 * 1200;

    /// What quinn sends at this time from all that it has, packet by packet.
    fn sends(trickle: &mut Trickle, now: Instant) -> u32 {
        let mut packets = 0;
        let mut in_flight = trickle.in_flight;
        while in_flight + u64::from(MTU) < trickle.window(WINDOW, || now) {
            in_flight += u64::from(MTU);
            packets += 1;
        }
        if packets > 0 {
            trickle.handle_sent(now, u64::from(packets * u32::from(MTU)));
        }
        packets
    }

    #[test]
    fn while_nothing_is_acknowledged_one_packet_a_second_goes_beyond_the_window() {
        let start = Instant::now();
        let mut trickle = Trickle::new(start, MTU);
        assert_eq!(sends(&mut trickle, start), 9);
        let sent: Vec<u32> =
            (1..=35).map(|tenth| sends(&mut trickle, start + Duration::from_millis(tenth * 100))).collect();
        let expected: Vec<u32> = (1..=35).map(|tenth| u32::from(tenth % 10 == 0)).collect();
        assert_eq!(sent, expected);
    }

    #[test]
    fn a_keep_alive_after_a_longer_silence_takes_one_packet_and_not_one_for_each_second() {
        let start = Instant::now();
        let mut trickle = Trickle::new(start, MTU);
        sends(&mut trickle, start);
        assert_eq!(sends(&mut trickle, start + Duration::from_secs(20)), 1);
        assert_eq!(sends(&mut trickle, start + Duration::from_millis(20_100)), 0);
    }

    #[test]
    fn acknowledgements_of_what_the_peer_says_do_not_use_up_the_packet_that_is_due() {
        let start = Instant::now();
        let mut trickle = Trickle::new(start, MTU);
        sends(&mut trickle, start);
        let mut packets = 0;
        for hundredth in 1..=250 {
            let now = start + Duration::from_millis(hundredth * 10);
            packets += sends(&mut trickle, now);
            trickle.handle_sent(now, 0);
        }
        assert_eq!(packets, 2);
    }

    #[test]
    fn what_is_acknowledged_leaves_the_window_as_it_is() {
        let start = Instant::now();
        let mut trickle = Trickle::new(start, MTU);
        sends(&mut trickle, start);
        let later = start + Duration::from_millis(1500);
        trickle.handle_acknowledged(later, WINDOW - 1200);
        assert_eq!(trickle.window(WINDOW, || later + Duration::from_millis(900)), WINDOW);
        trickle.handle_lost(WINDOW - 2400);
        assert_eq!(trickle.window(WINDOW, || unreachable!("there is room")), WINDOW);
    }
}
