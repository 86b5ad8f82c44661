//! The same policy is the same bytes, however its fleet file is arranged.

use postern_cloud::compile::Compiler;
use postern_cloud::fleet;
use proptest::prelude::*;

use crate::gate::Gate;

const SAMPLES: [&str; 5] = ["direct-sales", "partner-channel", "divisions", "sites", "nested-customers"];

fn sample(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../samples/{name}.toml", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Top-level tables of a fleet file, each with its lines. Tables inside of tables stay behind their parents.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let top_level = line.starts_with('[') && line.matches('.').count() == 1;
        if top_level || blocks.is_empty() {
            blocks.push(String::new());
        }
        let block = blocks.last_mut().unwrap();
        block.push_str(line);
        block.push('\n');
    }
    blocks
}

#[test]
fn compiling_twice_yields_the_same_bytes() {
    for name in SAMPLES {
        let (a, b) = (Gate::of_sample(name), Gate::of_sample(name));
        for device in a.model.devices.keys() {
            assert_eq!(a.sealed(device.as_str()), b.sealed(device.as_str()), "{name} {device}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_shuffled_fleet_file_is_the_same_policy(which in 0..SAMPLES.len(), order in any::<u64>()) {
        let text = sample(SAMPLES[which]);
        let mut blocks = blocks(&text);
        // A simple generator is enough: any permutation will do.
        let mut state = order | 1;
        for at in (1..blocks.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            blocks.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
        }
        let (plain, shuffled) = (Gate::of_file(&text), Gate::of_file(&blocks.concat()));
        prop_assert_eq!(&plain.model, &shuffled.model);
        for device in plain.model.devices.keys() {
            prop_assert_eq!(plain.sealed(device.as_str()), shuffled.sealed(device.as_str()));
        }
    }

    #[test]
    fn taking_an_assignment_away_never_gives_anything(which in 0..SAMPLES.len(), at in any::<prop::sample::Index>()) {
        let whole = Gate::of_sample(SAMPLES[which]);
        let mut model = whole.model.clone();
        let gone = model.assignments.keys().nth(at.index(model.assignments.len())).unwrap().clone();
        model.assignments.remove(&gone);
        let less = Gate::of(model);
        for device in whole.model.devices.keys() {
            let before = Compiler::new(&whole.model, &whole.roster).rows(device);
            let after = Compiler::new(&less.model, &less.roster).rows(device);
            prop_assert!(after.is_subset(&before));
            prop_assert!(before.difference(&after).all(|row| row.origin.name().as_str() == gone.as_str()));
        }
    }
}

#[test]
fn reading_a_file_of_noise_never_panics() {
    let mut noise = String::new();
    let mut state = 7u32;
    for _ in 0..2000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.push(char::from_u32(state >> 11 & 0xffff).unwrap_or('['));
        assert!(!fleet::read(&noise, &[]).is_ok_and(|model| !model.devices.is_empty()));
    }
}
