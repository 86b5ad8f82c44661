//! A user's signed identity, and the only way in which it becomes a [`Subject`].
//!
//! 1. The cloud signs a [`Pass`] after login, for one user and one key.
//! 2. The user signs a [`Proof`] with that key over the exporter of this very TLS session.
//! 3. [`Subject::authenticate`] checks both and the key of the handshake, in numbered steps.
//!
//! A pass is no bearer token: whoever copies it lacks the key, and a relay that replays a proof has another
//! exporter. A pass says who somebody is, never what they may do.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::envelope::{Domain, Envelope, EnvelopeFault, Signed};
use super::keys::{PublicKey, SecretKey, Signature};
use super::root::{Role, Root, RootFault};
use crate::id::{DeviceId, FleetId, UserId};
use crate::limits;
use crate::time::UnixTime;

/// How a user proved who they are. New methods are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Something known.
    Password,
    /// A time-based one-time password (RFC 6238).
    Totp,
}

impl Method {
    /// Whether this method counts as a second factor.
    #[must_use]
    pub const fn is_second_factor(self) -> bool {
        match self {
            Self::Password => false,
            Self::Totp => true,
        }
    }
}

/// One method and when it was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Factor {
    /// The method.
    pub method: Method,
    /// When it was used.
    pub at: UnixTime,
}

/// A user's identity, signed by the `identity` role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// The installation.
    pub fleet: FleetId,
    /// The user.
    pub user: UserId,
    /// The user's key that this pass is bound to.
    pub key: PublicKey,
    /// Methods used at login, strictly ascending by method; at most [`limits::FACTORS`].
    pub factors: Vec<Factor>,
    /// When it was signed.
    pub issued: UnixTime,
    /// The first second in which it is worth nothing.
    pub expires: UnixTime,
}

impl Signed for Pass {
    const DOMAIN: Domain = Domain::Pass;
    const MAX_BYTES: usize = limits::PASS_BYTES;
}

/// Possession of the user's key, on one TLS session, towards one device, for one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Proof(pub Signature);

impl Proof {
    /// Signs a proof.
    #[must_use]
    pub fn sign(key: &SecretKey, exporter: &[u8; 32], device: DeviceId, pass: &[u8]) -> Self {
        Self(key.sign(&Self::message(exporter, device, pass)))
    }

    fn message(exporter: &[u8; 32], device: DeviceId, pass: &[u8]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(72);
        payload.extend_from_slice(exporter);
        payload.extend_from_slice(device.as_bytes());
        payload.extend_from_slice(Digest::of(&[pass]).as_bytes());
        Domain::Proof.signed_bytes(&payload)
    }
}

/// Label of the TLS exporter (RFC 8446 section 7.5) that proofs are made over; its context is empty.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-postern-proof";

/// Seconds by which a pass may seem to come from the future: clocks of cloud and device differ.
pub const CLOCK_SKEW_S: u64 = 300;

/// Why somebody is not who they claim to be. Callers are told `bad_pass` and nothing else; this goes to the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassFault {
    /// The envelope does not hold.
    #[error(transparent)]
    Envelope(#[from] EnvelopeFault),
    /// The root names no identity role.
    #[error(transparent)]
    Root(#[from] RootFault),
    /// A pass of another installation.
    #[error("the pass belongs to another fleet")]
    Fleet,
    /// Somebody else's pass: the handshake was made with another key.
    #[error("the pass is bound to another key than the one of this connection")]
    Key,
    /// The proof was made for another session, device or pass, or by another key.
    #[error("the proof does not hold for this session, device and pass")]
    Proof,
    /// Factors are repeated, out of order, too many or later than the pass.
    #[error("the pass lists its factors wrongly")]
    Factors,
    /// Signed later than now, by more than clocks may differ.
    #[error("the pass is from the future (issued {issued}, now {now})")]
    NotYet {
        /// When it was signed.
        issued: UnixTime,
        /// The device's time.
        now: UnixTime,
    },
    /// Its time is over.
    #[error("the pass expired at {expires}, now {now}")]
    Expired {
        /// Its end.
        expires: UnixTime,
        /// The device's time.
        now: UnixTime,
    },
}

/// What a caller presents on a connection.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The pass as received.
    pub pass: &'a [u8],
    /// The proof as received.
    pub proof: Proof,
    /// The exporter of this connection, computed by this end.
    pub exporter: &'a [u8; 32],
    /// The key that signed this connection's handshake.
    pub peer_key: PublicKey,
}

/// A verified user on one connection. Private fields, one constructor: holding one is proof that the checks ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    user: UserId,
    key: PublicKey,
    expires: UnixTime,
    second_factor_at: Option<UnixTime>,
}

impl Subject {
    /// Turns a presented pass into a subject.
    ///
    /// # Errors
    /// The [`PassFault`] of the first step that fails.
    pub fn authenticate(
        presented: &Presented<'_>,
        device: DeviceId,
        root: &Root,
        now: UnixTime,
    ) -> Result<Self, PassFault> {
        // 1 to 8. Envelope: size, frame, domain, keys, threshold, signatures, exact decoding.
        let pass: Pass = Envelope::open(presented.pass, root.role(Role::Identity)?)?;
        // 9. This installation.
        if pass.fleet != root.fleet {
            return Err(PassFault::Fleet);
        }
        // 10. Bound to the key of this handshake: a stolen pass is worth nothing without the key.
        if pass.key != presented.peer_key {
            return Err(PassFault::Key);
        }
        // 11. Proof over this session's exporter: without it a relay that terminates TLS could pass on a pass.
        let message = Proof::message(presented.exporter, device, presented.pass);
        if !pass.key.verifies(&message, &presented.proof.0) {
            return Err(PassFault::Proof);
        }
        // 12. Factors in order, each method once, none later than the pass.
        let ascending = pass.factors.windows(2).all(|pair| matches!(pair, [a, b] if a.method < b.method));
        let earlier = pass.factors.iter().all(|factor| factor.at <= pass.issued);
        if !ascending || !earlier || pass.factors.len() > limits::FACTORS {
            return Err(PassFault::Factors);
        }
        // 13. Time.
        if pass.issued > now.saturating_add(CLOCK_SKEW_S) {
            return Err(PassFault::NotYet { issued: pass.issued, now });
        }
        if pass.expires <= now {
            return Err(PassFault::Expired { expires: pass.expires, now });
        }
        let second_factors = pass.factors.iter().filter(|factor| factor.method.is_second_factor());
        let second_factor_at = second_factors.map(|factor| factor.at).max();
        Ok(Self { user: pass.user, key: pass.key, expires: pass.expires, second_factor_at })
    }

    /// The user.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The key of the handshake, which the pass names too.
    #[must_use]
    pub const fn key(&self) -> PublicKey {
        self.key
    }

    /// The first second in which the pass is worth nothing.
    #[must_use]
    pub const fn expires(&self) -> UnixTime {
        self.expires
    }

    /// When a second factor was last used.
    #[must_use]
    pub const fn second_factor_at(&self) -> Option<UnixTime> {
        self.second_factor_at
    }
}

#[cfg(test)]
mod tests;
