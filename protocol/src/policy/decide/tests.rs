mod approvals;
mod lapse;

use super::super::snapshot::Kind;
use super::super::world::{
    ALICE, BOB, DEVICE, FLEET, approval, at, case, grant, granting, index, narrowed, prohibition, public,
    snapshot, subject, subject_until,
};
use super::super::{Approval, Case, DeviceLimits, Locks, Prohibition, Reach, Snapshot, VncRules};
use super::*;
use crate::trust::sealed::{SealingKey, SealingSecret};

/// What a decision comes to: the end of the permit and the assignment it rests on, or the reason and assignment.
type Verdict = Result<(u64, String), (Reason, Option<String>)>;

fn idle(now: u64) -> Circumstances {
    Circumstances::alone(at(now), Freshness::ALWAYS)
}

fn verdict(index: &Arc<Index>, subject: &Subject, service: &str, circumstances: &Circumstances) -> Verdict {
    let ask = index.ask(subject.user(), service);
    let name = |origin: Option<&Origin>| origin.map(|origin| origin.name().to_string());
    decide(Some(index), subject, &ask, circumstances)
        .map(|permit| (permit.until().as_secs(), name(permit.origin()).unwrap()))
        .map_err(|denial| (denial.reason(), name(denial.origin())))
}

fn yes(until: u64, assignment: &str) -> Verdict {
    Ok((until, assignment.to_owned()))
}

fn no(reason: Reason) -> Verdict {
    Err((reason, None))
}

fn no_because_of(reason: Reason, assignment: &str) -> Verdict {
    Err((reason, Some(assignment.to_owned())))
}

#[test]
fn a_grant_permits_its_service_and_the_permit_says_everything_about_it() {
    let index = granting(&[grant()]);
    let alice = subject(ALICE, 20, None);
    let permit = decide(Some(&index), &alice, &index.ask(ALICE, "hmi"), &idle(100)).unwrap();
    assert_eq!(permit.user(), ALICE);
    assert_eq!(permit.service().name.as_str(), "hmi");
    assert_eq!(permit.target(), Some("192.168.0.10:5900".parse().unwrap()));
    assert_eq!(permit.until(), at(9_000));
    assert_eq!(permit.category().unwrap().name.as_str(), "hmi");
    assert_eq!(permit.origin().unwrap().name().as_str(), "First");
    assert_eq!(permit.floor(), index.floor());
}

#[test]
fn no_policy_denies() {
    let index = granting(&[grant()]);
    let ask = index.ask(ALICE, "hmi");
    let denial = decide(None, &subject(ALICE, 20, None), &ask, &idle(100)).unwrap_err();
    assert_eq!((denial.reason(), denial.origin()), (Reason::NoPolicy, None));
}

#[test]
fn a_pass_ends_with_its_last_second() {
    let index = granting(&[grant()]);
    let alice = subject_until(ALICE, 20, None, 500);
    assert_eq!(verdict(&index, &alice, "hmi", &idle(499)), yes(500, "First"));
    assert_eq!(verdict(&index, &alice, "hmi", &idle(500)), no(Reason::BadPass));
}

#[test]
fn a_key_that_the_snapshot_does_not_name_is_a_bad_pass() {
    let mut two = Snapshot { grants: vec![grant()], ..snapshot() };
    let index = index(&two);
    assert_eq!(verdict(&index, &subject(ALICE, 30, None), "hmi", &idle(1)), no(Reason::BadPass));
    // Bob's key does not speak for Alice either.
    assert_eq!(verdict(&index, &subject(ALICE, 21, None), "hmi", &idle(1)), no(Reason::BadPass));
    two.users[0].keys = vec![public(20), public(30)];
    two.users[0].keys.sort();
    let index = super::super::world::index(&two);
    assert_eq!(verdict(&index, &subject(ALICE, 30, None), "hmi", &idle(1)), yes(9_000, "First"));
}

#[test]
fn a_disabled_user_is_denied_and_an_enabled_one_is_not() {
    let mut policy = Snapshot { grants: vec![grant()], ..snapshot() };
    assert_eq!(verdict(&index(&policy), &subject(ALICE, 20, None), "hmi", &idle(1)), yes(9_000, "First"));
    policy.users[0].disabled = true;
    assert_eq!(
        verdict(&index(&policy), &subject(ALICE, 20, None), "hmi", &idle(1)),
        no(Reason::UserDisabled)
    );
}

#[test]
fn an_unassigned_device_denies_everybody() {
    let policy = Snapshot { assigned: false, ..snapshot() };
    let alice = subject(ALICE, 20, None);
    assert_eq!(verdict(&index(&policy), &alice, "hmi", &idle(1)), no(Reason::DeviceUnassigned));
    // The order of reasons: an unassigned device does not say that its policy is stale as well.
    assert_eq!(
        verdict(&index(&policy), &subject_until(ALICE, 20, None, 20_000), "hmi", &idle(10_000)),
        no(Reason::DeviceUnassigned)
    );
}

#[test]
fn policy_ends_with_its_last_second() {
    let index = granting(&[grant()]);
    let alice = subject_until(ALICE, 20, None, 20_000);
    assert_eq!(verdict(&index, &alice, "hmi", &idle(9_999)), yes(10_000, "First"));
    assert_eq!(verdict(&index, &alice, "hmi", &idle(10_000)), no(Reason::PolicyStale));
}

#[test]
fn unknown_user_unknown_service_and_missing_grant_are_one_answer() {
    let index = granting(&[grant()]);
    let carol = UserId::new([0xca; 8]);
    assert_eq!(verdict(&index, &subject(ALICE, 20, None), "hmi", &idle(1)), yes(9_000, "First"));
    assert_eq!(verdict(&index, &subject(carol, 22, None), "hmi", &idle(1)), no(Reason::NoGrant));
    assert_eq!(verdict(&index, &subject(ALICE, 20, None), "no-such", &idle(1)), no(Reason::NoGrant));
    assert_eq!(verdict(&index, &subject(ALICE, 20, None), "web", &idle(1)), no(Reason::NoGrant));
    assert_eq!(verdict(&index, &subject(BOB, 21, None), "hmi", &idle(1)), no(Reason::NoGrant));
}

#[test]
fn a_window_begins_with_its_first_and_ends_before_its_last_second() {
    let index = granting(&[Grant { not_before: Some(at(100)), not_after: Some(at(200)), ..grant() }]);
    let alice = subject(ALICE, 20, None);
    assert_eq!(verdict(&index, &alice, "hmi", &idle(99)), no_because_of(Reason::NotYet, "First"));
    assert_eq!(verdict(&index, &alice, "hmi", &idle(100)), yes(200, "First"));
    assert_eq!(verdict(&index, &alice, "hmi", &idle(199)), yes(200, "First"));
    assert_eq!(verdict(&index, &alice, "hmi", &idle(200)), no_because_of(Reason::Expired, "First"));
}

#[test]
fn a_second_factor_is_demanded_and_grows_stale() {
    let index = granting(&[Grant { second_factor_s: Some(300), ..grant() }]);
    let required = no_because_of(Reason::SecondFactorRequired, "First");
    assert_eq!(verdict(&index, &subject(ALICE, 20, None), "hmi", &idle(1_000)), required);
    let alice = subject(ALICE, 20, Some(1_000));
    assert_eq!(verdict(&index, &alice, "hmi", &idle(1_299)), yes(1_300, "First"));
    let stale = no_because_of(Reason::SecondFactorStale, "First");
    assert_eq!(verdict(&index, &alice, "hmi", &idle(1_300)), stale);
    // An age of zero demands a second factor that cannot be fresh enough.
    let never = granting(&[Grant { second_factor_s: Some(0), ..grant() }]);
    assert_eq!(
        verdict(&never, &alice, "hmi", &idle(1_000)),
        no_because_of(Reason::SecondFactorStale, "First")
    );
}

#[test]
fn a_condition_is_never_borrowed_from_another_grant() {
    // The first lacks its window, the second its second factor: each could lend what the other lacks.
    let window = Grant { not_after: Some(at(50)), ..grant() };
    let factor = Grant { category: 0, second_factor_s: Some(300), origin: 1, ..grant() };
    let index = granting(&[window, factor]);
    let plain = subject(ALICE, 20, None);
    assert_eq!(verdict(&index, &plain, "hmi", &idle(49)), yes(50, "First"));
    let required = no_because_of(Reason::SecondFactorRequired, "Second");
    assert_eq!(verdict(&index, &plain, "hmi", &idle(50)), required);
    assert_eq!(verdict(&index, &subject(ALICE, 20, Some(40)), "hmi", &idle(50)), yes(340, "Second"));
}

#[test]
fn of_several_grants_that_hold_the_longest_is_used() {
    let short = Grant { not_after: Some(at(200)), ..grant() };
    let long = Grant { category: 0, not_after: Some(at(300)), origin: 1, ..grant() };
    let alice = subject(ALICE, 20, None);
    assert_eq!(verdict(&granting(&[short, long]), &alice, "hmi", &idle(100)), yes(300, "Second"));
    assert_eq!(verdict(&granting(&[short]), &alice, "hmi", &idle(100)), yes(200, "First"));
    assert_eq!(verdict(&granting(&[short, long]), &alice, "hmi", &idle(200)), yes(300, "Second"));
}

#[test]
fn of_grants_that_hold_equally_long_the_first_is_used() {
    let alice = subject(ALICE, 20, None);
    for not_after in [None, Some(at(u64::MAX)), Some(at(300))] {
        let until = not_after.map_or(9_000, |end| end.as_secs().min(9_000));
        // Grants are in the order of their categories: 0, then 1.
        let first = Grant { category: 0, not_after, origin: 1, ..grant() };
        let second = Grant { not_after, ..grant() };
        let index = granting(&[first, second]);
        assert_eq!(verdict(&index, &alice, "hmi", &idle(100)), yes(until, "Second"), "{not_after:?}");
        let index = granting(&[second]);
        assert_eq!(verdict(&index, &alice, "hmi", &idle(100)), yes(until, "First"), "{not_after:?}");
    }
}

/// A policy in which one category is recorded: 0 is `all`, 1 is `hmi`.
fn recording(grants: &[Grant], recorded: usize) -> Arc<Index> {
    let mut snapshot = Snapshot { recording_key: Some(factory()), ..snapshot() };
    snapshot.grants = grants.to_vec();
    snapshot.categories[recorded].record = true;
    index(&snapshot)
}

fn factory() -> SealingKey {
    SealingSecret::for_recordings(&[0x5e; 32].into()).unwrap().public()
}

#[test]
fn a_permit_carries_the_obligation_of_its_category_and_of_no_other() {
    let alice = subject(ALICE, 20, None);
    let obliges = |index: &Arc<Index>| {
        let permit = decide(Some(index), &alice, &index.ask(ALICE, "hmi"), &idle(100)).unwrap();
        permit.recording()
    };
    assert_eq!(obliges(&recording(&[grant()], 1)), Some(factory()));
    assert_eq!(obliges(&recording(&[grant()], 0)), None);
    assert_eq!(obliges(&granting(&[grant()])), None);
}

#[test]
fn of_grants_that_are_alike_the_recorded_one_is_used_and_a_wider_or_longer_one_goes_before() {
    let alice = subject(ALICE, 20, None);
    let all = Grant { category: 0, origin: 1, ..grant() };
    // Also where no grant could be wider or hold longer, so that none further has to be looked at.
    for (recorded, clipboard) in [(0, false), (1, false), (0, true), (1, true)] {
        let mode = Mode::Full { clipboard };
        let index = recording(&[Grant { mode, ..all }, Grant { mode, ..grant() }], recorded);
        let permit = decide(Some(&index), &alice, &index.ask(ALICE, "hmi"), &idle(100)).unwrap();
        assert_eq!((permit.recording(), permit.until()), (Some(factory()), at(9_000)), "{recorded} {mode:?}");
    }
    let shorter = Grant { not_after: Some(at(200)), ..all };
    let narrower = Grant { mode: Mode::ViewOnly, ..all };
    for other in [shorter, narrower] {
        let index = recording(&[other, grant()], 0);
        let permit = decide(Some(&index), &alice, &index.ask(ALICE, "hmi"), &idle(100)).unwrap();
        assert_eq!((permit.recording(), permit.mode()), (None, grant().mode));
    }
}

#[test]
fn the_denial_names_the_grant_that_came_furthest() {
    let early = Grant { not_before: Some(at(500)), ..grant() };
    let late = Grant { not_after: Some(at(50)), category: 0, origin: 1, ..grant() };
    let factor = Grant { second_factor_s: Some(10), category: 0, ..grant() };
    let alice = subject(ALICE, 20, None);
    let found = |grants: &[Grant]| verdict(&granting(grants), &alice, "hmi", &idle(100));
    assert_eq!(found(&[early]), no_because_of(Reason::NotYet, "First"));
    assert_eq!(found(&[early, late]), no_because_of(Reason::Expired, "Second"));
    assert_eq!(found(&[early, late, factor]), no_because_of(Reason::SecondFactorRequired, "First"));
    // A grant of another service is not in play at all.
    let elsewhere = Grant { category: 2, second_factor_s: Some(10), ..grant() };
    assert_eq!(found(&[elsewhere, early]), no_because_of(Reason::NotYet, "First"));
    assert_eq!(found(&[elsewhere]), no(Reason::NoGrant));
}

/// Alice's grant of `hmi` and Bob's of everything, with these prohibitions.
fn prohibiting(prohibitions: &[Prohibition]) -> Arc<Index> {
    let bob = Grant { user: 1, category: 0, ..grant() };
    let mut prohibitions = prohibitions.to_vec();
    prohibitions.sort();
    index(&Snapshot { grants: vec![grant(), bob], prohibitions, ..snapshot() })
}

#[test]
fn a_prohibition_beats_every_grant_and_the_denial_names_it() {
    let factor = Grant { category: 0, second_factor_s: Some(300), ..grant() };
    let grants = vec![factor, grant()];
    let alice = subject(ALICE, 20, Some(90));
    let granted = Snapshot { grants, ..snapshot() };
    assert_eq!(verdict(&index(&granted), &alice, "hmi", &idle(100)), yes(9_000, "First"));
    let prohibited = Snapshot { prohibitions: vec![prohibition()], ..granted };
    let refused = no_because_of(Reason::NoGrant, "Second");
    assert_eq!(verdict(&index(&prohibited), &alice, "hmi", &idle(100)), refused);
    // Without any grant it is the same answer.
    let alone = Snapshot { grants: Vec::new(), ..prohibited };
    assert_eq!(verdict(&index(&alone), &alice, "hmi", &idle(100)), refused);
}

#[test]
fn a_prohibition_holds_only_in_its_window_and_a_permit_ends_where_it_begins() {
    let alice = subject(ALICE, 20, None);
    let window = Prohibition { not_before: Some(at(100)), not_after: Some(at(200)), ..prohibition() };
    let index = prohibiting(&[window]);
    assert_eq!(verdict(&index, &alice, "hmi", &idle(99)), yes(100, "First"));
    assert_eq!(verdict(&index, &alice, "hmi", &idle(100)), no_because_of(Reason::NoGrant, "Second"));
    assert_eq!(verdict(&index, &alice, "hmi", &idle(199)), no_because_of(Reason::NoGrant, "Second"));
    assert_eq!(verdict(&index, &alice, "hmi", &idle(200)), yes(9_000, "First"));
    // Of several that are to come the first one counts, in whatever order they stand.
    let later = Prohibition { category: 0, not_before: Some(at(150)), not_after: None, ..prohibition() };
    let earlier = Prohibition { not_before: Some(at(120)), not_after: Some(at(130)), ..prohibition() };
    for several in [[later, earlier], [earlier, later]] {
        assert_eq!(verdict(&prohibiting(&several), &alice, "hmi", &idle(99)), yes(120, "First"));
        assert_eq!(verdict(&prohibiting(&several), &alice, "hmi", &idle(130)), yes(150, "First"));
    }
    // One that begins after the permit's end moves nothing.
    let never = Prohibition { not_before: Some(at(9_001)), ..prohibition() };
    assert_eq!(verdict(&prohibiting(&[never]), &alice, "hmi", &idle(99)), yes(9_000, "First"));
}

/// Everybody may use everything, and paths of the web server are closed by these.
fn closing(rows: &[Prohibition]) -> Arc<Index> {
    let grants = [0, 1].map(|user| Grant { user, category: 0, ..grant() }).to_vec();
    let mut prohibitions = rows.to_vec();
    prohibitions.sort();
    let paths = ["/logs/**", "/service/**"].map(|path| path.parse().unwrap()).to_vec();
    index(&Snapshot { grants, prohibitions, paths, ..snapshot() })
}

/// What is closed to somebody, and until when that stands.
fn closed(index: &Arc<Index>, subject: &Subject, service: &str, now: u64) -> (Vec<String>, u64) {
    let permit = decide(Some(index), subject, &index.ask(subject.user(), service), &idle(now)).unwrap();
    (permit.closed().map(ToString::to_string).collect(), permit.until().as_secs())
}

#[test]
fn a_prohibition_of_a_path_refuses_no_tunnel_and_closes_the_path_to_its_user_in_its_window() {
    let (alice, bob) = (subject(ALICE, 20, None), subject(BOB, 21, None));
    let service = Prohibition { category: 2, path: Some(1), ..prohibition() };
    let (nothing, whole) = (Vec::new(), vec!["/service/**".to_owned()]);
    let always = closing(&[service]);
    assert_eq!(closed(&always, &alice, "web", 1), (whole.clone(), 9_000));
    assert_eq!(closed(&always, &bob, "web", 1), (nothing.clone(), 9_000), "nobody else's");
    assert_eq!(closed(&always, &alice, "hmi", 1), (nothing.clone(), 9_000), "of no other service");
    let window = Prohibition { not_before: Some(at(100)), not_after: Some(at(200)), ..service };
    let logs = Prohibition { path: Some(0), not_before: Some(at(150)), ..service };
    let both = vec!["/logs/**".to_owned(), "/service/**".to_owned()];
    let sometimes = closing(&[window, logs]);
    for (now, expected) in [
        (99, (nothing, 100)),
        (100, (whole, 150)),
        (150, (both, 200)),
        (200, (vec!["/logs/**".to_owned()], 9_000)),
    ] {
        assert_eq!(closed(&sometimes, &alice, "web", now), expected, "{now}");
    }
    // One of the whole service beats it, and the other way round nothing.
    let refused = closing(&[service, Prohibition { category: 2, ..prohibition() }]);
    assert_eq!(verdict(&refused, &alice, "web", &idle(1)), no_because_of(Reason::NoGrant, "Second"));
}

#[test]
fn a_prohibition_refuses_its_user_and_its_services_and_nobody_and_nothing_else() {
    let (alice, bob) = (subject(ALICE, 20, None), subject(BOB, 21, None));
    let of_alice = prohibiting(&[prohibition()]);
    assert_eq!(verdict(&of_alice, &alice, "hmi", &idle(1)), no_because_of(Reason::NoGrant, "Second"));
    assert_eq!(verdict(&of_alice, &bob, "hmi", &idle(1)), yes(9_000, "First"));
    let of_bob = prohibiting(&[Prohibition { user: 1, ..prohibition() }]);
    assert_eq!(verdict(&of_bob, &alice, "hmi", &idle(1)), yes(9_000, "First"));
    assert_eq!(verdict(&of_bob, &bob, "hmi", &idle(1)), no_because_of(Reason::NoGrant, "Second"));
    assert_eq!(verdict(&of_bob, &bob, "web", &idle(1)), yes(9_000, "First"));
    let of_web = prohibiting(&[Prohibition { category: 2, ..prohibition() }]);
    assert_eq!(verdict(&of_web, &alice, "hmi", &idle(1)), yes(9_000, "First"));
    // It refuses every service of its category, also those that a smaller category grants.
    let of_all = prohibiting(&[Prohibition { category: 0, ..prohibition() }]);
    assert_eq!(verdict(&of_all, &alice, "hmi", &idle(1)), no_because_of(Reason::NoGrant, "Second"));
}

#[test]
fn a_prohibition_reveals_neither_a_disabled_user_nor_a_bad_pass() {
    let mut policy = Snapshot { grants: vec![grant()], prohibitions: vec![prohibition()], ..snapshot() };
    policy.users[0].disabled = true;
    let index = index(&policy);
    assert_eq!(verdict(&index, &subject(ALICE, 20, None), "hmi", &idle(1)), no(Reason::UserDisabled));
    assert_eq!(verdict(&index, &subject(ALICE, 30, None), "hmi", &idle(1)), no(Reason::BadPass));
}

/// Alice's grant of `hmi` that demands a case, and these cases.
fn servicing(cases: &[Case]) -> Arc<Index> {
    let grants = vec![Grant { needs_case: true, ..grant() }];
    index(&Snapshot { grants, cases: cases.to_vec(), ..snapshot() })
}

#[test]
fn a_grant_that_demands_a_case_holds_with_an_active_one_of_its_service() {
    let alice = subject(ALICE, 20, None);
    let inactive = no_because_of(Reason::CaseInactive, "First");
    assert_eq!(verdict(&servicing(&[case("C-1")]), &alice, "hmi", &idle(1)), yes(9_000, "First"));
    assert_eq!(verdict(&servicing(&[]), &alice, "hmi", &idle(1)), inactive);
    let of_web = Case { services: vec![1], ..case("C-1") };
    assert_eq!(verdict(&servicing(&[of_web]), &alice, "hmi", &idle(1)), inactive);
    // A case grants nothing by itself.
    let ungranted = index(&Snapshot { cases: vec![case("C-1")], ..snapshot() });
    assert_eq!(verdict(&ungranted, &alice, "hmi", &idle(1)), no(Reason::NoGrant));
}

#[test]
fn a_case_is_active_in_its_window_and_a_permit_ends_with_it() {
    let alice = subject(ALICE, 20, None);
    let inactive = no_because_of(Reason::CaseInactive, "First");
    let window = Case { not_before: Some(at(100)), not_after: Some(at(200)), ..case("C-1") };
    let one = servicing(std::slice::from_ref(&window));
    assert_eq!(verdict(&one, &alice, "hmi", &idle(99)), inactive);
    assert_eq!(verdict(&one, &alice, "hmi", &idle(100)), yes(200, "First"));
    assert_eq!(verdict(&one, &alice, "hmi", &idle(199)), yes(200, "First"));
    assert_eq!(verdict(&one, &alice, "hmi", &idle(200)), inactive);
    // Of several the longest counts, and none that has not begun.
    let longer = Case { not_after: Some(at(300)), ..case("C-0") };
    let to_come = Case { not_before: Some(at(290)), ..case("C-2") };
    let several = servicing(&[longer, window, to_come]);
    assert_eq!(verdict(&several, &alice, "hmi", &idle(150)), yes(300, "First"));
    assert_eq!(verdict(&several, &alice, "hmi", &idle(250)), yes(300, "First"));
    assert_eq!(verdict(&several, &alice, "hmi", &idle(290)), yes(9_000, "First"));
}

#[test]
fn the_second_factor_is_asked_before_the_case() {
    let both = Grant { needs_case: true, second_factor_s: Some(300), ..grant() };
    let found = |cases: &[Case], factor_at| {
        let policy = Snapshot { grants: vec![both], cases: cases.to_vec(), ..snapshot() };
        verdict(&index(&policy), &subject(ALICE, 20, factor_at), "hmi", &idle(100))
    };
    assert_eq!(found(&[], None), no_because_of(Reason::SecondFactorRequired, "First"));
    assert_eq!(found(&[case("C-1")], None), no_because_of(Reason::SecondFactorRequired, "First"));
    assert_eq!(found(&[], Some(90)), no_because_of(Reason::CaseInactive, "First"));
    assert_eq!(found(&[case("C-1")], Some(90)), yes(390, "First"));
}

#[test]
fn a_case_of_one_service_opens_no_other_service_of_the_same_grant() {
    let all = Grant { category: 0, needs_case: true, ..grant() };
    let policy = Snapshot { grants: vec![all], cases: vec![case("C-1")], ..snapshot() };
    let (index, alice) = (index(&policy), subject(ALICE, 20, None));
    assert_eq!(verdict(&index, &alice, "hmi", &idle(1)), yes(9_000, "First"));
    assert_eq!(verdict(&index, &alice, "web", &idle(1)), no_because_of(Reason::CaseInactive, "First"));
}

#[test]
fn a_case_ends_only_the_grant_that_demands_it() {
    let free = Grant { not_after: Some(at(500)), origin: 1, ..grant() };
    let tied = Grant { needs_case: true, category: 0, ..grant() };
    let alice = subject(ALICE, 20, None);
    let found = |end| {
        let cases = vec![Case { not_after: Some(at(end)), ..case("C-1") }];
        let policy = Snapshot { grants: vec![tied, free], cases, ..snapshot() };
        verdict(&index(&policy), &alice, "hmi", &idle(100))
    };
    assert_eq!(found(50), yes(500, "Second"));
    assert_eq!(found(400), yes(500, "Second"));
    assert_eq!(found(600), yes(600, "First"));
}

#[test]
fn as_many_tunnels_as_allowed_and_not_one_more() {
    // Two on the service, three by the user, four on the device.
    let index = granting(&[grant()]);
    let alice = subject(ALICE, 20, None);
    let full = no_because_of(Reason::Concurrency, "First");
    for (open, open_by_user, open_on_service, expected) in [
        (3, 2, 1, yes(9_000, "First")),
        (3, 2, 2, full.clone()),
        (3, 3, 1, full.clone()),
        (4, 2, 1, full.clone()),
        (u32::MAX, u32::MAX, u32::MAX, full),
    ] {
        let busy = Circumstances { open, open_by_user, open_on_service, ..idle(1) };
        assert_eq!(verdict(&index, &alice, "hmi", &busy), expected, "{busy:?}");
    }
}

const LOOK: Mode = Mode::ViewOnly;
const TOUCH: Mode = Mode::Full { clipboard: false };
const ALL: Mode = Mode::Full { clipboard: true };

/// What Alice may do on the screen, until when and because of which grant, with this wish.
fn modes(
    index: &Arc<Index>,
    view_only: bool,
    circumstances: &Circumstances,
) -> Result<(Mode, u64, String), Reason> {
    let ask = index.ask(ALICE, "hmi").wishing(view_only);
    let permit = decide(Some(index), &subject(ALICE, 20, None), &ask, circumstances);
    let said = |permit: Permit| {
        (permit.mode(), permit.until().as_secs(), permit.origin().unwrap().name().to_string())
    };
    permit.map(said).map_err(|denial| denial.reason())
}

fn may(mode: Mode, until: u64, assignment: &str) -> Result<(Mode, u64, String), Reason> {
    Ok((mode, until, assignment.to_owned()))
}

#[test]
fn a_permit_has_the_mode_of_its_grant() {
    for mode in [LOOK, TOUCH, ALL] {
        let index = granting(&[Grant { mode, ..grant() }]);
        assert_eq!(modes(&index, false, &idle(1)), may(mode, 9_000, "First"), "{mode}");
    }
}

#[test]
fn the_service_and_the_wish_narrow_a_mode_and_widen_none() {
    for mode in [LOOK, TOUCH, ALL] {
        let mut policy = Snapshot { grants: vec![Grant { mode, ..grant() }], ..snapshot() };
        assert_eq!(modes(&index(&policy), true, &idle(1)), may(LOOK, 9_000, "First"), "{mode}");
        policy.services[0].view_only = true;
        for wish in [false, true] {
            assert_eq!(modes(&index(&policy), wish, &idle(1)), may(LOOK, 9_000, "First"), "{mode}");
        }
        // Another service says nothing about this one.
        policy.services[0].view_only = false;
        policy.services[1].view_only = true;
        assert_eq!(modes(&index(&policy), false, &idle(1)), may(mode, 9_000, "First"), "{mode}");
    }
}

#[test]
fn of_several_grants_the_widest_is_used_and_then_the_longest() {
    let look = Grant { mode: LOOK, ..grant() };
    let touch = Grant { category: 0, mode: TOUCH, not_after: Some(at(200)), origin: 1, ..grant() };
    let both = granting(&[look, touch]);
    assert_eq!(modes(&both, false, &idle(199)), may(TOUCH, 200, "Second"));
    // Where the wide one ends, the narrow one goes on.
    assert_eq!(modes(&both, false, &idle(200)), may(LOOK, 9_000, "First"));
    // Whoever only wants to look has the longer one.
    assert_eq!(modes(&both, true, &idle(199)), may(LOOK, 9_000, "First"));
    let longer = Grant { mode: TOUCH, not_after: Some(at(300)), ..grant() };
    assert_eq!(modes(&granting(&[longer, touch]), false, &idle(199)), may(TOUCH, 300, "First"));
    let all = Grant { mode: ALL, not_after: Some(at(100)), ..grant() };
    assert_eq!(modes(&granting(&[all, touch]), false, &idle(99)), may(ALL, 100, "First"));
}

#[test]
fn rights_of_two_grants_are_never_united() {
    // One touches with a second factor that the caller does not have, the other only looks.
    let touch = Grant { category: 0, mode: ALL, second_factor_s: Some(300), origin: 1, ..grant() };
    let look = Grant { mode: LOOK, ..grant() };
    assert_eq!(modes(&granting(&[touch, look]), false, &idle(1)), may(LOOK, 9_000, "First"));
    assert_eq!(modes(&granting(&[touch]), false, &idle(1)), Err(Reason::SecondFactorRequired));
    assert_eq!(modes(&granting(&[touch]), true, &idle(1)), Err(Reason::SecondFactorRequired));
}

#[test]
fn a_screen_has_seats_for_those_who_touch_and_none_for_those_who_look() {
    // The screen has two seats.
    let look = granting(&[Grant { mode: LOOK, ..grant() }]);
    let touch = granting(&[grant()]);
    let seated = |writers_on_service| Circumstances { writers_on_service, ..idle(1) };
    assert_eq!(modes(&touch, false, &seated(1)), may(TOUCH, 9_000, "First"));
    assert_eq!(modes(&touch, false, &seated(2)), Err(Reason::Concurrency));
    assert_eq!(modes(&touch, true, &seated(2)), may(LOOK, 9_000, "First"));
    assert_eq!(modes(&look, false, &seated(2)), may(LOOK, 9_000, "First"));
    let denied = verdict(&touch, &subject(ALICE, 20, None), "hmi", &seated(2));
    assert_eq!(denied, no_because_of(Reason::Concurrency, "First"));
}

#[test]
fn a_screen_without_seats_lets_everybody_look_and_other_kinds_have_no_seats() {
    let mut policy = Snapshot { grants: vec![grant()], ..snapshot() };
    let target = policy.services[0].reach.target().unwrap();
    let rules = Rules::Vnc(VncRules { password: None, writers: 0 });
    policy.services[0].reach = Reach::Place { target, rules };
    assert_eq!(modes(&index(&policy), false, &idle(1)), Err(Reason::Concurrency));
    assert_eq!(modes(&index(&policy), true, &idle(1)), may(LOOK, 9_000, "First"));
    let crowd = Circumstances { writers_on_service: u32::MAX, ..idle(1) };
    for kind in [Kind::Vpn, Kind::Http, Kind::Websocket] {
        policy.services[0].reach = Reach::whole(kind, target);
        assert_eq!(modes(&index(&policy), false, &crowd), may(TOUCH, 9_000, "First"), "{kind:?}");
    }
}

#[test]
fn a_limit_of_zero_allows_none() {
    let open = Snapshot { grants: vec![grant()], ..snapshot() };
    let full = no_because_of(Reason::Concurrency, "First");
    let mut closed = [open.clone(), open.clone(), open];
    closed[0].limits = DeviceLimits { tunnels: 0, tunnels_per_user: 3 };
    closed[1].limits = DeviceLimits { tunnels: 4, tunnels_per_user: 0 };
    closed[2].services[0].tunnels = 0;
    for policy in closed {
        assert_eq!(verdict(&index(&policy), &subject(ALICE, 20, None), "hmi", &idle(1)), full);
    }
}

#[test]
fn an_ask_of_another_index_is_denied() {
    let old = granting(&[grant()]);
    let new = index(&Snapshot { version: 6, grants: vec![grant()], ..snapshot() });
    let alice = subject(ALICE, 20, None);
    let ask = old.ask(ALICE, "hmi");
    assert_eq!(
        decide(Some(&old), &alice, &ask, &idle(1)).map(|permit| permit.until().as_secs()).ok(),
        Some(9_000)
    );
    assert_eq!(
        decide(Some(&new), &alice, &ask, &idle(1)).map_err(|denial| denial.reason()).err(),
        Some(Reason::NoGrant)
    );
}

#[test]
fn an_ask_of_another_user_is_denied() {
    let index = granting(&[grant()]);
    let ask = index.ask(ALICE, "hmi");
    let denial = decide(Some(&index), &subject(BOB, 21, None), &ask, &idle(1)).unwrap_err();
    assert_eq!((denial.reason(), denial.origin()), (Reason::NoGrant, None));
}

#[test]
fn a_permit_ends_with_whatever_ends_first() {
    let far = |grant| granting(&[grant]);
    let until = |index: &Arc<Index>, subject: &Subject| verdict(index, subject, "hmi", &idle(100));
    let window = Grant { not_after: Some(at(8_000)), ..grant() };
    let factor = Grant { second_factor_s: Some(500), ..window };
    assert_eq!(until(&far(grant()), &subject_until(ALICE, 20, None, 20_000)), yes(10_000, "First"));
    assert_eq!(until(&far(grant()), &subject(ALICE, 20, None)), yes(9_000, "First"));
    assert_eq!(until(&far(window), &subject(ALICE, 20, None)), yes(8_000, "First"));
    assert_eq!(until(&far(factor), &subject(ALICE, 20, Some(90))), yes(590, "First"));
}

#[test]
fn a_caller_who_cannot_be_authenticated_gets_no_origin() {
    let denial = Denial::bad_pass();
    assert_eq!((denial.reason(), denial.origin()), (Reason::BadPass, None));
}

#[test]
fn of_grants_that_come_equally_far_the_first_is_named() {
    let wide = Grant { category: 0, origin: 1, ..grant() };
    let alice = subject(ALICE, 20, None);
    assert_eq!(verdict(&granting(&[grant(), wide]), &alice, "hmi", &idle(100)), yes(9_000, "Second"));
    assert_eq!(verdict(&granting(&[grant()]), &alice, "hmi", &idle(100)), yes(9_000, "First"));
    let [late, wide_and_late] = [grant(), wide].map(|grant| Grant { not_after: Some(at(50)), ..grant });
    let found = |grants: &[Grant]| verdict(&granting(grants), &alice, "hmi", &idle(100));
    assert_eq!(found(&[late, wide_and_late]), no_because_of(Reason::Expired, "Second"));
    assert_eq!(found(&[late]), no_because_of(Reason::Expired, "First"));
}
