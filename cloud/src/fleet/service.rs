//! Reads services: where they are and how many may use them. What they let through is read by `rules`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use postern_protocol::name::Name;
use postern_protocol::policy::{Kind, Target};

use super::reader::{Reader, Section};
use super::tree::Node;
use crate::model::{Service, Template};

impl Reader<'_> {
    /// The services of a device or machine.
    pub(super) fn services(&mut self, section: &mut Section) -> BTreeMap<Name, Service> {
        let mut services = BTreeMap::new();
        let Some(node) = section.take("service") else { return services };
        let path = section.key("service");
        for (name, node) in self.named(&path, node) {
            if let Some(service) = self.service(format!("{path}.{name}"), node) {
                services.insert(name, service);
            }
        }
        services
    }

    fn service(&mut self, path: String, node: Node) -> Option<Service> {
        let mut section = self.section(path, node)?;
        let s = &mut section;
        let kind = self.word(s, "kind", &Kind::ALL, Kind::word);
        let target = self.target(s);
        let tunnels = self.count(s, "tunnels").unwrap_or(Service::TUNNELS);
        let idle_s = self.seconds(s, "idle").unwrap_or(Service::IDLE_S);
        let duration_s = self.seconds(s, "duration").unwrap_or(Service::DURATION_S);
        let view_only = self.flag(s, "view-only");
        let rules = self.rules(s, kind);
        let pages = self.pages(s);
        self.finish(section);
        Some(Service { target: target?, tunnels, idle_s, duration_s, view_only, rules: rules?, pages })
    }

    /// The services of a machine model.
    pub(super) fn templates(&mut self, section: &mut Section) -> BTreeMap<Name, Template> {
        let mut templates = BTreeMap::new();
        for (name, mut section) in self.sections(section, "service") {
            let s = &mut section;
            let kind = self.word(s, "kind", &Kind::ALL, Kind::word);
            let port = self.count(s, "port");
            if port.is_none() {
                self.missing(s, "port", "a TCP port");
            }
            let tunnels = self.count(s, "tunnels").unwrap_or(Service::TUNNELS);
            let idle_s = self.seconds(s, "idle").unwrap_or(Service::IDLE_S);
            let duration_s = self.seconds(s, "duration").unwrap_or(Service::DURATION_S);
            let view_only = self.flag(s, "view-only");
            let rules = self.rules(s, kind);
            let pages = self.pages(s);
            self.finish(section);
            if let (Some(rules), Some(port)) = (rules, port) {
                templates
                    .insert(name, Template { port, tunnels, idle_s, duration_s, view_only, rules, pages });
            }
        }
        templates
    }

    /// The address of a machine.
    pub(super) fn address(&mut self, section: &mut Section, key: &'static str) -> Option<IpAddr> {
        let node = section.take(key)?;
        let path = section.key(key);
        let (at, text) = self.text(&path, node, EXPECTED_ADDRESS)?;
        let address: Option<IpAddr> = text.parse().ok();
        let usable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast() && ip.to_canonical() == *ip;
        let address = address.filter(usable);
        if address.is_none() {
            self.bad_value(at, path, &text, EXPECTED_ADDRESS);
        }
        address
    }

    fn target(&mut self, section: &mut Section) -> Option<Target> {
        let Some(node) = section.take("target") else {
            self.missing(section, "target", EXPECTED_TARGET);
            return None;
        };
        let path = section.key("target");
        let (at, text) = self.text(&path, node, EXPECTED_TARGET)?;
        let target: Option<SocketAddr> = text.parse().ok();
        // Zones and flow labels of IPv6 would not survive the way to the device.
        let plain = |address: &SocketAddr| match address {
            SocketAddr::V4(_) => true,
            // One address must not have two spellings: devices refuse the mapped one.
            SocketAddr::V6(v6) => {
                v6.scope_id() == 0 && v6.flowinfo() == 0 && v6.ip().to_ipv4_mapped().is_none()
            }
        };
        let usable = |address: &SocketAddr| {
            address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
        };
        let target = target.filter(plain).filter(usable);
        if target.is_none() {
            self.bad_value(at, path, &text, EXPECTED_TARGET);
        }
        target.map(|address| Target { ip: address.ip(), port: address.port() })
    }
}

const EXPECTED_TARGET: &str = "an address and port on the machine network as text, such as \"192.168.10.20:5900\" (names are not resolved)";
const EXPECTED_ADDRESS: &str =
    "an address on the machine network as text, such as \"192.168.10.20\" (names are not resolved)";
