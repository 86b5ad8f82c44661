//! One complaint about a fleet file: where, about which key, what was seen and what was expected.

use std::fmt;
use std::sync::Arc;

use postern_protocol::name::NameFault;
use postern_protocol::policy::PatternFault;

use crate::model::Problem;

/// One thing that is wrong with a fleet file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The file that it is about; none for text that came from no file, and for the file as a whole.
    pub file: Option<Arc<str>>,
    /// Where it stands.
    pub place: Place,
    /// The keys from the outside in, joined by `.`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub fault: Fault,
}

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A line and a column, both counted from 1; columns count characters.
    At {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// The value was given on the command line, by the override of this number, counted from 1.
    Override {
        /// Which one.
        number: usize,
    },
}

/// What is wrong with a value of a fleet file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The file cannot be opened or read.
    #[error("{}", unreadable(*error))]
    Unreadable {
        /// The system's reason.
        error: std::io::ErrorKind,
    },
    /// The file, with those before it, is larger than any fleet.
    #[error(
        "the fleet is larger than {limit} bytes, expected its files to have at most that together; take out what nobody \
         uses"
    )]
    FileSize {
        /// Bytes allowed.
        limit: usize,
    },
    /// The file is not UTF-8.
    #[error("the file is not UTF-8 text from byte {offset} on")]
    NotText {
        /// The first byte that is not.
        offset: usize,
    },
    /// The file is not TOML.
    #[error("not TOML: {detail}")]
    Syntax {
        /// What the parser says.
        detail: Box<str>,
    },
    /// A directory, pipe or device where a file should be.
    #[error("this is no regular file")]
    NoFile,
    /// A file that another one includes cannot be used.
    #[error("{}: {why}", shown(file))]
    Include {
        /// The path as it is written.
        file: Box<str>,
        /// Why not.
        why: Box<Fault>,
    },
    /// An `include` in a text that came from no file.
    #[error("only files include others; name the file itself")]
    IncludeHere,
    /// Files that include each other in a circle.
    #[error("the file includes itself: {chain}; take one of these includes away")]
    IncludeCircle {
        /// The files from the first on.
        chain: Box<str>,
    },
    /// A file that was read already.
    #[error("the file is included already, and once more here: {chain}; take one of these includes away")]
    IncludedTwice {
        /// The files from the first on.
        chain: Box<str>,
    },
    /// A file too many steps away from the first.
    #[error("includes lead through more than {limit} files: {chain}")]
    IncludeDepth {
        /// The files from the first on.
        chain: Box<str>,
        /// Files allowed in a chain.
        limit: usize,
    },
    /// Too many files.
    #[error("the fleet has more than {limit} files")]
    IncludeCount {
        /// Files allowed.
        limit: usize,
    },
    /// An entity that another file describes as well.
    #[error("this is described at {other} already; keep one of the two")]
    Duplicate {
        /// The place of the first description.
        other: Box<str>,
    },
    /// Complaints that are not listed.
    #[error("at least {count} more complaints are not listed; repair these first")]
    More {
        /// How many.
        count: usize,
    },
    /// A value of another type.
    #[error("found {found}, expected {expected}")]
    Type {
        /// What stands there.
        found: &'static str,
        /// What should.
        expected: &'static str,
    },
    /// A value of the right type that is none of those allowed.
    #[error("found {}, expected {expected}{}", shown(found), did_you_mean(nearest.as_deref()))]
    Value {
        /// What stands there.
        found: Box<str>,
        /// What should.
        expected: Box<str>,
        /// The allowed value that is spelled alike.
        nearest: Option<Box<str>>,
    },
    /// A word that is none of a vocabulary.
    #[error("found {}, expected one of {}{}", shown(found), words.join(", "), did_you_mean(nearest.as_deref()))]
    Word {
        /// What stands there.
        found: Box<str>,
        /// The vocabulary.
        words: Box<[&'static str]>,
        /// The word that is spelled alike.
        nearest: Option<Box<str>>,
    },
    /// A name or label with forbidden characters or length.
    #[error("{} {fault}", shown(found))]
    Name {
        /// What stands there.
        found: Box<str>,
        /// The rule that it breaks.
        fault: NameFault,
    },
    /// A path that no rule can have.
    #[error("{} {fault}", shown(found))]
    Pattern {
        /// What stands there.
        found: Box<str>,
        /// The rule that it breaks.
        fault: PatternFault,
    },
    /// A key that means nothing here.
    #[error("this key is unknown here, expected one of {}{}", quoted(known), did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// The keys that mean something.
        known: Box<[&'static str]>,
        /// The known key that is spelled alike.
        nearest: Option<Box<str>>,
    },
    /// A key that must be there.
    #[error("`{missing}` is missing, expected {expected}")]
    Missing {
        /// The key.
        missing: &'static str,
        /// What should stand there.
        expected: &'static str,
    },
    /// Two keys of which exactly one must be there.
    #[error("expected exactly one of {expected}, found {found}")]
    OneOf {
        /// How many are there.
        found: usize,
        /// The keys.
        expected: &'static str,
    },
    /// The same name twice in one list.
    #[error("{} is listed twice", shown(found))]
    Twice {
        /// The name.
        found: Box<str>,
    },
    /// An override whose table does not exist in the file.
    #[error("the file has no table for this key")]
    NoTable,
    /// The value fits here, but not to the rest of the file.
    #[error(transparent)]
    Model(#[from] Problem),
}

impl Complaint {
    pub(super) fn of_file(fault: Fault) -> Self {
        Self { file: None, place: Place::File, key: String::new(), fault }
    }

    /// The complaint as a line that begins with the file's name; `file` is the one that was asked for.
    #[must_use]
    pub fn line(&self, file: &str) -> String {
        let file = self.file.as_deref().unwrap_or(file);
        match self.place {
            Place::File => format!("{file}: {self}"),
            Place::At { line, column } => format!("{file}:{line}:{column}: {self}"),
            Place::Override { number } => format!("--set number {number}: {self}"),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "`{}`: ", Cut(&self.key))?;
        }
        fmt::Display::fmt(&self.fault, f)
    }
}

/// Text of a stranger, with control and direction-changing characters escaped and cut to a length that fits a line.
pub(crate) struct Cut<'a>(pub(crate) &'a str);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars().take(SHOWN) {
            if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() {
                write!(f, "{c}")?;
            } else {
                write!(f, "{}", c.escape_default())?;
            }
        }
        if self.0.chars().nth(SHOWN).is_some() { f.write_str("...") } else { Ok(()) }
    }
}

fn quoted(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

fn shown(found: &str) -> String {
    format!("`{}`", Cut(found))
}

/// The system's own words for a missing file speak of an entity, which is something else in a fleet.
fn unreadable(error: std::io::ErrorKind) -> String {
    if error == std::io::ErrorKind::NotFound {
        "there is no such file".to_owned()
    } else {
        format!("the file cannot be read: {error}")
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default()
}

/// Characters of a value or key that a message repeats.
const SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_escaped_and_cut() {
        let complaint = Complaint {
            file: None,
            place: Place::At { line: 3, column: 9 },
            key: "user.a\u{1b}[2J".to_owned(),
            fault: Fault::Twice { found: "\u{202e}x".repeat(100).into() },
        };
        let line = complaint.line("f.toml");
        assert_eq!(line.find("f.toml:3:9: `user.a\\u{1b}[2J`: `\\u{202e}x"), Some(0));
        assert!(line.ends_with("...` is listed twice"), "{line}");
    }
}
