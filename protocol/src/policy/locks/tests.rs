use super::*;
use crate::id::{DeviceId, FleetId};
use crate::time::UnixTime;

fn user(n: u8) -> LockTarget {
    LockTarget::User(UserId::new([n; 8]))
}

fn lock(sequence: u64, targets: &[LockTarget]) -> Lock {
    lock_of(1, sequence, targets)
}

fn lock_of(epoch: u32, sequence: u64, targets: &[LockTarget]) -> Lock {
    let (fleet, device) = (FleetId::new([1; 8]), DeviceId::new([2; 8]));
    Lock { fleet, device, epoch, sequence, issued: UnixTime::EPOCH, targets: targets.to_vec() }
}

const fn place(sequence: u64) -> LockPlace {
    LockPlace { epoch: 1, sequence }
}

#[test]
fn locks_unite_and_a_later_one_that_says_as_much_takes_the_place_of_an_earlier_one() {
    let mut locks = Locks::default();
    let held = |instead_of| Ok(Taken::Held { instead_of });
    assert_eq!(locks.handle_lock(&lock(1, &[user(1)]), 0), held(vec![]));
    // Says less of user 1: both hold.
    assert_eq!(locks.handle_lock(&lock(2, &[user(2)]), 0), held(vec![]));
    assert!(locks.deny_user(UserId::new([1; 8])) && locks.deny_user(UserId::new([2; 8])));
    assert!(!locks.deny_user(UserId::new([3; 8])) && !locks.deny_device());
    assert_eq!(locks.handle_lock(&lock(3, &[user(1), user(2)]), 0), held(vec![place(1), place(2)]));
    assert_eq!(locks.highest(1), 3);
}

#[test]
fn a_replay_adds_nothing_and_takes_nothing_away() {
    let mut locks = Locks::default();
    locks.handle_lock(&lock(1, &[user(1)]), 0).unwrap();
    locks.handle_lock(&lock(2, &[user(1), user(2)]), 0).unwrap();
    let before = locks.clone();
    assert_eq!(locks.handle_lock(&lock(1, &[user(1)]), 0), Ok(Taken::Known));
    assert_eq!(locks.handle_lock(&lock(2, &[user(1), user(2)]), 0), Ok(Taken::Known));
    assert_eq!(locks, before);
}

#[test]
fn a_snapshot_lifts_up_to_its_sequence_and_what_it_lifted_does_not_come_back() {
    let mut locks = Locks::default();
    locks.handle_lock(&lock(1, &[user(1)]), 0).unwrap();
    locks.handle_lock(&lock(2, &[user(2)]), 0).unwrap();
    assert_eq!(locks.handle_snapshot(1, 0), None);
    assert_eq!(locks.handle_snapshot(1, 1), Some(place(1)));
    assert!(!locks.deny_user(UserId::new([1; 8])) && locks.deny_user(UserId::new([2; 8])));
    let fault = LockFault::Cleared { found: 1, cleared: 1 };
    assert_eq!(locks.handle_lock(&lock(1, &[user(1)]), 1), Err(fault));
    assert_eq!(locks.handle_snapshot(1, u64::MAX), Some(place(2)));
    assert!(locks.is_empty());
}

#[test]
fn a_snapshot_of_a_later_epoch_drops_every_lock_of_earlier_ones_and_none_of_its_own() {
    let mut locks = Locks::default();
    locks.handle_lock(&lock_of(1, u64::MAX, &[LockTarget::Device]), 0).unwrap();
    locks.handle_lock(&lock_of(2, 1, &[user(1)]), 0).unwrap();
    assert!(locks.deny_device());
    assert_eq!(locks.handle_snapshot(2, 0), Some(LockPlace { epoch: 1, sequence: u64::MAX }));
    assert!(!locks.deny_device() && locks.deny_user(UserId::new([1; 8])));
}

#[test]
fn beyond_the_bound_the_whole_device_is_locked_until_everything_is_lifted() {
    let mut locks = Locks::default();
    let count = u8::try_from(limits::LOCKS).unwrap();
    for n in 1..=count {
        assert_eq!(locks.handle_lock(&lock(n.into(), &[user(n)]), 0), Ok(Taken::Held { instead_of: vec![] }));
        assert!(!locks.deny_device());
    }
    // The one too many is older than the last: the place is that of the newest.
    let place_of_all = place(count.into());
    assert_eq!(locks.handle_lock(&lock(1, &[user(99)]), 0), Ok(Taken::Collapsed(place_of_all)));
    assert!(locks.deny_device());
    for n in 1..=count {
        assert_eq!(locks.handle_lock(&lock(n.into(), &[user(n)]), 0), Ok(Taken::Known));
    }
    assert_eq!(locks.handle_snapshot(1, u64::from(count) - 1), None);
    assert_eq!(locks.handle_snapshot(1, count.into()), Some(place_of_all));
    assert!(locks.is_empty());
}

#[test]
fn what_cannot_be_read_any_more_locks_the_whole_device() {
    let mut locks = Locks::default();
    locks.restore(place(4), b"");
    assert!(locks.deny_device());
    assert_eq!(locks.highest(1), 4);
    assert_eq!(locks.handle_snapshot(1, 3), None);
    assert_eq!(locks.handle_snapshot(1, 4), Some(place(4)));
}
