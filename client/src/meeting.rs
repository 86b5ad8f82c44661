//! Meeting a device at a relay, where it cannot be dialled.
//!
//! 1. [`ask`] asks the hub for a meeting; the hub tells the device as well.
//! 2. [`dial`] binds a leg at the first relay that answers, by whatever [rung](postern_transport::ladder) leads there, and dials the device
//!    through it. Its key is pinned as always: a relay can only fail.
//! 3. A connection that was made without a relay comes to one when packets on its way are lost ([`ToMeeting`]), and one whose relay is
//!    gone to another one ([`FromRelay`]).
//! 4. While the connection lasts, it moves to an address of the device's own when that answers, and back ([`Endpoint::keep`]).

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use tokio::task::JoinSet;

use postern_protocol::id::DeviceId;
use postern_protocol::wire::hub::{HubAnswer, HubRequest};
use postern_protocol::wire::relay::{Meeting, Place};
use postern_transport::ladder::{Ladder, Spot, ToRelay};
use postern_transport::quic::{Descend, Endpoint, First, Goal, Role, Settings, Way};

use crate::dial::{AttemptError, Beyond, Call, DialError, Dialled, any};
use crate::hub::{GLANCE_WITHIN, HubLink};
use crate::profile::Identity;

/// A meeting, and where the hub was that named it.
#[derive(Debug)]
pub(crate) struct Met {
    /// The own end.
    pub(crate) meeting: Meeting,
    /// Where the hub was.
    pub(crate) hub: IpAddr,
}

/// A device that may be met, and who would meet it.
#[derive(Clone, Debug)]
pub(crate) struct Elsewhere {
    /// Who.
    pub(crate) identity: Identity,
    /// The device.
    pub(crate) device: DeviceId,
}

/// From a straight way to a device to a relay.
pub(crate) struct ToMeeting {
    /// Who meets whom.
    pub(crate) elsewhere: Box<Elsewhere>,
    /// That of the connection.
    pub(crate) endpoint: Endpoint,
}

/// From a relay to the same one over TLS, and to another one when it is gone.
struct FromRelay {
    relay: ToRelay,
    meeting: ToMeeting,
    /// Meetings in a row.
    met: u8,
}

impl ToMeeting {
    /// A way through a relay at which the device is expected, and where that is.
    async fn meet(&self, peer: SocketAddr) -> Option<(Way, Spot)> {
        let Elsewhere { identity, device } = &*self.elsewhere;
        let met = ask_anew(identity, *device).await?;
        for spot in met.spots() {
            if let Ok(bound) = identity.ladder.to_relay(&self.endpoint, peer, &spot).await {
                return Some((bound.way, spot));
            }
        }
        None
    }
}

impl Descend for ToMeeting {
    async fn descend(&mut self, peer: SocketAddr) -> Option<Way> {
        self.meet(peer).await.map(|(way, _)| way)
    }
}

impl Descend for FromRelay {
    async fn descend(&mut self, peer: SocketAddr) -> Option<Way> {
        // A device that has lost the same relay may have lost its hub as well, and hears of a meeting when it has another one.
        if !(1..MEETINGS).contains(&self.met) {
            self.met = 0;
            if let Ok(Some(way)) = tokio::time::timeout(HERE, self.relay.descend(peer)).await {
                return Some(way);
            }
        }
        let (way, spot) = self.meeting.meet(peer).await?;
        (self.relay.spot, self.met) = (spot, self.met.saturating_add(1));
        Some(way)
    }

    async fn ascend(&mut self, peer: SocketAddr) -> Option<Way> {
        self.relay.ascend(peer).await
    }
}

impl Met {
    /// Where it may take place, best first.
    fn spots(&self) -> impl Iterator<Item = Spot> {
        self.meeting.relays.iter().map(|Place { ip, udp, tls, certificate }| {
            let at = |port: &u16| SocketAddr::new(ip.unwrap_or(self.hub), *port);
            let (udp, tls) = (udp.as_ref().map(at), tls.as_ref().map(at));
            Spot { udp, tls, leg: self.meeting.leg.clone(), certificate: *certificate }
        })
    }
}

/// Asks the hub for a meeting with a device; none where it has no relay, the device is not there, or the hub is away.
pub(crate) async fn ask(identity: &Identity, device: DeviceId) -> Option<Met> {
    let membership = &identity.membership;
    let (key, hubs) = (&identity.key, &membership.hubs);
    let dialled = HubLink::dial(key, membership.hub_key, hubs, GLANCE_WITHIN, &identity.ladder).await;
    let hub = dialled.ok()?;
    let answer = hub.ask(&HubRequest::Meet { device }).await;
    let addr = hub.addr().ip();
    hub.close().await;
    match answer {
        Ok(HubAnswer::Meeting(meeting)) => Some(Met { meeting, hub: addr }),
        Ok(_) | Err(_) => None,
    }
}

/// The same for a connection that stands. A type of its own, because asking the hub takes a connection as well.
fn ask_anew(identity: &Identity, device: DeviceId) -> Pin<Box<dyn Future<Output = Option<Met>> + Send + '_>> {
    Box::pin(ask(identity, device))
}

/// Dials a device through the first relay that answers.
pub(crate) async fn dial(
    call: &Call,
    met: &Met,
    addresses: &[SocketAddr],
    ladder: &Ladder,
) -> Result<Dialled, DialError> {
    let mut missed = DialError::NoAddress;
    for spot in met.spots() {
        let Some(near) = spot.udp.or(spot.tls) else { continue };
        let endpoint = bind(call, near.ip()).map_err(|error| DialError::from_one(near, error))?;
        let bound = match ladder.to_relay(&endpoint, endpoint.new_peer(), &spot).await {
            Ok(bound) => bound,
            Err(fallen) => {
                missed = DialError::from_one(near, fallen.into());
                continue;
            }
        };
        let (way, addr) = (bound.way, bound.addr);
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
        let relay = ToRelay { ladder: ladder.clone(), endpoint: endpoint.clone(), spot };
        let (keeper, connected) = (endpoint.clone(), connection.clone());
        match &call.beyond {
            Beyond::Device(elsewhere) => {
                let meeting = ToMeeting { elsewhere: elsewhere.clone(), endpoint: endpoint.clone() };
                let descend = FromRelay { relay, meeting, met: 0 };
                climb.spawn(keeper.keep(connected, First::Other(way), goal, descend));
            }
            Beyond::Hub(_) => drop(climb.spawn(keeper.keep(connected, First::Other(way), goal, relay))),
        }
        return Ok(Dialled::relayed(connection, addr, endpoint, climb));
    }
    Err(missed)
}

fn bind(call: &Call, towards: IpAddr) -> Result<Endpoint, AttemptError> {
    Ok(Endpoint::bind(any(towards), &call.key, Role::Client, &call.settings)?)
}

impl DialError {
    fn from_one(addr: SocketAddr, last: AttemptError) -> Self {
        Self::from_failures(vec![(addr, last)])
    }
}

/// Meetings in a row to which nobody came, before the last relay is tried over TLS.
const MEETINGS: u8 = 4;
/// For the present relay over TLS, before another one is asked for.
const HERE: Duration = Duration::from_secs(2);
/// For a device to come to a relay, which may have to try UDP and TLS.
const COMING: Duration = Duration::from_secs(8);
