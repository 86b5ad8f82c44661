//! A blind relay: passes packets between the two ends of a meeting, neither of which the other can reach.
//!
//! 1. [`Relay::bind`] opens a UDP socket and, where one is wanted, a TCP listener for TLS.
//! 2. [`table`] knows who has bound which leg, and says where a packet goes.
//! 3. [`datagrams`] passes on what comes over UDP, in the batches in which it came; [`streams`] what comes over TLS.
//!
//! What is passed on is QUIC between ends that prove their keys to each other; nothing here could read or change it. Queues are
//! short and drop what they cannot hold. Deliberately absent: users, devices and policy. A ticket is a right to be relayed, which the
//! hub gives to an end that it knows.

mod certificate;
mod datagrams;
mod origin;
mod streams;
mod table;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use postern_protocol::time::{BootTime, UnixTime};
use postern_protocol::trust::Digest;
use postern_protocol::wire::relay::RelayKey;
use postern_transport::OuterAcceptor;
use postern_transport::frames::Outbox;
use postern_transport::quic::{BatchSocket, BindError, Endpoint, Settings};

use crate::chance;
use crate::metrics::Relayed;

pub use self::certificate::CertificateError;
pub use self::table::Counts;
use self::table::Table;

/// Where a relay listens, and for how many.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    /// UDP.
    pub udp: SocketAddr,
    /// TCP, for TLS.
    pub tcp: Option<SocketAddr>,
    /// Meetings at most.
    pub meetings: usize,
    /// Connections at most.
    pub connections: usize,
}

/// A relay that is open.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    tls: Option<Tls>,
}

#[derive(Debug)]
struct Tls {
    listener: TcpListener,
    acceptor: OuterAcceptor,
    certificate: Digest,
    connections: usize,
    /// Who takes connections that are for the hub.
    hub: Option<Endpoint>,
}

/// What the tasks of a relay share.
#[derive(Debug)]
struct Shared {
    socket: BatchSocket,
    table: Mutex<Table>,
    streams: Mutex<HashMap<u64, Arc<Outbox>>>,
    began: Instant,
}

/// Why a relay could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// No UDP.
    #[error(transparent)]
    Udp(#[from] BindError),
    /// No TCP.
    #[error("the TCP port `{addr}` could not be opened: {error}")]
    Tcp {
        /// The address that was asked for.
        addr: SocketAddr,
        /// The system's reason.
        #[source]
        error: std::io::Error,
    },
    /// No certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Relay {
    /// Opens a relay. Connections that ask for the hub are handed to `hub`, or closed. Must be called within a runtime.
    ///
    /// # Errors
    /// [`RelayError`].
    pub async fn bind(listen: &Listen, key: RelayKey, hub: Option<Endpoint>) -> Result<Self, RelayError> {
        let socket = BatchSocket::bind(listen.udp, &Settings::hub())?;
        let tls = match listen.tcp {
            None => None,
            Some(addr) => {
                let tcp = |error| RelayError::Tcp { addr, error };
                let listener = TcpListener::bind(addr).await.map_err(tcp)?;
                let (acceptor, certificate) = certificate::make()?;
                Some(Tls { listener, acceptor, certificate, connections: listen.connections, hub })
            }
        };
        let table = Mutex::new(Table::new(key, chance::bytes(), listen.meetings));
        let shared = Shared { socket, table, streams: Mutex::default(), began: Instant::now() };
        Ok(Self { shared: Arc::new(shared), tls })
    }

    /// Where it listens for UDP.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn udp_addr(&self) -> std::io::Result<SocketAddr> {
        self.shared.socket.local_addr()
    }

    /// Where it listens for TLS.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn tcp_addr(&self) -> std::io::Result<Option<SocketAddr>> {
        self.tls.as_ref().map(|tls| tls.listener.local_addr()).transpose()
    }

    /// SHA-256 of the certificate that it shows: who sees another one has a box in between that reads TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<Digest> {
        self.tls.as_ref().map(|tls| tls.certificate)
    }

    /// What it did until now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.table().counts()
    }

    /// Meetings of which an end is there.
    #[must_use]
    pub fn meetings(&self) -> usize {
        self.shared.table().meetings()
    }

    /// Says what it does, whenever it is asked, for as long as the relay is there.
    pub fn watched(&self) -> impl Fn() -> Relayed + Send + Sync + use<> {
        let shared = Arc::downgrade(&self.shared);
        move || {
            let Some(shared) = shared.upgrade() else { return Relayed::default() };
            let (counts, meetings) = {
                let table = shared.table();
                (table.counts(), table.meetings())
            };
            let streams = shared.streams().len();
            Relayed {
                meetings: u64::try_from(meetings).unwrap_or(u64::MAX),
                streams: u64::try_from(streams).unwrap_or(u64::MAX),
                passed: counts.packets,
                bytes: counts.bytes,
                dropped: counts.dropped,
                unbound: counts.unbound,
                bound: counts.bound,
                refused: counts.refused,
                full: counts.full,
            }
        }
    }

    /// Passes packets on until it is dropped.
    pub async fn serve(&self) {
        let mut tasks = JoinSet::new();
        tasks.spawn(datagrams::serve(Arc::clone(&self.shared)));
        tasks.spawn(forget(Arc::clone(&self.shared)));
        let streams = async {
            match &self.tls {
                Some(tls) => streams::serve(&self.shared, tls).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = streams => {}
            Some(ended) = tasks.join_next() => {
                let error = ended.err().map(|error| error.to_string()).unwrap_or_default();
                tracing::error!(error, "a part of the relay ended by itself");
            }
        }
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<u64, Arc<Outbox>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since the relay was opened.
    fn now(&self) -> BootTime {
        BootTime::from_millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// The time of day, by which tickets end.
fn clock() -> UnixTime {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(UnixTime::EPOCH, |since| UnixTime::from_secs(since.as_secs()))
}

async fn forget(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(FORGET);
    loop {
        let _now = tick.tick().await;
        shared.table().expire(shared.now());
    }
}

/// How often silent legs are looked for.
const FORGET: Duration = Duration::from_secs(10);
