//! Puts a snapshot in force.
//!
//! 1. Verify: signatures, addressee, floor, form. 2. Store: envelope, floor and owed audit row in one transaction.
//! 3. Swap the index. 4. Decide every live tunnel again. 5. Record, with how many were cut. 6. Acknowledge.
//!
//! A snapshot for the device's announced next key puts that key in force as well: the commit of step 2 is the moment, also
//! for the secrets that were set on the device, which it seals to that key.
//! One that says that the device is out of service makes store and memory forget what they held before.
//!
//! A snapshot that does not verify leaves the earlier one in force, and its tunnels alone. One that verifies and cannot
//! be stored comes into force all the same, for as long as the agent runs: a full disk must not keep a withdrawn right
//! alive, and neither must one that hangs. It is reported as not stored, acknowledged when it is stored after all, and
//! asked for again with the next link otherwise.
//!
//! A lock goes the same way, in the other order of caution: it is in force at once, under the policy of this moment and
//! of every later one, and ends only by a snapshot that lifts it.
//!
//! Nothing here waits for the disk for longer than a quarter of a second; what became of a write is taken up with
//! [`Activator::handle_told`], and rows about what is in force are owed to the trail until it takes them.
//!
//! What a hostile hub can have written is bounded: the snapshot that is in force already is acknowledged and nothing
//! else, and refusals are recorded once, a few of them in an hour.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_protocol::audit::{Event, Whose};
use postern_protocol::id::DeviceId;
use postern_protocol::policy::{Floor, Index, LockPlace, Locks, SnapshotFault, Taken, Verified};
use postern_protocol::session::agent::Outcome;
use postern_protocol::trust::{CutCause, Lock, LockFault, LockTarget, PublicKey, Root, Timestamp};
use postern_protocol::wire::control::{Held, NackCode, RootCode};
use postern_protocol::wire::text::Text;

use super::Parts;
use super::link::held;
use super::storing::{Activated, Locked, Object, Storing, Told};
use crate::gate::Gate;
use crate::registry::Registry;
use crate::store::{Replaced, Reseal, Staged, StoreError, StoredLock};

/// Takes snapshots from received bytes to acknowledged policy.
#[derive(Debug)]
pub(crate) struct Activator {
    pub(super) parts: Parts,
    /// What is locked, whatever the policy.
    locks: Locks,
    /// Whether the snapshot in force survives a restart.
    is_stored: bool,
    /// The highest lock in force that does not, and is not on its way to the disk.
    unstored_lock: Option<LockPlace>,
    /// What is on its way there.
    pub(super) storing: Storing,
    /// Counts links.
    link: u64,
    refusals: Refusals<Held, NackCode>,
    pub(super) root_refusals: Refusals<u32, RootCode>,
}

/// What became of a lock, for the hub: its sequence and the tunnels that it cut, or why it was refused.
pub(super) type LockOutcome = Result<(u64, u32), (NackCode, Text)>;

/// What the hub is to hear.
#[derive(Debug)]
pub(super) enum Answer {
    /// About a snapshot.
    Policy(Held, Outcome),
    /// About a lock.
    Lock(LockOutcome),
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
        let storing = Storing::default();
        let (is_stored, unstored_lock, link) = (true, None, 0);
        Self { parts, locks, is_stored, unstored_lock, storing, link, refusals, root_refusals }
    }

    /// Puts the stored snapshot in force at boot, verified as if it had just come. The floor may equal it.
    ///
    /// # Errors
    /// Why the gate stays shut until the hub sends another one.
    pub(crate) fn resume(&mut self, sealed: &[u8]) -> Result<Floor, SnapshotFault> {
        let verified = self.verify(sealed)?;
        let (floor, snapshot) = (verified.floor(), verified.snapshot());
        let (addressed, retired) = (snapshot.device_key, snapshot.retired);
        self.locks.handle_snapshot(floor.epoch, snapshot.locks_cleared);
        self.parts.gate.install(Index::build(verified).under(&self.locks));
        self.parts.gate.clock().learn_locks(self.highest_in_force());
        self.settle_key(&addressed);
        if retired {
            // A power cut may have come before everything was forgotten.
            self.parts.secrets.forget_all();
            self.parts.store.forget();
        }
        self.parts.secrets.report_wanting(floor.version);
        Ok(floor)
    }

    /// Writes the audit row that a power cut between activation and record has left owing.
    pub(crate) fn settle(&self, owed: Floor) {
        self.parts.auditor.owe(Event::PolicyApplied { held: held(owed), cut: 0 });
    }

    /// Puts a pushed snapshot in force. None when what became of it is told later.
    pub(super) async fn activate(&mut self, claimed: Held, sealed: Vec<u8>) -> Option<Outcome> {
        let verified = match self.verify(&sealed) {
            Ok(verified) if held(verified.floor()) == claimed => verified,
            Ok(_other) => {
                let detail = "another snapshot than was announced";
                return Some(self.refuse(claimed, NackCode::Transfer, detail));
            }
            Err(fault) => return Some(self.refuse(claimed, fault.code(), &fault.to_string())),
        };
        let floor = verified.floor();
        if self.is_active() && self.parts.floor == Some(floor) {
            return Some(Outcome::Applied { cut: 0 });
        }
        // The link before this one has brought it.
        if self.storing.has_policy(&floor) {
            return Some(self.refuse(claimed, NackCode::Storage, LATE));
        }
        let snapshot = verified.snapshot();
        let (addressed, retired, cleared) = (snapshot.device_key, snapshot.retired, snapshot.locks_cleared);
        let time = self.parts.gate.clock().now().max(snapshot.issued);
        let has_room = self.storing.has_room_for_policy();
        let reseal = if has_room { self.begin_rekey(&addressed) } else { None };
        let rekeys = reseal.is_some();
        let staged = Staged { floor, sealed, time, cleared, retired, reseal };
        let mut write = has_room.then(|| self.parts.store.install(staged));
        // A disk that hangs must not keep a withdrawn right alive.
        let stored = match &mut write {
            Some(write) => tokio::time::timeout(STORING, write).await.ok(),
            None => Some(Err(StoreError::Busy)),
        };
        self.parts.floor = Some(floor);
        let lifted = self.locks.handle_snapshot(floor.epoch, cleared).map(|place| place.sequence);
        // What is lifted need not be stored any more.
        let limit = LockPlace { epoch: floor.epoch, sequence: cleared };
        self.unstored_lock = self.unstored_lock.filter(|unstored| *unstored > limit);
        self.parts.gate.install(Index::build(verified).under(&self.locks));
        // Nothing may happen between the swap and this: no await stands here.
        let cause = CutCause::Policy { epoch: floor.epoch, version: floor.version };
        let cut = self.parts.registry.judge(&self.parts.gate, cause);
        tracing::info!(version = floor.version, cut, "a policy came into force");
        self.parts.gate.clock().learn_locks(self.highest_in_force());
        let activated = Activated { held: claimed, floor, addressed, rekeys, retired, cut, lifted };
        match (stored, write) {
            (None, Some(write)) => {
                self.is_stored = false;
                self.storing.follow(Object::Policy(activated), write);
                None
            }
            (stored, _) => Some(self.stored(activated, stored.unwrap_or(Err(StoreError::Busy)))),
        }
    }

    /// A snapshot that is in force was stored, or not.
    fn stored(&mut self, activated: Activated, stored: Result<(), StoreError>) -> Outcome {
        let Activated { held, floor, addressed, rekeys, retired, cut, lifted } = activated;
        if rekeys {
            self.parts.secrets.end_rekey();
        }
        if self.parts.floor == Some(floor) {
            self.is_stored = stored.is_ok();
        }
        if let Err(error) = stored {
            return self.refuse(held, NackCode::Storage, &error.to_string());
        }
        // What is stored is for this key: from here on the other one is of the past, also after a power cut.
        let rekeyed = self.settle_key(&addressed);
        if retired {
            self.parts.secrets.forget_all();
        }
        let auditor = &self.parts.auditor;
        auditor.owe(Event::PolicyApplied { held, cut });
        if rekeyed {
            auditor.owe(Event::KeyChanged { key: addressed });
        }
        if retired {
            auditor.owe(Event::Retired { held });
        }
        if let Some(sequence) = lifted {
            tracing::info!(version = floor.version, "locks were lifted");
            auditor.owe(Event::Unlocked { sequence });
        }
        self.parts.secrets.report_wanting(floor.version);
        Outcome::Applied { cut }
    }

    /// For the device's next key: what has its secrets sealed to that key when it is stored.
    fn begin_rekey(&self, addressed: &PublicKey) -> Option<Reseal> {
        let next = self.parts.keys.successor(addressed)?;
        let reseal = self.parts.secrets.begin_rekey(&next);
        reseal.inspect_err(|error| tracing::error!(%error, "the new key opens no secrets")).ok()
    }

    /// A snapshot for this key is stored: whether it is another key than before, for which everything is ready then.
    fn settle_key(&self, addressed: &PublicKey) -> bool {
        let rekeyed = self.parts.keys.settle(addressed);
        if rekeyed && let Err(error) = self.parts.secrets.rekey(&self.parts.keys.present()) {
            tracing::error!(%error, "the device's secrets open after a restart");
        }
        rekeyed
    }

    /// Puts a lock in force, at once; then it is stored and recorded. None when what became of it is told later,
    /// otherwise its sequence and how many tunnels it cut.
    ///
    /// # Errors
    /// Why it is not taken, or taken and not stored.
    pub(super) fn lock(&mut self, sealed: Vec<u8>) -> Option<LockOutcome> {
        let refused = |fault: LockFault| Some(Err((fault.code(), Text::clean(&fault.to_string()))));
        let lock = match Lock::verify(&sealed, &self.parts.anchor.root(), self.parts.device) {
            Ok(lock) => lock,
            Err(fault) => return refused(fault),
        };
        let taken = match self.locks.handle_lock(&lock, self.cleared(lock.epoch)) {
            Ok(taken) => taken,
            Err(fault) => return refused(fault),
        };
        let place = LockPlace { epoch: lock.epoch, sequence: lock.sequence };
        let (row, instead_of, is_new) = match taken {
            // In force for long, and stored unless the disk failed.
            Taken::Known if self.are_locks_stored() => return Some(Ok((lock.sequence, 0))),
            Taken::Known => (StoredLock { place, sealed }, Replaced::These(Vec::new()), false),
            Taken::Held { instead_of } => (StoredLock { place, sealed }, Replaced::These(instead_of), true),
            Taken::Collapsed(place) => (StoredLock { place, sealed: Vec::new() }, Replaced::All, true),
        };
        let mut cut = 0;
        if is_new {
            self.parts.gate.lock(&self.locks);
            // As after a snapshot: no await stands here.
            let cause = CutCause::Lock { epoch: lock.epoch, sequence: lock.sequence };
            cut = self.parts.registry.judge(&self.parts.gate, cause);
            tracing::warn!(cut, "a lock came into force");
            self.parts.gate.clock().learn_locks(self.highest_in_force());
            self.parts.auditor.owe(locked(&lock, cut));
        }
        if !self.storing.has_room_for_lock() {
            self.unstored_lock = self.unstored_lock.max(Some(place));
            return Some(Err((NackCode::Storage, Text::clean(LATE))));
        }
        let write = self.parts.store.take_lock(row, instead_of);
        self.storing.follow(Object::Lock(Locked { place, cut, link: self.link }), write);
        None
    }

    /// Takes up what became of a write; what the hub is to hear of it.
    pub(super) fn handle_told(&mut self, told: Told) -> Option<Answer> {
        match told {
            Told::Late(Object::Policy(activated)) => {
                Some(Answer::Policy(activated.held, self.refuse(activated.held, NackCode::Storage, LATE)))
            }
            Told::Done(Object::Policy(activated), stored) => {
                Some(Answer::Policy(activated.held, self.stored(activated, stored)))
            }
            Told::Late(Object::Lock(locked)) => {
                self.about_lock(&locked, Err((NackCode::Storage, Text::clean(LATE))))
            }
            Told::Done(Object::Lock(locked @ Locked { place, cut, .. }), Ok(())) => {
                // The newest lock says all that those before it said.
                self.unstored_lock = self.unstored_lock.filter(|unstored| *unstored > place);
                self.about_lock(&locked, Ok((place.sequence, cut)))
            }
            Told::Done(Object::Lock(locked @ Locked { place, .. }), Err(error)) => {
                tracing::error!(%error, "a lock is in force and could not be stored");
                self.unstored_lock = self.unstored_lock.max(Some(place));
                self.about_lock(&locked, Err((NackCode::Storage, Text::clean(&error.to_string()))))
            }
            Told::Done(Object::Root(version), Err(error)) => {
                tracing::error!(%error, version, "the new root was not stored; the hub sends it again after a restart");
                None
            }
            Told::Late(Object::Root(_)) | Told::Done(Object::Root(_), Ok(())) => None,
        }
    }

    /// What the hub hears of a lock: nothing about one that came over an earlier link, because this one may never have sent
    /// it, and nothing about one of an earlier epoch, whose sequence another lock has now.
    fn about_lock(&self, Locked { place, link, .. }: &Locked, outcome: LockOutcome) -> Option<Answer> {
        let is_asked = *link == self.link && place.epoch == self.parts.anchor.root().policy_epoch;
        is_asked.then_some(Answer::Lock(outcome))
    }

    /// A link begins.
    pub(super) const fn handle_link(&mut self) {
        self.link = self.link.wrapping_add(1);
    }

    /// The next news of what is on its way to the disk.
    pub(super) async fn told(&mut self) -> Told {
        self.storing.next().await
    }

    /// The highest sequence of a lock that is held and stored, or lifted by the policy in force, in the root's epoch.
    pub(super) fn highest_lock(&self) -> u64 {
        if self.are_locks_stored() { self.highest_in_force() } else { 0 }
    }

    /// The same, stored or not.
    pub(super) fn highest_in_force(&self) -> u64 {
        let epoch = self.parts.anchor.root().policy_epoch;
        self.locks.highest(epoch).max(self.cleared(epoch))
    }

    const fn are_locks_stored(&self) -> bool {
        self.unstored_lock.is_none() && !self.storing.has_lock()
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
                    let cut = self.parts.registry.judge(&self.parts.gate, CutCause::Time);
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

    /// The root in force, and who this device is under it.
    pub(super) fn trusted(&self) -> (Arc<Root>, Whose) {
        let root = self.parts.anchor.root();
        let whose = Whose { fleet: root.fleet, device: self.parts.device };
        (root, whose)
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
        let Parts { device, keys, floor, anchor, .. } = &self.parts;
        keys.verify(sealed, &anchor.root(), *device, *floor)
    }

    fn refuse(&mut self, claimed: Held, code: NackCode, detail: &str) -> Outcome {
        self.parts.gate.clock().refused(claimed, code);
        let (version, code_word) = (claimed.version, code.word());
        if self.refusals.is_worth_a_row(Instant::now(), claimed, code) {
            tracing::warn!(version, code = code_word, reason = detail, "a policy was refused");
            self.parts.auditor.owe(Event::PolicyRefused { held: claimed, code });
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

/// A commit takes 5 to 50 ms on flash; after this the policy comes into force before it is stored.
const STORING: Duration = Duration::from_millis(250);
/// What the hub is told meanwhile.
const LATE: &str = "in force; the disk has not taken it yet";
const HOUR: Duration = Duration::from_secs(3600);
/// Refusals that are recorded in an hour.
const REFUSALS: u32 = 16;

/// What the link does with a snapshot and a lock, for tests of what happens on the disk meanwhile.
#[cfg(test)]
impl Activator {
    /// The floor, and who the device is.
    pub(crate) const fn known(&self) -> (Option<Floor>, &crate::store::Enrollment) {
        (self.parts.floor, &self.parts.enrollment)
    }

    /// The highest lock in force, or lifted.
    pub(crate) fn known_locks(&self) -> u64 {
        self.highest_in_force()
    }

    /// Puts a snapshot in force; whether it is stored.
    pub(crate) async fn take_policy(&mut self, held: Held, sealed: Vec<u8>) -> bool {
        let mut outcome = self.activate(held, sealed).await;
        loop {
            match outcome {
                Some(Outcome::Applied { .. }) => return true,
                Some(Outcome::Refused { detail, .. }) if detail.as_str() != LATE => return false,
                Some(Outcome::Refused { .. }) | None => {}
            }
            let told = self.told().await;
            outcome = match self.handle_told(told) {
                Some(Answer::Policy(_, outcome)) => Some(outcome),
                Some(Answer::Lock(_)) | None => None,
            };
        }
    }

    /// Puts a lock in force; whether it is stored.
    pub(crate) async fn take_lock(&mut self, sealed: Vec<u8>) -> bool {
        let mut outcome = self.lock(sealed);
        loop {
            match outcome {
                Some(Ok(_)) => return true,
                Some(Err((_, detail))) if detail.as_str() != LATE => return false,
                Some(Err(_)) | None => {}
            }
            let told = self.told().await;
            outcome = match self.handle_told(told) {
                Some(Answer::Lock(outcome)) => Some(outcome),
                Some(Answer::Policy(..)) | None => None,
            };
        }
    }
}

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
