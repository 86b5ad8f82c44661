//! What a machine sent that no picture can be made of.

/// What is wrong with the recorded bytes of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// A message that no server of RFC 6143 sends.
    #[error("the machine sent a message of type {kind}, which no viewer knows")]
    Message {
        /// Its type.
        kind: u8,
    },
    /// An encoding that is not among those of recorded sessions.
    #[error("the machine sent a picture in encoding {encoding}, which was not asked for")]
    Encoding {
        /// Its number.
        encoding: i32,
    },
    /// A rectangle outside of the screen.
    #[error("the machine sent a part of a picture that lies outside of its screen")]
    Outside,
    /// More pixels than are held.
    #[error("a screen of {width}x{height} pixels is larger than a replay holds")]
    Size {
        /// Pixels from left to right.
        width: u16,
        /// Pixels from top to bottom.
        height: u16,
    },
    /// A part in hextile or ZRLE that does not follow its form.
    #[error("the machine sent a part of a picture that is malformed")]
    Malformed,
    /// A request where a picture belongs.
    #[error("the recording of a screen has requests of a web page in it")]
    Request,
    /// Something is shown before the screen is known.
    #[error("the recording shows something before it says how large the screen is")]
    NoScreen,
}

/// Why decoding does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// More bytes are needed.
    Starved,
    Fault(Fault),
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
