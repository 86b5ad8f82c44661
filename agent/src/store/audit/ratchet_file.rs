//! `audit.ratchet`: the key that seals the next row, in a file of its own.
//!
//! The database cannot keep it: its journal holds earlier pages for long, and with them keys that must be gone. The file is
//! written after the commit of the rows, so it may be behind them after a power cut; the keys between are found again by turning
//! it forward. It is never ahead: a file that is shows that the database is an older copy, and the log cannot go on.
//!
//! Flash may keep an older copy of a block in a place that no program reaches.

use std::io;
use std::path::Path;

use postern_protocol::audit::{LogId, Ratchet, RatchetKey};
use postern_protocol::trust::Digest;
use postern_protocol::wire::codec;

use super::super::{StoreError, file};

/// Whether there is one, be it readable or not: a log was here before.
pub(super) fn exists(dir: &Path) -> bool {
    dir.join(FILE).exists()
}

/// The ratchet of a log, as it was written last; none where there is no whole one of this log.
pub(super) fn read(dir: &Path, log: LogId) -> Result<Option<Ratchet>, StoreError> {
    let path = dir.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // It may be readable the next time; nothing is begun anew for a moment's sake.
        Err(error) => return Err(StoreError::Io { path, error }),
    };
    let whole =
        bytes.split_last_chunk::<32>().filter(|(body, check)| Digest::of(&[body]).as_bytes() == *check);
    let Some((of, next, key)) = whole.and_then(|(body, _)| codec::decode(body, LARGEST).ok()) else {
        return Ok(None);
    };
    let key: RatchetKey = key;
    Ok((log == of).then(|| Ratchet::new(next, key)))
}

/// Keeps the key of the next row; the keys before it are gone with this.
pub(super) fn write(dir: &Path, log: LogId, ratchet: &Ratchet) -> Result<(), StoreError> {
    let mut bytes = codec::encode(&(log, ratchet.next(), ratchet.key()), LARGEST)?;
    let check = Digest::of(&[&bytes]);
    bytes.extend_from_slice(check.as_bytes());
    file::replace(dir, FILE, &bytes)
}

pub(in crate::store) const FILE: &str = "audit.ratchet";
const LARGEST: usize = 64;
