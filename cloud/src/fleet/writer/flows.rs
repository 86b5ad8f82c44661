//! Where a service leads, and the destinations of a VPN; what has a short form is written in it.

use std::net::SocketAddr;

use postern_protocol::policy::snapshot::rules::ModbusSpan;
use postern_protocol::policy::{Carries, Destination, ModbusRules, Ports, Profile, Reach};

use super::super::flows::READ_ONLY;
use super::Writer;
use super::text::{list, quoted};
use crate::model::Offer;

impl Writer {
    pub(super) fn reach(&mut self, reach: &Reach) {
        match reach {
            Reach::Place { target, .. } => self.text("target", SocketAddr::from(*target)),
            Reach::Flows(rules) => match rules.only_tcp() {
                Some(target) => self.text("target", SocketAddr::from(target)),
                None => {
                    let entry = |one: &Destination| entry(&one.to_string(), one.profile());
                    let entries: Vec<String> = rules.destinations.iter().map(entry).collect();
                    self.line("allow", &list(&entries));
                }
            },
        }
    }

    pub(super) fn offer(&mut self, offer: &Offer) {
        match offer {
            Offer::Port { port, .. } => self.line("port", &port.to_string()),
            Offer::Flows(carried) => {
                let carries: Vec<&Carries> = carried.iter().collect();
                if let [Carries::Tcp { ports: Ports { first, last }, profile: None }] = carries.as_slice()
                    && first == last
                {
                    return self.line("port", &first.to_string());
                }
                let entry = |one: &&Carries| match one {
                    Carries::Tcp { ports, profile } => entry(&format!("tcp {ports}"), profile.as_ref()),
                    Carries::Udp { ports } => entry(&format!("udp {ports}"), None),
                    Carries::Icmp => entry("icmp", None),
                };
                let entries: Vec<String> = carries.iter().map(entry).collect();
                self.line("allow", &list(&entries));
            }
        }
    }
}

fn entry(flow: &str, profile: Option<&Profile>) -> String {
    match profile {
        None => quoted(flow),
        Some(Profile::Modbus(rules)) => format!("{{ flow = {}, modbus = {} }}", quoted(flow), modbus(rules)),
    }
}

fn modbus(rules: &ModbusRules) -> String {
    let whole = ModbusRules::read_only();
    if *rules == whole {
        return quoted(READ_ONLY);
    }
    let units = rules.units.iter().map(|span| range(span.first.into(), span.last.into()));
    let lists: [(&str, bool, Vec<String>); 3] = [
        ("units", rules.units != whole.units, units.collect()),
        ("read", rules.reads != whole.reads, rules.reads.iter().map(span).collect()),
        ("write", !rules.writes.is_empty(), rules.writes.iter().map(span).collect()),
    ];
    let parts = lists.into_iter().filter(|(_, written, _)| *written).map(|(key, _, texts)| {
        let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
        format!("{key} = [{}]", texts.join(", "))
    });
    format!("{{ {} }}", parts.collect::<Vec<_>>().join(", "))
}

fn span(span: &ModbusSpan) -> String {
    if (span.first, span.last) == (0, u16::MAX) {
        return span.table.word().to_owned();
    }
    format!("{} {}", span.table.word(), range(span.first, span.last))
}

fn range(first: u16, last: u16) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}
