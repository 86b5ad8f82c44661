//! Reads where the flows of a VPN may go: `"tcp 192.168.0.0/24 502,4840-4850"`, and what a gate reads in them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use postern_protocol::policy::snapshot::rules::{ModbusSpan, ModbusTable, UnitSpan};
use postern_protocol::policy::{
    Carries, Destination, ModbusRules, Network, Ports, Profile, Protocol, VpnRules,
};

use super::reader::{Reader, Section};
use super::tree::{Node, Value};

impl Reader<'_> {
    /// The destinations of a VPN; none where they cannot be read.
    pub(super) fn destinations(&mut self, s: &mut Section) -> Option<VpnRules> {
        let found = self.flows(s, EXPECTED_FLOW, |words| {
            let (protocol, words) = words.split_first()?;
            let (net, ports) = words.split_first()?;
            let net = network(net)?;
            let carries = carries(protocol, ports)?;
            Some(carries.into_iter().map(|carries| Destination { net, carries }).collect())
        })?;
        let mut destinations: Vec<Destination> = found
            .into_iter()
            .flat_map(|(destinations, profile)| {
                destinations.into_iter().map(move |Destination { net, carries }| Destination {
                    net,
                    carries: with_profile(carries, profile.as_ref()),
                })
            })
            .collect();
        destinations.sort_unstable();
        destinations.dedup();
        Some(VpnRules { destinations })
    }

    /// What is carried to each machine of a model; none where it cannot be read.
    pub(super) fn carried(&mut self, s: &mut Section) -> Option<BTreeSet<Carries>> {
        let found = self.flows(s, EXPECTED_OFFER, |words| {
            let (protocol, ports) = words.split_first()?;
            carries(protocol, ports)
        })?;
        let carried = found.into_iter().flat_map(|(carried, profile)| {
            carried.into_iter().map(move |one| with_profile(one, profile.as_ref()))
        });
        Some(carried.collect())
    }

    /// The entries of `allow`, each with the profile that stands beside it.
    fn flows<T: Ord + Clone>(
        &mut self,
        s: &mut Section,
        expected: &'static str,
        parse: impl Fn(&[&str]) -> Option<Vec<T>>,
    ) -> Option<BTreeSet<(Vec<T>, Option<Profile>)>> {
        let (path, at, before) = (s.key("allow"), s.at, self.complaint_count());
        let found = self.list(s, "allow", |reader, path, node| {
            let at = node.at;
            let mut key = path.to_owned();
            let (text, profile) = if let Value::Table(_) = node.value {
                let mut section = reader.section(path.to_owned(), node)?;
                let flow = section.take("flow");
                if flow.is_none() {
                    reader.missing(&section, "flow", expected);
                }
                let profile = reader.modbus(&mut section);
                key = section.key("flow");
                reader.finish(section);
                (reader.text(&key, flow?, expected)?.1, profile)
            } else {
                (reader.text(path, node, expected)?.1, None)
            };
            let words: Vec<&str> = text.split_ascii_whitespace().collect();
            let parsed = parse(&words);
            let is_tcp = words.first() == Some(&Protocol::Tcp.word());
            if parsed.is_none() {
                reader.bad_value(at, key, &text, expected);
            } else if profile.is_some() && !is_tcp {
                reader.bad_value(at, path, &text, "a tcp flow beside `modbus`");
            }
            Some(((parsed?, profile), text))
        });
        if found.is_empty() && self.complaint_count() == before {
            self.bad_value(at, path, "an empty list", expected);
        }
        (!found.is_empty()).then_some(found)
    }

    /// `modbus = "read-only"`, or a table of units and of what is read and written.
    fn modbus(&mut self, s: &mut Section) -> Option<Profile> {
        let node = s.take("modbus")?;
        let path = s.key("modbus");
        if let Value::Text(text) = &node.value {
            if text != READ_ONLY {
                self.bad_value(node.at, path, text, EXPECTED_MODBUS);
            }
            return Some(Profile::Modbus(ModbusRules::read_only()));
        }
        let mut section = self.section(path, node)?;
        let whole = ModbusRules::read_only();
        let units = section.has("units").then(|| self.list(&mut section, "units", Self::units));
        let reads = section.has("read").then(|| self.list(&mut section, "read", Self::registers));
        let writes = self.list(&mut section, "write", Self::registers);
        self.finish(section);
        Some(Profile::Modbus(ModbusRules {
            units: units.map_or(whole.units, |units| units.into_iter().collect()),
            reads: reads.map_or(whole.reads, |reads| reads.into_iter().collect()),
            writes: writes.into_iter().collect(),
        }))
    }

    fn units(&mut self, key: &str, node: Node) -> Option<(UnitSpan, String)> {
        let (at, text) = self.text(key, node, EXPECTED_UNITS)?;
        let span = || {
            let (first, last) = range(&text)?;
            Some(UnitSpan { first: first.try_into().ok()?, last: last.try_into().ok()? })
        };
        let span = span();
        if span.is_none() {
            self.bad_value(at, key, &text, EXPECTED_UNITS);
        }
        Some((span?, text))
    }

    fn registers(&mut self, key: &str, node: Node) -> Option<(ModbusSpan, String)> {
        let (at, text) = self.text(key, node, EXPECTED_SPAN)?;
        let span = || {
            let mut words = text.split_ascii_whitespace();
            let word = words.next()?;
            let table = ModbusTable::ALL.into_iter().find(|table| table.word() == word)?;
            let (first, last) = words.next().map_or(Some((0, u16::MAX)), range)?;
            words.next().is_none().then_some(ModbusSpan { table, first, last })
        };
        let span = span();
        if span.is_none() {
            self.bad_value(at, key, &text, EXPECTED_SPAN);
        }
        Some((span?, text))
    }
}

fn with_profile(carries: Carries, profile: Option<&Profile>) -> Carries {
    match carries {
        Carries::Tcp { ports, .. } => Carries::Tcp { ports, profile: profile.cloned() },
        other @ (Carries::Udp { .. } | Carries::Icmp) => other,
    }
}

/// `192.168.0.10` or `192.168.0.0/24`.
fn network(text: &str) -> Option<Network> {
    let network = match text.split_once('/') {
        Some((ip, prefix)) => Network { ip: ip.parse().ok()?, prefix: decimal(prefix)?.try_into().ok()? },
        None => Network::only(text.parse::<IpAddr>().ok()?),
    };
    network.is_in_form().then_some(network)
}

/// A protocol and the ports behind it: `tcp` with `502,4840-4850`, and `icmp` with nothing.
fn carries(protocol: &str, ports: &[&str]) -> Option<Vec<Carries>> {
    let protocol = Protocol::ALL.into_iter().find(|one| one.word() == protocol)?;
    match (protocol, ports) {
        (Protocol::Icmp, []) => Some(vec![Carries::Icmp]),
        (Protocol::Tcp | Protocol::Udp, [list]) => {
            let carries = |ports| match protocol {
                Protocol::Udp => Carries::Udp { ports },
                Protocol::Tcp | Protocol::Icmp => Carries::Tcp { ports, profile: None },
            };
            let ports = |text| {
                let (first, last) = range(text)?;
                (first > 0).then(|| carries(Ports { first, last }))
            };
            list.split(',').map(ports).collect()
        }
        (Protocol::Tcp | Protocol::Udp | Protocol::Icmp, _) => None,
    }
}

/// `502` or `4840-4850`.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (decimal(first)?, decimal(last)?);
    (first <= last).then_some((first, last))
}

/// Digits alone: `+5` would be a second spelling.
fn decimal(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// What stands for [`ModbusRules::read_only`].
pub(super) const READ_ONLY: &str = "read-only";
const EXPECTED_FLOW: &str = "\"PROTOCOL ADDRESS PORTS\", such as \"tcp 192.168.0.10 102\", \"udp 192.168.0.0/24 161,4840-4850\" or \"icmp 192.168.0.0/24\", alone or as `flow` of a table";
const EXPECTED_OFFER: &str = "\"PROTOCOL PORTS\", such as \"tcp 102\", \"udp 161,4840-4850\" or \"icmp\", alone or as `flow` of a table";
const EXPECTED_MODBUS: &str = "\"read-only\" or a table of `units`, `read` and `write`";
const EXPECTED_UNITS: &str = "unit identifiers such as \"1\" or \"1-16\"";
const EXPECTED_SPAN: &str = "a table and its addresses from 0, such as \"input-registers 100-199\" or \"coils\" (discrete-inputs, holding-registers)";
