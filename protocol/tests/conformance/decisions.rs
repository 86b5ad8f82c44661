//! Decisions on random worlds: equal to the slow reference, never widened by a removal, independent of order.

use std::sync::Arc;

use postern_protocol::id::DeviceId;
use postern_protocol::limits;
use postern_protocol::policy::explain::Hypothesis;
use postern_protocol::policy::{
    Circumstances, Expectation, Index, Reason, Snapshot, decide, explain, verify,
};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::pass::Presented;
use postern_protocol::trust::{Envelope, Factor, Method, Pass, Proof, Subject};
use postern_protocol::wire::codec;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::oracle::{Question, Rule, World, assignment_name, service_name, user_id};
use crate::probes::{DEVICE, EXPORTER, FLEET, fixed_root, key};

fn rule() -> impl Strategy<Value = Rule> {
    (0..4u8, 0..3u8, 0..3u8, option::of(0..12u64), option::of(1..12u64), option::of(0..8u32)).prop_map(
        |(assignment, user, category, from, span, factor_s)| Rule {
            assignment,
            user,
            category,
            from,
            until: span.map(|span| from.unwrap_or(0) + span),
            factor_s,
        },
    )
}

fn world() -> impl Strategy<Value = World> {
    (
        proptest::bool::weighted(0.9),
        8..20u64,
        0..4u16,
        vec(0..4u8, 1..5),
        vec((0..3u8, 0..4u8), 0..8),
        vec((0..3u8, proptest::bool::weighted(0.1)), 0..4),
        vec(rule(), 0..10),
    )
        .prop_map(|(assigned, expires, tunnels, services, contents, users, rules)| World {
            assigned,
            expires,
            tunnels,
            services,
            contents,
            users,
            rules,
        })
}

fn question() -> impl Strategy<Value = Question> {
    (0..3u8, proptest::bool::weighted(0.1), 0..5u8, 0..20u64, 1..24u64, option::of(0..16u64), 0..3u16)
        .prop_map(|(user, other_key, service, now, pass_expires, factor_at, open)| Question {
            user,
            key: if other_key { 99 } else { 100 + user },
            service,
            now,
            pass_expires,
            factor_at,
            open,
        })
}

fn index(snapshot: &Snapshot) -> Arc<Index> {
    let root = fixed_root();
    let expected = Expectation { root: &root, device: DEVICE, device_key: key(10).public(), floor: None };
    let sealed = Envelope::seal(snapshot, &[&key(2)]).unwrap();
    Arc::new(Index::build(verify(&sealed, &expected).unwrap()))
}

/// The subject that a question speaks of; made before its pass expires.
fn subject(q: &Question) -> Subject {
    let secret = key(q.key);
    let factors = q.factor_at.map(|at| Factor { method: Method::Totp, at: UnixTime::from_secs(at) });
    let pass = Pass {
        fleet: FLEET,
        user: user_id(q.user),
        key: secret.public(),
        factors: factors.into_iter().collect(),
        issued: UnixTime::from_secs(100),
        expires: UnixTime::from_secs(q.pass_expires),
    };
    let sealed = Envelope::seal(&pass, &[&key(3)]).unwrap();
    let proof = Proof::sign(&secret, &EXPORTER, DeviceId::new([0xd1; 8]), &sealed);
    let presented = Presented { pass: &sealed, proof, exporter: &EXPORTER, peer_key: secret.public() };
    Subject::authenticate(&presented, DEVICE, &fixed_root(), UnixTime::EPOCH).unwrap()
}

fn circumstances(q: &Question) -> Circumstances {
    Circumstances {
        now: UnixTime::from_secs(q.now),
        open: q.open.into(),
        open_by_user: q.open.into(),
        open_on_service: q.open.into(),
    }
}

/// The end of the permit, or the reason and, where a grant was in play, its assignment.
fn answer(index: &Arc<Index>, q: &Question, subject: &Subject) -> Result<u64, (Reason, Option<String>)> {
    let ask = index.ask(user_id(q.user), &service_name(q.service));
    decide(Some(index), subject, &ask, &circumstances(q))
        .map(|permit| permit.until().as_secs())
        .map_err(|no| (no.reason(), no.origin().map(|origin| origin.assignment.to_string())))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn decide_equals_the_slow_reference(world in world(), questions in vec(question(), 20)) {
        let index = index(&world.assemble());
        for q in questions {
            let found = answer(&index, &q, &subject(&q));
            prop_assert_eq!(found.clone().map_err(|(reason, _)| reason), world.judge(&q), "{:?}", q);
            // Whoever is named as the origin of a denial has a rule for this very user.
            if let Err((_, Some(assignment))) = found {
                let named = |rule: &Rule| rule.user == q.user && assignment_name(rule.assignment) == assignment;
                prop_assert!(world.rules.iter().any(named), "{:?}: {}", q, assignment);
            }
        }
    }

    #[test]
    fn removing_a_grant_never_permits_more(world in world(), questions in vec(question(), 10)) {
        let whole = world.assemble();
        let full = index(&whole);
        let subjects: Vec<Subject> = questions.iter().map(subject).collect();
        for gone in 0..whole.grants.len() {
            let mut less = whole.clone();
            less.grants.remove(gone);
            let less = index(&less);
            for (q, subject) in questions.iter().zip(&subjects) {
                let (with, without) = (answer(&full, q, subject), answer(&less, q, subject));
                if let Ok(until) = without {
                    prop_assert!(with.is_ok_and(|longer| longer >= until), "{:?} without grant {}", q, gone);
                }
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
            let q = Question { key: 100 + q.user, pass_expires: u64::MAX, ..q };
            let decided = answer(&index, &q, &subject(&q));
            let hypothesis =
                Hypothesis { user: user_id(q.user), second_factor_at: q.factor_at.map(UnixTime::from_secs) };
            let said = explain(Some(&index), &hypothesis, &service_name(q.service), &circumstances(&q));
            prop_assert_eq!(said.denied, decided.clone().err().map(|(reason, _)| reason));
            prop_assert_eq!(said.until.map(UnixTime::as_secs), decided.clone().ok());
            let used: Vec<&str> =
                said.chains.iter().filter(|chain| chain.used).map(|chain| chain.assignment.as_str()).collect();
            match decided {
                Ok(_) => prop_assert_eq!(used.len(), 1),
                Err((_, origin)) => prop_assert_eq!(used, origin.as_deref().into_iter().collect::<Vec<_>>()),
            }
        }
    }
}

/// Reverses and rotates: cheap, and no element keeps its neighbour on the same side.
fn rotate<T>(list: &mut [T], seed: &prop::sample::Index) {
    if !list.is_empty() {
        list.reverse();
        list.rotate_left(seed.index(list.len()));
    }
}
