//! The place of the one connection to the machine, and how it is filled.
//!
//! 1. The first connection was dialled before the tunnel was accepted. One that is over is dialled again, at the address of the permit.
//! 2. A WebSocket takes the connection with it, or gets one of its own.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Request, Response};

use postern_protocol::policy::Permit;
use postern_protocol::wire::registry::Failure;
use postern_transport::splice::Meter;

use super::page::Answered;
use super::upstream::{self, Sent, Upstream};
use super::{Desk, Line, Shears};
use crate::registry::Admitted;

/// The place of the one connection to the machine.
pub(super) struct Place {
    /// Dialled, and not used yet.
    line: Option<Line>,
    upstream: Option<Upstream>,
    /// It took a request with a body, so that it takes no other one.
    is_spent: bool,
}

impl Desk<'_> {
    /// Sends a request on the connection to the machine, or on a new one if that is over.
    pub(super) async fn ask(
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
                (None, Some(parts)) if !is_fresh => Request::from_parts(parts, upstream::nothing()),
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
    pub(super) async fn line_for(
        &self,
        tunnel: Option<&Admitted>,
        permit: &Permit,
    ) -> Result<(Line, Shears), Answered> {
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
}

impl Place {
    /// A place with a connection that was dialled and not used yet.
    pub(super) const fn new(line: Line) -> Self {
        Self { line: Some(line), upstream: None, is_spent: false }
    }

    /// The connection, if it can take another request.
    async fn take(&mut self) -> Option<Upstream> {
        let mut upstream = self.upstream.take()?;
        (!self.is_spent && upstream.is_ready().await).then_some(upstream)
    }
}
