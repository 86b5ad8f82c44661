//! Says on machine networks where this device is, to whoever asks for it there: multicast DNS (RFC 6762), without the cloud.
//!
//! 1. [`run`] looks on which networks machines are, and again whenever addresses or routes change. While nothing changes and nobody
//!    asks, it sleeps.
//! 2. On each of them it waits for questions ([`ear`]). Who knows the device's key knows what to ask for; all others learn that there is a
//!    device, and not which.
//! 3. It answers to addresses of that network alone, with less than 300 bytes, and not often.
//!
//! Who has found the device dials it as always, and is let in as always: nothing here knows or decides who that is.

mod ear;
mod networks;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::config::Mdns;
use crate::identity::DeviceKeys;
use crate::network::Changes;
use crate::tunnel::Guard;

use self::networks::Network;

/// What is said, and where.
#[derive(Debug)]
pub(crate) struct Nearby {
    /// Whose sign it is.
    pub(crate) keys: Arc<DeviceKeys>,
    /// Where machines are.
    pub(crate) guard: Guard,
    /// On which other networks it is said as well.
    pub(crate) config: Mdns,
    /// Where clients are served.
    pub(crate) listening: SocketAddr,
}

/// Answers for as long as it is polled.
pub(crate) async fn run(nearby: Nearby, mut changes: Changes) {
    let (mut now, mut ears) = (Vec::new(), JoinSet::new());
    loop {
        let found = nearby.networks();
        if found != now {
            ears.shutdown().await;
            for network in &found {
                tracing::debug!(interface = network.name, "this device is found on a network");
                ear::on(network, &nearby, &mut ears);
            }
            now = found;
        }
        if changes.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Nearby {
    /// The networks of machines, and the others that are configured.
    fn networks(&self) -> Vec<Network> {
        let mut networks = networks::all().unwrap_or_else(|error| {
            tracing::warn!(%error, "the system does not tell its networks");
            Vec::new()
        });
        networks.retain(|network| {
            let ips = || network.addresses.iter().map(ipnet::IpNet::addr);
            let listens = self.listening.ip().is_unspecified() || ips().any(|ip| ip == self.listening.ip());
            let named = self.config.also_on.contains(&network.name);
            listens && (named || self.guard.is_on_machines_side(&network.name, ips()))
        });
        networks
    }
}
