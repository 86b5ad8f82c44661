//! Pixels in the format of a session, and colours.

use postern_protocol::gate::rfb::PixelFormat;

use super::fault::Halt;
use super::input::Input;

/// Red, green and blue: `0x00rrggbb`.
pub(crate) type Colour = u32;

/// Reads and writes pixels of one format.
#[derive(Clone, Debug)]
pub(crate) struct Pixels {
    format: PixelFormat,
    /// The colour map of a format that has one.
    colours: Vec<Colour>,
}

impl Pixels {
    pub(crate) const fn new(format: PixelFormat) -> Self {
        Self { format, colours: Vec::new() }
    }

    /// Takes colours for the map, from number `first` on.
    pub(super) fn map(&mut self, first: u16, colours: impl ExactSizeIterator<Item = Colour>) {
        let first = usize::from(first);
        let end = (first + colours.len()).min(MAP);
        if self.colours.len() < end {
            self.colours.resize(end, 0);
        }
        self.colours.iter_mut().skip(first).zip(colours).for_each(|(place, colour)| *place = colour);
    }

    /// The same map for another format.
    pub(super) fn reform(&mut self, format: PixelFormat) {
        self.format = format;
    }

    /// Bytes of a pixel.
    pub(crate) const fn bytes(&self) -> usize {
        match self.format.bits_per_pixel {
            8 => 1,
            16 => 2,
            _ => 4,
        }
    }

    pub(super) fn pixel(&self, input: &mut Input<'_>) -> Result<Colour, Halt> {
        Ok(self.colour(self.value(input.take(self.bytes())?)))
    }

    /// A pixel of ZRLE: three bytes where the fourth says nothing (RFC 6143, section 7.7.5).
    pub(super) fn compact(&self, input: &mut Input<'_>) -> Result<Colour, Halt> {
        let Some(high) = self.unused() else { return self.pixel(input) };
        let [a, b, c] = input.array()?;
        let value = if self.format.big_endian { [a, b, c] } else { [c, b, a] };
        let [a, b, c] = value.map(u32::from);
        let value = (a << 16) | (b << 8) | c;
        Ok(self.colour(if high { value } else { value << 8 }))
    }

    /// Bytes of a pixel of ZRLE.
    pub(super) fn compact_bytes(&self) -> usize {
        if self.unused().is_some() { 3 } else { self.bytes() }
    }

    /// Writes a colour; a format with a map has none of it to write.
    pub(crate) fn write(&self, colour: Colour, out: &mut Vec<u8>) {
        let [_, red, green, blue] = colour.to_be_bytes();
        let mut value = 0_u32;
        for ((part, max), shift) in [red, green, blue].into_iter().zip(self.format.max).zip(self.format.shift)
        {
            let scaled = (u32::from(part) * u32::from(max) + 127) / 255;
            value |= scaled.checked_shl(shift.into()).unwrap_or(0);
        }
        let [a, b, c, d] = value.to_be_bytes();
        match (self.bytes(), self.format.big_endian) {
            (1, _) => out.push(d),
            (2, true) => out.extend([c, d]),
            (2, false) => out.extend([d, c]),
            (_, true) => out.extend([a, b, c, d]),
            (_, false) => out.extend([d, c, b, a]),
        }
    }

    /// Whether one byte of four says nothing: true for the most significant, false for the least.
    fn unused(&self) -> Option<bool> {
        let PixelFormat { true_colour, depth, .. } = self.format;
        if !true_colour || self.bytes() != 4 || depth > 24 {
            return None;
        }
        let parts = self.format.max.into_iter().zip(self.format.shift);
        let used = parts.map(|(max, shift)| u32::from(max).checked_shl(shift.into()).unwrap_or(0));
        match used.fold(0, |all, part| all | part) {
            used if used & 0xff00_0000 == 0 => Some(true),
            used if used & 0xff == 0 => Some(false),
            _ => None,
        }
    }

    fn value(&self, bytes: &[u8]) -> u32 {
        let join = |value: u32, byte: &u8| (value << 8) | u32::from(*byte);
        if self.format.big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) }
    }

    fn colour(&self, value: u32) -> Colour {
        if !self.format.true_colour {
            let number = usize::try_from(value).unwrap_or(MAP);
            return self.colours.get(number).copied().unwrap_or(0);
        }
        let parts = self.format.max.into_iter().zip(self.format.shift);
        parts.fold(0, |colour, (max, shift)| {
            let (max, part) = (u32::from(max), value.checked_shr(shift.into()).unwrap_or(0));
            let scaled = ((part & max) * 255 + max / 2).checked_div(max).unwrap_or(0).min(255);
            (colour << 8) | scaled
        })
    }
}

/// Colours of a map at most.
const MAP: usize = 65_536;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::replay) const RGB: PixelFormat = PixelFormat {
        bits_per_pixel: 32,
        depth: 24,
        big_endian: false,
        true_colour: true,
        max: [255; 3],
        shift: [16, 8, 0],
    };
    pub(in crate::replay) const R5G6B5: PixelFormat =
        PixelFormat { bits_per_pixel: 16, depth: 16, max: [31, 63, 31], shift: [11, 5, 0], ..RGB };

    fn written(format: PixelFormat, colour: Colour) -> Vec<u8> {
        let mut out = Vec::new();
        Pixels::new(format).write(colour, &mut out);
        out
    }

    fn read(format: PixelFormat, bytes: &[u8]) -> Colour {
        Pixels::new(format).pixel(&mut Input::new(bytes)).unwrap()
    }

    #[test]
    fn colours_are_written_and_read_in_every_size_and_order() {
        let big = PixelFormat { big_endian: true, ..RGB };
        assert_eq!(written(RGB, 0x0012_3456), [0x56, 0x34, 0x12, 0]);
        assert_eq!(written(big, 0x0012_3456), [0, 0x12, 0x34, 0x56]);
        assert_eq!(
            (read(RGB, &[0x56, 0x34, 0x12, 9]), read(big, &[9, 0x12, 0x34, 0x56])),
            (0x12_3456, 0x12_3456)
        );
        assert_eq!(written(R5G6B5, 0x00ff_0000), [0x00, 0xf8]);
        assert_eq!(read(R5G6B5, &[0x00, 0xf8]), 0x00ff_0000);
        let big = PixelFormat { big_endian: true, ..R5G6B5 };
        assert_eq!((written(big, 0x00ff_ffff), read(big, &[0x07, 0xe0])), (vec![0xff, 0xff], 0x0000_ff00));
        let tiny = PixelFormat { bits_per_pixel: 8, depth: 8, max: [7, 7, 3], shift: [0, 3, 6], ..RGB };
        assert_eq!((written(tiny, 0x00ff_ff00), read(tiny, &[0xc0])), (vec![0x3f], 0x0000_00ff));
    }

    #[test]
    fn zrle_leaves_out_the_byte_that_says_nothing() {
        let compact = |format: PixelFormat, bytes: &[u8]| {
            let pixels = Pixels::new(format);
            (pixels.compact(&mut Input::new(bytes)).unwrap(), pixels.compact_bytes())
        };
        let high = PixelFormat { shift: [24, 16, 8], ..RGB };
        let big = |format| PixelFormat { big_endian: true, ..format };
        assert_eq!(compact(RGB, &[0x56, 0x34, 0x12]), (0x12_3456, 3));
        assert_eq!(compact(big(RGB), &[0x12, 0x34, 0x56]), (0x12_3456, 3));
        assert_eq!(compact(high, &[0x56, 0x34, 0x12]), (0x12_3456, 3));
        assert_eq!(compact(big(high), &[0x12, 0x34, 0x56]), (0x12_3456, 3));
        assert_eq!(compact(PixelFormat { depth: 32, ..RGB }, &[0x56, 0x34, 0x12, 0]), (0x12_3456, 4));
        assert_eq!(compact(R5G6B5, &[0x00, 0xf8]), (0x00ff_0000, 2));
    }

    #[test]
    fn numbers_of_a_map_are_looked_up_and_unknown_ones_are_black() {
        let format = PixelFormat { bits_per_pixel: 8, depth: 8, true_colour: false, ..RGB };
        let mut pixels = Pixels::new(format);
        pixels.map(254, [1, 2, 3].into_iter());
        pixels.map(65_535, [4, 5].into_iter());
        let colour = |byte| pixels.pixel(&mut Input::new(&[byte])).unwrap();
        assert_eq!([colour(253), colour(254), colour(255)], [0, 1, 2]);
        assert_eq!(pixels.colours.len(), MAP);
    }

    #[test]
    fn formats_that_make_no_sense_are_black_and_no_panic() {
        let odd = PixelFormat { max: [0, 65_535, 65_535], shift: [255, 40, 32], ..RGB };
        assert_eq!(read(odd, &[0xff; 4]), 0);
        assert_eq!(written(odd, 0x00ff_ffff), [0; 4]);
    }
}
