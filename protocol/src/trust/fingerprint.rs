//! A public key in a form that two people can compare over the telephone.
//!
//! The first 160 bits of SHA-256 over the key, in Base32 (RFC 4648, lower case): eight groups of four characters.
//! Nobody can make a second key with the same 160 bits, so what is compared whole identifies the key.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD_NOCASE;
use serde::{Serialize, Serializer};

use super::digest::Digest;
use super::keys::PublicKey;

/// The fingerprint of a public key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; BYTES]);

/// Text that is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has eight groups of four characters, such as `abcd-2345-..`")]
pub struct FingerprintFault;

impl Fingerprint {
    /// The fingerprint of `key`.
    #[must_use]
    pub fn of(key: &PublicKey) -> Self {
        let digest = Digest::of(&[key.as_bytes()]);
        Self(digest.as_bytes().first_chunk().copied().unwrap_or_default())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintFault;

    /// Takes what people type: blanks, hyphens and capitals do not matter, and every character counts.
    fn from_str(text: &str) -> Result<Self, FingerprintFault> {
        let digits: String = text.chars().filter(|c| !matches!(c, '-' | ' ')).take(DIGITS + 1).collect();
        let bytes = BASE32_NOPAD_NOCASE.decode(digits.as_bytes()).map_err(|_| FingerprintFault)?;
        bytes.try_into().map(Self).map_err(|_| FingerprintFault)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = BASE32_NOPAD_NOCASE.encode(&self.0).to_ascii_lowercase();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && i % GROUP == 0 {
                f.write_str("-")?;
            }
            fmt::Write::write_char(f, digit)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

const BYTES: usize = 20;
const DIGITS: usize = 32;
const GROUP: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::SecretKey;

    fn key(seed: u8) -> PublicKey {
        SecretKey::from_seed([seed; 32]).unwrap().public()
    }

    #[test]
    fn a_fingerprint_is_eight_groups_of_four_and_the_digest_s_beginning() {
        let key = key(10);
        let text = key.fingerprint().to_string();
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        assert_eq!(lengths, [4; 8]);
        let digest = Digest::of(&[key.as_bytes()]);
        let expected = BASE32_NOPAD_NOCASE.encode(&digest.as_bytes()[..20]).to_ascii_lowercase();
        assert_eq!(text.replace('-', ""), expected);
    }

    #[test]
    fn what_people_type_is_compared_whole() {
        let fingerprint = key(10).fingerprint();
        let text = fingerprint.to_string();
        for spelling in [text.clone(), text.to_uppercase(), text.replace('-', " "), text.replace('-', "")] {
            assert_eq!(spelling.parse(), Ok(fingerprint));
        }
        assert_ne!(key(11).fingerprint(), fingerprint);
        let shorter = &text[..text.len() - 1];
        let longer = format!("{text}a");
        let foreign = text.replacen(|_| true, "1", 1);
        for other in [shorter, longer.as_str(), foreign.as_str(), ""] {
            assert_eq!(other.parse::<Fingerprint>(), Err(FingerprintFault), "{other}");
        }
    }
}
