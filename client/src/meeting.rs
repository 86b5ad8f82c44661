//! Meeting a device at a relay, where it cannot be dialled.
//!
//! 1. [`ask`] asks the hub for a meeting; the hub tells the device as well.
//! 2. [`dial`] binds a leg at the first relay that answers, over UDP or, where no answer comes, over TLS, and dials the device through it.
//!    Its key is pinned as always: a relay can only fail.
//! 3. While the connection lasts, the device's own addresses are tried, ever more rarely. When it answers at one, with its key, the
//!    connection moves there; when nothing comes from there any more, it moves back.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use postern_protocol::id::DeviceId;
use postern_protocol::wire::hub::{HubAnswer, HubRequest};
use postern_protocol::wire::relay::{Meeting, Place};
use postern_transport::OuterStream;
use postern_transport::quic::{Connection, Endpoint, Role, Settings, Way};

use crate::dial::{AttemptError, Call, DialError, Dialled, any};
use crate::hub::{GLANCE_WITHIN, HubLink};
use crate::profile::Identity;

/// A meeting, and where the hub was that named it.
#[derive(Debug)]
pub(crate) struct Met {
    meeting: Meeting,
    hub: IpAddr,
}

/// Asks the hub for a meeting with a device; none where it has no relay, the device is not there, or the hub is away.
pub(crate) async fn ask(identity: &Identity, device: DeviceId) -> Option<Met> {
    let membership = &identity.membership;
    let dialled = HubLink::dial(&identity.key, membership.hub_key, &membership.hubs, GLANCE_WITHIN).await;
    let hub = dialled.ok()?;
    let answer = hub.ask(&HubRequest::Meet { device }).await;
    let addr = hub.addr().ip();
    hub.close().await;
    match answer {
        Ok(HubAnswer::Meeting(meeting)) => Some(Met { meeting, hub: addr }),
        Ok(_) | Err(_) => None,
    }
}

/// Dials a device through the first relay that answers.
pub(crate) async fn dial(call: &Call, met: &Met, addresses: &[SocketAddr]) -> Result<Dialled, DialError> {
    for Place { ip, udp, tls, .. } in &met.meeting.relays {
        let ip = ip.unwrap_or(met.hub);
        let relay = |port: u16| SocketAddr::new(ip, port);
        let endpoint = bind(call, ip).map_err(|error| DialError::from_one(relay(0), error))?;
        let way = match (udp, tls) {
            (Some(port), _) => over_udp(&endpoint, met, relay(*port)).await,
            (None, _) => None,
        };
        let way = match (way, tls) {
            (None, Some(port)) => over_tls(&endpoint, met, relay(*port)).await,
            (way, _) => way,
        };
        let Some((way, addr)) = way else { continue };
        let connected = endpoint.connect(way.peer(), call.expected, call.alpns, &call.settings).await;
        let connection = connected.map_err(|error| DialError::from_one(addr, error.into()))?;
        let mut climb = JoinSet::new();
        climb.spawn(Climb::new(call, &endpoint, &connection, addresses).run(way));
        return Ok(Dialled::relayed(connection, addr, endpoint, climb));
    }
    Err(DialError::NoAddress)
}

fn bind(call: &Call, towards: IpAddr) -> Result<Endpoint, AttemptError> {
    Ok(Endpoint::bind(any(towards), &call.key, Role::Client, &call.settings)?)
}

async fn over_udp(endpoint: &Endpoint, met: &Met, relay: SocketAddr) -> Option<(Way, SocketAddr)> {
    let way = endpoint.relayed_way(endpoint.new_peer(), relay, met.meeting.leg.clone());
    bound(way, relay).await
}

async fn over_tls(endpoint: &Endpoint, met: &Met, relay: SocketAddr) -> Option<(Way, SocketAddr)> {
    let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(relay)).await;
    let stream = connecting.ok()?.ok()?;
    let _slower = stream.set_nodelay(true);
    let stream = OuterStream::connect(stream, relay, CONNECT).await.ok()?;
    let way = endpoint.stream_way(endpoint.new_peer(), stream, Some(met.meeting.leg.clone()));
    bound(way, relay).await
}

async fn bound(way: Way, relay: SocketAddr) -> Option<(Way, SocketAddr)> {
    let bound = tokio::time::timeout(ANSWER, way.bound()).await;
    matches!(bound, Ok(Some(_))).then_some((way, relay))
}

/// Looks for a straight way while a connection goes through a relay.
struct Climb {
    call: Call,
    endpoint: Endpoint,
    connection: Connection,
    addresses: Vec<SocketAddr>,
}

impl Climb {
    fn new(call: &Call, endpoint: &Endpoint, connection: &Connection, addresses: &[SocketAddr]) -> Self {
        let (call, endpoint, connection) = (call.clone(), endpoint.clone(), connection.clone());
        Self { call, endpoint, connection, addresses: addresses.to_vec() }
    }

    async fn run(self, relayed: Way) {
        let mut pause = SOON;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RARELY);
            for addr in &self.addresses {
                if self.answers(*addr).await {
                    let way = self.endpoint.direct_way(relayed.peer(), *addr);
                    if self.endpoint.take(&way) {
                        let taken = Instant::now();
                        self.watch(&way).await;
                        self.endpoint.take(&relayed);
                        if taken.elapsed() > RELIABLE {
                            pause = SOON;
                        }
                    }
                    break;
                }
            }
        }
    }

    /// Whether the device is there: it proves its key.
    async fn answers(&self, addr: SocketAddr) -> bool {
        let settings = Settings { handshake: ANSWER, ..self.call.settings.clone() };
        let tried = self.endpoint.connect(addr, self.call.expected, self.call.alpns, &settings).await;
        tried.inspect(|tried| tried.close(0, b"")).is_ok()
    }

    /// Waits until packets go out and none come back.
    async fn watch(&self, way: &Way) {
        let (mut sent, taken) = (self.connection.sent(), Instant::now());
        loop {
            tokio::time::sleep(GLANCE).await;
            // The device follows with its next packet.
            let silence = way.silence().unwrap_or_else(|| taken.elapsed());
            if silence < GLANCE * 2 {
                sent = self.connection.sent();
            } else if silence >= LOST && self.connection.sent() > sent {
                return;
            }
        }
    }
}

impl DialError {
    fn from_one(addr: SocketAddr, last: AttemptError) -> Self {
        Self::from_failures(vec![(addr, last)])
    }
}

/// For a relay's first answer, and for a device's at its own address.
const ANSWER: Duration = Duration::from_secs(2);
/// For TCP, and then for TLS.
const CONNECT: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_secs(1);
const RARELY: Duration = Duration::from_secs(600);
/// A straight way that lasted for so long is tried again soon.
const RELIABLE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(500);
/// Silence after packets of the own after which a straight way is given up.
const LOST: Duration = Duration::from_secs(3);
