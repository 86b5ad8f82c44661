//! Time-based one-time codes (RFC 6238): SHA-1, six digits, 30 seconds, because that is what authenticator apps do.

use data_encoding::BASE32_NOPAD;
use totp_rs::{Algorithm, Builder, Totp};
use zeroize::Zeroizing;

use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;

use crate::chance;

/// A new secret of 160 bits, as RFC 4226 recommends.
pub(super) fn new_secret() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(chance::bytes::<20>().to_vec())
}

/// The step of a code that is right now, one step earlier or later, and after `last`. Codes at or before `last` were
/// used or passed over: who looked over a shoulder cannot use one again.
pub(super) fn check(secret: &[u8], code: &str, now: UnixTime, last: u64) -> Option<u64> {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    totp(secret)?.check(&code, now.as_secs()).filter(|step| *step > last)
}

/// What authenticator apps read.
pub(super) fn uri(secret: &[u8], account: Option<&Name>, user: &Name) -> String {
    let secret = BASE32_NOPAD.encode(secret);
    let holder = account.map(|account| format!("{account}%2F{user}")).unwrap_or_else(|| user.to_string());
    format!(
        "otpauth://totp/Postern:{holder}?secret={secret}&issuer=Postern&algorithm=SHA1&digits=6&period=30"
    )
}

fn totp(secret: &[u8]) -> Option<Totp> {
    let builder = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(6).with_skew(1);
    builder.with_step_duration(30).with_secret(secret.to_vec()).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of the test vectors in RFC 6238 appendix B.
    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn the_vectors_of_the_specification_hold() {
        // Six digits of 94287082 at 59 s and of 07081804 at 1111111109 s.
        assert_eq!(check(SECRET, "287082", UnixTime::from_secs(59), 0), Some(1));
        assert_eq!(check(SECRET, "081804", UnixTime::from_secs(1_111_111_109), 0), Some(37_037_036));
        assert_eq!(check(SECRET, "287083", UnixTime::from_secs(59), 0), None);
    }

    #[test]
    fn a_code_is_good_once_and_for_a_minute_and_a_half() {
        assert_eq!(check(SECRET, "287 082", UnixTime::from_secs(89), 0), Some(1));
        assert_eq!(check(SECRET, "287082", UnixTime::from_secs(90), 0), None);
        assert_eq!(check(SECRET, "287082", UnixTime::from_secs(59), 1), None);
    }

    #[test]
    fn the_uri_names_the_holder_and_the_secret() {
        let (account, user) = ("acme".parse().unwrap(), "otto".parse().unwrap());
        let expected = "otpauth://totp/Postern:acme%2Fotto?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
                        &issuer=Postern&algorithm=SHA1&digits=6&period=30";
        assert_eq!(uri(SECRET, Some(&account), &user), expected);
    }
}
