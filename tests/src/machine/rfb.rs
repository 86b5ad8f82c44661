//! Words of the remote framebuffer protocol (RFC 6143) that the panel's server and the test client share.
//!
//! 1. [`Version`] is agreed first, as twelve bytes of text.
//! 2. [`PixelFormat`] says how a colour becomes bytes.
//! 3. [`Rect`] names a part of the picture.
//!
//! Deliberately absent: colour maps and every encoding but Raw, which all clients must accept.

use thiserror::Error;

/// A protocol version that both ends can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The server picks the security type.
    V3_3,
    /// The client picks the security type; no result follows type None.
    V3_7,
    /// A result, with a reason when it is a refusal, follows every security type.
    V3_8,
}

impl Version {
    /// Reads the twelve bytes of RFC 6143 section 7.1.1.
    ///
    /// # Errors
    /// When the bytes are not `RFB 003.` with three digits and a line feed.
    pub fn from_bytes(bytes: [u8; 12]) -> Result<Self, VersionFault> {
        let [b'R', b'F', b'B', b' ', b'0', b'0', b'3', b'.', minor @ .., b'\n'] = bytes else {
            return Err(VersionFault { seen: bytes });
        };
        if !minor.iter().all(u8::is_ascii_digit) {
            return Err(VersionFault { seen: bytes });
        }
        // The RFC: every minor number that was never published means 3.3.
        Ok(match &minor {
            b"007" => Self::V3_7,
            b"008" | b"889" => Self::V3_8,
            _ => Self::V3_3,
        })
    }

    /// The twelve bytes that announce this version.
    pub const fn to_bytes(self) -> [u8; 12] {
        match self {
            Self::V3_3 => *b"RFB 003.003\n",
            Self::V3_7 => *b"RFB 003.007\n",
            Self::V3_8 => *b"RFB 003.008\n",
        }
    }
}

/// The peer's greeting is not one of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("version line `{}`, expected `RFB 003.nnn`", .seen.escape_ascii())]
pub struct VersionFault {
    /// The twelve bytes.
    pub seen: [u8; 12],
}

/// How a colour is laid out in bytes (RFC 6143 section 7.4); always true colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelFormat {
    width: PixelWidth,
    depth: u8,
    big_endian: bool,
    red: Channel,
    green: Channel,
    blue: Channel,
}

impl PixelFormat {
    /// 32 bits, little endian, red in bits 16 to 23: what most viewers use.
    pub const RGB888: Self = Self {
        width: PixelWidth::Four,
        depth: 24,
        big_endian: false,
        red: Channel { max: 255, shift: 16 },
        green: Channel { max: 255, shift: 8 },
        blue: Channel { max: 255, shift: 0 },
    };

    /// 16 bits with five, six and five bits of colour.
    pub const RGB565: Self = Self {
        width: PixelWidth::Two,
        depth: 16,
        big_endian: false,
        red: Channel { max: 31, shift: 11 },
        green: Channel { max: 63, shift: 5 },
        blue: Channel { max: 31, shift: 0 },
    };

    /// 8 bits with three bits of red and green and two of blue.
    pub const BGR233: Self = Self {
        width: PixelWidth::One,
        depth: 8,
        big_endian: false,
        red: Channel { max: 7, shift: 0 },
        green: Channel { max: 7, shift: 3 },
        blue: Channel { max: 3, shift: 6 },
    };

    /// The same layout with the most significant byte first.
    #[must_use]
    pub const fn big_endian(self) -> Self {
        Self { big_endian: true, ..self }
    }

    /// Reads the sixteen bytes of a pixel format.
    ///
    /// # Errors
    /// When the format needs a colour map, has a width that no viewer uses, or a channel lies outside the pixel.
    pub fn from_bytes(bytes: [u8; 16]) -> Result<Self, PixelFault> {
        let [bits, depth, big, true_colour, r1, r0, g1, g0, b1, b0, red, green, blue, _, _, _] = bytes;
        if true_colour == 0 {
            return Err(PixelFault::ColourMap);
        }
        let width = PixelWidth::from_bits(bits)?;
        let channel = |max: [u8; 2], shift| Channel::new(u16::from_be_bytes(max), shift, width);
        Ok(Self {
            width,
            depth,
            big_endian: big != 0,
            red: channel([r1, r0], red)?,
            green: channel([g1, g0], green)?,
            blue: channel([b1, b0], blue)?,
        })
    }

    /// The sixteen bytes of this format.
    pub const fn to_bytes(self) -> [u8; 16] {
        let [r1, r0] = self.red.max.to_be_bytes();
        let [g1, g0] = self.green.max.to_be_bytes();
        let [b1, b0] = self.blue.max.to_be_bytes();
        let (red, green, blue) = (self.red.shift, self.green.shift, self.blue.shift);
        let big = if self.big_endian { 1 } else { 0 };
        [self.width.bits(), self.depth, big, 1, r1, r0, g1, g0, b1, b0, red, green, blue, 0, 0, 0]
    }

    /// Bytes of one pixel: 1, 2 or 4.
    pub const fn bytes_per_pixel(self) -> usize {
        match self.width {
            PixelWidth::One => 1,
            PixelWidth::Two => 2,
            PixelWidth::Four => 4,
        }
    }

    /// Appends `colour` (`0x00RRGGBB`) in this format.
    pub fn encode(self, colour: u32, out: &mut Vec<u8>) {
        let [_, red, green, blue] = colour.to_be_bytes();
        let value = self.red.place(red) | self.green.place(green) | self.blue.place(blue);
        let [b3, b2, b1, b0] = value.to_be_bytes();
        match (self.width, self.big_endian) {
            (PixelWidth::One, _) => out.push(b0),
            (PixelWidth::Two, false) => out.extend_from_slice(&[b0, b1]),
            (PixelWidth::Two, true) => out.extend_from_slice(&[b1, b0]),
            (PixelWidth::Four, false) => out.extend_from_slice(&[b0, b1, b2, b3]),
            (PixelWidth::Four, true) => out.extend_from_slice(&[b3, b2, b1, b0]),
        }
    }

    /// The colour (`0x00RRGGBB`) of one pixel's bytes; missing bytes count as zero.
    pub fn decode(self, pixel: &[u8]) -> u32 {
        let join = |value: u32, byte: &u8| (value << 8) | u32::from(*byte);
        let value =
            if self.big_endian { pixel.iter().fold(0, join) } else { pixel.iter().rev().fold(0, join) };
        u32::from_be_bytes([0, self.red.pick(value), self.green.pick(value), self.blue.pick(value)])
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PixelWidth {
    One,
    Two,
    Four,
}

impl PixelWidth {
    const fn from_bits(bits: u8) -> Result<Self, PixelFault> {
        match bits {
            8 => Ok(Self::One),
            16 => Ok(Self::Two),
            32 => Ok(Self::Four),
            seen => Err(PixelFault::Width { seen }),
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::One => 8,
            Self::Two => 16,
            Self::Four => 32,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Channel {
    max: u16,
    shift: u8,
}

impl Channel {
    /// Without this check a shift of 32 or a maximum of 0 would overflow on every pixel.
    fn new(max: u16, shift: u8, width: PixelWidth) -> Result<Self, PixelFault> {
        let bits = max.count_ones();
        let contiguous = max != 0 && max.trailing_ones() == bits;
        if contiguous && bits + u32::from(shift) <= u32::from(width.bits()) {
            Ok(Self { max, shift })
        } else {
            Err(PixelFault::Channel { max, shift })
        }
    }

    fn place(self, intensity: u8) -> u32 {
        ((u32::from(intensity) * u32::from(self.max) + 127) / 255) << self.shift
    }

    fn pick(self, value: u32) -> u8 {
        let max = u32::from(self.max);
        let intensity = ((value >> self.shift) & max) * 255 + max / 2;
        u8::try_from(intensity / max.max(1)).unwrap_or(u8::MAX)
    }
}

/// A pixel format that the panel cannot draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PixelFault {
    /// The client asked for indexed colours.
    #[error("pixel format with a colour map, expected true colour")]
    ColourMap,
    /// The pixel has an unusual width.
    #[error("pixel of {seen} bits, expected 8, 16 or 32")]
    Width {
        /// The client's bits per pixel.
        seen: u8,
    },
    /// A colour channel lies outside the pixel.
    #[error("colour channel with maximum {max} and shift {shift}, expected 2^n-1 inside the pixel")]
    Channel {
        /// The channel's maximum.
        max: u16,
        /// The channel's shift.
        shift: u8,
    },
}

/// A part of the picture, in pixels from its top left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: u16,
    /// Top edge.
    pub y: u16,
    /// Width.
    pub width: u16,
    /// Height.
    pub height: u16,
}

impl Rect {
    /// The part of this rectangle inside `bounds`; `None` when nothing is left.
    #[must_use]
    pub fn within(self, bounds: Self) -> Option<Self> {
        let (x, y) = (self.x.max(bounds.x), self.y.max(bounds.y));
        let width = self.right().min(bounds.right()).checked_sub(u32::from(x)).filter(|w| *w > 0)?;
        let height = self.bottom().min(bounds.bottom()).checked_sub(u32::from(y)).filter(|h| *h > 0)?;
        Some(Self { x, y, width: u16::try_from(width).ok()?, height: u16::try_from(height).ok()? })
    }

    /// The smallest rectangle that covers both.
    #[must_use]
    pub fn around(self, other: Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let span = |end: u32, start: u16| u16::try_from(end.saturating_sub(start.into())).unwrap_or(u16::MAX);
        Self {
            x,
            y,
            width: span(self.right().max(other.right()), x),
            height: span(self.bottom().max(other.bottom()), y),
        }
    }

    /// Whether the pixel at (`x`, `y`) lies inside.
    #[must_use]
    pub fn contains(self, x: u16, y: u16) -> bool {
        x >= self.x && u32::from(x) < self.right() && y >= self.y && u32::from(y) < self.bottom()
    }

    /// The eight bytes that name this rectangle on the wire.
    pub fn to_bytes(self) -> [u8; 8] {
        let [x1, x0] = self.x.to_be_bytes();
        let [y1, y0] = self.y.to_be_bytes();
        let [w1, w0] = self.width.to_be_bytes();
        let [h1, h0] = self.height.to_be_bytes();
        [x1, x0, y1, y0, w1, w0, h1, h0]
    }

    /// Reads the eight bytes of a rectangle.
    pub const fn from_bytes([x1, x0, y1, y0, w1, w0, h1, h0]: [u8; 8]) -> Self {
        Self {
            x: u16::from_be_bytes([x1, x0]),
            y: u16::from_be_bytes([y1, y0]),
            width: u16::from_be_bytes([w1, w0]),
            height: u16::from_be_bytes([h1, h0]),
        }
    }

    pub(crate) fn right(self) -> u32 {
        u32::from(self.x) + u32::from(self.width)
    }

    pub(crate) fn bottom(self) -> u32 {
        u32::from(self.y) + u32::from(self.height)
    }
}

/// Security type None (RFC 6143 section 7.2.1).
pub const SECURITY_NONE: u8 = 1;

/// Raw encoding (RFC 6143 section 7.7.1).
pub const ENCODING_RAW: i32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_lines_of_the_rfc_are_read() {
        assert_eq!(Version::from_bytes(*b"RFB 003.003\n"), Ok(Version::V3_3));
        assert_eq!(Version::from_bytes(*b"RFB 003.005\n"), Ok(Version::V3_3));
        assert_eq!(Version::from_bytes(*b"RFB 003.007\n"), Ok(Version::V3_7));
        assert_eq!(Version::from_bytes(*b"RFB 003.008\n"), Ok(Version::V3_8));
        let seen = *b"GET / HTTP/1";
        assert_eq!(Version::from_bytes(seen), Err(VersionFault { seen }));
        let seen = *b"RFB 003.0x8\n";
        assert_eq!(Version::from_bytes(seen), Err(VersionFault { seen }));
    }

    #[test]
    fn every_format_survives_its_bytes_and_keeps_black_and_white() {
        for format in [
            PixelFormat::RGB888,
            PixelFormat::RGB565,
            PixelFormat::BGR233,
            PixelFormat::RGB888.big_endian(),
            PixelFormat::RGB565.big_endian(),
        ] {
            assert_eq!(PixelFormat::from_bytes(format.to_bytes()), Ok(format));
            for colour in [0x00_0000, 0xff_ffff, 0xff_0000, 0x00_ff00, 0x00_00ff] {
                let mut bytes = Vec::new();
                format.encode(colour, &mut bytes);
                assert_eq!(bytes.len(), format.bytes_per_pixel());
                assert_eq!(format.decode(&bytes), colour, "{format:?}");
            }
        }
    }

    #[test]
    fn a_colour_has_the_bytes_of_its_format() {
        let bytes = |format: PixelFormat| {
            let mut out = Vec::new();
            format.encode(0x12_34_56, &mut out);
            out
        };
        assert_eq!(bytes(PixelFormat::RGB888), [0x56, 0x34, 0x12, 0x00]);
        assert_eq!(bytes(PixelFormat::RGB888.big_endian()), [0x00, 0x12, 0x34, 0x56]);
        assert_eq!(bytes(PixelFormat::RGB565), [0xaa, 0x11]);
        assert_eq!(bytes(PixelFormat::RGB565.big_endian()), [0x11, 0xaa]);
        assert_eq!(bytes(PixelFormat::BGR233), [0x48]);
    }

    #[test]
    fn formats_that_cannot_be_drawn_are_named_faults() {
        let changed = |at: usize, value: u8| {
            let mut bytes = PixelFormat::RGB888.to_bytes();
            bytes[at] = value;
            PixelFormat::from_bytes(bytes)
        };
        assert_eq!(changed(3, 0), Err(PixelFault::ColourMap));
        assert_eq!(changed(0, 24), Err(PixelFault::Width { seen: 24 }));
        assert_eq!(changed(5, 0), Err(PixelFault::Channel { max: 0, shift: 16 }));
        assert_eq!(changed(5, 254), Err(PixelFault::Channel { max: 254, shift: 16 }));
        assert_eq!(changed(10, 25), Err(PixelFault::Channel { max: 255, shift: 25 }));
    }

    #[test]
    fn rectangles_are_clipped_and_joined() {
        let screen = Rect { x: 0, y: 0, width: 640, height: 400 };
        let far = Rect { x: 600, y: 390, width: 65_535, height: 65_535 };
        assert_eq!(far.within(screen), Some(Rect { x: 600, y: 390, width: 40, height: 10 }));
        assert_eq!(Rect { x: 640, ..far }.within(screen), None);
        assert_eq!(Rect { width: 0, ..screen }.within(screen), None);
        let a = Rect { x: 10, y: 20, width: 5, height: 5 };
        let b = Rect { x: 30, y: 2, width: 1, height: 1 };
        assert_eq!(a.around(b), Rect { x: 10, y: 2, width: 21, height: 23 });
        assert!(a.contains(14, 24) && !a.contains(15, 24) && !a.contains(14, 25));
        assert_eq!(Rect::from_bytes(far.to_bytes()), far);
    }
}
