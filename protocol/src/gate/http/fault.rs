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

/// Why a request is not read: what follows it on the connection could be understood in two ways, so the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// A control character, or a line that does not end with CR LF.
    #[error("the head contains the byte {byte:#04x}, or a line that does not end with CR LF")]
    Byte {
        /// The byte at which it was seen.
        byte: u8,
    },
    /// The request line is longer than any real one.
    #[error("the request line has more than {} bytes", super::strict::LINE_BYTES)]
    LineLength,
    /// The head is longer than any real one.
    #[error("the head has more than {} bytes", super::strict::HEAD_BYTES)]
    HeadLength,
    /// More headers than any real request has.
    #[error("the request has more than {} headers", super::strict::HEADERS)]
    HeaderCount,
    /// Not `METHOD target HTTP/1.1` with one space between.
    #[error("the request line is not `METHOD target HTTP/1.1`")]
    Line,
    /// Another version of HTTP.
    #[error("the version is not HTTP/1.1")]
    Version,
    /// A method that turns the connection into something else, or answers with what came in.
    #[error("the method is CONNECT or TRACE")]
    Method,
    /// See [`TargetFault`].
    #[error(transparent)]
    Target(#[from] TargetFault),
    /// A header that is continued on the next line.
    #[error("a header is continued on the next line")]
    Fold,
    /// A header without a name, or with a name that is no token.
    #[error("a header has no name, or one that is no token")]
    Name,
    /// No `Host`, more than one, or one that is no host.
    #[error("there is not exactly one `Host` that is a host")]
    Host,
    /// A `Content-Length` that is not one decimal number, or two of them.
    #[error("`Content-Length` is not exactly one decimal number")]
    Length,
    /// A `Transfer-Encoding` that is not `chunked` once.
    #[error("`Transfer-Encoding` is not exactly `chunked`")]
    Encoding,
    /// `Content-Length` and `Transfer-Encoding` in one request.
    #[error("there are both `Content-Length` and `Transfer-Encoding`")]
    TwoLengths,
    /// A body where none is expected, which some machines read as the next request.
    #[error("there is a body, which this method does not have")]
    Body,
    /// A `Connection` that names headers which are no part of the connection, or is no list of tokens.
    #[error("`Connection` is no list of tokens, or names a header that belongs to the request")]
    Connection,
    /// An upgrade to something else than WebSocket, or half of one.
    #[error("`Upgrade` and `Connection` do not ask for WebSocket together")]
    Upgrade,
    /// An expectation that nobody knows.
    #[error("`Expect` is not `100-continue`")]
    Expect,
    /// A chunk whose size is not a plain hexadecimal number, or that does not end where it says.
    #[error("a chunk has no plain size, or does not end where it says")]
    Chunk,
    /// Headers behind the last chunk.
    #[error("there are headers behind the last chunk")]
    Trailer,
    /// The connection ended within a request.
    #[error("the connection ended within a request")]
    Truncated,
    /// Bytes behind a request to upgrade, before its answer.
    #[error("bytes came before the upgrade was answered")]
    Early,
}

impl RequestFault {
    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::LineLength | Self::Target(TargetFault::TooLong { .. }) => 414,
            Self::HeadLength | Self::HeaderCount => 431,
            Self::Version => 505,
            Self::Method => 405,
            Self::Expect => 417,
            Self::Byte { .. }
            | Self::Line
            | Self::Target(_)
            | Self::Fold
            | Self::Name
            | Self::Host
            | Self::Length
            | Self::Encoding
            | Self::TwoLengths
            | Self::Body
            | Self::Connection
            | Self::Upgrade
            | Self::Chunk
            | Self::Trailer
            | Self::Truncated
            | Self::Early => 400,
        }
    }
}
