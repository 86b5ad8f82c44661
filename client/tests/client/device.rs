//! A device whose services echo, refuse or are cut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postern_protocol::id::{DeviceId, TunnelId, UserId};
use postern_protocol::limits;
use postern_protocol::policy::{Kind, Mode, Reason};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::pass::{EXPORTER_LABEL, Presented};
use postern_protocol::trust::{PassFault, Role as TrustRole, RoleKeys, Root, Subject};
use postern_protocol::wire::flow::message::{begin_datagram, split_datagram};
use postern_protocol::wire::hub::DeviceEntry;
use postern_protocol::wire::registry::{ALPN_TUNNEL_V1, CloseCode, Failure};
use postern_protocol::wire::text::Text;
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer, Holder, Request, ServiceEntry};
use postern_transport::framed::{read_frame, write_frame};
use postern_transport::quic::{Connection, Endpoint, RecvStream, Role, SendStream, Settings};
use tokio::sync::watch;

use crate::hub::{FLEET, IDENTITY, now};
use crate::machines::Machines;
use crate::panel::Panel;
use crate::world::{GENEROUS, secret};

const KEY: u8 = 11;
const ID: DeviceId = DeviceId::new([11; 8]);

/// `hmi` and `other` (HTTP) and `live` (WebSocket) are [`Panel`]s; `panel` and `vault` (VNC) echo; `plc` cannot be
/// reached; `vault` wants a second factor that is not older than a minute; `kiosk` (VNC) has one place, and whoever asks
/// first does not keep it; `booth` (VNC) tells its viewer why there is no screen. `lines`, `cell` and `guarded` are VPNs of
/// [`Machines`], the last for those with a second factor; `taped` is
/// `lines` and recorded.
pub(crate) struct Device {
    endpoint: Endpoint,
    cut: watch::Sender<Option<CloseCode>>,
    opens: Arc<Mutex<Vec<String>>>,
    /// The machine behind the web services.
    pub(crate) site: Panel,
    /// The machines behind the VPNs.
    pub(crate) machines: Machines,
}

impl Device {
    pub(crate) fn start(addr: SocketAddr) -> Self {
        let role = Role::Server { alpns: vec![ALPN_TUNNEL_V1.to_vec()] };
        let endpoint = Endpoint::bind(addr, &secret(KEY), role, &Settings::session()).unwrap();
        let (cut, cuts) = watch::channel(None);
        let opens = Arc::new(Mutex::new(Vec::new()));
        let (listening, shared) = (endpoint.clone(), Arc::clone(&opens));
        let site = Panel::default();
        let machines = Machines::new(site.clone());
        let (shown, reached) = (site.clone(), machines.clone());
        tokio::spawn(async move {
            while let Some(incoming) = listening.accept().await {
                let (cuts, shared, shown) = (cuts.clone(), Arc::clone(&shared), shown.clone());
                let reached = reached.clone();
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.handshake(GENEROUS).await {
                        serve(connection, cuts, shared, (shown, reached)).await;
                    }
                });
            }
        });
        Self { endpoint, cut, opens, site, machines }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.endpoint.local_addr().unwrap()
    }

    pub(crate) fn entry(&self, name: &str, account: &str) -> DeviceEntry {
        DeviceEntry {
            device: ID,
            name: name.parse().unwrap(),
            account: Text::clean(account),
            label: Some("Press in hall 3".parse().unwrap()),
            key: secret(KEY).public(),
            addresses: vec![self.addr()],
            online: true,
        }
    }

    /// Cuts every open tunnel.
    pub(crate) fn cut(&self, code: CloseCode) {
        self.cut.send_replace(Some(code));
    }

    /// Cuts no tunnel any more.
    pub(crate) fn heal(&self) {
        self.cut.send_replace(None);
    }

    /// Refuses every tunnel from now on.
    pub(crate) fn refuse(&self, reason: Reason) {
        *self.site.refusal.lock().unwrap() = Some(reason);
    }

    /// Refuses no tunnel any more.
    pub(crate) fn permit(&self) {
        *self.site.refusal.lock().unwrap() = None;
    }

    /// Services that were asked for, in order.
    pub(crate) fn opens(&self) -> Vec<String> {
        self.opens.lock().unwrap().clone()
    }

    /// Shuts down as an agent does.
    pub(crate) fn stop(&self) {
        self.endpoint.close(CloseCode::Failed(Failure::Shutdown).number(), b"");
    }
}

async fn serve(
    connection: Connection,
    cuts: watch::Receiver<Option<CloseCode>>,
    opens: Arc<Mutex<Vec<String>>>,
    (site, machines): (Panel, Machines),
) {
    let mut network = machines.network();
    let (datagrams, reached) = (connection.clone(), machines.clone());
    tokio::spawn(async move {
        while let Ok(datagram) = datagrams.read_datagram().await {
            let (flow, message) = split_datagram(&datagram).unwrap();
            let mut answer = Vec::new();
            begin_datagram(flow, &mut answer);
            // An echo comes back as it is.
            let words: &[u8] = if reached.is_echo(flow) { b"" } else { b"datagram: " };
            answer.extend_from_slice(&[words, message].concat());
            assert!(datagrams.send_datagram(answer.into()));
        }
    });
    let mut known: Option<Subject> = None;
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        let request = read_frame(&mut recv, limits::FRAME_BYTES, GENEROUS).await.unwrap();
        let answer = match (&request, &known) {
            (Request::Authenticate { .. }, _) => match authenticate(&connection, &request) {
                Ok(subject) => {
                    let until = subject.expires();
                    known = Some(subject);
                    Answer::Welcome { device: ID, agent: Text::clean("test"), until }
                }
                Err(_) => Answer::Denied(Reason::BadPass),
            },
            (
                Request::ListServices
                | Request::Open { .. }
                | Request::OpenVpn { .. }
                | Request::Flow { .. }
                | Request::Discover { .. }
                | Request::Packets { .. },
                None,
            ) => Answer::Denied(Reason::BadPass),
            (Request::Discover { tunnel, .. }, Some(_)) => network.judge_discovery(*tunnel),
            (Request::Flow { tunnel, to }, Some(_)) => network.judge(*tunnel, to, send.index()),
            (Request::Packets { .. }, Some(_)) => Answer::Failed(Failure::NoPackets),
            (Request::ListServices, Some(subject)) => {
                let mut listed = services(subject);
                listed.extend(machines.listed());
                listed.sort_by(|a, b| a.name.cmp(&b.name));
                Answer::Services(listed)
            }
            (Request::OpenVpn { service, .. }, Some(subject)) => {
                opens.lock().unwrap().push(service.to_string());
                let refusal = *site.refusal.lock().unwrap();
                refusal.map_or_else(|| open_vpn(service.as_str(), subject), Answer::Denied)
            }
            (Request::Open { service, view_only }, Some(subject)) => {
                let wish = if *view_only { " to look" } else { "" };
                let mut opens = opens.lock().unwrap();
                opens.push(format!("{service}{wish}"));
                let refusal = *site.refusal.lock().unwrap();
                match (service.as_str(), refusal) {
                    (_, Some(reason)) => Answer::Denied(reason),
                    ("kiosk", None) if opens.iter().filter(|name| *name == "kiosk").count() > 1 => {
                        let role = Some("technician".parse().unwrap());
                        let holder = Holder {
                            user: UserId::new([9; 8]),
                            role,
                            since: UnixTime::from_secs(1_795_000_000),
                        };
                        Answer::Occupied { holder, may_look: true }
                    }
                    (name, None) => open(name, *view_only, subject),
                }
            }
        };
        if let Some(bytes) = hostile(&request) {
            send.write_all(bytes).await.unwrap();
            send.finish().unwrap();
            continue;
        }
        write_frame(&mut send, &answer, ANSWER_BYTES).await.unwrap();
        match (answer, &request) {
            (Answer::Accepted { .. }, Request::Open { service, .. }) if service.as_str() == "brief" => {
                tokio::spawn(answer_early(send, recv));
            }
            (Answer::Accepted { kind: Kind::Http | Kind::Websocket, .. }, _) => {
                tokio::spawn(site.clone().serve(send, recv, cuts.clone()));
            }
            (Answer::Accepted { .. }, Request::Open { service, .. }) if service.as_str() == "booth" => {
                tokio::spawn(explain(send, recv));
            }
            (Answer::Accepted { kind: Kind::Vpn, tunnel, .. }, Request::OpenVpn { service, .. }) => {
                tokio::spawn(network.open(tunnel, service, (send, recv), cuts.clone()));
            }
            (Answer::Flow { .. }, Request::Flow { to, .. }) => {
                tokio::spawn(machines.clone().serve(to.clone(), (send, recv), cuts.clone()));
            }
            (Answer::Discovery, Request::Discover { tunnel, scan }) => {
                tokio::spawn(machines.clone().tell(*tunnel, *scan, (send, recv), cuts.clone()));
            }
            (Answer::Accepted { .. }, _) => {
                tokio::spawn(echo(send, recv, cuts.clone()));
            }
            (_, _) => {
                send.finish().unwrap();
            }
        }
    }
}

/// What a broken or hostile device answers when asked for these services.
fn hostile(request: &Request) -> Option<&'static [u8]> {
    let Request::Open { service, .. } = request else { return None };
    match service.as_str() {
        "huge" => Some(&[0xff; 4]),
        "garbage" => Some(&[3, 0, 0, 0, 0xff, 0xff, 0xff]),
        "short" => Some(&[9, 0, 0, 0, 1]),
        "silent" => Some(&[]),
        _ => None,
    }
}

fn authenticate(connection: &Connection, request: &Request) -> Result<Subject, PassFault> {
    let Request::Authenticate { pass, proof } = request else { panic!("not reached") };
    let exporter = connection.export_keying_material(EXPORTER_LABEL, &[]).unwrap();
    let presented = Presented { pass, proof: *proof, exporter: &exporter, peer_key: connection.peer_key() };
    let role = |role| RoleKeys { role, threshold: 1, keys: vec![secret(IDENTITY).public()] };
    let root = Root {
        fleet: FLEET,
        version: 1,
        expires: UnixTime::MAX,
        policy_epoch: 1,
        roles: vec![role(TrustRole::Root), role(TrustRole::Policy), role(TrustRole::Identity)],
        hubs: Vec::new(),
    };
    Subject::authenticate(&presented, ID, &root, now())
}

fn services(subject: &Subject) -> Vec<ServiceEntry> {
    let always = UnixTime::from_secs(4_000_000_000);
    let entry = |name: &str, kind, blocked, until: Option<UnixTime>| {
        let mode = until.map(|_| TOUCH);
        let recorded = false;
        ServiceEntry { name: name.parse().unwrap(), kind, mode, blocked, until, recorded }
    };
    let vault = vault_until(subject);
    let blocked = vault.is_none().then_some(Reason::SecondFactorRequired);
    vec![
        entry("hmi", Kind::Http, None, Some(always)),
        entry("live", Kind::Websocket, None, Some(always)),
        entry("panel", Kind::Vnc, None, Some(always)),
        entry("vault", Kind::Vnc, blocked, vault),
    ]
}

const TOUCH: Mode = Mode::Full { clipboard: false };

fn open(service: &str, view_only: bool, subject: &Subject) -> Answer {
    let mode = if view_only { Mode::ViewOnly } else { TOUCH };
    let start = (service == "hmi").then(|| Text::clean("/start?page=1"));
    let (tunnel, recorded) = (TunnelId::new([3; 8]), service == "till");
    let accepted = |kind, until| Answer::Accepted { tunnel, kind, mode, until, start, recorded };
    match service {
        "hmi" | "other" | "brief" => accepted(Kind::Http, UnixTime::MAX),
        "live" => accepted(Kind::Websocket, UnixTime::MAX),
        "panel" | "kiosk" | "booth" | "till" => accepted(Kind::Vnc, UnixTime::MAX),
        "vault" => match vault_until(subject) {
            Some(until) => accepted(Kind::Vnc, until),
            None => Answer::Denied(Reason::SecondFactorRequired),
        },
        "plc" => Answer::Failed(Failure::Unreachable),
        _ => Answer::Denied(Reason::NoGrant),
    }
}

fn open_vpn(service: &str, subject: &Subject) -> Answer {
    let accepted = |id, until| Answer::Accepted {
        tunnel: TunnelId::new([id; 8]),
        kind: Kind::Vpn,
        mode: TOUCH,
        until,
        start: None,
        recorded: service == "taped",
    };
    match service {
        "lines" | "taped" => accepted(4, UnixTime::MAX),
        "cell" => accepted(5, UnixTime::MAX),
        "guarded" => match vault_until(subject) {
            Some(until) => accepted(5, until),
            None => Answer::Denied(Reason::SecondFactorRequired),
        },
        _ => Answer::Denied(Reason::NoGrant),
    }
}

/// A minute after the second factor.
fn vault_until(subject: &Subject) -> Option<UnixTime> {
    subject.second_factor_at().map(|at| at.saturating_add(60))
}

/// Tells the viewer a reason in its own protocol, and the client the code behind it.
async fn explain(mut send: SendStream, mut recv: RecvStream) {
    send.write_all(b"RFB 003.008\n\0\0\0\0\x09no secret").await.unwrap();
    recv.stop(CloseCode::Failed(Failure::Secret).number());
    send.finish().unwrap();
    assert_eq!(send.stopped().await, Ok(None), "the client takes it all");
}

/// Hears no more than the head of a request, and answers it.
async fn answer_early(mut send: SendStream, mut recv: RecvStream) {
    let mut heard = Vec::new();
    while !heard.windows(4).any(|window| window == b"\r\n\r\n") {
        heard.extend_from_slice(&recv.read_chunk(usize::MAX).await.unwrap().unwrap());
    }
    recv.stop(CloseCode::Done.number());
    let gave_up = tokio::time::timeout(Duration::from_millis(200), send.stopped()).await;
    assert!(gave_up.is_err(), "the client waits for the answer");
    send.write_all(b"HTTP/1.1 413 No\r\nContent-Length: 8\r\nConnection: close\r\n\r\ntoo long")
        .await
        .unwrap();
    send.finish().unwrap();
    assert_eq!(send.stopped().await, Ok(None), "the client takes it all");
}

/// Sends back what comes, and `bye` when the client has ended.
pub(crate) async fn echo(
    mut send: SendStream,
    mut recv: RecvStream,
    mut cuts: watch::Receiver<Option<CloseCode>>,
) {
    loop {
        let cut = async { cuts.wait_for(Option::is_some).await.unwrap().unwrap().number() };
        tokio::select! {
            chunk = recv.read_chunk(usize::MAX) => match chunk {
                Ok(Some(chunk)) => send.write_chunk(chunk).await.unwrap(),
                Ok(None) => break,
                Err(_) => return,
            },
            code = cut => {
                send.reset(code);
                recv.stop(code);
                return;
            }
        }
    }
    send.write_all(b"bye").await.unwrap();
    send.finish().unwrap();
}
