//! A hub with one code and one device, which pushes whatever the test publishes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postern_protocol::limits;
use postern_protocol::session::hub::{Event, HubSync, Naming, Published};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::sealed::Announcement;
use postern_protocol::trust::{Digest, NextKey, PublicKey, Receipt, Timestamp};
use postern_protocol::wire::control::{AgentMessage, AlarmKind, Held, Hello, HubMessage, NackCode, RootCode};
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Refusal};
use postern_protocol::wire::invitation::{Invitation, Invitee};
use postern_protocol::wire::registry::ALPNS_HUB;
use postern_transport::framed::{read_frame, write_frame};
use postern_transport::quic::{Connection, Endpoint, RecvStream, Role, SendStream, Settings};
use tokio::sync::{broadcast, mpsc, watch};

use crate::policy::{DEVICE, FLEET, Policy, hub_key, now, root, sealed_timestamp};
use crate::world::GENEROUS;

pub(crate) const SECRET: [u8; 16] = [77; 16];

/// What agents told the hub.
#[derive(Debug)]
pub(crate) enum Told {
    Hello(Hello),
    Applied(Held),
    Refused(Held, NackCode),
    Announced(Announcement),
    Alarm(AlarmKind),
    /// A lock is in force, with the tunnels that it cut.
    Locked(u64, u32),
    /// A lock was refused.
    LockRefused(NackCode),
    /// With the key of the link that says so.
    NextKey(NextKey, PublicKey),
    /// A root is in force.
    RootTaken(u32),
    /// A root was refused; the version that stays in force.
    RootRefused(u32, RootCode),
}

/// What the hub says about time and news, whatever is true.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stories {
    /// Says nothing at all.
    pub(crate) mute: bool,
    /// The time instead of the right one.
    pub(crate) time: Option<UnixTime>,
    /// The newest snapshot instead of the published one.
    pub(crate) newest: Option<Held>,
    /// The version of the root instead of 1.
    pub(crate) root_version: Option<u32>,
    /// The sequence of the newest lock.
    pub(crate) lock: u64,
    /// The seed of the key that signs timestamps instead of the first one of its role.
    pub(crate) signer: Option<u8>,
}

pub(crate) struct Hub {
    endpoint: Endpoint,
    newest: watch::Sender<Option<Published>>,
    told: mpsc::UnboundedReceiver<Told>,
    receipts: mpsc::UnboundedReceiver<Receipt>,
    shared: Arc<Shared>,
}

struct Shared {
    newest: watch::Sender<Option<Published>>,
    told: mpsc::UnboundedSender<Told>,
    receipts: mpsc::UnboundedSender<Receipt>,
    /// Whether receipts are answered.
    takes_receipts: AtomicBool,
    /// Sent on the present link as it is.
    raw: broadcast::Sender<HubMessage>,
    /// Pushed whatever the agent says that it holds: a hub that replays.
    stubborn: Mutex<Option<Published>>,
    /// What an enrolment is answered with.
    roots: Vec<Vec<u8>>,
    pinned: Digest,
    stories: Mutex<Stories>,
    /// How many devices were enrolled: each gets a higher version than the one before.
    enrolled: AtomicU64,
    /// The newest link.
    link: Mutex<Option<Connection>>,
    /// Whether agents are asked for a new key.
    wants_key: AtomicBool,
}

impl Hub {
    pub(crate) fn start() -> Self {
        let (root, pinned) = root();
        Self::start_with(vec![root], pinned)
    }

    /// A hub of an installation with these roots, of which codes name the one with this digest.
    pub(crate) fn start_with(roots: Vec<Vec<u8>>, pinned: Digest) -> Self {
        let role = Role::Server { alpns: vec![ALPNS_HUB[0].to_vec()] };
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let endpoint = Endpoint::bind(addr, &hub_key(), role, &Settings::hub()).unwrap();
        let (tell, told) = mpsc::unbounded_channel();
        let (say, receipts) = mpsc::unbounded_channel();
        let newest = watch::Sender::new(None);
        let shared = Arc::new(Shared {
            newest: newest.clone(),
            told: tell,
            receipts: say,
            takes_receipts: AtomicBool::new(true),
            raw: broadcast::Sender::new(16),
            stubborn: Mutex::new(None),
            roots,
            pinned,
            stories: Mutex::default(),
            enrolled: AtomicU64::new(0),
            link: Mutex::new(None),
            wants_key: AtomicBool::new(false),
        });
        tokio::spawn(accept(endpoint.clone(), Arc::clone(&shared)));
        Self { endpoint, newest, told, receipts, shared }
    }

    /// A code for a device.
    pub(crate) fn code(&self) -> String {
        Invitation {
            invitee: Invitee::Device,
            hubs: vec![self.addr()],
            hub_key: hub_key().public(),
            root: self.shared.pinned,
            secret: SECRET,
        }
        .to_string()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.endpoint.local_addr().unwrap()
    }

    /// Pushes to agents that are connected, and to those that come.
    pub(crate) fn publish(&mut self, published: Published) {
        self.newest.send_replace(Some(published));
    }

    /// Pushes `published` on every link, whatever the agent holds.
    pub(crate) fn replay(&mut self, published: Published) {
        *self.shared.stubborn.lock().unwrap() = Some(published.clone());
        self.newest.send_replace(Some(published));
    }

    /// From now on the hub tells these stories.
    pub(crate) fn tell(&self, stories: Stories) {
        *self.shared.stories.lock().unwrap() = stories;
    }

    /// The next alarm that an agent raises.
    pub(crate) async fn alarm(&mut self) -> AlarmKind {
        self.alarm_within(GENEROUS).await
    }

    /// As [`alarm`](Self::alarm), for those that take their time.
    pub(crate) async fn alarm_within(&mut self, patience: Duration) -> AlarmKind {
        let alarm = async {
            loop {
                if let Told::Alarm(kind) = self.told.recv().await.unwrap() {
                    return kind;
                }
            }
        };
        tokio::time::timeout(patience, alarm).await.unwrap()
    }

    /// Is gone for everybody, and keeps its address.
    pub(crate) fn silence(&mut self) {
        self.endpoint.close(0, b"gone");
    }

    /// A code that this hub does not know.
    pub(crate) fn wrong_code(&self) -> String {
        let mut invitation: Invitation = self.code().parse().unwrap();
        invitation.secret = [78; 16];
        invitation.to_string()
    }

    /// Publishes nothing any more, and forgets what agents have told so far.
    pub(crate) fn fall_silent(&mut self) {
        self.newest.send_replace(None);
        while self.told.try_recv().is_ok() {}
    }

    /// Ends the newest link.
    pub(crate) fn drop_link(&self) {
        self.shared.link.lock().unwrap().take().unwrap().close(0, b"dropped");
    }

    /// The next receipt, whose signature holds for the key of its link.
    pub(crate) async fn receipt(&mut self) -> Receipt {
        tokio::time::timeout(GENEROUS, self.receipts.recv()).await.unwrap().unwrap()
    }

    /// Whether a receipt came that nobody has looked at.
    pub(crate) fn has_receipt(&mut self) -> bool {
        !self.receipts.is_empty()
    }

    /// Answers receipts from now on, or does not.
    pub(crate) fn take_receipts(&self, takes: bool) {
        self.shared.takes_receipts.store(takes, Ordering::SeqCst);
    }

    /// Asks agents for a new key, from their next link on.
    pub(crate) fn want_key(&self) {
        self.shared.wants_key.store(true, Ordering::SeqCst);
    }

    /// The next announcement of a key, and the key of the link that made it.
    pub(crate) async fn next_key(&mut self) -> (NextKey, PublicKey) {
        loop {
            if let Told::NextKey(next, present) = self.told().await {
                return (next, present);
            }
        }
    }

    /// The key with which the next link is made, and its hello.
    pub(crate) async fn greeted_by(&mut self) -> (PublicKey, Hello) {
        let hello = self.hello().await;
        (self.shared.link.lock().unwrap().as_ref().unwrap().peer_key(), hello)
    }

    /// Sends a lock, whatever it is.
    pub(crate) fn lock(&mut self, sealed: Vec<u8>) {
        self.send(HubMessage::Lock { bytes: sealed });
    }

    /// Sends a message on the present link, whatever it is.
    pub(crate) fn send(&mut self, message: HubMessage) {
        self.shared.raw.send(message).unwrap();
    }

    /// Sends a root, whatever it is; the version that is in force then and is named from now on, or why it is refused.
    pub(crate) async fn root(&mut self, sealed: Vec<u8>) -> Result<u32, (u32, RootCode)> {
        self.send(HubMessage::Root { bytes: sealed });
        loop {
            let told = self.told().await;
            if let Told::RootTaken(version) = told {
                self.shared.stories.lock().unwrap().root_version = Some(version);
                return Ok(version);
            }
            if let Told::RootRefused(version, code) = told {
                return Err((version, code));
            }
        }
    }

    /// The sequence of the next lock that comes into force, and the tunnels that it cuts.
    pub(crate) async fn locked(&mut self) -> (u64, u32) {
        loop {
            match self.told().await {
                Told::Locked(sequence, cut) => return (sequence, cut),
                Told::LockRefused(code) => panic!("a lock was refused: {code:?}"),
                Told::Hello(_)
                | Told::Applied(_)
                | Told::Refused(..)
                | Told::Announced(_)
                | Told::Alarm(_)
                | Told::NextKey(..)
                | Told::RootTaken(_)
                | Told::RootRefused(..) => {}
            }
        }
    }

    /// Why the next lock is refused.
    pub(crate) async fn lock_refused(&mut self) -> NackCode {
        loop {
            match self.told().await {
                Told::LockRefused(code) => return code,
                Told::Locked(sequence, _) => panic!("lock {sequence} was taken"),
                Told::Hello(_)
                | Told::Applied(_)
                | Told::Refused(..)
                | Told::Announced(_)
                | Told::Alarm(_)
                | Told::NextKey(..)
                | Told::RootTaken(_)
                | Told::RootRefused(..) => {}
            }
        }
    }

    pub(crate) async fn told(&mut self) -> Told {
        tokio::time::timeout(GENEROUS, self.told.recv()).await.unwrap().unwrap()
    }

    pub(crate) async fn hello(&mut self) -> Hello {
        loop {
            if let Told::Hello(hello) = self.told().await {
                return hello;
            }
        }
    }

    pub(crate) async fn announced(&mut self) -> Announcement {
        loop {
            if let Told::Announced(announcement) = self.told().await {
                return announcement;
            }
        }
    }

    pub(crate) async fn applied(&mut self) -> Held {
        loop {
            match self.told().await {
                Told::Applied(held) => return held,
                Told::Refused(held, code) => panic!("{held:?} was refused: {code:?}"),
                Told::Hello(_)
                | Told::Announced(_)
                | Told::Alarm(_)
                | Told::NextKey(..)
                | Told::RootTaken(_)
                | Told::RootRefused(..)
                | Told::Locked(..)
                | Told::LockRefused(_) => {}
            }
        }
    }

    /// What is applied next, also when its disk was slow.
    pub(crate) async fn stored(&mut self) -> Held {
        loop {
            let told = self.told().await;
            if let Told::Applied(held) = told {
                return held;
            }
            if let Told::Refused(held, code) = told {
                assert_eq!(code, NackCode::Storage, "{held:?}");
            }
        }
    }

    /// What is in force next, whether or not there was room for it in the queue of the disk.
    pub(crate) async fn in_force(&mut self) -> Held {
        loop {
            let told = self.told().await;
            if let Told::Applied(held) | Told::Refused(held, NackCode::Storage) = told {
                return held;
            }
        }
    }

    pub(crate) async fn refused(&mut self) -> (Held, NackCode) {
        loop {
            match self.told().await {
                Told::Refused(held, code) => return (held, code),
                Told::Applied(held) => panic!("{held:?} was applied"),
                Told::Hello(_)
                | Told::Announced(_)
                | Told::Alarm(_)
                | Told::NextKey(..)
                | Told::RootTaken(_)
                | Told::RootRefused(..)
                | Told::Locked(..)
                | Told::LockRefused(_) => {}
            }
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.endpoint.close(0, b"gone");
    }
}

async fn accept(endpoint: Endpoint, shared: Arc<Shared>) {
    while let Some(incoming) = endpoint.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let Ok(connection) = incoming.handshake(GENEROUS).await else { return };
            while let Ok((send, recv)) = connection.accept_bi().await {
                tokio::spawn(answer(connection.clone(), send, recv, Arc::clone(&shared)));
            }
        });
    }
}

async fn answer(connection: Connection, mut send: SendStream, mut recv: RecvStream, shared: Arc<Shared>) {
    let Ok(request) = read_frame::<HubRequest>(&mut recv, limits::FRAME_BYTES, GENEROUS).await else {
        return;
    };
    let answer = match request {
        HubRequest::Enroll { secret, .. } if secret == SECRET => HubAnswer::Enrolled {
            device: DEVICE,
            roots: shared.roots.clone(),
            snapshot: Policy::empty(connection.peer_key())
                .seal(1 + 100 * shared.enrolled.fetch_add(1, Ordering::SeqCst))
                .bytes
                .to_vec(),
        },
        HubRequest::Sync(hello) => {
            *shared.link.lock().unwrap() = Some(connection.clone());
            return sync(&connection, send, recv, hello, &shared).await;
        }
        HubRequest::Enroll { .. }
        | HubRequest::AcceptInvitation { .. }
        | HubRequest::Login { .. }
        | HubRequest::EnrollOtp { .. }
        | HubRequest::ListDevices
        | HubRequest::Logout
        | HubRequest::LogoutEverywhere
        | HubRequest::Meet { .. }
        | HubRequest::Certificate
        | HubRequest::Examine
        | HubRequest::ListSessions(_)
        | HubRequest::AskApproval(_)
        | HubRequest::ListApprovals
        | HubRequest::AwaitApproval { .. }
        | HubRequest::ApproveByCode { .. }
        | HubRequest::Decide { .. }
        | HubRequest::Administrate { .. }
        | HubRequest::HandleCase { .. }
        | HubRequest::BeginSignOn(_)
        | HubRequest::FinishSignOn { .. }
        | HubRequest::AwaitSignOn { .. }
        | HubRequest::StepUp { .. } => HubAnswer::Refused(Refusal::Code),
    };
    write_frame(&mut send, &answer, limits::LIST_FRAME_BYTES).await.unwrap();
    send.finish().unwrap();
    connection.closed().await;
}

async fn sync(
    connection: &Connection,
    mut send: SendStream,
    mut recv: RecvStream,
    hello: Hello,
    shared: &Shared,
) {
    let mut newest = shared.newest.subscribe();
    let mut raw = shared.raw.subscribe();
    let published = newest.borrow_and_update().clone();
    let mut fresh = hello.clone();
    let _gone = shared.told.send(Told::Hello(hello));
    if shared.stubborn.lock().unwrap().is_some() {
        fresh.held = None;
        fresh.active = false;
    }
    let mut sync = HubSync::new(&fresh, published, 1);
    if shared.wants_key.load(Ordering::SeqCst) {
        sync.handle_rotation_wanted();
    }
    let (tell, mut heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(message) =
            read_frame::<AgentMessage>(&mut recv, limits::SYNC_FRAME_BYTES, GENEROUS * 100).await
        {
            let _gone = tell.send(message);
        }
    });
    loop {
        while let Some(message) = next(&mut sync, shared) {
            if write_frame(&mut send, &message, limits::SYNC_FRAME_BYTES).await.is_err() {
                return;
            }
        }
        tokio::select! {
            message = heard.recv() => {
                let Some(message) = message else { return connection.close(0, b"over") };
                // Beside the hub's state machine, which would send no replay.
                if let Some(told) = beside(&message) {
                    drop(shared.told.send(told));
                    continue;
                }
                match sync.handle_message(message).unwrap() {
                    Event::Applied { held, .. } => drop(shared.told.send(Told::Applied(held))),
                    Event::Refused { held, code, .. } => drop(shared.told.send(Told::Refused(held, code))),
                    Event::SealingKey(key) => drop(shared.told.send(Told::Announced(key))),
                    Event::NextKey(next) => {
                        drop(shared.told.send(Told::NextKey(next, connection.peer_key())));
                    }
                    Event::RootTaken { .. }
                    | Event::RootRefused { .. }
                    | Event::Moved(_)
                    | Event::Asked
                    | Event::LockTaken { .. }
                    | Event::LockRefused { .. }
                    // This hub keeps nobody's trail.
                    | Event::Log(_)
                    | Event::Rows(_) => {}
                    Event::Alarm { kind, .. } => drop(shared.told.send(Told::Alarm(kind))),
                    Event::Receipt(signed) => {
                        let receipt = signed.verify(&connection.peer_key(), FLEET, DEVICE).unwrap();
                        let _gone = shared.receipts.send(receipt);
                        if shared.takes_receipts.load(Ordering::SeqCst) {
                            sync.handle_receipt_stored(receipt.id);
                        }
                    }
                }
            }
            message = raw.recv() => {
                let Ok(message) = message else { return };
                if write_frame(&mut send, &message, limits::SYNC_FRAME_BYTES).await.is_err() {
                    return;
                }
            }
            changed = newest.changed() => {
                if changed.is_err() { return }
                let published = newest.borrow_and_update().clone().unwrap();
                if shared.stubborn.lock().unwrap().is_some() {
                    sync = HubSync::new(&fresh, Some(published), 100);
                } else {
                    sync.handle_published(published);
                }
            }
        }
    }
}

/// What is told of a message that the hub's state machine does not see.
fn beside(message: &AgentMessage) -> Option<Told> {
    if let AgentMessage::LockTaken { sequence, cut } = message {
        return Some(Told::Locked(*sequence, *cut));
    }
    if let AgentMessage::LockRefused { code, .. } = message {
        return Some(Told::LockRefused(*code));
    }
    if let AgentMessage::RootTaken { version } = message {
        return Some(Told::RootTaken(*version));
    }
    if let AgentMessage::RootRefused { version, code, .. } = message {
        return Some(Told::RootRefused(*version, *code));
    }
    None
}

/// What goes out next: the time and the name of what is pushed go before it.
fn next(sync: &mut HubSync, shared: &Shared) -> Option<HubMessage> {
    let stories = *shared.stories.lock().unwrap();
    while let Some(Naming { nonce, held }) = sync.poll_naming() {
        if stories.mute {
            continue;
        }
        let timestamp = Timestamp {
            fleet: FLEET,
            device: DEVICE,
            nonce,
            time: stories.time.unwrap_or_else(now),
            root_version: stories.root_version.unwrap_or(1),
            held: stories.newest.or(held),
            lock: stories.lock,
        };
        return Some(HubMessage::Timestamp { bytes: sealed_timestamp(&timestamp, stories.signer) });
    }
    sync.poll_transmit()
}
