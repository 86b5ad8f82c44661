//! Decisions on random worlds: equal to the slow reference, never widened by fewer grants, fewer cases or another
//! prohibition, independent of order.

use std::collections::BTreeSet;
use std::sync::Arc;

use postern_protocol::id::DeviceId;
use postern_protocol::limits;
use postern_protocol::name::Name;
use postern_protocol::policy::explain::Hypothesis;
use postern_protocol::policy::{
    Circumstances, Expectation, Freshness, Index, Locks, Mode, Reason, Snapshot, decide, explain, verify,
};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::pass::Presented;
use postern_protocol::trust::{Envelope, Factor, Lock, LockTarget, Method, Narrowing, Pass, Proof, Subject};
use postern_protocol::wire::codec;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::oracle::{Ban, Consent, Question, Rule, Visit, World, ban_origin, origin, service_name, user_id};
use crate::probes::{DEVICE, EXPORTER, FLEET, fixed_root, key};

/// A window that may be open at either end, and lies where the questions are asked.
fn window() -> impl Strategy<Value = (Option<u64>, Option<u64>)> {
    (option::weighted(0.4, 0..12u64), option::weighted(0.4, 1..12u64))
        .prop_map(|(from, span)| (from, span.map(|span| from.unwrap_or(0) + span)))
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::ViewOnly), any::<bool>().prop_map(|clipboard| Mode::Full { clipboard })]
}

fn rule() -> impl Strategy<Value = Rule> {
    let flags = (proptest::bool::weighted(0.3), proptest::bool::weighted(0.3), proptest::bool::weighted(0.4));
    (0..6u8, 0..3u8, 0..3u8, window(), option::weighted(0.3, 0..8u32), (flags, mode())).prop_map(
        |(assignment, user, category, (from, until), factor_s, (flags, mode))| Rule {
            assignment,
            user,
            category,
            from,
            until,
            factor_s,
            needs_case: flags.0,
            needs_approval: flags.1,
            offline_ok: flags.2,
            mode,
        },
    )
}

/// What is drawn of one approval: of which rule, of which service of its category, how far and until when.
type Drawn = (prop::sample::Index, prop::sample::Index, Mode, u64);

fn consents(rules: &[Rule], contents: &[(u8, u8)], drawn: Vec<Drawn>) -> Vec<Consent> {
    let consent = |(rule, service, mode, until): Drawn| {
        let rule = *rules.get(rule.index(rules.len().max(1)))?;
        let inside: Vec<u8> =
            contents.iter().filter(|(it, _)| *it == rule.category).map(|(_, it)| *it).collect();
        Some(Consent { rule, service: *inside.get(service.index(inside.len().max(1)))?, mode, until })
    };
    drawn.into_iter().filter_map(consent).collect()
}

fn ban() -> impl Strategy<Value = Ban> {
    let path = option::weighted(0.4, 0..3u8);
    (0..3u8, 0..3u8, 0..3u8, path, window()).prop_map(|(entry, user, category, path, (from, until))| Ban {
        entry,
        user,
        category,
        path,
        from,
        until,
    })
}

fn visits() -> impl Strategy<Value = Vec<Visit>> {
    btree_map(0..5u8, (vec(0..4u8, 1..3), window()), 0..4).prop_map(|visits| {
        let visit = |(case, (services, (from, until)))| Visit { case, services, from, until };
        visits.into_iter().map(visit).collect()
    })
}

fn world() -> impl Strategy<Value = World> {
    let things = (vec(0..4u8, 2..10), vec((0..3u8, 0..4u8), 4..16), vec(0..4u8, 0..2), 0..4u16);
    let people = vec((0..3u8, proptest::bool::weighted(0.1)), 2..10);
    let approved = vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), mode(), 3..16u64), 0..24);
    let rules = (vec(rule(), 0..16), vec(ban(), 0..4), visits(), approved);
    (proptest::bool::weighted(0.95), 10..24u64, 0..8u16, things, people, rules).prop_map(
        |(
            assigned,
            expires,
            tunnels,
            (services, contents, looked_at, writers),
            users,
            (rules, bans, visits, approved),
        )| World {
            assigned,
            expires,
            tunnels,
            services,
            looked_at,
            writers,
            consents: consents(&rules, &contents, approved),
            contents,
            users,
            rules,
            bans,
            visits,
        },
    )
}

fn question() -> impl Strategy<Value = Question> {
    let who = (0..3u8, proptest::bool::weighted(0.05));
    let word = (option::weighted(0.3, 0..16u64), option::weighted(0.2, 0..20u64));
    let tunnels = (0..3u16, 0..3u16, proptest::bool::weighted(0.2));
    (who, 0..5u8, 0..14u64, 6..40u64, option::of(0..16u64), tunnels, word).prop_map(
        |((user, other_key), service, now, pass_expires, factor_at, tunnels, (fresh, offline))| Question {
            user,
            key: if other_key { 99 } else { 100 + user },
            service,
            now,
            pass_expires,
            factor_at,
            open: tunnels.0,
            writing: tunnels.0.min(tunnels.1),
            view_only: tunnels.2,
            fresh_until: fresh.unwrap_or(u64::MAX),
            offline_until: offline.unwrap_or(u64::MAX),
        },
    )
}

pub(crate) fn index(snapshot: &Snapshot) -> Arc<Index> {
    let root = fixed_root();
    let expected = Expectation { root: &root, device: DEVICE, device_key: key(10).public(), floor: None };
    let sealed = Envelope::seal(snapshot, &[&key(2)]).unwrap();
    Arc::new(Index::build(verify(&sealed, &expected).unwrap()))
}

fn target() -> impl Strategy<Value = LockTarget> {
    prop_oneof![
        1 => Just(LockTarget::Device),
        6 => (0..3u8).prop_map(|user| LockTarget::User(user_id(user))),
        6 => (0..3u8).prop_map(|it| LockTarget::Category(format!("category-{it}").parse().unwrap())),
    ]
}

/// The subject that a question speaks of; made before its pass expires.
pub(crate) fn subject(q: &Question) -> Subject {
    narrowed_subject(q, Narrowing::NONE)
}

fn narrowed_subject(q: &Question, narrow: Narrowing) -> Subject {
    let secret = key(q.key);
    let factors = q.factor_at.map(|at| Factor { method: Method::Totp, at: UnixTime::from_secs(at) });
    let pass = Pass {
        fleet: FLEET,
        user: user_id(q.user),
        key: secret.public(),
        factors: factors.into_iter().collect(),
        issued: UnixTime::from_secs(100),
        expires: UnixTime::from_secs(q.pass_expires),
        narrow,
    };
    let sealed = Envelope::seal(&pass, &[&key(3)]).unwrap();
    let proof = Proof::sign(&secret, &EXPORTER, DeviceId::new([0xd1; 8]), &sealed);
    let presented = Presented { pass: &sealed, proof, exporter: &EXPORTER, peer_key: secret.public() };
    Subject::authenticate(&presented, DEVICE, &fixed_root(), UnixTime::EPOCH).unwrap()
}

fn circumstances(q: &Question) -> Circumstances {
    Circumstances {
        now: UnixTime::from_secs(q.now),
        freshness: Freshness {
            fresh_until: UnixTime::from_secs(q.fresh_until),
            offline_until: UnixTime::from_secs(q.offline_until),
        },
        open: q.open.into(),
        open_by_user: q.open.into(),
        open_on_service: q.open.into(),
        writers_on_service: q.writing.into(),
    }
}

/// What may be done, the end of the permit and whether it is recorded, or the reason and, where a grant or prohibition was in play, the name of its origin.
fn answer(
    index: &Arc<Index>,
    q: &Question,
    subject: &Subject,
) -> Result<(Mode, u64, bool), (Reason, Option<String>)> {
    let ask = index.ask(user_id(q.user), &service_name(q.service)).wishing(q.view_only);
    decide(Some(index), subject, &ask, &circumstances(q))
        .map(|permit| (permit.mode(), permit.until().as_secs(), permit.recording().is_some()))
        .map_err(|no| (no.reason(), no.origin().map(|origin| origin.name().to_string())))
}

/// What is closed to whoever is permitted.
fn closed(index: &Arc<Index>, q: &Question, subject: &Subject) -> Option<BTreeSet<String>> {
    let ask = index.ask(user_id(q.user), &service_name(q.service)).wishing(q.view_only);
    let permit = decide(Some(index), subject, &ask, &circumstances(q)).ok()?;
    Some(permit.closed().map(ToString::to_string).collect())
}

/// Questions with those who ask them.
fn asked(questions: Vec<Question>) -> Vec<(Question, Subject)> {
    questions.into_iter().map(|q| (q, subject(&q))).collect()
}

/// Fails when `less` permits something that `more` refuses, or permits for less or for a shorter time.
fn permits_no_more(
    less: &Snapshot,
    more: &Arc<Index>,
    asked: &[(Question, Subject)],
) -> Result<(), TestCaseError> {
    let less = index(less);
    for (q, subject) in asked {
        if let Ok(found) = answer(&less, q, subject) {
            let wider = wider_or_seated(more, q, subject, found);
            prop_assert!(wider, "{:?}: {:?} and {:?}", q, found, answer(more, q, subject));
        }
    }
    Ok(())
}

/// Whether `more` permits at least what was found. Whoever has a wider grant may find every seat taken; asked to look only, as
/// the narrower grant does, it permits that.
fn wider_or_seated(more: &Arc<Index>, q: &Question, subject: &Subject, found: (Mode, u64, bool)) -> bool {
    match answer(more, q, subject) {
        Ok(most) => most >= found,
        Err((Reason::Concurrency, _)) if found.0 == Mode::ViewOnly => {
            answer(more, &Question { view_only: true, ..*q }, subject).is_ok_and(|most| most >= found)
        }
        Err(_) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn decide_equals_the_slow_reference(world in world(), questions in vec(question(), 20)) {
        let index = index(&world.assemble());
        for q in questions {
            let found = answer(&index, &q, &subject(&q));
            prop_assert_eq!(found.clone().map_err(|(reason, _)| reason), world.judge(&q), "{:?}", q);
            if let Some(closed) = closed(&index, &q, &subject(&q)) {
                prop_assert_eq!(closed, world.closed(&q, q.now), "{:?}", q);
            }
            // Whoever is named as the origin of a denial has a rule for this very user.
            if let Err((reason, Some(named))) = found {
                let banned = |ban: &Ban| {
                    world.bans_now(ban, &q, q.now) && ban_origin(ban.entry).name().as_str() == named
                };
                let granted =
                    |rule: &Rule| rule.user == q.user && origin(rule.assignment).name().as_str() == named;
                let is_there = if reason == Reason::NoGrant {
                    world.bans.iter().any(banned)
                } else {
                    world.rules.iter().any(granted)
                };
                prop_assert!(is_there, "{:?}: {}", q, named);
            }
        }
    }

    #[test]
    fn removing_a_grant_never_permits_more(world in world(), questions in vec(question(), 10)) {
        let (whole, asked) = (world.assemble(), asked(questions));
        let full = index(&whole);
        for gone in 0..whole.grants.len() {
            let mut less = whole.clone();
            without_grant(&mut less, gone);
            permits_no_more(&less, &full, &asked)?;
        }
    }

    #[test]
    fn removing_a_case_never_permits_more(world in world(), questions in vec(question(), 10)) {
        let (whole, asked) = (world.assemble(), asked(questions));
        let full = index(&whole);
        for gone in 0..whole.cases.len() {
            let mut less = whole.clone();
            less.cases.remove(gone);
            permits_no_more(&less, &full, &asked)?;
        }
    }

    #[test]
    fn removing_an_approval_never_permits_more(world in world(), questions in vec(question(), 10)) {
        let (whole, asked) = (world.assemble(), asked(questions));
        let full = index(&whole);
        for gone in 0..whole.approvals.len() {
            let mut less = whole.clone();
            less.approvals.remove(gone);
            permits_no_more(&less, &full, &asked)?;
        }
    }

    #[test]
    fn demanding_an_approval_never_permits_more(world in world(), questions in vec(question(), 10)) {
        let (whole, asked) = (world.assemble(), asked(questions));
        let full = index(&whole);
        for tied in 0..whole.grants.len() {
            let mut less = whole.clone();
            less.grants[tied].needs_approval = true;
            // Where that puts it elsewhere, positions mean others.
            if less.grants.is_sorted_by(|a, b| a < b) {
                permits_no_more(&less, &full, &asked)?;
            }
        }
    }

    #[test]
    fn adding_a_prohibition_never_permits_more(world in world(), ban in ban(), questions in vec(question(), 20)) {
        let mut banned = world.clone();
        banned.bans.push(ban);
        let asked = asked(questions);
        permits_no_more(&banned.assemble(), &index(&world.assemble()), &asked)?;
        let (before, after) = (index(&world.assemble()), index(&banned.assemble()));
        for (q, subject) in &asked {
            if let (Some(less), Some(more)) = (closed(&before, q, subject), closed(&after, q, subject)) {
                prop_assert!(less.is_subset(&more), "{:?}", q);
            }
        }
    }

    #[test]
    fn a_lock_never_permits_more(
        world in world(), targets in vec(target(), 1..4), more in vec(target(), 0..3), questions in vec(question(), 20),
    ) {
        let whole = index(&world.assemble());
        let mut locks = Locks::default();
        let mut before = Arc::clone(&whole);
        // One lock, then another: neither permits what the device permitted before.
        for (sequence, targets) in [(1, targets), (2, more)] {
            if targets.is_empty() {
                continue;
            }
            let targets: BTreeSet<LockTarget> = targets.into_iter().collect();
            let targets: Vec<LockTarget> = targets.into_iter().collect();
            let issued = UnixTime::EPOCH;
            let lock = Lock { fleet: FLEET, device: DEVICE, epoch: 1, sequence, issued, targets };
            locks.handle_lock(&lock, 0).unwrap();
            let locked = Arc::new(Index::clone(&whole).under(&locks));
            for q in &questions {
                let subject = subject(q);
                if let Ok(found) = answer(&locked, q, &subject) {
                    let most = answer(&before, q, &subject);
                    prop_assert!(wider_or_seated(&before, q, &subject, found), "{:?}: {:?}", q, most);
                }
            }
            before = locked;
        }
        // Lifted, everything is as it was signed.
        locks.handle_snapshot(1, 2);
        let lifted = Arc::new(Index::clone(&before).under(&locks));
        for q in &questions {
            let subject = subject(q);
            prop_assert_eq!(answer(&lifted, q, &subject), answer(&whole, q, &subject), "{:?}", q);
        }
    }

    #[test]
    fn a_narrowed_pass_permits_a_part_of_what_the_whole_pass_permits(
        world in world(), only in vec(0..5u8, 0..4), questions in vec(question(), 20),
    ) {
        let index = index(&world.assemble());
        let only: BTreeSet<Name> = only.into_iter().map(|it| service_name(it).parse().unwrap()).collect();
        let only: Vec<Name> = only.into_iter().collect();
        for q in questions {
            let services = Some(only.clone());
            let narrowed = narrowed_subject(&q, Narrowing { devices: None, services });
            let (part, whole) = (answer(&index, &q, &narrowed), answer(&index, &q, &subject(&q)));
            let named = only.iter().any(|name| name.as_str() == service_name(q.service));
            match part {
                Ok(found) => {
                    prop_assert!(named, "{:?}", q);
                    prop_assert_eq!(whole, Ok(found), "{:?}", q);
                }
                // What it names is judged as by the whole pass.
                Err(_) if named => prop_assert_eq!(part, whole, "{:?}", q),
                Err(_) => {}
            }
        }
    }

    #[test]
    fn the_order_of_construction_is_never_seen(
        world in world(), questions in vec(question(), 5), seed in any::<prop::sample::Index>(),
    ) {
        let mut shuffled = world.clone();
        // The last word on a user counts, so users keep their order.
        rotate(&mut shuffled.services, &seed);
        rotate(&mut shuffled.contents, &seed);
        rotate(&mut shuffled.rules, &seed);
        rotate(&mut shuffled.bans, &seed);
        rotate(&mut shuffled.visits, &seed);
        rotate(&mut shuffled.consents, &seed);
        let (a, b) = (world.assemble(), shuffled.assemble());
        let bytes = |snapshot: &Snapshot| codec::encode(snapshot, limits::SNAPSHOT_BYTES).unwrap();
        prop_assert_eq!(bytes(&a), bytes(&b));
        let (a, b) = (index(&a), index(&b));
        for q in questions {
            let subject = subject(&q);
            prop_assert_eq!(answer(&a, &q, &subject), answer(&b, &q, &subject));
        }
    }

    #[test]
    fn explain_agrees_with_decide(world in world(), questions in vec(question(), 10)) {
        let index = index(&world.assemble());
        for q in questions {
            let q = Question { key: 100 + q.user, pass_expires: u64::MAX, view_only: false, ..q };
            let decided = answer(&index, &q, &subject(&q));
            let hypothesis =
                Hypothesis { user: user_id(q.user), second_factor_at: q.factor_at.map(UnixTime::from_secs), only: None };
            let said = explain(Some(&index), &hypothesis, &service_name(q.service), &circumstances(&q));
            prop_assert_eq!(said.denied, decided.clone().err().map(|(reason, _)| reason));
            let ask = index.ask(user_id(q.user), &service_name(q.service));
            let permit = decide(Some(&index), &subject(&q), &ask, &circumstances(&q)).ok();
            prop_assert_eq!(said.until, permit.as_ref().map(|permit| permit.until()));
            prop_assert_eq!(said.mode, permit.as_ref().map(|permit| permit.mode()));
            prop_assert!(permit.is_none_or(|permit| permit.until() <= permit.ends()));
            let used: Vec<&str> =
                said.chains.iter().filter(|chain| chain.used).map(|chain| chain.origin.name().as_str()).collect();
            let refuses: Option<&str> =
                said.prohibitions.iter().find(|veto| veto.refuses()).map(|veto| veto.origin.name().as_str());
            match decided {
                Ok(_) => prop_assert_eq!((used.len(), refuses), (1, None)),
                Err((Reason::NoGrant, origin)) => {
                    prop_assert_eq!((used.len(), refuses), (0, origin.as_deref()));
                }
                Err((_, origin)) => prop_assert_eq!(used, origin.as_deref().into_iter().collect::<Vec<_>>()),
            }
        }
    }
}

/// Otherwise the properties above could hold because nothing ever happens.
#[test]
fn the_random_worlds_reach_every_answer() {
    let mut runner = TestRunner::deterministic();
    let (mut reasons, mut permitted, mut banned, mut by_case) = (BTreeSet::new(), 0, 0, 0);
    let (mut looking, mut unseated, mut shorter, mut partly) = (0, 0, 0, 0);
    let (mut approved, mut bounded) = (0, 0);
    for _ in 0..400 {
        let world = world().new_tree(&mut runner).unwrap().current();
        let unbanned = World { bans: Vec::new(), ..world.clone() };
        let caseless = World { visits: Vec::new(), ..world.clone() };
        let waiting = World { consents: Vec::new(), ..world.clone() };
        let mut unbounded = world.clone();
        unbounded.consents.iter_mut().for_each(|consent| consent.mode = Mode::WIDEST);
        for q in vec(question(), 20).new_tree(&mut runner).unwrap().current() {
            let answer = world.judge(&q);
            reasons.insert(answer.err());
            permitted += u32::from(answer.is_ok());
            partly += u32::from(answer.is_ok() && !world.closed(&q, q.now).is_empty());
            looking += u32::from(answer.is_ok_and(|(mode, ..)| mode == Mode::ViewOnly) && !q.view_only);
            let alone = world.judge(&Question { writing: 0, ..q });
            unseated += u32::from(answer == Err(Reason::Concurrency) && alone.is_ok());
            let asked = world.judge(&Question { view_only: true, ..q });
            shorter +=
                u32::from(matches!((answer, asked), (Ok((_, end, _)), Ok((_, later, _))) if end < later));
            banned += u32::from(answer == Err(Reason::NoGrant) && unbanned.judge(&q).is_ok());
            approved += u32::from(answer.is_ok() && waiting.judge(&q) == Err(Reason::ApprovalPending));
            bounded += u32::from(
                matches!((answer, unbounded.judge(&q)), (Ok((less, ..)), Ok((more, ..))) if less < more),
            );
            by_case += u32::from(answer.is_ok() && caseless.judge(&q) == Err(Reason::CaseInactive));
        }
    }
    let decided = |reason: &&Reason| **reason <= Reason::Concurrency;
    let missing: Vec<&Reason> =
        Reason::ALL.iter().filter(decided).filter(|reason| !reasons.contains(&Some(**reason))).collect();
    // Nobody asks a device without policy here, and locks have no rows.
    assert_eq!(missing, [&Reason::NoPolicy, &Reason::SiteLocked]);
    let found = format!(
        "of 8,000: {permitted} permitted, {by_case} of them by a case, {looking} to look only, {shorter} for less \
         time than to look only; {banned} banned, {unseated} without a seat, {partly} with a path closed; {approved} approved, \
         {bounded} less far than granted"
    );
    assert!(permitted > 400 && by_case > 20 && banned > 50, "{found}");
    assert!(approved > 20 && bounded > 10, "{found}");
    assert!(looking > 50 && shorter > 10 && unseated > 10 && partly > 20, "{found}");
}

/// Removes a grant with what was approved of it: positions after it move up.
fn without_grant(snapshot: &mut Snapshot, gone: usize) {
    snapshot.grants.remove(gone);
    let gone = u32::try_from(gone).unwrap();
    snapshot.approvals.retain(|approval| approval.grant != gone);
    for approval in snapshot.approvals.iter_mut().filter(|approval| approval.grant > gone) {
        approval.grant -= 1;
    }
}

/// Reverses and rotates: cheap, and no element keeps its neighbour on the same side.
fn rotate<T>(list: &mut [T], seed: &prop::sample::Index) {
    if !list.is_empty() {
        list.reverse();
        list.rotate_left(seed.index(list.len()));
    }
}
