//! Dials a hub: addresses in order, its key among those that the root names.

use std::net::SocketAddr;

use postern_protocol::trust::{PublicKey, SecretKey};
use postern_protocol::wire::registry::ALPNS_HUB;
use postern_transport::ladder::{Climbed, Fallen, Ladder};
use postern_transport::quic::{BindError, Connection, Endpoint, Goal, Role, Settings};
use tokio::task::JoinSet;

use super::link::LinkError;
use crate::surroundings::wildcard;

/// A connection to a hub and the socket under it.
pub(super) struct Dialled {
    pub(super) endpoint: Endpoint,
    pub(super) connection: Connection,
    pub(super) hub: SocketAddr,
    /// Moves it between UDP and TLS.
    _climb: JoinSet<()>,
}

/// Connects to the first hub that answers with a key of a genuine hub.
pub(super) async fn dial(
    key: &SecretKey,
    hub_keys: &[PublicKey],
    hubs: &[SocketAddr],
    ladder: &Ladder,
) -> Result<Dialled, LinkError> {
    let settings = Settings::control();
    let mut last = LinkError::NoHub;
    for hub in hubs {
        // One socket per attempt and family: a wildcard socket picks the interface that leads to this hub.
        let endpoint = bind(*hub, key, &settings)?;
        match connect(ladder, &endpoint, (*hub, hub_keys), &settings).await {
            Ok(Climbed { connection, climb, .. }) => {
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
    ladder: &Ladder,
    endpoint: &Endpoint,
    (hub, hub_keys): (SocketAddr, &[PublicKey]),
    settings: &Settings,
) -> Result<Climbed, Fallen> {
    let to = |expected| {
        let (addresses, settings) = (vec![hub], settings.clone());
        ladder.to_hub(endpoint, Goal { addresses, expected, alpns: ALPNS_HUB, settings })
    };
    let Some(first) = hub_keys.first() else { return Err(Fallen::default()) };
    let fallen = match to(*first).await {
        Ok(climbed) => return Ok(climbed),
        Err(fallen) => fallen,
    };
    match fallen.unexpected_key() {
        Some((_, found)) if hub_keys.contains(&found) => to(found).await,
        Some(_) | None => Err(fallen),
    }
}

fn bind(hub: SocketAddr, key: &SecretKey, settings: &Settings) -> Result<Endpoint, BindError> {
    Endpoint::bind(wildcard(hub), key, Role::Client, settings)
}
