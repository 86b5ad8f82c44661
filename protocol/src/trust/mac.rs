//! HMAC-SHA256 (RFC 2104, FIPS 198-1), where both sides have one key.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroize as _;

/// A message authentication code. It is no secret; the key is.
#[derive(Clone, Copy, Debug)]
pub struct Mac(pub(crate) [u8; 32]);

impl Mac {
    /// The MAC of the concatenation of `parts`.
    #[must_use]
    pub fn of(key: &[u8; 32], parts: &[&[u8]]) -> Self {
        let mut mac = keyed(key);
        for part in parts {
            mac.update(part);
        }
        Self(mac.finalize().into_bytes().into())
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `tag` is the beginning of the MAC of `bytes`, in constant time. How long it must be is the caller's to know.
    #[must_use]
    pub fn verifies(key: &[u8; 32], bytes: &[u8], tag: &[u8]) -> bool {
        let mut mac = keyed(key);
        mac.update(bytes);
        mac.verify_truncated_left(tag).is_ok()
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // A key is filled up with zeros to the block of SHA-256.
    let mut block = [0; 64];
    if let Some(first) = block.first_chunk_mut::<32>() {
        *first = *key;
    }
    let mac = Hmac::new(&block.into());
    block.zeroize();
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_is_that_of_rfc_4231_test_case_2_and_a_key_may_be_shorter_than_its_block() {
        // The key `Jefe`, filled up with zeros as HMAC itself does.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mac = Mac::of(&key, &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(
            data_encoding::HEXLOWER.encode(&mac.0),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert!(Mac::verifies(&key, b"what do ya want for nothing?", &mac.0));
        assert!(Mac::verifies(&key, b"what do ya want for nothing?", &mac.0[..16]));
        assert!(!Mac::verifies(&key, b"what do ya want for nothing!", &mac.0));
        assert!(!Mac::verifies(&[0; 32], b"what do ya want for nothing?", &mac.0));
    }
}
