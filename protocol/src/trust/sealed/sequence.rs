//! Many messages sealed to one key in one order: what is written as it happens and opened much later.
//!
//! 1. [`Sealer::begin`] draws an ephemeral key and yields the encapsulated one, which goes in front of the messages.
//! 2. [`Sealer::seal`] encrypts the next message. Its place in the order is part of the nonce (RFC 9180 section 5.2), so
//!    that messages cannot change places, be left out or come twice.
//! 3. Dropping the sealer wipes its key: from then on only the recipient can open anything, and not who has sealed it.
//! 4. [`Opener`] is the other end.

use hpke::aead::{AeadCtxR, AeadCtxS, AeadTag};
use hpke::inout::InOutBuf;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use zeroize::Zeroizing;

use super::key::{SealingKey, SealingSecret};
use super::{Aead, KEY_BYTES, Kdf, OpenFault, SealFault, Seed, Suite, TAG_BYTES};

/// Bytes that sealing adds to a message.
pub const OVERHEAD_BYTES: usize = TAG_BYTES;
/// Bytes of an encapsulated key.
pub const ENCAPSULATED_BYTES: usize = KEY_BYTES;

/// The end that seals. It cannot open what it has sealed once it is dropped.
pub struct Sealer(AeadCtxS<Aead, Kdf, X25519HkdfSha256>);

/// The end that opens.
pub struct Opener(AeadCtxR<Aead, Kdf, X25519HkdfSha256>);

impl Sealer {
    /// Begins a sequence for the holder of a key; also returns the encapsulated key. `purpose` keeps sequences of one
    /// kind from being opened as another. `seed` must be fresh random bytes: with the same ones twice, two sequences
    /// would be encrypted with one key stream.
    ///
    /// # Errors
    /// [`SealFault`].
    pub fn begin(
        to: &SealingKey,
        purpose: &[u8],
        seed: Zeroizing<[u8; 32]>,
    ) -> Result<(Self, [u8; ENCAPSULATED_BYTES]), SealFault> {
        let (encapsulated, context) = hpke::setup_sender_with_rng(
            &OpModeS::Base,
            &to.encapsulator().ok_or(SealFault)?,
            purpose,
            &mut Seed(seed),
        )
        .map_err(|_| SealFault)?;
        Ok((Self(context), encapsulated.to_bytes().into()))
    }

    /// Seals the next message; `associated` is what it is bound to and not part of it.
    ///
    /// # Errors
    /// [`SealFault`] after 2^64 messages.
    pub fn seal(&mut self, message: &[u8], associated: &[u8]) -> Result<Vec<u8>, SealFault> {
        let mut sealed = Vec::with_capacity(message.len() + OVERHEAD_BYTES);
        sealed.extend_from_slice(message);
        let tag = self.0.seal_inout_detached(InOutBuf::from(sealed.as_mut_slice()), associated);
        sealed.extend_from_slice(&tag.map_err(|_| SealFault)?.to_bytes());
        Ok(sealed)
    }
}

impl Opener {
    /// Begins to open a sequence.
    ///
    /// # Errors
    /// [`OpenFault::Weak`] for an encapsulated key of small order or in a second spelling.
    pub fn begin(
        with: &SealingSecret,
        purpose: &[u8],
        encapsulated: [u8; ENCAPSULATED_BYTES],
    ) -> Result<Self, OpenFault> {
        let encapsulated = SealingKey::new(encapsulated).map_err(|_| OpenFault::Weak)?;
        let encapsulated = <Suite as Kem>::EncappedKey::from_bytes(encapsulated.as_bytes());
        let context = hpke::setup_receiver(
            &OpModeR::Base,
            with.decapsulator(),
            &encapsulated.map_err(|_| OpenFault::Weak)?,
            purpose,
        );
        Ok(Self(context.map_err(|_| OpenFault::Weak)?))
    }

    /// Opens the next message.
    ///
    /// # Errors
    /// [`OpenFault::Foreign`] for anything but the next message with what it is bound to.
    pub fn open(&mut self, sealed: &[u8], associated: &[u8]) -> Result<Vec<u8>, OpenFault> {
        let (ciphertext, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(OpenFault::Foreign)?;
        let tag = AeadTag::<Aead>::from_bytes(tag).map_err(|_| OpenFault::Foreign)?;
        let mut message = ciphertext.to_vec();
        let opened = self.0.open_inout_detached(InOutBuf::from(message.as_mut_slice()), associated, &tag);
        opened.map_err(|_| OpenFault::Foreign)?;
        Ok(message)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("redacted")
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("redacted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURPOSE: &[u8] = b"postern/v1/test\0";

    fn recipient(seed: u8) -> SealingSecret {
        SealingSecret::for_recordings(&Zeroizing::new([seed; 32])).unwrap()
    }

    fn sealed() -> ([u8; 32], Vec<Vec<u8>>) {
        let (mut sealer, key) =
            Sealer::begin(&recipient(1).public(), PURPOSE, Zeroizing::new([9; 32])).unwrap();
        let messages = [b"one".as_slice(), b"two", b""].map(|message| sealer.seal(message, b"a").unwrap());
        (key, messages.to_vec())
    }

    #[test]
    fn messages_open_in_their_order_for_the_recipient() {
        let (key, messages) = sealed();
        assert_eq!(messages[0].len(), 3 + OVERHEAD_BYTES);
        let mut opener = Opener::begin(&recipient(1), PURPOSE, key).unwrap();
        let opened: Vec<_> = messages.iter().map(|message| opener.open(message, b"a").unwrap()).collect();
        assert_eq!(opened, [b"one".to_vec(), b"two".to_vec(), b"".to_vec()]);
    }

    #[test]
    fn no_message_opens_out_of_its_order_or_with_another_key_purpose_or_binding() {
        let (key, messages) = sealed();
        let open = |secret: &SealingSecret, purpose: &[u8], message: &[u8], bound: &[u8]| {
            Opener::begin(secret, purpose, key).unwrap().open(message, bound)
        };
        assert_eq!(open(&recipient(1), PURPOSE, &messages[0], b"a"), Ok(b"one".to_vec()));
        assert_eq!(open(&recipient(1), PURPOSE, &messages[1], b"a"), Err(OpenFault::Foreign));
        assert_eq!(open(&recipient(2), PURPOSE, &messages[0], b"a"), Err(OpenFault::Foreign));
        assert_eq!(open(&recipient(1), b"another", &messages[0], b"a"), Err(OpenFault::Foreign));
        assert_eq!(open(&recipient(1), PURPOSE, &messages[0], b"b"), Err(OpenFault::Foreign));
        assert_eq!(open(&recipient(1), PURPOSE, b"short", b"a"), Err(OpenFault::Foreign));
        assert_eq!(Opener::begin(&recipient(1), PURPOSE, [0; 32]).err(), Some(OpenFault::Weak));
    }
}
