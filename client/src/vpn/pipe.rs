//! `postern connect DEVICE VPN`: a VPN that leads to exactly one TCP port of one machine, as if it ran on this computer.
//!
//! 1. The tunnel says where it leads. Where that is more than one place, a person has to say which: `forward` or `proxy`.
//! 2. Each local connection, or the standard streams, become a flow in it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde::Serialize;

use postern_protocol::policy::{Carries, Destination, Kind, Mode, Network, Protocol};
use postern_protocol::wire::flow::Host;

use super::carry;
use super::forward::{Door, serve};
use super::session::Session;
use super::tunnel::Vpn;
use crate::args::{ConnectArgs, HostPort};
use crate::connect::vigil::Ends;
use crate::connect::{Place, viewer};
use crate::device::{DeviceLink, Opened};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::screen::Screen;

/// Listens for local connections.
pub(crate) async fn listen(
    args: &ConnectArgs,
    session: Session<'_>,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let opening = async {
        let target = only_place(&session.gateway.destinations().await)?;
        let wanted = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), args.port.unwrap_or(0));
        let door = Door::open(wanted, target).await?;
        let place = Place::at(Kind::Vpn, door.addr());
        screen.answer(&PipeAnswer {
            device: &session.device,
            service: &session.service,
            kind: Kind::Vpn,
            mode: session.mode,
            recorded: session.recorded,
            url: &place.url,
            address: place.addr,
        });
        screen.say(&place.url);
        if args.open
            && let Err(problem) = viewer::open(Kind::Vpn, &place).await
        {
            screen.note(&problem.to_string());
        }
        Ok::<_, Problem>(door)
    };
    let opened = opening.await;
    let gateway = Arc::clone(&session.gateway);
    let once = args.once;
    session.run(async move { serve(gateway, vec![opened?], once).await }).await
}

/// Carries standard input and output.
pub(crate) async fn standard_streams(
    link: &Arc<DeviceLink>,
    opened: Opened,
    ends: &Ends,
) -> Result<(), Problem> {
    let vpn = Vpn::begin(Arc::clone(link), opened).await?.noted(ends);
    let target = only_place(&vpn.destinations())?;
    let flow = vpn.flow(target.flow(Protocol::Tcp)).await?;
    carry::standard_streams(flow).await
}

/// The one TCP port of one machine to which all destinations lead.
fn only_place(destinations: &[Destination]) -> Result<HostPort, Problem> {
    match destinations {
        [Destination { net, carries: Carries::Tcp { ports, .. } }]
            if *net == Network::only(net.ip) && ports.first == ports.last =>
        {
            Ok(HostPort { host: Host::Ip(net.ip), port: ports.first })
        }
        _ => Err(Problem::many_places()),
    }
}

#[derive(Serialize)]
struct PipeAnswer<'a> {
    device: &'a str,
    service: &'a str,
    kind: Kind,
    mode: Mode,
    recorded: bool,
    url: &'a str,
    address: SocketAddr,
}

#[cfg(test)]
mod tests {
    use postern_protocol::policy::{Ports, Target, VpnRules};

    use super::*;

    #[test]
    fn one_port_of_one_machine_is_a_place_and_nothing_wider_is() {
        let one = VpnRules::tcp(Target { ip: "192.168.0.10".parse().unwrap(), port: 102 }).destinations;
        assert_eq!(only_place(&one).map(|place| place.to_string()), Ok("192.168.0.10:102".to_owned()));
        let mut wider = one.clone();
        wider[0].net = Network { ip: "192.168.0.0".parse().unwrap(), prefix: 24 };
        let mut more = one.clone();
        more[0].carries = Carries::Tcp { ports: Ports { first: 102, last: 103 }, profile: None };
        let mut udp = one.clone();
        udp[0].carries = Carries::Udp { ports: Ports::only(102) };
        for destinations in [vec![], wider, more, udp, [one.clone(), one].concat()] {
            assert_eq!(only_place(&destinations), Err(Problem::many_places()), "{destinations:?}");
        }
    }
}
