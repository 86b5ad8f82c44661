//! Byte offsets become files, lines and columns.
//!
//! The files of one fleet are counted through: the first byte of a file comes after the last of the file before it. So
//! one number says where a value stands, and orders what is said about several files.

use std::borrow::Cow;
use std::sync::Arc;

use super::complaint::{Complaint, Fault, Place};

/// The texts of a fleet, and where each line begins.
#[derive(Default)]
pub(super) struct Places<'a> {
    texts: Vec<Text<'a>>,
}

struct Text<'a> {
    name: Option<Arc<str>>,
    base: usize,
    text: Cow<'a, str>,
    /// The offset of each line in the text.
    starts: Vec<usize>,
}

impl<'a> Places<'a> {
    /// Adds a text, and returns the offset of its first byte.
    pub(super) fn add(&mut self, name: Option<Arc<str>>, text: Cow<'a, str>) -> usize {
        let base = self.texts.last().map_or(0, |last| last.base + last.text.len() + 1);
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        self.texts.push(Text { name, base, text, starts });
        base
    }

    /// The text that was added last.
    pub(super) fn newest(&self) -> &str {
        self.texts.last().map_or("", |last| &last.text)
    }

    /// How many texts there are.
    pub(super) fn count(&self) -> usize {
        self.texts.len()
    }

    /// Bytes of all texts.
    pub(super) fn bytes(&self) -> usize {
        self.texts.iter().map(|text| text.text.len()).sum()
    }

    /// The file and the place in it of a byte. Offsets after all texts belong to overrides.
    pub(super) fn place(&self, offset: usize) -> (Option<Arc<str>>, Place) {
        if let Some(number) = offset.checked_sub(OVERRIDES) {
            return (None, Place::Override { number: number + 1 });
        }
        let position = self.texts.partition_point(|text| text.base <= offset);
        let Some(text) = position.checked_sub(1).and_then(|position| self.texts.get(position)) else {
            return (None, Place::File);
        };
        (text.name.clone(), text.place(offset - text.base))
    }

    pub(super) fn complaint(&self, at: usize, key: impl Into<String>, fault: Fault) -> Complaint {
        let (file, place) = self.place(at);
        Complaint { file, place, key: key.into(), fault }
    }

    /// A place as people read it, for messages that speak of two.
    pub(super) fn describe(&self, at: usize) -> String {
        match self.place(at) {
            (Some(file), Place::At { line, column }) => format!("{file}:{line}:{column}"),
            (None, Place::At { line, column }) => format!("line {line}, column {column}"),
            (Some(file), Place::File | Place::Override { .. }) => file.to_string(),
            (None, Place::File | Place::Override { .. }) => "an override".to_owned(),
        }
    }
}

impl Text<'_> {
    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|line| self.starts.get(line)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |text| text.chars().count()) + 1;
        Place::At { line, column }
    }
}

/// Values given by override number `n` stand at this offset plus `n`: after the end of any file.
pub(super) const OVERRIDES: usize = usize::MAX / 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_begin_at_one() {
        let mut places = Places::default();
        assert_eq!(places.add(None, "a\nüb = 1\n".into()), 0);
        assert_eq!(places.place(0), (None, Place::At { line: 1, column: 1 }));
        assert_eq!(places.place("a\nü".len()), (None, Place::At { line: 2, column: 2 }));
        assert_eq!(places.place(OVERRIDES + 2), (None, Place::Override { number: 3 }));
    }

    #[test]
    fn an_offset_after_the_first_file_is_in_the_second() {
        let mut places = Places::default();
        places.add(Some("a".into()), "one\n".into());
        let base = places.add(Some("b".into()), "two\nthree".into());
        assert_eq!(places.place(base - 1), (Some("a".into()), Place::At { line: 2, column: 1 }));
        assert_eq!(places.place(base), (Some("b".into()), Place::At { line: 1, column: 1 }));
        assert_eq!(places.describe(base + 4), "b:2:1");
    }
}
