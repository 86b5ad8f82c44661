//! This hub among others of its installation: what a primary hears of edges and they of it, as far as it concerns store and links.
//!
//! 1. A primary [surveys](Hub::survey) what is published, records what edges [hear](Hub::hear), and [gives up](Hub::lose) the links of
//!    those that are gone.
//! 2. An edge [replicates](Hub::replicate) what is published, and [is told](Hub::told) what came of what it reported.
//! 3. A device that has no link here may have one elsewhere: [`Hub::call`] finds it.
//!
//! Deliberately absent: how hubs talk to each other, which is the [`cluster`](crate::cluster)'s.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::watch;

use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{PublicKey, Root, RootFault};
use postern_protocol::wire::codec::CodecFault;
use postern_protocol::wire::control::Hello;
use postern_protocol::wire::hub::{HubAnswer, HubRequest};
use postern_protocol::wire::registry::ProtocolFault;
use postern_protocol::wire::relay::{Meeting, Place};
use postern_transport::framed::{FrameFault, read_frame};
use postern_transport::quic::{Connection, RecvStream};

use super::links::{Told, Where};
use super::report::{Outcome, Report, Whence};
use super::{ARRIVAL, Failed, Hub, REQUEST, blocking};
use crate::cluster::{
    Change, ENTRY_BYTES, Edge, Forward, Forwarded, HubId, Part, Primary, Said, Tally, Tell, Topic, Veil,
    What, root_mark,
};
use crate::store::StoreError;

/// Who asks something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guest {
    /// With which key.
    pub(super) key: PublicKey,
    /// From where.
    pub(super) from: SocketAddr,
    /// Whether another hub asks for them.
    pub(super) is_afar: bool,
}

/// Why other hubs do not get what is published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FellowError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("an entry is too large: {0}")]
    Codec(#[from] CodecFault),
    #[error("a root from the other hubs: {0}")]
    Root(#[from] RootFault),
    #[error("a task of the hub failed")]
    Internal,
}

impl Hub {
    /// Takes part among other hubs, from now on; the first call counts.
    pub(crate) fn join(&self, part: Part) {
        let _first = self.part.set(part);
    }

    /// Has what users ask go to the primary, from now on; the first call counts.
    pub(crate) fn forward(&self, forward: Forward) {
        let _first = self.forward.set(forward);
    }

    /// Its part, where it has no model.
    pub(crate) fn edge(&self) -> Option<&Edge> {
        match self.part.get() {
            Some(Part::Edge(edge)) => Some(edge),
            Some(Part::Primary(_)) | None => None,
        }
    }

    pub(super) fn primary(&self) -> Option<&Primary> {
        match self.part.get() {
            Some(Part::Primary(primary)) => Some(primary),
            Some(Part::Edge(_)) | None => None,
        }
    }

    /// Whether a connection is another hub's.
    pub(super) fn is_fellow(&self, key: &PublicKey) -> bool {
        self.primary().is_some() && self.signer().now().root.hubs.contains(key)
    }

    /// Who asks on a stream of a connection.
    ///
    /// # Errors
    /// When another hub does not say for whom it asks.
    pub(super) async fn guest(
        &self,
        connection: &Connection,
        recv: &mut RecvStream,
    ) -> Result<Guest, FrameFault> {
        let key = connection.peer_key();
        if !self.is_fellow(&key) {
            return Ok(Guest { key, from: connection.remote_addr(), is_afar: false });
        }
        let Forwarded { key, from } = read_frame(recv, limits::FRAME_BYTES, REQUEST).await?;
        Ok(Guest { key, from, is_afar: true })
    }

    /// Asks the primary what somebody asks here; none where that is for this hub to answer.
    pub(super) async fn ask_primary(
        &self,
        guest: &Guest,
        request: &HubRequest,
        more: &mut RecvStream,
    ) -> Option<HubAnswer> {
        let forward = self.forward.get()?;
        if matches!(request, HubRequest::Sync(_) | HubRequest::Certificate) {
            return None;
        }
        let who = Forwarded { key: guest.key, from: guest.from };
        let mut news = self.news.listen();
        let answer = forward.ask(&who, request, more).await;
        if matches!(answer, HubAnswer::Enrolled { .. }) {
            // The device links with its next connection, and is to be known by then.
            let known = async {
                while self.store.read(|tx| tx.device_of_key(&guest.key)).is_ok_and(|device| device.is_none())
                {
                    let _over = news.changed().await;
                }
            };
            let _late = tokio::time::timeout(ARRIVAL, known).await;
        }
        Some(answer)
    }

    /// Whether devices may be told here what is newest.
    pub(super) fn may_vouch(&self) -> bool {
        self.edge().is_none_or(Edge::may_vouch)
    }

    /// Hears of publications.
    pub(crate) fn listen(&self) -> watch::Receiver<u64> {
        let mut news = self.news.listen();
        news.mark_changed();
        news
    }

    /// What is published now, and what of it differs from what was.
    pub(crate) async fn survey(
        self: &Arc<Self>,
        mut tally: Tally,
        key: [u8; 32],
    ) -> Result<(Tally, Vec<Topic>), FellowError> {
        let hub = Arc::clone(self);
        aside(move || {
            let marks = hub.store.read(|tx| {
                let epoch = hub.publisher.epoch();
                let mut marks = Vec::new();
                for (version, sealed) in tx.roots_after(0, usize::MAX)? {
                    marks.push((Topic::Root(version), root_mark(&key, version, &sealed)));
                }
                for device in tx.devices()? {
                    let entry = tx.entry(device, epoch)?;
                    marks.push((Topic::Device(entry.id), entry.mark(&key)?));
                }
                Ok::<_, FellowError>(marks)
            })?;
            let known: BTreeSet<Topic> = marks.iter().map(|(topic, _)| *topic).collect();
            let gone: Vec<Topic> = tally.topics().filter(|topic| !known.contains(topic)).collect();
            let mut changed = gone.clone();
            for topic in gone {
                tally.remove(topic);
            }
            for (topic, mark) in marks {
                if !tally.has(topic, mark) {
                    tally.put(topic, mark);
                    changed.push(topic);
                }
            }
            Ok((tally, changed))
        })
        .await
    }

    /// Something that is published, sealed for other hubs; none where it is gone.
    pub(crate) async fn published(
        self: &Arc<Self>,
        topic: Topic,
        veil: &Veil,
    ) -> Result<Option<Vec<u8>>, FellowError> {
        let (hub, veil) = (Arc::clone(self), veil.clone());
        aside(move || {
            hub.store.read(|tx| match topic {
                Topic::Root(version) => {
                    let root = tx.roots_after(version.saturating_sub(1), 1)?.pop();
                    root.map(|(_, sealed)| Ok(veil.seal(&topic.key(), &sealed, ENTRY_BYTES)?)).transpose()
                }
                Topic::Device(id) => {
                    let entry = tx.whole_entry(id, hub.publisher.epoch())?;
                    entry.map(|entry| Ok(veil.seal(&topic.key(), &entry, ENTRY_BYTES)?)).transpose()
                }
            })
        })
        .await
    }

    /// Up to which of a hub's parcels all are recorded.
    pub(crate) async fn last_recorded(self: &Arc<Self>, hub: HubId) -> Result<u64, FellowError> {
        let this = Arc::clone(self);
        aside(move || Ok(this.store.read(|tx| tx.last_parcel(hub.as_bytes()))?)).await
    }

    /// A parcel is recorded, with all that was recorded for it.
    pub(crate) async fn recorded(self: &Arc<Self>, hub: HubId, seq: u64) -> Result<(), FellowError> {
        let (this, now) = (Arc::clone(self), (self.clock)());
        let before = UnixTime::from_secs(now.as_secs().saturating_sub(REMEMBERED_S));
        aside(move || Ok(this.store.write(|tx| tx.parcel_recorded(hub.as_bytes(), seq, (now, before)))?))
            .await
    }

    /// Records what a device said to an edge; what the edge is to be told.
    pub(crate) async fn hear(
        self: &Arc<Self>,
        primary: &Primary,
        edge: HubId,
        whence: Whence,
        at: UnixTime,
        what: What,
    ) -> Option<Outcome> {
        let (hub, primary, device) = (Arc::clone(self), primary.clone(), whence.device.clone());
        let heard = blocking(move || match what {
            What::Linked { hello, from } => hub.hear_linked(&primary, edge, &whence, &hello, from),
            What::Learned(Report::Down { .. }) if !hub.links.release_there(&whence.device, edge) => {
                Ok(Outcome::Noted)
            }
            What::Learned(report) => hub.record(&whence, report, at),
        })
        .await;
        match heard {
            Ok(Outcome::Noted) => None,
            Ok(outcome) => Some(outcome),
            Err(error) => {
                // The device says it again over its next link.
                tracing::error!(%error, device = %device, "what an edge reports cannot be recorded");
                Some(Outcome::Over(ProtocolFault::TimedOut))
            }
        }
    }

    fn hear_linked(
        &self,
        primary: &Primary,
        edge: HubId,
        whence: &Whence,
        hello: &Hello,
        from: IpAddr,
    ) -> Result<Outcome, Failed> {
        let welcomed = self.welcome(&whence.key, from, hello, |device, in_force| {
            self.links.take_over_there(device, edge, in_force);
        })?;
        if welcomed.is_none() {
            return Ok(Outcome::Over(ProtocolFault::Unknown));
        }
        tracing::info!(device = %whence.device, "link up at another hub");
        primary.tell(None, Tell::Linked { device: whence.device.clone(), hub: edge });
        // What was signed for it by the way is news for the edge.
        self.news.publish();
        Ok(Outcome::Noted)
    }

    /// An edge is gone, and with it the links that it had.
    pub(crate) async fn lose(self: &Arc<Self>, edge: HubId) {
        let (lost, now) = (self.links.lose(edge), (self.clock)());
        let hub = Arc::clone(self);
        let noted = blocking(move || {
            Ok(hub.store.note(|tx| lost.iter().try_for_each(|device| tx.link_down(device, now)))?)
        });
        if let Err(error) = noted.await {
            tracing::error!(%error, "the links of an edge that is gone were not noted");
        }
    }

    /// Forgets what a replica held before this hub came.
    pub(crate) async fn clear_replica(self: &Arc<Self>) -> Result<(), FellowError> {
        let hub = Arc::clone(self);
        aside(move || Ok(hub.store.note(|tx| tx.clear_replica())?)).await
    }

    /// Writes what changed into the replica, and has links look.
    pub(crate) async fn replicate(self: &Arc<Self>, changes: Vec<Change>) -> Result<(), FellowError> {
        let hub = Arc::clone(self);
        let has_root = aside(move || {
            hub.store.note(|tx| {
                let mut has_root = false;
                for change in changes {
                    match change {
                        Change::Device { entry, .. } => tx.replicate(&entry)?,
                        Change::Gone(Topic::Device(id)) => tx.unreplicate(id)?,
                        // A root that was in force was in force.
                        Change::Gone(Topic::Root(_)) => {}
                        Change::Root { version, sealed, .. } => {
                            let newest = tx.root_version()?;
                            if version > newest {
                                let root = Root::self_signed(&tx.newest_root()?)?.accept_next(&sealed)?;
                                tx.save_root(root.version, &sealed)?;
                                has_root = true;
                            }
                        }
                    }
                }
                Ok::<_, FellowError>(has_root)
            })
        })
        .await?;
        if has_root && let Err(error) = self.refresh().await {
            tracing::error!(%error, "an edge cannot serve under the newest root; `postern-cloud edge new` makes its directory anew");
        }
        self.news.publish();
        Ok(())
    }

    /// The primary says something.
    pub(crate) fn told(&self, own: HubId, tell: Tell) {
        match tell {
            // Whoever is not told reports again.
            Tell::Outcome { device, outcome } => {
                self.links.tell(&device, Told::Outcome(outcome));
            }
            Tell::Meeting { device, meeting } => {
                self.links.tell(&device, Told::Meeting(meeting));
            }
            Tell::Linked { hub, .. } if hub == own => {}
            Tell::Linked { device, .. } => {
                self.edge().into_iter().for_each(|edge| edge.forget(&device));
                self.links.supersede(&device);
            }
        }
    }

    /// What a link has to say, said to the primary.
    pub(super) fn say(&self, edge: &Edge, whence: Whence, what: What) -> Outcome {
        let said = Said { whence, at: (self.clock)(), what };
        if edge.say(said) { Outcome::Noted } else { Outcome::Over(ProtocolFault::TimedOut) }
    }

    /// Tells a device, wherever its link is, that somebody waits for it; false where it has none.
    pub(super) fn call(&self, device: &Name, meeting: impl FnOnce(Vec<Place>) -> Meeting) -> bool {
        match (self.links.find(device), self.primary()) {
            (Some(Where::Here), _) => self.links.meet(device, meeting(Vec::new())),
            (Some(Where::There(edge)), Some(primary)) => {
                let meeting = meeting(primary.places(edge));
                primary.tell(Some(edge), Tell::Meeting { device: device.clone(), meeting })
            }
            (Some(Where::There(_)) | None, _) => false,
        }
    }

    /// A device has linked here: whoever else has a link of it has an old one.
    pub(super) fn linked_here(&self, device: &Name) {
        if let Some(primary) = self.primary().filter(|primary| primary.edges() > 0) {
            primary.tell(None, Tell::Linked { device: device.clone(), hub: primary.id() });
        }
    }
}

async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FellowError> + Send + 'static,
) -> Result<T, FellowError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| FellowError::Internal)?
}

/// For how long parcels of a hub are remembered, of which nothing is heard: longer than NATS keeps them.
const REMEMBERED_S: u64 = 30 * 24 * 3600;
