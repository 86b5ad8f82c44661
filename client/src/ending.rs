//! How something on the wire ended, in the words of the registry where the other side gave a code.

use postern_protocol::wire::registry::{CloseCode, Failure, ProtocolFault};
use postern_transport::framed::FrameFault;
use postern_transport::quic::{ConnectionEnd, StreamFault};

/// The end of a stream or connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The other side said why.
    Said(CloseCode),
    /// The connection went away without a word.
    Lost(ConnectionEnd),
}

impl From<ConnectionEnd> for Ending {
    fn from(end: ConnectionEnd) -> Self {
        match end {
            ConnectionEnd::ClosedByPeer { code, .. } => Self::Said(CloseCode::from_number(code)),
            end @ (ConnectionEnd::ClosedHere
            | ConnectionEnd::TimedOut
            | ConnectionEnd::Reset
            | ConnectionEnd::Refused
            | ConnectionEnd::VersionMismatch
            | ConnectionEnd::Tls { .. }
            | ConnectionEnd::Transport { .. }
            | ConnectionEnd::NoConnectionId) => Self::Lost(end),
        }
    }
}

impl From<StreamFault> for Ending {
    fn from(fault: StreamFault) -> Self {
        match fault {
            StreamFault::Reset(code) | StreamFault::Stopped(code) => Self::Said(CloseCode::from_number(code)),
            StreamFault::ConnectionLost(end) => end.into(),
            // The peer finished where it owed an answer, or this program used a stream that it had closed.
            StreamFault::Ended { .. } => Self::Said(CloseCode::Fault(ProtocolFault::Unexpected)),
            StreamFault::Closed => Self::Said(CloseCode::Failed(Failure::Internal)),
        }
    }
}

impl From<FrameFault> for Ending {
    fn from(fault: FrameFault) -> Self {
        let fault = match fault {
            FrameFault::Stream(fault) => return fault.into(),
            FrameFault::TooLarge { .. } => ProtocolFault::Oversize,
            FrameFault::TimedOut { .. } => ProtocolFault::TimedOut,
            FrameFault::Codec(_) => ProtocolFault::Malformed,
            FrameFault::Ended | FrameFault::Truncated { .. } => ProtocolFault::Unexpected,
        };
        Self::Said(CloseCode::Fault(fault))
    }
}

#[cfg(test)]
mod tests {
    use postern_protocol::policy::Reason;

    use super::*;

    #[test]
    fn a_code_keeps_its_meaning_however_it_came() {
        let revoked = Ending::Said(CloseCode::Denied(Reason::Revoked));
        assert_eq!(Ending::from(StreamFault::Reset(26)), revoked);
        assert_eq!(Ending::from(FrameFault::Stream(StreamFault::Stopped(26))), revoked);
        let closed = ConnectionEnd::ClosedByPeer { code: 26, reason: Default::default() };
        assert_eq!(Ending::from(StreamFault::ConnectionLost(closed)), revoked);
        let lost = StreamFault::ConnectionLost(ConnectionEnd::TimedOut);
        assert_eq!(Ending::from(lost), Ending::Lost(ConnectionEnd::TimedOut));
    }
}
