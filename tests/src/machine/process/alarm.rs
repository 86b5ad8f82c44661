//! The alarms of the press: two that follow a measured value, one that stays until a person clears it.
//!
//! 1. [`Watchdogs::observe`] sets and clears the value alarms with hysteresis.
//! 2. [`Watchdogs::latch_deviation`] keeps the alarm of a part out of tolerance.
//! 3. [`Watchdogs::acknowledge`] clears what is latched.
//!
//! Deliberately absent: an alarm history; the press's own log would keep it.

use serde::Serialize;

/// Which alarms are set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watchdogs {
    oil_high: bool,
    material_low: bool,
    deviation: bool,
}

impl Watchdogs {
    /// Compares the measured values with their limits.
    pub(crate) fn observe(&mut self, oil_c: f64, hopper_percent: f64) {
        self.oil_high = oil_c > if self.oil_high { 48.0 } else { 50.0 };
        self.material_low = hopper_percent < 15.0;
    }

    /// Records a part out of tolerance.
    pub(crate) fn latch_deviation(&mut self) {
        self.deviation = true;
    }

    /// Clears what is latched.
    pub(crate) fn acknowledge(&mut self) {
        self.deviation = false;
    }

    /// The alarms that are set, worst first.
    pub(crate) fn alarms(&self) -> Vec<Alarm> {
        [
            (self.deviation, Alarm::DEVIATION),
            (self.oil_high, Alarm::OIL_HIGH),
            (self.material_low, Alarm::MATERIAL_LOW),
        ]
        .into_iter()
        .filter_map(|(set, alarm)| set.then_some(alarm))
        .collect()
    }
}

/// One alarm as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// The number in the press's manual.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What happened.
    pub text: &'static str,
}

impl Alarm {
    const DEVIATION: Self =
        Self { code: "E-301", severity: Severity::Error, text: "Injection pressure deviation" };
    const OIL_HIGH: Self = Self { code: "W-118", severity: Severity::Warning, text: "Oil temperature high" };
    const MATERIAL_LOW: Self = Self { code: "W-204", severity: Severity::Warning, text: "Material low" };
}

/// How bad an alarm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Goes away by itself.
    Warning,
    /// Stays until a person acknowledges it.
    Error,
}
