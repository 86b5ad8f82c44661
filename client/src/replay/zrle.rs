//! Rectangles in compressed tiles of sixty-four by sixty-four pixels (RFC 6143, section 7.7.6).
//!
//! All rectangles of a session are one zlib stream: a replay begins at the beginning.

use flate2::{Decompress, FlushDecompress, Status};

use super::fault::{Fault, Halt};
use super::input::Input;
use super::picture::{Picture, Rect};
use super::pixels::{Colour, Pixels};

/// Bytes that a rectangle has at most, before and after compression: a pixel and a length for each of them, and a palette
/// for each tile. What does not compress grows a little.
pub(super) fn limit(rect: Rect, pixels: &Pixels) -> usize {
    let (width, height) = (usize::from(rect.width), usize::from(rect.height));
    let tiles = width.div_ceil(SIDE.into()) * height.div_ceil(SIDE.into());
    let plain = width * height * (pixels.compact_bytes() + 1) + tiles * (1 + 127 * pixels.compact_bytes());
    plain + plain / 64 + 64
}

/// Decodes a whole rectangle.
pub(super) fn decode(
    compressed: &[u8],
    rect: Rect,
    (zlib, pixels, picture): (&mut Decompress, &Pixels, &mut Picture),
) -> Result<(), Fault> {
    let plain = inflate(zlib, compressed, limit(rect, pixels))?;
    let mut input = Input::new(&plain);
    for y in (0..rect.height).step_by(SIDE.into()) {
        for x in (0..rect.width).step_by(SIDE.into()) {
            let (width, height) = ((rect.width - x).min(SIDE), (rect.height - y).min(SIDE));
            let tile = Rect { x: rect.x + x, y: rect.y + y, width, height };
            paint(&mut input, tile, pixels, picture).map_err(|halt| match halt {
                Halt::Starved => Fault::Malformed,
                Halt::Fault(fault) => fault,
            })?;
        }
    }
    Ok(())
}

fn inflate(zlib: &mut Decompress, mut compressed: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    let mut plain = Vec::with_capacity(compressed.len().saturating_mul(2).clamp(4096, limit.max(4096)));
    loop {
        let (read, written) = (zlib.total_in(), plain.len());
        let status = zlib.decompress_vec(compressed, &mut plain, FlushDecompress::Sync);
        let status = status.map_err(|_| Fault::Malformed)?;
        let read = usize::try_from(zlib.total_in() - read).map_err(|_| Fault::Malformed)?;
        compressed = compressed.get(read..).unwrap_or_default();
        if plain.len() > limit {
            return Err(Fault::Malformed);
        }
        // With room left, everything that was in the input is out.
        if compressed.is_empty() && plain.len() < plain.capacity() {
            return Ok(plain);
        }
        if status == Status::StreamEnd
            || (read == 0 && plain.len() == written && plain.len() < plain.capacity())
        {
            return Err(Fault::Malformed);
        }
        if plain.len() == plain.capacity() {
            plain.reserve(plain.len().min(limit - plain.len()).max(4096));
        }
    }
}

fn paint(input: &mut Input<'_>, tile: Rect, pixels: &Pixels, picture: &mut Picture) -> Result<(), Halt> {
    let kind = input.byte()?;
    match kind {
        0 => {
            for row in 0..tile.height {
                let row_bytes = usize::from(tile.width) * pixels.compact_bytes();
                let mut line = Input::new(input.take(row_bytes)?);
                picture.put(tile, row, std::iter::from_fn(|| pixels.compact(&mut line).ok()));
            }
            Ok(())
        }
        1 => {
            picture.fill(tile, pixels.compact(input)?);
            Ok(())
        }
        2..=16 => {
            let palette = palette(input, kind, pixels)?;
            packed(input, tile, &palette, picture)
        }
        128 => runs(tile, picture, || Ok((pixels.compact(input)?, length(input)?))),
        130..=255 => {
            let palette = palette(input, kind - 128, pixels)?;
            runs(tile, picture, || {
                let index = input.byte()?;
                let length = if index & 128 == 0 { 1 } else { length(input)? };
                let colour = palette.get(usize::from(index & 127)).ok_or(Fault::Malformed)?;
                Ok((*colour, length))
            })
        }
        17..=127 | 129 => Err(Fault::Malformed.into()),
    }
}

fn palette(input: &mut Input<'_>, size: u8, pixels: &Pixels) -> Result<Vec<Colour>, Halt> {
    (0..size).map(|_| pixels.compact(input)).collect()
}

/// Rows of numbers of a palette, several in a byte.
fn packed(input: &mut Input<'_>, tile: Rect, palette: &[Colour], picture: &mut Picture) -> Result<(), Halt> {
    let bits: u8 = match palette.len() {
        0..=2 => 1,
        3..=4 => 2,
        _ => 4,
    };
    let in_byte = usize::from(8 / bits);
    for row in 0..tile.height {
        let line = input.take(usize::from(tile.width).div_ceil(in_byte))?;
        let numbers = line.iter().flat_map(|byte| {
            (1..=8 / bits).map(move |place| (byte >> (8 - place * bits)) & ((1 << bits) - 1))
        });
        let numbers = numbers.take(tile.width.into());
        let colours: Option<Vec<Colour>> =
            numbers.map(|number| palette.get(usize::from(number)).copied()).collect();
        picture.put(tile, row, colours.ok_or(Fault::Malformed)?.into_iter());
    }
    Ok(())
}

/// Fills a tile with runs of one colour each, over the ends of its rows.
fn runs(
    tile: Rect,
    picture: &mut Picture,
    mut next: impl FnMut() -> Result<(Colour, usize), Halt>,
) -> Result<(), Halt> {
    let pixels = usize::from(tile.width) * usize::from(tile.height);
    let mut colours = Vec::with_capacity(pixels);
    while colours.len() < pixels {
        let (colour, length) = next()?;
        if length > pixels - colours.len() {
            return Err(Fault::Malformed.into());
        }
        colours.resize(colours.len() + length, colour);
    }
    for (row, line) in (0..).zip(colours.chunks(usize::from(tile.width).max(1))) {
        picture.put(tile, row, line.iter().copied());
    }
    Ok(())
}

/// A length of one or more: bytes of 255 go on, the last one does not.
fn length(input: &mut Input<'_>) -> Result<usize, Halt> {
    let mut length = 1_usize;
    loop {
        let byte = input.byte()?;
        length = length.saturating_add(byte.into());
        if byte < 255 {
            return Ok(length);
        }
    }
}

const SIDE: u16 = 64;
