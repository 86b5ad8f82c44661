//! The live tunnels: each is decided when it opens, and again whenever the answer could have changed.
//!
//! 1. [`Registry::admit`] decides and registers under one lock, so that no tunnel slips through between a decision
//!    under the old snapshot and the moment when the new one looks at the live tunnels.
//! 2. [`Registry::judge`] decides all of them again, oldest first; only older tunnels count against a limit.
//! 3. A tunnel that is permitted again is handed its new [`Permit`], whose mode may be another; the old one, and the
//!    snapshot behind it, go. Where its mode or rules are others, a row says so (`changes`). Whoever has a seat at a screen keeps it before those who have none, however old they are.
//! 4. A tunnel that is not permitted, or permitted with an obligation that was not met from its beginning, is removed here first and told to stop. It is never looked at again: a right
//!    that comes back opens new tunnels and revives no old one.
//! 5. [`Registry::renew`] has the tunnels of a connection judged by a later pass of their caller, if that pass is
//!    better than their own in something and worse in nothing. Facts of two passes are never combined.
//! 6. When all tunnels that one change stopped have stopped, that is told, with how long it took (`cuts`).
//!
//! Deliberately absent: sockets. A tunnel stops itself as soon as its [`Leash`] says so.

mod changes;
mod cuts;
mod leash;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, watch};

use postern_protocol::audit::Event;
use postern_protocol::id::{TunnelId, UserId};
use postern_protocol::name::Name;
use postern_protocol::path::Peer;
use postern_protocol::policy::{Denial, Kind, Mode, Origin, Permit, Reason, VpnRules};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::sealed::SealingKey;
use postern_protocol::trust::{CutCause, Subject};
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_protocol::wire::tunnel::Holder;
use postern_transport::splice::Meter;

use crate::gate::{Counts, Gate, Stage, Wanted};
use crate::mutex::{Mutex, MutexGuard};

use self::changes::Account;
pub(crate) use self::cuts::Stopped;
use self::cuts::{Cuts, Deciding};
pub(crate) use self::leash::{Leash, Reins, Ruling};

/// All live tunnels of the device.
#[derive(Debug)]
pub(crate) struct Registry {
    live: Mutex<Live>,
    cap: u16,
    /// A tunnel was admitted or has another pass: the next edge may have moved.
    changed: Notify,
    /// The last admitted tunnel has ended and recorded its end.
    drained: Notify,
    /// Whether tunnels are live.
    busy: watch::Sender<bool>,
    rows: Rows,
    stops: Stops,
}

/// Where rows go that wait for no disk.
struct Rows(Box<dyn Fn(Event) + Send + Sync>);

/// Where it is told that what a change stopped has stopped.
struct Stops(Box<dyn Fn(Stopped) + Send + Sync>);

#[derive(Debug, Default)]
struct Live {
    /// By order of admission.
    tunnels: BTreeMap<u64, Entry>,
    next: u64,
    /// Tunnels that have not ended, those included that were told to stop.
    unfinished: u32,
    cuts: Cuts,
    closing: bool,
}

#[derive(Debug)]
struct Entry {
    id: TunnelId,
    subject: Arc<Subject>,
    connection: usize,
    service: Name,
    wish: Wish,
    kind: Kind,
    /// Where it leads; none where it carries flows.
    target: Option<SocketAddr>,
    /// The key to which it is recorded, if it is.
    recording: Option<SealingKey>,
    mode: Mode,
    whereabouts: Whereabouts,
    since: UnixTime,
    until: UnixTime,
    leash: Arc<Leash>,
    meter: Arc<Meter>,
    account: Account,
}

/// Who asks, over which connection.
#[derive(Clone, Debug)]
pub(crate) struct Caller<'a> {
    /// The newest pass of the connection.
    pub(crate) subject: &'a Arc<Subject>,
    /// The connection's number, which no other living one has.
    pub(crate) connection: usize,
    /// Where they are.
    pub(crate) whereabouts: Whereabouts,
}

/// Says where a caller is now: a connection moves between paths.
#[derive(Clone)]
pub(crate) struct Whereabouts(pub(crate) Arc<dyn Fn() -> Peer + Send + Sync>);

/// How a tunnel is wished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// To look only, whatever is granted.
    pub(crate) view_only: bool,
    /// For flows, each of which is decided by itself; otherwise for what the service is.
    pub(crate) flows: bool,
}

/// A tunnel that was admitted. Dropping it removes the tunnel from the registry.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Names the tunnel.
    pub(crate) id: TunnelId,
    /// Where the registry says that it must stop.
    pub(crate) leash: Arc<Leash>,
    /// Counts its bytes.
    pub(crate) meter: Arc<Meter>,
    /// The key to which it must be recorded, whatever a newer permit says.
    pub(crate) recording: Option<SealingKey>,
    /// Its place; private so that only [`Registry::admit`] makes one.
    place: Place,
}

#[derive(Debug)]
struct Place {
    order: u64,
    registry: Arc<Registry>,
}

/// Why a tunnel was not admitted.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Policy says no.
    Denied(Denial),
    /// Policy says no because of somebody who may be named: the caller may use the service.
    Occupied {
        /// The denial.
        denial: Denial,
        /// The one who was first among those who have a place that the caller wants.
        holder: Holder,
        /// Whether there is a place for somebody who only looks.
        may_look: bool,
    },
    /// A bound of the device is reached, it is shutting down, or it has no random numbers.
    Failed(Failure),
}

/// One live tunnel, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// The tunnel.
    pub(crate) id: TunnelId,
    /// Who.
    pub(crate) user: UserId,
    /// To which service.
    pub(crate) service: Name,
    /// What it speaks.
    pub(crate) kind: Kind,
    /// Where the caller is.
    pub(crate) peer: Peer,
    /// What it may do.
    pub(crate) mode: Mode,
    /// When it was admitted.
    pub(crate) since: UnixTime,
    /// When it is decided again.
    pub(crate) until: UnixTime,
    /// Bytes from the client to the machine.
    pub(crate) to_machine: u64,
    /// Bytes from the machine to the client.
    pub(crate) to_client: u64,
}

impl Registry {
    /// An empty registry that admits at most `cap` tunnels, whatever the policy says. What changes for live ones goes to
    /// `rows`, and what has stopped because of a change to `stops`; both must return at once.
    pub(crate) fn new(
        cap: u16,
        rows: impl Fn(Event) + Send + Sync + 'static,
        stops: impl Fn(Stopped) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            live: Mutex::new(Live::default()),
            cap,
            changed: Notify::new(),
            drained: Notify::new(),
            busy: watch::Sender::new(false),
            rows: Rows(Box::new(rows)),
            stops: Stops(Box::new(stops)),
        })
    }

    /// Decides a request and registers its tunnel, as one step.
    ///
    /// # Errors
    /// Why it may not or cannot open.
    pub(crate) fn admit(
        self: &Arc<Self>,
        gate: &Gate,
        caller: &Caller<'_>,
        service: &Name,
        wish: Wish,
    ) -> Result<(Admitted, Arc<Permit>), Refused> {
        let id = tunnel_id()?;
        // One lock over both: whoever changes policy looks at the live tunnels after it, and finds this one.
        let mut live = self.lock();
        let permit = live.decide(gate, caller, service, wish, self.cap)?;
        let admitted = self.enter(&mut live, id, &permit, (caller, gate.clock().now()), (service, wish));
        drop(live);
        self.changed.notify_one();
        Ok((admitted, permit))
    }

    /// Registers a tunnel that was permitted under the same lock.
    fn enter(
        self: &Arc<Self>,
        live: &mut Live,
        id: TunnelId,
        permit: &Arc<Permit>,
        (caller, since): (&Caller<'_>, UnixTime),
        (service, wish): (&Name, Wish),
    ) -> Admitted {
        let order = live.next;
        live.next = live.next.wrapping_add(1);
        live.unfinished += 1;
        let (leash, meter) = (Arc::new(Leash::new(Arc::clone(permit))), Arc::new(Meter::new()));
        live.tunnels.insert(
            order,
            Entry {
                id,
                subject: Arc::clone(caller.subject),
                connection: caller.connection,
                service: service.clone(),
                wish,
                kind: permit.service().kind(),
                target: target_of(permit, wish),
                recording: permit.recording(),
                mode: permit.mode(),
                whereabouts: caller.whereabouts.clone(),
                since,
                until: permit.until(),
                leash: Arc::clone(&leash),
                meter: Arc::clone(&meter),
                account: Account::new(permit),
            },
        );
        self.busy.send_if_modified(|busy| !std::mem::replace(busy, true));
        let place = Place { order, registry: Arc::clone(self) };
        Admitted { id, leash, meter, recording: permit.recording(), place }
    }

    /// Decides every live tunnel again after a change, and stops those that are no longer permitted. Returns how many.
    pub(crate) fn judge(&self, gate: &Gate, cause: CutCause) -> u32 {
        let since = Instant::now();
        let mut live = self.lock();
        let change = live.cuts.begin(cause, gate.clock().now(), since);
        live.judge(gate, change, &self.rows);
        live.cuts.decided(change)
    }

    /// Has the live tunnels of a connection judged by a later pass of their caller. Returns how many were stopped.
    ///
    /// A tunnel takes the later pass if that ends no earlier and used its second factor no earlier; otherwise it keeps
    /// its own, so that a pass without a second factor cuts nothing that was opened with one. Nobody else's tunnel is
    /// looked at, and none for a pass that is no better: otherwise a client could keep the device busy with its pass.
    pub(crate) fn renew(&self, gate: &Gate, connection: usize, later: &Arc<Subject>) -> u32 {
        let mut live = self.lock();
        let concerned = |entry: &Entry| entry.connection == connection && supersedes(later, &entry.subject);
        let orders: Vec<u64> =
            live.tunnels.iter().filter(|(_, entry)| concerned(entry)).map(|(order, _)| *order).collect();
        let change = live.cuts.begin(CutCause::Time, gate.clock().now(), Instant::now());
        for order in &orders {
            // First by the pass of before: what is over in this second is over, and a later pass revives nothing.
            live.judge_one(*order, gate, change, &self.rows);
            if let Some(entry) = live.tunnels.get_mut(order) {
                entry.subject = Arc::clone(later);
                live.judge_one(*order, gate, change, &self.rows);
            }
        }
        let cut = live.cuts.decided(change);
        drop(live);
        if !orders.is_empty() {
            self.changed.notify_one();
        }
        cut
    }

    /// Ends one tunnel because somebody at the device wants it. Returns whether it was live.
    pub(crate) fn end(&self, id: TunnelId) -> bool {
        let mut live = self.lock();
        let order = live.tunnels.iter().find(|(_, entry)| entry.id == id).map(|(order, _)| *order);
        order.is_some_and(|order| live.cut(order, CloseCode::Failed(Failure::Ended), &self.rows))
    }

    /// Ends all tunnels and admits no more.
    pub(crate) fn close(&self) {
        let mut live = self.lock();
        live.closing = true;
        while let Some(order) = live.tunnels.keys().next().copied() {
            live.cut(order, CloseCode::Failed(Failure::Shutdown), &self.rows);
        }
    }

    /// When the first permit runs out.
    pub(crate) fn next_edge(&self) -> Option<UnixTime> {
        self.lock().tunnels.values().map(|entry| entry.until).min()
    }

    /// Waits until a tunnel was admitted or may go on for longer.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Hears whether tunnels are live.
    pub(crate) fn busy(&self) -> watch::Receiver<bool> {
        self.busy.subscribe()
    }

    /// Waits until every admitted tunnel has ended and recorded its end.
    pub(crate) async fn drained(&self) {
        while self.lock().unfinished > 0 {
            self.drained.notified().await;
        }
    }

    /// The live tunnels, oldest first.
    pub(crate) fn sessions(&self) -> Vec<Session> {
        self.lock().tunnels.values().map(Entry::session).collect()
    }

    /// How a listing would count for a user and a service.
    pub(crate) fn counts(&self, user: UserId, service: &Name) -> Counts {
        self.lock().counts(None, user, service)
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock()
    }
}

impl Live {
    /// Decides about one more tunnel, of at most `cap`.
    fn decide(
        &self,
        gate: &Gate,
        caller: &Caller<'_>,
        service: &Name,
        wish: Wish,
        cap: u16,
    ) -> Result<Arc<Permit>, Refused> {
        if self.closing {
            return Err(Refused::Failed(Failure::Shutdown));
        }
        let counts = self.counts(None, caller.subject.user(), service);
        let wanted = Wanted { service: service.as_str(), view_only: wish.view_only };
        let permit = gate
            .decide(caller.subject, wanted, counts, Stage::Opening)
            .map_err(|denial| self.refused(denial, gate, caller.subject, wanted, counts))?;
        if counts.device >= u32::from(cap) {
            return Err(Refused::Failed(Failure::Busy));
        }
        Ok(Arc::new(permit))
    }

    /// Tunnels admitted before this one, all for none. Of seats also those that younger tunnels have, if this one has none:
    /// nobody loses the pointer in the middle of a movement because somebody who only looked may now touch.
    fn counts(&self, order: Option<u64>, user: UserId, service: &Name) -> Counts {
        let mut counts = Counts::default();
        let seated =
            order.and_then(|order| self.tunnels.get(&order)).is_some_and(|entry| entry.mode.touches());
        for (other, entry) in &self.tunnels {
            let older = order.is_none_or(|order| *other < order);
            let counted = older || (!seated && order != Some(*other));
            let on_service = entry.service == *service;
            counts.writers += u32::from(counted && on_service && entry.mode.touches());
            if older {
                counts.device += 1;
                counts.user += u32::from(entry.subject.user() == user);
                counts.service += u32::from(on_service);
            }
        }
        counts
    }

    /// Says with a denial for want of a place who has it, where that is a place of the service: with its own limit reached,
    /// a caller could do something about it alone.
    fn refused(
        &self,
        denial: Denial,
        gate: &Gate,
        subject: &Subject,
        wanted: Wanted<'_>,
        counts: Counts,
    ) -> Refused {
        if denial.reason() != Reason::Concurrency {
            return Refused::Denied(denial);
        }
        // Only somebody who touches stands in the way of whoever could look.
        let looking = Wanted { view_only: true, ..wanted };
        let may_look = !wanted.view_only && gate.decide(subject, looking, counts, Stage::Opening).is_ok();
        let full = gate.policy().is_some_and(|policy| {
            let services = &policy.snapshot().services;
            let service = services.iter().find(|service| service.name.as_str() == wanted.service);
            service.is_some_and(|service| counts.service >= u32::from(service.tunnels))
        });
        let mut holders = self.tunnels.values().filter(|entry| entry.service.as_str() == wanted.service);
        match holders.find(|entry| full || (may_look && entry.mode.touches())) {
            Some(entry) => Refused::Occupied { denial, holder: entry.holder(), may_look },
            None => Refused::Denied(denial),
        }
    }

    fn judge(&mut self, gate: &Gate, change: Deciding, rows: &Rows) {
        let orders: Vec<u64> = self.tunnels.keys().copied().collect();
        orders.into_iter().for_each(|order| self.judge_one(order, gate, change, rows));
    }

    /// Decides one live tunnel again, because of a change.
    fn judge_one(&mut self, order: u64, gate: &Gate, change: Deciding, rows: &Rows) {
        let Some(entry) = self.tunnels.get(&order) else { return };
        let counts = self.counts(Some(order), entry.subject.user(), &entry.service);
        let wanted = Wanted { service: entry.service.as_str(), view_only: entry.wish.view_only };
        let code = match gate.decide(&entry.subject, wanted, counts, Stage::Live) {
            Ok(permit) if entry.is_same(&permit) && entry.fulfils(&permit) => {
                if let Some(entry) = self.tunnels.get_mut(&order) {
                    entry.go_on(permit, gate.clock().now(), rows);
                }
                return;
            }
            // What was done so far is not on any recording, and its user was told of none.
            Ok(permit) if entry.is_same(&permit) => CloseCode::Failed(Failure::Recorded),
            // The name now means something else: what is open is not what is permitted.
            Ok(_another) => CloseCode::Denied(Reason::Revoked),
            Err(denial) => CloseCode::Denied(withdrawn(denial.reason())),
        };
        self.cut(order, code, rows);
        self.cuts.told(change, order);
    }

    fn cut(&mut self, order: u64, code: CloseCode, rows: &Rows) -> bool {
        let removed = self.remove(order, rows);
        removed.map(|entry| entry.leash.rule(Ruling::Cut(code))).is_some()
    }

    /// Takes a tunnel out, with the last word about its rights.
    fn remove(&mut self, order: u64, rows: &Rows) -> Option<Entry> {
        let mut entry = self.tunnels.remove(&order)?;
        if let Ruling::Permitted(last) = entry.leash.ruling() {
            entry.account.rest(entry.id, &last).into_iter().for_each(&rows.0);
        }
        Some(entry)
    }
}

impl Entry {
    /// Goes on under a newer permit.
    fn go_on(&mut self, newer: Permit, now: UnixTime, rows: &Rows) {
        (self.until, self.mode) = (newer.until(), newer.mode());
        if let Ruling::Permitted(before) = self.leash.ruling() {
            self.account.changed(self.id, now, (&before, &newer)).into_iter().for_each(&rows.0);
        }
        self.leash.rule(Ruling::Permitted(Arc::new(newer)));
    }

    /// Whether a permit is for what is open.
    fn is_same(&self, permit: &Permit) -> bool {
        permit.service().kind() == self.kind && target_of(permit, self.wish) == self.target
    }

    /// Whether what a permit demands beside the right is being done. A recording that is demanded no more goes on to the
    /// tunnel's end: its user was told of it, and the file is whole.
    fn fulfils(&self, permit: &Permit) -> bool {
        permit.recording().is_none() || permit.recording() == self.recording
    }

    fn holder(&self) -> Holder {
        let role = match self.leash.ruling() {
            Ruling::Permitted(permit) => permit.origin().and_then(Origin::role).cloned(),
            Ruling::Cut(_) => None,
        };
        Holder { user: self.subject.user(), role, since: self.since }
    }

    fn session(&self) -> Session {
        Session {
            id: self.id,
            user: self.subject.user(),
            service: self.service.clone(),
            kind: self.kind,
            mode: self.mode,
            peer: (self.whereabouts.0)(),
            since: self.since,
            until: self.until,
            to_machine: self.meter.received(),
            to_client: self.meter.sent(),
        }
    }
}

impl fmt::Debug for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Whereabouts").field(&(self.0)()).finish()
    }
}

impl fmt::Debug for Stops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stops")
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rows")
    }
}

impl Admitted {
    /// Removes the tunnel and tells all its tasks to stop, for a reason that the registry does not know.
    pub(crate) fn stop(&self, code: CloseCode) {
        let Place { order, registry } = &self.place;
        registry.lock().cut(*order, code, &registry.rows);
    }

    /// Removes the tunnel before it is dropped, so that its place is free when the caller is told. Its bytes have an end.
    pub(crate) fn leave(&self) {
        let Place { order, registry } = &self.place;
        let mut live = registry.lock();
        live.remove(*order, &registry.rows);
        let stopped = live.cuts.stopped(*order, Instant::now());
        drop(live);
        stopped.into_iter().for_each(&registry.stops.0);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.leave();
        let registry = &self.place.registry;
        let mut live = registry.lock();
        live.unfinished = live.unfinished.saturating_sub(1);
        if live.unfinished == 0 {
            registry.busy.send_replace(false);
            registry.drained.notify_one();
        }
    }
}

/// Whether a live tunnel of `before` is judged by `later` from now on: the same user and key, no fact that is worse,
/// and one that is better.
fn supersedes(later: &Subject, before: &Subject) -> bool {
    // No second factor is before any time.
    let facts = |subject: &Subject| (subject.expires(), subject.second_factor_at());
    (later.user(), later.key()) == (before.user(), before.key())
        && later.expires() >= before.expires()
        && later.second_factor_at() >= before.second_factor_at()
        // A pass that opens less takes the place of none that opens more.
        && opens_all_of(later, before)
        && facts(later) != facts(before)
}

/// Whether every service that `before` opens is one that `later` opens.
fn opens_all_of(later: &Subject, before: &Subject) -> bool {
    match (later.services(), before.services()) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(later), Some(before)) => before.iter().all(|service| later.contains(service)),
    }
}

/// Where a tunnel leads: what is open to another place is not what is permitted. Flows lead where they are permitted to lead.
fn target_of(permit: &Permit, wish: Wish) -> Option<SocketAddr> {
    if wish.flows {
        return None;
    }
    let only = permit.service().reach.flows().and_then(VpnRules::only_tcp);
    permit.target().or_else(|| only.map(SocketAddr::from))
}

/// What a denial means for somebody whose tunnel is open already: a grant that is gone was withdrawn.
const fn withdrawn(reason: Reason) -> Reason {
    if matches!(reason, Reason::NoGrant) { Reason::Revoked } else { reason }
}

fn tunnel_id() -> Result<TunnelId, Refused> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| Refused::Failed(Failure::Internal))?;
    Ok(TunnelId::new(bytes))
}

#[cfg(test)]
mod tests;
