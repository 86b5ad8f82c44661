//! The machine network behind a device's VPNs, as an agent would reach it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use postern_protocol::id::TunnelId;
use postern_protocol::name::Name;
use postern_protocol::policy::{Carries, Destination, Kind, Mode, Network as Net, Ports, Protocol, Reason};
use postern_protocol::time::UnixTime;
use postern_protocol::wire::discovery::{DiscoveryNews, Mac, Presence, Sighting, Totals, Unasked, Why};
use postern_protocol::wire::flow::message::push_frame;
use postern_protocol::wire::flow::{FlowTarget, Host, VpnNews};
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer, ServiceEntry};
use postern_transport::framed::write_frame;
use postern_transport::quic::{RecvStream, SendStream};
use tokio::sync::watch;

use crate::device::echo;
use crate::panel::Panel;

/// What a policy lets through: `lines` leads to 192.168.0.0/24, by TCP to every port, by UDP to 161 and by echoes; `cell` and
/// `guarded` to port 502 of 10.1.0.10. `plc-7` is the name of 192.168.0.10.
///
/// Ports say what a machine does: 80 is a [`Panel`], 1 to 5 fail, 6 resets after the first bytes, every other one echoes.
#[derive(Clone)]
pub(crate) struct Machines {
    panel: Panel,
    listed: Arc<Mutex<Vec<Name>>>,
    asked: Arc<Mutex<Vec<String>>>,
    ended: watch::Sender<Option<String>>,
    echoes: Arc<Mutex<Vec<u64>>>,
    moved: watch::Sender<Option<Vec<Destination>>>,
    /// Whether a scan that never ends is under way.
    scanning: watch::Sender<bool>,
}

/// The VPN tunnels of one connection.
pub(crate) struct Network {
    machines: Machines,
    open: Arc<Mutex<Vec<TunnelId>>>,
}

impl Machines {
    pub(crate) fn new(panel: Panel) -> Self {
        let (ended, moved) = (watch::channel(None).0, watch::channel(None).0);
        let (echoes, scanning) = (Arc::default(), watch::channel(false).0);
        Self { panel, listed: Arc::default(), asked: Arc::default(), ended, echoes, moved, scanning }
    }

    /// Tells every open tunnel that its flows may go there, and nowhere else, from now on.
    pub(crate) fn lead(&self, destinations: Vec<Destination>) {
        self.moved.send_replace(Some(destinations));
    }

    /// Whether a flow is of echoes.
    pub(crate) fn is_echo(&self, flow: u64) -> bool {
        self.echoes.lock().unwrap().contains(&flow)
    }

    /// Lists these VPNs from now on.
    pub(crate) fn list(&self, names: &[&str]) {
        *self.listed.lock().unwrap() = names.iter().map(|name| name.parse().unwrap()).collect();
    }

    /// Flows that were asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until a scan that never ends is under way.
    pub(crate) async fn discovering(&self) {
        let mut scanning = self.scanning.subscribe();
        let begun = scanning.wait_for(|is_scanning| *is_scanning);
        tokio::time::timeout(crate::world::GENEROUS, begun).await.unwrap().unwrap();
    }

    /// Waits until an echoing flow has ended, and says how.
    pub(crate) async fn ended(&self) -> String {
        let mut ended = self.ended.subscribe();
        let how = ended.wait_for(Option::is_some);
        tokio::time::timeout(crate::world::GENEROUS, how).await.unwrap().unwrap().clone().unwrap()
    }

    pub(crate) fn listed(&self) -> Vec<ServiceEntry> {
        let entry = |name: &Name| ServiceEntry {
            name: name.clone(),
            kind: Kind::Vpn,
            mode: Some(Mode::Full { clipboard: false }),
            blocked: None,
            until: Some(UnixTime::from_secs(4_000_000_000)),
            recorded: name.as_str() == "taped",
        };
        self.listed.lock().unwrap().iter().map(entry).collect()
    }

    pub(crate) fn network(&self) -> Network {
        Network { machines: self.clone(), open: Arc::default() }
    }

    /// Tells of `lines` what is there; a scan of any other VPN never ends.
    pub(crate) async fn tell(
        self,
        tunnel: TunnelId,
        scan: bool,
        (mut send, mut recv): (SendStream, RecvStream),
        mut cuts: watch::Receiver<Option<CloseCode>>,
    ) {
        let is_lines = tunnel == LINES;
        let machine = |host, presence| Sighting {
            ip: [192, 168, 0, host].into(),
            mac: Some(Mac([2, 0, 0, 0, 0, host])),
            presence,
            open: Vec::new(),
            echo: None,
        };
        let (plc, drive) = (machine(10, Presence::Stale), machine(9, Presence::Reachable));
        let mut news = Vec::new();
        if is_lines {
            news.extend([plc.clone(), drive].map(DiscoveryNews::Seen));
        }
        if scan {
            let open = vec![102, 502, 7000];
            let found = Sighting { presence: Presence::Reachable, open, echo: Some(true), ..plc };
            news.push(DiscoveryNews::Progress { asked: 1, of: 1024 });
            news.extend(is_lines.then_some(DiscoveryNews::Seen(found)));
        }
        let left = |(destination, why)| Unasked { destination, why };
        let unasked = destinations("lines").into_iter().zip([Why::Probes, Why::Unaskable]).map(left);
        let unasked = if scan { unasked.collect() } else { Vec::new() };
        if is_lines || !scan {
            let machines = if is_lines { 2 } else { 0 };
            news.push(DiscoveryNews::End(Totals { machines, probes: 1024, unasked }));
        }
        for news in news {
            write_frame(&mut send, &news, ANSWER_BYTES).await.unwrap();
        }
        if is_lines || !scan {
            return send.finish().unwrap();
        }
        self.scanning.send_replace(true);
        let cut = async { cuts.wait_for(Option::is_some).await.unwrap().unwrap().number() };
        tokio::select! {
            _over = recv.read_chunk(1) => drop(self.ended.send_replace(Some("discovery".to_owned()))),
            code = cut => send.reset(code),
        }
    }

    /// Serves a flow that was permitted.
    pub(crate) async fn serve(
        self,
        to: FlowTarget,
        (mut send, mut recv): (SendStream, RecvStream),
        cuts: watch::Receiver<Option<CloseCode>>,
    ) {
        match (to.protocol, to.port) {
            (Protocol::Tcp, 80) => self.panel.serve(send, recv, cuts).await,
            (Protocol::Tcp, 6) => {
                recv.read_chunk(1).await.unwrap();
                let code = CloseCode::Failed(Failure::Broken).number();
                send.reset(code);
                recv.stop(code);
            }
            (Protocol::Tcp, 7) => {
                let how = match recv.read_chunk(usize::MAX).await {
                    Ok(Some(_)) => match recv.read_chunk(usize::MAX).await {
                        Ok(None) => "finished".to_owned(),
                        other => format!("{other:?}"),
                    },
                    other => format!("{other:?}"),
                };
                self.ended.send_replace(Some(how));
            }
            (Protocol::Udp, _) => {
                let mut length = [0; 2];
                while recv.read_exact(&mut length).await.is_ok() {
                    let mut data = vec![0; u16::from_be_bytes(length).into()];
                    recv.read_exact(&mut data).await.unwrap();
                    let mut frame = Vec::new();
                    push_frame(&[b"frame: ", data.as_slice()].concat(), &mut frame).unwrap();
                    send.write_all(&frame).await.unwrap();
                }
                self.ended.send_replace(Some("udp".to_owned()));
            }
            (Protocol::Tcp | Protocol::Icmp, _) => echo(send, recv, cuts).await,
        }
    }
}

impl Network {
    /// Keeps a tunnel until either side ends it.
    pub(crate) fn open(
        &mut self,
        tunnel: TunnelId,
        service: &Name,
        (mut send, mut recv): (SendStream, RecvStream),
        mut cuts: watch::Receiver<Option<CloseCode>>,
    ) -> impl Future<Output = ()> + use<> {
        self.open.lock().unwrap().push(tunnel);
        let (open, destinations) = (Arc::clone(&self.open), destinations(service.as_str()));
        let mut moved = self.machines.moved.subscribe();
        async move {
            write_frame(&mut send, &VpnNews::Destinations(destinations), ANSWER_BYTES).await.unwrap();
            let code = loop {
                let cut = async { cuts.wait_for(Option::is_some).await.unwrap().unwrap().number() };
                tokio::select! {
                    _over = recv.read_chunk(1) => break 0,
                    code = cut => break code,
                    _moved = moved.changed() => {
                        let news = VpnNews::Destinations(moved.borrow_and_update().clone().unwrap());
                        write_frame(&mut send, &news, ANSWER_BYTES).await.unwrap();
                    }
                }
            };
            let mut open = open.lock().unwrap();
            let place = open.iter().position(|one| *one == tunnel).unwrap();
            open.swap_remove(place);
            drop(open);
            send.reset(code);
            recv.stop(code);
        }
    }

    /// What an agent answers to who asks for a discovery.
    pub(crate) fn judge_discovery(&self, tunnel: TunnelId) -> Answer {
        let is_open = self.open.lock().unwrap().contains(&tunnel);
        if is_open { Answer::Discovery } else { Answer::Denied(Reason::NoGrant) }
    }

    /// What an agent answers.
    pub(crate) fn judge(&self, tunnel: TunnelId, to: &FlowTarget, flow: u64) -> Answer {
        if to.protocol == Protocol::Icmp {
            self.machines.echoes.lock().unwrap().push(flow);
        }
        let host = match &to.host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.to_string(),
        };
        self.machines.asked.lock().unwrap().push(format!("{} {host} {}", to.protocol.word(), to.port));
        if !self.open.lock().unwrap().contains(&tunnel) {
            return Answer::Denied(Reason::NoGrant);
        }
        let ip = match &to.host {
            Host::Ip(ip) => *ip,
            Host::Name(name) if name.as_str() == "plc-7" => IpAddr::V4(Ipv4Addr::new(192, 168, 0, 10)),
            Host::Name(_) => return Answer::Failed(Failure::Unresolved),
        };
        let service = if tunnel == LINES { "lines" } else { "cell" };
        let end = postern_protocol::policy::FlowEnd { protocol: to.protocol, ip, port: to.port };
        if !destinations(service).iter().any(|destination| destination.contains(&end)) {
            return Answer::Denied(Reason::PortDenied);
        }
        match to.port {
            1 => Answer::Failed(Failure::Refused),
            2 => Answer::Failed(Failure::Unreachable),
            3 => Answer::Failed(Failure::Timeout),
            4 => Answer::Failed(Failure::Busy),
            5 => Answer::Failed(Failure::Forbidden),
            _ => Answer::Flow { ip },
        }
    }
}

/// The tunnel of `lines`.
const LINES: TunnelId = TunnelId::new([4; 8]);

fn destinations(service: &str) -> Vec<Destination> {
    let net = |ip: &str, prefix| Net { ip: ip.parse().unwrap(), prefix };
    match service {
        "lines" | "taped" => {
            let net = net("192.168.0.0", 24);
            vec![
                Destination { net, carries: Carries::Tcp { ports: Ports::ALL, profile: None } },
                Destination { net, carries: Carries::Udp { ports: Ports::only(161) } },
                Destination { net, carries: Carries::Icmp },
            ]
        }
        _ => {
            let carries = Carries::Tcp { ports: Ports::only(502), profile: None };
            vec![Destination { net: net("10.1.0.10", 32), carries }]
        }
    }
}
