//! Very many agents in one process, at a real hub: their protocol cores with real keys, real QUIC and real snapshots.
//!
//! 1. [`Installation::found`] makes the state of a hub with so many devices, each enrolled with a key of its own.
//! 2. [`Swarm::start`] has each of them dial the hub, say hello, verify what it is pushed and acknowledge it, and come back as an agent
//!    comes back: when it was told to, among many others, or ever later ([`agent`]).
//! 3. [`Seen`] is what all of them have seen until now.
//!
//! Deliberately absent: everything that an agent does towards a machine, and its disk. What the hub notices of an agent is what is here.

mod agent;
mod installation;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::world::Mishap;

pub use self::installation::{Edit, Installation, Member, fleet};

/// Agents that are running.
#[derive(Debug)]
pub struct Swarm {
    shared: Arc<Shared>,
    _agents: JoinSet<()>,
}

/// What the agents share.
#[derive(Debug)]
struct Shared {
    installation: Arc<Installation>,
    seen: Mutex<Seen>,
    changed: watch::Sender<u64>,
    /// Batches of rows that each of them is to send, in all.
    batches: watch::Sender<u32>,
    /// How many may dial at once when all of this begins; later their own jitter decides.
    dialling: Semaphore,
}

/// What all agents have seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Links that are up.
    pub linked: usize,
    /// When each link came up, since the last [`Swarm::forget`].
    pub ups: Vec<Instant>,
    /// When each snapshot began to arrive, and when its acknowledgement was written, since then.
    pub pushes: Vec<(Instant, Instant)>,
    /// Batches that the hub has acknowledged, since then.
    pub batches: usize,
    /// Bytes of snapshots, since then.
    pub bytes: usize,
    /// Why links ended or could not be made, since then.
    pub ends: BTreeMap<String, usize>,
    /// What must not happen: a snapshot that is not genuine, a message out of turn.
    pub faults: Vec<String>,
}

impl Swarm {
    /// Starts the agents of an installation. Must be called within a runtime.
    #[must_use]
    pub fn start(installation: &Arc<Installation>) -> Self {
        let shared = Arc::new(Shared {
            installation: Arc::clone(installation),
            seen: Mutex::default(),
            changed: watch::Sender::new(0),
            batches: watch::Sender::new(0),
            dialling: Semaphore::new(AT_ONCE),
        });
        let mut agents = JoinSet::new();
        for number in 0..installation.members.len() {
            agents.spawn(agent::live(Arc::clone(&shared), number));
        }
        Self { shared, _agents: agents }
    }

    /// What was seen until now.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.shared.seen().clone()
    }

    /// Begins to count anew; links that are up stay counted.
    pub fn forget(&self) {
        let mut seen = self.shared.seen();
        *seen = Seen { linked: seen.linked, ..Seen::default() };
    }

    /// Has each agent send so many more batches of rows.
    pub fn upload(&self, batches: u32) {
        self.shared.batches.send_modify(|all| *all += batches);
    }

    /// Waits until something holds.
    ///
    /// # Errors
    /// When it does not in time, or something happened that must not.
    pub async fn until(
        &self,
        what: &str,
        within: Duration,
        holds: impl Fn(&Seen) -> bool,
    ) -> Result<Instant, Mishap> {
        let mut changed = self.shared.changed.subscribe();
        let waiting = async {
            loop {
                changed.mark_unchanged();
                {
                    let seen = self.shared.seen();
                    if !seen.faults.is_empty() || holds(&seen) {
                        return Instant::now();
                    }
                }
                let _gone = changed.changed().await;
            }
        };
        let at = tokio::time::timeout(within, waiting).await;
        let seen = self.seen();
        match (at, seen.faults.first()) {
            (_, Some(fault)) => Err(Mishap::unexpected(what, fault, "no fault")),
            (Ok(at), None) => Ok(at),
            (Err(_), None) => {
                let text = format!(
                    "{} links, {} pushes, {} batches, {:?}\n",
                    seen.linked,
                    seen.pushes.len(),
                    seen.batches,
                    seen.ends
                );
                Err(Mishap::Deadline { what: what.to_owned(), within, seen: text })
            }
        }
    }
}

impl Seen {
    /// The most links that came up within one second.
    #[must_use]
    pub fn busiest_second(&self) -> usize {
        let Some(first) = self.ups.iter().min() else { return 0 };
        let mut seconds = BTreeMap::<u64, usize>::new();
        for up in &self.ups {
            *seconds.entry((*up - *first).as_secs()).or_default() += 1;
        }
        seconds.into_values().max().unwrap_or(0)
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen());
        self.changed.send_modify(|count| *count += 1);
    }
}

/// Handshakes under way when all of them dial for the first time.
const AT_ONCE: usize = 256;
