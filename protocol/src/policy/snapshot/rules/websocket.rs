//! Rules of a WebSocket service.

use serde::{Deserialize, Serialize};

use super::super::form::{FormFault, ascending, count};
use super::upstream::is_authority;
use super::{Credential, Pattern, Upstream, impossible, is_plain};
use crate::limits;
use crate::wire::text::Text;

/// Rules of a WebSocket service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WebsocketRules {
    /// How the gate speaks to the machine.
    pub upstream: Upstream,
    /// Where a connection may be opened, ascending; empty allows none. At most [`limits::WEBSOCKET_PATHS`].
    pub paths: Vec<Pattern>,
    /// The only subprotocols that may be asked for, ascending; empty: none. At most [`limits::SUBPROTOCOLS`].
    pub subprotocols: Vec<Text>,
    /// What the machine is told as `Origin`; none is the upstream's own.
    pub origin: Option<Text>,
    /// What logs the gate in at the machine, if it asks.
    pub credential: Option<Credential>,
    /// Bytes of payload in one frame; 1 to [`limits::WEBSOCKET_BYTES`].
    pub frame_bytes: u32,
    /// Bytes of one message, over all of its frames; not below `frame_bytes`, at most [`limits::WEBSOCKET_BYTES`].
    pub message_bytes: u32,
}

impl WebsocketRules {
    /// Bytes of a frame where nobody says otherwise.
    pub const FRAME_BYTES: u32 = 256 * 1024;
    /// Bytes of a message where nobody says otherwise.
    pub const MESSAGE_BYTES: u32 = 1024 * 1024;

    /// Every path of a plain service, without subprotocols.
    #[must_use]
    pub fn whole() -> Self {
        Self {
            upstream: Upstream::PLAIN,
            paths: vec![Pattern::everything()],
            subprotocols: Vec::new(),
            origin: None,
            credential: None,
            frame_bytes: Self::FRAME_BYTES,
            message_bytes: Self::MESSAGE_BYTES,
        }
    }

    pub(super) fn check_form(&self) -> Result<(), FormFault> {
        self.upstream.check_form()?;
        count("paths", self.paths.len(), limits::WEBSOCKET_PATHS)?;
        ascending("paths", &self.paths, |a, b| a < b)?;
        count("subprotocols", self.subprotocols.len(), limits::SUBPROTOCOLS)?;
        ascending("subprotocols", &self.subprotocols, |a, b| a < b)?;
        if !self.subprotocols.iter().all(|name| is_token(name.as_str())) {
            return Err(impossible("subprotocols"));
        }
        if self.origin.as_ref().is_some_and(|origin| !is_origin(origin.as_str())) {
            return Err(impossible("origin"));
        }
        self.credential.as_ref().map_or(Ok(()), Credential::check_form)?;
        if self.frame_bytes == 0 || self.frame_bytes > self.message_bytes {
            return Err(impossible("frame_bytes"));
        }
        if !usize::try_from(self.message_bytes).is_ok_and(|bytes| bytes <= limits::WEBSOCKET_BYTES) {
            return Err(impossible("message_bytes"));
        }
        Ok(())
    }
}

/// A token (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && is_plain(
            text,
            &['"', '(', ')', ',', '/', ':', ';', '<', '=', '>', '?', '@', '[', '\\', ']', '{', '}'],
        )
}

/// The origin of a page (RFC 6454, section 6.2) that came over HTTP, or that of a page that has none.
fn is_origin(text: &str) -> bool {
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    text == "null" || authority.is_some_and(is_authority)
}
