//! What is signed or sealed, as what is signed and as what is sent.

use postern_protocol::limits;
use postern_protocol::trust::sealed::{Announcement, Place, Plaintext, SealingSecret, seal};
use postern_protocol::trust::{
    Digest, Domain, Envelope, Factor, Lock, LockTarget, Method, Narrowing, Nonce, Pass, Proof, Signed,
    Timestamp,
};
use postern_protocol::wire::invitation::{Invitation, Invitee};

use super::policy::snapshot;
use super::{ISSUED, Sample, addresses, held, name, plain};
use crate::probes::{ALICE, DEVICE, EXPORTER, FLEET, fixed_root, key};

pub(crate) fn pass() -> Pass {
    Pass {
        fleet: FLEET,
        user: ALICE,
        key: key(20).public(),
        factors: vec![
            Factor { method: Method::Password, at: ISSUED },
            Factor { method: Method::Totp, at: ISSUED },
        ],
        issued: ISSUED,
        expires: ISSUED.saturating_add(28_800),
        narrow: Narrowing { devices: Some(vec![DEVICE]), services: Some(vec![name("hmi")]) },
    }
}

/// What device 10 says about its sealing key.
pub(crate) fn announcement() -> Announcement {
    Announcement::sign(&key(10), &SealingSecret::derive(&key(10)).unwrap())
}

/// The pair to which recordings are sealed.
pub(crate) fn factory() -> SealingSecret {
    SealingSecret::for_recordings(&[0x5e; 32].into()).unwrap()
}

/// The password `4711` of the panel `hmi`, with the random bytes 32 x 0x77.
pub(crate) fn sealed_secret() -> Vec<u8> {
    let secret = Plaintext::new(b"4711".to_vec().into()).unwrap();
    let to = announcement().verify(&key(10).public()).unwrap();
    let place = Place { fleet: FLEET, device: DEVICE, name: &name("hmi") };
    seal(&to, &place, &secret, [0x77; 32].into()).unwrap()
}

pub(crate) fn sealed_pass() -> Vec<u8> {
    Envelope::seal(&pass(), &[&key(3)]).unwrap()
}

pub(crate) fn timestamp() -> Timestamp {
    Timestamp {
        fleet: FLEET,
        device: DEVICE,
        nonce: Nonce::new([0x4e; 16]),
        time: ISSUED,
        root_version: 1,
        held: Some(held()),
        lock: 0,
    }
}

pub(crate) fn sealed_timestamp() -> Vec<u8> {
    Envelope::seal(&timestamp(), &[&key(5)]).unwrap()
}

pub(crate) fn lock() -> Lock {
    let targets = vec![LockTarget::Device, LockTarget::User(ALICE), LockTarget::Category(name("all"))];
    Lock { fleet: FLEET, device: DEVICE, epoch: 1, sequence: 2, issued: ISSUED, targets }
}

pub(crate) fn sealed_lock() -> Vec<u8> {
    Envelope::seal(&lock(), &[&key(6)]).unwrap()
}

pub(crate) fn invitation() -> Invitation {
    let root = Envelope::seal(&fixed_root(), &[&key(1)]).unwrap();
    Invitation {
        invitee: Invitee::Device,
        hubs: addresses(),
        hub_key: key(4).public(),
        root: Digest::of(&[Envelope::parse(&root, limits::ROOT_BYTES).unwrap().payload()]),
        secret: [0x5e; 16],
    }
}

pub(super) fn signed() -> Vec<Sample> {
    let root = fixed_root();
    let code = invitation();
    let proof = Proof::sign(&key(20), &EXPORTER, DEVICE, &sealed_pass());
    let covered = [EXPORTER.as_slice(), DEVICE.as_bytes(), Digest::of(&[&sealed_pass()]).as_bytes()].concat();
    vec![
        payload("root-payload", "A root: root key 1, policy key 2, identity key 3, hub key 4.", &root),
        sealed("root-envelope", "The same, sealed by key 1.", "root", &root, 1),
        payload("snapshot-payload", "A snapshot with at least one of everything.", &snapshot()),
        sealed("snapshot-envelope", "The same, sealed by key 2.", "snapshot", &snapshot(), 2),
        payload("pass-payload", "A pass for the user's key 20.", &pass()),
        sealed("pass-envelope", "The same, sealed by key 3.", "pass", &pass(), 3),
        payload("timestamp-payload", "A timestamp in answer to the nonce 16 x 0x4e.", &timestamp()),
        sealed("timestamp-envelope", "The same, sealed by key 5.", "timestamp", &timestamp(), 5),
        payload("lock-payload", "A lock of the device, a user and a category.", &lock()),
        sealed("lock-envelope", "The same, sealed by key 6.", "lock", &lock(), 6),
        bytes(
            "proof-signed-bytes",
            "What key 20 signs: exporter 32 x 0x55, the device, SHA-256 of pass-envelope.",
            None,
            Domain::Proof.signed_bytes(&covered),
        ),
        plain::<_, 89>("signed", "proof", "The proof, signed by key 20 over proof-signed-bytes.", &proof),
        bytes(
            "sealing-key-signed-bytes",
            "What key 10 signs about the sealing key that follows from it.",
            None,
            Domain::SealingKey.signed_bytes(announcement().verify(&key(10).public()).unwrap().as_bytes()),
        ),
        plain::<_, 97>("signed", "announcement", "The sealing key of device 10, signed.", &announcement()),
        bytes(
            "sealed-secret",
            "The secret `4711` named `hmi`, sealed with the random bytes 32 x 0x77.",
            Some("sealed_secret"),
            sealed_secret(),
        ),
        plain::<_, { limits::FRAME_BYTES }>(
            "signed",
            "invitation-payload",
            "An invitation of a device.",
            &code,
        ),
        bytes(
            "invitation-text",
            &format!("The same as text: {code}"),
            Some("invitation"),
            code.to_string().into_bytes(),
        ),
    ]
}

fn payload<T: Signed>(name: &'static str, note: &str, value: &T) -> Sample {
    let target = match T::DOMAIN {
        Domain::Root => Some("root"),
        Domain::Snapshot => Some("snapshot"),
        Domain::Pass => Some("pass"),
        Domain::Timestamp => Some("timestamp"),
        Domain::Lock => Some("lock"),
        Domain::Proof
        | Domain::SealingKey
        | Domain::NextKey
        | Domain::Receipt
        | Domain::Checkpoint
        | Domain::AuditAck => None,
    };
    Sample { target, ..plain::<T, { limits::SNAPSHOT_BYTES }>("signed", name, note, value) }
}

fn sealed<T: Signed>(name: &'static str, note: &str, target: &'static str, value: &T, by: u8) -> Sample {
    bytes(name, note, Some(target), Envelope::seal(value, &[&key(by)]).unwrap())
}

fn bytes(name: &'static str, note: &str, target: Option<&'static str>, bytes: Vec<u8>) -> Sample {
    Sample {
        group: "signed",
        name,
        note: note.to_owned(),
        target,
        table: None,
        variant: None,
        bytes,
        again: None,
    }
}
