//! The code by which one person approves one request for access once, as it comes by mail.
//!
//! Text form: Base32 (RFC 4648, lower case, no padding) of 16 random bytes. Whoever has it can use it, so it prints as nothing.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD_NOCASE;
use serde::{Deserialize, Serialize};

/// A code that is good for one approval.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalCode([u8; 16]);

/// A text that is no such code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the code is incomplete or mistyped; copy it again, whole: 26 letters and digits")]
pub struct ApprovalCodeFault;

impl ApprovalCode {
    /// A code of random bytes.
    #[must_use]
    pub const fn new(secret: [u8; 16]) -> Self {
        Self(secret)
    }

    /// Its bytes, for the digest by which it is known.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The code in plain text, for the letter to whom it is for.
    #[must_use]
    pub fn reveal(&self) -> String {
        BASE32_NOPAD_NOCASE.encode(&self.0).to_ascii_lowercase()
    }
}

impl FromStr for ApprovalCode {
    type Err = ApprovalCodeFault;

    fn from_str(text: &str) -> Result<Self, ApprovalCodeFault> {
        let text = text.trim();
        if text.len() != TEXT_BYTES {
            return Err(ApprovalCodeFault);
        }
        let bytes = BASE32_NOPAD_NOCASE.decode(text.as_bytes()).map_err(|_| ApprovalCodeFault)?;
        bytes.try_into().map(Self).map_err(|_| ApprovalCodeFault)
    }
}

impl fmt::Debug for ApprovalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

/// 128 bits in Base32.
const TEXT_BYTES: usize = 26;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_it_is_written_and_nothing_else_is_one() {
        let code = ApprovalCode::new([7; 16]);
        assert_eq!(code.reveal().len(), TEXT_BYTES);
        assert_eq!(code.reveal().parse(), Ok(code));
        assert_eq!(code.reveal().to_ascii_uppercase().parse(), Ok(code));
        assert_eq!(format!("{code:?}"), "redacted");
        for wrong in ["", "a", &code.reveal()[1..], &format!("{}a", code.reveal()), "0".repeat(26).as_str()] {
            assert_eq!(wrong.parse::<ApprovalCode>(), Err(ApprovalCodeFault), "{wrong}");
        }
    }
}
