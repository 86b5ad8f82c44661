use super::*;
use crate::trust::{PublicKey, RoleKeys, SecretKey};

const FLEET: FleetId = FleetId::new([1; 8]);
const DEVICE: DeviceId = DeviceId::new([2; 8]);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32]).unwrap()
}

/// The key of role `n` is `n + 1`: that of locks is 5.
fn root() -> Root {
    let keys = |seed| -> Vec<PublicKey> { vec![key(seed).public()] };
    let roles = Role::ALL.into_iter().zip(1u8..);
    let roles = roles.map(|(role, seed)| RoleKeys { role, threshold: 1, keys: keys(seed) }).collect();
    let expires = UnixTime::from_secs(9_000);
    Root { fleet: FLEET, version: 1, expires, policy_epoch: 3, roles, hubs: Vec::new() }
}

fn lock() -> Lock {
    let targets = vec![
        LockTarget::Device,
        LockTarget::User(UserId::new([7; 8])),
        LockTarget::Category("all".parse().unwrap()),
    ];
    let issued = UnixTime::from_secs(1_000);
    Lock { fleet: FLEET, device: DEVICE, epoch: 3, sequence: 9, issued, targets }
}

fn check(lock: &Lock) -> Result<u64, LockFault> {
    let sealed = Envelope::seal(lock, &[&key(5)]).unwrap();
    Lock::verify(&sealed, &root(), DEVICE).map(|lock| lock.sequence)
}

#[test]
fn a_lock_is_taken_by_the_device_that_it_is_for() {
    assert_eq!(check(&lock()), Ok(9));
    let other = DeviceId::new([9; 8]);
    let fault = LockFault::Device { found: other, expected: DEVICE };
    assert_eq!(check(&Lock { device: other, ..lock() }), Err(fault));
    assert_eq!(check(&Lock { fleet: FleetId::new([9; 8]), ..lock() }), Err(LockFault::Fleet));
    for found in [2, 4] {
        let fault = LockFault::Epoch { found, expected: 3 };
        assert_eq!(check(&Lock { epoch: found, ..lock() }), Err(fault));
    }
}

#[test]
fn only_the_lock_role_signs_locks() {
    let fault = LockFault::Envelope(EnvelopeFault::Threshold { valid: 0, threshold: 1 });
    for (role, seed) in Role::ALL.into_iter().zip(1u8..) {
        let sealed = Envelope::seal(&lock(), &[&key(seed)]).unwrap();
        let found = Lock::verify(&sealed, &root(), DEVICE).map(|lock| lock.sequence);
        assert_eq!(found, if role == Role::Lock { Ok(9) } else { Err(fault) }, "{role:?}");
    }
    // Its key signs nothing else: the same payload under another domain is no snapshot and no lock.
    let payload = crate::wire::codec::encode(&lock(), limits::LOCK_BYTES).unwrap();
    let other = Envelope::seal_payload(Domain::Snapshot, &payload, &[&key(5)]).unwrap();
    let fault = LockFault::Envelope(EnvelopeFault::Domain { found: 2, expected: Domain::Lock.number() });
    assert_eq!(Lock::verify(&other, &root(), DEVICE), Err(fault));
}

#[test]
fn targets_are_listed_once_in_order_and_bounded() {
    let of = |targets| check(&Lock { targets, ..lock() });
    let user = |n: u16| {
        let mut id = [0; 8];
        id[..2].copy_from_slice(&n.to_be_bytes());
        LockTarget::User(UserId::new(id))
    };
    assert_eq!(of(Vec::new()), Err(LockFault::Form));
    assert_eq!(of(vec![user(1), user(1)]), Err(LockFault::Form));
    assert_eq!(of(vec![user(1), LockTarget::Device]), Err(LockFault::Form));
    assert_eq!(of((0..256).map(user).collect()), Ok(9));
    assert_eq!(of((0..257).map(user).collect()), Err(LockFault::Form));
    assert_eq!(check(&Lock { sequence: 0, ..lock() }), Err(LockFault::Form));
    // The longest lists fit.
    let name = |n: usize| LockTarget::Category(format!("{n:03}{}", "c".repeat(61)).parse().unwrap());
    assert_eq!(of((0..256).map(name).collect()), Ok(9));
}

#[test]
fn a_stored_lock_outlives_the_key_that_signed_it() {
    let sealed = Envelope::seal(&lock(), &[&key(77)]).unwrap();
    assert_eq!(Lock::stored(&sealed), Ok(lock()));
    let fault = EnvelopeFault::Frame;
    assert_eq!(Lock::stored(&sealed[..sealed.len() - 1]), Err(LockFault::Envelope(fault)));
}

#[test]
fn a_category_is_locked_with_all_its_narrowed_forms_and_without_its_neighbours() {
    let locked = |target: &str, category: &str| {
        LockTarget::Category(target.parse().unwrap()).is_category(&category.parse().unwrap())
    };
    assert!(locked("all", "all"));
    assert!(locked("all", "all.m1_m2"));
    assert!(!locked("all", "all-hmi"));
    assert!(!locked("all", "al"));
    assert!(!locked("all.m1", "all"));
    // As `category_name` of the cloud shortens it.
    let long = "c".repeat(60);
    assert!(locked(&long, &format!("{}.185707dfb8155ea1", "c".repeat(47))));
    assert!(!locked(&"c".repeat(46), &format!("{}.185707dfb8155ea1", "c".repeat(47))));
    assert!(!LockTarget::Device.is_category(&"all".parse().unwrap()));
}
