//! How often a device speaks on a link that is idle, so that the mapping of its address in a NAT lasts.
//!
//! 1. A link pings every 25 seconds, which is enough for mappings of 30 seconds.
//! 2. Where a link ends because nothing is heard, and the next one is up at once from the same address, the network was there all the time:
//!    the mapping was not. In that network links speak every 15 seconds from there on ([`Pulse::handle_silence`], [`Pulse::handle_up`]).
//! 3. A mapping needs packets that go out and no answers. So the short beat consists of single bytes, which cost a fifth of a ping, and the
//!    pings come more rarely: an idle link stays below 17 MB a month on either beat.
//!
//! What was learnt of a network is lost with the process: it is not worth a write to flash.

use std::net::IpAddr;
use std::time::Duration;

use crate::time::BootTime;

/// Where a link is: the own address towards the hub, and the hub's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The own address, before any NAT.
    pub own: IpAddr,
    /// The hub's.
    pub hub: IpAddr,
}

/// How often a link speaks when nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Silence after which the hub is asked whether it is there.
    pub ping: Duration,
    /// How often a single byte goes out besides, which is not answered.
    pub byte: Option<Duration>,
}

/// What a device knows of the networks in which it was.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    /// Networks that lose mappings, the last one in which that was seen at the end.
    short: Vec<Network>,
    silent: Option<(Network, BootTime)>,
    /// The longest silence that is wanted, where traffic costs nothing.
    longest: Option<Duration>,
}

impl Pulse {
    /// Nothing is known.
    #[must_use]
    pub const fn new() -> Self {
        Self { short: Vec::new(), silent: None, longest: None }
    }

    /// Nothing is known. Pings follow each other after `longest` where that is less than usual: a hub that is gone is noticed sooner, for
    /// more traffic.
    #[must_use]
    pub fn within(longest: Duration) -> Self {
        Self { longest: Some(longest).filter(|longest| *longest < USUAL.ping), ..Self::new() }
    }

    /// How a link in this network speaks.
    #[must_use]
    pub fn beat(&self, network: Network) -> Beat {
        let Beat { ping, byte } = if self.short.contains(&network) { SHORT } else { USUAL };
        let ping = self.longest.map_or(ping, |longest| longest.min(ping));
        Beat { ping, byte: byte.filter(|byte| *byte < ping) }
    }

    /// A link has ended because nothing was heard of the hub.
    pub const fn handle_silence(&mut self, network: Network, now: BootTime) {
        self.silent = Some((network, now));
    }

    /// A link is up.
    pub fn handle_up(&mut self, network: Network, now: BootTime) {
        let Some((before, at)) = self.silent.take() else { return };
        if before != network || now.since(at) > AT_ONCE {
            return;
        }
        self.short.retain(|known| *known != network);
        if self.short.len() == NETWORKS {
            self.short.remove(0);
        }
        self.short.push(network);
    }
}

/// As mappings of 30 seconds allow.
const USUAL: Beat = Beat { ping: Duration::from_secs(25), byte: None };
/// Two pings before a link counts as lost, which is after 75 seconds.
const SHORT: Beat = Beat { ping: Duration::from_secs(37), byte: Some(Duration::from_secs(15)) };
/// A hub that is reached so soon was there before.
const AT_ONCE: Duration = Duration::from_secs(30);
/// A router knows a line, a modem and a few that it had before.
const NETWORKS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn network(own: u8) -> Network {
        Network { own: [10, 0, 0, own].into(), hub: [192, 0, 2, 1].into() }
    }

    fn at(secs: u64) -> BootTime {
        BootTime::from_millis(secs * 1000)
    }

    /// Bytes of a ping and its answer, measured, with headers of IPv4 and UDP.
    const PING: u64 = 38 + 42 + 2 * 28;
    /// A byte with headers.
    const BYTE: u64 = 1 + 28;
    /// A question for the time and its answer, measured, which takes the place of one ping in five minutes.
    const QUESTION: u64 = 366;
    const MONTH: u64 = 30 * 24 * 3600;

    fn month(beat: Beat) -> u64 {
        let bytes = beat.byte.map_or(0, |byte| 300 / byte.as_secs() * BYTE);
        let pings = (300 / beat.ping.as_secs() - 1) * PING;
        MONTH / 300 * (pings + bytes + QUESTION)
    }

    #[test]
    fn an_idle_link_stays_below_17_megabytes_a_month_on_either_beat() {
        assert_eq!((month(USUAL), month(SHORT)), (16_087_680, 16_398_720));
        assert!(month(USUAL).max(month(SHORT)) <= 17_000_000);
    }

    #[test]
    fn a_night_of_sixteen_hours_keeps_mappings_of_30_and_of_20_seconds_and_notices_a_hub_that_is_gone() {
        let night = 16 * 3600;
        for (beat, mapping) in [(USUAL, 30), (SHORT, 20)] {
            let every = |each: Duration| (0..night).step_by(usize::try_from(each.as_secs()).unwrap());
            let mut spoken: Vec<u64> = every(beat.ping).collect();
            spoken.extend(beat.byte.into_iter().flat_map(every));
            spoken.sort_unstable();
            let longest = spoken.windows(2).map(|two| two[1] - two[0]).max().unwrap();
            assert!(longest < mapping, "{longest} s of silence");
            assert!(beat.ping * 2 < Duration::from_secs(75), "two pings in the time until a link is lost");
        }
    }

    #[test]
    fn whoever_pays_for_it_notices_sooner_that_a_hub_is_gone() {
        let mut pulse = Pulse::within(Duration::from_secs(5));
        let often = Beat { ping: Duration::from_secs(5), byte: None };
        assert_eq!((pulse.beat(network(1)), month(often)), (often, 72_489_600));
        pulse.handle_silence(network(1), at(0));
        pulse.handle_up(network(1), at(0));
        assert_eq!(pulse.beat(network(1)), often, "a mapping lasts as long");
        let mut usual = Pulse::within(USUAL.ping);
        assert_eq!(usual.beat(network(1)), USUAL);
        usual.handle_silence(network(1), at(0));
        usual.handle_up(network(1), at(0));
        assert_eq!(usual.beat(network(1)), SHORT);
    }

    #[test]
    fn a_mapping_that_was_lost_shortens_the_beat_in_that_network_alone() {
        let mut pulse = Pulse::new();
        assert_eq!(pulse.beat(network(1)), USUAL);
        pulse.handle_silence(network(1), at(1000));
        pulse.handle_up(network(1), at(1030));
        assert_eq!((pulse.beat(network(1)), pulse.beat(network(2))), (SHORT, USUAL));
        let elsewhere = Network { hub: [192, 0, 2, 2].into(), ..network(1) };
        assert_eq!(pulse.beat(elsewhere), USUAL);
    }

    #[test]
    fn a_network_that_was_away_and_another_one_lose_no_mapping() {
        let mut pulse = Pulse::new();
        pulse.handle_silence(network(1), at(1000));
        pulse.handle_up(network(1), at(1031));
        assert_eq!(pulse.beat(network(1)), USUAL, "too late");
        pulse.handle_silence(network(1), at(2000));
        pulse.handle_up(network(2), at(2001));
        assert_eq!((pulse.beat(network(1)), pulse.beat(network(2))), (USUAL, USUAL), "it has moved");
        pulse.handle_up(network(1), at(2002));
        assert_eq!(pulse.beat(network(1)), USUAL, "a link that ended otherwise");
    }

    #[test]
    fn the_last_eight_networks_are_remembered() {
        let mut pulse = Pulse::new();
        for own in 0..9 {
            pulse.handle_silence(network(own), at(0));
            pulse.handle_up(network(own), at(0));
        }
        assert_eq!((pulse.beat(network(0)), pulse.beat(network(1))), (USUAL, SHORT));
        assert_eq!(pulse.short.len(), 8);
    }
}
