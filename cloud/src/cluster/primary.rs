//! The hub that has the model, among others: says what is published, records what edges hear, and tells them what came of it.
//!
//! 1. [`publish`]: whenever something was published, each entry that is different is pushed to the edges and goes into the bucket.
//! 2. [`answer`]: edges that ask are told the tally of all that is published, and are known to be there.
//! 3. [`record`]: parcels are recorded one after another; a parcel is taken out of the stream when it is durable here. [`accept`]: so are
//!    those that edges hand over while the stream stands still.
//! 4. [`tell`]: what came of them goes to the edge it is for.
//! 5. [`watch()`]: an edge that is silent for a while has lost its links.
//!
//! Each of these goes on for as long as the hub lives: what fails is tried again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::AckKind;
use async_nats::jetstream::kv;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use postern_protocol::wire::relay::Place;

use super::bus::{Bus, BusError};
use super::entry::{ENTRY_BYTES, Tally, Topic};
use super::talk::{Answer, Ask, HubId, PARCEL_BYTES, Parcel, Pushed, Said, Taken, Tell, Told, WORD_BYTES};
use super::veil::Veil;
use crate::hub::Hub;

/// What the rest of the hub asks of it.
#[derive(Clone, Debug)]
pub(crate) struct Primary {
    id: HubId,
    tells: mpsc::Sender<(Option<HubId>, Tell)>,
    edges: Arc<Mutex<BTreeMap<HubId, Fellow>>>,
    /// Held while a parcel is recorded: it may come by two ways.
    recording: Arc<tokio::sync::Mutex<()>>,
}

/// An edge that is there.
#[derive(Clone, Debug)]
struct Fellow {
    asked: u64,
    heard: Instant,
    places: Vec<Place>,
    /// Up to which of its parcels all are recorded, as far as this run knows.
    taken: u64,
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
        let primary = Self { id: HubId::new(), tells, edges: Arc::default(), recording: Arc::default() };
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
        let known = edges.get(&ask.hub);
        if known.is_some_and(|known| known.asked >= ask.seq) {
            return false;
        }
        if ask.primary.is_some() {
            let (taken, places) = (known.map_or(0, |known| known.taken), ask.places.clone());
            let fellow = Fellow { asked: ask.seq, heard: Instant::now(), places, taken };
            if edges.insert(ask.hub, fellow).is_none() {
                tracing::info!("an edge is there");
            }
        }
        true
    }

    /// All parcels of an edge up to this one are recorded.
    fn handle_taken(&self, edge: HubId, seq: u64) {
        if let Some(fellow) = self.lock().get_mut(&edge) {
            fellow.taken = fellow.taken.max(seq);
        }
    }

    /// Up to which parcel of an edge all are recorded, as far as this run knows.
    fn taken(&self, edge: HubId) -> u64 {
        self.lock().get(&edge).map_or(0, |fellow| fellow.taken)
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
        let ((sum, known), lacking) = (watch::channel(None), Arc::new(Notify::new()));
        let mut tasks = JoinSet::new();
        let pusher = Pusher { id: primary.id, bus: bus.clone(), veil: veil.clone(), count: 0 };
        tasks.spawn(publish(Arc::clone(hub), pusher, sum, Arc::clone(&lacking)));
        tasks.spawn(answer(primary.clone(), bus.clone(), veil.clone(), (known, lacking)));
        tasks.spawn(record(Arc::clone(hub), primary.clone(), bus.clone(), veil.clone()));
        tasks.spawn(accept(Arc::clone(hub), primary.clone(), bus.clone(), veil.clone()));
        tasks.spawn(tell(primary.id, told, bus.clone(), veil.clone()));
        tasks.spawn(watch(Arc::clone(hub), primary));
        tasks
    }
}

/// Keeps the bucket as the store is.
async fn publish(
    hub: Arc<Hub>,
    mut pusher: Pusher,
    sum: watch::Sender<Option<[u8; 32]>>,
    lacking: Arc<Notify>,
) {
    let mut news = hub.listen();
    let mut looks = tokio::time::interval(SURVEY);
    let mut tally = Tally::default();
    // What the bucket is to have, and what of it edges were not pushed yet.
    let (mut due, mut unheard) = (BTreeSet::new(), BTreeSet::new());
    let (mut recent, mut again) = (Recent::default(), None);
    let (mut bucket, mut opening, mut failures, mut is_news) = (None, None, 0_u32, true);
    loop {
        let surveyed =
            if is_news { Some(hub.survey(tally.clone(), *pusher.veil.tally()).await) } else { None };
        match surveyed {
            Some(Ok((surveyed, changed))) => {
                // What this hub begins with is in the bucket, nearly always: edges that follow it have that.
                let is_first = sum.send_replace(Some(surveyed.sum())).is_none();
                if !is_first {
                    unheard.extend(&changed);
                    recent.note(&changed);
                }
                due.extend(changed);
                tally = surveyed;
            }
            Some(Err(error)) => {
                tracing::error!(%error, "what is published cannot be read for the other hubs")
            }
            None => {}
        }
        if unheard.len() <= FEW
            && let Err(error) = push(&hub, &mut pusher, &mut unheard).await
        {
            tracing::warn!(%error, "what is published does not reach the other hubs");
        }
        let putting = async {
            let bucket = match &mut bucket {
                Some(bucket) => bucket,
                None => {
                    let task =
                        opening.get_or_insert_with(|| tokio::spawn(open(pusher.bus.clone(), tally.clone())));
                    let opened = task.await;
                    opening = None;
                    bucket.insert(opened.map_err(|error| PutError::Hub(error.to_string()))??)
                }
            };
            put(&hub, &pusher.veil, bucket, &mut due).await
        };
        let error = tokio::select! {
            put = putting => put.err(),
            // Edges are to hear of it, also while the bucket stands still; what was not put stays due.
            changed = overtaken(&mut news) => match changed {
                Ok(()) => {
                    is_news = true;
                    continue;
                }
                Err(_over) => return,
            },
        };
        if let Some(error) = &error {
            if failures == 0 {
                tracing::warn!(%error, "what is published does not reach the bucket on NATS");
            }
            // Until the bucket has it, whoever has missed it has nowhere to find it.
            if due.len() <= FEW && again.is_none_or(|again: Instant| again.elapsed() >= REPEATED) {
                again = Some(Instant::now());
                unheard.extend(&due);
            }
            if let Err(error) = push(&hub, &mut pusher, &mut unheard).await {
                tracing::warn!(%error, "what is published does not reach the other hubs");
            }
            failures += 1;
            if failures % FORGOTTEN == 0 {
                // Somebody may have taken the bucket away.
                bucket = None;
            }
        } else {
            unheard.clear();
            if std::mem::take(&mut failures) > 0 {
                tracing::info!("what is published is in the bucket on NATS");
            }
        }
        is_news = tokio::select! {
            _ = looks.tick() => true,
            changed = news.changed() => match changed {
                Ok(()) => true,
                Err(_over) => return,
            },
            () = tokio::time::sleep(AGAIN), if error.is_some() => false,
            // An edge may have missed a push, and what the bucket tells it may wait for the servers of NATS.
            () = lacking.notified() => {
                unheard.extend(recent.again());
                false
            }
        };
    }
}

/// What was pushed in the last minute, of which an edge may have missed something.
#[derive(Default)]
struct Recent {
    topics: VecDeque<(Instant, Topic)>,
    pushed: Option<Instant>,
}

impl Recent {
    fn note(&mut self, topics: &[Topic]) {
        let now = Instant::now();
        self.topics.extend(topics.iter().rev().take(FEW).map(|topic| (now, *topic)));
        self.topics.drain(..self.topics.len().saturating_sub(FEW));
        self.pushed = Some(now);
    }

    /// All of it, a while after it was pushed last; an edge that has just been told needs a moment.
    fn again(&mut self) -> Vec<Topic> {
        let now = Instant::now();
        if self.pushed.is_some_and(|pushed| now.duration_since(pushed) < REPEATED) {
            return Vec::new();
        }
        self.pushed = Some(now);
        self.topics.retain(|(at, _)| now.duration_since(*at) < RECENT);
        self.topics.iter().map(|(_, topic)| *topic).collect()
    }
}

/// Waits for news that come when something has been put for a while.
async fn overtaken(news: &mut watch::Receiver<u64>) -> Result<(), watch::error::RecvError> {
    tokio::time::sleep(STILL).await;
    news.changed().await
}

/// Pushes entries to edges.
struct Pusher {
    id: HubId,
    bus: Bus,
    veil: Veil,
    /// How many it has pushed.
    count: u64,
}

impl Pusher {
    /// Pushes an entry that is sealed for the bucket. Whoever does not hear it finds it there.
    async fn push(&mut self, key: &str, sealed: &[u8]) {
        self.count = self.count.saturating_add(1);
        let (key, sealed) = (key.to_owned(), sealed.to_vec());
        let pushed = Pushed { primary: self.id, seq: self.count, key, sealed };
        let place = self.bus.pushes();
        match self.veil.seal(&place, &pushed, PARCEL_BYTES) {
            Ok(sealed) => {
                let _lost = self.bus.client().publish(place, Bytes::from(sealed)).await;
            }
            Err(error) => tracing::error!(%error, "an entry is too large to be pushed"),
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

/// Pushes what edges have not heard of. What is gone is taken out of the bucket alone.
async fn push(hub: &Arc<Hub>, pusher: &mut Pusher, unheard: &mut BTreeSet<Topic>) -> Result<(), PutError> {
    while let Some(topic) = unheard.first().copied() {
        let entry = hub.published(topic, &pusher.veil).await;
        if let Some(sealed) = entry.map_err(|error| PutError::Hub(error.to_string()))? {
            pusher.push(&topic.key(), &sealed).await;
        }
        unheard.pop_first();
    }
    Ok(())
}

/// The bucket, without what is gone from the model since an earlier hub was here.
async fn open(bus: Bus, tally: Tally) -> Result<kv::Store, PutError> {
    let bucket = bus.make_bucket().await?;
    let keys = bucket.keys().await.map_err(|error| PutError::Keys(error.to_string()))?;
    let known: BTreeSet<String> = tally.topics().map(|topic| topic.key()).collect();
    for key in keys.collect::<Vec<_>>().await {
        let key = key.map_err(|error| PutError::Keys(error.to_string()))?;
        if !known.contains(&key) {
            bucket.delete(&key).await?;
        }
    }
    Ok(bucket)
}

/// Puts what is due into the bucket; what is not put stays due. Safe to cancel.
async fn put(
    hub: &Arc<Hub>,
    veil: &Veil,
    bucket: &kv::Store,
    due: &mut BTreeSet<Topic>,
) -> Result<(), PutError> {
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
async fn answer(
    primary: Primary,
    bus: Bus,
    veil: Veil,
    (sum, lacking): (watch::Receiver<Option<[u8; 32]>>, Arc<Notify>),
) {
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
            if ask.primary == Some(primary.id) && ask.tally != tally {
                lacking.notify_one();
            }
            // Not asked of the store, which an edit may keep busy for seconds.
            let taken = primary.taken(ask.hub);
            let said = Answer { primary: primary.id, nonce: ask.nonce, tally, taken };
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
                Ok(parcel) => drop(take(&hub, &primary, parcel, |_last| true).await),
                Err(error) => tracing::warn!(%error, "a report over NATS"),
            }
            // One that comes again because this was lost is known.
            let _lost = message.ack_with(AckKind::Ack).await;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Records what edges hand over themselves, each parcel after the one before it.
async fn accept(hub: Arc<Hub>, primary: Primary, bus: Bus, veil: Veil) {
    loop {
        let Ok(mut parcels) = bus.client().subscribe(bus.hands()).await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        while let Some(message) = parcels.next().await {
            let Some(reply) = message.reply else { continue };
            let parcel: Parcel = match veil.open(REPORT, &message.payload, PARCEL_BYTES) {
                Ok(parcel) => parcel,
                Err(error) => {
                    tracing::debug!(%error, "a parcel over NATS");
                    continue;
                }
            };
            let (edge, next) = (parcel.hub, parcel.seq.saturating_sub(1));
            let seq = take(&hub, &primary, parcel, |last| last == next).await;
            if let Ok(sealed) = veil.seal(TAKEN, &Taken { hub: edge, seq }, WORD_BYTES) {
                // Whoever hears nothing hands it over again.
                let _lost = bus.client().publish(reply, Bytes::from(sealed)).await;
            }
        }
    }
}

/// Records one parcel, however often that must be tried, unless it is recorded or not its turn after the `last` one that is; up to which
/// all are recorded then.
async fn take(hub: &Arc<Hub>, primary: &Primary, parcel: Parcel, is_turn: impl Fn(u64) -> bool) -> u64 {
    let Parcel { hub: edge, seq, said } = parcel;
    let _one_way = primary.recording.lock().await;
    let last = loop {
        match hub.last_recorded(edge).await {
            Ok(last) => break last,
            Err(error) => tracing::error!(%error, "a report of another hub waits"),
        }
        tokio::time::sleep(AGAIN).await;
    };
    if seq <= last || !is_turn(last) {
        primary.handle_taken(edge, last);
        return last;
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
    primary.handle_taken(edge, seq);
    seq
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
/// And parcels, in the stream or not.
pub(super) const REPORT: &str = "report";
/// And what is said of parcels that were handed over.
pub(super) const TAKEN: &str = "taken";
/// How many words may wait for NATS.
const TELLS: usize = 4096;
/// How late is noticed what no news says: that a device has refused something, or has its new key in force. It costs a look at every device.
const SURVEY: Duration = Duration::from_secs(60);
/// How late is noticed that an edge is gone.
const LOOK: Duration = Duration::from_secs(5);
/// After which an edge is gone: it asks every two seconds.
const SILENCE: Duration = Duration::from_secs(15);
/// After which news do not wait for the bucket any more.
const STILL: Duration = Duration::from_millis(200);
/// Before something that failed is tried again.
const AGAIN: Duration = Duration::from_millis(250);
/// Between two repetitions of pushes.
const REPEATED: Duration = Duration::from_secs(1);
/// For how long a push may be repeated.
const RECENT: Duration = Duration::from_secs(60);
/// Entries that are pushed: more at once are found in the bucket as well, and are not sealed twice. While the bucket takes nothing so many
/// are pushed again and again, and more of them once.
const FEW: usize = 256;
/// Failures in a row after which the bucket is looked for anew.
const FORGOTTEN: u32 = 40;

const _: () = assert!(ENTRY_BYTES < PARCEL_BYTES, "both must fit a message of NATS, which is a mebibyte");
