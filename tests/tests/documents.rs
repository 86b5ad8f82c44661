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
