//! What a running VPN has done, for whoever asks.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portable_atomic::{AtomicU64, Ordering};
use serde::{Deserialize, Serialize};

use postern_protocol::policy::FlowEnd;

use crate::problem::Problem;

/// Flows that are open, and what was refused.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: BTreeMap<u64, Open>,
    next: u64,
    sent: u64,
    received: u64,
    refused: u64,
    refusals: VecDeque<Refusal>,
    /// Refusals since then.
    told: Option<(Instant, u32)>,
}

#[derive(Debug)]
struct Open {
    end: FlowEnd,
    service: String,
    since: Instant,
    count: Arc<Count>,
}

/// Bytes of one flow.
#[derive(Debug, Default)]
pub(super) struct Count {
    sent: AtomicU64,
    received: AtomicU64,
}

/// A flow in the ledger; dropping it takes it out and keeps its bytes.
#[derive(Debug)]
pub(super) struct Entry {
    ledger: Arc<Ledger>,
    number: u64,
    count: Arc<Count>,
}

/// What was done so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    /// Flows that are open.
    pub(super) flows: Vec<FlowAccount>,
    /// Flows that were opened.
    pub(super) opened: u64,
    /// Flows that were not.
    pub(super) refused: u64,
    /// Bytes to machines.
    pub(super) sent: u64,
    /// Bytes from machines.
    pub(super) received: u64,
    /// Why flows were not opened: the last of each reason and machine, newest first.
    pub(super) refusals: Vec<Refusal>,
}

/// One open flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FlowAccount {
    pub(super) protocol: String,
    pub(super) ip: IpAddr,
    pub(super) port: u16,
    pub(super) service: String,
    pub(super) secs: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// Flows that were refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub(super) protocol: String,
    pub(super) ip: IpAddr,
    /// The port of the last.
    pub(super) port: u16,
    pub(super) reason: String,
    pub(super) next: String,
    pub(super) times: u64,
}

impl Ledger {
    /// Enters a flow whose bytes are counted there.
    pub(super) fn enter(self: &Arc<Self>, end: FlowEnd, service: &str, count: Arc<Count>) -> Entry {
        let mut inner = self.lock();
        let number = inner.next;
        inner.next = number.saturating_add(1);
        let open =
            Open { end, service: service.to_owned(), since: Instant::now(), count: Arc::clone(&count) };
        inner.open.insert(number, open);
        drop(inner);
        Entry { ledger: Arc::clone(self), number, count }
    }

    /// Notes a flow that was not opened; true where the person should hear of it: a scan must not fill the terminal.
    pub(super) fn refuse(&self, end: FlowEnd, problem: &Problem) -> bool {
        let mut inner = self.lock();
        inner.refused = inner.refused.saturating_add(1);
        let (protocol, reason) = (end.protocol.word().to_owned(), problem.reason().to_owned());
        let same = |refusal: &Refusal| {
            refusal.ip == end.ip && refusal.protocol == protocol && refusal.reason == reason
        };
        let before = inner.refusals.iter().position(same).and_then(|place| inner.refusals.remove(place));
        let times = before.map_or(0, |refusal| refusal.times).saturating_add(1);
        let next = problem.next_step().to_owned();
        inner.refusals.push_front(Refusal { protocol, ip: end.ip, port: end.port, reason, next, times });
        inner.refusals.truncate(REFUSALS);
        let now = Instant::now();
        let (since, told) =
            inner.told.filter(|(since, _)| now.duration_since(*since) < WHILE).unwrap_or((now, 0));
        inner.told = Some((since, told.saturating_add(1)));
        told < TOLD
    }

    /// What was done so far.
    pub(super) fn account(&self) -> Account {
        let inner = self.lock();
        let flows: Vec<FlowAccount> = inner.open.values().map(Open::account).collect();
        let total = |closed: u64, of: fn(&FlowAccount) -> u64| {
            flows.iter().fold(closed, |sum, flow| sum.saturating_add(of(flow)))
        };
        Account {
            opened: inner.next,
            refused: inner.refused,
            sent: total(inner.sent, |flow| flow.sent),
            received: total(inner.received, |flow| flow.received),
            refusals: inner.refusals.iter().cloned().collect(),
            flows,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn account(&self) -> FlowAccount {
        FlowAccount {
            protocol: self.end.protocol.word().to_owned(),
            ip: self.end.ip,
            port: self.end.port,
            service: self.service.clone(),
            secs: self.since.elapsed().as_secs(),
            sent: self.count.sent.load(Ordering::Relaxed),
            received: self.count.received.load(Ordering::Relaxed),
        }
    }
}

impl Count {
    /// Counts bytes to the machine.
    pub(super) fn sent(&self, bytes: usize) {
        add(&self.sent, bytes);
    }

    /// Counts bytes from the machine.
    pub(super) fn received(&self, bytes: usize) {
        add(&self.received, bytes);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut inner = self.ledger.lock();
        inner.open.remove(&self.number);
        inner.sent = inner.sent.saturating_add(self.count.sent.load(Ordering::Relaxed));
        inner.received = inner.received.saturating_add(self.count.received.load(Ordering::Relaxed));
    }
}

fn add(to: &AtomicU64, bytes: usize) {
    to.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// Refusals that are kept: a scan of a network must not fill the memory.
const REFUSALS: usize = 32;
/// Refusals that are told to the person in one while.
const TOLD: u32 = 5;
const WHILE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use postern_protocol::policy::{Protocol, Reason};

    use super::*;

    fn end(ip: &str, port: u16) -> FlowEnd {
        FlowEnd { protocol: Protocol::Tcp, ip: ip.parse().unwrap(), port }
    }

    #[test]
    fn bytes_of_a_flow_are_counted_while_it_is_open_and_afterwards() {
        let ledger = Arc::new(Ledger::default());
        let count = Arc::new(Count::default());
        let entry = ledger.enter(end("192.168.0.10", 102), "lines", Arc::clone(&count));
        count.sent(3);
        count.received(5);
        let account = ledger.account();
        assert_eq!((account.opened, account.sent, account.received), (1, 3, 5));
        let FlowAccount { ip, port, service, sent, received, .. } = &account.flows[0];
        assert_eq!((ip.to_string().as_str(), *port, service.as_str()), ("192.168.0.10", 102, "lines"));
        assert_eq!((*sent, *received), (3, 5));
        drop(entry);
        let account = ledger.account();
        assert_eq!((account.flows.len(), account.opened, account.sent, account.received), (0, 1, 3, 5));
    }

    #[test]
    fn refusals_of_one_reason_are_one_row_and_a_scan_keeps_the_newest() {
        let ledger = Ledger::default();
        let denied = Problem::denied(Reason::PortDenied);
        assert!(ledger.refuse(end("192.168.0.10", 22), &denied));
        assert!(ledger.refuse(end("192.168.0.10", 23), &denied));
        let account = ledger.account();
        assert_eq!((account.refused, account.refusals.len()), (2, 1));
        assert_eq!((account.refusals[0].times, account.refusals[0].port), (2, 23));
        for last in 0..=255 {
            assert_eq!(ledger.refuse(end(&format!("192.168.1.{last}"), 22), &denied), last < 3);
        }
        let account = ledger.account();
        assert_eq!((account.refused, account.refusals.len()), (258, REFUSALS));
        assert_eq!(account.refusals[0].ip.to_string(), "192.168.1.255");
    }
}
