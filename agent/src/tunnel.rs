//! Serves clients: who they are, what they may use, and the tunnels themselves.
//!
//! 1. [`serve`] admits connections, a bounded number of strangers among them, of whom one gives way to whoever comes next. It demands
//!    the proof that the decision refuses what it must.
//! 2. `session` reads one request per stream; before a pass was accepted every request is answered `bad_pass`.
//! 3. `open` takes one request through decide, record, guard, dial and accept, in this order.
//! 4. `vnc`, `http` and `websocket` carry what their gates let through under a permit, until either end, a limit or the
//!    registry says stop. `vpn` decides and carries flows.
//!
//! A panic in a task ends that task: its tunnel leaves the registry and its sockets close. Deliberately absent:
//! queues that wait for capacity, and addresses from clients.

mod ending;
mod http;
mod open;
mod services;
mod session;
mod target;
mod turns;
mod vnc;
mod vpn;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use postern_protocol::id::DeviceId;
use postern_protocol::policy::Proven;
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_transport::crowd::{Crowd, Word};
use postern_transport::quic::{Connection, Endpoint, Incoming};

use crate::anchor::Anchor;
use crate::audit::Auditor;
use crate::config::Caps;
use crate::gate::Gate;
use crate::logging::Limiter;
use crate::recordings::Recordings;
use crate::registry::Registry;
use crate::secrets::Secrets;

pub(crate) use self::http::Logins;
pub(crate) use self::target::Guard;
pub(crate) use self::vpn::Packets;

/// What every connection works with.
#[derive(Debug)]
pub(crate) struct Context {
    /// This device.
    pub(crate) device: DeviceId,
    /// Who may sign passes.
    pub(crate) anchor: Anchor,
    /// The policy in force.
    pub(crate) gate: Arc<Gate>,
    /// The live tunnels.
    pub(crate) registry: Arc<Registry>,
    /// The trail.
    pub(crate) auditor: Auditor,
    /// What opens machines.
    pub(crate) secrets: Arc<Secrets>,
    /// What became of logins at machines.
    pub(crate) logins: Logins,
    /// Where tunnels are recorded.
    pub(crate) recordings: Arc<Recordings>,
    /// Which targets may be dialled.
    pub(crate) guard: Guard,
    /// Places for connections that are signed in.
    pub(crate) members: Arc<Semaphore>,
    /// Places for connections that are not, and for handshakes.
    pub(crate) strangers: usize,
    /// Places for flows of VPNs.
    pub(crate) flows: Arc<Semaphore>,
    /// The interface for packets of VPNs.
    pub(crate) packets: Packets,
    /// How long a flow of messages may be silent.
    pub(crate) datagram_idle: Duration,
    /// Bounds the log lines that strangers cause.
    pub(crate) noise: Limiter,
    /// Bounds the log lines of tunnels; the trail has them all.
    pub(crate) traffic: Limiter,
}

impl Context {
    /// Places as the configuration says: for members and for flows.
    pub(crate) fn places(caps: Caps) -> [Arc<Semaphore>; 2] {
        [caps.connections, caps.flows].map(|count| Arc::new(Semaphore::new(usize::from(count))))
    }
}

/// Admits connections until the endpoint is closed. Dropping it ends them all.
pub(crate) async fn serve(endpoint: Endpoint, context: Arc<Context>, _proven: Proven) {
    let (mut connections, mut crowd) = (JoinSet::new(), Crowd::default());
    loop {
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => {
                    if crowd.waiting() >= context.strangers && !crowd.one_leaves() {
                        continue;
                    }
                    let (from, word) = (incoming.remote_addr().ip(), Word::default());
                    let task = connections.spawn(greet(incoming, Arc::clone(&context), word.clone()));
                    crowd.add(from, task, word);
                }
                None => break,
            },
            Some(ended) = connections.join_next() => match ended {
                Err(error) if !error.is_cancelled() => {
                    tracing::error!(%error, "the task of a connection failed");
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn greet(incoming: Incoming, context: Arc<Context>, word: Word) {
    let peer = incoming.remote_addr();
    // A way by which they came stands until they have gone.
    let _visit = incoming.visit();
    let connection = match incoming.handshake(PATIENCE).await {
        Ok(connection) => connection,
        Err(error) => {
            if let Some(suppressed) = context.noise.admit() {
                tracing::info!(%peer, %error, suppressed, "a client's handshake failed");
            }
            return;
        }
    };
    let _goodbye = Goodbye(connection.clone(), word.clone());
    session::run(connection, word, context).await;
}

/// Tells a stranger who has to give way why.
struct Goodbye(Connection, Word);

impl Drop for Goodbye {
    fn drop(&mut self) {
        let Self(connection, word) = self;
        if word.leaves() {
            connection.close(CloseCode::Failed(Failure::Busy).number(), b"busy");
        }
    }
}

/// Time for a handshake, for becoming known, and for the first frame of a stream.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
