//! Flash that has changed: bytes, sectors and pages of both databases and their journals, at random. What is damaged is set aside
//! or not believed, the hub heals it, and nobody is let in meanwhile whom the newest policy does not let in.

use postern_disk::{Dice, Image};
use postern_protocol::policy::Reason;

use crate::identity;

use super::life::{Life, directory, enrol, holding, lock, policy};

/// The files of a device at two moments: version 2, which grants; and version 4, which grants too, under a lock.
struct Times {
    older: Image,
    newer: Image,
}

impl Times {
    async fn of(sudden: bool) -> Self {
        let dir = directory();
        // The same bytes in every run, so that a seed damages the same ones.
        let key = "07".repeat(32).into_bytes();
        postern_disk::write(dir.path(), &Image::from([(identity::FILE.to_owned(), key)]));
        enrol(dir.path()).unwrap();
        let mut life = Life::start(dir.path()).await.unwrap();
        let key = life.core.keys.public();
        assert!(life.take(policy(2, key, 0)).await);
        life.paid().await;
        let older = postern_disk::read(dir.path());
        for number in 0..20 {
            assert!(life.record(number).await);
        }
        assert!(life.take(policy(4, key, 0)).await);
        assert!(life.activator.take_lock(lock(1)).await);
        life.paid().await;
        let running = postern_disk::read(dir.path());
        life.end().await;
        Self { older, newer: if sudden { running } else { postern_disk::read(dir.path()) } }
    }
}

/// Damages one file, and says how.
fn damage(dice: &mut Dice, file: &mut Vec<u8>, older: Option<&Vec<u8>>) -> String {
    let pages = file.len() / PAGE;
    let page = |dice: &mut Dice| {
        let from = dice.below(pages.max(1)) * PAGE;
        from..(from + PAGE).min(file.len())
    };
    match dice.below(8) {
        0..3 => {
            let count = 1 + dice.below(8);
            let mut places = Vec::new();
            for _ in 0..count {
                let place = used_byte(dice, file);
                file[place] ^= 1 << dice.below(8);
                places.push(place);
            }
            format!("bits in bytes {places:?}")
        }
        3 => {
            let place = page(dice);
            file[place.clone()].fill_with(|| dice.draw().to_le_bytes()[0]);
            format!("noise in {place:?}")
        }
        4 => {
            let from = dice.below(file.len().div_ceil(SECTOR)) * SECTOR;
            let to = (from + SECTOR).min(file.len());
            file[from..to].fill(if dice.once_in(2) { 0 } else { 0xff });
            format!("an empty sector at {from}")
        }
        5 => {
            let (to, from) = (page(dice), page(dice));
            let copy = file[from.clone()].to_vec();
            let size = copy.len().min(to.len());
            file[to.start..to.start + size].copy_from_slice(&copy[..size]);
            format!("{from:?} at {to:?}")
        }
        6 => {
            let kept = dice.below(file.len());
            file.truncate(kept);
            format!("only {kept} bytes")
        }
        _ => {
            let place = page(dice);
            let before = older.and_then(|older| older.get(place.clone())).map(<[u8]>::to_vec);
            match before {
                Some(before) => file[place.clone()].copy_from_slice(&before),
                None => file[place.clone()].fill(0),
            }
            format!("{place:?} as it was")
        }
    }
}

/// A byte that is not in one of the long stretches of zeros.
fn used_byte(dice: &mut Dice, file: &[u8]) -> usize {
    let used: Vec<usize> = (0..file.len()).filter(|place| file[*place] != 0).collect();
    if used.is_empty() { dice.below(file.len()) } else { used[dice.below(used.len())] }
}

/// Starts on a damaged disk, and lets the hub heal it. Whether the policy was in force at once.
async fn survive(image: &Image, what: &str) -> bool {
    let dir = holding(image);
    let start = async || {
        let started = Life::start(dir.path()).await;
        started.unwrap_or_else(|error| panic!("it does not start: {error}: {what}"))
    };
    let mut life = start().await;
    // The newest policy under its lock, or nothing at all.
    match life.version() {
        Some(version) => assert_eq!((version, life.denied()), (4, Some(Reason::UserDisabled)), "{what}"),
        None => assert_eq!(life.denied(), Some(Reason::NoPolicy), "{what}"),
    }
    let was_in_force = life.version().is_some();
    assert_eq!(life.floor(), Some(4), "the floor is lower: {what}");
    let key = life.core.keys.public();
    assert!(!life.take(policy(2, key, 0)).await, "an old policy comes back: {what}");
    // The hub sends both again. What is wanting on the disk afterwards is asked for with the next link.
    let _stored = life.take(policy(4, key, 0)).await;
    let _stored = life.activator.take_lock(lock(1)).await;
    assert_eq!((life.version(), life.denied()), (Some(4), Some(Reason::UserDisabled)), "{what}");
    life.confirm().await;
    life.end().await;
    life = start().await;
    assert!(life.record(1000).await, "the trail takes no rows: {what}");
    assert_eq!(
        (life.version(), life.denied()),
        (Some(4), Some(Reason::UserDisabled)),
        "after healing: {what}"
    );
    assert!(life.take(policy(6, key, 1)).await, "the next version is not stored: {what}");
    assert_eq!(life.denied(), None, "{what}");
    life.end().await;
    life = start().await;
    assert_eq!((life.version(), life.denied()), (Some(6), None), "{what}");
    life.end().await;
    was_in_force
}

/// Damages each of these files as often as is said.
async fn damaged(files: &[&str], sudden: bool, worlds: u64) {
    let Times { older, newer } = Times::of(sudden).await;
    let seed = Dice::seed(0);
    let mut in_force = 0;
    for world in seed..seed + worlds {
        let mut dice = Dice::new(world);
        let name = files[dice.below(files.len())];
        let mut image = newer.clone();
        let file = image.get_mut(name).unwrap();
        let how: Vec<_> = (0..=dice.below(2))
            .map(|_| if file.is_empty() { String::new() } else { damage(&mut dice, file, older.get(name)) })
            .collect();
        let what = format!("POSTERN_SEED={world}: {name}: {how:?}");
        in_force += u64::from(survive(&image, &what).await);
    }
    // Some damage hits what is not used, and some does not.
    assert!((1..worlds).contains(&in_force), "{in_force} of {worlds} were served at once");
}

/// Every byte of the heads of both databases, in which SQLite believes numbers as they are.
#[tokio::test]
async fn a_changed_head_is_set_aside_or_means_nothing() {
    let Times { newer, .. } = Times::of(false).await;
    for (name, place) in
        ["policy.db", "audit.db"].into_iter().flat_map(|name| (0..100).map(move |at| (name, at)))
    {
        let mut dice = Dice::new(Dice::seed(0) + u64::try_from(place).unwrap());
        let mut image = newer.clone();
        let bit = dice.below(8);
        image.get_mut(name).unwrap()[place] ^= 1 << bit;
        survive(&image, &format!("bit {bit} of byte {place} of {name}")).await;
    }
}

const PAGE: usize = 4096;
const SECTOR: usize = 512;

#[tokio::test]
async fn a_damaged_policy_is_set_aside_or_serves_as_it_was() {
    damaged(&["policy.db"], false, 400).await;
}

#[tokio::test]
async fn damaged_journals_serve_what_is_newest_or_nothing() {
    damaged(&["policy.db-wal", "audit.db-wal", "policy.db"], true, 300).await;
}

#[tokio::test]
async fn a_damaged_trail_lets_nobody_in_and_keeps_nobody_out() {
    damaged(&["audit.db", "audit.db", "policy.db"], false, 200).await;
}

#[tokio::test]
async fn damaged_copies_beside_the_databases_change_nothing() {
    damaged(&["floor.a", "floor.b", "enrollment", "policy.db"], false, 100).await;
}
