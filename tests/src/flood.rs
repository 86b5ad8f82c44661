//! Floods against an agent, from strangers and from people with a pass, for tests and for the benchmark.
//!
//! 1. A [`Victim`] is where the agent is and, for floods from within, whose pass is used.
//! 2. [`Flood::start`] begins one of [`Kind`] on a thread of its own, at most at the pace it is told.
//! 3. [`Flood::sent`] counts what went out, [`Flood::answered`] what came of it; dropping the flood ends it.
//!
//! Strangers come from an address of their own ([`STRANGERS`]), as they do in life.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use postern_protocol::id::DeviceId;
use postern_protocol::limits;
use postern_protocol::trust::pass::EXPORTER_LABEL;
use postern_protocol::trust::{Proof, PublicKey, SecretKey};
use postern_protocol::wire::registry::ALPNS_TUNNEL;
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer, Request};
use postern_transport::framed::{read_frame, write_frame};
use postern_transport::quic::{Connection, ConnectionEnd, Endpoint, Role, Settings};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::world::Mishap;

/// What floods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// First packets of handshakes that are never finished.
    HalfOpen,
    /// Handshakes that are finished, by keys that nobody knows.
    Handshakes,
    /// Datagrams without sense, half of which look like the first packet of a handshake.
    Noise,
    /// Requests for what does not exist, by somebody with a pass.
    Denials,
    /// QUIC datagrams for flows that are not open, by somebody with a pass.
    Datagrams,
    /// Streams of which the beginning is missing: pieces of messages out of order, by somebody with a pass.
    Gaps,
    /// Strangers who say a word a second and never finish.
    Loris,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::HalfOpen,
        Self::Handshakes,
        Self::Noise,
        Self::Denials,
        Self::Datagrams,
        Self::Gaps,
        Self::Loris,
    ];

    /// Its name in tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::HalfOpen => "half-open handshakes",
            Self::Handshakes => "handshakes",
            Self::Noise => "invalid packets",
            Self::Denials => "denials",
            Self::Datagrams => "datagrams",
            Self::Gaps => "streams with gaps",
            Self::Loris => "slow requests",
        }
    }
}

/// Who is flooded, and by whom from within.
#[derive(Clone, Debug)]
pub struct Victim {
    /// Where clients are served.
    pub at: SocketAddr,
    /// The device's key.
    pub key: PublicKey,
    /// The device.
    pub device: DeviceId,
    /// A user's key and pass.
    pub insider: Option<(SecretKey, Vec<u8>)>,
    /// From where strangers come.
    pub from: Ipv4Addr,
}

impl Victim {
    /// Lets somebody flood it whose profile is in `home`.
    ///
    /// # Errors
    /// When there is no profile.
    pub fn insider(mut self, home: &Path) -> Result<Self, Mishap> {
        let seed = std::fs::read_to_string(home.join("key"))?;
        let seed = data_encoding::HEXLOWER.decode(seed.trim().as_bytes()).ok();
        let key = seed.and_then(|seed| SecretKey::from_seed(seed.try_into().ok()?).ok());
        let key = key.ok_or_else(|| Mishap::unexpected("the key of a profile", "nonsense", "a key"))?;
        self.insider = Some((key, std::fs::read(home.join("pass"))?));
        Ok(self)
    }

    fn endpoint(&self, key: &SecretKey, from: Ipv4Addr) -> Result<Endpoint, Mishap> {
        // Impatient, so that those who are not answered do not wait long.
        let settings = Settings { handshake: Duration::from_secs(2), ..Settings::session() };
        let here = SocketAddr::from((from, 0));
        Endpoint::bind(here, key, Role::Client, &settings).map_err(|error| lost(&error))
    }

    async fn dial(&self, endpoint: &Endpoint) -> Result<Connection, Mishap> {
        let settings = Settings { handshake: Duration::from_secs(2), ..Settings::session() };
        endpoint.connect(self.at, self.key, ALPNS_TUNNEL, &settings).await.map_err(|error| lost(&error))
    }

    /// A connection of the insider, signed in.
    async fn member(&self) -> Result<(Endpoint, Connection), Mishap> {
        let (key, pass) = self.insider.clone().ok_or_else(|| lost(&"nobody is told to flood from within"))?;
        let endpoint = self.endpoint(&key, Ipv4Addr::UNSPECIFIED)?;
        let connection = self.dial(&endpoint).await?;
        let exporter =
            connection.export_keying_material(EXPORTER_LABEL, &[]).map_err(|error| lost(&error))?;
        let proof = Proof::sign(&key, &exporter, self.device, &pass);
        let answer = ask(&connection, &Request::Authenticate { pass, proof }).await?;
        if !matches!(answer, Answer::Welcome { .. }) {
            return Err(Mishap::unexpected("the sign-in of a flood", format!("{answer:?}"), "a welcome"));
        }
        Ok((endpoint, connection))
    }
}

/// Connections from one address whose handshake is finished and on which nothing is said.
#[derive(Debug)]
pub struct Silent {
    _endpoint: Endpoint,
    connections: Vec<Connection>,
}

impl Silent {
    /// Makes so many, a few at a time, by a key that nobody knows, in one of these protocols.
    ///
    /// # Errors
    /// When one of them is not taken.
    pub async fn come(victim: &Victim, alpns: &[&[u8]], how_many: usize) -> Result<Self, Mishap> {
        let endpoint = victim.endpoint(&key(0)?, victim.from)?;
        let settings = Settings::session();
        let dialling = (0..how_many).map(|_| endpoint.connect(victim.at, victim.key, alpns, &settings));
        let dialled = futures_util::stream::iter(dialling).buffered(AT_A_TIME);
        let connections = dialled.try_collect().await.map_err(|error| lost(&error))?;
        Ok(Self { _endpoint: endpoint, connections })
    }

    /// Waits until the other side has ended the one that came first; yields its code.
    ///
    /// # Errors
    /// When it does not end in time, or otherwise.
    pub async fn first_ends(&self) -> Result<u32, Mishap> {
        let first = self.connections.first().ok_or_else(|| lost(&"nobody came"))?;
        match tokio::time::timeout(BEGUN, first.closed()).await {
            Ok(ConnectionEnd::ClosedByPeer { code, .. }) => Ok(code),
            Ok(end) => Err(lost(&end)),
            Err(_) => Err(lost(&"the first one is still there")),
        }
    }
}

/// A flood that runs until it is dropped.
#[derive(Debug)]
pub struct Flood {
    tally: Arc<Tally>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Tally {
    sent: AtomicU32,
    answered: AtomicU32,
    stop: AtomicBool,
}

impl Tally {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn send(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    fn answer(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}

impl Flood {
    /// Begins, at most this often in a second, and returns when it is under way.
    ///
    /// # Errors
    /// When it cannot begin.
    pub fn start(kind: Kind, victim: &Victim, per_s: u32) -> Result<Self, Mishap> {
        let tally = Arc::new(Tally::default());
        let (ready, begun) = std::sync::mpsc::channel();
        let (of_thread, victim) = (Arc::clone(&tally), victim.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            let flooding = async {
                let pace = Pace::of(per_s, &of_thread);
                match kind {
                    Kind::HalfOpen => half_open(&victim, pace).await,
                    Kind::Handshakes => handshakes(&victim, pace).await,
                    Kind::Noise => noise(&victim, pace).await,
                    Kind::Denials => denials(&victim, pace).await,
                    Kind::Datagrams => datagrams(&victim, pace).await,
                    Kind::Gaps => gaps(&victim, pace).await,
                    Kind::Loris => loris(&victim, pace).await,
                }
            };
            let watched = async {
                while of_thread.sent.load(Ordering::Relaxed) == 0 {
                    tokio::time::sleep(TICK).await;
                }
                let _unheard = ready.send(());
                while !of_thread.is_over() {
                    tokio::time::sleep(TICK).await;
                }
            };
            runtime.block_on(async {
                tokio::select! {
                    ended = flooding => if let Err(error) = ended {
                        eprintln!("a flood of {} ended: {error}", kind.word());
                    },
                    () = watched => {}
                }
            });
        });
        let flood = Self { tally, thread: Some(thread) };
        begun.recv_timeout(BEGUN).map_err(|_| lost(&"it did not begin in time"))?;
        Ok(flood)
    }

    /// How much went out.
    #[must_use]
    pub fn sent(&self) -> u32 {
        self.tally.sent.load(Ordering::Relaxed)
    }

    /// How much was answered: handshakes that were finished, refusals that were heard.
    #[must_use]
    pub fn answered(&self) -> u32 {
        self.tally.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.tally.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// How fast it goes: so many in each tick.
#[derive(Clone, Debug)]
struct Pace {
    began: Instant,
    per_s: u32,
    tally: Arc<Tally>,
}

impl Pace {
    fn of(per_s: u32, tally: &Arc<Tally>) -> Self {
        Self { began: Instant::now(), per_s, tally: Arc::clone(tally) }
    }

    /// Counts one, and waits until it is due.
    async fn next(&self) {
        while f64::from(self.tally.sent.load(Ordering::Relaxed))
            > self.began.elapsed().as_secs_f64() * f64::from(self.per_s)
        {
            tokio::time::sleep(TICK).await;
        }
        self.tally.send();
    }
}

/// First packets are recorded on a socket that never answers, and then sent from many ports.
async fn half_open(victim: &Victim, pace: Pace) -> Result<(), Mishap> {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let at = silent.local_addr()?;
    let endpoint = victim.endpoint(&key(7)?, Ipv4Addr::LOCALHOST)?;
    let mut packets: Vec<Vec<u8>> = Vec::new();
    while packets.len() < FIRST_PACKETS {
        let mut packet = vec![0; 2048];
        let settings = Settings::session();
        tokio::select! {
            taken = silent.recv(&mut packet) => packet.truncate(taken?),
            _nobody = endpoint.connect(at, victim.key, ALPNS_TUNNEL, &settings) => continue,
        }
        // An attempt that is dropped says goodbye in a packet that is shorter.
        if packet.len() == 1200 {
            packets.push(packet);
        }
    }
    let mut sockets = Vec::new();
    for _ in 0..64 {
        sockets.push(UdpSocket::bind((victim.from, 0)).await?);
    }
    for (packet, socket) in packets.iter().cycle().zip(sockets.iter().cycle()) {
        pace.next().await;
        let _full = socket.try_send_to(packet, victim.at);
    }
    Ok(())
}

async fn handshakes(victim: &Victim, pace: Pace) -> Result<(), Mishap> {
    let tally = Arc::clone(&pace.tally);
    crowd(victim, &pace, move |_connection| {
        tally.answer();
        std::future::ready(())
    })
    .await
}

/// Strangers who dial again and again, each time from a socket of their own: ports cost nothing. What each does with a connection
/// that stands is `then`.
async fn crowd<F>(
    victim: &Victim,
    pace: &Pace,
    then: impl Fn(Connection) -> F + Clone + Send + 'static,
) -> Result<(), Mishap>
where
    F: Future<Output = ()> + Send,
{
    let mut crowd = JoinSet::new();
    for number in 0..CROWD {
        let (victim, pace, then) = (victim.clone(), pace.clone(), then.clone());
        crowd.spawn(async move {
            loop {
                pace.next().await;
                let Ok(endpoint) = key(number).and_then(|key| victim.endpoint(&key, victim.from)) else {
                    return;
                };
                if let Ok(connection) = victim.dial(&endpoint).await {
                    then(connection).await;
                }
            }
        });
    }
    while crowd.join_next().await.is_some() {}
    Ok(())
}

async fn noise(victim: &Victim, pace: Pace) -> Result<(), Mishap> {
    let socket = UdpSocket::bind((victim.from, 0)).await?;
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    loop {
        pace.next().await;
        let mut datagram = [0; 1200];
        for byte in &mut datagram {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let [first, ..] = dice.to_be_bytes();
            *byte = first;
        }
        if dice & 1 == 0 {
            datagram[0] = 0xc3;
            datagram[1..5].copy_from_slice(&[0, 0, 0, 1]);
        }
        let _full = socket.try_send_to(&datagram, victim.at);
    }
}

async fn denials(victim: &Victim, pace: Pace) -> Result<(), Mishap> {
    let (_endpoint, connection) = victim.member().await?;
    let mut askers = JoinSet::new();
    for number in 0..CROWD {
        let (connection, pace) = (connection.clone(), pace.clone());
        askers.spawn(async move {
            for question in 0u32.. {
                pace.next().await;
                let Ok(service) = format!("none-{number}-{question}").parse() else { return };
                let asked = ask(&connection, &Request::Open { service, view_only: false }).await;
                if !matches!(asked, Ok(Answer::Denied(_))) {
                    return;
                }
                pace.tally.answer();
            }
        });
    }
    while askers.join_next().await.is_some() {}
    Ok(())
}

async fn datagrams(victim: &Victim, pace: Pace) -> Result<(), Mishap> {
    let (_endpoint, connection) = victim.member().await?;
    loop {
        pace.next().await;
        let _large = connection.send_datagram(Bytes::from_static(&[0x55; 1000]));
        // Others of this thread have their turn: what is sent goes out.
        tokio::task::yield_now().await;
    }
}

/// Each stream announces a message, skips nothing and never comes to its end; a third of all packets is lost on the way.
async fn gaps(victim: &Victim, pace: Pace) -> Result<(), Mishap> {
    use crate::shim::{Conditions, Shim};
    let lossy = Conditions { loss: 0.3, ..Conditions::CLEAR };
    let shim = Shim::before(victim.from.into(), victim.at, lossy)?;
    let victim = Victim { at: shim.at, ..victim.clone() };
    loop {
        let Ok((_endpoint, connection)) = victim.member().await else { continue };
        // So many as a client may have, and each with as much as a frame may have but for its last byte.
        while let Ok(Ok((mut send, _recv))) = tokio::time::timeout(TURN, connection.open_bi()).await {
            pace.next().await;
            let length = u32::try_from(limits::FRAME_BYTES).unwrap_or(u32::MAX);
            let message = [&length.to_le_bytes()[..], &[0x77; limits::FRAME_BYTES - 1]].concat();
            if send.write_all(&message).await.is_err() {
                break;
            }
        }
    }
}

async fn loris(victim: &Victim, pace: Pace) -> Result<(), Mishap> {
    crowd(victim, &pace, dawdle).await
}

/// A word a second on as many streams as there are, for as long as they are taken.
async fn dawdle(connection: Connection) {
    let mut streams = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(TICK, connection.open_bi()).await {
        streams.push(stream);
    }
    loop {
        for (send, _recv) in &mut streams {
            if send.write_all(&[1]).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn ask(connection: &Connection, request: &Request) -> Result<Answer, Mishap> {
    let (mut send, mut recv) = connection.open_bi().await.map_err(|error| lost(&error))?;
    write_frame(&mut send, request, limits::FRAME_BYTES).await.map_err(|error| lost(&error))?;
    read_frame(&mut recv, ANSWER_BYTES, BEGUN).await.map_err(|error| lost(&error))
}

fn key(seed: u8) -> Result<SecretKey, Mishap> {
    SecretKey::from_seed([seed.wrapping_add(100); 32]).map_err(|error| lost(&error))
}

fn lost(error: &dyn std::fmt::Display) -> Mishap {
    Mishap::unexpected("a flood", error, "a running one")
}

/// From where strangers come on a computer of their own kind.
pub const STRANGERS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
/// Handshakes of one address at once: fewer than a device lets be under way.
const AT_A_TIME: usize = 8;
/// Strangers, or askers of one connection, at once.
const CROWD: u8 = 32;
/// Recorded first packets: more than handshakes can be open.
const FIRST_PACKETS: usize = 512;
const TICK: Duration = Duration::from_millis(2);
const TURN: Duration = Duration::from_millis(200);
/// Time for a flood to begin, and for one answer.
const BEGUN: Duration = Duration::from_secs(30);
