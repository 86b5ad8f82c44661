//! Temperatures of the press: three heated barrel zones, the mould and the hydraulic oil.
//!
//! 1. Each zone moves towards its target with a time constant of its own.
//! 2. Production warms the oil; the cooling valve opens and closes with hysteresis.
//! 3. A press that stands for two minutes lets its barrel fall to standby temperature.
//!
//! Deliberately absent: heat flow between zones, which nobody could see on the panel.

use serde::Serialize;

use super::noise::Noise;
use super::{Phase, State, tenths};

/// All temperatures, in degrees Celsius.
#[derive(Debug, Clone)]
pub(crate) struct Heat {
    nozzle_c: f64,
    front_c: f64,
    rear_c: f64,
    mould_c: f64,
    oil_c: f64,
    cooling_valve_open: bool,
    stopped_s: f64,
}

impl Heat {
    /// A press that has been producing for a while.
    pub(crate) fn warm(noise: &mut Noise) -> Self {
        Self {
            nozzle_c: NOZZLE_C + noise.centred(),
            front_c: FRONT_C + noise.centred(),
            rear_c: REAR_C + noise.centred(),
            mould_c: MOULD_C + noise.centred(),
            oil_c: 45.0 + noise.centred() * 2.0,
            cooling_valve_open: false,
            stopped_s: 0.0,
        }
    }

    /// Advances by `seconds`.
    pub(crate) fn advance(&mut self, seconds: f64, state: State, phase: Phase, noise: &mut Noise) {
        let running = state == State::Running;
        self.stopped_s = if state == State::Stopped { self.stopped_s + seconds } else { 0.0 };
        let standby = self.stopped_s > STANDBY_AFTER_S;
        for (celsius, setpoint) in
            [(&mut self.nozzle_c, NOZZLE_C), (&mut self.front_c, FRONT_C), (&mut self.rear_c, REAR_C)]
        {
            let target = if standby { STANDBY_C } else { setpoint };
            *celsius += (target - *celsius) * (seconds / 90.0) + noise.centred() * 0.025;
        }
        let melt_in_mould = running && matches!(phase, Phase::Injecting | Phase::Holding);
        let mould_target = match (running, melt_in_mould) {
            (true, true) => MOULD_C + 6.0,
            (true, false) => MOULD_C - 3.0,
            (false, _) => 45.0,
        };
        self.mould_c += (mould_target - self.mould_c) * (seconds / 40.0);
        self.advance_oil(seconds, running);
    }

    /// Begins the two minutes to standby again.
    pub(crate) fn restart_standby(&mut self) {
        self.stopped_s = 0.0;
    }

    /// Whether every barrel zone is warm enough to inject.
    pub(crate) fn barrel_is_ready(&self) -> bool {
        [(self.nozzle_c, NOZZLE_C), (self.front_c, FRONT_C), (self.rear_c, REAR_C)]
            .iter()
            .all(|(celsius, setpoint)| *celsius > setpoint - 8.0)
    }

    /// The oil's temperature.
    pub(crate) fn oil_c(&self) -> f64 {
        self.oil_c
    }

    /// Whether cooling water runs.
    pub(crate) fn cooling_valve_open(&self) -> bool {
        self.cooling_valve_open
    }

    /// Every zone, from nozzle to hydraulics.
    pub(crate) fn zones(&self) -> [Zone; 5] {
        let zone =
            |name, celsius, setpoint_celsius| Zone { name, celsius: tenths(celsius), setpoint_celsius };
        [
            zone("Nozzle", self.nozzle_c, NOZZLE_C),
            zone("Barrel front", self.front_c, FRONT_C),
            zone("Barrel rear", self.rear_c, REAR_C),
            zone("Mould", self.mould_c, MOULD_C),
            zone("Oil", self.oil_c, OIL_C),
        ]
    }

    fn advance_oil(&mut self, seconds: f64, running: bool) {
        if self.oil_c > 51.0 {
            self.cooling_valve_open = true;
        } else if self.oil_c < 46.0 {
            self.cooling_valve_open = false;
        }
        let degrees_per_s = match (running, self.cooling_valve_open) {
            (true, true) => -0.04,
            (true, false) => 0.02,
            (false, _) => (38.0 - self.oil_c) / 300.0,
        };
        self.oil_c += degrees_per_s * seconds;
    }
}

/// One measured temperature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Zone {
    /// Where it is measured.
    pub name: &'static str,
    /// The measured value, in degrees Celsius.
    pub celsius: f64,
    /// The value that the controller holds, in degrees Celsius.
    pub setpoint_celsius: f64,
}

const NOZZLE_C: f64 = 235.0;
const FRONT_C: f64 = 230.0;
const REAR_C: f64 = 215.0;
const MOULD_C: f64 = 62.0;
const OIL_C: f64 = 46.0;
const STANDBY_C: f64 = 160.0;
const STANDBY_AFTER_S: f64 = 120.0;
