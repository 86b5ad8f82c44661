//! The existing name that a mistyped one is closest to.

/// The candidate with the fewest edits from `text`, if there are few enough to be a slip of the fingers.
#[must_use]
pub(crate) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (text.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(text.len()) <= 2 * allowed)
        .map(|candidate| (distance(text, candidate), candidate))
        .filter(|(edits, _)| (1..=allowed).contains(edits))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that make `b` of `a` (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous: Option<char> = None;
    for (row, x) in a.chars().enumerate() {
        let mut next = vec![row + 1];
        for (column, y) in b.iter().enumerate() {
            let cell = |cells: &[usize], at: usize| cells.get(at).copied().unwrap_or(usize::MAX - 1);
            let replace = cell(&last, column) + usize::from(x != *y);
            let mut best = replace.min(cell(&last, column + 1) + 1).min(cell(&next, column) + 1);
            let swapped = column > 0 && previous == Some(*y) && b.get(column - 1) == Some(&x);
            if swapped {
                best = best.min(cell(&before_last, column - 1) + 1);
            }
            next.push(best);
        }
        before_last = std::mem::replace(&mut last, next);
        previous = Some(x);
    }
    last.last().copied().unwrap_or(0)
}

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
        assert_eq!(distance("abdc", "abcd"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
