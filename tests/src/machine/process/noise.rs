//! A small seeded generator (SplitMix64, Steele, Lea and Flood 2014) for the process model's jitter.
//!
//! 1. [`Noise::new`] takes the seed.
//! 2. Each draw advances the state by a constant and mixes it.
//!
//! Deliberately absent: secrecy. Nothing that needs unpredictable numbers may use it.

/// A deterministic stream of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Noise {
    state: u64,
}

impl Noise {
    /// Starts the stream that belongs to `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A number from 0 up to, but not including, `limit`; 0 for a limit of 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.draw().checked_rem(limit).unwrap_or(0)
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        // 53 bits are what an f64 holds exactly.
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A bell-shaped number in `-1.0..1.0`.
    pub(crate) fn centred(&mut self) -> f64 {
        (self.unit() + self.unit() + self.unit()) / 1.5 - 1.0
    }

    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_seed_zero_is_the_published_one() {
        let mut noise = Noise::new(0);
        assert_eq!(noise.draw(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(noise.draw(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn draws_stay_in_their_ranges() {
        let mut noise = Noise::new(9);
        for _ in 0..10_000 {
            assert!((0.0..1.0).contains(&noise.unit()));
            assert!((-1.0..1.0).contains(&noise.centred()));
            assert!(noise.below(7) < 7);
        }
        assert_eq!(noise.below(0), 0);
    }
}
