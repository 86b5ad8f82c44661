//! Who gets a connection, and what each end is told otherwise.

use std::sync::Arc;

use postern_transport::TlsFault;
use postern_transport::quic::{BindError, ConnectError, ConnectionEnd, HandshakeFault, Side};

use super::*;

fn tls(fault: TlsFault, raised_by: Side) -> ConnectionEnd {
    ConnectionEnd::Tls { fault, raised_by }
}

#[tokio::test]
async fn both_ends_learn_the_others_key_and_the_protocol() {
    let pair = Pair::open(&Settings::session()).await;
    assert_eq!(pair.client.peer_key(), public(SERVER));
    assert_eq!(pair.server.peer_key(), public(CLIENT));
    assert_eq!((pair.client.alpn().as_slice(), pair.server.alpn().as_slice()), (ALPN, ALPN));
    assert_eq!(pair.client.remote_addr(), pair.server_endpoint.local_addr().unwrap());
    assert_eq!(pair.server.remote_addr(), pair.client_endpoint.local_addr().unwrap());
}

#[tokio::test]
async fn a_server_with_another_key_than_the_pinned_one_is_refused() {
    let settings = Settings::session();
    let (endpoint, addr) = server(&settings);
    let client = bind(CLIENT, Role::Client, &settings);
    let (dialled, admitted) = tokio::join!(client.connect(addr, public(9), &[ALPN], &settings), async {
        endpoint.accept().await.unwrap().handshake(GENEROUS).await
    });
    assert_eq!(
        dialled.unwrap_err(),
        ConnectError::UnexpectedKey { expected: public(9), found: public(SERVER) }
    );
    assert_eq!(admitted.unwrap_err(), HandshakeFault::Ended(tls(TlsFault::UnexpectedKey, Side::Peer)));
}

#[tokio::test]
async fn ends_without_a_common_protocol_both_say_so() {
    let settings = Settings::session();
    let (endpoint, addr) = server(&settings);
    let client = bind(CLIENT, Role::Client, &settings);
    let (dialled, admitted) =
        tokio::join!(client.connect(addr, public(SERVER), &[b"postern-test/2"], &settings), async {
            endpoint.accept().await.unwrap().handshake(GENEROUS).await
        });
    assert_eq!(dialled.unwrap_err(), ConnectError::Ended(tls(TlsFault::NoCommonProtocol, Side::Peer)));
    assert_eq!(admitted.unwrap_err(), HandshakeFault::Ended(tls(TlsFault::NoCommonProtocol, Side::Here)));
}

#[tokio::test]
async fn the_servers_preference_picks_among_several_protocols() {
    let settings = Settings::session();
    let role = Role::Server { alpns: vec![b"b".to_vec(), b"a".to_vec()] };
    let endpoint = bind(SERVER, role, &settings);
    let client = bind(CLIENT, Role::Client, &settings);
    let addr = endpoint.local_addr().unwrap();
    let (dialled, admitted) =
        tokio::join!(client.connect(addr, public(SERVER), &[b"a", b"b"], &settings), async {
            endpoint.accept().await.unwrap().handshake(GENEROUS).await
        });
    assert_eq!((dialled.unwrap().alpn(), admitted.unwrap().alpn()), (b"b".to_vec(), b"b".to_vec()));
}

#[tokio::test]
async fn no_protocol_at_all_is_a_mistake_of_the_caller() {
    let settings = Settings::session();
    let client = bind(CLIENT, Role::Client, &settings);
    let addr = client.local_addr().unwrap();
    let dialled = client.connect(addr, public(SERVER), &[], &settings).await;
    assert_eq!(dialled.unwrap_err(), ConnectError::NoProtocol);
    let role = Role::Server { alpns: vec![] };
    assert!(matches!(Endpoint::bind(addr, &secret(1), role, &settings), Err(BindError::NoProtocol)));
}

/// A stranger's client: a raw key nowhere, the server's key unchecked.
#[derive(Debug)]
struct Gullible;

impl rustls::client::danger::ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_foreign_client_without_a_raw_key_gets_no_connection() {
    let (endpoint, addr) = server(&Settings::session());
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Gullible))
            .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let config = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
    let stranger = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let connecting =
        stranger.connect_with(quinn::ClientConfig::new(Arc::new(config)), addr, "stranger").unwrap();
    let (_, admitted) =
        tokio::join!(connecting, async { endpoint.accept().await.unwrap().handshake(GENEROUS).await });
    assert_eq!(admitted.unwrap_err(), HandshakeFault::Ended(tls(TlsFault::Incompatible, Side::Here)));
}

#[tokio::test]
async fn a_secret_is_equal_on_both_ends_and_differs_by_label_context_and_connection() {
    let one = Pair::open(&Settings::session()).await;
    let two = Pair::open(&Settings::session()).await;
    let secret = one.client.export_keying_material(b"label", b"context").unwrap();
    assert_eq!(one.server.export_keying_material(b"label", b"context"), Ok(secret));
    assert_ne!(one.server.export_keying_material(b"label", b"other"), Ok(secret));
    assert_ne!(one.server.export_keying_material(b"other", b"context"), Ok(secret));
    assert_ne!(two.client.export_keying_material(b"label", b"context"), Ok(secret));
}

#[tokio::test]
async fn a_close_carries_its_code_and_reason_to_the_peer() {
    let pair = Pair::open(&Settings::session()).await;
    pair.client.close(0x1234, b"case closed");
    assert_eq!(
        pair.server.closed().await,
        ConnectionEnd::ClosedByPeer { code: 0x1234, reason: b"case closed".as_slice().into() }
    );
    assert_eq!(pair.client.closed().await, ConnectionEnd::ClosedHere);
    assert_eq!(pair.client.open_bi().await.map(drop), Err(ConnectionEnd::ClosedHere));
}

#[tokio::test]
async fn closing_an_endpoint_tells_every_peer_and_ends_accepting() {
    let pair = Pair::open(&Settings::session()).await;
    pair.server_endpoint.close(7, b"restart");
    let end = pair.client.closed().await;
    assert_eq!(end, ConnectionEnd::ClosedByPeer { code: 7, reason: b"restart".as_slice().into() });
    assert!(pair.server_endpoint.accept().await.is_none());
    drop(pair.server);
    pair.server_endpoint.wait_idle().await;
}

#[tokio::test]
async fn an_unanswered_dial_ends_at_its_deadline() {
    let silent = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let within = Duration::from_millis(60);
    let settings = Settings { handshake: within, ..Settings::session() };
    let client = bind(CLIENT, Role::Client, &settings);
    let dialled = client.connect(silent.local_addr().unwrap(), public(SERVER), &[ALPN], &settings).await;
    assert_eq!(dialled.unwrap_err(), ConnectError::TimedOut { within });
}

#[tokio::test]
async fn an_address_that_the_socket_cannot_reach_is_named() {
    let settings = Settings::session();
    let client = bind(CLIENT, Role::Client, &settings);
    for addr in ["127.0.0.1:0", "[::1]:9"] {
        let addr: SocketAddr = addr.parse().unwrap();
        let dialled = client.connect(addr, public(SERVER), &[ALPN], &settings).await;
        assert_eq!(dialled.unwrap_err(), ConnectError::BadAddress(addr));
    }
}

#[tokio::test]
async fn two_connections_at_a_time_have_two_ids() {
    let one = Pair::open(&Settings::session()).await;
    let two = Pair::open(&Settings::session()).await;
    assert_ne!(one.client.id(), two.client.id());
    assert_eq!(one.client.id(), one.client.clone().id());
}
