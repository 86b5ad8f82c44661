//! What may be done through a tunnel: look, or touch as well.
//!
//! | mode | VNC | HTTP | WebSocket |
//! | --- | --- | --- | --- |
//! | view only | no key, pointer or clipboard reaches the machine | `GET` and `HEAD` only | only control frames reach the machine |
//! | full | keys and pointer; the clipboard where it says so | what the service allows | messages both ways |

use std::fmt;

use serde::{Deserialize, Serialize};

/// What may be done through a tunnel. The order is from narrow to wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Look, but not touch.
    ViewOnly,
    /// Look and touch.
    Full {
        /// Whether text may also be put into the machine's clipboard.
        clipboard: bool,
    },
}

impl Mode {
    /// The mode that lets everything through.
    pub const WIDEST: Self = Self::Full { clipboard: true };

    /// Whether something reaches the machine that may change it.
    #[must_use]
    pub const fn touches(self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::ViewOnly => false,
        }
    }

    /// The one of two modes that lets less through.
    #[must_use]
    pub const fn narrower(self, other: Self) -> Self {
        match (self, other) {
            (Self::Full { clipboard: left }, Self::Full { clipboard: right }) => {
                Self::Full { clipboard: left && right }
            }
            (Self::ViewOnly, _) | (_, Self::ViewOnly) => Self::ViewOnly,
        }
    }

    /// What is said beside a grant, if it is worth a word.
    #[must_use]
    pub const fn remark(self) -> Option<&'static str> {
        match self {
            Self::ViewOnly => Some("to look only"),
            Self::Full { clipboard: false } => None,
            Self::Full { clipboard: true } => Some("with the clipboard"),
        }
    }

    /// What people read.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::ViewOnly => "view only",
            Self::Full { clipboard: false } => "full",
            Self::Full { clipboard: true } => "full, with clipboard",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Mode; 3] = [Mode::ViewOnly, Mode::Full { clipboard: false }, Mode::WIDEST];

    #[test]
    fn modes_ascend_from_narrow_to_wide_and_only_the_narrowest_does_not_touch() {
        assert!(ALL.is_sorted());
        assert_eq!(ALL.map(Mode::touches), [false, true, true]);
        assert_eq!(ALL.map(Mode::remark), [Some("to look only"), None, Some("with the clipboard")]);
        assert_eq!(ALL.map(Mode::words), ["view only", "full", "full, with clipboard"]);
    }

    #[test]
    fn the_narrower_of_two_modes_is_the_lesser_whichever_stands_first() {
        for left in ALL {
            for right in ALL {
                assert_eq!(left.narrower(right), left.min(right), "{left} {right}");
            }
        }
    }
}
