//! Paths of a web server, as a pattern. What a request's path is compared with is in [`crate::gate`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::PATTERN_BYTES;

/// One or many paths: `/` and segments between `/`, each literal or `*` (exactly one segment); a last segment `**` is zero or
/// more segments.
///
/// | pattern | matches | and not |
/// | --- | --- | --- |
/// | `/` | `/` | `/a` |
/// | `/**` | every path | |
/// | `/static/**` | `/static`, `/static/`, `/static/a/b` | `/statically` |
/// | `/api/*/values` | `/api/7/values` | `/api/values`, `/api/7/8/values` |
///
/// Literals are in normal form, so that no path can be written in two ways of which one is allowed: visible ASCII without
/// `%`, `;`, `\`, `?`, `#`, and no `.`, `..` or empty segment. A last `/` is kept: `/a/` is another path than `/a`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Box<str>);

/// A pattern that cannot be accepted, with the rule that it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternFault {
    /// More bytes than allowed.
    #[error("has {found} bytes, at most {limit} are allowed")]
    TooLong {
        /// Bytes seen.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// It does not begin with `/`.
    #[error("must begin with `/`")]
    BadStart,
    /// A character that a path in normal form does not have.
    #[error("contains {0:?}; only visible ASCII without `%`, `;`, `\\`, `?` and `#` is allowed")]
    BadCharacter(char),
    /// `//`: servers differ in whether that is `/`.
    #[error("contains an empty segment")]
    EmptySegment,
    /// `.` or `..`: the path is another than it says.
    #[error("contains a segment `.` or `..`")]
    Dots,
    /// A `*` that is only a part of a segment.
    #[error("contains `*` beside other characters; a segment is literal, `*` or, as the last, `**`")]
    PartOfSegment,
    /// `**` that is not the last segment.
    #[error("contains `**` before its end")]
    EarlyRest,
}

impl Pattern {
    /// `/**`: every path.
    #[must_use]
    pub fn everything() -> Self {
        Self("/**".into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands between the `/`; an empty one at the end of a pattern that ends in `/`.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1)
    }

    /// The paths that both match; none where there is no such path, or where writing them down takes more bytes than a pattern
    /// has. Whoever asks whether two patterns have something in common asks [`meets`](Self::meets).
    #[must_use]
    pub fn and(&self, other: &Self) -> Option<Self> {
        self.common(other).and_then(|segments| format!("/{}", segments.join("/")).parse().ok())
    }

    /// Whether there is a path that both match.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        self.common(other).is_some()
    }

    /// The segments of what both match.
    fn common<'a>(&'a self, other: &'a Self) -> Option<Vec<&'a str>> {
        let (mut these, mut others) = (self.segments(), other.segments());
        let mut common = Vec::new();
        loop {
            match (these.next(), others.next()) {
                (None, None) => return Some(common),
                // Zero or more of whatever the other one goes on with.
                (Some("**"), rest) => {
                    common.extend(rest.into_iter().chain(others));
                    return Some(common);
                }
                (rest, Some("**")) => {
                    common.extend(rest.into_iter().chain(these));
                    return Some(common);
                }
                // What `*` stands for has a name.
                (Some("*"), Some(one)) | (Some(one), Some("*")) if !one.is_empty() => common.push(one),
                (Some(one), Some(another)) if one == another => common.push(one),
                (Some(_) | None, Some(_) | None) => return None,
            }
        }
    }

    fn check(text: &str) -> Result<(), PatternFault> {
        if text.len() > PATTERN_BYTES {
            return Err(PatternFault::TooLong { found: text.len(), limit: PATTERN_BYTES });
        }
        let rest = text.strip_prefix('/').ok_or(PatternFault::BadStart)?;
        let strange = |c: char| !c.is_ascii_graphic() || matches!(c, '%' | ';' | '\\' | '?' | '#');
        if let Some(bad) = text.chars().find(|c| strange(*c)) {
            return Err(PatternFault::BadCharacter(bad));
        }
        let mut segments = rest.split('/').peekable();
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            match segment {
                "" if is_last => {}
                "" => return Err(PatternFault::EmptySegment),
                "." | ".." => return Err(PatternFault::Dots),
                "**" if !is_last => return Err(PatternFault::EarlyRest),
                "*" | "**" => {}
                literal if literal.contains('*') => return Err(PatternFault::PartOfSegment),
                _literal => {}
            }
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_in_normal_form_are_accepted() {
        let longest = format!("/{}", "a".repeat(PATTERN_BYTES - 1));
        for good in [
            "/",
            "/**",
            "/*",
            "/a",
            "/a/",
            "/static/**",
            "/api/*/values",
            "/a.b/~c!$&'()+,=:@",
            "/...",
            &longest,
        ] {
            assert_eq!(good.parse::<Pattern>().map(String::from), Ok(good.to_owned()));
        }
        let segments =
            |text: &str| text.parse::<Pattern>().unwrap().segments().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(segments("/"), [""]);
        assert_eq!(segments("/a/*/"), ["a", "*", ""]);
        assert_eq!(segments("/static/**"), ["static", "**"]);
    }

    #[test]
    fn two_patterns_have_in_common_what_both_match_whichever_is_asked() {
        for (left, right, common) in [
            ("/**", "/**", Some("/**")),
            ("/**", "/", Some("/")),
            ("/**", "/a/*/b", Some("/a/*/b")),
            ("/a/**", "/a", Some("/a")),
            ("/a/**", "/a/", Some("/a/")),
            ("/a/**", "/*/b/**", Some("/a/b/**")),
            ("/a/**", "/*", Some("/a")),
            ("/a/**", "/*/*", Some("/a/*")),
            ("/*/b", "/a/*", Some("/a/b")),
            ("/a/*", "/a/", None),
            ("/*", "/", None),
            ("/a", "/a/", None),
            ("/a/**", "/b/**", None),
            ("/a/**", "/ab", None),
            ("/a/*", "/a/b/c", None),
        ] {
            let [left, right]: [Pattern; 2] = [left, right].map(|text| text.parse().unwrap());
            let common: Option<Pattern> = common.map(|text| text.parse().unwrap());
            assert_eq!(
                (left.and(&right), right.and(&left)),
                (common.clone(), common.clone()),
                "{left} {right}"
            );
            assert_eq!((left.meets(&right), right.meets(&left)), (common.is_some(), common.is_some()));
        }
        let long = "x".repeat(PATTERN_BYTES - 6);
        let [left, right]: [Pattern; 2] =
            [format!("/{long}/*/y"), "/*/zzzzz/y".to_owned()].map(|text| text.parse().unwrap());
        assert_eq!((left.and(&right), left.meets(&right)), (None, true), "too long to be written down");
    }

    #[test]
    fn patterns_that_could_mean_two_things_are_refused() {
        let long = format!("/{}", "a".repeat(PATTERN_BYTES));
        for (bad, fault) in [
            ("", PatternFault::BadStart),
            ("a", PatternFault::BadStart),
            ("*", PatternFault::BadStart),
            ("//", PatternFault::EmptySegment),
            ("/a//b", PatternFault::EmptySegment),
            ("/.", PatternFault::Dots),
            ("/a/../b", PatternFault::Dots),
            ("/a%2e", PatternFault::BadCharacter('%')),
            ("/a;v=1", PatternFault::BadCharacter(';')),
            ("/a\\b", PatternFault::BadCharacter('\\')),
            ("/a?b", PatternFault::BadCharacter('?')),
            ("/a#b", PatternFault::BadCharacter('#')),
            ("/a b", PatternFault::BadCharacter(' ')),
            ("/a\n", PatternFault::BadCharacter('\n')),
            ("/ü", PatternFault::BadCharacter('ü')),
            ("/a*", PatternFault::PartOfSegment),
            ("/***", PatternFault::PartOfSegment),
            ("/**/a", PatternFault::EarlyRest),
            ("/**/", PatternFault::EarlyRest),
            (&long, PatternFault::TooLong { found: PATTERN_BYTES + 1, limit: PATTERN_BYTES }),
        ] {
            assert_eq!(bad.parse::<Pattern>(), Err(fault), "{bad:?}");
        }
    }
}
