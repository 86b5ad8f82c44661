//! One local connection: its requests, one after the other, and its tunnel.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::http::uri::PathAndQuery;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

use postern_transport::crowd::Word;

use crate::connect::web::body::{Payload, Served};
use crate::connect::web::door::{Asked, Entrance, Entry};
use crate::connect::web::page::{self, Reader};
use crate::connect::web::socket::CutFlag;
use crate::connect::web::tunnel::{self, Tunnel};
use crate::connect::web::{Web, heads};
use crate::problem::Problem;

/// Whoever has made one local connection.
#[derive(Debug)]
pub(super) struct Caller {
    web: Arc<Web>,
    word: Word,
    cut: CutFlag,
    tunnel: tokio::sync::Mutex<Option<Tunnel>>,
    upgraded: Mutex<Option<Upgraded>>,
    problem: Mutex<Option<Problem>>,
}

/// Both ends of an upgrade that the machine has accepted.
#[derive(Debug)]
struct Upgraded {
    near: OnUpgrade,
    far: OnUpgrade,
    tunnel: Tunnel,
    /// Until it ends.
    _served: Served,
}

impl Caller {
    pub(super) fn new(web: Arc<Web>, word: Word, cut: CutFlag) -> Self {
        Self {
            web,
            word,
            cut,
            tunnel: tokio::sync::Mutex::new(None),
            upgraded: Mutex::new(None),
            problem: Mutex::new(None),
        }
    }

    /// Answers a request, with the machine's words where it may pass.
    pub(super) async fn answer(&self, mut request: Request<Incoming>) -> Response<Payload> {
        let reader = Reader::of(request.headers());
        let upgrade = heads::is_upgrade(request.headers());
        let asked =
            Asked { method: request.method(), target: request.uri(), headers: request.headers(), upgrade };
        match self.web.door.judge(&asked) {
            Ok(Entry::Pass(target)) => {
                let near = upgrade.then(|| hyper::upgrade::on(&mut request));
                let served = Served::new(&self.word);
                let outcome = self.forward(request, target, near, served).await;
                self.note(outcome.as_ref().err());
                outcome.unwrap_or_else(|problem| reader.answer(page::status_of(&problem), &problem))
            }
            Ok(Entry::Enter(entrance)) => {
                let _served = Served::new(&self.word);
                self.enter(entrance, reader).await
            }
            Err(refused) => {
                let problem = Problem::from(refused);
                self.note(Some(&problem));
                page::and_goodbye(reader.answer(refused.status(), &problem))
            }
        }
    }

    /// Leads a browser in. Where it begins is known to the device, which is asked for the tunnel at once.
    async fn enter(&self, mut entrance: Entrance, reader: Reader) -> Response<Payload> {
        if !entrance.at_start {
            return page::entrance(&entrance);
        }
        match Tunnel::open(&self.web).await {
            Ok(tunnel) => {
                entrance.begin_at(tunnel.start());
                *self.tunnel.lock().await = Some(tunnel);
                self.note(None);
                page::entrance(&entrance)
            }
            // The link is used up; the cookie lets the browser in when the reason is gone.
            Err(problem) => {
                self.note(Some(&problem));
                page::with_cookie(reader.answer(page::status_of(&problem), &problem), &entrance)
            }
        }
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
        target: PathAndQuery,
        near: Option<OnUpgrade>,
        served: Served,
    ) -> Result<Response<Payload>, Problem> {
        let (mut head, body) = request.into_parts();
        heads::towards_machine(&mut head.headers, near.is_some());
        head.uri = Uri::from(target);
        head.version = Version::HTTP_11;
        // What the browser breaks off is its own affair; only what the tunnel breaks off is a cut.
        let request = Request::from_parts(head, Payload::carried(body, CutFlag::default()));
        let mut slot = self.tunnel.lock().await;
        let mut response = tunnel::send(&self.web, &mut slot, request).await?;
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        heads::towards_browser(response.headers_mut(), switches);
        if switches {
            let (Some(near), Some(tunnel)) = (near, slot.take()) else { return Err(Problem::no_answer()) };
            let far = hyper::upgrade::on(&mut response);
            *lock(&self.upgraded) = Some(Upgraded { near, far, tunnel, _served: served });
            return Ok(response.map(|body| Payload::carried(body, self.cut.clone())));
        }
        Ok(response.map(|body| Payload::served(body, self.cut.clone(), served)))
    }

    /// Carries bytes both ways after an upgrade; does nothing where there was none.
    pub(super) async fn carry_upgraded(&self) {
        let Some(Upgraded { near, far, tunnel, _served }) = lock(&self.upgraded).take() else { return };
        let (Ok(near), Ok(far)) = (near.await, far.await) else { return };
        let (mut near, mut far) = (TokioIo::new(near), TokioIo::new(far));
        let copied = tokio::io::copy_bidirectional_with_sizes(
            &mut near,
            &mut far,
            UPGRADED_BUFFER_BYTES,
            UPGRADED_BUFFER_BYTES,
        )
        .await;
        let Some(problem) = tunnel.problem() else { return };
        if copied.is_err() {
            // A gate that says in a frame why it is over refuses to hear more and ends its own direction behind it.
            let rest = async {
                tokio::io::copy(&mut far, &mut near).await?;
                near.shutdown().await
            };
            if !matches!(tokio::time::timeout(LAST_BYTES, rest).await, Ok(Ok(()))) {
                self.cut.set();
            }
        }
        self.note(Some(&problem));
    }

    /// What the connection has come to.
    pub(super) async fn outcome(&self) -> Result<(), Problem> {
        if let Some(problem) = self.tunnel.lock().await.take().and_then(|tunnel| tunnel.problem()) {
            self.note(Some(&problem));
        }
        match lock(&self.problem).take() {
            Some(problem) if self.web.once => Err(problem),
            Some(_) | None => Ok(()),
        }
    }

    fn note(&self, problem: Option<&Problem>) {
        if let Some(problem) = problem {
            self.web.report(problem);
        }
        *lock(&self.problem) = problem.cloned();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A device that has not ended its words by then has gone.
const LAST_BYTES: Duration = Duration::from_secs(5);
/// One direction of an upgraded connection.
const UPGRADED_BUFFER_BYTES: usize = 16 * 1024;
