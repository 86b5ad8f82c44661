//! The gate in a VNC session (the Remote Framebuffer Protocol, RFC 6143): it stands between viewer and machine.
//!
//! 1. [`Gate::new`] greets the viewer; the machine speaks first on its own side.
//! 2. The machine is logged in to first, with the password that the gate was given. If that fails, the viewer reads
//!    the reason where it would have read a security type: this is the one place where every version of RFB can show it.
//! 3. The viewer chooses its security: none, because the tunnel that brought it is authenticated already, or a one-time
//!    password for viewers that insist on one.
//! 4. `ClientInit` and `ServerInit` pass, the first with the shared flag that [`Sharing`] says. The session is
//!    [`Outcome::Open`].
//! 5. From here bytes of the machine are none of the gate's business: [`Gate::handle_server`] hands them back unread, and
//!    a shell need not call it any more.
//! 6. Bytes of the viewer are read as messages. Six types are known; a message is forwarded whole or not at all, so the
//!    machine never sits in the middle of one when the mode changes or the session ends. Any other type ends it.
//! 7. `SetEncodings` is cut down to [`encoding::allowed`]. Without this a viewer could switch on extensions (QEMU keys,
//!    xvp, gii, fences) whose messages carry input under other numbers, and look-but-not-touch would be a request.
//! 8. [`Gate::handle_mode`] changes the mode at any byte. What is pressed at that moment is released.
//!
//! # Bounds
//!
//! [`SESSION_BYTES`] of buffers at most, whatever the peers send. Nothing here knows time: a shell gives the handshake
//! a deadline and ends it with [`Gate::handle_cut`].
//!
//! # Showing a reason
//!
//! RFB has a place for words only before `ClientInit`. After that a cut session can only be closed.
//!
//! Deliberately absent: TLS to the machine (VeNCrypt, RSA-AES, Apple's types; a fault names the types that were
//! offered), VeNCrypt's plain sub-type (it would tell the password to whoever answers at the machine's address), pixels,
//! and the machine's clipboard, which flows to the viewer in every mode.

pub mod config;
pub mod encoding;
pub mod fault;
mod filter;
mod inbox;
pub mod message;
pub mod password;
mod pressed;
mod refusal;
pub mod screen;
mod server;
pub mod session;
mod tight;
pub mod version;
mod viewer;

#[doc(no_inline)]
pub use crate::policy::Mode;
pub use config::{Config, OneTime, Sharing, ViewerSecurity};
pub use fault::{End, Fault, Outcome, SecurityTypes, Side};
pub use message::{Counters, Tally};
pub use password::{CHALLENGE_BYTES, Challenge, Password};
pub use refusal::Refusal;
pub use screen::{PixelFormat, Screen};
pub use session::{Action, Actions, Gate, SESSION_BYTES};
pub use version::Version;
