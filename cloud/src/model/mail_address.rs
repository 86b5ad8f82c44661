//! Where somebody gets mail.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The address of one person: a dot-atom, `@`, and the name of a host (RFC 5322, section 3.4.1, without what nobody has had for
/// decades). It holds no character that ends a line, a header or a command of the protocol by which letters leave.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MailAddress(Box<str>);

/// A text that is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {EXPECTED}")]
pub struct MailAddressFault;

impl MailAddress {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MailAddress {
    type Err = MailAddressFault;

    fn from_str(text: &str) -> Result<Self, MailAddressFault> {
        let (person, host) = text.split_once('@').ok_or(MailAddressFault)?;
        let is_atom = |atom: &str| !atom.is_empty() && atom.bytes().all(is_atext);
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() <= LABEL
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
        };
        let fits = text.len() <= BYTES && person.len() <= PERSON;
        if fits && person.split('.').all(is_atom) && host.split('.').all(is_label) {
            Ok(Self(text.into()))
        } else {
            Err(MailAddressFault)
        }
    }
}

impl TryFrom<String> for MailAddress {
    type Error = MailAddressFault;

    fn try_from(text: String) -> Result<Self, MailAddressFault> {
        text.parse()
    }
}

impl From<MailAddress> for String {
    fn from(address: MailAddress) -> Self {
        address.0.into()
    }
}

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn is_atext(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&c)
}

/// What it looks like.
pub(crate) const EXPECTED: &str = "an address such as `jo@example.com`";
/// An address as a whole (RFC 5321, section 4.5.3.1.3, without its angle brackets).
const BYTES: usize = 254;
/// What stands before the `@` (RFC 5321, section 4.5.3.1.1).
const PERSON: usize = 64;
/// Between two dots of a host (RFC 1035, section 2.3.4).
const LABEL: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_person_and_one_host_and_nothing_that_ends_a_line_or_a_command() {
        for good in ["jo@example.com", "j.o+x@mail.example.com", "root@localhost", "o'neil@a-b.example"] {
            assert_eq!(good.parse::<MailAddress>().map(String::from).as_deref(), Ok(good));
        }
        let long = format!("{}@example.com", "a".repeat(PERSON + 1));
        for bad in [
            "",
            "jo",
            "@example.com",
            "jo@",
            "jo@@example.com",
            "a@b@example.com",
            "jo@example.com\r\nBcc: eve@example.com",
            "jo@example.com\n",
            "jo @example.com",
            "<jo@example.com>",
            "Jo <jo@example.com>",
            "jo@example.com,eve@example.com",
            "\"jo\"@example.com",
            ".jo@example.com",
            "jo.@example.com",
            "j..o@example.com",
            "jo@.example.com",
            "jo@-a.example.com",
            "jö@example.com",
            "jo@exämple.com",
            "jo@[127.0.0.1]",
            "jo\0@example.com",
            &long,
        ] {
            assert_eq!(bad.parse::<MailAddress>(), Err(MailAddressFault), "{bad:?}");
        }
    }
}
