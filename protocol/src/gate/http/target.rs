//! The target of a request in the one form in which it is judged and sent: path, and query if there is one.
//!
//! 1. Nothing is repaired. A target that two machines could read in two ways is refused, so what was judged is what is sent,
//!    byte for byte.
//! 2. A path has no `//`, no segment of dots and spaces, no `;` and no `\`, and nothing of that written as `%xx`: a machine that
//!    resolves them would serve another page than the one that was judged.
//! 3. Letters, digits and `-._~` are not written as `%xx`, nor is `%` itself, which some machines decode twice. What is left as
//!    `%xx` is UTF-8 without characters that Windows reads as ASCII punctuation.
//! 4. A query may contain what browsers put into one, and no `%00`.
//!
//! Hexadecimal digits may be small or capital: no pattern contains `%`, so they decide nothing.

use super::fault::TargetFault;

/// A target in normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Reads the target of a request line.
    ///
    /// # Errors
    /// The first [`TargetFault`].
    pub fn parse(text: &'a str) -> Result<Self, TargetFault> {
        if text.len() > TARGET_BYTES {
            return Err(TargetFault::TooLong { found: text.len() });
        }
        if !text.starts_with('/') {
            // `http://host/..`, `host:port` and `*` name something else than a page of this machine.
            return Err(TargetFault::NotOriginForm);
        }
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        check_path(path)?;
        query.map_or(Ok(()), check_query)?;
        Ok(Self { path, query })
    }

    /// The path.
    #[must_use]
    pub const fn path(&self) -> &'a str {
        self.path
    }

    /// What stands behind `?`.
    #[must_use]
    pub const fn query(&self) -> Option<&'a str> {
        self.query
    }
}

fn check_path(path: &str) -> Result<(), TargetFault> {
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() {
            if segments.peek().is_some() {
                return Err(TargetFault::EmptySegment);
            }
        } else {
            check_segment(segment)?;
        }
    }
    Ok(())
}

fn check_segment(segment: &str) -> Result<(), TargetFault> {
    let mut decoded = Vec::new();
    let mut rest = segment.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let (byte, tail) = escaped(tail)?;
            if is_disputed(byte) {
                return Err(TargetFault::Escaped { byte });
            }
            decoded.push(byte);
            rest = tail;
        } else if is_plain(byte) || byte == b'*' {
            decoded.push(byte);
            rest = tail;
        } else {
            return Err(TargetFault::Character { byte });
        }
    }
    let text = std::str::from_utf8(&decoded).map_err(|_| TargetFault::Utf8)?;
    if let Some(found) = text.chars().find(|c| resembles_ascii(*c)) {
        return Err(TargetFault::Resembles { found });
    }
    // Windows drops dots and spaces from the end of a name: `.. ` is the folder above.
    if text.trim_end_matches(['.', ' ']).is_empty() { Err(TargetFault::Dots) } else { Ok(()) }
}

fn check_query(query: &str) -> Result<(), TargetFault> {
    let mut rest = query.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let (byte, tail) = escaped(tail)?;
            if byte == 0 {
                return Err(TargetFault::Escaped { byte });
            }
            rest = tail;
        } else if !(is_plain(byte) || b"*/?;{}`".contains(&byte)) {
            return Err(TargetFault::Character { byte });
        }
    }
    Ok(())
}

/// The byte behind a `%`, and what follows it.
fn escaped(tail: &[u8]) -> Result<(u8, &[u8]), TargetFault> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match tail {
        [high, low, rest @ ..] => match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => Ok((high << 4 | low, rest)),
            (None, _) | (_, None) => Err(TargetFault::Percent),
        },
        _ => Err(TargetFault::Percent),
    }
}

/// What stands in a segment for itself.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()+,:=@[]|^".contains(&byte)
}

/// What must not be written as `%xx`: it would be read as something else, or is another spelling of itself.
fn is_disputed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte.is_ascii_control() || b"-._~/\\;?#%".contains(&byte)
}

/// What Windows turns into `/`, `\`, `.` or another ASCII character when it converts a name to an old code page, and control
/// characters.
fn resembles_ascii(c: char) -> bool {
    matches!(c, '\u{80}'..='\u{9f}' | '\u{2024}'..='\u{2026}' | '\u{2044}' | '\u{2215}' | '\u{2216}' | '\u{29f5}' | '\u{29f8}'
        | '\u{29f9}' | '\u{a5}' | '\u{20a9}' | '\u{fe52}' | '\u{fe68}' | '\u{ff00}'..='\u{ff5e}')
}

/// Bytes of a target.
pub const TARGET_BYTES: usize = 4096;

#[cfg(test)]
mod tests;
