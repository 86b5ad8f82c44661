use super::super::decide::decide;
use super::super::world::{grant, granting, index, snapshot};
use super::super::{Locks, Snapshot};
use super::*;

fn test(decision: Decision<'_>) -> Result<u16, SelfTestFault> {
    self_test(decision, None).map(|proven| proven.refused())
}

fn permitted(probe: Probe, expected: Reason) -> Result<u16, SelfTestFault> {
    Err(SelfTestFault::Permitted(probe, expected))
}

#[test]
fn the_decision_passes_without_a_policy_and_with_one() {
    assert_eq!(test(&decide), Ok(25));
    // Two users under two names, a stranger, and two questions about the one grant.
    let policy = granting(&[grant()]);
    assert_eq!(self_test(&decide, Some(&policy)).map(|proven| proven.refused()), Ok(30));
    let nobodys = index(&Snapshot { assigned: false, ..snapshot() });
    assert_eq!(self_test(&decide, Some(&nobodys)).map(|proven| proven.refused()), Ok(28));
}

#[test]
fn a_decision_that_refuses_everything_has_shown_nothing() {
    let deaf: Decision<'_> = &|_, _, _, _| Err(Denial::bad_pass());
    assert_eq!(test(deaf), Err(SelfTestFault::Refused(Reason::BadPass)));
}

#[test]
fn a_decision_that_does_not_look_at_the_time_is_caught() {
    let flawed: Decision<'_> = &|policy, subject, ask, circumstances| {
        decide(policy, subject, ask, &Circumstances { now: INSTANT, ..*circumstances })
    };
    assert_eq!(test(flawed), permitted(Probe::PassOver, Reason::BadPass));
}

#[test]
fn a_decision_that_does_not_look_at_freshness_is_caught() {
    let flawed: Decision<'_> = &|policy, subject, ask, circumstances| {
        decide(policy, subject, ask, &Circumstances { freshness: Freshness::ALWAYS, ..*circumstances })
    };
    assert_eq!(test(flawed), permitted(Probe::Unheard, Reason::PolicyStale));
}

#[test]
fn a_decision_that_counts_no_tunnels_is_caught() {
    let flawed: Decision<'_> = &|policy, subject, ask, circumstances| {
        decide(policy, subject, ask, &Circumstances { open_on_service: 0, ..*circumstances })
    };
    assert_eq!(test(flawed), permitted(Probe::NoRoom, Reason::Concurrency));
}

#[test]
fn a_decision_that_forgets_locks_is_caught() {
    let flawed: Decision<'_> = &|policy, subject, ask, circumstances| {
        let open = policy.map(|index| Arc::new(Index::clone(index).under(&Locks::default())));
        decide(open.as_ref(), subject, ask, circumstances)
    };
    assert_eq!(test(flawed), permitted(Probe::Locked, Reason::SiteLocked));
}

#[test]
fn a_decision_that_takes_everybody_for_somebody_else_is_caught() {
    let stage = Stage::set().unwrap();
    let flawed: Decision<'_> =
        &|policy, _subject, ask, circumstances| decide(policy, stage.allowed().subject, ask, circumstances);
    assert_eq!(test(flawed), permitted(Probe::OtherKey, Reason::BadPass));
}

#[test]
fn a_decision_that_answers_every_question_like_the_first_is_caught() {
    let stage = Stage::set().unwrap();
    let flawed: Decision<'_> = &|_, _, _, _| {
        let allowed = stage.allowed();
        let index = allowed.policy.unwrap();
        let ask = index.ask(allowed.subject.user(), allowed.service);
        decide(Some(index), allowed.subject, &ask, &allowed.circumstances)
    };
    assert_eq!(test(flawed), permitted(Probe::NoPolicy, Reason::NoPolicy));
}

#[test]
fn a_decision_that_mixes_up_its_reasons_is_caught() {
    let flawed: Decision<'_> = &|policy, subject, ask, circumstances| {
        decide(policy, subject, ask, circumstances).map_err(|_| Denial::bad_pass())
    };
    let (probe, found, expected) = (Probe::NoPolicy, Reason::BadPass, Reason::NoPolicy);
    assert_eq!(test(flawed), Err(SelfTestFault::OtherReason { probe, found, expected }));
}

#[test]
fn a_decision_that_is_broken_under_the_policy_in_force_alone_is_caught() {
    let (policy, stage) = (granting(&[grant()]), Stage::set().unwrap());
    let flawed: Decision<'_> = &|asked, subject, ask, circumstances| match asked {
        Some(asked) if asked.floor() == policy.floor() => {
            let allowed = stage.allowed();
            let index = allowed.policy.unwrap();
            let ask = index.ask(allowed.subject.user(), allowed.service);
            decide(Some(index), allowed.subject, &ask, &allowed.circumstances)
        }
        asked => decide(asked, subject, ask, circumstances),
    };
    assert_eq!(test(flawed), Ok(25), "without that policy nothing is wrong");
    let found = self_test(flawed, Some(&policy)).map(|proven| proven.refused());
    assert_eq!(found, permitted(Probe::OtherKey, Reason::BadPass));
}

#[test]
fn a_fault_says_what_was_asked_and_what_was_expected() {
    let text = SelfTestFault::Permitted(Probe::Locked, Reason::SiteLocked).to_string();
    assert_eq!(
        text,
        "the self-test failed: a request at a locked device was permitted, `site_locked` was expected"
    );
}
