use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::policy::world::{ALICE, at, grant, granting, subject, vpn};
use crate::policy::{Carries, Circumstances, Freshness, ModbusRules, Mode, Network, Ports, Protocol, decide};

const TOUCH: Mode = Mode::Full { clipboard: false };
const LOOK: Mode = Mode::ViewOnly;

fn idle() -> Circumstances {
    Circumstances::alone(at(1), Freshness::ALWAYS)
}

fn destination(prefix: u8, carries: Carries) -> Destination {
    Destination { net: Network { ip: [192, 168, 0, 10].into(), prefix }, carries }
}

const fn flow_to(protocol: Protocol, host: u8, port: u16) -> FlowEnd {
    FlowEnd { protocol, ip: IpAddr::V4(Ipv4Addr::new(192, 168, 0, host)), port }
}

#[test]
fn a_flow_is_permitted_to_a_destination_of_its_tunnel_and_nowhere_else() {
    let tcp = Carries::Tcp { ports: Ports { first: 102, last: 103 }, profile: None };
    let permit = vpn(vec![destination(32, tcp.clone())], TOUCH);
    assert_eq!(permit.target(), None);
    let flow = permit.flow(flow_to(Protocol::Tcp, 10, 103)).unwrap();
    assert_eq!(flow.end(), flow_to(Protocol::Tcp, 10, 103));
    assert_eq!((flow.tunnel().user(), flow.profile()), (ALICE, None));
    assert_eq!(flow.destination(), Some(&destination(32, tcp)));
    for elsewhere in [
        flow_to(Protocol::Tcp, 10, 104),
        flow_to(Protocol::Tcp, 11, 102),
        flow_to(Protocol::Udp, 10, 102),
        flow_to(Protocol::Icmp, 10, 0),
    ] {
        let refused = permit.flow(elsewhere).unwrap_err();
        assert_eq!((refused, refused.reason()), (FlowRefusal::Destination, Reason::PortDenied));
    }
}

#[test]
fn a_tunnel_to_one_place_has_no_flows() {
    let index = granting(&[grant()]);
    let alice = subject(ALICE, 20, None);
    let permit = Arc::new(decide(Some(&index), &alice, &index.ask(ALICE, "hmi"), &idle()).unwrap());
    assert_eq!(permit.flow(flow_to(Protocol::Tcp, 10, 5900)).unwrap_err(), FlowRefusal::NoVpn);
}

#[test]
fn who_only_looks_has_the_flows_in_which_a_gate_tells_looking_and_no_others() {
    let ports = Ports::only(502);
    let profile = Some(Profile::Modbus(ModbusRules::read_only()));
    let destinations = vec![
        destination(32, Carries::Tcp { ports, profile: profile.clone() }),
        destination(32, Carries::Tcp { ports: Ports::only(503), profile: None }),
        destination(32, Carries::Udp { ports }),
        destination(32, Carries::Icmp),
    ];
    let refusal =
        |mode, protocol, port| vpn(destinations.clone(), mode).flow(flow_to(protocol, 10, port)).err();
    let read = vpn(destinations.clone(), LOOK).flow(flow_to(Protocol::Tcp, 10, 502)).unwrap();
    assert_eq!(read.profile(), profile.as_ref());
    assert_eq!(refusal(LOOK, Protocol::Icmp, 0), None);
    for (protocol, port) in [(Protocol::Tcp, 503), (Protocol::Udp, 502)] {
        assert_eq!(refusal(TOUCH, protocol, port), None);
        assert_eq!(refusal(LOOK, protocol, port), Some(FlowRefusal::Looking));
    }
    assert_eq!(FlowRefusal::Looking.reason(), Reason::ViewOnly);
}

#[test]
fn packets_go_where_flows_go_that_no_gate_reads_and_nowhere_else() {
    let profile = Some(Profile::Modbus(ModbusRules::read_only()));
    let destinations = vec![
        destination(32, Carries::Tcp { ports: Ports::only(502), profile }),
        destination(32, Carries::Tcp { ports: Ports::only(503), profile: None }),
        destination(32, Carries::Icmp),
    ];
    let asked = |mode, protocol, port| {
        let end = flow_to(protocol, 10, port);
        vpn(destinations.clone(), mode).packets(end).map(|flow| flow.end() == end)
    };
    assert_eq!(asked(TOUCH, Protocol::Tcp, 503), Ok(true));
    assert_eq!(asked(TOUCH, Protocol::Tcp, 502), Err(PacketFault::Read));
    assert_eq!(asked(TOUCH, Protocol::Tcp, 504), Err(PacketFault::NotGranted));
    assert_eq!(asked(LOOK, Protocol::Tcp, 503), Err(PacketFault::Looking));
    assert_eq!(asked(LOOK, Protocol::Tcp, 502), Err(PacketFault::Read));
    assert_eq!(asked(LOOK, Protocol::Icmp, 0), Ok(true));
}
