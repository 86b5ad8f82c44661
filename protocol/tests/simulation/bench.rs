//! What every part of a world is given: the time, the luck, and the book in which all that happens is written.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use crate::chance::Chance;

/// One for each world.
pub(crate) struct Bench {
    /// Milliseconds since the world began; true time.
    pub(crate) now: u64,
    pub(crate) chance: Chance,
    /// The last things that happened.
    events: VecDeque<(u64, &'static str, u64, u64)>,
    keeps: usize,
    /// How often each happened.
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

impl Bench {
    /// A bench that remembers the last `keeps` events.
    pub(crate) fn new(seed: u64, keeps: usize) -> Self {
        let (events, counts) = (VecDeque::new(), BTreeMap::new());
        Self { now: 0, chance: Chance::new(seed), events, keeps, counts }
    }

    /// Writes down what happened.
    pub(crate) fn note(&mut self, what: &'static str, a: u64, b: u64) {
        *self.counts.entry(what).or_default() += 1;
        if self.events.len() == self.keeps {
            self.events.pop_front();
        }
        self.events.push_back((self.now, what, a, b));
    }

    /// The last events, for people.
    pub(crate) fn story(&self) -> String {
        let mut story = String::new();
        for (at, what, a, b) in &self.events {
            let (secs, millis) = (at / 1000, at % 1000);
            writeln!(story, "{secs:>7}.{millis:03} s  {what} {a} {b}").unwrap();
        }
        story
    }
}
