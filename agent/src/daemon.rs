//! Wires the parts of the running agent together, and owns their lives.
//!
//! 1. Lock the state, give up what is not needed any more, read key, enrolment and policy; verify again what was stored.
//! 2. The decision shows that it refuses what it must; until it does, nobody is served.
//! 3. The gate stands: bind, say where, serve clients. Only then is the hub dialled.
//! 4. Tasks run until SIGTERM or SIGINT; if one of them ends by itself the agent ends as well.
//! 5. Shutdown: tunnels are closed and recorded first, then the connections, then the store.

mod answers;
mod proof;
mod state_dir;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use postern_protocol::audit::{Event, Whose};
use postern_protocol::id::DeviceId;
use postern_protocol::session::freshness::Memory;
use postern_protocol::session::pulse::Pulse;
use postern_protocol::trust::{CutCause, SecretKey};
use postern_protocol::wire::control::Life;
use postern_protocol::wire::registry::{ALPNS_TUNNEL, CloseCode, Failure};
use postern_protocol::wire::text::Text;
use postern_transport::ladder::Ladder;
use postern_transport::quic::{Admission, BindError, Endpoint, ResetSecret, Role, Settings};

use crate::anchor::Anchor;
use crate::audit::Auditor;
use crate::clock::Clock;
use crate::config::{Config, Gso};
use crate::control::{self, Listener};
use crate::gate::Gate;
use crate::identity::{DeviceKeys, KeyError, Keys};
use crate::logging::Limiter;
use crate::meeting::Meetings;
use crate::nearby::{self, Nearby};
use crate::network;
use crate::receipts::Receipts;
use crate::recordings::Recordings;
use crate::registry::{Registry, Stopped};
use crate::report::SandboxReport;
use crate::sandbox::{self, Sandbox};
use crate::secrets::{Keyring, Secrets};
use crate::store::{self, Boot, Pending, Signer, Store, StoreError};
use crate::surroundings;
use crate::sync::{self, Activator, Carrier, LinkStatus, Parts, Uplink};
use crate::systemd;
use crate::trouble::Trouble;
use crate::tunnel::{Context, Guard, Logins, Packets};

use self::answers::Answers;
use self::proof::Proof;
pub(crate) use self::state_dir::{StateDir, StateFault, inspect};

/// Runs the agent until it is told to stop.
///
/// # Errors
/// Why it could not start.
pub(crate) fn run(config: &Config, json: bool) -> Result<(), Trouble> {
    let proxies = config.proxies()?;
    let state = StateDir::lock(&config.state_dir)?;
    let keys = DeviceKeys::new(state.path().to_owned(), Keys::load(state.path())?);
    control::prepare(&config.control.socket)?;
    let sandbox = sandbox::enter(config);
    let (mut databases, boot) = store::boot(state.path(), u64::from(config.audit.size_kib) * 1024)?;
    let (keys, fleet) = (Arc::new(keys), boot.enrollment.root()?.fleet);
    let whose = Whose { fleet, device: boot.enrollment.device };
    databases.signer = Some(Signer { whose, keys: Arc::clone(&keys) });
    let store = store::start(databases);
    runtime()?.block_on(serve(config, json, keys, (boot, surroundings::ladder(proxies)), store, sandbox))
}

/// The one event loop of the process, on this thread.
///
/// # Errors
/// What the system says.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Trouble> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Trouble::Runtime)
}

/// What every part of the running agent shares.
#[derive(Clone)]
struct Core {
    device: DeviceId,
    keys: Arc<DeviceKeys>,
    anchor: Anchor,
    boots: u32,
    gate: Arc<Gate>,
    registry: Arc<Registry>,
    auditor: Auditor,
    store: Store,
    link: Arc<LinkStatus>,
    secrets: Arc<Secrets>,
    recordings: Arc<Recordings>,
    /// What the self-test has shown.
    proof: Arc<Proof>,
    receipts: Arc<Receipts>,
    /// Told when somebody ends the agent over the control socket.
    stop: Arc<Notify>,
}

async fn serve(
    config: &Config,
    json: bool,
    keys: Arc<DeviceKeys>,
    (mut boot, ladder): (Boot, Ladder),
    store: Store,
    sandbox: Sandbox,
) -> Result<(), Trouble> {
    let mut stop = Stop::new()?;
    let core = Core::new(config, keys, &mut boot, (store, Clock::new))?;
    let mut activator = core.activator(&boot);
    // Before the row of this start, which says that it was counted.
    core.own_up(boot.left_open);
    resume(&mut activator, &core.auditor, &boot).await;
    let proven = core.proof.test(&core.gate);

    let endpoint = bind(config, &core.keys.present())?;
    let sandbox = sandbox.settle(config);
    let listening = endpoint.local_addr().map_err(Trouble::Runtime)?;
    let context = Arc::new(core.context(config, &boot.enrollment.hubs));
    let control = Listener::bind(&config.control.socket, config.control.mode)?;
    announce(listening, json);
    let guard = Guard::new(config, &boot.enrollment.hubs);
    let (changes, hearing) = network::changes();
    let uplink = Uplink {
        keys: Arc::clone(&core.keys),
        boots: boot.boots,
        life: life()?,
        key_wanted: None,
        sent_to: None,
        addresses: advertised(config, listening),
        port: listening.port(),
        meetings: Meetings::new(
            (endpoint.clone(), ladder.clone()),
            guard,
            config.caps.connections,
            changes.clone(),
        ),
        changes: changes.clone(),
        pulse: Pulse::within(Duration::from_secs(config.hub_ping_s.into())),
        started: Instant::now(),
        activator,
        receipts: Arc::clone(&core.receipts),
        carrier: Carrier::new(core.store.clone()),
        ladder: ladder.clone(),
        status: Arc::clone(&core.link),
    };
    let nearby = Nearby {
        keys: Arc::clone(&core.keys),
        guard: Guard::new(config, &boot.enrollment.hubs),
        config: config.mdns.clone(),
        listening,
    };
    // The snapshot of the start is of the past with the next one.
    drop(boot);

    let (requests, inbox) = mpsc::channel(REQUESTS);
    let mut tasks = JoinSet::new();
    tasks.spawn(proof::serve(endpoint.clone(), context, Arc::clone(&core.proof), proven));
    tasks.spawn(control.serve(requests));
    tasks.spawn(core.answers(listening, ladder, sandbox).serve(inbox));
    tasks.spawn(edges(Arc::clone(&core.registry), Arc::clone(&core.gate)));
    tasks.spawn(housekeeping(core.clone()));
    tasks.spawn(keep_time(core.clone()));
    tasks.spawn(core.auditor.clone().pay());
    tasks.spawn(sync::run(uplink));
    if nearby.config.answer {
        tasks.spawn(nearby::run(nearby, changes));
    }
    tasks.spawn(hearing);
    tasks.spawn(present_keys(endpoint.clone(), core.clone(), settings(config)));
    systemd::ready(core.proof.words());
    tokio::select! {
        () = stop.wait() => tracing::info!("the agent was told to stop"),
        () = core.stop.notified() => tracing::info!("the agent was told to stop over the control socket"),
        Some(ended) = tasks.join_next() => {
            let error = ended.err().map(|error| error.to_string()).unwrap_or_default();
            tracing::error!(error, "a part of the agent ended by itself; the agent ends");
        }
    }
    systemd::stopping();
    shut_down(&endpoint, &core).await;
    tasks.shutdown().await;
    Ok(())
}

impl Core {
    /// A gate that denies everything, and what belongs to it.
    fn new(
        config: &Config,
        keys: Arc<DeviceKeys>,
        boot: &mut Boot,
        (store, clock): (Store, impl FnOnce(&Memory) -> Clock),
    ) -> Result<Self, Trouble> {
        let (device, root) = (boot.enrollment.device, boot.enrollment.root()?);
        let clock = Arc::new(clock(&boot.memory(root.version)));
        let keyring = Keyring::new(&keys.present(), root.fleet, device)?;
        let anchor = Anchor::new(root);
        let gate = Arc::new(Gate::new(Arc::clone(&clock), anchor.clone()));
        // Moved, not copied: what is forgotten later must be nowhere else.
        let secrets = Secrets::new(keyring, Arc::clone(&gate), std::mem::take(&mut boot.secrets));
        let auditor = Auditor::new(store.clone(), Arc::clone(&clock));
        let rows = auditor.clone();
        let whose = (boot.enrollment.root()?.fleet, device);
        let recordings =
            Recordings::start(&config.state_dir, config.recordings, whose, (auditor.clone(), clock));
        let receipts = Arc::new(Receipts::new(whose, store.clone(), std::mem::take(&mut boot.receipts)));
        let stops = Arc::clone(&receipts);
        Ok(Self {
            device,
            keys,
            anchor,
            boots: boot.boots,
            secrets: Arc::new(secrets),
            gate,
            registry: Registry::new(
                config.caps.tunnels,
                move |row| rows.owe(row),
                move |stopped| stops.note(stopped),
            ),
            receipts,
            auditor,
            recordings: Arc::new(recordings),
            proof: Arc::default(),
            store,
            link: Arc::default(),
            stop: Arc::default(),
        })
    }

    /// Says of tunnels that were open when the agent last ended without a word that they have stopped.
    fn own_up(&self, left_open: u32) {
        if left_open > 0 {
            let (cause, at) = (CutCause::SuddenEnd, self.gate.clock().now());
            self.receipts.note(Stopped { cause, cut: left_open, at, took: Duration::ZERO });
        }
    }

    fn activator(&self, boot: &Boot) -> Activator {
        let parts = Parts {
            device: self.device,
            keys: Arc::clone(&self.keys),
            anchor: self.anchor.clone(),
            enrollment: boot.enrollment.clone(),
            floor: boot.floor,
            store: self.store.clone(),
            gate: Arc::clone(&self.gate),
            secrets: Arc::clone(&self.secrets),
            registry: Arc::clone(&self.registry),
            auditor: self.auditor.clone(),
        };
        Activator::new(parts, &boot.locks)
    }

    fn context(&self, config: &Config, hubs: &[SocketAddr]) -> Context {
        let [members, flows] = Context::places(config.caps);
        Context {
            device: self.device,
            anchor: self.anchor.clone(),
            gate: Arc::clone(&self.gate),
            registry: Arc::clone(&self.registry),
            auditor: self.auditor.clone(),
            secrets: Arc::clone(&self.secrets),
            logins: Logins::default(),
            recordings: Arc::clone(&self.recordings),
            guard: Guard::new(config, hubs),
            flows,
            packets: Packets::new(config.packet_vpn.as_ref()),
            datagram_idle: Duration::from_secs(config.datagram_idle_s.into()),
            members,
            strangers: usize::from(config.caps.strangers),
            noise: Limiter::new(NOISE),
            traffic: Limiter::new(TRAFFIC),
        }
    }

    fn answers(&self, listening: SocketAddr, ladder: Ladder, sandbox: SandboxReport) -> Answers {
        Answers {
            device: self.device,
            keys: Arc::clone(&self.keys),
            anchor: self.anchor.clone(),
            boots: self.boots,
            started: Instant::now(),
            listening,
            proof: Arc::clone(&self.proof),
            sandbox,
            gate: Arc::clone(&self.gate),
            registry: Arc::clone(&self.registry),
            auditor: self.auditor.clone(),
            store: self.store.clone(),
            link: Arc::clone(&self.link),
            ladder,
            secrets: Arc::clone(&self.secrets),
            recordings: Arc::clone(&self.recordings),
            stop: Arc::clone(&self.stop),
        }
    }

    /// One line for `systemctl status`.
    fn summary(&self) -> String {
        let policy = self.gate.policy().map(|index| format!("policy {}", index.floor().version));
        let policy = policy.unwrap_or_else(|| "no policy".to_owned());
        let hub = if self.link.now().hub.is_some() { "up" } else { "down" };
        format!("{policy}, {} tunnels, link {hub}", self.registry.sessions().len())
    }
}

/// Puts the stored policy in force, if it still verifies, and writes what is owed to the trail.
async fn resume(activator: &mut Activator, auditor: &Auditor, boot: &Boot) {
    match boot.sealed.as_deref().map(|sealed| activator.resume(sealed)) {
        Some(Ok(floor)) => tracing::info!(version = floor.version, "the stored policy is in force"),
        Some(Err(error)) => tracing::error!(%error, "the stored policy is refused; everything is denied"),
        None => tracing::warn!("there is no stored policy; everything is denied until the hub sends one"),
    }
    let agent = Text::clean(env!("CARGO_PKG_VERSION"));
    if let Err(error) = auditor.record(Event::Started { agent, boots: boot.boots }).await {
        tracing::error!(%error, "the start was not recorded; no tunnel is opened until the trail can be written");
    }
    if let Some(owed) = boot.owed {
        activator.settle(owed);
    }
}

fn bind(config: &Config, key: &SecretKey) -> Result<Endpoint, BindError> {
    let settings = settings(config);
    let (role, resets) = (Role::Server { alpns: alpns() }, ResetSecret::derive(&key.seed()));
    let mut last = BindError::NoProtocol;
    for addr in config.listen_addresses() {
        match Endpoint::bind_lasting(addr, key, role.clone(), &settings, &resets) {
            Ok(endpoint) => return Ok(endpoint),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn settings(config: &Config) -> Settings {
    let stranger = Settings::stranger();
    // More than there are places for strangers: who does not finish gives way there, and nobody is refused here.
    let handshakes =
        config.caps.strangers.saturating_add(SPARE_HANDSHAKES).max(stranger.admission.handshakes);
    let admission = Admission { handshakes, ..stranger.admission };
    Settings { segmentation: config.gso == Gso::Auto, admission, ..stranger }
}

fn alpns() -> Vec<Vec<u8>> {
    ALPNS_TUNNEL.iter().map(|alpn| alpn.to_vec()).collect()
}

/// A name for this run of the agent, by which the hub tells a restart from a copy of the device.
fn life() -> Result<Life, KeyError> {
    let mut life = Life([0; 16]);
    getrandom::fill(&mut life.0).map_err(|_| KeyError::Random)?;
    Ok(life)
}

/// Presents a new key of the device to clients as soon as it is in force.
async fn present_keys(endpoint: Endpoint, core: Core, settings: Settings) {
    let mut changes = core.keys.watch();
    let mut presented = core.keys.public();
    loop {
        let key = core.keys.present();
        if presented != key.public() {
            presented = key.public();
            if let Err(error) = endpoint.present(&key, &alpns(), &settings) {
                tracing::error!(%error, "the new key cannot be presented to clients");
            }
        }
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn announce(listening: SocketAddr, json: bool) {
    use std::io::Write as _;
    let line = if json {
        serde_json::json!({ "event": "listening", "address": listening }).to_string()
    } else {
        format!("listening on {listening}")
    };
    let mut out = std::io::stdout();
    let _broken_pipe = writeln!(out, "{line}").and_then(|()| out.flush());
    tracing::info!(%listening, "the gate stands");
}

fn advertised(config: &Config, listening: SocketAddr) -> Vec<SocketAddr> {
    if !config.advertise.is_empty() {
        return config.advertise.clone();
    }
    if listening.ip().is_unspecified() { Vec::new() } else { vec![listening] }
}

/// Has the live tunnels decided again whenever a permit runs out.
async fn edges(registry: Arc<Registry>, gate: Arc<Gate>) {
    loop {
        let Some(edge) = registry.next_edge() else {
            registry.changed().await;
            continue;
        };
        // Time may be attested anew, or the machine may have slept: asked at least once a second while tunnels are open.
        let wait = gate.clock().until(edge);
        if wait.is_zero() {
            if lapse(&registry, &gate) == 0 {
                // The edge stands and yet nothing was cut: the same permit again. Not in a busy loop.
                tokio::time::sleep(EDGE_PAUSE).await;
            }
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(wait.min(GLANCE)) => {}
            () = registry.changed() => {}
        }
    }
}

/// Stores what must survive a power cut, records alarms, and has live tunnels decided again when the policy lapses. While the
/// policy is fresh it sleeps. It waits for no disk: one that hangs must not keep open what it was to pay for.
async fn keep_time(core: Core) {
    let clock = core.gate.clock();
    let mut changes = clock.changes();
    let mut noting: Option<Pending> = None;
    loop {
        changes.mark_unchanged();
        if noting.is_none() {
            noting = clock.poll_note().map(|note| core.store.note(note));
        }
        while let Some(cause) = clock.poll_alarm() {
            let (kind, detail) = (cause.kind(), cause.detail());
            tracing::warn!(reason = kind.word(), %detail, "alarm");
            core.auditor.owe(Event::Alarm { kind, detail });
        }
        let wait = clock.timeout().unwrap_or(FLUSH);
        tokio::select! {
            noted = written(&mut noting) => {
                noting = None;
                if let Err(error) = &noted {
                    tracing::error!(%error, "the time and what is spent of the budget were not stored");
                }
                clock.noted(noted.is_ok());
                // Without a debit what is stale permits nothing.
                lapse(&core.registry, &core.gate);
            }
            () = tokio::time::sleep(wait) => drop(lapse(&core.registry, &core.gate)),
            // The clock lives as long as the agent.
            _changed = changes.changed() => {}
        }
    }
}

/// Stops what time permits no more; how many there were.
fn lapse(registry: &Registry, gate: &Gate) -> u32 {
    let cut = registry.judge(gate, CutCause::Time);
    if cut > 0 {
        tracing::info!(cut, "permits ran out");
    }
    cut
}

/// What became of a write; for ever without one.
async fn written(write: &mut Option<Pending>) -> Result<(), StoreError> {
    match write {
        Some(write) => write.await,
        None => std::future::pending().await,
    }
}

/// Writes counted denials after their minute, and tells systemd that the agent lives and how it is.
async fn housekeeping(core: Core) {
    let mut told = String::new();
    let mut flush = tokio::time::interval(FLUSH);
    let mut watchdog = tokio::time::interval(systemd::watchdog_interval().unwrap_or(FLUSH));
    loop {
        tokio::select! {
            _tick = flush.tick() => {
                core.auditor.flush().await;
                let status = core.summary();
                if status != told {
                    systemd::status(&status);
                    told = status;
                }
            }
            _tick = watchdog.tick() => systemd::alive(),
        }
    }
}

async fn shut_down(endpoint: &Endpoint, core: &Core) {
    let Core { registry, auditor, store, gate, .. } = core;
    registry.close();
    // Tunnels reset their streams and write their last rows; connections that linger are closed afterwards.
    let last_words = async {
        registry.drained().await;
        auditor.finish().await;
    };
    if tokio::time::timeout(SHUTDOWN, last_words).await.is_err() {
        tracing::warn!("tunnels did not end in time; they are closed now");
    }
    endpoint.close(CloseCode::Failed(Failure::Shutdown).number(), b"shutting down");
    endpoint.wait_idle().await;
    if let Err(error) = auditor.record(Event::Stopped).await {
        tracing::warn!(%error, "the stop was not recorded");
    }
    store.keep_time(gate.clock().now()).await;
    store.close().await;
}

/// The signals that end the agent.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> Result<Self, Trouble> {
        let on = |kind| signal(kind).map_err(Trouble::Runtime);
        Ok(Self { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _signal = self.terminate.recv() => {}
            _signal = self.interrupt.recv() => {}
        }
    }
}

/// Log lines that strangers may cause in a minute, and those of tunnels.
const NOISE: u32 = 20;
const TRAFFIC: u32 = 120;
/// Requests of the control socket that may wait.
const REQUESTS: usize = 16;
/// Handshakes beyond the places of strangers: of those who give way just now.
const SPARE_HANDSHAKES: u16 = 4;
/// How often the time is looked at while tunnels are open.
const GLANCE: Duration = Duration::from_secs(1);
const EDGE_PAUSE: Duration = Duration::from_millis(200);
const FLUSH: Duration = Duration::from_secs(10);
const SHUTDOWN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
