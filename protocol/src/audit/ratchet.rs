//! The ratchet: a key for each row, made of the one before it, which is forgotten.
//!
//! 1. The key of the first row is drawn at random; the cloud gets it over the link before the first row.
//! 2. A row's tag is HMAC-SHA256 of its link under its key; the next key is
//!    `SHA-256("postern/v1/audit-ratchet" 0x00 | key)`, and the key is erased.
//! 3. Who takes a device over finds the key of the *next* row. The rows before it, which the cloud may not have yet, cannot be
//!    written anew with tags that the cloud would take, and their end cannot be cut off: the row that would follow needs a key
//!    that is gone.
//!
//! Only the cloud verifies tags. What others verify is signed by the device ([`Checkpoint`](super::Checkpoint)) and by the
//! cloud ([`Ack`](super::Ack)). Forward security as of Bellare and Yee (CT-RSA 2003).

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Link;
use crate::trust::{Digest, Mac};

/// The key of one row. It is wiped when dropped and prints `redacted`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RatchetKey([u8; 32]);

impl RatchetKey {
    /// Takes 32 random bytes, or a key that was stored.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, for storing the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for RatchetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

/// What shows that a row was written when its key was there: the beginning of its MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tag([u8; 16]);

impl Tag {
    /// Takes a tag that was stored.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Makes or verifies the tags of a log, row after row.
#[derive(Clone, Debug)]
pub struct Ratchet {
    next: u64,
    key: RatchetKey,
}

impl Ratchet {
    /// A ratchet whose next row is `next`, with that row's key.
    #[must_use]
    pub const fn new(next: u64, key: RatchetKey) -> Self {
        Self { next, key }
    }

    /// The row whose key this is.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The key of that row.
    #[must_use]
    pub const fn key(&self) -> &RatchetKey {
        &self.key
    }

    /// The tag of the next row, which has this link. Its key is gone afterwards.
    pub fn seal(&mut self, link: &Link) -> Tag {
        let Mac(mac) = Mac::of(&self.key.0, &[link.as_bytes()]);
        let mut tag = [0; 16];
        tag.iter_mut().zip(mac).for_each(|(to, from)| *to = from);
        self.turn();
        Tag(tag)
    }

    /// Whether the next row, which has this link, was written by whoever held its key. It stays the next one if not.
    pub fn take(&mut self, link: &Link, tag: &Tag) -> bool {
        let holds = Mac::verifies(&self.key.0, link.as_bytes(), &tag.0);
        if holds {
            self.turn();
        }
        holds
    }

    /// Forgets the keys of all rows before `row`; false, and nothing happens, when that is past already.
    #[must_use]
    pub fn forward(&mut self, row: u64) -> bool {
        let is_ahead = self.next <= row;
        while self.next < row {
            self.turn();
        }
        is_ahead
    }

    fn turn(&mut self) {
        self.key = RatchetKey(*Digest::of(&[b"postern/v1/audit-ratchet\0", &self.key.0]).as_bytes());
        self.next = self.next.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratchet() -> Ratchet {
        Ratchet::new(1, RatchetKey::new([7; 32]))
    }

    fn link(row: u8) -> Link {
        Digest::of(&[&[row]])
    }

    #[test]
    fn rows_are_taken_in_their_order_with_their_own_tags() {
        let (mut writer, mut reader) = (ratchet(), ratchet());
        let tags: Vec<Tag> = (1..=3).map(|row| writer.seal(&link(row))).collect();
        assert!(!reader.take(&link(1), &tags[1]), "the tag of another row");
        assert!(!reader.take(&link(2), &tags[0]), "another row under this tag");
        for (row, tag) in (1..).zip(&tags) {
            assert!(reader.take(&link(row), tag));
        }
        assert_eq!((writer.next(), reader.next()), (4, 4));
        assert_eq!(writer.key(), reader.key());
    }

    #[test]
    fn who_has_the_present_key_makes_no_tag_of_a_row_before() {
        let mut genuine = ratchet();
        genuine.seal(&link(1));
        // All that a thief finds; to go on where row 1 would end, the key of row 1 is missing.
        let mut stolen = genuine.clone();
        let mut cloud = ratchet();
        assert!(!cloud.take(&link(9), &stolen.seal(&link(9))), "row 1 written anew");
        assert!(cloud.take(&link(1), &ratchet().seal(&link(1))));
        assert!(cloud.take(&link(9), &genuine.seal(&link(9))), "what the thief writes from now on is taken");
    }

    #[test]
    fn keys_are_found_again_forward_and_never_backward() {
        let mut written = ratchet();
        for row in 1..=5 {
            written.seal(&link(row));
        }
        let mut stored = ratchet();
        assert!(stored.forward(6));
        assert_eq!((stored.next(), stored.key()), (6, written.key()));
        assert!(!stored.forward(5));
        assert_eq!(stored.next(), 6);
    }

    #[test]
    fn the_second_key_and_the_first_tag_have_these_bytes() {
        let mut ratchet = ratchet();
        let tag = ratchet.seal(&Digest::new([1; 32]));
        let expected = Mac::of(&[7; 32], &[&[1; 32]]);
        assert_eq!(tag.as_bytes().as_slice(), &expected.0[..16]);
        let second = Digest::of(&[b"postern/v1/audit-ratchet\0", &[7; 32]]);
        assert_eq!(ratchet.key().as_bytes(), second.as_bytes());
        assert_eq!(format!("{ratchet:?}"), "Ratchet { next: 2, key: redacted }");
    }
}
