//! How a session stands, and every way in which it ends.

use std::fmt;

use crate::wire::text::Text;

use super::message;
use super::screen::NAME_BYTES;

/// How a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Both sides are still greeting each other.
    Handshake,
    /// Bytes flow.
    Open,
    /// Over: write what [`Gate::poll_to_viewer`](super::Gate::poll_to_viewer) and
    /// [`Gate::poll_to_server`](super::Gate::poll_to_server) still have, then close both sides.
    Ended(End),
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The shell ended it.
    Cut {
        /// What the viewer was told, if it could be told at all.
        reason: Text,
    },
    /// The viewer closed its side.
    ViewerClosed,
    /// The machine closed its side.
    ServerClosed,
    /// One side did what it must not.
    Fault(Fault),
}

/// Whose fault a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The viewer's.
    Viewer,
    /// The machine's, or of what is known about it: a password that is missing or wrong.
    Server,
}

/// What ends a session by itself. The text is fit for the person in front of the viewer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The viewer's first bytes are not a version of RFB.
    #[error("the viewer does not speak RFB 3")]
    ViewerVersion,
    /// The viewer chose a security type that was not offered.
    #[error("the viewer chose security type {chosen}, which was not offered")]
    ViewerChoice {
        /// The type.
        chosen: u8,
    },
    /// The viewer's answer does not fit the one-time password.
    #[error("wrong one-time password")]
    ViewerPassword,
    /// The viewer went on talking before its turn, by more than the gate keeps.
    #[error("the viewer sent more than {} bytes before its turn", message::EARLY_BYTES)]
    ViewerAhead,
    /// A message of a type that the gate does not let through, so that its length is unknown.
    #[error("the viewer sent a message of type {kind}, allowed are 0 and 2 to 6")]
    MessageType {
        /// The type.
        kind: u8,
    },
    /// Too many encodings in one `SetEncodings`.
    #[error("the viewer listed {count} encodings, allowed are {}", message::ENCODINGS)]
    EncodingCount {
        /// How many were announced.
        count: u16,
    },
    /// A cut text of negative length: the Extended Clipboard, which was never negotiated.
    #[error("the viewer sent a cut text of length {length}, the extended clipboard is not allowed")]
    ExtendedClipboard {
        /// The length.
        length: i32,
    },
    /// The machine's first bytes are not a version of RFB.
    #[error("the machine does not speak RFB 3")]
    ServerVersion,
    /// The machine went on talking before its turn.
    #[error("the machine spoke before its turn")]
    ServerAhead,
    /// The machine sent a reason instead of a security type.
    #[error("the machine refused: {reason}")]
    Refused {
        /// Its words.
        reason: Text,
    },
    /// The machine offers only security types that the gate does not speak.
    #[error("the machine offers security types {offered}, supported are 1, 2 and 16 with one of them")]
    Unsupported {
        /// The types.
        offered: SecurityTypes,
    },
    /// A machine that speaks 3.3 dictated a security type that does not exist there.
    #[error("the machine dictated security type {word}, supported are 1 and 2")]
    UnsupportedWord {
        /// The type.
        word: u32,
    },
    /// The machine asks for a password, and the gate was given none.
    #[error("the machine asks for a password and its service names none; ask your administrator to name one")]
    PasswordNeeded,
    /// The machine did not accept the password.
    #[error("the machine did not accept the stored password: {reason}")]
    PasswordRefused {
        /// Its words; empty before 3.8.
        reason: Text,
    },
    /// A security result that does not exist.
    #[error("the machine answered security result {word}, expected 0, 1 or 2")]
    SecurityResult {
        /// The result.
        word: u32,
    },
    /// None of the Tight tunnels that the machine offers is "no tunnel".
    #[error("the machine offers Tight tunnels only, expected also NOTUNNEL")]
    TightTunnel,
    /// None of the Tight authentications that the machine offers is known.
    #[error("the machine offers no Tight authentication that is supported: NOAUTH__ or VNCAUTH_")]
    TightAuthentication,
    /// A Tight list that is longer than any real one.
    #[error("the machine listed {count} Tight capabilities, allowed are {}", super::tight::CAPABILITIES)]
    TightCount {
        /// How many were announced.
        count: u32,
    },
    /// A pixel of a size that RFB does not have.
    #[error("the machine's pixels have {bits} bits, expected 8, 16 or 32")]
    PixelBits {
        /// The size.
        bits: u8,
    },
    /// A desktop name that is longer than any real one.
    #[error("the machine's desktop name has {bytes} bytes, allowed are {NAME_BYTES}")]
    NameLength {
        /// The length.
        bytes: u32,
    },
}

/// A list of security types as a server offered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityTypes(pub(super) Box<[u8]>);

impl Fault {
    /// Whose fault it is.
    #[must_use]
    pub const fn side(&self) -> Side {
        match self {
            Self::ViewerVersion
            | Self::ViewerChoice { .. }
            | Self::ViewerPassword
            | Self::ViewerAhead
            | Self::MessageType { .. }
            | Self::EncodingCount { .. }
            | Self::ExtendedClipboard { .. } => Side::Viewer,
            Self::ServerVersion
            | Self::ServerAhead
            | Self::Refused { .. }
            | Self::Unsupported { .. }
            | Self::UnsupportedWord { .. }
            | Self::PasswordNeeded
            | Self::PasswordRefused { .. }
            | Self::SecurityResult { .. }
            | Self::TightTunnel
            | Self::TightAuthentication
            | Self::TightCount { .. }
            | Self::PixelBits { .. }
            | Self::NameLength { .. } => Side::Server,
        }
    }
}

impl SecurityTypes {
    /// The types in the server's order.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for SecurityTypes {
    /// The first eight: a list of 255 would hide the sentence around it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, kind) in self.0.iter().take(8).enumerate() {
            write!(f, "{}{kind}", if position == 0 { "" } else { ", " })?;
        }
        f.write_str(if self.0.len() > 8 { ", .." } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_was_seen_and_what_was_expected() {
        let offered = SecurityTypes([19, 5].into());
        assert_eq!(
            Fault::Unsupported { offered }.to_string(),
            "the machine offers security types 19, 5, supported are 1, 2 and 16 with one of them"
        );
        assert_eq!(SecurityTypes([30; 9].into()).to_string(), "30, 30, 30, 30, 30, 30, 30, 30, ..");
        assert_eq!(
            Fault::MessageType { kind: 250 }.to_string(),
            "the viewer sent a message of type 250, allowed are 0 and 2 to 6"
        );
        assert_eq!(
            Fault::NameLength { bytes: u32::MAX }.to_string(),
            "the machine's desktop name has 4294967295 bytes, allowed are 1024"
        );
        assert_eq!(Fault::ViewerAhead.to_string(), "the viewer sent more than 1024 bytes before its turn");
    }

    #[test]
    fn a_fault_says_whose_it_is() {
        assert_eq!(Fault::MessageType { kind: 1 }.side(), Side::Viewer);
        assert_eq!(Fault::PasswordNeeded.side(), Side::Server);
    }
}
