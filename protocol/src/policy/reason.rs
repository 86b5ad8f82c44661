//! Why a request is refused or a tunnel is cut: a number for the wire, a word for logs, a sentence for people.
//!
//! The order of the numbers up to [`Reason::Concurrency`] is the order in which conditions are tested. Numbers and
//! words are never reused; `docs/wire.md` and `docs/policy.md` list them and tests compare.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Who can make a refused request possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifter {
    /// The person who asks, alone.
    User,
    /// Whoever administers users and roles of the fleet.
    Administrator,
    /// Whoever owns or runs the device: installer, plant manager.
    Site,
    /// Nobody needs to; it passes with time.
    Time,
}

macro_rules! reasons {
    ($( $(#[$doc:meta])* $name:ident = $number:literal, $word:literal, $lifter:ident, $sentence:literal, $next:literal; )+) => {
        /// The closed list of reasons. A new reason breaks every match on it, on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u8", into = "u8")]
        #[repr(u8)]
        pub enum Reason {
            $( $(#[$doc])* $name = $number, )+
        }

        impl Reason {
            /// Every reason, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$( Self::$name, )+];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u8 {
                match self { $( Self::$name => $number, )+ }
            }

            /// The word in logs, tests and JSON.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $( Self::$name => $word, )+ }
            }

            /// What happened, as a fragment for people.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $( Self::$name => $sentence, )+ }
            }

            /// What to do next, as a fragment for people.
            #[must_use]
            pub const fn next_step(self) -> &'static str {
                match self { $( Self::$name => $next, )+ }
            }

            /// Who can lift it.
            #[must_use]
            pub const fn lifter(self) -> Lifter {
                match self { $( Self::$name => Lifter::$lifter, )+ }
            }
        }

        impl TryFrom<u8> for Reason {
            type Error = UnknownReason;

            fn try_from(number: u8) -> Result<Self, UnknownReason> {
                match number { $( $number => Ok(Self::$name), )+ other => Err(UnknownReason { number: other }) }
            }
        }
    };
}

reasons! {
    /// Who asks is not known: pass, key or proof do not hold.
    BadPass = 1, "bad_pass", User, "you are not signed in for this device", "sign in again with `postern login`";
    /// The account of the user is disabled.
    UserDisabled = 2, "user_disabled", Administrator, "your user is disabled", "ask your administrator to enable it";
    /// The device belongs to nobody.
    DeviceUnassigned = 3, "device_unassigned", Administrator, "the device is not assigned to an account",
        "ask your administrator to assign it";
    /// No verified snapshot is active.
    NoPolicy = 4, "no_policy", Site, "the device has no policy yet", "check that it reaches its hub (`postern-agent status`)";
    /// The snapshot's time is over.
    PolicyStale = 5, "policy_stale", Site, "the device's policy is out of date",
        "check that it reaches its hub (`postern-agent status`)";
    /// Nothing grants this; also the answer for services that do not exist.
    NoGrant = 6, "no_grant", Administrator, "nothing grants you this service on this device",
        "ask your administrator for an access category that contains it";
    /// The grant's window has not begun.
    NotYet = 7, "not_yet", Time, "your access has not begun", "try again when its window opens";
    /// The grant's window is over.
    Expired = 8, "expired", Administrator, "your access has ended", "ask your administrator to extend it";
    /// The grant demands a second factor and the pass has none.
    SecondFactorRequired = 9, "second_factor_required", User, "this access needs a second factor",
        "prove it with your one-time code (`postern step-up`)";
    /// The second factor was used too long ago.
    SecondFactorStale = 10, "second_factor_stale", User, "your second factor was used too long ago",
        "prove it again with your one-time code (`postern step-up`)";
    /// The grant demands an active service case.
    CaseInactive = 11, "case_inactive", Site, "no service case is active for this machine",
        "ask the operator to activate remote access";
    /// The grant demands an approval that is not given.
    ApprovalPending = 12, "approval_pending", Site, "your access waits for approval", "ask the operator to approve it";
    /// The site is locked.
    SiteLocked = 13, "site_locked", Site, "remote access is locked at the site", "ask the operator to unlock it";
    /// As many tunnels are open as the policy allows.
    Concurrency = 14, "concurrency", Time, "as many tunnels are open as this service allows",
        "close one of them or try again later";
    /// Input in a view-only session.
    ViewOnly = 20, "view_only", Administrator, "this session may look but not touch", "ask your administrator for full access";
    /// A method that the grant does not contain.
    MethodDenied = 21, "method_denied", Administrator, "this method is not granted", "ask your administrator for it";
    /// A path that the grant does not contain.
    PathDenied = 22, "path_denied", Administrator, "this page is not granted", "ask your administrator for it";
    /// An upgrade to WebSocket, which HTTP never implies.
    WebsocketNotGranted = 23, "websocket_not_granted", Administrator, "WebSocket is not granted here",
        "ask your administrator for the WebSocket service";
    /// A host or port that the grant does not contain.
    PortDenied = 24, "port_denied", Administrator, "this address is not granted", "ask your administrator for it";
    /// File transfer or clipboard.
    FileTransferDenied = 25, "file_transfer_denied", Administrator, "file transfer is not granted",
        "ask your administrator for it";
    /// A live tunnel whose right was withdrawn.
    Revoked = 26, "revoked", Administrator, "your access was withdrawn", "ask your administrator why";
}

/// A number that no reason of this version has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reason {number} is unknown")]
pub struct UnknownReason {
    /// The number seen.
    pub number: u8,
}

impl From<Reason> for u8 {
    fn from(reason: Reason) -> Self {
        reason.number()
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(word: &str) -> Result<Self, UnknownReason> {
        Self::ALL.iter().copied().find(|reason| reason.word() == word).ok_or(UnknownReason { number: 0 })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl Lifter {
    /// Who that is, for people.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::User => "you",
            Self::Administrator => "your administrator",
            Self::Site => "the operator of the device",
            Self::Time => "nobody, it passes with time",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_round_trip_and_ascend() {
        assert!(Reason::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
        for reason in Reason::ALL {
            assert_eq!(Reason::try_from(reason.number()), Ok(*reason));
            assert_eq!(reason.word().parse(), Ok(*reason));
        }
        assert_eq!(Reason::try_from(0), Err(UnknownReason { number: 0 }));
    }
}
