//! Every message and signed object has golden bytes in `tests/vectors`: changed bytes are a changed protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use data_encoding::HEXLOWER;

use crate::samples::{self, Sample};

/// Where the golden files are, one for each group.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors")
}

/// Whether golden files are to be written instead of compared: `POSTERN_BLESS=1`.
pub(crate) fn blessing() -> bool {
    std::env::var_os("POSTERN_BLESS").is_some_and(|value| value == "1")
}

/// A golden file: comments begin with `#`, every other line is a name, a colon and hexadecimal digits.
fn render(samples: &[&Sample]) -> String {
    let mut text = String::new();
    for sample in samples {
        writeln!(text, "# {}\n{}: {}\n", sample.note, sample.name, HEXLOWER.encode(&sample.bytes)).unwrap();
    }
    text
}

fn groups(samples: &[Sample]) -> BTreeMap<&'static str, Vec<&Sample>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for sample in samples {
        groups.entry(sample.group).or_default().push(sample);
    }
    groups
}

#[test]
fn every_value_has_its_golden_bytes() {
    let samples = samples::all();
    for (group, samples) in groups(&samples) {
        let path = folder().join(format!("{group}.txt"));
        if blessing() {
            std::fs::create_dir_all(folder()).unwrap();
            std::fs::write(&path, render(&samples)).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap();
        for sample in &samples {
            let line = format!("{}: {}", sample.name, HEXLOWER.encode(&sample.bytes));
            assert!(
                golden.lines().any(|golden| golden == line),
                "`{}` in {group}.txt has other bytes now: {line}\nPeers in the field send and expect the golden \
                 bytes. Undo the change, or give the protocol a new version (a new ALPN name or envelope format).",
                sample.name
            );
        }
        assert_eq!(golden, render(&samples), "{group}.txt has lines that no value stands behind");
    }
}

#[test]
fn every_variant_has_a_golden_value() {
    let samples = samples::all();
    for table in samples::TABLES {
        let seen: BTreeSet<&str> =
            samples.iter().filter(|s| s.table == Some(table.name)).filter_map(|s| s.variant).collect();
        let all: BTreeSet<&str> = table.variants.iter().map(|(name, _)| *name).collect();
        assert_eq!(seen, all, "{}", table.name);
        // A row begins with its place and time, not with the number of its event.
        for sample in samples.iter().filter(|s| s.table == Some(table.name) && s.group != "audit") {
            let number = usize::from(sample.bytes[0]);
            assert_eq!(Some(table.variants[number].0), sample.variant, "{} in {}", sample.name, table.name);
        }
    }
}

#[test]
fn names_of_vectors_are_distinct() {
    let samples = samples::all();
    let names: BTreeSet<&str> = samples.iter().map(|sample| sample.name).collect();
    assert_eq!(names.len(), samples.len());
}
