//! How the gate speaks to a web server on the machine.

use serde::{Deserialize, Serialize};

use super::super::form::{FormFault, ascending, count};
use super::{impossible, is_plain};
use crate::limits;
use crate::wire::text::Text;

/// How the gate speaks to a web server on the machine. Where it is says the [`Target`](super::super::Target).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Upstream {
    /// What it is told as `Host`; none is the target's address. Visible ASCII that can stand in a URL's authority.
    pub host: Option<Text>,
    /// None is plain HTTP. Otherwise TLS with one of these keys and no other: SHA-256 of the certificate's
    /// `SubjectPublicKeyInfo` (RFC 7469), ascending, 1 to [`limits::PINS`].
    pub tls: Option<Vec<[u8; 32]>>,
}

impl Upstream {
    /// Plain HTTP, with the target's address as `Host`.
    pub const PLAIN: Self = Self { host: None, tls: None };

    pub(super) fn check_form(&self) -> Result<(), FormFault> {
        if let Some(host) = &self.host
            && !is_authority(host.as_str())
        {
            return Err(impossible("host"));
        }
        match &self.tls {
            None => Ok(()),
            // TLS to whoever answers is worse than none: people believe in it.
            Some(pins) if pins.is_empty() => Err(impossible("tls")),
            Some(pins) => {
                count("tls", pins.len(), limits::PINS)?;
                ascending("tls", pins, |a, b| a < b)
            }
        }
    }
}

/// Whether text can stand as a host, with or without a port. A space or line end would begin another header, and an `@` or `/`
/// would name another server than the one that is meant.
pub(super) fn is_authority(text: &str) -> bool {
    !text.is_empty()
        && is_plain(text, &['/', '\\', '@', '?', '#', '%', '"', '<', '>', '^', '`', '{', '|', '}', ',', ';'])
}
