//! What hubs say to each other through somebody who shall neither read nor invent it.
//!
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) under a key of its own for the cluster, with a random nonce for each message, and
//! with the place where it belongs as associated data: what was said in one place means nothing in another.
//!
//! ```text
//! nonce 24 bytes | ciphertext | tag 16 bytes
//! ```
//!
//! Deliberately absent: any protection against what is said twice. Whoever hears it counts.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use postern_protocol::id::FleetId;
use postern_protocol::trust::{Digest, SecretKey};
use postern_protocol::wire::codec::{self, CodecFault};

use crate::chance;

/// Seals and opens what the hubs of one installation say to each other.
#[derive(Clone)]
pub(crate) struct Veil {
    cipher: XChaCha20Poly1305,
    tally: Zeroizing<[u8; 32]>,
    fleet: FleetId,
}

/// Why a message is not a hub's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VeilFault {
    /// Too short, changed, from another cluster, or from another place.
    #[error("it was not sealed by a hub of this installation for this place")]
    Foreign,
    /// A hub of another version has sealed it.
    #[error("it is sealed by a hub of this installation and cannot be read: {0}")]
    Codec(#[from] CodecFault),
}

impl Veil {
    /// The veil of an installation, from the key that its hubs share.
    pub(crate) fn new(fleet: FleetId, shared: &SecretKey) -> Self {
        let of =
            |what: &[u8]| Zeroizing::new(*Digest::of(&[LABEL, what, shared.seed().as_slice()]).as_bytes());
        let cipher = XChaCha20Poly1305::new((&*of(b"seal")).into());
        Self { cipher, tally: of(b"tally"), fleet }
    }

    /// The key under which entries are tallied.
    pub(crate) fn tally(&self) -> &[u8; 32] {
        &self.tally
    }

    /// Seals a value of at most `max` bytes for a place.
    ///
    /// # Errors
    /// That it is too large.
    pub(crate) fn seal<T: Serialize>(
        &self,
        place: &str,
        value: &T,
        max: usize,
    ) -> Result<Vec<u8>, CodecFault> {
        let plain = codec::encode(value, max)?;
        let nonce: [u8; NONCE] = chance::bytes();
        let payload = Payload { msg: &plain, aad: &self.aad(place) };
        let too_large = CodecFault::TooLarge { found: plain.len(), limit: max };
        // Fails for messages of more than 256 GiB alone.
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| too_large)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed for a place.
    ///
    /// # Errors
    /// A [`VeilFault`].
    pub(crate) fn open<T: Serialize + DeserializeOwned>(
        &self,
        place: &str,
        sealed: &[u8],
        max: usize,
    ) -> Result<T, VeilFault> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(VeilFault::Foreign)?;
        let payload = Payload { msg: sealed, aad: &self.aad(place) };
        let plain = self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| VeilFault::Foreign)?;
        Ok(codec::decode(&plain, max)?)
    }

    fn aad(&self, place: &str) -> Vec<u8> {
        [LABEL, self.fleet.as_bytes(), place.as_bytes()].concat()
    }
}

impl std::fmt::Debug for Veil {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("redacted")
    }
}

const LABEL: &[u8] = b"postern/cluster/1/";
const NONCE: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn veil(fleet: u8, seed: u8) -> Veil {
        Veil::new(FleetId::new([fleet; 8]), &SecretKey::from_seed([seed; 32]).unwrap())
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_and_nowhere_else() {
        let (ours, said) = (veil(1, 1), "withdrawn".to_owned());
        let sealed = ours.seal("tell.a", &said, 64).unwrap();
        assert_eq!(ours.open::<String>("tell.a", &sealed, 64), Ok(said.clone()));
        assert_eq!(ours.open::<String>("tell.b", &sealed, 64), Err(VeilFault::Foreign), "another place");
        assert_eq!(veil(1, 2).open::<String>("tell.a", &sealed, 64), Err(VeilFault::Foreign), "another key");
        assert_eq!(
            veil(2, 1).open::<String>("tell.a", &sealed, 64),
            Err(VeilFault::Foreign),
            "another fleet"
        );
        assert!(!sealed.windows(said.len()).any(|window| window == said.as_bytes()), "it can be read");
    }

    #[test]
    fn a_changed_or_shortened_message_is_foreign() {
        let ours = veil(1, 1);
        let sealed = ours.seal("entry", &7_u64, 64).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(ours.open::<u64>("entry", &changed, 64), Err(VeilFault::Foreign), "byte {at}");
            assert_eq!(ours.open::<u64>("entry", &sealed[..at], 64), Err(VeilFault::Foreign), "cut at {at}");
        }
    }

    #[test]
    fn the_same_words_are_sealed_anew_each_time() {
        let ours = veil(1, 1);
        assert_ne!(ours.seal("entry", &7_u64, 64).unwrap(), ours.seal("entry", &7_u64, 64).unwrap());
    }
}
