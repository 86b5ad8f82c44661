//! Names the ways in which a TLS handshake fails, by the alert that travels between the two ends.
//!
//! Both ends of a failed handshake see the same alert number (RFC 8446 section 6.2), so both can name the same
//! fault. The verifiers choose their errors so that each refusal has a number of its own.

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// The two ends share no application protocol (alert 120): usually another role or version of Postern.
    #[error("no application protocol in common")]
    NoCommonProtocol,
    /// No raw public key, no TLS 1.3 or no cipher in common (alerts 40, 70 and 109): not a Postern peer.
    #[error("no raw public key or no TLS parameters in common")]
    Incompatible,
    /// The key is sound, but not the one that was expected (alert 48).
    #[error("the proved key is not the expected one")]
    UnexpectedKey,
    /// Not exactly one ed25519 key in its canonical encoding (alert 42).
    #[error("not exactly one ed25519 key in its canonical encoding")]
    MalformedKey,
    /// A point of small order, under which signatures prove nothing (alert 49).
    #[error("the key is weak (a point of small order)")]
    WeakKey,
    /// The client presented no key at all (alert 116).
    #[error("the client presented no key")]
    NoKey,
    /// The handshake signature does not hold under the presented key (alert 51).
    #[error("the handshake signature does not hold")]
    BadSignature,
    /// Any other alert.
    #[error("TLS alert {0}")]
    Other(u8),
}

impl TlsFault {
    /// The fault behind a TLS alert.
    pub(crate) fn from_alert(alert: u8) -> Self {
        match alert {
            40 | 70 | 109 => Self::Incompatible,
            42 => Self::MalformedKey,
            48 => Self::UnexpectedKey,
            49 => Self::WeakKey,
            51 => Self::BadSignature,
            116 => Self::NoKey,
            120 => Self::NoCommonProtocol,
            other => Self::Other(other),
        }
    }
}
