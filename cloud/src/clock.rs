//! The time of day: the only place that reads it.

use std::time::{SystemTime, UNIX_EPOCH};

use postern_protocol::time::UnixTime;

/// Now, by the system's clock. A clock before 1970 reads as the epoch, at which nothing is valid.
pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_secs(since.as_secs())
}
