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
    Pass { fleet: FLEET, user: UserId::new([3; 8]), key, factors, issued: at(1_000), expires: at(2_000) }
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

#[test]
fn a_proof_holds_for_one_session_one_device_one_pass_and_one_key() {
    let bytes = sealed(&pass());
    let other = sealed(&Pass { expires: at(3_000), ..pass() });
    let check = |proof: Proof| {
        let presented = Presented { pass: &bytes, proof, exporter: &EXPORTER, peer_key: key(20).public() };
        Subject::authenticate(&presented, DEVICE, &root(), at(1_500)).map(|subject| subject.user())
    };
    assert_eq!(check(Proof::sign(&key(20), &EXPORTER, DEVICE, &bytes)), Ok(UserId::new([3; 8])));
    for (what, proof) in [
        ("another session", Proof::sign(&key(20), &[0x56; 32], DEVICE, &bytes)),
        ("another device", Proof::sign(&key(20), &EXPORTER, DeviceId::new([9; 8]), &bytes)),
        ("another pass", Proof::sign(&key(20), &EXPORTER, DEVICE, &other)),
        ("another key", Proof::sign(&key(21), &EXPORTER, DEVICE, &bytes)),
        ("nothing", Proof(Signature::new([0; 64]))),
    ] {
        assert_eq!(check(proof), Err(PassFault::Proof), "{what}");
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
