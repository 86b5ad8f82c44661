//! What a hub tells of invitations: who has not accepted yet, and a code that was handed out.
//!
//! Whoever has a code can be the user it is for. It prints `redacted`, and is read by nobody who does not know how one is spelled: what a
//! hub says reaches a terminal.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::Name;
use crate::time::UnixTime;
use crate::wire::invitation::{Invitation, InvitationFault};
use crate::wire::text::Text;

/// Somebody who has not accepted, or has an open code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationEntry {
    /// The user.
    pub user: Name,
    /// The account.
    pub account: Name,
    /// Where the invitation stands.
    pub standing: InvitationStanding,
    /// Who handed the code out, if that is somebody whom the caller may know of.
    pub by: Option<Name>,
    /// When.
    pub made: Option<UnixTime>,
    /// The first second in which the code is worth nothing.
    pub expires: Option<UnixTime>,
}

/// Where an invitation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InvitationStanding {
    /// Its code can be used.
    Open,
    /// Nobody has used its code in time.
    Expired,
    /// There is no code: none was handed out, or it was taken back.
    None,
}

/// A code that was handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedCode {
    /// For whom.
    pub user: Name,
    /// The path of the account.
    pub account: Text,
    /// The code; it is said this once, and none where it left by mail.
    pub code: Option<CodeText>,
    /// The first second in which it is worth nothing.
    pub expires: UnixTime,
    /// The address to which it left.
    pub mailed: Option<Text>,
    /// Why it did not leave by mail, where it should have.
    pub unsent: Option<Text>,
}

/// An invitation as its bearer pastes it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
#[serde(try_from = "String")]
pub struct CodeText(String);

impl CodeText {
    /// The code in plain text, for whoever asked for it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CodeText {
    type Error = InvitationFault;

    fn try_from(text: String) -> Result<Self, InvitationFault> {
        // As it is written, and not as somebody's terminal has wrapped it.
        if text.parse::<Invitation>()?.to_string() == text {
            Ok(Self(text))
        } else {
            Err(InvitationFault::Damaged)
        }
    }
}

impl fmt::Debug for CodeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use crate::trust::{Digest, SecretKey};
    use crate::wire::codec;
    use crate::wire::invitation::Invitee;

    #[test]
    fn what_is_no_code_is_read_as_none_and_one_prints_nothing() {
        let invitation = Invitation {
            invitee: Invitee::User,
            hubs: vec!["127.0.0.1:7440".parse().unwrap()],
            hub_key: SecretKey::from_seed([3; 32]).unwrap().public(),
            root: Digest::of(&[b"root"]),
            secret: [9; 16],
        };
        let text = invitation.to_string();
        let code = CodeText::try_from(text.clone()).unwrap();
        assert_eq!((code.reveal(), format!("{code:?}").as_str()), (text.as_str(), "redacted"));
        let bytes = codec::encode(&code, limits::FRAME_BYTES).unwrap();
        assert_eq!(codec::decode(&bytes, limits::FRAME_BYTES), Ok(code));
        for wrong in [format!("{text}\n"), format!("\u{1b}[2J{text}"), text[1..].to_owned(), String::new()] {
            assert!(CodeText::try_from(wrong.clone()).is_err(), "{wrong:?}");
            let bytes = codec::encode(&wrong, limits::FRAME_BYTES).unwrap();
            assert!(codec::decode::<CodeText>(&bytes, limits::FRAME_BYTES).is_err(), "{wrong:?}");
        }
    }
}
