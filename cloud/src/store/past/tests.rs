use super::*;
use crate::past::{Span, Stretch};
use crate::trail::sample::{Sample, at, name};

const ACCOUNTS: &str = r#"
[account.provider]
tenant = "service_provider"
[account.acme]
tenant = "operating_company"
parent = "provider"
"#;

fn stretches(sample: &Sample, company: &str) -> Vec<Stretch> {
    sample.store.read(|tx| tx.past()).unwrap().stretches(&name(company))
}

fn stretch(device: &str, from: u64, until: UnixTime) -> Stretch {
    Stretch { device: name(device), span: Span { from: at(from), until } }
}

#[test]
fn what_was_whose_is_kept_when_devices_move_and_companies_go() {
    let sample = Sample::new();
    let fleet = |rest: &str| format!("{ACCOUNTS}{rest}");
    sample.apply(10, &fleet("[device.d1]\naccount = \"acme\"\n[device.d2]\naccount = \"acme\"\n"));
    // Another label is no other place.
    sample.apply(
        20,
        &fleet("[device.d1]\naccount = \"acme\"\nlabel = \"One\"\n[device.d2]\naccount = \"acme\"\n"),
    );
    sample.apply(30, &fleet("[device.d1]\naccount = \"provider\"\n"));
    assert_eq!(stretches(&sample, "acme"), [stretch("d1", 10, at(30)), stretch("d2", 10, at(30))]);
    let provider = [stretch("d1", 10, UnixTime::MAX), stretch("d2", 10, at(30))];
    assert_eq!(stretches(&sample, "provider"), provider);
    // The company goes, and another one takes its name.
    sample.apply(40, "[account.provider]\ntenant = \"service_provider\"\n");
    assert_eq!(stretches(&sample, "acme"), []);
    sample.apply(50, &fleet("[device.d2]\naccount = \"acme\"\n"));
    assert_eq!(stretches(&sample, "acme"), [stretch("d2", 50, UnixTime::MAX)]);
}

#[test]
fn a_user_who_has_left_keeps_name_and_account_in_the_past_and_one_of_the_same_name_is_another() {
    let sample = Sample::new();
    let with = |user: &str| format!("{ACCOUNTS}{user}");
    sample.apply(10, &with("[user.otto]\naccount = \"acme\"\n"));
    let first = sample.user("otto");
    sample.apply(20, ACCOUNTS);
    sample.apply(30, &with("[user.otto]\naccount = \"provider\"\n"));
    let second = sample.user("otto");
    let known = |id| sample.store.read(|tx| tx.past_user(id)).unwrap().unwrap();
    assert_eq!(known(first).accounts, [(at(10), Some(name("acme"))), (at(20), None)]);
    assert_eq!(known(second).accounts, [(at(30), Some(name("provider")))]);
    assert!(!known(first).is_here() && known(second).is_here());
    let mut both = vec![first, second];
    both.sort();
    let mut called = sample.store.read(|tx| tx.users_called(&name("otto"))).unwrap();
    called.sort();
    assert_eq!(called, both);
    assert_eq!(sample.store.read(|tx| tx.past_user(UserId::new([9; 8]))).unwrap(), None);
    assert_eq!(sample.store.read(|tx| tx.past_user_names()).unwrap(), [name("otto")]);
}

#[test]
fn of_changes_in_one_second_and_of_a_clock_that_goes_back_the_later_change_counts() {
    let sample = Sample::new();
    for (secs, account) in [(10, "acme"), (10, "provider"), (5, "acme")] {
        sample.apply(secs, &format!("{ACCOUNTS}[device.d1]\naccount = \"{account}\"\n"));
    }
    assert_eq!(stretches(&sample, "acme"), [stretch("d1", 10, UnixTime::MAX)]);
    let past = sample.store.read(|tx| tx.past()).unwrap();
    let tenure = Tenure { since: at(10), account: Some(name("acme")), applied: None };
    assert_eq!(past.devices[&name("d1")], [tenure]);
}

#[test]
fn the_first_policy_that_was_signed_after_a_change_is_the_one_that_counts() {
    let sample = Sample::new();
    let fleet = |account: &str| format!("{ACCOUNTS}[device.d1]\naccount = \"{account}\"\n");
    let applied = || {
        let past = sample.store.read(|tx| tx.past()).unwrap();
        past.devices[&name("d1")].iter().map(|tenure| tenure.applied).collect::<Vec<_>>()
    };
    sample.apply(10, &fleet("acme"));
    sample.write("d1", 11, crate::trail::sample::applied(1));
    sample.sign("d1", 3);
    sample.apply(20, &fleet("provider"));
    assert_eq!(applied(), [Some(at(11)), None]);
    // It was under way when the device changed hands.
    sample.write("d1", 21, crate::trail::sample::applied(3));
    assert_eq!(applied(), [Some(at(11)), None]);
    sample.write("d1", 22, crate::trail::sample::applied(4));
    sample.write("d1", 25, crate::trail::sample::applied(5));
    assert_eq!(applied(), [Some(at(11)), Some(at(22))]);
    // Of a time of which it never heard it has what it heard next.
    sample.apply(30, &fleet("acme"));
    sample.apply(40, &fleet("provider"));
    sample.write("d1", 41, crate::trail::sample::applied(9));
    assert_eq!(applied(), [Some(at(11)), Some(at(22)), Some(at(41)), Some(at(41))]);
    assert_eq!(stretches(&sample, "acme"), [stretch("d1", 10, at(20)), stretch("d1", 30, at(40))]);
}

#[test]
fn a_clock_that_is_behind_gives_no_row_of_before_to_the_new_company() {
    let sample = Sample::new();
    let fleet = |account: &str| format!("{ACCOUNTS}[device.d1]\naccount = \"{account}\"\n");
    sample.apply(10, &fleet("acme"));
    sample.write("d1", 50, crate::trail::sample::applied(1));
    sample.sign("d1", 1);
    sample.apply(60, &fleet("provider"));
    // Started anew without word of the time, and given the new policy before it heard it.
    sample.write_at("d1", 20, 70, crate::trail::sample::applied(2));
    let past = sample.store.read(|tx| tx.past()).unwrap();
    assert_eq!(past.devices[&name("d1")][1].applied, Some(at(50)));
    assert!(!past.is_settled(&name("d1"), at(50)) && past.is_settled(&name("d1"), at(51)));
    assert_eq!(stretches(&sample, "acme"), [stretch("d1", 10, at(50))]);
}

#[test]
fn the_past_on_a_server_is_the_same() {
    crate::store::ground::on_a_server(&[
        what_was_whose_is_kept_when_devices_move_and_companies_go,
        a_user_who_has_left_keeps_name_and_account_in_the_past_and_one_of_the_same_name_is_another,
        of_changes_in_one_second_and_of_a_clock_that_goes_back_the_later_change_counts,
        the_first_policy_that_was_signed_after_a_change_is_the_one_that_counts,
        a_clock_that_is_behind_gives_no_row_of_before_to_the_new_company,
    ]);
}
