//! The hub: admits agents and users over QUIC and answers their requests.
//!
//! 1. [`Hub::serve`] admits connections; each gets a task, and each request on it another.
//! 2. A request is one frame, an edit of the model another one behind it. Everything but `Sync` is answered by one frame.
//! 3. `Sync` becomes a link: the device gets what is published for it, at once and whenever that changes.
//! 4. The peer is whoever holds the key of the handshake. Names in requests are claims.
//!
//! Bounds: handshakes in flight (transport), visitors, streams per connection (transport), frame sizes and times.
//! A connection is a visitor until it brings a link, and visitors are closed after a while: strangers hold few places,
//! for a short time, and none that a linked device has. Deliberately absent: trust in this process. Devices believe signatures; a stolen hub can withhold policy and cannot invent it.

mod administration;
mod approvals;
mod attempts;
mod cases;
mod drain;
mod enroll;
mod examine;
mod fellows;
mod greet;
mod herald;
mod kinds;
mod link;
mod links;
mod meeting;
mod notary;
mod nudge;
mod report;
mod sealing;
mod sessions;
mod trail;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use postern_protocol::limits;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::PublicKey;
use postern_protocol::wire::administration::Declined;
use postern_protocol::wire::codec;
use postern_protocol::wire::hub::{DeviceEntry, HubAnswer, HubRequest, Only, Refusal};
use postern_protocol::wire::registry::{CloseCode, Failure, ProtocolFault};
use postern_protocol::wire::text::Text;
use postern_transport::crowd::{Crowd, Word};
use postern_transport::framed::{FrameFault, read_frame, write_frame};
use postern_transport::quic::{Connection, Endpoint, Incoming, RecvStream, SendStream, Settings};

use self::administration::Caller;
use self::approvals::Decided;
use self::attempts::Attempts;
use self::drain::{Counted, Drain};
use self::fellows::Guest;
use self::links::Links;
use self::meeting::Asked;
use crate::api::Api;
use crate::cluster::{Forward, Part};
use crate::login::{Claim, Login, Outcome, StepUpClaim};
use crate::mail::Post;
use crate::metrics::{self, Metrics};
use crate::news::News;
use crate::publish::{Affected, PublishError, Publisher};
use crate::signer::{Authority, Signer};
use crate::sso::Providers;
use crate::store::{Standing, Store, StoreError};
use crate::visibility::visible_devices;

pub use self::drain::Drained;
pub use self::meeting::Relays;
pub use self::nudge::{DRAINS, Watcher, is_running, notify};
pub(crate) use self::report::{Outcome as Recorded, Report, Whence};

/// Everything that a running hub shares between its tasks.
#[derive(Debug)]
pub struct Hub {
    store: Arc<Store>,
    publisher: Arc<Publisher>,
    login: Arc<Login>,
    links: Links,
    attempts: Attempts,
    /// How often users have asked for meetings.
    asked: Asked,
    /// How often they have asked for sessions.
    listed: Asked,
    /// How often users have asked for approvals and decided on them.
    wishes: Asked,
    /// How often they have looked at the model or at cases, and edited them.
    administrating: Asked,
    /// Questions about the model under way, each with a body.
    bodies: Semaphore,
    /// That a request was decided of which no device hears.
    decisions: News,
    relays: OnceLock<Relays>,
    /// Which part it has among other hubs, if there are any.
    part: OnceLock<Part>,
    /// Where an edge asks what its users ask.
    forward: OnceLock<Forward>,
    /// By which letters leave, if somebody has configured that.
    post: OnceLock<Post>,
    news: News,
    metrics: metrics::Shared,
    drain: Drain,
    clock: fn() -> UnixTime,
}

/// Why a request could not be answered.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("declined: {}", .0.problems.join("; "))]
    Declined(Declined),
    #[error(transparent)]
    Take(#[from] trail::TakeError),
    #[error("a task of the hub failed")]
    Internal,
}

impl From<Declined> for Failed {
    fn from(declined: Declined) -> Self {
        Self::Declined(declined)
    }
}

impl Hub {
    /// A hub on a store; `clock` tells the time of day.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        publisher: Arc<Publisher>,
        login: Arc<Login>,
        news: News,
        clock: fn() -> UnixTime,
    ) -> Self {
        let (links, attempts, asked) = (Links::default(), Attempts::new(), Asked::new());
        let (listed, wishes, administrating) = (Asked::new(), Asked::new(), Asked::new());
        let bodies = Semaphore::new(BODIES);
        let (decisions, relays, post) = (News::default(), OnceLock::new(), OnceLock::new());
        let (part, forward) = (OnceLock::new(), OnceLock::new());
        let metrics = Arc::new(Metrics::new());
        store.measure(&metrics);
        Self {
            store,
            publisher,
            login,
            links,
            attempts,
            asked,
            listed,
            wishes,
            administrating,
            bodies,
            decisions,
            relays,
            part,
            forward,
            post,
            news,
            metrics,
            drain: Drain::new(),
            clock,
        }
    }

    /// What is counted here.
    #[must_use]
    pub const fn metrics(&self) -> &metrics::Shared {
        &self.metrics
    }

    /// Has letters leave by a post, from now on; the first one counts.
    pub fn send_by(&self, post: Post) {
        let _first = self.post.set(post);
    }

    pub(crate) fn signer(&self) -> &Arc<Signer> {
        self.publisher.signer()
    }

    /// The administration API over the same store; what it publishes reaches the links of this hub at once.
    #[must_use]
    pub fn api(&self) -> Api {
        let (store, publisher) = (Arc::clone(&self.store), Arc::clone(&self.publisher));
        Api::new(store, publisher, self.news.clone(), self.clock)
            .with_post(self.post.get().cloned())
            .counted(&self.metrics)
    }

    /// Believes these identity providers from here on.
    pub fn believe(&self, providers: Providers) {
        self.login.believe(providers);
    }

    /// Admits connections until the endpoint is closed.
    pub async fn serve(self: Arc<Self>, endpoint: Endpoint) {
        let (mut tasks, mut crowd) = (JoinSet::new(), Crowd::default());
        let mut heralds = JoinSet::new();
        heralds.spawn(herald::run(Arc::clone(&self)));
        while let Some(incoming) = endpoint.accept().await {
            while tasks.try_join_next().is_some() {}
            if self.drain.has_begun() || !self.may_vouch() {
                // Dropped, and so refused: another hub is dialled, or this one when it is back, or knows what is newest.
                self.metrics.handshake("turned_away");
                continue;
            }
            if crowd.waiting() >= VISITORS && !crowd.one_leaves() {
                self.metrics.handshake("turned_away");
                continue;
            }
            let (hub, word, from) = (Arc::clone(&self), Word::default(), incoming.remote_addr().ip());
            let task = tasks.spawn(hub.admit(incoming, word.clone()));
            crowd.add(from, task, word);
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Takes notice of a root that was published, before it is asked for: passes and snapshots are signed under it from
    /// here on, and new connections are proved with its hub key. Says which key that is, when it is another one.
    ///
    /// # Errors
    /// When the state cannot be read, or the keys of the newest root are not here.
    pub async fn refresh(self: &Arc<Self>) -> Result<Arc<Authority>, PublishError> {
        let hub = Arc::clone(self);
        let refreshed = tokio::task::spawn_blocking(move || {
            hub.store.read(|tx| hub.publisher.signer().refresh(tx).map_err(PublishError::from))
        });
        refreshed.await.unwrap_or_else(|_| Ok(self.publisher.signer().now()))
    }

    /// Signs what has grown old, and with `Affected::All` what an earlier version of this program compiled otherwise.
    /// Returns whether anything was published.
    ///
    /// # Errors
    /// When the state cannot be read or written.
    pub async fn renew(self: &Arc<Self>, affected: Affected<'static>) -> Result<bool, PublishError> {
        let hub = Arc::clone(self);
        let now = (self.clock)();
        let renewed = tokio::task::spawn_blocking(move || {
            hub.store.write(|tx| hub.publisher.publish(tx, affected, now))
        });
        let publications = renewed.await.unwrap_or_else(|_| Ok(Vec::new()))?;
        if !publications.is_empty() {
            self.news.publish();
        }
        Ok(!publications.is_empty())
    }

    async fn admit(self: Arc<Self>, incoming: Incoming, visit: Word) {
        // A way over TLS by which they came stands until they have gone.
        let _visit = incoming.visit();
        let _counted = self.metrics.visitor();
        match incoming.handshake(HANDSHAKE).await {
            Ok(connection) => {
                self.metrics.handshake("done");
                let _goodbye = Goodbye(connection.clone(), visit.clone());
                self.attend(connection, &visit).await;
            }
            Err(error) => {
                self.metrics.handshake("failed");
                tracing::debug!(%error, "a handshake failed");
            }
        }
    }

    /// Answers the requests of one connection until it ends.
    async fn attend(self: Arc<Self>, connection: Connection, visit: &Word) {
        let mut requests = JoinSet::new();
        let mut over = std::pin::pin!(tokio::time::sleep(VISIT));
        // Through another hub many ask at once.
        let mut may_stay = self.is_fellow(&connection.peer_key()) && visit.stays();
        if may_stay {
            connection.widen(&Settings { streams: FORWARDED, ..Settings::hub() });
        }
        loop {
            tokio::select! {
                stream = connection.accept_bi() => {
                    let Ok((send, recv)) = stream else { break };
                    while requests.try_join_next().is_some() {}
                    let visit = visit.clone();
                    requests.spawn(Arc::clone(&self).request(connection.clone(), visit, send, recv));
                }
                () = &mut over, if !may_stay => {
                    may_stay = visit.has_stayed();
                    if !may_stay {
                        close(&connection, ProtocolFault::TimedOut);
                        break;
                    }
                }
            }
        }
        // A link notes its own end; the other requests have nobody to answer to.
        while requests.join_next().await.is_some() {}
    }

    async fn request(
        self: Arc<Self>,
        connection: Connection,
        visit: Word,
        mut send: SendStream,
        mut recv: RecvStream,
    ) {
        let read = match self.guest(&connection, &mut recv).await {
            Ok(guest) => {
                read_frame(&mut recv, limits::FRAME_BYTES, REQUEST).await.map(|request| (guest, request))
            }
            Err(fault) => Err(fault),
        };
        let (guest, request) = match read {
            Ok(read) => read,
            Err(fault) => {
                self.metrics.request("unreadable", "refused");
                return refuse_frame(&connection, &mut send, &fault);
            }
        };
        let kind = kinds::of_request(&request);
        let answering = self.drain.request();
        if let Some(answer) = self.ask_primary(&guest, &request, &mut recv).await {
            return self.deliver(kind, &answer, send, answering).await;
        }
        let answer = match request {
            HubRequest::Sync(hello) if !guest.is_afar => {
                drop(answering);
                return link::run(self, connection, &visit, hello, (send, recv)).await;
            }
            HubRequest::Certificate => HubAnswer::Certificate(self.certificate()),
            HubRequest::Administrate { pass, question } => {
                let caller = Caller { key: guest.key, pass };
                match self.administrate(caller, question, &mut recv).await {
                    Ok(answer) => answer,
                    Err(fault) => return refuse_frame(&connection, &mut send, &fault),
                }
            }
            other @ (HubRequest::Sync(_)
            | HubRequest::Enroll { .. }
            | HubRequest::AcceptInvitation { .. }
            | HubRequest::Login { .. }
            | HubRequest::EnrollOtp { .. }
            | HubRequest::ListDevices
            | HubRequest::Logout
            | HubRequest::LogoutEverywhere
            | HubRequest::Meet { .. }
            | HubRequest::Examine
            | HubRequest::ListSessions(_)
            | HubRequest::AskApproval(_)
            | HubRequest::ListApprovals
            | HubRequest::AwaitApproval { .. }
            | HubRequest::Decide { .. }
            | HubRequest::ApproveByCode { .. }
            | HubRequest::HandleCase { .. }
            | HubRequest::BeginSignOn(_)
            | HubRequest::FinishSignOn { .. }
            | HubRequest::AwaitSignOn { .. }
            | HubRequest::StepUp { .. }) => self.answer(&guest, other).await,
        };
        self.deliver(kind, &answer, send, answering).await;
    }

    async fn deliver(
        &self,
        kind: &'static str,
        answer: &HubAnswer,
        mut send: SendStream,
        answering: Counted,
    ) {
        self.metrics.request(kind, kinds::of_answer(answer));
        let written = write_frame(&mut send, answer, limits::LIST_FRAME_BYTES).await;
        if let Err(error) = written.and_then(|()| Ok(send.finish()?)) {
            tracing::debug!(%error, "an answer was not delivered");
        }
        // Until it has arrived: a connection that is closed takes what is on its way with it.
        if self.drain.has_begun() {
            let _gone = tokio::time::timeout(DELIVERY, send.stopped()).await;
        }
        drop(answering);
    }

    async fn answer(self: &Arc<Self>, guest: &Guest, request: HubRequest) -> HubAnswer {
        let (key, now) = (guest.key, (self.clock)());
        match request {
            HubRequest::Enroll { secret, label, sealing } => {
                self.enroll(guest, secret, &label, sealing, now).await
            }
            HubRequest::AcceptInvitation { secret, password } => {
                self.arrive(self.login.accept_invitation(key, secret, password, now).await).await
            }
            HubRequest::Login { account, user, password, otp, only } => {
                let claim = Claim { key, account: account.to_string(), user, password, otp, only };
                self.arrive(self.login.login(claim, now).await).await
            }
            HubRequest::EnrollOtp { account, user, password, otp } => {
                let only = Only::default();
                let claim = Claim { key, account: account.to_string(), user, password, otp, only };
                self.login.enroll_otp(claim, now).await.answer
            }
            HubRequest::ListDevices => {
                let hub = Arc::clone(self);
                settle("listing", blocking(move || hub.list_devices(&key, now)).await)
            }
            HubRequest::Meet { device } => {
                let (hub, guest) = (Arc::clone(self), *guest);
                settle("meeting", blocking(move || hub.meet(&guest, device, now)).await)
            }
            HubRequest::ListSessions(query) => {
                let hub = Arc::clone(self);
                settle("sessions", blocking(move || hub.list_sessions(&key, &query, now)).await)
            }
            HubRequest::Examine => {
                let (hub, seen) = (Arc::clone(self), guest.from);
                settle("examining", blocking(move || hub.examine(&key, seen, now)).await)
            }
            HubRequest::AskApproval(wish) => {
                let hub = Arc::clone(self);
                settle("asking for an approval", blocking(move || hub.ask_approval(&key, wish, now)).await)
            }
            HubRequest::ListApprovals => {
                let hub = Arc::clone(self);
                settle("listing approvals", blocking(move || hub.list_approvals(&key, now)).await)
            }
            HubRequest::AwaitApproval { id } => {
                settle("waiting for an approval", self.await_approval(key, id).await)
            }
            HubRequest::Decide { id, pass, verdict } => {
                let decided = Decided { key, pass, id, verdict };
                settle("deciding on an approval", self.decide_approval(decided, now).await)
            }
            HubRequest::ApproveByCode { code } => {
                settle("approving by a code", self.approve_by_code(key, code, now).await)
            }
            HubRequest::HandleCase { pass, question } => {
                settle("handling a case", self.handle_case(Caller { key, pass }, question).await)
            }
            HubRequest::Logout => self.login.logout(key, now).await.answer,
            HubRequest::LogoutEverywhere => self.arrive(self.login.logout_everywhere(key, now).await).await,
            HubRequest::StepUp { pass, otp } => {
                self.login.step_up(StepUpClaim { key, pass, otp }, now).await.answer
            }
            HubRequest::BeginSignOn(ask) => self.login.begin_sign_on(key, ask, now).await.answer,
            HubRequest::FinishSignOn { id, code, issuer } => {
                self.arrive(self.login.finish_sign_on(key, (id, code), issuer, now).await).await
            }
            HubRequest::AwaitSignOn { id } => {
                self.arrive(self.login.await_sign_on(key, id, self.clock).await).await
            }
            // A link has no single answer, and devices do not link through another hub. What may have a body is answered
            // elsewhere, and so is what needs no store.
            HubRequest::Sync(_) | HubRequest::Administrate { .. } | HubRequest::Certificate => {
                HubAnswer::Failed(Failure::Unsupported)
            }
        }
    }

    /// Holds the answer to a sign-in back until the devices that are online know the key: the user's next command is
    /// a connection. A device that is slow delays it and fails nothing.
    async fn arrive(&self, outcome: Outcome) -> HubAnswer {
        self.links.settle(&outcome.published, ARRIVAL).await;
        outcome.answer
    }

    fn list_devices(&self, key: &PublicKey, now: UnixTime) -> Result<HubAnswer, Failed> {
        self.store.read(|tx| {
            let person =
                tx.person_of_key(key)?.filter(|person| !person.disabled).ok_or(Refusal::UnknownKey)?;
            let model = tx.model()?;
            let mut room = limits::LIST_FRAME_BYTES - LIST_OVERHEAD;
            let mut entries = Vec::new();
            for name in visible_devices(&model, &person.name, now) {
                let (Some(state), Some(body)) = (tx.device(&name)?, model.devices.get(&name)) else {
                    continue;
                };
                // A device without a key cannot be connected to. One whose key nobody has confirmed may be somebody
                // else's: people would type passwords into it.
                let Some(device_key) = state.key.filter(|_| state.standing() == Standing::InService) else {
                    continue;
                };
                let entry = DeviceEntry {
                    device: state.id,
                    name,
                    account: Text::clean(&model.path(&body.account)),
                    label: body.label.clone(),
                    key: device_key,
                    addresses: state.addresses,
                    online: state.online,
                };
                let size = codec::encode(&entry, room).map(|bytes| bytes.len());
                let Ok(size) = size else {
                    tracing::warn!("a listing was cut to what one answer holds");
                    break;
                };
                room -= size;
                entries.push(entry);
            }
            Ok(HubAnswer::Devices(entries))
        })
    }
}

/// Tells a visitor who has to give way why.
struct Goodbye(Connection, Word);

impl Drop for Goodbye {
    fn drop(&mut self) {
        let Self(connection, word) = self;
        if word.leaves() {
            connection.close(CloseCode::Failed(Failure::Busy).number(), b"busy");
        }
    }
}

/// Puts the parts of a hub together.
#[must_use]
pub fn open(store: &Arc<Store>, signer: Arc<Signer>, clock: fn() -> UnixTime) -> Arc<Hub> {
    let publisher = Arc::new(Publisher::new(signer));
    let news = News::default();
    let login = Arc::new(Login::new(Arc::clone(store), Arc::clone(&publisher), news.clone(), clock));
    Arc::new(Hub::new(Arc::clone(store), publisher, login, news, clock))
}

fn close(connection: &Connection, fault: ProtocolFault) {
    connection.close(CloseCode::Fault(fault).number(), fault.word().as_bytes());
}

/// Answers bytes that are no request: by ending the stream, or the connection of somebody who breaks the rules.
fn refuse_frame(connection: &Connection, send: &mut SendStream, fault: &FrameFault) {
    tracing::debug!(error = %fault, "a request could not be read");
    match fault {
        FrameFault::TooLarge { .. } => close(connection, ProtocolFault::Oversize),
        FrameFault::Codec(_) | FrameFault::Truncated { .. } => close(connection, ProtocolFault::Malformed),
        FrameFault::TimedOut { .. } => send.reset(CloseCode::Fault(ProtocolFault::TimedOut).number()),
        FrameFault::Ended | FrameFault::Stream(_) => {}
    }
}

fn settle(what: &'static str, answer: Result<HubAnswer, Failed>) -> HubAnswer {
    match answer {
        Ok(answer) => answer,
        Err(Failed::Refused(refusal)) => HubAnswer::Refused(refusal),
        Err(Failed::Declined(declined)) => HubAnswer::Declined(declined),
        Err(error @ (Failed::Store(_) | Failed::Publish(_) | Failed::Take(_) | Failed::Internal)) => {
            tracing::error!(%error, what, "a request failed");
            HubAnswer::Failed(Failure::Internal)
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failed> + Send + 'static,
) -> Result<T, Failed> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Failed::Internal)?
}

/// The socket in the state directory over which other commands say that they published.
#[must_use]
pub fn socket_path(state: &Path) -> std::path::PathBuf {
    state.join("hub.sock")
}

/// Connections without a link at the same time. An idle one costs up to 160 KiB. Fewer than handshakes may be under way
/// (`Admission::hub`): who does not finish gives way here, and nobody is refused there.
const VISITORS: usize = 1_792;
/// For a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the frame of a request.
const REQUEST: Duration = Duration::from_secs(10);
/// After which a connection without a link is closed.
const VISIT: Duration = Duration::from_secs(60);
/// For devices to take a policy with a new key. Most need milliseconds; users wait for this long without a word.
const ARRIVAL: Duration = Duration::from_secs(2);
/// For the last answers of a hub that ends to arrive.
const DELIVERY: Duration = Duration::from_secs(3);
/// Requests at a time that come through one other hub.
const FORWARDED: u16 = 1024;
/// Questions about the model at a time, each with a body of up to a mebibyte.
const BODIES: usize = 8;
/// Bytes of a listing beside its entries.
const LIST_OVERHEAD: usize = 16;
