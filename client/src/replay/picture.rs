//! A screen of a machine as it is at one moment.

use super::fault::Fault;
use super::pixels::Colour;

/// A part of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rect {
    pub(crate) x: u16,
    pub(crate) y: u16,
    pub(crate) width: u16,
    pub(crate) height: u16,
}

/// Rows of colours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    width: u16,
    height: u16,
    colours: Vec<Colour>,
    /// What is different since this was last asked.
    changed: Option<Rect>,
}

impl Rect {
    /// Whether there is nothing in it.
    pub(super) const fn is_empty(self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// The smallest that contains both.
    fn with(self, other: Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let end = |at: u16, size: u16| at.saturating_add(size);
        let right = end(self.x, self.width).max(end(other.x, other.width));
        let bottom = end(self.y, self.height).max(end(other.y, other.height));
        Self { x, y, width: right - x, height: bottom - y }
    }
}

impl Picture {
    /// A black one.
    pub(crate) fn new(width: u16, height: u16) -> Result<Self, Fault> {
        let pixels = usize::from(width) * usize::from(height);
        if pixels > PIXELS {
            return Err(Fault::Size { width, height });
        }
        let mut picture = Self { width, height, colours: vec![0; pixels], changed: None };
        picture.changed = Some(picture.whole());
        Ok(picture)
    }

    pub(crate) const fn size(&self) -> (u16, u16) {
        (self.width, self.height)
    }

    pub(crate) const fn whole(&self) -> Rect {
        Rect { x: 0, y: 0, width: self.width, height: self.height }
    }

    /// What is different since this was last asked.
    pub(crate) fn take_changed(&mut self) -> Option<Rect> {
        self.changed.take()
    }

    /// Whether something is different since that was last asked.
    pub(crate) const fn has_changed(&self) -> bool {
        self.changed.is_some()
    }

    /// The rows of a part.
    pub(crate) fn rows(&self, rect: Rect) -> impl Iterator<Item = &[Colour]> {
        let (x, width) = (usize::from(rect.x), usize::from(rect.width));
        let rows = self.colours.chunks(usize::from(self.width).max(1));
        rows.skip(rect.y.into())
            .take(rect.height.into())
            .map(move |row| row.get(x..x + width).unwrap_or_default())
    }

    /// Refuses a part that is not all inside. Whoever writes a part has asked first.
    pub(super) fn holds(&self, rect: Rect) -> Result<(), Fault> {
        let fits = |at: u16, size: u16, end: u16| at.checked_add(size).is_some_and(|last| last <= end);
        let inside = fits(rect.x, rect.width, self.width) && fits(rect.y, rect.height, self.height);
        if inside { Ok(()) } else { Err(Fault::Outside) }
    }

    pub(super) fn fill(&mut self, rect: Rect, colour: Colour) {
        self.touch(rect);
        for row in 0..rect.height {
            self.row(rect, row).fill(colour);
        }
    }

    /// Writes one row of a part, as far as there are colours.
    pub(super) fn put(&mut self, rect: Rect, row: u16, colours: impl Iterator<Item = Colour>) {
        self.touch(Rect { y: rect.y.saturating_add(row), height: 1, ..rect });
        self.row(rect, row).iter_mut().zip(colours).for_each(|(place, colour)| *place = colour);
    }

    /// Copies a part of the same size from elsewhere; the two may overlap.
    pub(super) fn copy(&mut self, from: (u16, u16), to: Rect) {
        self.touch(to);
        let source = Rect { x: from.0, y: from.1, ..to };
        let mut copy = |row: u16| {
            let (from, to) = (self.start(source, row), self.start(to, row));
            let end = from + usize::from(source.width);
            if end <= self.colours.len() && to + usize::from(source.width) <= self.colours.len() {
                self.colours.copy_within(from..end, to);
            }
        };
        if source.y < to.y {
            (0..to.height).rev().for_each(&mut copy)
        } else {
            (0..to.height).for_each(&mut copy)
        }
    }

    fn touch(&mut self, rect: Rect) {
        if !rect.is_empty() {
            self.changed = Some(self.changed.map_or(rect, |changed| changed.with(rect)));
        }
    }

    fn row(&mut self, rect: Rect, row: u16) -> &mut [Colour] {
        let start = self.start(rect, row);
        self.colours.get_mut(start..start + usize::from(rect.width)).unwrap_or_default()
    }

    fn start(&self, rect: Rect, row: u16) -> usize {
        (usize::from(rect.y) + usize::from(row)) * usize::from(self.width) + usize::from(rect.x)
    }
}

/// Pixels of a screen that is held: 64 MiB of them.
const PIXELS: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn rect(x: u16, y: u16, width: u16, height: u16) -> Rect {
        Rect { x, y, width, height }
    }

    fn colours(picture: &Picture) -> Vec<Vec<Colour>> {
        picture.rows(picture.whole()).map(<[Colour]>::to_vec).collect()
    }

    #[test]
    fn parts_are_filled_written_and_copied_over_themselves() {
        let mut picture = Picture::new(4, 3).unwrap();
        picture.fill(rect(0, 0, 2, 2), 7);
        picture.put(rect(0, 0, 2, 2), 0, [1, 2, 3].into_iter());
        assert_eq!(colours(&picture), [[1, 2, 0, 0], [7, 7, 0, 0], [0, 0, 0, 0]]);
        picture.copy((0, 0), rect(1, 1, 2, 2));
        assert_eq!(colours(&picture), [[1, 2, 0, 0], [7, 1, 2, 0], [0, 7, 7, 0]]);
        picture.copy((1, 1), rect(0, 0, 2, 2));
        assert_eq!(colours(&picture), [[1, 2, 0, 0], [7, 7, 2, 0], [0, 7, 7, 0]]);
    }

    #[test]
    fn what_changed_is_the_smallest_part_around_it() {
        let mut picture = Picture::new(9, 9).unwrap();
        assert_eq!(picture.take_changed(), Some(rect(0, 0, 9, 9)));
        assert_eq!(picture.take_changed(), None);
        picture.fill(rect(1, 2, 1, 1), 1);
        picture.fill(rect(5, 3, 2, 0), 1);
        picture.put(rect(4, 4, 3, 2), 1, std::iter::empty());
        assert_eq!(picture.take_changed(), Some(rect(1, 2, 6, 4)));
    }

    #[test]
    fn a_part_that_is_not_all_inside_is_refused_and_so_is_a_screen_that_is_too_large() {
        let picture = Picture::new(4, 3).unwrap();
        assert_eq!(picture.holds(rect(0, 0, 4, 3)), Ok(()));
        for outside in [rect(1, 0, 4, 3), rect(0, 1, 4, 3), rect(65_535, 0, 2, 1), rect(0, 4, 1, 0)] {
            assert_eq!(picture.holds(outside), Err(Fault::Outside), "{outside:?}");
        }
        assert_eq!(Picture::new(4096, 4097).err(), Some(Fault::Size { width: 4096, height: 4097 }));
        assert_eq!(Picture::new(0, 9).unwrap().rows(rect(0, 0, 0, 9)).count(), 0);
    }
}
