//! The version floor once more, outside the database: two small files of which one is always whole.
//!
//! A database that is restored from a backup, or lost, would forget which versions were accepted. The larger of
//! database and files holds. Each write replaces the older file: checksum, fsync, rename, fsync of the directory.

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

/// Reads both files.
pub(super) fn read(dir: &Path) -> Copies {
    let copies = FILES.map(|name| one(dir, name));
    Copies {
        newest: copies.iter().filter_map(|copy| copy.as_ref().ok().copied().flatten()).max(),
        damaged: copies.iter().any(Result::is_err),
    }
}

/// Writes `floor` over the older file.
pub(super) fn write(dir: &Path, floor: Floor) -> Result<(), StoreError> {
    let [a, b] = FILES.map(|name| one(dir, name).ok().flatten());
    let [first, second] = FILES;
    let name = if a <= b { first } else { second };
    let body = codec::encode(&Stored::from(floor), LARGEST)?;
    let check = Digest::of(&[&body]);
    file::replace(dir, name, &[check.as_bytes().as_slice(), &body].concat())
}

fn one(dir: &Path, name: &str) -> Result<Option<Floor>, Damaged> {
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
    Ok(Some(stored.into()))
}

#[derive(Debug)]
struct Damaged;

#[derive(Serialize, Deserialize)]
struct Stored {
    epoch: u32,
    version: u64,
    digest: Digest,
}

impl From<Floor> for Stored {
    fn from(Floor { epoch, version, digest }: Floor) -> Self {
        Self { epoch, version, digest }
    }
}

impl From<Stored> for Floor {
    fn from(Stored { epoch, version, digest }: Stored) -> Self {
        Self { epoch, version, digest }
    }
}

const FILES: [&str; 2] = ["floor.a", "floor.b"];
const LARGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn floor(version: u64) -> Floor {
        Floor { epoch: 1, version, digest: Digest::new([7; 32]) }
    }

    #[test]
    fn the_newest_floor_survives_damage_of_the_older_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), Copies { newest: None, damaged: false });
        for version in 1..=4 {
            write(dir.path(), floor(version)).unwrap();
            assert_eq!(read(dir.path()).newest, Some(floor(version)));
        }
        let older =
            FILES.map(|name| (one(dir.path(), name).unwrap().unwrap().version, name)).into_iter().min();
        std::fs::write(dir.path().join(older.unwrap().1), b"damaged").unwrap();
        assert_eq!(read(dir.path()), Copies { newest: Some(floor(4)), damaged: true });
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), floor(9)).unwrap();
        let path = dir.path().join("floor.a");
        let whole = std::fs::read(&path).unwrap();
        for i in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[i] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            assert_eq!(read(dir.path()), Copies { newest: None, damaged: true }, "byte {i}");
        }
    }
}
