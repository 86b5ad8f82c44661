//! The frame around every signed object.
//!
//! ```text
//! format u8 = 1 | domain u8 | length u32le | payload | count u8 | count x ( key 32 bytes | signature 64 bytes )
//! ```
//!
//! What is signed is `"postern/v1/" + domain name + 0x00 + length u32le + payload`. The domain's name is in the
//! signed bytes, so an object of one kind can never be presented as another ("cross-protocol" replay).
//!
//! Verification, in this order and no other:
//! 1. size, 2. frame, 3. domain as expected here, 4. keys in role and 5. threshold of distinct keys,
//! 6. signatures over the received bytes, 7. decode exactly, 8. re-encoding equals.
//!
//! Only then does the caller look at the meaning. Nothing is decoded before its signatures hold, so the decoder
//! never sees bytes of strangers.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::{PublicKey, SecretKey, Signature};
use super::root::RoleKeys;
use crate::limits;
use crate::wire::codec::{self, CodecFault};

/// Every kind of signed object has its own domain. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Which keys may sign what.
    Root,
    /// All policy for one device.
    Snapshot,
    /// A user's identity.
    Pass,
    /// Possession of a user's key on one channel; signed, never enveloped.
    Proof,
    /// The key to which a device's secrets are sealed; signed by the device's key, never enveloped.
    SealingKey,
    /// What time it is and what is newest.
    Timestamp,
    /// A device's next key; signed by both of its keys, never enveloped.
    NextKey,
    /// What is locked on a device.
    Lock,
    /// Tunnels that a device has stopped; signed by the device's key, never enveloped.
    Receipt,
    /// What a device has written in its trail; signed by its key, never enveloped.
    Checkpoint,
    /// Rows that the cloud has.
    AuditAck,
}

impl Domain {
    /// All domains, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Root,
        Self::Snapshot,
        Self::Pass,
        Self::Proof,
        Self::SealingKey,
        Self::Timestamp,
        Self::NextKey,
        Self::Lock,
        Self::Receipt,
        Self::Checkpoint,
        Self::AuditAck,
    ];

    /// The number in the envelope.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Root => 1,
            Self::Snapshot => 2,
            Self::Pass => 3,
            Self::Proof => 4,
            Self::SealingKey => 5,
            Self::Timestamp => 6,
            Self::NextKey => 7,
            Self::Lock => 8,
            Self::Receipt => 9,
            Self::Checkpoint => 10,
            Self::AuditAck => 11,
        }
    }

    /// The name in the signed bytes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Snapshot => "snapshot",
            Self::Pass => "pass",
            Self::Proof => "proof",
            Self::SealingKey => "sealing-key",
            Self::Timestamp => "timestamp",
            Self::NextKey => "next-key",
            Self::Lock => "lock",
            Self::Receipt => "receipt",
            Self::Checkpoint => "checkpoint",
            Self::AuditAck => "audit-ack",
        }
    }

    /// The exact bytes that a signature in this domain covers.
    #[must_use]
    pub fn signed_bytes(self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PREFIX.len() + 16 + payload.len());
        bytes.extend_from_slice(PREFIX);
        bytes.extend_from_slice(self.name().as_bytes());
        bytes.push(0);
        // Payloads are bounded far below u32::MAX by their own limits; a longer one cannot be enveloped.
        bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }
}

/// A kind of object that travels in an envelope.
pub trait Signed: Serialize + DeserializeOwned {
    /// Its domain.
    const DOMAIN: Domain;
    /// Bytes of its payload at most.
    const MAX_BYTES: usize;
}

/// Why received bytes are not what they claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeFault {
    /// Step 1: more bytes than an object of this kind may have.
    #[error("{found} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Bytes seen.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Step 2: the frame is cut short, has trailing bytes or an impossible count.
    #[error("the frame is malformed")]
    Frame,
    /// Step 2: an envelope of a later format.
    #[error("envelope format {found}, this version reads format 1")]
    Format {
        /// The format byte seen.
        found: u8,
    },
    /// Step 2: signatures are not strictly ascending by key, so one could be counted twice.
    #[error("signatures are not strictly ascending by key")]
    Order,
    /// Step 3: an object of another kind.
    #[error("domain {found}, domain {expected} is expected here")]
    Domain {
        /// The domain byte seen.
        found: u8,
        /// The domain byte expected.
        expected: u8,
    },
    /// Steps 4 to 6: too few keys of the role have signed these bytes.
    #[error("{valid} valid signatures of the role, {threshold} are needed")]
    Threshold {
        /// Distinct keys of the role whose signature holds.
        valid: usize,
        /// Keys needed.
        threshold: usize,
    },
    /// Steps 7 and 8: validly signed bytes that are not the canonical encoding of such an object.
    #[error("the payload is not canonical: {0}")]
    Codec(#[from] CodecFault),
}

/// Received bytes with their signatures, parsed but not trusted.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    domain: u8,
    payload: &'a [u8],
    signatures: Vec<(&'a [u8; 32], Signature)>,
}

impl<'a> Envelope<'a> {
    /// Steps 1 and 2: size and frame. Allocates for at most [`limits::SIGNATURES`] signatures.
    ///
    /// # Errors
    /// [`EnvelopeFault::TooLarge`], [`Format`](EnvelopeFault::Format), [`Frame`](EnvelopeFault::Frame) or
    /// [`Order`](EnvelopeFault::Order).
    pub fn parse(bytes: &'a [u8], max_payload: usize) -> Result<Self, EnvelopeFault> {
        let limit = max_payload + OVERHEAD;
        if bytes.len() > limit {
            return Err(EnvelopeFault::TooLarge { found: bytes.len(), limit });
        }
        let (&[format, domain], rest) = bytes.split_first_chunk::<2>().ok_or(EnvelopeFault::Frame)?;
        if format != FORMAT {
            return Err(EnvelopeFault::Format { found: format });
        }
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(EnvelopeFault::Frame)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| EnvelopeFault::Frame)?;
        if length > max_payload {
            return Err(EnvelopeFault::TooLarge { found: length, limit: max_payload });
        }
        let (payload, rest) = rest.split_at_checked(length).ok_or(EnvelopeFault::Frame)?;
        let (&count, mut rest) = rest.split_first().ok_or(EnvelopeFault::Frame)?;
        if usize::from(count) > limits::SIGNATURES {
            return Err(EnvelopeFault::Frame);
        }
        let mut signatures: Vec<(&[u8; 32], Signature)> = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let (key, after) = rest.split_first_chunk::<32>().ok_or(EnvelopeFault::Frame)?;
            let (signature, after) = after.split_first_chunk::<64>().ok_or(EnvelopeFault::Frame)?;
            if signatures.last().is_some_and(|(last, _)| *last >= key) {
                return Err(EnvelopeFault::Order);
            }
            signatures.push((key, Signature::new(*signature)));
            rest = after;
        }
        if rest.is_empty() { Ok(Self { domain, payload, signatures }) } else { Err(EnvelopeFault::Frame) }
    }

    /// Seals `value`: encodes it canonically and signs it with each of `keys`.
    ///
    /// # Errors
    /// [`EnvelopeFault::TooLarge`] when the encoding is above its limit, [`EnvelopeFault::Frame`] for more than
    /// [`limits::SIGNATURES`] keys, [`EnvelopeFault::Order`] for the same key twice.
    pub fn seal<T: Signed>(value: &T, keys: &[&SecretKey]) -> Result<Vec<u8>, EnvelopeFault> {
        let payload = codec::encode(value, T::MAX_BYTES)?;
        Self::seal_payload(T::DOMAIN, &payload, keys)
    }

    /// Seals bytes that are already encoded, for adding signatures of other holders to the same payload.
    ///
    /// # Errors
    /// As [`Envelope::seal`].
    pub fn seal_payload(
        domain: Domain,
        payload: &[u8],
        keys: &[&SecretKey],
    ) -> Result<Vec<u8>, EnvelopeFault> {
        let signed = domain.signed_bytes(payload);
        let signatures =
            keys.iter().map(|key| (*key.public().as_bytes(), key.sign(&signed))).collect::<Vec<_>>();
        Self::assemble(domain.number(), payload, signatures)
    }

    /// Adds the signature of one more holder to what others have signed: the same payload, signatures sorted. Nothing
    /// that is there already is believed by it.
    ///
    /// # Errors
    /// Those of [`Envelope::parse`], [`EnvelopeFault::Domain`] for an object of another kind, and
    /// [`EnvelopeFault::Order`] when this key has signed already.
    pub fn countersign<T: Signed>(bytes: &[u8], key: &SecretKey) -> Result<Vec<u8>, EnvelopeFault> {
        let envelope = Envelope::parse(bytes, T::MAX_BYTES)?;
        let (found, expected) = (envelope.domain, T::DOMAIN.number());
        if found != expected {
            return Err(EnvelopeFault::Domain { found, expected });
        }
        let signature = key.sign(&T::DOMAIN.signed_bytes(envelope.payload));
        let mut signatures: Vec<_> = envelope.signatures.iter().map(|(key, s)| (**key, *s)).collect();
        signatures.push((*key.public().as_bytes(), signature));
        Self::assemble(expected, envelope.payload, signatures)
    }

    fn assemble(
        domain: u8,
        payload: &[u8],
        mut signatures: Vec<([u8; 32], Signature)>,
    ) -> Result<Vec<u8>, EnvelopeFault> {
        signatures.sort_by_key(|(key, _)| *key);
        if signatures.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
            return Err(EnvelopeFault::Order);
        }
        let count = u8::try_from(signatures.len()).map_err(|_| EnvelopeFault::Frame)?;
        if signatures.len() > limits::SIGNATURES {
            return Err(EnvelopeFault::Frame);
        }
        let length = u32::try_from(payload.len()).map_err(|_| EnvelopeFault::Frame)?;
        let mut bytes = Vec::with_capacity(payload.len() + 7 + signatures.len() * 96);
        bytes.extend_from_slice(&[FORMAT, domain]);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes.push(count);
        for (key, signature) in &signatures {
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(signature.as_bytes());
        }
        Ok(bytes)
    }

    /// Steps 1 to 8 for an object of type `T` that `role` may sign.
    ///
    /// # Errors
    /// The [`EnvelopeFault`] of the first step that fails.
    pub fn open<T: Signed>(bytes: &'a [u8], role: &RoleKeys) -> Result<T, EnvelopeFault> {
        let envelope = Self::parse(bytes, T::MAX_BYTES)?; // 1, 2
        envelope.verify(T::DOMAIN, role)?; // 3 to 6
        Ok(codec::decode(envelope.payload, T::MAX_BYTES)?) // 7, 8
    }

    /// Steps 3 to 6: domain, keys in role, threshold of distinct keys, signatures over the received bytes. Returns the
    /// keys of the role that have signed.
    ///
    /// # Errors
    /// [`EnvelopeFault::Domain`] or [`EnvelopeFault::Threshold`].
    pub fn verify(&self, domain: Domain, role: &RoleKeys) -> Result<Vec<PublicKey>, EnvelopeFault> {
        // 3. An object of another kind proves nothing here, whoever signed it.
        if self.domain != domain.number() {
            return Err(EnvelopeFault::Domain { found: self.domain, expected: domain.number() });
        }
        let threshold = role.needed();
        let signers: Vec<PublicKey> = self.signers(domain, role).collect();
        let valid = signers.len();
        if valid < threshold { Err(EnvelopeFault::Threshold { valid, threshold }) } else { Ok(signers) }
    }

    /// The keys of `role` whose signature in `domain` holds.
    pub fn signers(&self, domain: Domain, role: &RoleKeys) -> impl Iterator<Item = PublicKey> {
        let signed = domain.signed_bytes(self.payload);
        // 4 to 6. Keys are strictly ascending in the frame and in the role, so each counts once.
        self.signatures.iter().filter_map(move |(bytes, signature)| {
            let key = role.keys.iter().find(|key| key.as_bytes() == *bytes)?;
            key.verifies(&signed, signature).then_some(*key)
        })
    }

    /// The keys outside `role` whose signature in `domain` holds. They count for nothing until a later root gives the
    /// role to them.
    pub fn others(&self, domain: Domain, role: &RoleKeys) -> Vec<PublicKey> {
        let outside = |bytes: &[u8; 32]| role.keys.iter().all(|key| key.as_bytes() != bytes);
        let mut others = self.signatures.iter().filter(|(bytes, _)| outside(bytes)).peekable();
        // Hardly any object has such signatures, and this copies all of it.
        let signed = others.peek().map(|_| domain.signed_bytes(self.payload)).unwrap_or_default();
        let holds = |(bytes, signature): &(&[u8; 32], Signature)| {
            PublicKey::new(**bytes).ok().filter(|key| key.verifies(&signed, signature))
        };
        others.filter_map(holds).collect()
    }

    /// The payload, which means nothing before [`Envelope::verify`].
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

const PREFIX: &[u8] = b"postern/v1/";
const FORMAT: u8 = 1;

/// Bytes that an envelope adds to its payload at most: the frame and [`limits::SIGNATURES`] signatures.
pub const OVERHEAD: usize = 2 + 4 + 1 + limits::SIGNATURES * 96;

#[cfg(test)]
mod tests;
