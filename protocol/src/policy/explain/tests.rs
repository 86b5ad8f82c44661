use super::super::world::{
    ALICE, BOB, DEVICE, FLEET, approval, at, case, grant, granting, index, prohibition, snapshot,
    subject_until,
};
use super::super::{Freshness, Locks, Snapshot, decide};
use super::*;
use crate::trust::Lock;

fn idle(now: u64) -> Circumstances {
    Circumstances::alone(at(now), Freshness::ALWAYS)
}

fn hypothesis(second_factor_at: Option<u64>) -> Hypothesis<'static> {
    Hypothesis { user: ALICE, second_factor_at: second_factor_at.map(at), only: None }
}

#[test]
fn every_chain_is_listed_with_its_own_verdict_and_the_used_one_is_marked() {
    let late = Grant { not_after: Some(at(50)), ..grant() };
    let factor = Grant { category: 0, second_factor_s: Some(300), origin: 1, ..grant() };
    let elsewhere = Grant { category: 2, ..grant() };
    let index = granting(&[late, factor, elsewhere]);
    let chain = |origin: &str, category: &str| Chain {
        used: false,
        origin: Origin::Assignment {
            assignment: origin.parse().unwrap(),
            role: "Engineer".parse().unwrap(),
            group: None,
        },
        category: category.to_owned(),
        not_before: None,
        not_after: None,
        second_factor_s: None,
        needs_case: false,
        offline_ok: false,
        mode: Mode::Full { clipboard: false },
        record: false,
        needs_approval: false,
        case: None,
        approval: None,
        fails: None,
    };
    let second = Chain { used: true, second_factor_s: Some(300), ..chain("Second", "all") };
    let first = Chain { not_after: Some(at(50)), fails: Some(Reason::Expired), ..chain("First", "hmi") };
    assert_eq!(
        explain(Some(&index), &hypothesis(Some(90)), "hmi", &idle(100)),
        Explanation {
            denied: None,
            until: Some(at(390)),
            mode: Some(Mode::Full { clipboard: false }),
            chains: vec![second.clone(), first.clone()],
            prohibitions: Vec::new(),
            locks: Vec::new(),
        }
    );
    let refused = Chain { fails: Some(Reason::SecondFactorRequired), ..second };
    assert_eq!(
        explain(Some(&index), &hypothesis(None), "hmi", &idle(100)),
        Explanation {
            denied: Some(Reason::SecondFactorRequired),
            until: None,
            mode: None,
            chains: vec![refused, first],
            prohibitions: Vec::new(),
            locks: Vec::new(),
        }
    );
}

#[test]
fn without_policy_user_or_service_there_is_no_chain() {
    let nothing = |denied| Explanation {
        denied: Some(denied),
        until: None,
        mode: None,
        chains: Vec::new(),
        prohibitions: Vec::new(),
        locks: Vec::new(),
    };
    let index = granting(&[grant()]);
    assert_eq!(explain(None, &hypothesis(None), "hmi", &idle(1)), nothing(Reason::NoPolicy));
    assert_eq!(explain(Some(&index), &hypothesis(None), "nothing", &idle(1)), nothing(Reason::NoGrant));
    let bob = Hypothesis { user: BOB, second_factor_at: None, only: None };
    assert_eq!(explain(Some(&index), &bob, "hmi", &idle(1)), nothing(Reason::NoGrant));
}

#[test]
fn a_prohibition_of_a_path_is_listed_and_refuses_nothing() {
    let row = Prohibition { path: Some(0), ..prohibition() };
    let paths = vec!["/service/**".parse().unwrap()];
    let index = index(&Snapshot { grants: vec![grant()], prohibitions: vec![row], paths, ..snapshot() });
    let said = explain(Some(&index), &hypothesis(None), "hmi", &idle(1));
    assert_eq!(said.denied, None);
    let listed: Vec<_> = said.prohibitions.iter().map(|veto| (veto.in_force, veto.refuses())).collect();
    assert_eq!(listed, [(true, false)]);
    assert_eq!(said.prohibitions[0].path.as_ref().map(ToString::to_string), Some("/service/**".to_owned()));
}

#[test]
fn a_prohibition_is_listed_beside_the_chains_that_it_beats() {
    let window = Prohibition { not_before: Some(at(50)), not_after: Some(at(60)), ..prohibition() };
    let elsewhere = Prohibition { category: 2, ..prohibition() };
    let of_bob = Prohibition { user: 1, ..prohibition() };
    let grants = vec![grant()];
    let index = index(&Snapshot { grants, prohibitions: vec![window, elsewhere, of_bob], ..snapshot() });
    let veto = |in_force| Veto {
        path: None,
        in_force,
        origin: index.snapshot().origins[1].clone(),
        category: "hmi".to_owned(),
        not_before: Some(at(50)),
        not_after: Some(at(60)),
    };
    for (now, denied, until) in
        [(49, None, Some(50)), (50, Some(Reason::NoGrant), None), (60, None, Some(10_000))]
    {
        let said = explain(Some(&index), &hypothesis(None), "hmi", &idle(now));
        assert_eq!((said.denied, said.until.map(UnixTime::as_secs)), (denied, until), "{now}");
        assert_eq!(said.prohibitions, [veto(denied.is_some())], "{now}");
        // The grant itself holds all the time; it is only used where nothing beats it.
        let chains: Vec<_> = said.chains.iter().map(|chain| (chain.used, chain.fails)).collect();
        assert_eq!(chains, [(denied.is_none(), None)], "{now}");
    }
}

#[test]
fn a_chain_names_the_case_that_it_rests_on_if_it_demands_one() {
    let tied = Grant { needs_case: true, ..grant() };
    let free = Grant { category: 0, not_after: Some(at(20)), origin: 1, ..grant() };
    let long = Case { not_after: Some(at(90)), ..case("C-1") };
    let short = Case { not_after: Some(at(50)), ..case("C-2") };
    let index = index(&Snapshot { grants: vec![free, tied], cases: vec![long, short], ..snapshot() });
    let said = |now| {
        let said = explain(Some(&index), &hypothesis(None), "hmi", &idle(now));
        let chains = said.chains.into_iter().map(|chain| (chain.used, chain.case, chain.fails));
        (said.until.map(UnixTime::as_secs), chains.collect::<Vec<_>>())
    };
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(said(10), (Some(90), vec![(false, None, None), (true, named("C-1"), None)]));
    let expired = Some(Reason::Expired);
    assert_eq!(said(60), (Some(90), vec![(false, None, expired), (true, named("C-1"), None)]));
    let inactive = Some(Reason::CaseInactive);
    assert_eq!(said(90), (None, vec![(false, None, expired), (true, None, inactive)]));
}

#[test]
fn a_chain_names_the_approval_that_it_rests_on_if_it_demands_one() {
    let tied = Grant { needs_approval: true, ..grant() };
    let free = Grant { category: 2, origin: 1, ..grant() };
    let look = Approval { mode: Mode::ViewOnly, ..approval(1, 90) };
    let approvals = vec![look, approval(2, 50)];
    let index = index(&Snapshot { grants: vec![tied, free], approvals, ..snapshot() });
    let said = |now| {
        let said = explain(Some(&index), &hypothesis(None), "hmi", &idle(now));
        let chain = said.chains.into_iter().next().unwrap();
        let id = chain.approval.map(|given| (given.id.as_bytes()[0], given.mode, given.until.as_secs()));
        (said.until.map(UnixTime::as_secs), said.mode, id, chain.fails)
    };
    let touch = Mode::Full { clipboard: false };
    assert_eq!(said(10), (Some(50), Some(touch), Some((2, Mode::WIDEST, 50)), None));
    assert_eq!(said(50), (Some(90), Some(Mode::ViewOnly), Some((1, Mode::ViewOnly, 90)), None));
    assert_eq!(said(90), (None, None, None, Some(Reason::ApprovalPending)));
}

#[test]
fn it_says_the_mode_of_each_grant_and_of_the_permit() {
    let look = Grant { category: 0, mode: Mode::ViewOnly, not_after: Some(at(50)), origin: 1, ..grant() };
    let mut policy = Snapshot { grants: vec![look, grant()], ..snapshot() };
    let said = |policy: &Snapshot| {
        let said = explain(Some(&index(policy)), &hypothesis(None), "hmi", &idle(1));
        (said.mode, said.chains.iter().map(|chain| (chain.used, chain.mode)).collect::<Vec<_>>())
    };
    let touch = Mode::Full { clipboard: false };
    assert_eq!(said(&policy), (Some(touch), vec![(false, Mode::ViewOnly), (true, touch)]));
    policy.services[0].view_only = true;
    assert_eq!(said(&policy), (Some(Mode::ViewOnly), vec![(false, Mode::ViewOnly), (true, touch)]));
    policy.grants.clear();
    assert_eq!(said(&policy), (None, vec![]));
}

#[test]
fn it_agrees_with_the_decision_at_every_moment() {
    let window = Grant { not_before: Some(at(20)), not_after: Some(at(60)), ..grant() };
    let factor = Grant { category: 0, second_factor_s: Some(30), origin: 1, ..grant() };
    let short = Snapshot { expires: at(90), ..snapshot() };
    let mut policies = vec![short.clone(); 7];
    policies[1].grants = vec![window];
    policies[2].grants = vec![factor, window];
    policies[3].grants = vec![window];
    policies[3].users[0].disabled = true;
    policies[4].grants = vec![window];
    policies[4].prohibitions =
        vec![Prohibition { not_before: Some(at(30)), not_after: Some(at(40)), ..prohibition() }];
    policies[5].grants = vec![Grant { needs_case: true, ..grant() }];
    policies[5].cases = vec![Case { not_before: Some(at(30)), not_after: Some(at(40)), ..case("C-1") }];
    policies[6].grants = vec![Grant { needs_approval: true, ..grant() }];
    policies[6].approvals = vec![approval(1, 40), Approval { mode: Mode::ViewOnly, ..approval(2, 60) }];
    policies[6].approvals.sort();
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

#[test]
fn an_explanation_names_what_is_locked_of_this_user_and_service() {
    let bob = Grant { user: 1, category: 0, ..grant() };
    let policy = granting(&[grant(), bob]);
    let category = |name: &str| LockTarget::Category(name.parse().unwrap());
    let locked = |targets: &[LockTarget]| {
        let mut locks = Locks::default();
        let lock = Lock {
            fleet: FLEET,
            device: DEVICE,
            epoch: 1,
            sequence: 1,
            issued: at(0),
            targets: targets.to_vec(),
        };
        locks.handle_lock(&lock, 0).unwrap();
        let policy = Arc::new(Index::clone(&policy).under(&locks));
        let found = explain(Some(&policy), &hypothesis(None), "hmi", &idle(100));
        (found.denied, found.locks)
    };
    assert_eq!(locked(&[category("web")]), (None, vec![]));
    assert_eq!(locked(&[LockTarget::User(BOB)]), (None, vec![]));
    assert_eq!(locked(&[category("hmi")]), (Some(Reason::NoGrant), vec![category("hmi")]));
    assert_eq!(locked(&[LockTarget::Device]), (Some(Reason::SiteLocked), vec![LockTarget::Device]));
    let alice = LockTarget::User(ALICE);
    assert_eq!(locked(std::slice::from_ref(&alice)), (Some(Reason::UserDisabled), vec![alice]));
}
