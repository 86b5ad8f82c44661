use super::super::root::RoleKeys;
use super::*;
use crate::trust::EnvelopeFault;

const FLEET: FleetId = FleetId::new([1; 8]);
const DEVICE: DeviceId = DeviceId::new([2; 8]);
const EXPORTER: [u8; 32] = [0x55; 32];

fn at(secs: u64) -> UnixTime {
    UnixTime::from_secs(secs)
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

fn root() -> Root {
    let role = |role, seed| RoleKeys { role, threshold: 1, keys: vec![key(seed).public()] };
    let roles = vec![
        role(Role::Root, 1),
        role(Role::Policy, 2),
        role(Role::Identity, 3),
        role(Role::Timestamp, 5),
        role(Role::Lock, 6),
        role(Role::AuditAck, 7),
    ];
    Root { fleet: FLEET, version: 1, expires: at(9_000), policy_epoch: 1, roles, hubs: Vec::new() }
}

/// Issued at 1,000 for the key of seed 20, good until 2,000, with both methods.
fn pass() -> Pass {
    let factors =
        vec![Factor { method: Method::Password, at: at(998) }, Factor { method: Method::Totp, at: at(999) }];
    let key = key(20).public();
    Pass {
        fleet: FLEET,
        user: UserId::new([3; 8]),
        key,
        factors,
        issued: at(1_000),
        expires: at(2_000),
        narrow: Narrowing::NONE,
    }
}

fn sealed(pass: &Pass) -> Vec<u8> {
    Envelope::seal(pass, &[&key(3)]).unwrap()
}

/// Presents `pass` with a proof that is right in every respect.
fn present(pass: &Pass, now: u64) -> Result<Subject, PassFault> {
    let bytes = sealed(pass);
    let proof = Proof::sign(&key(20), &EXPORTER, DEVICE, &bytes);
    let presented = Presented { pass: &bytes, proof, exporter: &EXPORTER, peer_key: key(20).public() };
    Subject::authenticate(&presented, DEVICE, &root(), at(now))
}

#[test]
fn a_pass_with_its_proof_makes_a_subject() {
    let subject = present(&pass(), 1_500).unwrap();
    assert_eq!(subject.user(), UserId::new([3; 8]));
    assert_eq!(subject.key(), key(20).public());
    assert_eq!(subject.expires(), at(2_000));
    assert_eq!(subject.second_factor_at(), Some(at(999)));
    let plain = Pass { factors: vec![Factor { method: Method::Password, at: at(998) }], ..pass() };
    assert_eq!(present(&plain, 1_500).unwrap().second_factor_at(), None);
    let none = Pass { factors: Vec::new(), ..pass() };
    assert_eq!(present(&none, 1_500).unwrap().second_factor_at(), None);
}

/// What a replay changes of a presentation that is right in every respect.
struct Replay {
    device: DeviceId,
    exporter: [u8; 32],
    peer: u8,
    pass: Vec<u8>,
    proof: Proof,
    now: u64,
}

impl Replay {
    fn right() -> Self {
        let pass = sealed(&pass());
        let proof = Proof::sign(&key(20), &EXPORTER, DEVICE, &pass);
        Self { device: DEVICE, exporter: EXPORTER, peer: 20, pass, proof, now: 1_500 }
    }

    fn outcome(change: impl FnOnce(&mut Self)) -> Result<UserId, PassFault> {
        let mut replay = Self::right();
        change(&mut replay);
        let Self { device, exporter, peer, pass, proof, now } = &replay;
        let peer_key = key(*peer).public();
        let presented = Presented { pass, proof: *proof, exporter, peer_key };
        Subject::authenticate(&presented, *device, &root(), at(*now)).map(|subject| subject.user())
    }
}

#[test]
fn each_replay_is_refused_with_a_reason_of_its_own_and_its_twin_is_not() {
    let (neighbour, elsewhere) = (DeviceId::new([9; 8]), [0x56; 32]);
    let known = Ok(UserId::new([3; 8]));
    assert_eq!(Replay::outcome(|_| ()), known);
    // Shown to a neighbour of the device that it was made for; the twin was made for the neighbour.
    let found = PassFault::OtherDevice { found: DEVICE, expected: neighbour };
    assert_eq!(Replay::outcome(|it| it.device = neighbour), Err(found));
    let twin = Replay::outcome(|it| {
        it.device = neighbour;
        it.proof = Proof::sign(&key(20), &EXPORTER, neighbour, &it.pass);
    });
    assert_eq!(twin, known);
    // Recorded on another session.
    assert_eq!(Replay::outcome(|it| it.exporter = elsewhere), Err(PassFault::OtherSession));
    let twin = Replay::outcome(|it| {
        it.exporter = elsewhere;
        it.proof = Proof::sign(&key(20), &elsewhere, DEVICE, &it.pass);
    });
    assert_eq!(twin, known);
    // Shown by somebody with another key.
    assert_eq!(Replay::outcome(|it| it.peer = 21), Err(PassFault::Key));
    // A bit of the pass is changed, and a proof made for the changed one.
    let altered = Replay::outcome(|it| {
        it.pass[40] ^= 1;
        it.proof = Proof::sign(&key(20), &EXPORTER, DEVICE, &it.pass);
    });
    let unsigned = EnvelopeFault::Threshold { valid: 0, threshold: 1 };
    assert_eq!(altered, Err(PassFault::Envelope(unsigned)));
    // Another pass of the same user.
    let other = sealed(&Pass { expires: at(3_000), ..pass() });
    assert_eq!(Replay::outcome(|it| it.pass.clone_from(&other)), Err(PassFault::Proof));
    let twin = Replay::outcome(|it| {
        it.pass.clone_from(&other);
        it.proof = Proof::sign(&key(20), &EXPORTER, DEVICE, &it.pass);
    });
    assert_eq!(twin, known);
    // After its end and before its time.
    let expired = PassFault::Expired { expires: at(2_000), now: at(2_000) };
    assert_eq!(Replay::outcome(|it| it.now = 2_000), Err(expired));
    assert_eq!(Replay::outcome(|it| it.now = 1_999), known);
    let early = PassFault::NotYet { issued: at(1_000), now: at(699) };
    assert_eq!(Replay::outcome(|it| it.now = 699), Err(early));
    assert_eq!(Replay::outcome(|it| it.now = 700), known);
}

#[test]
fn what_stands_beside_the_signature_of_a_proof_cannot_lend_it_another_meaning() {
    // Device and session are rewritten to fit; the signature covers those of before.
    let (neighbour, elsewhere) = (DeviceId::new([9; 8]), [0x56; 32]);
    let forged = Replay::outcome(|it| {
        it.device = neighbour;
        it.proof.device = neighbour;
    });
    assert_eq!(forged, Err(PassFault::Proof));
    let forged = Replay::outcome(|it| {
        it.exporter = elsewhere;
        it.proof.channel = Channel::of(&elsewhere);
    });
    assert_eq!(forged, Err(PassFault::Proof));
    let by_another_key = Replay::outcome(|it| it.proof = Proof::sign(&key(21), &EXPORTER, DEVICE, &it.pass));
    assert_eq!(by_another_key, Err(PassFault::Proof));
    let nothing = Replay::outcome(|it| it.proof.signature = Signature::new([0; 64]));
    assert_eq!(nothing, Err(PassFault::Proof));
}

#[test]
fn every_fault_of_a_pass_has_a_word_of_its_own() {
    let faults = [
        PassFault::Envelope(EnvelopeFault::Frame),
        PassFault::Root(RootFault::Hubs),
        PassFault::Fleet,
        PassFault::OtherDevice { found: DEVICE, expected: DEVICE },
        PassFault::OtherSession,
        PassFault::Key,
        PassFault::Proof,
        PassFault::Factors,
        PassFault::Narrowing,
        PassFault::Narrowed,
        PassFault::NotYet { issued: at(1), now: at(0) },
        PassFault::Expired { expires: at(0), now: at(1) },
    ];
    let words: std::collections::BTreeSet<&str> = faults.iter().map(PassFault::word).collect();
    assert_eq!(words.len(), faults.len());
}

#[test]
fn a_pass_that_is_narrowed_is_taken_by_the_devices_that_it_names() {
    let narrowed = |devices: Option<Vec<DeviceId>>| {
        let narrow = Narrowing { devices, services: None };
        present(&Pass { narrow, ..pass() }, 1_500).map(|subject| subject.user())
    };
    let (known, other) = (Ok(UserId::new([3; 8])), DeviceId::new([9; 8]));
    assert_eq!(narrowed(None), known);
    assert_eq!(narrowed(Some(vec![DEVICE])), known);
    assert_eq!(narrowed(Some(vec![DEVICE, other])), known);
    assert_eq!(narrowed(Some(vec![other])), Err(PassFault::Narrowed));
    assert_eq!(narrowed(Some(Vec::new())), Err(PassFault::Narrowed));
}

#[test]
fn what_a_pass_is_narrowed_to_is_listed_once_in_order_and_bounded() {
    let names = |list: &[&str]| Some(list.iter().map(|name| name.parse().unwrap()).collect::<Vec<Name>>());
    let services = |services| {
        let narrow = Narrowing { devices: None, services };
        present(&Pass { narrow, ..pass() }, 1_500).map(|subject| subject.services().map(<[Name]>::to_vec))
    };
    assert_eq!(services(None), Ok(None));
    assert_eq!(services(Some(Vec::new())), Ok(Some(Vec::new())));
    assert_eq!(services(names(&["hmi", "web"])), Ok(names(&["hmi", "web"])));
    assert_eq!(services(names(&["web", "hmi"])), Err(PassFault::Narrowing));
    assert_eq!(services(names(&["web", "web"])), Err(PassFault::Narrowing));
    let many = |count: usize| {
        let mut names: Vec<Name> =
            (0..count).map(|n| format!("s{n:02}{}", "x".repeat(60)).parse().unwrap()).collect();
        names.sort();
        names
    };
    // The longest lists fit into a pass.
    assert_eq!(services(Some(many(16))), Ok(Some(many(16))));
    assert_eq!(services(Some(many(17))), Err(PassFault::Narrowing));
    let ids = |count: u8| (0..count).map(|n| DeviceId::new([n; 8])).collect::<Vec<_>>();
    let devices = |devices| {
        let narrow = Narrowing { devices, services: Some(many(16)) };
        present(&Pass { narrow, ..pass() }, 1_500).map(|subject| subject.user())
    };
    assert_eq!(devices(Some(ids(16))), Ok(UserId::new([3; 8])));
    assert_eq!(devices(Some(ids(17))), Err(PassFault::Narrowing));
    assert_eq!(devices(Some(vec![DEVICE, DeviceId::new([1; 8])])), Err(PassFault::Narrowing));
}

#[test]
fn a_narrowing_is_within_another_when_it_lets_nothing_through_that_the_other_does_not() {
    let of = |services: Option<&[&str]>| Narrowing {
        devices: None,
        services: services.map(|list| list.iter().map(|name| name.parse().unwrap()).collect()),
    };
    let (all, both, one, none) = (of(None), of(Some(&["a", "b"])), of(Some(&["b"])), of(Some(&[])));
    for (inner, outer, expected) in [
        (&one, &both, true),
        (&both, &one, false),
        (&none, &one, true),
        (&one, &none, false),
        (&both, &all, true),
        (&all, &both, false),
        (&all, &all, true),
    ] {
        assert_eq!(inner.is_within(outer), expected, "{inner:?} {outer:?}");
    }
}

#[test]
fn the_signed_bytes_of_a_proof_are_what_the_document_says() {
    let digest = Digest::of(&[b"pass"]);
    let expected =
        [b"postern/v1/proof\0\x48\0\0\0".as_slice(), &EXPORTER, &[2; 8], digest.as_bytes()].concat();
    assert_eq!(Proof::message(&EXPORTER, DEVICE, b"pass"), expected);
}

#[test]
fn somebody_elses_pass_is_worth_nothing() {
    let bytes = sealed(&pass());
    let proof = Proof::sign(&key(21), &EXPORTER, DEVICE, &bytes);
    let thief = Presented { pass: &bytes, proof, exporter: &EXPORTER, peer_key: key(21).public() };
    assert_eq!(Subject::authenticate(&thief, DEVICE, &root(), at(1_500)), Err(PassFault::Key));
}

#[test]
fn only_the_identity_role_signs_passes() {
    let bytes = Envelope::seal(&pass(), &[&key(2)]).unwrap();
    let proof = Proof::sign(&key(20), &EXPORTER, DEVICE, &bytes);
    let presented = Presented { pass: &bytes, proof, exporter: &EXPORTER, peer_key: key(20).public() };
    let fault = PassFault::Envelope(EnvelopeFault::Threshold { valid: 0, threshold: 1 });
    assert_eq!(Subject::authenticate(&presented, DEVICE, &root(), at(1_500)), Err(fault));
    let bare = Root { roles: Vec::new(), ..root() };
    let fault = PassFault::Root(RootFault::Roles { role: Role::Identity });
    assert_eq!(Subject::authenticate(&presented, DEVICE, &bare, at(1_500)), Err(fault));
}

#[test]
fn another_fleets_pass_is_refused() {
    assert_eq!(present(&Pass { fleet: FleetId::new([9; 8]), ..pass() }, 1_500), Err(PassFault::Fleet));
}

#[test]
fn a_pass_is_good_from_a_little_before_its_issue_to_its_last_second() {
    let user = |now| present(&pass(), now).map(|subject| subject.user());
    assert_eq!(user(700), Ok(UserId::new([3; 8])));
    assert_eq!(user(699), Err(PassFault::NotYet { issued: at(1_000), now: at(699) }));
    assert_eq!(user(1_999), Ok(UserId::new([3; 8])));
    assert_eq!(user(2_000), Err(PassFault::Expired { expires: at(2_000), now: at(2_000) }));
}

#[test]
fn factors_are_listed_once_in_order_and_not_later_than_the_pass() {
    let factors = |list: &[(Method, u64)]| {
        let factors = list.iter().map(|(method, secs)| Factor { method: *method, at: at(*secs) }).collect();
        present(&Pass { factors, ..pass() }, 1_500).map(|subject| subject.second_factor_at())
    };
    assert_eq!(factors(&[(Method::Password, 1_000), (Method::Totp, 1_000)]), Ok(Some(at(1_000))));
    for wrong in [
        [(Method::Totp, 1), (Method::Password, 1)],
        [(Method::Totp, 1), (Method::Totp, 2)],
        [(Method::Password, 1), (Method::Totp, 1_001)],
    ] {
        assert_eq!(factors(&wrong), Err(PassFault::Factors), "{wrong:?}");
    }
}
