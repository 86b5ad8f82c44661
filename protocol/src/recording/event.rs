//! What happened in a recorded tunnel, and when.

use serde::{Deserialize, Serialize};

use crate::gate::rfb::{PixelFormat, Screen};
use crate::policy::Mode;

/// Bytes of a machine that one event holds at most.
pub const EVENT_BYTES: usize = 16 * 1024;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Milliseconds since the recording began; never less than that of the event before.
    pub at_ms: u64,
    /// What it was.
    pub what: What,
}

/// What happened. New things are added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// The machine's screen as a VNC session began; it is the first event of one.
    Screen(Screen),
    /// Bytes of the machine to the viewer, 1 to [`EVENT_BYTES`], as they came.
    Shown(Vec<u8>),
    /// The viewer asked for another pixel format: it is that of the next update that begins.
    Format(PixelFormat),
    /// What the viewer might do from here on.
    Mode(Mode),
}

impl What {
    /// Bytes that it weighs in a chunk, at least what it is encoded in.
    pub(super) fn weight(&self) -> usize {
        const ANY: usize = 64;
        match self {
            Self::Shown(bytes) => ANY + bytes.len(),
            Self::Screen(screen) => ANY + screen.name.as_str().len(),
            Self::Format(_) | Self::Mode(_) => ANY,
        }
    }
}
