//! Two keys to a machine: what each role's key can sign, asked of every object that a device takes.
//!
//! Each object is sealed by the key of each role, by all of the other roles together, and by the hub, the device and
//! the user. A device takes it in one case of them.

use postern_protocol::id::DeviceId;
use postern_protocol::limits;
use postern_protocol::policy::{Expectation, verify};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::pass::Presented;
use postern_protocol::trust::{
    Envelope, Lock, Nonce, Pass, Proof, Role, Root, SecretKey, Signed, Subject, Timestamp,
};

use crate::probes::{DEVICE, EXPORTER, FLEET, fixed_root, key};
use crate::samples;

/// Whoever may have a key, and the seed of theirs: the six roles, then the hub, the device and the user.
const HOLDERS: [(Option<Role>, u8); 9] = [
    (Some(Role::Root), 1),
    (Some(Role::Policy), 2),
    (Some(Role::Identity), 3),
    (Some(Role::Timestamp), 5),
    (Some(Role::Lock), 6),
    (Some(Role::AuditAck), 7),
    (None, 4),
    (None, 10),
    (None, 20),
];

/// Whose signature makes a device take `value`, of all holders; `takes` asks the device.
fn makers<T: Signed>(value: &T, takes: impl Fn(&[u8]) -> bool) -> Vec<Role> {
    let sealed = |seeds: &[u8]| {
        let keys: Vec<SecretKey> = seeds.iter().map(|seed| key(*seed)).collect();
        Envelope::seal(value, &keys.iter().collect::<Vec<_>>()).unwrap()
    };
    let alone: Vec<Role> =
        HOLDERS.iter().filter(|(_, seed)| takes(&sealed(&[*seed]))).filter_map(|(role, _)| *role).collect();
    let count = HOLDERS.iter().filter(|(_, seed)| takes(&sealed(&[*seed]))).count();
    assert_eq!(count, alone.len(), "a key of no role is enough");
    // Whoever has every key but the right ones has nothing.
    let others: Vec<u8> = HOLDERS
        .iter()
        .filter(|(role, _)| !role.is_some_and(|role| alone.contains(&role)))
        .map(|(_, seed)| *seed)
        .collect();
    assert!(!takes(&sealed(&others)), "all other keys together are enough");
    alone
}

#[test]
fn each_object_is_taken_from_the_keys_of_one_role_alone() {
    let root = fixed_root();
    let snapshot = samples::snapshot();
    let expected = Expectation { root: &root, device: DEVICE, device_key: key(10).public(), floor: None };
    assert_eq!(makers(&snapshot, |bytes| verify(bytes, &expected).is_ok()), [Role::Policy]);

    let nonce = Nonce::new([9; 16]);
    let timestamp = Timestamp {
        fleet: FLEET,
        device: DEVICE,
        nonce,
        time: UnixTime::from_secs(1_800_000_000),
        root_version: 1,
        held: None,
        lock: 0,
    };
    let opens = |bytes: &[u8]| Timestamp::open(bytes, &root, DEVICE, nonce).is_ok();
    assert_eq!(makers(&timestamp, opens), [Role::Timestamp]);

    let locks = |bytes: &[u8]| Lock::verify(bytes, &root, DEVICE).is_ok();
    assert_eq!(makers(&samples::lock(), locks), [Role::Lock]);

    let pass = Pass { factors: Vec::new(), ..samples::pass() };
    let signs_in = |bytes: &[u8]| {
        let proof = Proof::sign(&key(20), &EXPORTER, DEVICE, bytes);
        let presented = Presented { pass: bytes, proof, exporter: &EXPORTER, peer_key: key(20).public() };
        Subject::authenticate(&presented, DEVICE, &root, pass.issued).is_ok()
    };
    assert_eq!(makers(&pass, signs_in), [Role::Identity]);

    let next = Root { version: 2, ..fixed_root() };
    assert_eq!(makers(&next, |bytes| root.accept_next(bytes).is_ok()), [Role::Root]);
}

#[test]
fn no_object_passes_for_one_of_another_kind_whoever_signed_it() {
    let root = fixed_root();
    let everybody: Vec<SecretKey> = HOLDERS.iter().map(|(_, seed)| key(*seed)).collect();
    let everybody: Vec<&SecretKey> = everybody.iter().collect();
    let expected = Expectation { root: &root, device: DEVICE, device_key: key(10).public(), floor: None };
    let nonce = Nonce::new([9; 16]);
    let next = Envelope::seal(&Root { version: 2, ..fixed_root() }, &everybody).unwrap();
    let snapshot = Envelope::seal(&samples::snapshot(), &everybody).unwrap();
    let pass = Envelope::seal(&samples::pass(), &everybody).unwrap();
    let lock = Envelope::seal(&samples::lock(), &everybody).unwrap();
    // The same payload under another domain is another statement: its signatures do not hold.
    for sealed in [&next, &snapshot, &pass, &lock] {
        for domain in 0..=u8::MAX {
            let mut renamed = sealed.clone();
            renamed[1] = domain;
            let own = domain == sealed[1];
            let taken = [
                root.accept_next(&renamed).is_ok(),
                verify(&renamed, &expected).is_ok(),
                Timestamp::open(&renamed, &root, DeviceId::new([0xd1; 8]), nonce).is_ok(),
                Lock::verify(&renamed, &root, DeviceId::new([0xd1; 8])).is_ok(),
                Envelope::open::<Pass>(&renamed, root.role(Role::Identity).unwrap()).is_ok(),
            ];
            assert_eq!(taken.iter().filter(|taken| **taken).count(), usize::from(own), "domain {domain}");
        }
    }
    assert!(limits::SIGNATURES >= everybody.len());
}
