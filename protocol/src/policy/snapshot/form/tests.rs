use super::super::super::world::{approval, at, case, grant, prohibition, public, snapshot};
use super::*;
use crate::policy::{Reach, Target};

fn secret(name: &str) -> Secret {
    Secret { name: name.parse().unwrap(), sealed: vec![1; 306] }
}

/// Puts the first service elsewhere.
fn screen_at(snapshot: &mut Snapshot, ip: &str, port: u16) {
    let rules = snapshot.services[0].reach.rules().unwrap().clone();
    snapshot.services[0].reach = Reach::Place { target: Target { ip: ip.parse().unwrap(), port }, rules };
}

/// A snapshot with a grant, a prohibition and a case, and one thing changed.
fn changed(change: impl FnOnce(&mut Snapshot)) -> Result<(), FormFault> {
    let mut snapshot = Snapshot {
        grants: vec![grant()],
        prohibitions: vec![prohibition()],
        cases: vec![case("C-1")],
        secrets: vec![secret("hmi")],
        recording_key: None,
        ..snapshot()
    };
    change(&mut snapshot);
    snapshot.check_form()
}

/// The same with a grant that demands an approval, and one.
fn approved(change: impl FnOnce(&mut Snapshot)) -> Result<(), FormFault> {
    changed(|s| {
        s.grants[0].needs_approval = true;
        s.approvals = vec![approval(1, 500)];
        change(s);
    })
}

#[test]
fn a_snapshot_in_form_is_accepted() {
    assert_eq!(changed(|_| ()), Ok(()));
    assert_eq!(changed(|s| s.grants.clear()), Ok(()));
    assert_eq!(approved(|_| ()), Ok(()));
}

#[test]
fn every_list_must_ascend_strictly() {
    let order = |list| Err(FormFault::Order { list });
    assert_eq!(changed(|s| s.services.reverse()), order("services"));
    assert_eq!(changed(|s| s.services[1].name = s.services[0].name.clone()), order("services"));
    assert_eq!(changed(|s| s.categories.reverse()), order("categories"));
    assert_eq!(changed(|s| s.categories[1].name = s.categories[0].name.clone()), order("categories"));
    assert_eq!(changed(|s| s.users.reverse()), order("users"));
    assert_eq!(changed(|s| s.users[1].id = s.users[0].id), order("users"));
    assert_eq!(changed(|s| s.origins.reverse()), order("origins"));
    assert_eq!(changed(|s| s.origins[1] = s.origins[0].clone()), order("origins"));
    assert_eq!(changed(|s| s.grants.push(grant())), order("grants"));
    assert_eq!(changed(|s| s.grants.push(Grant { category: 0, ..grant() })), order("grants"));
    assert_eq!(changed(|s| s.prohibitions.push(prohibition())), order("prohibitions"));
    assert_eq!(
        changed(|s| s.prohibitions.push(Prohibition { category: 0, ..prohibition() })),
        order("prohibitions")
    );
    assert_eq!(changed(|s| s.prohibitions.push(Prohibition { user: 1, ..prohibition() })), Ok(()));
    let paths = |paths: &[&str]| paths.iter().map(|path| path.parse().unwrap()).collect::<Vec<_>>();
    assert_eq!(changed(|s| s.paths = paths(&["/b", "/a"])), order("paths"));
    assert_eq!(changed(|s| s.paths = paths(&["/a", "/a"])), order("paths"));
    assert_eq!(changed(|s| s.paths = paths(&["/a", "/b"])), Ok(()));
    assert_eq!(changed(|s| s.cases.push(case("C-0"))), order("cases"));
    assert_eq!(changed(|s| s.cases.push(case("C-1"))), order("cases"));
    assert_eq!(changed(|s| s.cases.push(case("C-2"))), Ok(()));
    assert_eq!(changed(|s| s.secrets.push(secret("hmh"))), order("secrets"));
    assert_eq!(changed(|s| s.secrets.push(secret("hmi"))), order("secrets"));
    assert_eq!(changed(|s| s.secrets.push(secret("hmj"))), Ok(()));
    assert_eq!(approved(|s| s.approvals.push(approval(1, 500))), order("approvals"));
    assert_eq!(approved(|s| s.approvals.push(approval(0, 500))), order("approvals"));
    assert_eq!(approved(|s| s.approvals.push(approval(2, 500))), Ok(()));
    assert_eq!(changed(|s| s.cases[0].services = vec![1, 0]), order("case services"));
    assert_eq!(changed(|s| s.cases[0].services = vec![1, 1]), order("case services"));
    assert_eq!(changed(|s| s.categories[0].services = vec![1, 0]), order("category services"));
    assert_eq!(changed(|s| s.categories[0].services = vec![1, 1]), order("category services"));
    let mut keys = [public(20), public(30)];
    keys.sort();
    assert_eq!(changed(|s| s.users[0].keys = keys.to_vec()), Ok(()));
    keys.reverse();
    assert_eq!(changed(|s| s.users[0].keys = keys.to_vec()), order("user keys"));
    assert_eq!(changed(|s| s.users[0].keys = vec![keys[0]; 2]), order("user keys"));
}

/// One entry more than `limit`, all the same.
fn fill<T: Clone>(list: &mut Vec<T>, limit: usize) {
    *list = vec![list[0].clone(); limit + 1];
}

#[test]
fn every_list_has_a_bound() {
    let over = |list, limit: usize| Err(FormFault::Count { list, found: limit + 1, limit });
    assert_eq!(changed(|s| fill(&mut s.services, 2048)), over("services", 2048));
    assert_eq!(changed(|s| fill(&mut s.categories, 512)), over("categories", 512));
    assert_eq!(changed(|s| fill(&mut s.users, 8192)), over("users", 8192));
    assert_eq!(changed(|s| fill(&mut s.origins, 8192)), over("origins", 8192));
    assert_eq!(changed(|s| s.grants = vec![grant(); 32_769]), over("grants", 32_768));
    assert_eq!(changed(|s| fill(&mut s.prohibitions, 8192)), over("prohibitions", 8192));
    assert_eq!(changed(|s| fill(&mut s.cases, 512)), over("cases", 512));
    assert_eq!(approved(|s| fill(&mut s.approvals, 1024)), over("approvals", 1024));
    assert_eq!(changed(|s| fill(&mut s.secrets, 64)), over("secrets", 64));
    assert_eq!(changed(|s| s.users[0].keys = vec![public(20); 9]), over("user keys", 8));
    // At the bound it is the next rule that speaks.
    assert_eq!(changed(|s| s.grants = vec![grant(); 32_768]), Err(FormFault::Order { list: "grants" }));
    assert_eq!(
        changed(|s| s.users[0].keys = vec![public(20); 8]),
        Err(FormFault::Order { list: "user keys" })
    );
}

#[test]
fn references_must_resolve() {
    let dangling = |list, to| Err(FormFault::Reference { list, to });
    assert_eq!(changed(|s| s.grants[0].user = 1), Ok(()));
    assert_eq!(changed(|s| s.grants[0].user = 2), dangling("grants", "user"));
    assert_eq!(changed(|s| s.grants[0].category = 2), Ok(()));
    assert_eq!(changed(|s| s.grants[0].category = 3), dangling("grants", "category"));
    assert_eq!(changed(|s| s.grants[0].origin = 1), Ok(()));
    assert_eq!(changed(|s| s.grants[0].origin = 2), dangling("grants", "origin"));
    assert_eq!(changed(|s| s.categories[0].services = vec![0, 2]), dangling("categories", "service"));
    assert_eq!(changed(|s| s.categories[0].services.clear()), dangling("categories", "service"));
    assert_eq!(changed(|s| s.prohibitions[0].user = 1), Ok(()));
    assert_eq!(changed(|s| s.prohibitions[0].user = 2), dangling("prohibitions", "user"));
    assert_eq!(changed(|s| s.prohibitions[0].category = 2), Ok(()));
    assert_eq!(changed(|s| s.prohibitions[0].category = 3), dangling("prohibitions", "category"));
    assert_eq!(changed(|s| s.prohibitions[0].origin = 0), Ok(()));
    assert_eq!(changed(|s| s.prohibitions[0].origin = 2), dangling("prohibitions", "origin"));
    assert_eq!(changed(|s| s.cases[0].services = vec![0, 1]), Ok(()));
    assert_eq!(changed(|s| s.cases[0].services = vec![0, 2]), dangling("cases", "service"));
    assert_eq!(changed(|s| s.cases[0].services.clear()), dangling("cases", "service"));
    assert_eq!(changed(|s| s.grants[0].user = u32::MAX), dangling("grants", "user"));
    assert_eq!(approved(|s| s.approvals[0].grant = 1), dangling("approvals", "grant"));
    assert_eq!(approved(|s| s.approvals[0].grant = u32::MAX), dangling("approvals", "grant"));
    // The category `hmi` has one service, the category `all` both.
    let elsewhere = dangling("approvals", "service of its grant");
    assert_eq!(approved(|s| s.approvals[0].service = 1), elsewhere);
    assert_eq!(approved(|s| s.approvals[0].service = 2), elsewhere);
    let with_all = |service: u32| {
        approved(|s| {
            s.grants[0].category = 0;
            s.approvals[0].service = service;
        })
    };
    assert_eq!((with_all(0), with_all(1), with_all(2)), (Ok(()), Ok(()), elsewhere));
}

#[test]
fn values_that_mean_nothing_are_refused() {
    let value = |list, field| Err(FormFault::Value { list, field });
    assert_eq!(changed(|s| s.expires = s.issued), value("snapshot", "expires"));
    assert_eq!(changed(|s| s.expires = s.issued.saturating_add(1)), Ok(()));
    assert_eq!(changed(|s| screen_at(s, "10.0.0.1", 0)), value("services", "port"));
    assert_eq!(changed(|s| s.services[1].idle_s = 0), value("services", "idle_s"));
    assert_eq!(changed(|s| s.services[1].duration_s = 0), value("services", "duration_s"));
    assert_eq!(changed(|s| s.users[1].keys.clear()), value("users", "keys"));
    assert_eq!(approved(|s| s.grants[0].needs_approval = false), value("approvals", "grant"));
    assert_eq!(changed(|s| s.secrets[0].sealed.clear()), value("secrets", "sealed"));
    assert_eq!(changed(|s| s.secrets[0].sealed = vec![1; 512]), Ok(()));
    assert_eq!(changed(|s| s.secrets[0].sealed = vec![1; 513]), value("secrets", "sealed"));
    for (from, until, good) in [(Some(5), Some(6), true), (Some(5), Some(5), false), (None, Some(0), true)] {
        let (from, until) = (from.map(at), until.map(at));
        let expected = |list| if good { Ok(()) } else { value(list, "not_after") };
        let grant = |s: &mut Snapshot| (s.grants[0].not_before, s.grants[0].not_after) = (from, until);
        assert_eq!(changed(grant), expected("grants"));
        let prohibition =
            |s: &mut Snapshot| (s.prohibitions[0].not_before, s.prohibitions[0].not_after) = (from, until);
        assert_eq!(changed(prohibition), expected("prohibitions"));
        let case = |s: &mut Snapshot| (s.cases[0].not_before, s.cases[0].not_after) = (from, until);
        assert_eq!(changed(case), expected("cases"));
    }
}

#[test]
fn addresses_at_which_nothing_can_be_served_are_refused() {
    let ip = |text: &str| changed(|s| screen_at(s, text, 5900));
    let refused = Err(FormFault::Value { list: "services", field: "ip" });
    for good in ["10.0.0.1", "127.0.0.1", "fe80::1", "::1"] {
        assert_eq!(ip(good), Ok(()), "{good}");
    }
    for bad in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "::ffff:10.0.0.1"] {
        assert_eq!(ip(bad), refused, "{bad}");
    }
}

#[test]
fn a_device_out_of_service_carries_nothing_at_all() {
    let retired = |list| Err(FormFault::Retired { list });
    let mut snapshot = crate::policy::world::snapshot();
    snapshot.retired = true;
    snapshot.grants = vec![Grant { needs_approval: true, ..grant() }];
    snapshot.approvals = vec![approval(1, 500)];
    type Clear = (&'static str, fn(&mut Snapshot));
    let lists: [Clear; 10] = [
        ("assigned", |s| s.assigned = false),
        ("services", |s| s.services.clear()),
        ("categories", |s| s.categories.clear()),
        ("users", |s| s.users.clear()),
        ("origins", |s| s.origins.clear()),
        ("grants", |s| s.grants.clear()),
        ("prohibitions", |s| s.prohibitions.clear()),
        ("cases", |s| s.cases.clear()),
        ("approvals", |s| s.approvals.clear()),
        ("secrets", |s| s.secrets.clear()),
    ];
    let full = snapshot.clone();
    for (list, clear) in lists {
        // The list alone is enough to be refused.
        let mut alone = full.clone();
        lists.iter().filter(|(other, _)| *other != list).for_each(|(_, clear)| clear(&mut alone));
        let before = alone.clone();
        clear(&mut alone);
        if before != alone {
            assert_eq!(before.check_retired(), retired(list));
        }
        clear(&mut snapshot);
    }
    assert_eq!(snapshot.check_form(), Ok(()));
    snapshot.retired = false;
    assert_eq!(snapshot.check_form(), Ok(()), "a device without an account may be empty as well");
}

#[test]
fn an_unassigned_device_carries_no_rules() {
    let unassigned = |change: fn(&mut Snapshot)| {
        changed(|s| {
            s.assigned = false;
            change(s);
        })
    };
    let rules = |list| Err(FormFault::Unassigned { list });
    assert_eq!(unassigned(|_| ()), rules("grants"));
    assert_eq!(unassigned(|s| s.grants.clear()), rules("prohibitions"));
    assert_eq!(
        unassigned(|s| {
            s.grants.clear();
            s.prohibitions.clear();
        }),
        rules("cases")
    );
    assert_eq!(
        unassigned(|s| {
            s.grants.clear();
            s.prohibitions.clear();
            s.cases.clear();
            s.approvals = vec![approval(1, 500)];
        }),
        rules("approvals")
    );
    assert_eq!(
        unassigned(|s| {
            s.grants.clear();
            s.prohibitions.clear();
            s.cases.clear();
        }),
        rules("secrets")
    );
    assert_eq!(
        unassigned(|s| {
            s.grants.clear();
            s.prohibitions.clear();
            s.cases.clear();
            s.secrets.clear();
        }),
        Ok(())
    );
}
