//! The key pair to which secrets of one device are sealed, and how others learn its public half.

use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use hpke::{Deserializable as _, Kem, Serializable as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::Suite;
use crate::trust::digest::Digest;
use crate::trust::envelope::Domain;
use crate::trust::keys::{P, PublicKey, SecretKey, Signature, below};

/// A public X25519 key (RFC 7748), canonical and not of small order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SealingKey([u8; 32]);

/// A public sealing key that must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealingKeyFault {
    /// The coordinate is not below the field's prime: a second spelling of another key.
    #[error("the sealing key is not canonically encoded")]
    NotCanonical,
    /// The point has small order: what is sealed to it could be opened by everybody.
    #[error("the sealing key is weak (a point of small order)")]
    Weak,
}

impl SealingKey {
    /// Checks and takes an encoded key.
    ///
    /// # Errors
    /// [`SealingKeyFault::NotCanonical`] or [`SealingKeyFault::Weak`].
    pub fn new(bytes: [u8; 32]) -> Result<Self, SealingKeyFault> {
        // The top bit is ignored by the curve, so a key with it is a second spelling as well.
        if !below(&bytes, &P) {
            return Err(SealingKeyFault::NotCanonical);
        }
        if SMALL_ORDER.contains(&bytes) {
            return Err(SealingKeyFault::Weak);
        }
        Ok(Self(bytes))
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key as the library takes it; none for bytes that it refuses, which it does to no 32 of them.
    pub(super) fn encapsulator(&self) -> Option<<Suite as Kem>::PublicKey> {
        <Suite as Kem>::PublicKey::from_bytes(&self.0).ok()
    }
}

/// 64 hexadecimal digits of a key that may be used.
impl FromStr for SealingKey {
    type Err = KeyTextFault;

    fn from_str(text: &str) -> Result<Self, KeyTextFault> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| KeyTextFault)?;
        Self::new(bytes.try_into().map_err(|_| KeyTextFault)?).map_err(|_| KeyTextFault)
    }
}

/// Text that is no sealing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("64 hexadecimal digits of a key that is not weak are expected")]
pub struct KeyTextFault;

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl Serialize for SealingKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SealingKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(<[u8; 32]>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The private half. It is wiped when dropped and prints `redacted`.
#[derive(Clone)]
pub struct SealingSecret {
    secret: <Suite as Kem>::PrivateKey,
    public: SealingKey,
}

impl SealingSecret {
    /// Derives the pair of a device from its device key (DeriveKeyPair of RFC 9180 section 7.1.3). The seed is hashed
    /// with a domain of its own first, so that nothing about the signing key follows from this one.
    ///
    /// # Errors
    /// A [`SealingKeyFault`] if the derived public key were weak, which no seed yields: private keys are multiples of
    /// the cofactor below the order.
    pub fn derive(device_key: &SecretKey) -> Result<Self, SealingKeyFault> {
        let material = Zeroizing::new(*Digest::of(&[DERIVATION, device_key.seed().as_slice()]).as_bytes());
        let (secret, public) = Suite::derive_keypair(material.as_slice());
        let public = SealingKey::new(public.to_bytes().into())?;
        Ok(Self { secret, public })
    }

    /// Derives the pair to which recordings are sealed, from 32 random bytes that a factory keeps. The domain is its own:
    /// should the same bytes ever be the seed of a device key, nothing about one pair follows from the other.
    ///
    /// # Errors
    /// As [`SealingSecret::derive`].
    pub fn for_recordings(seed: &Zeroizing<[u8; 32]>) -> Result<Self, SealingKeyFault> {
        let material = Zeroizing::new(*Digest::of(&[RECORDING_DERIVATION, seed.as_slice()]).as_bytes());
        let (secret, public) = Suite::derive_keypair(material.as_slice());
        let public = SealingKey::new(public.to_bytes().into())?;
        Ok(Self { secret, public })
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> SealingKey {
        self.public
    }

    pub(super) const fn decapsulator(&self) -> &<Suite as Kem>::PrivateKey {
        &self.secret
    }
}

impl fmt::Debug for SealingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

/// A device's word about its sealing key. The key is private here: it comes out where the signature holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    key: SealingKey,
    signature: Signature,
}

/// A sealing key that its device has not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealing key is not signed by the key of the device")]
pub struct AnnouncementFault;

impl Announcement {
    /// Signs the sealing key of a device with its device key.
    #[must_use]
    pub fn sign(device_key: &SecretKey, sealing: &SealingSecret) -> Self {
        let key = sealing.public();
        Self { key, signature: device_key.sign(&Domain::SealingKey.signed_bytes(key.as_bytes())) }
    }

    /// The sealing key of the device with this key. Without this check a hub or a relay could announce a key of its
    /// own for a device, and read what is sealed from then on.
    ///
    /// # Errors
    /// [`AnnouncementFault`].
    pub fn verify(&self, device_key: &PublicKey) -> Result<SealingKey, AnnouncementFault> {
        let signed = Domain::SealingKey.signed_bytes(self.key.as_bytes());
        if device_key.verifies(&signed, &self.signature) { Ok(self.key) } else { Err(AnnouncementFault) }
    }
}

const RECORDING_DERIVATION: &[u8] = b"postern/v1/recording-key\0";
const DERIVATION: &[u8] = b"postern/v1/sealing-key\0";

/// The canonical coordinates of the points whose order divides eight, on the curve and on its twist.
pub(super) const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut u = [0; 32];
        u[0] = 1;
        u
    },
    {
        let mut u = P;
        u[0] = 0xec;
        u
    },
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
];
