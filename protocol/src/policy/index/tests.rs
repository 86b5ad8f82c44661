use std::hash::BuildHasher as _;

use super::super::world::{ALICE, BOB, case, grant, granting, index, prohibition, snapshot};
use super::*;

#[test]
fn users_and_services_are_found_by_what_they_are_called() {
    let index = granting(&[]);
    let found = |user, service: &str| (index.ask(user, service).user, index.ask(user, service).service);
    assert_eq!(found(ALICE, "hmi"), (Some(0), Some(0)));
    assert_eq!(found(BOB, "web"), (Some(1), Some(1)));
    assert_eq!(found(UserId::new([0; 8]), "HMI"), (None, None));
}

#[test]
fn each_user_has_its_own_grants_and_nobody_elses() {
    let alice = [Grant { category: 0, ..grant() }, grant()];
    let bob = [Grant { user: 1, ..grant() }];
    let index = granting(&[alice[0], alice[1], bob[0]]);
    let of = |user| index.grants_of(user).map(|(ix, grant)| (ix, *grant)).collect::<Vec<_>>();
    assert_eq!(of(0), [(0, alice[0]), (1, alice[1])]);
    assert_eq!(of(1), [(2, bob[0])]);
    assert_eq!(of(2), []);
    assert_eq!(of(u32::MAX), []);
    let only_bob = granting(&bob);
    assert_eq!(only_bob.grants_of(0).count(), 0);
    assert_eq!(only_bob.grants_of(1).map(|(ix, _)| ix).collect::<Vec<_>>(), [0]);
}

#[test]
fn each_user_has_its_own_prohibitions_and_nobody_elses() {
    let of = |rows: &[Prohibition], user| {
        let index = index(&Snapshot { prohibitions: rows.to_vec(), ..snapshot() });
        index.prohibitions_of(user).map(|(ix, row)| (ix, *row)).collect::<Vec<_>>()
    };
    let (alice, bob) = (prohibition(), Prohibition { user: 1, ..prohibition() });
    assert_eq!(of(&[alice, bob], 0), [(0, alice)]);
    assert_eq!(of(&[alice, bob], 1), [(1, bob)]);
    assert_eq!(of(&[alice, bob], 2), []);
    assert_eq!(of(&[alice, bob], u32::MAX), []);
    assert_eq!(of(&[bob], 0), []);
    assert_eq!(of(&[bob], 1), [(0, bob)]);
    assert_eq!(of(&[], 0), []);
}

#[test]
fn a_service_has_the_cases_that_contain_it() {
    let both = Case { services: vec![0, 1], ..case("C-2") };
    let index = index(&Snapshot { cases: vec![case("C-1"), both], ..snapshot() });
    let names = |service| index.cases_of(service).map(|case| case.name.as_str()).collect::<Vec<_>>();
    assert_eq!(names(0), ["C-1", "C-2"]);
    assert_eq!(names(1), ["C-2"]);
    assert_eq!(names(2), [""; 0]);
    assert_eq!(names(u32::MAX), [""; 0]);
}

#[test]
fn a_category_contains_its_services_and_no_neighbour_in_the_next_word() {
    let mut wide = snapshot();
    let first = wide.services[0].clone();
    wide.services =
        (0..130).map(|i| Service { name: format!("s{i:03}").parse().unwrap(), ..first.clone() }).collect();
    wide.categories = [("even", 0), ("odd", 1)]
        .map(|(name, from)| Category {
            name: name.parse().unwrap(),
            services: (from..130).step_by(2).collect(),
        })
        .into();
    let index = index(&wide);
    for service in 0..130 {
        assert_eq!(index.contains(0, service), service % 2 == 0, "{service}");
        assert_eq!(index.contains(1, service), service % 2 == 1, "{service}");
    }
    // Beyond the last service and the last category there is nothing, also where a word of bits has room.
    for (category, service) in [(0, 130), (0, 192), (0, u32::MAX), (2, 0), (u32::MAX, 0)] {
        assert!(!index.contains(category, service), "{category} {service}");
    }
}

#[test]
fn ids_that_differ_in_one_byte_spread_over_the_table() {
    let hash = |id: UserId| BuildHasherDefault::<IdHasher>::default().hash_one(id);
    for byte in 0..8 {
        let mut low = std::collections::BTreeSet::new();
        for value in 0..=255 {
            let mut id = [0; 8];
            id[byte] = value;
            low.insert(hash(UserId::new(id)) % 1024);
        }
        assert!(low.len() > 200, "byte {byte}: {} places of 1024", low.len());
    }
}
