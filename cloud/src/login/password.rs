//! Passwords at rest: argon2id (RFC 9106) with the crate's parameters (19 MiB, two passes), as PHC strings.

use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

use postern_protocol::wire::hub::Password;

use crate::chance;

/// Hashes a new password.
pub(super) fn hash(password: &Password) -> Option<String> {
    hash_bytes(password.reveal().as_bytes())
}

/// Whether a password is the one of a hash. Without a hash the answer is no, after the same work.
pub(super) fn verify(password: &Password, hash: Option<&str>) -> bool {
    let known = hash.is_some();
    let hash = hash.or(DUMMY.as_deref()).unwrap_or_default();
    let Ok(parsed) = PasswordHash::new(hash) else { return false };
    Argon2::default().verify_password(password.reveal().as_bytes(), &parsed).is_ok() && known
}

/// Makes the hash for unknown users now, so that the first of them does not take longer.
pub(super) fn prepare() {
    LazyLock::force(&DUMMY);
}

fn hash_bytes(password: &[u8]) -> Option<String> {
    let salt = chance::bytes::<16>();
    let hash: PasswordHash = Argon2::default().hash_password_with_salt(password, &salt).ok()?;
    Some(hash.to_string())
}

/// A hash of nobody's password.
static DUMMY: LazyLock<Option<String>> = LazyLock::new(|| hash_bytes(&chance::bytes::<32>()));

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        text.to_owned().try_into().unwrap()
    }

    #[test]
    fn the_right_password_is_accepted_and_its_twin_is_not() {
        let stored = hash(&password("correct horse")).unwrap();
        assert_eq!(stored.split('$').nth(1), Some("argon2id"));
        assert!(verify(&password("correct horse"), Some(&stored)));
        assert!(!verify(&password("correct horsf"), Some(&stored)));
        assert!(!verify(&password("correct horse"), None));
        assert!(!verify(&password("correct horse"), Some("not a hash")));
    }

    #[test]
    fn equal_passwords_have_different_hashes() {
        assert_ne!(hash(&password("correct horse")), hash(&password("correct horse")));
    }
}
