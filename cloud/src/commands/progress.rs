//! Progress of long work: on standard error, at a terminal only, and gone when the work is done.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// What is under way, and how far it is.
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Begins work on a number of devices; quick work shows nothing.
    pub(super) fn begin(what: &'static str, devices: usize) -> Self {
        let shown = devices >= MANY && std::io::stderr().is_terminal();
        let bar = shown.then(|| {
            let bar = ProgressBar::new(u64::try_from(devices).unwrap_or(u64::MAX));
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {pos}/{len} devices, {elapsed}")
            {
                bar.set_style(style);
            }
            bar.set_message(what);
            bar.enable_steady_tick(Duration::from_millis(80));
            bar
        });
        Self(bar)
    }

    /// So many devices are done.
    pub(super) fn reach(&self, done: usize) {
        if let Some(bar) = &self.0 {
            bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
        }
    }
}

impl Drop for Progress {
    /// Nothing is left behind, however the work ends.
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Devices from which on work takes long enough to be waited for.
const MANY: usize = 1000;
