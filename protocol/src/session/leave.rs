//! When the agents of a hub that is about to end leave it, and when they come back.
//!
//! 1. A hub that ends plans ([`Leave::plan`]) by how many are linked: its window fits what a hub admits, and ends before whoever supervises
//!    it loses patience.
//! 2. Each agent is told moments of its own within the window ([`Leave::draw`]), so that no crowd comes back in one second.
//! 3. Where another hub takes over, agents stay until it is their turn and are away for no longer than a handshake. Where the same one is
//!    started anew, they go at once and come back after it is there.
//! 4. An agent obeys within [`RETURN_MS`] ([`Return::bounded`]): a hub cannot send it away for longer than it would stay away by itself.
//!
//! Deliberately absent: clocks and randomness, which are arguments.

use std::net::SocketAddr;
use std::time::Duration;

use crate::wire::control::Return;

/// How all agents of a hub leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    window_ms: u32,
    hub: Option<SocketAddr>,
}

impl Leave {
    /// A plan for so many links; `hub` is where they go, or none where the same hub comes back.
    #[must_use]
    pub fn plan(links: usize, hub: Option<SocketAddr>) -> Self {
        let links = u32::try_from(links).unwrap_or(u32::MAX);
        let window_ms = links.div_ceil(PER_S).saturating_mul(1000).min(WINDOW_MS);
        Self { window_ms, hub }
    }

    /// Within which everybody has left.
    #[must_use]
    pub fn window(&self) -> Duration {
        let ms = if self.hub.is_some() { self.window_ms } else { self.window_ms.min(FAREWELL_MS) };
        Duration::from_millis(ms.into())
    }

    /// What one agent is told; `random` decides when its turn is.
    #[must_use]
    pub fn draw(&self, random: u64) -> Return {
        let turn = |window: u32| {
            let ms = (u128::from(window) * u128::from(random)) >> 64;
            u32::try_from(ms).unwrap_or(window)
        };
        match self.hub {
            Some(_) => Return { leave_ms: turn(self.window_ms), away_ms: 0, hub: self.hub },
            None => Return {
                leave_ms: turn(self.window_ms.min(FAREWELL_MS)),
                away_ms: RESTART_MS.saturating_add(turn(self.window_ms)),
                hub: None,
            },
        }
    }
}

impl Return {
    /// The same within what an agent obeys.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self { leave_ms: self.leave_ms.min(RETURN_MS), away_ms: self.away_ms.min(RETURN_MS), ..self }
    }
}

/// The longest that an agent stays where it was told to leave, and stays away, each: as long as it would wait between two attempts.
pub const RETURN_MS: u32 = 300_000;
/// Agents that come to a hub in one second: half of what two cores admit, so that people and what else comes are not crowded out.
const PER_S: u32 = 500;
/// The longest window: within the 90 seconds that systemd gives a service to end.
const WINDOW_MS: u32 = 60_000;
/// Within which agents go that come back to the same hub: their leaving costs it next to nothing.
const FAREWELL_MS: u32 = 1_000;
/// A hub needs this long to be started anew, before the first one comes back.
const RESTART_MS: u32 = 2_000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// SplitMix64.
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = *state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Arrivals in the busiest second, and when the last one is back, in milliseconds.
    fn arrivals(links: usize, hub: Option<SocketAddr>) -> (usize, u32) {
        let (plan, mut state, mut seconds) = (Leave::plan(links, hub), 7, BTreeMap::<u32, usize>::new());
        let mut last = 0;
        for _ in 0..links {
            let told = plan.draw(random(&mut state));
            assert!(Duration::from_millis(told.leave_ms.into()) <= plan.window());
            assert_eq!((told.bounded(), told.hub), (told, hub));
            let back = told.leave_ms + told.away_ms;
            last = last.max(back);
            *seconds.entry(back / 1000).or_default() += 1;
        }
        (seconds.into_values().max().unwrap_or(0), last)
    }

    fn other() -> Option<SocketAddr> {
        Some("192.0.2.7:7440".parse().unwrap())
    }

    #[test]
    fn ten_thousand_agents_come_back_in_no_second_in_which_a_hub_could_not_take_them() {
        for hub in [None, other()] {
            let (most, last) = arrivals(10_000, hub);
            assert!(most < 700, "{most} in one second");
            assert!((19_000..=23_000).contains(&last), "the last one after {last} ms");
        }
    }

    #[test]
    fn a_few_agents_wait_for_nobody_and_very_many_no_longer_than_a_minute() {
        assert_eq!(Leave::plan(0, None).window(), Duration::ZERO);
        let one = Leave::plan(1, other()).draw(u64::MAX);
        assert!(one.leave_ms < 1000 && one.away_ms == 0, "{one:?}");
        let same = Leave::plan(1, None).draw(u64::MAX);
        assert!(same.leave_ms < 1000 && (2000..3000).contains(&same.away_ms), "{same:?}");
        assert_eq!(Leave::plan(1_000_000, other()).window(), Duration::from_secs(60));
        // Who comes back to the same hub has left before it ends.
        assert_eq!(Leave::plan(1_000_000, None).window(), Duration::from_secs(1));
        assert!(Leave::plan(usize::MAX, None).draw(u64::MAX).away_ms <= 62_000);
    }

    #[test]
    fn an_agent_is_not_sent_away_for_longer_than_it_would_stay_away_by_itself() {
        let told = Return { leave_ms: u32::MAX, away_ms: u32::MAX, hub: None };
        assert_eq!(told.bounded(), Return { leave_ms: RETURN_MS, away_ms: RETURN_MS, hub: None });
    }
}
