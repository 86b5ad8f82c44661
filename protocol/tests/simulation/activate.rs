//! What comes into force, and how it gets to the disk: `sync/activate.rs`, `chain.rs` and `storing.rs` of the agent.

use std::sync::Arc;

use postern_protocol::audit::Event;
use postern_protocol::policy::{
    Expectation, Floor, Index, LockPlace, SnapshotFault, Taken, Verified, verify,
};
use postern_protocol::session::agent::{self, Outcome, RootOutcome};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{Lock, LockFault, Timestamp};
use postern_protocol::wire::control::{Held, HubMessage, NackCode, RootCode};
use postern_protocol::wire::text::Text;

use crate::bench::Bench;
use crate::cloud::{DEVICE, Whose, key};
use crate::device::{Device, boot_time, held};
use crate::disk::Job;
use crate::flaw::Flaw;

/// A snapshot that verified and is about to come into force.
pub(crate) struct Activating {
    claimed: Held,
    verified: Verified,
    /// None where too many wait for the disk already.
    pub(crate) write: Option<u64>,
    /// It comes into force by then, stored or not.
    pub(crate) until: u64,
}

/// What is in force and on its way to the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Object {
    Policy { claimed: Held, floor: Floor, cut: u32, lifted: Option<u64> },
    Lock { place: LockPlace, cut: u32, link: Option<u64> },
    Root,
}

impl Device {
    /// Puts what is stored in force at boot, verified as if it had just come.
    pub(crate) fn resume(&mut self, sealed: &[u8], bench: &mut Bench) {
        match self.verify(sealed) {
            Ok(verified) => {
                let (floor, cleared) = (verified.floor(), verified.snapshot().locks_cleared);
                self.life.locks.handle_snapshot(floor.epoch, cleared);
                self.install(Index::build(verified), bench);
                self.learn_locks(bench);
            }
            Err(_) => bench.note("stored policy refused", 0, 0),
        }
    }

    /// Takes one message. False when the link must end.
    pub(crate) fn take(&mut self, message: HubMessage, bench: &mut Bench) -> bool {
        let now = boot_time(&self.life, bench.now);
        if matches!(message, HubMessage::Chunk { .. }) {
            self.life.watch.handle_progress(now);
        }
        match self.life.sync.handle_message(message) {
            Ok(Some(agent::Event::Offered { held, bytes })) => self.activate(held, bytes, bench),
            Ok(Some(agent::Event::Timestamp { bytes })) => self.hear_time(&bytes, bench),
            Ok(Some(agent::Event::Lock { bytes })) => self.lock(bytes, bench),
            Ok(Some(agent::Event::Root(bytes))) => {
                let outcome = self.take_root(bytes, bench);
                self.life.sync.handle_root_outcome(outcome);
            }
            Ok(
                Some(
                    agent::Event::UpToDate
                    | agent::Event::KeyWanted
                    | agent::Event::Meet(_)
                    | agent::Event::ReceiptTaken(_)
                    | agent::Event::RowsTaken(_)
                    | agent::Event::RowsRefused(..)
                    | agent::Event::Return(_),
                )
                | None,
            ) => {}
            Err(_) => {
                bench.note("hub broke the protocol", 0, 0);
                return false;
            }
        }
        true
    }

    fn activate(&mut self, claimed: Held, sealed: Vec<u8>, bench: &mut Bench) {
        let verified = match self.verify(&sealed) {
            Ok(verified) if held(verified.floor()) == claimed => verified,
            Ok(_other) => return self.refuse(claimed, NackCode::Transfer, bench),
            Err(fault) => return self.refuse(claimed, fault.code(), bench),
        };
        let floor = verified.floor();
        if self.is_active() && self.life.floor == Some(floor) {
            return self.answer(claimed, Outcome::Applied { cut: 0 });
        }
        let waiting = self.life.following.values().filter_map(|object| match object {
            Object::Policy { floor, .. } => Some(*floor),
            Object::Lock { .. } | Object::Root => None,
        });
        let waiting: Vec<Floor> = waiting.collect();
        if waiting.contains(&floor) {
            return self.refuse(claimed, NackCode::Storage, bench);
        }
        let snapshot = verified.snapshot();
        let time = self.time(bench).max(snapshot.issued);
        let job = Job::Install { floor, sealed, time, cleared: snapshot.locks_cleared };
        let has_room = waiting.len() < POLICIES;
        let write = has_room.then(|| self.disk.begin(job, &mut bench.chance, bench.now));
        let until = if has_room { bench.now + STORING } else { bench.now };
        self.life.activating = Some(Activating { claimed, verified, write, until });
        if !has_room {
            self.come_into_force(Some(false), bench);
        }
    }

    /// The moment of activation. `stored` is none while the disk has not answered.
    pub(crate) fn come_into_force(&mut self, stored: Option<bool>, bench: &mut Bench) {
        let Some(Activating { claimed, verified, write, .. }) = self.life.activating.take() else { return };
        let (floor, cleared) = (verified.floor(), verified.snapshot().locks_cleared);
        self.life.floor = Some(floor);
        let lifted = self.life.locks.handle_snapshot(floor.epoch, cleared).map(|place| place.sequence);
        // What is lifted need not be stored any more.
        let limit = LockPlace { epoch: floor.epoch, sequence: cleared };
        self.life.unstored_lock = self.life.unstored_lock.filter(|unstored| *unstored > limit);
        self.install(Index::build(verified), bench);
        let cut = if self.flaw == Flaw::NoJudgeAfterInstall { 0 } else { self.judge(bench) };
        bench.note("policy in force", floor.version, u64::from(floor.epoch));
        if cut > 0 {
            bench.note("a withdrawal cut tunnels", floor.version, u64::from(cut));
        }
        self.learn_locks(bench);
        let object = Object::Policy { claimed, floor, cut, lifted };
        match (stored, write) {
            (None, Some(write)) => {
                bench.note("a policy in force before it was stored", floor.version, 0);
                self.life.is_stored = false;
                if self.flaw == Flaw::AcknowledgesEarly {
                    self.answer(claimed, Outcome::Applied { cut });
                }
                self.follow(write, object, bench);
            }
            (stored, _) => self.stored_late(object, stored == Some(true), bench),
        }
    }

    /// A write is over that somebody waits for.
    pub(crate) fn stored_late(&mut self, object: Object, is_stored: bool, bench: &mut Bench) {
        match object {
            Object::Policy { claimed, floor, cut, lifted } => {
                if self.life.floor == Some(floor) {
                    self.life.is_stored = is_stored;
                }
                if !is_stored {
                    return self.refuse(claimed, NackCode::Storage, bench);
                }
                self.owe(Event::PolicyApplied { held: claimed, cut });
                if let Some(sequence) = lifted {
                    bench.note("locks lifted", sequence, 0);
                    self.owe(Event::Unlocked { sequence });
                }
                self.answer(claimed, Outcome::Applied { cut });
            }
            Object::Lock { place, cut, link } if is_stored => {
                self.life.unstored_lock = self.life.unstored_lock.filter(|unstored| *unstored > place);
                self.about_lock((place, link), Ok((place.sequence, cut)));
            }
            Object::Lock { place, link, .. } => {
                self.life.unstored_lock = self.life.unstored_lock.max(Some(place));
                self.about_lock((place, link), Err((NackCode::Storage, Text::clean("disk"))));
            }
            Object::Root => {}
        }
    }

    /// A write takes long: the hub is told that nothing is stored yet.
    pub(crate) fn is_late(&mut self, id: u64, bench: &mut Bench) {
        match self.life.following.get(&id) {
            Some(Object::Policy { claimed, .. }) => self.refuse(*claimed, NackCode::Storage, bench),
            Some(Object::Lock { place, link, .. }) => {
                self.about_lock((*place, *link), Err((NackCode::Storage, Text::clean("late"))));
            }
            Some(Object::Root) | None => {}
        }
    }

    /// Nothing about a lock that came over an earlier link, or of an earlier epoch, whose sequence another lock has now.
    fn about_lock(
        &mut self,
        (place, link): (LockPlace, Option<u64>),
        outcome: Result<(u64, u32), (NackCode, Text)>,
    ) {
        if link == self.link() && place.epoch == self.life.root.policy_epoch {
            self.life.sync.handle_lock(outcome);
        }
    }

    fn lock(&mut self, sealed: Vec<u8>, bench: &mut Bench) {
        let lock = match Lock::verify(&sealed, &self.life.root, DEVICE) {
            Ok(lock) => lock,
            Err(fault) => return self.refuse_lock(&fault, bench),
        };
        let taken = match self.life.locks.handle_lock(&lock, self.cleared(lock.epoch)) {
            Ok(taken) => taken,
            Err(fault) => return self.refuse_lock(&fault, bench),
        };
        let place = LockPlace { epoch: lock.epoch, sequence: lock.sequence };
        let (place, sealed, instead_of, is_new) = match taken {
            Taken::Known if self.are_locks_stored() => {
                return self.life.sync.handle_lock(Ok((lock.sequence, 0)));
            }
            Taken::Known => (place, sealed, Some(Vec::new()), false),
            Taken::Held { instead_of } => (place, sealed, Some(instead_of), true),
            Taken::Collapsed(place) => (place, Vec::new(), None, true),
        };
        let mut cut = 0;
        if is_new {
            if let Some(index) = &mut self.life.policy {
                *index = Arc::new(Index::clone(index).under(&self.life.locks));
            }
            cut = if self.flaw == Flaw::NoJudgeAfterLock { 0 } else { self.judge(bench) };
            bench.note("lock in force", lock.sequence, u64::from(cut));
            if cut > 0 {
                bench.note("a lock cut tunnels", lock.sequence, u64::from(cut));
            }
            self.learn_locks(bench);
            let (sequence, device) = (lock.sequence, self.life.locks.deny_device());
            self.owe(Event::Locked { sequence, device, users: 0, categories: 0, cut });
        }
        let locks = self.life.following.values().filter(|object| matches!(object, Object::Lock { .. }));
        if locks.count() >= LOCKS {
            self.life.unstored_lock = self.life.unstored_lock.max(Some(place));
            return self.life.sync.handle_lock(Err((NackCode::Storage, Text::clean("late"))));
        }
        let write = self.disk.begin(Job::Lock { place, sealed, instead_of }, &mut bench.chance, bench.now);
        self.follow(write, Object::Lock { place, cut, link: self.link() }, bench);
    }

    fn take_root(&mut self, sealed: Vec<u8>, bench: &mut Bench) -> RootOutcome {
        let next = match self.life.root.accept_next(&sealed) {
            Ok(next) => next,
            Err(fault) => {
                bench.note("root refused", u64::from(self.life.root.version), 0);
                let (version, code) = (self.life.root.version, RootCode::from(&fault));
                return RootOutcome::Refused { version, code, detail: Text::clean("refused") };
            }
        };
        let (version, epoch) = (next.version, next.policy_epoch);
        let vouched = self.life.policy.as_ref().is_some_and(|index| index.holds_under(&next));
        self.life.root = next;
        let mut cut = 0;
        if self.flaw != Flaw::NoJudgeAfterRoot {
            if !vouched {
                self.life.policy = None;
            }
            cut = self.judge(bench);
        }
        bench.note("root in force", version.into(), cut.into());
        let now = boot_time(&self.life, bench.now);
        self.life.watch.handle_root(version, now);
        self.learn_locks(bench);
        let write = self.disk.begin(Job::Root(sealed), &mut bench.chance, bench.now);
        self.follow(write, Object::Root, bench);
        self.owe(Event::RootTaken { version, epoch, cut });
        RootOutcome::Taken { version }
    }

    fn hear_time(&mut self, sealed: &[u8], bench: &mut Bench) {
        let now = boot_time(&self.life, bench.now);
        let Some(nonce) = self.life.watch.nonce() else { return };
        let opened = if self.flaw == Flaw::TakesEveryAnswer {
            Timestamp::inspect(sealed, &self.life.root, DEVICE).map(|other| Timestamp { nonce, ..other })
        } else {
            Timestamp::open(sealed, &self.life.root, DEVICE, nonce)
        };
        match opened {
            Ok(timestamp) => {
                let heard = self.life.watch.handle_timestamp(&timestamp, now);
                if heard.refreshed && self.flaw == Flaw::WritesWhenIdle {
                    self.disk.begin(Job::Note(self.life.watch.note(now)), &mut bench.chance, bench.now);
                }
                if heard.attested {
                    // Time may have stepped, and a window with it.
                    self.judge(bench);
                }
                bench.note(if heard.refreshed { "refreshed" } else { "heard" }, timestamp.lock, 0);
            }
            Err(_) => bench.note("timestamp refused", 0, 0),
        }
    }

    /// Whether the snapshot at the floor is in force, and stored.
    pub(crate) fn is_active(&self) -> bool {
        let in_force = self.life.policy.as_ref().map(|index| index.floor());
        self.life.is_stored && in_force == self.life.floor && self.life.floor.is_some()
    }

    /// The highest lock that is held and stored, or lifted, in the root's epoch.
    pub(crate) fn highest_lock(&self) -> u64 {
        if self.are_locks_stored() { self.highest_in_force() } else { 0 }
    }

    /// The same, stored or not.
    pub(crate) fn highest_in_force(&self) -> u64 {
        let epoch = self.life.root.policy_epoch;
        self.life.locks.highest(epoch).max(self.cleared(epoch))
    }

    /// What the device's clock says.
    pub(crate) fn time(&self, bench: &Bench) -> UnixTime {
        self.life.watch.time().at(boot_time(&self.life, bench.now))
    }

    fn link(&self) -> Option<u64> {
        self.life.link.as_ref().map(|link| link.number)
    }

    fn are_locks_stored(&self) -> bool {
        let waits = self.life.following.values().any(|object| matches!(object, Object::Lock { .. }));
        self.life.unstored_lock.is_none() && !waits
    }

    fn cleared(&self, epoch: u32) -> u64 {
        let index = self.life.policy.as_ref().filter(|index| index.snapshot().epoch == epoch);
        index.map_or(0, |index| index.snapshot().locks_cleared)
    }

    fn verify(&self, sealed: &[u8]) -> Result<Verified, SnapshotFault> {
        let (root, device_key) = (&self.life.root, key(Whose::Device, 0).public());
        verify(sealed, &Expectation { root, device: DEVICE, device_key, floor: self.life.floor })
    }

    fn install(&mut self, index: Index, bench: &Bench) {
        let (floor, snapshot) = (index.floor(), index.snapshot());
        let now = boot_time(&self.life, bench.now);
        self.life.watch.handle_installed(held(floor), snapshot.freshness, snapshot.issued, now);
        self.life.policy = Some(Arc::new(index.under(&self.life.locks)));
    }

    fn learn_locks(&mut self, bench: &Bench) {
        let (highest, now) = (self.highest_in_force(), boot_time(&self.life, bench.now));
        self.life.watch.handle_locks(highest, now);
    }

    fn follow(&mut self, write: u64, object: Object, bench: &Bench) {
        self.life.following.insert(write, object);
        self.life.late.push_back((bench.now + PATIENCE, write));
    }

    fn refuse(&mut self, claimed: Held, code: NackCode, bench: &mut Bench) {
        let now = boot_time(&self.life, bench.now);
        self.life.watch.handle_refused(claimed, code, now);
        bench.note("policy refused", claimed.version, 0);
        self.answer(claimed, Outcome::Refused { code, detail: Text::clean(code.word()) });
    }

    fn refuse_lock(&mut self, fault: &LockFault, bench: &mut Bench) {
        bench.note("lock refused", 0, 0);
        self.life.sync.handle_lock(Err((fault.code(), Text::clean("refused"))));
    }

    fn answer(&mut self, claimed: Held, outcome: Outcome) {
        if self.flaw != Flaw::NeverAnswers {
            self.life.sync.handle_outcome(claimed, outcome);
        }
    }
}

/// A snapshot comes into force after this, stored or not.
const STORING: u64 = 250;
/// After this the hub is told that something is not stored yet.
const PATIENCE: u64 = 1_000;
/// Writes that may wait.
const POLICIES: usize = 4;
const LOCKS: usize = 8;
