//! The time of this computer, for showing. Nothing is decided by it: devices decide by theirs.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use postern_protocol::time::UnixTime;

/// Now.
pub(crate) fn now() -> UnixTime {
    UnixTime::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// A time for programs: RFC 3339 in UTC.
pub(crate) fn rfc3339(time: UnixTime) -> String {
    timestamp(time).map_or_else(|| "never".to_owned(), |time| time.to_string())
}

/// A time for people: in their zone, with its offset.
pub(crate) fn local(time: UnixTime) -> String {
    timestamp(time).map_or_else(
        || "never".to_owned(),
        |time| time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M %:z").to_string(),
    )
}

/// How far `time` is from `now`: `in 3 h`, `5 min ago`.
pub(crate) fn distance(time: UnixTime, now: UnixTime) -> String {
    match (time.secs_since(now), now.secs_since(time)) {
        (0, 0) => "now".to_owned(),
        (0, ago) => format!("{} ago", span(ago)),
        (ahead, _) => format!("in {}", span(ahead)),
    }
}

/// A time in RFC 3339, or a span with its unit before `now`.
pub(crate) fn past(text: &str, now: UnixTime) -> Option<UnixTime> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return u64::try_from(time.as_second()).ok().map(UnixTime::from_secs);
    }
    let ago = u64::try_from(text.parse::<SignedDuration>().ok()?.as_secs()).ok()?;
    Some(UnixTime::from_secs(now.as_secs().saturating_sub(ago)))
}

fn timestamp(time: UnixTime) -> Option<Timestamp> {
    i64::try_from(time.as_secs()).ok().and_then(|secs| Timestamp::from_second(secs).ok())
}

/// A span for people.
pub(crate) fn span(secs: u64) -> String {
    match secs {
        0..=119 => format!("{secs} s"),
        120..=7199 => format!("{} min", secs / 60),
        7200..=172_799 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_for_programs_and_for_people() {
        let time = UnixTime::from_secs(1_795_000_000);
        assert_eq!(rfc3339(time), "2026-11-18T11:06:40Z");
        assert_eq!(rfc3339(UnixTime::MAX), "never");
        let later = |secs| distance(time.saturating_add(secs), time);
        assert_eq!(
            [later(0), later(90), later(600), later(8000), later(200_000)],
            ["now", "in 90 s", "in 10 min", "in 2 h", "in 2 days"]
        );
        assert_eq!(distance(time, time.saturating_add(600)), "10 min ago");
    }

    #[test]
    fn a_time_of_the_past_is_said_by_itself_or_by_how_long_ago_it_was() {
        let now = UnixTime::from_secs(1_795_000_000);
        assert_eq!(past("2026-11-18T11:06:39Z", now), Some(UnixTime::from_secs(1_794_999_999)));
        assert_eq!(past("2h", now), Some(UnixTime::from_secs(1_794_992_800)));
        for wrong in ["", "2", "-2h", "yesterday"] {
            assert_eq!(past(wrong, now), None, "{wrong}");
        }
    }
}
