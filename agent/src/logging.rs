//! Log lines: constant messages with fields, to standard error; rate-limited where the network triggers them.
//!
//! Audit rows are another stream and are never rate-limited here.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogLevel;

/// Logs lines of `level` and above; libraries are held to warnings unless everything is wanted.
pub(crate) fn start(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let libraries = if level == LevelFilter::TRACE { level } else { level.min(LevelFilter::WARN) };
    let targets = Targets::new()
        .with_default(libraries)
        .with_target("postern_agent", level)
        .with_target("postern_transport", level);
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false);
    // A second start in one process (the laboratory) keeps the first subscriber.
    let _already = tracing_subscriber::registry().with(targets).with(lines).try_init();
}

/// Lets a number of lines through per minute and counts the rest, so that a stranger cannot fill the log.
#[derive(Debug)]
pub(crate) struct Limiter {
    burst: u32,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u32,
    suppressed: u32,
}

impl Limiter {
    /// A limiter that lets `burst` lines of a minute through.
    pub(crate) fn new(burst: u32) -> Self {
        Self { burst, window: Mutex::new(Window { began: Instant::now(), lines: 0, suppressed: 0 }) }
    }

    /// Whether a line may be written now, and how many were left out before it.
    pub(crate) fn admit(&self) -> Option<u32> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now(), self.burst)
    }
}

impl Window {
    fn admit(&mut self, now: Instant, burst: u32) -> Option<u32> {
        if now.duration_since(self.began) >= MINUTE {
            self.began = now;
            self.lines = 0;
        }
        if self.lines >= burst {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_rest_is_counted_until_the_next_minute() {
        let began = Instant::now();
        let mut window = Window { began, lines: 0, suppressed: 0 };
        for _ in 0..5 {
            assert_eq!(window.admit(began, 5), Some(0));
        }
        assert_eq!(window.admit(began, 5), None);
        assert_eq!(window.admit(began, 5), None);
        assert_eq!(window.admit(began + MINUTE, 5), Some(2));
        assert_eq!(window.admit(began + MINUTE, 5), Some(0));
    }
}
