//! A hub with one engineer and any devices, which publishes what a measurement wants and says when it is in force.
//!
//! It speaks the product's protocol, so that real agents and real clients are measured; the product's own hub would
//! need thousands of people to sign in before it could publish a policy with thousands of users.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use postern_protocol::id::DeviceId;
use postern_protocol::limits;
use postern_protocol::policy::Snapshot;
use postern_protocol::session::hub::{Event, HubSync, Published};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{PublicKey, Receipt};
use postern_protocol::wire::control::{AgentMessage, Held, Hello, HubMessage};
use postern_protocol::wire::hub::{DeviceEntry, HubAnswer, HubRequest, Refusal};
use postern_protocol::wire::invitation::{Invitation, Invitee};
use postern_protocol::wire::registry::{ALPN_HUB_V1, Failure};
use postern_protocol::wire::relay::{End, Meeting, MeetingId, Place, RelayKey, Ticket};
use postern_protocol::wire::text::Text;
use postern_transport::framed::{FrameFault, read_frame, write_frame};
use postern_transport::quic::{Connection, Endpoint, RecvStream, Role, SendStream, Settings};
use tokio::sync::{mpsc, watch};

use super::link::{Link, Side};
use super::policy::{Addressee, Authority, Content, ENGINEER, FLEET, digest, text};
use crate::world::Mishap;

/// A running hub. It ends with this process.
#[derive(Clone, Debug)]
pub struct Hub {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    authority: Authority,
    state: Mutex<State>,
    /// Counts changes of the state, to wake those who wait for one.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    engineer: Option<PublicKey>,
    devices: HashMap<String, Device>,
}

#[derive(Debug)]
struct Device {
    id: DeviceId,
    key: Option<PublicKey>,
    addresses: Vec<SocketAddr>,
    detour: Option<SocketAddr>,
    /// Where people and where the device meet, and the relay's key.
    relay: Option<([Place; 2], RelayKey)>,
    meetings: Vec<Meeting>,
    met: u64,
    content: Content,
    version: u64,
    newest: Option<Published>,
    /// What it has acknowledged, and when that came.
    applied: Option<(Held, Instant)>,
    /// What it has signed about tunnels that it stopped.
    stopped: Vec<Receipt>,
}

impl Hub {
    /// Serves at the device's side of the wire.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn start(link: &Link) -> Result<Self, Mishap> {
        let (changes, _) = watch::channel(0);
        let shared = Arc::new(Shared { authority: Authority::make()?, state: Mutex::default(), changes });
        let serving = Arc::clone(&shared);
        let listen = SocketAddr::new(link.address(Side::Device), 0);
        let address = link.within(Side::Device, move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let role = Role::Server { alpns: vec![ALPN_HUB_V1.to_vec()] };
            let entered = runtime.enter();
            let endpoint = Endpoint::bind(listen, serving.authority.hub_key(), role, &Settings::hub())
                .map_err(|fault| Mishap::unexpected("the hub", fault, "a socket"))?;
            let address = endpoint.local_addr()?;
            drop(entered);
            std::thread::spawn(move || runtime.block_on(serve(endpoint, serving)));
            Ok(address)
        })?;
        Ok(Self { address, shared })
    }

    /// Adds a device and yields the code that enrols it.
    ///
    /// # Errors
    /// When the root is not sound.
    pub fn add_device(&self, name: &str, content: Content) -> Result<String, Mishap> {
        let mut state = self.shared.lock();
        let number = u8::try_from(state.devices.len()).unwrap_or(u8::MAX);
        let device = Device {
            id: DeviceId::new([number; 8]),
            key: None,
            addresses: Vec::new(),
            detour: None,
            relay: None,
            meetings: Vec::new(),
            met: 0,
            content,
            version: 0,
            newest: None,
            applied: None,
            stopped: Vec::new(),
        };
        state.devices.insert(name.to_owned(), device);
        drop(state);
        self.code(Invitee::Device, [number; 16])
    }

    /// The code that invites the engineer.
    ///
    /// # Errors
    /// When the root is not sound.
    pub fn invite(&self) -> Result<String, Mishap> {
        self.code(Invitee::User, [0xff; 16])
    }

    /// Publishes new policy for a device and waits until it is acknowledged. Yields when it was given to the network
    /// and when the acknowledgement came.
    ///
    /// # Errors
    /// When it is not acknowledged in time.
    pub fn publish(&self, name: &str, content: Content) -> Result<(Instant, Instant), Mishap> {
        let (begun, wanted) = self.publish_only(name, content)?;
        Ok((begun, self.acknowledged(name, wanted)?))
    }

    /// As [`publish`](Self::publish), without waiting. Yields when, and what to wait for.
    ///
    /// # Errors
    /// When the policy cannot be made.
    pub fn publish_only(&self, name: &str, content: Content) -> Result<(Instant, Held), Mishap> {
        let mut state = self.shared.lock();
        let engineer = state.engineer;
        let device = state.device(name)?;
        device.content = content;
        device.publish(&self.shared.authority, engineer)?;
        let wanted = device.newest.as_ref().map(|newest| newest.held);
        let wanted = wanted.ok_or_else(|| Mishap::unexpected(name, "no key", "an enrolled device"))?;
        drop(state);
        let begun = Instant::now();
        self.shared.changed();
        Ok((begun, wanted))
    }

    /// Waits until a device has acknowledged something and yields when that came.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn acknowledged(&self, name: &str, wanted: Held) -> Result<Instant, Mishap> {
        let end = Instant::now() + WITHIN;
        loop {
            if let Some((held, at)) = self.shared.lock().device(name)?.applied
                && held == wanted
            {
                return Ok(at);
            }
            if Instant::now() > end {
                let what = format!("the acknowledgement of {name}");
                return Err(Mishap::Deadline { what, within: WITHIN, seen: String::new() });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until a device has acknowledged the newest that was published for it.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn settled(&self, name: &str) -> Result<(), Mishap> {
        let newest = self.shared.lock().device(name)?.newest.as_ref().map(|newest| newest.held);
        newest.map_or(Ok(()), |newest| self.acknowledged(name, newest).map(drop))
    }

    /// The newest that a device has signed about tunnels that it stopped, once there are more than `before`; and how many there are.
    ///
    /// # Errors
    /// When it says nothing in time.
    pub fn stopped(&self, name: &str, before: usize) -> Result<(Option<Receipt>, usize), Mishap> {
        let end = Instant::now() + WITHIN;
        loop {
            let (newest, count) = {
                let mut state = self.shared.lock();
                let stopped = &state.device(name)?.stopped;
                (stopped.last().copied(), stopped.len())
            };
            if count >= before {
                return Ok((newest, count));
            }
            if Instant::now() > end {
                let what = format!("a receipt of {name}");
                return Err(Mishap::Deadline { what, within: WITHIN, seen: String::new() });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Tells people to dial a device somewhere else than where it says.
    ///
    /// # Errors
    /// When there is no such device.
    pub fn detour(&self, name: &str, by: Option<SocketAddr>) -> Result<(), Mishap> {
        self.shared.lock().device(name)?.detour = by;
        Ok(())
    }

    /// Has people, the first, and a device meet at these places of a relay that runs with this key.
    ///
    /// # Errors
    /// When there is no such device.
    pub fn relay(&self, name: &str, places: [Place; 2], key: RelayKey) -> Result<(), Mishap> {
        self.shared.lock().device(name)?.relay = Some((places, key));
        Ok(())
    }

    fn code(&self, invitee: Invitee, secret: [u8; 16]) -> Result<String, Mishap> {
        let authority = &self.shared.authority;
        let root = authority.root_digest()?;
        let (hubs, hub_key) = (vec![self.address], authority.hub_key().public());
        Ok(Invitation { invitee, hubs, hub_key, root, secret }.to_string())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn answer(&self, request: HubRequest, peer: PublicKey) -> Result<HubAnswer, Mishap> {
        match request {
            HubRequest::Enroll { secret, .. } => self.enroll(secret, peer),
            HubRequest::AcceptInvitation { .. } => self.accept(peer),
            HubRequest::ListDevices => self.list(),
            HubRequest::Meet { device } => Ok(self.meet(device)),
            HubRequest::Logout | HubRequest::LogoutEverywhere => Ok(HubAnswer::Done),
            HubRequest::Sync(_)
            | HubRequest::Login { .. }
            | HubRequest::EnrollOtp { .. }
            | HubRequest::StepUp { .. }
            | HubRequest::Certificate
            | HubRequest::Examine
            | HubRequest::ListSessions(_)
            | HubRequest::AskApproval(_)
            | HubRequest::ListApprovals
            | HubRequest::AwaitApproval { .. }
            | HubRequest::ApproveByCode { .. }
            | HubRequest::Administrate { .. }
            | HubRequest::HandleCase { .. }
            | HubRequest::Decide { .. }
            | HubRequest::BeginSignOn(_)
            | HubRequest::FinishSignOn { .. }
            | HubRequest::AwaitSignOn { .. } => Ok(HubAnswer::Failed(Failure::Unsupported)),
        }
    }

    fn enroll(&self, secret: [u8; 16], peer: PublicKey) -> Result<HubAnswer, Mishap> {
        let mut state = self.lock();
        let engineer = state.engineer;
        let [number, ..] = secret;
        let wanted = DeviceId::new([number; 8]);
        let Some(device) = state.devices.values_mut().find(|device| device.id == wanted) else {
            return Ok(HubAnswer::Refused(Refusal::Code));
        };
        device.key = Some(peer);
        device.publish(&self.authority, engineer)?;
        let snapshot = device.newest.as_ref().map(|newest| newest.bytes.to_vec()).unwrap_or_default();
        let roots = vec![self.authority.sealed_root().to_vec()];
        Ok(HubAnswer::Enrolled { device: device.id, roots, snapshot })
    }

    fn accept(&self, peer: PublicKey) -> Result<HubAnswer, Mishap> {
        let mut state = self.lock();
        state.engineer = Some(peer);
        for device in state.devices.values_mut() {
            device.publish(&self.authority, Some(peer))?;
        }
        drop(state);
        self.changed();
        Ok(HubAnswer::LoggedIn {
            fleet: FLEET,
            user: ENGINEER,
            account: Text::clean("bench"),
            name: text("engineer")?,
            pass: self.authority.pass(peer)?,
        })
    }

    /// Both ends are told; everybody knows the engineer.
    fn meet(&self, device: DeviceId) -> HubAnswer {
        let mut state = self.lock();
        let found = state.devices.values_mut().find(|known| known.id == device);
        let Some((device, ([near, far], key))) = found.and_then(|device| {
            let relay = device.relay.clone()?;
            Some((device, relay))
        }) else {
            return HubAnswer::Failed(Failure::Unsupported);
        };
        device.met += 1;
        let mut meeting = [0; 16];
        meeting
            .iter_mut()
            .zip(device.met.to_le_bytes().iter().chain(device.id.as_bytes()))
            .for_each(|(to, from)| *to = *from);
        let [client, agent] = [(End::Client, near), (End::Agent, far)].map(|(end, place)| {
            let ticket = Ticket { meeting: MeetingId(meeting), end, until: UnixTime::MAX };
            Meeting { leg: key.leg(ticket), relays: vec![place] }
        });
        device.meetings.push(agent);
        drop(state);
        self.changed();
        HubAnswer::Meeting(client)
    }

    fn list(&self) -> Result<HubAnswer, Mishap> {
        let state = self.lock();
        let entry = |(name, device): (&String, &Device)| {
            let addresses = device.detour.map_or_else(|| device.addresses.clone(), |detour| vec![detour]);
            Ok(DeviceEntry {
                device: device.id,
                name: text(name)?,
                account: Text::clean("bench"),
                label: None,
                key: device.key.unwrap_or_else(|| self.authority.hub_key().public()),
                addresses,
                online: device.key.is_some(),
            })
        };
        Ok(HubAnswer::Devices(state.devices.iter().map(entry).collect::<Result<_, Mishap>>()?))
    }
}

impl State {
    fn device(&mut self, name: &str) -> Result<&mut Device, Mishap> {
        self.devices.get_mut(name).ok_or_else(|| Mishap::unexpected("a device", "none", name))
    }
}

impl Device {
    fn publish(&mut self, authority: &Authority, engineer: Option<PublicKey>) -> Result<(), Mishap> {
        let Some(key) = self.key else { return Ok(()) };
        self.version += 1;
        let sealed =
            authority.snapshot(&self.content, Addressee { device: self.id, key }, self.version, engineer)?;
        let held = Held { epoch: 1, version: self.version, digest: digest::<Snapshot>(&sealed)? };
        self.newest = Some(Published { held, bytes: sealed.into() });
        Ok(())
    }
}

async fn serve(endpoint: Endpoint, shared: Arc<Shared>) {
    while let Some(incoming) = endpoint.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let Ok(connection) = incoming.handshake(WITHIN).await else { return };
            while let Ok((send, recv)) = connection.accept_bi().await {
                let (shared, connection) = (Arc::clone(&shared), connection.clone());
                tokio::spawn(async move {
                    if let Err(fault) = attend(&shared, &connection, send, recv).await {
                        tracing::debug!(error = %fault, "a request to the hub of the benchmark failed");
                    }
                });
            }
        });
    }
}

async fn attend(
    shared: &Shared,
    connection: &Connection,
    mut send: SendStream,
    mut recv: RecvStream,
) -> Result<(), Mishap> {
    let broken = |fault: FrameFault| Mishap::unexpected("a request", fault, "a frame");
    let request = read_frame(&mut recv, limits::FRAME_BYTES, WITHIN).await.map_err(broken)?;
    if let HubRequest::Sync(hello) = request {
        // Reading a frame cannot be interrupted without loss, so it has a task of its own.
        let (sender, messages) = mpsc::channel(4);
        tokio::spawn(async move {
            while let Ok(message) = read_frame(&mut recv, limits::SYNC_FRAME_BYTES, FOREVER).await {
                if sender.send(message).await.is_err() {
                    return;
                }
            }
        });
        return sync(shared, connection.peer_key(), &hello, &mut send, messages).await;
    }
    let answer = shared.answer(request, connection.peer_key())?;
    write_frame(&mut send, &answer, limits::LIST_FRAME_BYTES).await.map_err(broken)?;
    // A stream that is over already needs no end.
    let _over = send.finish();
    Ok(())
}

async fn sync(
    shared: &Shared,
    peer: PublicKey,
    hello: &Hello,
    send: &mut SendStream,
    mut messages: mpsc::Receiver<AgentMessage>,
) -> Result<(), Mishap> {
    let broken = |fault: FrameFault| Mishap::unexpected("a synchronisation", fault, "a frame");
    let mut changes = shared.changes.subscribe();
    let (id, newest) = {
        let mut state = shared.lock();
        let device = state.devices.values_mut().find(|device| device.key == Some(peer));
        let device =
            device.ok_or_else(|| Mishap::unexpected("a device", "an unknown key", "an enrolled one"))?;
        device.addresses.clone_from(&hello.addresses);
        (device.id, device.newest.clone())
    };
    let mut sync = HubSync::new(hello, newest, 1);
    loop {
        if let Some(held) = sync.held() {
            shared.applied(peer, held);
        }
        loop {
            let message = match sync.poll_naming() {
                Some(naming) => {
                    Some(HubMessage::Timestamp { bytes: shared.authority.timestamp(id, naming)? })
                }
                None => sync.poll_transmit(),
            };
            let Some(message) = message else { break };
            write_frame(send, &message, limits::SYNC_FRAME_BYTES).await.map_err(broken)?;
        }
        tokio::select! {
            message = messages.recv() => {
                let Some(message) = message else { return Ok(()) };
                let event = sync.handle_message(message);
                match event.map_err(|fault| Mishap::unexpected("a message", fault, "another"))? {
                    Event::Refused { code, .. } => eprintln!("a device refused its policy: {}", code.word()),
                    Event::Moved(addresses) => shared.moved(peer, addresses),
                    Event::Alarm { kind, detail } => eprintln!("a device raised {}: {detail}", kind.word()),
                    Event::Applied { .. }
                    | Event::Asked
                    | Event::SealingKey(_)
                    | Event::NextKey(_)
                    | Event::LockTaken { .. }
                    | Event::LockRefused { .. }
                    | Event::RootTaken { .. }
                    | Event::RootRefused { .. }
                    // No trail is kept here; the agents of a benchmark keep their rows.
                    | Event::Log(_)
                    | Event::Rows(_) => {}
                    Event::Receipt(signed) => {
                        let receipt = signed.verify(&peer, FLEET, id);
                        let receipt = receipt.map_err(|fault| Mishap::unexpected("a receipt", fault, "a signed one"))?;
                        sync.handle_receipt_stored(receipt.id);
                        shared.stopped(peer, receipt);
                    }
                }
            }
            changed = changes.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                if let Some(newest) = shared.newest(peer) {
                    sync.handle_published(newest);
                }
                for meeting in shared.meetings(peer) {
                    let meet = HubMessage::Meet(meeting);
                    write_frame(send, &meet, limits::SYNC_FRAME_BYTES).await.map_err(broken)?;
                }
            }
        }
    }
}

impl Shared {
    fn newest(&self, peer: PublicKey) -> Option<Published> {
        self.lock().devices.values().find(|device| device.key == Some(peer))?.newest.clone()
    }

    fn meetings(&self, peer: PublicKey) -> Vec<Meeting> {
        let mut state = self.lock();
        let device = state.devices.values_mut().find(|device| device.key == Some(peer));
        device.map(|device| std::mem::take(&mut device.meetings)).unwrap_or_default()
    }

    fn applied(&self, peer: PublicKey, held: Held) {
        let mut state = self.lock();
        let device = state.devices.values_mut().find(|device| device.key == Some(peer));
        if let Some(device) = device.filter(|device| device.applied.is_none_or(|(known, _)| known != held)) {
            device.applied = Some((held, Instant::now()));
        }
    }

    fn stopped(&self, peer: PublicKey, receipt: Receipt) {
        if let Some(device) = self.lock().devices.values_mut().find(|device| device.key == Some(peer)) {
            device.stopped.push(receipt);
        }
    }

    fn moved(&self, peer: PublicKey, addresses: Vec<SocketAddr>) {
        if let Some(device) = self.lock().devices.values_mut().find(|device| device.key == Some(peer)) {
            device.addresses = addresses;
        }
    }
}

const WITHIN: Duration = Duration::from_secs(30);
const FOREVER: Duration = Duration::from_secs(24 * 3600);
