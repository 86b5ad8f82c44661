//! The relay: of a hub, in the same process, or alone.
//!
//! 1. The key that hub and relays share is made with the hub's first start: `relay.key` in the state directory.
//! 2. A hub's own relay listens two ports after the hub's (UDP; the one between is the agent's where both are tried on one machine) and on the hub's own (TLS over TCP), unless told otherwise. A port that
//!    was not asked for and is taken is a warning: the hub serves without it.
//! 3. A relay alone needs an address and the key, and has no other state.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};

use postern_protocol::wire::relay::{Place, RelayKey};
use postern_transport::quic::Endpoint;

use super::{Answer, CommandError, serve};
use crate::args::ServedRelay;
use crate::files;
use crate::health::Health;
use crate::hub::{Hub, Relays};
use crate::keys;
use crate::metrics::Metrics;
use crate::relay::{Listen, Relay, RelayError};

/// Where a relay alone is reached.
pub(super) struct Places {
    /// Over UDP.
    pub(super) listen: SocketAddr,
    /// Over TLS.
    pub(super) tls: Option<SocketAddr>,
    /// By programs that watch.
    pub(super) metrics: Option<SocketAddr>,
}

/// Relays until it is told to stop.
pub(super) fn run(at: &Places, key: &Path, json: bool) -> Result<Answer, CommandError> {
    serve::log_to_stderr();
    files::raise_limit();
    let key = RelayKey::new(*keys::read(key)?.seed());
    serve::runtime()?.block_on(async {
        let io = |what| move |error| CommandError::Io { what, error };
        let mut terminate = signal(SignalKind::terminate()).map_err(io("the signal handler"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(io("the signal handler"))?;
        let relay = Arc::new(Relay::bind(&places(at.listen, at.tls), key, None).await?);
        let (udp, tcp) = addresses(&relay)?;
        let (metrics, health) = (Arc::new(Metrics::of_relay()), Arc::new(Health::default()));
        metrics.relayed_by(relay.watched());
        let watched = serve::monitor_at(at.metrics).await?;
        let seen = serve::place(watched.as_ref());
        let line = if json {
            json!({ "event": "listening", "address": udp, "tls": tcp, "metrics": seen }).to_string()
        } else {
            let tls = tcp.map(|tcp| format!(", for TLS on {tcp}")).unwrap_or_default();
            let seen = seen.map(|seen| format!(", metrics on http://{seen}")).unwrap_or_default();
            format!("relaying on {udp}{tls}{seen}")
        };
        let mut out = std::io::stdout();
        let _gone = writeln!(out, "{line}").and_then(|()| out.flush());
        let mut serving = tokio::spawn({
            let relay = Arc::clone(&relay);
            async move { relay.serve().await }
        });
        health.serves(serving.abort_handle());
        let monitoring = watched.map(|listener| serve::monitor(listener, &metrics, &health));
        tokio::select! {
            _ = &mut serving => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        serving.abort();
        monitoring.inspect(JoinHandle::abort);
        let counts = relay.counts();
        let text = format!("stopped after {} packets\n", counts.packets);
        Ok(Answer { text, json: json!({ "event": "stopped", "counts": counts }) })
    })
}

/// Opens a hub's relay, and has the hub name it and those elsewhere. It runs until what is returned is dropped.
pub(super) async fn open_for(
    hub: &Arc<Hub>,
    wanted: &ServedRelay,
    bound: SocketAddr,
    endpoint: &Endpoint,
    state: &Path,
) -> Result<JoinSet<()>, CommandError> {
    let mut running = JoinSet::new();
    let key = RelayKey::new(*shared_key(state)?.seed());
    let elsewhere = wanted.relay_at.iter().map(|addr| Place {
        ip: Some(addr.ip()),
        udp: Some(addr.port()),
        tls: Some(addr.port()),
        certificate: None,
    });
    let mut places: Vec<Place> = elsewhere.collect();
    if !wanted.no_relay {
        let near = |port: u16| SocketAddr::new(bound.ip(), port);
        let udp = wanted.relay.unwrap_or_else(|| near(bound.port().wrapping_add(BEHIND)));
        let tcp = wanted.tls.unwrap_or_else(|| near(bound.port()));
        match Relay::bind(&self::places(udp, Some(tcp)), key.clone(), Some(endpoint.clone())).await {
            Ok(relay) => {
                let (udp, tcp) = addresses(&relay)?;
                tracing::info!(%udp, tls = ?tcp, "packets are relayed");
                hub.metrics().relayed_by(relay.watched());
                let (udp, tls) = (Some(udp.port()), tcp.map(|tcp| tcp.port()));
                places.push(Place { ip: None, udp, tls, certificate: relay.certificate() });
                running.spawn(async move { relay.serve().await });
            }
            Err(error) if wanted.relay.is_some() || wanted.tls.is_some() => return Err(error.into()),
            Err(error) => tracing::warn!(
                %error,
                "nothing is relayed here: say where with --relay and --tls, or --no-relay"
            ),
        }
    }
    if !places.is_empty() {
        let address = Some(bound.ip()).filter(|ip| !ip.is_unspecified());
        hub.offer(Relays { key, places, address });
    }
    Ok(running)
}

/// The key in the state directory, made where there is none.
fn shared_key(state: &Path) -> Result<postern_protocol::trust::SecretKey, CommandError> {
    let path = state.join("relay.key");
    if path.symlink_metadata().is_ok() { Ok(keys::read(&path)?) } else { Ok(keys::make(&path)?) }
}

const fn places(udp: SocketAddr, tcp: Option<SocketAddr>) -> Listen {
    Listen { udp, tcp, meetings: MEETINGS, connections: CONNECTIONS }
}

fn addresses(relay: &Relay) -> Result<(SocketAddr, Option<SocketAddr>), CommandError> {
    let io = |error| CommandError::Io { what: "the relay's socket", error };
    Ok((relay.udp_addr().map_err(io)?, relay.tcp_addr().map_err(io)?))
}

impl From<RelayError> for CommandError {
    fn from(error: RelayError) -> Self {
        Self::Relay(error)
    }
}

/// How far the relay's port is from the hub's.
const BEHIND: u16 = 2;
/// Two ends each; a table of as many takes some 30 MB.
const MEETINGS: usize = 65_536;
const CONNECTIONS: usize = 16_384;
