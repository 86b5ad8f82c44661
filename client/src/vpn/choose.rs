//! Which VPN service is meant.
//!
//! 1. The one that was named; whether it exists and opens is the device's to say.
//! 2. Otherwise the only one.
//! 3. Otherwise the first by name whose destinations contain every place that was named, where all are addresses. Those are
//!    opened to learn where they lead; one that a condition keeps shut is passed over.
//! 4. Otherwise none, and the person is told which there are.

use std::sync::Arc;

use postern_protocol::name::Name;
use postern_protocol::policy::{Destination, FlowEnd, Kind};
use postern_protocol::wire::flow::{FlowTarget, Host};
use postern_protocol::wire::tunnel::ServiceEntry;

use super::tunnel::Vpn;
use crate::args::HostPort;
use crate::device::{DeviceError, DeviceLink, Wanted};
use crate::problem::Problem;

/// What the listing says about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// This one.
    This(Name),
    /// One of these, by where it leads.
    Among(Vec<Name>),
}

/// Chooses by the listing alone.
///
/// # Errors
/// When what was named is no VPN, or there is none.
pub(super) fn by_listing(services: &[ServiceEntry], named: Option<&Name>) -> Result<Choice, Problem> {
    if let Some(name) = named {
        let other = services.iter().find(|entry| entry.name == *name && entry.kind != Kind::Vpn);
        return other.map_or_else(
            || Ok(Choice::This(name.clone())),
            |entry| Err(Problem::other_kind(name, entry.kind)),
        );
    }
    let vpns: Vec<&ServiceEntry> = services.iter().filter(|entry| entry.kind == Kind::Vpn).collect();
    match vpns.as_slice() {
        [] => Err(Problem::no_vpn()),
        [only] => Ok(Choice::This(only.name.clone())),
        several => Ok(Choice::Among(several.iter().map(|entry| entry.name.clone()).collect())),
    }
}

/// Whether the destinations contain every place; a place that has a name is contained nowhere.
pub(super) fn contain_all(destinations: &[Destination], places: &[FlowTarget]) -> bool {
    places.iter().all(|place| match place.host {
        Host::Ip(ip) => {
            let end = FlowEnd { protocol: place.protocol, ip, port: place.port };
            end.is_possible() && destinations.iter().any(|destination| destination.contains(&end))
        }
        Host::Name(_) => false,
    })
}

/// Opens one VPN after the other until one leads to every place; that one stays open.
///
/// # Errors
/// When none does, or nothing can be known of the places.
pub(super) async fn by_destinations(
    link: &Arc<DeviceLink>,
    names: Vec<Name>,
    places: &[FlowTarget],
    view_only: bool,
) -> Result<(Name, Vpn), Problem> {
    let all_addresses = places.iter().all(|place| matches!(place.host, Host::Ip(_)));
    if places.is_empty() || !all_addresses {
        return Err(Problem::several_vpns(&names));
    }
    for name in &names {
        let opened = match link.open(&Wanted { service: name.clone(), view_only, flows: true }).await {
            Ok(opened) => opened,
            Err(DeviceError::Denied(_) | DeviceError::Failed(_) | DeviceError::Occupied { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let vpn = Vpn::begin(Arc::clone(link), opened).await?;
        if contain_all(&vpn.destinations(), places) {
            return Ok((name.clone(), vpn));
        }
    }
    let places: Vec<String> = places.iter().map(written).collect();
    Err(Problem::no_vpn_to(&places.join(", "), &names))
}

fn written(place: &FlowTarget) -> String {
    HostPort { host: place.host.clone(), port: place.port }.to_string()
}

#[cfg(test)]
mod tests {
    use postern_protocol::policy::{Carries, Network, Ports, Protocol};

    use super::*;

    fn entry(name: &str, kind: Kind) -> ServiceEntry {
        ServiceEntry {
            name: name.parse().unwrap(),
            kind,
            mode: None,
            blocked: None,
            until: None,
            recorded: false,
        }
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn the_named_one_is_meant_then_the_only_one_then_one_of_several() {
        let one = [entry("hmi", Kind::Http), entry("lines", Kind::Vpn)];
        assert_eq!(by_listing(&one, None), Ok(Choice::This(name("lines"))));
        // What is not listed is asked of the device, whose refusal it is.
        assert_eq!(by_listing(&one, Some(&name("cell"))), Ok(Choice::This(name("cell"))));
        let hmi = name("hmi");
        assert_eq!(by_listing(&one, Some(&hmi)), Err(Problem::other_kind(&hmi, Kind::Http)));
        assert_eq!(by_listing(&one[..1], None), Err(Problem::no_vpn()));
        let two = [entry("cell", Kind::Vpn), entry("lines", Kind::Vpn)];
        assert_eq!(by_listing(&two, None), Ok(Choice::Among(vec![name("cell"), name("lines")])));
        assert_eq!(by_listing(&two, Some(&name("lines"))), Ok(Choice::This(name("lines"))));
    }

    #[test]
    fn destinations_contain_a_place_by_protocol_address_and_port() {
        let net = Network { ip: "192.168.0.0".parse().unwrap(), prefix: 24 };
        let carries = Carries::Tcp { ports: Ports { first: 100, last: 102 }, profile: None };
        let destinations = [Destination { net, carries }];
        let place = |text: &str, protocol| text.parse::<HostPort>().unwrap().flow(protocol);
        let contains = |text: &str| contain_all(&destinations, &[place(text, Protocol::Tcp)]);
        assert!(contains("192.168.0.10:102"));
        assert!(!contains("192.168.0.10:103"));
        assert!(!contains("192.168.1.10:102"));
        assert!(!contains("plc:102"));
        assert!(!contain_all(&destinations, &[place("192.168.0.10:102", Protocol::Udp)]));
        let both = [place("192.168.0.10:102", Protocol::Tcp), place("192.168.1.10:102", Protocol::Tcp)];
        assert!(!contain_all(&destinations, &both));
    }
}
