//! Open files of this process, of which each connection over TCP takes one: as many as the system allows, and what is said without any.
//!
//! Deliberately absent: more than the hard limit. That is the administrator's.

use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of this process to what the system lets it have.
pub(crate) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::debug!(?current, ?maximum, "more files may be open"),
        Err(error) => tracing::debug!(%error, ?current, "no more files may be open than before"),
    }
}

/// Connections that the system did not hand over.
#[derive(Debug)]
pub(crate) struct Shortage {
    listener: &'static str,
    said: Option<Instant>,
    suppressed: u32,
}

impl Shortage {
    /// Nothing is short yet.
    pub(crate) const fn of(listener: &'static str) -> Self {
        Self { listener, said: None, suppressed: 0 }
    }

    /// Notes that a connection was not handed over, and says it, once a minute at most: somebody far away causes it. True where
    /// connections that wait hold what is missing.
    pub(crate) fn note(&mut self, error: &io::Error) -> bool {
        if self.is_due(Instant::now()) {
            let (listener, suppressed) = (self.listener, std::mem::take(&mut self.suppressed));
            tracing::warn!(listener, %error, suppressed, "a connection was not accepted");
        }
        matches!(
            Errno::from_io_error(error),
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
        )
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.said.is_none_or(|said| now.duration_since(said) >= MINUTE);
        if is_due {
            self.said = Some(now);
        } else {
            self.suppressed = self.suppressed.saturating_add(1);
        }
        is_due
    }
}

/// After a failed accept: what is missing comes back when a connection ends, and nothing is won by asking at once.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_said_once_a_minute_and_costs_those_who_wait_their_place_where_that_helps() {
        let mut shortage = Shortage::of("a test");
        let now = Instant::now();
        assert!(shortage.is_due(now));
        assert!(!shortage.is_due(now + MINUTE / 2));
        assert!(shortage.is_due(now + MINUTE));
        assert_eq!(shortage.suppressed, 1);
        assert!(shortage.note(&Errno::MFILE.into()));
        assert!(!shortage.note(&Errno::CONNABORTED.into()), "who hung up holds nothing");
    }
}
