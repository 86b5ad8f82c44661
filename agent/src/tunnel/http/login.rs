//! Logs the gate in at a machine that asks for user and password, with a secret of the device that no client ever sees.
//!
//! 1. Basic (RFC 7617) goes with each request; Digest (RFC 7616) as soon as the machine has said with what.
//! 2. What the client itself sends in this place never reaches the machine, and what the machine demands never the client.
//! 3. Before a login is sent its turn is waited for: one that the machine has refused rests.
//! 4. A challenge is answered once. The answer to the second one is a page that names the secret.

use std::sync::{Mutex, MutexGuard, PoisonError};

use data_encoding::BASE64;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use zeroize::Zeroizing;

use postern_protocol::gate::http::digest::{Challenge, Session};
use postern_protocol::name::Name;
use postern_protocol::policy::{Credential, Scheme};
use postern_protocol::wire::registry::Failure;

use crate::secrets::Secrets;

/// How the gate logs in on one tunnel.
#[derive(Debug, Default)]
pub(super) struct Login(Mutex<Option<Session>>);

/// Nonces that the tunnels of one connection have left, for those that come after them: a browser opens and closes many. Each is used by one
/// tunnel at a time, so that no machine sees its count go back.
#[derive(Debug, Default)]
pub(in crate::tunnel) struct Nonces(Mutex<Vec<(Name, Session)>>);

impl Nonces {
    /// The login of a tunnel to a service.
    pub(super) fn begin(&self, service: &Name) -> Login {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = left.iter().rposition(|(name, _)| name == service);
        Login(Mutex::new(found.map(|position| left.remove(position).1)))
    }

    /// Leaves what a tunnel ends with.
    pub(super) fn end(&self, service: &Name, login: Login) {
        let Some(session) = login.0.into_inner().unwrap_or_else(PoisonError::into_inner) else { return };
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if left.len() == NONCES {
            left.remove(0);
        }
        left.push((service.clone(), session));
    }
}

impl Login {
    /// Puts the gate's login in place of whatever the client sends. Returns whether there is one: before a machine has said
    /// something there is none with Digest.
    ///
    /// # Errors
    /// [`Failure::Secret`] when there is no secret, or it does not open; [`Failure::Login`] for one that cannot be sent.
    pub(super) fn prepare(
        &self,
        request: &mut Parts,
        credential: &Credential,
        secrets: &Secrets,
    ) -> Result<bool, Failure> {
        request.headers.remove(AUTHORIZATION);
        let password = secrets.reveal(&credential.secret).map_err(|error| {
            tracing::debug!(%error, "a machine's password is missing");
            Failure::Secret
        })?;
        let (user, password) = (credential.user.as_str(), password.reveal());
        let header = match credential.scheme {
            Scheme::Basic => {
                let pair = Zeroizing::new([user.as_bytes(), b":", password].concat());
                Zeroizing::new(format!("Basic {}", BASE64.encode(&pair)).into_bytes())
            }
            Scheme::Digest => {
                let Some(session) = &mut *self.session() else { return Ok(false) };
                let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
                let header = session.authorization((user, password), (request.method.as_str(), target));
                Zeroizing::new(header.ok_or(Failure::Login)?)
            }
        };
        let mut value = HeaderValue::from_bytes(&header).map_err(|_| Failure::Login)?;
        value.set_sensitive(true);
        request.headers.insert(AUTHORIZATION, value);
        Ok(true)
    }

    /// Whether a machine demands a login that it may get when it is asked once more.
    ///
    /// # Errors
    /// [`Failure::Internal`] without random numbers.
    pub(super) fn may_ask_again<B>(
        &self,
        credential: &Credential,
        answer: &Response<B>,
    ) -> Result<bool, Failure> {
        if answer.status() != StatusCode::UNAUTHORIZED || credential.scheme != Scheme::Digest {
            return Ok(false);
        }
        let values = answer.headers().get_all(WWW_AUTHENTICATE).iter();
        let Some(challenge) = Challenge::strongest(values.map(HeaderValue::as_bytes)) else {
            return Ok(false);
        };
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| Failure::Internal)?;
        *self.session() = Some(Session::new(challenge, random));
        Ok(true)
    }

    /// Takes what an answer says about the next login.
    pub(super) fn learn(&self, answer: &HeaderMap) {
        if let (Some(session), Some(info)) = (&mut *self.session(), answer.get(AUTHENTICATION_INFO)) {
            session.learn(info.as_bytes());
        }
    }

    /// Begins anew with the next request: the machine did not take the last login.
    pub(super) fn forget(&self) {
        *self.session() = None;
    }

    fn session(&self) -> MutexGuard<'_, Option<Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a body of this length is kept until the machine has taken the login.
pub(super) fn keeps(credential: &Credential, length: u64) -> bool {
    credential.scheme == Scheme::Digest && length <= KEPT_BYTES
}

/// Nonces that are left on one connection; a browser asks on six tunnels at once.
const NONCES: usize = 16;
/// What a login adds to an answer (RFC 7615).
pub(super) const AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("authentication-info");
/// Bytes of a body that is kept: forms and settings, not firmware.
pub(super) const KEPT_BYTES: u64 = 64 * 1024;
