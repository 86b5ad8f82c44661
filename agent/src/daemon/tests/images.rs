//! Files that are missing, of another time, or of another journal: a backup that was put back, a journal that was lost.

use postern_disk::Image;
use postern_protocol::policy::Reason;

use super::life::{Life, directory, enrol, holding, lock, policy};

/// The files of a device while it runs: with version 2, which grants; with version 3, which withdraws; with version 4, which grants;
/// and with a lock beside that.
async fn times() -> [Image; 4] {
    let dir = directory();
    enrol(dir.path()).unwrap();
    let mut life = Life::start(dir.path()).await.unwrap();
    let key = life.core.keys.public();
    let mut times = Vec::new();
    for version in 2..=4 {
        assert!(life.take(policy(version, key, 0)).await);
        life.paid().await;
        times.push(postern_disk::read(dir.path()));
    }
    assert!(life.activator.take_lock(lock(1)).await);
    life.paid().await;
    times.push(postern_disk::read(dir.path()));
    life.end().await;
    times.try_into().unwrap()
}

/// `image` with files of another time in their places.
fn with(image: &Image, other: &Image, names: &[&str]) -> Image {
    let mut mixed = image.clone();
    for name in names {
        match other.get(*name) {
            Some(content) => mixed.insert((*name).to_owned(), content.clone()),
            None => mixed.remove(*name),
        };
    }
    mixed
}

/// What is in force after a start, and why the usual user is denied.
async fn started(image: &Image) -> (Option<u64>, Option<Reason>, Option<u64>) {
    let dir = holding(image);
    let life = Life::start(dir.path()).await.unwrap();
    let found = (life.version(), life.denied(), life.floor());
    life.end().await;
    found
}

/// A hub that sends everything again makes it whole, for good.
async fn heals(image: &Image) {
    let dir = holding(image);
    let mut life = Life::start(dir.path()).await.unwrap();
    let key = life.core.keys.public();
    let _stored = life.take(policy(4, key, 0)).await;
    let _stored = life.activator.take_lock(lock(1)).await;
    life.confirm().await;
    life.end().await;
    let mut life = Life::start(dir.path()).await.unwrap();
    assert_eq!((life.version(), life.denied()), (Some(4), Some(Reason::UserDisabled)));
    assert!(life.take(policy(6, key, 1)).await);
    life.end().await;
    let life = Life::start(dir.path()).await.unwrap();
    assert_eq!((life.version(), life.denied()), (Some(6), None));
    life.end().await;
}

const POLICY: [&str; 2] = ["policy.db", "policy.db-wal"];
const TRAIL: [&str; 2] = ["audit.db", "audit.db-wal"];
const MARKS: [&str; 2] = ["floor.a", "floor.b"];

#[tokio::test]
async fn a_policy_that_was_put_back_is_not_believed_while_anything_remembers() {
    let [granting, withdrawn, _, _] = times().await;
    assert_eq!(started(&granting).await, (Some(2), None, Some(2)));
    assert_eq!(started(&withdrawn).await, (Some(3), Some(Reason::NoGrant), Some(3)));
    for image in [
        with(&withdrawn, &granting, &POLICY),
        with(&withdrawn, &granting, &[POLICY, TRAIL].concat()),
        with(&with(&withdrawn, &granting, &POLICY), &Image::new(), &["floor.a"]),
        with(&with(&withdrawn, &granting, &POLICY), &Image::new(), &["floor.b"]),
        // The trail remembers, where the policy remembers nothing.
        with(&withdrawn, &Image::new(), &[POLICY, MARKS].concat()),
    ] {
        assert_eq!(started(&image).await, (None, Some(Reason::NoPolicy), Some(3)));
        heals(&image).await;
    }
}

#[tokio::test]
async fn marks_and_a_trail_that_were_put_back_lower_nothing() {
    let [granting, withdrawn, _, _] = times().await;
    for names in [MARKS, TRAIL] {
        let image = with(&withdrawn, &granting, &names);
        assert_eq!(started(&image).await, (Some(3), Some(Reason::NoGrant), Some(3)));
    }
}

#[tokio::test]
async fn a_journal_that_is_lost_or_stale_brings_no_old_policy_back() {
    let [granting, withdrawn, _, _] = times().await;
    for image in [
        with(&withdrawn, &Image::new(), &["policy.db-wal"]),
        with(&withdrawn, &granting, &["policy.db-wal"]),
        with(&withdrawn, &granting, &["policy.db"]),
    ] {
        let (version, denied, floor) = started(&image).await;
        assert!(
            [(None, Some(Reason::NoPolicy)), (Some(3), Some(Reason::NoGrant))].contains(&(version, denied))
        );
        assert_eq!(floor, Some(3));
        heals(&image).await;
    }
}

#[tokio::test]
async fn a_journal_that_is_lost_takes_no_lock_with_it() {
    let [_, _, granting, locked] = times().await;
    assert_eq!(started(&granting).await, (Some(4), None, Some(4)));
    assert_eq!(started(&locked).await, (Some(4), Some(Reason::UserDisabled), Some(4)));
    // The same policy, and a lock that only the marks remember.
    let image = with(&locked, &granting, &POLICY);
    assert_eq!(started(&image).await, (None, Some(Reason::NoPolicy), Some(4)));
    heals(&image).await;
}

#[tokio::test]
async fn memory_of_another_journal_is_made_anew() {
    let [granting, withdrawn, _, locked] = times().await;
    for (image, expected) in [
        (&granting, (Some(2), None, Some(2))),
        (&withdrawn, (Some(3), Some(Reason::NoGrant), Some(3))),
        (&locked, (Some(4), Some(Reason::UserDisabled), Some(4))),
    ] {
        for noise in [vec![0; 32768], vec![0xa5; 32768], vec![1; 100], Vec::new()] {
            let dir = holding(image);
            for name in ["policy.db-shm", "audit.db-shm"] {
                std::fs::write(dir.path().join(name), &noise).unwrap();
            }
            let life = Life::start(dir.path()).await.unwrap();
            assert_eq!((life.version(), life.denied(), life.floor()), expected);
            life.end().await;
        }
    }
}

#[tokio::test]
async fn a_policy_that_was_set_aside_has_no_time_without_the_cloud_left() {
    let [mut granting, ..] = times().await;
    granting.insert("policy.db".to_owned(), vec![0x5a; 20_000]);
    let dir = holding(&granting);
    let mut life = Life::start(dir.path()).await.unwrap();
    assert!(life.take(policy(2, life.core.keys.public(), 0)).await);
    assert_eq!(life.denied(), Some(Reason::PolicyStale));
    life.confirm().await;
    assert_eq!(life.denied(), None);
    life.end().await;
}

#[tokio::test]
async fn recordings_that_cannot_be_looked_at_keep_nobody_from_what_is_not_recorded() {
    let [mut granting, ..] = times().await;
    granting.insert("recordings".to_owned(), b"no directory any more".to_vec());
    assert_eq!(started(&granting).await, (Some(2), None, Some(2)));
}

#[tokio::test]
async fn a_device_that_lost_everything_but_its_key_and_the_copy_of_its_enrolment_asks_its_hub() {
    let [.., locked] = times().await;
    let image = with(&locked, &Image::new(), &[POLICY, TRAIL, MARKS].concat());
    assert_eq!(started(&image).await, (None, Some(Reason::NoPolicy), None));
    heals(&image).await;
}
