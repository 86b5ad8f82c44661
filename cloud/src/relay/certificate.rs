//! The certificate of a relay, made anew with each start: firewalls want one, and nobody trusts it.

use postern_protocol::trust::Digest;
use postern_transport::OuterAcceptor;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It could not be made.
    #[error("a certificate could not be made: {0}")]
    Made(#[from] rcgen::Error),
    /// It was made and is not accepted.
    #[error("the certificate is not accepted: {0}")]
    Accepted(String),
}

/// What lets peers in, and the digest of what it shows them.
pub(super) fn make() -> Result<(OuterAcceptor, Digest), CertificateError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    // Nothing that tells an observer what is behind it.
    params.distinguished_name = DistinguishedName::new();
    let certificate = params.self_signed(&key)?.der().to_vec();
    let digest = Digest::of(&[&certificate]);
    let acceptor = OuterAcceptor::new(certificate, key.serialize_der())
        .map_err(|error| CertificateError::Accepted(error.to_string()))?;
    Ok((acceptor, digest))
}
