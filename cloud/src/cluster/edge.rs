//! A hub without the model: offers what is published, as its replica has it, and says what devices say.
//!
//! 1. [`follow`] and [`take_pushes`]: entries of the bucket, and those that the primary pushes, go into the [`Replica`], and links look
//!    whether something is new for their device.
//! 2. [`Asking`]: while the primary answers that the replica is whole, devices may be told what is the newest; a while after that they
//!    may not ([`Edge::may_vouch`]). A primary that has begun anew is told of every link again.
//! 3. [`report`]: what devices say goes into the stream, in order, each parcel until NATS has it, or the primary itself.
//! 4. [`hear`]: what came of it goes to the link that waits for it.
//!
//! Deliberately absent: anything that an edge could permit or sign but the time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use postern_protocol::name::Name;
use postern_protocol::wire::codec;
use postern_protocol::wire::relay::Place;

use super::bus::Bus;
use super::primary::{ANSWER, ASK, REPORT, TAKEN};
use super::replica::{Replica, Shown};
use super::talk::{Answer, Ask, HubId, PARCEL_BYTES, Parcel, Pushed, Said, Taken, Told, WORD_BYTES, What};
use super::veil::Veil;
use crate::chance;
use crate::hub::{Hub, Report};

/// What the rest of the hub asks of it.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    id: HubId,
    said: mpsc::Sender<Said>,
    /// How many of these NATS does not have yet.
    waiting: watch::Sender<usize>,
    /// The links that are up, and with which words they began.
    linked: Arc<Mutex<BTreeMap<Name, Said>>>,
    standing: watch::Receiver<Standing>,
}

/// How an edge stands to the primary.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Which run of the primary answers.
    primary: Option<HubId>,
    /// When it last answered.
    answered: Option<Instant>,
    /// Until when the replica counts as whole.
    whole_until: Option<Instant>,
    /// Up to which of this edge's parcels all are recorded.
    taken: u64,
}

/// What its tasks are made of.
#[derive(Debug)]
pub(crate) struct Works {
    edge: Edge,
    said: mpsc::Receiver<Said>,
    standing: watch::Sender<Standing>,
}

impl Edge {
    /// An edge and its works, which stand still.
    pub(crate) fn new() -> (Self, Works) {
        let (sender, said) = mpsc::channel(SAID);
        let (standing, seen) = watch::channel(Standing::default());
        let waiting = watch::Sender::new(0);
        let edge = Self { id: HubId::new(), said: sender, waiting, linked: Arc::default(), standing: seen };
        (edge.clone(), Works { edge, said, standing })
    }

    /// Says what a device said. False when too much waits for NATS: the link ends then, and the device says all of it again.
    pub(crate) fn say(&self, said: Said) -> bool {
        self.note(&said);
        let sent = self.said.try_send(said);
        match &sent {
            Ok(()) => self.waiting.send_modify(|waiting| *waiting = waiting.saturating_add(1)),
            Err(error) => tracing::warn!(%error, "what a device said does not reach NATS"),
        }
        sent.is_ok()
    }

    /// Whether devices may be told that what is here is the newest.
    pub(crate) fn may_vouch(&self) -> bool {
        self.standing.borrow().whole_until.is_some_and(|until| Instant::now() < until)
    }

    /// Waits a moment until they may.
    pub(crate) async fn ready(&self) -> bool {
        let mut standing = self.standing.clone();
        let whole =
            standing.wait_for(|standing| standing.whole_until.is_some_and(|until| Instant::now() < until));
        tokio::time::timeout(READY, whole).await.is_ok_and(|whole| whole.is_ok())
    }

    /// Whether the primary is there.
    pub(crate) fn is_answered(&self) -> bool {
        self.standing.borrow().answered.is_some_and(|at| at.elapsed() < PRESENT)
    }

    /// Waits a moment until NATS has all that was said: for a hub that ends.
    pub(crate) async fn flush(&self) {
        let mut waiting = self.waiting.subscribe();
        let _late = tokio::time::timeout(FLUSH, waiting.wait_for(|waiting| *waiting == 0)).await;
    }

    /// A device has a newer link at another hub: a primary is not to be told of the one here.
    pub(crate) fn forget(&self, device: &Name) {
        self.lock().remove(device);
    }

    /// Keeps what a primary that begins anew must be told.
    fn note(&self, said: &Said) {
        let mut linked = self.lock();
        let device = &said.whence.device;
        match &said.what {
            What::Linked { .. } => drop(linked.insert(device.clone(), said.clone())),
            What::Learned(Report::Down { .. }) => drop(linked.remove(device)),
            What::Learned(Report::Applied(held)) => {
                if let Some(Said { what: What::Linked { hello, .. }, .. }) = linked.get_mut(device) {
                    (hello.held, hello.active) = (Some(*held), true);
                }
            }
            What::Learned(_) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Said>> {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Works {
    /// Begins to work; until what is returned is dropped. `places` are where the relay of this hub is.
    pub(crate) fn start(self, hub: &Arc<Hub>, bus: &Bus, veil: &Veil, places: Vec<Place>) -> JoinSet<()> {
        let Self { edge, said, standing } = self;
        let replica = Arc::new(Replica::new(Arc::clone(hub), veil.clone()));
        let (anew, begin) = watch::channel(());
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(Arc::clone(hub), bus.clone(), Arc::clone(&replica), begin));
        tasks.spawn(take_pushes(edge.clone(), bus.clone(), veil.clone(), Arc::clone(&replica)));
        tasks.spawn(hear(Arc::clone(hub), edge.clone(), bus.clone(), veil.clone()));
        tasks.spawn(report(edge.clone(), said, bus.clone(), veil.clone()));
        let asking =
            Asking { edge, replica, standing, anew, places, asked: 0, was_whole: false, since: None };
        tasks.spawn(asking.run(bus.clone(), veil.clone()));
        tasks
    }
}

/// Keeps the replica as the bucket is.
async fn follow(hub: Arc<Hub>, bus: Bus, replica: Arc<Replica>, mut begin: watch::Receiver<()>) {
    if let Err(error) = hub.clear_replica().await {
        tracing::error!(%error, "the replica cannot be cleared");
    }
    let mut is_away = false;
    loop {
        let watched = match bus.bucket().await {
            Ok(bucket) => bucket.watch_with_history(">").await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match watched {
            Ok(watched) => {
                is_away = false;
                let mut entries = watched.ready_chunks(AT_ONCE);
                loop {
                    let some = tokio::select! {
                        some = entries.next() => some,
                        _ = begin.changed() => {
                            replica.begin_anew().await;
                            None
                        }
                    };
                    let Some(some) = some else { break };
                    let some: Vec<_> = some.into_iter().filter_map(Result::ok).map(Shown::from).collect();
                    if !replica.apply(some).await {
                        break;
                    }
                }
            }
            Err(error) if !std::mem::replace(&mut is_away, true) => {
                tracing::warn!(%error, "what is published cannot be followed on NATS");
            }
            Err(error) => tracing::debug!(%error, "what is published cannot be followed on NATS yet"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Takes what the primary pushes.
async fn take_pushes(edge: Edge, bus: Bus, veil: Veil, replica: Arc<Replica>) {
    let place = bus.pushes();
    let mut last = (None, 0);
    loop {
        let Ok(pushes) = bus.client().subscribe(place.clone()).await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        let mut pushes = pushes.ready_chunks(AT_ONCE);
        while let Some(some) = pushes.next().await {
            let mut shown = Vec::new();
            for message in some {
                let pushed: Pushed = match veil.open(&place, &message.payload, PARCEL_BYTES) {
                    Ok(pushed) => pushed,
                    Err(error) => {
                        tracing::debug!(%error, "a push over NATS");
                        continue;
                    }
                };
                let primary = edge.standing.borrow().primary;
                if last.0 != primary {
                    last = (primary, 0);
                }
                // What is not newer is a repetition.
                if primary == Some(pushed.primary) && pushed.seq > last.1 {
                    last.1 = pushed.seq;
                    shown.push(Shown::pushed(pushed.key, Bytes::from(pushed.sealed)));
                }
            }
            // Whatever is not written is in the bucket as well.
            let _written = replica.apply(shown).await;
        }
    }
}

/// Asks whether the replica is whole.
struct Asking {
    edge: Edge,
    replica: Arc<Replica>,
    standing: watch::Sender<Standing>,
    /// Has the bucket read from its beginning.
    anew: watch::Sender<()>,
    places: Vec<Place>,
    asked: u64,
    /// Whether the replica has been whole.
    was_whole: bool,
    /// Since when the replica is not whole.
    since: Option<Instant>,
}

impl Asking {
    async fn run(mut self, bus: Bus, veil: Veil) {
        loop {
            let at = Instant::now();
            let pause = match self.ask(&bus, &veil).await {
                Some(answer) => self.handle_answer(answer, at),
                None => AGAIN,
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask(&mut self, bus: &Bus, veil: &Veil) -> Option<Answer> {
        self.asked = self.asked.saturating_add(1);
        let (nonce, primary) = (chance::bytes(), self.standing.borrow().primary);
        let (tally, places) = (self.replica.sum(), self.places.clone());
        let ask = Ask { hub: self.edge.id, primary, seq: self.asked, nonce, tally, places };
        let sealed = veil.seal(ASK, &ask, WORD_BYTES).ok()?;
        let answered = bus.client().request(bus.questions(), Bytes::from(sealed)).await.ok()?;
        let answer: Answer = veil.open(ANSWER, &answered.payload, WORD_BYTES).ok()?;
        // Anything else is an answer to another question, which somebody repeats.
        (answer.nonce == nonce).then_some(answer)
    }

    /// Takes the answer to a question that was asked at `at`; for how long the next one waits.
    fn handle_answer(&mut self, answer: Answer, at: Instant) -> Duration {
        let (whole, before) = (self.replica.sum() == answer.tally, self.standing.borrow().primary);
        self.standing.send_modify(|standing| {
            standing.primary = Some(answer.primary);
            standing.answered = Some(at);
            standing.taken = standing.taken.max(answer.taken);
            if whole {
                standing.whole_until = Some(at + GRACE);
            }
        });
        if whole && !self.was_whole {
            tracing::info!("all that is published is here");
        }
        self.was_whole |= whole;
        if before != Some(answer.primary) {
            tracing::info!("the primary is there");
            self.introduce();
            return SOON;
        }
        if whole {
            self.since = None;
            return ASKS;
        }
        if self.since.get_or_insert(at).elapsed() > LATE {
            self.since = None;
            tracing::warn!("something that is published does not arrive; all is read again");
            self.anew.send_replace(());
        }
        SOON
    }

    /// A primary that begins anew knows of no links.
    fn introduce(&self) {
        let linked: Vec<Said> = self.edge.lock().values().cloned().collect();
        for said in linked {
            if !self.edge.say(said) {
                break;
            }
        }
    }
}

/// Sends what devices say: into the stream, or to the primary itself while the stream takes nothing.
async fn report(edge: Edge, mut said: mpsc::Receiver<Said>, bus: Bus, veil: Veil) {
    let (id, mut seq) = (edge.id, 0_u64);
    let mut kept = VecDeque::new();
    while let Some(first) = said.recv().await {
        seq = seq.saturating_add(1);
        let (mut some, mut bytes) = (Vec::new(), 0);
        let mut next = Some(first);
        while let Some(one) = next {
            bytes += codec::encode(&one, WORD_BYTES).map_or(0, |encoded| encoded.len());
            some.push(one);
            next = if bytes < ENOUGH { said.try_recv().ok() } else { None };
        }
        let count = some.len();
        let said_it = || edge.waiting.send_modify(|waiting| *waiting = waiting.saturating_sub(count));
        let sealed = match veil.seal(REPORT, &Parcel { hub: id, seq, said: some }, PARCEL_BYTES) {
            Ok(sealed) => Bytes::from(sealed),
            Err(error) => {
                tracing::error!(%error, "what devices said is too large for NATS");
                seq = seq.saturating_sub(1);
                said_it();
                continue;
            }
        };
        kept.push_back((seq, sealed.clone()));
        // The same parcel until somebody has it: what comes after it must not overtake it.
        loop {
            let mut sending = std::pin::pin!(send(&bus, format!("{id}-{seq}"), sealed.clone()));
            let sent = match tokio::time::timeout(STILL, &mut sending).await {
                Ok(sent) => sent,
                // The stream may stand still for seconds.
                Err(_late) if hand_over(&edge, &bus, &veil, &mut kept).await >= seq => break,
                Err(_late) => sending.await,
            };
            let Err(error) = sent else { break };
            if hand_over(&edge, &bus, &veil, &mut kept).await >= seq {
                break;
            }
            tracing::warn!(%error, "what devices say waits for NATS");
            tokio::time::sleep(AGAIN).await;
        }
        said_it();
        forget(&mut kept, edge.standing.borrow().taken);
    }
}

/// Forgets parcels that are recorded, and the oldest ones where too much is kept: the stream has them.
fn forget(kept: &mut VecDeque<(u64, Bytes)>, taken: u64) {
    kept.retain(|(seq, _)| *seq > taken);
    let bytes = |kept: &VecDeque<(u64, Bytes)>| kept.iter().map(|(_, sealed)| sealed.len()).sum::<usize>();
    while kept.len() > 1 && bytes(kept) > KEPT_BYTES {
        kept.pop_front();
    }
}

/// Hands parcels to the primary, from the first on that it lacks; up to which all are recorded then, as far as is known. What is in the
/// stream as well is known to it when it comes from there.
async fn hand_over(edge: &Edge, bus: &Bus, veil: &Veil, kept: &mut VecDeque<(u64, Bytes)>) -> u64 {
    let mut taken = edge.standing.borrow().taken;
    forget(kept, taken);
    for (seq, sealed) in &*kept {
        let Ok(answered) = bus.client().request(bus.hands(), sealed.clone()).await else { break };
        let Ok(answer) = veil.open::<Taken>(TAKEN, &answered.payload, WORD_BYTES) else { break };
        if answer.hub == edge.id {
            taken = taken.max(answer.seq);
        }
        if taken < *seq {
            break;
        }
    }
    forget(kept, taken);
    taken
}

async fn send(
    bus: &Bus,
    id: String,
    sealed: Bytes,
) -> Result<(), async_nats::jetstream::context::PublishError> {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, id.as_str());
    bus.jetstream().publish_with_headers(bus.reports(), headers, sealed).await?.await.map(drop)
}

/// Hears what the primary tells.
async fn hear(hub: Arc<Hub>, edge: Edge, bus: Bus, veil: Veil) {
    loop {
        let (mine, all) = (bus.tells(Some(edge.id)), bus.tells(None));
        let subscribed = async {
            let own = bus.client().subscribe(mine.clone()).await.ok()?;
            Some(futures_util::stream::select(own, bus.client().subscribe(all.clone()).await.ok()?))
        };
        let Some(mut words) = subscribed.await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        let (mut last, mut from) = (BTreeMap::new(), None);
        while let Some(message) = words.next().await {
            let told: Told = match veil.open(message.subject.as_str(), &message.payload, WORD_BYTES) {
                Ok(told) => told,
                Err(error) => {
                    tracing::debug!(%error, "a word over NATS");
                    continue;
                }
            };
            let primary = edge.standing.borrow().primary;
            if primary != Some(told.primary) {
                continue;
            }
            if from != primary {
                (last, from) = (BTreeMap::new(), primary);
            }
            // What is not newer is a repetition.
            let last = last.entry(message.subject).or_insert(0);
            if told.seq > *last {
                *last = told.seq;
                hub.told(edge.id, told.tell);
            }
        }
    }
}

/// What devices said and NATS does not have yet.
const SAID: usize = 8192;
/// Entries in one transaction.
const AT_ONCE: usize = 128;
/// Parcels that may have to be handed over.
const KEPT_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of a parcel above which nothing is added.
const ENOUGH: usize = 512 * 1024;
/// For the last words of a hub that ends.
const FLUSH: Duration = Duration::from_secs(2);
/// How often an edge asks.
const ASKS: Duration = Duration::from_secs(2);
/// When the replica was not whole.
const SOON: Duration = Duration::from_millis(200);
/// After which a parcel that the stream has not taken is handed over.
const STILL: Duration = Duration::from_millis(200);
/// Before something that failed is tried again.
const AGAIN: Duration = Duration::from_millis(250);
/// For something that is published to arrive, before all is read again.
const LATE: Duration = Duration::from_secs(3);
/// For how long an edge vouches for its replica after it was last whole: a primary may start anew, and for this long at most can
/// whoever keeps entries back have a withdrawal unheard.
const GRACE: Duration = Duration::from_secs(300);
/// For a device that comes while the replica is not whole yet.
const READY: Duration = Duration::from_secs(5);
/// After which a primary that has not answered is away.
const PRESENT: Duration = Duration::from_secs(6);
