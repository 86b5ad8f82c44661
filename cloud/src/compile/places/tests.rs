use std::collections::BTreeSet;

use super::*;

const FLEET: &str = r#"
[account.top]
tenant = "operating_company"
[account.sub]
tenant = "operating_company"
parent = "top"
[device.d1]
account = "top"
[device.d2]
account = "sub"
[device.d3]
account = "sub"
[machine.m2]
device = "d2"
[machine.n2]
device = "d2"
[device-group.pair]
account = "top"
type = "project"
devices = ["d1", "d2"]
[facility.hall]
account = "top"
devices = ["d3"]
machines = ["m2"]
"#;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn scopes() -> Vec<Scope> {
    let account = |account: &str, nested| Scope::Account { account: name(account), nested };
    let all_of = |scopes: &[Scope]| Scope::AllOf { scopes: scopes.to_vec() };
    let group = Scope::DeviceGroup { group: name("pair") };
    let hall = Scope::Facility { facility: name("hall") };
    vec![
        account("top", false),
        account("top", true),
        account("sub", true),
        group.clone(),
        hall.clone(),
        Scope::Organisation { organisation: name("none") },
        Scope::Device { device: name("d1") },
        Scope::Device { device: name("gone") },
        Scope::Machine { machine: name("n2") },
        Scope::Machine { machine: name("gone") },
        all_of(&[group.clone(), hall.clone()]),
        all_of(&[account("top", true), Scope::Unknown]),
        all_of(&[account("top", true), all_of(&[group, account("sub", false)])]),
        all_of(&[]),
        Scope::Unknown,
    ]
}

#[test]
fn a_scope_is_found_by_every_device_that_it_reaches_and_finds_them() {
    let (model, scopes) = (crate::fleet::read(FLEET, &[]).unwrap(), scopes());
    let places = Places::new(&model);
    let found = |scope| places.in_scope(scope).into_iter().map(Name::as_str).collect::<BTreeSet<_>>();
    let expected: [&[&str]; 15] = [
        &["d1"],
        &["d1", "d2", "d3"],
        &["d2", "d3"],
        &["d1", "d2"],
        &["d2", "d3"],
        &[],
        &["d1"],
        &[],
        &["d2"],
        &[],
        &["d2"],
        &[],
        &["d2"],
        &[],
        &[],
    ];
    for (scope, expected) in scopes.iter().zip(expected) {
        assert_eq!(found(scope), expected.iter().copied().collect(), "{scope:?}");
        for device in model.devices.keys() {
            let filed = places.anchor(scope).is_some_and(|anchor| places.anchors(device).contains(&anchor));
            assert!(filed || !expected.contains(&device.as_str()), "{scope:?} {device}");
        }
    }
}

#[test]
fn all_of_is_filed_under_its_narrowest_member() {
    let model = crate::fleet::read(FLEET, &[]).unwrap();
    let places = Places::new(&model);
    let (wide, narrow) = (
        Scope::Account { account: name("top"), nested: true },
        Scope::Account { account: name("top"), nested: false },
    );
    let both = Scope::AllOf { scopes: vec![wide.clone(), narrow] };
    assert_eq!(places.anchor(&both), Some(Anchor::Account(&name("top"))));
    let with_group = Scope::AllOf { scopes: vec![wide, Scope::DeviceGroup { group: name("pair") }] };
    assert_eq!(places.anchor(&with_group), Some(Anchor::Group(&name("pair"))));
}

#[test]
fn a_place_reaches_its_machines_alone_and_its_devices_whole() {
    let model = crate::fleet::read(FLEET, &[]).unwrap();
    let places = Places::new(&model);
    let (hall, m2) = (Scope::Facility { facility: name("hall") }, name("m2"));
    assert_eq!(places.reach(&hall, &name("d2")), Reach::Machines(vec![&m2]));
    assert_eq!(places.reach(&hall, &name("d3")), Reach::Whole);
    assert_eq!(places.reach(&hall, &name("d1")), Reach::Nothing);
}

#[test]
fn owners_are_the_accounts_in_scope_with_their_first_device() {
    let (model, scopes) = (crate::fleet::read(FLEET, &[]).unwrap(), scopes());
    let places = Places::new(&model);
    let owners = |at: usize| {
        let owners = places.owners(&scopes[at]);
        owners.iter().map(|(account, device)| format!("{account} {device}")).collect::<BTreeSet<_>>()
    };
    let of = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!(owners(0), of(&["top d1"]));
    assert_eq!(owners(1), of(&["top d1", "sub d2"]));
    assert_eq!(owners(3), of(&["top d1", "sub d2"]));
    assert_eq!(owners(4), of(&["sub d2"]));
    assert_eq!(owners(14), of(&[]));
}

#[test]
fn a_place_is_as_wide_as_its_devices_and_machines_together() {
    let yard = "[facility.yard]\naccount = \"top\"\ndevices = [\"d1\", \"d2\", \"d3\"]\n";
    let model = crate::fleet::read(&format!("{FLEET}{yard}"), &[]).unwrap();
    let places = Places::new(&model);
    let (yard, pair) = (name("yard"), name("pair"));
    let both = Scope::AllOf {
        scopes: vec![Scope::Facility { facility: yard }, Scope::DeviceGroup { group: pair.clone() }],
    };
    assert_eq!(places.anchor(&both), Some(Anchor::Group(&pair)));
}

#[test]
fn among_some_devices_only_what_leads_to_them_is_looked_at() {
    let model = crate::fleet::read(FLEET, &[]).unwrap();
    let devices = ["d1", "d2", "d3", "gone"].map(name);
    let [_, d2, _, gone] = &devices;
    let (all, some) = (Places::new(&model), Places::among(&model, [d2, gone]));
    assert_eq!(devices.each_ref().map(|device| all.covers(device)), [true; 4]);
    assert_eq!(devices.each_ref().map(|device| some.covers(device)), [false, true, false, false]);
    let (top, sub, pair, hall) = (name("top"), name("sub"), name("pair"), name("hall"));
    let (m2, n2) = (name("m2"), name("n2"));
    let around = [
        Anchor::Device(d2),
        Anchor::Account(&sub),
        Anchor::Nested(&sub),
        Anchor::Nested(&top),
        Anchor::Machine(&m2),
        Anchor::Machine(&n2),
        Anchor::Group(&pair),
        Anchor::Facility(&hall),
    ];
    assert_eq!(all.around(), None);
    assert_eq!(some.around(), Some(HashSet::from(around)));
    assert_eq!(some.devices(Anchor::Nested(&top)), [d2]);
    assert_eq!(some.anchors(d2), all.anchors(d2));
}
