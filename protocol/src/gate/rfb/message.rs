//! The viewer's messages: which exist, how long each is, and which mode lets it through (RFC 6143, section 7.5).

use serde::{Deserialize, Serialize};

use super::fault::Fault;
use crate::policy::Mode;

/// How many messages of one kind were let through and how many were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Let through.
    pub forwarded: u64,
    /// Dropped.
    pub dropped: u64,
}

/// What a viewer did, for the audit row of the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// `KeyEvent`.
    pub keys: Tally,
    /// `PointerEvent`.
    pub pointers: Tally,
    /// `ClientCutText`.
    pub cut_texts: Tally,
    /// Keys and pointers that the gate released by itself.
    pub released: u64,
}

/// `SetPixelFormat`, 20 bytes.
pub(super) const SET_PIXEL_FORMAT: u8 = 0;
/// `SetEncodings`, 4 bytes and 4 for each encoding.
pub(super) const SET_ENCODINGS: u8 = 2;
/// `FramebufferUpdateRequest`, 10 bytes.
pub(super) const UPDATE_REQUEST: u8 = 3;
/// `KeyEvent`, 8 bytes.
pub(super) const KEY_EVENT: u8 = 4;
/// `PointerEvent`, 6 bytes.
pub(super) const POINTER_EVENT: u8 = 5;
/// `ClientCutText`, 8 bytes and the text.
pub(super) const CUT_TEXT: u8 = 6;

/// Bytes of `SetEncodings` before the list.
pub(super) const SET_ENCODINGS_HEADER: usize = 4;
/// Bytes of `ClientCutText` before the text.
pub(super) const CUT_TEXT_HEADER: usize = 8;
/// Encodings in one `SetEncodings`; more ends the session.
pub const ENCODINGS: u16 = 256;
/// Bytes of text in one `ClientCutText` that is let through. A longer one is dropped in every mode, and not a fault:
/// viewers send what their user copies elsewhere.
pub const CUT_TEXT_BYTES: usize = 64 * 1024;
/// Bytes that a viewer may send before its turn.
pub const EARLY_BYTES: usize = 1024;

/// The pixel format that a whole `SetPixelFormat` asks for; none of any other message.
pub(super) fn format(message: &[u8]) -> Option<[u8; 16]> {
    match message {
        [SET_PIXEL_FORMAT, _, _, _, format @ ..] => format.try_into().ok(),
        _ => None,
    }
}

/// Whether messages of this type may reach the machine.
pub(super) const fn permits(mode: Mode, kind: u8) -> bool {
    match mode {
        Mode::Full { clipboard } => clipboard || kind != CUT_TEXT,
        Mode::ViewOnly => !matches!(kind, KEY_EVENT | POINTER_EVENT | CUT_TEXT),
    }
}

/// How many bytes are needed to go on with the message that begins here: those of its header while that is incomplete,
/// then those of the whole message.
pub(super) fn wanted(bytes: &[u8]) -> Result<usize, Fault> {
    let Some(&kind) = bytes.first() else { return Ok(1) };
    match kind {
        SET_PIXEL_FORMAT => Ok(20),
        SET_ENCODINGS => match bytes.first_chunk::<SET_ENCODINGS_HEADER>() {
            None => Ok(SET_ENCODINGS_HEADER),
            Some(&[_, _, high, low]) => match u16::from_be_bytes([high, low]) {
                count @ 0..=ENCODINGS => Ok(SET_ENCODINGS_HEADER + usize::from(count) * 4),
                count => Err(Fault::EncodingCount { count }),
            },
        },
        UPDATE_REQUEST => Ok(10),
        KEY_EVENT => Ok(8),
        POINTER_EVENT => Ok(6),
        CUT_TEXT => match bytes.first_chunk::<CUT_TEXT_HEADER>() {
            None => Ok(CUT_TEXT_HEADER),
            Some(&[_, _, _, _, a, b, c, d]) => {
                let length = i32::from_be_bytes([a, b, c, d]);
                let text = usize::try_from(length).map_err(|_| Fault::ExtendedClipboard { length })?;
                Ok(CUT_TEXT_HEADER + text)
            }
        },
        kind => Err(Fault::MessageType { kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_message_has_its_length_and_every_other_type_is_a_fault() {
        for kind in 0..=255 {
            let expected = match kind {
                0 => Ok(20),
                2 => Ok(4),
                3 => Ok(10),
                4 => Ok(8),
                5 => Ok(6),
                6 => Ok(8),
                kind => Err(Fault::MessageType { kind }),
            };
            assert_eq!(wanted(&[kind]), expected, "{kind}");
        }
        assert_eq!(wanted(&[]), Ok(1));
    }

    #[test]
    fn lists_of_256_encodings_are_known_and_of_257_are_a_fault() {
        assert_eq!(wanted(&[2, 0, 1]), Ok(4));
        assert_eq!(wanted(&[2, 9, 0, 0]), Ok(4));
        assert_eq!(wanted(&[2, 0, 1, 0]), Ok(1028));
        assert_eq!(wanted(&[2, 0, 1, 1]), Err(Fault::EncodingCount { count: 257 }));
    }

    #[test]
    fn a_cut_text_is_as_long_as_it_says_and_never_negative() {
        assert_eq!(wanted(&[6, 0, 0, 0, 0, 0, 0]), Ok(8));
        assert_eq!(wanted(&[6, 0, 0, 0, 0, 0, 0, 3]), Ok(11));
        assert_eq!(wanted(&[6, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]), Ok(8 + 0x7fff_ffff));
        assert_eq!(
            wanted(&[6, 0, 0, 0, 0xff, 0xff, 0xff, 0xfc]),
            Err(Fault::ExtendedClipboard { length: -4 })
        );
        assert_eq!(wanted(&[6, 0, 0, 0, 0x80, 0, 0, 0]), Err(Fault::ExtendedClipboard { length: i32::MIN }));
    }

    #[test]
    fn a_mode_permits_what_it_says() {
        let permitted = |mode: Mode| [0, 2, 3, 4, 5, 6].map(|kind| permits(mode, kind));
        assert_eq!(permitted(Mode::Full { clipboard: true }), [true; 6]);
        assert_eq!(permitted(Mode::Full { clipboard: false }), [true, true, true, true, true, false]);
        assert_eq!(permitted(Mode::ViewOnly), [true, true, true, false, false, false]);
    }
}
