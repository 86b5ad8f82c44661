//! `ServerInit` (RFC 6143, section 7.3.2): what the machine says about its screen.

use serde::{Deserialize, Serialize};

use crate::wire::text::Text;

use super::fault::Fault;

/// Bytes of a desktop name that are let through.
pub const NAME_BYTES: u32 = 1024;
/// Bytes of `ServerInit` before the name.
pub(super) const HEADER_BYTES: usize = 24;

/// A machine's screen as it was when the session began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Screen {
    /// Pixels from left to right.
    pub width: u16,
    /// Pixels from top to bottom.
    pub height: u16,
    /// The machine's own pixel format.
    pub format: PixelFormat,
    /// The desktop's name, cleaned for people; the viewer gets the bytes as they came.
    pub name: Text,
}

/// How a pixel is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PixelFormat {
    /// 8, 16 or 32.
    pub bits_per_pixel: u8,
    /// Bits of them that count.
    pub depth: u8,
    /// Whether the most significant byte is first.
    pub big_endian: bool,
    /// Whether a pixel holds the colour itself and not its number in a map.
    pub true_colour: bool,
    /// Largest value of red, green and blue.
    pub max: [u16; 3],
    /// Where the lowest bit of red, green and blue stands.
    pub shift: [u8; 3],
}

impl PixelFormat {
    /// Reads the sixteen bytes of `ServerInit` and of `SetPixelFormat`.
    ///
    /// # Errors
    /// [`Fault::PixelBits`] for pixels of other than 8, 16 or 32 bits.
    pub fn read(bytes: [u8; 16]) -> Result<Self, Fault> {
        let [bits, depth, big_endian, true_colour, rest @ ..] = bytes;
        let [r1, r0, g1, g0, b1, b0, red, green, blue, _, _, _] = rest;
        if !matches!(bits, 8 | 16 | 32) {
            return Err(Fault::PixelBits { bits });
        }
        Ok(Self {
            bits_per_pixel: bits,
            depth,
            big_endian: big_endian != 0,
            true_colour: true_colour != 0,
            max: [[r1, r0], [g1, g0], [b1, b0]].map(u16::from_be_bytes),
            shift: [red, green, blue],
        })
    }
}

impl Screen {
    /// Reads the bytes before the name, and how long that is.
    pub(super) fn read(header: [u8; HEADER_BYTES]) -> Result<(Self, usize), Fault> {
        let [w1, w0, h1, h0, format @ .., n3, n2, n1, n0] = header;
        let bytes = u32::from_be_bytes([n3, n2, n1, n0]);
        let screen = Self {
            width: u16::from_be_bytes([w1, w0]),
            height: u16::from_be_bytes([h1, h0]),
            format: PixelFormat::read(format)?,
            name: Text::clean(""),
        };
        match usize::try_from(bytes) {
            Ok(length) if bytes <= NAME_BYTES => Ok((screen, length)),
            _ => Err(Fault::NameLength { bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [u8; 24] =
        [4, 0, 3, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0, 0, 0, 0, 5];

    #[test]
    fn a_screen_is_read_field_by_field() {
        let format = PixelFormat {
            bits_per_pixel: 32,
            depth: 24,
            big_endian: false,
            true_colour: true,
            max: [255, 255, 255],
            shift: [16, 8, 0],
        };
        let screen = Screen { width: 1024, height: 768, format, name: Text::clean("") };
        assert_eq!(Screen::read(HEADER), Ok((screen, 5)));
    }

    #[test]
    fn pixels_of_24_bits_and_endless_names_are_faults() {
        let mut wrong = HEADER;
        wrong[4] = 24;
        assert_eq!(Screen::read(wrong), Err(Fault::PixelBits { bits: 24 }));
        let mut long = HEADER;
        long[22..].copy_from_slice(&1025_u16.to_be_bytes());
        assert_eq!(Screen::read(long), Err(Fault::NameLength { bytes: 1025 }));
        long[22..].copy_from_slice(&1024_u16.to_be_bytes());
        assert_eq!(Screen::read(long).map(|(_, length)| length), Ok(1024));
        long[20] = 0xff;
        assert_eq!(Screen::read(long), Err(Fault::NameLength { bytes: 0xff00_0400 }));
    }
}
