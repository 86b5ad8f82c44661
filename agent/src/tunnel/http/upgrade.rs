//! The change from HTTP to WebSocket, which is a right of its own.
//!
//! 1. The offer is read strictly. On a WebSocket service it is judged by the rules of that service.
//! 2. On an HTTP service the caller needs a WebSocket service of the same machine that grants the path: it is decided and recorded
//!    as a tunnel of its own, beside the one that it came on. Without it nothing is forwarded, also not as a plain `GET`.
//! 3. The machine is asked on a new connection. Only what a WebSocket needs is offered, with the origin that the policy names.
//! 4. Where the service of the page has a login, the device logs in for the upgrade as well, and what the client sends in its place
//!    goes nowhere.
//! 5. What it answers must be a change to WebSocket without extensions, or the client reads that it was none.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1::Parts as Switched;
use hyper::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderName, HeaderValue, ORIGIN, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use postern_protocol::audit::Event;
use postern_protocol::gate::http::judge::matches;
use postern_protocol::gate::http::{Head, Target};
use postern_protocol::gate::websocket::{HandshakeFault, Offer};
use postern_protocol::policy::{Credential, Permit, Reach, Reason, Rules, WebsocketRules};
use postern_protocol::wire::registry::Failure;

use super::answer::not_taken;
use super::ledger::Flight;
use super::page::Answered;
use super::upstream::{self, Sent};
use super::{Desk, Line, Shears, forward};
use crate::registry::{Admitted, Refused};
use crate::tunnel::open;

/// A WebSocket between client and machine, before its first frame.
pub(in crate::tunnel) struct Upgraded {
    /// Its own tunnel; none where it came on one of a WebSocket service.
    pub(in crate::tunnel) tunnel: Option<Admitted>,
    /// What permits it.
    pub(in crate::tunnel) permit: Arc<Permit>,
    /// The machine's end.
    pub(in crate::tunnel) line: Line,
    /// Cuts it.
    pub(in crate::tunnel) shears: Shears,
    /// What the machine said behind its answer.
    pub(in crate::tunnel) early: Bytes,
}

impl Desk<'_> {
    /// Has the machine change to WebSocket. The frames begin when the answer was written.
    pub(super) async fn upgrade(
        &self,
        request: Request<Incoming>,
        head: &Head,
        target: &Target<'_>,
        flight: &mut Flight,
    ) -> Result<Response<()>, Answered> {
        let offer = Offer::read(named(request.headers())).map_err(Answered::Handshake)?;
        let pages = self.permit()?;
        let mut of_pages = None;
        let (tunnel, permit) = match pages.service().reach.rules() {
            Some(Rules::Websocket(rules)) if grants(rules, target) => (None, Arc::clone(&pages)),
            Some(Rules::Websocket(_)) => return Err(Answered::Denied(Reason::PathDenied)),
            Some(Rules::Http(rules)) => {
                let (tunnel, permit) = self.admit(&pages, target).await?;
                // It is the same machine, at the same address and port: the device logs in there as on its pages, if nobody else
                // can answer than there.
                let is_as_sure = permit.service().upstream().is_some_and(|own| own.tls == rules.upstream.tls);
                of_pages = rules.credential.as_ref().filter(|_| is_as_sure);
                flight.leads_to(tunnel.id);
                (Some(tunnel), permit)
            }
            Some(Rules::Vnc(_)) | None => return Err(Answered::Failed(Failure::Internal)),
        };
        let own = if let Some(Rules::Websocket(rules)) = permit.service().reach.rules() {
            rules.credential.as_ref()
        } else {
            None
        };
        let login = own.or(of_pages);
        let upgraded = self.switch(request, head, offer, (tunnel.as_ref(), &permit), login).await;
        match upgraded {
            Ok((response, line, shears)) => {
                let Switched { io: line, read_buf: early, .. } = line;
                self.keep(Upgraded { tunnel, permit, line: line.into_inner(), shears, early });
                Ok(response)
            }
            Err(answered) => {
                if let Some(tunnel) = tunnel {
                    tunnel.leave();
                    let failure = match answered {
                        Answered::Failed(failure) => failure,
                        Answered::Resting(_) => Failure::Login,
                        Answered::Denied(_)
                        | Answered::Late
                        | Answered::Garbled
                        | Answered::AskAgain
                        | Answered::Fault(_)
                        | Answered::Handshake(_)
                        | Answered::UpgradeRequired => Failure::Broken,
                    };
                    open::record(self.session, Event::Failed { tunnel: tunnel.id, failure }).await;
                }
                Err(answered)
            }
        }
    }

    /// Decides and records a tunnel to the WebSocket service of this machine that grants the path.
    async fn admit(&self, permit: &Permit, target: &Target<'_>) -> Result<(Admitted, Arc<Permit>), Answered> {
        let not_granted = Answered::Denied(Reason::WebsocketNotGranted);
        let context = &self.session.context;
        let policy = context.gate.policy().ok_or(not_granted)?;
        let own = permit.service().reach.target();
        let fits = |reach: &Reach| match reach {
            Reach::Place { target: place, rules: Rules::Websocket(rules) } => {
                Some(*place) == own && grants(rules, target)
            }
            Reach::Place { .. } | Reach::Flows(_) => false,
        };
        let services = policy.snapshot().services.iter();
        let mut denied = None;
        for service in services.filter(|service| fits(&service.reach)) {
            match self.session.admit(&service.name, self.view_only) {
                Ok((tunnel, permit)) => {
                    return open::recorded(self.session, tunnel, permit).await.map_err(Answered::Failed);
                }
                Err(Refused::Denied(denial) | Refused::Occupied { denial, .. }) => {
                    denied = Some((service.name.clone(), denial));
                }
                Err(Refused::Failed(failure)) => return Err(Answered::Failed(failure)),
            }
        }
        let Some((service, denial)) = denied else { return Err(not_granted) };
        if let Some(subject) = self.session.subject() {
            open::deny(self.session, &subject, service, &denial).await;
        }
        // Whoever has no grant learns nothing of the service; others learn what stands in their way.
        Err(if denial.reason() == Reason::NoGrant { not_granted } else { Answered::Denied(denial.reason()) })
    }

    /// Asks the machine.
    async fn switch(
        &self,
        request: Request<Incoming>,
        head: &Head,
        offer: Offer,
        (tunnel, permit): (Option<&Admitted>, &Permit),
        login: Option<&Credential>,
    ) -> Result<(Response<()>, Switched<TokioIo<Line>>, Shears), Answered> {
        let Some(Rules::Websocket(rules)) = permit.service().reach.rules() else {
            return Err(Answered::Denied(Reason::Revoked));
        };
        let offer = offer.narrow(&rules.subprotocols).ok_or(Answered::Denied(Reason::WebsocketNotGranted))?;
        let site = forward::site(permit, &rules.upstream);
        let (mut parts, _no_body) = request.into_parts();
        // It belongs to the client's end.
        parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        forward::prepare(&mut parts, head, &site);
        let origin = rules.origin.as_ref().map_or_else(|| site.to_text(), ToString::to_string);
        offered(&mut parts.headers, &offer, &origin);
        let turn = match login {
            Some(credential) => {
                let turn = tokio::time::timeout(WITHIN, self.turn(permit, credential)).await;
                Some(turn.map_err(|_elapsed| Answered::Late)??)
            }
            None => None,
        };
        let (mut reply, mut shears) = self.propose(&mut parts, tunnel, permit, login).await?;
        if let (Reply::Other(answer), Some(credential)) = (&reply, login)
            && self.login.may_ask_again(credential, answer).map_err(Answered::Failed)?
        {
            (reply, shears) = self.propose(&mut parts, tunnel, permit, login).await?;
        }
        let (response, line) = match (reply, turn) {
            (Reply::Other(answer), Some(turn)) if answer.status() == StatusCode::UNAUTHORIZED => {
                self.login.forget();
                return Err(not_taken(turn, parts.headers.contains_key(AUTHORIZATION)).await);
            }
            (reply, turn) => {
                if let Some(turn) = turn {
                    turn.taken();
                }
                match reply {
                    Reply::Changed(response, line) => (response, line),
                    Reply::Other(_) => return Err(Answered::Handshake(HandshakeFault::Answer)),
                }
            }
        };
        offer
            .check_answer(response.status().as_u16(), named(response.headers()))
            .map_err(Answered::Handshake)?;
        let (mut parts, ()) = response.into_parts();
        forward::tidy(&mut parts, &site);
        if login.is_some() {
            self.login.learn(&parts.headers);
            forward::keep_login(&mut parts);
        }
        parts.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        Ok((Response::from_parts(parts, ()), line, shears))
    }

    /// Proposes the upgrade on a connection of its own.
    async fn propose(
        &self,
        parts: &mut Parts,
        tunnel: Option<&Admitted>,
        permit: &Permit,
        login: Option<&Credential>,
    ) -> Result<(Reply, Shears), Answered> {
        if let Some(credential) = login {
            let secrets = &self.session.context.secrets;
            self.login.prepare(parts, credential, secrets).map_err(Answered::Failed)?;
        }
        let (line, shears) = self.line_for(tunnel, permit).await?;
        let request = Request::from_parts(parts.clone(), upstream::nothing());
        let asking = tokio::time::timeout(WITHIN, ask(line, request)).await;
        Ok((asking.map_err(|_elapsed| Answered::Late)??, shears))
    }
}

/// What a machine says to an upgrade.
enum Reply {
    /// It changes.
    Changed(Response<()>, Switched<TokioIo<Line>>),
    /// Something else.
    Other(Response<()>),
}

/// Sends the upgrade and waits for the change.
async fn ask(line: Line, request: Request<Sent>) -> Result<Reply, Answered> {
    let garbled = |_error| Answered::Garbled;
    let (mut sender, connection) =
        upstream::builder().handshake(TokioIo::new(line)).await.map_err(garbled)?;
    let mut sending = std::pin::pin!(sender.send_request(request));
    let mut changing = std::pin::pin!(connection.without_shutdown());
    let (response, line) = tokio::select! {
        biased;
        response = &mut sending => {
            let response = response.map_err(garbled)?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Reply::Other(response.map(|_unread| ())));
            }
            (response, changing.await.map_err(garbled)?)
        }
        line = &mut changing => (sending.await.map_err(garbled)?, line.map_err(garbled)?),
    };
    Ok(Reply::Changed(response.map(|_no_body| ()), line))
}

/// The headers of the upgrade, in place of the client's.
fn offered(headers: &mut HeaderMap, offer: &Offer, origin: &str) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(ORIGIN, forward::value(origin));
    headers.insert(VERSION, HeaderValue::from_static("13"));
    headers.insert(KEY, forward::value(offer.key()));
    headers.remove(PROTOCOL);
    offer.protocols().map(|protocols| headers.insert(PROTOCOL, forward::value(&protocols)));
}

fn grants(rules: &WebsocketRules, target: &Target<'_>) -> bool {
    rules.paths.iter().any(|pattern| matches(pattern, target.path()))
}

fn named(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}

const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");
const PROTOCOL: HeaderName = HeaderName::from_static("sec-websocket-protocol");
/// Within which a machine must answer an upgrade.
const WITHIN: Duration = Duration::from_secs(30);
