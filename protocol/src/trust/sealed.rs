//! Secrets that one device can open and nobody else: neither what stores them nor what carries them.
//!
//! 1. The device derives a [`SealingSecret`] from the seed of its device key, and announces the public half under a
//!    signature of that key: an [`Announcement`], which yields its [`SealingKey`] only to who names the device key.
//! 2. [`seal`] encrypts to that key with HPKE in base mode (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and
//!    ChaCha20Poly1305. The associated data names fleet, device and secret, so that a sealed secret means nothing in
//!    another [`Place`].
//! 3. [`open`] on the device undoes it, each time that the secret is used.
//!
//! ```text
//! version u8 = 1 | encapsulated key 32 bytes | ciphertext of ( length - 1 u8 | secret | zeros up to 256 ) | tag 16 bytes
//! ```
//!
//! Every sealed secret has the same size, because the length of a password is half of a short one. Anybody who knows the
//! public key can seal: that a secret was set by who may set it is the business of the snapshot's signature. A device
//! with a new key has a new sealing key, and cannot open what was sealed to the old one; nobody can seal it again
//! without knowing it, and that is on purpose.
//!
//! [`sequence`] seals many messages to one key, in one order: recordings.

mod key;
pub mod sequence;

use std::convert::Infallible;
use std::fmt;

use hpke::aead::{AeadTag, ChaCha20Poly1305};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use zeroize::Zeroizing;

use super::digest::Digest;
use crate::id::{DeviceId, FleetId};
use crate::limits::SECRET_BYTES;
use crate::name::Name;

pub use self::key::{
    Announcement, AnnouncementFault, KeyTextFault, SealingKey, SealingKeyFault, SealingSecret,
};

/// Where a secret belongs. It opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The installation.
    pub fleet: FleetId,
    /// The device.
    pub device: DeviceId,
    /// The secret's name on that device.
    pub name: &'a Name,
}

/// A secret in the open: 1 to 256 bytes. It prints `redacted` and is wiped when dropped.
pub struct Plaintext(Zeroizing<Vec<u8>>);

impl Plaintext {
    /// Takes a secret that somebody typed.
    ///
    /// # Errors
    /// [`PlaintextFault`] when it is empty or too long.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, PlaintextFault> {
        if bytes.is_empty() || bytes.len() > SECRET_BYTES {
            return Err(PlaintextFault { found: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

/// A secret that is empty or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret has 1 to {SECRET_BYTES} bytes, {found} were given")]
pub struct PlaintextFault {
    /// Bytes seen.
    pub found: usize,
}

/// A secret could not be sealed, which no checked key causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret could not be sealed to this key")]
pub struct SealFault;

/// Why a sealed secret does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenFault {
    /// Cut short or too long.
    #[error("a sealed secret of form 1 has {SEALED_BYTES} bytes, {found} were found")]
    Size {
        /// Bytes seen.
        found: usize,
    },
    /// A form of a later version.
    #[error("a sealed secret of form {found}, this version reads form {FORM}")]
    Form {
        /// The form seen.
        found: u8,
    },
    /// The encapsulated key is a point of small order: the shared secret would be known to everybody.
    #[error("the encapsulated key is weak")]
    Weak,
    /// It was sealed to another key or for another fleet, device or name, or was changed since.
    #[error("it was sealed to another key or for another place, or was changed")]
    Foreign,
    /// Whoever sealed it did not follow the form.
    #[error("its content is not of the form that is sealed")]
    Content,
}

/// Seals a secret to a device. `seed` must be fresh random bytes: with the same ones twice, two secrets of the same
/// place would be encrypted with one key stream.
///
/// # Errors
/// [`SealFault`].
pub fn seal(
    to: &SealingKey,
    place: &Place<'_>,
    secret: &Plaintext,
    seed: Zeroizing<[u8; 32]>,
) -> Result<Vec<u8>, SealFault> {
    let mut content = Zeroizing::new([0; CONTENT_BYTES]);
    let [length, body @ ..] = &mut *content;
    *length = u8::try_from(secret.reveal().len().saturating_sub(1)).map_err(|_| SealFault)?;
    body.get_mut(..secret.reveal().len()).ok_or(SealFault)?.copy_from_slice(secret.reveal());
    let (encapsulated, tag) = hpke::single_shot_seal_inout_detached_with_rng::<Aead, Kdf, Suite>(
        &OpModeS::Base,
        &to.encapsulator().ok_or(SealFault)?,
        INFO,
        InOutBuf::from(content.as_mut_slice()),
        &associated(place),
        &mut Seed(seed),
    )
    .map_err(|_| SealFault)?;
    let mut sealed = Vec::with_capacity(SEALED_BYTES);
    sealed.push(FORM);
    sealed.extend_from_slice(&encapsulated.to_bytes());
    sealed.extend_from_slice(content.as_slice());
    sealed.extend_from_slice(&tag.to_bytes());
    Ok(sealed)
}

/// Opens a sealed secret in its place.
///
/// # Errors
/// The first [`OpenFault`].
pub fn open(with: &SealingSecret, place: &Place<'_>, sealed: &[u8]) -> Result<Plaintext, OpenFault> {
    let size = || OpenFault::Size { found: sealed.len() };
    let (&form, rest) = sealed.split_first().ok_or_else(size)?;
    if form != FORM {
        return Err(OpenFault::Form { found: form });
    }
    let (encapsulated, rest) = rest.split_first_chunk::<KEY_BYTES>().ok_or_else(size)?;
    let (ciphertext, rest) = rest.split_first_chunk::<CONTENT_BYTES>().ok_or_else(size)?;
    let tag: &[u8; TAG_BYTES] = rest.try_into().map_err(|_| size())?;
    // A second spelling of the key would be a second sealed secret of the same content.
    let encapsulated = SealingKey::new(*encapsulated).map_err(|_| OpenFault::Weak)?;
    let encapsulated = <Suite as Kem>::EncappedKey::from_bytes(encapsulated.as_bytes());
    let mut content = Zeroizing::new(*ciphertext);
    hpke::single_shot_open_inout_detached::<Aead, Kdf, Suite>(
        &OpModeR::Base,
        with.decapsulator(),
        &encapsulated.map_err(|_| OpenFault::Weak)?,
        INFO,
        InOutBuf::from(content.as_mut_slice()),
        &associated(place),
        &AeadTag::<Aead>::from_bytes(tag).map_err(|_| OpenFault::Foreign)?,
    )
    .map_err(|_| OpenFault::Foreign)?;
    let [length, body @ ..] = &*content;
    let (secret, padding) =
        body.split_at_checked(usize::from(*length).saturating_add(1)).ok_or(OpenFault::Content)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(OpenFault::Content);
    }
    Plaintext::new(Zeroizing::new(secret.to_vec())).map_err(|_| OpenFault::Content)
}

/// What a sealed secret is bound to. Ids have a fixed size and the name is last, so no two places have the same bytes.
fn associated(place: &Place<'_>) -> Vec<u8> {
    let name = place.name.as_str().as_bytes();
    [&[FORM], place.fleet.as_bytes().as_slice(), place.device.as_bytes().as_slice(), name].concat()
}

/// Hands the caller's random bytes to the library, once and as they are: for the ephemeral key it draws 32.
struct Seed(Zeroizing<[u8; 32]>);

impl TryRng for Seed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        for chunk in target.chunks_mut(self.0.len()) {
            chunk.iter_mut().zip(self.0.iter()).for_each(|(to, from)| *to = *from);
            // Should a version of the library draw again, it gets other bytes and not the same ones.
            self.0 = Zeroizing::new(*Digest::of(&[self.0.as_slice()]).as_bytes());
        }
        Ok(())
    }
}

impl TryCryptoRng for Seed {}

type Suite = X25519HkdfSha256;
type Kdf = HkdfSha256;
type Aead = ChaCha20Poly1305;

const INFO: &[u8] = b"postern/v1/secret\0";
const FORM: u8 = 1;
const KEY_BYTES: usize = 32;
const CONTENT_BYTES: usize = 1 + SECRET_BYTES;
const TAG_BYTES: usize = 16;

/// Bytes of every sealed secret of form 1.
pub const SEALED_BYTES: usize = 1 + KEY_BYTES + CONTENT_BYTES + TAG_BYTES;

#[cfg(test)]
mod tests;
