//! Names that people type and labels that people read, bounded and free of characters that deceive.
//!
//! A [`Name`] is typed on command lines and sent in requests: lower-case ASCII. A [`Label`] is only shown:
//! any script, but no control characters, no bidirectional overrides and no invisible characters, because it
//! ends up in terminals, audit rows and refusals.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{LABEL_BYTES, NAME_BYTES};

/// A name that cannot be accepted, with the rule that it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// Nothing was given.
    #[error("is empty")]
    Empty,
    /// More bytes than allowed.
    #[error("has {found} bytes, at most {limit} are allowed")]
    TooLong {
        /// Bytes seen.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The first character is not a letter or digit.
    #[error("must begin with a lower-case letter or a digit")]
    BadStart,
    /// A character outside `a-z 0-9 - _ .` in a name.
    #[error("contains {0:?}; only lower-case letters, digits, `-`, `_` and `.` are allowed")]
    BadCharacter(char),
    /// A character that is invisible, changes the direction of text or controls a terminal.
    #[error("contains the control or invisible character {0:?}")]
    Deceptive(char),
}

/// What people type: 1 to 64 bytes of `a-z 0-9 - _ .`, beginning with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(text: &str) -> Result<(), NameFault> {
        if text.len() > NAME_BYTES {
            return Err(NameFault::TooLong { found: text.len(), limit: NAME_BYTES });
        }
        let first = text.chars().next().ok_or(NameFault::Empty)?;
        if let Some(bad) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.')) {
            return Err(NameFault::BadCharacter(bad));
        }
        if !first.is_ascii_alphanumeric() {
            return Err(NameFault::BadStart);
        }
        Ok(())
    }
}

/// What people read: 1 to 96 bytes of UTF-8 without control, invisible or direction-changing characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(Box<str>);

impl Label {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(text: &str) -> Result<(), NameFault> {
        if text.len() > LABEL_BYTES {
            return Err(NameFault::TooLong { found: text.len(), limit: LABEL_BYTES });
        }
        if text.trim().is_empty() {
            return Err(NameFault::Empty);
        }
        match text.chars().find(|c| deceives(*c)) {
            Some(bad) => Err(NameFault::Deceptive(bad)),
            None => Ok(()),
        }
    }
}

/// Control characters, zero-width characters, blank letters, bidirectional controls, line separators and tags.
pub(crate) fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

macro_rules! text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = NameFault;

            fn try_from(text: String) -> Result<Self, NameFault> {
                Self::check(&text)?;
                Ok(Self(text.into_boxed_str()))
            }
        }

        impl FromStr for $name {
            type Err = NameFault;

            fn from_str(text: &str) -> Result<Self, NameFault> {
                Self::check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0.into()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

text!(Name);
text!(Label);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_accepted() {
        for good in ["hmi", "press-7", "line_2.plc", "7"] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn names_that_deceive_or_escape_are_refused() {
        let long = "a".repeat(65);
        for (bad, fault) in [
            ("", NameFault::Empty),
            ("Hmi", NameFault::BadCharacter('H')),
            ("../x", NameFault::BadCharacter('/')),
            ("..", NameFault::BadStart),
            ("a\n", NameFault::BadCharacter('\n')),
            (long.as_str(), NameFault::TooLong { found: 65, limit: 64 }),
        ] {
            assert_eq!(bad.parse::<Name>(), Err(fault), "{bad:?}");
        }
    }

    #[test]
    fn labels_take_any_script_but_nothing_invisible() {
        assert_eq!("Müller & Söhne 工厂".parse::<Label>().unwrap().as_str(), "Müller & Söhne 工厂");
        assert_eq!("a\u{202e}b".parse::<Label>(), Err(NameFault::Deceptive('\u{202e}')));
        assert_eq!("a\u{1b}[2J".parse::<Label>(), Err(NameFault::Deceptive('\u{1b}')));
        assert_eq!("  ".parse::<Label>(), Err(NameFault::Empty));
    }
}
