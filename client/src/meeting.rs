//! Meeting a device at a relay, where it cannot be dialled.
//!
//! 1. [`ask`] asks the hub for a meeting; the hub tells the device as well.
//! 2. [`dial`] binds a leg at the first relay that answers, over UDP or, where no answer comes, over TLS, and dials the device through it.
//!    Its key is pinned as always: a relay can only fail.
//! 3. While the connection lasts, it moves to an address of the device's own when that answers, and back ([`Endpoint::climb`]).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::task::JoinSet;

use postern_protocol::id::DeviceId;
use postern_protocol::wire::hub::{HubAnswer, HubRequest};
use postern_protocol::wire::relay::{Meeting, Place};
use postern_transport::ladder;
use postern_transport::quic::{Endpoint, Goal, Role, Settings, Way};

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
    let mut missed = DialError::NoAddress;
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
        let settings = Settings { handshake: COMING, ..call.settings.clone() };
        let connection = match endpoint.connect(way.peer(), call.expected, call.alpns, &settings).await {
            Ok(connection) => connection,
            // It may wait at the next one, because this one does not answer it.
            Err(error) => {
                missed = DialError::from_one(addr, error.into());
                continue;
            }
        };
        let mut climb = JoinSet::new();
        let (expected, alpns, settings) = (call.expected, call.alpns, call.settings.clone());
        let goal = Goal { addresses: addresses.to_vec(), expected, alpns, settings };
        climb.spawn(endpoint.clone().climb(connection.clone(), way, goal));
        return Ok(Dialled::relayed(connection, addr, endpoint, climb));
    }
    Err(missed)
}

fn bind(call: &Call, towards: IpAddr) -> Result<Endpoint, AttemptError> {
    Ok(Endpoint::bind(any(towards), &call.key, Role::Client, &call.settings)?)
}

async fn over_udp(endpoint: &Endpoint, met: &Met, relay: SocketAddr) -> Option<(Way, SocketAddr)> {
    let way = endpoint.relayed_way(endpoint.new_peer(), relay, met.meeting.leg.clone());
    bound(way, relay).await
}

async fn over_tls(endpoint: &Endpoint, met: &Met, relay: SocketAddr) -> Option<(Way, SocketAddr)> {
    bound(ladder::relayed_over_tls(endpoint, relay, met.meeting.leg.clone()).await?, relay).await
}

async fn bound(way: Way, relay: SocketAddr) -> Option<(Way, SocketAddr)> {
    let bound = tokio::time::timeout(ANSWER, way.bound()).await;
    matches!(bound, Ok(Some(_))).then_some((way, relay))
}

impl DialError {
    fn from_one(addr: SocketAddr, last: AttemptError) -> Self {
        Self::from_failures(vec![(addr, last)])
    }
}

/// For a device to come to a relay, which may have to try UDP and TLS.
const COMING: Duration = Duration::from_secs(8);
/// For a relay's first answer.
const ANSWER: Duration = Duration::from_secs(2);
