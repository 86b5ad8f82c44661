//! Records what was decided, before anything happens because of it.
//!
//! 1. [`Auditor::record`] returns when the row is durable. No row, no permit.
//! 2. [`Auditor::denied`] writes the first of identical denials at once and counts the others; after a minute one
//!    row stands for them. Kinds of denial beyond a bound for the minute or the hour share one row for each reason
//!    and hour. A stranger who knocks all day costs a few rows an hour, not a full trail, which would shut the gate.
//! 3. [`Auditor::owe`] is for what has happened already and waits for no disk: the row follows as soon as the trail takes
//!    it, with the time at which it happened.
//! 4. What finds no room is counted, and one row says how many are missing when there is room again.
//!
//! Deliberately absent: log lines (those are for operators and may be lost) and deletion.

mod owed;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use postern_protocol::audit::{Event, FlowFate, GapCause};
use postern_protocol::id::UserId;
use postern_protocol::name::Name;
use postern_protocol::path::{Path, Peer};
use postern_protocol::policy::{Origin, Reason};
use postern_protocol::time::UnixTime;
use postern_protocol::wire::text::Text;

use crate::clock::Clock;
use crate::store::{Store, StoreError};

use self::owed::Owed;

/// Writes audit rows. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Auditor {
    store: Store,
    clock: Arc<Clock>,
    denials: Arc<Mutex<Denials>>,
    owed: watch::Sender<Owed>,
    /// Rows that found no room, and that no row says so of yet.
    lost: Arc<AtomicU32>,
}

/// One denial, as it is recorded.
#[derive(Clone, Debug)]
pub(crate) struct DeniedRequest {
    /// Who, when the caller was known.
    pub(crate) user: Option<UserId>,
    /// Which service was asked for.
    pub(crate) service: Option<Name>,
    /// Why.
    pub(crate) reason: Reason,
    /// What was wrong with a pass that was presented, as a word.
    pub(crate) fault: Option<&'static str>,
    /// The grant that came furthest.
    pub(crate) origin: Option<Origin>,
    /// Where the caller was.
    pub(crate) peer: Peer,
}

/// Denials of the present minute, and of the present hour those that are told apart no more; pure.
#[derive(Debug, Default)]
struct Denials {
    /// None while nothing is counted.
    began: Option<UnixTime>,
    counted: BTreeMap<Key, Counted>,
    hour: Hour,
}

/// What an hour bounds.
#[derive(Debug, Default)]
struct Hour {
    /// None before the first denial.
    began: Option<UnixTime>,
    /// Kinds that were told apart.
    of_users: usize,
    of_strangers: usize,
    /// The others, one for each reason.
    rest: BTreeMap<Reason, Counted>,
}

/// What makes two denials identical.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    user: Option<UserId>,
    service: Option<Name>,
    reason: Reason,
    fault: Option<&'static str>,
    from: IpAddr,
}

#[derive(Debug)]
struct Counted {
    request: DeniedRequest,
    /// Denials since the row that was written at once.
    more: u32,
}

impl Auditor {
    /// An auditor that writes to `store` and dates its rows with `clock`.
    pub(crate) fn new(store: Store, clock: Arc<Clock>) -> Self {
        let (denials, owed, lost) = (Arc::default(), watch::Sender::default(), Arc::default());
        Self { store, clock, denials, owed, lost }
    }

    /// Writes one row and waits until it is durable.
    ///
    /// # Errors
    /// Why it is not; whatever it would have recorded must not happen.
    pub(crate) async fn record(&self, event: Event) -> Result<(), StoreError> {
        let permits = matches!(
            event,
            Event::Permitted { .. } | Event::Flows { fate: FlowFate::Opened | FlowFate::Probed, .. }
        );
        let recorded = self.store.append(self.clock.now(), event).await;
        // What was to permit something did not happen then; everything else did.
        if recorded.is_err() && !permits {
            self.lose();
        }
        recorded
    }

    /// A row is lost; one that says so follows when there is room.
    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Records a denial: the first of its kind in a minute at once, the others as a count.
    pub(crate) async fn denied(&self, request: DeniedRequest) {
        let now = self.clock.now();
        let first = self.lock().count(now, request);
        if let Some(request) = first {
            self.write(request, 1).await;
        }
    }

    /// Writes the counts of a minute that is over. Nothing is written where nothing was counted.
    pub(crate) async fn flush(&self) {
        let due = self.lock().due(self.clock.now());
        for Counted { request, more } in due {
            self.write(request, more).await;
        }
        let rows = self.lost.swap(0, Ordering::Relaxed);
        if rows > 0 {
            self.owe(Event::Gap { cause: GapCause::Full, rows });
        }
    }

    /// Writes all counts and what is owed, before the agent ends.
    pub(crate) async fn finish(&self) {
        self.paid().await;
        let due = self.lock().take();
        for Counted { request, more } in due {
            self.write(request, more).await;
        }
    }

    async fn write(&self, request: DeniedRequest, count: u32) {
        let DeniedRequest { user, service, reason, fault, origin, peer } = request;
        let fault = fault.map(Text::clean);
        let event = Event::Denied { user, service, reason, fault, origin, peer, count };
        if let Err(error) = self.record(event).await {
            // The denial stands without its row; only a permit needs one.
            tracing::debug!(%error, %reason, "a denial was not recorded");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Denials> {
        self.denials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Denials {
    /// Counts a denial; returns it when it is the first of its kind.
    fn count(&mut self, now: UnixTime, mut request: DeniedRequest) -> Option<DeniedRequest> {
        self.began.get_or_insert(now);
        self.hour.began.get_or_insert(now);
        if !self.counted.contains_key(&key(&request)) {
            let strangers = self.counted.keys().filter(|key| key.user.is_none()).count();
            let is_stranger = request.user.is_none();
            let full = self.counted.len() >= KINDS || (is_stranger && strangers >= STRANGERS);
            if full || !self.hour.tells_apart(is_stranger) {
                request.service = None;
                request.user = None;
                request.fault = None;
                request.origin = None;
                request.peer = MANY;
                return first(self.hour.rest.entry(request.reason), request);
            }
        }
        first(self.counted.entry(key(&request)), request)
    }

    fn due(&mut self, now: UnixTime) -> Vec<Counted> {
        let over = |began: Option<UnixTime>, s| began.is_some_and(|at| now.secs_since(at) >= s || now < at);
        let (minute, hour) = (over(self.began, MINUTE_S), over(self.hour.began, HOUR_S));
        let mut due = if minute { self.take_minute() } else { Vec::new() };
        if hour {
            due.extend(self.take_hour());
        }
        due
    }

    fn take(&mut self) -> Vec<Counted> {
        let mut counted = self.take_minute();
        counted.extend(self.take_hour());
        counted
    }

    fn take_minute(&mut self) -> Vec<Counted> {
        self.began = None;
        std::mem::take(&mut self.counted).into_values().filter(|counted| counted.more > 0).collect()
    }

    fn take_hour(&mut self) -> Vec<Counted> {
        let hour = std::mem::take(&mut self.hour);
        hour.rest.into_values().filter(|counted| counted.more > 0).collect()
    }
}

impl Hour {
    /// Takes one of the hour's rows; false when there is none left.
    fn tells_apart(&mut self, is_stranger: bool) -> bool {
        let (used, bound) = if is_stranger {
            (&mut self.of_strangers, STRANGERS_AN_HOUR)
        } else {
            (&mut self.of_users, USERS_AN_HOUR)
        };
        let left = *used < bound;
        *used += usize::from(left);
        left
    }
}

/// Counts a denial; returns it when it is the first of its entry.
fn first<K: Ord>(entry: Entry<'_, K, Counted>, request: DeniedRequest) -> Option<DeniedRequest> {
    match entry {
        Entry::Vacant(entry) => {
            entry.insert(Counted { request: request.clone(), more: 0 });
            Some(request)
        }
        Entry::Occupied(mut entry) => {
            let more = &mut entry.get_mut().more;
            *more = more.saturating_add(1);
            None
        }
    }
}

fn key(request: &DeniedRequest) -> Key {
    Key {
        user: request.user,
        service: request.service.clone(),
        reason: request.reason,
        fault: request.fault,
        from: request.peer.addr.ip(),
    }
}

/// Stands for the many callers of denials that are not told apart.
const MANY: Peer = Peer { addr: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0), path: Path::Direct };
const MINUTE_S: u64 = 60;
/// Kinds of denial that are told apart in one minute.
const KINDS: usize = 64;
/// Of these, kinds that callers without identity can cause.
const STRANGERS: usize = 8;
const HOUR_S: u64 = 3600;
/// Kinds of an hour. Each has at most two rows of about 120 bytes: at this rate callers without identity would need
/// 200 days for the mark at which nothing more is recorded of them, and users with nothing but denials half a year.
const STRANGERS_AN_HOUR: usize = 32;
const USERS_AN_HOUR: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UnixTime = UnixTime::from_secs(1_000_000);

    fn request(user: Option<u8>, from: u8) -> DeniedRequest {
        DeniedRequest {
            user: user.map(|byte| UserId::new([byte; 8])),
            service: None,
            reason: Reason::NoGrant,
            fault: None,
            origin: None,
            peer: Peer { addr: ([192, 0, 2, from], 4242).into(), path: Path::Direct },
        }
    }

    #[test]
    fn the_first_denial_is_written_at_once_and_the_rest_as_one_count() {
        let mut denials = Denials::default();
        assert!(denials.count(AT, request(Some(1), 1)).is_some());
        for _ in 0..9 {
            assert!(denials.count(AT, request(Some(1), 1)).is_none());
        }
        assert!(denials.count(AT, request(Some(2), 1)).is_some(), "another user is another kind");
        assert!(denials.due(AT.saturating_add(MINUTE_S - 1)).is_empty());
        let due = denials.due(AT.saturating_add(MINUTE_S));
        assert_eq!(due.iter().map(|counted| counted.more).collect::<Vec<_>>(), [9]);
        assert!(denials.count(AT.saturating_add(MINUTE_S), request(Some(1), 1)).is_some());
    }

    #[test]
    fn a_quiet_minute_writes_nothing() {
        let mut denials = Denials::default();
        assert!(denials.due(AT).is_empty());
        denials.count(AT, request(Some(1), 1));
        assert!(denials.due(AT.saturating_add(MINUTE_S)).is_empty());
    }

    /// Rows that a day of denials of ever new kinds costs.
    fn rows_of_a_day(user: Option<u8>) -> usize {
        let mut denials = Denials::default();
        let mut rows = 0;
        for minute in 0..24 * 60 {
            let now = AT.saturating_add(minute * MINUTE_S);
            rows += denials.due(now).len();
            for kind in 0..200 {
                let service = Some(format!("s{kind}").parse().unwrap());
                let request = DeniedRequest { service, ..request(user, 1) };
                rows += usize::from(denials.count(now, request.clone()).is_some());
                rows += usize::from(denials.count(now, request).is_some());
            }
        }
        rows + denials.take().len()
    }

    #[test]
    fn a_day_of_ever_new_denials_costs_a_bounded_number_of_rows() {
        assert_eq!(rows_of_a_day(None), 24 * 2 * (STRANGERS_AN_HOUR + 1));
        assert_eq!(rows_of_a_day(Some(1)), 24 * 2 * (USERS_AN_HOUR + 1));
    }

    #[test]
    fn strangers_from_many_addresses_share_a_few_rows() {
        let mut denials = Denials::default();
        let written = (0..200).filter(|from| denials.count(AT, request(None, *from)).is_some()).count();
        assert_eq!(written, STRANGERS + 1);
        let counted: u32 = denials.take().iter().map(|counted| counted.more).sum();
        assert_eq!(counted, 200 - 9);
    }
}
