use std::net::IpAddr;

use super::*;
use crate::policy::{Carries, Network, Ports, Profile, snapshot::rules::ModbusRules};
use crate::wire::discovery::{Sighting, Totals, Unasked, Why};

fn net(text: &str) -> Network {
    let (ip, prefix) = text.split_once('/').unwrap_or((text, "32"));
    Network { ip: ip.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

fn tcp(network: &str, first: u16, last: u16) -> Destination {
    Destination { net: net(network), carries: Carries::Tcp { ports: Ports { first, last }, profile: None } }
}

fn udp(network: &str) -> Destination {
    Destination { net: net(network), carries: Carries::Udp { ports: Ports::only(161) } }
}

fn icmp(network: &str) -> Destination {
    Destination { net: net(network), carries: Carries::Icmp }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn neighbour(text: &str, presence: Presence) -> Neighbour {
    Neighbour { ip: ip(text), mac: Some(Mac([2, 0, 0, 0, 0, 1])), presence: Some(presence) }
}

fn absent(text: &str) -> Neighbour {
    Neighbour { ip: ip(text), mac: None, presence: None }
}

fn end(text: &str, port: u16) -> FlowEnd {
    let protocol = if port == 0 { Protocol::Icmp } else { Protocol::Tcp };
    FlowEnd { protocol, ip: ip(text), port }
}

/// Everything that the client is told now.
fn news(discovery: &mut Discovery, now_ms: u64) -> Vec<DiscoveryNews> {
    std::iter::from_fn(|| discovery.poll_news(now_ms)).collect()
}

fn seen(news: &[DiscoveryNews]) -> Vec<Sighting> {
    let of = |news: &DiscoveryNews| match news {
        DiscoveryNews::Seen(sighting) => Some(sighting.clone()),
        DiscoveryNews::Progress { .. } | DiscoveryNews::End(_) => None,
    };
    news.iter().filter_map(of).collect()
}

fn totals(news: &[DiscoveryNews]) -> Totals {
    match news.last() {
        Some(DiscoveryNews::End(totals)) => totals.clone(),
        other => panic!("{other:?}"),
    }
}

/// Runs a scan to its end; returns what was asked, in order, and the totals.
fn run(mut discovery: Discovery, answer: impl Fn(FlowEnd) -> Heard) -> (Vec<FlowEnd>, Totals, u64) {
    let (mut asked, mut now_ms) = (Vec::new(), 0);
    loop {
        while let Some(end) = discovery.poll_probe(now_ms) {
            asked.push(end);
            discovery.handle_heard(end, answer(end));
        }
        if let Some(DiscoveryNews::End(totals)) = news(&mut discovery, now_ms).pop() {
            return (asked, totals, now_ms);
        }
        now_ms = discovery.poll_timeout(now_ms).unwrap();
    }
}

#[test]
fn neighbours_are_told_at_once_and_only_those_that_a_destination_contains() {
    let known = [
        neighbour("10.0.0.9", Presence::Stale),
        neighbour("10.0.0.2", Presence::Reachable),
        neighbour("10.0.1.2", Presence::Reachable),
        neighbour("fe80::2", Presence::Reachable),
        absent("10.0.0.3"),
    ];
    let mut discovery = Discovery::new(vec![tcp("10.0.0.0/24", 102, 102), udp("10.9.0.0/24")], &known);
    let told = news(&mut discovery, 0);
    let of = |text: &str, presence| Sighting {
        ip: ip(text),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        presence,
        open: Vec::new(),
        echo: None,
    };
    assert_eq!(seen(&told), [of("10.0.0.2", Presence::Reachable), of("10.0.0.9", Presence::Stale)]);
    assert_eq!(totals(&told), Totals { machines: 2, probes: 0, unasked: Vec::new() });
    assert_eq!((discovery.poll_probe(0), discovery.poll_news(1)), (None, None));
}

#[test]
fn a_scan_asks_neighbours_before_others_and_known_ports_before_the_rest() {
    let known = [neighbour("10.0.0.2", Presence::Stale)];
    let destinations = vec![tcp("10.0.0.0/30", 100, 120), tcp("10.0.0.1", 7, 8), icmp("10.0.0.2")];
    let (asked, totals, _) = run(Discovery::scan(destinations, &known, 0), |_| Heard::Silent);
    let mut expected = vec![end("10.0.0.2", 0), end("10.0.0.2", 102)];
    expected.extend([102, 7, 8].map(|port| end("10.0.0.1", port)));
    let rest = |host| (100..=120).filter(|port| *port != 102).map(move |port| end(host, port));
    expected.extend(rest("10.0.0.2"));
    expected.extend(rest("10.0.0.1"));
    assert_eq!(asked, expected);
    assert_eq!(totals, Totals { machines: 1, probes: 45, unasked: Vec::new() });
}

#[test]
fn a_machine_that_turns_up_is_asked_before_those_that_have_not() {
    let discovery = Discovery::scan(vec![tcp("10.0.0.0/29", 502, 503)], &[], 0);
    let answer = |end: FlowEnd| match (end.ip == ip("10.0.0.4"), end.port) {
        (true, 503) => Heard::Open,
        (true, _) => Heard::Closed,
        (false, _) => Heard::Silent,
    };
    let (asked, totals, _) = run(discovery, answer);
    let fifth = asked.iter().position(|asked| *asked == end("10.0.0.4", 503));
    assert_eq!((fifth, asked.len(), totals.machines), (Some(4), 12, 1), "{asked:?}");
}

#[test]
fn what_was_found_is_told_whenever_it_is_more_than_before() {
    let mut discovery = Discovery::scan(vec![tcp("10.0.0.2", 80, 81), icmp("10.0.0.2")], &[], 0);
    let mut told = Vec::new();
    for (now_ms, heard) in [(0, Heard::Silent), (10, Heard::Open), (20, Heard::Closed)] {
        let end = discovery.poll_probe(now_ms).unwrap();
        discovery.handle_heard(end, heard);
        told.extend(seen(&news(&mut discovery, now_ms)));
    }
    let mut sighting = Sighting {
        ip: ip("10.0.0.2"),
        mac: None,
        presence: Presence::Reachable,
        open: vec![80],
        echo: Some(false),
    };
    assert_eq!(told, [sighting.clone()]);
    // What came of nothing that was asked is dropped.
    let mut discovery = Discovery::scan(vec![tcp("10.0.0.2", 80, 81)], &[], 0);
    discovery.handle_heard(end("10.0.0.2", 80), Heard::Open);
    assert_eq!(seen(&news(&mut discovery, 0)), []);
    discovery.handle_neighbours(&[neighbour("10.0.0.2", Presence::Stale)]);
    sighting.mac = Some(Mac([2, 0, 0, 0, 0, 1]));
    sighting = Sighting { presence: Presence::Stale, open: Vec::new(), echo: None, ..sighting };
    assert_eq!(seen(&news(&mut discovery, 0)), [sighting]);
}

#[test]
fn where_the_kernel_found_nobody_or_the_device_does_not_dial_nothing_more_is_asked() {
    let mut discovery = Discovery::scan(vec![tcp("10.0.0.0/29", 1, 2)], &[], 0);
    let first = discovery.poll_probe(0).unwrap();
    let second = discovery.poll_probe(10).unwrap();
    assert_eq!((first, second), (end("10.0.0.1", 1), end("10.0.0.2", 1)));
    discovery.handle_heard(first, Heard::Silent);
    discovery.handle_heard(second, Heard::Forbidden);
    discovery.handle_neighbours(&[absent("10.0.0.1")]);
    let (asked, totals, _) = run(discovery, |_| Heard::Silent);
    assert!(asked.iter().all(|asked| asked.ip > ip("10.0.0.2")), "{asked:?}");
    assert_eq!((totals.probes, totals.unasked), (2 + 4 * 2, Vec::new()));
}

#[test]
fn probes_are_bounded_in_number_at_once_and_in_time() {
    let mut discovery = Discovery::scan(vec![tcp("10.0.0.0/24", 1, 100)], &[], 0);
    assert_eq!((discovery.poll_probe(0), discovery.poll_probe(9)), (Some(end("10.0.0.1", 80)), None));
    assert_eq!(discovery.poll_timeout(9), Some(10));
    let at_once = (10..2000).filter(|now_ms| discovery.poll_probe(*now_ms).is_some()).count();
    assert_eq!((at_once, discovery.under_way().count()), (31, 32));
    assert_eq!(discovery.poll_timeout(2000), Some(60_000));
    let late = news(&mut discovery, 60_000);
    let left = |why| vec![Unasked { destination: tcp("10.0.0.0/24", 1, 100), why }];
    assert_eq!(totals(&late), Totals { machines: 0, probes: 32, unasked: left(Why::Time) });
    assert_eq!(discovery.poll_probe(60_000), None);
    let discovery = Discovery::scan(vec![tcp("10.0.0.0/24", 1, 100)], &[], 0);
    let (asked, totals, took_ms) = run(discovery, |_| Heard::Silent);
    assert_eq!((asked.len(), took_ms), (1024, 10_230));
    assert_eq!(totals, Totals { machines: 0, probes: 1024, unasked: left(Why::Probes) });
}

#[test]
fn of_what_is_too_wide_only_neighbours_are_asked_and_it_is_said() {
    let known = [neighbour("10.7.8.9", Presence::Stale), neighbour("fd00::7", Presence::Reachable)];
    let destinations = vec![
        udp("10.0.0.0/8"),
        tcp("10.0.0.0/8", 102, 102),
        tcp("fd00::/64", 502, 502),
        tcp("192.168.0.0/30", 102, 102),
    ];
    let (asked, totals, _) = run(Discovery::scan(destinations.clone(), &known, 0), |_| Heard::Closed);
    let ends = [("10.7.8.9", 102), ("fd00::7", 502), ("192.168.0.1", 102), ("192.168.0.2", 102)];
    assert_eq!(asked, ends.map(|(host, port)| end(host, port)));
    let whys = [Why::Unaskable, Why::Wide, Why::Wide];
    let unasked = destinations.into_iter().zip(whys).map(|(destination, why)| Unasked { destination, why });
    assert_eq!(totals, Totals { machines: 4, probes: 4, unasked: unasked.collect() });
}

#[test]
fn a_probe_without_a_place_is_made_later_and_counted_once() {
    let mut discovery = Discovery::scan(vec![tcp("10.0.0.2", 80, 80)], &[], 0);
    let probe = discovery.poll_probe(0).unwrap();
    discovery.handle_no_place(0, probe);
    assert_eq!((discovery.poll_probe(99), discovery.poll_timeout(0)), (None, Some(100)));
    assert_eq!(discovery.poll_probe(100), Some(probe));
    discovery.handle_heard(probe, Heard::Open);
    assert_eq!(discovery.poll_probe(110), None);
    assert_eq!(totals(&news(&mut discovery, 110)).probes, 1);
}

#[test]
fn a_device_that_cannot_send_echoes_says_so_and_asks_the_rest() {
    let destinations = vec![tcp("10.0.0.0/30", 80, 80), icmp("10.0.0.0/30")];
    let unable = |end: FlowEnd| if end.port == 0 { Heard::Unable } else { Heard::Open };
    let (asked, totals, _) = run(Discovery::scan(destinations.clone(), &[], 0), unable);
    let ends = [("10.0.0.1", 0), ("10.0.0.2", 80), ("10.0.0.1", 80)];
    assert_eq!(asked, ends.map(|(host, port)| end(host, port)));
    let unasked = vec![Unasked { destination: destinations[1].clone(), why: Why::Unaskable }];
    assert_eq!(totals, Totals { machines: 2, probes: 3, unasked });
}

#[test]
fn a_destination_that_is_taken_away_ends_it_and_one_that_is_added_does_not() {
    let (one, two) = (tcp("10.0.0.2", 80, 80), tcp("10.0.0.3", 80, 80));
    let before = [one.clone(), two.clone()];
    assert!(!is_narrower(&before, &[two.clone(), one, icmp("10.0.0.2")]));
    assert!(is_narrower(&before, &[two]));
    assert!(is_narrower(&before, &[]));
}

#[test]
fn no_profile_is_told() {
    let profile = Some(Profile::Modbus(ModbusRules::read_only()));
    let read = Destination {
        carries: Carries::Tcp { ports: Ports::only(502), profile },
        ..tcp("10.0.0.0/8", 502, 502)
    };
    let (_, totals, _) = run(Discovery::scan(vec![read], &[], 0), |_| Heard::Open);
    let destination = tcp("10.0.0.0/8", 502, 502);
    assert_eq!(totals.unasked, [Unasked { destination, why: Why::Wide }]);
}

#[test]
fn progress_is_told_now_and_then() {
    let mut discovery = Discovery::scan(vec![tcp("10.0.0.0/24", 80, 80)], &[], 0);
    let mut told = Vec::new();
    for now_ms in (0..600).step_by(10) {
        let end = discovery.poll_probe(now_ms).unwrap();
        discovery.handle_heard(end, Heard::Silent);
        told.extend(news(&mut discovery, now_ms));
    }
    let progress = |asked| DiscoveryNews::Progress { asked, of: 254 };
    assert_eq!(told, [progress(1), progress(26), progress(51)]);
}
