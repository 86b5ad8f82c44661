//! The process model of a small injection-moulding press, as a pure function of a seed and of elapsed time.
//!
//! 1. [`Process::new`] starts a warm press that is already producing.
//! 2. [`Process::step`] advances virtual time in fixed ticks, so one long step equals many short ones.
//! 3. [`Process::apply`] takes what a person at the press can do.
//! 4. [`Process::readings`] says what the press's instruments show.
//!
//! Deliberately absent: clocks, tasks and sockets. Who owns a `Process` decides how fast its time runs.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use self::alarm::Watchdogs;
pub use self::alarm::{Alarm, Severity};
pub use self::cycle::Phase;
use self::cycle::{Cycle, Profile};
use self::heat::Heat;
pub use self::heat::Zone;
use self::noise::Noise;

mod alarm;
mod cycle;
mod heat;
mod noise;

/// A press with its heaters, hydraulics and material, at one moment of virtual time.
#[derive(Debug, Clone)]
pub struct Process {
    noise: Noise,
    state: State,
    cycle: Cycle,
    heat: Heat,
    watchdogs: Watchdogs,
    pressure_bar: f64,
    clamp_kn: f64,
    hopper_percent: f64,
    cycle_count: u64,
    good_parts: u64,
    rejected_parts: u64,
    last_cycle: Duration,
    elapsed: Duration,
    remainder: Duration,
    trend: VecDeque<f64>,
}

impl Process {
    /// Starts a warm press in production; equal seeds give equal presses.
    pub fn new(seed: u64) -> Self {
        let mut noise = Noise::new(seed);
        let cycle_count = 148_200 + noise.below(900);
        let rejected_parts = 210 + noise.below(30);
        Self {
            state: State::Running,
            cycle: Cycle::new(&mut noise),
            heat: Heat::warm(&mut noise),
            watchdogs: Watchdogs::default(),
            pressure_bar: 0.0,
            clamp_kn: 0.0,
            hopper_percent: 55.0 + noise.unit() * 30.0,
            cycle_count,
            good_parts: cycle_count - rejected_parts,
            rejected_parts,
            last_cycle: Duration::from_millis(15_000),
            elapsed: Duration::ZERO,
            remainder: Duration::ZERO,
            trend: VecDeque::with_capacity(TREND_SAMPLES),
            noise,
        }
    }

    /// Advances the press by `elapsed` of virtual time.
    pub fn step(&mut self, elapsed: Duration) {
        self.remainder += elapsed;
        while let Some(rest) = self.remainder.checked_sub(TICK) {
            self.remainder = rest;
            self.tick();
        }
    }

    /// Does what a person asked for at the panel or on the maintenance page.
    pub fn apply(&mut self, command: Command) {
        match command {
            Command::Toggle => self.toggle(),
            Command::Acknowledge => self.watchdogs.acknowledge(),
        }
    }

    /// What the instruments show now.
    pub fn readings(&self) -> Readings {
        let profile = self.profile();
        Readings {
            machine: MACHINE,
            state: self.state,
            phase: self.cycle.phase(),
            phase_percent: tenths(self.cycle.progress() * 100.0),
            cycle_count: self.cycle_count,
            last_cycle_s: tenths(self.last_cycle.as_secs_f64()),
            good_parts: self.good_parts,
            rejected_parts: self.rejected_parts,
            pressure_bar: tenths(self.pressure_bar),
            clamp_kn: tenths(self.clamp_kn),
            screw_mm: tenths(profile.screw_mm),
            mould_open_percent: tenths(profile.mould_open * 100.0),
            hopper_percent: tenths(self.hopper_percent),
            cooling_valve_open: self.heat.cooling_valve_open(),
            zones: self.heat.zones(),
            alarms: self.watchdogs.alarms(),
            uptime_s: self.elapsed.as_secs(),
            pressure_trend_bar: self.trend.iter().copied().collect(),
        }
    }

    fn toggle(&mut self) {
        self.state = match self.state {
            State::Running | State::Heating => State::Stopped,
            State::Stopped => State::Heating,
        };
        self.cycle.restart(&mut self.noise);
        self.heat.restart_standby();
        self.leave_heating();
    }

    /// Cold plastic would shear the screw, so production waits for the barrel.
    fn leave_heating(&mut self) {
        if self.state == State::Heating && self.heat.barrel_is_ready() {
            self.state = State::Running;
        }
    }

    fn tick(&mut self) {
        self.elapsed += TICK;
        self.leave_heating();
        let seconds = TICK.as_secs_f64();
        if self.state == State::Running && self.cycle.advance(TICK) {
            self.finish_part();
        }
        let profile = self.profile();
        let ripple = if profile.pressure_bar > 50.0 { self.noise.centred() * 9.0 } else { 0.0 };
        self.pressure_bar += (profile.pressure_bar + ripple - self.pressure_bar) * (seconds / 0.12);
        self.pressure_bar = self.pressure_bar.max(0.0);
        self.clamp_kn += (profile.clamp_kn - self.clamp_kn) * (seconds / 0.15);
        self.heat.advance(seconds, self.state, self.cycle.phase(), &mut self.noise);
        self.watchdogs.observe(self.heat.oil_c(), self.hopper_percent);
        if self.elapsed.as_millis().is_multiple_of(TREND_EVERY.as_millis()) {
            if self.trend.len() == TREND_SAMPLES {
                self.trend.pop_front();
            }
            self.trend.push_back(tenths(self.pressure_bar));
        }
    }

    fn finish_part(&mut self) {
        self.cycle_count += 1;
        self.last_cycle = self.cycle.duration();
        if self.cycle.deviates() {
            self.rejected_parts += 1;
            self.watchdogs.latch_deviation();
        } else {
            self.good_parts += 1;
        }
        self.hopper_percent -= 0.35;
        if self.hopper_percent < 8.0 {
            self.hopper_percent = 90.0;
        }
        self.cycle.restart(&mut self.noise);
    }

    /// What the controller asks of the hydraulics: nothing at all unless the press produces.
    fn profile(&self) -> Profile {
        match self.state {
            State::Running => self.cycle.profile(),
            State::Stopped | State::Heating => Profile::AT_REST,
        }
    }
}

/// What a person can ask of the press.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Starts a stopped press and stops a started one.
    Toggle,
    /// Clears latched alarms.
    Acknowledge,
}

/// What the press is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Started, but the barrel is still too cold to inject.
    Heating,
    /// Producing parts.
    Running,
    /// Stopped by a person; the barrel falls to standby temperature after two minutes.
    Stopped,
}

impl State {
    /// One word for displays.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Heating => "HEATING",
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// One set of instrument values; numbers are rounded to a tenth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Readings {
    /// The press's name.
    pub machine: &'static str,
    /// What the press is doing.
    pub state: State,
    /// The part of the cycle.
    pub phase: Phase,
    /// How much of the phase is done, 0 to 100.
    pub phase_percent: f64,
    /// Finished cycles since the press was built.
    pub cycle_count: u64,
    /// Duration of the last cycle in seconds.
    pub last_cycle_s: f64,
    /// Parts within tolerance.
    pub good_parts: u64,
    /// Parts out of tolerance.
    pub rejected_parts: u64,
    /// Injection pressure in bar.
    pub pressure_bar: f64,
    /// Clamp force in kilonewtons.
    pub clamp_kn: f64,
    /// Screw position in millimetres; 0 is fully forward.
    pub screw_mm: f64,
    /// How far the mould is open, 0 to 100.
    pub mould_open_percent: f64,
    /// Fill level of the hopper, 0 to 100.
    pub hopper_percent: f64,
    /// Whether cooling water runs through the oil cooler.
    pub cooling_valve_open: bool,
    /// Temperatures from nozzle to hydraulics.
    pub zones: [Zone; 5],
    /// Active and latched alarms.
    pub alarms: Vec<Alarm>,
    /// Virtual seconds since the model was started.
    pub uptime_s: u64,
    /// Pressure of the last minute, oldest first, five samples a second. Only the panel draws it.
    #[serde(skip)]
    pub pressure_trend_bar: Vec<f64>,
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The press's name, as the samples and the documents use it.
pub const MACHINE: &str = "press-7";

/// Full scale of the injection pressure instrument, in bar.
pub const PRESSURE_SCALE_BAR: f64 = 1_500.0;

/// Full scale of the clamp force instrument, in kilonewtons.
pub const CLAMP_SCALE_KN: f64 = 2_000.0;

/// Samples of the pressure trend: one minute.
pub const TREND_SAMPLES: usize = 300;

const TICK: Duration = Duration::from_millis(20);
const TREND_EVERY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    fn run(process: &mut Process, seconds: u64) {
        process.step(Duration::from_secs(seconds));
    }

    #[test]
    fn equal_seeds_give_equal_readings() {
        let (mut a, mut b) = (Process::new(7), Process::new(7));
        run(&mut a, 300);
        run(&mut b, 300);
        assert_eq!(a.readings(), b.readings());
    }

    #[test]
    fn different_seeds_give_different_readings() {
        assert_ne!(Process::new(7).readings(), Process::new(8).readings());
    }

    #[test]
    fn one_long_step_equals_many_short_ones() {
        let (mut long, mut short) = (Process::new(1), Process::new(1));
        run(&mut long, 60);
        for _ in 0..20_000 {
            short.step(Duration::from_millis(3));
        }
        assert_eq!(long.readings(), short.readings());
    }

    #[test]
    fn ten_minutes_make_about_forty_parts_and_every_cycle_is_counted_once() {
        let mut process = Process::new(3);
        let before = process.readings();
        run(&mut process, 600);
        let after = process.readings();
        let cycles = after.cycle_count - before.cycle_count;
        assert!((38..=41).contains(&cycles), "{cycles} cycles");
        assert_eq!(after.good_parts + after.rejected_parts, after.cycle_count);
    }

    #[test]
    fn instruments_stay_on_their_scales_for_half_a_shift() {
        for seed in 0..3 {
            let mut process = Process::new(seed);
            for _ in 0..2_880 {
                run(&mut process, 5);
                let r = process.readings();
                assert!((0.0..=PRESSURE_SCALE_BAR).contains(&r.pressure_bar), "seed {seed}: {r:?}");
                assert!((0.0..=CLAMP_SCALE_KN).contains(&r.clamp_kn), "seed {seed}: {r:?}");
                assert!((0.0..=100.0).contains(&r.hopper_percent), "seed {seed}: {r:?}");
                assert!(r.zones.iter().all(|z| (15.0..=260.0).contains(&z.celsius)), "seed {seed}: {r:?}");
            }
        }
    }

    #[test]
    fn a_running_press_builds_pressure_and_a_stopped_one_loses_it() {
        let mut process = Process::new(5);
        run(&mut process, 30);
        let peak = process.readings().pressure_trend_bar.iter().copied().fold(0.0, f64::max);
        assert!((1_000.0..1_400.0).contains(&peak), "peak {peak}");
        process.apply(Command::Toggle);
        run(&mut process, 5);
        let stopped = process.readings();
        assert_eq!((stopped.state, stopped.pressure_bar, stopped.clamp_kn), (State::Stopped, 0.0, 0.0));
    }

    #[test]
    fn a_stopped_press_counts_no_cycles_and_a_started_one_does() {
        let mut process = Process::new(5);
        process.apply(Command::Toggle);
        let count = process.readings().cycle_count;
        run(&mut process, 60);
        assert_eq!(process.readings().cycle_count, count);
        process.apply(Command::Toggle);
        run(&mut process, 60);
        assert_eq!(process.readings().state, State::Running);
        assert!(process.readings().cycle_count > count);
    }

    #[test]
    fn a_press_that_cooled_to_standby_heats_before_it_runs() {
        let mut process = Process::new(5);
        process.apply(Command::Toggle);
        run(&mut process, 1_200);
        process.apply(Command::Toggle);
        assert_eq!(process.readings().state, State::Heating);
        run(&mut process, 600);
        assert_eq!(process.readings().state, State::Running);
    }

    #[test]
    fn a_deviation_stays_until_it_is_acknowledged() {
        let mut process = Process::new(2);
        let seen = |p: &Process| p.readings().alarms.iter().any(|a| a.code == "E-301");
        for _ in 0..40_000 {
            run(&mut process, 1);
            if seen(&process) {
                break;
            }
        }
        assert!(seen(&process));
        run(&mut process, 5);
        assert!(seen(&process));
        process.apply(Command::Acknowledge);
        assert!(!seen(&process));
    }

    #[test]
    fn the_oil_warning_comes_and_goes_by_itself() {
        let mut process = Process::new(4);
        let (mut with, mut without) = (0, 0);
        for _ in 0..1_200 {
            run(&mut process, 1);
            if process.readings().alarms.iter().any(|a| a.code == "W-118") {
                with += 1;
            } else {
                without += 1;
            }
        }
        assert!(with > 60 && without > 300, "{with} s with, {without} s without");
    }
}
