//! The change from HTTP to WebSocket, which is a right of its own.
//!
//! 1. The offer is read strictly. On a WebSocket service it is judged by the rules of that service.
//! 2. On an HTTP service the caller needs a WebSocket service of the same machine that grants the path: it is decided and recorded
//!    as a tunnel of its own, beside the one that it came on. Without it nothing is forwarded, also not as a plain `GET`.
//! 3. The machine is asked on a new connection. Only what a WebSocket needs is offered, with the origin that the policy names.
//! 4. What it answers must be a change to WebSocket without extensions, or the client reads that it was none.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1::Parts as Switched;
use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, ORIGIN, UPGRADE};
use hyper::{Request, Response, StatusCode};

use postern_protocol::audit::Event;
use postern_protocol::gate::http::judge::matches;
use postern_protocol::gate::http::{Head, Target};
use postern_protocol::gate::websocket::{HandshakeFault, Offer};
use postern_protocol::policy::{Permit, Reason, Rules, WebsocketRules};
use postern_protocol::wire::registry::Failure;

use super::page::Answered;
use super::upstream::{self, Sent};
use super::{Desk, Flight, Line, Shears, forward};
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
        let permit = self.permit()?;
        let (tunnel, permit) = match &permit.service().rules {
            Rules::Websocket(rules) if grants(rules, target) => (None, permit),
            Rules::Websocket(_) => return Err(Answered::Denied(Reason::PathDenied)),
            Rules::Http(_) => {
                let (tunnel, permit) = self.admit(&permit, target).await?;
                flight.leads_to(tunnel.id);
                (Some(tunnel), permit)
            }
            Rules::Vpn | Rules::Vnc(_) => return Err(Answered::Failed(Failure::Internal)),
        };
        let upgraded = self.switch(request, head, offer, tunnel.as_ref(), &permit).await;
        match upgraded {
            Ok((response, line, shears)) => {
                let Switched { io: line, read_buf: early, .. } = line;
                self.keep(Upgraded { tunnel, permit, line, shears, early });
                Ok(response)
            }
            Err(answered) => {
                if let Some(tunnel) = tunnel {
                    tunnel.leave();
                    let failure = match answered {
                        Answered::Failed(failure) => failure,
                        Answered::Denied(_)
                        | Answered::Late
                        | Answered::Garbled
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
        let fits = |rules: &Rules| matches!(rules, Rules::Websocket(rules) if grants(rules, target));
        let services = policy.snapshot().services.iter();
        let mut denied = None;
        for service in
            services.filter(|service| service.target == permit.service().target && fits(&service.rules))
        {
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
        tunnel: Option<&Admitted>,
        permit: &Permit,
    ) -> Result<(Response<()>, Switched<Line>, Shears), Answered> {
        let Rules::Websocket(rules) = &permit.service().rules else {
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
        let (line, shears) = self.line_for(tunnel, permit).await?;
        let request = Request::from_parts(parts, Sent::Whole(None));
        let asking = tokio::time::timeout(WITHIN, ask(line, request)).await;
        let (response, line) = asking.map_err(|_elapsed| Answered::Late)??;
        offer
            .check_answer(response.status().as_u16(), named(response.headers()))
            .map_err(Answered::Handshake)?;
        let (mut parts, ()) = response.into_parts();
        forward::tidy(&mut parts, &site);
        parts.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        Ok((Response::from_parts(parts, ()), line, shears))
    }
}

/// Sends the upgrade and waits for the change. Any other answer is none.
async fn ask(line: Line, request: Request<Sent>) -> Result<(Response<()>, Switched<Line>), Answered> {
    let garbled = |_error| Answered::Garbled;
    let (mut sender, connection) = upstream::builder().handshake(line).await.map_err(garbled)?;
    let mut sending = std::pin::pin!(sender.send_request(request));
    let mut changing = std::pin::pin!(connection.without_shutdown());
    let (response, line) = tokio::select! {
        biased;
        response = &mut sending => {
            let response = response.map_err(garbled)?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Err(Answered::Handshake(HandshakeFault::Answer));
            }
            (response, changing.await.map_err(garbled)?)
        }
        line = &mut changing => (sending.await.map_err(garbled)?, line.map_err(garbled)?),
    };
    Ok((response.map(|_no_body| ()), line))
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
