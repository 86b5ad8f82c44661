//! Why there is no flow, in the few words that SOCKS and HTTP have for it.

use postern_protocol::wire::registry::Failure;

use super::gateway::NoFlow;
use crate::device::DeviceError;

/// What a program can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not allowed.
    Forbidden,
    /// The device is away.
    NoNetwork,
    /// The machine is away, or nobody knows it.
    NoHost,
    /// The machine refused.
    Refused,
    /// The machine was silent.
    Silent,
    /// Too much at once.
    Busy,
    /// Anything else.
    Failed,
}

impl Verdict {
    pub(super) const fn of(none: &NoFlow) -> Self {
        match none {
            NoFlow::Away | NoFlow::Device(DeviceError::Dial(_) | DeviceError::Ended(_)) => Self::NoNetwork,
            NoFlow::Device(DeviceError::Denied(_) | DeviceError::Occupied { .. }) => Self::Forbidden,
            NoFlow::Device(DeviceError::Failed(failure)) => Self::of_failure(*failure),
            NoFlow::Device(DeviceError::OtherDevice { .. } | DeviceError::Unexpected) => Self::Failed,
        }
    }

    const fn of_failure(failure: Failure) -> Self {
        match failure {
            Failure::Forbidden => Self::Forbidden,
            Failure::Unreachable | Failure::Unresolved => Self::NoHost,
            Failure::Refused => Self::Refused,
            Failure::Timeout => Self::Silent,
            Failure::Busy => Self::Busy,
            Failure::Unrecorded
            | Failure::Unsupported
            | Failure::Idle
            | Failure::Duration
            | Failure::Shutdown
            | Failure::Broken
            | Failure::Ended
            | Failure::Internal
            | Failure::Secret
            | Failure::Login
            | Failure::NotUnderstood
            | Failure::MachineKey
            | Failure::MachineTls
            | Failure::Recording
            | Failure::Recorded
            | Failure::NoPackets => Self::Failed,
        }
    }

    /// The reply code of RFC 1928 section 6. Programs show 6, `TTL expired`, as a time that ran out.
    pub(super) const fn socks(self) -> u8 {
        match self {
            Self::Busy | Self::Failed => 1,
            Self::Forbidden => 2,
            Self::NoNetwork => 3,
            Self::NoHost => 4,
            Self::Refused => 5,
            Self::Silent => 6,
        }
    }

    /// The status of RFC 9110 section 15.
    pub(super) const fn http(self) -> &'static str {
        match self {
            Self::Forbidden => "403 Forbidden",
            Self::Busy => "503 Service Unavailable",
            Self::Silent => "504 Gateway Timeout",
            Self::NoNetwork | Self::NoHost | Self::Refused | Self::Failed => "502 Bad Gateway",
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_protocol::policy::Reason;

    use super::*;

    #[test]
    fn each_way_to_fail_has_its_word_in_both_protocols() {
        let words = |error: DeviceError| {
            let verdict = Verdict::of(&NoFlow::Device(error));
            (verdict.socks(), verdict.http())
        };
        assert_eq!(words(DeviceError::Denied(Reason::PortDenied)), (2, "403 Forbidden"));
        assert_eq!(words(DeviceError::Failed(Failure::Forbidden)), (2, "403 Forbidden"));
        assert_eq!(words(DeviceError::Failed(Failure::Unreachable)), (4, "502 Bad Gateway"));
        assert_eq!(words(DeviceError::Failed(Failure::Unresolved)), (4, "502 Bad Gateway"));
        assert_eq!(words(DeviceError::Failed(Failure::Refused)), (5, "502 Bad Gateway"));
        assert_eq!(words(DeviceError::Failed(Failure::Timeout)), (6, "504 Gateway Timeout"));
        assert_eq!(words(DeviceError::Failed(Failure::Busy)), (1, "503 Service Unavailable"));
        assert_eq!(words(DeviceError::Failed(Failure::Internal)), (1, "502 Bad Gateway"));
        assert_eq!(
            (Verdict::of(&NoFlow::Away).socks(), Verdict::of(&NoFlow::Away).http()),
            (3, "502 Bad Gateway")
        );
    }
}
