//! Identifiers that the cloud assigns: eight random bytes, opaque to everyone else.
//!
//! In binary messages an id is its eight bytes; for people and JSON it is a prefix and sixteen hexadecimal
//! digits (`usr-0123456789abcdef`). A device or a user never chooses an id: a name that a peer claims for
//! itself is a label and decides nothing.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An id in text form was malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{prefix}-` and 16 hexadecimal digits are expected")]
pub struct IdFault {
    /// The prefix of the kind of id that was expected.
    pub prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 8]);

        impl $name {
            /// What the text form begins with, before the hyphen.
            pub const PREFIX: &'static str = $prefix;

            /// Takes eight bytes as they were assigned.
            #[must_use]
            pub const fn new(bytes: [u8; 8]) -> Self {
                Self(bytes)
            }

            /// The eight bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}-{}", $prefix, HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdFault;

            fn from_str(text: &str) -> Result<Self, IdFault> {
                parse(text, $prefix).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; 8]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

id!(
    /// One installation of Postern: everything that one root key speaks for.
    FleetId,
    "flt"
);
id!(
    /// One agent, on one edge router.
    DeviceId,
    "dev"
);
id!(
    /// One person.
    UserId,
    "usr"
);
id!(
    /// One tunnel, unique on its device.
    TunnelId,
    "tun"
);
id!(
    /// One request for approval, and what was approved of it.
    ApprovalId,
    "apr"
);

fn parse(text: &str, prefix: &'static str) -> Result<[u8; 8], IdFault> {
    let fault = IdFault { prefix };
    let digits = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-')).ok_or(fault)?;
    let bytes = HEXLOWER.decode(digits.as_bytes()).map_err(|_| fault)?;
    bytes.try_into().map_err(|_| fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let id = UserId::new([1, 2, 3, 4, 5, 6, 7, 0xff]);
        assert_eq!(id.to_string(), "usr-01020304050607ff");
        assert_eq!("usr-01020304050607ff".parse(), Ok(id));
    }

    #[test]
    fn another_kind_of_id_is_refused() {
        assert_eq!("dev-01020304050607ff".parse::<UserId>(), Err(IdFault { prefix: "usr" }));
        assert_eq!("usr-01020304050607f".parse::<UserId>(), Err(IdFault { prefix: "usr" }));
        assert_eq!("usr-01020304050607FF".parse::<UserId>(), Err(IdFault { prefix: "usr" }));
    }
}
