//! The gate in a WebSocket connection (RFC 6455): between the answer to the upgrade and the end, frame by frame.
//!
//! 1. [`Offer`] is what a client asks for with its upgrade; [`Offer::narrow`] takes away what is not allowed. Extensions are never
//!    passed on: with them the bits of a frame would mean something else.
//! 2. [`Frames`] reads one direction. Frames pass as ranges of the caller's buffer; control frames, which are short, pass whole.
//! 3. In view-only what the client's messages hold does not pass. Control frames do: they keep the connection alive and carry
//!    nothing that a machine acts on.
//! 4. A frame that breaks the protocol or a limit is a [`FrameFault`], and nothing of it passes.
//! 5. [`close_frame`] says why a gate ends a connection; it can be sent where [`Frames::is_between`] says so.
//!
//! Deliberately absent: reassembly, compression, and what a message means.

pub mod close;
pub mod fault;
pub mod frames;
pub mod handshake;

pub use close::{POLICY_VIOLATION, close_frame};
pub use fault::{FrameFault, HandshakeFault};
pub use frames::{Counters, Frames, Limits, Piece, Sender};
pub use handshake::Offer;
