//! Reads values that are no text of ours: truth, numbers, spans of time and moments.

use jiff::{SignedDuration, Timestamp};

use postern_protocol::time::UnixTime;

use super::complaint::Fault;
use super::reader::{Reader, Section};
use super::tree::{Node, Value};

impl Reader<'_> {
    pub(super) fn flag(&mut self, section: &mut Section, key: &'static str) -> bool {
        let Some(node) = section.take(key) else { return false };
        if let Value::Flag(flag) = node.value {
            return flag;
        }
        let fault = Fault::Type { found: node.value.describe(), expected: "true or false" };
        self.complain(node.at, section.key(key), fault);
        false
    }

    /// How many of something, 1 to 65535.
    pub(super) fn count(&mut self, section: &mut Section, key: &'static str) -> Option<u16> {
        let node = section.take(key)?;
        let path = section.key(key);
        if let Value::Integer(number) = node.value {
            let count = number.and_then(|number| u16::try_from(number).ok()).filter(|count| *count > 0);
            if count.is_none() {
                let found = number.map_or_else(|| "a huge number".to_owned(), |number| number.to_string());
                self.bad_value(node.at, path, &found, "a whole number from 1 to 65535");
            }
            return count;
        }
        self.complain(
            node.at,
            path,
            Fault::Type { found: node.value.describe(), expected: "a whole number" },
        );
        None
    }

    /// A span of time like `15m` or `8h`, as seconds.
    pub(super) fn seconds(&mut self, section: &mut Section, key: &'static str) -> Option<u32> {
        let node = section.take(key)?;
        let path = section.key(key);
        let (at, text) = self.text(&path, node, "a time span as text, such as \"15m\" or \"8h\"")?;
        let parsed: Option<SignedDuration> = text.parse().ok();
        let seconds = parsed
            .filter(|span| span.subsec_nanos() == 0)
            .and_then(|span| u32::try_from(span.as_secs()).ok())
            .filter(|seconds| *seconds > 0 && *seconds <= LONGEST_S);
        if seconds.is_none() {
            self.bad_value(
                at,
                path,
                &text,
                "a time span with its unit, of one second to a year, such as 15m or 8h",
            );
        }
        seconds
    }

    /// A moment in RFC 3339, as TOML time or as text.
    pub(super) fn time(&mut self, section: &mut Section, key: &'static str) -> Option<UnixTime> {
        let node = section.take(key)?;
        let path = section.key(key);
        let at = node.at;
        self.mark(&path, at);
        let text = match node.value {
            Value::Time(text) => text,
            value @ (Value::Text(_)
            | Value::Integer(_)
            | Value::Flag(_)
            | Value::Float
            | Value::List(_)
            | Value::Table(_)) => self.text(&path, Node { at, value }, EXPECTED_TIME)?.1,
        };
        let time: Option<Timestamp> = text.parse().ok();
        let time = time.and_then(|time| u64::try_from(time.as_second()).ok()).map(UnixTime::from_secs);
        if time.is_none() {
            self.bad_value(at, path, &text, EXPECTED_TIME);
        }
        time
    }
}

const EXPECTED_TIME: &str = "a time with its offset, such as 2026-12-31T18:00:00Z (RFC 3339)";
/// No tunnel and no second factor lasts longer than a year.
const LONGEST_S: u32 = 366 * 24 * 3600;
