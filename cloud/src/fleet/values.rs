//! Reads values that are no text of ours: truth, numbers, spans of time and moments.

use std::ops::RangeInclusive;

use jiff::{Span, SpanRelativeTo, Timestamp};

use postern_protocol::policy::FreshnessRule;
use postern_protocol::time::UnixTime;

use super::complaint::Fault;
use super::reader::{Reader, Section};
use super::tree::{Node, Value};
use crate::model::Device;

impl Reader<'_> {
    pub(super) fn flag(&mut self, section: &mut Section, key: &'static str) -> bool {
        self.optional_flag(section, key).unwrap_or(false)
    }

    /// A flag of which it matters whether it stands there.
    pub(super) fn optional_flag(&mut self, section: &mut Section, key: &'static str) -> Option<bool> {
        let node = section.take(key)?;
        let path = section.key(key);
        self.mark(&path, node.at);
        if let Value::Flag(flag) = node.value {
            return Some(flag);
        }
        let fault = Fault::Type { found: node.value.describe(), expected: "true or false" };
        self.complain(node.at, path, fault);
        None
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
        self.span(section, key, 1..=LONGEST_S, EXPECTED_SPAN)
    }

    /// How a device works without the cloud; what is not said is the default.
    pub(super) fn freshness(&mut self, section: &mut Section) -> FreshnessRule {
        let [shortest, longest] = Device::WINDOW_S;
        let window_s = self.span(section, "freshness", shortest..=longest, EXPECTED_WINDOW);
        let offline_s = self.span(section, "offline", 0..=Device::OFFLINE_S, EXPECTED_BUDGET);
        let FreshnessRule { window_s: window, offline_s: offline } = Device::FRESHNESS;
        FreshnessRule { window_s: window_s.unwrap_or(window), offline_s: offline_s.unwrap_or(offline) }
    }

    fn span(
        &mut self,
        section: &mut Section,
        key: &'static str,
        allowed: RangeInclusive<u32>,
        expected: &'static str,
    ) -> Option<u32> {
        let node = section.take(key)?;
        let path = section.key(key);
        let (at, text) = self.text(&path, node, "a time span as text, such as \"15m\" or \"8h\"")?;
        let seconds = seconds(&text).filter(|seconds| allowed.contains(seconds));
        if seconds.is_none() {
            self.bad_value(at, path, &text, expected);
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

/// A span of time such as `15m`, as whole seconds.
pub(crate) fn seconds(text: &str) -> Option<u32> {
    // Whether a day is 23 or 25 hours long somewhere does not matter to a device.
    let span = text.parse().ok().and_then(|span: Span| span.to_duration(DAYS).ok());
    span.filter(|span| span.subsec_nanos() == 0).and_then(|span| u32::try_from(span.as_secs()).ok())
}

const DAYS: SpanRelativeTo<'static> = SpanRelativeTo::days_are_24_hours();
const EXPECTED_SPAN: &str = "a time span with its unit, of one second to a year, such as 15m or 8h";
const EXPECTED_WINDOW: &str = "a time span with its unit, of one minute to 24 hours, such as 15m";
const EXPECTED_BUDGET: &str = "a time span with its unit, of nothing to 90 days, such as 0s or 7d";
const EXPECTED_TIME: &str =
    "a time of the years 1970 to 9998 with its offset, such as 2026-12-31T18:00:00Z (RFC 3339)";
/// No tunnel and no second factor lasts longer than a year.
const LONGEST_S: u32 = 366 * 24 * 3600;
