//! One request for a tunnel, in the only order that there is:
//!
//! 1. Decide and register, as one step; once more if a word of the cloud was under way. 2. Record; no row, no permit. 3. Guard and dial the snapshot's address.
//! 4. Ask whether the permit still stands. 5. Accept, then carry bytes. 6. Record the end.
//!
//! The client is told about a refusal after the row is durable, and about a cut before it: stopping comes first.

use std::sync::Arc;

use tokio::net::TcpStream;

use postern_protocol::audit::{Event, GateCounts};
use postern_protocol::id::TunnelId;
use postern_protocol::name::Name;
use postern_protocol::path::Peer;
use postern_protocol::policy::{
    Denial, FlowEnd, FlowPermit, Kind, Permit, Protocol, Reason, Rules, Target, VpnRules,
};
use postern_protocol::trust::Subject;
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer};
use postern_transport::framed::write_frame;
use postern_transport::quic::{RecvStream, SendStream};

use super::session::Session;
use super::{PATIENCE, http, vnc, vpn, websocket};
use crate::audit::DeniedRequest;
use crate::recordings::is_recordable;
use crate::registry::{Admitted, Refused, Ruling, Wish};

pub(super) use super::session::reply;

/// Serves one request for a tunnel from decision to end.
pub(super) async fn run(
    session: &Session,
    subject: Arc<Subject>,
    (service, view_only): (Name, bool),
    mut send: SendStream,
    mut recv: RecvStream,
) {
    let context = &session.context;
    let wish = Wish { view_only, flows: false };
    let (tunnel, permit) = match admit(session, &subject, &service, wish).await {
        Ok(admitted) => admitted,
        Err(answer) => {
            session.turns.next().await;
            return reply(&mut send, &mut recv, &answer).await;
        }
    };
    let (mut tunnel, permit) = match recorded(session, tunnel, permit).await {
        Ok(recorded) => recorded,
        Err(failure) => return reply(&mut send, &mut recv, &Answer::Failed(failure)).await,
    };
    let (machine, permit) = match connect(session, &tunnel, &permit, &send).await {
        Ok(connected) => connected,
        Err(NotOpened::Failed(failure)) => {
            tunnel.leave();
            record(session, Event::Failed { tunnel: tunnel.id, failure }).await;
            return reply(&mut send, &mut recv, &Answer::Failed(failure)).await;
        }
        Err(NotOpened::Cut(code)) => {
            let answer = match code {
                CloseCode::Denied(reason) => Answer::Denied(reason),
                CloseCode::Failed(failure) => Answer::Failed(failure),
                CloseCode::Done | CloseCode::Fault(_) | CloseCode::Unknown(_) => {
                    Answer::Failed(Failure::Ended)
                }
            };
            // Nothing has passed, and nothing will.
            tunnel.leave();
            reply(&mut send, &mut recv, &answer).await;
            return record(session, closed(session, &tunnel, code, None)).await;
        }
    };
    let fulfilled = match context.recordings.fulfil(permit, &tunnel).await {
        Ok(fulfilled) => fulfilled,
        Err(failure) => {
            drop(machine);
            tunnel.leave();
            record(session, Event::Failed { tunnel: tunnel.id, failure }).await;
            return reply(&mut send, &mut recv, &Answer::Failed(failure)).await;
        }
    };
    let (permit, recorder) = (Arc::clone(fulfilled.permit()), fulfilled.recorder().cloned());
    let accepted = accepted(tunnel.id, &permit, recorder.is_some());
    let told = tokio::time::timeout(PATIENCE, write_frame(&mut send, &accepted, ANSWER_BYTES)).await;
    if !matches!(told, Ok(Ok(()))) {
        drop(machine);
        tunnel.leave();
        return record(session, closed(session, &tunnel, CloseCode::Failed(Failure::Broken), None)).await;
    }
    let (user, version) = (permit.user(), permit.floor().version);
    if let Some(suppressed) = context.traffic.admit() {
        tracing::info!(tunnel = %tunnel.id, %user, %service, version, suppressed, "a tunnel was opened");
    }
    let (code, gate) = match machine {
        Dialled::Screen(machine) => {
            let (code, counts) =
                vnc::carry(fulfilled, &tunnel, machine, context, (&mut send, &mut recv)).await;
            (code, Some(counts))
        }
        Dialled::Flow(machine, flow) => {
            let (line, no_profile) = ((machine, &*tunnel.meter), |_reason| {});
            let ways = (&mut send, &mut recv);
            (vpn::tcp::carry(flow, &tunnel.leash, line, ways, no_profile).await, None)
        }
        Dialled::Line(line, shears) => {
            let line = (line, shears);
            let ended =
                http::carry(session, &fulfilled, (&tunnel, view_only), line, (&mut send, &mut recv)).await;
            let (code, counts) = match ended {
                http::Ended::Over(code, counts) => (code, counts),
                http::Ended::Upgraded(mut upgraded, counts) => {
                    if let Some(own) = upgraded.tunnel.take() {
                        // From here the stream belongs to the tunnel that was permitted for it.
                        tunnel.leave();
                        record(session, closed(session, &tunnel, CloseCode::Done, Some(counts))).await;
                        tunnel = own;
                    }
                    websocket::carry(*upgraded, &tunnel, (&mut send, &mut recv)).await
                }
            };
            (code, Some(counts))
        }
    };
    if let Some(recorder) = recorder {
        recorder.finish().await;
    }
    tunnel.leave();
    if let Some(suppressed) = context.traffic.admit() {
        let reason = code.word();
        tracing::info!(tunnel = %tunnel.id, %user, %service, reason, suppressed, "a tunnel was closed");
    }
    record(session, closed(session, &tunnel, code, gate)).await;
}

/// Decides and registers, once more if a word of the cloud was under way. A denial is recorded.
///
/// # Errors
/// What to answer.
pub(super) async fn admit(
    session: &Session,
    subject: &Arc<Subject>,
    service: &Name,
    wish: Wish,
) -> Result<(Admitted, Arc<Permit>), Answer> {
    let context = &session.context;
    let caller = session.caller(subject);
    let mut admitted = context.registry.admit(&context.gate, &caller, service, wish);
    if matches!(&admitted, Err(Refused::Denied(denial)) if denial.reason() == Reason::PolicyStale)
        && context.gate.settled().await
    {
        admitted = context.registry.admit(&context.gate, &caller, service, wish);
    }
    match admitted {
        Ok(admitted) => Ok(admitted),
        Err(Refused::Denied(denial)) => {
            deny(session, subject, service.clone(), &denial).await;
            Err(Answer::Denied(denial.reason()))
        }
        Err(Refused::Occupied { denial, holder, may_look }) => {
            deny(session, subject, service.clone(), &denial).await;
            Err(Answer::Occupied { holder, may_look })
        }
        Err(Refused::Failed(failure)) => Err(Answer::Failed(failure)),
    }
}

/// Records a tunnel that was admitted; without its row there is none.
pub(super) async fn recorded(
    session: &Session,
    tunnel: Admitted,
    permit: Arc<Permit>,
) -> Result<(Admitted, Arc<Permit>), Failure> {
    let peer = session.connection.peer();
    if tunnel.recording.is_some() && !is_recordable(permit.service().kind()) {
        // Without a recording there is no tunnel.
        tunnel.leave();
        return Err(Failure::Recording);
    }
    if let Err(error) = session.context.auditor.record(permitted(&tunnel, &permit, peer)).await {
        // The store says once, loudly, that the trail cannot be written.
        tracing::debug!(%error, tunnel = %tunnel.id, "a tunnel was refused because its row is not durable");
        tunnel.leave();
        return Err(Failure::Unrecorded);
    }
    Ok((tunnel, permit))
}

/// Why there is no connection to the machine.
enum NotOpened {
    Failed(Failure),
    Cut(CloseCode),
}

/// A connection to the machine, as its kind needs it.
enum Dialled {
    /// For the bytes of the one flow that a VPN to one place is.
    Flow(TcpStream, FlowPermit),
    /// For a screen.
    Screen(TcpStream),
    /// For requests; cut with its shears.
    Line(http::Line, http::Shears),
}

impl From<Failure> for NotOpened {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

async fn dial(session: &Session, tunnel: &Admitted, permit: &Arc<Permit>) -> Result<Dialled, NotOpened> {
    let guard = &session.context.guard;
    match permit.service().kind() {
        Kind::Vpn => {
            let only = permit.service().reach.flows().and_then(VpnRules::only_tcp);
            let Target { ip, port } = only.ok_or(Failure::Unsupported)?;
            let flow = decide_flow(permit, FlowEnd { protocol: Protocol::Tcp, ip, port })?;
            Ok(Dialled::Flow(guard.dial_flow(&flow).await?, flow))
        }
        Kind::Vnc => Ok(Dialled::Screen(guard.dial(permit).await?)),
        Kind::Http | Kind::Websocket => {
            let shears = http::Shears::default();
            let line = http::Line::dial(&session.context, permit, &tunnel.meter, &shears).await?;
            Ok(Dialled::Line(line, shears))
        }
    }
}

fn decide_flow(permit: &Arc<Permit>, end: FlowEnd) -> Result<FlowPermit, NotOpened> {
    permit.flow(end).map_err(|refusal| NotOpened::Cut(CloseCode::Denied(refusal.reason())))
}

/// Dials while the permit stands and the client waits. Returns the permit of the moment when there is a connection.
async fn connect(
    session: &Session,
    tunnel: &Admitted,
    permit: &Arc<Permit>,
    send: &SendStream,
) -> Result<(Dialled, Arc<Permit>), NotOpened> {
    let mut reins = tunnel.leash.reins();
    let dialled = {
        let mut dial = std::pin::pin!(dial(session, tunnel, permit));
        let mut gone = std::pin::pin!(send.stopped());
        loop {
            tokio::select! {
                // A ruling goes first: what was cut meanwhile must not come to be.
                biased;
                ruling = reins.changed() => match ruling {
                    Ruling::Permitted(_) => {}
                    Ruling::Cut(code) => return Err(NotOpened::Cut(code)),
                },
                _stopped = &mut gone => return Err(NotOpened::Cut(CloseCode::Done)),
                dialled = &mut dial => break dialled,
            }
        }
    };
    let machine = dialled?;
    match tunnel.leash.ruling() {
        Ruling::Permitted(newest) => match machine {
            Dialled::Flow(socket, flow) => {
                let flow = decide_flow(&newest, flow.end())?;
                Ok((Dialled::Flow(socket, flow), newest))
            }
            Dialled::Screen(_) | Dialled::Line(..) => Ok((machine, newest)),
        },
        Ruling::Cut(code) => Err(NotOpened::Cut(code)),
    }
}

/// Records a denial.
pub(super) async fn deny(session: &Session, subject: &Subject, service: Name, denial: &Denial) {
    let (context, peer) = (&session.context, session.connection.peer());
    if let Some(suppressed) = context.noise.admit() {
        let (user, reason) = (subject.user(), denial.reason());
        tracing::info!(%user, %service, %reason, suppressed, "a tunnel was refused");
    }
    let request = DeniedRequest {
        user: Some(subject.user()),
        service: Some(service),
        reason: denial.reason(),
        fault: None,
        origin: denial.origin().cloned(),
        peer,
    };
    context.auditor.denied(request).await;
}

pub(super) fn accepted(tunnel: TunnelId, permit: &Permit, recorded: bool) -> Answer {
    let service = permit.service();
    let start = match service.reach.rules() {
        Some(Rules::Http(rules)) => Some(rules.start.clone()),
        Some(Rules::Vnc(_) | Rules::Websocket(_)) | None => None,
    };
    let (kind, mode, until) = (service.kind(), permit.mode(), permit.ends());
    Answer::Accepted { tunnel, kind, mode, until, start, recorded }
}

fn permitted(tunnel: &Admitted, permit: &Permit, peer: Peer) -> Event {
    let service = permit.service();
    Event::Permitted {
        tunnel: tunnel.id,
        user: permit.user(),
        service: service.name.clone(),
        kind: service.kind(),
        target: service.reach.target(),
        mode: permit.mode(),
        origin: permit.origin().cloned(),
        version: permit.floor().version,
        peer,
        recorded: tunnel.recording.is_some(),
    }
}

pub(super) fn closed(
    session: &Session,
    tunnel: &Admitted,
    code: CloseCode,
    gate: Option<GateCounts>,
) -> Event {
    Event::Closed {
        tunnel: tunnel.id,
        code: code.number(),
        to_machine: tunnel.meter.received(),
        to_client: tunnel.meter.sent(),
        seconds: tunnel.meter.elapsed().as_secs(),
        peer: session.connection.peer(),
        gate,
    }
}

/// Records how a tunnel went on or ended.
pub(super) async fn record(session: &Session, event: Event) {
    if let Err(error) = session.context.auditor.record(event).await {
        tracing::debug!(%error, "the end of a tunnel was not recorded");
    }
}
