//! ed25519 keys and signatures (RFC 8032), with the encodings that anyone could sign for refused at the door.
//!
//! A public key is checked when it enters, from a message, a file or a handshake: the y coordinate must be
//! canonical and must not be one of the five that belong to points of small order. For such keys the signature
//! `R = identity, S = 0` holds without any secret; without this check a peer could claim one and be "proved".

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

use super::fingerprint::Fingerprint;

/// A public key that must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Not 32 bytes, or not 64 hexadecimal digits.
    #[error("an ed25519 public key has 32 bytes, {found} were found")]
    Length {
        /// Bytes seen.
        found: usize,
    },
    /// The y coordinate is not below the field's prime: a second spelling of another key.
    #[error("the public key is not canonically encoded")]
    NotCanonical,
    /// The point has small order: a signature under it proves nothing.
    #[error("the public key is weak (a point of small order)")]
    Weak,
}

/// An ed25519 public key, canonical and not of small order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Checks and takes an encoded key.
    ///
    /// # Errors
    /// [`KeyFault::NotCanonical`] or [`KeyFault::Weak`].
    pub fn new(bytes: [u8; 32]) -> Result<Self, KeyFault> {
        let mut y = bytes;
        if let Some(last) = y.last_mut() {
            *last &= 0x7f; // the top bit is the sign of x
        }
        if !below(&y, &P) {
            return Err(KeyFault::NotCanonical);
        }
        if SMALL_ORDER_Y.contains(&y) {
            return Err(KeyFault::Weak);
        }
        Ok(Self(bytes))
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `signature` over `message` was made with this key's secret half, after the strict rules
    /// (canonical S, R not of small order; `verify_strict` of ed25519-dalek).
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }

    /// The form that people compare.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self)
    }
}

impl TryFrom<&[u8]> for PublicKey {
    type Error = KeyFault;

    fn try_from(bytes: &[u8]) -> Result<Self, KeyFault> {
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| KeyFault::Length { found: bytes.len() })?;
        Self::new(bytes)
    }
}

impl FromStr for PublicKey {
    type Err = KeyFault;

    fn from_str(text: &str) -> Result<Self, KeyFault> {
        let bytes =
            HEXLOWER.decode(text.as_bytes()).map_err(|_| KeyFault::Length { found: text.len() / 2 })?;
        Self::try_from(bytes.as_slice())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse()
        } else {
            Self::new(<[u8; 32]>::deserialize(deserializer)?)
        };
        key.map_err(serde::de::Error::custom)
    }
}

/// An ed25519 signature: 64 bytes, R then S.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Takes a received signature; nothing is checked before [`PublicKey::verifies`].
    #[must_use]
    pub const fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Two halves, because serde knows arrays up to 32 elements; the encoding is the same 64 bytes.
        let (r, s) = self.0.split_at(32);
        let halves: (&[u8; 32], &[u8; 32]) = match (r.try_into(), s.try_into()) {
            (Ok(r), Ok(s)) => (r, s),
            (Err(_), _) | (_, Err(_)) => return Err(serde::ser::Error::custom("a signature has 64 bytes")),
        };
        halves.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (r, s) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
        let mut bytes = [0; 64];
        let (left, right) = bytes.split_at_mut(32);
        left.copy_from_slice(&r);
        right.copy_from_slice(&s);
        Ok(Self(bytes))
    }
}

/// An ed25519 secret key. It is wiped when dropped and prints `redacted`.
#[derive(Clone)]
pub struct SecretKey {
    signing: SigningKey,
    public: PublicKey,
}

impl SecretKey {
    /// Derives the key pair of a 32-byte seed (RFC 8032 section 5.1.5); the caller provides the randomness.
    ///
    /// # Errors
    /// A [`KeyFault`] if the derived public key were weak, which no honest seed yields.
    pub fn from_seed(mut seed: [u8; 32]) -> Result<Self, KeyFault> {
        let signing = SigningKey::from_bytes(&seed);
        seed.zeroize();
        let public = PublicKey::new(signing.verifying_key().to_bytes())?;
        Ok(Self { signing, public })
    }

    /// The seed, for storing the key.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.signing.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.signing.sign(message).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

/// Compares little-endian numbers. Public keys are not secret, so this need not run in constant time.
pub(super) fn below(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().rev().cmp(b.iter().rev()).is_lt()
}

/// The field's prime 2^255 - 19, little endian.
pub(super) const P: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// The y coordinates of the eight points whose order divides eight: 1, -1, 0 and the two of order eight.
const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    {
        let mut y = [0; 32];
        y[0] = 1;
        y
    },
    {
        let mut y = P;
        y[0] = 0xec;
        y
    },
    [0; 32],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_verify_and_their_twin_with_one_bit_changed_does_not() {
        let key = SecretKey::from_seed([7; 32]).unwrap();
        let signature = key.sign(b"open");
        assert!(key.public().verifies(b"open", &signature));
        assert!(!key.public().verifies(b"opem", &signature));
        for bit in 0..512 {
            let mut bytes = *signature.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.public().verifies(b"open", &Signature::new(bytes)), "bit {bit}");
        }
    }

    #[test]
    fn every_small_order_key_is_refused_in_every_spelling() {
        for y in SMALL_ORDER_Y {
            for sign in [0, 0x80] {
                let mut key = y;
                key[31] |= sign;
                assert_eq!(PublicKey::new(key), Err(KeyFault::Weak));
            }
        }
        // y + p fits in 255 bits only for y below 19: the second spellings of 0 and 1, and of harmless points.
        for add in 0..19u8 {
            for sign in [0, 0x80] {
                let mut key = P;
                key[0] += add;
                key[31] |= sign;
                assert_eq!(PublicKey::new(key), Err(KeyFault::NotCanonical));
            }
        }
    }

    #[test]
    fn the_block_list_agrees_with_the_curve_library() {
        for y in SMALL_ORDER_Y {
            assert!(VerifyingKey::from_bytes(&y).unwrap().is_weak());
        }
        assert!(
            !VerifyingKey::from_bytes(SecretKey::from_seed([1; 32]).unwrap().public().as_bytes())
                .unwrap()
                .is_weak()
        );
    }

    #[test]
    fn a_secret_key_prints_nothing_of_itself() {
        assert_eq!(format!("{:?}", SecretKey::from_seed([9; 32]).unwrap()), "redacted");
    }
}
