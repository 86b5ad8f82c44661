//! The floor for any tunnel over QUIC: quinn, a stream for each TCP connection, and a plain copy both ways.
//!
//! 1. [`serve`] accepts connections and copies each stream to a new TCP connection to the target.
//! 2. [`dial`] listens on TCP and copies each connection to a new stream.
//! 3. [`Flavour`] says whether quinn runs with the product's transport settings or with its own defaults.
//!
//! Both flavours use the product's first cipher suite, a current-thread runtime and 64 KiB buffers, so that what
//! differs is what is measured. Deliberately absent: identity, policy, limits, reasons, audit.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use postern_transport::quic::Settings;
use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, ServerConfig, SignatureScheme};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::world::Mishap;

/// How quinn is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// With the windows, buffers and packet sizes of the product's sessions.
    Session,
    /// With quinn's own.
    Defaults,
}

/// The far end, until the process ends. Prints where it listens.
///
/// # Errors
/// When the socket cannot be opened.
pub async fn serve(listen: SocketAddr, target: SocketAddr, flavour: Flavour) -> Result<(), Mishap> {
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(server_crypto()?));
    if flavour == Flavour::Session {
        config.transport_config(Arc::new(transport(&Settings::session())));
    }
    let endpoint = endpoint(listen, flavour, Some(config))?;
    println!("listening on {}", endpoint.local_addr()?);
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            while let Ok((send, recv)) = connection.accept_bi().await {
                tokio::spawn(async move {
                    if let Ok(tcp) = TcpStream::connect(target).await {
                        copy(tcp, send, recv).await;
                    }
                });
            }
        });
    }
    Ok(())
}

/// The near end, until the process ends. Prints where it listens.
///
/// # Errors
/// When the far end cannot be reached.
pub async fn dial(server: SocketAddr, flavour: Flavour) -> Result<(), Mishap> {
    let mut config = quinn::ClientConfig::new(Arc::new(client_crypto()?));
    if flavour == Flavour::Session {
        config.transport_config(Arc::new(transport(&Settings::session())));
    } else {
        // Not a matter of speed: the measurement pauses longer than quinn's idle time-out.
        let mut patient = TransportConfig::default();
        patient.keep_alive_interval(Some(Duration::from_secs(15)));
        config.transport_config(Arc::new(patient));
    }
    let endpoint = endpoint((Ipv4Addr::UNSPECIFIED, 0).into(), flavour, None)?;
    let connecting = endpoint
        .connect_with(config, server, "raw.invalid")
        .map_err(|fault| Mishap::unexpected("the raw copy", fault, "a connection"))?;
    let connection =
        connecting.await.map_err(|fault| Mishap::unexpected("the raw copy", fault, "a connection"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (tcp, _) = listener.accept().await?;
        let connection = connection.clone();
        tokio::spawn(async move {
            if let Ok((send, recv)) = connection.open_bi().await {
                copy(tcp, send, recv).await;
            }
        });
    }
}

/// Copies both ways until both have ended. Whatever breaks shows as a short count at the ends.
async fn copy(tcp: TcpStream, mut send: quinn::SendStream, mut recv: quinn::RecvStream) {
    let _slower = tcp.set_nodelay(true);
    let (mut reader, mut writer) = tcp.into_split();
    let out = async {
        let mut buffer = vec![0; BUFFER];
        loop {
            let taken = reader.read(&mut buffer).await?;
            if taken == 0 {
                return send.finish().map_err(io::Error::from);
            }
            send.write_all(buffer.get(..taken).unwrap_or_default()).await?;
        }
    };
    let back = async {
        let mut buffer = vec![0; BUFFER];
        while let Some(taken) = recv.read(&mut buffer).await? {
            writer.write_all(buffer.get(..taken).unwrap_or_default()).await?;
        }
        writer.shutdown().await
    };
    let _broken: Result<((), ()), io::Error> = tokio::try_join!(out, back);
}

fn endpoint(
    listen: SocketAddr,
    flavour: Flavour,
    server: Option<quinn::ServerConfig>,
) -> Result<quinn::Endpoint, Mishap> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    if flavour == Flavour::Session {
        let bytes = usize::try_from(Settings::session().socket_buffer).unwrap_or(usize::MAX);
        socket.set_recv_buffer_size(bytes)?;
        socket.set_send_buffer_size(bytes)?;
    }
    socket.bind(&listen.into())?;
    let runtime = Arc::new(quinn::TokioRuntime);
    Ok(quinn::Endpoint::new(EndpointConfig::default(), server, socket.into(), runtime)?)
}

/// What the product's transport makes of its settings, but with Cubic alone.
fn transport(settings: &Settings) -> TransportConfig {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(settings.mtu_ceiling);
    let idle = u32::try_from(settings.idle.as_millis()).unwrap_or(u32::MAX);
    let mut config = TransportConfig::default();
    config
        .stream_receive_window(VarInt::from_u32(settings.stream_window))
        .receive_window(VarInt::from_u32(settings.connection_window))
        .send_window(settings.send_window.into())
        .max_concurrent_bidi_streams(VarInt::from_u32(settings.streams.into()))
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(settings.keep_alive)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle))))
        .mtu_discovery_config(Some(mtu))
        .congestion_controller_factory(Arc::new(CubicConfig::default()))
        .enable_segmentation_offload(settings.segmentation && std::env::var_os("POSTERN_NO_GSO").is_none());
    config
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    // The product's first choice on processors with AES instructions.
    let first = ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.retain(|suite| *suite != first);
    provider.cipher_suites.insert(0, first);
    Arc::new(provider)
}

fn server_crypto() -> Result<QuicServerConfig, Mishap> {
    let failed = |fault: &dyn std::fmt::Display| Mishap::unexpected("TLS of the raw copy", fault, "a server");
    let der = [PKCS8_PREFIX.as_slice(), &[5; 32]].concat();
    let key = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der)).map_err(|fault| failed(&fault))?;
    let spki = key.public_key().map(|spki| CertificateDer::from(spki.to_vec())).into_iter().collect();
    let resolver = AlwaysResolvesServerRawPublicKeys::new(Arc::new(CertifiedKey::new(spki, key)));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|fault| failed(&fault))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![ALPN.to_vec()];
    QuicServerConfig::try_from(config).map_err(|fault| failed(&fault))
}

fn client_crypto() -> Result<QuicClientConfig, Mishap> {
    let failed = |fault: &dyn std::fmt::Display| Mishap::unexpected("TLS of the raw copy", fault, "a client");
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|fault| failed(&fault))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    QuicClientConfig::try_from(config).map_err(|fault| failed(&fault))
}

/// Both ends are this program, on a wire of its own.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _key: &CertificateDer<'_>,
        _more: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

const ALPN: &[u8] = b"raw/1";
const BUFFER: usize = 64 * 1024;
/// PKCS #8 around the 32 bytes of an ed25519 seed (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];
