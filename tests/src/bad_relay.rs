//! A relay in the hands of an adversary: it has the hub's key for relays, sees every packet, and does to them what it likes.
//!
//! 1. [`BadRelay::start`] binds a socket; a hub names it with `--relay-at`.
//! 2. Ends bind their legs as at any relay. What they send is kept ([`BadRelay::seen`]), and then passes through the present
//!    [`Mischief`].
//! 3. [`BadRelay::turns_to`] changes that at any moment.
//!
//! It speaks UDP alone. Each packet is decided by how many came before, so that a run is like the one before as far as the network lets it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use postern_protocol::time::UnixTime;
use postern_protocol::wire::relay::{End, Handle, MeetingId, Notice, Packet, RelayKey, Ticket, split};

/// What the relay does to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mischief {
    /// It passes them on.
    None,
    /// It changes a bit in one of so many.
    Tampers(u32),
    /// It sends each again, at once and when a hundred others have passed.
    Replays,
    /// It keeps every other packet back until the next has passed.
    Reorders,
    /// It passes them on so much later.
    Delays(Duration),
    /// It adds nine made-up packets to each.
    Floods,
    /// It leads the clients of the first and second meeting, of the third and fourth and so on to the device's end of the other
    /// one, and back.
    Swaps,
    /// It leads clients to somebody else.
    Leads(SocketAddr),
}

/// A running relay of that kind.
#[derive(Debug)]
pub struct BadRelay {
    /// Where it is.
    pub at: SocketAddr,
    state: Arc<Mutex<State>>,
    _task: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    key: RelayKey,
    mischief: Mischief,
    /// In the order in which their clients came.
    meetings: Vec<MeetingId>,
    legs: HashMap<Leg, (SocketAddr, Handle)>,
    handles: HashMap<Handle, Leg>,
    seen: Vec<Vec<u8>>,
    held: Option<(Leg, Vec<u8>)>,
    count: u32,
}

type Leg = (MeetingId, End);

/// A packet of QUIC on its way to the end of a leg, or to somebody else.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    to: SocketAddr,
    after: Duration,
    bytes: Vec<u8>,
}

impl BadRelay {
    /// Opens it at `host`, with the key that its hub has made. Must be called within a runtime.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub async fn start(host: IpAddr, key: RelayKey) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind((host, 0)).await?);
        let at = socket.local_addr()?;
        let state = Arc::new(Mutex::new(State {
            key,
            mischief: Mischief::None,
            meetings: Vec::new(),
            legs: HashMap::new(),
            handles: HashMap::new(),
            seen: Vec::new(),
            held: None,
            count: 0,
        }));
        let mut task = JoinSet::new();
        task.spawn(serve(socket, Arc::clone(&state)));
        Ok(Self { at, state, _task: task })
    }

    /// Does this to packets from now on.
    pub fn turns_to(&self, mischief: Mischief) {
        lock(&self.state).mischief = mischief;
    }

    /// Every packet that it was given to pass on, until now.
    #[must_use]
    pub fn seen(&self) -> Vec<Vec<u8>> {
        lock(&self.state).seen.clone()
    }

    /// Meetings of which a client came.
    #[must_use]
    pub fn meetings(&self) -> usize {
        lock(&self.state).meetings.len()
    }
}

async fn serve(socket: Arc<UdpSocket>, state: Arc<Mutex<State>>) {
    let (mut block, mut late) = ([0; 2048], JoinSet::new());
    loop {
        // An error is that of an end which has gone.
        let Ok((length, from)) = socket.recv_from(&mut block).await else { continue };
        let sent = lock(&state).take(from, block.get(..length).unwrap_or_default());
        while late.try_join_next().is_some() {}
        for Sent { to, after, bytes } in sent {
            if after.is_zero() {
                let _lost = socket.send_to(&bytes, to).await;
                continue;
            }
            let socket = Arc::clone(&socket);
            late.spawn(async move {
                tokio::time::sleep(after).await;
                let _lost = socket.send_to(&bytes, to).await;
            });
        }
    }
}

impl State {
    fn take(&mut self, from: SocketAddr, packet: &[u8]) -> Vec<Sent> {
        if self.mischief == Mischief::Leads(from) {
            // Somebody else answers; to whoever came last.
            let client = self.meetings.last().map(|meeting| (*meeting, End::Client));
            return client.and_then(|client| self.to(client, packet)).into_iter().collect();
        }
        match split(packet) {
            Some(Packet::Notice(notice)) => self.bind(from, notice).into_iter().collect(),
            Some(Packet::Data(handle, packet)) => {
                self.seen.push(packet.to_vec());
                let Some(leg) = self.handles.get(&handle).copied() else { return Vec::new() };
                self.count = self.count.wrapping_add(1);
                self.pass(leg, packet)
            }
            None => Vec::new(),
        }
    }

    fn bind(&mut self, from: SocketAddr, notice: &[u8]) -> Option<Sent> {
        let read = Notice::read(notice, |ticket| self.key.leg_key(ticket.unwrap_or(&NOBODY)));
        let Ok(Notice::Bind { ticket, stamp }) = read else { return None };
        let leg = (ticket.meeting, ticket.end);
        let handle = self.key.handle(&ticket.meeting, ticket.end, &[0; 16]);
        if ticket.end == End::Client && !self.meetings.contains(&ticket.meeting) {
            self.meetings.push(ticket.meeting);
        }
        self.legs.insert(leg, (from, handle));
        self.handles.insert(handle, leg);
        let bytes = Notice::bound(&self.key.leg_key(&ticket), stamp, handle, from, None);
        Some(Sent { to: from, after: Duration::ZERO, bytes })
    }

    /// What becomes of a packet that came from a leg.
    fn pass(&mut self, (meeting, end): Leg, packet: &[u8]) -> Vec<Sent> {
        let across = (meeting, end.other());
        let count = self.count;
        let honest = self.to(across, packet);
        match self.mischief {
            Mischief::None => honest.into_iter().collect(),
            Mischief::Tampers(one_of) if count.is_multiple_of(one_of) => {
                let mut packet = packet.to_vec();
                let place = usize::try_from(count).unwrap_or_default() % packet.len().max(1);
                if let Some(byte) = packet.get_mut(place) {
                    *byte ^= 1 << (count % 8);
                }
                self.to(across, &packet).into_iter().collect()
            }
            Mischief::Tampers(_) => honest.into_iter().collect(),
            Mischief::Replays => {
                let old = self.seen.len().checked_sub(100).and_then(|old| self.seen.get(old));
                let old = old.and_then(|old| self.to(across, old));
                honest.into_iter().chain(self.to(across, packet)).chain(old).collect()
            }
            Mischief::Reorders => match self.held.take() {
                None => {
                    self.held = Some((across, packet.to_vec()));
                    Vec::new()
                }
                Some((to, held)) => honest.into_iter().chain(self.to(to, &held)).collect(),
            },
            Mischief::Delays(after) => honest.map(|sent| Sent { after, ..sent }).into_iter().collect(),
            Mischief::Floods => {
                // They begin as packets of this connection do, and as those of a new one.
                let made_up = (0..9_u8).filter_map(|number| {
                    let first = packet.get(..packet.len().min(9)).unwrap_or_default();
                    let body = [first, &[number; 1191][..]].concat();
                    self.to(across, &body)
                });
                honest.into_iter().chain(made_up.collect::<Vec<_>>()).collect()
            }
            Mischief::Swaps => {
                let place = self.meetings.iter().position(|known| *known == meeting);
                let other = place.and_then(|place| self.meetings.get(place ^ 1));
                other.and_then(|other| self.to((*other, end.other()), packet)).into_iter().collect()
            }
            Mischief::Leads(to) => {
                let sent = (end == End::Client).then(|| packet.to_vec());
                sent.map(|bytes| Sent { to, after: Duration::ZERO, bytes }).into_iter().collect()
            }
        }
    }

    fn to(&self, leg: Leg, packet: &[u8]) -> Option<Sent> {
        let (to, handle) = self.legs.get(&leg)?;
        let bytes = [handle.as_bytes(), packet].concat();
        Some(Sent { to: *to, after: Duration::ZERO, bytes })
    }
}

/// Of notices without a ticket, which no end sends.
const NOBODY: Ticket = Ticket { meeting: MeetingId([0; 16]), end: End::Agent, until: UnixTime::EPOCH };

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
