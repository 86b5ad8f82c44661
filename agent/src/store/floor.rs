//! The version floor once more, outside the database: two small files of which one is always whole.
//!
//! A database that is restored from a backup, or lost, would forget which versions were accepted. The larger of
//! database and files holds. Each write replaces the older file: checksum, fsync, rename, fsync of the directory.
//! A floor names whose it is: one of an earlier enrolment with another cloud says nothing about this one.

use std::path::Path;

use serde::{Deserialize, Serialize};

use postern_protocol::policy::Floor;
use postern_protocol::trust::Digest;
use postern_protocol::wire::codec;

use super::{StoreError, file};

/// What the files say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copies {
    /// The larger floor.
    pub(super) newest: Option<Floor>,
    /// Whether a file is there that cannot be read.
    pub(super) damaged: bool,
}

/// Reads both files, as far as they are about `owner`.
pub(super) fn read(dir: &Path, owner: &Digest) -> Copies {
    let copies = FILES.map(|name| one(dir, name, owner));
    Copies {
        newest: copies.iter().filter_map(|copy| copy.as_ref().ok().copied().flatten()).max(),
        damaged: copies.iter().any(Result::is_err),
    }
}

/// Writes `floor` over the older file.
pub(super) fn write(dir: &Path, owner: &Digest, floor: Floor) -> Result<(), StoreError> {
    let [a, b] = FILES.map(|name| one(dir, name, owner).ok().flatten());
    let [first, second] = FILES;
    let name = if a <= b { first } else { second };
    let body = codec::encode(&Stored::new(*owner, floor), LARGEST)?;
    let check = Digest::of(&[&body]);
    file::replace(dir, name, &[check.as_bytes().as_slice(), &body].concat())
}

fn one(dir: &Path, name: &str, owner: &Digest) -> Result<Option<Floor>, Damaged> {
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
    Ok(Some(stored).filter(|stored| stored.owner == *owner).map(Floor::from))
}

#[derive(Debug)]
struct Damaged;

#[derive(Serialize, Deserialize)]
struct Stored {
    owner: Digest,
    epoch: u32,
    version: u64,
    digest: Digest,
}

impl Stored {
    const fn new(owner: Digest, Floor { epoch, version, digest }: Floor) -> Self {
        Self { owner, epoch, version, digest }
    }
}

impl From<Stored> for Floor {
    fn from(Stored { epoch, version, digest, .. }: Stored) -> Self {
        Self { epoch, version, digest }
    }
}

pub(super) const FILES: [&str; 2] = ["floor.a", "floor.b"];
const LARGEST: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Digest = Digest::new([1; 32]);

    fn floor(version: u64) -> Floor {
        Floor { epoch: 1, version, digest: Digest::new([7; 32]) }
    }

    #[test]
    fn the_newest_floor_survives_damage_of_the_older_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), &OWNER), Copies { newest: None, damaged: false });
        for version in 1..=4 {
            write(dir.path(), &OWNER, floor(version)).unwrap();
            assert_eq!(read(dir.path(), &OWNER).newest, Some(floor(version)));
        }
        let older = FILES
            .map(|name| (one(dir.path(), name, &OWNER).unwrap().unwrap().version, name))
            .into_iter()
            .min();
        std::fs::write(dir.path().join(older.unwrap().1), b"damaged").unwrap();
        assert_eq!(read(dir.path(), &OWNER), Copies { newest: Some(floor(4)), damaged: true });
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
