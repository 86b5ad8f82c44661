//! What became of packets, for whoever asks.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use portable_atomic::{AtomicU64, Ordering};
use serde::{Deserialize, Serialize};

use postern_protocol::wire::flow::PacketDrops;
use postern_protocol::wire::registry::PacketFault;

/// Counts of a VPN of packets.
#[derive(Debug, Default)]
pub(super) struct Tally {
    sent: Count,
    received: Count,
    /// Dropped on this computer.
    here: Mutex<BTreeMap<PacketFault, u64>>,
    /// Dropped by the device, as it said last, by service.
    there: Mutex<BTreeMap<String, Vec<PacketDrops>>>,
}

#[derive(Debug, Default)]
struct Count {
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// The same for other commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PacketReport {
    /// Packets to machines.
    pub(super) sent: u64,
    /// Their bytes.
    pub(super) sent_bytes: u64,
    /// Packets from machines.
    pub(super) received: u64,
    /// Their bytes.
    pub(super) received_bytes: u64,
    /// What was dropped.
    pub(super) dropped: Vec<DropReport>,
}

/// Packets that were dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DropReport {
    /// By whom: the service whose device it was; none on this computer.
    pub(super) service: Option<String>,
    /// The word of the reason.
    pub(super) word: String,
    /// The reason.
    pub(super) reason: String,
    /// What to do.
    pub(super) next: String,
    /// How many.
    pub(super) times: u64,
}

impl Tally {
    /// Counts a packet to a machine.
    pub(super) fn sent(&self, bytes: usize) {
        self.sent.add(bytes);
    }

    /// Counts a packet from a machine.
    pub(super) fn received(&self, bytes: usize) {
        self.received.add(bytes);
    }

    /// Counts a packet that went nowhere.
    pub(super) fn drop_here(&self, fault: PacketFault) {
        let mut here = locked(&self.here);
        let count = here.entry(fault).or_default();
        *count = count.saturating_add(1);
    }

    /// Notes what a device has dropped.
    pub(super) fn dropped_there(&self, service: &str, drops: Vec<PacketDrops>) {
        locked(&self.there).insert(service.to_owned(), drops);
    }

    /// All of it.
    pub(super) fn report(&self) -> PacketReport {
        let row = |service: Option<&String>, fault: PacketFault, times: u64| DropReport {
            service: service.cloned(),
            word: fault.word().to_owned(),
            reason: fault.sentence().to_owned(),
            next: fault.next_step().to_owned(),
            times,
        };
        let mut dropped: Vec<DropReport> =
            locked(&self.here).iter().map(|(fault, times)| row(None, *fault, *times)).collect();
        for (service, drops) in locked(&self.there).iter() {
            dropped.extend(drops.iter().map(|drops| row(Some(service), drops.fault, drops.count)));
        }
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        PacketReport {
            sent: load(&self.sent.packets),
            sent_bytes: load(&self.sent.bytes),
            received: load(&self.received.packets),
            received_bytes: load(&self.received.bytes),
            dropped,
        }
    }
}

impl Count {
    fn add(&self, bytes: usize) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_here_and_there_is_told_apart_and_counted() {
        let tally = Tally::default();
        tally.sent(100);
        tally.sent(20);
        tally.received(7);
        tally.drop_here(PacketFault::Version);
        tally.drop_here(PacketFault::Version);
        let drops = |count| vec![PacketDrops { fault: PacketFault::NotGranted, count }];
        tally.dropped_there("cell", drops(3));
        tally.dropped_there("cell", drops(4));
        let report = tally.report();
        assert_eq!((report.sent, report.sent_bytes, report.received, report.received_bytes), (2, 120, 1, 7));
        let rows: Vec<_> =
            report.dropped.iter().map(|row| (row.service.as_deref(), row.word.as_str(), row.times)).collect();
        assert_eq!(rows, [(None, "version", 2), (Some("cell"), "not_granted", 4)]);
    }
}
