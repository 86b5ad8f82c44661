//! Names every way in which a connection or a stream ends.
//!
//! A TLS alert has the same number on both ends, so an alert that either end raised becomes the same
//! [`TlsFault`]; [`Side`] says who raised it.

use std::io;

use bytes::Bytes;

use crate::TlsFault;

/// Who noticed that something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This end refused what the peer sent.
    Here,
    /// The peer refused what this end sent.
    Peer,
}

/// Why a connection is over, or never came to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionEnd {
    /// The peer's program closed it.
    #[error("closed by the peer with code {code}")]
    ClosedByPeer {
        /// The peer's code; one that does not fit reads as `u32::MAX`.
        code: u32,
        /// The peer's words, at most one packet of them. They are untrusted bytes.
        reason: Bytes,
    },
    /// This program closed it.
    #[error("closed by this side")]
    ClosedHere,
    /// Nothing was heard from the peer for the idle timeout.
    #[error("nothing was heard from the peer for the idle timeout")]
    TimedOut,
    /// The peer has no memory of the connection: it restarted.
    #[error("the peer has lost the connection, it may have restarted")]
    Reset,
    /// The peer takes no connections now: too many handshakes are in flight there.
    #[error("the peer admits no connections at the moment")]
    Refused,
    /// No QUIC version in common.
    #[error("no QUIC version in common")]
    VersionMismatch,
    /// The TLS handshake failed.
    #[error("the TLS handshake failed: {fault}")]
    Tls {
        /// What was wrong.
        fault: TlsFault,
        /// Who refused.
        raised_by: Side,
    },
    /// The QUIC rules were broken (RFC 9000 section 20.1 lists the codes).
    #[error("transport error {code:#x}")]
    Transport {
        /// The transport error code.
        code: u64,
        /// Who noticed.
        raised_by: Side,
    },
    /// This endpoint has run out of connection ids.
    #[error("no connection id is left")]
    NoConnectionId,
}

impl ConnectionEnd {
    /// The case in which the session cannot answer although nobody has closed the connection yet.
    pub(super) const INTERNAL: Self = Self::Transport { code: 1, raised_by: Side::Here };

    fn from_code(code: u64, raised_by: Side) -> Self {
        match code {
            CONNECTION_REFUSED if raised_by == Side::Peer => Self::Refused,
            // RFC 9001 section 4.8: an alert travels as 0x100 plus its number.
            0x100..=0x1ff => {
                let alert = u8::try_from(code & 0xff).unwrap_or(u8::MAX);
                Self::Tls { fault: TlsFault::from_alert(alert), raised_by }
            }
            code => Self::Transport { code, raised_by },
        }
    }
}

impl From<quinn::ConnectionError> for ConnectionEnd {
    fn from(error: quinn::ConnectionError) -> Self {
        use quinn::ConnectionError as E;
        match error {
            E::VersionMismatch => Self::VersionMismatch,
            E::TransportError(error) => Self::from_code(error.code.into(), Side::Here),
            E::ConnectionClosed(close) => Self::from_code(close.error_code.into(), Side::Peer),
            E::ApplicationClosed(close) => {
                Self::ClosedByPeer { code: narrow(close.error_code), reason: close.reason }
            }
            E::Reset => Self::Reset,
            E::TimedOut => Self::TimedOut,
            E::LocallyClosed => Self::ClosedHere,
            E::CidsExhausted => Self::NoConnectionId,
        }
    }
}

/// Why a stream yields or takes no more bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    /// The peer abandoned sending.
    #[error("the peer reset the stream with code {0}")]
    Reset(u32),
    /// The peer wants no more bytes.
    #[error("the peer stopped the stream with code {0}")]
    Stopped(u32),
    /// The peer finished the stream before all the bytes that were asked for had come.
    #[error("the stream ended after {found} of {expected} bytes")]
    Ended {
        /// Bytes that came.
        found: usize,
        /// Bytes that were asked for.
        expected: usize,
    },
    /// The connection under it is over.
    #[error("the connection is over: {0}")]
    ConnectionLost(#[from] ConnectionEnd),
    /// This side has finished, reset or stopped the stream before.
    #[error("the stream is closed on this side")]
    Closed,
}

impl From<quinn::WriteError> for StreamFault {
    fn from(error: quinn::WriteError) -> Self {
        use quinn::WriteError as E;
        match error {
            E::Stopped(code) => Self::Stopped(narrow(code)),
            E::ConnectionLost(end) => Self::ConnectionLost(end.into()),
            // Streams of early data do not exist here.
            E::ClosedStream | E::ZeroRttRejected => Self::Closed,
        }
    }
}

impl From<quinn::ReadError> for StreamFault {
    fn from(error: quinn::ReadError) -> Self {
        use quinn::ReadError as E;
        match error {
            E::Reset(code) => Self::Reset(narrow(code)),
            E::ConnectionLost(end) => Self::ConnectionLost(end.into()),
            // Neither unordered reads nor streams of early data exist here.
            E::ClosedStream | E::IllegalOrderedRead | E::ZeroRttRejected => Self::Closed,
        }
    }
}

impl From<StreamFault> for io::Error {
    fn from(fault: StreamFault) -> Self {
        let kind = match &fault {
            StreamFault::Reset(_) | StreamFault::Stopped(_) => io::ErrorKind::ConnectionReset,
            StreamFault::Ended { .. } => io::ErrorKind::UnexpectedEof,
            StreamFault::ConnectionLost(ConnectionEnd::TimedOut) => io::ErrorKind::TimedOut,
            StreamFault::ConnectionLost(_) => io::ErrorKind::ConnectionAborted,
            StreamFault::Closed => io::ErrorKind::NotConnected,
        };
        Self::new(kind, fault)
    }
}

/// Application codes are up to 62 bits wide on the wire; Postern's own fit in 32.
pub(super) fn narrow(code: quinn::VarInt) -> u32 {
    u32::try_from(code.into_inner()).unwrap_or(u32::MAX)
}

/// RFC 9000 section 20.1.
const CONNECTION_REFUSED: u64 = 0x02;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_become_named_faults_and_other_codes_keep_their_number() {
        let tls = |fault| ConnectionEnd::Tls { fault, raised_by: Side::Peer };
        let cases = [
            (0x128, tls(TlsFault::Incompatible)),
            (0x12a, tls(TlsFault::MalformedKey)),
            (0x130, tls(TlsFault::UnexpectedKey)),
            (0x131, tls(TlsFault::WeakKey)),
            (0x133, tls(TlsFault::BadSignature)),
            (0x174, tls(TlsFault::NoKey)),
            (0x178, tls(TlsFault::NoCommonProtocol)),
            (0x150, tls(TlsFault::Other(80))),
            (0x02, ConnectionEnd::Refused),
            (0x0a, ConnectionEnd::Transport { code: 0x0a, raised_by: Side::Peer }),
            (0x200, ConnectionEnd::Transport { code: 0x200, raised_by: Side::Peer }),
        ];
        for (code, end) in cases {
            assert_eq!(ConnectionEnd::from_code(code, Side::Peer), end, "code {code:#x}");
        }
    }

    #[test]
    fn a_code_wider_than_ours_reads_as_the_largest() {
        assert_eq!(narrow(quinn::VarInt::from_u32(7)), 7);
        assert_eq!(narrow(quinn::VarInt::MAX), u32::MAX);
    }
}
