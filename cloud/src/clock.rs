//! The time of day: the only place that reads it, and how times look for people.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::{SignedDuration, Timestamp};

use postern_protocol::time::UnixTime;

/// Now, by the system's clock. A clock before 1970 reads as the epoch, at which nothing is valid.
pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_secs(since.as_secs())
}

/// A time in RFC 3339, UTC.
pub(crate) fn show(time: UnixTime) -> String {
    let secs = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(secs).map_or_else(|_| "the end of time".to_owned(), |time| time.to_string())
}

/// A span of time with its units, such as `8h`.
pub(crate) fn span(seconds: u32) -> String {
    format!("{:#}", SignedDuration::from_secs(i64::from(seconds)))
}

/// Reads a time in RFC 3339.
pub(crate) fn parse(text: &str) -> Result<UnixTime, TimeFault> {
    let time: Timestamp = text.parse().map_err(|_| TimeFault)?;
    u64::try_from(time.as_second()).map(UnixTime::from_secs).map_err(|_| TimeFault)
}

/// Reads a span of time with its unit.
pub(crate) fn parse_span(text: &str) -> Result<SignedDuration, SpanFault> {
    text.parse().map_err(|_| SpanFault)
}

/// Reads a time in RFC 3339, or how long ago it was as a span with its unit.
pub(crate) fn parse_past(text: &str) -> Result<UnixTime, PastFault> {
    moment(text, now())
}

fn moment(text: &str, now: UnixTime) -> Result<UnixTime, PastFault> {
    if let Ok(time) = parse(text) {
        return Ok(time);
    }
    let ago = parse_span(text).map_err(|_| PastFault)?;
    let secs = u64::try_from(ago.as_secs()).map_err(|_| PastFault)?;
    Ok(UnixTime::from_secs(now.as_secs().saturating_sub(secs)))
}

/// Reads a span of time that may have years and months.
pub(crate) fn parse_lifetime(text: &str) -> Result<jiff::Span, LifetimeFault> {
    text.parse().map_err(|_| LifetimeFault)
}

/// The time after a span by the calendar, UTC; none when it is before `from` or beyond the end of the calendar.
pub(crate) fn after(from: UnixTime, span: jiff::Span) -> Option<UnixTime> {
    let secs = i64::try_from(from.as_secs()).ok()?;
    let start = Timestamp::from_second(secs).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
    let end = u64::try_from(start.checked_add(span).ok()?.timestamp().as_second()).ok()?;
    (end >= from.as_secs()).then_some(UnixTime::from_secs(end))
}

/// A text that says no time of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a time with its offset, such as 2026-12-31T18:00:00Z (RFC 3339), or how long ago it was, such as 2h"
)]
pub(crate) struct PastFault;

/// A text that is no lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time span with its unit, such as 5y, 18mo or 90d")]
pub(crate) struct LifetimeFault;

/// A text that is no span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time span with its unit, such as 15m or 2h")]
pub(crate) struct SpanFault;

/// A text that is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time of the years 1970 to 9998 with its offset, such as 2026-12-31T18:00:00Z (RFC 3339)")]
pub(crate) struct TimeFault;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_without_its_unit_is_no_span() {
        assert_eq!(parse_span("2h"), Ok(SignedDuration::from_hours(2)));
        assert_eq!(parse_span("2"), Err(SpanFault));
    }

    #[test]
    fn a_lifetime_goes_by_the_calendar() {
        let from = parse("2027-01-31T00:00:00Z").unwrap();
        let end = |text| after(from, parse_lifetime(text).unwrap()).map(show);
        assert_eq!(end("5y").as_deref(), Some("2032-01-31T00:00:00Z"));
        assert_eq!(end("90d").as_deref(), Some("2027-05-01T00:00:00Z"));
        assert_eq!(end("20s").as_deref(), Some("2027-01-31T00:00:20Z"));
        assert_eq!(end("-1d"), None);
        assert_eq!(parse_lifetime("5").err(), Some(LifetimeFault));
    }

    #[test]
    fn a_time_of_the_past_is_said_by_itself_or_by_how_long_ago_it_was() {
        let now = parse("2026-12-31T18:00:00Z").unwrap();
        let read = |text| moment(text, now).map(show);
        assert_eq!(read("2h").as_deref(), Ok("2026-12-31T16:00:00Z"));
        assert_eq!(read("48h").as_deref(), Ok("2026-12-29T18:00:00Z"));
        assert_eq!(read("2026-12-30T01:00:00+01:00").as_deref(), Ok("2026-12-30T00:00:00Z"));
        for wrong in ["", "2", "-2h", "yesterday", "2026-12-30"] {
            assert_eq!(read(wrong), Err(PastFault), "{wrong}");
        }
    }

    #[test]
    fn times_for_people_read_back() {
        let time = UnixTime::from_secs(1_798_740_000);
        assert_eq!(show(time), "2026-12-31T18:00:00Z");
        assert_eq!(parse("2026-12-31T19:00:00+01:00"), Ok(time));
        assert_eq!(parse("2026-12-31T19:00:00"), Err(TimeFault));
        assert_eq!(parse("1969-12-31T19:00:00Z"), Err(TimeFault));
        assert_eq!(parse("9999-12-31T23:59:59Z"), Err(TimeFault));
        assert_eq!(parse("9998-12-31T23:59:59Z").map(show).as_deref(), Ok("9998-12-31T23:59:59Z"));
    }
}
