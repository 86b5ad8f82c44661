//! What the trail knows of the rights of one live tunnel, and when it hears more.
//!
//! 1. A tunnel begins as its row `permitted` says.
//! 2. [`Account::changed`] is asked whenever it was decided again. A row is due where the mode or the rules of its service are
//!    others, and only then: most decisions change nothing.
//! 3. So many rows an hour are its own; what changes beyond is counted, and stands in the next row, or in the last one when the
//!    tunnel ends. Whoever can make a link flap must not fill the trail.
//!
//! Deliberately absent: writing. The registry hands rows on while it holds its lock, so nothing here waits for a disk.

use postern_protocol::audit::Event;
use postern_protocol::id::TunnelId;
use postern_protocol::policy::{Mode, Permit};
use postern_protocol::time::UnixTime;

/// The rights of one tunnel, as its rows tell them.
#[derive(Debug)]
pub(super) struct Account {
    told: Mode,
    /// Whether rules have changed that no row speaks of.
    rules: bool,
    /// Changes that no row speaks of.
    untold: u32,
    /// When the present hour began; none before the first change.
    hour: Option<UnixTime>,
    /// Rows of that hour.
    rows: u32,
}

impl Account {
    /// As the row of the admission says.
    pub(super) const fn new(permit: &Permit) -> Self {
        Self { told: permit.mode(), rules: false, untold: 0, hour: None, rows: 0 }
    }

    /// Takes note of a newer permit; the row that is due, if one is.
    pub(super) fn changed(
        &mut self,
        tunnel: TunnelId,
        now: UnixTime,
        (before, newer): (&Permit, &Permit),
    ) -> Option<Event> {
        // One snapshot has one set of rules.
        let rules = before.floor() != newer.floor() && before.service().reach != newer.service().reach;
        if before.mode() == newer.mode() && !rules {
            return None;
        }
        self.rules |= rules;
        self.untold = self.untold.saturating_add(1);
        if self.hour.is_none_or(|began| now.secs_since(began) >= HOUR_S || now < began) {
            (self.hour, self.rows) = (Some(now), 0);
        }
        if self.rows >= ROWS {
            return None;
        }
        self.rows += 1;
        self.rest(tunnel, newer)
    }

    /// The row of what is untold, under the last permit of the tunnel.
    pub(super) fn rest(&mut self, tunnel: TunnelId, last: &Permit) -> Option<Event> {
        let count = std::mem::take(&mut self.untold);
        let rules = std::mem::take(&mut self.rules);
        let before = std::mem::replace(&mut self.told, last.mode());
        (count > 0).then(|| Event::Changed {
            tunnel,
            before,
            mode: last.mode(),
            rules,
            origin: last.origin().cloned(),
            version: last.floor().version,
            count,
        })
    }
}

const HOUR_S: u64 = 3600;
/// Rows of one tunnel in an hour, about 100 bytes each: 128 tunnels that flap all day cost 5 MB.
const ROWS: u32 = 16;
