//! Single sign-on: an identity provider says who somebody is (OpenID Connect Core 1.0), and the hub gives a pass for it.
//!
//! 1. [`SignOn`] begins it: what for, and how the person will get to the provider.
//! 2. [`SignOnBegun`] says where the person has to go. In a browser on this computer the provider leads back to a listener on
//!    loopback (RFC 8252, section 7.3); elsewhere the person types a code there (RFC 8628).
//! 3. The code that the provider hands out goes to the hub with [`Finish`](super::hub::HubRequest::FinishSignOn); or the hub hears
//!    from the provider itself, and is [waited](super::hub::HubRequest::AwaitSignOn) for.
//!
//! What was begun with one key is finished with that key. The provider's tokens never leave the hub.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use super::hub::Only;
use super::text::Text;
use crate::limits;
use crate::name::Name;
use crate::time::UnixTime;

/// One sign-on that is under way: 16 random bytes, known to the hub, to who began it, and to the browser.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SignOnId([u8; 16]);

impl SignOnId {
    /// An id of these bytes, which must be random.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The `state` of OAuth 2.0 (RFC 6749, section 4.1.1): 32 hexadecimal digits.
    #[must_use]
    pub fn state(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }
}

impl fmt::Debug for SignOnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Half of it would be a hint.
        f.write_str("SignOnId(redacted)")
    }
}

/// Begins a sign-on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignOn {
    /// The provider's name at the hub; the only one that there is, if none is named.
    pub provider: Option<Name>,
    /// What for.
    pub purpose: SignOnPurpose,
    /// How the person gets to the provider.
    pub way: SignOnWay,
}

/// What a sign-on is for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignOnPurpose {
    /// To sign in as whom the identity is linked to.
    Login {
        /// What the pass shall be good for at most.
        only: Only,
    },
    /// To accept an invitation: the identity is linked to the user who was invited.
    Accept {
        /// The secret of the invitation.
        secret: [u8; 16],
    },
    /// To prove a second factor again.
    StepUp {
        /// The pass of the sign-in, as the hub sealed it; at most [`limits::PASS_BYTES`] of payload.
        pass: Vec<u8>,
    },
}

impl fmt::Debug for SignOnPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login { .. } => "Login",
            Self::Accept { .. } => "Accept(redacted)",
            Self::StepUp { .. } => "StepUp(redacted)",
        })
    }
}

/// How a person gets to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignOnWay {
    /// A browser on this computer, led back to `http://127.0.0.1:PORT/`.
    Browser {
        /// Where it listens.
        port: u16,
    },
    /// A browser anywhere else, in which a code is typed (RFC 8628). Whoever is talked into typing somebody else's code signs that
    /// one in, so the hub offers it only for providers for which it was allowed.
    Elsewhere,
}

/// A sign-on has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignOnBegun {
    /// Which.
    pub id: SignOnId,
    /// The provider's name at the hub.
    pub provider: Name,
    /// Where the person goes.
    pub url: Url,
    /// What the person types there, if anything.
    pub code: Option<Text>,
    /// The port to listen at on loopback; another one than was asked for where the provider knows one alone.
    pub port: u16,
    /// When it is over.
    pub lapses: UnixTime,
}

/// A code that an identity provider has handed out; prints `redacted` and is wiped. 1 to [`limits::SIGN_ON_CODE_BYTES`] bytes.
#[derive(Clone, PartialEq, Eq, Deserialize, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
#[serde(try_from = "String")]
pub struct SignOnCode(String);

impl SignOnCode {
    /// The secret text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SignOnCode {
    type Error = SignOnFault;

    fn try_from(text: String) -> Result<Self, SignOnFault> {
        let fits = (1..=limits::SIGN_ON_CODE_BYTES).contains(&text.len());
        if fits { Ok(Self(text)) } else { Err(SignOnFault::Code) }
    }
}

impl Serialize for SignOnCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Debug for SignOnCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

/// Where a browser is sent: `http` or `https`, printable ASCII, at most [`limits::URL_BYTES`]. It is shown to a person and handed to
/// a browser, so nothing else gets as far as that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Url(Box<str>);

impl Url {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Url {
    type Error = SignOnFault;

    fn try_from(text: String) -> Result<Self, SignOnFault> {
        let is_web = text.starts_with("https://") || text.starts_with("http://");
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_web && is_plain && text.len() <= limits::URL_BYTES {
            Ok(Self(text.into()))
        } else {
            Err(SignOnFault::Url)
        }
    }
}

impl From<Url> for String {
    fn from(url: Url) -> Self {
        url.0.into()
    }
}

/// What is no part of a sign-on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignOnFault {
    /// Empty or too long.
    #[error("a provider's code must have 1 to 2800 bytes")]
    Code,
    /// No address for a browser.
    #[error("a URL must be http or https, in printable ASCII, and have at most 2048 bytes")]
    Url,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_of_the_web_and_holds_nothing_that_a_terminal_or_a_shell_acts_on() {
        for good in ["https://login.example.com/authorize?a=b&c=%20", "http://127.0.0.1:4593/"] {
            assert_eq!(Url::try_from(good.to_owned()).unwrap().as_str(), good);
        }
        let long = format!("https://{}", "a".repeat(limits::URL_BYTES));
        for bad in [
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https://a b",
            "https://a\u{1b}[2J",
            "https://\u{e9}",
            &long,
        ] {
            assert_eq!(Url::try_from(bad.to_owned()), Err(SignOnFault::Url), "{bad}");
        }
    }

    #[test]
    fn what_is_secret_is_not_printed() {
        let code = SignOnCode::try_from("s3cret".to_owned()).unwrap();
        let accept = SignOnPurpose::Accept { secret: [7; 16] };
        let id = SignOnId::new([0xab; 16]);
        let printed = format!("{code:?} {accept:?} {id:?}");
        assert!(
            !printed.contains("s3cret") && !printed.contains('7') && !printed.contains("ab,"),
            "{printed}"
        );
        assert_eq!(id.state(), "ab".repeat(16));
        assert_eq!(SignOnCode::try_from(String::new()), Err(SignOnFault::Code));
        let long = "x".repeat(limits::SIGN_ON_CODE_BYTES + 1);
        assert_eq!(SignOnCode::try_from(long), Err(SignOnFault::Code));
    }
}
