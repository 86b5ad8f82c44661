//! Which device is linked over which connection: at most one each, the newest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use postern_protocol::name::Name;
use postern_protocol::wire::control::Return;
use postern_protocol::wire::registry::ProtocolFault;
use postern_protocol::wire::relay::Meeting;
use postern_transport::quic::Connection;

use crate::publish::Publication;

/// The links that are up.
#[derive(Debug, Default)]
pub(super) struct Links {
    up: Mutex<BTreeMap<Name, Up>>,
}

#[derive(Debug)]
struct Up {
    connection: Connection,
    /// The highest version that the device holds or has answered to.
    answered: watch::Sender<u64>,
    /// Tells it of what is not asked for.
    inbox: mpsc::Sender<Told>,
    /// Has it look at the state.
    look: Arc<Notify>,
}

/// What a link is told from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Somebody waits for the device.
    Meeting(Meeting),
    /// The hub is about to end.
    Leave(Return),
}

/// How a link is told.
pub(super) struct Inbox {
    /// What is not asked for.
    pub(super) told: mpsc::Receiver<Told>,
    /// That something was published for the device. It is said once for everything that it has not looked at yet.
    pub(super) look: Arc<Notify>,
}

impl Links {
    /// Gives a device's link to a connection, and yields what it is to be told of. An earlier one is closed: a device that lost its network comes back
    /// long before its old connection times out, and two agents with one key must be noticed.
    pub(super) fn take_over(&self, device: &Name, connection: &Connection, in_force: u64) -> Inbox {
        let (teller, told) = mpsc::channel(TOLD);
        let look = Arc::new(Notify::new());
        let answered = watch::Sender::new(in_force);
        let up = Up { connection: connection.clone(), answered, inbox: teller, look: Arc::clone(&look) };
        let earlier = self.lock().insert(device.clone(), up);
        if let Some(earlier) = earlier.filter(|earlier| earlier.connection.id() != connection.id()) {
            super::close(&earlier.connection, ProtocolFault::Superseded);
        }
        Inbox { told, look }
    }

    /// Has the links of these devices look at the state.
    pub(super) fn wake<'a>(&self, devices: impl IntoIterator<Item = &'a Name>) {
        let up = self.lock();
        devices.into_iter().filter_map(|device| up.get(device)).for_each(|link| link.look.notify_one());
    }

    /// Has all links look.
    pub(super) fn wake_all(&self) {
        self.lock().values().for_each(|link| link.look.notify_one());
    }

    /// Tells a device of a meeting; false when it has no link, or is told too many.
    pub(super) fn meet(&self, device: &Name, meeting: Meeting) -> bool {
        let told = Told::Meeting(meeting);
        self.lock().get(device).is_some_and(|link| link.inbox.try_send(told).is_ok())
    }

    /// Notes that a device has applied or refused a version.
    pub(super) fn answered(&self, device: &Name, version: u64) {
        if let Some(link) = self.lock().get(device) {
            link.answered.send_modify(|answered| *answered = version.max(*answered));
        }
    }

    /// Waits until every linked device of these publications has answered or lost its link, for `patience` at most.
    /// Devices without a link are not waited for. Says how many have answered.
    pub(super) async fn settle(&self, publications: &[Publication], patience: Duration) -> usize {
        let concerned: Vec<_> = {
            let up = self.lock();
            let answers = |publication: &Publication| {
                up.get(&publication.device).map(|link| (link.answered.subscribe(), publication.version))
            };
            publications.iter().filter_map(answers).collect()
        };
        let (until, mut answered) = (Instant::now() + patience, 0);
        for (mut answers, version) in concerned {
            let answer =
                tokio::time::timeout_at(until, answers.wait_for(|answered| *answered >= version)).await;
            // Otherwise it is late, or its link is lost.
            if let Ok(Ok(_)) = answer {
                answered += 1;
            }
        }
        answered
    }

    /// Takes a device's link away, if it is still this connection's. Returns whether it was.
    pub(super) fn release(&self, device: &Name, connection: &Connection) -> bool {
        let mut up = self.lock();
        let mine = up.get(device).is_some_and(|link| link.connection.id() == connection.id());
        if mine {
            up.remove(device);
        }
        mine
    }

    /// Closes the link of a device whose key is worth nothing any more.
    pub(super) fn cut(&self, device: &Name) {
        if let Some(link) = self.lock().remove(device) {
            super::close(&link.connection, ProtocolFault::Unknown);
        }
    }

    /// How many devices are linked.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Tells each linked device when to leave and come back; says how many were told.
    pub(super) fn send_home(&self, mut draw: impl FnMut() -> Return) -> usize {
        self.lock().values().filter(|link| link.inbox.try_send(Told::Leave(draw())).is_ok()).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, Up>> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may wait until a device is told.
const TOLD: usize = 8;
