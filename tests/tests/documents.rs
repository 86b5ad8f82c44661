//! What the documents say of the programs is what the programs say of themselves.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

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
fn every_test_that_the_threat_model_names_exists() {
    let document = std::fs::read_to_string(workspace().join("docs/threat-model.md")).expect("the document");
    let named: Vec<&str> = document
        .lines()
        .filter(|line| line.starts_with('|'))
        .filter_map(|line| line.trim_matches('|').rsplit('|').next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let missing: Vec<&&str> = named.iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "no such test or file: {missing:?}");
    assert!(named.len() > 20, "the document names {} tests", named.len());
}

/// Whether `name` is a file or folder of the workspace, or the name of a test in one of its sources.
fn exists(name: &str) -> bool {
    if name.contains('/') {
        return workspace().join(name).exists();
    }
    let declared = format!("fn {name}(");
    ["protocol", "transport", "agent", "client", "cloud", "tests"].iter().any(|member| {
        let files = walkdir::WalkDir::new(workspace().join(member)).into_iter();
        let sources = files.filter_entry(|entry| entry.file_name() != "target").filter_map(Result::ok);
        sources
            .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "rs"))
            .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
            .any(|source| source.contains(&declared))
    })
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
