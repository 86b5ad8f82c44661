//! One identity provider: what it publishes about itself, and what it says of somebody.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod,
    CoreDeviceAuthorizationResponse, CoreGrantType, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType, CoreTokenResponse,
};
use openidconnect::{
    AdditionalProviderMetadata, AuthType, AuthenticationContextClass, AuthenticationFlow, AuthorizationCode,
    ClientId, CsrfToken, DeviceAuthorizationUrl, DeviceCodeErrorResponse, DeviceCodeErrorResponseType,
    DiscoveryError, EndpointMaybeSet, EndpointNotSet, EndpointSet, ErrorResponse, Nonce, PkceCodeChallenge,
    PkceCodeVerifier, ProviderMetadata, RedirectUrl, RequestTokenError, Scope, TokenResponse as _,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use postern_protocol::time::UnixTime;
use postern_protocol::wire::sign_on::SignOnId;

use super::config::{ConfigError, Fault, Settings};
use super::evidence::Evidence;
use super::web::{Web, WebError, whole};

/// An identity provider that is believed.
#[derive(Debug)]
pub struct Provider {
    settings: Settings,
    web: Web,
    /// What it said of itself, and when.
    known: Mutex<Option<(Instant, Metadata)>>,
    /// Held by whoever asks it. Whoever finds what it said new enough does not wait for that.
    asking: tokio::sync::Mutex<()>,
}

/// Why a provider says nothing that counts.
#[derive(Debug, thiserror::Error)]
pub enum SsoError {
    /// No answer, or none that could be read.
    #[error("it cannot be asked: {0}")]
    Unreachable(String),
    /// An answer that is not believed.
    #[error("its answer is not believed: {0}")]
    Unbelievable(String),
    /// It said no: to the person, or to the code.
    #[error("it has refused: {0}")]
    Refused(String),
    /// The person took too long.
    #[error("nobody came in time")]
    Late,
    /// It cannot do what was asked for.
    #[error("it offers no sign-in with a browser elsewhere (device authorization, RFC 8628)")]
    NotElsewhere,
}

/// What has to be known when the browser comes back.
#[derive(Debug)]
pub(crate) struct Waiting {
    redirect: RedirectUrl,
    verifier: PkceCodeVerifier,
    nonce: Nonce,
}

/// What the person shall prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Who they are, at most that many seconds ago.
    Within(u64),
    /// Everything once more, now.
    Again,
}

type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

type Metadata = ProviderMetadata<
    Extra,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// What RFC 8628, section 4 adds to what a provider publishes.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Extra {
    device_authorization_endpoint: Option<DeviceAuthorizationUrl>,
}

impl AdditionalProviderMetadata for Extra {}

impl Provider {
    pub(super) fn new(settings: Settings) -> Result<Self, ConfigError> {
        let web = Web::new(&settings.roots).map_err(|fault: Fault| ConfigError::Provider {
            path: "sso.toml".into(),
            name: settings.name.clone(),
            fault,
        })?;
        Ok(Self { settings, web, known: Mutex::default(), asking: tokio::sync::Mutex::default() })
    }

    /// What the installation says of it.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks it for what it publishes about itself, and says whether it offers sign-ins with a browser elsewhere.
    ///
    /// # Errors
    /// An [`SsoError`].
    pub async fn try_out(&self) -> Result<bool, SsoError> {
        let metadata = self.metadata(Duration::ZERO).await?;
        Ok(metadata.additional_metadata().device_authorization_endpoint.is_some())
    }

    /// Where a browser on the user's computer goes, and what has to be kept until it comes back to `port`.
    pub(crate) async fn authorize(
        &self,
        id: &SignOnId,
        port: u16,
        demand: Demand,
    ) -> Result<(String, Waiting), SsoError> {
        let client = self.client(&self.metadata(FRESH).await?);
        let redirect = RedirectUrl::new(format!("http://127.0.0.1:{port}/"))
            .map_err(|error| SsoError::Unbelievable(error.to_string()))?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let state = id.state();
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let mut request = client
            .authorize_url(flow, move || CsrfToken::new(state), Nonce::new_random)
            .add_scopes(self.settings.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(challenge)
            .set_redirect_uri(Cow::Borrowed(&redirect));
        // Asked for an age, a provider must say when the person proved it (OpenID Connect Core 1.0, section 2, `auth_time`).
        request = match if self.settings.always_prompt { Demand::Again } else { demand } {
            Demand::Within(secs) => request.set_max_age(Duration::from_secs(secs)),
            Demand::Again => {
                request = request.set_max_age(Duration::from_secs(AGAIN_S)).add_prompt(CoreAuthPrompt::Login);
                let classes = self.settings.second_factor.acr.iter().cloned();
                classes
                    .map(AuthenticationContextClass::new)
                    .fold(request, |it, class| it.add_auth_context_value(class))
            }
        };
        let (url, _, nonce) = request.url();
        Ok((url.into(), Waiting { redirect, verifier, nonce }))
    }

    /// What the code is worth that came back.
    pub(crate) async fn redeem(
        &self,
        waiting: Waiting,
        code: &str,
        now: UnixTime,
    ) -> Result<Evidence, SsoError> {
        let Waiting { redirect, verifier, nonce } = waiting;
        let metadata = self.metadata(FRESH).await?;
        let client = self.client(&metadata);
        let request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|error| SsoError::Unbelievable(error.to_string()))?
            .set_pkce_verifier(verifier)
            .set_redirect_uri(Cow::Borrowed(&redirect));
        let answer = request.request_async(&self.web).await.map_err(|error| unanswered(error, |_| false))?;
        self.believe(&answer, Some(nonce), now).await
    }

    /// Begins a sign-in with a browser elsewhere.
    pub(crate) async fn begin_elsewhere(&self) -> Result<CoreDeviceAuthorizationResponse, SsoError> {
        let metadata = self.metadata(FRESH).await?;
        let place = metadata.additional_metadata().device_authorization_endpoint.clone();
        let client =
            self.client(&metadata).set_device_authorization_url(place.ok_or(SsoError::NotElsewhere)?);
        let request =
            client.exchange_device_code().add_scopes(self.settings.scopes.iter().cloned().map(Scope::new));
        request.request_async(&self.web).await.map_err(|error| unanswered(error, |_| false))
    }

    /// Asks until the person has signed in there, or was refused, or it is too late.
    pub(crate) async fn await_elsewhere(
        &self,
        begun: &CoreDeviceAuthorizationResponse,
        clock: fn() -> UnixTime,
    ) -> Result<Evidence, SsoError> {
        let client = self.client(&self.metadata(FRESH).await?);
        let request = client
            .exchange_device_access_token(begun)
            .map_err(|error| SsoError::Unbelievable(error.to_string()))?;
        let expired =
            |said: &DeviceCodeErrorResponse| *said.error() == DeviceCodeErrorResponseType::ExpiredToken;
        let answer = request.request_async(&self.web, tokio::time::sleep, None).await;
        let answer = answer.map_err(|error| unanswered(error, expired))?;
        // There is no nonce in this flow: the answer came straight from the provider, for the device code that it gave to nobody else.
        self.believe(&answer, None, clock()).await
    }

    /// Checks an ID token (OpenID Connect Core 1.0, section 3.1.3.7). A signature that none of the known keys has made is looked at
    /// once more with the keys of this moment: providers change theirs.
    async fn believe(
        &self,
        answer: &CoreTokenResponse,
        nonce: Option<Nonce>,
        now: UnixTime,
    ) -> Result<Evidence, SsoError> {
        let metadata = self.metadata(FRESH).await?;
        match self.check(answer, nonce.as_ref(), &metadata, now) {
            Err(SsoError::Unbelievable(_)) => {
                let metadata = self.metadata(LEAST).await?;
                self.check(answer, nonce.as_ref(), &metadata, now)
            }
            checked => checked,
        }
    }

    fn check(
        &self,
        answer: &CoreTokenResponse,
        nonce: Option<&Nonce>,
        metadata: &Metadata,
        now: UnixTime,
    ) -> Result<Evidence, SsoError> {
        let token =
            answer.id_token().ok_or_else(|| SsoError::Unbelievable("it holds no ID token".to_owned()))?;
        let client = self.client(metadata);
        // Not with the client's secret, which proves nothing about who made the token, and never without a signature.
        let offered = metadata.id_token_signing_alg_values_supported();
        let time = chrono::DateTime::from_timestamp(i64::try_from(now.as_secs()).unwrap_or(i64::MAX), 0);
        let time = time.unwrap_or_default();
        let verifier = client
            .id_token_verifier()
            .set_allowed_algs(SIGNATURES.iter().filter(|one| offered.contains(one)).cloned())
            .set_time_fn(move || time);
        let said = token
            .claims(&verifier, |said: Option<&Nonce>| match nonce {
                Some(nonce) if said.is_none_or(|said| said.secret() != nonce.secret()) => {
                    Err("the nonce is another one".to_owned())
                }
                Some(_) | None => Ok(()),
            })
            .map_err(|error| SsoError::Unbelievable(whole(&error)))?;
        // Some write 0 where they do not know.
        let at = said.auth_time().map(|at| at.timestamp()).and_then(|secs| u64::try_from(secs).ok());
        let at = at.filter(|secs| *secs > 0);
        Ok(Evidence {
            subject: said.subject().to_string(),
            methods: said.auth_method_refs().into_iter().flatten().map(|method| method.to_string()).collect(),
            class: said.auth_context_ref().map(|class| class.to_string()),
            at: at.map(UnixTime::from_secs),
        })
    }

    fn client(&self, metadata: &Metadata) -> Client {
        let Settings { client_id, secret, .. } = &self.settings;
        let client = CoreClient::from_provider_metadata(
            metadata.clone(),
            ClientId::new(client_id.clone()),
            secret.clone(),
        );
        let takes_basic = metadata
            .token_endpoint_auth_methods_supported()
            .is_none_or(|methods| methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
        client.set_auth_type(if takes_basic { AuthType::BasicAuth } else { AuthType::RequestBody })
    }

    /// What the provider publishes about itself, not older than `age`. Asked for by one at a time.
    async fn metadata(&self, age: Duration) -> Result<Metadata, SsoError> {
        if let Some(metadata) = self.known_since(age) {
            return Ok(metadata);
        }
        let _one_asks = self.asking.lock().await;
        // Somebody else has asked meanwhile.
        if let Some(metadata) = self.known_since(age) {
            return Ok(metadata);
        }
        let found = Metadata::discover_async(self.settings.issuer.clone(), &self.web).await;
        let metadata = found.map_err(|error| {
            // Too many kinds to name, and more to come.
            if let DiscoveryError::Validation(said) = error {
                SsoError::Unbelievable(said)
            } else {
                SsoError::Unreachable(whole(&error))
            }
        })?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), metadata.clone()));
        Ok(metadata)
    }

    /// What it has published, if that was asked for not longer than `age` ago.
    fn known_since(&self, age: Duration) -> Option<Metadata> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(at, _)| at.elapsed() < age).map(|(_, metadata)| metadata.clone())
    }
}

impl Waiting {
    /// For tests of what does not look into it.
    #[cfg(test)]
    pub(super) fn nothing() -> Self {
        Self {
            redirect: RedirectUrl::new("http://127.0.0.1:1/".to_owned()).unwrap(),
            verifier: PkceCodeVerifier::new("x".repeat(43)),
            nonce: Nonce::new(String::new()),
        }
    }
}

/// Why there is no token; `is_late` says which refusals mean that nobody came.
fn unanswered<E: ErrorResponse + 'static>(
    error: RequestTokenError<WebError, E>,
    is_late: impl FnOnce(&E) -> bool,
) -> SsoError {
    match error {
        RequestTokenError::ServerResponse(said) if is_late(&said) => SsoError::Late,
        RequestTokenError::ServerResponse(said) => SsoError::Refused(said.to_string()),
        RequestTokenError::Parse(..) => SsoError::Unbelievable(whole(&error)),
        RequestTokenError::Request(_) | RequestTokenError::Other(_) => SsoError::Unreachable(whole(&error)),
    }
}

/// Signatures that only the provider can have made (RFC 7518, section 3.1; RFC 8037).
const SIGNATURES: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];
/// How long what a provider publishes is taken as it is.
const FRESH: Duration = Duration::from_secs(600);
/// How often it is asked again at most for keys that are not known.
const LEAST: Duration = Duration::from_secs(10);
/// Seconds that a person has for proving everything once more.
const AGAIN_S: u64 = 60;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use rustls::pki_types::CertificateDer;
    use serde_json::json;

    use super::super::config::SecondFactor;
    use super::*;

    fn provider() -> Provider {
        let settings = Settings {
            name: "corp".parse().unwrap(),
            issuer: openidconnect::IssuerUrl::new("https://login.example.com".to_owned()).unwrap(),
            client_id: "postern".to_owned(),
            secret: None,
            accounts: BTreeSet::new(),
            scopes: Vec::new(),
            roots: vec![CertificateDer::from(vec![0])],
            elsewhere: false,
            loopback_port: None,
            always_prompt: false,
            second_factor: SecondFactor::default(),
        };
        Provider::new(settings).unwrap()
    }

    fn metadata() -> Metadata {
        let published = json!({
            "issuer": "https://login.example.com", "authorization_endpoint": "https://login.example.com/a",
            "jwks_uri": "https://login.example.com/k", "response_types_supported": ["code"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
        });
        serde_json::from_value(published).unwrap()
    }

    #[tokio::test]
    async fn whoever_finds_what_a_provider_said_new_enough_does_not_wait_for_whoever_asks_it() {
        let provider = provider();
        *provider.known.lock().unwrap() = Some((Instant::now(), metadata()));
        // Somebody asks a provider that answers to nobody.
        let _asking = provider.asking.lock().await;
        let poll = |age| {
            let found = pin!(provider.metadata(age)).poll(&mut Context::from_waker(Waker::noop()));
            matches!(found, Poll::Ready(Ok(_)))
        };
        assert!(poll(FRESH));
        assert!(!poll(Duration::ZERO), "what is too old waits for its turn");
    }
}
