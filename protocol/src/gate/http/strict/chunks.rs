//! A body of chunks (RFC 9112, section 7.1), followed byte by byte.
//!
//! A size is hexadecimal without leading zeros, at most [`DIGITS`] digits. Extensions and trailers are refused: machines skip them
//! in different ways, and browsers send neither.

use super::super::fault::RequestFault;

/// Where in a body of chunks the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In the size of a chunk.
    Size {
        /// Digits so far.
        digits: u8,
        /// Their value.
        value: u32,
    },
    /// Behind the CR of a size.
    SizeEnd { value: u32 },
    /// In the bytes of a chunk.
    Data { left: u32 },
    /// Behind the bytes of a chunk.
    DataCr,
    /// Behind the CR of a chunk.
    DataLf,
    /// Behind the last size.
    LastCr,
    /// Behind the CR of the end.
    LastLf,
    /// Behind everything.
    Over,
}

impl Default for Chunks {
    fn default() -> Self {
        Self::Size { digits: 0, value: 0 }
    }
}

impl Chunks {
    pub(super) fn is_over(self) -> bool {
        self == Self::Over
    }

    /// Takes as many bytes as fit, up to the end of the body. A fault is returned when not even the first one does.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, RequestFault> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.is_over() {
                break;
            }
            if let Self::Data { left } = *self {
                let rest = u32::try_from(bytes.len() - at).unwrap_or(u32::MAX).min(left);
                *self = if rest == left { Self::DataCr } else { Self::Data { left: left - rest } };
                at += usize::try_from(rest).unwrap_or(usize::MAX);
                continue;
            }
            match self.next(byte) {
                Ok(next) => *self = next,
                // What was right so far goes first; the fault is found again in the next round.
                Err(_) if at > 0 => break,
                Err(fault) => return Err(fault),
            }
            at += 1;
        }
        Ok(at)
    }

    fn next(self, byte: u8) -> Result<Self, RequestFault> {
        match (self, byte) {
            // `0` is the last size, and no other begins with it.
            (Self::Size { digits: 1, value: 0 }, byte) if byte != b'\r' => Err(RequestFault::Chunk),
            (Self::Size { digits: 1.., value }, b'\r') => Ok(Self::SizeEnd { value }),
            (Self::Size { digits, value }, byte) if digits < DIGITS => {
                let digit = char::from(byte).to_digit(16).ok_or(RequestFault::Chunk)?;
                Ok(Self::Size { digits: digits + 1, value: value << 4 | digit })
            }
            (Self::SizeEnd { value: 0 }, b'\n') => Ok(Self::LastCr),
            (Self::SizeEnd { value }, b'\n') => Ok(Self::Data { left: value }),
            (Self::DataCr, b'\r') => Ok(Self::DataLf),
            (Self::DataLf, b'\n') => Ok(Self::default()),
            (Self::LastCr, b'\r') => Ok(Self::LastLf),
            (Self::LastCr, _) => Err(RequestFault::Trailer),
            (Self::LastLf, b'\n') => Ok(Self::Over),
            (Self::Size { .. } | Self::SizeEnd { .. } | Self::Data { .. }, _)
            | (Self::DataCr | Self::DataLf | Self::LastLf | Self::Over, _) => Err(RequestFault::Chunk),
        }
    }
}

/// Digits of a size: a chunk has less than 4 GiB.
const DIGITS: u8 = 8;
