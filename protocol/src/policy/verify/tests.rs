use super::super::world::{DEVICE, FLEET, expectation, grant, key, public, root, sealed, snapshot};
use super::*;
use crate::trust::{Domain, RoleKeys, Signed};
use crate::wire::codec::CodecFault;

fn check(snapshot: &Snapshot) -> Result<Floor, SnapshotFault> {
    verify(&sealed(snapshot), &expectation(&root())).map(|verified| verified.floor())
}

fn floor(epoch: u32, version: u64, digest: Digest) -> Option<Floor> {
    Some(Floor { epoch, version, digest })
}

fn digest(snapshot: &Snapshot) -> Digest {
    Digest::of(&[Envelope::parse(&sealed(snapshot), Snapshot::MAX_BYTES).unwrap().payload()])
}

#[test]
fn a_snapshot_for_this_device_is_verified() {
    let bytes = sealed(&snapshot());
    let verified = verify(&bytes, &expectation(&root())).unwrap();
    assert_eq!(verified.snapshot(), &snapshot());
    assert_eq!(verified.digest(), digest(&snapshot()));
    assert_eq!(verified.floor(), Floor { epoch: 1, version: 5, digest: digest(&snapshot()) });
}

#[test]
fn only_the_policy_role_signs_snapshots() {
    let foreign = Envelope::seal(&snapshot(), &[&key(3)]).unwrap();
    let fault = EnvelopeFault::Threshold { valid: 0, threshold: 1 };
    assert_eq!(verify(&foreign, &expectation(&root())), Err(SnapshotFault::Envelope(fault)));
}

#[test]
fn a_root_without_the_policy_role_accepts_nothing() {
    let mut bare = root();
    bare.roles.retain(|keys: &RoleKeys| keys.role != Role::Policy);
    let fault = RootFault::Roles { role: Role::Policy };
    assert_eq!(verify(&sealed(&snapshot()), &expectation(&bare)), Err(SnapshotFault::Root(fault)));
}

#[test]
fn a_payload_that_is_signed_but_not_canonical_is_refused() {
    let bytes = sealed(&snapshot());
    let payload = Envelope::parse(&bytes, Snapshot::MAX_BYTES).unwrap().payload();
    let mut long = payload.to_vec();
    long.push(0);
    let bytes = Envelope::seal_payload(Domain::Snapshot, &long, &[&key(2)]).unwrap();
    let fault = EnvelopeFault::Codec(CodecFault::Trailing { count: 1 });
    assert_eq!(verify(&bytes, &expectation(&root())), Err(SnapshotFault::Envelope(fault)));
}

#[test]
fn another_fleet_device_or_key_is_refused() {
    let fleet = FleetId::new([9; 8]);
    assert_eq!(
        check(&Snapshot { fleet, ..snapshot() }),
        Err(SnapshotFault::Fleet { found: fleet, expected: FLEET })
    );
    let device = DeviceId::new([9; 8]);
    assert_eq!(
        check(&Snapshot { device, ..snapshot() }),
        Err(SnapshotFault::Device { found: device, expected: DEVICE })
    );
    let device_key = public(11);
    assert_eq!(check(&Snapshot { device_key, ..snapshot() }), Err(SnapshotFault::DeviceKey));
}

#[test]
fn only_the_epoch_of_the_root_counts() {
    for found in [0, 2] {
        let other = Snapshot { epoch: found, ..snapshot() };
        assert_eq!(check(&other), Err(SnapshotFault::Epoch { found, expected: 1 }));
    }
}

#[test]
fn the_floor_refuses_the_past_and_a_second_story_but_not_a_repetition() {
    let root = root();
    let bytes = sealed(&snapshot());
    let with =
        |floor| verify(&bytes, &Expectation { floor, ..expectation(&root) }).map(|v| v.floor().version);
    let same = digest(&snapshot());
    let other = Digest::of(&[b"other"]);
    assert_eq!(with(floor(1, 4, other)), Ok(5));
    assert_eq!(with(floor(1, 5, same)), Ok(5));
    assert_eq!(with(floor(1, 5, other)), Err(SnapshotFault::Equivocation { version: 5 }));
    assert_eq!(with(floor(1, 6, same)), Err(SnapshotFault::Rollback { found: 5, floor: 6 }));
    // A higher epoch begins its versions anew; a floor of a later epoch than the root's refuses everything older.
    assert_eq!(with(floor(0, u64::MAX, other)), Ok(5));
    assert_eq!(with(floor(2, 1, other)), Err(SnapshotFault::Rollback { found: 5, floor: 1 }));
}

#[test]
fn an_expired_snapshot_is_still_the_newest_word_and_is_accepted() {
    let old = Snapshot {
        issued: crate::time::UnixTime::EPOCH,
        expires: crate::time::UnixTime::from_secs(1),
        ..snapshot()
    };
    assert_eq!(check(&old).map(|floor| floor.version), Ok(5));
}

#[test]
fn the_form_is_checked_last() {
    let twice = Snapshot { grants: vec![grant(); 2], ..snapshot() };
    assert_eq!(check(&twice), Err(SnapshotFault::Form(FormFault::Order { list: "grants" })));
    let epoch = Snapshot { epoch: 2, ..twice };
    assert_eq!(check(&epoch), Err(SnapshotFault::Epoch { found: 2, expected: 1 }));
}
