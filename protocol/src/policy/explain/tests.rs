use super::super::world::{ALICE, BOB, at, grant, granting, index, snapshot, subject_until};
use super::super::{Snapshot, decide};
use super::*;

fn idle(now: u64) -> Circumstances {
    Circumstances { now: at(now), open: 0, open_by_user: 0, open_on_service: 0 }
}

fn hypothesis(second_factor_at: Option<u64>) -> Hypothesis {
    Hypothesis { user: ALICE, second_factor_at: second_factor_at.map(at) }
}

#[test]
fn every_chain_is_listed_with_its_own_verdict_and_the_used_one_is_marked() {
    let late = Grant { not_after: Some(at(50)), ..grant() };
    let factor = Grant { category: 0, second_factor_s: Some(300), origin: 1, ..grant() };
    let elsewhere = Grant { category: 2, ..grant() };
    let index = granting(&[late, factor, elsewhere]);
    let chain = |origin: &str, category: &str| Chain {
        used: false,
        assignment: origin.to_owned(),
        role: "Engineer".to_owned(),
        group: None,
        category: category.to_owned(),
        not_before: None,
        not_after: None,
        second_factor_s: None,
        fails: None,
    };
    let second = Chain { used: true, second_factor_s: Some(300), ..chain("Second", "all") };
    let first = Chain { not_after: Some(at(50)), fails: Some(Reason::Expired), ..chain("First", "hmi") };
    assert_eq!(
        explain(Some(&index), &hypothesis(Some(90)), "hmi", &idle(100)),
        Explanation { denied: None, until: Some(at(390)), chains: vec![second.clone(), first.clone()] }
    );
    let refused = Chain { fails: Some(Reason::SecondFactorRequired), ..second };
    assert_eq!(
        explain(Some(&index), &hypothesis(None), "hmi", &idle(100)),
        Explanation { denied: Some(Reason::SecondFactorRequired), until: None, chains: vec![refused, first] }
    );
}

#[test]
fn without_policy_user_or_service_there_is_no_chain() {
    let nothing = |denied| Explanation { denied: Some(denied), until: None, chains: Vec::new() };
    let index = granting(&[grant()]);
    assert_eq!(explain(None, &hypothesis(None), "hmi", &idle(1)), nothing(Reason::NoPolicy));
    assert_eq!(explain(Some(&index), &hypothesis(None), "nothing", &idle(1)), nothing(Reason::NoGrant));
    let bob = Hypothesis { user: BOB, second_factor_at: None };
    assert_eq!(explain(Some(&index), &bob, "hmi", &idle(1)), nothing(Reason::NoGrant));
}

#[test]
fn it_agrees_with_the_decision_at_every_moment() {
    let window = Grant { not_before: Some(at(20)), not_after: Some(at(60)), ..grant() };
    let factor = Grant { category: 0, second_factor_s: Some(30), origin: 1, ..grant() };
    let short = Snapshot { expires: at(90), ..snapshot() };
    let mut policies = vec![short.clone(); 4];
    policies[1].grants = vec![window];
    policies[2].grants = vec![factor, window];
    policies[3].grants = vec![window];
    policies[3].users[0].disabled = true;
    for policy in policies {
        let index = index(&policy);
        for (second_factor_at, open, service) in
            [(None, 0, "hmi"), (Some(10), 0, "hmi"), (Some(10), 2, "hmi"), (Some(10), 0, "web")]
        {
            let subject = subject_until(ALICE, 20, second_factor_at, u64::MAX);
            for now in 0..100 {
                let circumstances = Circumstances { open_on_service: open, ..idle(now) };
                let ask = index.ask(ALICE, service);
                let decided = decide(Some(&index), &subject, &ask, &circumstances);
                let explained = explain(Some(&index), &hypothesis(second_factor_at), service, &circumstances);
                let expected = (
                    decided.as_ref().err().map(|no| no.reason()),
                    decided.as_ref().ok().map(|yes| yes.until()),
                );
                assert_eq!(
                    (explained.denied, explained.until),
                    expected,
                    "{second_factor_at:?} {service} at {now}"
                );
            }
        }
    }
}
