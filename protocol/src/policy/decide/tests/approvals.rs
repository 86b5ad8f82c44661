//! Grants that demand an approval, and what was approved of them.

use super::*;

/// These grants, and what was approved of them.
fn with(grants: &[Grant], approvals: &[Approval]) -> Arc<Index> {
    let (grants, mut approvals) = (grants.to_vec(), approvals.to_vec());
    approvals.sort();
    index(&Snapshot { grants, approvals, ..snapshot() })
}

/// Alice's grant of `hmi` that demands an approval.
fn tied() -> Grant {
    Grant { needs_approval: true, ..grant() }
}

fn asked(policy: &Arc<Index>, now: u64) -> Verdict {
    verdict(policy, &subject(ALICE, 20, None), "hmi", &idle(now))
}

/// What may be done and until when it is decided again.
fn mode(policy: &Arc<Index>, now: u64) -> (Mode, u64, u64) {
    let permit =
        decide(Some(policy), &subject(ALICE, 20, None), &policy.ask(ALICE, "hmi"), &idle(now)).unwrap();
    (permit.mode(), permit.until().as_secs(), permit.ends().as_secs())
}

fn pending() -> Verdict {
    no_because_of(Reason::ApprovalPending, "First")
}

const TOUCH: Mode = Mode::Full { clipboard: false };

#[test]
fn a_grant_that_demands_an_approval_holds_with_one_and_waits_without() {
    assert_eq!(asked(&with(&[tied()], &[approval(1, 500)]), 100), yes(500, "First"));
    assert_eq!(asked(&with(&[tied()], &[]), 100), pending());
    // A grant that demands none needs none.
    assert_eq!(asked(&with(&[grant()], &[]), 100), yes(9_000, "First"));
}

#[test]
fn a_permit_ends_with_its_approval_and_people_are_told_that_end() {
    let policy = with(&[tied()], &[approval(1, 500)]);
    assert_eq!(mode(&policy, 499), (TOUCH, 500, 500));
    assert_eq!(asked(&policy, 500), pending());
    // What ends earlier ends it earlier.
    let windowed = Grant { not_after: Some(at(300)), ..tied() };
    assert_eq!(asked(&with(&[windowed], &[approval(1, 500)]), 100), yes(300, "First"));
    // The grant is over, whatever was approved of it.
    let over = no_because_of(Reason::Expired, "First");
    assert_eq!(asked(&with(&[windowed], &[approval(1, 500)]), 300), over);
}

#[test]
fn an_approval_of_one_grant_is_never_borrowed_by_another() {
    let other = Grant { origin: 1, ..tied() };
    let of_first = approval(1, 500);
    let of_second = Approval { grant: 1, ..of_first };
    assert_eq!(asked(&with(&[tied(), other], &[of_first]), 100), yes(500, "First"));
    assert_eq!(asked(&with(&[tied(), other], &[of_second]), 100), yes(500, "Second"));
    // The one that was approved has ended, and the other is not approved.
    let ended = Grant { not_after: Some(at(50)), ..tied() };
    let second = no_because_of(Reason::ApprovalPending, "Second");
    assert_eq!(asked(&with(&[other, ended], &[of_second]), 49), yes(50, "First"));
    assert_eq!(asked(&with(&[other, ended], &[of_second]), 100), second);
    assert_eq!(asked(&with(&[other, ended], &[of_first]), 100), yes(500, "Second"));
}

#[test]
fn an_approval_of_one_service_opens_no_other_of_the_same_grant() {
    let all = Grant { category: 0, ..tied() };
    let policy = with(&[all], &[approval(1, 500)]);
    let alice = subject(ALICE, 20, None);
    assert_eq!(verdict(&policy, &alice, "hmi", &idle(1)), yes(500, "First"));
    assert_eq!(verdict(&policy, &alice, "web", &idle(1)), pending());
}

#[test]
fn an_approval_bounds_the_mode_and_never_widens_it() {
    let look = Approval { mode: Mode::ViewOnly, ..approval(1, 500) };
    assert_eq!(mode(&with(&[tied()], &[look]), 100), (Mode::ViewOnly, 500, 500));
    assert_eq!(mode(&with(&[tied()], &[approval(1, 500)]), 100), (TOUCH, 500, 500));
    let looking = Grant { mode: Mode::ViewOnly, ..tied() };
    assert_eq!(mode(&with(&[looking], &[approval(1, 500)]), 100), (Mode::ViewOnly, 500, 500));
}

#[test]
fn of_several_approvals_the_widest_is_used_and_then_the_longest() {
    let brief = approval(1, 200);
    let look = Approval { mode: Mode::ViewOnly, ..approval(2, 500) };
    let policy = with(&[tied()], &[brief, look]);
    assert_eq!(mode(&policy, 199), (TOUCH, 200, 200));
    assert_eq!(mode(&policy, 200), (Mode::ViewOnly, 500, 500));
    assert_eq!(mode(&with(&[tied()], &[brief, approval(3, 300)]), 100), (TOUCH, 300, 300));
    // Whoever only looks anyway has the longest.
    let looking = Grant { mode: Mode::ViewOnly, ..tied() };
    assert_eq!(mode(&with(&[looking], &[brief, look]), 100), (Mode::ViewOnly, 500, 500));
    let ask = policy.ask(ALICE, "hmi").wishing(true);
    let permit = decide(Some(&policy), &subject(ALICE, 20, None), &ask, &idle(100)).unwrap();
    assert_eq!((permit.mode(), permit.until()), (Mode::ViewOnly, at(500)));
}

#[test]
fn the_case_is_asked_before_the_approval_and_the_approval_before_the_lock() {
    let both = Grant { needs_case: true, ..tied() };
    let found = |cases: &[Case], approvals: &[Approval]| {
        let (cases, approvals) = (cases.to_vec(), approvals.to_vec());
        asked(&index(&Snapshot { grants: vec![both], cases, approvals, ..snapshot() }), 100)
    };
    let inactive = no_because_of(Reason::CaseInactive, "First");
    assert_eq!(found(&[], &[]), inactive);
    assert_eq!(found(&[], &[approval(1, 500)]), inactive);
    assert_eq!(found(&[case("C-1")], &[]), pending());
    assert_eq!(found(&[case("C-1")], &[approval(1, 500)]), yes(500, "First"));
    let locked = |approvals: &[Approval]| {
        let mut locks = Locks::default();
        // What cannot be read locks the whole device.
        locks.restore(crate::policy::LockPlace { epoch: 1, sequence: 1 }, &[]);
        asked(&Arc::new(Index::clone(&with(&[tied()], approvals)).under(&locks)), 100)
    };
    assert_eq!(locked(&[]), pending());
    assert_eq!(locked(&[approval(1, 500)]), no_because_of(Reason::SiteLocked, "First"));
}

#[test]
fn a_grant_that_needs_no_approval_goes_on_without_one_and_a_wider_one_waits() {
    let free = Grant { mode: Mode::ViewOnly, origin: 1, ..grant() };
    let grants = {
        let mut grants = [tied(), free];
        grants.sort();
        grants
    };
    let at_tied = grants.iter().position(|grant| grant.needs_approval).unwrap();
    let given = Approval { grant: u32::try_from(at_tied).unwrap(), ..approval(1, 500) };
    assert_eq!(mode(&with(&grants, &[given]), 499), (TOUCH, 500, 500));
    assert_eq!(mode(&with(&grants, &[given]), 500), (Mode::ViewOnly, 9_000, 9_000));
    assert_eq!(mode(&with(&grants, &[]), 100), (Mode::ViewOnly, 9_000, 9_000));
}

#[test]
fn an_approval_holds_without_the_cloud_only_where_its_grant_does() {
    let freshness = Freshness { fresh_until: at(100), offline_until: at(200) };
    let under = |grant: Grant, now| {
        let policy = with(&[grant], &[approval(1, 150)]);
        verdict(&policy, &subject(ALICE, 20, None), "hmi", &Circumstances { freshness, ..idle(now) })
    };
    let marked = Grant { offline_ok: true, ..tied() };
    assert_eq!(under(marked, 120), yes(150, "First"));
    assert_eq!(under(tied(), 120), no_because_of(Reason::PolicyStale, "First"));
    // The device holds its end by itself: nobody prolongs it by keeping the cloud away.
    assert_eq!(under(marked, 150), pending());
}
