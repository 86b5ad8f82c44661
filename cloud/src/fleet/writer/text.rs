//! Keys and values as TOML spells them.

use std::borrow::Cow;
use std::fmt::Write as _;

use jiff::Timestamp;

use postern_protocol::time::UnixTime;

/// A key, quoted where TOML would read something else.
pub(crate) fn key(text: &str) -> Cow<'_, str> {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !text.is_empty() && text.chars().all(bare) { Cow::Borrowed(text) } else { quoted(text).into() }
}

/// A text in quotation marks.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            _ if c.is_control() => {
                // Writing into memory cannot fail.
                let _infallible = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A list of values: on one line while it fits there.
pub(crate) fn list(values: &[String]) -> String {
    let length: usize = values.iter().map(|value| value.len() + 2).sum();
    if length <= LINE {
        return format!("[{}]", values.join(", "));
    }
    let mut text = String::from("[\n");
    for value in values {
        text.push_str("    ");
        text.push_str(value);
        text.push_str(",\n");
    }
    text.push(']');
    text
}

/// A span of time in its largest whole unit.
pub(crate) fn span(seconds: u32) -> String {
    match seconds {
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(24 * 3600) => format!("{}d", seconds / (24 * 3600)),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// A moment. One beyond the calendar is the last of the calendar, which a fleet file cannot exceed.
pub(super) fn moment(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let known = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    known.unwrap_or(LAST).to_string()
}

/// Characters of a list on one line.
const LINE: usize = 90;
/// 9999-12-30T22:00:00Z.
const LAST: Timestamp = Timestamp::constant(253_402_207_200, 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_dots_are_quoted_and_others_are_not() {
        assert_eq!(key("press-7"), "press-7");
        assert_eq!(key("line.2"), "\"line.2\"");
    }

    #[test]
    fn quotes_and_escapes_do_not_end_a_text() {
        assert_eq!(quoted("a \"b\" \\ c\nd"), "\"a \\\"b\\\" \\\\ c\\u000Ad\"");
    }

    #[test]
    fn spans_use_the_largest_unit_that_loses_nothing() {
        let spans = [604_800, 28_800, 900, 90, 0].map(span);
        assert_eq!(spans, ["7d", "8h", "15m", "90s", "0s"]);
    }

    #[test]
    fn moments_are_rfc_3339() {
        assert_eq!(moment(UnixTime::from_secs(1_830_297_600)), "2028-01-01T00:00:00Z");
        assert_eq!(moment(UnixTime::from_secs(u64::MAX)), "9999-12-30T22:00:00Z");
    }
}
