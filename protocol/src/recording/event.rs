//! What happened in a recorded tunnel, and when.

use serde::{Deserialize, Serialize};

use crate::gate::rfb::{PixelFormat, Screen};
use crate::policy::{Mode, Reason};
use crate::wire::text::Text;

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
    /// A request reached the gate of an HTTP service, with neither query nor body. It is judged next.
    Asked {
        /// Its method.
        method: Text,
        /// Its path, in full as far as it fits.
        path: Text,
    },
    /// What came of the request before this, when the last byte of its answer was handed on or nobody wanted it any more.
    Answered {
        /// The status; none where nothing was answered.
        status: Option<u16>,
        /// Why the gate refused it.
        reason: Option<Reason>,
        /// Bytes of the answer's body.
        bytes: u64,
    },
}

impl What {
    /// Bytes that it weighs in a chunk, at least what it is encoded in.
    pub(super) fn weight(&self) -> usize {
        const ANY: usize = 64;
        match self {
            Self::Shown(bytes) => ANY + bytes.len(),
            Self::Screen(screen) => ANY + screen.name.as_str().len(),
            Self::Asked { method, path } => ANY + method.as_str().len() + path.as_str().len(),
            Self::Format(_) | Self::Mode(_) | Self::Answered { .. } => ANY,
        }
    }
}
