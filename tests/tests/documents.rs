//! What the documents say of the programs is what the programs say of themselves.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Names the link that makes the laboratory's binary act as one of the programs.
const PROGRAMS: [&str; 3] = ["postern", "postern-agent", "postern-cloud"];

#[test]
fn the_exit_codes_of_every_program_stand_in_the_operations_document() {
    let document = std::fs::read_to_string(workspace().join("docs/operations.md")).expect("the document");
    for program in PROGRAMS {
        let section = document
            .split(&format!("### Exit codes of `{program}`"))
            .nth(1)
            .unwrap_or_else(|| panic!("no table of exit codes for `{program}`"));
        let table: Vec<(String, String)> = section
            .lines()
            .skip_while(|line| !line.starts_with("| 0 |"))
            .take_while(|line| line.starts_with('|'))
            .map(|line| {
                let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
                (cells[0].to_owned(), cells[1].to_owned())
            })
            .collect();
        assert_eq!(table, told_by(program), "the exit codes of `{program}`");
    }
}

#[test]
fn every_promise_of_the_threat_model_names_tests_and_each_of_them_exists() {
    let document = std::fs::read_to_string(workspace().join("docs/threat-model.md")).expect("the document");
    let tests = every_test();
    let mut named = 0;
    for heading in ["## Adversaries and promises", "## The cases of TUF's conformance suite"] {
        let section = document.split(heading).nth(1).unwrap_or_else(|| panic!("no `{heading}`"));
        let section = section.split("\n## ").next().unwrap_or_default();
        let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
        for row in rows {
            let evidence = row.trim_matches('|').rsplit('|').next().unwrap_or_default().trim();
            let names: Vec<&str> = evidence.split('`').skip(1).step_by(2).collect();
            let missing: Vec<&&str> = names.iter().filter(|name| !tests.contains(**name)).collect();
            assert!(missing.is_empty(), "no such test: {missing:?}");
            // What has no counterpart here says so.
            assert!(!names.is_empty() || evidence.starts_with("none: "), "no test in `{row}`");
            named += names.len();
        }
    }
    assert!(named > 90, "the document names {named} tests");
}

/// The functions of the workspace that the test runner calls.
fn every_test() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for member in ["protocol", "transport", "tun", "agent", "client", "adapter", "cloud", "tests"] {
        let files = walkdir::WalkDir::new(workspace().join(member)).into_iter();
        let sources = files.filter_entry(|entry| entry.file_name() != "target").filter_map(Result::ok);
        for source in sources.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "rs")) {
            let text = std::fs::read_to_string(source.path()).expect("a source");
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    is_test = true;
                } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
                    tests.extend(rest.split('(').next().map(str::to_owned));
                    is_test = false;
                }
            }
        }
    }
    tests
}

/// The codes and meanings at the end of a program's `--help`.
fn told_by(program: &str) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join(program);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_postern-lab"), &link).expect("a link");
    let output = Command::new(&link).arg("--help").output().expect("the program runs");
    let help = String::from_utf8(output.stdout).expect("text");
    help.split("Exit codes:")
        .nth(1)
        .unwrap_or_else(|| panic!("`{program} --help` tells no exit codes: {help}"))
        .lines()
        .filter_map(|line| line.trim().split_once("  "))
        .map(|(code, meaning)| (code.trim().to_owned(), meaning.trim().to_owned()))
        .collect()
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}
