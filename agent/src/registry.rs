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

mod admitted;
mod changes;
mod cuts;
mod entry;
mod leash;
mod live;
mod renewal;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, watch};

use postern_protocol::audit::Event;
use postern_protocol::id::{TunnelId, UserId};
use postern_protocol::name::Name;
use postern_protocol::policy::{Denial, Permit};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{CutCause, Subject};
use postern_protocol::wire::registry::{CloseCode, Failure};
use postern_protocol::wire::tunnel::Holder;
use postern_transport::splice::Meter;

use crate::gate::{Counts, Gate};
use crate::mutex::{Mutex, MutexGuard};

pub(crate) use self::admitted::Admitted;
use self::admitted::Place;
use self::changes::Account;
pub(crate) use self::cuts::Stopped;
use self::entry::{Entry, target_of};
pub(crate) use self::entry::{Session, Whereabouts, Wish};
pub(crate) use self::leash::{Leash, Reins, Ruling};
use self::live::Live;
use self::renewal::supersedes;

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

fn tunnel_id() -> Result<TunnelId, Refused> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| Refused::Failed(Failure::Internal))?;
    Ok(TunnelId::new(bytes))
}

#[cfg(test)]
mod tests;
