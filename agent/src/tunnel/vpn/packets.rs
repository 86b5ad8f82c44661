//! The way for packets of one VPN tunnel, from its request to its end.
//!
//! 1. [`run`] finds the tunnel, takes a place, and an address of the device's [`Interface`](interface::Interface).
//! 2. Packets of the client come as datagrams, over [`Lines`](super::Lines), and in frames on the stream; each is judged by the [`Way`].
//! 3. One that begins a flow waits until the flow's row is durable: no row, no packet. It is held here, and what follows it is dropped
//!    meanwhile, which its sender takes for a loss.
//! 4. Packets of machines are judged where they come from the interface. What fits no datagram goes in a frame.
//! 5. When the tunnel is decided again, so are all its flows.
//!
//! The device's kernel does the rest: it forwards, counts hops down, and gives machines an address to answer to. Deliberately
//! absent: queues that wait. What cannot go on now is dropped, as by any router.

mod drops;
mod interface;
mod way;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;

use postern_protocol::gate::packet::MTU;
use postern_protocol::id::TunnelId;
use postern_protocol::policy::Reason;
use postern_protocol::wire::registry::{CloseCode, Failure, ProtocolFault};
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer};
use postern_transport::framed::write_frame;
use postern_transport::quic::{RecvStream, SendStream, StreamFault};

use self::interface::Lease;
use self::way::Opening;
use super::Vpn;
use super::lines::Mouth;
use super::messages::frame;
use crate::registry::{Reins, Ruling};
use crate::tunnel::PATIENCE;
use crate::tunnel::ending::broken;
use crate::tunnel::open::reply;
use crate::tunnel::session::Session;

pub(super) use self::drops::Drops;
pub(crate) use self::interface::Packets;
pub(super) use self::way::Way;

/// Serves one request for packets from decision to end.
pub(in super::super) async fn run(
    session: &Session,
    tunnel: TunnelId,
    mut send: SendStream,
    mut recv: RecvStream,
) {
    // One of another connection does not exist here.
    let Some(vpn) = session.vpns.find(tunnel) else {
        return reply(&mut send, &mut recv, &Answer::Denied(Reason::NoGrant)).await;
    };
    if vpn.has_packets.swap(true, Ordering::Relaxed) {
        return reply(&mut send, &mut recv, &Answer::Failed(Failure::Busy)).await;
    }
    let code = match open(session, &vpn) {
        Ok((lease, place)) => {
            let code = carry(session, &vpn, lease, (&mut send, &mut recv)).await;
            drop(place);
            Ok(code)
        }
        Err(failure) => Err(failure),
    };
    vpn.has_packets.store(false, Ordering::Relaxed);
    match code {
        Ok(code) => {
            send.reset(code.number());
            recv.stop(code.number());
        }
        Err(failure) => reply(&mut send, &mut recv, &Answer::Failed(failure)).await,
    }
}

fn open(session: &Session, vpn: &Vpn) -> Result<(Lease, super::places::Place), Failure> {
    let place = vpn.places.take(&session.context.flows).ok_or(Failure::Busy)?;
    let lease = session.context.packets.lease()?;
    Ok((lease, place))
}

/// Carries packets until there is no way for them any more; returns why.
async fn carry(
    session: &Session,
    vpn: &Arc<Vpn>,
    mut lease: Lease,
    (send, recv): (&mut SendStream, &mut RecvStream),
) -> CloseCode {
    let answer = Answer::Packets { ip: lease.ip(), mtu: MTU };
    let told = tokio::time::timeout(PATIENCE, write_frame(send, &answer, ANSWER_BYTES)).await;
    if !matches!(told, Ok(Ok(()))) {
        return CloseCode::Done;
    }
    let (framed, mut frames) = mpsc::channel(FRAMES);
    let (opening, mut openings) = mpsc::channel(OPENINGS);
    let ends = (session.connection.clone(), send.index());
    let guard = session.context.guard.clone();
    let way = Arc::new(Way::new(Arc::clone(vpn), (lease.ip(), lease.tun()), ends, guard, (framed, opening)));
    lease.begin(Arc::clone(&way));
    let line = session.lines.line(send.index(), Mouth::Packets(Arc::clone(&way)));
    let code = tokio::select! {
        // A cut goes first.
        biased;
        code = ruled(vpn.leash.reins(), &way) => code,
        () = lease.gone() => CloseCode::Failed(Failure::NoPackets),
        code = from_client(recv, &way) => code,
        code = to_client(send, &mut frames) => code,
        never = record(session, &way, &mut openings) => match never {},
        never = look(&way) => match never {},
    };
    drop((line, lease));
    way.close(code);
    code
}

/// Waits until nothing is permitted any more; has every flow decided again whenever the tunnel is.
async fn ruled(mut reins: Reins, way: &Way) -> CloseCode {
    loop {
        match reins.changed().await {
            Ruling::Permitted(newer) => way.decide_again(&newer),
            Ruling::Cut(code) => return code,
        }
    }
}

/// Packets that the client sends in frames.
async fn from_client(recv: &mut RecvStream, way: &Way) -> CloseCode {
    loop {
        match frame(recv).await {
            Ok(packet) => way.say(&packet),
            // In order, between two frames.
            Err(StreamFault::Ended { found: 0, expected: 2 }) => return CloseCode::Done,
            Err(StreamFault::Ended { .. }) => return CloseCode::Fault(ProtocolFault::Malformed),
            Err(fault) => return broken(fault).unwrap_or(CloseCode::Done),
        }
    }
}

/// Packets that fit no datagram.
async fn to_client(send: &mut SendStream, frames: &mut mpsc::Receiver<Vec<u8>>) -> CloseCode {
    while let Some(frame) = frames.recv().await {
        if let Err(fault) = send.write_chunk(frame.into()).await {
            return broken(fault).unwrap_or(CloseCode::Done);
        }
    }
    // The way holds the other end.
    std::future::pending().await
}

/// Records the flows that begin, and lets their first packets go.
async fn record(session: &Session, way: &Way, openings: &mut mpsc::Receiver<Opening>) -> Infallible {
    loop {
        let Some(opening) = openings.recv().await else { return std::future::pending().await };
        let Opening { key, packet, row } = opening;
        match session.context.auditor.record(row).await {
            Ok(()) => way.begin(&key, &packet),
            Err(error) => {
                tracing::debug!(%error, "a flow of packets was refused because its row is not durable");
                way.withdraw(&key);
            }
        }
    }
}

/// Notes flows that are over.
async fn look(way: &Way) -> Infallible {
    loop {
        tokio::time::sleep(GLANCE).await;
        way.look();
    }
}

/// Frames that may wait for the stream.
const FRAMES: usize = 64;
/// Flows that may wait for their rows.
const OPENINGS: usize = 64;
const GLANCE: Duration = Duration::from_secs(5);
