//! Rectangles in tiles of sixteen by sixteen pixels (RFC 6143, section 7.7.4).

use super::fault::{Fault, Halt};
use super::input::Input;
use super::picture::{Picture, Rect};
use super::pixels::{Colour, Pixels};

/// A rectangle at one of its tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hextile {
    rect: Rect,
    /// Where the next tile begins, within the rectangle.
    at: (u16, u16),
    background: Colour,
    foreground: Colour,
}

impl Hextile {
    pub(super) const fn new(rect: Rect) -> Self {
        Self { rect, at: (0, 0), background: 0, foreground: 0 }
    }

    /// Reads the next tile; false when there is none. It changes nothing where bytes are missing.
    pub(super) fn next(
        &mut self,
        input: &mut Input<'_>,
        pixels: &Pixels,
        picture: &mut Picture,
    ) -> Result<bool, Halt> {
        let (x, y) = self.at;
        if y >= self.rect.height || self.rect.width == 0 {
            return Ok(false);
        }
        let tile = Rect {
            x: self.rect.x + x,
            y: self.rect.y + y,
            width: (self.rect.width - x).min(SIDE),
            height: (self.rect.height - y).min(SIDE),
        };
        let mask = input.byte()?;
        if mask & RAW != 0 {
            let row = usize::from(tile.width) * pixels.bytes();
            let bytes = input.take(row * usize::from(tile.height))?;
            for (line, row) in (0..).zip(bytes.chunks(row)) {
                let mut row = Input::new(row);
                picture.put(tile, line, std::iter::from_fn(|| pixels.pixel(&mut row).ok()));
            }
        } else {
            let (mut background, mut foreground) = (self.background, self.foreground);
            if mask & BACKGROUND != 0 {
                background = pixels.pixel(input)?;
            }
            if mask & FOREGROUND != 0 {
                foreground = pixels.pixel(input)?;
            }
            let parts = parts(input, mask, pixels, (tile, foreground))?;
            picture.fill(tile, background);
            for (part, colour) in parts {
                picture.fill(part, colour);
            }
            (self.background, self.foreground) = (background, foreground);
        }
        self.at =
            if tile.width < SIDE || x + SIDE >= self.rect.width { (0, y + SIDE) } else { (x + SIDE, y) };
        Ok(true)
    }
}

/// The parts of a tile that stand out, in terms of the picture.
fn parts(
    input: &mut Input<'_>,
    mask: u8,
    pixels: &Pixels,
    (tile, foreground): (Rect, Colour),
) -> Result<Vec<(Rect, Colour)>, Halt> {
    let count = if mask & PARTS != 0 { input.byte()? } else { 0 };
    let mut parts = Vec::with_capacity(count.into());
    for _ in 0..count {
        let colour = if mask & COLOURED != 0 { pixels.pixel(input)? } else { foreground };
        let [at, size] = input.array()?;
        let (x, y) = (u16::from(at >> 4), u16::from(at & 15));
        let (width, height) = (u16::from(size >> 4) + 1, u16::from(size & 15) + 1);
        if x + width > tile.width || y + height > tile.height {
            return Err(Fault::Outside.into());
        }
        parts.push((Rect { x: tile.x + x, y: tile.y + y, width, height }, colour));
    }
    Ok(parts)
}

const SIDE: u16 = 16;
const RAW: u8 = 1;
const BACKGROUND: u8 = 2;
const FOREGROUND: u8 = 4;
const PARTS: u8 = 8;
const COLOURED: u8 = 16;
