//! What is to be said to the cloud of tunnels that were stopped, until it has taken it.
//!
//! 1. The registry tells when what a change stopped has stopped ([`Receipts::note`]). A receipt is made of it, remembered, and handed
//!    to the store, which is waited for by nobody. What power took before the store had it is said at the next start, of all that the
//!    trail knows as open: with the power it had ended.
//! 2. The link signs what waits and says it, once on each link ([`Receipts::listen`]).
//! 3. What the hub has stored is forgotten ([`Receipts::forget`]).
//!
//! The number is bounded: when as many wait as may, the newest two become one. Deliberately absent: the trail, which knows each tunnel
//! and why it ended.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::watch;

use postern_protocol::id::{DeviceId, FleetId};
use postern_protocol::limits;
use postern_protocol::trust::{Receipt, ReceiptId};

use crate::registry::Stopped;
use crate::store::Store;

/// Receipts that no hub has taken, oldest first.
pub(crate) type Waiting = VecDeque<Receipt>;

/// Keeps receipts until the hub has them.
#[derive(Debug)]
pub(crate) struct Receipts {
    whose: (FleetId, DeviceId),
    store: Store,
    waiting: watch::Sender<Waiting>,
}

impl Receipts {
    /// With those that were stored before.
    pub(crate) fn new(whose: (FleetId, DeviceId), store: Store, stored: Vec<Receipt>) -> Self {
        Self { whose, store, waiting: watch::Sender::new(stored.into()) }
    }

    /// All tunnels that a change stopped have stopped.
    pub(crate) fn note(&self, stopped: Stopped) {
        let Stopped { cause, cut, at, took } = stopped;
        tracing::info!(cut, reason = cause.word(), ms = millis(took), "tunnels have stopped");
        let mut id = ReceiptId([0; 8]);
        if getrandom::fill(&mut id.0).is_err() {
            tracing::error!("no receipt can be made without random numbers");
            return;
        }
        let (fleet, device) = self.whose;
        let receipt = Receipt { fleet, device, id, cause, changes: 1, cut, at, stopped_ms: millis(took) };
        self.waiting.send_modify(|waiting| {
            let (receipt, instead_of) = add(waiting, receipt);
            self.store.keep_receipt(receipt, instead_of);
        });
    }

    /// The hub has stored a receipt.
    pub(crate) fn forget(&self, id: ReceiptId) {
        self.waiting.send_if_modified(|waiting| {
            let before = waiting.len();
            waiting.retain(|receipt| receipt.id != id);
            if waiting.len() < before {
                self.store.forget_receipt(id);
            }
            // Whoever listens has nothing to say about it.
            false
        });
    }

    /// What waits, now and whenever something comes.
    pub(crate) fn listen(&self) -> watch::Receiver<Waiting> {
        self.waiting.subscribe()
    }
}

/// Puts a receipt behind those that wait; the one that was put there, and which one it stands for as well.
fn add(waiting: &mut Waiting, receipt: Receipt) -> (Receipt, Option<ReceiptId>) {
    let last = if waiting.len() < limits::RECEIPTS { None } else { waiting.pop_back() };
    let receipt = last.map_or(receipt, |last| last.with(receipt));
    waiting.push_back(receipt);
    (receipt, last.map(|last| last.id))
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use postern_protocol::time::UnixTime;
    use postern_protocol::trust::CutCause;

    use super::*;

    fn receipt(number: u8) -> Receipt {
        Receipt {
            fleet: FleetId::new([1; 8]),
            device: DeviceId::new([2; 8]),
            id: ReceiptId([number; 8]),
            cause: CutCause::Time,
            changes: 1,
            cut: 2,
            at: UnixTime::from_secs(number.into()),
            stopped_ms: number.into(),
        }
    }

    #[test]
    fn what_waits_is_bounded_and_every_tunnel_is_counted() {
        let mut waiting = Waiting::new();
        for number in 0..64 {
            assert_eq!(add(&mut waiting, receipt(number)), (receipt(number), None));
        }
        let (sum, instead_of) = add(&mut waiting, receipt(64));
        assert_eq!(
            (sum.id, sum.changes, sum.cut, instead_of),
            (ReceiptId([64; 8]), 2, 4, Some(ReceiptId([63; 8])))
        );
        add(&mut waiting, receipt(65));
        assert_eq!((waiting.len(), waiting.back().map(|sum| sum.cut)), (64, Some(6)));
        assert_eq!(waiting.iter().map(|receipt| receipt.cut).sum::<u32>(), 66 * 2);
    }
}
