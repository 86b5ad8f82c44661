//! What a client can get wrong, as the words that it reads in the answer.

use super::target::TARGET_BYTES;

/// Why a target is not read: two machines could understand it in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    /// Longer than any real one.
    #[error("the target has {found} bytes, at most {TARGET_BYTES} are allowed")]
    TooLong {
        /// Bytes seen.
        found: usize,
    },
    /// Another host, or no page at all.
    #[error("the target does not begin with `/`")]
    NotOriginForm,
    /// Two slashes in a row.
    #[error("the path contains `//`")]
    EmptySegment,
    /// A segment that is resolved: dots, or dots and spaces.
    #[error("the path contains a segment of dots or spaces")]
    Dots,
    /// A character that must not stand there by itself.
    #[error("the target contains the byte {byte:#04x}, which must not stand there")]
    Character {
        /// The byte.
        byte: u8,
    },
    /// A character that must not be written as `%xx`.
    #[error("the target contains the byte {byte:#04x} as `%xx`, which must not be written so")]
    Escaped {
        /// The byte.
        byte: u8,
    },
    /// `%` without two hexadecimal digits.
    #[error("the target contains `%` without two hexadecimal digits")]
    Percent,
    /// Bytes that are not UTF-8.
    #[error("the path contains `%xx` that are not UTF-8")]
    Utf8,
    /// A character that some machines take for an ASCII character.
    #[error("the path contains {found:?}, which some machines take for another character")]
    Resembles {
        /// The character.
        found: char,
    },
}
