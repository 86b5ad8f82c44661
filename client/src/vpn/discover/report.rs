//! What a discovery found: a listing for people, one value for programs, and what was left out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use postern_protocol::limits;
use postern_protocol::wire::discovery::{Sighting, Totals, Unasked, Why};

use crate::screen::Screen;

/// What was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report<'a> {
    pub(super) device: &'a str,
    pub(super) service: &'a str,
    /// Whether hosts were asked.
    pub(super) is_scan: bool,
    pub(super) machines: &'a BTreeMap<IpAddr, Sighting>,
    pub(super) totals: &'a Totals,
}

impl Report<'_> {
    /// Prints it.
    pub(super) fn show(self, screen: &Screen) {
        screen.answer(&self.answer());
        let (header, columns) = if self.is_scan { (&HEADER[..], 5) } else { (&HEADER[..3], 3) };
        let row = |machine: &Sighting| row(machine).into_iter().take(columns).collect();
        screen.list(header, &self.machines.values().map(row).collect::<Vec<Vec<String>>>());
        for line in self.notes() {
            screen.note(&format!("{}/{}: {line}", self.device, self.service));
        }
    }

    fn answer(&self) -> Answer<'_> {
        let machine = |machine: &Sighting| Machine {
            address: machine.ip,
            mac: machine.mac.map(|mac| mac.to_string()),
            state: machine.presence.word(),
            echo: machine.echo,
            open: machine.open.iter().map(|port| Port { port: *port, name: name(*port) }).collect(),
        };
        let left = |unasked: &Unasked| Left {
            destination: unasked.destination.to_string(),
            why: unasked.why.word(),
        };
        Answer {
            device: self.device,
            service: self.service,
            scan: self.is_scan,
            machines: self.machines.values().map(machine).collect(),
            probes: self.totals.probes,
            unasked: self.totals.unasked.iter().map(left).collect(),
        }
    }

    /// What a person must know beside the listing.
    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.totals.unasked.iter().map(left_out).collect();
        if self.machines.is_empty() {
            notes.push(match self.is_scan {
                true => "no machine that you may reach has answered".to_owned(),
                false => "the device knows no machine that you may reach; `--scan` asks each granted host"
                    .to_owned(),
            });
        }
        notes
    }
}

fn row(machine: &Sighting) -> Vec<String> {
    let or_none = |word: Option<String>| word.unwrap_or_else(|| "-".to_owned());
    let port = |port: &u16| name(*port).map_or_else(|| port.to_string(), |name| format!("{port} {name}"));
    let open: Vec<String> = machine.open.iter().map(port).collect();
    vec![
        machine.ip.to_string(),
        or_none(machine.mac.map(|mac| mac.to_string())),
        machine.presence.word().to_owned(),
        or_none(machine.echo.map(|answered| if answered { "yes" } else { "no" }.to_owned())),
        or_none((!open.is_empty()).then(|| open.join(", "))),
    ]
}

/// What was left out, and what to do about it.
fn left_out(Unasked { destination, why }: &Unasked) -> String {
    match why {
        Why::Wide => format!(
            "`{destination}` has more addresses than a scan walks ({}): only machines that the device knew were asked; \
             a VPN with a narrower network is scanned whole",
            limits::WALKED
        ),
        Why::Probes => format!(
            "not all of `{destination}` was asked: a scan asks {} questions; a VPN with fewer ports or a narrower network \
             is scanned whole",
            limits::PROBES
        ),
        Why::Time => format!(
            "not all of `{destination}` was asked: a scan ends after a minute; scan again, machines that are known by \
             then are asked first"
        ),
        Why::Unaskable if destination.ports().is_some() => {
            format!("`{destination}` was not asked: there is no question that every machine answers over UDP")
        }
        Why::Unaskable => {
            format!(
                "`{destination}` was not asked: the device may not send echoes (net.ipv4.ping_group_range)"
            )
        }
    }
}

/// What usually listens at a port.
fn name(port: u16) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == port).map(|(_, name)| *name)
}

#[derive(Debug, PartialEq, Serialize)]
struct Answer<'a> {
    device: &'a str,
    service: &'a str,
    scan: bool,
    machines: Vec<Machine>,
    probes: u16,
    unasked: Vec<Left>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Machine {
    address: IpAddr,
    mac: Option<String>,
    state: &'static str,
    echo: Option<bool>,
    open: Vec<Port>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Port {
    port: u16,
    name: Option<&'static str>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Left {
    destination: String,
    why: &'static str,
}

const HEADER: [&str; 5] = ["ADDRESS", "MAC", "STATE", "ECHO", "OPEN PORTS"];

/// Names of the ports that a device asks first.
const NAMES: [(u16, &str); 24] = [
    (102, "S7"),
    (502, "Modbus TCP"),
    (4840, "OPC UA"),
    (44_818, "EtherNet/IP"),
    (11_740, "CODESYS"),
    (1217, "CODESYS gateway"),
    (2455, "CODESYS V2"),
    (48_898, "ADS"),
    (9600, "FINS"),
    (5007, "MELSEC"),
    (18_245, "GE SRTP"),
    (20_000, "DNP3"),
    (2404, "IEC 104"),
    (1962, "PC Worx"),
    (789, "Crimson"),
    (80, "HTTP"),
    (443, "HTTPS"),
    (5900, "VNC"),
    (22, "SSH"),
    (8080, "HTTP"),
    (8443, "HTTPS"),
    (23, "Telnet"),
    (21, "FTP"),
    (3389, "RDP"),
];

#[cfg(test)]
mod tests {
    use postern_protocol::gate::discovery::KNOWN_PORTS;
    use postern_protocol::policy::{Carries, Destination, Network, Ports};
    use postern_protocol::wire::discovery::{Mac, Presence};

    use super::*;

    #[test]
    fn every_port_that_a_device_asks_first_has_a_name() {
        assert_eq!(NAMES.map(|(port, _)| port), KNOWN_PORTS);
        assert_eq!((name(102), name(103)), (Some("S7"), None));
    }

    #[test]
    fn a_row_says_what_is_known_and_a_dash_what_is_not() {
        let mut machine = Sighting {
            ip: [192, 168, 0, 10].into(),
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            presence: Presence::Reachable,
            open: vec![102, 103],
            echo: Some(false),
        };
        assert_eq!(row(&machine), ["192.168.0.10", "02:00:00:00:00:01", "reachable", "no", "102 S7, 103"]);
        machine = Sighting { mac: None, presence: Presence::Stale, open: Vec::new(), echo: None, ..machine };
        assert_eq!(row(&machine), ["192.168.0.10", "-", "stale", "-", "-"]);
    }

    #[test]
    fn what_was_left_out_is_named_with_its_reason() {
        let said = |carries, why| {
            let net = Network { ip: [10, 0, 0, 0].into(), prefix: 8 };
            left_out(&Unasked { destination: Destination { net, carries }, why })
        };
        let tcp = |why| said(Carries::Tcp { ports: Ports::only(102), profile: None }, why);
        assert!(
            tcp(Why::Wide).starts_with("`tcp 10.0.0.0/8 102` has more addresses than a scan walks (1024): ")
        );
        assert!(tcp(Why::Probes).starts_with("not all of `tcp 10.0.0.0/8 102` was asked: a scan asks 1024 "));
        assert!(tcp(Why::Time).contains("a scan ends after a minute"));
        let udp = said(Carries::Udp { ports: Ports::only(161) }, Why::Unaskable);
        assert!(udp.ends_with("over UDP"), "{udp}");
        assert!(said(Carries::Icmp, Why::Unaskable).ends_with("(net.ipv4.ping_group_range)"));
    }
}
