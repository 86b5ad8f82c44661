//! The code that an installer or an invited user pastes once: where the hub is, which key and root are genuine,
//! and a single-use secret.
//!
//! Text form: `postern-` and Base32 (RFC 4648, lower case, no padding) of the canonical encoding followed by the
//! first four bytes of its SHA-256, so that a mistyped or cut code is noticed before anything is dialled.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD_NOCASE;
use serde::{Deserialize, Serialize};

use super::codec;
use crate::limits;
use crate::trust::{Digest, PublicKey};

/// Who is invited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Invitee {
    /// An edge router.
    Device,
    /// A person.
    User,
}

/// A decoded code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Who is invited.
    pub invitee: Invitee,
    /// Where the hub listens; host and port, tried in order; at most [`limits::ADDRESSES`].
    pub hubs: Vec<SocketAddr>,
    /// The hub's key.
    pub hub_key: PublicKey,
    /// Digest of the payload of the first root.
    pub root: Digest,
    /// Good for one use.
    pub secret: [u8; 16],
}

/// A code that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvitationFault {
    /// It does not begin like a code.
    #[error("a code begins with `postern-`")]
    Prefix,
    /// Characters are missing, changed or added.
    #[error("the code is incomplete or mistyped; copy it again, whole")]
    Damaged,
    /// A code for somebody else.
    #[error("this code invites a {found}, a {expected} is expected")]
    Invitee {
        /// Whom it invites.
        found: Invitee,
        /// Who uses it.
        expected: Invitee,
    },
}

impl Invitation {
    /// Reads a code that was made for `expected`.
    ///
    /// # Errors
    /// An [`InvitationFault`].
    pub fn parse(text: &str, expected: Invitee) -> Result<Self, InvitationFault> {
        let invitation: Self = text.parse()?;
        if invitation.invitee == expected {
            Ok(invitation)
        } else {
            Err(InvitationFault::Invitee { found: invitation.invitee, expected })
        }
    }
}

impl FromStr for Invitation {
    type Err = InvitationFault;

    fn from_str(text: &str) -> Result<Self, InvitationFault> {
        let compact: String = text.split_whitespace().collect();
        let digits = compact.strip_prefix(PREFIX).ok_or(InvitationFault::Prefix)?;
        if digits.len() > 2 * limits::FRAME_BYTES {
            return Err(InvitationFault::Damaged);
        }
        let bytes = BASE32_NOPAD_NOCASE.decode(digits.as_bytes()).map_err(|_| InvitationFault::Damaged)?;
        let (body, check) = bytes.split_last_chunk::<4>().ok_or(InvitationFault::Damaged)?;
        if Digest::of(&[body]).as_bytes().first_chunk::<4>() != Some(check) {
            return Err(InvitationFault::Damaged);
        }
        let invitation: Self =
            codec::decode(body, limits::FRAME_BYTES).map_err(|_| InvitationFault::Damaged)?;
        if invitation.hubs.len() > limits::ADDRESSES { Err(InvitationFault::Damaged) } else { Ok(invitation) }
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = codec::encode(self, limits::FRAME_BYTES).map_err(|_| fmt::Error)?;
        let check = Digest::of(&[&bytes]);
        bytes.extend_from_slice(check.as_bytes().first_chunk::<4>().unwrap_or(&[0; 4]));
        write!(f, "{PREFIX}{}", BASE32_NOPAD_NOCASE.encode(&bytes).to_ascii_lowercase())
    }
}

impl fmt::Display for Invitee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "device",
            Self::User => "user",
        })
    }
}

const PREFIX: &str = "postern-";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::SecretKey;

    fn invitation() -> Invitation {
        Invitation {
            invitee: Invitee::Device,
            hubs: vec!["127.0.0.1:7440".parse().unwrap()],
            hub_key: SecretKey::from_seed([3; 32]).unwrap().public(),
            root: Digest::of(&[b"root"]),
            secret: [9; 16],
        }
    }

    #[test]
    fn a_code_round_trips_also_when_wrapped_by_a_terminal() {
        let text = invitation().to_string();
        assert_eq!(Invitation::parse(&text, Invitee::Device), Ok(invitation()));
        let (a, b) = text.split_at(40);
        assert_eq!(Invitation::parse(&format!(" {a}\n  {b}\n"), Invitee::Device), Ok(invitation()));
    }

    #[test]
    fn a_damaged_or_foreign_code_is_refused_before_anything_is_dialled() {
        let text = invitation().to_string();
        assert_eq!(text[1..].parse::<Invitation>(), Err(InvitationFault::Prefix));
        assert_eq!(text[..text.len() - 2].parse::<Invitation>(), Err(InvitationFault::Damaged));
        let swapped = text.replacen('a', "b", 1);
        assert_eq!(swapped.parse::<Invitation>(), Err(InvitationFault::Damaged));
        assert_eq!(
            Invitation::parse(&text, Invitee::User),
            Err(InvitationFault::Invitee { found: Invitee::Device, expected: Invitee::User })
        );
    }
}
