//! Which device is linked over which connection: at most one each, the newest. A primary knows of links at other hubs as well.

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

use super::report::Outcome;
use crate::cluster::HubId;
use crate::publish::Publication;

/// The links that are up.
#[derive(Debug, Default)]
pub(super) struct Links {
    up: Mutex<BTreeMap<Name, Up>>,
}

#[derive(Debug)]
struct Up {
    at: At,
    /// The highest version that the device holds or has answered to.
    answered: watch::Sender<u64>,
}

/// Where a link is.
#[derive(Debug)]
enum At {
    /// At this hub: its connection, and how it is told of what is not asked for.
    Here(Connection, Teller),
    /// At another one.
    There(HubId),
}

/// How a link at this hub is told.
#[derive(Debug)]
struct Teller {
    inbox: mpsc::Sender<Told>,
    /// Has it look at the state.
    look: Arc<Notify>,
}

/// Where a link is, for whoever looks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// At this hub.
    Here,
    /// At another one.
    There(HubId),
}

/// What a link is told from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Somebody waits for the device.
    Meeting(Meeting),
    /// The hub is about to end.
    Leave(Return),
    /// What came of something that it reported.
    Outcome(Outcome),
}

/// How a link is told.
pub(super) struct Inbox {
    /// What is not asked for.
    pub(super) told: mpsc::Receiver<Told>,
    /// That something was published for the device. It is said once for everything that it has not looked at yet.
    pub(super) look: Arc<Notify>,
}

impl Up {
    /// A link at another hub is woken there.
    fn wake(&self) {
        if let At::Here(_, teller) = &self.at {
            teller.look.notify_one();
        }
    }
}

impl Links {
    /// Gives a device's link to a connection, and yields what it is to be told of. An earlier one is closed: a device that lost its network comes back
    /// long before its old connection times out, and two agents with one key must be noticed.
    pub(super) fn take_over(&self, device: &Name, connection: &Connection, in_force: u64) -> Inbox {
        let (teller, told) = mpsc::channel(TOLD);
        let look = Arc::new(Notify::new());
        let answered = watch::Sender::new(in_force);
        let at = At::Here(connection.clone(), Teller { inbox: teller, look: Arc::clone(&look) });
        let up = Up { at, answered };
        let earlier = self.lock().insert(device.clone(), up);
        if let Some(Up { at: At::Here(earlier, _), .. }) = earlier
            && earlier.id() != connection.id()
        {
            super::close(&earlier, ProtocolFault::Superseded);
        }
        Inbox { told, look }
    }

    /// Has the links of these devices look at the state.
    pub(super) fn wake<'a>(&self, devices: impl IntoIterator<Item = &'a Name>) {
        let up = self.lock();
        devices.into_iter().filter_map(|device| up.get(device)).for_each(Up::wake);
    }

    /// Has all links look.
    pub(super) fn wake_all(&self) {
        self.lock().values().for_each(Up::wake);
    }

    /// Notes that a device is linked with another hub. A connection that it has here is an old one, and closed.
    pub(super) fn take_over_there(&self, device: &Name, hub: HubId, in_force: u64) {
        let up = Up { at: At::There(hub), answered: watch::Sender::new(in_force) };
        if let Some(Up { at: At::Here(earlier, _), .. }) = self.lock().insert(device.clone(), up) {
            super::close(&earlier, ProtocolFault::Superseded);
        }
    }

    /// Closes the link of a device that has a newer one at another hub.
    pub(super) fn supersede(&self, device: &Name) {
        self.end(device, ProtocolFault::Superseded);
    }

    /// Where a device is linked.
    pub(super) fn find(&self, device: &Name) -> Option<Where> {
        self.lock().get(device).map(|link| match link.at {
            At::Here(..) => Where::Here,
            At::There(hub) => Where::There(hub),
        })
    }

    /// Tells a link here something; one that has too much to hear hears it not, and its device says everything again.
    pub(super) fn tell(&self, device: &Name, told: Told) -> bool {
        match self.lock().get(device) {
            Some(Up { at: At::Here(_, teller), .. }) => teller.inbox.try_send(told).is_ok(),
            Some(Up { at: At::There(_), .. }) | None => false,
        }
    }

    /// Tells a device of a meeting; false when it has no link, or is told too many.
    pub(super) fn meet(&self, device: &Name, meeting: Meeting) -> bool {
        self.tell(device, Told::Meeting(meeting))
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
        self.take(device, |at| matches!(at, At::Here(mine, _) if mine.id() == connection.id()))
    }

    /// Takes a device's link away, if it is still at this hub. Returns whether it was.
    pub(super) fn release_there(&self, device: &Name, hub: HubId) -> bool {
        self.take(device, |at| matches!(at, At::There(there) if *there == hub))
    }

    /// Takes all links of a hub away that is gone, and says whose they were.
    pub(super) fn lose(&self, hub: HubId) -> Vec<Name> {
        let mut up = self.lock();
        let is_lost = |link: &Up| matches!(link.at, At::There(there) if there == hub);
        let lost: Vec<Name> =
            up.iter().filter(|(_, link)| is_lost(link)).map(|(device, _)| device.clone()).collect();
        lost.iter().for_each(|device| drop(up.remove(device)));
        lost
    }

    /// Closes the link of a device whose key is worth nothing any more.
    pub(super) fn cut(&self, device: &Name) {
        self.end(device, ProtocolFault::Unknown);
    }

    /// How many devices are linked here.
    pub(super) fn count(&self) -> usize {
        self.lock().values().filter(|link| matches!(link.at, At::Here(..))).count()
    }

    /// Tells each linked device when to leave and come back; says how many were told.
    pub(super) fn send_home(&self, mut draw: impl FnMut() -> Return) -> usize {
        let leaves = |link: &&Up| match &link.at {
            At::Here(_, teller) => teller.inbox.try_send(Told::Leave(draw())).is_ok(),
            At::There(_) => false,
        };
        self.lock().values().filter(leaves).count()
    }

    /// A link at another hub is ended there: that hub looks, too.
    fn end(&self, device: &Name, fault: ProtocolFault) {
        if let Some(Up { at: At::Here(connection, _), .. }) = self.lock().remove(device) {
            super::close(&connection, fault);
        }
    }

    fn take(&self, device: &Name, is_it: impl FnOnce(&At) -> bool) -> bool {
        let mut up = self.lock();
        let is_it = up.get(device).is_some_and(|link| is_it(&link.at));
        if is_it {
            up.remove(device);
        }
        is_it
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, Up>> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may wait until a device is told.
const TOLD: usize = 8;
