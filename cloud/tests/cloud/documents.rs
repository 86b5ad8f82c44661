//! `docs/policy.md` says what the code does: its vocabularies, its keys, its essential roles.

use std::collections::{BTreeMap, BTreeSet};

use postern_cloud::fleet::{self, Fault};
use postern_cloud::model::{
    Effect, EntityKind, Essential, GroupType, NESTING, Permission, SCOPE_DEPTH, SERVICE_MANAGER_ENDS, Tenant,
    Visibility,
};
use postern_protocol::policy::{Kind, Reason};

use crate::narrative::midnight;

fn document() -> String {
    std::fs::read_to_string(format!("{}/../docs/policy.md", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The rows of a marked table, header first, as trimmed cells.
pub(crate) fn table(name: &str) -> Vec<Vec<String>> {
    let text = document();
    let table = text.split(&format!("<!-- table: {name} -->")).nth(1).unwrap();
    let rows = table.split("<!-- end -->").next().unwrap().lines().filter(|line| line.starts_with("| "));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.filter(|row| !row.starts_with("| ---")).map(cells).collect()
}

/// The rows of a marked table without its header.
pub(crate) fn rows(name: &str) -> Vec<Vec<String>> {
    table(name).split_off(1)
}

/// What stands in backticks.
pub(crate) fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The first cell without its backticks, and the second as it is.
fn pairs(name: &str) -> Vec<(String, String)> {
    rows(name).into_iter().map(|row| (row[0].replace('`', ""), row[1].clone())).collect()
}

#[test]
fn the_vocabulary_of_permissions_is_documented() {
    let expected: Vec<(String, String)> =
        Permission::ALL.iter().map(|p| (p.word().to_owned(), p.holders_word().to_owned())).collect();
    assert_eq!(pairs("Permission"), expected);
}

#[test]
fn every_kind_of_entity_is_documented() {
    let kinds: Vec<String> = pairs("EntityKind").into_iter().map(|(kind, _)| kind).collect();
    let expected: Vec<&str> = EntityKind::ALL.iter().map(|kind| kind.word()).collect();
    assert_eq!(kinds, expected);
}

#[test]
fn every_reason_is_documented_with_its_number() {
    let expected: Vec<(String, String)> =
        Reason::ALL.iter().map(|reason| (reason.word().to_owned(), reason.number().to_string())).collect();
    assert_eq!(pairs("Reason"), expected);
}

/// The keys that the reader knows in a table: those that it offers instead of one that nobody knows.
fn known_keys(table: &str) -> BTreeSet<String> {
    let complaints = fleet::read(&format!("[{table}]\nno-such-key = 1\n"), &[]).unwrap_err();
    let key = format!("{table}.no-such-key");
    let fault =
        complaints.into_iter().find(|complaint| complaint.key == key).map(|complaint| complaint.fault);
    let Some(Fault::UnknownKey { known, .. }) = fault else { panic!("{table}: {fault:?}") };
    known.iter().map(|key| (*key).to_owned()).collect()
}

#[test]
fn every_key_of_every_table_is_documented() {
    for row in rows("EntityKind") {
        let kind = row[0].replace('`', "");
        let documented: BTreeSet<String> = quoted(&row[2]).into_iter().collect();
        assert_eq!(documented, known_keys(&format!("{kind}.x")), "{kind}");
    }
    for row in rows("Nested") {
        for table in quoted(&row[0]) {
            let table = table.trim_matches(['[', ']']).to_owned();
            let documented: BTreeSet<String> = quoted(&row[2]).into_iter().collect();
            // Capitals stand for names in the document, and names have none.
            assert_eq!(documented, known_keys(&table.to_lowercase()), "{table}");
        }
    }
}

#[test]
fn the_bounds_of_fleet_files_are_documented() {
    let (files, depth, size) = (fleet::INCLUDES, fleet::INCLUDE_DEPTH, fleet::FILE_BYTES >> 20);
    let sentence = format!("at most {files} files, {depth} deep, of {size} MiB together");
    assert!(document().contains(&sentence), "{sentence}");
    // Line breaks of the document do not count.
    let words = document().split_whitespace().collect::<Vec<_>>().join(" ");
    for (what, depth) in [("Accounts", NESTING), ("they", SCOPE_DEPTH)] {
        assert!(words.contains(&format!("{what} nest at most {depth} deep")), "{what}");
    }
}

#[test]
fn every_word_that_a_key_may_hold_is_documented() {
    let text = document();
    let words = Tenant::ALL.map(Tenant::word).into_iter().chain(GroupType::ALL.map(GroupType::word));
    let words = words.chain(Kind::ALL.map(Kind::word)).chain(Effect::ALL.map(Effect::word));
    for word in words.chain(Visibility::ALL.map(Visibility::word)) {
        assert!(text.contains(&format!("`{word}`")), "{word}");
    }
}

/// The permissions that a cell of an essential role's table names.
fn named(cell: &str, families: &[String], single: &BTreeSet<String>) -> BTreeSet<String> {
    let words = Permission::ALL.iter().map(|permission| permission.word().to_owned());
    let of_families = words.filter(|word| {
        !single.contains(word)
            && families.iter().any(|family| word.split('.').next() == Some(family.as_str()))
    });
    let rights: Vec<&str> = cell.split(", ").collect();
    let covers = |action: &str| {
        rights
            .iter()
            .any(|right| *right == "all" || *right == action || (*right == "manage" && action == "read"))
    };
    of_families.filter(|word| covers(word.split_once('.').unwrap().1)).collect()
}

fn essential_table_is_true(tenant: Tenant) {
    let table = table(&format!("Essential {}", tenant.word()));
    let held_by = |role: &str| -> BTreeSet<String> {
        let role = &Essential::roles()[role];
        assert_eq!(role.tenant, Some(tenant));
        role.permissions.iter().map(|permission| permission.word().to_owned()).collect()
    };
    let is_single = |word: &String| word.contains('.');
    let single: BTreeSet<String> =
        table[1..].iter().flat_map(|row| quoted(&row[0])).filter(is_single).collect();
    for (column, header) in table[0].iter().enumerate().skip(1) {
        let role = quoted(header).remove(0);
        let body = &Essential::roles()[role.as_str()];
        let mut documented = BTreeSet::new();
        for row in &table[1..] {
            let (words, cell) = (quoted(&row[0]), row[column].as_str());
            if words.iter().all(is_single) {
                assert!(cell == "no" || cell.starts_with("yes"), "{role}: {cell}");
                documented.extend(words.iter().filter(|_| cell.starts_with("yes")).cloned());
                if words == ["remote-access.use"] {
                    assert_eq!(cell.contains("with an active case"), body.needs_case, "{role}");
                    assert_eq!(cell.contains("until 2028-01-01"), body.ends.is_some(), "{role}");
                }
            } else {
                let rights = named(cell, &words, &single);
                assert_eq!(rights.is_empty(), cell == "-", "{role}: {cell} of {words:?}");
                // `all` is what a company of this kind may hold.
                documented.extend(rights.into_iter().filter(|word| cell != "all" || may_hold(tenant, word)));
            }
        }
        assert_eq!(documented, held_by(&role), "{role}");
    }
}

fn may_hold(tenant: Tenant, word: &str) -> bool {
    Permission::ALL.iter().any(|permission| permission.word() == word && permission.is_for(tenant))
}

#[test]
fn the_essential_roles_of_operating_companies_are_their_table() {
    essential_table_is_true(Tenant::OperatingCompany);
}

#[test]
fn the_essential_roles_of_service_providers_are_their_table() {
    essential_table_is_true(Tenant::ServiceProvider);
}

#[test]
fn the_basic_roles_hold_what_is_documented() {
    let documented: BTreeMap<String, BTreeSet<String>> = rows("Essential basic")
        .iter()
        .map(|row| (row[0].replace('`', ""), quoted(&row[2]).into_iter().collect()))
        .collect();
    let basic = Essential::ALL.iter().filter(|role| role.is_basic());
    let expected: BTreeMap<String, BTreeSet<String>> = basic
        .map(|role| {
            let body = &Essential::roles()[role.word()];
            (role.word().to_owned(), body.permissions.iter().map(|p| p.word().to_owned()).collect())
        })
        .collect();
    assert_eq!(documented, expected);
}

#[test]
fn every_essential_role_stands_in_one_table() {
    let columns = ["operating_company", "service_provider"]
        .map(|tenant| table(&format!("Essential {tenant}")).remove(0).split_off(1))
        .concat();
    let mut documented: Vec<String> = columns.iter().flat_map(|header| quoted(header)).collect();
    documented.extend(rows("Essential basic").iter().flat_map(|row| quoted(&row[0])));
    let expected: Vec<&str> = Essential::ALL.iter().map(|role| role.word()).collect();
    assert_eq!(documented, expected);
    // The end that the tables and the text name.
    assert_eq!(SERVICE_MANAGER_ENDS, midnight("2028-01-01"));
}
