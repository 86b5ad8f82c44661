//! VPN tunnels: each carries flows, and each flow is decided by itself.
//!
//! 1. [`run`] takes a request for a VPN through decide, record and accept, as `open` does; there is nothing to dial.
//! 2. It tells the client where flows may go, at once and whenever deciding again changed that.
//! 3. `flow` takes each request for a flow through place, name, decide, guard, dial, record and answer.
//! 4. `packets` does the same for packets, where the device has an interface for them.
//! 5. What ends the tunnel is told to all flows first; when they are gone, the sums of the trail are written and then the end.
//!
//! `tcp`, `modbus` and `messages` carry, each under a [`FlowPermit`](postern_protocol::policy::FlowPermit). `lines` sorts the
//! datagrams of a connection by flow, `places` bounds. `discover` tells what is there to go to.

mod discover;
mod flow;
mod lines;
mod messages;
mod modbus;
mod names;
mod packets;
mod places;
pub(super) mod tcp;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use postern_protocol::audit::flows::{Carried, Ledger};
use postern_protocol::audit::{Event, FlowFate, GateCounts};
use postern_protocol::id::TunnelId;
use postern_protocol::name::Name;
use postern_protocol::policy::{Destination, FlowEnd, Permit};
use postern_protocol::trust::Subject;
use postern_protocol::wire::flow::VpnNews;
use postern_protocol::wire::registry::{CloseCode, Failure, ProtocolFault};
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer};
use postern_transport::framed::write_frame;
use postern_transport::quic::{RecvStream, SendStream};
use postern_transport::splice::Meter;

use self::packets::Drops;
use self::places::Places;
use super::open::{self, record, reply};
use super::session::Session;
use super::{PATIENCE, ending};
use crate::registry::{Admitted, Leash, Reins, Ruling, Wish};

pub(super) use self::discover::run as run_discovery;
pub(super) use self::flow::run as run_flow;
pub(super) use self::lines::Lines;
pub(crate) use self::packets::Packets;
pub(super) use self::packets::run as run_packets;

/// One open VPN tunnel, as its flows see it.
#[derive(Debug)]
pub(super) struct Vpn {
    leash: Arc<Leash>,
    /// Counts the bytes of all flows.
    meter: Arc<Meter>,
    places: Places,
    ledger: Mutex<Ledger>,
    /// The ledger has something to write.
    noted: Notify,
    began: Instant,
    /// Whether there is a way for packets.
    has_packets: AtomicBool,
    /// Packets that were dropped.
    drops: Drops,
}

/// The open VPN tunnels of one connection.
#[derive(Debug, Default)]
pub(super) struct Vpns(Mutex<BTreeMap<TunnelId, Arc<Vpn>>>);

/// Serves one request for a VPN from decision to end.
pub(super) async fn run(
    session: &Session,
    subject: Arc<Subject>,
    (service, view_only): (Name, bool),
    mut send: SendStream,
    mut recv: RecvStream,
) {
    let wish = Wish { view_only, flows: true };
    let (tunnel, permit) = match open::admit(session, &subject, &service, wish).await {
        Ok(admitted) => admitted,
        Err(answer) => {
            session.turns.next().await;
            return reply(&mut send, &mut recv, &answer).await;
        }
    };
    if permit.service().reach.flows().is_none() {
        tunnel.leave();
        return reply(&mut send, &mut recv, &Answer::Failed(Failure::Unsupported)).await;
    }
    let (tunnel, permit) = match open::recorded(session, tunnel, permit).await {
        Ok(recorded) => recorded,
        Err(failure) => return reply(&mut send, &mut recv, &Answer::Failed(failure)).await,
    };
    let vpn = Arc::new(Vpn::of(&tunnel));
    session.vpns.lock().insert(tunnel.id, Arc::clone(&vpn));
    session.widen(places::STREAMS_OF_A_VPN);
    let accepted = open::accepted(tunnel.id, &permit, false);
    let told = tokio::time::timeout(PATIENCE, write_frame(&mut send, &accepted, ANSWER_BYTES)).await;
    let code = if matches!(told, Ok(Ok(()))) {
        if let Some(suppressed) = session.context.traffic.admit() {
            let (user, version) = (permit.user(), permit.floor().version);
            tracing::info!(tunnel = %tunnel.id, %user, %service, version, suppressed, "a VPN was opened");
        }
        drop(permit);
        last(session, &tunnel, &vpn, &mut send, &mut recv).await
    } else {
        CloseCode::Failed(Failure::Broken)
    };
    session.vpns.lock().remove(&tunnel.id);
    // A cut by the registry came before and stands.
    tunnel.stop(code);
    if code != CloseCode::Done {
        send.reset(code.number());
        recv.stop(code.number());
    }
    // One that waits for its row has carried nothing yet, and the client need not wait for it.
    vpn.places.all_left().await;
    tunnel.leave();
    if let Some(suppressed) = session.context.traffic.admit() {
        let reason = code.word();
        tracing::info!(tunnel = %tunnel.id, user = %subject.user(), %service, reason, suppressed, "a VPN was closed");
    }
    vpn.write_rows(session).await;
    record(session, open::closed(session, &tunnel, code, Some(vpn.counts()))).await;
}

/// Lasts as long as the tunnel; returns why it ended.
async fn last(
    session: &Session,
    tunnel: &Admitted,
    vpn: &Vpn,
    send: &mut SendStream,
    recv: &mut RecvStream,
) -> CloseCode {
    tokio::select! {
        // A cut goes first.
        biased;
        code = ruled(tunnel) => code,
        code = silence(recv) => code,
        code = tell(tunnel.leash.reins(), &vpn.drops, send) => code,
        never = vpn.keep_book(session) => match never {},
    }
}

/// Waits until the registry or a limit of the permit ends the tunnel.
async fn ruled(tunnel: &Admitted) -> CloseCode {
    let mut reins = tunnel.leash.reins();
    let Ruling::Permitted(mut permit) = tunnel.leash.ruling() else { return cut(&mut reins).await };
    loop {
        tokio::select! {
            biased;
            ruling = reins.changed() => match ruling {
                Ruling::Permitted(newer) => permit = newer,
                Ruling::Cut(code) => return code,
            },
            failure = ending::exhausted(&permit, &tunnel.meter) => return CloseCode::Failed(failure),
        }
    }
}

async fn cut(reins: &mut Reins) -> CloseCode {
    loop {
        if let Ruling::Cut(code) = reins.changed().await {
            return code;
        }
    }
}

/// The client says nothing on the tunnel's stream until it ends it.
async fn silence(recv: &mut RecvStream) -> CloseCode {
    match recv.read_chunk(1).await {
        Ok(None) => CloseCode::Done,
        Ok(Some(_)) => CloseCode::Fault(ProtocolFault::Unexpected),
        Err(fault) => ending::broken(fault).unwrap_or(CloseCode::Done),
    }
}

/// Says where flows may go, now and whenever that changes, and what packets were dropped.
async fn tell(mut reins: Reins, drops: &Drops, send: &mut SendStream) -> CloseCode {
    let mut said: Option<Vec<Destination>> = None;
    let mut counted = None;
    loop {
        let news = tokio::select! {
            biased;
            ruling = reins.changed() => {
                let Ruling::Permitted(permit) = ruling else {
                    // Whoever waits for the same ruling acts on it.
                    return std::future::pending().await;
                };
                let destinations: Vec<Destination> = permit.destinations().cloned().collect();
                if said.as_ref() == Some(&destinations) {
                    continue;
                }
                said = Some(destinations.clone());
                VpnNews::Destinations(destinations)
            }
            news = drops.news(counted) => {
                counted = Some(tokio::time::Instant::now());
                news
            }
        };
        match tokio::time::timeout(PATIENCE, write_frame(send, &news, ANSWER_BYTES)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return CloseCode::Done,
            Err(_late) => return CloseCode::Fault(ProtocolFault::TimedOut),
        }
    }
}

impl Vpn {
    fn of(tunnel: &Admitted) -> Self {
        Self {
            leash: Arc::clone(&tunnel.leash),
            meter: Arc::clone(&tunnel.meter),
            places: Places::new(),
            ledger: Mutex::new(Ledger::new(tunnel.id)),
            noted: Notify::new(),
            began: Instant::now(),
            has_packets: AtomicBool::new(false),
            drops: Drops::new(),
        }
    }

    /// The permit of this moment; none when the tunnel was cut.
    fn permit(&self) -> Option<Arc<Permit>> {
        match self.leash.ruling() {
            Ruling::Permitted(permit) => Some(permit),
            Ruling::Cut(_) => None,
        }
    }

    /// Notes what became of a flow. The row that is returned must be durable before its first byte.
    fn note(&self, to: Option<FlowEnd>, fate: FlowFate, carried: Carried) -> Option<Event> {
        let row = self.ledger().note(self.now_ms(), to, fate, carried);
        self.noted.notify_one();
        row
    }

    /// Writes the sums of each minute in which there was something.
    async fn keep_book(&self, session: &Session) -> std::convert::Infallible {
        loop {
            let due = self.ledger().due_ms();
            match due.map(|due| due.saturating_sub(self.now_ms())) {
                None => self.noted.notified().await,
                Some(0) => self.write_rows(session).await,
                Some(left_ms) => tokio::time::sleep(Duration::from_millis(left_ms)).await,
            }
        }
    }

    async fn write_rows(&self, session: &Session) {
        let rows = self.ledger().take_rows();
        for row in rows {
            record(session, row).await;
        }
    }

    fn counts(&self) -> GateCounts {
        self.ledger().counts()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Vpns {
    /// The tunnel of this id, if it is open on this connection.
    pub(super) fn find(&self, id: TunnelId) -> Option<Arc<Vpn>> {
        self.lock().get(&id).map(Arc::clone)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TunnelId, Arc<Vpn>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
