//! What a service speaks, and the rules of that kind.

mod http;
mod upstream;
mod vpn;
mod websocket;

use serde::{Deserialize, Serialize};

use super::form::FormFault;
use crate::name::Name;

pub use self::http::{
    Allow, Credential, HttpRules, Method, Methods, NoMethod, PathLog, Pattern, PatternFault, Scheme,
};
pub use self::upstream::Upstream;
pub use self::vpn::{
    Carries, Destination, FlowEnd, ModbusRules, ModbusSpan, ModbusTable, Network, Ports, Profile, Protocol,
    UnitSpan, VpnRules,
};
pub use self::websocket::WebsocketRules;

/// What a service speaks. New kinds are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Flows to destinations on the machine network.
    Vpn,
    /// Remote framebuffer (RFC 6143).
    Vnc,
    /// HTTP/1.1 (RFC 9112).
    Http,
    /// WebSocket (RFC 6455); never implied by HTTP.
    Websocket,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Vpn, Self::Vnc, Self::Http, Self::Websocket];

    /// The word in files, logs and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Vpn => "vpn",
            Self::Vnc => "vnc",
            Self::Http => "http",
            Self::Websocket => "websocket",
        }
    }
}

/// What a service at one place speaks, with what its gate on the device lets through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rules {
    /// [`Kind::Vnc`].
    Vnc(VncRules),
    /// [`Kind::Http`].
    Http(HttpRules),
    /// [`Kind::Websocket`].
    Websocket(WebsocketRules),
}

impl Rules {
    /// All that a kind can do: every path and method, a seat for everybody, no password and no subprotocol. None of a VPN,
    /// which has destinations in place of rules.
    #[must_use]
    pub fn whole(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Vpn => None,
            Kind::Vnc => Some(Self::Vnc(VncRules { password: None, writers: u16::MAX })),
            Kind::Http => Some(Self::Http(HttpRules::whole())),
            Kind::Websocket => Some(Self::Websocket(WebsocketRules::whole())),
        }
    }

    /// What the service speaks.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Vnc(_) => Kind::Vnc,
            Self::Http(_) => Kind::Http,
            Self::Websocket(_) => Kind::Websocket,
        }
    }

    /// The secret of the device with which the machine is entered, if it takes one.
    #[must_use]
    pub fn secret(&self) -> Option<&Name> {
        match self {
            Self::Vnc(rules) => rules.password.as_ref(),
            Self::Http(rules) => rules.credential.as_ref().map(|login| &login.secret),
            Self::Websocket(rules) => rules.credential.as_ref().map(|login| &login.secret),
        }
    }

    /// Checks order, counts and values.
    ///
    /// # Errors
    /// The first [`FormFault`].
    pub fn check_form(&self) -> Result<(), FormFault> {
        match self {
            // The number of seats may be zero: then everybody looks.
            Self::Vnc(VncRules { .. }) => Ok(()),
            Self::Http(rules) => rules.check_form(),
            Self::Websocket(rules) => rules.check_form(),
        }
    }
}

/// Rules of a screen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VncRules {
    /// The name of the secret that opens the screen; without one the machine must ask for none. A secret of this name
    /// that is not there, or does not open, opens nothing.
    pub password: Option<Name>,
    /// Tunnels that may touch at the same time; with zero everybody looks.
    pub writers: u16,
}

/// Whether text is visible ASCII, without spaces, and has none of these characters.
fn is_plain(text: &str, without: &[char]) -> bool {
    text.chars().all(|c| c.is_ascii_graphic() && !without.contains(&c))
}

fn impossible(field: &'static str) -> FormFault {
    FormFault::Value { list: "services", field }
}

#[cfg(test)]
mod tests;
