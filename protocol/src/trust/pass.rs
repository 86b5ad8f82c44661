//! A user's signed identity, and the only way in which it becomes a [`Subject`].
//!
//! 1. The cloud signs a [`Pass`] after login, for one user and one key.
//! 2. The user signs a [`Proof`] with that key over the exporter of this very TLS session. It names the device and the
//!    session that it is for, so that a replay is recognised for what it is.
//! 3. [`Subject::authenticate`] checks both and the key of the handshake, in numbered steps.
//!
//! A pass is no bearer token: whoever copies it lacks the key, and a relay that replays a proof has another
//! exporter. A pass says who somebody is, never what they may do: it can only [narrow](Narrowing) that.

use std::fmt;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::envelope::{Domain, Envelope, EnvelopeFault, Signed};
use super::keys::{PublicKey, SecretKey, Signature};
use super::root::{Role, Root, RootFault};
use crate::id::{DeviceId, FleetId, UserId};
use crate::limits;
use crate::name::Name;
use crate::time::UnixTime;

/// How a user proved who they are. New methods are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Something known.
    Password,
    /// A time-based one-time password (RFC 6238).
    Totp,
    /// The word of an identity provider (OpenID Connect Core 1.0) whom the installation believes.
    Federated,
    /// A second factor that the identity provider has seen (`amr` of RFC 8176, or `acr`).
    FederatedSecond,
}

impl Method {
    /// Whether this method counts as a second factor.
    #[must_use]
    pub const fn is_second_factor(self) -> bool {
        match self {
            Self::Password | Self::Federated => false,
            Self::Totp | Self::FederatedSecond => true,
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
    /// What it is good for at most.
    pub narrow: Narrowing,
}

/// What a pass is good for at most: it takes away from what the policy grants and adds nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Narrowing {
    /// The only devices that take the pass, strictly ascending; at most [`limits::NARROW_DEVICES`]. None is every
    /// device, an empty list is no device.
    pub devices: Option<Vec<DeviceId>>,
    /// The only services that it opens, strictly ascending; at most [`limits::NARROW_SERVICES`]. None is every
    /// service, an empty list is no service.
    pub services: Option<Vec<Name>>,
}

impl Narrowing {
    /// Not narrowed.
    pub const NONE: Self = Self { devices: None, services: None };

    /// Whether lists are within their bounds and strictly ascending, so that one narrowing has one encoding.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        is_listed(self.devices.as_deref(), limits::NARROW_DEVICES)
            && is_listed(self.services.as_deref(), limits::NARROW_SERVICES)
    }

    /// Whether `device` takes the pass.
    #[must_use]
    pub fn allows_device(&self, device: &DeviceId) -> bool {
        self.devices.as_ref().is_none_or(|devices| devices.contains(device))
    }

    /// Whether everything that this narrowing lets through, `wider` lets through as well.
    #[must_use]
    pub fn is_within(&self, wider: &Self) -> bool {
        is_subset(self.devices.as_deref(), wider.devices.as_deref())
            && is_subset(self.services.as_deref(), wider.services.as_deref())
    }
}

fn is_listed<T: Ord>(list: Option<&[T]>, most: usize) -> bool {
    list.is_none_or(|list| list.len() <= most && list.windows(2).all(|pair| matches!(pair, [a, b] if a < b)))
}

/// None is everything.
fn is_subset<T: PartialEq>(list: Option<&[T]>, of: Option<&[T]>) -> bool {
    match (list, of) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(list), Some(of)) => list.iter().all(|it| of.contains(it)),
    }
}

impl Signed for Pass {
    const DOMAIN: Domain = Domain::Pass;
    const MAX_BYTES: usize = limits::PASS_BYTES;
}

/// Names one TLS session: the first half of SHA-256 over `"postern/v1/channel"`, a zero byte and the exporter. It gives
/// nothing of the exporter away.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Channel([u8; 16]);

impl Channel {
    /// The name of the session with this exporter.
    #[must_use]
    pub fn of(exporter: &[u8; 32]) -> Self {
        let digest = Digest::of(&[b"postern/v1/channel\0", exporter]);
        Self(digest.as_bytes().first_chunk().copied().unwrap_or_default())
    }

    /// Takes a name as it was received.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// Possession of the user's key, on one TLS session, towards one device, for one pass.
///
/// The signature covers the whole exporter; device and channel stand beside it so that a proof that was made for
/// another device or session is told apart from one that was made by another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The device that it was made for.
    pub device: DeviceId,
    /// The session that it was made on.
    pub channel: Channel,
    /// Of the user's key over exporter, device and pass.
    pub signature: Signature,
}

impl Proof {
    /// Signs a proof.
    #[must_use]
    pub fn sign(key: &SecretKey, exporter: &[u8; 32], device: DeviceId, pass: &[u8]) -> Self {
        let signature = key.sign(&Self::message(exporter, device, pass));
        Self { device, channel: Channel::of(exporter), signature }
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
    /// The proof was made for another device: somebody who was shown it there shows it here.
    #[error("the proof was made for device {found}, this is {expected}")]
    OtherDevice {
        /// The device that it names.
        found: DeviceId,
        /// This device.
        expected: DeviceId,
    },
    /// The proof was made on another connection: it is a replay.
    #[error("the proof was made on another session")]
    OtherSession,
    /// Somebody else's pass: the handshake was made with another key.
    #[error("the pass is bound to another key than the one of this connection")]
    Key,
    /// The proof was made for another pass, or by another key.
    #[error("the signature of the proof does not hold for this session, device and pass")]
    Proof,
    /// What the pass is narrowed to is out of order or too much.
    #[error("the pass lists wrongly what it is narrowed to")]
    Narrowing,
    /// The pass is narrowed to other devices.
    #[error("the pass is narrowed to other devices")]
    Narrowed,
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

impl PassFault {
    /// The word in the audit trail and in logs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Envelope(_) => "envelope",
            Self::Root(_) => "root",
            Self::Fleet => "other_fleet",
            Self::OtherDevice { .. } => "other_device",
            Self::OtherSession => "other_session",
            Self::Key => "other_key",
            Self::Proof => "proof",
            Self::Factors => "factors",
            Self::Narrowing => "narrowing",
            Self::Narrowed => "narrowed",
            Self::NotYet { .. } => "not_yet",
            Self::Expired { .. } => "expired",
        }
    }
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
    issued: UnixTime,
    expires: UnixTime,
    second_factor_at: Option<UnixTime>,
    services: Option<Arc<[Name]>>,
}

impl Pass {
    /// Reads a pass as a device would that it is presented to, without whoever presents it: nobody is known by it.
    ///
    /// # Errors
    /// The [`PassFault`] of the first step that fails, those about the proof apart.
    pub fn inspect(bytes: &[u8], root: &Root, device: DeviceId, now: UnixTime) -> Result<Self, PassFault> {
        let pass = Self::signed(bytes, root)?;
        pass.check(device, now)?;
        Ok(pass)
    }

    fn signed(bytes: &[u8], root: &Root) -> Result<Self, PassFault> {
        // 1 to 8. Envelope: size, frame, domain, keys, threshold, signatures, exact decoding.
        let pass: Self = Envelope::open(bytes, root.role(Role::Identity)?)?;
        // 9. This installation.
        if pass.fleet == root.fleet { Ok(pass) } else { Err(PassFault::Fleet) }
    }

    fn check(&self, device: DeviceId, now: UnixTime) -> Result<(), PassFault> {
        // 14. Factors in order, each method once, none later than the pass.
        let ascending = self.factors.windows(2).all(|pair| matches!(pair, [a, b] if a.method < b.method));
        let earlier = self.factors.iter().all(|factor| factor.at <= self.issued);
        if !ascending || !earlier || self.factors.len() > limits::FACTORS {
            return Err(PassFault::Factors);
        }
        // 15. What it is narrowed to.
        if !self.narrow.is_well_formed() {
            return Err(PassFault::Narrowing);
        }
        if !self.narrow.allows_device(&device) {
            return Err(PassFault::Narrowed);
        }
        // 16. Time.
        if self.issued > now.saturating_add(CLOCK_SKEW_S) {
            return Err(PassFault::NotYet { issued: self.issued, now });
        }
        if self.expires <= now {
            return Err(PassFault::Expired { expires: self.expires, now });
        }
        Ok(())
    }
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
        // 1 to 9.
        let pass = Pass::signed(presented.pass, root)?;
        let Proof { device: made_for, channel, signature } = presented.proof;
        // 10. Made for this device: a device to which a user signed in could show their proof to a neighbour.
        if made_for != device {
            return Err(PassFault::OtherDevice { found: made_for, expected: device });
        }
        // 11. Made on this session: what was recorded on another one is a replay.
        if channel != Channel::of(presented.exporter) {
            return Err(PassFault::OtherSession);
        }
        // 12. Bound to the key of this handshake: a stolen pass is worth nothing without the key.
        if pass.key != presented.peer_key {
            return Err(PassFault::Key);
        }
        // 13. Proof over this session's exporter: without it a relay that terminates TLS could pass on a pass.
        let message = Proof::message(presented.exporter, device, presented.pass);
        if !pass.key.verifies(&message, &signature) {
            return Err(PassFault::Proof);
        }
        // 14 to 16.
        pass.check(device, now)?;
        let Pass { user, key, issued, expires, .. } = pass;
        let second_factors = pass.factors.iter().filter(|factor| factor.method.is_second_factor());
        let second_factor_at = second_factors.map(|factor| factor.at).max();
        let services = pass.narrow.services.map(Arc::from);
        Ok(Self { user, key, issued, expires, second_factor_at, services })
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

    /// When the pass was signed.
    #[must_use]
    pub const fn issued(&self) -> UnixTime {
        self.issued
    }

    /// The only services that the pass opens, ascending; none is every service.
    #[must_use]
    pub fn services(&self) -> Option<&[Name]> {
        self.services.as_deref()
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
