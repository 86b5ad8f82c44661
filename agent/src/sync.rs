//! The link to the hub: says what is held, takes what is newer, and puts it in force.
//!
//! 1. [`run`] dials the hub, whose key is pinned, and dials again with full jitter for as long as the agent lives: at once from
//!    another address, and among many others when the hub itself has ended.
//! 2. Each link begins with the state of the world (a hello), so nothing that was lost on the way matters.
//! 3. [`activate`] takes a pushed snapshot through verify, store, swap, decide again and record, in this order.
//! 4. [`chain`] takes later roots, which come before any snapshot, and has what rests on the earlier one judged again.
//! 5. The outcome is acknowledged, or refused with a code.
//! 6. [`upload`] sends rows of the trail beside that, and stores what the hub has signed about them.
//!
//! The gate stands before the hub is dialled and does not care whether the hub answers. Deliberately absent: trust
//! in the hub. It can withhold a snapshot; it can neither invent nor replay one.

mod activate;
mod certificate;
mod chain;
mod dial;
mod enroll;
mod link;
mod storing;
mod upload;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use postern_protocol::id::DeviceId;
use postern_protocol::path::Peer;
use postern_protocol::policy::Floor;
use postern_protocol::session::pulse::Pulse;
use postern_protocol::wire::control::Life;
use postern_transport::backoff::Backoff;
use postern_transport::ladder::Ladder;
use postern_transport::quic::Connection;

use crate::anchor::Anchor;
use crate::audit::Auditor;
use crate::gate::Gate;
use crate::identity::DeviceKeys;
use crate::meeting::Meetings;
use crate::network::Changes;
use crate::receipts::Receipts;
use crate::registry::Registry;
use crate::secrets::Secrets;
use crate::store::{Enrollment, Store};
use crate::surroundings::source_towards;

pub(crate) use self::activate::Activator;
pub(crate) use self::enroll::{EnrollError, enroll};
pub(crate) use self::link::LinkError;
use self::link::Remedy;
pub(crate) use self::upload::Carrier;

/// What the link works with.
#[derive(Debug)]
pub(crate) struct Uplink {
    /// The device's keys.
    pub(crate) keys: Arc<DeviceKeys>,
    /// How often the agent was started with this state.
    pub(crate) boots: u32,
    /// This run of the agent.
    pub(crate) life: Life,
    /// When the hub last asked for a new key.
    pub(crate) key_wanted: Option<Instant>,
    /// Where clients reach this agent, as configured or bound; empty means the address towards the hub.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The port on which clients are served.
    pub(crate) port: u16,
    /// Where somebody waits for this device.
    pub(crate) meetings: Meetings,
    /// Told when the device's network has changed.
    pub(crate) changes: Changes,
    /// How often an idle link speaks.
    pub(crate) pulse: Pulse,
    /// Where the last hub has sent this device: dialled first, once.
    pub(crate) sent_to: Option<SocketAddr>,
    /// When this began.
    pub(crate) started: Instant,
    /// Puts snapshots in force.
    pub(crate) activator: Activator,
    /// What is said of tunnels that were stopped.
    pub(crate) receipts: Arc<Receipts>,
    /// Carries rows of the trail to the hub.
    pub(crate) carrier: Carrier,
    /// Leads to the hub.
    pub(crate) ladder: Ladder,
    /// What people see of the link.
    pub(crate) status: Arc<LinkStatus>,
}

/// Everything that a snapshot passes through.
#[derive(Debug)]
pub(crate) struct Parts {
    /// This device.
    pub(crate) device: DeviceId,
    /// Its keys.
    pub(crate) keys: Arc<DeviceKeys>,
    /// Who may sign snapshots.
    pub(crate) anchor: Anchor,
    /// What is stored with each new root.
    pub(crate) enrollment: Enrollment,
    /// The highest snapshot that was accepted.
    pub(crate) floor: Option<Floor>,
    /// Where snapshots are stored.
    pub(crate) store: Store,
    /// Where they come into force.
    pub(crate) gate: Arc<Gate>,
    /// What a new key takes along, and a device out of service forgets.
    pub(crate) secrets: Arc<Secrets>,
    /// Whose tunnels are decided again.
    pub(crate) registry: Arc<Registry>,
    /// Where it is recorded.
    pub(crate) auditor: Auditor,
}

/// The state of the link, for people.
#[derive(Debug, Default)]
pub(crate) struct LinkStatus(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    link: Option<Connection>,
    error: Option<String>,
}

/// One moment of the link.
#[derive(Clone, Debug)]
pub(crate) struct LinkState {
    /// The hub to which the link is up, and the path to it.
    pub(crate) hub: Option<Peer>,
    /// Why the last link ended or could not be made.
    pub(crate) error: Option<String>,
}

impl Uplink {
    /// From where each hub would be reached now.
    fn sources(&self) -> Vec<Option<IpAddr>> {
        let (_keys, hubs) = self.activator.hubs();
        hubs.iter().map(|hub| source_towards(*hub)).collect()
    }
}

impl LinkStatus {
    /// The present state.
    pub(crate) fn now(&self) -> LinkState {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        LinkState { hub: state.link.as_ref().map(Connection::peer), error: state.error.clone() }
    }

    fn up(&self, link: &Connection) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            State { link: Some(link.clone()), error: None };
    }

    fn down(&self, error: &LinkError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            State { link: None, error: Some(error.to_string()) };
    }
}

/// Keeps the link up until it is dropped.
pub(crate) async fn run(mut uplink: Uplink) {
    let (mut backoff, mut ready) = (Backoff::new(), None);
    loop {
        let error = link::once(&mut uplink, &mut backoff, &mut ready).await;
        uplink.carrier.handle_down();
        uplink.activator.gate().clock().linked(false);
        uplink.status.down(&error);
        let delay = match error.remedy() {
            Remedy::AtOnce => continue,
            Remedy::InTheCrowd => {
                backoff.crowd();
                backoff.delay(random())
            }
            Remedy::After(away) => away,
            Remedy::Later => backoff.delay(random()),
        };
        tracing::info!(%error, retry_ms = delay.as_millis(), "the link to the hub is down");
        let (mut pause, at) = (std::pin::pin!(tokio::time::sleep(delay)), uplink.sources());
        loop {
            tokio::select! {
                () = &mut pause => break,
                // The hub hears of it with the next hello.
                told = uplink.activator.told() => drop(uplink.activator.handle_told(told)),
                Ok(()) = uplink.changes.changed() => {
                    let now = uplink.sources();
                    // A cable that was plugged in, another line: what failed before says nothing of it.
                    if now != at && now.iter().any(Option::is_some) {
                        backoff.reset();
                        pause.set(tokio::time::sleep(delay.min(backoff.delay(random()))));
                    }
                }
            }
        }
    }
}

/// Randomness for jitter. Without any, half of the ceiling is as good as the rest.
fn random() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX / 2)
}
