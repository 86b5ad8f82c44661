//! What a machine showed, from the bytes that it sent to its viewer (RFC 6143, sections 7.6 and 7.7).
//!
//! 1. [`Decoder::handle_bytes`] takes bytes as they were recorded, in pieces of any size.
//! 2. Messages are read one by one, rectangles row by row or tile by tile: what is held of the input is never more than
//!    one compressed rectangle.
//! 3. [`Decoder::handle_format`] changes the pixel format at the next update that begins, as viewers do.
//!
//! It knows the encodings that recorded sessions are kept to. A cursor's shape is skipped: where the pointer was is
//! not in what the machine sent.

use flate2::Decompress;

use postern_protocol::gate::rfb::{PixelFormat, Screen};

use super::fault::{Fault, Halt};
use super::hextile::Hextile;
use super::input::Input;
use super::picture::{Picture, Rect};
use super::pixels::Pixels;
use super::zrle;

/// A machine's screen as it comes to be.
#[derive(Debug)]
pub(crate) struct Decoder {
    picture: Picture,
    pixels: Pixels,
    /// The format of the next update.
    next: Option<PixelFormat>,
    buffer: Vec<u8>,
    state: State,
    /// Rectangles of the present update that are still to come.
    left: u16,
    zlib: Decompress,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Between messages.
    Message,
    /// Before a rectangle.
    Rectangle,
    /// In one without compression, at this row.
    Raw(Rect, u16),
    /// In one of rise-and-run-length encoding, with so many parts to come.
    Parts(Rect, u32),
    Tiles(Hextile),
    /// So many bytes mean nothing here; whether they are part of an update.
    Skip(u64, bool),
}

impl Decoder {
    /// Begins with the screen as it was then: black.
    pub(crate) fn new(screen: &Screen) -> Result<Self, Fault> {
        Ok(Self {
            picture: Picture::new(screen.width, screen.height)?,
            pixels: Pixels::new(screen.format),
            next: None,
            buffer: Vec::new(),
            state: State::Message,
            left: 0,
            zlib: Decompress::new(true),
        })
    }

    /// Takes the next bytes of the machine.
    pub(crate) fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.extend_from_slice(bytes);
        let mut input = Input::new(&buffer);
        let end = loop {
            let before = input;
            match self.step(&mut input) {
                Ok(()) => {}
                Err(Halt::Starved) => break Ok(before.left()),
                Err(Halt::Fault(fault)) => break Err(fault),
            }
        };
        buffer.drain(..buffer.len() - end?);
        self.buffer = buffer;
        Ok(())
    }

    /// The viewer asked for another pixel format.
    pub(crate) fn handle_format(&mut self, format: PixelFormat) {
        self.next = Some(format);
    }

    pub(crate) const fn picture(&self) -> &Picture {
        &self.picture
    }

    pub(crate) const fn picture_mut(&mut self) -> &mut Picture {
        &mut self.picture
    }

    /// Reads one thing. It changes nothing where bytes are missing.
    fn step(&mut self, input: &mut Input<'_>) -> Result<(), Halt> {
        self.state = match self.state {
            State::Message => self.message(input)?,
            State::Rectangle if self.left == 0 => State::Message,
            State::Rectangle => self.rectangle(input)?,
            State::Raw(rect, row) if row == rect.height || rect.width == 0 => State::Rectangle,
            State::Raw(rect, row) => {
                let bytes = input.take(usize::from(rect.width) * self.pixels.bytes())?;
                let (mut bytes, pixels) = (Input::new(bytes), &self.pixels);
                let colours = std::iter::from_fn(|| pixels.pixel(&mut bytes).ok());
                self.picture.put(rect, row, colours);
                State::Raw(rect, row + 1)
            }
            State::Parts(_, 0) => State::Rectangle,
            State::Parts(rect, left) => {
                let colour = self.pixels.pixel(input)?;
                let part = offset(rect, read_rect(input)?)?;
                self.picture.fill(part, colour);
                State::Parts(rect, left - 1)
            }
            State::Tiles(mut tiles) => match tiles.next(input, &self.pixels, &mut self.picture)? {
                true => State::Tiles(tiles),
                false => State::Rectangle,
            },
            State::Skip(0, true) => State::Rectangle,
            State::Skip(0, false) => State::Message,
            State::Skip(bytes, update) => {
                let here = usize::try_from(bytes).unwrap_or(usize::MAX).min(input.left().max(1));
                let skipped = input.take(here)?.len();
                State::Skip(bytes.saturating_sub(u64::try_from(skipped).unwrap_or(bytes)), update)
            }
        };
        Ok(())
    }

    fn message(&mut self, input: &mut Input<'_>) -> Result<State, Halt> {
        match input.byte()? {
            0 => {
                input.byte()?;
                self.left = input.short()?;
                if let Some(format) = self.next.take() {
                    self.pixels.reform(format);
                }
                Ok(State::Rectangle)
            }
            1 => {
                input.byte()?;
                let (first, count) = (input.short()?, input.short()?);
                let colours = input.take(usize::from(count) * 6)?;
                let colours = colours.as_chunks::<6>().0.iter();
                self.pixels.map(
                    first,
                    colours.map(|&[red, _, green, _, blue, _]| u32::from_be_bytes([0, red, green, blue])),
                );
                Ok(State::Message)
            }
            2 => Ok(State::Message),
            3 => {
                input.take(3)?;
                Ok(State::Skip(input.word()?.into(), false))
            }
            kind => Err(Fault::Message { kind }.into()),
        }
    }

    fn rectangle(&mut self, input: &mut Input<'_>) -> Result<State, Halt> {
        let rect = read_rect(input)?;
        let encoding = input.word()?.cast_signed();
        if matches!(encoding, RAW | COPY_RECT | RRE | HEXTILE | ZRLE) {
            self.picture.holds(rect)?;
        }
        let state = match encoding {
            RAW => State::Raw(rect, 0),
            COPY_RECT => {
                let from = (input.short()?, input.short()?);
                self.picture.holds(Rect { x: from.0, y: from.1, ..rect })?;
                self.picture.copy(from, rect);
                State::Rectangle
            }
            RRE => {
                let parts = input.word()?;
                self.picture.fill(rect, self.pixels.pixel(input)?);
                State::Parts(rect, parts)
            }
            HEXTILE => State::Tiles(Hextile::new(rect)),
            ZRLE => {
                let bytes = usize::try_from(input.word()?).map_err(|_| Fault::Malformed)?;
                if bytes > zrle::limit(rect, &self.pixels) {
                    return Err(Fault::Malformed.into());
                }
                let compressed = input.take(bytes)?;
                zrle::decode(compressed, rect, (&mut self.zlib, &self.pixels, &mut self.picture))?;
                State::Rectangle
            }
            CURSOR => {
                let (width, height) = (u64::from(rect.width), u64::from(rect.height));
                let pixel = u64::try_from(self.pixels.bytes()).unwrap_or(4);
                State::Skip(width * height * pixel + width.div_ceil(8) * height, true)
            }
            DESKTOP_SIZE => {
                self.picture = Picture::new(rect.width, rect.height)?;
                State::Rectangle
            }
            LAST_RECT => {
                self.left = 0;
                return Ok(State::Message);
            }
            encoding => return Err(Fault::Encoding { encoding }.into()),
        };
        self.left -= 1;
        Ok(state)
    }
}

fn read_rect(input: &mut Input<'_>) -> Result<Rect, Halt> {
    Ok(Rect { x: input.short()?, y: input.short()?, width: input.short()?, height: input.short()? })
}

/// A part of a rectangle in terms of the picture; one that is not all inside of it is a fault.
fn offset(whole: Rect, part: Rect) -> Result<Rect, Fault> {
    let fits = |at: u16, size: u16, end: u16| at.checked_add(size).is_some_and(|last| last <= end);
    if !fits(part.x, part.width, whole.width) || !fits(part.y, part.height, whole.height) {
        return Err(Fault::Outside);
    }
    Ok(Rect { x: whole.x + part.x, y: whole.y + part.y, ..part })
}

const RAW: i32 = 0;
const COPY_RECT: i32 = 1;
const RRE: i32 = 2;
const HEXTILE: i32 = 5;
const ZRLE: i32 = 16;
const DESKTOP_SIZE: i32 = -223;
const LAST_RECT: i32 = -224;
const CURSOR: i32 = -239;

#[cfg(test)]
mod tests;
