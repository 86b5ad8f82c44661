//! A hub in this process on a loopback port, and the devices and users that dial it with real QUIC.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postern_cloud::fleet;
use postern_cloud::hub::{self, Hub, Watcher};
use postern_cloud::keys::{Keys, Origin, Plan};
use postern_cloud::publish::{Affected, Publisher};
use postern_cloud::signer::Signer;
use postern_cloud::store::{Invited, Store, StoreError, Tx};
use postern_protocol::id::DeviceId;
use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::policy::{Expectation, Floor, Snapshot, Verified, verify};
use postern_protocol::session::agent::{AgentSync, Event, Outcome, RootOutcome};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::sealed::{Announcement, SealingSecret};
use postern_protocol::trust::{
    Digest, NextKey, Nonce, PublicKey, ReceiptId, Root, SecretKey, SignedReceipt, Timestamp,
};
use postern_protocol::wire::control::{AlarmKind, Held, Hello, HubMessage, Life, NackCode, Return};
use postern_protocol::wire::hub::{HubAnswer, HubRequest, Only};
use postern_protocol::wire::invitation::Invitee;
use postern_protocol::wire::registry::ALPNS_HUB;
use postern_protocol::wire::relay::Meeting;
use postern_protocol::wire::text::Text;
use postern_transport::framed::{read_frame, write_frame};
use postern_transport::quic::{Connection, Endpoint, RecvStream, Role, SendStream, Settings};

use crate::ground;

/// For what happens within milliseconds, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An installation with a running hub.
pub(crate) struct World {
    pub(crate) store: Arc<Store>,
    pub(crate) state: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) hub: Arc<Hub>,
    hub_key: PublicKey,
    endpoint: Endpoint,
    _directory: tempfile::TempDir,
}

pub(crate) fn now() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixTime::from_secs(since.as_secs())
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

impl World {
    /// A hub with the fleet of a sample.
    pub(crate) async fn with_sample(sample: &str) -> Self {
        let path = format!("{}/../samples/{sample}.toml", env!("CARGO_MANIFEST_DIR"));
        let world = Self::start().await;
        world.apply(&std::fs::read_to_string(path).unwrap());
        world
    }

    /// A hub without a fleet.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("cloud");
        let plan =
            Plan { listen: "127.0.0.1:0".parse().unwrap(), advertise: Vec::new(), origin: Origin::USUAL };
        let store = Arc::new(ground::found(&state, &plan, now()));
        let signer = Arc::new(store.read(|tx| Signer::open(&state, tx)).unwrap());
        let hub_key = signer.now().keys.hub.public();
        let role = Role::Server { alpns: ALPNS_HUB.iter().map(|alpn| alpn.to_vec()).collect() };
        let endpoint = Endpoint::bind(plan.listen, &signer.now().keys.hub, role, &Settings::hub()).unwrap();
        let address = endpoint.local_addr().unwrap();
        let hub: Arc<Hub> = hub::open(&store, signer, now);
        tokio::spawn(Watcher::bind(Arc::clone(&hub), endpoint.clone(), &state, true).unwrap().run());
        tokio::spawn(Arc::clone(&hub).serve(endpoint.clone()));
        Self { store, state, address, hub, hub_key, endpoint, _directory: directory }
    }

    /// Applies a fleet file as another process does: through the state directory and a nudge.
    pub(crate) fn apply(&self, text: &str) {
        let model = fleet::read(text, &[]).unwrap();
        self.publish(|tx| tx.save_model(&model, now(), "test", "apply").map(drop));
    }

    pub(crate) fn publish(&self, change: impl FnOnce(&Tx<'_>) -> Result<(), StoreError>) {
        let other = Store::of(&self.state).unwrap();
        other
            .write(|tx| {
                change(tx)?;
                Publisher::open(&self.state, tx)?.publish(tx, Affected::All, now()).map(drop)
            })
            .map_err(|error: postern_cloud::publish::PublishError| error.to_string())
            .unwrap();
        hub::notify(&self.state);
    }

    /// Tells the hub that something was published beside it.
    pub(crate) fn hub_hears(&self) {
        hub::notify(&self.state);
    }

    pub(crate) fn invite(&self, invitee: Invitee, who: &str, secret: u8, valid_s: u64) -> [u8; 16] {
        self.invite_with(invitee, who, secret, valid_s, false)
    }

    /// A code whose key must be confirmed.
    pub(crate) fn invite_to_confirm(&self, device: &str, secret: u8) -> [u8; 16] {
        self.invite_with(Invitee::Device, device, secret, 60, true)
    }

    fn invite_with(&self, invitee: Invitee, who: &str, secret: u8, valid_s: u64, confirm: bool) -> [u8; 16] {
        let secret = [secret; 16];
        let invited = Invited { invitee, name: name(who), confirm };
        let expires = now().saturating_add(valid_s);
        self.store.write(|tx| tx.invite(&Digest::of(&[&secret]), &invited, expires)).unwrap();
        secret
    }

    /// The keys of the running hub.
    pub(crate) fn keys(&self) -> Keys {
        let root = Root::self_signed(&self.read(|tx| tx.newest_root())).unwrap();
        Keys::load(&self.state, &root).unwrap()
    }

    pub(crate) fn read<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>) -> T {
        self.store.read(work).unwrap()
    }

    pub(crate) async fn dial(&self, key: &SecretKey) -> Caller {
        self.dial_from("127.0.0.1:0", key).await
    }

    pub(crate) async fn dial_from(&self, source: &str, key: &SecretKey) -> Caller {
        self.try_dial(source, key, ALPNS_HUB).await.unwrap()
    }

    /// Dials as somebody who knows these versions of the protocol.
    pub(crate) async fn dial_speaking(&self, alpns: &[&[u8]], key: &SecretKey) -> Caller {
        self.try_dial("127.0.0.1:0", key, alpns).await.unwrap()
    }

    /// Dials; says why that fails.
    pub(crate) async fn try_dial(
        &self,
        source: &str,
        key: &SecretKey,
        alpns: &[&[u8]],
    ) -> Result<Caller, String> {
        let endpoint =
            Endpoint::bind(source.parse().unwrap(), key, Role::Client, &Settings::control()).unwrap();
        let connected = endpoint.connect(self.address, self.hub_key, alpns, &Settings::control()).await;
        let connection = connected.map_err(|error| format!("{error:?}"))?;
        Ok(Caller { connection, _endpoint: endpoint })
    }

    /// Accepts an invitation for a user with a key of this seed.
    pub(crate) async fn join(&self, user: &str, seed: u8, password: &str) -> Caller {
        let secret = self.invite(Invitee::User, user, seed, 60);
        let caller = self.dial(&key(seed)).await;
        let password = password.to_owned().try_into().unwrap();
        let answer = caller.ask(&HubRequest::AcceptInvitation { secret, password }).await;
        assert!(matches!(answer, HubAnswer::LoggedIn { .. }), "{answer:?}");
        caller
    }

    /// Enrols a device with a key of this seed.
    pub(crate) async fn enroll(&self, device: &str, seed: u8) -> Agent {
        let secret = self.invite(Invitee::Device, device, seed, 60);
        self.enroll_by(secret, seed).await
    }

    /// Enrols a device by a code.
    pub(crate) async fn enroll_by(&self, secret: [u8; 16], seed: u8) -> Agent {
        let caller = self.dial(&key(seed)).await;
        let (label, sealing) = (Text::clean("router"), announcement(&key(seed)));
        match caller.ask(&HubRequest::Enroll { secret, label, sealing }).await {
            HubAnswer::Enrolled { device, roots, snapshot } => {
                Agent::enrolled(key(seed), device, &roots, &snapshot)
            }
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.endpoint.close(0, b"over");
    }
}

/// A connection to the hub.
pub(crate) struct Caller {
    pub(crate) connection: Connection,
    _endpoint: Endpoint,
}

impl Caller {
    pub(crate) async fn ask(&self, request: &HubRequest) -> HubAnswer {
        let (mut send, mut recv) = self.connection.open_bi().await.unwrap();
        write_frame(&mut send, request, limits::FRAME_BYTES).await.unwrap();
        send.finish().unwrap();
        read_frame(&mut recv, limits::LIST_FRAME_BYTES, PATIENCE).await.unwrap()
    }

    /// As [`ask`](Self::ask), with a body behind it.
    pub(crate) async fn ask_with(&self, request: &HubRequest, body: &[u8]) -> HubAnswer {
        postern_transport::question::ask_with(&self.connection, request, body, PATIENCE).await.unwrap()
    }

    /// Signs in as `berg`'s or another account's user.
    pub(crate) async fn login(
        &self,
        account: &str,
        user: &str,
        password: &str,
        otp: Option<&str>,
    ) -> HubAnswer {
        let secret = |text: &str| text.to_owned().try_into().unwrap();
        let (account, user) = (Text::clean(account), name(user));
        let (password, otp) = (secret(password), otp.map(secret));
        self.ask(&HubRequest::Login { account, user, password, otp, only: Only::default() }).await
    }
}

/// What a device with this key says about its sealing key.
pub(crate) fn announcement(key: &SecretKey) -> Announcement {
    Announcement::sign(key, &SealingSecret::derive(key).unwrap())
}

/// What an agent remembers.
pub(crate) struct Agent {
    pub(crate) key: SecretKey,
    pub(crate) device: DeviceId,
    pub(crate) root: Root,
    pub(crate) policy: Verified,
    /// This run of it.
    pub(crate) life: Life,
    /// How often it was started.
    pub(crate) boots: u32,
}

impl Agent {
    fn enrolled(key: SecretKey, device: DeviceId, roots: &[Vec<u8>], snapshot: &[u8]) -> Self {
        let root = Root::self_signed(&roots[0]).unwrap();
        let policy = check(&key, device, &root, None, snapshot).unwrap();
        let life = Life(*Digest::of(&[key.public().as_bytes()]).as_bytes().first_chunk().unwrap());
        Self { key, device, root, policy, life, boots: 1 }
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        self.policy.snapshot()
    }

    pub(crate) fn held(&self) -> Held {
        let Floor { epoch, version, digest } = self.policy.floor();
        Held { epoch, version, digest }
    }

    pub(crate) fn hello(&self) -> Hello {
        Hello {
            root_version: 1,
            held: Some(self.held()),
            active: true,
            agent: Text::clean("test 1.0"),
            boots: self.boots,
            life: self.life,
            addresses: vec!["127.0.0.1:7441".parse().unwrap()],
            freshness: None,
            locks: 0,
        }
    }

    pub(crate) async fn link(&self, world: &World) -> Link {
        self.link_with(world, self.hello()).await
    }

    pub(crate) async fn link_with(&self, world: &World, hello: Hello) -> Link {
        self.link_over(world.dial(&self.key).await, hello).await
    }

    /// As [`link_with`](Self::link_with), over a connection that is there.
    pub(crate) async fn link_over(&self, caller: Caller, hello: Hello) -> Link {
        let (mut send, recv) = caller.connection.open_bi().await.unwrap();
        write_frame(&mut send, &HubRequest::Sync(hello), limits::FRAME_BYTES).await.unwrap();
        Link { caller, send, recv, sync: AgentSync::new(), last: None }
    }

    /// Takes the next push: verifies it, keeps it, acknowledges it.
    pub(crate) async fn take(&mut self, link: &mut Link) -> u64 {
        let (held, bytes) = link.offered().await.expect("a push");
        self.apply(link, held, &bytes).await
    }

    /// Verifies a push, keeps it, acknowledges it.
    pub(crate) async fn apply(&mut self, link: &mut Link, held: Held, bytes: &[u8]) -> u64 {
        let floor = Some(self.policy.floor());
        self.policy = check(&self.key, self.device, &self.root, floor, bytes).unwrap();
        assert_eq!(self.held(), held);
        link.report(held, Outcome::Applied { cut: 0 }).await;
        held.version
    }
}

fn check(
    key: &SecretKey,
    device: DeviceId,
    root: &Root,
    floor: Option<Floor>,
    bytes: &[u8],
) -> Result<Verified, postern_protocol::policy::SnapshotFault> {
    verify(bytes, &Expectation { root, device, device_key: key.public(), floor })
}

/// An agent's end of a link.
pub(crate) struct Link {
    pub(crate) caller: Caller,
    pub(crate) send: SendStream,
    recv: RecvStream,
    sync: AgentSync,
    /// The last push that was complete.
    last: Option<Held>,
}

impl Link {
    /// The next complete push; none when the hub has nothing newer.
    pub(crate) async fn offered(&mut self) -> Option<(Held, Vec<u8>)> {
        loop {
            let message = read_frame(&mut self.recv, limits::SYNC_FRAME_BYTES, PATIENCE).await.unwrap();
            match self.sync.handle_message(message).unwrap() {
                Some(Event::Offered { held, bytes }) => {
                    self.last = Some(held);
                    return Some((held, bytes));
                }
                Some(Event::Root(_)) => panic!("a root came"),
                Some(Event::UpToDate) => return None,
                Some(
                    Event::Timestamp { .. }
                    | Event::KeyWanted
                    | Event::Lock { .. }
                    | Event::Meet(_)
                    | Event::ReceiptTaken(_)
                    | Event::RowsTaken(_)
                    | Event::RowsRefused(..)
                    | Event::Return(_),
                )
                | None => {}
            }
        }
    }

    /// Asks for the time with a nonce of this byte.
    pub(crate) async fn ask(&mut self, nonce: u8) {
        self.sync.handle_question(Nonce::new([nonce; 16]));
        self.transmit().await;
    }

    /// Waits until the hub asks for a new key.
    pub(crate) async fn key_wanted(&mut self) {
        loop {
            let message = read_frame(&mut self.recv, limits::SYNC_FRAME_BYTES, PATIENCE).await.unwrap();
            if self.sync.handle_message(message).unwrap() == Some(Event::KeyWanted) {
                return;
            }
        }
    }

    /// When the hub says that the agent is to leave and come back.
    pub(crate) async fn sent_away(&mut self) -> Return {
        loop {
            let message = read_frame(&mut self.recv, limits::SYNC_FRAME_BYTES, PATIENCE).await.unwrap();
            if let Some(Event::Return(told)) = self.sync.handle_message(message).unwrap() {
                return told;
            }
        }
    }

    /// How many messages still come before the end.
    pub(crate) async fn rest(&mut self) -> usize {
        let mut count = 0;
        while read_frame::<HubMessage>(&mut self.recv, limits::SYNC_FRAME_BYTES, PATIENCE).await.is_ok() {
            count += 1;
        }
        count
    }

    /// The next meeting.
    pub(crate) async fn told_to_meet(&mut self) -> Meeting {
        loop {
            let message = read_frame(&mut self.recv, limits::SYNC_FRAME_BYTES, PATIENCE).await.unwrap();
            if let Some(Event::Meet(meeting)) = self.sync.handle_message(message).unwrap() {
                return meeting;
            }
        }
    }

    /// The next timestamp, as `agent` opens it with a nonce of this byte; what is pushed before it is kept.
    pub(crate) async fn timestamp(&mut self, agent: &Agent, nonce: u8) -> Timestamp {
        loop {
            let message = read_frame(&mut self.recv, limits::SYNC_FRAME_BYTES, PATIENCE).await.unwrap();
            match self.sync.handle_message(message).unwrap() {
                Some(Event::Root(_)) => panic!("a root came"),
                Some(Event::Timestamp { bytes }) => {
                    let nonce = Nonce::new([nonce; 16]);
                    return Timestamp::open(&bytes, &agent.root, agent.device, nonce).unwrap();
                }
                Some(
                    Event::UpToDate
                    | Event::KeyWanted
                    | Event::Lock { .. }
                    | Event::Meet(_)
                    | Event::ReceiptTaken(_)
                    | Event::RowsTaken(_)
                    | Event::RowsRefused(..)
                    | Event::Return(_),
                )
                | None => {}
                Some(Event::Offered { held, .. }) => panic!("{held:?} was pushed before it was named"),
            }
        }
    }

    /// The next lock; pushes before it are dropped.
    pub(crate) async fn locked(&mut self) -> Vec<u8> {
        loop {
            let message = read_frame(&mut self.recv, limits::SYNC_FRAME_BYTES, PATIENCE).await.unwrap();
            if let Some(Event::Lock { bytes }) = self.sync.handle_message(message).unwrap() {
                return bytes;
            }
        }
    }

    /// Takes the next root that is sent, and says so.
    pub(crate) async fn take_root(&mut self, agent: &mut Agent) {
        loop {
            let message = read_frame(&mut self.recv, limits::SYNC_FRAME_BYTES, PATIENCE).await.unwrap();
            if let Some(Event::Root(bytes)) = self.sync.handle_message(message).unwrap() {
                agent.root = agent.root.accept_next(&bytes).unwrap();
                self.sync.handle_root_outcome(RootOutcome::Taken { version: agent.root.version });
                return self.transmit().await;
            }
        }
    }

    /// Whether the next complete push comes without a lock before it.
    pub(crate) async fn offered_without_lock(&mut self) -> bool {
        loop {
            let message = read_frame(&mut self.recv, limits::SYNC_FRAME_BYTES, PATIENCE).await.unwrap();
            match self.sync.handle_message(message).unwrap() {
                Some(Event::Offered { .. }) => return true,
                Some(Event::Lock { .. }) => return false,
                _other => {}
            }
        }
    }

    /// Says that a lock is in force.
    pub(crate) async fn lock_taken(&mut self, sequence: u64) {
        self.sync.handle_lock(Ok((sequence, 0)));
        self.transmit().await;
    }

    /// Raises an alarm.
    pub(crate) async fn alarm(&mut self, kind: AlarmKind, detail: &str) {
        self.sync.handle_alarm(kind, Text::clean(detail));
        self.transmit().await;
    }

    /// Says what tunnels were stopped, whoever has signed it.
    pub(crate) async fn say_stopped(&mut self, receipt: SignedReceipt) {
        self.sync.handle_receipt(receipt);
        self.transmit().await;
    }

    /// The next receipt that the hub has stored.
    pub(crate) async fn receipt_taken(&mut self) -> ReceiptId {
        loop {
            let message = read_frame(&mut self.recv, limits::SYNC_FRAME_BYTES, PATIENCE).await.unwrap();
            if let Some(Event::ReceiptTaken(id)) = self.sync.handle_message(message).unwrap() {
                return id;
            }
        }
    }

    /// Announces a next key.
    pub(crate) async fn announce_next(&mut self, next: NextKey) {
        self.sync.handle_next_key(next);
        self.transmit().await;
    }

    pub(crate) async fn refuse(&mut self, code: NackCode) {
        let held = self.last.expect("a push");
        self.report(held, Outcome::Refused { code, detail: Text::clean("no") }).await;
    }

    /// Announces a sealing key, whoever has signed it.
    pub(crate) async fn announce(&mut self, announcement: Announcement) {
        self.sync.handle_sealing_key(announcement);
        self.transmit().await;
    }

    async fn report(&mut self, held: Held, outcome: Outcome) {
        self.sync.handle_outcome(held, outcome);
        self.transmit().await;
    }

    async fn transmit(&mut self) {
        while let Some(message) = self.sync.poll_transmit() {
            write_frame(&mut self.send, &message, limits::SYNC_FRAME_BYTES).await.unwrap();
        }
    }

    /// The code with which the hub closes this connection.
    pub(crate) async fn closed_with(&self) -> u32 {
        let end = tokio::time::timeout(PATIENCE, self.caller.connection.closed()).await.unwrap();
        match end {
            postern_transport::quic::ConnectionEnd::ClosedByPeer { code, .. } => code,
            other => panic!("{other}"),
        }
    }
}

/// Waits until `state` is as expected; what another task of the hub writes is there soon, and not at once.
pub(crate) async fn eventually<T: PartialEq + std::fmt::Debug>(expected: T, mut state: impl FnMut() -> T) {
    let looks = async {
        let mut every = tokio::time::interval(Duration::from_millis(10));
        while state() != expected {
            every.tick().await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, looks).await.is_ok();
    assert!(reached, "expected {expected:?}, found {:?}", state());
}
