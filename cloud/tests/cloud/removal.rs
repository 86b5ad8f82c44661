//! Removing an account: its devices come back closed, and nothing that was granted there survives by accident.

use std::collections::{BTreeMap, BTreeSet};

use postern_cloud::compile::{Compiler, Roster};
use postern_cloud::fleet;
use postern_cloud::model::{EntityKind, Model, RemoveFault};
use postern_protocol::name::Name;
use proptest::prelude::*;

use crate::export::models;

/// A builder whose people reach down into a plant, and the plant's own people.
const FLEET: &str = r#"
[account.acme]
tenant = "service_provider"
[account.plant]
tenant = "operating_company"
parent = "acme"
[user.tina]
account = "acme"
[user.otto]
account = "plant"
[user-group.everybody]
account = "acme"
members = ["tina"]
[user-group.everybody.member.otto]
until = 2030-01-01T00:00:00Z
[user-group.workers]
account = "plant"
members = ["otto"]
[machine-model.filler]
account = "plant"
[machine-model.filler.service.web]
kind = "http"
port = 80
[machine-model.unused]
account = "plant"
[device.own]
account = "acme"
[device.own.service.hmi]
kind = "vnc"
target = "10.0.0.1:5900"
[device.d]
account = "plant"
[device.d.service.hmi]
kind = "vnc"
target = "10.0.0.1:5900"
[machine.m]
device = "d"
model = "filler"
address = "10.0.0.2"
[device-group.all]
account = "acme"
type = "region"
devices = ["d", "own"]
[device-group.all.member.otto]
role = "tenant-admin"
[device-group.hall]
account = "plant"
type = "region"
devices = ["d"]
[facility.site]
account = "plant"
devices = ["d"]
machines = ["m"]
[category.screen]
kinds = ["vnc"]
[role.engineer]
tenant = "service_provider"
permissions = ["remote-access.use"]
categories = ["screen"]
[assignment.everywhere]
user = "tina"
role = "engineer"
scope = { account = "acme", nested = true }
[assignment.in-all]
user = "tina"
role = "engineer"
scope = { device-group = "all" }
[assignment.on-d]
user = "tina"
role = "engineer"
scope = { device = "d" }
[assignment.at-site]
user = "tina"
role = "engineer"
scope = { all-of = [{ device-group = "all" }, { facility = "site" }] }
[assignment.in-plant]
user = "tina"
role = "engineer"
scope = { account = "plant" }
[assignment.operates]
group = "workers"
role = "machine-operator"
categories = ["screen"]
scope = { facility = "site" }
[entry.otto-may]
user = "otto"
effect = "allow"
service = "hmi"
scope = { device = "d" }
[entry.tina-may]
user = "tina"
effect = "allow"
service = "hmi"
scope = { device-group = "hall" }
[entry.tina-may-not]
user = "tina"
effect = "deny"
service = "web"
[case.help]
machine = "m"
visibility = "shared"
until = 2030-01-01T00:00:00Z
"#;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn model(text: &str) -> Model {
    match fleet::read(text, &[]) {
        Ok(model) => model,
        Err(complaints) => panic!("{:?}", complaints.iter().map(|one| one.line("f")).collect::<Vec<_>>()),
    }
}

/// Who reaches what on a device at some time, beside what is denied.
fn reached(model: &Model, device: &str) -> BTreeSet<(String, String)> {
    let roster = Roster::default();
    let compiler = Compiler::new(model, &roster);
    let (rows, bans) = compiler.rows_and_bans(&name(device));
    let denied = |user: &Name, service: &Name| {
        bans.iter().any(|ban| ban.user == *user && ban.services.contains(service))
    };
    let each = rows.iter().flat_map(|row| row.services.iter().map(|service| (&row.user, service)));
    each.filter(|(user, service)| !denied(user, service))
        .map(|(user, service)| (user.to_string(), service.to_string()))
        .collect()
}

#[test]
fn devices_return_to_the_parent_and_open_nothing_until_somebody_opens_them() {
    let mut model = model(FLEET);
    let hmi = |user: &str| (user.to_owned(), "hmi".to_owned());
    assert_eq!(reached(&model, "d"), BTreeSet::from([hmi("otto"), hmi("tina")]));
    let removal = model.remove_account(&name("plant")).unwrap();
    assert_eq!(removal.parent, Some(name("acme")));
    assert_eq!(removal.returned, BTreeSet::from([name("d")]));
    assert_eq!(
        (model.devices[&name("d")].account.as_str(), model.devices[&name("d")].closed),
        ("acme", true)
    );
    assert_eq!(reached(&model, "d"), BTreeSet::new());
    assert_eq!(reached(&model, "own"), BTreeSet::from([hmi("tina")]), "other devices stay as they were");
    model.devices.get_mut(&name("d")).unwrap().closed = false;
    assert_eq!(reached(&model, "d"), BTreeSet::from([hmi("tina")]));
}

#[test]
fn nothing_of_the_account_is_left_and_nothing_dangles() {
    let mut model = model(FLEET);
    let before = model.rows();
    let removal = model.remove_account(&name("plant")).unwrap();
    assert_eq!(model.check(&BTreeSet::new()), []);
    assert_eq!(removal.inherited, BTreeSet::from([name("filler")]));
    assert_eq!(model.machine_models[&name("filler")].account, name("acme"));
    let gone = |kind, names: &[&str]| names.iter().map(|one| (kind, name(one))).collect::<Vec<_>>();
    let expected: BTreeSet<_> = [
        gone(EntityKind::Account, &["plant"]),
        gone(EntityKind::User, &["otto"]),
        gone(EntityKind::UserGroup, &["workers"]),
        gone(EntityKind::MachineModel, &["unused"]),
        gone(EntityKind::DeviceGroup, &["hall"]),
        gone(EntityKind::Facility, &["site"]),
        gone(EntityKind::Assignment, &["at-site", "in-plant", "operates"]),
        gone(EntityKind::Entry, &["otto-may", "tina-may"]),
        gone(EntityKind::Case, &["help"]),
    ]
    .concat()
    .into_iter()
    .collect();
    assert_eq!(removal.removed, expected);
    let after = model.rows();
    let missing: BTreeSet<_> = before.keys().filter(|key| !after.contains_key(*key)).cloned().collect();
    assert_eq!(missing, expected);
    assert_eq!(model.user_groups[&name("everybody")].members.keys().collect::<Vec<_>>(), [&name("tina")]);
    assert_eq!(model.device_groups[&name("all")].members, BTreeMap::new());
    assert_eq!(model.device_groups[&name("all")].devices.len(), 2);
}

#[test]
fn an_account_that_contains_accounts_stays() {
    let nested = format!("{FLEET}[account.hall-2]\ntenant = \"operating_company\"\nparent = \"plant\"\n");
    let mut with = model(&nested);
    let before = with.clone();
    let fault = with.remove_account(&name("plant")).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "account `plant` still contains account `hall-2`; remove or move them first"
    );
    assert_eq!(with, before);
    with.remove_account(&name("hall-2")).unwrap();
    with.remove_account(&name("plant")).unwrap();
}

#[test]
fn an_outermost_account_with_devices_stays_and_one_without_goes() {
    let text = "[account.acme]\ntenant = \"operating_company\"\n[user.otto]\naccount = \"acme\"\n";
    let mut with = model(&format!("{text}[device.d]\naccount = \"acme\"\n[device.e]\naccount = \"acme\"\n"));
    let fault = with.remove_account(&name("acme")).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "account `acme` is nested in no other and still has devices `d`, `e`; remove or move them first"
    );
    let mut without = model(text);
    let removal = without.remove_account(&name("acme")).unwrap();
    assert_eq!((removal.parent, removal.returned), (None, BTreeSet::new()));
    assert_eq!(without, Model::default());
}

#[test]
fn a_deny_of_somebody_else_is_not_dropped_on_the_way() {
    let deny = |scope: &str| {
        format!(
            "{FLEET}[entry.keep-out]\nuser = \"tina\"\neffect = \"deny\"\ncategory = \"screen\"\nscope = {scope}\n"
        )
    };
    for scope in
        ["{ facility = \"site\" }", "{ account = \"plant\" }", "{ all-of = [{ device-group = \"hall\" }] }"]
    {
        let mut model = model(&deny(scope));
        let fault = model.remove_account(&name("plant")).unwrap_err();
        assert_eq!(fault, RemoveFault::Denied { account: name("plant"), entries: vec![name("keep-out")] });
    }
    let mut model = model(&deny("{ device = \"d\" }"));
    model.remove_account(&name("plant")).unwrap();
    model.devices.get_mut(&name("d")).unwrap().closed = false;
    assert_eq!(reached(&model, "d"), BTreeSet::new(), "the deny holds on");
}

#[test]
fn an_unknown_account_is_named_with_its_nearest_neighbour() {
    let mut model = model(FLEET);
    let fault = model.remove_account(&name("plan")).unwrap_err();
    assert_eq!(fault.to_string(), "there is no account `plan`; did you mean `plant`?");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn whatever_refers_to_the_account_the_model_stays_sound(model in models()) {
        prop_assume!(model.check(&BTreeSet::new()).is_empty());
        let mut after = model.clone();
        match after.remove_account(&name("acme.inner")) {
            Ok(removal) => {
                prop_assert_eq!(after.check(&BTreeSet::new()), []);
                prop_assert_eq!(fleet::read(&fleet::write(&after).unwrap(), &[]), Ok(after.clone()));
                for device in &removal.returned {
                    prop_assert_eq!(reached(&after, device.as_str()), BTreeSet::new());
                }
            }
            Err(fault) => {
                prop_assert!(matches!(fault, RemoveFault::Denied { .. }), "{}", fault);
                prop_assert_eq!(after, model);
            }
        }
    }
}
