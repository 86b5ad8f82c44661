//! The device's disk: one writer, commits that are all or nothing, and every way in which they go wrong.
//!
//! 1. [`Disk::begin`] queues a write; [`Disk::poll`] says which are durable or refused. One is written at a time.
//! 2. A disk in trouble refuses, or hangs for as long as the trouble lasts.
//! 3. [`Disk::lose_power`] comes before or behind the commit that is under way, and takes with it what waits.
//!
//! What is stored, and in which transaction, is that of `agent/src/store`.

use std::collections::VecDeque;

use postern_protocol::audit::chain::{self, Link, ORIGIN};
use postern_protocol::audit::{Event, Row};
use postern_protocol::policy::{Floor, LockPlace};
use postern_protocol::session::CHUNK_S;
use postern_protocol::session::freshness::Note;
use postern_protocol::time::UnixTime;

use crate::chance::Chance;

/// What survives.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The newest root.
    pub(crate) root: Vec<u8>,
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) floor: Option<Floor>,
    pub(crate) owed: Option<Floor>,
    pub(crate) locks: Vec<(LockPlace, Vec<u8>)>,
    pub(crate) time: UnixTime,
    pub(crate) spent: u32,
    pub(crate) boots: u32,
    /// The floor once more, in a file of its own.
    pub(crate) floor_copy: Option<Floor>,
}

/// One write.
#[derive(Debug)]
pub(crate) enum Job {
    Install { floor: Floor, sealed: Vec<u8>, time: UnixTime, cleared: u64 },
    Lock { place: LockPlace, sealed: Vec<u8>, instead_of: Option<Vec<LockPlace>> },
    Root(Vec<u8>),
    Note(Note),
    Settle(Floor),
    Row(UnixTime, Event),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    Refuses,
    Hangs,
}

pub(crate) struct Disk {
    pub(crate) stored: Stored,
    pub(crate) trail: Vec<(Vec<u8>, Link)>,
    pub(crate) trouble: Trouble,
    /// Everything that was ever committed.
    pub(crate) commits: u64,
    waiting: VecDeque<(u64, Job)>,
    /// When the first of them is written; none while nothing waits or the disk hangs.
    due: Option<u64>,
    next: u64,
}

impl Disk {
    /// As an enrolment leaves it.
    pub(crate) fn new(stored: Stored) -> Self {
        let (trail, waiting) = (Vec::new(), VecDeque::new());
        Self { stored, trail, trouble: Trouble::None, commits: 0, waiting, due: None, next: 0 }
    }

    /// Queues a write, and names it.
    pub(crate) fn begin(&mut self, job: Job, chance: &mut Chance, now: u64) -> u64 {
        self.next += 1;
        self.waiting.push_back((self.next, job));
        if self.waiting.len() == 1 {
            self.plan(chance, now);
        }
        self.next
    }

    /// The disk gets into trouble or out of it.
    pub(crate) fn fall_into(&mut self, trouble: Trouble, chance: &mut Chance, now: u64) {
        self.trouble = trouble;
        self.plan(chance, now);
    }

    /// The next write that is over, and whether it is durable.
    pub(crate) fn poll(&mut self, chance: &mut Chance, now: u64) -> Option<(u64, bool)> {
        self.due.filter(|due| *due <= now)?;
        let (id, job) = self.waiting.pop_front()?;
        let is_done = self.trouble == Trouble::None;
        if is_done {
            self.commit(job, true);
        }
        self.plan(chance, now);
        Some((id, is_done))
    }

    /// When the next write is over.
    pub(crate) const fn due(&self) -> Option<u64> {
        self.due
    }

    /// The power is cut: whether the commit under way was durable already is a matter of chance, and so is the copy of
    /// the floor, which comes behind it.
    pub(crate) fn lose_power(&mut self, chance: &mut Chance) -> Option<&'static str> {
        self.due = None;
        let under_way = self.waiting.pop_front();
        self.waiting.clear();
        let (_, job) = under_way?;
        let is_done = self.trouble == Trouble::None && chance.one_in(2);
        if is_done {
            self.commit(job, chance.one_in(2));
        }
        Some(if is_done { "the power went behind a commit" } else { "the power went before a commit" })
    }

    /// Counts a start and debits it; whether that is stored.
    pub(crate) const fn count_boot(&mut self) -> bool {
        let is_stored = matches!(self.trouble, Trouble::None);
        if is_stored {
            self.commits += 1;
            self.stored.boots += 1;
            self.stored.spent = self.stored.spent.saturating_add(CHUNK_S);
        }
        is_stored
    }

    /// 5 to 50 ms on flash, and now and then a second.
    fn plan(&mut self, chance: &mut Chance, now: u64) {
        let latency = if chance.one_in(20) { chance.within(100..3000) } else { chance.within(5..50) };
        let is_due = !self.waiting.is_empty() && self.trouble != Trouble::Hangs;
        self.due = is_due.then_some(now + latency);
    }

    fn commit(&mut self, job: Job, with_copy: bool) {
        let stored = &mut self.stored;
        self.commits += 1;
        match job {
            Job::Install { floor, sealed, time, cleared } => {
                (stored.sealed, stored.floor, stored.owed) = (Some(sealed), Some(floor), Some(floor));
                stored.locks.retain(|(at, _)| *at > LockPlace { epoch: floor.epoch, sequence: cleared });
                stored.time = time;
                if with_copy {
                    stored.floor_copy = Some(floor);
                }
            }
            Job::Lock { place, sealed, instead_of } => {
                let goes = |at: &LockPlace| instead_of.as_ref().is_none_or(|these| these.contains(at));
                stored.locks.retain(|(at, _)| !goes(at) && *at != place);
                stored.locks.push((place, sealed));
            }
            Job::Root(sealed) => stored.root = sealed,
            Job::Note(note) => (stored.time, stored.spent) = (note.time, note.spent),
            Job::Settle(floor) => drop(stored.owed.take_if(|owed| *owed == floor)),
            Job::Row(at, event) => {
                let seq = u64::try_from(self.trail.len()).unwrap() + 1;
                let last = self.trail.last().map_or(ORIGIN, |(_, link)| *link);
                self.trail.push(chain::append(&last, &Row { seq, at, event }).unwrap());
            }
        }
    }
}
