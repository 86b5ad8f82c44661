//! Bytes that are read from the front, as far as they have come.

use super::fault::Halt;

/// Bytes with a place in them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Bytes that are not read yet.
    pub(super) const fn left(&self) -> usize {
        self.bytes.len()
    }

    /// The next `count` bytes, all of them or none.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Halt> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Halt::Starved)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Halt> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(Halt::Starved)?;
        self.bytes = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Halt> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn short(&mut self) -> Result<u16, Halt> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn word(&mut self) -> Result<u32, Halt> {
        self.array().map(u32::from_be_bytes)
    }
}
