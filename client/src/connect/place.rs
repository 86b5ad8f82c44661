//! Where a service is found on this computer, in the form that its programs take.
//!
//! An HTTP service gets a host name of its own below `localhost` (RFC 6761), which browsers and curl resolve by
//! themselves: cookies belong to a host and not to a port, so two HMIs on plain 127.0.0.1 would share their sessions. The
//! programs of a WebSocket service have no cookies, and few resolve such names: they get the plain address.

use std::net::SocketAddr;

use postern_protocol::name::Name;
use postern_protocol::policy::Kind;

use crate::connect::listeners::fnv1a;

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

    /// The place of a web service, whose URL holds a key.
    pub(super) const fn web(addr: SocketAddr, url: String) -> Self {
        Self { url, addr, hint: None }
    }
}

/// Host and port of a web service's own origin.
pub(super) fn authority(kind: Kind, device: &Name, service: &Name, addr: SocketAddr) -> String {
    match kind {
        Kind::Websocket => addr.to_string(),
        Kind::Http | Kind::Vnc | Kind::Vpn => {
            format!("{}.{}.localhost:{}", host(service), host(device), addr.port())
        }
    }
}

/// A name as one label of a host name (RFC 1123): letters, digits and inner hyphens, at most 63. A name that is one stays
/// as it is; of another one, what does not fit becomes a hyphen, and eight digits of its hash keep it apart from others.
fn host(name: &Name) -> String {
    let text = name.as_str();
    let fits = text.len() <= 63
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !text.ends_with('-')
        // Browsers take two hyphens at the third place for an encoded name of another script.
        && text.get(2..4) != Some("--");
    if fits {
        return text.to_owned();
    }
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let hyphened: String = words.collect::<Vec<_>>().join("-").chars().take(54).collect();
    format!("{}-{:08x}", hyphened.trim_end_matches('-'), fnv1a(text.as_bytes()) & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: Kind, device: &str, service: &str) -> String {
        let addr = "127.0.0.1:4242".parse().unwrap();
        authority(kind, &device.parse().unwrap(), &service.parse().unwrap(), addr)
    }

    #[test]
    fn each_kind_gets_the_form_that_its_programs_take() {
        assert_eq!(of(Kind::Http, "press-7", "hmi"), "hmi.press-7.localhost:4242");
        assert_eq!(of(Kind::Websocket, "press-7", "live"), "127.0.0.1:4242");
        let vnc = Place::at(Kind::Vnc, "127.0.0.1:4242".parse().unwrap());
        assert_eq!(vnc.url, "vnc://127.0.0.1:4242");
        assert_eq!(vnc.hint.as_deref(), Some("vncviewer 127.0.0.1::4242"));
    }

    #[test]
    fn names_that_are_no_host_names_are_made_to_fit_and_stay_apart() {
        assert_eq!(of(Kind::Http, "line_2.plc-", "web."), "web-19ea74ed.line-2-plc-d942bb88.localhost:4242");
        assert_eq!(host(&"xn--a".parse().unwrap()), "xn-a-d95e0ee4");
        let long = format!("a{}", "-b".repeat(31));
        assert_eq!(host(&long.parse().unwrap()), long);
        let same: Vec<String> =
            ["a_b", "a.b", "a-b"].iter().map(|name| host(&name.parse().unwrap())).collect();
        assert_eq!(same[2], "a-b");
        assert!(same[0] != same[1] && same[0].starts_with("a-b-") && same[1].starts_with("a-b-"), "{same:?}");
        let longest = host(&"_".repeat(63).replacen('_', "a", 1).parse().unwrap());
        assert!(longest.len() <= 63 && longest.starts_with("a-"), "{longest}");
    }
}
