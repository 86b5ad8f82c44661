//! The viewer's messages on their way to the machine.
//!
//! 1. A run of whole messages that may pass is a range of the caller's buffer; nothing is copied.
//! 2. A message that is cut by the end of the buffer is kept until it is whole, and judged then. Its mode is the narrowest
//!    of all that were in force since its first byte.
//! 3. A cut text that will not pass is skipped as it arrives; only its header was ever kept.

use std::ops::Range;

use super::encoding;
use super::fault::Fault;
use super::inbox::Outbox;
use super::message::{
    CUT_TEXT, CUT_TEXT_BYTES, CUT_TEXT_HEADER, Counters, KEY_EVENT, POINTER_EVENT, SET_ENCODINGS,
    SET_PIXEL_FORMAT, Tally, UPDATE_REQUEST, permits, wanted,
};
use super::pressed::Pressed;
use crate::policy::Mode;

/// The state machine behind [`Actions`](super::Actions).
#[derive(Debug)]
pub(super) struct Filter {
    mode: Mode,
    /// The beginning of a message that is not whole yet.
    held: Vec<u8>,
    /// Whether every mode since the first byte of `held` lets it through.
    permitted: bool,
    /// Bytes that still come of a cut text that does not pass.
    skip: usize,
    pressed: Pressed,
    counters: Counters,
    /// Which encodings may be asked for.
    passes: fn(i32) -> bool,
}

/// What becomes of a whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Forward,
    Drop,
    /// Something else was put into the outbox in its place.
    Replaced,
}

impl Filter {
    pub(super) fn new(mode: Mode, passes: fn(i32) -> bool) -> Self {
        Self {
            mode,
            passes,
            held: Vec::new(),
            permitted: true,
            skip: 0,
            pressed: Pressed::default(),
            counters: Counters::default(),
        }
    }

    /// Changes the mode, and releases what is down where keys and pointer are not allowed any more.
    pub(super) fn handle_mode(&mut self, mode: Mode, out: &mut Outbox) {
        self.mode = mode;
        if let Some(&kind) = self.held.first() {
            self.permitted &= permits(mode, kind);
            self.forgo();
        }
        if !mode.touches() {
            self.release(out);
        }
    }

    /// Goes on at `at`. Returns a range to forward, or puts something else into `out`, or has reached the end. What was put
    /// into `out` belongs behind the returned range.
    pub(super) fn next(
        &mut self,
        bytes: &[u8],
        at: &mut usize,
        out: &mut Outbox,
    ) -> Result<Option<Range<usize>>, Fault> {
        while *at < bytes.len() && out.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len() - *at);
                self.skip -= skipped;
                *at += skipped;
            } else if self.held.is_empty() {
                let run = self.run(bytes, at, out)?;
                if !run.is_empty() {
                    return Ok(Some(run));
                }
            } else {
                self.complete(bytes, at, out)?;
            }
        }
        Ok(None)
    }

    /// Releases everything that is down.
    pub(super) fn release(&mut self, out: &mut Outbox) {
        self.counters.released += self.pressed.release(out);
    }

    pub(super) const fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) const fn counters(&self) -> Counters {
        self.counters
    }

    /// Bytes of memory held.
    pub(super) fn capacity(&self) -> usize {
        self.held.capacity() + self.pressed.capacity()
    }

    /// The longest run from `at` that goes on unchanged. It ends before a fault, and before or with what is not forwarded.
    fn run(&mut self, bytes: &[u8], at: &mut usize, out: &mut Outbox) -> Result<Range<usize>, Fault> {
        let mut run = *at..*at;
        while let Some(rest) = bytes.get(*at..).filter(|rest| !rest.is_empty()) {
            let want = match wanted(rest) {
                Ok(want) => want,
                // What was right so far goes first; the fault is found again in the next round.
                Err(_) if !run.is_empty() => break,
                Err(fault) => return Err(fault),
            };
            self.permitted = rest.first().is_some_and(|kind| permits(self.mode, *kind));
            if self.doomed(rest) {
                self.counters.cut_texts.dropped += 1;
                self.skip = want;
                break;
            }
            let Some(message) = rest.get(..want) else {
                self.held.extend_from_slice(rest);
                *at = bytes.len();
                break;
            };
            let verdict = self.judge(message, out);
            *at += want;
            if verdict != Verdict::Forward {
                break;
            }
            run.end = *at;
        }
        Ok(run)
    }

    /// Adds to the held message what has come of it, and judges it once it is whole.
    fn complete(&mut self, bytes: &[u8], at: &mut usize, out: &mut Outbox) -> Result<(), Fault> {
        while *at < bytes.len() && !self.held.is_empty() {
            let missing = wanted(&self.held)?.saturating_sub(self.held.len());
            self.held.reserve_exact(missing);
            let arrived = bytes.get(*at..).unwrap_or_default();
            let added = arrived.get(..missing).unwrap_or(arrived);
            self.held.extend_from_slice(added);
            *at += added.len();
            self.forgo();
            if self.held.is_empty() || wanted(&self.held)? > self.held.len() {
                continue;
            }
            let mut message = std::mem::take(&mut self.held);
            match self.judge(&message, out) {
                Verdict::Forward => out.push_whole(&mut message),
                Verdict::Drop | Verdict::Replaced => {}
            }
        }
        Ok(())
    }

    /// Lets go of a held cut text that will not pass: its rest is skipped.
    fn forgo(&mut self) {
        if self.doomed(&self.held) {
            self.counters.cut_texts.dropped += 1;
            self.skip = wanted(&self.held).unwrap_or_default().saturating_sub(self.held.len());
            self.held = Vec::new();
        }
    }

    /// Whether this is a cut text with a whole header that will not pass.
    fn doomed(&self, message: &[u8]) -> bool {
        message.len() >= CUT_TEXT_HEADER
            && message.first() == Some(&CUT_TEXT)
            && wanted(message).is_ok_and(|bytes| !self.permitted || bytes > CUT_TEXT_HEADER + CUT_TEXT_BYTES)
    }

    /// Decides on a whole message.
    fn judge(&mut self, message: &[u8], out: &mut Outbox) -> Verdict {
        let permitted = self.permitted;
        match message {
            [SET_ENCODINGS, ..] => match encoding::rewrite(message, self.passes) {
                None => Verdict::Forward,
                Some(mut rewritten) => {
                    out.push_whole(&mut rewritten);
                    Verdict::Replaced
                }
            },
            &[KEY_EVENT, a, b, c, d, e, f, g] => {
                if !count(&mut self.counters.keys, permitted) {
                    return Verdict::Drop;
                }
                let Some(longest) = self.pressed.key([KEY_EVENT, a, b, c, d, e, f, g]) else {
                    return Verdict::Forward;
                };
                self.counters.released += 1;
                out.push(&longest);
                out.push(message);
                Verdict::Replaced
            }
            &[POINTER_EVENT, a, b, c, d, e] => {
                if !count(&mut self.counters.pointers, permitted) {
                    return Verdict::Drop;
                }
                self.pressed.pointer([POINTER_EVENT, a, b, c, d, e]);
                Verdict::Forward
            }
            [CUT_TEXT, ..] => {
                if count(&mut self.counters.cut_texts, permitted) {
                    Verdict::Forward
                } else {
                    Verdict::Drop
                }
            }
            // Alone, so that whoever records the session sees it pass: what is shown afterwards is read by it.
            [SET_PIXEL_FORMAT, ..] => {
                out.push(message);
                Verdict::Replaced
            }
            [UPDATE_REQUEST, ..] => Verdict::Forward,
            // Nothing else has a length, so nothing else gets here; if it did, it would not pass.
            _ => Verdict::Drop,
        }
    }
}

fn count(tally: &mut Tally, permitted: bool) -> bool {
    let counter = if permitted { &mut tally.forwarded } else { &mut tally.dropped };
    *counter += 1;
    permitted
}
