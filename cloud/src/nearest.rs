//! The existing name that a mistyped one is closest to.

/// The candidate with the fewest edits from `text`, if there are few enough to be a slip of the fingers.
#[must_use]
pub(crate) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = text.chars().count();
    // No name is that long, and the time that a comparison takes grows with the length.
    if length > LONGEST {
        return None;
    }
    let allowed = (length / 3).clamp(1, 3);
    let mut rows = Rows::default();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if candidate.len().abs_diff(text.len()) > 2 * allowed {
            continue;
        }
        let limit = best.map_or(allowed, |(edits, _)| edits.saturating_sub(1));
        match rows.distance(text, candidate, limit) {
            Some(edits) if edits > 0 => best = Some((edits, candidate)),
            Some(_) | None => {}
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Rows of the table of distances, kept from one comparison to the next.
#[derive(Default)]
struct Rows {
    word: Vec<char>,
    before_last: Vec<usize>,
    last: Vec<usize>,
    next: Vec<usize>,
}

impl Rows {
    /// Insertions, deletions, replacements and swaps of neighbours that make `b` of `a` (optimal string alignment);
    /// none when there are more than `limit`.
    fn distance(&mut self, a: &str, b: &str, limit: usize) -> Option<usize> {
        self.word.clear();
        self.word.extend(b.chars());
        self.before_last.clear();
        self.last.clear();
        self.last.extend(0..=self.word.len());
        let mut previous: Option<char> = None;
        let mut least_before = 0;
        for (row, x) in a.chars().enumerate() {
            let mut left = row + 1;
            let mut least = left;
            self.next.clear();
            self.next.push(left);
            for (column, y) in self.word.iter().enumerate() {
                let cell = |cells: &[usize], at: usize| cells.get(at).copied().unwrap_or(usize::MAX - 1);
                let replace = cell(&self.last, column) + usize::from(x != *y);
                let mut best = replace.min(cell(&self.last, column + 1) + 1).min(left + 1);
                let swapped = column > 0 && previous == Some(*y) && self.word.get(column - 1) == Some(&x);
                if swapped {
                    best = best.min(cell(&self.before_last, column - 1) + 1);
                }
                self.next.push(best);
                least = least.min(best);
                left = best;
            }
            // A swap reaches over one row, so only two rows without a cell within the limit end the comparison.
            if least > limit && least_before > limit {
                return None;
            }
            least_before = least;
            std::mem::swap(&mut self.before_last, &mut self.last);
            std::mem::swap(&mut self.last, &mut self.next);
            previous = Some(x);
        }
        self.last.last().copied().filter(|edits| *edits <= limit)
    }
}

/// Characters of the longest text that is compared.
const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_finds_its_name() {
        assert_eq!(nearest("pres-7", ["press-7", "press-8", "hall"]), Some("press-7"));
        assert_eq!(nearest("egnineers", ["engineers", "operators"]), Some("engineers"));
    }

    #[test]
    fn a_different_name_finds_nothing() {
        assert_eq!(nearest("operators", ["engineers"]), None);
        assert_eq!(nearest("hmi", ["hmi"]), None);
        assert_eq!(nearest("", ["abcd"]), None);
    }

    #[test]
    fn neighbours_that_changed_places_are_one_edit() {
        let distance = |a, b, limit| Rows::default().distance(a, b, limit);
        assert_eq!(distance("abdc", "abcd", 1), Some(1));
        assert_eq!(distance("kitten", "sitting", 3), Some(3));
        assert_eq!(distance("kitten", "sitting", 2), None);
    }

    #[test]
    fn the_closest_of_several_neighbours_is_found_wherever_it_stands() {
        assert_eq!(nearest("operators", ["operator5x", "operators1", "0perat0rs"]), Some("operators1"));
        assert_eq!(nearest("operators", ["0perat0rs", "operators1"]), Some("operators1"));
    }
}
