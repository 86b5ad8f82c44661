//! The time of this computer, for showing. Nothing is decided by it: devices decide by theirs.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

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

fn timestamp(time: UnixTime) -> Option<Timestamp> {
    i64::try_from(time.as_secs()).ok().and_then(|secs| Timestamp::from_second(secs).ok())
}

fn span(secs: u64) -> String {
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
}
