//! Dials a hub: addresses in order, its key among those that the root names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use postern_protocol::trust::{PublicKey, SecretKey};
use postern_protocol::wire::registry::ALPNS_HUB;
use postern_transport::ladder::{self, Climbed};
use postern_transport::quic::{BindError, ConnectError, Connection, Endpoint, Goal, Role, Settings};
use tokio::task::JoinSet;

use super::link::LinkError;

/// A connection to a hub and the socket under it.
pub(super) struct Dialled {
    pub(super) endpoint: Endpoint,
    pub(super) connection: Connection,
    pub(super) hub: SocketAddr,
    /// Looks for UDP where the connection was made over TLS.
    _climb: Option<JoinSet<()>>,
}

/// Connects to the first hub that answers with a key of a genuine hub.
pub(super) async fn dial(
    key: &SecretKey,
    hub_keys: &[PublicKey],
    hubs: &[SocketAddr],
) -> Result<Dialled, LinkError> {
    let settings = Settings::control();
    let mut last = LinkError::NoHub;
    for hub in hubs {
        // One socket per attempt and family: a wildcard socket picks the interface that leads to this hub.
        let endpoint = bind(*hub, key, &settings)?;
        match connect(&endpoint, *hub, hub_keys, &settings).await {
            Ok(Climbed { connection, climb }) => {
                return Ok(Dialled { endpoint, connection, hub: *hub, _climb: climb });
            }
            Err(error) => {
                tracing::debug!(%hub, %error, "a hub cannot be reached");
                last = LinkError::Connect { hub: *hub, error };
            }
        }
    }
    Err(last)
}

/// Pins the first key; where the hub proves another one that is genuine too, pins that one.
async fn connect(
    endpoint: &Endpoint,
    hub: SocketAddr,
    hub_keys: &[PublicKey],
    settings: &Settings,
) -> Result<Climbed, ConnectError> {
    let to = |expected| {
        let (addresses, settings) = (vec![hub], settings.clone());
        ladder::to_hub(endpoint, Goal { addresses, expected, alpns: ALPNS_HUB, settings })
    };
    let Some(first) = hub_keys.first() else { return Err(ConnectError::NoProtocol) };
    match to(*first).await {
        Err(ConnectError::UnexpectedKey { found, .. }) if hub_keys.contains(&found) => to(found).await,
        connected => connected,
    }
}

/// The local address from which `hub` is reached. Sends nothing.
pub(super) fn source_towards(hub: SocketAddr) -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind(wildcard(hub)).ok()?;
    socket.connect(hub).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip()).filter(|ip| !ip.is_unspecified())
}

fn bind(hub: SocketAddr, key: &SecretKey, settings: &Settings) -> Result<Endpoint, BindError> {
    Endpoint::bind(wildcard(hub), key, Role::Client, settings)
}

const fn wildcard(hub: SocketAddr) -> SocketAddr {
    match hub {
        SocketAddr::V4(_) => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        SocketAddr::V6(_) => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    }
}
