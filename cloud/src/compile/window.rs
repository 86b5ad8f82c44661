//! Spans of time in which something holds: what two have in common, and what is left when others are taken out.

use postern_protocol::time::UnixTime;

/// From a first second to before another; none is without bound. Never empty when made by [`Window::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// The first second in which it holds.
    pub from: Option<UnixTime>,
    /// The first second in which it holds no more.
    pub until: Option<UnixTime>,
}

impl Window {
    /// A span; none when no second lies in it.
    #[must_use]
    pub fn new(from: Option<UnixTime>, until: Option<UnixTime>) -> Option<Self> {
        let empty = matches!((from, until), (Some(from), Some(until)) if from >= until);
        (!empty).then_some(Self { from, until })
    }

    /// What lies in both.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        // No beginning is earlier than any, so the later one is the greater; no end is later than any.
        Self::new(self.from.max(other.from), earlier(self.until, other.until))
    }

    /// What is left of it, ascending, when all of `holes` are taken out.
    #[must_use]
    pub fn without(self, holes: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut left = vec![self];
        for hole in holes {
            let around = |piece: Self| {
                let before = hole.from.and_then(|from| piece.and(Self { from: None, until: Some(from) }));
                let after = hole.until.and_then(|until| piece.and(Self { from: Some(until), until: None }));
                before.into_iter().chain(after)
            };
            left = left.into_iter().flat_map(around).collect();
        }
        left
    }

    /// Its pieces, ascending, when it is cut at these seconds.
    #[must_use]
    pub fn cut(self, edges: impl IntoIterator<Item = UnixTime>) -> Vec<Self> {
        let mut pieces = vec![self];
        for edge in edges {
            let (before, after) =
                (Self { from: None, until: Some(edge) }, Self { from: Some(edge), until: None });
            pieces = pieces
                .into_iter()
                .flat_map(|piece| [piece.and(before), piece.and(after)])
                .flatten()
                .collect();
        }
        pieces
    }

    /// Whether any second of it is `now` or later.
    #[must_use]
    pub fn lasts_at(self, now: UnixTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Whether every second of `other` lies in it.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.and(other) == Some(other)
    }
}

/// The earlier of two ends, where none is later than any.
pub(super) fn earlier(a: Option<UnixTime>, b: Option<UnixTime>) -> Option<UnixTime> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (end, None) | (None, end) => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: u64, until: u64) -> Window {
        Window { from: Some(UnixTime::from_secs(from)), until: Some(UnixTime::from_secs(until)) }
    }

    const ALWAYS: Window = Window { from: None, until: None };

    #[test]
    fn a_window_without_a_second_is_none() {
        let second = UnixTime::from_secs;
        assert_eq!(Window::new(Some(second(5)), Some(second(5))), None);
        assert_eq!(Window::new(Some(second(6)), Some(second(5))), None);
        assert_eq!(Window::new(Some(second(5)), Some(second(6))), Some(window(5, 6)));
        assert_eq!(Window::new(None, None), Some(ALWAYS));
    }

    #[test]
    fn an_intersection_is_what_lies_in_both() {
        assert_eq!(window(1, 9).and(window(4, 20)), Some(window(4, 9)));
        assert_eq!(window(1, 4).and(window(4, 9)), None);
        assert_eq!(ALWAYS.and(window(4, 9)), Some(window(4, 9)));
        assert_eq!(window(4, 9).and(ALWAYS), Some(window(4, 9)));
    }

    #[test]
    fn holes_leave_what_lies_around_them() {
        assert_eq!(window(1, 9).without([]), [window(1, 9)]);
        assert_eq!(window(1, 9).without([window(3, 5)]), [window(1, 3), window(5, 9)]);
        assert_eq!(window(1, 9).without([window(0, 5), window(8, 12)]), [window(5, 8)]);
        assert_eq!(window(1, 9).without([window(9, 12)]), [window(1, 9)]);
        assert_eq!(window(1, 9).without([ALWAYS]), []);
        let before = Window { from: None, until: Some(UnixTime::from_secs(3)) };
        let after = Window { from: Some(UnixTime::from_secs(5)), until: None };
        assert_eq!(ALWAYS.without([window(3, 5)]), [before, after]);
    }

    #[test]
    fn a_window_is_cut_at_seconds_that_lie_in_it() {
        let at =
            |seconds: &[u64]| seconds.iter().map(|second| UnixTime::from_secs(*second)).collect::<Vec<_>>();
        assert_eq!(window(1, 9).cut(at(&[5, 3])), [window(1, 3), window(3, 5), window(5, 9)]);
        assert_eq!(window(1, 9).cut(at(&[0, 1, 9, 10])), [window(1, 9)]);
        let (before, after) = ALWAYS.cut(at(&[3])).into_iter().map(|piece| (piece.from, piece.until)).unzip();
        let three = Some(UnixTime::from_secs(3));
        assert_eq!((before, after), (vec![None, three], vec![three, None]));
    }

    #[test]
    fn a_window_lasts_to_before_its_end() {
        assert!(window(1, 9).lasts_at(UnixTime::from_secs(8)));
        assert!(!window(1, 9).lasts_at(UnixTime::from_secs(9)));
        assert!(ALWAYS.lasts_at(UnixTime::MAX));
    }

    #[test]
    fn a_window_covers_what_lies_inside_of_it() {
        assert!(window(1, 9).covers(window(1, 9)) && ALWAYS.covers(window(1, 9)));
        assert!(!window(1, 9).covers(window(0, 9)) && !window(1, 9).covers(window(1, 10)));
        assert!(!window(1, 9).covers(ALWAYS));
    }
}
