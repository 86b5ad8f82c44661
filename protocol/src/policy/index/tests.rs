use std::hash::BuildHasher as _;

use super::super::verify::verify;
use super::super::world::{
    ALICE, BOB, case, expectation, grant, granting, index, key, prohibition, public, root, snapshot,
};
use super::*;
use crate::id::FleetId;
use crate::trust::{Envelope, RoleKeys};

#[test]
fn users_and_services_are_found_by_what_they_are_called() {
    let index = granting(&[]);
    let found = |user, service: &str| (index.ask(user, service).user, index.ask(user, service).service);
    assert_eq!(found(ALICE, "hmi"), (Some(0), Some(0)));
    assert_eq!(found(BOB, "web"), (Some(1), Some(1)));
    assert_eq!(found(UserId::new([0; 8]), "HMI"), (None, None));
}

/// Positions of the grants of `user` that contain `service`.
fn grants_for(index: &Index, user: u32, service: u32) -> Vec<u32> {
    let caller = index.caller(user);
    let rows = caller.map(|caller| index.grants_for(caller, service).map(|(ix, grant)| (ix, *grant)));
    let rows = rows.map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    assert!(rows.iter().all(|(ix, grant)| index.grant(*ix) == Some(grant)));
    rows.into_iter().map(|(ix, _)| ix).collect()
}

/// The same for prohibitions.
fn prohibitions_for(index: &Index, user: u32, service: u32) -> Vec<u32> {
    let caller = index.caller(user);
    let rows = caller.map(|caller| index.prohibitions_for(caller, service).map(|(ix, row)| (ix, *row)));
    let rows = rows.map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    assert!(rows.iter().all(|(ix, row)| index.prohibition(*ix) == Some(row)));
    rows.into_iter().map(|(ix, _)| ix).collect()
}

#[test]
fn each_user_has_its_own_grants_and_nobody_elses() {
    let alice = [Grant { category: 0, ..grant() }, grant(), Grant { category: 2, ..grant() }];
    let bob = [Grant { user: 1, ..grant() }];
    let index = granting(&[alice[0], alice[1], alice[2], bob[0]]);
    assert_eq!(grants_for(&index, 0, 0), [0, 1]);
    assert_eq!(grants_for(&index, 0, 1), [0, 2]);
    assert_eq!(grants_for(&index, 1, 0), [3]);
    assert_eq!(grants_for(&index, 1, 1), []);
    for (user, service) in [(2, 0), (u32::MAX, 0), (0, 2), (0, u32::MAX)] {
        assert_eq!(grants_for(&index, user, service), [], "{user} {service}");
    }
    let only_bob = granting(&bob);
    assert_eq!(grants_for(&only_bob, 0, 0), []);
    assert_eq!(grants_for(&only_bob, 1, 0), [0]);
    assert_eq!(grants_for(&granting(&[]), 0, 0), []);
}

#[test]
fn each_user_has_its_own_prohibitions_and_nobody_elses() {
    let of = |rows: &[Prohibition], user, service| {
        prohibitions_for(&index(&Snapshot { prohibitions: rows.to_vec(), ..snapshot() }), user, service)
    };
    let (alice, bob) = (prohibition(), Prohibition { user: 1, ..prohibition() });
    assert_eq!(of(&[alice, bob], 0, 0), [0]);
    assert_eq!(of(&[alice, bob], 0, 1), []);
    assert_eq!(of(&[alice, bob], 1, 0), [1]);
    assert_eq!(of(&[alice, bob], 2, 0), []);
    assert_eq!(of(&[alice, bob], u32::MAX, 0), []);
    assert_eq!(of(&[bob], 0, 0), []);
    assert_eq!(of(&[bob], 1, 0), [0]);
    assert_eq!(of(&[], 0, 0), []);
}

#[test]
fn all_keys_of_a_user_speak_for_the_user_and_no_other_does() {
    let mut two = snapshot();
    two.users[0].keys = vec![public(20), public(30)];
    two.users[0].keys.sort();
    let index = index(&two);
    let speaks = |seed, user| index.speaks_for(&public(seed), index.caller(user).unwrap());
    assert_eq!([speaks(20, 0), speaks(30, 0), speaks(21, 0)], [true, true, false]);
    assert_eq!([speaks(20, 1), speaks(30, 1), speaks(21, 1)], [false, false, true]);
}

#[test]
fn a_caller_is_one_cache_line() {
    assert_eq!((size_of::<Caller>(), align_of::<Caller>()), (64, 64));
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
fn ids_that_differ_in_one_byte_spread_over_the_table() {
    let hash = |id: UserId| BuildHasherDefault::<IdHasher>::default().hash_one(id);
    // Beside all zeros a lossy mix looks like a good one; beside all ones it loses half of an id.
    for (byte, others) in (0..8).flat_map(|byte| [(byte, 0), (byte, 0xff)]) {
        let mut low = std::collections::BTreeSet::new();
        for value in 0..=255 {
            let mut id = [others; 8];
            id[byte] = value;
            low.insert(hash(UserId::new(id)) % 1024);
        }
        assert!(low.len() > 200, "byte {byte} beside {others}: {} places of 1024", low.len());
    }
}

#[test]
fn a_policy_holds_under_a_later_root_exactly_when_it_would_be_accepted_under_it() {
    let role = |threshold, seeds: &[u8]| {
        let mut keys: Vec<PublicKey> = seeds.iter().map(|seed| key(*seed).public()).collect();
        keys.sort();
        RoleKeys { role: Role::Policy, threshold, keys }
    };
    let under = |threshold, seeds: &[u8]| {
        let mut root = root();
        root.roles[1] = role(threshold, seeds);
        root
    };
    // 2 is the key of the role; 30 signs along and gets into the role later; 31 never signed.
    let bytes = Envelope::seal(&snapshot(), &[&key(2), &key(30)]).unwrap();
    let index = Index::build(verify(&bytes, &expectation(&root())).unwrap());
    let cases = [
        ("the same keys", under(1, &[2]), true),
        ("a key beside it", under(1, &[2, 31]), true),
        ("its key is gone", under(1, &[31]), false),
        ("a key that signed along", under(1, &[30]), true),
        ("two that have signed", under(2, &[2, 30]), true),
        ("two of which one has signed", under(2, &[2, 31]), false),
        ("a higher epoch", Root { policy_epoch: 2, ..root() }, false),
        ("another fleet", Root { fleet: FleetId::new([9; 8]), ..root() }, false),
        ("no such role", Root { roles: Vec::new(), ..root() }, false),
    ];
    for (what, next, holds) in cases {
        assert_eq!(index.holds_under(&next), holds, "{what}");
        assert_eq!(verify(&bytes, &expectation(&next)).is_ok(), holds, "{what}");
    }
}

#[test]
fn a_signature_that_does_not_hold_vouches_under_no_root() {
    let mut bytes = Envelope::seal(&snapshot(), &[&key(2), &key(30)]).unwrap();
    let foreign = key(30).public();
    let place = bytes.windows(32).rposition(|window| window == foreign.as_bytes()).unwrap();
    bytes[place + 32] ^= 1;
    let index = Index::build(verify(&bytes, &expectation(&root())).unwrap());
    let mut next = root();
    next.roles[1].keys = vec![foreign];
    assert!(!index.holds_under(&next));
    assert!(index.holds_under(&root()));
}
