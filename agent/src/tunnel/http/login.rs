//! Logs the gate in at a machine that asks for user and password, with a secret of the device that no client ever sees.

use data_encoding::BASE64;
use hyper::header::HeaderValue;
use zeroize::Zeroizing;

use postern_protocol::policy::{Credential, Scheme};
use postern_protocol::wire::registry::Failure;

use crate::secrets::Secrets;

/// `Authorization` of Basic (RFC 7617).
///
/// # Errors
/// [`Failure::Secret`] when there is no secret, or it does not open; [`Failure::Unsupported`] for another scheme.
pub(super) fn basic(credential: &Credential, secrets: &Secrets) -> Result<HeaderValue, Failure> {
    if credential.scheme != Scheme::Basic {
        return Err(Failure::Unsupported);
    }
    let password = secrets.reveal(&credential.secret).map_err(|error| {
        tracing::debug!(%error, "a machine's password is missing");
        Failure::Secret
    })?;
    let pair = Zeroizing::new([credential.user.as_str().as_bytes(), b":", password.reveal()].concat());
    let text = Zeroizing::new(format!("Basic {}", BASE64.encode(&pair)));
    let mut value = HeaderValue::from_str(&text).map_err(|_| Failure::Internal)?;
    value.set_sensitive(true);
    Ok(value)
}
