//! What takes a right away, or keeps it, under one and the same policy: freshness, locks, and passes.

use super::*;
use crate::trust::{Lock, LockTarget};

/// Fresh before second 100, worth something before second 200.
fn lasting(now: u64) -> Circumstances {
    let freshness = Freshness { fresh_until: at(100), offline_until: at(200) };
    Circumstances { freshness, ..idle(now) }
}

fn under(index: &Arc<Index>, now: u64) -> Verdict {
    verdict(index, &subject(ALICE, 20, None), "hmi", &lasting(now))
}

#[test]
fn a_stale_policy_permits_what_is_marked_for_it_and_nothing_else() {
    let marked = granting(&[Grant { offline_ok: true, ..grant() }]);
    let plain = granting(&[grant()]);
    assert_eq!(under(&marked, 99), yes(200, "First"));
    assert_eq!(under(&plain, 99), yes(100, "First"));
    assert_eq!(under(&marked, 100), yes(200, "First"));
    assert_eq!(under(&plain, 100), no_because_of(Reason::PolicyStale, "First"));
    assert_eq!(under(&marked, 199), yes(200, "First"));
    assert_eq!(under(&marked, 200), no(Reason::PolicyStale));
    assert_eq!(under(&plain, 200), no(Reason::PolicyStale));
}

#[test]
fn the_end_that_people_are_told_is_that_of_the_budget_only_while_the_policy_is_stale() {
    let marked = granting(&[Grant { offline_ok: true, ..grant() }]);
    let plain = granting(&[grant()]);
    let ends = |policy: &Arc<Index>, now| {
        let ask = policy.ask(ALICE, "hmi");
        let permit = decide(Some(policy), &subject(ALICE, 20, None), &ask, &lasting(now)).unwrap();
        (permit.until().as_secs(), permit.ends().as_secs())
    };
    assert_eq!((ends(&plain, 99), ends(&marked, 99)), ((100, 9_000), (200, 9_000)));
    assert_eq!((ends(&marked, 100), ends(&marked, 199)), ((200, 200), (200, 200)));
}

#[test]
fn a_stale_policy_tells_who_has_no_grant_nothing_new() {
    let plain = granting(&[grant()]);
    let bob = subject(BOB, 21, None);
    let asked = |service| verdict(&plain, &bob, service, &lasting(150));
    assert_eq!(asked("hmi"), no(Reason::NoGrant));
    assert_eq!(asked("nothing"), no(Reason::NoGrant));
}

#[test]
fn of_two_grants_the_one_that_lasts_without_the_cloud_is_used() {
    let brief = Grant { offline_ok: true, not_after: Some(at(150)), category: 0, origin: 1, ..grant() };
    let both = granting(&[grant(), brief]);
    assert_eq!(under(&both, 50), yes(150, "Second"));
    assert_eq!(under(&both, 120), yes(150, "Second"));
    assert_eq!(under(&both, 150), no_because_of(Reason::Expired, "Second"));
}

/// What `targets` lock.
fn locks(targets: &[LockTarget]) -> Locks {
    let mut locks = Locks::default();
    let (issued, targets) = (at(0), targets.to_vec());
    let lock = Lock { fleet: FLEET, device: DEVICE, epoch: 1, sequence: 1, issued, targets };
    locks.handle_lock(&lock, 0).unwrap();
    locks
}

fn asked(policy: &Arc<Index>, subject: &Subject) -> Result<(), Reason> {
    let ask = policy.ask(subject.user(), "hmi");
    decide(Some(policy), subject, &ask, &idle(100)).map(drop).map_err(|denial| denial.reason())
}

fn locked(policy: &Arc<Index>, targets: &[LockTarget]) -> Arc<Index> {
    Arc::new(Index::clone(policy).under(&locks(targets)))
}

#[test]
fn a_lock_denies_a_user_a_category_or_the_device_and_nobody_else() {
    let bob = Grant { user: 1, category: 0, ..grant() };
    let policy = granting(&[grant(), bob]);
    let (alice, other) = (subject(ALICE, 20, None), subject(BOB, 21, None));
    let both = |targets: &[LockTarget]| {
        let policy = locked(&policy, targets);
        (asked(&policy, &alice), asked(&policy, &other))
    };
    let category = |name: &str| LockTarget::Category(name.parse().unwrap());
    assert_eq!((asked(&policy, &alice), asked(&policy, &other)), (Ok(()), Ok(())));
    assert_eq!(both(&[LockTarget::User(ALICE)]), (Err(Reason::UserDisabled), Ok(())));
    assert_eq!(both(&[category("hmi")]), (Err(Reason::NoGrant), Ok(())));
    assert_eq!(both(&[category("all")]), (Ok(()), Err(Reason::NoGrant)));
    assert_eq!(both(&[category("web")]), (Ok(()), Ok(())));
    assert_eq!(both(&[LockTarget::Device]), (Err(Reason::SiteLocked), Err(Reason::SiteLocked)));
}

#[test]
fn a_locked_device_says_so_only_to_those_who_have_a_grant_that_holds() {
    let policy = locked(&granting(&[grant()]), &[LockTarget::Device]);
    assert_eq!(asked(&policy, &subject(ALICE, 20, None)), Err(Reason::SiteLocked));
    assert_eq!(asked(&policy, &subject(BOB, 21, None)), Err(Reason::NoGrant));
    let late = Grant { not_before: Some(at(200)), ..grant() };
    let policy = locked(&granting(&[late]), &[LockTarget::Device]);
    assert_eq!(asked(&policy, &subject(ALICE, 20, None)), Err(Reason::NotYet));
}

#[test]
fn locks_of_before_go_when_others_take_their_place() {
    let shut = locked(&granting(&[grant()]), &[LockTarget::User(ALICE), LockTarget::Device]);
    assert_eq!(asked(&shut, &subject(ALICE, 20, None)), Err(Reason::UserDisabled));
    let lifted = Arc::new(Index::clone(&shut).under(&Locks::default()));
    assert_eq!(asked(&lifted, &subject(ALICE, 20, None)), Ok(()));
}

#[test]
fn a_locked_category_prohibits_as_before() {
    let grants = vec![grant(), Grant { category: 0, ..grant() }];
    let mut policy = Snapshot { grants, prohibitions: vec![prohibition()], ..snapshot() };
    policy.grants.sort();
    let policy = index(&policy);
    let hmi = [LockTarget::Category("hmi".parse().unwrap())];
    assert_eq!(asked(&policy, &subject(ALICE, 20, None)), Err(Reason::NoGrant));
    assert_eq!(asked(&locked(&policy, &hmi), &subject(ALICE, 20, None)), Err(Reason::NoGrant));
}

#[test]
fn a_pass_of_before_the_sign_out_is_worth_nothing_and_a_later_one_counts() {
    let mut policy = Snapshot { grants: vec![grant()], ..snapshot() };
    let issued_at = |secs| subject_until(ALICE, 20, Some(secs), 9_000);
    policy.users[0].passes_from = at(50);
    let policy = index(&policy);
    assert_eq!(asked(&policy, &issued_at(49)), Err(Reason::BadPass));
    assert_eq!(asked(&policy, &issued_at(50)), Ok(()));
    // Nobody else's passes are concerned.
    let bob = Grant { user: 1, category: 0, ..grant() };
    assert_eq!(asked(&granting(&[bob]), &subject(BOB, 21, None)), Ok(()));
}

#[test]
fn a_narrowed_pass_opens_what_it_names_and_grants_nothing() {
    let policy = granting(&[grant()]);
    let only = |names: &[&str]| narrowed(ALICE, 20, names);
    assert_eq!(asked(&policy, &only(&["hmi"])), Ok(()));
    assert_eq!(asked(&policy, &only(&["hmi", "web"])), Ok(()));
    assert_eq!(asked(&policy, &only(&["web"])), Err(Reason::NoGrant));
    assert_eq!(asked(&policy, &only(&[])), Err(Reason::NoGrant));
    let ungranted = granting(&[]);
    assert_eq!(asked(&ungranted, &only(&["hmi"])), Err(Reason::NoGrant));
}
