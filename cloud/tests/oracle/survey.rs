//! Puts many worlds to the question on all processors, and says what they were made of.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use postern_protocol::policy::Reason;

use crate::dice::Dice;
use crate::probe::{Disagreement, Outcome, Probe, probes};
use crate::real::Real;
use crate::shrink::shrink;
use crate::world::World;

/// What a number of worlds consisted of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    pub(crate) worlds: u64,
    /// Drafts whose model did not hold.
    pub(crate) discarded: u64,
    pub(crate) permitted: u64,
    pub(crate) denied: BTreeMap<Reason, u64>,
    edits: u64,
    /// Devices: whose policy edits changed, those compiled again, all.
    edited: [usize; 3],
}

/// A world in which both sides disagree.
pub(crate) struct Failure {
    seed: u64,
    probe: Probe,
    world: World,
    disagreement: Box<Disagreement>,
}

/// Puts `count` worlds to the question, from a seed on. The first disagreement ends it.
pub(crate) fn survey(seed: u64, count: u64) -> Result<Survey, Box<Failure>> {
    let (next, failure) = (AtomicU64::new(0), Mutex::new(None));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let parts: Vec<Survey> = std::thread::scope(|scope| {
        let work = || {
            let mut part = Survey::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return part;
                }
                let seed = seed.wrapping_add(number);
                if let Err(found) = part.world(seed) {
                    next.store(count, Ordering::Relaxed);
                    failure.lock().unwrap().get_or_insert(found);
                    return part;
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    if let Some(failure) = failure.into_inner().unwrap() {
        return Err(failure);
    }
    Ok(parts.into_iter().fold(Survey::default(), Survey::and))
}

impl Survey {
    /// The first world of a seed that holds.
    fn world(&mut self, seed: u64) -> Result<(), Box<Failure>> {
        // Neighbouring seeds are neighbouring states of SplitMix64: the first output tells them apart.
        let mut dice = Dice::new(Dice::new(seed).next());
        let world = loop {
            match World::of(&mut dice) {
                Some(world) => break world,
                None => self.discarded += 1,
            }
        };
        self.worlds += 1;
        let mut real = Real::of(&world);
        for probe in probes(&world, &mut dice) {
            match probe.put(&mut real) {
                Ok(outcome) => self.count(outcome),
                Err(found) => {
                    drop(real);
                    let (world, disagreement) = shrink(world, &probe, found);
                    return Err(Box::new(Failure { seed, probe, world, disagreement }));
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Permitted => self.permitted += 1,
            Outcome::Denied(reason) => *self.denied.entry(reason).or_default() += 1,
            Outcome::Edited { changed, affected, devices } => {
                self.edits += 1;
                for (sum, count) in self.edited.iter_mut().zip([changed, affected, devices]) {
                    *sum += count;
                }
            }
            Outcome::Other | Outcome::Void => {}
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.worlds += other.worlds;
        self.discarded += other.discarded;
        self.permitted += other.permitted;
        self.edits += other.edits;
        for (reason, count) in other.denied {
            *self.denied.entry(reason).or_default() += count;
        }
        for (sum, count) in self.edited.iter_mut().zip(other.edited) {
            *sum += count;
        }
        self
    }

    pub(crate) fn decisions(&self) -> u64 {
        self.permitted + self.denied.values().sum::<u64>()
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drafts = self.worlds + self.discarded;
        writeln!(f, "{} worlds, {} of {drafts} drafts discarded", self.worlds, self.discarded)?;
        writeln!(f, "{} decisions; permitted {}", self.decisions(), share(self.permitted, self.decisions()))?;
        for (reason, count) in &self.denied {
            writeln!(f, "  {reason} {}", share(*count, self.decisions()))?;
        }
        let [changed, affected, devices] = self.edited;
        write!(f, "{} edits: {affected} of {devices} devices compiled again, {changed} changed", self.edits)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Disagreement { question, model, product } = self.disagreement.as_ref();
        writeln!(f, "model and product disagree; again with POSTERN_SEED={} POSTERN_WORLDS=1", self.seed)?;
        writeln!(f, "asked:   {question}\nmodel:   {model}\nproduct: {product}\nprobe:   {:?}", self.probe)?;
        writeln!(f, "# snapshots expire at {:?}, in this world:", self.world.policy_expires)?;
        match postern_cloud::fleet::write(&self.world.model) {
            Ok(text) => f.write_str(&text)?,
            Err(_) => writeln!(f, "{:#?}", self.world.model)?,
        }
        for (user, enrolled) in &self.world.roster.users {
            writeln!(f, "# registered {user}: {} keys, disabled {}", enrolled.keys.len(), enrolled.disabled)?;
        }
        Ok(())
    }
}

/// A share in percent with one digit.
fn share(part: u64, whole: u64) -> String {
    let thousandths = (part * 1000).checked_div(whole).unwrap_or(0);
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}
