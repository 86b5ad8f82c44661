//! Byte offsets become lines and columns.

use super::complaint::Place;

/// Knows where each line of a text begins.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// The place of a byte. Offsets after the text belong to overrides.
    pub(super) fn place(&self, offset: usize) -> Place {
        if let Some(number) = offset.checked_sub(OVERRIDES) {
            return Place::Override { number: number + 1 };
        }
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
        let lines = Lines::new("a\nüb = 1\n");
        assert_eq!(lines.place(0), Place::At { line: 1, column: 1 });
        assert_eq!(lines.place("a\nü".len()), Place::At { line: 2, column: 2 });
        assert_eq!(lines.place(OVERRIDES + 2), Place::Override { number: 3 });
    }
}
