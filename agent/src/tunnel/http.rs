//! Carries an HTTP tunnel: one stream is one HTTP/1.1 connection, each request on it is judged alone, under the permit of that
//! moment.
//!
//! 1. `guarded` reads the client's bytes strictly; hyper sees only what can be read in one way.
//! 2. `answer` judges the request by the rules of the service. What is refused is answered with a `page` that says why.
//! 3. `forward` leaves out what ends at this hop or claims too much, and puts the rest in terms of the machine's own address; `login`
//!    adds what logs the device in, if the service says so.
//! 4. `upstream` asks the machine, over a connection that only this tunnel uses and that has its `place`. One that the machine has
//!    closed is dialled again, at the address of the permit.
//! 5. When the permit changes, the request that is being answered is judged again; if it is not permitted any more, the tunnel is
//!    cut in the middle of the answer.
//! 6. A login that the machine refuses is left alone for a while (`rest`), whoever asks.
//! 7. `ledger` has what is recorded of the requests.
//!
//! Memory is bounded whatever the peers send: a head of 16 KiB, [`upstream::BUFFER_BYTES`] in each direction, one chunk, and the body of
//! a request that may have to be sent twice ([`login::KEPT_BYTES`]). Time is bounded by the idle time and duration of the service, and by
//! [`answer::WITHIN`] for the head of an answer.

mod answer;
mod carried;
mod forward;
mod guarded;
mod ledger;
mod line;
mod login;
mod page;
mod place;
mod rest;
mod upgrade;
mod upstream;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hyper::service::service_fn;
use tokio::task::JoinSet;

use postern_protocol::audit::GateCounts;
use postern_protocol::gate::http::{Asked, Target, judge};
use postern_protocol::gate::rfb::Tally;
use postern_protocol::policy::{Permit, Reason, Rules};
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_transport::quic::{RecvStream, SendStream};

use self::guarded::{Guarded, Reading};
use self::ledger::{Current, Ledger, Totals};
pub(super) use self::line::{Line, Shears};
use self::login::Login;
pub(super) use self::login::Nonces;
use self::page::Answered;
use self::place::Place;
pub(crate) use self::rest::Logins;
pub(super) use self::upgrade::Upgraded;
use super::ending::exhausted;
use super::session::Session;
use crate::recordings::Fulfilled;
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
    fulfilled: &Fulfilled,
    (tunnel, view_only): (&Admitted, bool),
    (machine, shears): (Line, Shears),
    (send, recv): (&mut SendStream, &mut RecvStream),
) -> Ended {
    let (permit, recorder) = (Arc::clone(fulfilled.permit()), fulfilled.recorder());
    let reading = Reading::default();
    let mut desk = Desk {
        session,
        tunnel,
        view_only,
        reading: &reading,
        ledger: Ledger::new(tunnel.id, recorder.cloned()),
        upstream: tokio::sync::Mutex::new(Place::new(machine)),
        login: session.nonces.begin(&permit.service().name),
        shears: shears.clone(),
        upgraded: Mutex::new(None),
        parted: OnceLock::new(),
    };
    let end = desk.serve(Arc::clone(&permit), (&mut *send, &mut *recv)).await;
    session.nonces.end(&permit.service().name, std::mem::take(&mut desk.login));
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
    login: Login,
    shears: Shears,
    /// What the connection turns into when it is served.
    upgraded: Mutex<Option<Upgraded>>,
    /// Why the machine is spoken to no more.
    parted: OnceLock<Failure>,
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
                () = self.ledger.lost() => return End::Stopped(CloseCode::Failed(Failure::Recording)),
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
        match (newer.service().reach.rules(), Target::parse(&target)) {
            (Some(Rules::Http(rules)), Ok(target)) => {
                let asked = Asked { method: &method, target, upgrade: false };
                judge(&rules.allow, newer.closed(), newer.mode(), &asked)
            }
            (Some(Rules::Vnc(_) | Rules::Http(_) | Rules::Websocket(_)) | None, _) => Err(Reason::Revoked),
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
