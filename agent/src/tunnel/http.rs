//! Carries an HTTP tunnel: one stream is one HTTP/1.1 connection, each request on it is judged alone, under the permit of that
//! moment.
//!
//! 1. `guarded` reads the client's bytes strictly; hyper sees only what can be read in one way.
//! 2. [`Desk::answer`] judges the request by the rules of the service. What is refused is answered with a `page` that says why.
//! 3. `forward` leaves out what ends at this hop or claims too much, and puts the rest in terms of the machine's own address.
//! 4. `upstream` asks the machine, over a connection that only this tunnel uses. One that the machine has closed is dialled again,
//!    at the address of the permit.
//! 5. When the permit changes, the request that is being answered is judged again; if it is not permitted any more, the tunnel is
//!    cut in the middle of the answer.
//! 6. `ledger` has what is recorded of the requests.
//!
//! Memory is bounded whatever the peers send: a head of 16 KiB, [`upstream::BUFFER_BYTES`] in each direction, and one chunk. Time is
//! bounded by the idle time and duration of the service, and by [`ANSWER_WITHIN`] for the head of an answer.

mod forward;
mod guarded;
mod ledger;
mod line;
mod login;
mod page;
mod upgrade;
mod upstream;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{ACCEPT, CONNECTION, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use tokio::task::JoinSet;

use postern_protocol::audit::GateCounts;
use postern_protocol::gate::http::{Asked, Framing, Head, Target, judge};
use postern_protocol::gate::rfb::Tally;
use postern_protocol::policy::{HttpRules, PathLog, Permit, Reason, Rules};
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_transport::quic::{RecvStream, SendStream};
use postern_transport::splice::Meter;

use self::guarded::{Guarded, Reading};
use self::ledger::{Current, Flight, Ledger, Totals};
pub(super) use self::line::{Line, Shears};
use self::page::Answered;
pub(super) use self::upgrade::Upgraded;
use self::upstream::{Sent, Upstream};
use super::session::Session;
use super::stream::exhausted;
use crate::registry::{Admitted, Ruling};

/// How an HTTP tunnel ended, and how many requests there were.
pub(super) enum Ended {
    /// The stream is over.
    Over(CloseCode, GateCounts),
    /// It is a WebSocket from here.
    Upgraded(Box<Upgraded>, GateCounts),
}

/// Carries requests between client and machine.
pub(super) async fn carry(
    session: &Session,
    permit: Arc<Permit>,
    (tunnel, view_only): (&Admitted, bool),
    (machine, shears): (Line, Shears),
    (send, recv): (&mut SendStream, &mut RecvStream),
) -> Ended {
    let reading = Reading::default();
    let desk = Desk {
        session,
        tunnel,
        view_only,
        reading: &reading,
        ledger: Ledger::new(tunnel.id),
        upstream: tokio::sync::Mutex::new(Place { line: Some(machine), upstream: None, is_spent: false }),
        shears: shears.clone(),
        upgraded: Mutex::new(None),
        parted: OnceLock::new(),
    };
    let end = desk.serve(Arc::clone(&permit), (&mut *send, &mut *recv)).await;
    let upgraded = desk.upgraded.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let (End::Served, Some(upgraded)) = (end, upgraded) {
        record(session, &desk.ledger).await;
        return Ended::Upgraded(Box::new(upgraded), desk.counts());
    }
    let mut code = match end {
        End::Served => desk.parted.get().map_or(CloseCode::Done, |failure| CloseCode::Failed(*failure)),
        End::Lost => CloseCode::Done,
        End::Broken => CloseCode::Failed(Failure::Broken),
        End::Stopped(code) => code,
    };
    match reading.unanswered_fault() {
        Some(fault) if matches!(end, End::Served | End::Broken) => {
            let page = page::raw(fault, permit.service().name.as_str());
            let _gone = tokio::time::timeout(super::PATIENCE, send.write_all(&page)).await;
            recv.stop(CloseCode::Done.number());
            let _reset_before = send.finish();
            code = CloseCode::Failed(Failure::NotUnderstood);
        }
        Some(_) | None if matches!(end, End::Served) => {
            recv.stop(CloseCode::Done.number());
            let _reset_before = send.finish();
        }
        Some(_) | None => {
            shears.open();
            send.reset(code.number());
            recv.stop(code.number());
        }
    }
    record(session, &desk.ledger).await;
    Ended::Over(code, desk.counts())
}

/// How the serving of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Everything that was asked is answered, and nothing more is.
    Served,
    /// The client abandoned the tunnel: nothing is wrong here.
    Lost,
    /// An answer could not be finished.
    Broken,
    /// The registry or a limit stopped it.
    Stopped(CloseCode),
}

/// Where the requests of one tunnel are answered.
struct Desk<'a> {
    session: &'a Session,
    tunnel: &'a Admitted,
    /// Whether the client wishes to look only.
    view_only: bool,
    reading: &'a Reading,
    ledger: Arc<Ledger>,
    upstream: tokio::sync::Mutex<Place>,
    shears: Shears,
    /// What the connection turns into when it is served.
    upgraded: Mutex<Option<Upgraded>>,
    /// Why the machine is spoken to no more.
    parted: OnceLock<Failure>,
}

/// The place of the one connection to the machine.
struct Place {
    /// Dialled, and not used yet.
    line: Option<Line>,
    upstream: Option<Upstream>,
    /// It took a request with a body, so that it takes no other one.
    is_spent: bool,
}

impl Desk<'_> {
    /// Serves the client until the connection ends or must.
    async fn serve(&self, mut permit: Arc<Permit>, (send, recv): (&mut SendStream, &mut RecvStream)) -> End {
        let mut reins = self.tunnel.leash.reins();
        let mut gone = std::pin::pin!(send.stopped());
        let guarded = Guarded::new(send, recv, self.reading);
        let service = service_fn(|request| self.answer(request));
        let serving = server().serve_connection(guarded, service).without_shutdown();
        let mut serving = std::pin::pin!(serving);
        let mut recording = JoinSet::new();
        loop {
            tokio::select! {
                // A ruling goes before bytes that are ready.
                biased;
                ruling = reins.changed() => match ruling {
                    Ruling::Permitted(newer) => {
                        if newer.service().upstream() != permit.service().upstream() {
                            // Other keys are pinned, or another host is meant: what is connected is not what is permitted.
                            return End::Stopped(CloseCode::Denied(Reason::Revoked));
                        }
                        if let Err(reason) = self.judge_again(&newer) {
                            return End::Stopped(CloseCode::Denied(reason));
                        }
                        permit = newer;
                    }
                    Ruling::Cut(code) => return End::Stopped(code),
                },
                failure = exhausted(&permit, &self.tunnel.meter) => return End::Stopped(CloseCode::Failed(failure)),
                _stopped = &mut gone => return End::Lost,
                () = self.ledger.due(), if recording.is_empty() => {
                    let (auditor, rows) = (self.session.context.auditor.clone(), self.ledger.take_rows());
                    // Beside the tunnel: a slow disk must not hold up a cut.
                    recording.spawn(async move {
                        for row in rows {
                            if let Err(error) = auditor.record(row).await {
                                tracing::debug!(%error, "requests were not recorded");
                            }
                        }
                    });
                }
                Some(_written) = recording.join_next() => {}
                served = &mut serving => return match served {
                    Ok(_parts) => End::Served,
                    Err(error) => {
                        tracing::debug!(%error, "an HTTP tunnel broke");
                        if self.reading.is_lost() { End::Lost } else { End::Broken }
                    }
                },
            }
        }
    }

    /// Answers one request.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Carried>, Infallible> {
        let permit = match self.permit() {
            Ok(permit) => permit,
            Err(answered) => return Ok(page::answer(answered, "", request.headers()).map(Carried::page)),
        };
        let service = permit.service();
        let name = service.name.as_str();
        let page = |answered| page::answer(answered, name, request.headers()).map(Carried::page);
        // What was read strictly and what hyper read are one request, or none is answered.
        let Some(head) = self.reading.take_head().filter(|head| is_same(head, &request)) else {
            return Ok(page(Answered::Failed(Failure::Internal)));
        };
        let target = match Target::parse(&head.target) {
            Ok(target) => target,
            Err(fault) => return Ok(page(Answered::Fault(fault.into()))),
        };
        let current =
            Current { method: head.method.clone(), target: head.target.clone(), upgrade: head.upgrade };
        let log = if let Rules::Http(rules) = &service.rules { rules.log } else { PathLog::Full };
        let mut flight = self.ledger.begin(current, target.path(), log);
        let accept = request.headers().get(ACCEPT).cloned();
        let answer = match &service.rules {
            Rules::Http(_) | Rules::Websocket(_) if head.upgrade => self
                .upgrade(request, &head, &target, &mut flight)
                .await
                .map(|response| response.map(|()| None)),
            Rules::Http(rules) => {
                let asked = Asked { method: &head.method, target, upgrade: false };
                match judge(&rules.allow, permit.mode(), &asked) {
                    Ok(()) => {
                        self.forward(request, &head, rules, &permit).await.map(|response| response.map(Some))
                    }
                    Err(reason) => Err(Answered::Denied(reason)),
                }
            }
            Rules::Websocket(_) => Err(Answered::UpgradeRequired),
            Rules::Vpn | Rules::Vnc(_) => Err(Answered::Failed(Failure::Internal)),
        };
        Ok(match answer {
            Ok(response) => {
                flight.answered(response.status().as_u16());
                response
                    .map(|body| body.map_or(Carried::Page(None), |body| Carried::Machine { body, flight }))
            }
            Err(answered) => {
                let mut response = refuse(answered, name, accept, flight);
                if has_body(&head) || self.parted.get().is_some() {
                    // What the client still sends of this request is nobody's.
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
        })
    }

    /// Has the machine answer a request that was judged.
    async fn forward(
        &self,
        request: Request<Incoming>,
        head: &Head,
        rules: &HttpRules,
        permit: &Permit,
    ) -> Result<Response<Incoming>, Answered> {
        let (mut parts, body) = request.into_parts();
        let site = forward::site(permit, &rules.upstream);
        forward::prepare(&mut parts, head, &site);
        if rules.identity {
            forward::identify(&mut parts, permit, self.tunnel);
        }
        if let Some(credential) = &rules.credential {
            let secrets = &self.session.context.secrets;
            forward::log_in(&mut parts, login::basic(credential, secrets).map_err(Answered::Failed)?);
        }
        let has_body = has_body(head);
        if has_body {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let body = if has_body { Sent::Streamed(body) } else { Sent::Whole(None) };
        let asking = tokio::time::timeout(ANSWER_WITHIN, self.ask(parts, body, has_body, permit));
        let response = match asking.await {
            Ok(Ok(response)) => response,
            // Whatever broke, broke because the client's own body did.
            Ok(Err(answered)) => return Err(self.reading.fault().map_or(answered, Answered::Fault)),
            Err(_elapsed) => return Err(Answered::Late),
        };
        if response.status() == StatusCode::UNAUTHORIZED && rules.credential.is_some() {
            // A browser would ask for a password that nobody is meant to know.
            return Err(Answered::Failed(Failure::Login));
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Answered::Garbled);
        }
        let (mut parts, body) = response.into_parts();
        forward::tidy(&mut parts, &site);
        Ok(Response::from_parts(parts, body))
    }

    /// Sends a request on the connection to the machine, or on a new one if that is over.
    async fn ask(
        &self,
        parts: Parts,
        body: Sent,
        has_body: bool,
        permit: &Permit,
    ) -> Result<Response<Incoming>, Answered> {
        let mut place = self.upstream.lock().await;
        let (mut upstream, is_fresh) = match place.take().await {
            Some(upstream) => (upstream, false),
            None => (self.connect(&mut place, permit).await?, true),
        };
        let again = (!has_body).then(|| parts.clone());
        let mut sent = upstream.send(Request::from_parts(parts, body)).await;
        if let Err(error) = &mut sent {
            // A machine may close a connection at the moment at which the next request comes. What it has not read is sent
            // again, and so is what only asks and has no answer; once.
            let request = match (error.take_message(), again) {
                (Some(request), _) => request,
                (None, Some(parts)) if !is_fresh => Request::from_parts(parts, Sent::Whole(None)),
                (None, _) => return Err(Answered::Garbled),
            };
            upstream = self.connect(&mut place, permit).await?;
            sent = upstream.send(request).await;
        }
        // Held also when it is spent: it still brings the body of the answer.
        (place.upstream, place.is_spent) = (Some(upstream), has_body);
        sent.map_err(|_error| Answered::Garbled)
    }

    async fn connect(&self, place: &mut Place, permit: &Permit) -> Result<Upstream, Answered> {
        let line = match place.line.take() {
            Some(line) => line,
            None => {
                let dialled = self.dial(permit, &self.tunnel.meter, &self.shears).await;
                if let Err(Answered::Failed(failure @ Failure::MachineKey)) = dialled {
                    // It was another machine until now, or is another one from here: whoever may say which is told by the trail.
                    let _once = self.parted.set(failure);
                }
                dialled?
            }
        };
        Upstream::over(line).await.map_err(|_error| Answered::Garbled)
    }

    /// A line for a WebSocket: that of this tunnel, or one of its own.
    async fn line_for(&self, tunnel: Option<&Admitted>, permit: &Permit) -> Result<(Line, Shears), Answered> {
        let Some(tunnel) = tunnel else {
            let line = self.upstream.lock().await.line.take();
            let line = match line {
                Some(line) => line,
                None => self.dial(permit, &self.tunnel.meter, &self.shears).await?,
            };
            return Ok((line, self.shears.clone()));
        };
        let shears = Shears::default();
        Ok((self.dial(permit, &tunnel.meter, &shears).await?, shears))
    }

    async fn dial(&self, permit: &Permit, meter: &Arc<Meter>, shears: &Shears) -> Result<Line, Answered> {
        Line::dial(&self.session.context, permit, meter, shears).await.map_err(Answered::Failed)
    }

    /// Goes on as a WebSocket when the answer is written.
    fn keep(&self, upgraded: Upgraded) {
        *self.upgraded.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgraded);
    }

    fn counts(&self) -> GateCounts {
        let Totals { passed, refused } = self.ledger.totals();
        GateCounts::Http(Tally { forwarded: passed, dropped: refused })
    }

    /// The permit of this moment.
    fn permit(&self) -> Result<Arc<Permit>, Answered> {
        match self.tunnel.leash.ruling() {
            Ruling::Permitted(permit) => Ok(permit),
            // What is cut in this moment is answered no more; should somebody still read it, it says why.
            Ruling::Cut(CloseCode::Denied(reason)) => Err(Answered::Denied(reason)),
            Ruling::Cut(CloseCode::Failed(failure)) => Err(Answered::Failed(failure)),
            Ruling::Cut(CloseCode::Done | CloseCode::Fault(_) | CloseCode::Unknown(_)) => {
                Err(Answered::Failed(Failure::Ended))
            }
        }
    }

    /// Judges the request in flight by a newer permit.
    fn judge_again(&self, newer: &Permit) -> Result<(), Reason> {
        let current = self.ledger.current().filter(|current| !current.upgrade);
        let Some(Current { method, target, .. }) = current else { return Ok(()) };
        match (&newer.service().rules, Target::parse(&target)) {
            (Rules::Http(rules), Ok(target)) => {
                judge(&rules.allow, newer.mode(), &Asked { method: &method, target, upgrade: false })
            }
            (Rules::Vpn | Rules::Vnc(_) | Rules::Http(_) | Rules::Websocket(_), _) => Err(Reason::Revoked),
        }
    }
}

impl Place {
    /// The connection, if it can take another request.
    async fn take(&mut self) -> Option<Upstream> {
        let mut upstream = self.upstream.take()?;
        (!self.is_spent && upstream.is_ready().await).then_some(upstream)
    }
}

/// Whether what hyper read is what was read strictly.
fn is_same(head: &Head, request: &Request<Incoming>) -> bool {
    let target = request.uri().path_and_query().map(hyper::http::uri::PathAndQuery::as_str);
    *head.method == *request.method().as_str() && target == Some(&*head.target)
}

const fn has_body(head: &Head) -> bool {
    !matches!(head.framing, Framing::None | Framing::Length(0))
}

fn refuse(
    answered: Answered,
    service: &str,
    accept: Option<HeaderValue>,
    mut flight: Flight,
) -> Response<Carried> {
    let request: HeaderMap = accept.map(|accept| (ACCEPT, accept)).into_iter().collect();
    let response = page::answer(answered, service, &request);
    flight.answered(response.status().as_u16());
    flight.refused(match answered {
        Answered::Denied(reason) => Some(reason),
        Answered::Failed(_)
        | Answered::Late
        | Answered::Garbled
        | Answered::Fault(_)
        | Answered::Handshake(_)
        | Answered::UpgradeRequired => None,
    });
    response.map(Carried::page)
}

/// The body of an answer.
enum Carried {
    /// The gate's own.
    Page(Option<Bytes>),
    /// The machine's, on its way.
    Machine { body: Incoming, flight: Flight },
}

impl Carried {
    fn page(bytes: Vec<u8>) -> Self {
        Self::Page(Some(bytes.into()))
    }
}

impl Body for Carried {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Page(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Machine { body, flight } => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                if let Some(Ok(frame)) = &frame {
                    match frame.data_ref() {
                        Some(data) => flight.count(data.len()),
                        // Trailers end at this hop; nothing follows them.
                        None => return Poll::Ready(None),
                    }
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Page(bytes) => bytes.is_none(),
            Self::Machine { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Page(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Machine { body, .. } => body.size_hint(),
        }
    }
}

/// How the gate speaks to clients.
fn server() -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    // The end of the client's bytes ends no answer, and `Date` is the machine's.
    builder.half_close(true).auto_date_header(false).preserve_header_case(true);
    builder.max_headers(postern_protocol::gate::http::strict::HEADERS).max_buf_size(upstream::BUFFER_BYTES);
    builder
}

/// Writes what is left to record.
async fn record(session: &Session, ledger: &Ledger) {
    for row in ledger.take_rows() {
        if let Err(error) = session.context.auditor.record(row).await {
            tracing::debug!(%error, "requests were not recorded");
        }
    }
}

/// Within which a machine must begin to answer; a page that waits for news asks again before.
const ANSWER_WITHIN: Duration = Duration::from_secs(90);
