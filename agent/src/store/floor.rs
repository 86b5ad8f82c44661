//! The version floor once more, outside the database, with the highest lock: two small files of which one is always whole.
//!
//! A database that is restored from a backup, or lost, would forget which versions were accepted, and one that lost its journal which
//! locks were taken since. The larger of database and files holds. Each write replaces the older file: checksum, fsync, rename,
//! fsync of the directory.
//! A floor names whose it is: one of an earlier enrolment with another cloud says nothing about this one.

use std::path::Path;

use serde::{Deserialize, Serialize};

use postern_protocol::policy::{Floor, LockPlace};
use postern_protocol::trust::Digest;
use postern_protocol::wire::codec;

use super::{StoreError, file};

/// What the files say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copies {
    /// The larger mark.
    pub(super) newest: Option<Mark>,
    /// Whether a file is there that cannot be read, or one of them is missing.
    pub(super) damaged: bool,
}

/// What the database held when it was last changed in this respect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) floor: Floor,
    /// The highest lock that was held beside the policy of this floor.
    pub(super) lock: Option<LockPlace>,
}

/// Reads both files, as far as they are about `owner`.
pub(super) fn read(dir: &Path, owner: &Digest) -> Copies {
    let copies = FILES.map(|name| one(dir, name, owner));
    Copies {
        newest: copies.iter().filter_map(|copy| copy.as_ref().ok().copied().flatten()).max(),
        damaged: copies.iter().any(Result::is_err) || is_one_missing(dir),
    }
}

/// Writes `mark` over the older file.
pub(super) fn write(dir: &Path, owner: &Digest, mark: Mark) -> Result<(), StoreError> {
    let [a, b] = FILES.map(|name| one(dir, name, owner).ok().flatten());
    let [first, second] = FILES;
    let name = if a <= b { first } else { second };
    let body = codec::encode(&Stored::new(*owner, mark), LARGEST)?;
    let check = Digest::of(&[&body]);
    file::replace(dir, name, &[check.as_bytes().as_slice(), &body].concat())
}

/// Both are written when a device is enrolled; the one that is missing may have been the newer.
fn is_one_missing(dir: &Path) -> bool {
    let [a, b] = FILES.map(|name| dir.join(name).exists());
    a != b
}

fn one(dir: &Path, name: &str, owner: &Digest) -> Result<Option<Mark>, Damaged> {
    let bytes = match std::fs::read(dir.join(name)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(_) => return Err(Damaged),
    };
    let (check, body) = bytes.split_first_chunk::<32>().ok_or(Damaged)?;
    if Digest::of(&[body]).as_bytes() != check {
        return Err(Damaged);
    }
    let stored: Stored = codec::decode(body, LARGEST).map_err(|_| Damaged)?;
    Ok(Some(stored).filter(|stored| stored.owner == *owner).map(Mark::from))
}

#[derive(Debug)]
struct Damaged;

#[derive(Serialize, Deserialize)]
struct Stored {
    owner: Digest,
    epoch: u32,
    version: u64,
    digest: Digest,
    lock: Option<(u32, u64)>,
}

impl Stored {
    fn new(owner: Digest, Mark { floor: Floor { epoch, version, digest }, lock }: Mark) -> Self {
        Self { owner, epoch, version, digest, lock: lock.map(|place| (place.epoch, place.sequence)) }
    }
}

impl From<Stored> for Mark {
    fn from(Stored { epoch, version, digest, lock, .. }: Stored) -> Self {
        let lock = lock.map(|(epoch, sequence)| LockPlace { epoch, sequence });
        Self { floor: Floor { epoch, version, digest }, lock }
    }
}

pub(super) const FILES: [&str; 2] = ["floor.a", "floor.b"];
const LARGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Digest = Digest::new([1; 32]);

    fn floor(version: u64) -> Mark {
        let lock = Some(LockPlace { epoch: 1, sequence: version + 1 });
        Mark { floor: Floor { epoch: 1, version, digest: Digest::new([7; 32]) }, lock }
    }

    #[test]
    fn the_newest_floor_survives_damage_of_the_older_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), &OWNER), Copies { newest: None, damaged: false });
        for version in 1..=4 {
            write(dir.path(), &OWNER, floor(version)).unwrap();
            assert_eq!(read(dir.path(), &OWNER).newest, Some(floor(version)));
        }
        let older =
            FILES.map(|name| (one(dir.path(), name, &OWNER).unwrap().unwrap(), name)).into_iter().min();
        std::fs::write(dir.path().join(older.unwrap().1), b"damaged").unwrap();
        assert_eq!(read(dir.path(), &OWNER), Copies { newest: Some(floor(4)), damaged: true });
    }

    #[test]
    fn a_lock_beside_the_same_policy_is_the_newer_mark() {
        let dir = tempfile::tempdir().unwrap();
        for lock in
            [None, Some(LockPlace { epoch: 1, sequence: 1 }), Some(LockPlace { epoch: 1, sequence: 2 })]
        {
            write(dir.path(), &OWNER, Mark { lock, ..floor(1) }).unwrap();
            assert_eq!(read(dir.path(), &OWNER).newest, Some(Mark { lock, ..floor(1) }));
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &OWNER, floor(9)).unwrap();
        let path = dir.path().join("floor.a");
        let whole = std::fs::read(&path).unwrap();
        for i in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[i] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            assert_eq!(read(dir.path(), &OWNER), Copies { newest: None, damaged: true }, "byte {i}");
        }
    }

    #[test]
    fn the_floor_of_an_earlier_enrolment_says_nothing_and_is_the_older_file() {
        let dir = tempfile::tempdir().unwrap();
        let other = Digest::new([2; 32]);
        write(dir.path(), &OWNER, floor(8)).unwrap();
        write(dir.path(), &OWNER, floor(9)).unwrap();
        assert_eq!(read(dir.path(), &other), Copies { newest: None, damaged: false });
        write(dir.path(), &other, floor(1)).unwrap();
        assert_eq!(read(dir.path(), &other), Copies { newest: Some(floor(1)), damaged: false });
        write(dir.path(), &other, floor(2)).unwrap();
        assert_eq!(read(dir.path(), &OWNER), Copies { newest: None, damaged: false });
    }
}
