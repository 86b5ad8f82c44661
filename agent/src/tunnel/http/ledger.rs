//! The requests of one tunnel: the one that is being answered, and those that are to be recorded.
//!
//! 1. A request is entered when it was judged and leaves when the last byte of its answer was handed on, or nobody wants it any more.
//! 2. Requests of one kind (method, path as far as it is recorded, outcome) within a minute share a row. Kinds beyond a bound share
//!    one row without method and path, so that a busy page costs a few rows, not a full trail.
//!
//! Deliberately absent: queries and bodies, which may hold what nobody should read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use postern_protocol::audit::Event;
use postern_protocol::id::TunnelId;
use postern_protocol::policy::{PathLog, Reason};
use postern_protocol::recording::What;
use postern_protocol::wire::text::Text;

use crate::recordings::Recorder;

/// What the parts of a tunnel share about its requests.
#[derive(Debug)]
pub(super) struct Ledger {
    tunnel: TunnelId,
    /// What keeps each request, if they must be kept.
    recorder: Option<Arc<Recorder>>,
    page: Mutex<Page>,
    /// Something is to be recorded.
    bell: Notify,
}

#[derive(Debug, Default)]
struct Page {
    current: Option<Current>,
    /// When the first of `kinds` was entered.
    began: Option<Instant>,
    kinds: BTreeMap<Kind, Sum>,
    /// Kinds that were told apart in this hour, and when it began.
    hour: Option<(Instant, usize)>,
    totals: Totals,
}

/// The request that is being answered.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) method: Box<str>,
    pub(super) target: Box<str>,
    /// It asks for WebSocket, which another tunnel permits.
    pub(super) upgrade: bool,
}

/// What a row says about its requests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    tunnel: TunnelId,
    method: Option<Box<str>>,
    path: Option<Box<str>>,
    status: Option<u16>,
    reason: Option<Reason>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: u32,
    bytes: u64,
}

/// What the requests of a tunnel come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Those that reached the machine.
    pub(super) passed: u64,
    /// Those that the gate answered itself.
    pub(super) refused: u64,
}

/// A request on its way through the gate. It is entered into the ledger when it is dropped.
#[derive(Debug)]
pub(super) struct Flight {
    ledger: Arc<Ledger>,
    kind: Kind,
    is_refused: bool,
    /// It must be recorded, and cannot be.
    is_unrecorded: bool,
    bytes: u64,
}

impl Ledger {
    pub(super) fn new(tunnel: TunnelId, recorder: Option<Arc<Recorder>>) -> Arc<Self> {
        Arc::new(Self { tunnel, recorder, page: Mutex::default(), bell: Notify::new() })
    }

    /// Begins a request. `path` is cut to what `log` says.
    pub(super) fn begin(self: &Arc<Self>, current: Current, path: &str, log: PathLog) -> Flight {
        let kind = Kind {
            tunnel: self.tunnel,
            method: Some(current.method.clone()),
            path: recorded(path, log).map(Into::into),
            status: None,
            reason: None,
        };
        let asked = What::Asked { method: Text::clean(&current.method), path: Text::clean(path) };
        let is_unrecorded = self.recorder.as_ref().is_some_and(|recorder| recorder.note(asked).is_err());
        self.lock().current = Some(current);
        Flight { ledger: Arc::clone(self), kind, is_refused: false, is_unrecorded, bytes: 0 }
    }

    /// Waits until requests cannot be recorded any more; for ever where they need not be.
    pub(super) async fn lost(&self) {
        match &self.recorder {
            Some(recorder) => recorder.lost().await,
            None => std::future::pending().await,
        }
    }

    /// The request that is being answered.
    pub(super) fn current(&self) -> Option<Current> {
        self.lock().current.clone()
    }

    /// What the requests came to.
    pub(super) fn totals(&self) -> Totals {
        self.lock().totals
    }

    /// Waits until rows are due.
    pub(super) async fn due(&self) {
        loop {
            let began = self.lock().began;
            match began {
                Some(began) => return tokio::time::sleep_until(began + MINUTE).await,
                None => self.bell.notified().await,
            }
        }
    }

    /// Takes the rows that are to be written.
    pub(super) fn take_rows(&self) -> Vec<Event> {
        let mut page = self.lock();
        page.began = None;
        let kinds = std::mem::take(&mut page.kinds);
        drop(page);
        let text = |text: Box<str>| Text::clean(&text);
        kinds
            .into_iter()
            .map(|(kind, sum)| Event::Requests {
                tunnel: kind.tunnel,
                method: kind.method.map(text),
                path: kind.path.map(text),
                status: kind.status,
                reason: kind.reason,
                count: sum.count,
                bytes: sum.bytes,
            })
            .collect()
    }

    fn enter(&self, kind: &Kind, sum: Sum, is_refused: bool, now: Instant) {
        let mut page = self.lock();
        page.current = None;
        let totals = if is_refused { &mut page.totals.refused } else { &mut page.totals.passed };
        *totals = totals.saturating_add(1);
        page.began.get_or_insert(now);
        let kind = page.tell_apart(kind, now);
        let sums = page.kinds.entry(kind).or_default();
        sums.count = sums.count.saturating_add(sum.count);
        sums.bytes = sums.bytes.saturating_add(sum.bytes);
        drop(page);
        self.bell.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    /// The kind under which a request is counted: its own while there is room, otherwise that of all others.
    fn tell_apart(&mut self, kind: &Kind, now: Instant) -> Kind {
        if self.kinds.contains_key(kind) {
            return kind.clone();
        }
        let (_, used) = match &mut self.hour {
            Some((began, used)) if now.duration_since(*began) < HOUR => (*began, used),
            hour => {
                let (began, used) = hour.insert((now, 0));
                (*began, used)
            }
        };
        if self.kinds.len() >= KINDS_A_MINUTE || *used >= KINDS_AN_HOUR {
            return Kind { method: None, path: None, status: None, ..kind.clone() };
        }
        *used += 1;
        kind.clone()
    }
}

impl Flight {
    /// Whether it must not go on.
    pub(super) const fn is_unrecorded(&self) -> bool {
        self.is_unrecorded
    }

    /// It is recorded with another tunnel, to which it led.
    pub(super) fn leads_to(&mut self, tunnel: TunnelId) {
        self.kind.tunnel = tunnel;
    }

    /// The status of the answer.
    pub(super) fn answered(&mut self, status: u16) {
        self.kind.status = Some(status);
    }

    /// The gate answers itself, because of policy or not.
    pub(super) fn refused(&mut self, reason: Option<Reason>) {
        (self.kind.reason, self.is_refused) = (reason, true);
    }

    /// Bytes of the answer's body that were handed on.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Kind { status, reason, .. } = self.kind;
        if let Some(recorder) = &self.ledger.recorder {
            // Where it fails, the tunnel ends.
            let _lost = recorder.note(What::Answered { status, reason, bytes: self.bytes });
        }
        let sum = Sum { count: 1, bytes: self.bytes };
        self.ledger.enter(&self.kind, sum, self.is_refused, Instant::now());
    }
}

/// As much of a path as is recorded.
fn recorded(path: &str, log: PathLog) -> Option<&str> {
    match log {
        PathLog::Full => Some(path),
        PathLog::Prefix => {
            let rest = path.get(1..).unwrap_or_default();
            let end = rest.find('/').map_or(path.len(), |end| end + 1);
            path.get(..end)
        }
        PathLog::None => None,
    }
}

/// After how long the rows of a busy tunnel are written.
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Kinds of requests that are told apart within a minute.
const KINDS_A_MINUTE: usize = 16;
/// Kinds of requests that are told apart within an hour.
const KINDS_AN_HOUR: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Arc<Ledger> {
        Ledger::new(TunnelId::new([1; 8]), None)
    }

    fn kind(path: &str, status: u16) -> Kind {
        let (method, path) = (Some("GET".into()), Some(path.into()));
        Kind { tunnel: TunnelId::new([1; 8]), method, path, status: Some(status), reason: None }
    }

    fn ask(ledger: &Ledger, path: &str, status: u16, now: Instant) {
        ledger.enter(&kind(path, status), Sum { count: 1, bytes: 10 }, false, now);
    }

    #[test]
    fn requests_of_a_kind_share_a_row_and_kinds_beyond_a_bound_share_one() {
        let (ledger, now) = (ledger(), Instant::now());
        for _ in 0..500 {
            ask(&ledger, "/api/values", 200, now);
        }
        ask(&ledger, "/api/values", 500, now);
        for page in 0..100 {
            ask(&ledger, &format!("/{page}"), 200, now);
        }
        let rows = ledger.take_rows();
        assert_eq!(rows.len(), KINDS_A_MINUTE + 1);
        let of = |path: Option<&str>, status: Option<u16>| {
            rows.iter().find_map(|row| {
                let Event::Requests { path: found, status: code, count, bytes, .. } = row else {
                    panic!("{row:?}")
                };
                let is_it = found.as_ref().map(Text::as_str) == path && *code == status;
                is_it.then_some((*count, *bytes))
            })
        };
        assert_eq!(of(Some("/api/values"), Some(200)), Some((500, 5000)));
        assert_eq!(of(Some("/api/values"), Some(500)), Some((1, 10)));
        assert_eq!(of(None, None), Some((86, 860)));
        assert_eq!(ledger.take_rows(), []);
        assert_eq!(ledger.totals(), Totals { passed: 601, refused: 0 });
    }

    #[test]
    fn a_busy_hour_costs_a_bounded_number_of_rows() {
        let (ledger, mut now, mut rows) = (ledger(), Instant::now(), 0);
        for minute in 0..60 {
            for page in 0..100 {
                ask(&ledger, &format!("/{minute}/{page}"), 200, now);
            }
            now += MINUTE;
            rows += ledger.take_rows().len();
        }
        assert_eq!(rows, KINDS_AN_HOUR + 60);
    }

    #[test]
    fn as_much_of_a_path_is_recorded_as_the_service_says() {
        for (path, prefix) in [("/", "/"), ("/a", "/a"), ("/a/", "/a"), ("/a/b/c", "/a")] {
            assert_eq!(recorded(path, PathLog::Full), Some(path));
            assert_eq!(recorded(path, PathLog::Prefix), Some(prefix), "{path}");
            assert_eq!(recorded(path, PathLog::None), None);
        }
    }

    #[test]
    fn a_request_is_current_until_its_answer_is_over() {
        let ledger = ledger();
        let current = Current { method: "GET".into(), target: "/a?b".into(), upgrade: false };
        let flight = ledger.begin(current, "/a", PathLog::Full);
        assert_eq!(&*ledger.current().unwrap().target, "/a?b");
        drop(flight);
        assert!(ledger.current().is_none());
    }
}
