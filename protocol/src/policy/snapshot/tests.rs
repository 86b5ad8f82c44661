use super::super::world::{at, grant, public, snapshot};
use super::*;

/// A snapshot with a grant and one thing changed.
fn changed(change: impl FnOnce(&mut Snapshot)) -> Result<(), FormFault> {
    let mut snapshot = Snapshot { grants: vec![grant()], ..snapshot() };
    change(&mut snapshot);
    snapshot.check_form()
}

#[test]
fn a_snapshot_in_form_is_accepted() {
    assert_eq!(changed(|_| ()), Ok(()));
    assert_eq!(changed(|s| s.grants.clear()), Ok(()));
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
    assert_eq!(changed(|s| s.grants[0].user = u32::MAX), dangling("grants", "user"));
}

#[test]
fn values_that_mean_nothing_are_refused() {
    let value = |list, field| Err(FormFault::Value { list, field });
    assert_eq!(changed(|s| s.expires = s.issued), value("snapshot", "expires"));
    assert_eq!(changed(|s| s.expires = s.issued.saturating_add(1)), Ok(()));
    assert_eq!(changed(|s| s.services[0].target.port = 0), value("services", "port"));
    assert_eq!(changed(|s| s.services[1].idle_s = 0), value("services", "idle_s"));
    assert_eq!(changed(|s| s.services[1].duration_s = 0), value("services", "duration_s"));
    assert_eq!(changed(|s| s.users[1].keys.clear()), value("users", "keys"));
    let window = |from, until| {
        move |s: &mut Snapshot| {
            s.grants[0].not_before = Some(at(from));
            s.grants[0].not_after = Some(at(until));
        }
    };
    assert_eq!(changed(window(5, 6)), Ok(()));
    assert_eq!(changed(window(5, 5)), value("grants", "not_after"));
    assert_eq!(changed(|s| s.grants[0].not_after = Some(at(0))), Ok(()));
}

#[test]
fn addresses_at_which_nothing_can_be_served_are_refused() {
    let ip = |text: &str| {
        let ip: IpAddr = text.parse().unwrap();
        changed(|s| s.services[0].target.ip = ip)
    };
    let refused = Err(FormFault::Value { list: "services", field: "ip" });
    for good in ["10.0.0.1", "127.0.0.1", "fe80::1", "::1"] {
        assert_eq!(ip(good), Ok(()), "{good}");
    }
    for bad in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "::ffff:10.0.0.1"] {
        assert_eq!(ip(bad), refused, "{bad}");
    }
}

#[test]
fn an_unassigned_device_carries_no_grants() {
    assert_eq!(changed(|s| s.assigned = false), Err(FormFault::Unassigned));
    assert_eq!(
        changed(|s| {
            s.assigned = false;
            s.grants.clear();
        }),
        Ok(())
    );
}
