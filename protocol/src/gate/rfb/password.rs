//! VNC authentication (RFC 6143, section 7.2.2): a challenge, encrypted with DES under the password.
//!
//! DES was broken decades ago and the password has eight bytes, so whoever listens on the machine network can find it by
//! trying. This opens the machine's own door and protects nothing else.

use std::fmt;

use des::Des;
use des::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

/// Bytes of a password that count; the rest is ignored by every implementation.
const PASSWORD_BYTES: usize = 8;
/// Bytes of a challenge and of its response.
pub const CHALLENGE_BYTES: usize = 16;

/// What the server of a VNC authentication sends, or the response to it.
pub type Challenge = [u8; CHALLENGE_BYTES];

/// The password of a VNC authentication: the first eight bytes, wiped on drop, and never printed.
#[derive(PartialEq, Eq, ZeroizeOnDrop)]
pub struct Password([u8; PASSWORD_BYTES]);

impl Password {
    /// Takes the first eight bytes of a secret. The caller wipes the original.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let mut bytes = [0; PASSWORD_BYTES];
        for (byte, given) in bytes.iter_mut().zip(secret) {
            *byte = *given;
        }
        Self(bytes)
    }

    /// The response to a challenge: each half of it encrypted with DES. The bits of each byte of the key are in reverse
    /// order, a mistake of the first implementation that all others repeat.
    #[must_use]
    pub fn respond(&self, challenge: &Challenge) -> Challenge {
        let mut key = Zeroizing::new(self.0);
        for byte in key.iter_mut() {
            *byte = byte.reverse_bits();
        }
        let mut wide = (*key).into();
        let cipher = Des::new(&wide);
        wide.zeroize();
        let mut response = *challenge;
        let (halves, _) = response.as_chunks_mut::<8>();
        for half in halves {
            let mut block = (*half).into();
            cipher.encrypt_block(&mut block);
            *half = block.into();
        }
        response
    }

    /// Whether a response answers the challenge. Every byte is compared, so that time tells nothing about the first
    /// wrong one.
    #[must_use]
    pub fn accepts(&self, challenge: &Challenge, response: &Challenge) -> bool {
        let expected = self.respond(challenge);
        expected.iter().zip(response).fold(0, |differs, (left, right)| differs | (left ^ right)) == 0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn response(password: &[u8], challenge: &[u8; 16]) -> String {
        HEXLOWER.encode(&Password::new(password).respond(challenge))
    }

    #[test]
    fn a_block_is_plain_des_under_the_reversed_key() {
        // FIPS 81, table B1: key 0123456789abcdef, text "Now is the time for ", given here in reversed bits.
        let key = [0x01_u8, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef].map(u8::reverse_bits);
        assert_eq!(response(&key, b"Now is the time "), "3fa40e8a984d48156a271787ab8883f9");
    }

    #[test]
    fn the_file_of_vncpasswd_is_reproduced() {
        // `vncpasswd` stores a password encrypted under this fixed key: "password" is known as dbd83cfd727a1458.
        let fixed = [23, 82, 107, 6, 35, 78, 88, 7];
        assert_eq!(response(&fixed, b"passwordpassword"), "dbd83cfd727a1458dbd83cfd727a1458");
    }

    #[test]
    fn only_the_first_eight_bytes_count_and_short_ones_are_padded_with_zeros() {
        let challenge = *b"0123456789abcdef";
        assert_eq!(response(b"password", &challenge), response(b"passwords of any length", &challenge));
        assert_eq!(response(b"pass", &challenge), response(b"pass\0\0\0\0", &challenge));
        assert_ne!(response(b"pass", &challenge), response(b"pasS", &challenge));
        assert_eq!(response(b"", &[0; 16]), "8ca64de9c1b123a78ca64de9c1b123a7");
    }

    #[test]
    fn the_right_response_is_accepted_and_each_changed_bit_is_not() {
        let (password, challenge) = (Password::new(b"moulding"), *b"sixteen bytes...");
        let right = password.respond(&challenge);
        assert!(password.accepts(&challenge, &right));
        for bit in 0..128 {
            let mut wrong = right;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(!password.accepts(&challenge, &wrong), "bit {bit}");
        }
        assert!(!Password::new(b"mouldinG").accepts(&challenge, &right));
    }

    #[test]
    fn a_password_is_never_printed() {
        assert_eq!(format!("{:?}", Password::new(b"moulding")), "redacted");
    }
}
