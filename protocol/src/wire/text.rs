//! Short free text from a peer (versions, details, labels it claims): bounded, and cleaned before anyone reads it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::TEXT_BYTES;
use crate::name::deceives;

/// At most [`TEXT_BYTES`] bytes of UTF-8 without control, invisible or direction-changing characters. It decides
/// nothing.
#[derive(Clone, Default, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text(Box<str>);

/// Text that is too long or contains control or invisible characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("text must have at most 256 bytes and no control or invisible characters")]
pub struct TextFault;

impl Text {
    /// Makes text of any string: control and invisible characters become spaces and what is too long is cut.
    #[must_use]
    pub fn clean(text: &str) -> Self {
        let mut clean = readable(text);
        while clean.len() > TEXT_BYTES {
            clean.pop();
        }
        Self(clean.into_boxed_str())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a peer says, of any length, with spaces in the place of control and invisible characters, so that it can be shown.
#[must_use]
pub fn readable(text: &str) -> String {
    text.chars().map(|c| if deceives(c) { ' ' } else { c }).collect()
}

impl TryFrom<String> for Text {
    type Error = TextFault;

    fn try_from(text: String) -> Result<Self, TextFault> {
        if text.len() > TEXT_BYTES || text.chars().any(deceives) {
            return Err(TextFault);
        }
        Ok(Self(text.into_boxed_str()))
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0.into()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_makes_any_string_acceptable() {
        let long = "\u{202e}\u{1b}[2J".to_owned() + &"ü".repeat(200);
        let clean = Text::clean(&long);
        assert_eq!(clean.as_str(), "  [2J".to_owned() + &"ü".repeat(125));
        assert_eq!(Text::try_from(clean.as_str().to_owned()), Ok(clean));
        assert_eq!(Text::try_from("a\nb".to_owned()), Err(TextFault));
        assert_eq!(Text::try_from("a\u{202e}b".to_owned()), Err(TextFault));
        assert_eq!(Text::try_from("a".repeat(257)), Err(TextFault));
    }
}
