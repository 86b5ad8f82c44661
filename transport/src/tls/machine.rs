//! TLS to a machine behind the gate. Machines have certificates that nobody signed, so a key is pinned and nothing else counts.
//!
//! 1. The key is compared with the pins: SHA-256 of the certificate's `SubjectPublicKeyInfo` (RFC 7469, section 2.4).
//! 2. The handshake signature must hold under that key. Names, times and issuers of the certificate decide nothing: machines are called
//!    by addresses, and have no clock.
//! 3. TLS 1.3 and 1.2 with forward secrecy. Older machines (TLS 1.1, RSA key exchange, 3DES) are not spoken to.
//!
//! Nothing is resumed, for the reason that stands above.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use postern_protocol::trust::Digest;

/// A connection in TLS to a machine whose key is one that was expected.
#[derive(Debug)]
pub struct MachineStream(TlsStream<TcpStream>);

/// Why there is no TLS with a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MachineTlsFault {
    /// The machine proved another key than those that are pinned.
    #[error("the machine proved the key with SHA-256 {found}, which is not pinned")]
    AnotherKey {
        /// SHA-256 of its `SubjectPublicKeyInfo`.
        found: Digest,
    },
    /// It speaks no TLS that is supported, or broke off.
    #[error("the machine speaks no TLS that is supported")]
    Handshake,
    /// It took too long.
    #[error("the machine did not finish the handshake in time")]
    TimedOut,
}

impl MachineStream {
    /// Speaks TLS on a connection to a machine at `ip` that is called `host`, with or without a port.
    ///
    /// # Errors
    /// [`MachineTlsFault`].
    pub async fn connect(
        stream: TcpStream,
        ip: IpAddr,
        host: Option<&str>,
        pins: &[[u8; 32]],
        within: Duration,
    ) -> Result<Self, MachineTlsFault> {
        let verifier = Arc::new(PinnedMachine {
            provider: Arc::new(ring::default_provider()),
            pins: pins.iter().copied().map(Digest::new).collect(),
            refused: OnceLock::new(),
        });
        let connector = TlsConnector::from(config(&verifier));
        let connecting = tokio::time::timeout(within, connector.connect(name(ip, host), stream));
        match connecting.await {
            Ok(Ok(stream)) => Ok(Self(stream)),
            Ok(Err(_error)) => Err(match verifier.refused.get() {
                Some(found) => MachineTlsFault::AnotherKey { found: *found },
                None => MachineTlsFault::Handshake,
            }),
            Err(_elapsed) => Err(MachineTlsFault::TimedOut),
        }
    }

    /// What the kernel still holds for the machine is dropped when the connection is.
    pub fn set_zero_linger(&self) {
        let (socket, _session) = self.0.get_ref();
        let _already_closed = socket.set_zero_linger();
    }
}

impl AsyncRead for MachineStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for MachineStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

fn config(verifier: &Arc<PinnedMachine>) -> Arc<ClientConfig> {
    #[expect(clippy::expect_used, reason = "fails only for a provider without suites of these versions")]
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("ring has suites of both versions")
        .dangerous() // rustls' word for any verifier of one's own
        .with_custom_certificate_verifier(Arc::clone(verifier) as _)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// The name that the machine is asked for (SNI): its host where that is a name, otherwise its address, which is not sent.
fn name(ip: IpAddr, host: Option<&str>) -> ServerName<'static> {
    let bare = host.map(|host| host.rsplit_once(':').map_or(host, |(host, _port)| host).to_owned());
    bare.and_then(|host| ServerName::try_from(host).ok()).unwrap_or_else(|| ServerName::from(ip))
}

/// Accepts the keys that are pinned, and remembers the first other one that was presented.
#[derive(Debug)]
struct PinnedMachine {
    provider: Arc<CryptoProvider>,
    pins: Vec<Digest>,
    refused: OnceLock<Digest>,
}

impl ServerCertVerifier for PinnedMachine {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _more: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let found = Digest::of(&[&parsed.subject_public_key_info()]);
        if self.pins.contains(&found) {
            return Ok(ServerCertVerified::assertion());
        }
        self.refused.get_or_init(|| found);
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::ServerConfig;
    use rustls::SupportedProtocolVersion;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    const CERTIFICATE: &[u8] = include_bytes!("../../testdata/machine-certificate.der");
    const KEY: &[u8] = include_bytes!("../../testdata/machine-key.der");
    const GENEROUS: Duration = Duration::from_secs(30);

    fn pin() -> [u8; 32] {
        let certificate = CertificateDer::from(CERTIFICATE);
        let parsed = ParsedCertificate::try_from(&certificate).unwrap();
        *Digest::of(&[&parsed.subject_public_key_info()]).as_bytes()
    }

    /// Speaks to a machine of one version that says hello.
    async fn speak(
        version: &'static SupportedProtocolVersion,
        pins: &[[u8; 32]],
    ) -> Result<String, MachineTlsFault> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![CERTIFICATE.into()], PrivateKeyDer::try_from(KEY).unwrap())
            .unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await {
                stream.write_all(b"hello").await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        let stream = TcpStream::connect(addr).await.unwrap();
        let mut stream =
            MachineStream::connect(stream, addr.ip(), Some("panel.local:443"), pins, GENEROUS).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        Ok(text)
    }

    #[tokio::test]
    async fn a_machine_with_a_pinned_key_is_spoken_to_in_both_versions() {
        for version in [&TLS13, &TLS12] {
            assert_eq!(speak(version, &[[1; 32], pin()]).await.as_deref(), Ok("hello"));
        }
    }

    #[tokio::test]
    async fn a_machine_with_another_key_is_refused_and_its_key_is_named() {
        for version in [&TLS13, &TLS12] {
            let found = Digest::new(pin());
            assert_eq!(speak(version, &[[1; 32]]).await, Err(MachineTlsFault::AnotherKey { found }));
            assert_eq!(speak(version, &[]).await, Err(MachineTlsFault::AnotherKey { found }));
        }
    }

    #[tokio::test]
    async fn a_machine_that_speaks_no_tls_or_nothing_is_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connect = || TcpStream::connect(addr);
        let (client, server) = tokio::join!(connect(), listener.accept());
        let (mut server, _) = server.unwrap();
        server.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let plain = MachineStream::connect(client.unwrap(), addr.ip(), None, &[pin()], GENEROUS).await;
        assert_eq!(plain.err(), Some(MachineTlsFault::Handshake));
        let (client, _silent) = tokio::join!(connect(), listener.accept());
        let within = Duration::from_millis(20);
        let silent = MachineStream::connect(client.unwrap(), addr.ip(), None, &[pin()], within).await;
        assert_eq!(silent.err(), Some(MachineTlsFault::TimedOut));
    }

    #[test]
    fn a_machine_is_asked_for_by_its_host_or_by_nothing() {
        let ip: IpAddr = "10.0.0.9".parse().unwrap();
        assert_eq!(name(ip, Some("panel.local:8443")), ServerName::try_from("panel.local").unwrap());
        assert_eq!(name(ip, Some("panel.local")), ServerName::try_from("panel.local").unwrap());
        assert_eq!(name(ip, Some("[fd00::1]:443")), ServerName::from(ip));
        assert_eq!(name(ip, None), ServerName::from(ip));
    }
}
