//! Reads services: where they are and how many may use them. What they let through is read by `rules`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use postern_protocol::name::Name;
use postern_protocol::policy::{Carries, Kind, Ports, Reach, Target, VpnRules};

use super::reader::{Reader, Section};
use super::tree::Node;
use crate::model::{Offer, Service, Template};

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
        let tunnels = self.count(s, "tunnels").unwrap_or(Service::TUNNELS);
        let idle_s = self.seconds(s, "idle").unwrap_or(Service::IDLE_S);
        let duration_s = self.seconds(s, "duration").unwrap_or(Service::DURATION_S);
        let view_only = self.flag(s, "view-only");
        let reach = self.reach(s, kind);
        let pages = self.pages(s);
        self.finish(section);
        Some(Service { tunnels, idle_s, duration_s, view_only, reach: reach?, pages })
    }

    /// The services of a machine model.
    pub(super) fn templates(&mut self, section: &mut Section) -> BTreeMap<Name, Template> {
        let mut templates = BTreeMap::new();
        for (name, mut section) in self.sections(section, "service") {
            let s = &mut section;
            let kind = self.word(s, "kind", &Kind::ALL, Kind::word);
            let tunnels = self.count(s, "tunnels").unwrap_or(Service::TUNNELS);
            let idle_s = self.seconds(s, "idle").unwrap_or(Service::IDLE_S);
            let duration_s = self.seconds(s, "duration").unwrap_or(Service::DURATION_S);
            let view_only = self.flag(s, "view-only");
            let offer = self.offer(s, kind);
            let pages = self.pages(s);
            self.finish(section);
            if let Some(offer) = offer {
                templates.insert(name, Template { tunnels, idle_s, duration_s, view_only, offer, pages });
            }
        }
        templates
    }

    /// Where a service leads: to the one place that `target` says, or in a VPN to the destinations that `allow` lists.
    fn reach(&mut self, s: &mut Section, kind: Option<Kind>) -> Option<Reach> {
        if kind != Some(Kind::Vpn) {
            let (target, rules) = (self.target(s), self.rules(s, kind));
            return Some(Reach::Place { target: target?, rules: rules? });
        }
        if s.has("allow") {
            let rules = self.destinations(s);
            self.either(s, "target");
            return rules.map(Reach::Flows);
        }
        self.target(s).map(|target| Reach::Flows(VpnRules::tcp(target)))
    }

    /// The same for the services of a machine model, without the address.
    fn offer(&mut self, s: &mut Section, kind: Option<Kind>) -> Option<Offer> {
        if kind == Some(Kind::Vpn) && s.has("allow") {
            let carried = self.carried(s);
            self.either(s, "port");
            return carried.map(Offer::Flows);
        }
        let port = self.count(s, "port");
        if port.is_none() {
            self.missing(s, "port", "a TCP port");
        }
        if kind == Some(Kind::Vpn) {
            let one = Carries::Tcp { ports: Ports::only(port?), profile: None };
            return Some(Offer::Flows(BTreeSet::from([one])));
        }
        let rules = self.rules(s, kind);
        Some(Offer::Port { port: port?, rules: rules? })
    }

    /// Complains of the short form where `allow` stands.
    fn either(&mut self, s: &mut Section, short: &'static str) {
        if let Some(node) = s.take(short) {
            let expected = "no such key beside `allow`, which says where flows may go";
            self.bad_value(node.at, s.key(short), short, expected);
        }
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
