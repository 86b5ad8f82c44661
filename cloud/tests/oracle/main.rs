//! The oracle: a slow, obvious evaluator of the model against compile, sign, verify and decide, on random worlds.
//!
//! 1. [`world`] draws a small model of everything there is from a seed ([`dice`]).
//! 2. [`evaluator`] says straight from the model who may do what; it shares no code with the compiler.
//! 3. [`real`] goes the way that policy really takes, with the keys of [`keyring`].
//! 4. [`probe`] compares both; [`survey`] does so on many worlds, and [`shrink`] reduces a world where they differ.
//! 5. [`mistakes`] shows that it would notice.
//!
//! `POSTERN_WORLDS` says how many worlds, `POSTERN_SEED` where to begin; a failure prints the seed of its world.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod dice;
mod evaluator;
mod judgement;
mod keyring;
mod mistakes;
mod probe;
mod real;
mod shrink;
mod survey;
mod world;

use std::hash::{BuildHasher as _, Hasher as _};

use postern_protocol::policy::Reason;

use crate::survey::survey;

/// Worlds of a run that nobody asked for a number.
const WORLDS: u64 = 2_000;

#[test]
fn the_evaluator_and_the_device_agree_on_random_worlds() {
    let number = |variable: &str| std::env::var(variable).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("POSTERN_SEED").unwrap_or_else(random);
    let worlds = number("POSTERN_WORLDS").unwrap_or(WORLDS);
    println!("POSTERN_SEED={seed} POSTERN_WORLDS={worlds}");
    let survey = survey(seed, worlds).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{survey}");
    if worlds >= 1000 {
        assert!(survey.discarded < survey.worlds, "too many drafts do not hold:\n{survey}");
        // About a fifth, and a run of this length strays from it by a percent or two.
        assert!(survey.permitted * 8 > survey.decisions(), "too few permits:\n{survey}");
        let missed: Vec<Reason> =
            DECIDED.into_iter().filter(|reason| !survey.denied.contains_key(reason)).collect();
        assert_eq!(missed, [], "{survey}");
    }
}

/// Another seed each time, from the randomness of the standard library's hash tables.
fn random() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// The reasons that a decision can have.
const DECIDED: [Reason; 13] = [
    Reason::BadPass,
    Reason::UserDisabled,
    Reason::DeviceUnassigned,
    Reason::NoPolicy,
    Reason::PolicyStale,
    Reason::NoGrant,
    Reason::NotYet,
    Reason::Expired,
    Reason::SecondFactorRequired,
    Reason::SecondFactorStale,
    Reason::CaseInactive,
    Reason::ApprovalPending,
    Reason::Concurrency,
];
