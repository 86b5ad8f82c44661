//! The capabilities of the Tight security type, as far as they decide how to log in.

/// Capabilities in one list; real servers have up to five tunnels and authentications.
pub(super) const CAPABILITIES: u32 = 64;
/// Bytes of one capability.
pub(super) const CAPABILITY_BYTES: u32 = 16;

/// What one list of capabilities offers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offer {
    /// A tunnel that is none.
    pub(super) no_tunnel: bool,
    /// No authentication.
    pub(super) none: bool,
    /// VNC authentication.
    pub(super) vnc: bool,
}

impl Offer {
    /// Adds a tunnel. Siemens panels have `NOTUNNEL` and forget to list it beside their own, as noVNC found out.
    pub(super) fn tunnel(&mut self, capability: &[u8; 16]) {
        self.no_tunnel |= matches!(capability, b"\0\0\0\0TGHTNOTUNNEL" | b"\0\0\0\x01SICRSCHANNEL");
    }

    /// Adds an authentication. Code, vendor and name must all fit: a code alone may mean something else elsewhere.
    pub(super) fn authentication(&mut self, capability: &[u8; 16]) {
        self.none |= capability == b"\0\0\0\x01STDVNOAUTH__";
        self.vnc |= capability == b"\0\0\0\x02STDVVNCAUTH_";
    }
}
