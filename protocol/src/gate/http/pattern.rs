//! Paths that a rule grants: segments that stand for themselves, `*` for any one segment, `**` at the end for the rest.
//!
//! 1. A pattern is written in the one normal form that a [`Target`](super::Target) has, so that comparing bytes is enough.
//! 2. `/` is the root alone, `/**` is everything, `/static/**` is `/static`, `/static/` and all below, `/api/*/values` has one
//!    segment of any name in the middle.
//!
//! Deliberately absent: wildcards within a segment, and patterns that refuse. What no pattern grants is refused.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::target::is_plain;

/// A path that a rule grants.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Box<str>);

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternFault {
    /// It does not begin at the root.
    #[error("must begin with `/`")]
    NoSlash,
    /// Longer than any real one.
    #[error("has {found} bytes, at most {PATTERN_BYTES} are allowed")]
    TooLong {
        /// Bytes seen.
        found: usize,
    },
    /// Two slashes in a row, which machines read as one or as two.
    #[error("contains `//`")]
    EmptySegment,
    /// A segment of dots, which machines resolve.
    #[error("contains the segment `.`, `..` or one of more dots")]
    Dots,
    /// `*` beside other characters, or `**` before the last segment.
    #[error("contains `*` within a segment, or `**` before the last one")]
    Star,
    /// A character that is not written in a path, or read in different ways.
    #[error("contains {0:?}; only letters, digits and `-._~!$&'()+,:=@[]|^` are allowed between slashes")]
    Character(char),
}

impl Pattern {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it grants `path`, which is in normal form.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let mut path = path.strip_prefix('/').unwrap_or(path).split('/');
        for wanted in segments(&self.0) {
            if wanted == "**" {
                return true;
            }
            match path.next() {
                // What `*` stands for has a name: `/panels/*` does not grant the list `/panels/`.
                Some(segment) if wanted == "*" && !segment.is_empty() => {}
                Some(segment) if wanted == segment => {}
                Some(_) | None => return false,
            }
        }
        path.next().is_none()
    }

    fn check(text: &str) -> Result<(), PatternFault> {
        if text.len() > PATTERN_BYTES {
            return Err(PatternFault::TooLong { found: text.len() });
        }
        if !text.starts_with('/') {
            return Err(PatternFault::NoSlash);
        }
        let mut segments = segments(text).peekable();
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            match segment {
                // `/static/` is a path of its own, and `/` is the root.
                "" if is_last => {}
                "" => return Err(PatternFault::EmptySegment),
                "*" => {}
                "**" if is_last => {}
                literal => check_literal(literal)?,
            }
        }
        Ok(())
    }
}

fn check_literal(segment: &str) -> Result<(), PatternFault> {
    if segment.contains('*') {
        return Err(PatternFault::Star);
    }
    if let Some(bad) = segment.chars().find(|c| !u8::try_from(*c).is_ok_and(is_plain)) {
        return Err(PatternFault::Character(bad));
    }
    if segment.bytes().all(|byte| byte == b'.') { Err(PatternFault::Dots) } else { Ok(()) }
}

fn segments(text: &str) -> std::str::Split<'_, char> {
    text.strip_prefix('/').unwrap_or(text).split('/')
}

impl TryFrom<String> for Pattern {
    type Error = PatternFault;

    fn try_from(text: String) -> Result<Self, PatternFault> {
        Self::check(&text)?;
        Ok(Self(text.into_boxed_str()))
    }
}

impl FromStr for Pattern {
    type Err = PatternFault;

    fn from_str(text: &str) -> Result<Self, PatternFault> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.into()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Bytes of a pattern.
pub const PATTERN_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(pattern: &str, path: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(path)
    }

    #[test]
    fn a_pattern_grants_what_it_says_and_not_its_neighbour() {
        for (pattern, granted, refused) in [
            ("/", &["/"][..], &["/a", "/a/"][..]),
            ("/**", &["/", "/a", "/a/", "/a/b.c"], &[]),
            (
                "/static/**",
                &["/static", "/static/", "/static/a", "/static/a/b"],
                &["/", "/statica", "/Static/a", "/a/static/b"],
            ),
            ("/static/", &["/static/"], &["/static", "/static/a"]),
            ("/dashboard", &["/dashboard"], &["/dashboard/", "/dashboard/a", "/dashboards", "/"]),
            (
                "/api/*/values",
                &["/api/7/values", "/api/values/values"],
                &["/api/values", "/api/7/8/values", "/api/7/values/", "/api/7"],
            ),
            ("/panels/*", &["/panels/1"], &["/panels", "/panels/", "/panels/1/", "/panels/1/2"]),
            ("/*/**", &["/a", "/a/b"], &["/"]),
        ] {
            for path in granted {
                assert!(grants(pattern, path), "{pattern} grants {path}");
            }
            for path in refused {
                assert!(!grants(pattern, path), "{pattern} does not grant {path}");
            }
        }
    }

    #[test]
    fn what_machines_read_in_different_ways_is_no_pattern() {
        let long = format!("/{}", "a".repeat(256));
        for (text, fault) in [
            ("", PatternFault::NoSlash),
            ("a", PatternFault::NoSlash),
            (long.as_str(), PatternFault::TooLong { found: 257 }),
            ("//", PatternFault::EmptySegment),
            ("/a//b", PatternFault::EmptySegment),
            ("/a/../b", PatternFault::Dots),
            ("/.", PatternFault::Dots),
            ("/a/...", PatternFault::Dots),
            ("/*.js", PatternFault::Star),
            ("/**/a", PatternFault::Star),
            ("/a***", PatternFault::Star),
            ("/a%20b", PatternFault::Character('%')),
            ("/a;b", PatternFault::Character(';')),
            ("/a\\b", PatternFault::Character('\\')),
            ("/a?b", PatternFault::Character('?')),
            ("/a#b", PatternFault::Character('#')),
            ("/a b", PatternFault::Character(' ')),
            ("/ä", PatternFault::Character('ä')),
            ("/a\n", PatternFault::Character('\n')),
        ] {
            assert_eq!(text.parse::<Pattern>(), Err(fault), "{text:?}");
        }
        for text in ["/", "/**", "/a.b/..c/.d", "/a/", "/[1]|x^(y)"] {
            assert_eq!(text.parse::<Pattern>().unwrap().as_str(), text);
        }
    }
}
