//! TLS around frames, so that a firewall that lets only TLS pass lets them pass. It protects nothing: QUIC inside does.
//!
//! 1. The dialling end takes any certificate, also that of a box which reads all TLS of a factory: what it reads is QUIC.
//!    [`OuterStream::certificate`] says which one came, so that such a box can be named.
//! 2. TLS 1.3, and 1.2 where a box speaks nothing newer. No name is sent and nothing is resumed.
//! 3. The listening end has a certificate of its own making ([`OuterAcceptor`]).

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use postern_protocol::trust::Digest;
use postern_protocol::wire::text::Text;

/// TLS over a connection to or from a relay or hub.
#[derive(Debug)]
pub struct OuterStream<S> {
    tls: TlsStream<S>,
    certificate: Option<Digest>,
    issuer: Option<Text>,
}

/// Lets peers in that speak TLS, whoever they are.
#[derive(Clone)]
pub struct OuterAcceptor(TlsAcceptor);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum OuterFault {
    /// It is not spoken there, or not through what is in between.
    #[error("no TLS: {0}")]
    Handshake(#[source] io::Error),
    /// No answer in time.
    #[error("no TLS within {within:?}")]
    TimedOut {
        /// The time it had.
        within: Duration,
    },
}

impl<S: AsyncRead + AsyncWrite + Unpin> OuterStream<S> {
    /// Speaks TLS on a connection towards `addr`.
    ///
    /// # Errors
    /// [`OuterFault`].
    pub async fn connect(stream: S, addr: SocketAddr, within: Duration) -> Result<Self, OuterFault> {
        let seen = Arc::new(AnyCertificate::default());
        let connector = TlsConnector::from(client(&seen));
        let connecting = connector.connect(ServerName::IpAddress(addr.ip().into()), stream);
        let connected = tokio::time::timeout(within, connecting).await;
        let tls =
            connected.map_err(|_late| OuterFault::TimedOut { within })?.map_err(OuterFault::Handshake)?;
        let shown = seen.shown.get();
        let (certificate, issuer) = (shown.map(|shown| shown.0), shown.and_then(|shown| shown.1.clone()));
        Ok(Self { tls: tls.into(), certificate, issuer })
    }

    /// Who has made that certificate, as it says itself; none where it names nobody, as a hub's own.
    #[must_use]
    pub const fn issuer(&self) -> Option<&Text> {
        self.issuer.as_ref()
    }

    /// SHA-256 of the certificate that the other side has shown; none at the listening end.
    #[must_use]
    pub const fn certificate(&self) -> Option<Digest> {
        self.certificate
    }
}

impl OuterAcceptor {
    /// A listening end with a certificate in DER (RFC 5280) and its key in PKCS #8.
    ///
    /// # Errors
    /// When they do not belong together.
    pub fn new(certificate: Vec<u8>, key: Vec<u8>) -> Result<Self, Error> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(certificate)], key)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Lets one peer in.
    ///
    /// # Errors
    /// [`OuterFault`].
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        within: Duration,
    ) -> Result<OuterStream<S>, OuterFault> {
        let accepted = tokio::time::timeout(within, self.0.accept(stream)).await;
        let tls =
            accepted.map_err(|_late| OuterFault::TimedOut { within })?.map_err(OuterFault::Handshake)?;
        Ok(OuterStream { tls: tls.into(), certificate: None, issuer: None })
    }
}

impl std::fmt::Debug for OuterAcceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OuterAcceptor")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for OuterStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for OuterStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tls).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_shutdown(cx)
    }
}

fn client(seen: &Arc<AnyCertificate>) -> Arc<ClientConfig> {
    #[expect(clippy::expect_used, reason = "fails only for a provider without suites of these versions")]
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&seen.provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("ring has suites of both versions")
        .dangerous() // rustls' word for any verifier of one's own
        .with_custom_certificate_verifier(Arc::clone(seen) as _)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Arc::new(config)
}

/// Believes everybody, and remembers whom.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
    shown: OnceLock<(Digest, Option<Text>)>,
}

impl Default for AnyCertificate {
    fn default() -> Self {
        Self { provider: Arc::new(ring::default_provider()), shown: OnceLock::new() }
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let _first = self.shown.set((Digest::of(&[end_entity]), issuer(end_entity)));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The first name in a certificate in DER, which is its issuer's: the common name, or else the organisation (RFC 5280, RFC 4519). It is
/// shown to people and decides nothing, so nothing else of the certificate is read.
fn issuer(certificate: &[u8]) -> Option<Text> {
    [COMMON_NAME, ORGANISATION].into_iter().find_map(|kind| {
        let at = certificate.windows(kind.len()).position(|bytes| bytes == kind)?;
        let value = certificate.get(at + kind.len()..)?;
        // Its type, its length in one byte, and the text.
        let (_kind, length) = (value.first()?, usize::from(*value.get(1)?));
        let text = value.get(2..).and_then(|rest| rest.get(..length)).filter(|_| length < 0x80)?;
        let text = Text::clean(std::str::from_utf8(text).ok()?);
        (!text.as_str().is_empty()).then_some(text)
    })
}

const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
const ORGANISATION: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x0a];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_certificate_is_told_and_what_is_cut_short_is_none() {
        let name =
            |kind: &[u8], text: &[u8]| [kind, &[0x0c, u8::try_from(text.len()).unwrap()], text].concat();
        let whole =
            [&name(ORGANISATION, b"Acme")[..], &name(COMMON_NAME, b"Acme CA"), &name(COMMON_NAME, b"hub")];
        let whole = whole.concat();
        assert_eq!(issuer(&whole).unwrap().as_str(), "Acme CA");
        assert_eq!(issuer(&name(ORGANISATION, b"Acme")).unwrap().as_str(), "Acme");
        for none in
            [&b""[..], COMMON_NAME, &[COMMON_NAME, &[0x0c, 9, b'x']].concat(), &name(COMMON_NAME, b"")]
        {
            assert_eq!(issuer(none), None);
        }
    }
}
