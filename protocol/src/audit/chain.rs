//! The chain: `link(n) = SHA-256("postern/v1/audit" 0x00 | link(n - 1) | encoded row n)`, and 32 zero bytes before row 1.
//!
//! A changed, removed, inserted or swapped row breaks every later link. The chain alone does not show that the
//! newest rows are missing, nor does it stop root on the router from writing a new one.

use super::row::{ROW_BYTES, Row};
use crate::trust::Digest;
use crate::wire::codec::{self, CodecFault};

/// The link of one row.
pub type Link = Digest;

/// The link before the first row.
pub const ORIGIN: Link = Digest::new([0; 32]);

/// The first thing that is wrong with a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// A row is missing, inserted or out of place.
    #[error("row {found} stands where row {expected} belongs")]
    Sequence {
        /// Sequence number seen.
        found: u64,
        /// Sequence number expected.
        expected: u64,
    },
    /// Rows that the cloud has acknowledged are missing at the end.
    #[error("the rows end with {found}, the cloud has acknowledged rows up to {acknowledged}")]
    Missing {
        /// The newest row.
        found: u64,
        /// The newest row that was acknowledged.
        acknowledged: u64,
    },
    /// The rows are not those that were signed, or acknowledged, up to here.
    #[error("the rows up to {seq} are not those that were signed or acknowledged")]
    Rewritten {
        /// The row that was signed for.
        seq: u64,
    },
    /// A row or link was changed.
    #[error("row {seq} does not match its link")]
    Link {
        /// The first row that is wrong.
        seq: u64,
    },
    /// A row cannot be read.
    #[error("row {expected} cannot be read: {fault}")]
    Codec {
        /// Sequence number expected.
        expected: u64,
        /// What is wrong.
        fault: CodecFault,
    },
}

/// Encodes a row and computes its link.
///
/// # Errors
/// A [`CodecFault`] for a row above [`ROW_BYTES`].
pub fn append(previous: &Link, row: &Row) -> Result<(Vec<u8>, Link), CodecFault> {
    let bytes = codec::encode(row, ROW_BYTES)?;
    let link = link(previous, &bytes);
    Ok((bytes, link))
}

/// Verifies rows that follow `previous`, which is the link of row `first - 1`, and returns the last link.
///
/// # Errors
/// The first [`ChainFault`].
pub fn verify_chain<'a>(
    mut previous: Link,
    first: u64,
    rows: impl IntoIterator<Item = (&'a [u8], Link)>,
) -> Result<Link, ChainFault> {
    for (expected, (bytes, claimed)) in (first..).zip(rows) {
        let row: Row =
            codec::decode(bytes, ROW_BYTES).map_err(|fault| ChainFault::Codec { expected, fault })?;
        if row.seq != expected {
            return Err(ChainFault::Sequence { found: row.seq, expected });
        }
        if link(&previous, bytes) != claimed {
            return Err(ChainFault::Link { seq: expected });
        }
        previous = claimed;
    }
    Ok(previous)
}

/// The link of an encoded row.
#[must_use]
pub fn link(previous: &Link, row: &[u8]) -> Link {
    Digest::of(&[b"postern/v1/audit\0", previous.as_bytes(), row])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Event;
    use crate::time::UnixTime;

    fn trail(count: u64) -> Vec<(Vec<u8>, Link)> {
        let mut last = ORIGIN;
        (1..=count)
            .map(|seq| {
                let row = Row { seq, at: UnixTime::from_secs(seq), event: Event::Stopped };
                let (bytes, link) = append(&last, &row).unwrap();
                last = link;
                (bytes, link)
            })
            .collect()
    }

    fn check(trail: &[(Vec<u8>, Link)]) -> Result<Link, ChainFault> {
        verify_chain(ORIGIN, 1, trail.iter().map(|(bytes, link)| (bytes.as_slice(), *link)))
    }

    #[test]
    fn an_untouched_trail_verifies() {
        let rows = trail(5);
        assert_eq!(check(&rows), Ok(rows[4].1));
    }

    #[test]
    fn a_changed_removed_or_swapped_row_is_named() {
        let mut changed = trail(5);
        changed[2].0[1] ^= 1;
        assert_eq!(check(&changed), Err(ChainFault::Link { seq: 3 }));
        let mut removed = trail(5);
        removed.remove(1);
        assert_eq!(check(&removed), Err(ChainFault::Sequence { found: 3, expected: 2 }));
        let mut swapped = trail(5);
        swapped.swap(3, 4);
        assert_eq!(check(&swapped), Err(ChainFault::Sequence { found: 5, expected: 4 }));
    }
}
