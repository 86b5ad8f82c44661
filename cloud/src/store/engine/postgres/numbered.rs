//! A statement in PostgreSQL's spelling: values are `$1`, not `?` or `?1`.

/// Rewrites the marks for values, and nothing inside of literals, quoted names and comments. As SQLite counts, a `?` is one more than the
/// highest so far.
pub(super) fn numbered(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut highest = 0_u32;
    let mut rest = text.chars().peekable();
    let mut within: Option<char> = None;
    while let Some(c) = rest.next() {
        match within {
            Some(end) => {
                out.push(c);
                if c == end {
                    within = None;
                }
            }
            None if c == '?' => {
                let mut number = 0_u32;
                while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
                    number = number.saturating_mul(10).saturating_add(digit);
                    rest.next();
                }
                if number == 0 {
                    number = highest.saturating_add(1);
                }
                highest = highest.max(number);
                out.push_str(&format!("${number}"));
            }
            None => {
                out.push(c);
                within = match c {
                    '\'' | '"' => Some(c),
                    '-' if rest.peek() == Some(&'-') => Some('\n'),
                    _ => None,
                };
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_numbered_as_sqlite_counts_and_literals_stay() {
        for (text, expected) in [
            ("SELECT a FROM b WHERE c = ? AND d = ?", "SELECT a FROM b WHERE c = $1 AND d = $2"),
            ("VALUES (?1, ?2, ?2, ?)", "VALUES ($1, $2, $2, $3)"),
            ("a = ?12 AND b = ?", "a = $12 AND b = $13"),
            ("a = 'who? ''me?''' AND \"b?\" = ?", "a = 'who? ''me?''' AND \"b?\" = $1"),
            ("a -- why?\n= ?", "a -- why?\n= $1"),
            ("a - ?", "a - $1"),
        ] {
            assert_eq!(numbered(text), expected);
        }
    }
}
