//! What a peer can get wrong in a handshake or a frame.

/// Why an upgrade is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeFault {
    /// No version, more than one, or another one.
    #[error("`Sec-WebSocket-Version` is not 13")]
    Version,
    /// Not one key of 16 bytes.
    #[error("`Sec-WebSocket-Key` is not one value of 16 bytes in base64")]
    Key,
    /// A list of subprotocols that is none, or longer than any real one.
    #[error("`Sec-WebSocket-Protocol` is not a short list of tokens")]
    Protocols,
    /// The machine answered with something else than the change of protocol.
    #[error("the machine's answer does not switch to WebSocket")]
    Answer,
    /// The machine chose a subprotocol that was not offered, or more than one.
    #[error("the machine chose a subprotocol that was not offered")]
    Choice,
    /// The machine switched an extension on that nobody offered.
    #[error("the machine chose an extension, and none was offered")]
    Extension,
}

/// Why a connection ends at a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// A reserved bit, which only an extension gives a meaning.
    #[error("a frame has a reserved bit")]
    Reserved,
    /// An operation that does not exist.
    #[error("a frame has operation {opcode:#x}, which does not exist")]
    Opcode {
        /// The number.
        opcode: u8,
    },
    /// A frame of the client without a mask, which lets scripts write bytes of their choice on a wire.
    #[error("a frame of the client is not masked")]
    Unmasked,
    /// A frame of the machine with a mask.
    #[error("a frame of the machine is masked")]
    Masked,
    /// A control frame in pieces.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A control frame longer than one can be.
    #[error("a control frame has {bytes} bytes, at most {} are allowed", super::frames::CONTROL_BYTES)]
    ControlLength {
        /// Bytes announced.
        bytes: u64,
    },
    /// A length that is not written in its shortest form, or with its highest bit.
    #[error("a length is not written in its one form")]
    Length,
    /// A continuation of nothing.
    #[error("a frame continues a message that was not begun")]
    Continuation,
    /// A new message within another.
    #[error("a message begins within another")]
    Interleaved,
    /// A frame longer than the limit.
    #[error("a frame has {bytes} bytes, at most {limit} are allowed")]
    FrameLength {
        /// Bytes announced.
        bytes: u64,
        /// Bytes allowed.
        limit: u32,
    },
    /// A message longer than the limit, over all of its frames.
    #[error("a message has {bytes} bytes, at most {limit} are allowed")]
    MessageLength {
        /// Bytes announced so far.
        bytes: u64,
        /// Bytes allowed.
        limit: u32,
    },
    /// A close frame whose code does not exist or must not be sent.
    #[error("a close frame has no code that may be sent")]
    CloseCode,
    /// A frame behind the close frame.
    #[error("a frame follows the close frame")]
    AfterClose,
    /// The mode was narrowed while a message of the client was on its way to the machine.
    #[error("the session may only look, and a message was under way")]
    Narrowed,
}

impl FrameFault {
    /// The status code of the close frame (RFC 6455, section 7.4.1).
    #[must_use]
    pub const fn close_code(&self) -> u16 {
        match self {
            Self::FrameLength { .. } | Self::MessageLength { .. } => 1009,
            Self::Narrowed => super::close::POLICY_VIOLATION,
            Self::Reserved
            | Self::Opcode { .. }
            | Self::Unmasked
            | Self::Masked
            | Self::FragmentedControl
            | Self::ControlLength { .. }
            | Self::Length
            | Self::Continuation
            | Self::Interleaved
            | Self::CloseCode
            | Self::AfterClose => 1002,
        }
    }
}
