//! The token of a request (RFC 6750), and how one is spelled.

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use data_encoding::{BASE32_NOPAD, DecodeError};
use utoipa::Modify;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use postern_protocol::trust::Digest;

use super::problem::Problem;

/// Random bytes in a token.
pub const SECRET_BYTES: usize = 32;

/// The digest of the token that a request brought. Whether it is worth anything is looked up with the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bearer(pub(super) Digest);

/// Says in the document that requests bring a token.
pub(super) struct Scheme;

/// A token as people and programs carry it; its beginning lets scanners of source code find one that was left there.
#[must_use]
pub fn spell(secret: &[u8; SECRET_BYTES]) -> String {
    format!("{PREFIX}{}", BASE32_NOPAD.encode(secret).to_ascii_lowercase())
}

/// What is stored of a token.
///
/// # Errors
/// When this is not how a token is spelled.
pub fn digest(token: &str) -> Result<Digest, DecodeError> {
    let text = token.strip_prefix(PREFIX).unwrap_or_default().to_ascii_uppercase();
    BASE32_NOPAD.decode(text.as_bytes()).map(|secret| Digest::of(&[&secret]))
}

impl<S: Sync> FromRequestParts<S> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        token.and_then(|token| digest(token).ok()).map(Self).ok_or(Problem::NO_TOKEN)
    }
}

impl Modify for Scheme {
    fn modify(&self, document: &mut OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

const PREFIX: &str = "postern_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_spelled_and_nothing_else_is_one() {
        let token = spell(&[7; SECRET_BYTES]);
        assert_eq!(token.len(), PREFIX.len() + 52);
        assert_eq!(digest(&token).unwrap(), Digest::of(&[&[7; SECRET_BYTES]]));
        assert!(
            digest(&token.replace(PREFIX, "")).is_ok_and(|other| other != Digest::of(&[&[7; SECRET_BYTES]]))
        );
        assert!(digest("postern_1").is_err());
    }
}
