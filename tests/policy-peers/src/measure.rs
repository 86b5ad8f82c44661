//! Rounds: each engine has its turn in each round, so that what disturbs the machine disturbs all of them.
//!
//! 1. A turn goes through the batches of a part again and again, until its time or its passes are over.
//! 2. A sample is the mean of one batch. Permits are counted in each: a wrong answer ends the measurement.
//! 3. A round keeps the median and the 99th percentile of each turn.

use std::time::{Duration, Instant};

use crate::mishap::Mishap;
use crate::model::{Part, Questions};
use crate::peer::Peer;

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Rounds.
    pub rounds: u32,
    /// After this time no new pass through the questions is begun; the first is finished in any case.
    pub turn: Duration,
}

/// What was measured of one engine: one value for each round, in nanoseconds for one decision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The engine.
    pub peer: &'static str,
    /// Half of the questions permitted, each another user's: median of the batches.
    pub p50: Vec<f64>,
    /// The same: 99th percentile of the batches.
    pub p99: Vec<f64>,
    /// Half permitted, one user asking: median of the batches.
    pub one_user: Vec<f64>,
    /// All questions permitted: median of the batches.
    pub permit: Vec<f64>,
    /// All questions denied: median of the batches.
    pub denial: Vec<f64>,
}

/// Measures all engines.
///
/// # Errors
/// When an engine fails or answers otherwise than before.
pub fn measure(questions: &Questions, peers: &[Box<dyn Peer>], effort: Effort) -> Result<Vec<Row>, Mishap> {
    let mut rows: Vec<Row> = peers.iter().map(|peer| Row { peer: peer.name(), ..Row::default() }).collect();
    for _ in 0..effort.rounds {
        for (peer, row) in peers.iter().zip(&mut rows) {
            let mixed = turn(questions, peer.as_ref(), Part::Mixed, effort.turn)?;
            row.p50.extend(quantile(&mixed, 0.5));
            row.p99.extend(quantile(&mixed, 0.99));
            let parts = [
                (Part::OneUser, &mut row.one_user),
                (Part::Permitted, &mut row.permit),
                (Part::Denied, &mut row.denial),
            ];
            for (part, values) in parts {
                values.extend(quantile(&turn(questions, peer.as_ref(), part, effort.turn / 2)?, 0.5));
            }
        }
    }
    Ok(rows)
}

fn turn(questions: &Questions, peer: &dyn Peer, part: Part, time: Duration) -> Result<Vec<f64>, Mishap> {
    let mut samples = Vec::new();
    let end = Instant::now() + time;
    for _ in 0..MOST_PASSES {
        for batch in questions.batches(part) {
            let begun = Instant::now();
            let permitted = peer.permitted(batch)?;
            samples.push(begun.elapsed().as_secs_f64() * 1e9 / Questions::BATCH as f64);
            if permitted != part.permitted() {
                let what = format!("permits of {} in a batch", peer.name());
                return Err(Mishap::unexpected(what, permitted, part.permitted()));
            }
        }
        if Instant::now() >= end {
            break;
        }
    }
    Ok(samples)
}

/// The value below which the share `q` (0 to 1) of the samples lies; none without samples.
#[must_use]
pub fn quantile(samples: &[f64], q: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a position between 0 and the length"
    )]
    let place = (q.clamp(0.0, 1.0) * last as f64).round() as usize;
    sorted.get(place).copied()
}

/// Enough for a percentile of the fastest engine.
const MOST_PASSES: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples_and_their_ends_are_the_extremes() {
        let samples: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&samples, 0.0), Some(0.0));
        assert_eq!(quantile(&samples, 0.5), Some(50.0));
        assert_eq!(quantile(&samples, 0.99), Some(99.0));
        assert_eq!(quantile(&samples, 1.0), Some(100.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
