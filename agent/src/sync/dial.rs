//! Dials a hub: addresses in order, its key among those that the root names. While a hub does not answer, another one is looked for
//! ([`another`]): the link lasts until one is found.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use postern_protocol::path::Path;
use postern_protocol::session::pulse::{Network, Pulse};
use postern_protocol::trust::{PublicKey, SecretKey};
use postern_protocol::wire::registry::ALPNS_HUB;
use postern_transport::ladder::{Climbed, Fallen, Ladder};
use postern_transport::quic::{BindError, Connection, Endpoint, Goal, Role, Settings};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::link::LinkError;
use crate::surroundings::{source_towards, wildcard};

/// A connection to a hub and the socket under it.
pub(super) struct Dialled {
    pub(super) endpoint: Endpoint,
    pub(super) connection: Connection,
    pub(super) hub: SocketAddr,
    /// Where it was when it was dialled.
    pub(super) network: Option<Network>,
    /// How often a single byte goes out, for a NAT that forgets soon.
    byte: Option<Duration>,
    /// Moves it between UDP and TLS.
    _climb: JoinSet<()>,
}

impl Dialled {
    /// Whether the hub is reached from another address by now.
    pub(super) fn has_moved(&self) -> bool {
        let now = source_towards(self.hub);
        now.is_some() && now != self.network.map(|network| network.own)
    }

    /// Asks whether the hub is there when nothing has come of it for a while, as long as tunnels are live: an idle link pings rarely, and
    /// traffic that costs money is no reason then.
    pub(super) async fn keep_in_sight(&self, mut busy: watch::Receiver<bool>) -> Infallible {
        loop {
            if busy.wait_for(|busy| *busy).await.is_err() {
                return std::future::pending().await;
            }
            let heard = self.connection.received();
            tokio::time::sleep(GLANCE).await;
            if self.connection.received() == heard && *busy.borrow() {
                self.endpoint.ask();
            }
        }
    }

    /// Keeps the mapping of the own address where pings alone do not.
    pub(super) async fn keep_mapped(&self) -> Infallible {
        let Some(byte) = self.byte else { return std::future::pending().await };
        loop {
            tokio::time::sleep(byte).await;
            // TCP has mappings that last.
            if self.connection.peer().path == Path::Direct {
                self.endpoint.knock(self.hub);
            }
        }
    }
}

/// Waits until the hub of a link has not answered for a while and another one is there.
pub(super) async fn another(
    present: &Dialled,
    (key, hub_keys): (SecretKey, Vec<PublicKey>),
    hubs: Vec<SocketAddr>,
    (ladder, pulse): (Ladder, Pulse),
) -> Dialled {
    let others: Vec<SocketAddr> = hubs.into_iter().filter(|hub| *hub != present.hub).collect();
    if others.is_empty() {
        return std::future::pending().await;
    }
    let mut pause = SUSPICION;
    loop {
        present.connection.unanswered(SUSPICION).await;
        tokio::select! {
            dialled = dial(&key, &hub_keys, &others, (&ladder, &pulse)) => match dialled {
                Ok(dialled) => return dialled,
                // No hub answers: it is the network, and the link may outlast that.
                Err(error) => tracing::debug!(%error, "no hub answers"),
            },
            () = present.connection.answer() => {
                pause = SUSPICION;
                continue;
            }
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(PATIENCE);
    }
}

/// The addresses of hubs in the order in which they are dialled: the one to which another hub has sent this device first, if it is one
/// of them.
pub(super) fn in_order(hubs: &[SocketAddr], sent_to: Option<SocketAddr>) -> Vec<SocketAddr> {
    let first = sent_to.filter(|sent_to| hubs.contains(sent_to));
    first.into_iter().chain(hubs.iter().copied().filter(|hub| Some(*hub) != first)).collect()
}

/// Connects to the first hub that answers with a key of a genuine hub.
pub(super) async fn dial(
    key: &SecretKey,
    hub_keys: &[PublicKey],
    hubs: &[SocketAddr],
    (ladder, pulse): (&Ladder, &Pulse),
) -> Result<Dialled, LinkError> {
    let mut last = LinkError::NoHub;
    for hub in hubs {
        let source = source_towards(*hub);
        let network = source.map(|own| Network { own, hub: hub.ip() });
        let beat = network.map(|network| pulse.beat(network));
        let ping = beat.map(|beat| beat.ping).or(Settings::control().keep_alive);
        let settings = Settings { keep_alive: ping, ..Settings::control() };
        // One socket per attempt and family: a wildcard socket picks the interface that leads to this hub.
        let endpoint = bind(*hub, key, &settings)?;
        match connect(ladder, &endpoint, (*hub, hub_keys), &settings).await {
            Ok(Climbed { connection, climb, .. }) => {
                let byte = beat.and_then(|beat| beat.byte);
                return Ok(Dialled { endpoint, connection, hub: *hub, network, byte, _climb: climb });
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

/// A hub that has not answered for so long may be gone.
const SUSPICION: Duration = Duration::from_secs(3);
/// Between two attempts to find another one, at most.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a hub is looked after while tunnels are live.
const GLANCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_sends_a_device_to_another_one_that_it_knows_and_nowhere_else() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let hubs = [at("192.0.2.1:7440"), at("192.0.2.2:7440"), at("192.0.2.3:7440")];
        let [one, two, three] = hubs;
        assert_eq!(in_order(&hubs, None), hubs);
        assert_eq!(in_order(&hubs, Some(two)), [two, one, three]);
        assert_eq!(in_order(&hubs, Some(at("198.51.100.9:7440"))), hubs);
    }
}
