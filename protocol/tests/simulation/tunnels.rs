//! Live tunnels: `gate.rs`, `registry.rs` and `tunnel/open.rs` of the agent.

use std::sync::Arc;

use postern_protocol::audit::Event;
use postern_protocol::id::TunnelId;
use postern_protocol::path::{Path, Peer};
use postern_protocol::policy::{Ask, Circumstances, Denial, Permit, decide};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::pass::Presented;
use postern_protocol::trust::{Proof, Subject};
use postern_protocol::wire::registry::CloseCode;

use crate::bench::Bench;
use crate::cloud::{DEVICE, Whose, key};
use crate::device::{Device, boot_time};
use crate::disk::Job;
use crate::flaw::Flaw;
use crate::truth::{Place, service};

/// A tunnel that was admitted.
pub(crate) struct Tunnel {
    pub(crate) place: Place,
    /// Whether bytes go through it.
    pub(crate) carries: bool,
    subject: Arc<Subject>,
    until: UnixTime,
    /// The row that must be durable first.
    row: Option<u64>,
    opened: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Live,
}

impl Device {
    /// Somebody asks for a tunnel.
    pub(crate) fn admit(&mut self, place: Place, pass: &[u8], bench: &mut Bench) {
        let Some(subject) = self.know(place.0, pass, bench) else { return };
        let permit = match self.decide(&subject, place, Stage::Opening, None, bench) {
            Ok(permit) => permit,
            Err(denial) => {
                return bench.note("denied", u64::from(place.0), u64::from(denial.reason().number()));
            }
        };
        let order = self.next_tunnel;
        self.next_tunnel += 1;
        let event = Event::Permitted {
            tunnel: tunnel_id(order),
            user: permit.user(),
            service: permit.service().name.clone(),
            kind: permit.service().kind(),
            target: permit.service().reach.target(),
            mode: permit.mode(),
            origin: permit.origin().cloned(),
            version: permit.floor().version,
            peer: PEER,
            recorded: false,
        };
        let row = Job::Row(self.time(bench), event);
        let row = Some(self.disk.begin(row, &mut bench.chance, bench.now));
        let (until, carries) = (permit.until(), self.flaw == Flaw::CarriesBeforeRow);
        self.life.tunnels.insert(order, Tunnel { place, carries, subject, until, row, opened: bench.now });
        bench.note("admitted", order, u64::from(place.0));
        self.tend(bench);
    }

    /// Somebody is done with the oldest tunnel.
    pub(crate) fn leave(&mut self, bench: &mut Bench) {
        if let Some(order) = self.life.tunnels.keys().next().copied() {
            self.end(order, bench);
            self.tend(bench);
        }
    }

    /// Whether somebody could open a tunnel now.
    pub(crate) fn would_open(&mut self, place: Place, pass: &[u8], bench: &mut Bench) -> bool {
        let subject = self.know(place.0, pass, bench);
        subject.is_some_and(|subject| self.decide(&subject, place, Stage::Opening, None, bench).is_ok())
    }

    /// Decides every live tunnel again, oldest first; how many were cut.
    pub(crate) fn judge(&mut self, bench: &mut Bench) -> u32 {
        let orders: Vec<u64> = self.life.tunnels.keys().copied().collect();
        let mut cut = 0;
        for order in orders {
            let Some(tunnel) = self.life.tunnels.get(&order) else { continue };
            let (subject, place) = (Arc::clone(&tunnel.subject), tunnel.place);
            let decided = self.decide(&subject, place, Stage::Live, Some(order), bench);
            match (decided, self.life.tunnels.get_mut(&order)) {
                (Ok(permit), Some(tunnel)) => {
                    tunnel.until = permit.until();
                    if self.flaw == Flaw::RevivesTunnels && tunnel.row.is_none() {
                        tunnel.carries = true;
                    }
                }
                (Err(_), Some(tunnel)) if self.flaw == Flaw::RevivesTunnels => {
                    tunnel.carries = false;
                    self.cut.push(order);
                }
                (Ok(_) | Err(_), _) => {
                    self.end(order, bench);
                    cut += 1;
                }
            }
        }
        cut
    }

    /// Judges when a permit has run out.
    pub(crate) fn edges(&mut self, bench: &mut Bench) {
        if self.next_edge(bench).is_some_and(|edge| edge <= bench.now) {
            let cut = self.judge(bench);
            if cut == 0 {
                self.life.edge_pause = bench.now + EDGE_PAUSE;
            }
            bench.note("a permit ran out", cut.into(), 0);
        }
    }

    /// When the first permit runs out.
    pub(crate) fn next_edge(&self, bench: &Bench) -> Option<u64> {
        let until = self.life.tunnels.values().map(|tunnel| tunnel.until).min()?;
        let wait = self.life.watch.time().until(until, boot_time(&self.life, bench.now));
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let edge = bench.now.saturating_add(wait).max(self.life.edge_pause);
        Some(edge).filter(|_| self.flaw != Flaw::NoEdges)
    }

    /// The row of a tunnel is durable, or is not: then there is no tunnel.
    pub(crate) fn recorded(&mut self, row: u64, is_stored: bool, bench: &mut Bench) {
        let Some((order, tunnel)) = self.life.tunnels.iter_mut().find(|(_, it)| it.row == Some(row)) else {
            return;
        };
        if is_stored {
            self.rows_told += 1;
            (tunnel.row, tunnel.carries) = (None, true);
            bench.note("opened", *order, u64::from(tunnel.place.0));
        } else {
            let order = *order;
            self.life.tunnels.remove(&order);
            bench.note("unrecorded", order, 0);
        }
    }

    fn end(&mut self, order: u64, bench: &mut Bench) {
        let Some(tunnel) = self.life.tunnels.remove(&order) else { return };
        self.cut.push(order);
        bench.note("closed", order, u64::from(tunnel.place.0));
        let (code, seconds) = (CloseCode::Done.number(), (bench.now - tunnel.opened) / 1000);
        let (to_machine, to_client, gate) = (0, 0, None);
        let tunnel = tunnel_id(order);
        self.owe(Event::Closed { tunnel, code, to_machine, to_client, seconds, peer: PEER, gate });
    }

    /// Who somebody is, once for each run and user.
    fn know(&mut self, number: u8, pass: &[u8], bench: &mut Bench) -> Option<Arc<Subject>> {
        if let Some(subject) = self.life.subjects.get(&number) {
            return Some(Arc::clone(subject));
        }
        let (secret, exporter) = (key(Whose::User, number), [number; 32]);
        let proof = Proof::sign(secret, &exporter, DEVICE, pass);
        let presented = Presented { pass, proof, exporter: &exporter, peer_key: secret.public() };
        match Subject::authenticate(&presented, DEVICE, &self.life.root, self.time(bench)) {
            Ok(subject) => {
                let (subject, now) = (Arc::new(subject), boot_time(&self.life, bench.now));
                self.life.watch.handle_signed(subject.issued(), now);
                self.life.subjects.insert(number, Arc::clone(&subject));
                Some(subject)
            }
            Err(fault) => {
                bench.note(fault.word(), u64::from(number), 0);
                None
            }
        }
    }

    fn decide(
        &self,
        subject: &Subject,
        place: Place,
        stage: Stage,
        order: Option<u64>,
        bench: &Bench,
    ) -> Result<Permit, Denial> {
        let reading = self.life.watch.reading(boot_time(&self.life, bench.now));
        let is_opening = stage == Stage::Opening && self.flaw != Flaw::OpensUnconfirmed;
        let freshness = if is_opening { reading.opening } else { reading.live };
        let freshness = freshness.until(self.life.root.expires);
        let older = self.life.tunnels.iter().filter(|(other, _)| order.is_none_or(|order| **other < order));
        let circumstances = Circumstances {
            open: u32::try_from(older.count()).unwrap(),
            ..Circumstances::alone(reading.now, freshness)
        };
        let policy = self.life.policy.as_ref();
        let ask = policy.map_or(Ask::NOTHING, |index| index.ask(subject.user(), service(place.1)));
        decide(policy, subject, &ask, &circumstances)
    }
}

/// How a tunnel is named in the trail.
pub(crate) const fn tunnel_id(order: u64) -> TunnelId {
    TunnelId::new(order.to_be_bytes())
}

const PEER: Peer = Peer {
    addr: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1),
    path: Path::Direct,
};
const EDGE_PAUSE: u64 = 200;
