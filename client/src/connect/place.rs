//! Where a service is found on this computer, in the form that its programs take.
//!
//! An HTTP service gets a host name of its own below `localhost` (RFC 6761): cookies belong to a host and not to a
//! port, so two HMIs on plain 127.0.0.1 would share their sessions.

use std::net::SocketAddr;

use postern_protocol::name::Name;
use postern_protocol::policy::Kind;

/// An address for programs, and how else it may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The URL.
    pub(crate) url: String,
    /// The listener.
    pub(crate) addr: SocketAddr,
    /// A command that opens it.
    pub(super) hint: Option<String>,
}

impl Place {
    /// Names the place of a service that is carried by the listener at `addr`.
    pub(super) fn of(kind: Kind, device: &Name, service: &Name, addr: SocketAddr) -> Self {
        let url = match kind {
            Kind::Http => format!("http://{}.{}.localhost:{}/", host(service), host(device), addr.port()),
            Kind::Websocket | Kind::Vnc | Kind::Vpn => return Self::at(kind, addr),
        };
        Self { url, addr, hint: None }
    }

    /// Names the place of something that has no name of its own.
    pub(crate) fn at(kind: Kind, addr: SocketAddr) -> Self {
        let (url, hint) = match kind {
            Kind::Http => (format!("http://{addr}/"), None),
            Kind::Websocket => (format!("ws://{addr}/"), None),
            Kind::Vnc => (format!("vnc://{addr}"), Some(format!("vncviewer {}::{}", addr.ip(), addr.port()))),
            // One flow of bytes; what it carries is between program and machine.
            Kind::Vpn => (format!("tcp://{addr}"), None),
        };
        Self { url, addr, hint }
    }
}

/// A name as one label of a host name (RFC 1123): letters, digits and inner hyphens, at most 63.
fn host(name: &Name) -> String {
    let hyphened: String =
        name.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    hyphened.chars().take(63).collect::<String>().trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(kind: Kind, device: &str, service: &str) -> Place {
        let addr = "127.0.0.1:4242".parse().unwrap();
        Place::of(kind, &device.parse().unwrap(), &service.parse().unwrap(), addr)
    }

    #[test]
    fn each_kind_gets_the_form_that_its_programs_take() {
        assert_eq!(place(Kind::Http, "press-7", "hmi").url, "http://hmi.press-7.localhost:4242/");
        assert_eq!(place(Kind::Websocket, "press-7", "live").url, "ws://127.0.0.1:4242/");
        let vnc = place(Kind::Vnc, "press-7", "panel");
        assert_eq!(vnc.url, "vnc://127.0.0.1:4242");
        assert_eq!(vnc.hint.as_deref(), Some("vncviewer 127.0.0.1::4242"));
    }

    #[test]
    fn names_that_are_no_host_names_are_made_to_fit() {
        let url = place(Kind::Http, "line_2.plc-", "web.").url;
        assert_eq!(url, "http://web.line-2-plc.localhost:4242/");
    }
}
