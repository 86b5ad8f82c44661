use super::*;

fn net(text: &str) -> Network {
    let (ip, prefix) = text.split_once('/').unwrap();
    Network { ip: ip.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

fn tcp(network: &str, first: u16, last: u16, profile: Option<Profile>) -> Destination {
    Destination { net: net(network), carries: Carries::Tcp { ports: Ports { first, last }, profile } }
}

fn udp(network: &str, first: u16, last: u16) -> Destination {
    Destination { net: net(network), carries: Carries::Udp { ports: Ports { first, last } } }
}

fn icmp(network: &str) -> Destination {
    Destination { net: net(network), carries: Carries::Icmp }
}

fn modbus() -> Option<Profile> {
    Some(Profile::Modbus(ModbusRules::read_only()))
}

fn rules(mut destinations: Vec<Destination>) -> VpnRules {
    destinations.sort();
    VpnRules { destinations }
}

fn end(protocol: Protocol, ip: &str, port: u16) -> FlowEnd {
    FlowEnd { protocol, ip: ip.parse().unwrap(), port }
}

/// The destination that governs a flow, as a fleet file says it.
fn governing(rules: &VpnRules, protocol: Protocol, ip: &str, port: u16) -> Option<String> {
    rules.governing(&end(protocol, ip, port)).map(|(_, destination)| destination.to_string())
}

#[test]
fn a_flow_is_governed_by_a_destination_with_its_network_protocol_and_port_and_by_no_other() {
    use Protocol::{Icmp, Tcp, Udp};
    let rules = rules(vec![
        tcp("192.168.0.10/32", 102, 102, None),
        tcp("192.168.1.0/24", 4840, 4850, None),
        udp("192.168.0.10/32", 161, 161),
        icmp("192.168.0.0/24"),
        tcp("fd00::/64", 502, 502, None),
    ]);
    let yes = |text: &str| Some(text.to_owned());
    assert_eq!(governing(&rules, Tcp, "192.168.0.10", 102), yes("tcp 192.168.0.10 102"));
    assert_eq!(governing(&rules, Tcp, "192.168.0.10", 103), None);
    assert_eq!(governing(&rules, Tcp, "192.168.0.11", 102), None);
    assert_eq!(governing(&rules, Udp, "192.168.0.10", 102), None);
    for (port, found) in [(4839, None), (4840, Some(())), (4850, Some(())), (4851, None)] {
        assert_eq!(governing(&rules, Tcp, "192.168.1.255", port).map(|_| ()), found, "{port}");
    }
    assert_eq!(governing(&rules, Tcp, "192.168.2.0", 4840), None);
    assert_eq!(governing(&rules, Udp, "192.168.0.10", 161), yes("udp 192.168.0.10 161"));
    assert_eq!(governing(&rules, Tcp, "192.168.0.10", 161), None);
    assert_eq!(governing(&rules, Icmp, "192.168.0.255", 0), yes("icmp 192.168.0.0/24"));
    assert_eq!(governing(&rules, Icmp, "192.168.1.0", 0), None);
    assert_eq!(governing(&rules, Tcp, "fd00::1", 502), yes("tcp fd00::/64 502"));
    assert_eq!(governing(&rules, Tcp, "fd00:0:0:1::", 502), None);
}

#[test]
fn the_narrowest_destination_governs_and_at_the_same_width_the_one_that_is_read() {
    let rules = rules(vec![
        tcp("10.0.0.0/8", 1, 65_535, None),
        tcp("10.0.0.0/24", 502, 502, modbus()),
        tcp("10.0.0.7/32", 1, 65_535, None),
        tcp("10.0.0.8/32", 500, 510, None),
        tcp("10.0.0.8/32", 505, 515, modbus()),
    ]);
    let read = |ip: &str, port| {
        let (_, destination) = rules.governing(&end(Protocol::Tcp, ip, port)).unwrap();
        destination.profile().is_some()
    };
    assert!(read("10.0.0.1", 502));
    assert!(!read("10.0.0.1", 503));
    assert!(!read("10.0.1.1", 502));
    assert!(!read("10.0.0.7", 502), "a rule for one machine stands before that of its network");
    assert!(read("10.0.0.8", 507), "of two equally narrow ones the one that is read governs");
    assert!(!read("10.0.0.8", 504));
}

#[test]
fn nobody_speaks_to_many_at_once_or_in_the_clothes_of_another_address() {
    use Protocol::{Icmp, Tcp, Udp};
    let rules = rules(vec![
        tcp("128.0.0.0/1", 1, 65_535, None),
        udp("128.0.0.0/1", 1, 65_535),
        icmp("128.0.0.0/1"),
        tcp("8000::/1", 1, 65_535, None),
        tcp("::c0a8:0/112", 1, 65_535, None),
    ]);
    assert!(governing(&rules, Udp, "192.168.0.10", 161).is_some());
    assert!(governing(&rules, Tcp, "fd00::1", 161).is_some());
    for (protocol, ip, port) in [
        (Udp, "224.0.0.1", 161),
        (Udp, "255.255.255.255", 161),
        (Tcp, "ff02::1", 80),
        (Tcp, "::ffff:192.168.0.10", 80),
        (Tcp, "192.168.0.10", 0),
        (Udp, "192.168.0.10", 0),
        (Icmp, "192.168.0.10", 1),
    ] {
        assert_eq!(governing(&rules, protocol, ip, port), None, "{protocol:?} {ip} {port}");
    }
}

fn form(destinations: Vec<Destination>) -> Result<(), FormFault> {
    VpnRules { destinations }.check_form()
}

#[test]
fn destinations_are_some_bounded_and_in_order() {
    let (host, network) = (tcp("10.0.0.1/32", 502, 502, None), tcp("10.0.0.0/24", 502, 502, None));
    assert_eq!(form(vec![host.clone(), network.clone()]), Ok(()));
    assert_eq!(form(vec![]), Err(impossible("destinations")));
    assert_eq!(form(vec![network, host.clone()]), Err(FormFault::Order { list: "destinations" }));
    assert_eq!(form(vec![host.clone(), host]), Err(FormFault::Order { list: "destinations" }));
    let many: Vec<Destination> = (1..=65).map(|port| tcp("10.0.0.1/32", port, port, None)).collect();
    assert_eq!(form(many[..64].to_vec()), Ok(()));
    let over = FormFault::Count { list: "destinations", found: 65, limit: limits::DESTINATIONS };
    assert_eq!(form(many), Err(over));
}

#[test]
fn networks_and_ports_that_mean_nothing_are_refused() {
    for good in ["10.0.0.0/8", "10.0.0.1/32", "128.0.0.0/1", "127.0.0.1/32", "fd00::/8", "fd00::1/128"] {
        assert_eq!(form(vec![icmp(good)]), Ok(()), "{good}");
    }
    for bad in [
        "10.0.0.1/8",
        "10.0.0.1/33",
        "0.0.0.0/0",
        "::/0",
        "224.0.0.0/4",
        "239.1.1.1/32",
        "ff02::/16",
        "fd00::1/64",
        "fd00::/129",
        "::ffff:10.0.0.0/104",
    ] {
        assert_eq!(form(vec![icmp(bad)]), Err(impossible("net")), "{bad}");
    }
    assert_eq!(form(vec![tcp("10.0.0.1/32", 1, 65_535, None)]), Ok(()));
    for (first, last) in [(0, 0), (0, 1), (2, 1)] {
        assert_eq!(form(vec![tcp("10.0.0.1/32", first, last, None)]), Err(impossible("ports")));
        assert_eq!(form(vec![udp("10.0.0.1/32", first, last)]), Err(impossible("ports")));
    }
}

#[test]
fn spans_of_modbus_are_apart_ascend_and_write_only_what_can_be_written() {
    use ModbusTable::{Coils, DiscreteInputs, HoldingRegisters, InputRegisters};
    let span = |table, first, last| ModbusSpan { table, first, last };
    let changed = |change: fn(&mut ModbusRules)| {
        let mut rules = ModbusRules::read_only();
        change(&mut rules);
        form(vec![tcp("10.0.0.1/32", 502, 502, Some(Profile::Modbus(rules)))])
    };
    assert_eq!(changed(|_| ()), Ok(()));
    assert_eq!(changed(|rules| rules.units.clear()), Ok(()));
    assert_eq!(changed(|rules| rules.reads.clear()), Ok(()));
    let units = |spans: &[(u8, u8)]| {
        let units = spans.iter().map(|(first, last)| UnitSpan { first: *first, last: *last }).collect();
        ModbusRules { units, ..ModbusRules::read_only() }.check_form()
    };
    assert_eq!(units(&[(1, 1), (2, 9)]), Ok(()));
    assert_eq!(units(&[(1, 2), (2, 9)]), Err(FormFault::Order { list: "units" }));
    assert_eq!(units(&[(2, 1)]), Err(impossible("units")));
    let writes = |spans: &[(ModbusTable, u16, u16)]| {
        let writes = spans.iter().map(|(table, first, last)| span(*table, *first, *last)).collect();
        ModbusRules { writes, ..ModbusRules::read_only() }.check_form()
    };
    assert_eq!(writes(&[(Coils, 0, 5), (Coils, 6, 9), (HoldingRegisters, 0, 0)]), Ok(()));
    assert_eq!(writes(&[(Coils, 0, 5), (Coils, 5, 9)]), Err(FormFault::Order { list: "writes" }));
    assert_eq!(writes(&[(Coils, 6, 5)]), Err(impossible("writes")));
    assert_eq!(writes(&[(DiscreteInputs, 0, 5)]), Err(impossible("writes")));
    assert_eq!(writes(&[(InputRegisters, 0, 5)]), Err(impossible("writes")));
    let reads = |count: u16| {
        let reads = (0..count).map(|at| span(InputRegisters, at, at)).collect();
        ModbusRules { reads, ..ModbusRules::read_only() }.check_form()
    };
    assert_eq!(reads(16), Ok(()));
    assert_eq!(reads(17), Err(FormFault::Count { list: "reads", found: 17, limit: 16 }));
}

#[test]
fn a_network_ends_where_its_prefix_says() {
    for (network, last) in [
        ("10.0.0.0/8", "10.255.255.255"),
        ("10.0.0.1/32", "10.0.0.1"),
        ("fd00::/64", "fd00::ffff:ffff:ffff:ffff"),
        ("fd00::1/128", "fd00::1"),
    ] {
        assert_eq!(net(network).last(), last.parse::<IpAddr>().unwrap());
        assert!(net(network).contains(last.parse().unwrap()));
    }
}
