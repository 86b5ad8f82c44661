//! What one viewer has on its screen, so that an update carries only what changed.
//!
//! 1. A [`Shadow`] starts knowing nothing.
//! 2. [`Shadow::advance`] compares the new picture with it, tile by tile, and remembers what is going to be sent.
//! 3. [`Shadow::forget`] makes an area unknown again, for requests that are not incremental.
//!
//! Deliberately absent: any memory that grows with what a client sends.

use super::super::rfb::Rect;
use super::screen::{BOUNDS, HEIGHT, Screen, WIDTH};

/// The pixels that a viewer is known to show.
#[derive(Debug)]
pub(crate) struct Shadow {
    pixels: Vec<u32>,
}

impl Shadow {
    /// A viewer that has been sent nothing.
    pub(crate) fn new() -> Self {
        Self { pixels: vec![UNKNOWN; usize::from(WIDTH) * usize::from(HEIGHT)] }
    }

    /// Makes the pixels of `area` unknown.
    pub(crate) fn forget(&mut self, area: Rect) {
        for y in rows(area) {
            self.row_mut(area, y).fill(UNKNOWN);
        }
    }

    /// The rectangles of `region` that differ from `screen`, which the viewer is then taken to show.
    pub(crate) fn advance(&mut self, screen: &Screen, region: Rect) -> Vec<Rect> {
        let Some(region) = region.within(BOUNDS) else { return Vec::new() };
        let mut changed: Vec<Rect> = Vec::new();
        for top in (0..HEIGHT).step_by(usize::from(TILE)) {
            let row_start = changed.len();
            for left in (0..WIDTH).step_by(usize::from(TILE)) {
                let tile = Rect { x: left, y: top, width: TILE, height: TILE };
                let Some(tile) = tile.within(region) else { continue };
                if !self.learn(screen, tile) {
                    continue;
                }
                match changed.get_mut(row_start..).and_then(<[Rect]>::last_mut) {
                    Some(last) if last.right() == u32::from(tile.x) => last.width += tile.width,
                    Some(_) | None => changed.push(tile),
                }
            }
        }
        stack(changed)
    }

    /// Copies a tile; true when it was different.
    fn learn(&mut self, screen: &Screen, tile: Rect) -> bool {
        let mut different = false;
        for y in rows(tile) {
            let (new, known) = (screen.row(tile, y), self.row_mut(tile, y));
            if new != known {
                known.copy_from_slice(new);
                different = true;
            }
        }
        different
    }

    fn row_mut(&mut self, area: Rect, y: u16) -> &mut [u32] {
        let start = usize::from(y) * usize::from(WIDTH) + usize::from(area.x);
        self.pixels.get_mut(start..start + usize::from(area.width)).unwrap_or_default()
    }
}

/// Joins rectangles that lie exactly below each other.
fn stack(rects: Vec<Rect>) -> Vec<Rect> {
    let mut joined: Vec<Rect> = Vec::with_capacity(rects.len());
    for rect in rects {
        let above = joined.iter_mut().rev().find(|above| {
            above.x == rect.x && above.width == rect.width && above.bottom() == u32::from(rect.y)
        });
        match above {
            Some(above) => above.height += rect.height,
            None => joined.push(rect),
        }
    }
    joined
}

fn rows(area: Rect) -> std::ops::Range<u16> {
    area.y..area.y.saturating_add(area.height).min(HEIGHT)
}

/// No pixel of a picture has this value: their top byte is zero.
const UNKNOWN: u32 = u32::MAX;

/// Side of a tile in pixels; it divides both sides of the picture.
const TILE: u16 = 16;

#[cfg(test)]
mod tests {
    use super::super::screen::Area;
    use super::*;

    #[test]
    fn a_new_viewer_gets_the_whole_picture_as_one_rectangle_and_then_nothing() {
        let mut shadow = Shadow::new();
        let screen = Screen::new(5);
        assert_eq!(shadow.advance(&screen, BOUNDS), [BOUNDS]);
        assert_eq!(shadow.advance(&screen, BOUNDS), []);
    }

    #[test]
    fn only_the_changed_tiles_are_sent() {
        let mut shadow = Shadow::new();
        let mut screen = Screen::new(5);
        shadow.advance(&screen, BOUNDS);
        screen.fill(Area { left: 20, top: 20, width: 20, height: 20 }, 6);
        screen.fill(Area { left: 639, top: 399, width: 1, height: 1 }, 6);
        let expected =
            [Rect { x: 16, y: 16, width: 32, height: 32 }, Rect { x: 624, y: 384, width: 16, height: 16 }];
        assert_eq!(shadow.advance(&screen, BOUNDS), expected);
    }

    #[test]
    fn a_request_for_a_part_sends_that_part_and_leaves_the_rest_unknown() {
        let mut shadow = Shadow::new();
        let screen = Screen::new(5);
        let part = Rect { x: 10, y: 10, width: 3, height: 3 };
        assert_eq!(shadow.advance(&screen, part), [part]);
        assert_eq!(shadow.advance(&screen, part), []);
        assert_eq!(shadow.advance(&screen, BOUNDS), [BOUNDS]);
    }

    #[test]
    fn what_is_forgotten_is_sent_again() {
        let mut shadow = Shadow::new();
        let screen = Screen::new(5);
        shadow.advance(&screen, BOUNDS);
        shadow.forget(Rect { x: 0, y: 0, width: 1, height: 1 });
        assert_eq!(shadow.advance(&screen, BOUNDS), [Rect { x: 0, y: 0, width: 16, height: 16 }]);
    }

    #[test]
    fn a_request_outside_the_picture_sends_nothing() {
        let outside = Rect { x: 640, y: 0, width: 65_535, height: 65_535 };
        assert_eq!(Shadow::new().advance(&Screen::new(5), outside), []);
    }
}
