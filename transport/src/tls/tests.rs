//! Handshakes in memory: what each end refuses, with the exact error, and that nothing is ever resumed.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerified;
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, CipherSuite, ClientConnection, DigitallySignedStruct,
    DistinguishedName, Error, HandshakeKind, PeerIncompatible, ServerConnection, SignatureScheme,
};

use postern_protocol::trust::keys::SecretKey;

use super::identity::{HandshakeKey, encode_spki};
use super::*;

const ALPN: &[u8] = b"test/1";

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

fn server_for(seed: u8) -> Arc<ServerConfig> {
    server_config(&Identity::new(&key(seed)), &[ALPN.to_vec()])
}

fn client_for(seed: u8, expected: u8) -> (Arc<ClientConfig>, Arc<PinnedKey>) {
    client_config(&Identity::new(&key(seed)), key(expected).public(), &[ALPN])
}

/// Carries records both ways until neither end has more to say or one of them fails.
fn shake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> (ClientConnection, ServerConnection, Result<(), Error>, Result<(), Error>) {
    let mut client = ClientConnection::new(client, ServerName::try_from("postern.invalid").unwrap()).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let (mut client_result, mut server_result) = (Ok(()), Ok(()));
    while client.wants_write() || server.wants_write() {
        let mut records = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut records).unwrap();
        }
        server_result = server_result.and(feed(&records, |bytes| server.read_tls(bytes)));
        server_result = server_result.and_then(|()| server.process_new_packets().map(drop));
        let mut records = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut records).unwrap();
        }
        client_result = client_result.and(feed(&records, |bytes| client.read_tls(bytes)));
        client_result = client_result.and_then(|()| client.process_new_packets().map(drop));
    }
    (client, server, client_result, server_result)
}

fn feed(
    mut records: &[u8],
    mut read: impl FnMut(&mut dyn std::io::Read) -> std::io::Result<usize>,
) -> Result<(), Error> {
    while !records.is_empty() {
        read(&mut records).unwrap();
    }
    Ok(())
}

fn refused(error: CertificateError) -> Result<(), Error> {
    Err(Error::InvalidCertificate(error))
}

fn told(alert: AlertDescription) -> Result<(), Error> {
    Err(Error::AlertReceived(alert))
}

#[test]
fn both_ends_prove_their_keys_and_agree_on_the_protocol() {
    let (client, server, client_result, server_result) = shake(client_for(1, 2).0, server_for(2));
    assert_eq!((client_result, server_result), (Ok(()), Ok(())));
    assert_eq!(client.peer_certificates().unwrap(), [CertificateDer::from(encode_spki(key(2).public()))]);
    assert_eq!(server.peer_certificates().unwrap(), [CertificateDer::from(encode_spki(key(1).public()))]);
    assert_eq!((client.alpn_protocol(), server.alpn_protocol()), (Some(ALPN), Some(ALPN)));
    assert_eq!(server.server_name(), None);
}

#[test]
fn another_key_than_the_pinned_one_is_refused_and_named() {
    let (config, pin) = client_for(1, 9);
    let (_, _, client_result, server_result) = shake(config, server_for(2));
    assert_eq!(client_result, refused(CertificateError::UnknownIssuer));
    assert_eq!(server_result, told(AlertDescription::UnknownCA));
    assert_eq!(pin.refused(), Some(key(2).public()));
}

/// A client of ours that presents other bytes than its own key, or nothing.
fn client_presenting(keys: Vec<Vec<u8>>, signer: u8) -> Arc<ClientConfig> {
    let (config, _) = client_for(1, 2);
    let mut config = (*config).clone();
    let certs = keys.into_iter().map(CertificateDer::from).collect();
    let certified = CertifiedKey::new(certs, Arc::new(HandshakeKey(key(signer))));
    config.client_auth_cert_resolver = Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(certified)));
    Arc::new(config)
}

#[test]
fn a_weak_client_key_is_refused_during_the_handshake() {
    let mut weak = encode_spki(key(1).public());
    weak[12..].fill(0); // y = 0, a point of order four
    let (_, _, client_result, server_result) = shake(client_presenting(vec![weak], 1), server_for(2));
    assert_eq!(server_result, refused(CertificateError::ApplicationVerificationFailure));
    assert_eq!(client_result, told(AlertDescription::AccessDenied));
}

#[test]
fn a_client_must_present_exactly_one_canonical_key() {
    let own = encode_spki(key(1).public());
    let short = own[..43].to_vec();
    let mut second_spelling = own.clone();
    second_spelling[12..].fill(0xff);
    second_spelling[12] = 0xed; // y = p, which is 0 again
    for keys in [vec![own.clone(), own], vec![short], vec![second_spelling]] {
        let (_, _, client_result, server_result) = shake(client_presenting(keys, 1), server_for(2));
        assert_eq!(server_result, refused(CertificateError::BadEncoding));
        assert_eq!(client_result, told(AlertDescription::BadCertificate));
    }
}

#[test]
fn a_client_that_presents_somebody_elses_key_is_refused() {
    let stolen = encode_spki(key(3).public());
    let (_, _, client_result, server_result) = shake(client_presenting(vec![stolen], 1), server_for(2));
    assert_eq!(server_result, refused(CertificateError::BadSignature));
    assert_eq!(client_result, told(AlertDescription::DecryptError));
}

#[derive(Debug)]
struct NoKey;

impl ResolvesClientCert for NoKey {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn a_client_without_a_key_is_refused() {
    let (config, _) = client_for(1, 2);
    let mut config = (*config).clone();
    config.client_auth_cert_resolver = Arc::new(NoKey);
    let (_, _, client_result, server_result) = shake(Arc::new(config), server_for(2));
    assert_eq!(server_result, Err(Error::NoCertificatesPresented));
    assert_eq!(client_result, told(AlertDescription::CertificateRequired));
}

#[test]
fn a_client_with_x509_only_is_refused_before_it_presents_anything() {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedKey::new(key(2).public())))
        .with_no_client_auth();
    let (_, _, client_result, server_result) = shake(Arc::new(config), server_for(2));
    assert_eq!(server_result, Err(PeerIncompatible::IncorrectCertificateTypeExtension.into()));
    assert_eq!(client_result, told(AlertDescription::HandshakeFailure));
}

#[test]
fn ends_without_a_common_protocol_part_with_the_same_alert() {
    let (config, _) = client_config(&Identity::new(&key(1)), key(2).public(), &[b"other/1"]);
    let (_, _, client_result, server_result) = shake(config, server_for(2));
    assert_eq!(server_result, Err(Error::NoApplicationProtocol));
    assert_eq!(client_result, told(AlertDescription::NoApplicationProtocol));
}

#[test]
fn a_client_offers_tls_1_3_and_nothing_older() {
    let (config, _) = client_for(1, 2);
    let mut client = ClientConnection::new(config, ServerName::try_from("postern.invalid").unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    // supported_versions (43), three bytes: a list of two bytes, 0x0304.
    assert_eq!(hello.windows(7).filter(|w| *w == [0x00, 0x2b, 0x00, 0x03, 0x02, 0x03, 0x04]).count(), 1);
    // Neither a name (0) for observers nor a pre-shared key (41) from an earlier session is in it.
    assert!(!hello.windows(15).any(|w| w == b"postern.invalid"));
}

#[test]
fn a_server_refuses_a_hello_that_knows_tls_1_2_only() {
    let mut server = ServerConnection::new(server_for(2)).unwrap();
    let mut hello = vec![0x16, 0x03, 0x01, 0x00, 0x37, 0x01, 0x00, 0x00, 0x33, 0x03, 0x03];
    hello.extend([7; 32]); // random
    hello.extend([0x00, 0x00, 0x02, 0xc0, 0x2b, 0x01, 0x00]); // no session, one suite of TLS 1.2, no compression
    hello.extend([0x00, 0x08, 0x00, 0x0d, 0x00, 0x04, 0x00, 0x02, 0x08, 0x07]); // signatures: ed25519
    server.read_tls(&mut hello.as_slice()).unwrap();
    assert_eq!(
        server.process_new_packets().map(drop),
        Err(PeerIncompatible::SupportedVersionsExtensionRequired.into())
    );
}

#[test]
fn the_suites_follow_the_processor_and_always_hold_the_one_of_initial_packets() {
    let suites: Vec<CipherSuite> = provider().cipher_suites.iter().map(|suite| suite.suite()).collect();
    let chacha_first = suites.first() == Some(&CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    assert_eq!(chacha_first, !has_aes_instructions());
    assert!(suites.contains(&CipherSuite::TLS13_AES_128_GCM_SHA256));
    assert_eq!(suites.len(), 3);
}

/// Counts how often a client's key is judged.
#[derive(Debug, Default)]
struct Counting {
    keys: AtomicUsize,
    signatures: AtomicUsize,
}

impl ClientCertVerifier for Counting {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        AnySoundKey.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.keys.fetch_add(1, Ordering::Relaxed);
        AnySoundKey.verify_client_cert(key, more, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        AnySoundKey.verify_tls12_signature(message, key, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.fetch_add(1, Ordering::Relaxed);
        AnySoundKey.verify_tls13_signature(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        AnySoundKey.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[test]
fn every_reconnect_is_verified_anew_because_nothing_is_resumed() {
    let counting = Arc::new(Counting::default());
    let server = server_config_with(&Identity::new(&key(2)), &[ALPN.to_vec()], Arc::clone(&counting) as _);
    let (client, _) = client_for(1, 2);
    for round in 1..=5 {
        let (client, server, client_result, server_result) = shake(Arc::clone(&client), Arc::clone(&server));
        assert_eq!((client_result, server_result), (Ok(()), Ok(())));
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(client.tls13_tickets_received(), 0);
        assert_eq!(counting.keys.load(Ordering::Relaxed), round);
        assert_eq!(counting.signatures.load(Ordering::Relaxed), round);
    }
}
