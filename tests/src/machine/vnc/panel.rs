//! The operator panel: what is drawn where, and what a press of the pointer means.
//!
//! 1. [`Panel::new`] draws what never changes, once.
//! 2. [`Panel::draw`] copies that and adds the readings.
//! 3. [`command_at`] says which button lies under the pointer.
//!
//! Deliberately absent: pages and menus. One page shows all that the process model knows.

use super::super::inputs::Counts;
use super::super::process::{
    CLAMP_SCALE_KN, Command, PRESSURE_SCALE_BAR, Phase, Readings, Severity, State, TREND_SAMPLES, Zone,
};
use super::font::{BOLD, Face, LABEL};
use super::screen::{Area, Ring, Screen, mix, whole};

/// Draws the panel.
#[derive(Debug)]
pub(crate) struct Panel {
    background: Screen,
    pressure: Ring,
    clamp: Ring,
}

impl Panel {
    /// Draws the background and finds the pixels of the gauges.
    pub(crate) fn new() -> Self {
        let mut screen = Screen::new(BACKGROUND);
        screen.fill(HEADER, HEADER_COLOUR);
        screen.fill(Area { top: HEADER.height - 1, height: 1, ..HEADER }, BORDER);
        screen.fill_round(Area { left: 12, top: 9, width: 20, height: 20 }, 5, TEAL);
        screen.fill(Area { left: 17, top: 13, width: 10, height: 3 }, HEADER_COLOUR);
        screen.fill(Area { left: 20, top: 16, width: 4, height: 9 }, HEADER_COLOUR);
        screen.text(BOLD, (42, 12), "PRESS-7", TEXT);
        screen.text(LABEL, (114, 13), "Injection moulding", MUTED);
        for (card, title) in [
            (PRESSURE_CARD, "INJECTION PRESSURE"),
            (CLAMP_CARD, "CLAMP FORCE"),
            (HEAT_CARD, "TEMPERATURES"),
            (TREND_CARD, "PRESSURE, LAST MINUTE"),
            (CYCLE_CARD, "CYCLE"),
            (ALARM_CARD, "ALARMS"),
        ] {
            screen.fill_round(card, 6, BORDER);
            screen.fill_round(card.inset(1), 5, CARD);
            screen.text(LABEL, (card.left + 10, card.top + 7), title, MUTED);
        }
        let ring = |card: Area| Ring::new((card.left + card.width / 2, card.top + 92), 45.0, 57.0);
        let (pressure, clamp) = (ring(PRESSURE_CARD), ring(CLAMP_CARD));
        screen.arc(&pressure, 1.0, TRACK);
        screen.arc(&clamp, 1.0, TRACK);
        for (label, y) in [("1500", 0), ("750", 38), ("0", 76)] {
            let top = TREND_CARD.top + 28 + y;
            screen.fill(Area { left: PLOT.left, top, width: PLOT.width, height: 1 }, TRACK);
            screen.text(LABEL, (PLOT.left - 6 - LABEL.width_of(label), top - 7), label, MUTED);
        }
        Self { background: screen, pressure, clamp }
    }

    /// Draws the panel for these readings.
    pub(crate) fn draw(&self, now: &Readings, counts: Counts) -> Screen {
        let mut screen = self.background.clone();
        draw_header(&mut screen, now);
        let bar = Dial { value: now.pressure_bar, scale: PRESSURE_SCALE_BAR, unit: "bar", colour: TEAL };
        draw_gauge(&mut screen, PRESSURE_CARD, &self.pressure, &bar);
        let kn = Dial { value: now.clamp_kn, scale: CLAMP_SCALE_KN, unit: "kN", colour: BLUE };
        draw_gauge(&mut screen, CLAMP_CARD, &self.clamp, &kn);
        for (row, zone) in (0..).zip(&now.zones) {
            draw_zone(&mut screen, HEAT_CARD.top + 26 + row * 26, zone);
        }
        draw_trend(&mut screen, &now.pressure_trend_bar);
        draw_cycle(&mut screen, now);
        draw_buttons(&mut screen, now);
        draw_alarms(&mut screen, now, counts);
        screen
    }
}

/// What a press of the pointer at (`x`, `y`) asks for.
pub(crate) fn command_at(x: u16, y: u16) -> Option<Command> {
    if START_STOP.contains(x, y) {
        Some(Command::Toggle)
    } else if ACKNOWLEDGE.contains(x, y) {
        Some(Command::Acknowledge)
    } else {
        None
    }
}

fn draw_header(screen: &mut Screen, now: &Readings) {
    let colour = match now.state {
        State::Running => GREEN,
        State::Heating => AMBER,
        State::Stopped => RED,
    };
    let pill = Area { left: 528, top: 8, width: 104, height: 22 };
    screen.fill_round(pill, 11, mix(HEADER_COLOUR, colour, 0.25));
    screen.fill_round(Area { left: 539, top: 15, width: 9, height: 9 }, 4, colour);
    screen.text(BOLD, (556, 12), now.state.label(), colour);
    let (hours, minutes, seconds) = (now.uptime_s / 3_600, now.uptime_s / 60 % 60, now.uptime_s % 60);
    text_right(screen, LABEL, (516, 13), &format!("up {hours:02}:{minutes:02}:{seconds:02}"), MUTED);
}

struct Dial {
    value: f64,
    scale: f64,
    unit: &'static str,
    colour: u32,
}

fn draw_gauge(screen: &mut Screen, card: Area, ring: &Ring, dial: &Dial) {
    screen.arc(ring, dial.value / dial.scale, dial.colour);
    let middle = card.left + card.width / 2;
    let number = format!("{:.0}", dial.value);
    screen.headline(BOLD, (middle - BOLD.width_of(&number), card.top + 78), &number, TEXT);
    screen.text(LABEL, (middle - LABEL.width_of(dial.unit) / 2, card.top + 108), dial.unit, MUTED);
    screen.text(LABEL, (middle - 46, card.top + 136), "0", MUTED);
    text_right(screen, LABEL, (middle + 56, card.top + 136), &format!("{:.0}", dial.scale), MUTED);
}

fn draw_zone(screen: &mut Screen, top: i32, zone: &Zone) {
    let left = HEAT_CARD.left + 12;
    screen.text(LABEL, (left, top), zone.name, TEXT);
    let bar = Area { left: left + 84, top: top + 4, width: 118, height: 6 };
    screen.fill_round(bar, 3, TRACK);
    let full_scale = if zone.setpoint_celsius > 100.0 { 300.0 } else { 100.0 };
    let along = |celsius: f64| whole(f64::from(bar.width) * (celsius / full_scale).clamp(0.0, 1.0));
    let off = (zone.celsius - zone.setpoint_celsius).abs() > zone.setpoint_celsius * 0.08;
    let colour = if off { AMBER } else { TEAL };
    screen.fill_round(Area { width: along(zone.celsius).max(6), ..bar }, 3, colour);
    let mark = bar.left + along(zone.setpoint_celsius);
    screen.fill(Area { left: mark, top: top + 1, width: 2, height: 12 }, TEXT);
    let value = format!("{:.1}", zone.celsius);
    text_right(screen, BOLD, (HEAT_CARD.left + 270, top - 1), &value, if off { AMBER } else { TEXT });
    screen.text(LABEL, (HEAT_CARD.left + 274, top), "\u{b0}C", MUTED);
}

fn draw_trend(screen: &mut Screen, trend: &[f64]) {
    let height = f64::from(PLOT.height);
    let y = |bar: f64| f64::from(PLOT.top) + height * (1.0 - (bar / PRESSURE_SCALE_BAR).clamp(0.0, 1.0));
    let missing = TREND_SAMPLES.saturating_sub(trend.len());
    let step = f64::from(PLOT.width) / 300.0;
    let x = |sample: usize| PLOT.left + whole(f64::from(u32::try_from(sample).unwrap_or(u32::MAX)) * step);
    for (sample, pair) in (missing..).zip(trend.windows(2)) {
        if let [from, to] = pair {
            screen.stroke((x(sample), y(*from)), (x(sample + 1), y(*to)), TEAL);
        }
    }
}

fn draw_cycle(screen: &mut Screen, now: &Readings) {
    let (left, top) = (CYCLE_CARD.left + 10, CYCLE_CARD.top + 24);
    for (column, phase) in (0..).zip(Phase::ALL) {
        let step = Area { left: left + column * 48, top, width: 44, height: 20 };
        let active = now.state == State::Running && phase == now.phase;
        screen.fill_round(step, 4, if active { mix(CARD, TEAL, 0.35) } else { TRACK });
        if active {
            let done = whole(f64::from(step.width) * now.phase_percent / 100.0);
            screen.fill(Area { top: top + 17, width: done.min(step.width), height: 3, ..step }, TEAL);
        }
        let label = phase.label();
        let centred = (step.left + (step.width - LABEL.width_of(label)) / 2, top + 3);
        screen.text(LABEL, centred, label, if active { TEXT } else { MUTED });
    }
    screen.headline(BOLD, (left, top + 34), &now.cycle_count.to_string(), TEXT);
    screen.text(LABEL, (left, top + 66), "cycles", MUTED);
    let facts = [
        ("last", format!("{:.1} s", now.last_cycle_s)),
        ("rejects", now.rejected_parts.to_string()),
        ("hopper", format!("{:.0} %", now.hopper_percent)),
    ];
    for (row, (name, value)) in (0..).zip(facts) {
        screen.text(LABEL, (left + 146, top + 30 + row * 19), name, MUTED);
        text_right(screen, BOLD, (CYCLE_CARD.left + 292, top + 29 + row * 19), &value, TEXT);
    }
}

fn draw_buttons(screen: &mut Screen, now: &Readings) {
    let (label, colour) = match now.state {
        State::Running | State::Heating => ("STOP", RED),
        State::Stopped => ("START", GREEN),
    };
    draw_button(screen, START_STOP, label, colour);
    let latched = now.alarms.iter().any(|alarm| alarm.severity == Severity::Error);
    draw_button(screen, ACKNOWLEDGE, "RESET ALARM", if latched { AMBER } else { IDLE_BUTTON });
}

fn draw_button(screen: &mut Screen, area: Area, label: &str, colour: u32) {
    screen.fill_round(area, 7, mix(colour, 0, 0.35));
    screen.fill_round(Area { height: area.height - 3, ..area }, 7, colour);
    let x = area.left + (area.width - BOLD.width_of(label)) / 2;
    screen.text(BOLD, (x, area.top + (area.height - 3 - BOLD.height) / 2), label, BUTTON_TEXT);
}

fn draw_alarms(screen: &mut Screen, now: &Readings, counts: Counts) {
    let (left, top) = (ALARM_CARD.left + 10, ALARM_CARD.top + 24);
    let seen = format!("keys {}  clicks {}  viewers {}", counts.keys, counts.clicks, counts.viewers);
    text_right(screen, LABEL, (ALARM_CARD.left + 294, ALARM_CARD.top + 7), &seen, MUTED);
    let Some(alarm) = now.alarms.first() else {
        screen.fill_round(Area { left, top: top + 3, width: 9, height: 9 }, 4, GREEN);
        return screen.text(LABEL, (left + 16, top + 1), "No alarm is active", MUTED);
    };
    let colour = match alarm.severity {
        Severity::Error => RED,
        Severity::Warning => AMBER,
    };
    screen.fill(Area { left: ALARM_CARD.left + 1, top: ALARM_CARD.top + 8, width: 3, height: 34 }, colour);
    let text = match now.alarms.len() {
        0 | 1 => alarm.text.to_owned(),
        several => format!("{} (+{})", alarm.text, several - 1),
    };
    screen.text(BOLD, (left, top), alarm.code, colour);
    screen.text(LABEL, (left + 54, top + 1), &text, TEXT);
}

fn text_right(screen: &mut Screen, face: Face, (right, top): (i32, i32), text: &str, colour: u32) {
    screen.text(face, (right - face.width_of(text), top), text, colour);
}

const HEADER: Area = Area { left: 0, top: 0, width: 640, height: 38 };
const PRESSURE_CARD: Area = Area { left: 8, top: 46, width: 152, height: 164 };
const CLAMP_CARD: Area = Area { left: 168, top: 46, width: 152, height: 164 };
const HEAT_CARD: Area = Area { left: 328, top: 46, width: 304, height: 164 };
const TREND_CARD: Area = Area { left: 8, top: 218, width: 312, height: 118 };
const CYCLE_CARD: Area = Area { left: 328, top: 218, width: 304, height: 118 };
const ALARM_CARD: Area = Area { left: 328, top: 344, width: 304, height: 48 };
const PLOT: Area = Area { left: 44, top: 246, width: 266, height: 76 };

/// The button that starts a stopped press and stops a started one.
pub(crate) const START_STOP: Area = Area { left: 8, top: 344, width: 152, height: 48 };

/// The button that clears latched alarms.
pub(crate) const ACKNOWLEDGE: Area = Area { left: 168, top: 344, width: 152, height: 48 };

const BACKGROUND: u32 = 0x0b_11_18;
const HEADER_COLOUR: u32 = 0x10_19_23;
const CARD: u32 = 0x14_1f_2b;
const BORDER: u32 = 0x24_33_43;
const TRACK: u32 = 0x22_30_3e;
const TEXT: u32 = 0xe8_ee_f4;
const MUTED: u32 = 0x8a_9b_ac;
const TEAL: u32 = 0x2d_d4_bf;
const BLUE: u32 = 0x38_a8_f8;
const GREEN: u32 = 0x34_d3_7a;
const AMBER: u32 = 0xf5_b0_3a;
const RED: u32 = 0xf0_5d_5e;
const IDLE_BUTTON: u32 = 0x5b_6b_7c;
const BUTTON_TEXT: u32 = 0x0b_11_18;

#[cfg(test)]
mod tests {
    use super::super::super::process::Process;
    use super::super::super::rfb::Rect;
    use super::*;

    fn pixel(screen: &Screen, x: u16, y: u16) -> u32 {
        screen.row(Rect { x, y, width: 1, height: 1 }, y)[0]
    }

    #[test]
    fn equal_readings_give_equal_pictures() {
        let panel = Panel::new();
        let now = Process::new(1).readings();
        assert_eq!(panel.draw(&now, Counts::default()), Panel::new().draw(&now, Counts::default()));
    }

    #[test]
    fn the_button_is_red_while_the_press_runs_and_green_when_it_stands() {
        let panel = Panel::new();
        let mut process = Process::new(1);
        assert_eq!(pixel(&panel.draw(&process.readings(), Counts::default()), 20, 360), RED);
        process.apply(Command::Toggle);
        assert_eq!(pixel(&panel.draw(&process.readings(), Counts::default()), 20, 360), GREEN);
    }

    #[test]
    fn an_input_count_is_visible() {
        let panel = Panel::new();
        let now = Process::new(1).readings();
        let counts = Counts { keys: 1, ..Counts::default() };
        assert_ne!(panel.draw(&now, Counts::default()), panel.draw(&now, counts));
    }

    #[test]
    fn only_the_buttons_mean_something() {
        assert_eq!(command_at(8, 344), Some(Command::Toggle));
        assert_eq!(command_at(159, 391), Some(Command::Toggle));
        assert_eq!(command_at(168, 344), Some(Command::Acknowledge));
        assert_eq!(command_at(160, 391), None);
        assert_eq!(command_at(0, 0), None);
        assert_eq!(command_at(u16::MAX, u16::MAX), None);
    }
}
