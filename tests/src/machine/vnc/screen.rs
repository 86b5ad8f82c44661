//! The panel's picture and the few strokes that it is drawn with.
//!
//! 1. A [`Screen`] starts in one colour.
//! 2. Rectangles, lines, arcs and text change its pixels; whatever lies outside is clipped.
//! 3. [`Screen::row`] gives pixels to the encoder.
//!
//! Deliberately absent: layers and widgets; the panel is redrawn from its background each time.

use std::f64::consts::TAU;

use super::super::rfb::Rect;
use super::font::Face;

/// A picture of [`WIDTH`] by [`HEIGHT`] pixels, each `0x00RRGGBB`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Screen {
    pixels: Vec<u32>,
}

impl Screen {
    /// A picture in one colour.
    pub(crate) fn new(colour: u32) -> Self {
        Self { pixels: vec![colour; usize::from(WIDTH) * usize::from(HEIGHT)] }
    }

    /// Fills a box.
    pub(crate) fn fill(&mut self, area: Area, colour: u32) {
        for y in area.top..area.top + area.height {
            for x in area.left..area.left + area.width {
                self.put(x, y, colour);
            }
        }
    }

    /// Fills a box with rounded corners and smooth edges.
    pub(crate) fn fill_round(&mut self, area: Area, radius: i32, colour: u32) {
        let r = f64::from(radius);
        let (right, bottom) = (area.left + area.width - 1, area.top + area.height - 1);
        for y in area.top..=bottom {
            for x in area.left..=right {
                let dx = (area.left + radius - x).max(x - (right - radius)).max(0);
                let dy = (area.top + radius - y).max(y - (bottom - radius)).max(0);
                let coverage =
                    if dx > 0 && dy > 0 { r + 0.5 - f64::from(dx).hypot(f64::from(dy)) } else { 1.0 };
                self.blend(x, y, colour, coverage);
            }
        }
    }

    /// Draws `text` with its top left corner at (`left`, `top`).
    pub(crate) fn text(&mut self, face: Face, (left, top): (i32, i32), text: &str, colour: u32) {
        for (x, y) in face.pixels(text) {
            self.put(left + x, top + y, colour);
        }
    }

    /// Draws `text` twice as large, with its diagonals smoothed.
    pub(crate) fn headline(&mut self, face: Face, (left, top): (i32, i32), text: &str, colour: u32) {
        for (x, y) in face.doubled(text) {
            self.put(left + x, top + y, colour);
        }
    }

    /// Draws a line with smooth edges from (`x0`, `y0`) to (`x1`, `y1`), where `x0 <= x1`.
    pub(crate) fn stroke(&mut self, (x0, y0): (i32, f64), (x1, y1): (i32, f64), colour: u32) {
        let slope = (y1 - y0) / f64::from((x1 - x0).max(1));
        for x in x0..x1.max(x0 + 1) {
            let from = y0 + slope * f64::from(x - x0);
            let (low, high) = if slope < 0.0 { (from + slope, from) } else { (from, from + slope) };
            for y in whole(low.floor()) - 1..=whole(high.ceil()) + 1 {
                let distance = (low - f64::from(y)).max(f64::from(y) - high);
                self.blend(x, y, colour, 1.3 - distance);
            }
        }
    }

    /// Colours part of a ring, found before by [`Ring::new`], up to `fraction` of its sweep.
    pub(crate) fn arc(&mut self, ring: &Ring, fraction: f64, colour: u32) {
        for dot in &ring.dots {
            if dot.fraction <= fraction {
                self.blend(dot.x, dot.y, colour, dot.coverage);
            }
        }
    }

    /// The pixels of one row of `area`; empty outside the picture.
    pub(crate) fn row(&self, area: Rect, y: u16) -> &[u32] {
        let start = usize::from(y) * usize::from(WIDTH) + usize::from(area.x);
        self.pixels.get(start..start + usize::from(area.width)).unwrap_or_default()
    }

    fn put(&mut self, x: i32, y: i32, colour: u32) {
        self.blend(x, y, colour, 1.0);
    }

    fn blend(&mut self, x: i32, y: i32, colour: u32, coverage: f64) {
        let (Ok(x), Ok(y)) = (u16::try_from(x), u16::try_from(y)) else { return };
        if x >= WIDTH || coverage <= 0.0 {
            return;
        }
        let at = usize::from(y) * usize::from(WIDTH) + usize::from(x);
        if let Some(pixel) = self.pixels.get_mut(at) {
            *pixel = if coverage >= 1.0 { colour } else { mix(*pixel, colour, coverage) };
        }
    }
}

/// A box on the picture; it may reach outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Area {
    /// Left edge.
    pub(crate) left: i32,
    /// Top edge.
    pub(crate) top: i32,
    /// Width.
    pub(crate) width: i32,
    /// Height.
    pub(crate) height: i32,
}

impl Area {
    /// Whether a pointer at (`x`, `y`) is inside.
    pub(crate) fn contains(self, x: u16, y: u16) -> bool {
        let (x, y) = (i32::from(x), i32::from(y));
        (self.left..self.left + self.width).contains(&x) && (self.top..self.top + self.height).contains(&y)
    }

    /// The same box, smaller by `border` on each side.
    pub(crate) fn inset(self, border: i32) -> Self {
        Self {
            left: self.left + border,
            top: self.top + border,
            width: self.width - 2 * border,
            height: self.height - 2 * border,
        }
    }
}

/// The pixels of a gauge's ring, open at the bottom, with the angle of each; found once, drawn often.
#[derive(Debug)]
pub(crate) struct Ring {
    dots: Vec<Dot>,
}

impl Ring {
    /// Finds the pixels of a ring around (`x`, `y`) whose stroke lies between the two radii.
    pub(crate) fn new((x, y): (i32, i32), inner: f64, outer: f64) -> Self {
        let reach = whole(outer) + 1;
        let mut dots = Vec::new();
        for dy in -reach..=reach {
            for dx in -reach..=reach {
                let radius = f64::from(dx).hypot(f64::from(dy));
                let coverage = (radius - inner + 0.5).min(outer - radius + 0.5).min(1.0);
                // Zero at the bottom, growing clockwise.
                let turn = f64::from(-dx).atan2(f64::from(dy)).rem_euclid(TAU) / TAU;
                let fraction = (turn - GAP) / (1.0 - 2.0 * GAP);
                if coverage > 0.0 && (0.0..=1.0).contains(&fraction) {
                    dots.push(Dot { x: x + dx, y: y + dy, fraction, coverage });
                }
            }
        }
        Self { dots }
    }
}

#[derive(Debug)]
struct Dot {
    x: i32,
    y: i32,
    fraction: f64,
    coverage: f64,
}

/// The nearest whole number.
#[expect(
    clippy::cast_possible_truncation,
    reason = "float to integer `as` saturates, and the value is rounded"
)]
pub(crate) fn whole(value: f64) -> i32 {
    value.round() as i32
}

/// A colour between two.
pub(crate) fn mix(from: u32, to: u32, share: f64) -> u32 {
    let weight = u32::try_from(whole(share.clamp(0.0, 1.0) * 256.0)).unwrap_or_default();
    let channel = |shift: u32| {
        let (a, b) = ((from >> shift) & 0xff, (to >> shift) & 0xff);
        ((a * (256 - weight) + b * weight) >> 8) << shift
    };
    channel(16) | channel(8) | channel(0)
}

/// Pixels in a row.
pub(crate) const WIDTH: u16 = 640;

/// Rows of the picture.
pub(crate) const HEIGHT: u16 = 400;

/// The whole picture.
pub(crate) const BOUNDS: Rect = Rect { x: 0, y: 0, width: WIDTH, height: HEIGHT };

/// Share of the full turn that a gauge leaves open on each side of its bottom.
const GAP: f64 = 0.125;

#[cfg(test)]
mod tests {
    use super::super::font::LABEL;
    use super::*;

    fn at(screen: &Screen, x: u16, y: u16) -> u32 {
        screen.row(Rect { x, y, width: 1, height: 1 }, y)[0]
    }

    #[test]
    fn a_box_changes_its_pixels_and_no_others() {
        let mut screen = Screen::new(1);
        screen.fill(Area { left: 10, top: 20, width: 2, height: 1 }, 2);
        assert_eq!([at(&screen, 10, 20), at(&screen, 11, 20)], [2, 2]);
        assert_eq!(
            [at(&screen, 9, 20), at(&screen, 12, 20), at(&screen, 10, 19), at(&screen, 10, 21)],
            [1; 4]
        );
    }

    #[test]
    fn strokes_outside_the_picture_are_clipped() {
        let mut screen = Screen::new(0);
        screen.fill(Area { left: -5, top: -5, width: 5, height: 5 }, 9);
        screen.fill(Area { left: 640, top: 10, width: 50, height: 500 }, 9);
        screen.text(LABEL, (1_000, 1_000), "out", 9);
        assert_eq!(screen, Screen::new(0));
    }

    #[test]
    fn a_full_arc_reaches_the_top_and_an_empty_one_does_not() {
        let ring = Ring::new((100, 100), 40.0, 50.0);
        let mut screen = Screen::new(0);
        screen.arc(&ring, 0.4, 7);
        assert_eq!((at(&screen, 55, 100), at(&screen, 145, 100)), (7, 0));
        screen.arc(&ring, 1.0, 7);
        assert_eq!((at(&screen, 145, 100), at(&screen, 100, 145)), (7, 0));
    }

    #[test]
    fn half_a_mix_lies_in_the_middle() {
        assert_eq!(mix(0x00_00_00, 0xff_80_00, 0.5), 0x7f_40_00);
        assert_eq!(mix(0x12_34_56, 0xff_ff_ff, 0.0), 0x12_34_56);
    }
}
