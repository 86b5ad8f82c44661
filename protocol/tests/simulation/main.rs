//! The whole of trust, time, revocation and audit in virtual time: thousands of worlds in which a cloud changes its mind, lines
//! break, disks fail, power goes, hubs lie and keys are stolen, and in each of which the same promises hold.
//!
//! 1. [`truth`] is what the cloud wants; [`cloud`] signs it with real keys.
//! 2. [`network`] carries it, late or never, or by a hub that lies; [`plan`] says what goes wrong and when.
//! 3. [`device`] is the real core in a shell that does what the agent's does; [`disk`] is what survives.
//! 4. [`promises`] asks after every step whether anything happened that must not.
//! 5. A world whose shell forgets a duty breaks a promise: otherwise the promises would say nothing.

#[cfg(test)]
mod activate;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod chance;
#[cfg(test)]
mod cloud;
#[cfg(test)]
mod device;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod flaw;
#[cfg(test)]
mod network;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod truth;
#[cfg(test)]
mod tunnels;
#[cfg(test)]
mod world;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::flaw::Flaw;
    use crate::promises::Broken;
    use crate::world::World;

    /// Worlds of an ordinary run; `POSTERN_SEEDS` asks for another number.
    const WORLDS: u64 = 1_500;
    /// Worlds in which a forgotten duty must show.
    const WITHIN: u64 = 400;

    #[expect(clippy::disallowed_methods, reason = "a test may be told how long to run and where to begin")]
    fn told(name: &str) -> Option<u64> {
        std::env::var(name).ok().map(|text| text.parse().unwrap())
    }

    /// Runs a world; panics with all that helps where a promise is broken.
    fn live(seed: u64, keeps: usize) -> World {
        let mut world = World::new(seed, Flaw::None, keeps);
        if let Err(Broken(promise, what)) = world.run() {
            let (secs, story) = (world.bench.now / 1000, world.bench.story());
            panic!(
                "promise {promise} is broken in world {seed} after {secs} s: {what}\n\n{story}\nthe whole of it: \
                 POSTERN_SEED={seed} cargo test -p postern-protocol --test simulation promises_hold -- --nocapture"
            );
        }
        world
    }

    #[test]
    fn whatever_goes_wrong_the_promises_hold() {
        if let Some(seed) = told("POSTERN_SEED") {
            return println!("{}", live(seed, usize::MAX).bench.story());
        }
        let worlds = told("POSTERN_SEEDS").unwrap_or(WORLDS);
        let mut counts = BTreeMap::<&str, u64>::new();
        for seed in 0..worlds {
            for (what, count) in live(seed, 40).bench.counts {
                *counts.entry(what).or_default() += count;
            }
        }
        for (what, count) in &counts {
            println!("{count:>9}  {what}");
        }
        // A promise says something only about what has happened.
        for (what, often) in OFTEN {
            let count = counts.get(what).copied().unwrap_or(0);
            assert!(
                count * 1_000 >= often * worlds,
                "{what}: {count} in {worlds} worlds, {often} in 1,000 are expected"
            );
        }
    }

    #[test]
    fn every_duty_that_the_shell_forgets_breaks_a_promise() {
        for (flaw, expected) in FLAWS {
            let broken = (0..WITHIN).find_map(|seed| match World::new(seed, *flaw, 0).run() {
                Err(Broken(promise, what)) => Some((seed, promise, what)),
                Ok(()) => None,
            });
            let Some((seed, promise, what)) = broken else {
                panic!("{flaw:?} is not noticed in {WITHIN} worlds")
            };
            println!("{flaw:?}: promise {promise} in world {seed}: {what}");
            assert!(expected.contains(&promise), "{flaw:?} breaks promise {promise} in world {seed}: {what}");
        }
    }

    /// What the shell may forget, and which promises notice first.
    const FLAWS: &[(Flaw, &[u8])] = &[
        (Flaw::NoJudgeAfterInstall, &[3]),
        (Flaw::NoJudgeAfterLock, &[3]),
        (Flaw::NoJudgeAfterRoot, &[3]),
        (Flaw::NoEdges, &[1]),
        (Flaw::ForgetsFloor, &[2]),
        (Flaw::ForgetsLocks, &[1, 2, 5]),
        (Flaw::NoDebitAtBoot, &[1]),
        (Flaw::NoDebitStored, &[1]),
        (Flaw::WaitsForTheDisk, &[1]),
        (Flaw::TakesEveryAnswer, &[1]),
        (Flaw::CarriesBeforeRow, &[4]),
        (Flaw::RevivesTunnels, &[3]),
        (Flaw::OpensUnconfirmed, &[1]),
        (Flaw::AcknowledgesEarly, &[2]),
        (Flaw::NeverAnswers, &[5]),
        (Flaw::WritesWhenIdle, &[6]),
    ];

    /// What must happen in 1,000 worlds at least.
    const OFTEN: &[(&str, u64)] = &[
        ("boot", 3_000),
        ("power cut", 1_500),
        ("the power went before a commit", 150),
        ("the power went behind a commit", 60),
        ("a policy in force before it was stored", 300),
        ("stored policy refused", 1),
        ("opened", 4_000),
        ("unrecorded", 150),
        ("a permit ran out", 100),
        ("a withdrawal cut tunnels", 250),
        ("a lock cut tunnels", 100),
        ("locks lifted", 150),
        ("root in force", 400),
        ("outage", 600),
        ("link broken", 4_000),
        ("hostile link", 800),
        ("hostile: a snapshot of another time", 2_000),
        ("hostile: a lock of another time", 1_000),
        ("hostile: a root", 2_000),
        ("hostile: a timestamp of another time", 1_000),
        ("hostile: a wrong name", 300),
        ("theft", 100),
        ("a forged policy in force", 40),
        ("rollback", 200),
        ("freeze", 80),
        ("equivocation", 10),
        ("budget", 300),
        ("allowed in the end", 1_500),
        ("denied in the end", 5_000),
    ];
}
