//! One request for a flow, in the only order that there is:
//!
//! 1. Find the tunnel on this connection and take a place.
//! 2. Resolve a name.
//! 3. Decide and guard each address; dial what was decided.
//! 4. Decide again, by the permit of that moment.
//! 5. Record; no row, no byte.
//! 6. Answer, then carry, and note what it came to.
//!
//! What is refused or fails is noted and summed up: the trail has it within a minute. A name that leads nowhere and a name that leads where
//! the policy does not are one answer: who may not go there does not learn that it exists.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::{TcpStream, UdpSocket};

use postern_protocol::audit::FlowFate;
use postern_protocol::audit::flows::Carried;
use postern_protocol::id::TunnelId;
use postern_protocol::policy::{FlowEnd, FlowPermit, Protocol, Reason};
use postern_protocol::wire::flow::{FlowTarget, Host};
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer};
use postern_transport::framed::write_frame;
use postern_transport::quic::{RecvStream, SendStream};
use postern_transport::splice::Meter;

use super::messages::{self, Ear};
use super::places::{self, Place};
use super::{Vpn, names, tcp};
use crate::registry::Ruling;
use crate::tunnel::PATIENCE;
use crate::tunnel::open::reply;
use crate::tunnel::session::Session;

/// A flow that is permitted and connected.
struct Opened {
    vpn: Arc<Vpn>,
    flow: FlowPermit,
    machine: Machine,
    /// Held until the flow is over.
    _place: Place,
}

/// What a flow speaks to.
enum Machine {
    Bytes(TcpStream),
    Messages(UdpSocket),
}

/// Why a flow was not opened, and what the client is told.
enum Refused {
    Denied(Reason),
    Failed(Failure),
    /// The client wants it no more.
    Abandoned,
}

/// Serves one request for a flow from decision to end.
pub(in super::super) async fn run(
    session: &Session,
    tunnel: TunnelId,
    to: &FlowTarget,
    mut send: SendStream,
    mut recv: RecvStream,
) {
    let answer = match open(session, tunnel, to, &send).await {
        Ok(opened) => return carry(session, opened, (&mut send, &mut recv)).await,
        Err(Refused::Denied(reason)) => Answer::Denied(reason),
        Err(Refused::Failed(failure)) => Answer::Failed(failure),
        Err(Refused::Abandoned) => {
            send.reset(CloseCode::Done.number());
            return recv.stop(CloseCode::Done.number());
        }
    };
    reply(&mut send, &mut recv, &answer).await;
}

async fn open(
    session: &Session,
    tunnel: TunnelId,
    to: &FlowTarget,
    send: &SendStream,
) -> Result<Opened, Refused> {
    // One of another connection does not exist here.
    let vpn = session.vpns.find(tunnel).ok_or(Refused::Denied(Reason::NoGrant))?;
    let end = |ip: IpAddr| FlowEnd { protocol: to.protocol, ip, port: to.port };
    let Some(place) = vpn.places.take(&session.context.flows) else {
        let asked = match to.host {
            Host::Ip(ip) => Some(end(ip)),
            Host::Name(_) => None,
        };
        return Err(vpn.failed(asked, Failure::Busy));
    };
    if vpn.places.taken() > usize::from(places::STREAMS_OF_A_VPN / 2) {
        session.widen(places::STREAMS_OF_A_BUSY_VPN);
    }
    let (flow, machine) = match &to.host {
        Host::Ip(ip) => connect(session, &vpn, end(*ip), send).await?,
        Host::Name(name) => {
            let found = names::resolve(name).await.map_err(|failure| vpn.failed(None, failure))?;
            if found.is_empty() {
                return Err(vpn.failed(None, Failure::Unresolved));
            }
            let mut last = None;
            let mut connected = None;
            for ip in found {
                match connect(session, &vpn, end(ip), send).await {
                    Ok(found) => {
                        connected = Some(found);
                        break;
                    }
                    Err(Refused::Abandoned) => return Err(Refused::Abandoned),
                    // Only of what may be reached is said why it was not.
                    Err(Refused::Failed(failure)) if failure != Failure::Forbidden => last = Some(failure),
                    Err(Refused::Failed(_) | Refused::Denied(_)) => {}
                }
            }
            match (connected, last) {
                (Some(connected), _) => connected,
                (None, Some(failure)) => return Err(Refused::Failed(failure)),
                // Why each address was refused is in the trail already, and the client hears what it hears of no name.
                (None, None) => return Err(Refused::Failed(Failure::Unresolved)),
            }
        }
    };
    if let Some(row) = vpn.note(Some(flow.end()), FlowFate::Opened, Carried::default())
        && let Err(error) = session.context.auditor.record(row).await
    {
        tracing::debug!(%error, tunnel = %tunnel, "a flow was refused because its row is not durable");
        return Err(vpn.failed(Some(flow.end()), Failure::Unrecorded));
    }
    Ok(Opened { vpn, flow, machine, _place: place })
}

/// Decides one far end, connects to it, and decides again.
async fn connect(
    session: &Session,
    vpn: &Vpn,
    end: FlowEnd,
    send: &SendStream,
) -> Result<(FlowPermit, Machine), Refused> {
    let flow = vpn.decide(end)?;
    let guard = &session.context.guard;
    let machine = match end.protocol {
        Protocol::Udp | Protocol::Icmp => guard.message_socket(&flow).map(Machine::Messages),
        Protocol::Tcp => {
            let mut reins = vpn.leash.reins();
            let mut dialling = std::pin::pin!(guard.dial_flow(&flow));
            let mut gone = std::pin::pin!(send.stopped());
            loop {
                tokio::select! {
                    biased;
                    ruling = reins.changed() => if let Ruling::Cut(_) = ruling { break Err(Failure::Ended) },
                    _stopped = &mut gone => {
                        // It may not have waited for as long as the device would: a scan does that.
                        vpn.failed(Some(end), Failure::Timeout);
                        return Err(Refused::Abandoned);
                    }
                    dialled = &mut dialling => break dialled.map(Machine::Bytes),
                }
            }
        }
    };
    let machine = machine.map_err(|failure| vpn.failed(Some(end), failure))?;
    Ok((vpn.decide(end)?, machine))
}

async fn carry(
    session: &Session,
    Opened { vpn, flow, machine, _place }: Opened,
    (send, recv): (&mut SendStream, &mut RecvStream),
) {
    let end = flow.end();
    let answer = Answer::Flow { ip: end.ip };
    let told = tokio::time::timeout(PATIENCE, write_frame(send, &answer, ANSWER_BYTES)).await;
    let meter = Meter::of(Arc::clone(&vpn.meter));
    if !matches!(told, Ok(Ok(()))) {
        vpn.note(Some(end), FlowFate::Closed(CloseCode::Done.number()), carried(&meter));
        return;
    }
    let (code, carried) = match machine {
        Machine::Bytes(socket) => {
            let refused = |reason| {
                vpn.note(Some(end), FlowFate::Denied(reason), Carried::default());
            };
            let code = tcp::carry(flow, &vpn.leash, (socket, &meter), (send, recv), refused).await;
            (code, carried(&meter))
        }
        Machine::Messages(socket) => {
            let ear = Arc::new(Ear::new(&flow, socket, meter));
            let (reins, idle) = (vpn.leash.reins(), session.context.datagram_idle);
            let ways = (&session.connection, &session.lines);
            let code = messages::carry(flow, (&ear, idle), reins, ways, (&mut *send, &mut *recv)).await;
            send.reset(code.number());
            recv.stop(code.number());
            (code, carried(ear.meter()))
        }
    };
    vpn.note(Some(end), FlowFate::Closed(code.number()), carried);
}

fn carried(meter: &Meter) -> Carried {
    let (to_machine, to_client) = (meter.received(), meter.sent());
    Carried { to_machine, to_client, seconds: meter.elapsed().as_secs() }
}

impl Vpn {
    /// Decides a flow by the permit of this moment, and notes a no.
    fn decide(&self, end: FlowEnd) -> Result<FlowPermit, Refused> {
        let permit = self.permit().ok_or_else(|| self.failed(Some(end), Failure::Ended))?;
        permit.flow(end).map_err(|refusal| {
            let reason = refusal.reason();
            self.note(Some(end), FlowFate::Denied(reason), Carried::default());
            Refused::Denied(reason)
        })
    }

    fn failed(&self, end: Option<FlowEnd>, failure: Failure) -> Refused {
        self.note(end, FlowFate::Failed(failure), Carried::default());
        Refused::Failed(failure)
    }
}
