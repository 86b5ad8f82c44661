//! The decision on flows, compared with a slow and obvious one over random destinations.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use postern_protocol::policy::{
    Carries, Circumstances, Destination, FlowEnd, FlowRefusal, Freshness, ModbusRules, Mode, Network, Permit,
    Ports, Profile, Protocol, Reach, Snapshot, VpnRules, decide,
};
use postern_protocol::time::UnixTime;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::decisions::{index, subject};
use crate::oracle::{Question, Rule, World, service_name};

/// Addresses of one small network, so that random flows meet random destinations.
fn address(host: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host).into()
}

fn destination() -> impl Strategy<Value = Destination> {
    let profile = || Some(Profile::Modbus(ModbusRules::read_only()));
    let ports = (1u16..6, 0u16..4).prop_map(|(first, more)| Ports { first, last: first + more });
    let carries = prop_oneof![
        ports.clone().prop_map(|ports| Carries::Tcp { ports, profile: None }),
        ports.clone().prop_map(move |ports| Carries::Tcp { ports, profile: profile() }),
        ports.prop_map(|ports| Carries::Udp { ports }),
        Just(Carries::Icmp),
    ];
    (0u8..16, 28u8..=32, carries).prop_map(|(host, prefix, carries)| {
        let behind = u8::try_from(u32::MAX.checked_shr(prefix.into()).unwrap_or(0)).unwrap();
        Destination { net: Network { ip: address(host & !behind), prefix }, carries }
    })
}

fn flow() -> impl Strategy<Value = FlowEnd> {
    (select(Protocol::ALL.to_vec()), 0u8..18, 0u16..10).prop_map(|(protocol, host, port)| FlowEnd {
        protocol,
        ip: address(host),
        port,
    })
}

/// Every address and port of a destination, one by one.
fn expanded(destination: &Destination) -> Vec<FlowEnd> {
    let count = 1u8 << (32 - destination.net.prefix);
    let IpAddr::V4(first) = destination.net.ip else { panic!("IPv4 only") };
    let protocol = destination.protocol();
    let ports: Vec<u16> = match &destination.carries {
        Carries::Tcp { ports, .. } | Carries::Udp { ports } => (ports.first..=ports.last).collect(),
        Carries::Icmp => vec![0],
    };
    let hosts = (0..count).map(|more| address(first.octets()[3] + more));
    hosts.flat_map(|ip| ports.iter().map(move |port| FlowEnd { protocol, ip, port: *port })).collect()
}

/// What governs a flow: none, or whether it is read. Of those that contain it, the one with the fewest addresses, then the fewest
/// ports, then one that is read.
fn slow(destinations: &[Destination], end: &FlowEnd) -> Option<bool> {
    let containing =
        destinations.iter().map(|one| (expanded(one), one)).filter(|(ends, _)| ends.contains(end));
    let narrowest = containing.min_by_key(|(ends, one)| {
        let mut hosts: Vec<IpAddr> = ends.iter().map(|end| end.ip).collect();
        hosts.dedup();
        (hosts.len(), ends.len() / hosts.len(), one.profile().is_none())
    });
    narrowest.map(|(_, one)| one.profile().is_some())
}

fn permit(destinations: Vec<Destination>, mode: Mode) -> Arc<Permit> {
    let rule = Rule {
        assignment: 0,
        user: 1,
        category: 0,
        from: None,
        until: None,
        factor_s: None,
        needs_case: false,
        needs_approval: false,
        offline_ok: false,
        mode,
    };
    let world = World {
        assigned: true,
        expires: 1_000,
        tunnels: 1,
        services: vec![1],
        looked_at: vec![],
        writers: 1,
        contents: vec![(0, 1)],
        users: vec![(1, false)],
        rules: vec![rule],
        bans: vec![],
        visits: vec![],
        consents: vec![],
    };
    let mut snapshot = world.assemble();
    snapshot.services[0].reach = Reach::Flows(VpnRules { destinations });
    let question = Question {
        user: 1,
        key: 101,
        service: 1,
        now: 1,
        pass_expires: 1_000,
        factor_at: None,
        open: 0,
        writing: 0,
        view_only: false,
        fresh_until: 1_000,
        offline_until: 1_000,
    };
    let (index, subject) = (index(&snapshot), subject(&question));
    let circumstances = Circumstances::alone(UnixTime::from_secs(1), Freshness::ALWAYS);
    let ask = index.ask(subject.user(), &service_name(1));
    Arc::new(decide(Some(&index), &subject, &ask, &circumstances).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_flow_is_judged_as_by_listing_every_address_and_port(
        destinations in vec(destination(), 1..12), flows in vec(flow(), 40), looks in any::<bool>(),
    ) {
        let mut destinations = destinations;
        destinations.sort();
        destinations.dedup();
        let mode = if looks { Mode::ViewOnly } else { Mode::Full { clipboard: false } };
        let permit = permit(destinations.clone(), mode);
        for end in flows {
            let expected = match slow(&destinations, &end) {
                None => Err(FlowRefusal::Destination),
                Some(read) if looks && !read && end.protocol != Protocol::Icmp => Err(FlowRefusal::Looking),
                Some(read) => Ok(read),
            };
            let found = permit.flow(end).map(|flow| {
                assert!(flow.destination().unwrap().contains(&end));
                flow.profile().is_some()
            });
            prop_assert_eq!(found, expected, "{} in {:?}", end, destinations);
        }
    }

    #[test]
    fn taking_a_destination_away_permits_no_flow_to_a_place_that_none_of_the_others_contains(
        destinations in vec(destination(), 2..12), flows in vec(flow(), 40), gone in any::<prop::sample::Index>(),
    ) {
        let mut destinations = destinations;
        destinations.sort();
        destinations.dedup();
        let whole = VpnRules { destinations: destinations.clone() };
        destinations.remove(gone.index(destinations.len()));
        let less = VpnRules { destinations };
        for end in flows {
            prop_assert!(less.governing(&end).is_none() || whole.governing(&end).is_some(), "{}", end);
        }
    }
}

/// The snapshot type is what carries destinations to a device: a list that is out of order never gets that far.
#[test]
fn a_snapshot_whose_destinations_are_out_of_order_is_not_in_form() {
    let mut snapshot: Snapshot = crate::samples::snapshot();
    assert_eq!(snapshot.check_form(), Ok(()));
    let Reach::Flows(rules) = &mut snapshot.services[2].reach else { panic!("`plc` is a VPN") };
    rules.destinations.reverse();
    let order = postern_protocol::policy::FormFault::Order { list: "destinations" };
    assert_eq!(snapshot.check_form(), Err(order));
}
