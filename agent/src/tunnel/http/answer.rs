//! Answers one request: judged, forwarded and answered by the machine, or answered here with the reason why not.
//!
//! Where the service has a login, its turn is waited for first: see `rest`. A machine that demands one is asked once more. That needs the body a second time: a small one is kept; a
//! large one goes on as it comes, under the nonce of an earlier request. If it is refused all the same, the client reads that it
//! may send it again. Nothing is asked a third time.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONNECTION, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::time::Instant;

use postern_protocol::gate::http::{Asked, Framing, Head, Site, Target, judge};
use postern_protocol::policy::{Credential, HttpRules, PathLog, Permit, Rules};
use postern_protocol::wire::registry::Failure;

use super::carried::{self, Carried, Passing};
use super::ledger::{Current, Flight};
use super::page::{self, Answered};
use super::rest::Turn;
use super::upstream::{self, Sent};
use super::{Desk, forward, login};

impl Desk<'_> {
    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Response<Carried>, Infallible> {
        let permit = match self.permit() {
            Ok(permit) => permit,
            Err(answered) => return Ok(page::answer(answered, "", request.headers()).map(carried::page)),
        };
        let service = permit.service();
        let name = service.name.as_str();
        let page = |answered| page::answer(answered, name, request.headers()).map(carried::page);
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
        let log =
            if let Some(Rules::Http(rules)) = service.reach.rules() { rules.log } else { PathLog::Full };
        let mut flight = self.ledger.begin(current, target.path(), log);
        if flight.is_unrecorded() {
            return Ok(page(Answered::Failed(Failure::Recording)));
        }
        let accept = request.headers().get(ACCEPT).cloned();
        let answer = match service.reach.rules() {
            Some(Rules::Http(_) | Rules::Websocket(_)) if head.upgrade => self
                .upgrade(request, &head, &target, &mut flight)
                .await
                .map(|response| response.map(|()| None)),
            Some(Rules::Http(rules)) => {
                let asked = Asked { method: &head.method, target, upgrade: false };
                match judge(&rules.allow, permit.closed(), permit.mode(), &asked) {
                    Ok(()) => {
                        self.forward(request, &head, rules, &permit).await.map(|response| response.map(Some))
                    }
                    Err(reason) => Err(Answered::Denied(reason)),
                }
            }
            Some(Rules::Websocket(_)) => Err(Answered::UpgradeRequired),
            Some(Rules::Vnc(_)) | None => Err(Answered::Failed(Failure::Internal)),
        };
        Ok(match answer {
            Ok(response) => {
                flight.answered(response.status().as_u16());
                response.map(|body| {
                    body.map_or_else(
                        || carried::page(Vec::new()),
                        |body| Carried::Right(Passing { body, flight }),
                    )
                })
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
        if has_body(head) {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let Some(credential) = &rules.credential else {
            let body = if has_body(head) { Sent::Right(body) } else { upstream::nothing() };
            let response = self.in_time(self.ask(parts, body, has_body(head), permit)).await?;
            return passed_on(response, &site, false);
        };
        let secrets = &self.session.context.secrets;
        // A body that may be wanted twice is kept, where it is small enough.
        let (kept, first) = match head.framing {
            _ if !has_body(head) => (Some(Full::default()), upstream::nothing()),
            Framing::Length(length) if login::keeps(credential, length) => {
                let whole = Full::new(self.in_time(upstream::whole(body)).await?);
                (Some(whole.clone()), Sent::Left(whole))
            }
            Framing::None | Framing::Length(_) | Framing::Chunked => (None, Sent::Right(body)),
        };
        let turn = self.in_time(self.turn(permit, credential)).await?;
        let mut is_sent = self.login.prepare(&mut parts, credential, secrets).map_err(Answered::Failed)?;
        let mut response = self.in_time(self.ask(parts.clone(), first, has_body(head), permit)).await?;
        if self.login.may_ask_again(credential, &response).map_err(Answered::Failed)? {
            let Some(kept) = kept else { return Err(Answered::AskAgain) };
            drop(response);
            is_sent = self.login.prepare(&mut parts, credential, secrets).map_err(Answered::Failed)?;
            response = self.in_time(self.ask(parts, Sent::Left(kept), has_body(head), permit)).await?;
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            // A browser would ask for a password that nobody is meant to know.
            self.login.forget();
            return Err(not_taken(turn, is_sent).await);
        }
        turn.taken();
        self.login.learn(response.headers());
        passed_on(response, &site, true)
    }

    /// Waits until a login may be sent.
    pub(super) async fn turn(&self, permit: &Permit, credential: &Credential) -> Result<Turn, Answered> {
        let context = &self.session.context;
        let version = context.secrets.version(&credential.secret);
        let version = version.ok_or(Answered::Failed(Failure::Secret))?;
        let target = permit.target().ok_or(Answered::Failed(Failure::Internal))?;
        let turn = context.logins.turn(target, credential, version).await;
        turn.map_err(resting)
    }

    /// Waits for something of the machine, for as long as bytes of the request or answer still move.
    async fn in_time<T>(&self, asking: impl Future<Output = Result<T, Answered>>) -> Result<T, Answered> {
        let (began, mut asking) = (Instant::now(), std::pin::pin!(asking));
        loop {
            let quiet = self.tunnel.meter.idle().min(began.elapsed());
            let Some(left) = WITHIN.checked_sub(quiet).filter(|left| !left.is_zero()) else {
                return Err(Answered::Late);
            };
            if let Ok(answer) = tokio::time::timeout(left, &mut asking).await {
                // Whatever broke, broke because the client's own body did.
                return answer.map_err(|answered| self.reading.fault().map_or(answered, Answered::Fault));
            }
        }
    }
}

/// What a client reads of a login that the machine has not taken. One that was never sent is no attempt.
pub(super) async fn not_taken(turn: Turn, is_sent: bool) -> Answered {
    if !is_sent {
        return Answered::Failed(Failure::Login);
    }
    let left = turn.refused().await;
    if left.is_zero() {
        return Answered::Failed(Failure::Login);
    }
    tracing::warn!("a machine refused the device's login, which rests now");
    resting(left)
}

/// Seconds, rounded up: who comes back then is not told the same again.
fn resting(left: Duration) -> Answered {
    Answered::Resting(left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0)))
}

/// An answer as the client gets it.
fn passed_on(
    response: Response<Incoming>,
    site: &Site,
    logs_in: bool,
) -> Result<Response<Incoming>, Answered> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Answered::Garbled);
    }
    let (mut parts, body) = response.into_parts();
    forward::tidy(&mut parts, site);
    if logs_in {
        forward::keep_login(&mut parts);
    }
    Ok(Response::from_parts(parts, body))
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
        | Answered::Resting(_)
        | Answered::AskAgain
        | Answered::Fault(_)
        | Answered::Handshake(_)
        | Answered::UpgradeRequired => None,
    });
    response.map(carried::page)
}

/// Within which a machine must begin to answer, counted from the last byte of the request; a page that waits for news asks again before.
pub(super) const WITHIN: Duration = Duration::from_secs(90);
