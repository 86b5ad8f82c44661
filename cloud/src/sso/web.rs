//! How providers are spoken to: HTTPS, one request a connection, bounded in time and size, without redirects.

use std::pin::Pin;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::Uri;
use hyper::body::Bytes;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::config::Fault;

/// Asks over HTTPS.
#[derive(Clone, Debug)]
pub(super) struct Web {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebError {
    /// Where the provider's own document leads.
    #[error("`{0}` is neither https nor on this machine")]
    Insecure(Uri),
    /// No connection, no trust in its certificate, or no HTTP.
    #[error("{0}")]
    Client(String),
    /// In [`WITHIN`].
    #[error("no answer within {} s", WITHIN.as_secs())]
    Late,
    /// More than [`MOST`].
    #[error("the answer has more than {} KiB", MOST / 1024)]
    Large,
}

impl Web {
    /// Trusts these authorities, or those of the system where none are given.
    pub(super) fn new(roots: &[CertificateDer<'static>]) -> Result<Self, Fault> {
        let provider = rustls::crypto::ring::default_provider().into();
        let failed = |error: rustls::Error| Fault::NoAuthorities(std::io::Error::other(error));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?;
        let config = if roots.is_empty() {
            builder.with_native_roots().map_err(Fault::NoAuthorities)?.with_no_client_auth()
        } else {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(roots.iter().cloned());
            builder.with_root_certificates(store).with_no_client_auth()
        };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        let mut client = Client::builder(TokioExecutor::new());
        // People sign in now and then: nothing is kept open for the next one.
        client.pool_max_idle_per_host(0);
        Ok(Self { client: client.build(connector) })
    }

    /// Asks once. A redirect is an answer like any other, and no good one: following it would let a provider's answer choose whom
    /// the hub talks to.
    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, WebError> {
        if !is_safe(&request.uri().to_string()) {
            return Err(WebError::Insecure(request.uri().clone()));
        }
        let asking = async {
            let answer = self.client.request(request.map(|body| Full::new(Bytes::from(body)))).await;
            let (head, body) = answer.map_err(|error| WebError::Client(whole(&error)))?.into_parts();
            let body = Limited::new(body, MOST).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    WebError::Large
                } else {
                    WebError::Client(whole(&*error))
                }
            })?;
            Ok(HttpResponse::from_parts(head, body.to_bytes().into()))
        };
        tokio::time::timeout(WITHIN, asking).await.unwrap_or(Err(WebError::Late))
    }
}

impl<'c> AsyncHttpClient<'c> for Web {
    type Error = WebError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, WebError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}

/// Whether a URL is encrypted, or does not leave this machine.
pub(super) fn is_safe(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return false };
    match (url.scheme_str(), url.host()) {
        (Some("https"), Some(_)) => true,
        (Some("http"), Some(host)) => {
            let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
            host == "localhost" || literal.is_ok_and(|address| address.is_loopback())
        }
        _ => false,
    }
}

/// An error with its causes: the first one alone says that "the client failed".
pub(super) fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_said = cause.to_string();
        if !said.contains(&cause_said) {
            said = format!("{said}: {cause_said}");
        }
        next = cause.source();
    }
    said
}

/// How long one answer may take.
const WITHIN: Duration = Duration::from_secs(10);
/// Bytes of an answer: documents of providers have a few KiB.
const MOST: usize = 256 * 1024;
