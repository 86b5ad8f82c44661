//! One moulding cycle: its phases in order, how long each takes, and what each asks of the hydraulics.
//!
//! 1. Closing brings the mould halves together and builds clamp force.
//! 2. Injecting drives the screw forward; holding keeps pressure while the part shrinks.
//! 3. Cooling hardens the part while the screw takes in new material.
//! 4. Opening and ejecting release the part.
//!
//! Deliberately absent: the lag of the hydraulics, which the process adds.

use std::time::Duration;

use serde::Serialize;

use super::noise::Noise;

/// A cycle in progress.
#[derive(Debug, Clone)]
pub(crate) struct Cycle {
    phase: Phase,
    in_phase: Duration,
    /// This cycle's speed relative to the recipe, in thousandths.
    pace: u32,
    peak_bar: f64,
    deviates: bool,
}

impl Cycle {
    /// Starts a cycle with a jitter of its own.
    pub(crate) fn new(noise: &mut Noise) -> Self {
        // About one part in 120 is out of tolerance: often enough to be seen in a demonstration of half an hour.
        let deviates = noise.below(120) == 0;
        let excess = if deviates { 130.0 } else { 0.0 };
        let jitter = u32::try_from(noise.below(31)).unwrap_or(15);
        Self {
            phase: Phase::Closing,
            in_phase: Duration::ZERO,
            pace: 985 + jitter,
            peak_bar: 1_150.0 + noise.centred() * 18.0 + excess,
            deviates,
        }
    }

    /// Begins again from closing.
    pub(crate) fn restart(&mut self, noise: &mut Noise) {
        *self = Self::new(noise);
    }

    /// Advances by one tick; true when the cycle is complete.
    pub(crate) fn advance(&mut self, tick: Duration) -> bool {
        self.in_phase += tick;
        if self.in_phase < self.planned(self.phase) {
            return false;
        }
        self.in_phase = Duration::ZERO;
        let next = self.phase.next();
        if let Some(phase) = next {
            self.phase = phase;
        }
        next.is_none()
    }

    /// The phase in progress.
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// How much of the phase is done, 0 to 1.
    pub(crate) fn progress(&self) -> f64 {
        (self.in_phase.as_secs_f64() / self.planned(self.phase).as_secs_f64()).clamp(0.0, 1.0)
    }

    /// Whether this cycle's part is out of tolerance.
    pub(crate) fn deviates(&self) -> bool {
        self.deviates
    }

    /// How long the whole cycle takes.
    pub(crate) fn duration(&self) -> Duration {
        Phase::ALL.iter().map(|phase| self.planned(*phase)).sum()
    }

    /// What the controller asks of the hydraulics now.
    pub(crate) fn profile(&self) -> Profile {
        let done = self.progress();
        match self.phase {
            Phase::Closing => Profile {
                pressure_bar: 0.0,
                clamp_kn: if done > 0.8 { CLAMPED_KN } else { 40.0 },
                screw_mm: SHOT_MM,
                mould_open: 1.0 - ease(done),
            },
            Phase::Injecting => Profile {
                pressure_bar: 140.0 + (self.peak_bar - 140.0) * ease(done),
                clamp_kn: CLAMPED_KN,
                screw_mm: SHOT_MM - (SHOT_MM - 14.0) * done,
                mould_open: 0.0,
            },
            Phase::Holding => Profile {
                pressure_bar: 640.0 - 110.0 * done,
                clamp_kn: CLAMPED_KN,
                screw_mm: 14.0 - 4.0 * done,
                mould_open: 0.0,
            },
            Phase::Cooling => Profile {
                pressure_bar: if done < 0.6 { 85.0 } else { 0.0 },
                clamp_kn: CLAMPED_KN,
                screw_mm: 10.0 + (SHOT_MM - 10.0) * (done / 0.6).min(1.0),
                mould_open: 0.0,
            },
            Phase::Opening => {
                Profile { pressure_bar: 0.0, clamp_kn: 0.0, screw_mm: SHOT_MM, mould_open: ease(done) }
            }
            Phase::Ejecting => Profile::AT_REST,
        }
    }

    fn planned(&self, phase: Phase) -> Duration {
        phase.recipe() * self.pace / 1_000
    }
}

/// What the controller asks of the hydraulics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Profile {
    /// Injection pressure in bar.
    pub(crate) pressure_bar: f64,
    /// Clamp force in kilonewtons.
    pub(crate) clamp_kn: f64,
    /// Screw position in millimetres.
    pub(crate) screw_mm: f64,
    /// 0 is closed, 1 is open.
    pub(crate) mould_open: f64,
}

impl Profile {
    /// An open mould and no pressure.
    pub(crate) const AT_REST: Self =
        Self { pressure_bar: 0.0, clamp_kn: 0.0, screw_mm: SHOT_MM, mould_open: 1.0 };
}

/// A part of the cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The mould closes and is clamped.
    Closing,
    /// The screw drives the melt into the mould.
    Injecting,
    /// Pressure is held while the part shrinks.
    Holding,
    /// The part hardens and the screw takes in new material.
    Cooling,
    /// The mould opens.
    Opening,
    /// The part is pushed out.
    Ejecting,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 6] =
        [Self::Closing, Self::Injecting, Self::Holding, Self::Cooling, Self::Opening, Self::Ejecting];

    /// A short name for displays.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closing => "CLOSE",
            Self::Injecting => "INJECT",
            Self::Holding => "HOLD",
            Self::Cooling => "COOL",
            Self::Opening => "OPEN",
            Self::Ejecting => "EJECT",
        }
    }

    const fn next(self) -> Option<Self> {
        match self {
            Self::Closing => Some(Self::Injecting),
            Self::Injecting => Some(Self::Holding),
            Self::Holding => Some(Self::Cooling),
            Self::Cooling => Some(Self::Opening),
            Self::Opening => Some(Self::Ejecting),
            Self::Ejecting => None,
        }
    }

    const fn recipe(self) -> Duration {
        Duration::from_millis(match self {
            Self::Closing => 1_400,
            Self::Injecting => 1_800,
            Self::Holding => 3_200,
            Self::Cooling => 6_500,
            Self::Opening => 1_300,
            Self::Ejecting => 800,
        })
    }
}

/// Starts and ends gently, as hydraulics do.
fn ease(done: f64) -> f64 {
    done * done * (3.0 - 2.0 * done)
}

const CLAMPED_KN: f64 = 1_800.0;
const SHOT_MM: f64 = 92.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_passes_through_its_phases_in_order_and_then_ends() {
        let mut cycle = Cycle::new(&mut Noise::new(1));
        let mut seen = vec![cycle.phase()];
        while !cycle.advance(Duration::from_millis(20)) {
            if seen.last() != Some(&cycle.phase()) {
                seen.push(cycle.phase());
            }
        }
        assert_eq!(seen, Phase::ALL);
    }

    #[test]
    fn a_cycle_lasts_fifteen_seconds_give_or_take_its_pace() {
        let mut noise = Noise::new(2);
        for _ in 0..500 {
            let seconds = Cycle::new(&mut noise).duration().as_secs_f64();
            assert!((14.7..=15.3).contains(&seconds), "{seconds} s");
        }
    }
}
