//! The two verifiers: a dialler accepts one key, a listener accepts any sound key.
//!
//! 1. Exactly one raw key, 44 bytes, canonical, not of small order; a chain behind it is refused.
//! 2. The dialler compares it with the key that it was told to expect.
//! 3. The handshake signature must hold under that key by the protocol's strict rules. ring's own check is not
//!    used: it accepts keys of small order, for which anyone can sign.

use std::sync::OnceLock;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme,
};

use postern_protocol::trust::keys::{PublicKey, Signature};

use super::identity::decode_spki;

/// Accepts the expected key only, and remembers the first other sound key that was presented.
#[derive(Debug)]
pub(crate) struct PinnedKey {
    expected: PublicKey,
    refused: OnceLock<PublicKey>,
}

impl PinnedKey {
    pub(crate) const fn new(expected: PublicKey) -> Self {
        Self { expected, refused: OnceLock::new() }
    }

    /// The key that was presented instead of the expected one, for the error that people read.
    pub(crate) fn refused(&self) -> Option<PublicKey> {
        self.refused.get().copied()
    }
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = single_key(key, more)?;
        if found == self.expected {
            return Ok(ServerCertVerified::assertion());
        }
        self.refused.get_or_init(|| found);
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Accepts any sound key whose holder signs the handshake.
#[derive(Debug)]
pub(super) struct AnySoundKey;

impl ClientCertVerifier for AnySoundKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        single_key(key, more).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn single_key(key: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<PublicKey, Error> {
    if !more.is_empty() {
        // Whoever reads only the first or only the last of several keys would disagree about who this is.
        return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
    }
    decode_spki(key).map_err(Error::InvalidCertificate)
}

fn verify_signature(
    message: &[u8],
    key: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = decode_spki(key).map_err(Error::InvalidCertificate)?;
    let bytes: Result<[u8; 64], _> = signed.signature().try_into();
    let holds = signed.scheme == SignatureScheme::ED25519
        && bytes.is_ok_and(|bytes| key.verifies(message, &Signature::new(bytes)));
    if holds {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

fn no_tls12() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic)
}
