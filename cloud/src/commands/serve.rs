//! `serve`: the wiring of a running hub, from the lock to the last goodbye.
//!
//! 1. The lock: one hub for each state directory, and for each database; a second one waits for that.
//! 2. Keys, store, mail, endpoint. The address is stored for the codes that other commands make.
//! 3. The first line of output says where it listens; then connections are admitted, publications watched, and the API answered
//!    where there is one.
//! 4. SIGTERM or `drain`: devices are told when to come back, requests are answered, and the program ends. SIGINT, or a second SIGTERM: at once.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tracing::Level;

use postern_protocol::wire::registry::{ALPNS_HUB, CloseCode, Failure};
use postern_transport::quic::{Endpoint, ResetSecret, Role, Settings};

use super::cluster::Role as Part;
use super::{Answer, CommandError, drain, open_any, relay, standby};
use crate::api;
use crate::args::{Clustered, ServedRelay};
use crate::clock;
use crate::files;
use crate::health::Health;
use crate::hub;
use crate::keys;
use crate::mail::{Mailer, Post};
use crate::metrics;
use crate::signer::Signer;
use crate::sso::Providers;
use crate::store::{DatabaseError, DatabaseFile, Primacy, StoreError};

/// Where a hub is reached.
pub(super) struct Places {
    /// By agents and users; where the installation says if none.
    pub(super) listen: Option<SocketAddr>,
    /// By programs that administrate.
    pub(super) api: Option<SocketAddr>,
    /// By programs that watch.
    pub(super) metrics: Option<SocketAddr>,
    /// Where devices go on SIGTERM.
    pub(super) drain_to: Option<SocketAddr>,
    /// By packets that are relayed.
    pub(super) relay: ServedRelay,
}

pub(super) fn run(
    state: &Path,
    places: &Places,
    cluster: Clustered,
    json: bool,
) -> Result<Answer, CommandError> {
    log_to_stderr();
    let _lock = lock(state)?;
    drain::check(state, places.drain_to)?;
    let runtime = runtime()?;
    let done = runtime.block_on(serve(state, places, cluster, json));
    if matches!(done, Err(CommandError::Superseded(_))) {
        // Whatever still waits for the database waits for nothing that counts any more.
        runtime.shutdown_background();
    }
    done
}

/// Logs to standard error, as `POSTERN_LOG` says.
pub(super) fn log_to_stderr() {
    let level = std::env::var("POSTERN_LOG").ok().and_then(|level| level.parse().ok()).unwrap_or(Level::INFO);
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .with_writer(std::io::stderr)
        .finish();
    // A program that embeds this one may have its own.
    let _installed_before = tracing::subscriber::set_global_default(subscriber);
}

/// All threads of a server.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::Io { what: "the runtime", error })
}

/// Held until the process ends; the system lets go of it then, however it ends.
fn lock(state: &Path) -> Result<File, CommandError> {
    let io = |error| CommandError::Io { what: "the lock file", error };
    // Opened without `open` first, so that a missing installation is said to be missing. A database may be away for a while.
    if DatabaseFile::read(state).map_err(StoreError::from)?.is_none() {
        drop(open_any(state)?);
    }
    let file =
        File::options().create(true).truncate(false).write(true).open(state.join("lock")).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CommandError::Running(state.to_owned())),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

async fn serve(
    state: &Path,
    places: &Places,
    cluster: Clustered,
    json: bool,
) -> Result<Answer, CommandError> {
    files::raise_limit();
    let part = Part::of(state, &cluster, places.api.is_some())?;
    let io = |what| move |error| CommandError::Io { what, error };
    let mut terminate = signal(SignalKind::terminate()).map_err(io("the signal handler"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(io("the signal handler"))?;
    let watched = monitor_at(places.metrics).await?;
    let primacy = Primacy::of(state).map_err(StoreError::from)?.map(Arc::new);
    let ends = standby::Ends { terminate: &mut terminate, interrupt: &mut interrupt };
    if !standby::wait(primacy.as_ref(), watched.as_ref(), ends, json).await? {
        return Ok(stopped());
    }
    let store = Arc::new(open_any(state)?);
    // Before anybody is served: who configures mail wrongly shall not learn of it from the first one who gets none.
    let mailer = Mailer::open(state)?;
    let (installation, signer) =
        store.read(|tx| Ok::<_, CommandError>((tx.installation()?, Arc::new(Signer::open(state, tx)?))))?;
    let role = Role::Server { alpns: ALPNS_HUB.iter().map(|alpn| alpn.to_vec()).collect() };
    // Of this directory alone: the hub's own key may be that of several.
    let resets = ResetSecret::derive(&keys::read_or_make(&state.join("reset.key"))?.seed());
    let endpoint = Endpoint::bind_lasting(
        places.listen.unwrap_or(installation.listen),
        &signer.now().keys.hub,
        role,
        &Settings::hub(),
        &resets,
    )?;
    let bound = endpoint.local_addr().map_err(io("the hub's socket"))?;
    store.write(|tx| {
        tx.save_bound(bound)?;
        tx.all_links_down()
    })?;
    let hub = hub::open(&store, signer, clock::now);
    if let Some(mailer) = mailer {
        hub.send_by(Post::new(mailer));
    }
    hub.believe(Providers::read(state)?);
    let relaying = relay::open_for(&hub, &places.relay, bound, &endpoint, state).await?;
    let is_edge = part.is_edge();
    let sharing = part.join(&hub, cluster, state, installation.fleet).await?;
    let api = match places.api {
        Some(address) => Some(TcpListener::bind(address).await.map_err(io("the API's socket"))?),
        None => None,
    };
    let health = Arc::new(Health::of(&store));
    let watcher = hub::Watcher::bind(Arc::clone(&hub), endpoint.clone(), state, !is_edge)
        .map_err(io("the hub's local socket"))?;
    announce(bound, api.as_ref(), watched.as_ref(), json);
    let serving = tokio::spawn(Arc::clone(&hub).serve(endpoint.clone()));
    health.serves(serving.abort_handle());
    hub.edge().into_iter().for_each(|edge| health.follows(edge.clone()));
    let monitoring = watched.map(|listener| monitor(listener, hub.metrics(), &health));
    let watching = tokio::spawn(watcher.run());
    let router = hub.api().router();
    let answering = api.map(|listener| tokio::spawn(api::serve(listener, router, "the API")));
    let to = tokio::select! {
        _ = terminate.recv() => Some(places.drain_to),
        to = hub.drain_asked() => Some(to),
        _ = interrupt.recv() => None,
        why = standby::lost(primacy.clone()) => {
            // Devices and users go to the hub that serves now, which alone knows of them.
            store.close();
            let gone = CloseCode::Failed(Failure::Shutdown);
            endpoint.close(gone.number(), gone.word().as_bytes());
            endpoint.wait_idle().await;
            return Err(CommandError::Superseded(why));
        }
    };
    health.drains();
    if let Some(to) = to {
        // What is published meanwhile still reaches those who are here, and the API answers.
        tokio::select! {
            _drained = hub.drain(to) => {}
            why = standby::lost(primacy.clone()) => {
                tracing::warn!(%why, "another hub may serve already");
                store.close();
            }
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    answering.inspect(JoinHandle::abort);
    drop(relaying);
    let shutdown = CloseCode::Failed(Failure::Shutdown);
    endpoint.close(shutdown.number(), shutdown.word().as_bytes());
    endpoint.wait_idle().await;
    if let Some(edge) = hub.edge() {
        edge.flush().await;
    }
    serving.abort();
    drop(sharing);
    monitoring.inspect(JoinHandle::abort);
    match store.write(|tx| tx.all_links_down()) {
        // The other one has links.
        Ok(()) | Err(StoreError::Database(DatabaseError::Superseded)) => {}
        Err(error) => return Err(error.into()),
    }
    // The last word is said: another hub may serve.
    drop(primacy);
    watching.abort();
    // Left behind it would only be replaced by the next hub.
    let _left = std::fs::remove_file(hub::socket_path(state));
    Ok(stopped())
}

fn stopped() -> Answer {
    Answer { text: "stopped\n".to_owned(), json: json!({ "event": "stopped" }) }
}

/// Listens for programs that watch.
pub(super) async fn monitor_at(address: Option<SocketAddr>) -> Result<Option<TcpListener>, CommandError> {
    let Some(address) = address else { return Ok(None) };
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "whoever reaches this address reads the metrics");
    }
    let listener = TcpListener::bind(address).await;
    listener.map(Some).map_err(|error| CommandError::Io { what: "the socket for metrics", error })
}

/// Answers programs that watch.
pub(super) fn monitor(
    listener: TcpListener,
    metrics: &metrics::Shared,
    health: &Arc<Health>,
) -> JoinHandle<()> {
    let router = api::monitoring(Arc::clone(metrics), Arc::clone(health));
    tokio::spawn(api::serve(listener, router, "the metrics"))
}

/// Where a listener is, for the first line of output.
pub(super) fn place(listener: Option<&TcpListener>) -> Option<SocketAddr> {
    listener.and_then(|listener| listener.local_addr().ok())
}

fn announce(bound: SocketAddr, api: Option<&TcpListener>, metrics: Option<&TcpListener>, json: bool) {
    let (api, metrics) = (place(api), place(metrics));
    let line = if json {
        json!({ "event": "listening", "address": bound, "api": api, "metrics": metrics }).to_string()
    } else {
        let metrics = metrics.map(|metrics| format!(", metrics on http://{metrics}")).unwrap_or_default();
        let api = api.map(|api| format!(", API on http://{api}")).unwrap_or_default();
        format!("listening on {bound}{metrics}{api}")
    };
    let mut out = std::io::stdout().lock();
    let _gone = writeln!(out, "{line}").and_then(|()| out.flush());
}
