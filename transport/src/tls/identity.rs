//! An ed25519 key in the form that TLS carries: a SubjectPublicKeyInfo and a signer.
//!
//! The 44 bytes are the only encoding of an ed25519 key that RFC 8410 allows, so they are compared, not parsed.
//! Signing stays in the protocol's key type; the seed is never copied into a PKCS #8 structure.

use std::any::Any;
use std::sync::Arc;

use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{CertificateError, Error, SignatureAlgorithm, SignatureScheme};

use postern_protocol::trust::keys::{KeyFault, PublicKey, SecretKey};

/// The own key, ready to be presented in handshakes. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Identity(Arc<CertifiedKey>);

impl Identity {
    pub(crate) fn new(key: &SecretKey) -> Self {
        let spki = CertificateDer::from(encode_spki(key.public()));
        Self(Arc::new(CertifiedKey::new(vec![spki], Arc::new(HandshakeKey(key.clone())))))
    }

    pub(super) fn for_client(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&self.0)))
    }

    pub(super) fn for_server(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&self.0)))
    }
}

/// The one key that the peer of a finished handshake has proved; `identity` is what the TLS session reports.
pub(crate) fn proved_key(identity: &dyn Any) -> Option<PublicKey> {
    match identity.downcast_ref::<Vec<CertificateDer<'static>>>()?.as_slice() {
        [only] => decode_spki(only).ok(),
        _ => None,
    }
}

/// RFC 8410: a sequence of the algorithm 1.3.101.112 and a bit string with the 32 bytes of the key.
pub(super) fn encode_spki(key: PublicKey) -> Vec<u8> {
    [SPKI_PREFIX.as_slice(), key.as_bytes()].concat()
}

pub(super) fn decode_spki(spki: &[u8]) -> Result<PublicKey, CertificateError> {
    let key = spki.strip_prefix(SPKI_PREFIX.as_slice()).ok_or(CertificateError::BadEncoding)?;
    PublicKey::try_from(key).map_err(|fault| match fault {
        KeyFault::Length { .. } | KeyFault::NotCanonical => CertificateError::BadEncoding,
        // Mapped to alert 49, apart from the encoding's 42, so that an attack can be told from a defect.
        KeyFault::Weak => CertificateError::ApplicationVerificationFailure,
    })
}

/// Signs handshakes with the protocol's own key type.
#[derive(Clone, Debug)]
pub(super) struct HandshakeKey(pub(super) SecretKey);

impl SigningKey for HandshakeKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(encode_spki(self.0.public())))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for HandshakeKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PublicKey {
        SecretKey::from_seed([3; 32]).unwrap().public()
    }

    #[test]
    fn a_key_survives_its_encoding_and_every_other_length_or_prefix_is_refused() {
        let spki = encode_spki(key());
        assert_eq!(spki.len(), 44);
        assert_eq!(decode_spki(&spki), Ok(key()));
        for len in 0..44 {
            assert_eq!(decode_spki(&spki[..len]), Err(CertificateError::BadEncoding), "length {len}");
        }
        assert_eq!(decode_spki(&[spki.as_slice(), &[0]].concat()), Err(CertificateError::BadEncoding));
        for bit in 0..12 * 8 {
            let mut changed = spki.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_spki(&changed), Err(CertificateError::BadEncoding), "bit {bit}");
        }
    }

    #[test]
    fn a_small_order_key_is_refused_with_its_own_error() {
        let mut identity_point = [0; 32];
        identity_point[0] = 1;
        let spki = [SPKI_PREFIX.as_slice(), &identity_point].concat();
        assert_eq!(decode_spki(&spki), Err(CertificateError::ApplicationVerificationFailure));
    }

    #[test]
    fn exactly_one_key_counts_as_proved() {
        let one = CertificateDer::from(encode_spki(key()));
        assert_eq!(proved_key(&vec![one.clone()]), Some(key()));
        assert_eq!(proved_key(&vec![one.clone(), one]), None);
        assert_eq!(proved_key(&Vec::<CertificateDer<'static>>::new()), None);
        assert_eq!(proved_key(&"something else"), None);
    }
}
