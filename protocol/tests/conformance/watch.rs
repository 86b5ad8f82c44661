//! The device's watch in virtual time, with answers that are lost, late, repeated and out of order, and a hub that lies.
//!
//! Whatever happens: a device is fresh only within its window after a question whose answer named exactly what is in
//! force, and its time is never behind the truth by more than a second.

use std::collections::BTreeMap;

use postern_protocol::policy::{FreshnessRule, FreshnessState};
use postern_protocol::session::CHUNK_S;
use postern_protocol::session::freshness::{FreshnessWatch, Memory};
use postern_protocol::time::{BootTime, UnixTime};
use postern_protocol::trust::{Digest, Nonce, Timestamp};
use postern_protocol::wire::control::Held;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::probes::{DEVICE, FLEET};

const WINDOW_S: u64 = 300;
const RULE: FreshnessRule = FreshnessRule { window_s: 300, offline_s: 1800 };
const BOOTED: u64 = 1_800_000_000;

#[derive(Clone, Debug)]
enum Step {
    /// Seconds pass.
    Wait(u64),
    Link(bool),
    /// Of the messages under way one arrives, and may arrive again.
    Deliver(usize, bool),
    /// One of them is lost.
    Lose(usize),
    /// The hub publishes something newer, and pushes it or not.
    Publish(bool),
    /// The hub names an older version.
    Lie(u64),
    /// The disk refuses what is stored from now on, or not.
    Disk(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..120).prop_map(Step::Wait),
        1 => (100u64..2000).prop_map(Step::Wait),
        2 => any::<bool>().prop_map(Step::Link),
        5 => (any::<usize>(), any::<bool>()).prop_map(|(which, again)| Step::Deliver(which, again)),
        1 => any::<usize>().prop_map(Step::Lose),
        1 => any::<bool>().prop_map(Step::Publish),
        1 => (0u64..3).prop_map(Step::Lie),
        1 => any::<bool>().prop_map(Step::Disk),
    ]
}

struct World {
    watch: FreshnessWatch,
    now: u64,
    in_force: u64,
    newest: u64,
    under_way: Vec<Timestamp>,
    /// When each question was asked.
    asked: BTreeMap<u64, u64>,
    /// The last question whose answer arrived in time and named what was in force when it was or came to be.
    confirmed: Option<(u64, u64)>,
    disk: bool,
}

fn boot(secs: u64) -> BootTime {
    BootTime::from_millis(secs * 1000)
}

fn held(version: u64) -> Held {
    Held { epoch: 1, version, digest: Digest::of(&[&version.to_le_bytes()]) }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Nonce::new(bytes)
}

impl World {
    fn new() -> Self {
        let memory =
            Memory { time: UnixTime::from_secs(5), spent: CHUNK_S, is_debited: true, root_version: 1 };
        let mut watch = FreshnessWatch::new(&memory, boot(0));
        watch.handle_installed(held(10), RULE, UnixTime::from_secs(BOOTED - 1000), boot(0));
        let (asked, under_way) = (BTreeMap::new(), Vec::new());
        Self { watch, now: 0, in_force: 10, newest: 10, under_way, asked, confirmed: None, disk: true }
    }

    fn answer(&self, question: u64, version: u64) -> Timestamp {
        Timestamp {
            fleet: FLEET,
            device: DEVICE,
            nonce: nonce(question),
            time: UnixTime::from_secs(BOOTED + self.now),
            root_version: 1,
            held: Some(held(version)),
            lock: 0,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Wait(secs) => {
                for _ in 0..secs {
                    self.now += 1;
                    self.tick();
                }
            }
            Step::Link(is_up) => self.watch.handle_link(is_up, boot(self.now)),
            Step::Deliver(which, again) if !self.under_way.is_empty() => {
                let which = which % self.under_way.len();
                let timestamp = self.under_way[which].clone();
                if !again {
                    self.under_way.remove(which);
                }
                self.hear(&timestamp);
            }
            Step::Lose(which) if !self.under_way.is_empty() => {
                self.under_way.remove(which % self.under_way.len());
            }
            Step::Deliver(..) | Step::Lose(_) => {}
            Step::Publish(pushed) => {
                self.newest += 1;
                if pushed {
                    self.in_force = self.newest;
                    let issued = UnixTime::from_secs(BOOTED + self.now);
                    self.watch.handle_installed(held(self.newest), RULE, issued, boot(self.now));
                }
            }
            Step::Lie(back) => {
                if let Some((&question, _)) = self.asked.last_key_value() {
                    let lie = self.answer(question, self.in_force.saturating_sub(back).max(1));
                    self.under_way.push(lie);
                }
            }
            Step::Disk(works) => self.disk = works,
        }
    }

    fn tick(&mut self) {
        let now = boot(self.now);
        let question = u64::try_from(self.asked.len()).unwrap() + 1;
        if self.watch.poll_question(now, || Some(nonce(question))).is_some() {
            self.asked.insert(question, self.now);
            self.under_way.push(self.answer(question, self.newest));
        }
        while self.watch.poll_note(now).is_some() {
            self.watch.handle_noted(self.disk, now);
        }
    }

    fn hear(&mut self, timestamp: &Timestamp) {
        let heard = self.watch.handle_timestamp(timestamp, boot(self.now));
        if heard.attested {
            let asked = self.asked.iter().find(|(number, _)| nonce(**number) == timestamp.nonce);
            let (_, &asked) = asked.unwrap();
            assert!(self.now - asked <= 30, "an answer after {} s was believed", self.now - asked);
            let version = timestamp.held.unwrap().version;
            self.confirmed = Some((version, asked)).filter(|_| version >= self.in_force).or(self.confirmed);
            let knows = self.watch.reading(boot(self.now)).now.as_secs();
            assert!(BOOTED + self.now <= knows + 1 && knows <= BOOTED + self.now + 30);
        }
    }

    fn check(&self) {
        let reading = self.watch.reading(boot(self.now));
        let is_fresh = reading.opening.state(reading.now) == FreshnessState::Fresh;
        // What the last answer says holds for its window; a repeat may confirm a newer version within it.
        let earned = self.confirmed.is_some_and(|(_, asked)| self.now < asked + WINDOW_S);
        assert!(!is_fresh || earned, "fresh at {} after {:?}", self.now, self.confirmed);
    }
}

proptest! {
    #[test]
    fn freshness_is_earned_by_answers_and_by_nothing_else(steps in vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check();
        }
    }
}
