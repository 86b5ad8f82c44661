//! The device's watch over time and freshness: when to ask, what an answer means, and for how long the policy counts.
//!
//! 1. [`poll_question`](FreshnessWatch::poll_question) yields a nonce to ask with: at once on every link, every minute
//!    while tunnels are live, every few minutes otherwise.
//! 2. [`handle_timestamp`](FreshnessWatch::handle_timestamp) takes the answer. It attests the time, and if it names
//!    exactly the policy in force, that policy is fresh for its window, counted from the question.
//! 3. A repeat of an answered nonce only *names*: the policy that is pushed next is known by name when it comes, but it
//!    earns no freshness by that.
//! 4. A policy that no timestamp has named is *unconfirmed*: what is opened under it is judged as if it were stale, and
//!    what is live keeps the freshness that the policy before it had earned. So a stolen policy key alone opens nothing
//!    on a device that hears its cloud, except what is marked for work without it.
//! 5. A name that is older, other, or newer and does not come, refreshes nothing and raises an alarm; so does a lock or root
//!    that is named and withheld.
//! 6. [`poll_note`](FreshnessWatch::poll_note) says what must survive a power cut. While the policy is fresh that is
//!    nothing.
//!
//! Deliberately absent: signatures. Whoever hands a timestamp in has opened it with the [`nonce`](FreshnessWatch::nonce)
//! of the last question.

use std::time::Duration;

use super::alarm::{Alarms, Cause};
use super::budget::Budget;
use super::missing::{Missing, Names};
use super::timekeeper::Timekeeper;
use crate::policy::{Freshness, FreshnessRule, FreshnessState, SelfTestFault};
use crate::time::{BootTime, UnixTime};
use crate::trust::{Nonce, Timestamp};
use crate::wire::control::{Held, NackCode};

/// Time and freshness of one device; pure.
#[derive(Clone, Debug)]
pub struct FreshnessWatch {
    time: Timekeeper,
    budget: Budget,
    alarms: Alarms,
    in_force: Option<(Held, FreshnessRule)>,
    root_version: u32,
    /// The highest lock in force, or lifted by the policy in force, in the root's epoch.
    locks: u64,
    /// When the question was asked whose answer refreshed last.
    refreshed: Option<BootTime>,
    /// Until when what is live is fresh.
    fresh_until: Option<BootTime>,
    /// Whether a timestamp has named what is in force.
    confirmed: bool,
    /// What the last timestamp named, and when the question was asked, if it was an answer.
    word: Option<(Held, Option<BootTime>)>,
    missing: Missing,
    link: Link,
    is_busy: bool,
    question: Option<Question>,
    next_question: BootTime,
    notes: Notes,
    /// The end of the budget was reported.
    is_spent: bool,
}

/// What must survive a power cut; stored as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// What time it is at least.
    pub time: UnixTime,
    /// Seconds of the budget that are spent, what is debited ahead included.
    pub spent: u32,
}

/// What a decision needs to know of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The device's time.
    pub now: UnixTime,
    /// What new tunnels are judged by.
    pub opening: Freshness,
    /// What live tunnels are judged by.
    pub live: Freshness,
}

/// What a timestamp meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The time was attested.
    pub attested: bool,
    /// The policy in force was confirmed, or is fresh for longer.
    pub refreshed: bool,
}

/// What is known at boot.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// The time that was stored last: a lower bound.
    pub time: UnixTime,
    /// Seconds of the budget that are stored as spent; [`u32::MAX`] where that cannot be known, which permits nothing
    /// before the cloud is heard.
    pub spent: u32,
    /// Whether the debit of this boot ([`CHUNK_S`](super::CHUNK_S)) is among them. Where it could not be stored, nothing is
    /// paid for yet.
    pub is_debited: bool,
    /// Version of the root in force.
    pub root_version: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// The first attempt since boot is not over.
    Untried,
    Up,
    Down,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    nonce: Nonce,
    asked: BootTime,
    answered: bool,
}

/// What is stored, and what waits for it.
#[derive(Clone, Copy, Debug, Default)]
struct Notes {
    /// A note that is handed out.
    writing: Option<Writing>,
    /// The time, or what was given back to the budget, should be stored.
    wanted: bool,
    /// Nothing is tried again before this.
    retry: Option<BootTime>,
    /// The time was attested and stored since boot.
    is_dated: bool,
}

/// A note on its way to the disk.
#[derive(Clone, Copy, Debug)]
struct Writing {
    /// It carries a debit.
    is_debit: bool,
    /// It carries attested time.
    is_dated: bool,
}

impl FreshnessWatch {
    /// At boot, before a policy is in force.
    #[must_use]
    pub fn new(memory: &Memory, now: BootTime) -> Self {
        Self {
            time: Timekeeper::new(memory.time, now),
            budget: Budget::new(memory.spent, memory.is_debited, now),
            alarms: Alarms::default(),
            in_force: None,
            root_version: memory.root_version,
            locks: 0,
            refreshed: None,
            fresh_until: None,
            confirmed: false,
            word: None,
            missing: Missing::default(),
            link: Link::Untried,
            is_busy: false,
            question: None,
            next_question: now,
            notes: Notes::default(),
            is_spent: false,
        }
    }

    /// A verified policy comes into force that was signed at `issued`.
    pub fn handle_installed(&mut self, held: Held, rule: FreshnessRule, issued: UnixTime, now: BootTime) {
        self.time.handle_signed(issued, now);
        let same = self.in_force.is_some_and(|(before, _)| before == held);
        self.in_force = Some((held, rule));
        // What was earned is never stretched by a later rule: it was earned under the one before.
        let by_rule = self.refreshed.map(|at| at.after(window(&rule)));
        self.fresh_until = self.fresh_until.min(by_rule);
        if !same {
            match self.word.filter(|(named, _)| *named == held) {
                // An old word still confirms, but what is over is over.
                Some((_, Some(asked))) if now < asked.after(window(&rule)) => self.refresh(asked),
                Some(_) => self.confirmed = true,
                None => {
                    self.confirmed = false;
                    // The answer to a question that is open will name it.
                    if self.question.is_none_or(|question| question.answered) {
                        self.next_question = self.next_question.min(now);
                    }
                }
            }
        }
        // A shorter window asks sooner than the one before planned to.
        if let Some(question) = self.question.filter(|question| question.answered) {
            self.next_question = self.next_question.min(question.asked.after(self.interval()));
        }
        self.missing.handle_came(|names| Names {
            policy: names.policy.filter(|named| order(named) > order(&held)),
            ..names
        });
    }

    /// The self-test failed.
    pub fn handle_self_test(&mut self, fault: SelfTestFault, now: BootTime) {
        self.alarms.raise(Cause::SelfTest(fault), now);
    }

    /// A pushed policy was refused. What was named is not withheld then.
    pub fn handle_refused(&mut self, claimed: Held, code: NackCode, now: BootTime) {
        let left = |names: Names| Names { policy: names.policy.filter(|named| *named != claimed), ..names };
        self.missing.handle_came(left);
        let Some((held, _)) = self.in_force else { return };
        match code {
            NackCode::Rollback => self.alarms.raise(Cause::OlderPolicy { found: Some(claimed), held }, now),
            NackCode::Equivocation => {
                self.alarms.raise(Cause::Equivocation { version: claimed.version }, now);
            }
            NackCode::Envelope
            | NackCode::Addressee
            | NackCode::Epoch
            | NackCode::Form
            | NackCode::Storage
            | NackCode::Transfer => {}
        }
    }

    /// A root is in force. The keys of its timestamp role may be others, so the cloud is asked again at once.
    pub fn handle_root(&mut self, version: u32, now: BootTime) {
        self.root_version = version;
        let left = |names: Names| Names { root: names.root.filter(|named| *named > version), ..names };
        self.missing.handle_came(left);
        self.next_question = self.next_question.min(now);
    }

    /// The highest sequence of a lock that is in force, or lifted by the policy in force, in the root's epoch. One that was
    /// named and came makes the cloud be asked again at once: the answer that named it refreshed nothing.
    pub fn handle_locks(&mut self, highest: u64, now: BootTime) {
        self.locks = highest;
        let left = |names: Names| Names { lock: names.lock.filter(|named| *named > highest), ..names };
        if self.missing.handle_came(left) {
            self.next_question = self.next_question.min(now);
        }
    }

    /// The link came up or went down.
    pub fn handle_link(&mut self, is_up: bool, now: BootTime) {
        self.link = if is_up { Link::Up } else { Link::Down };
        // The next answer is to a question of the next link.
        self.question = None;
        self.next_question = now;
        self.missing.handle_link(is_up, now);
    }

    /// Tunnels are live, or none is any more. After a while without any the cloud is asked at once.
    pub fn handle_tunnels(&mut self, are_live: bool, now: BootTime) {
        let begins = are_live && !self.is_busy;
        self.is_busy = are_live;
        let Some(question) = self.question.filter(|question| begins && question.answered) else { return };
        let earliest = question.asked.after(PAUSE);
        self.next_question = self.next_question.min(earliest.max(now));
    }

    /// A part of what is being pushed came. Something large over a slow link is not withheld.
    pub fn handle_progress(&mut self, now: BootTime) {
        self.missing.handle_progress(now);
    }

    /// Something was verified that was signed at `issued`.
    pub fn handle_signed(&mut self, issued: UnixTime, now: BootTime) {
        let before = self.time.at(now);
        self.time.handle_signed(issued, now);
        // Passes are signed every few hours; a bound that lags by a minute costs nothing and saves flash.
        self.notes.wanted |= self.time.at(now).secs_since(before) > NOTED_STEP_S;
    }

    /// Takes a timestamp that was opened with [`nonce`](Self::nonce).
    pub fn handle_timestamp(&mut self, timestamp: &Timestamp, now: BootTime) -> Heard {
        let Some(question) = self.question.as_mut().filter(|question| question.nonce == timestamp.nonce)
        else {
            return Heard::default();
        };
        let asked = question.asked;
        // What comes later than this says too little about now; it was signed after the question all the same.
        let is_answer = !std::mem::replace(&mut question.answered, true) && now.since(asked) <= ANSWER;
        if is_answer {
            self.time.handle_attested(timestamp.time, asked);
            self.notes.wanted |= !self.notes.is_dated;
            self.next_question = asked.after(self.interval());
        }
        let refreshed = self.take_names(timestamp, is_answer.then_some(asked), now);
        Heard { attested: is_answer, refreshed }
    }

    /// The nonce of the question that is open, or was answered last: only timestamps with it count.
    #[must_use]
    pub fn nonce(&self) -> Option<Nonce> {
        self.question.map(|question| question.nonce)
    }

    /// Whether the cloud is to be asked now; `draw` makes the nonce, and where it cannot nobody is asked.
    pub fn poll_question(&mut self, now: BootTime, draw: impl FnOnce() -> Option<Nonce>) -> Option<Nonce> {
        if self.question_due().is_none_or(|due| now < due) {
            return None;
        }
        self.next_question = now.after(ANSWER);
        let nonce = draw()?;
        self.question = Some(Question { nonce, asked: now, answered: false });
        Some(nonce)
    }

    /// When the cloud is to be asked next; none without a link.
    #[must_use]
    pub fn question_due(&self) -> Option<BootTime> {
        (self.link == Link::Up).then_some(self.next_question)
    }

    /// What must be stored now, if anything; report with [`handle_noted`](Self::handle_noted).
    pub fn poll_note(&mut self, now: BootTime) -> Option<Note> {
        if self.notes.writing.is_some() || self.notes.retry.is_some_and(|retry| now < retry) {
            return None;
        }
        let total = self.in_force.map_or(0, |(_, rule)| rule.offline_s);
        let debit = self.budget.poll_debit(total, self.fresh_until, now);
        if debit.is_none() && !self.notes.wanted {
            return None;
        }
        self.notes.writing = Some(Writing { is_debit: debit.is_some(), is_dated: self.time.is_attested() });
        self.notes.wanted = false;
        Some(Note { spent: debit.unwrap_or(self.budget.spent()), ..self.note(now) })
    }

    /// A note was stored, or could not be.
    pub fn handle_noted(&mut self, stored: bool, now: BootTime) {
        let Some(note) = self.notes.writing.take() else { return };
        self.notes.retry = (!stored).then(|| now.after(RETRY));
        self.notes.is_dated |= stored && note.is_dated;
        if note.is_debit {
            self.budget.handle_debited(stored);
        }
        // What was not stored is stored with the next note; that can wait, unlike a debit.
        self.notes.wanted |= !stored;
    }

    /// What is to be stored with a policy, or before an orderly end.
    #[must_use]
    pub fn note(&self, now: BootTime) -> Note {
        Note { time: self.time.at(now), spent: self.budget.spent() }
    }

    /// The next alarm to record and report. What became overdue by now raises one.
    pub fn poll_alarm(&mut self, now: BootTime) -> Option<Cause> {
        if let Some(cause) = self.missing.poll_overdue(now) {
            self.alarms.raise(cause, now);
        }
        if let Some((_, FreshnessRule { offline_s: total_s @ 1.., .. })) = self.in_force
            && self.budget.spent() >= total_s
            && self.state(now) == Some(FreshnessState::Expired)
            && !std::mem::replace(&mut self.is_spent, true)
        {
            self.alarms.raise(Cause::Spent { total_s }, now);
        }
        self.alarms.poll()
    }

    /// When something changes or is due by itself, after `now`; questions apart. What is live must be decided again then: the
    /// end of the budget comes nearer when a debit is not stored in time.
    #[must_use]
    pub fn poll_timeout(&self, now: BootTime) -> Option<BootTime> {
        let (_, rule) = self.in_force?;
        let due = self.budget.due(self.fresh_until);
        let end = self.budget.end(rule.offline_s, self.fresh_until, now);
        let overdue = self.budget.overdue(self.fresh_until);
        let edges = [self.missing.due(), self.fresh_until, Some(due), Some(end), overdue, self.notes.retry];
        edges.into_iter().flatten().filter(|edge| *edge > now).min()
    }

    /// What a decision needs to know of time.
    #[must_use]
    pub fn reading(&self, now: BootTime) -> Reading {
        let time = self.time.at(now);
        let Some((_, rule)) = self.in_force else {
            return Reading { now: time, opening: Freshness::NEVER, live: Freshness::NEVER };
        };
        let end = self.budget.end(rule.offline_s, self.fresh_until, now);
        let calendar = |moment: BootTime| self.time.at(moment);
        let live = Freshness {
            fresh_until: self.fresh_until.map_or(UnixTime::EPOCH, calendar),
            offline_until: if end == BootTime::ZERO { UnixTime::EPOCH } else { calendar(end) },
        };
        let opening = if self.confirmed { live } else { Freshness { fresh_until: UnixTime::EPOCH, ..live } };
        Reading { now: time, opening, live }
    }

    /// What the policy in force is worth to new tunnels; none without one.
    #[must_use]
    pub fn state(&self, now: BootTime) -> Option<FreshnessState> {
        self.in_force?;
        let reading = self.reading(now);
        Some(reading.opening.state(reading.now))
    }

    /// Whether the policy is not fresh yet and a word of the cloud may come any moment.
    #[must_use]
    pub fn awaits_word(&self, now: BootTime) -> bool {
        let is_waiting = match self.link {
            Link::Untried => true,
            Link::Up => {
                let is_asking = self.question.is_none_or(|question| !question.answered);
                is_asking || !self.confirmed || self.missing.is_awaited()
            }
            Link::Down => false,
        };
        is_waiting && self.state(now).is_some_and(|state| state != FreshnessState::Fresh)
    }

    /// The time of the device.
    #[must_use]
    pub const fn time(&self) -> &Timekeeper {
        &self.time
    }

    /// Whether a timestamp has named what is in force.
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Seconds of the budget that are left, none of them promised while the disk refuses.
    #[must_use]
    pub fn offline_left_s(&self, now: BootTime) -> u64 {
        let Some((_, rule)) = self.in_force else { return 0 };
        let end = self.budget.end(rule.offline_s, self.fresh_until, now);
        end.since(self.fresh_until.unwrap_or(now).max(now)).as_secs()
    }

    /// What a timestamp says about policy, root and locks; whether it confirmed or refreshed what is in force.
    fn take_names(&mut self, timestamp: &Timestamp, answers: Option<BootTime>, now: BootTime) -> bool {
        let newer_root = (timestamp.root_version > self.root_version).then_some(timestamp.root_version);
        if timestamp.root_version < self.root_version {
            if answers.is_some() {
                let cause = Cause::OlderRoot { found: timestamp.root_version, held: self.root_version };
                self.alarms.raise(cause, now);
            }
            return false;
        }
        let newer_lock = (timestamp.lock > self.locks).then_some(timestamp.lock);
        // A newer root may have taken the keys away by which a policy, or this very timestamp, was signed; and what a lock
        // denies that is withheld must not stay open for as long as the rest is confirmed.
        let beside = Names { policy: None, root: newer_root, lock: newer_lock };
        let word = timestamp.held.filter(|_| beside.is_empty()).map(|named| (named, answers));
        let is_linked = self.link == Link::Up;
        let Some((held, _)) = self.in_force else {
            self.word = word;
            return false;
        };
        match timestamp.held {
            Some(named) if order(&named) > order(&held) => {
                self.word = word;
                self.missing.handle_named(Names { policy: Some(named), ..beside }, is_linked, now);
                false
            }
            Some(named) if named == held && !beside.is_empty() => {
                self.missing.handle_named(beside, is_linked, now);
                false
            }
            Some(named) if named == held => {
                self.missing.handle_complete();
                match answers {
                    Some(asked) => self.refresh(asked),
                    None => self.confirmed = true,
                }
                true
            }
            Some(named) if order(&named) == order(&held) => {
                self.alarms.raise(Cause::Equivocation { version: named.version }, now);
                false
            }
            // A repeat may be an old message once more; only an answer says what is newest now.
            found => {
                if answers.is_some() {
                    self.alarms.raise(Cause::OlderPolicy { found, held }, now);
                }
                false
            }
        }
    }

    /// What is in force is fresh, counted from the question.
    fn refresh(&mut self, asked: BootTime) {
        let Some((_, rule)) = self.in_force else { return };
        self.confirmed = true;
        self.refreshed = Some(asked);
        self.fresh_until = Some(asked.after(window(&rule)));
        self.is_spent = false;
        self.notes.wanted |= self.budget.handle_refresh();
    }

    fn interval(&self) -> Duration {
        let window = self.in_force.map_or(IDLE * 3, |(_, rule)| window(&rule));
        (window / 3).min(if self.is_busy { BUSY } else { IDLE }).max(Duration::from_secs(1))
    }
}

const fn order(held: &Held) -> (u32, u64) {
    (held.epoch, held.version)
}

const fn window(rule: &FreshnessRule) -> Duration {
    Duration::from_secs(rule.window_s as u64)
}

/// An answer that takes longer says too little about now. A question is asked again after that.
const ANSWER: Duration = Duration::from_secs(30);
/// Between questions while tunnels are live.
const BUSY: Duration = Duration::from_secs(60);
/// Between questions otherwise, unless the window is shorter: an answered question is about 450 bytes on the air.
const IDLE: Duration = Duration::from_secs(300);
/// Tunnels that come and go do not ask more often than this.
const PAUSE: Duration = Duration::from_secs(10);
/// A disk that refuses a note is asked again after this.
const RETRY: Duration = Duration::from_secs(60);
const NOTED_STEP_S: u64 = 60;

#[cfg(test)]
mod tests;
