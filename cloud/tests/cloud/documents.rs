//! `docs/policy.md` says what the code does.

use postern_cloud::model::{EntityKind, Permission};
use postern_protocol::policy::Reason;

/// The first two cells of each row of a marked table.
fn table(name: &str) -> Vec<(String, String)> {
    let path = format!("{}/../docs/policy.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let table = text.split(&format!("<!-- table: {name} -->")).nth(1).unwrap();
    let rows = table.split("<!-- end -->").next().unwrap().lines().filter(|line| line.starts_with("| `"));
    let cell = |row: &str, at: usize| row.split('|').nth(at).unwrap().trim().replace('`', "");
    rows.map(|row| (cell(row, 1), cell(row, 2))).collect()
}

#[test]
fn the_vocabulary_of_permissions_is_documented() {
    let expected: Vec<(String, String)> =
        Permission::ALL.iter().map(|p| (p.word().to_owned(), p.holders_word().to_owned())).collect();
    assert_eq!(table("Permission"), expected);
}

#[test]
fn every_kind_of_entity_is_documented() {
    let kinds: Vec<String> = table("EntityKind").into_iter().map(|(kind, _)| kind).collect();
    let expected: Vec<&str> = EntityKind::ALL.iter().map(|kind| kind.word()).collect();
    assert_eq!(kinds, expected);
}

#[test]
fn every_reason_is_documented_with_its_number() {
    let expected: Vec<(String, String)> =
        Reason::ALL.iter().map(|reason| (reason.word().to_owned(), reason.number().to_string())).collect();
    assert_eq!(table("Reason"), expected);
}
