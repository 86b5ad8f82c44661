//! One discovery of the machine network, as far as a tunnel reaches:
//!
//! 1. Find the tunnel on this connection and take a place; a tunnel has one scan at a time.
//! 2. Ask the kernel for its neighbours; drop what no destination contains and what the device does not dial.
//! 3. Announce a scan in the trail; no row, no probe.
//! 4. Answer, then tell what is known and what the probes find ([`probe`]), until there is no more.
//! 5. A cut, or a destination that is taken away, ends it at once: probes that are under way are dropped.
//!
//! What is asked, in which order and how much of it, is [`Discovery`]'s to say. Each probe is decided when it is made.

mod neighbours;
mod probe;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use postern_protocol::audit::FlowFate;
use postern_protocol::audit::flows::Carried;
use postern_protocol::gate::discovery::{Discovery, Heard, is_narrower};
use postern_protocol::id::TunnelId;
use postern_protocol::policy::{Destination, FlowEnd, Reason};
use postern_protocol::wire::discovery::DiscoveryNews;
use postern_protocol::wire::registry::{CloseCode, Failure, ProtocolFault};
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer};
use postern_transport::framed::write_frame;
use postern_transport::quic::{RecvStream, SendStream};

use super::places::Place;
use super::{Vpn, silence};
use crate::registry::{Reins, Ruling};
use crate::tunnel::open::reply;
use crate::tunnel::session::Session;
use crate::tunnel::{Guard, PATIENCE};

/// A discovery that may be told of.
struct Begun {
    vpn: Arc<Vpn>,
    destinations: Vec<Destination>,
    discovery: Discovery,
    is_scan: bool,
    /// Held until it is over: a tunnel waits for its flows before it writes what they came to.
    _place: Place,
    _scanner: Option<OwnedSemaphorePermit>,
}

/// Serves one request for a discovery from decision to end.
pub(in super::super) async fn run(
    session: &Session,
    tunnel: TunnelId,
    is_scan: bool,
    mut send: SendStream,
    mut recv: RecvStream,
) {
    let Begun { vpn, destinations, mut discovery, is_scan, _place, _scanner } =
        match begin(session, tunnel, is_scan).await {
            Ok(begun) => begun,
            Err(answer) => return reply(&mut send, &mut recv, &answer).await,
        };
    let ended = tokio::select! {
        // A ruling goes before words and probes.
        biased;
        code = ruled(vpn.leash.reins(), &destinations) => Err(code),
        code = silence(&mut recv) => Err(code),
        told = explore(session, &vpn, (&mut discovery, &destinations, is_scan), &mut send) => told,
    };
    for end in discovery.under_way() {
        // Somebody was asked, and whoever wanted to know is gone.
        vpn.note(Some(end), FlowFate::Failed(Failure::Timeout), Carried::default());
    }
    match ended {
        Ok(()) => {
            let _reset_before = send.finish();
        }
        Err(code) => send.reset(code.number()),
    }
    recv.stop(ended.err().unwrap_or(CloseCode::Done).number());
}

async fn begin(session: &Session, tunnel: TunnelId, is_scan: bool) -> Result<Begun, Answer> {
    // One of another connection does not exist here.
    let vpn = session.vpns.find(tunnel).ok_or(Answer::Denied(Reason::NoGrant))?;
    let busy = || {
        vpn.note(None, FlowFate::Failed(Failure::Busy), Carried::default());
        Answer::Failed(Failure::Busy)
    };
    let place = vpn.places.take(&session.context.flows).ok_or_else(busy)?;
    let scanner = match is_scan {
        true => Some(vpn.places.take_scanner().ok_or_else(busy)?),
        false => None,
    };
    let permit = vpn.permit().ok_or(Answer::Failed(Failure::Ended))?;
    let destinations: Vec<Destination> = permit.destinations().cloned().collect();
    drop(permit);
    let neighbours = neighbours::known(&session.context.guard, &destinations).await;
    let discovery = if is_scan {
        let row = vpn.ledger().scan();
        if let Err(error) = session.context.auditor.record(row).await {
            tracing::debug!(%error, tunnel = %tunnel, "a scan was refused because its row is not durable");
            return Err(Answer::Failed(Failure::Unrecorded));
        }
        Discovery::scan(destinations.clone(), &neighbours, vpn.now_ms())
    } else {
        Discovery::new(destinations.clone(), &neighbours)
    };
    Ok(Begun { vpn, destinations, discovery, is_scan, _place: place, _scanner: scanner })
}

/// Waits until the tunnel is cut, or does not reach as far as it did.
async fn ruled(mut reins: Reins, destinations: &[Destination]) -> CloseCode {
    loop {
        match reins.changed().await {
            Ruling::Permitted(newer) => {
                let now: Vec<Destination> = newer.destinations().cloned().collect();
                if is_narrower(destinations, &now) {
                    return CloseCode::Denied(Reason::Revoked);
                }
            }
            Ruling::Cut(code) => return code,
        }
    }
}

/// Asks and tells until there is no more.
async fn explore(
    session: &Session,
    vpn: &Arc<Vpn>,
    (discovery, destinations, is_scan): (&mut Discovery, &[Destination], bool),
    send: &mut SendStream,
) -> Result<(), CloseCode> {
    write(send, &Answer::Discovery).await?;
    let context = &session.context;
    let mut probes: JoinSet<(FlowEnd, Heard, FlowFate)> = JoinSet::new();
    let mut glances = tokio::time::interval(GLANCE);
    glances.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        while let Some(end) = discovery.poll_probe(vpn.now_ms()) {
            match vpn.places.take(&context.flows) {
                Some(place) => {
                    drop(probes.spawn(probe::run(Arc::clone(context), Arc::clone(vpn), place, end)))
                }
                None => discovery.handle_no_place(vpn.now_ms(), end),
            }
        }
        if is_scan && discovery.is_finished(vpn.now_ms()) {
            look(&context.guard, destinations, discovery).await;
        }
        while let Some(news) = discovery.poll_news(vpn.now_ms()) {
            write(send, &news).await?;
            if matches!(news, DiscoveryNews::End(_)) {
                return Ok(());
            }
        }
        let now_ms = vpn.now_ms();
        let wait_ms = discovery.poll_timeout(now_ms).unwrap_or(now_ms).saturating_sub(now_ms);
        tokio::select! {
            Some(done) = probes.join_next(), if !probes.is_empty() => {
                if let Ok((end, heard, fate)) = done {
                    vpn.note(Some(end), fate, Carried::default());
                    discovery.handle_heard(end, heard);
                }
            }
            _time = glances.tick() => look(&context.guard, destinations, discovery).await,
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
        }
    }
}

/// Takes what the kernel has learnt from the probes.
async fn look(guard: &Guard, destinations: &[Destination], discovery: &mut Discovery) {
    let neighbours = neighbours::known(guard, destinations).await;
    discovery.handle_neighbours(&neighbours);
}

async fn write<T: serde::Serialize>(send: &mut SendStream, frame: &T) -> Result<(), CloseCode> {
    match tokio::time::timeout(PATIENCE, write_frame(send, frame, ANSWER_BYTES)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(CloseCode::Done),
        Err(_late) => Err(CloseCode::Fault(ProtocolFault::TimedOut)),
    }
}

/// How often the kernel is asked during a scan: it gives up on an address after three seconds.
const GLANCE: Duration = Duration::from_secs(1);
