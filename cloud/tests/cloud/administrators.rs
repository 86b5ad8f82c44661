//! An edit does not leave a company's people to nobody: rule 13 of `docs/policy.md`.

use std::fs;

use postern_cloud::fleet;
use postern_cloud::model::{Bereft, Model};
use postern_cloud::store::Store;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use crate::commands::{Cloud, sample};

/// Ada and Alf administrate Acme, Alf by way of a group; Pia administrates the parent and sees down.
const FLEET: &str = r#"
[account.maker]
tenant = "service_provider"
[account.acme]
tenant = "operating_company"
parent = "maker"
[user.ada]
account = "acme"
[user.alf]
account = "acme"
[user.otto]
account = "acme"
[user.pia]
account = "maker"
[user-group.office]
account = "acme"
members = ["alf"]
[assignment.ada-admin]
user = "ada"
role = "tenant-admin"
scope = { account = "acme" }
[assignment.office-admin]
group = "office"
role = "tenant-admin"
scope = { account = "acme" }
[assignment.pia-admin]
user = "pia"
role = "tenant-admin"
scope = { account = "maker", nested = true }
"#;

const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);

fn read(text: &str) -> Model {
    fleet::read(text, &[]).unwrap()
}

fn without(text: &str, part: &str) -> String {
    assert!(text.contains(part), "{part}");
    text.replace(part, "")
}

fn with(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

fn assignment(name: &str, subject: &str) -> String {
    format!("[assignment.{name}]\n{subject}\nrole = \"tenant-admin\"\nscope = {{ account = \"acme\" }}\n")
}

fn bereft(old: &str, new: &str) -> Vec<Bereft> {
    read(old).bereft_in(&read(new), NOW)
}

fn acme(administrators: &[&str]) -> Vec<Bereft> {
    let administrators = administrators.iter().map(|name| name.parse().unwrap()).collect();
    vec![Bereft { account: "acme".parse().unwrap(), administrators }]
}

/// With Ada as the only administrator of Acme.
fn alone() -> String {
    without(FLEET, &assignment("office-admin", "group = \"office\""))
}

#[test]
fn one_of_two_administrators_may_go_and_both_may_not() {
    let one = without(FLEET, &assignment("ada-admin", "user = \"ada\""));
    assert_eq!(bereft(FLEET, &one), []);
    let none = without(&alone(), &assignment("ada-admin", "user = \"ada\""));
    assert_eq!(bereft(FLEET, &none), acme(&["ada", "alf"]));
    assert_eq!(bereft(&one, &none), acme(&["alf"]));
    // Nobody is left to somebody who had nobody.
    assert_eq!(bereft(&none, &none), []);
}

#[test]
fn the_last_administrator_is_not_lost_by_way_of_a_group_or_by_leaving() {
    let one = without(FLEET, &assignment("ada-admin", "user = \"ada\""));
    assert_eq!(bereft(&one, &with(&one, "members = [\"alf\"]", "members = []")), acme(&["alf"]));
    assert_eq!(bereft(&one, &with(&one, "members = [\"alf\"]", "members = [\"otto\"]")), []);
    let gone = without(
        &without(&alone(), "[user.ada]\naccount = \"acme\"\n"),
        &assignment("ada-admin", "user = \"ada\""),
    );
    assert_eq!(bereft(&alone(), &gone), acme(&["ada"]));
    let moved = with(
        &with(&alone(), "[user.ada]\naccount = \"acme\"", "[user.ada]\naccount = \"maker\""),
        "scope = { account = \"acme\" }",
        "scope = { account = \"maker\", nested = true }",
    );
    // Of the parent now: who sees down is nobody of the account.
    assert_eq!(bereft(&alone(), &moved), acme(&["ada"]));
}

#[test]
fn an_administrator_who_will_end_has_not_begun_or_is_one_elsewhere_is_none() {
    let scope = "scope = { account = \"acme\" }";
    for (to, expected) in [
        ("scope = { account = \"acme\" }\nuntil = 2099-01-01T00:00:00Z", acme(&["ada"])),
        ("scope = { account = \"acme\" }\nfrom = 2099-01-01T00:00:00Z", acme(&["ada"])),
        ("scope = { account = \"acme\" }\nfrom = 2020-01-01T00:00:00Z", Vec::new()),
        ("scope = { account = \"acme\", nested = true }", Vec::new()),
        ("scope = { all-of = [ { account = \"acme\" } ] }", acme(&["ada"])),
    ] {
        assert_eq!(bereft(&alone(), &with(&alone(), scope, to)), expected, "{to}");
    }
    let other_role =
        with(&alone(), "user = \"ada\"\nrole = \"tenant-admin\"", "user = \"ada\"\nrole = \"data-analyst\"");
    assert_eq!(bereft(&alone(), &other_role), acme(&["ada"]));
    let group = without(FLEET, &assignment("ada-admin", "user = \"ada\""));
    let ends =
        with(&group, "members = [\"alf\"]", "[user-group.office.member.alf]\nuntil = 2099-01-01T00:00:00Z");
    assert_eq!(bereft(&group, &ends), acme(&["alf"]));
}

#[test]
fn an_account_goes_with_its_administrators_and_an_empty_one_needs_none() {
    let mut model = read(FLEET);
    model.remove_account(&"acme".parse::<Name>().unwrap()).unwrap();
    assert_eq!(read(FLEET).bereft_in(&model, NOW), []);
    let empty = "[account.maker]\ntenant = \"service_provider\"\n[account.acme]\ntenant = \"operating_company\"\n\
                 parent = \"maker\"\n";
    assert_eq!(bereft(FLEET, empty), []);
}

#[test]
fn a_file_without_the_last_administrator_is_refused_and_nothing_is_applied() {
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample("direct-sales"), "--yes"]);
    let file = cloud.state.with_file_name("demoted.toml");
    let text = fs::read_to_string(sample("direct-sales")).unwrap();
    fs::write(&file, with(&text, "role = \"tenant-admin\"", "role = \"data-analyst\"")).unwrap();
    let path = file.to_str().unwrap();
    let expected = "postern-cloud: account `acme` would have users and no tenant administrator: `ada` is the last; in \
                    the same file, assign `tenant-admin` without an end to one of its users, in a scope that names it; \
                    nothing was applied\n";
    for args in [&["apply", path, "--yes"][..], &["apply", path, "--dry-run"], &["diff", path]] {
        assert_eq!(cloud.code(args), (3, expected.to_owned()), "{args:?}");
    }
    assert_eq!(cloud.json(&["status"])["revision"], 1);
    // With another one in the same file it goes.
    let other =
        "[assignment.otto-admin]\nuser = \"otto\"\nrole = \"tenant-admin\"\nscope = { account = \"acme\" }\n";
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + "\n" + other).unwrap();
    assert_eq!(cloud.json(&["apply", path])["applied"], true);
}

#[test]
fn users_who_can_sign_in_leave_after_a_confirmation_and_those_who_never_did_without() {
    let cloud = Cloud::founded();
    cloud.json(&["apply", &sample("direct-sales"), "--yes"]);
    let store = Store::open(&cloud.state.join("cloud.db")).unwrap();
    store.write(|tx| tx.restart_person(&"sam".parse().unwrap(), "hash")).unwrap();
    let text = fs::read_to_string(sample("direct-sales")).unwrap();
    let file = cloud.state.with_file_name("fewer.toml");
    let path = file.to_str().unwrap();
    let told = "User sam leaves the model with password, one-time codes and keys: who is called sam later is somebody \
                else.\n";
    let fewer = |user: &str, assignment: &str| {
        let mut model = read(&text);
        model.users.remove(user).unwrap();
        model.assignments.remove(assignment).unwrap();
        fs::write(&file, fleet::write(&model).unwrap()).unwrap();
    };
    fewer("sam", "support-everywhere");
    let (code, plan) = cloud.code(&["apply", path]);
    assert_eq!(code, 4);
    assert!(plan.contains(told), "{plan}");
    assert_eq!(cloud.json(&["apply", path, "--dry-run"])["leaving"], serde_json::json!(["sam"]));
    assert_eq!(cloud.json(&["status"])["users"], 6);
    // Bea has never signed in: nothing of hers is lost.
    fewer("bea", "bea-saw-1");
    assert_eq!(cloud.json(&["apply", path])["applied"], true);
    fewer("sam", "support-everywhere");
    assert_eq!(cloud.json(&["apply", path, "--yes"])["applied"], true);
}
