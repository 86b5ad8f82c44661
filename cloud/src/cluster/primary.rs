//! The hub that has the model, among others: says what is published, records what edges hear, and tells them what came of it.
//!
//! 1. [`publish`]: whenever something was published, each entry that is different goes into the bucket.
//! 2. [`answer`]: edges that ask are told the tally of all that is published, and are known to be there.
//! 3. [`record`]: parcels are recorded one after another; a parcel is taken out of the stream when it is durable here.
//! 4. [`tell`]: what came of them goes to the edge it is for.
//! 5. [`watch()`]: an edge that is silent for a while has lost its links.
//!
//! Each of these goes on for as long as the hub lives: what fails is tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::AckKind;
use async_nats::jetstream::kv;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use postern_protocol::wire::relay::Place;

use super::bus::{Bus, BusError};
use super::entry::{ENTRY_BYTES, Tally, Topic};
use super::talk::{Answer, Ask, HubId, PARCEL_BYTES, Parcel, Said, Tell, Told, WORD_BYTES};
use super::veil::Veil;
use crate::hub::Hub;

/// What the rest of the hub asks of it.
#[derive(Clone, Debug)]
pub(crate) struct Primary {
    id: HubId,
    tells: mpsc::Sender<(Option<HubId>, Tell)>,
    edges: Arc<Mutex<BTreeMap<HubId, Fellow>>>,
}

/// An edge that is there.
#[derive(Clone, Debug)]
struct Fellow {
    asked: u64,
    heard: Instant,
    places: Vec<Place>,
}

/// What its tasks are made of.
#[derive(Debug)]
pub(crate) struct Works {
    primary: Primary,
    told: mpsc::Receiver<(Option<HubId>, Tell)>,
}

impl Primary {
    /// A primary and its works, which stand still.
    pub(crate) fn new() -> (Self, Works) {
        let (tells, told) = mpsc::channel(TELLS);
        let primary = Self { id: HubId::new(), tells, edges: Arc::default() };
        (primary.clone(), Works { primary, told })
    }

    /// Which run of a hub it is.
    pub(crate) const fn id(&self) -> HubId {
        self.id
    }

    /// Tells an edge something, or all of them; false when too much waits to be told. Whoever needs it asks again.
    pub(crate) fn tell(&self, to: Option<HubId>, tell: Tell) -> bool {
        let told = self.tells.try_send((to, tell));
        if let Err(error) = &told {
            tracing::warn!(%error, "an edge could not be told");
        }
        told.is_ok()
    }

    /// Where the relay of an edge is.
    pub(crate) fn places(&self, edge: HubId) -> Vec<Place> {
        self.lock().get(&edge).map(|fellow| fellow.places.clone()).unwrap_or_default()
    }

    /// How many edges are there.
    pub(crate) fn edges(&self) -> usize {
        self.lock().len()
    }

    /// An edge asks. False where it asks again, or did not ask this run.
    fn handle_ask(&self, ask: &Ask) -> bool {
        if ask.primary.is_some_and(|primary| primary != self.id) {
            // It learns who is here from the answer, and asks again; until then it counts for nothing.
            return true;
        }
        let mut edges = self.lock();
        let known = edges.get(&ask.hub).map(|fellow| fellow.asked);
        if known.is_some_and(|known| known >= ask.seq) {
            return false;
        }
        if ask.primary.is_some() {
            let fellow = Fellow { asked: ask.seq, heard: Instant::now(), places: ask.places.clone() };
            if edges.insert(ask.hub, fellow).is_none() {
                tracing::info!("an edge is there");
            }
        }
        true
    }

    /// Takes away the edges that are silent.
    fn silent(&self) -> Vec<HubId> {
        let mut edges = self.lock();
        let gone: Vec<HubId> =
            edges.iter().filter(|(_, fellow)| fellow.heard.elapsed() > SILENCE).map(|(id, _)| *id).collect();
        gone.iter().for_each(|id| drop(edges.remove(id)));
        gone
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<HubId, Fellow>> {
        self.edges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Works {
    /// Begins to work; until what is returned is dropped.
    pub(crate) fn start(self, hub: &Arc<Hub>, bus: &Bus, veil: &Veil) -> JoinSet<()> {
        let Self { primary, told } = self;
        let (sum, known) = watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(publish(Arc::clone(hub), bus.clone(), veil.clone(), sum));
        tasks.spawn(answer(primary.clone(), bus.clone(), veil.clone(), known));
        tasks.spawn(record(Arc::clone(hub), primary.clone(), bus.clone(), veil.clone()));
        tasks.spawn(tell(primary.id, told, bus.clone(), veil.clone()));
        tasks.spawn(watch(Arc::clone(hub), primary));
        tasks
    }
}

/// Keeps the bucket as the store is.
async fn publish(hub: Arc<Hub>, bus: Bus, veil: Veil, sum: watch::Sender<Option<[u8; 32]>>) {
    let mut news = hub.listen();
    let mut looks = tokio::time::interval(SURVEY);
    let (mut tally, mut due) = (Tally::default(), BTreeSet::new());
    let (mut bucket, mut failures) = (None, 0_u32);
    loop {
        match hub.survey(tally.clone(), *veil.tally()).await {
            Ok((surveyed, changed)) => {
                tally = surveyed;
                due.extend(changed);
                sum.send_replace(Some(tally.sum()));
            }
            Err(error) => tracing::error!(%error, "what is published cannot be read for the other hubs"),
        }
        if let Err(error) = put(&hub, &bus, &veil, &mut bucket, &tally, &mut due).await {
            tracing::warn!(%error, "what is published did not reach NATS");
            failures += 1;
            if failures % FORGOTTEN == 0 {
                // Somebody may have taken the bucket away.
                bucket = None;
            }
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        failures = 0;
        tokio::select! {
            _ = looks.tick() => {}
            changed = news.changed() => if changed.is_err() { return },
        }
    }
}

/// Why an entry did not reach NATS.
#[derive(Debug, thiserror::Error)]
enum PutError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error("{0}")]
    Put(#[from] kv::PutError),
    #[error("{0}")]
    Delete(#[from] kv::DeleteError),
    #[error("{0}")]
    Keys(String),
    #[error("{0}")]
    Hub(String),
}

/// Puts what is due into the bucket; what is not put stays due.
async fn put(
    hub: &Arc<Hub>,
    bus: &Bus,
    veil: &Veil,
    bucket: &mut Option<kv::Store>,
    tally: &Tally,
    due: &mut BTreeSet<Topic>,
) -> Result<(), PutError> {
    let bucket = match bucket {
        Some(bucket) => bucket,
        None => {
            let made = bucket.insert(bus.make_bucket().await?);
            // Of what was there before this hub came, some may be gone from the model.
            let keys = made.keys().await.map_err(|error| PutError::Keys(error.to_string()))?;
            let known: BTreeSet<String> = tally.topics().map(|topic| topic.key()).collect();
            for key in keys.collect::<Vec<_>>().await {
                let key = key.map_err(|error| PutError::Keys(error.to_string()))?;
                if !known.contains(&key) {
                    made.delete(&key).await?;
                }
            }
            made
        }
    };
    while let Some(topic) = due.first().copied() {
        let key = topic.key();
        match hub.published(topic, veil).await.map_err(|error| PutError::Hub(error.to_string()))? {
            Some(sealed) => drop(bucket.put(&key, Bytes::from(sealed)).await?),
            None => bucket.delete(&key).await?,
        }
        due.pop_first();
    }
    Ok(())
}

/// Answers edges.
async fn answer(primary: Primary, bus: Bus, veil: Veil, sum: watch::Receiver<Option<[u8; 32]>>) {
    loop {
        let Ok(mut questions) = bus.client().subscribe(bus.questions()).await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        while let Some(message) = questions.next().await {
            let Some(reply) = message.reply else { continue };
            let ask: Ask = match veil.open(ASK, &message.payload, WORD_BYTES) {
                Ok(ask) => ask,
                Err(error) => {
                    tracing::debug!(%error, "a question over NATS");
                    continue;
                }
            };
            let Some(tally) = *sum.borrow() else { continue };
            if !primary.handle_ask(&ask) {
                continue;
            }
            let said = Answer { primary: primary.id, nonce: ask.nonce, tally };
            if let Ok(sealed) = veil.seal(ANSWER, &said, WORD_BYTES) {
                // Whoever hears nothing asks again.
                let _lost = bus.client().publish(reply, Bytes::from(sealed)).await;
            }
        }
    }
}

/// Records what edges hear.
async fn record(hub: Arc<Hub>, primary: Primary, bus: Bus, veil: Veil) {
    let mut anew = true;
    loop {
        let parcels = match bus.parcels(anew).await {
            Ok(consumer) => consumer.messages().await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        anew &= parcels.is_err();
        let mut parcels = match parcels {
            Ok(parcels) => parcels,
            Err(error) => {
                tracing::warn!(%error, "what other hubs report cannot be read from NATS");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        while let Some(Ok(message)) = parcels.next().await {
            match veil.open::<Parcel>(REPORT, &message.payload, PARCEL_BYTES) {
                Ok(parcel) => take(&hub, &primary, parcel).await,
                Err(error) => tracing::warn!(%error, "a report over NATS"),
            }
            // One that comes again because this was lost is known.
            let _lost = message.ack_with(AckKind::Ack).await;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Records one parcel, however often that must be tried.
async fn take(hub: &Arc<Hub>, primary: &Primary, parcel: Parcel) {
    let Parcel { hub: edge, seq, said } = parcel;
    loop {
        match hub.is_recorded(edge, seq).await {
            Ok(true) => return,
            Ok(false) => break,
            Err(error) => tracing::error!(%error, "a report of another hub waits"),
        }
        tokio::time::sleep(AGAIN).await;
    }
    for Said { whence, at, what } in said {
        let device = whence.device.clone();
        if let Some(outcome) = hub.hear(primary, edge, whence, at, what).await {
            primary.tell(Some(edge), Tell::Outcome { device, outcome });
        }
    }
    while let Err(error) = hub.recorded(edge, seq).await {
        tracing::error!(%error, "a report of another hub waits");
        tokio::time::sleep(AGAIN).await;
    }
}

/// Tells edges.
async fn tell(id: HubId, mut tells: mpsc::Receiver<(Option<HubId>, Tell)>, bus: Bus, veil: Veil) {
    // For each edge, and for all; a few hundred starts of edges in the life of a primary.
    let mut counts: BTreeMap<Option<HubId>, u64> = BTreeMap::new();
    while let Some((to, tell)) = tells.recv().await {
        let seq = counts.entry(to).or_default();
        *seq = seq.saturating_add(1);
        let place = bus.tells(to);
        match veil.seal(&place, &Told { primary: id, seq: *seq, tell }, WORD_BYTES) {
            Ok(sealed) => {
                // Whoever hears nothing reports again.
                let _lost = bus.client().publish(place, Bytes::from(sealed)).await;
            }
            Err(error) => tracing::error!(%error, "an edge could not be told"),
        }
    }
}

/// Gives up the links of edges that are gone.
async fn watch(hub: Arc<Hub>, primary: Primary) {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        for edge in primary.silent() {
            tracing::warn!("an edge is silent; its links count as down");
            hub.lose(edge).await;
        }
    }
}

/// Where questions are sealed for.
pub(super) const ASK: &str = "ask";
/// And answers.
pub(super) const ANSWER: &str = "answer";
/// And parcels.
pub(super) const REPORT: &str = "report";
/// How many words may wait for NATS.
const TELLS: usize = 4096;
/// How late is noticed what no news says: that a device has refused something, or has its new key in force. It costs a look at every device.
const SURVEY: Duration = Duration::from_secs(60);
/// How late is noticed that an edge is gone.
const LOOK: Duration = Duration::from_secs(5);
/// After which an edge is gone: it asks every two seconds.
const SILENCE: Duration = Duration::from_secs(15);
/// Before something that failed is tried again.
const AGAIN: Duration = Duration::from_millis(250);
/// Failures in a row after which the bucket is looked for anew.
const FORGOTTEN: u32 = 40;

const _: () = assert!(ENTRY_BYTES < PARCEL_BYTES, "both must fit a message of NATS, which is a mebibyte");
