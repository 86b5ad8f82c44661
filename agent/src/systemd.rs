//! What systemd is told: ready, alive, stopping, and one line of status.
//!
//! Without systemd (no `NOTIFY_SOCKET`) every call does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// The gate stands and clients are served.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The line that `systemctl status` shows.
pub(crate) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The event loop turns.
pub(crate) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// The agent is about to end.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// How often systemd wants to hear [`alive`]: half of its patience. None when it does not watch.
pub(crate) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|patience| patience / 2)
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
