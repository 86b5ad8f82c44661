//! Answers the requests of the control socket from the parts of the running agent.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use data_encoding::HEXLOWER;
use serde::Serialize;
use tokio::sync::{Notify, mpsc};

use postern_protocol::audit::{AuditLine, Event};
use postern_protocol::id::DeviceId;
use postern_protocol::name::Name;
use postern_protocol::trust::LockTarget;
use postern_protocol::wire::text::Text;
use postern_transport::ladder::Ladder;

use super::proof::Proof;
use crate::anchor::Anchor;
use crate::audit::Auditor;
use crate::control::{Asked, Request, Response};
use crate::gate::Gate;
use crate::identity::DeviceKeys;
use crate::recordings::Recordings;
use crate::registry::Registry;
use crate::report::{
    AuditReport, PolicyReport, RootReport, SandboxReport, SessionReport, StatusReport, Verdict,
};
use crate::secrets::Secrets;
use crate::store::Store;
use crate::sync::LinkStatus;

/// What the answers are made of.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) device: DeviceId,
    pub(super) keys: Arc<DeviceKeys>,
    pub(super) anchor: Anchor,
    pub(super) boots: u32,
    pub(super) started: Instant,
    pub(super) listening: SocketAddr,
    pub(super) proof: Arc<Proof>,
    pub(super) sandbox: SandboxReport,
    pub(super) gate: Arc<Gate>,
    pub(super) registry: Arc<Registry>,
    pub(super) auditor: Auditor,
    pub(super) store: Store,
    pub(super) link: Arc<LinkStatus>,
    pub(super) ladder: Ladder,
    pub(super) secrets: Arc<Secrets>,
    pub(super) recordings: Arc<Recordings>,
    pub(super) stop: Arc<Notify>,
}

impl Answers {
    /// Answers until nobody can ask any more.
    pub(super) async fn serve(self, mut inbox: mpsc::Receiver<Asked>) {
        while let Some(Asked { request, uid, reply }) = inbox.recv().await {
            let response = self.answer(request, uid).await;
            let _gone = reply.send(response);
        }
    }

    async fn answer(&self, request: Request, uid: u32) -> Response {
        match request {
            Request::Status {} => report(&self.status()),
            Request::Sessions {} => {
                report(&self.registry.sessions().into_iter().map(SessionReport::from).collect::<Vec<_>>())
            }
            Request::Policy {} => report(&self.policy()),
            Request::Explain { user, service, at, second_factor_age_s } => {
                report(&Verdict::from(self.gate.explain(user, &service, at, second_factor_age_s)))
            }
            Request::AuditList { limit } => match self.store.newest(limit).await {
                Ok(rows) => report(&rows.into_iter().map(AuditLine::from).collect::<Vec<_>>()),
                Err(error) => Response::Refused(error.to_string()),
            },
            Request::AuditVerify {} => match self.store.verify().await {
                Ok(rows) => report(&rows),
                Err(error) => Response::Refused(error.to_string()),
            },
            Request::End { tunnel } => {
                let ended = self.registry.end(tunnel);
                self.record(uid, &format!("tunnel end {tunnel}")).await;
                report(&ended)
            }
            Request::SecretList {} => report(&self.secrets.list()),
            Request::SecretSet { name, sealed } => self.set_secret(uid, name, &sealed).await,
            Request::SecretRemove { name } => match self.store.forget_secret(name.clone()).await {
                Ok(false) => report(&false),
                Ok(true) => {
                    self.secrets.forget(&name);
                    self.record(uid, &format!("secret remove {name}")).await;
                    report(&true)
                }
                Err(error) => Response::Refused(error.to_string()),
            },
            Request::RotateKey {} | Request::Decommission {} | Request::RecordingRemove { .. }
                if !owns(uid) =>
            {
                Response::Refused(
                    "only root and the agent's own user may do that; run it with `sudo`".to_owned(),
                )
            }
            // The trail has a row of it from whoever removes it.
            Request::RecordingRemove { tunnel } => match self.recordings.remove(tunnel, uid).await {
                Some(removed) => report(&removed),
                None => Response::Refused(
                    "the disk does not answer; the recording may go later: see `recordings list`".to_owned(),
                ),
            },
            Request::RotateKey {} => match self.keys.prepare() {
                Ok(key) => {
                    self.record(uid, "key rotate").await;
                    report(&key.fingerprint())
                }
                Err(error) => Response::Refused(error.to_string()),
            },
            Request::Decommission {} => {
                self.record(uid, "decommission").await;
                self.secrets.forget_all();
                self.stop.notify_one();
                report(&true)
            }
        }
    }

    /// Keeps a secret that the caller has sealed: what comes over the socket is no plain text.
    async fn set_secret(&self, uid: u32, name: Name, sealed: &str) -> Response {
        let Ok(sealed) = HEXLOWER.decode(sealed.as_bytes()) else {
            return Response::Refused("a sealed secret is written in hexadecimal digits".to_owned());
        };
        if let Err(error) = self.secrets.receive(&name, &sealed) {
            return Response::Refused(error.to_string());
        }
        // No await between the two: what was received comes before any commit that seals to another key.
        if let Err(error) = self.store.keep_secret(name.clone(), sealed).await {
            self.secrets.discard();
            return Response::Refused(error.to_string());
        }
        self.secrets.keep();
        self.record(uid, &format!("secret set {name}")).await;
        report(&())
    }

    /// Records a command that changed something.
    async fn record(&self, uid: u32, command: &str) {
        let command = Text::clean(command);
        if let Err(error) = self.auditor.record(Event::Control { uid, command }).await {
            tracing::error!(%error, "a command of the local control was not recorded");
        }
    }

    fn status(&self) -> StatusReport {
        let (link, clock, fill) = (self.link.now(), self.gate.clock(), self.store.fill());
        StatusReport {
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            device: self.device,
            fingerprint: self.keys.public().fingerprint().to_string(),
            next_fingerprint: self.keys.next().map(|key| key.public().fingerprint().to_string()),
            boots: self.boots,
            uptime_s: self.started.elapsed().as_secs(),
            listening: self.listening,
            root: RootReport::of(&self.anchor.root(), clock.now()),
            self_test: self.proof.report(),
            sandbox: self.sandbox.clone(),
            policy: self.policy(),
            locks: self.locks(),
            hub: link.hub.map(|hub| hub.addr),
            hub_path: link.hub.map(|hub| hub.path),
            link_error: link.error,
            tls_opened: self.ladder.opened(),
            wanting: self.secrets.wanting(),
            tunnels: self.registry.sessions().len(),
            freshness: clock.freshness(),
            clock: clock.report(),
            alarms: clock.recent_alarms(),
            audit: AuditReport {
                used_kib: fill.used_kib(),
                limit_kib: fill.limit_kib(),
                percent: fill.percent(),
                waiting: fill.waiting(),
            },
        }
    }

    /// What is locked, each target once.
    fn locks(&self) -> Vec<LockTarget> {
        let policy = self.gate.policy();
        let found: BTreeSet<LockTarget> =
            policy.iter().flat_map(|index| index.locks().targets().cloned()).collect();
        found.into_iter().collect()
    }

    fn policy(&self) -> Option<PolicyReport> {
        self.gate.policy().map(|index| PolicyReport::of(&index, self.gate.clock().now()))
    }
}

/// Whoever could change the state directory as well.
fn owns(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

fn report<T: Serialize>(value: &T) -> Response {
    match serde_json::to_value(value) {
        Ok(value) => Response::Report(value),
        Err(error) => Response::Refused(format!("the answer has no JSON form: {error}")),
    }
}
