//! Puts a snapshot in force.
//!
//! 1. Verify: signatures, addressee, floor, form. 2. Store: envelope, floor and owed audit row in one transaction.
//! 3. Swap the index. 4. Decide every live tunnel again. 5. Record, with how many were cut. 6. Acknowledge.
//!
//! A snapshot for the device's announced next key puts that key in force as well: the commit of step 2 is the moment.
//! One that says that the device is out of service makes the store forget what it held before.
//!
//! A snapshot that does not verify leaves the earlier one in force, and its tunnels alone. One that verifies and cannot
//! be stored comes into force all the same, for as long as the agent runs: a full disk must not keep a withdrawn right
//! alive, and neither must one that hangs. It is reported as not stored, and asked for again with the next link.
//!
//! A lock goes the same way, in the other order of caution: it is in force at once, under the policy of this moment and
//! of every later one, and ends only by a snapshot that lifts it.
//!
//! What a hostile hub can have written is bounded: the snapshot that is in force already is acknowledged and nothing
//! else, and refusals are recorded once, a few of them in an hour.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_protocol::audit::Event;
use postern_protocol::id::DeviceId;
use postern_protocol::policy::{Floor, Index, LockPlace, Locks, SnapshotFault, Taken, Verified};
use postern_protocol::session::agent::Outcome;
use postern_protocol::trust::{Lock, LockFault, LockTarget, PublicKey, Root, Timestamp};
use postern_protocol::wire::control::{Held, NackCode, RootCode};
use postern_protocol::wire::text::Text;

use super::Parts;
use super::link::held;
use crate::gate::Gate;
use crate::registry::Registry;
use crate::store::{Replaced, StoredLock};

/// Takes snapshots from received bytes to acknowledged policy.
#[derive(Debug)]
pub(crate) struct Activator {
    pub(super) parts: Parts,
    /// What is locked, whatever the policy.
    locks: Locks,
    /// Whether the snapshot in force survives a restart.
    is_stored: bool,
    /// Whether the locks in force do.
    are_locks_stored: bool,
    refusals: Refusals<Held, NackCode>,
    pub(super) root_refusals: Refusals<u32, RootCode>,
}

/// Which refusals are recorded, by what was refused and why; pure.
#[derive(Debug)]
pub(super) struct Refusals<W, C> {
    last: Option<(W, C)>,
    /// When the present hour began.
    began: Option<Instant>,
    rows: u32,
}

impl Activator {
    /// An activator for one device.
    pub(crate) fn new(parts: Parts, stored: &[StoredLock]) -> Self {
        let mut locks = Locks::default();
        for lock in stored {
            locks.restore(lock.place, &lock.sealed);
        }
        let (refusals, root_refusals) = (Refusals::new(), Refusals::new());
        Self { parts, locks, is_stored: true, are_locks_stored: true, refusals, root_refusals }
    }

    /// Puts the stored snapshot in force at boot, verified as if it had just come. The floor may equal it.
    ///
    /// # Errors
    /// Why the gate stays shut until the hub sends another one.
    pub(crate) fn resume(&mut self, sealed: &[u8]) -> Result<Floor, SnapshotFault> {
        let verified = self.verify(sealed)?;
        let (floor, addressed) = (verified.floor(), verified.snapshot().device_key);
        self.locks.handle_snapshot(floor.epoch, verified.snapshot().locks_cleared);
        self.parts.gate.install(Index::build(verified).under(&self.locks));
        self.parts.keys.settle(&addressed);
        Ok(floor)
    }

    /// Writes the audit row that a power cut between activation and record has left owing.
    pub(crate) async fn settle(&self, owed: Floor) {
        self.record(owed, 0).await;
    }

    /// Puts a pushed snapshot in force.
    pub(super) async fn activate(&mut self, claimed: Held, sealed: Vec<u8>) -> Outcome {
        let verified = match self.verify(&sealed) {
            Ok(verified) if held(verified.floor()) == claimed => verified,
            Ok(_other) => {
                return self.refuse(claimed, NackCode::Transfer, "another snapshot than was announced").await;
            }
            Err(fault) => return self.refuse(claimed, nack(&fault), &fault.to_string()).await,
        };
        let (floor, addressed) = (verified.floor(), verified.snapshot().device_key);
        let retired = verified.snapshot().retired;
        if self.is_active() && self.parts.floor == Some(floor) {
            return Outcome::Applied { held: claimed, cut: 0 };
        }
        let cleared = verified.snapshot().locks_cleared;
        let store = self.parts.store.clone();
        let time = self.parts.gate.clock().now().max(verified.snapshot().issued);
        let mut storing = std::pin::pin!(store.install(floor, sealed, time, cleared, retired));
        // A disk that hangs must not keep a withdrawn right alive.
        let stored = tokio::time::timeout(STORING, &mut storing).await.ok();
        self.parts.floor = Some(floor);
        let lifted = self.locks.handle_snapshot(floor.epoch, cleared);
        self.parts.gate.install(Index::build(verified).under(&self.locks));
        // Nothing may happen between the swap and this: no await stands here.
        let cut = self.parts.registry.judge(&self.parts.gate);
        tracing::info!(version = floor.version, cut, "a policy came into force");
        let stored = match stored {
            Some(stored) => stored,
            None => storing.await,
        };
        self.is_stored = stored.is_ok();
        if let Err(error) = stored {
            return self.refuse(claimed, NackCode::Storage, &error.to_string()).await;
        }
        // What is stored is for this key: from here on the other one is of the past, also after a power cut.
        let rekeyed = self.parts.keys.settle(&addressed);
        self.record(floor, cut).await;
        if rekeyed {
            self.note(Event::KeyChanged { key: addressed }).await;
        }
        if retired {
            self.note(Event::Retired { held: claimed }).await;
        }
        if let Some(lifted) = lifted {
            tracing::info!(version = floor.version, "locks were lifted");
            self.note(Event::Unlocked { sequence: lifted.sequence }).await;
        }
        Outcome::Applied { held: claimed, cut }
    }

    /// Puts a lock in force: at once, then stored, then recorded. Returns its sequence and how many tunnels it cut.
    ///
    /// # Errors
    /// Why it is not taken, or taken and not stored.
    pub(super) async fn lock(&mut self, sealed: Vec<u8>) -> Result<(u64, u32), (NackCode, Text)> {
        let refused = |fault: LockFault| (lock_nack(&fault), Text::clean(&fault.to_string()));
        let lock = Lock::verify(&sealed, &self.parts.anchor.root(), self.parts.device).map_err(refused)?;
        let taken = self.locks.handle_lock(&lock, self.cleared(lock.epoch)).map_err(refused)?;
        let place = LockPlace { epoch: lock.epoch, sequence: lock.sequence };
        let (row, instead_of, is_new) = match taken {
            // In force for long, and stored unless the disk failed.
            Taken::Known if self.are_locks_stored => return Ok((lock.sequence, 0)),
            Taken::Known => (StoredLock { place, sealed }, Replaced::These(Vec::new()), false),
            Taken::Held { instead_of } => (StoredLock { place, sealed }, Replaced::These(instead_of), true),
            Taken::Collapsed(place) => (StoredLock { place, sealed: Vec::new() }, Replaced::All, true),
        };
        self.parts.gate.lock(&self.locks);
        // As after a snapshot: no await stands here.
        let cut = self.parts.registry.judge(&self.parts.gate);
        let stored = self.parts.store.take_lock(row, instead_of).await;
        self.are_locks_stored = stored.is_ok();
        if let Err(error) = stored {
            tracing::error!(%error, "a lock is in force and could not be stored");
            return Err((NackCode::Storage, Text::clean(&error.to_string())));
        }
        if is_new {
            tracing::warn!(cut, "a lock came into force");
            self.note(locked(&lock, cut)).await;
        }
        Ok((lock.sequence, cut))
    }

    /// The highest sequence of a lock that is held and stored, or lifted by the policy in force, in the root's epoch.
    pub(super) fn highest_lock(&self) -> u64 {
        let epoch = self.parts.anchor.root().policy_epoch;
        if self.are_locks_stored { self.locks.highest(epoch).max(self.cleared(epoch)) } else { 0 }
    }

    /// Up to which sequence of an epoch the policy in force lifts locks.
    fn cleared(&self, epoch: u32) -> u64 {
        let index = self.parts.gate.policy().filter(|index| index.snapshot().epoch == epoch);
        index.map_or(0, |index| index.snapshot().locks_cleared)
    }

    pub(super) const fn floor(&self) -> Option<Floor> {
        self.parts.floor
    }

    pub(super) const fn device(&self) -> DeviceId {
        self.parts.device
    }

    /// Takes what claims to be the answer to the last question for the time, and decides live tunnels again.
    pub(super) fn hear(&self, sealed: &[u8]) {
        let clock = self.parts.gate.clock();
        let Some(nonce) = clock.nonce() else { return };
        match Timestamp::open(sealed, &self.parts.anchor.root(), self.parts.device, nonce) {
            Ok(timestamp) => {
                if clock.hear(&timestamp).attested {
                    // Time may have stepped, and a window with it.
                    let cut = self.parts.registry.judge(&self.parts.gate);
                    if cut > 0 {
                        tracing::info!(cut, "tunnels ended by what the cloud said about time");
                    }
                }
            }
            Err(fault) => tracing::debug!(error = %fault, "a timestamp was not taken"),
        }
    }

    pub(super) const fn gate(&self) -> &Arc<Gate> {
        &self.parts.gate
    }

    pub(super) const fn registry(&self) -> &Arc<Registry> {
        &self.parts.registry
    }

    pub(super) fn root_version(&self) -> u32 {
        self.parts.anchor.root().version
    }

    /// By which keys a hub is recognised, and where hubs listen.
    pub(super) fn hubs(&self) -> (Vec<PublicKey>, &[SocketAddr]) {
        let (root, enrolled) = (self.parts.anchor.root(), &self.parts.enrollment);
        let mut keys = root.hubs.clone();
        if keys.is_empty() {
            keys.push(enrolled.hub_key);
        }
        // The one that answered at enrolment first, as long as it is genuine.
        keys.sort_by_key(|key| *key != enrolled.hub_key);
        (keys, &enrolled.hubs)
    }

    /// Whether the snapshot at the floor is the one in force, and stored. Otherwise the hub must send it again.
    pub(super) fn is_active(&self) -> bool {
        self.is_stored
            && self.parts.gate.policy().map(|index| index.floor()) == self.parts.floor
            && self.parts.floor.is_some()
    }

    fn verify(&self, sealed: &[u8]) -> Result<Verified, SnapshotFault> {
        self.verify_under(&self.parts.anchor.root(), sealed)
    }

    /// Whether a snapshot would be accepted under `root`.
    pub(super) fn holds_under(&self, root: &Root, sealed: &[u8]) -> bool {
        self.verify_under(root, sealed).is_ok()
    }

    fn verify_under(&self, root: &Root, sealed: &[u8]) -> Result<Verified, SnapshotFault> {
        let Parts { device, keys, floor, .. } = &self.parts;
        keys.verify(sealed, root, *device, *floor)
    }

    async fn record(&self, floor: Floor, cut: u32) {
        let event = Event::PolicyApplied { held: held(floor), cut };
        match self.parts.auditor.record(event).await {
            Ok(()) => {
                self.parts.store.settle().await;
            }
            // A revocation must not wait for a disk; the row stays owed and is written at the next boot.
            Err(error) => {
                tracing::error!(%error, version = floor.version, "a policy change was not recorded yet")
            }
        }
    }

    /// Records what follows from a snapshot that is in force.
    async fn note(&self, event: Event) {
        let word = event.word();
        if let Err(error) = self.parts.auditor.record(event).await {
            tracing::error!(%error, event = word, "a change was not recorded");
        }
    }

    async fn refuse(&mut self, claimed: Held, code: NackCode, detail: &str) -> Outcome {
        self.parts.gate.clock().refused(claimed, code);
        let (version, code_word) = (claimed.version, code.word());
        if self.refusals.is_worth_a_row(Instant::now(), claimed, code) {
            tracing::warn!(version, code = code_word, reason = detail, "a policy was refused");
            let event = Event::PolicyRefused { held: claimed, code };
            if let Err(error) = self.parts.auditor.record(event).await {
                tracing::error!(%error, version, "a refused policy was not recorded");
            }
        }
        Outcome::Refused { code, detail: Text::clean(detail) }
    }
}

impl<W: PartialEq, C: PartialEq> Refusals<W, C> {
    const fn new() -> Self {
        Self { last: None, began: None, rows: 0 }
    }

    /// Whether this refusal differs from the last and the hour has a row left.
    pub(super) fn is_worth_a_row(&mut self, now: Instant, what: W, code: C) -> bool {
        if self.began.is_none_or(|began| now.duration_since(began) >= HOUR) {
            *self = Self { last: None, began: Some(now), rows: 0 };
        }
        let refusal = Some((what, code));
        let is_worth = self.last != refusal && self.rows < REFUSALS;
        self.last = refusal;
        self.rows += u32::from(is_worth);
        is_worth
    }
}

/// The row of a lock.
fn locked(lock: &Lock, cut: u32) -> Event {
    let count = |of: fn(&LockTarget) -> bool| {
        u16::try_from(lock.targets.iter().filter(|target| of(target)).count()).unwrap_or(u16::MAX)
    };
    Event::Locked {
        sequence: lock.sequence,
        device: lock.targets.contains(&LockTarget::Device),
        users: count(|target| matches!(target, LockTarget::User(_))),
        categories: count(|target| matches!(target, LockTarget::Category(_))),
        cut,
    }
}

/// The code by which a refused lock is reported to the hub.
const fn lock_nack(fault: &LockFault) -> NackCode {
    match fault {
        LockFault::Envelope(_) | LockFault::Root(_) => NackCode::Envelope,
        LockFault::Fleet | LockFault::Device { .. } => NackCode::Addressee,
        LockFault::Epoch { .. } => NackCode::Epoch,
        LockFault::Cleared { .. } => NackCode::Rollback,
        LockFault::Form => NackCode::Form,
    }
}

/// The code by which a fault is reported to the hub.
const fn nack(fault: &SnapshotFault) -> NackCode {
    match fault {
        SnapshotFault::Envelope(_) | SnapshotFault::Root(_) => NackCode::Envelope,
        SnapshotFault::Fleet { .. } | SnapshotFault::Device { .. } | SnapshotFault::DeviceKey => {
            NackCode::Addressee
        }
        SnapshotFault::Epoch { .. } => NackCode::Epoch,
        SnapshotFault::Rollback { .. } => NackCode::Rollback,
        SnapshotFault::Equivocation { .. } => NackCode::Equivocation,
        SnapshotFault::Form(_) => NackCode::Form,
    }
}

/// A commit takes 5 to 50 ms on flash; after this the policy comes into force before it is stored.
const STORING: Duration = Duration::from_millis(250);
const HOUR: Duration = Duration::from_secs(3600);
/// Refusals that are recorded in an hour.
const REFUSALS: u32 = 16;

#[cfg(test)]
mod tests {
    use postern_protocol::trust::Digest;

    use super::*;

    #[test]
    fn a_hub_that_pushes_nonsense_for_ever_costs_a_few_rows_an_hour() {
        let began = Instant::now();
        let held = |version| Held { epoch: 1, version, digest: Digest::new([0; 32]) };
        let mut refusals = Refusals::new();
        assert!(refusals.is_worth_a_row(began, held(1), NackCode::Envelope));
        assert!(!refusals.is_worth_a_row(began, held(1), NackCode::Envelope), "the same again");
        assert!(refusals.is_worth_a_row(began, held(1), NackCode::Rollback), "another reason");
        let rows = (2..1000).filter(|v| refusals.is_worth_a_row(began, held(*v), NackCode::Envelope)).count();
        assert_eq!(rows, 14);
        assert!(refusals.is_worth_a_row(began + HOUR, held(999), NackCode::Envelope));
    }
}
